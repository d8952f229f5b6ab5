-- For WirePlumber 0.5.
--
-- While no daemon serves TrueMute Microphone, the silent twin stands in for it:
-- * as the default source, wherever TrueMute Microphone would be the default if it were there;
-- * for capture streams that name it, were moved to it, or were moved to it when they last ran;
-- * for capture streams that the daemon moved to its source for muted apps, which ends with it.
-- Everything else goes where WirePlumber would have it go.

local VIRTUAL_MIC = "truemute.mic"
local TWIN = "truemute.silent"
local ASIDE = "truemute.aside"

local lutils = require ("linking-utils")
local cutils = require ("common-utils")
local log = Log.open_topic ("s-truemute")

local function find_source (om, name)
  return om:lookup {
    type = "SiLinkable",
    Constraint { "node.name", "=", name },
    Constraint { "item.node.direction", "=", "output" },
  }
end

-- The default source: WirePlumber chooses among the sources that are there, by the user's choices, newest first, and by
-- priority. It is shown the virtual mic as if it were there; if that is its choice, the twin becomes the default.

SimpleEventHook {
  name = "truemute/pretend-virtual-mic",
  before = { "default-nodes/find-selected-default-node",
             "default-nodes/find-stored-default-node",
             "default-nodes/find-best-default-node" },
  interests = {
    EventInterest {
      Constraint { "event.type", "=", "select-default-node" },
      Constraint { "default-node.type", "=", "audio.source" },
    },
  },
  execute = function (event)
    local nodes = event:get_data ("available-nodes")
    nodes = nodes and nodes:parse () or {}
    local twin = false
    for _, props in ipairs (nodes) do
      if props ["node.name"] == VIRTUAL_MIC then
        return
      end
      twin = twin or props ["node.name"] == TWIN
    end
    if not twin then
      return
    end
    local shown = { Json.Object { ["node.name"] = VIRTUAL_MIC, ["priority.session"] = "3000" } }
    for _, props in ipairs (nodes) do
      table.insert (shown, Json.Object (props))
    end
    event:set_data ("available-nodes", Json.Array (shown))
    event:set_data ("truemute-pretended", true)
  end
}:register ()

SimpleEventHook {
  name = "truemute/twin-as-default",
  after = { "default-nodes/find-selected-default-node",
            "default-nodes/find-stored-default-node",
            "default-nodes/find-best-default-node" },
  before = "default-nodes/apply-default-node",
  interests = {
    EventInterest {
      Constraint { "event.type", "=", "select-default-node" },
      Constraint { "default-node.type", "=", "audio.source" },
    },
  },
  execute = function (event)
    if event:get_data ("truemute-pretended") and event:get_data ("selected-node") == VIRTUAL_MIC then
      log:info ("no virtual mic: the silent twin is the default source")
      event:set_data ("selected-node", TWIN)
    end
  end
}:register ()

-- The target of a stream.

-- What a stream was told to record from by a number that was the virtual mic's: by session item.
local meant_virtual_mic = {}

-- What WirePlumber would restore for the stream if it were there: a name.
local function stored_target (props)
  if not Settings.get_boolean ("node.stream.restore-target") or props ["state.restore-target"] == "false" then
    return nil
  end
  local class = (props ["media.class"] or ""):gsub ("^Stream/", "")
  for _, key in ipairs { "media.role", "application.id", "application.name", "media.name", "node.name" } do
    if props [key] then
      local values = State ("stream-properties"):load ()
      local value = values [string.format ("%s:%s:%s", class, key, props [key])]
      local json = value and Json.Raw (value)
      return json and json:is_object () and json:parse () ["target"]
    end
  end
end

-- The value that a stream's target is given by, as WirePlumber reads it: its own wish, unless somebody moved it.
local function wanted_target (si_props)
  local wanted = si_props ["target.object"] or si_props ["node.target"]
  local metadata = Settings.get_boolean ("linking.allow-moving-streams") and cutils.get_default_metadata_object ()
  if metadata and not cutils.parseBool (si_props ["node.dont-move"]) then
    wanted = metadata:find (si_props ["node.id"], "target.object")
        or metadata:find (si_props ["node.id"], "target.node")
        or wanted
  end
  return wanted
end

SimpleEventHook {
  name = "truemute/find-silent-target",
  after = { "linking/find-defined-target",
            "linking/find-filter-target",
            "linking/find-media-role-target" },
  before = { "linking/find-default-target",
             "linking/find-best-target",
             "linking/prepare-link" },
  interests = {
    EventInterest {
      Constraint { "event.type", "=", "select-target" },
    },
  },
  execute = function (event)
    local _, om, si, si_props, si_flags, target = lutils:unwrap_select_target_event (event)
    if si_props ["media.type"] ~= "Audio" or cutils.getTargetDirection (si_props) ~= "output" then
      return
    end
    local wanted = wanted_target (si_props)
    if target then
      local is_virtual_mic = target.properties ["node.name"] == VIRTUAL_MIC
      meant_virtual_mic [si.id] = is_virtual_mic and wanted or nil
      return
    end
    if wanted == nil then
      wanted = stored_target (si:get_associated_proxy ("node").properties)
    end
    if wanted == nil or (wanted ~= VIRTUAL_MIC and wanted ~= ASIDE and wanted ~= meant_virtual_mic [si.id]) then
      return
    end
    -- The virtual mic is there if it came back with another number than the stream was moved to. Who belongs aside does not
    -- get it.
    target = wanted ~= ASIDE and find_source (om, VIRTUAL_MIC) or find_source (om, TWIN)
    if target and lutils.canLink (si_props, target) then
      log:info (si, "recording from " .. target.properties ["node.name"])
      si_flags.can_passthrough = false
      event:set_data ("target", target)
    end
  end
}:register ()

SimpleEventHook {
  name = "truemute/forget-stream",
  interests = {
    EventInterest {
      Constraint { "event.type", "=", "session-item-removed" },
      Constraint { "event.session-item.interface", "=", "linkable" },
    },
  },
  execute = function (event)
    meant_virtual_mic [event:get_subject ().id] = nil
  end
}:register ()

-- So that `truemute doctor` sees that this runs.
local metadata_om = ObjectManager {
  Interest { type = "metadata", Constraint { "metadata.name", "=", "default" } },
}
metadata_om:connect ("object-added", function (_, metadata)
  metadata:set (0, "truemute.targets", "Spa:String", "1")
end)
metadata_om:activate ()
