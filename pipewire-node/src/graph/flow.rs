//! Where sound goes from a node: over links, through link groups and programs. Pure. What follows from it is asked from two
//! sides: which sources hear us and must not be followed ([`super::choose`]), and who hears a real mic (`guard/reach.rs`).

use std::collections::BTreeMap;

/// One node of the graph. All nodes are wanted, not only sources: what a source is derived from may be a sink or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    /// The registry's id.
    pub(crate) id: u32,
    /// `node.name`.
    pub(crate) name: String,
    /// `media.class`; empty if absent.
    pub(crate) media_class: String,
    /// `priority.session`; 0 if absent.
    pub(crate) priority: i32,
    /// `node.link-group`: nodes of one group are the two sides of one loopback, filter chain or echo canceller.
    pub(crate) link_group: Option<String>,
    /// `client.id`: who made the node.
    pub(crate) client: Option<u32>,
    /// Whether `device.id` is there: the node drives hardware, so what goes into it does not come out of it.
    pub(crate) hardware: bool,
}

/// The graph at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Graph<'a> {
    /// All nodes, in any order.
    pub(crate) nodes: &'a [NodeFacts],
    /// All links as (output node, input node), in any order, any number of times.
    pub(crate) links: &'a [(u32, u32)],
    /// The `client.id` of our own connection.
    pub(crate) own_client: Option<u32>,
}

/// The single steps that sound can take:
/// - over a link, from its output node to its input node, but not through hardware that plays and records at once (a sink's
///   monitor counts: it repeats);
/// - from one node of a link group to the others;
/// - within one client, from a stream that it records with to a source that it offers. To the streams that it plays,
///   only by link group: every conferencing app records a mic and plays the others' voices to the speakers, and if
///   that counted, an echo canceller that listens to those speakers could not be followed during a call.
///
/// Not seen: an app that plays what it records into a virtual sink, from whose monitor somebody reads; what leaves the
/// graph and comes back (snd-aloop, a network stream, a cable).
pub(crate) struct Flow<'a> {
    nodes: BTreeMap<u32, &'a NodeFacts>,
    groups: BTreeMap<&'a str, Vec<u32>>,
    /// Sources that a client offers.
    offered: BTreeMap<u32, Vec<u32>>,
    next: BTreeMap<u32, Vec<u32>>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(graph: Graph<'a>) -> Self {
        let mut flow = Self {
            nodes: graph.nodes.iter().map(|node| (node.id, node)).collect(),
            groups: BTreeMap::new(),
            offered: BTreeMap::new(),
            next: BTreeMap::new(),
        };
        for node in graph.nodes {
            if let Some(group) = &node.link_group {
                flow.groups.entry(group).or_default().push(node.id);
            }
            if let Some(client) = node.client
                && is_source(node)
                && !node.hardware
            {
                flow.offered.entry(client).or_default().push(node.id);
            }
        }
        for (output, input) in graph.links {
            flow.next.entry(*output).or_default().push(*input);
        }
        flow
    }

    /// The node of this id, if it is known already: a link can be known before it.
    pub(crate) fn node(&self, id: u32) -> Option<&'a NodeFacts> {
        self.nodes.get(&id).copied()
    }

    /// Nodes that get what goes into this one without a link: of its group, or offered by its program. Itself may be among
    /// them.
    pub(crate) fn within(&self, id: u32) -> impl Iterator<Item = u32> {
        let node = self.node(id);
        let group = node
            .and_then(|node| node.link_group.as_deref())
            .and_then(|group| self.groups.get(group));
        let offered = node
            .filter(|node| is_recording_stream(node))
            .and_then(|node| self.offered.get(&node.client?));
        group.into_iter().chain(offered).flatten().copied()
    }

    /// Nodes that are linked to an output of this one and get what goes into it.
    pub(crate) fn linked(&self, id: u32) -> impl Iterator<Item = u32> {
        let repeats = |node: &NodeFacts| !(node.hardware && node.media_class == "Audio/Duplex");
        let passes = self.node(id).is_none_or(repeats);
        let next = self.next.get(&id).filter(|_| passes);
        next.into_iter().flatten().copied()
    }

    /// Nodes that are linked to an output of this one.
    pub(crate) fn readers(&self, id: u32) -> impl Iterator<Item = u32> {
        self.next.get(&id).into_iter().flatten().copied()
    }
}

/// Sources that apps can record from. The monitor of a sink is no node of its own but ports of a sink, so it never is
/// one. What WirePlumber keeps for itself (`Audio/Source/Internal`) is none either.
pub(crate) fn is_source(node: &NodeFacts) -> bool {
    matches!(
        node.media_class.as_str(),
        "Audio/Source" | "Audio/Source/Virtual" | "Audio/Duplex"
    )
}

/// A filter (JACK clients, EasyEffects) has no media class; it may record as well.
pub(crate) fn is_recording_stream(node: &NodeFacts) -> bool {
    !node.hardware && (node.media_class.is_empty() || node.media_class.starts_with("Stream/Input"))
}
