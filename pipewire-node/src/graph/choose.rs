//! Which real mic the virtual one follows. Pure: takes the graph as plain facts and the wishes of user, policy and
//! desktop, gives one node or none. What must never be followed is decided first ([`derived_from_us`]): following
//! ourselves, even through three other programs, would be a feedback loop, and a way around the gate.

use std::collections::BTreeSet;

use super::flow::{Flow, Graph, NodeFacts, is_source};

/// Names of our own nodes begin with this.
pub(crate) const OUR_PREFIX: &str = "truemute.";

/// A source by its `node.name`, exactly, or by its beginning if it ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern(pub(crate) String);

impl NamePattern {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

/// What user, policy and desktop want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The real mics that the user chose in our configuration, the most wanted first.
    pub(crate) chosen: Vec<NamePattern>,
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

/// The first of the user's choices that is there, else the default that the user configured, else the current default, else the source of the
/// highest priority: the first of them that is there and may be followed. A default that is TrueMute itself, as on a
/// desktop where apps take it by default, is passed over. Depends on the facts alone, not on their order.
pub(crate) fn choose(graph: Graph<'_>, wish: &Wish) -> Choice {
    let derived = derived_from_us(graph, &Flow::new(graph));
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
        .iter()
        .find_map(|it| candidates.iter().find(|node| it.matches(&node.name)));
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

/// Our own nodes, and every node that our sound can reach, in any number of hops ([`Flow`]).
pub(crate) fn derived_from_us(graph: Graph<'_>, flow: &Flow<'_>) -> BTreeSet<u32> {
    let mut derived = BTreeSet::new();
    let mut open: Vec<u32> = graph
        .nodes
        .iter()
        .filter(|node| is_ours(node, graph.own_client))
        .map(|it| it.id)
        .collect();
    while let Some(id) = open.pop() {
        if derived.insert(id) {
            open.extend(flow.within(id));
            open.extend(flow.linked(id));
        }
    }
    derived
}

/// By name too: whoever else uses ours is not followed either.
fn is_ours(node: &NodeFacts, own_client: Option<u32>) -> bool {
    node.name.starts_with(OUR_PREFIX) || (own_client.is_some() && node.client == own_client)
}

#[cfg(test)]
mod tests;
