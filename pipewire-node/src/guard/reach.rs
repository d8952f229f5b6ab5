//! Whom the sound of a real mic reaches by another way than through the gate, and through what. Pure: takes the graph as plain
//! facts. Who these nodes are, whether the user trusts them and what is done about them is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{
    choose::{OUR_PREFIX, derived_from_us},
    flow::{Flow, Graph, NodeFacts, is_recording_stream, is_source},
};

/// A node into which a real mic's sound is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The node that records.
    pub(crate) node: u32,
    /// The real mic.
    pub(crate) mic: u32,
    /// The nodes between them, in the order of the sound's way; empty if one is linked to the other.
    pub(crate) through: Vec<u32>,
}

/// Every node that gets a real mic's sound over a link, past the gate, by its id. Our own nodes let nothing through, for what
/// comes out of them comes through the gate. Of several ways the shortest is told, and of several mics the one whose sound no
/// other mic feeds.
///
/// A node that nobody's program owns and that is a device by its class (a null sink) keeps nothing of what goes into it: it
/// is a part of the way, not its end. So is what the program that made the mic itself links to it: the session manager.
pub(crate) fn reach(graph: Graph<'_>) -> Vec<Reached> {
    if !any_reader(graph) {
        return Vec::new();
    }
    let flow = Flow::new(graph);
    let derived = derived_from_us(graph, &flow);
    let ours = ours(graph);
    let mics: Vec<&NodeFacts> = mics_of(graph, &ours, &derived).collect();
    let ways: Vec<(&NodeFacts, Ways)> = mics
        .iter()
        .map(|mic| (*mic, Ways::from(mic.id, &flow, &ours)))
        .collect();
    let fed = |mic: &NodeFacts| {
        let feeds = |(other, ways): &&(&NodeFacts, Ways)| {
            other.id != mic.id && ways.before.contains_key(&mic.id)
        };
        ways.iter().filter(feeds).count()
    };
    let mut best: BTreeMap<u32, (usize, usize, Reached)> = BTreeMap::new();
    for (mic, ways) in &ways {
        let fed = fed(mic);
        for node in ways.linked.iter().filter_map(|id| flow.node(*id)) {
            if !keeps(node) || (node.client.is_some() && node.client == mic.client) {
                continue;
            }
            let through = ways.through(node.id);
            let found = (
                fed,
                through.len(),
                Reached {
                    node: node.id,
                    mic: mic.id,
                    through,
                },
            );
            let key = |it: &(usize, usize, Reached)| (it.0, it.1, it.2.mic);
            match best.get(&node.id) {
                Some(known) if key(known) <= key(&found) => {}
                _ => drop(best.insert(node.id, found)),
            }
        }
    }
    best.into_values().map(|(_, _, reached)| reached).collect()
}

/// All real mics: sources whose sound comes from nowhere else in the graph, and not from us.
pub(crate) fn mics(graph: Graph<'_>) -> BTreeSet<u32> {
    let derived = derived_from_us(graph, &Flow::new(graph));
    mics_of(graph, &ours(graph), &derived)
        .map(|mic| mic.id)
        .collect()
}

fn mics_of<'a>(
    graph: Graph<'a>,
    ours: &BTreeSet<u32>,
    derived: &BTreeSet<u32>,
) -> impl Iterator<Item = &'a NodeFacts> {
    graph.nodes.iter().filter(move |node| {
        is_origin(node, graph, ours) && (node.hardware || !derived.contains(&node.id))
    })
}

/// Whether anything but the gate is linked to a source at all: most of the time nothing is, and no more has to be looked at.
fn any_reader(graph: Graph<'_>) -> bool {
    let ours = ours(graph);
    let sources: BTreeSet<u32> = graph
        .nodes
        .iter()
        .filter(|node| is_origin(node, graph, &ours))
        .map(|node| node.id)
        .collect();
    graph
        .links
        .iter()
        .any(|(output, input)| sources.contains(output) && !ours.contains(input))
}

/// Our connection's nodes. Not by name: anybody can take ours.
fn ours(graph: Graph<'_>) -> BTreeSet<u32> {
    let own = |node: &&NodeFacts| graph.own_client.is_some() && node.client == graph.own_client;
    graph.nodes.iter().filter(own).map(|node| node.id).collect()
}

/// A source whose sound does not come from another node: hardware, and what a program or the server offers as a source
/// while it records nothing itself. A silent source of ours, which the server makes, has our name.
fn is_origin(node: &NodeFacts, graph: Graph<'_>, ours: &BTreeSet<u32>) -> bool {
    let source = is_source(node) || node.media_class == "Audio/Source/Internal";
    let processes = |other: &NodeFacts| {
        let one_group = node.link_group.is_some() && other.link_group == node.link_group;
        let fed = || graph.links.iter().any(|(_, input)| *input == other.id);
        let one_program = node.client.is_some() && other.client == node.client && fed();
        is_recording_stream(other) && other.id != node.id && (one_group || one_program)
    };
    source
        && !ours.contains(&node.id)
        && (node.hardware
            || !(node.name.starts_with(OUR_PREFIX) || graph.nodes.iter().any(processes)))
}

/// Whether somebody has what goes into the node: its program, or nobody knows who.
fn keeps(node: &NodeFacts) -> bool {
    node.client.is_some() || !node.media_class.starts_with("Audio/")
}

/// All ways of one mic's sound.
struct Ways {
    mic: u32,
    /// Every node that it reaches, with the node before it on a shortest way.
    before: BTreeMap<u32, u32>,
    /// Those of them that it goes into over a link.
    linked: BTreeSet<u32>,
}

impl Ways {
    fn from(mic: u32, flow: &Flow<'_>, ours: &BTreeSet<u32>) -> Self {
        let mut ways = Self {
            mic,
            before: BTreeMap::new(),
            linked: BTreeSet::new(),
        };
        // Also of hardware that plays and records at once: what it records is what its readers get.
        let mut open: std::collections::VecDeque<u32> = [mic].into();
        while let Some(id) = open.pop_front() {
            let linked: Vec<u32> = match id == mic {
                true => flow.readers(id).collect(),
                false => flow.linked(id).collect(),
            };
            let within = flow.within(id).filter(|_| id != mic);
            for (to, over_link) in linked
                .iter()
                .map(|to| (*to, true))
                .chain(within.map(|to| (to, false)))
            {
                if to == mic || ours.contains(&to) {
                    continue;
                }
                if over_link {
                    ways.linked.insert(to);
                }
                ways.before.entry(to).or_insert_with(|| {
                    open.push_back(to);
                    id
                });
            }
        }
        ways
    }

    fn through(&self, node: u32) -> Vec<u32> {
        let mut through = Vec::new();
        let mut at = node;
        while let Some(before) = self.before.get(&at).filter(|before| **before != self.mic) {
            through.push(*before);
            at = *before;
        }
        through.reverse();
        through
    }
}

#[cfg(test)]
mod tests;
