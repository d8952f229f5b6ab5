//! Where the pulls of each node are counted, as the counting side tells of links: by the real-time thread of the source that
//! it is linked to, or by the estimator.

use truemute_core::ledger::SlotWriter;

use super::{Clients, Entry, Linked, Place};
use crate::{
    count::{activation::ActivationRecord, books::Account, table::Peer},
    engine::{
        estimate::Estimate,
        sides::{Side, Tables},
    },
    graph::model::{Model, Node},
    monotonic::monotonic_ns,
};

impl Clients {
    /// The counting side found a node's record: counts from now on, whoever it is.
    pub(in crate::engine) fn joined(
        &mut self,
        node: u32,
        side: Side,
        (record, joined_ns): (ActivationRecord, u64),
        model: &Model,
        tables: &Tables<'_>,
    ) {
        // The server gives a number again at once: what joins under it may be another client, also where the registry's view
        // of both comes in one turn.
        let serial = model.nodes.get(&node).and_then(Node::serial);
        let is_another = |entry: &Entry| entry.left && (serial.is_none() || entry.serial != serial);
        if self.by_node.get(&node).is_some_and(is_another) {
            self.leave(node);
        }
        let entry = self.entry(node, serial);
        let linked = Linked {
            side,
            record,
            joined_ns,
        };
        if entry.side.is_some() {
            entry.other = Some(linked);
        } else {
            self.count(node, linked, tables);
        }
    }

    fn count(&mut self, node: u32, linked: Linked, tables: &Tables<'_>) {
        let Some(entry) = self.by_node.get_mut(&node) else {
            return;
        };
        let Linked {
            side,
            record,
            joined_ns,
        } = linked;
        (entry.side, entry.left) = (Some(side), false);
        let account = match std::mem::replace(&mut entry.place, Place::Nowhere) {
            Place::Here(account) => account,
            place => return entry.place = place,
        };
        if let Some(estimate) = &mut self.estimate {
            match side {
                Side::Mic => {
                    entry.place = Place::Estimating;
                    estimate.follow(node, account, joined_ns);
                }
                // The estimator knows the cycles of the virtual mic only.
                Side::Aside => entry.place = Place::Here(account),
            }
            return;
        }
        let peer = Peer {
            joined_ns,
            node_id: node,
            account,
            record: record.clone(),
        };
        match tables.add(side, peer) {
            Some(Ok(())) => entry.place = Place::Counting { _record: record },
            Some(Err(full)) => {
                tracing::warn!("{full}");
                entry.place = Place::Here(full.0.account);
            }
            None => tracing::error!(
                node,
                "the audio thread does not answer: a client is not counted"
            ),
        }
    }

    /// A node was unlinked from a source of ours: its record is read once more and let go of.
    pub(in crate::engine) fn left(&mut self, node: u32, side: Side, tables: &Tables<'_>) {
        let Some(entry) = self.by_node.get_mut(&node) else {
            return;
        };
        if entry.side != Some(side) {
            entry.other = entry.other.take().filter(|other| other.side != side);
            return;
        }
        match (&entry.place, &mut self.estimate) {
            (Place::Counting { .. }, _) => {
                let peer = tables.remove(side, node);
                entry.place = peer.map_or(Place::Nowhere, |peer| Place::Here(peer.account));
            }
            (Place::Estimating, Some(estimate)) => {
                estimate.leave(node, monotonic_ns());
                entry.place = Place::Leaving;
            }
            _ => {}
        }
        (entry.side, entry.left) = (None, true);
        if let Some(other) = entry.other.take() {
            self.count(node, other, tables);
        } else if entry.client.is_none() {
            self.leave(node);
        }
    }

    /// A client has corked: whoever sees that sees all of its pulls.
    pub(super) fn settle_pulls(&self, node: u32, tables: &Tables<'_>) {
        if let Some(entry) = self.by_node.get(&node)
            && let (Place::Counting { .. }, Some(side)) = (&entry.place, entry.side)
        {
            tables.settle(side, node);
        }
    }

    /// A source of ours goes, which has no clients: lets go of whoever else was counted there (the graph's driver).
    pub(in crate::engine) fn leave_side(&mut self, side: Side, tables: &Tables<'_>) {
        let counted = |(node, entry): (&u32, &Entry)| {
            let there = entry.other.as_ref().is_some_and(|it| it.side == side);
            (entry.side == Some(side) || there).then_some(*node)
        };
        let nodes: Vec<u32> = self.by_node.iter().filter_map(counted).collect();
        for node in nodes {
            self.left(node, side, tables);
        }
    }

    /// Counts from the profiler from now on. What was read from records until now is thrown away: they were not what
    /// we took them for, or nobody wants them.
    pub(in crate::engine) fn estimate(
        &mut self,
        estimate: Estimate,
        now_ns: u64,
        tables: &Tables<'_>,
    ) {
        self.estimate = Some(estimate);
        let counting = |(node, entry): (&u32, &Entry)| {
            let side = entry.side?;
            matches!(entry.place, Place::Counting { .. }).then_some((*node, side))
        };
        let nodes: Vec<_> = self.by_node.iter().filter_map(counting).collect();
        for (node, side) in nodes {
            let former = tables.remove(side, node);
            let (Some(entry), Some(estimate)) = (self.by_node.get_mut(&node), &mut self.estimate)
            else {
                continue;
            };
            if let Some(writer) = former.and_then(|peer| peer.account.slot) {
                self.ledger.release(writer);
            }
            let slot = self.ledger.claim(entry.id);
            entry.slot = slot.as_ref().map(SlotWriter::slot);
            entry.last = None;
            let account = Account {
                client: entry.id,
                slot,
            };
            match side {
                Side::Mic => {
                    entry.place = Place::Estimating;
                    estimate.follow(node, account, now_ns);
                }
                Side::Aside => entry.place = Place::Here(account),
            }
        }
    }
}
