//! Which real mic the virtual one follows. Pure: takes the graph as plain facts and the wishes of user, policy and
//! desktop, gives one node or none. What must never be followed is decided first ([`derived_from_us`]): following
//! ourselves, even through three other programs, would be a feedback loop, and a way around the gate.

use std::collections::{BTreeMap, BTreeSet};

/// Names of our own nodes begin with this; whoever else uses it is not followed either.
const OUR_PREFIX: &str = "truemute.";

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

/// A source by its `node.name`, exactly, or by its beginning if it ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern(pub(crate) String);

impl NamePattern {
    fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

/// What user, policy and desktop want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The real mic that the user chose in our configuration.
    pub(crate) chosen: Option<NamePattern>,
    /// If there: nothing else may be followed, whoever wants it.
    pub(crate) allowed: Option<Vec<NamePattern>>,
    /// The name in the metadata's `default.configured.audio.source`: what the user told the desktop.
    pub(crate) configured_default: Option<String>,
    /// The name in the metadata's `default.audio.source`: what the session manager made of it.
    pub(crate) default: Option<String>,
}

/// Why a source was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Our configuration names it.
    Chosen,
    /// The user made it the desktop's default.
    ConfiguredDefault,
    /// The session manager made it the default.
    Default,
    /// It has the highest priority of all.
    Priority,
}

/// Which real mic to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This one.
    Follow {
        /// [`NodeFacts::id`].
        node: u32,
        /// Why.
        why: Why,
    },
    /// There is none that may be followed.
    Nothing,
}

/// The user's choice, else the default that the user configured, else the current default, else the source of the
/// highest priority: the first of them that is there and may be followed. A default that is TrueMute itself, as on a
/// desktop where apps take it by default, is passed over. Depends on the facts alone, not on their order.
pub(crate) fn choose(graph: Graph<'_>, wish: &Wish) -> Choice {
    let derived = derived_from_us(graph);
    let mut candidates: Vec<&NodeFacts> = graph
        .nodes
        .iter()
        .filter(|node| is_source(node) && !derived.contains(&node.id))
        .filter(|node| match &wish.allowed {
            Some(allowed) => allowed.iter().any(|it| it.matches(&node.name)),
            None => true,
        })
        .collect();
    candidates.sort_by_key(|node| (std::cmp::Reverse(node.priority), &node.name, node.id));

    let named = |name: &Option<String>| {
        candidates
            .iter()
            .find(|node| Some(&node.name) == name.as_ref())
    };
    let chosen = wish
        .chosen
        .as_ref()
        .and_then(|it| candidates.iter().find(|node| it.matches(&node.name)));
    let ranked = [
        (chosen, Why::Chosen),
        (named(&wish.configured_default), Why::ConfiguredDefault),
        (named(&wish.default), Why::Default),
        (candidates.first(), Why::Priority),
    ];
    match ranked
        .into_iter()
        .find_map(|(node, why)| Some((node?, why)))
    {
        Some((node, why)) => Choice::Follow { node: node.id, why },
        None => Choice::Nothing,
    }
}

/// Sources that apps can record from. The monitor of a sink is no node of its own but ports of a sink, so it never is
/// one. What WirePlumber keeps for itself (`Audio/Source/Internal`) is none either.
fn is_source(node: &NodeFacts) -> bool {
    matches!(
        node.media_class.as_str(),
        "Audio/Source" | "Audio/Source/Virtual" | "Audio/Duplex"
    )
}

/// Our own nodes, and every node that our sound can reach, in any number of hops:
/// - over a link, from its output node to its input node;
/// - through a node, but not through hardware that plays and records at once (a sink's monitor counts: it repeats);
/// - from one node of a link group to the others;
/// - within one client, from a stream that it records with to a source that it offers. To the streams that it plays,
///   only by link group: every conferencing app records from us and plays the others' voices to the speakers, and if
///   that counted, an echo canceller that listens to those speakers could not be followed during a call.
///
/// Not seen: an app that plays what it records into a virtual sink, from whose monitor a source is made; what leaves the
/// graph and comes back (snd-aloop, a network stream, a cable).
fn derived_from_us(graph: Graph<'_>) -> BTreeSet<u32> {
    let nodes: BTreeMap<u32, &NodeFacts> = graph.nodes.iter().map(|node| (node.id, node)).collect();
    let mut groups: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut offered: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut next: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for node in graph.nodes {
        if let Some(group) = &node.link_group {
            groups.entry(group).or_default().push(node.id);
        }
        if let Some(client) = node.client
            && is_source(node)
            && !node.hardware
        {
            offered.entry(client).or_default().push(node.id);
        }
    }
    for (output, input) in graph.links {
        next.entry(*output).or_default().push(*input);
    }

    let mut derived = BTreeSet::new();
    let mut open: Vec<u32> = graph
        .nodes
        .iter()
        .filter(|node| is_ours(node, graph.own_client))
        .map(|it| it.id)
        .collect();
    while let Some(id) = open.pop() {
        if !derived.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(&id) else {
            // A link can be known before its node.
            open.extend(next.get(&id).into_iter().flatten());
            continue;
        };
        if let Some(group) = &node.link_group {
            open.extend(groups.get(group.as_str()).into_iter().flatten());
        }
        if let Some(client) = node.client
            && is_recording_stream(node)
        {
            open.extend(offered.get(&client).into_iter().flatten());
        }
        if !(node.hardware && node.media_class == "Audio/Duplex") {
            open.extend(next.get(&id).into_iter().flatten());
        }
    }
    derived
}

fn is_ours(node: &NodeFacts, own_client: Option<u32>) -> bool {
    node.name.starts_with(OUR_PREFIX) || (own_client.is_some() && node.client == own_client)
}

/// A filter (JACK clients, EasyEffects) has no media class; it may record as well.
fn is_recording_stream(node: &NodeFacts) -> bool {
    !node.hardware && (node.media_class.is_empty() || node.media_class.starts_with("Stream/Input"))
}

#[cfg(test)]
mod tests;
