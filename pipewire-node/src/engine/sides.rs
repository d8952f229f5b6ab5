//! The two sources that a client can record from, and the counting of each on the real-time thread.

use super::data_loop::DataLoop;
use crate::{
    aside::SilentCycle,
    count::table::{Peer, TableFull},
    sample::Cycle,
};

/// A source of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The virtual mic.
    Mic,
    /// The silent source, for apps that are muted by themselves.
    Aside,
}

/// Who is counted where, as the main thread may change it.
pub(super) struct Tables<'a> {
    pub(super) mic: &'a DataLoop<Cycle>,
    /// None while there is no silent source.
    pub(super) aside: Option<&'a DataLoop<SilentCycle>>,
}

impl Tables<'_> {
    /// Counts a peer from now on; nothing if the data loop refuses.
    pub(super) fn add(&self, side: Side, peer: Peer) -> Option<Result<(), TableFull>> {
        match side {
            Side::Mic => self.mic.run(|cycle| cycle.add_peer(peer)),
            Side::Aside => self.aside?.run(|cycle| cycle.add_peer(peer)),
        }
    }

    /// Looks at a peer a last time and hands it back.
    pub(super) fn remove(&self, side: Side, node: u32) -> Option<Peer> {
        match side {
            Side::Mic => self.mic.run(|cycle| cycle.remove_peer(node)).flatten(),
            Side::Aside => self.aside?.run(|cycle| cycle.remove_peer(node)).flatten(),
        }
    }

    /// Counts the latest pull of a peer that stands still.
    pub(super) fn settle(&self, side: Side, node: u32) {
        match (side, self.aside) {
            (Side::Mic, _) => drop(self.mic.run(|cycle| cycle.settle_peer(node))),
            (Side::Aside, Some(aside)) => drop(aside.run(|cycle| cycle.settle_peer(node))),
            (Side::Aside, None) => {}
        }
    }
}
