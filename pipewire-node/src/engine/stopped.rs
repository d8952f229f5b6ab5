//! Nodes of ours that another client has stopped: any client may send a node the command to pause. The server hands it on and
//! takes the node for running still (`node_send_command`, src/pipewire/impl-node.c), so nobody would start it again, and
//! clients would get nothing more. A pause of the server's own comes with the node's new state.

use std::collections::BTreeMap;

use crate::graph::model::{Model, NodeState};

/// How long a node may be stopped and still be told as running: the server's news of its state comes after the command.
const GRACE_NS: u64 = 50_000_000;

/// Since when which node is stopped although the server takes it for running.
#[derive(Default)]
pub(super) struct Stopped(BTreeMap<u32, u64>);

impl Stopped {
    /// Takes the nodes of ours that do not run now; says which of them to start again.
    pub(super) fn overdue(
        &mut self,
        stopped: impl Iterator<Item = u32>,
        model: &Model,
        now_ns: u64,
    ) -> Vec<u32> {
        let runs = |node: &u32| {
            let node = model.nodes.get(node);
            node.is_some_and(|node| node.state == NodeState::Running)
        };
        let since = std::mem::take(&mut self.0);
        let mut overdue = Vec::new();
        for node in stopped.filter(runs) {
            let mut since_ns = *since.get(&node).unwrap_or(&now_ns);
            if now_ns.saturating_sub(since_ns) >= GRACE_NS {
                overdue.push(node);
                since_ns = now_ns;
            }
            self.0.insert(node, since_ns);
        }
        overdue
    }

    /// When [`Self::overdue`] has to be asked again.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let due = self.0.values().map(|since_ns| since_ns + GRACE_NS);
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::model::Node;

    fn model(state: NodeState) -> Model {
        let mut model = Model::default();
        let node = Node {
            props: Default::default(),
            state,
            told: true,
        };
        model.nodes.insert(7, node);
        model
    }

    #[test]
    fn what_the_server_takes_for_running_is_started_again_after_a_grace() {
        let (running, idle) = (model(NodeState::Running), model(NodeState::Idle));
        let mut stopped = Stopped::default();
        let mut at = |now_ns, nodes: &[u32], model: &Model| {
            let overdue = stopped.overdue(nodes.iter().copied(), model, now_ns);
            (overdue, stopped.due_ns())
        };
        assert_eq!(at(1, &[7], &running), (vec![], Some(1 + GRACE_NS)));
        // The server paused it.
        assert_eq!(at(2, &[7], &idle), (vec![], None));
        assert_eq!(at(3, &[7], &running), (vec![], Some(3 + GRACE_NS)));
        let due = 3 + GRACE_NS;
        assert_eq!(at(due, &[7], &running), (vec![7], Some(due + GRACE_NS)));
        assert!(at(due + 1, &[7], &running).0.is_empty());
        assert_eq!(at(due + 2, &[], &running), (vec![], None));
    }
}
