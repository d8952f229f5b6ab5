-- For WirePlumber 0.4.
--
-- While no daemon serves TrueMute Microphone, the silent twin stands in for it:
-- * as the default source, if TrueMute Microphone was chosen as the default: the twin is kept as the choice before it;
-- * for capture streams that name it, were moved to it, or were moved to it when they last ran: by the same metadata with
--   which a volume control moves them. They are moved back when it is there again;
-- * for capture streams that the daemon moved to its source for muted apps, in the same way.
-- WirePlumber 0.4 has no hooks, so all this comes after its own decisions. Everything else goes where it would have it go.

local VIRTUAL_MIC = "truemute.mic"
local TWIN = "truemute.silent"
local ASIDE = "truemute.aside"
local DEFAULT = "default.configured.audio.source"

local metadata_om = ObjectManager {
  Interest { type = "metadata", Constraint { "metadata.name", "=", "default" } },
}
local sources_om = ObjectManager {
  Interest { type = "node", Constraint { "node.name", "c", VIRTUAL_MIC, ASIDE, TWIN, type = "pw-global" } },
}
-- The session manager's own view of the daemon's sources, which a stream can be linked to only when that is active.
local ready_om = ObjectManager {
  Interest {
    type = "SiLinkable",
    Constraint { "node.name", "c", VIRTUAL_MIC, ASIDE },
    Constraint { "active-features", "!", 0, type = "gobject" },
  },
}
local streams_om = ObjectManager {
  Interest { type = "node", Constraint { "media.class", "=", "Stream/Input/Audio", type = "pw-global" } },
}

-- Streams that we moved to the twin, by id: the name of the source where they belong.
local moved = {}
-- Streams that somebody else moved to the virtual mic, by id.
local chosen = {}
-- Keys under which WirePlumber stores for streams that they were moved to the virtual mic. It forgets that when we move one.
local stored = {}
-- How often streams were kept from following the default, by id.
local insisted = {}

local function source (name)
  return sources_om:lookup { Constraint { "node.name", "=", name, type = "pw" } }
end

local function is_ready (name)
  return source (name) and ready_om:lookup { Constraint { "node.name", "=", name } }
end

local function stored_key (props)
  local class = (props ["media.class"] or ""):gsub ("^Stream/", "")
  for _, key in ipairs { "media.role", "application.id", "application.name", "media.name", "node.name" } do
    if props [key] then
      return string.format ("%s:%s:%s:target", class, key, props [key])
    end
  end
end

-- The name of the daemon's source where a stream belongs, if it belongs to one.
local function belongs (id, node)
  local props, metadata = node.properties, metadata_om:lookup ()
  local wanted = metadata:find (id, "target.object") or metadata:find (id, "target.node")
      or props ["target.object"] or props ["node.target"]
  if wanted == ASIDE then
    return ASIDE
  end
  if chosen [id] or wanted then
    return (chosen [id] or wanted == VIRTUAL_MIC) and VIRTUAL_MIC
  end
  local key = stored_key (props)
  if key and State ("restore-stream"):load () [key] == VIRTUAL_MIC then
    stored [key] = true
  end
  chosen [id] = key and stored [key]
  return chosen [id] and VIRTUAL_MIC
end

local function to_twin (node, home)
  local id, metadata = node ["bound-id"], metadata_om:lookup ()
  Log.info (node, "no " .. home .. ": to the silent twin")
  moved [id] = home
  -- By name, not by number: a number would be stored as if a person had moved the stream, and restored another day.
  metadata:set (id, "target.object", "Spa:String", TWIN)
end

local function place (node)
  local id, metadata = node ["bound-id"], metadata_om:lookup ()
  if not metadata or not source (TWIN) then
    return
  end
  local home = moved [id] or belongs (id, node)
  if not home then
    return
  end
  if is_ready (home) then
    if moved [id] then
      Log.info (node, "back to " .. home)
      moved [id] = nil
      if home == ASIDE then
        metadata:set (id, "target.object", "Spa:String", ASIDE)
      elseif chosen [id] then
        metadata:set (id, "target.object", "Spa:Id", source (VIRTUAL_MIC).properties ["object.serial"])
      else
        metadata:set (id, "target.object", nil, nil)
      end
    end
  elseif not moved [id] then
    to_twin (node, home)
  end
end

local function place_all ()
  for node in streams_om:iterate () do
    place (node)
  end
end

-- Where a stream that names the virtual mic comes before that can be linked to, WirePlumber links it to the default, and then
-- writes that it is to follow the default for good: whatever it names. That is taken back, unless the virtual mic is the default.
local function insist (node)
  local id, metadata, props = node ["bound-id"], metadata_om:lookup (), node.properties
  local value = metadata:find (0, "default.audio.source")
  local default = value and Json.Raw (value)
  default = default and default:is_object () and default:parse () ["name"]
  local tries = insisted [id] or 0
  -- A stream that can be linked to none of ours would have us do this for ever.
  if (props ["target.object"] or props ["node.target"]) ~= VIRTUAL_MIC or metadata:find (id, "target.object")
      or default == VIRTUAL_MIC or not source (TWIN) or tries >= 10 then
    return
  end
  Log.info (node, "not to follow the default")
  insisted [id] = tries + 1
  metadata:set (id, "target.node", nil, nil)
  if not moved [id] and not is_ready (VIRTUAL_MIC) then
    to_twin (node, VIRTUAL_MIC)
  end
end

local function note_move (id, key, value)
  if key ~= "target.object" and key ~= "target.node" then
    return
  end
  local node = streams_om:lookup { Constraint { "bound-id", "=", id, type = "gobject" } }
  if value == ASIDE then
    -- The daemon may ask for its source before that can be linked to.
    moved [id] = nil
    if node then
      place (node)
    end
    return
  end
  if key == "target.node" and value == "-1" and node then
    insist (node)
  end
  if moved [id] then
    return
  end
  local mic = source (VIRTUAL_MIC)
  local is_mic = mic and value
      and (value == mic.properties ["object.serial"] or value == tostring (mic ["bound-id"]) or value == VIRTUAL_MIC)
  chosen [id] = is_mic or nil
  local key = node and stored_key (node.properties)
  if key then
    stored [key] = chosen [id]
  end
end

-- Whether the twin is the choice before the virtual mic.
local arranged = false

-- Makes the twin the choice before the virtual mic: WirePlumber goes through a user's choices, newest first.
local function note_default (metadata, value)
  local json = value and Json.Raw (value)
  local name = json and json:is_object () and json:parse () ["name"]
  if name == VIRTUAL_MIC and State ("default-nodes"):load () [DEFAULT .. ".0"] ~= TWIN and not arranged then
    arranged = true
    Core.sync (function ()
      metadata:set (0, DEFAULT, "Spa:String:JSON", '{"name":"' .. TWIN .. '"}')
      metadata:set (0, DEFAULT, "Spa:String:JSON", '{"name":"' .. VIRTUAL_MIC .. '"}')
    end)
  elseif name ~= VIRTUAL_MIC and name ~= TWIN then
    arranged = false
  end
end

metadata_om:connect ("object-added", function (_, metadata)
  -- So that `truemute doctor` sees that this runs.
  metadata:set (0, "truemute.targets", "Spa:String", "1")
  for id, key, _, value in metadata:iterate (Id.ANY) do
    note_move (id, key, value)
    if key == DEFAULT then
      note_default (metadata, value)
    end
  end
  metadata:connect ("changed", function (m, id, key, _, value)
    note_move (id, key, value)
    if key == DEFAULT then
      note_default (m, value)
    end
  end)
end)
sources_om:connect ("object-added", place_all)
ready_om:connect ("object-added", function ()
  -- WirePlumber's policy learns of it after us: without it there, it would link the streams to the default.
  Core.sync (place_all)
end)
sources_om:connect ("object-removed", place_all)
streams_om:connect ("object-added", function (_, node)
  place (node)
end)
streams_om:connect ("object-removed", function (_, node)
  moved [node ["bound-id"]] = nil
  chosen [node ["bound-id"]] = nil
  insisted [node ["bound-id"]] = nil
end)

metadata_om:activate ()
sources_om:activate ()
ready_om:activate ()
streams_om:activate ()
