//! The audio server's graph as plain data: nodes, ports, links, clients and the default sources, as far as the registry
//! told. Nothing here talks to the server ([`super::watch`] fills it) or decides (see [`super::choose`] and the engine).

use std::collections::BTreeMap;

use super::mutes::Route;
use super::props::Props;

/// State of a node, as the server tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NodeState {
    /// Not told yet, or an error.
    #[default]
    Unknown,
    /// Its device is closed.
    Suspended,
    /// Configured, not processing.
    Idle,
    /// Processing.
    Running,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) props: Props,
    pub(crate) state: NodeState,
    /// Whether all its properties have come: the registry tells only some of them.
    pub(crate) told: bool,
}

impl Node {
    /// The value of a property, empty if absent.
    pub(crate) fn prop(&self, key: &str) -> &str {
        self.props.get(key).unwrap_or_default()
    }

    /// What tells it from another node of the same number: the server gives numbers again at once.
    pub(crate) fn serial(&self) -> Option<u64> {
        self.prop("object.serial").parse().ok()
    }

    /// The client object that owns this node, if it has one.
    pub(crate) fn client(&self) -> Option<u32> {
        self.prop("client.id").parse().ok()
    }
}

/// A port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) node: u32,
    pub(crate) output: bool,
    /// Monitor ports of sinks are outputs that carry what the sink plays.
    pub(crate) monitor: bool,
    /// The port's number within its node and direction.
    pub(crate) number: u32,
    /// `audio.channel`, or the port's name where it has none.
    pub(crate) channel: String,
}

/// A link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) output_node: u32,
    pub(crate) output_port: u32,
    pub(crate) input_node: u32,
    pub(crate) input_port: u32,
    /// The client object of who made it, if the server says so.
    pub(crate) client: Option<u32>,
    /// `object.serial`: the server gives ids again at once, serials never.
    pub(crate) serial: u64,
}

/// The mute flag of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) muted: bool,
    /// Grows with each time that the server tells it, also if it is the same.
    pub(crate) version: u64,
}

/// Everything that the registry told, by global id.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<u32, Node>,
    pub(crate) ports: BTreeMap<u32, Port>,
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) clients: BTreeMap<u32, Props>,
    /// Mute flags in the properties of sources, by node.
    pub(crate) flags: BTreeMap<u32, Flag>,
    /// Routes of sound cards with their mute flags, by device and by `card.profile.device`.
    pub(crate) routes: BTreeMap<(u32, i32), (Route, u64)>,
    /// `node.name` of the source that the session manager takes as default now.
    pub(crate) default_source: Option<String>,
    /// `node.name` of the source that the user chose as default.
    pub(crate) configured_source: Option<String>,
    /// The source that somebody chose for a node, by node: the metadata's `target.object`.
    pub(crate) targets: BTreeMap<u32, String>,
    /// Grows with every change of `targets`, and when the metadata came or went.
    pub(crate) targets_version: u64,
    /// The server's profiler, if it has one.
    pub(crate) profiler: Option<u32>,
    /// Grows with every change.
    pub(crate) version: u64,
}

impl Model {
    /// Output ports of a source that carry what it captures, in order of their numbers. Those of a virtual source are
    /// marked as monitors too (its adapter is that of a sink); of a duplex node only those that are not.
    pub(crate) fn capture_ports(&self, node: u32) -> Vec<(u32, &Port)> {
        let is_source = self
            .nodes
            .get(&node)
            .is_some_and(|n| n.prop("media.class").starts_with("Audio/Source"));
        self.ports_of(node, |port| port.output && (is_source || !port.monitor))
    }

    /// Input ports of a node, in order of their numbers.
    pub(crate) fn input_ports(&self, node: u32) -> Vec<(u32, &Port)> {
        self.ports_of(node, |port| !port.output)
    }

    fn ports_of(&self, node: u32, which: impl Fn(&Port) -> bool) -> Vec<(u32, &Port)> {
        let mut ports: Vec<_> = self
            .ports
            .iter()
            .filter(|(_, p)| p.node == node && which(p))
            .map(|(id, p)| (*id, p))
            .collect();
        ports.sort_by_key(|(id, port)| (port.number, *id));
        ports
    }

    /// The mute flag of a source, where it is known: that of its card's route if it has one.
    pub(crate) fn mute_flag(&self, node: u32) -> Option<Flag> {
        match self.route(node) {
            Some((_, route, version)) => Some(Flag {
                muted: route.muted,
                version,
            }),
            None => self.flags.get(&node).copied(),
        }
    }

    /// The card and the route in which a source's mute flag is.
    pub(crate) fn route(&self, node: u32) -> Option<(u32, Route, u64)> {
        let node = self.nodes.get(&node)?;
        let device = node.prop("device.id").parse().ok()?;
        let place = node.prop("card.profile.device").parse().ok()?;
        let (route, version) = self.routes.get(&(device, place))?;
        Some((device, *route, *version))
    }

    /// The server told a source's own mute flag.
    pub(crate) fn set_flag(&mut self, node: u32, muted: bool) {
        self.version += 1;
        let version = self.version;
        self.flags.insert(node, Flag { muted, version });
    }

    /// The server told a card's route.
    pub(crate) fn set_route(&mut self, device: u32, route: Route) {
        self.version += 1;
        self.routes
            .insert((device, route.device), (route, self.version));
    }

    /// Whether anything but `except` is linked to an output of this node.
    pub(crate) fn used_by_others(&self, node: u32, except: Option<u32>) -> bool {
        self.links
            .values()
            .any(|l| l.output_node == node && Some(l.input_node) != except)
    }

    /// The nodes that read from `node`.
    pub(crate) fn readers(&self, node: u32) -> std::collections::BTreeSet<u32> {
        self.links
            .values()
            .filter(|l| l.output_node == node)
            .map(|l| l.input_node)
            .collect()
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        self.flags.remove(&id);
        self.routes.retain(|(device, _), _| *device != id);
        self.targets.remove(&id);
        self.nodes.remove(&id).is_some()
            | self.ports.remove(&id).is_some()
            | self.links.remove(&id).is_some()
            | self.clients.remove(&id).is_some()
    }
}
