//! From the registry's model to plain facts, and from them to the choice of the real mic. The rules are in
//! `graph/choose.rs`.

use super::Options;
use crate::graph::{
    choose::{Choice, NamePattern, Wish, choose},
    flow::{Graph, NodeFacts},
    model::{Link, Model, Node},
};

/// The graph of one moment, as plain facts.
pub(super) struct Facts {
    nodes: Vec<NodeFacts>,
    links: Vec<(u32, u32)>,
    own_client: Option<u32>,
}

impl Facts {
    /// Taken from the model; our own client is the one of the virtual mic, once that is there.
    pub(super) fn of(model: &Model, virtual_mic: Option<u32>) -> Self {
        let facts = |(id, node): (&u32, &Node)| NodeFacts {
            id: *id,
            name: node.prop("node.name").to_owned(),
            media_class: node.prop("media.class").to_owned(),
            priority: node.prop("priority.session").parse().unwrap_or(0),
            link_group: node.props.get("node.link-group").map(str::to_owned),
            client: node.client(),
            hardware: node.props.contains_key("device.id"),
        };
        let ends = |link: &Link| (link.output_node, link.input_node);
        Self {
            nodes: model.nodes.iter().map(facts).collect(),
            links: model.links.values().map(ends).collect(),
            own_client: virtual_mic.and_then(|id| model.nodes.get(&id)?.client()),
        }
    }

    pub(super) fn graph(&self) -> Graph<'_> {
        Graph {
            nodes: &self.nodes,
            links: &self.links,
            own_client: self.own_client,
        }
    }
}

/// The real mic to follow, as node id.
pub(super) fn follow(graph: Graph<'_>, model: &Model, options: &Options) -> Option<u32> {
    let pattern = |name: &String| NamePattern(name.clone());
    let wish = Wish {
        chosen: options.real_mics.iter().map(pattern).collect(),
        allowed: options
            .allowed_real_mics
            .as_ref()
            .map(|names| names.iter().map(pattern).collect()),
        configured_default: model.configured_source.clone(),
        default: model.default_source.clone(),
    };
    match choose(graph, &wish) {
        Choice::Follow { node, .. } => Some(node),
        Choice::Nothing => None,
    }
}
