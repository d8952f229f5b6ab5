//! From the registry's model to the choice of the real mic. The rules are in `graph/choose.rs`.

use super::Options;
use crate::graph::{
    choose::{Choice, Graph, NamePattern, NodeFacts, Wish, choose},
    model::Model,
};

/// The real mic to follow, as node id.
pub(super) fn follow(model: &Model, options: &Options, virtual_mic: Option<u32>) -> Option<u32> {
    let nodes: Vec<NodeFacts> = model
        .nodes
        .iter()
        .map(|(id, node)| NodeFacts {
            id: *id,
            name: node.prop("node.name").to_owned(),
            media_class: node.prop("media.class").to_owned(),
            priority: node.prop("priority.session").parse().unwrap_or(0),
            link_group: node.props.get("node.link-group").cloned(),
            client: node.client(),
            hardware: node.props.contains_key("device.id"),
        })
        .collect();
    let links: Vec<(u32, u32)> = model
        .links
        .values()
        .map(|l| (l.output_node, l.input_node))
        .collect();
    let own_client = virtual_mic
        .and_then(|id| model.nodes.get(&id))
        .and_then(|node| node.client());
    let pattern = |name: &String| NamePattern(name.clone());
    let wish = Wish {
        chosen: options.real_mic.as_ref().map(pattern),
        allowed: options
            .allowed_real_mics
            .as_ref()
            .map(|names| names.iter().map(pattern).collect()),
        configured_default: model.configured_source.clone(),
        default: model.default_source.clone(),
    };
    match choose(
        Graph {
            nodes: &nodes,
            links: &links,
            own_client,
        },
        &wish,
    ) {
        Choice::Follow { node, .. } => Some(node),
        Choice::Nothing => None,
    }
}
