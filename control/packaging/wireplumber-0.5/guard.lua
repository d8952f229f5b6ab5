-- Installed by truemute for guard = "enforce" (truemute uninstall removes it). For WirePlumber 0.5; it needs no daemon.
--
-- Every source but TrueMute's own, what those who may hear a mic could pass it on by, and the factories that make nodes which
-- belong to nobody, are hidden from every client that is not trusted. A server that checks links (docs/security.md) then
-- refuses to link them.
-- Who is trusted is in 61-truemute-guard.conf, and is decided from the process id that the server read from the socket, never
-- from what a client says of itself.

Script.async_activation = true

local log = Log.open_topic ("truemute-guard")

local VIRTUAL_MIC = "truemute.mic"
local SILENT_TWIN = "truemute.silent"
-- Where the daemon keeps apps that are muted on their own: it knows nothing but zeros.
local ASIDE = "truemute.aside"
-- A node that the server makes for a client that does not keep it (object.linger) has no owner, and the server's check of
-- links lets everything be linked to a node without one.
local FACTORIES = { ["adapter"] = true, ["spa-node-factory"] = true }

local section = Conf.get_section_as_json ("truemute.guard")
local config = section and section:parse () or {}

-- What /proc says of a process is out of reach of WirePlumber's scripts, which have neither files nor links: ProcUtils comes
-- with 0.5.9, and does not tell the executable. A shell can read both; it takes about a millisecond for each new client.
local execute = debug.getregistry ()._LOADED.os.execute

-- Succeeds if process $pid runs in a unit of this user, directly below one of systemd's own slices (a control group of that
-- name elsewhere is anybody's), or if its program is one of the files: compared by device and inode, as the kernel has them.
local TRUSTS = [[
read -r own < /proc/$PPID/cgroup && read -r group < /proc/$pid/cgroup || exit 1
manager=${own%%%%.service/*}.service
for unit in %s; do
  case $group in "$manager/app.slice/$unit" | "$manager/session.slice/$unit") exit 0 ;; esac
done
for program in %s; do
  [ "/proc/$pid/exe" -ef "$program" ] && exit 0
done
exit 1]]

local function quoted (words)
  local result = {}
  for _, word in ipairs (words or {}) do
    -- Only a star at the end is one.
    local start, star = word:match ("^(.-)(%*?)$")
    table.insert (result, "'" .. start:gsub ("'", "'\\''") .. "'" .. star)
  end
  return table.concat (result, " ")
end

local check = string.format (TRUSTS, quoted (config ["trusted.units"]), quoted (config ["trusted.executables"]))
local own_pid = nil

local function is_trusted (client)
  local pid = client.properties ["pipewire.sec.pid"]
  if pid == nil then
    -- A module that the server's own configuration loads: what comes from the network says so.
    return client.properties ["pipewire.sec.socket"] == nil
  end
  return pid == own_pid or (pid:match ("^%d+$") and execute ("pid=" .. pid .. "\n" .. check)) == true
end

-- By global id; of the trusted, with whom they belong: all connections of one process. Trust is decided once, when a client comes: who waits until its process id is another's gains nothing.
local trusted, ordinary, hidden = {}, {}, {}
-- Who of the trusted has something that records or processes.
local listening = {}

local nodes_om = ObjectManager { Interest { type = "node" } }
local ports_om = ObjectManager { Interest { type = "port" } }
local links_om = ObjectManager { Interest { type = "link" } }
local clients_om = ObjectManager { Interest { type = "client" } }
local factories_om = ObjectManager { Interest { type = "factory" } }

local function id_of (object)
  return tonumber (object.properties ["object.id"])
end

local function owner_of (node)
  return tonumber (node.properties ["client.id"])
end

local function is_source (node)
  local class = node.properties ["media.class"] or ""
  return class:find ("^Audio/Source") ~= nil or class:find ("^Audio/Duplex") ~= nil
end

local function is_sink (node)
  return (node.properties ["media.class"] or ""):find ("^Audio/Sink") ~= nil
end

local function plays (node)
  return (node.properties ["media.class"] or ""):find ("^Stream/Output/Audio") ~= nil
end

-- A capture stream has monitors of what it gets. A node without a class is a filter.
local function listens (node)
  local class = node.properties ["media.class"] or ""
  return class == "" or class:find ("^Stream/Input/Audio") ~= nil
end

-- Whether what comes out of the node may be a mic's sound. Sinks are left out, whose monitors people record on purpose.
local function may_pass_on (node)
  local owner = owner_of (node)
  if is_source (node) then
    return true
  end
  if owner ~= nil and not trusted [owner] then
    return false
  end
  return listens (node) or (plays (node) and owner ~= nil and listening [trusted [owner]] ~= nil)
end

-- A name alone is anybody's: the owner of the virtual mic and of the source for muted apps is trusted, and the twin has none,
-- for the server's configuration makes it.
local function is_ours (node)
  local name, owner = node.properties ["node.name"], owner_of (node)
  return ((name == VIRTUAL_MIC or name == ASIDE) and trusted [owner]) or (name == SILENT_TWIN and owner == nil)
end

local function hide (client, ids)
  local permissions = {}
  for _, id in ipairs (ids) do
    permissions [id] = "-"
  end
  -- WirePlumber 0.5 crashes on an empty table.
  if next (permissions) then
    client:update_permissions (permissions)
  end
end

local function hide_node (client, node)
  local node_id = id_of (node)
  -- A client that cannot see its own node loses it.
  if owner_of (node) == id_of (client) then
    return
  end
  -- The node first: when a port is hidden the server looks again at its links, and judges them by their nodes.
  hide (client, { node_id })
  local ports = {}
  for port in ports_om:iterate { Constraint { "node.id", "=", node_id } } do
    table.insert (ports, id_of (port))
  end
  hide (client, ports)
end

-- What the server's check lets through: links into a node without an owner, and since WirePlumber 0.5.18, which may link
-- whatever it sees (PW_PERM_L), those that it makes or that were there before it hid a node.
local function add_link (link)
  local source = hidden [tonumber (link.properties ["link.output.node"])]
  local listener = nodes_om:lookup {
    Constraint { "object.id", "=", tonumber (link.properties ["link.input.node"]) }
  }
  local owner = listener and owner_of (listener)
  if source and listener and is_sink (listener) and not is_source (source) then
    return
  end
  if source and listener and not trusted [owner] and (owner == nil or owner ~= owner_of (source)) then
    log:notice (link, "a link from source " .. id_of (source) .. " is cut: node " .. id_of (listener) ..
        " belongs to nobody who may hear it")
    link:request_destroy ()
  end
end

local function add_node (node)
  if hidden [id_of (node)] or is_ours (node) or not may_pass_on (node) then
    return
  end
  hidden [id_of (node)] = node
  log:info (node, "node " .. id_of (node) .. " is hidden from ordinary clients")
  for _, client in pairs (ordinary) do
    hide_node (client, node)
  end
  for link in links_om:iterate { Constraint { "link.output.node", "=", tostring (id_of (node)) } } do
    add_link (link)
  end
  local process = trusted [owner_of (node)]
  if process and listens (node) and not listening [process] then
    listening [process] = true
    for other in nodes_om:iterate () do
      if plays (other) then add_node (other) end
    end
  end
end

local function add_client (client)
  local id = id_of (client)
  if trusted [id] or ordinary [id] then
    return
  end
  if is_trusted (client) then
    trusted [id] = client.properties ["pipewire.sec.pid"] or "module " .. id
    log:info (client, "client " .. id .. " is trusted")
    for node in nodes_om:iterate { Constraint { "client.id", "=", tostring (id) } } do add_node (node) end
    return
  end
  ordinary [id] = client
  log:debug (client, "client " .. id .. " is ordinary")
  local factories = {}
  for factory in factories_om:iterate () do
    if FACTORIES [factory.properties ["factory.name"]] then
      table.insert (factories, id_of (factory))
    end
  end
  hide (client, factories)
  for _, node in pairs (hidden) do
    hide_node (client, node)
  end
end

local function add_port (port)
  local node = hidden [tonumber (port.properties ["node.id"])]
  for id, client in pairs (node and ordinary or {}) do
    if owner_of (node) ~= id then
      hide (client, { id_of (port) })
    end
  end
end

-- Whoever would be linked to a hidden source is linked to the virtual mic instead, or to its twin while there is none: also
-- where the user has chosen a real mic as the default, or the app, or WirePlumber remembers it.
SimpleEventHook {
  name = "truemute/guard",
  after = {
    "linking/find-defined-target", "linking/find-filter-target", "linking/find-media-role-target",
    "linking/find-default-target", "linking/find-best-target", "linking/get-filter-from-target"
  },
  before = "linking/prepare-link",
  interests = {
    EventInterest { Constraint { "event.type", "=", "select-target" } },
  },
  execute = function (event)
    local target, listener = event:get_data ("target"), event:get_subject ()
    if not target or listener.properties ["item.node.direction"] ~= "input" or not hidden [tonumber (target.properties ["node.id"])]
        or trusted [tonumber (listener.properties ["client.id"])] then
      return
    end
    local linkables = event:get_source ():call ("get-object-manager", "session-item")
    for _, name in ipairs { VIRTUAL_MIC, SILENT_TWIN } do
      for ours in linkables:iterate { type = "SiLinkable", Constraint { "node.name", "=", name } } do
        -- A hidden one is somebody else's of that name.
        if not hidden [tonumber (ours.properties ["node.id"])] then
          event:set_data ("target", ours)
          return
        end
      end
    end
    event:stop_processing ()
  end
}:register ()

-- WirePlumber 0.5.15 and later decide in a chain of hooks which manager sets a client's permissions. Whom its last hook lets in
-- has been judged. A manager sets the default, which shows a client what nobody hid, and what it has rules for, the latter
-- again whenever something comes or goes.
if PermissionManager then
  -- Its own manager for Snap apps shows sources to those that may record, which any client can say of itself. Ours goes by the
  -- same properties, but never shows what is hidden.
  local snap_manager = PermissionManager ()
  snap_manager:set_default_permissions (Perm.ALL)
  local function show (allowed)
    return function (_, client, object)
      return allowed (client, object) and Perm.ALL or Perm.NONE
    end
  end
  snap_manager:add_interest_match (show (function (client, other)
    return other.properties ["pipewire.snap.id"] == client.properties ["pipewire.snap.id"]
  end), Interest { type = "client" })
  for class, property in pairs { ["Audio/Source"] = "pipewire.snap.audio.record", ["Audio/Sink"] = "pipewire.snap.audio.playback" } do
    snap_manager:add_interest_match (show (function (client, node)
      -- A source may be asked about before it is hidden.
      return (not is_source (node) or is_ours (node)) and not hidden [id_of (node)] and client.properties:get_boolean (property)
    end), Interest { type = "node", Constraint { "media.class", "=", class } })
  end

  SimpleEventHook {
    name = "truemute/guard-access",
    after = { "client/find-config-access", "client/find-flatpak-access", "client/find-snap-access", "client/find-portal-access",
        "client/find-default-access" },
    before = "client/apply-access",
    interests = {
      EventInterest { Constraint { "event.type", "=", "select-access" } },
    },
    execute = function (event)
      local client = event:get_subject ()
      add_client (client)
      if ordinary [id_of (client)] and client.properties ["pipewire.snap.id"] then
        event:set_data ("permission-manager", snap_manager)
      end
    end
  }:register ()
end

-- Everything that is there is judged before the scripts run that grant permissions: those wait for this one to be active.
local started = false
local missing = 0

local function start ()
  started = true
  local own = clients_om:lookup { Constraint { "object.id", "=", Core.get_own_bound_id () } }
  own_pid = own and own.properties ["pipewire.sec.pid"]
  for client in clients_om:iterate () do add_client (client) end
  for node in nodes_om:iterate () do add_node (node) end
  for link in links_om:iterate () do add_link (link) end
  Script:finish_activation ()
end

local function watch (objects, add, remove)
  missing = missing + 1
  objects:connect ("object-added", function (_, object)
    if started and add then add (object) end
  end)
  objects:connect ("object-removed", function (_, object)
    if remove then remove (id_of (object)) end
  end)
  objects:connect ("installed", function ()
    missing = missing - 1
    if missing == 0 and not started then start () end
  end)
end

watch (clients_om, add_client, function (id) trusted [id], ordinary [id] = nil, nil end)
watch (factories_om)
watch (ports_om, add_port)
watch (nodes_om, add_node, function (id) hidden [id] = nil end)
watch (links_om, add_link)
for _, objects in ipairs { clients_om, factories_om, ports_om, nodes_om, links_om } do
  objects:activate ()
end
