//! From activation records to pulls: once a cycle the table looks at every peer of our output and sees who completed
//! the cycle before. Whose records they are is `peers_feed.rs`; where a pull is counted is `books.rs`.
//!
//! Everything here runs on the real-time thread. Nothing allocates, locks, blocks or panics after `new`.

use super::activation::{ActivationRecord, Reading};
use super::books::{Account, Books, CycleFacts};

/// How many peers one output can have. The server's own limit is its file descriptors: 128 clients at the usual 1024, about
/// 2,500 at 20,000. More than the ledger has slots: who has none is counted as unattributed.
pub(crate) const PEERS: usize = 4096;

/// A peer as the main thread hands it over, and gets it back.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The node's global id on the server. Unique while the peer is here.
    pub(crate) node_id: u32,
    /// Whose pulls these are.
    pub(crate) account: Account,
    /// What its node writes.
    pub(crate) record: ActivationRecord,
    /// When it was linked to us, in nanoseconds of the monotonic clock.
    pub(crate) joined_ns: u64,
}

/// All peers of our output.
#[derive(Debug)]
pub(crate) struct PeerTable {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// The latest look at its record.
    now: Reading,
    /// Not scanned since it was added, or since our output paused.
    fresh: bool,
    /// Something was delivered since it was added. By the order of things and not by `joined_ns`: a peer can be added after a
    /// cycle began and before its delivery.
    served: bool,
    finish_ns: u64,
    xruns: u32,
    /// The peer was still at an older cycle at the last scan.
    late: bool,
    /// The signal whose lateness is counted already: a peer that was paused while signalled stays signalled for ever.
    late_signal_ns: u64,
}

/// The table is full; the peer is handed back.
#[derive(Debug, thiserror::Error)]
#[error("more than {PEERS} clients are connected; node {} cannot be counted", .0.node_id)]
pub(crate) struct TableFull(pub(crate) Peer);

impl PeerTable {
    /// Any thread; the only function that allocates.
    pub(crate) fn new() -> Self {
        PeerTable {
            entries: Vec::with_capacity(PEERS),
        }
    }

    /// Takes a peer in. From now on, each cycle that it begins and completes is a pull.
    ///
    /// Call it at once when the feed tells of the peer, with a slot of the ledger: who the peer is may come later, its
    /// pulls are kept. (What we deliver reaches it from the same event on: our library signals the peers, not the server.)
    pub(crate) fn add(&mut self, peer: Peer) -> Result<(), TableFull> {
        if self.entries.len() == PEERS {
            return Err(TableFull(peer));
        }
        let now = peer.record.read();
        let entry = Entry {
            peer,
            now,
            fresh: true,
            served: false,
            finish_ns: now.finish_ns,
            xruns: now.xruns,
            late: false,
            late_signal_ns: now.signal_ns,
        };
        self.entries.push(entry);
        Ok(())
    }

    /// Looks at the peer a last time and hands it back, so that the caller can unmap its record on another thread.
    /// `delivered` is our latest cycle.
    pub(crate) fn remove<const N: usize>(
        &mut self,
        node_id: u32,
        delivered: Option<&CycleFacts>,
        books: &mut Books<'_, N>,
    ) -> Option<Peer> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.peer.node_id == node_id)?;
        let mut entry = self.entries.swap_remove(at);
        if let Some(delivered) = delivered {
            entry.look();
            entry.count(u64::MAX, delivered, Some(delivered), books);
        }
        Some(entry.peer)
    }

    /// A peer stands still, though it is linked: counts what it completed last, which would else wait for our next cycle. One
    /// that is not through with it waits all the same.
    pub(crate) fn settle<const N: usize>(
        &mut self,
        node_id: u32,
        delivered: Option<&CycleFacts>,
        books: &mut Books<'_, N>,
    ) {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.peer.node_id == node_id);
        if let (Some(entry), Some(delivered)) = (entry, delivered) {
            entry.look();
            if !entry.now.in_flight() {
                entry.count(u64::MAX, delivered, Some(delivered), books);
            }
        }
    }

    /// Our output stops: counts who completed `delivered`, our latest cycle. Until the next one a peer may run more than
    /// once unseen.
    pub(crate) fn pause<const N: usize>(
        &mut self,
        delivered: Option<&CycleFacts>,
        books: &mut Books<'_, N>,
    ) {
        for entry in &mut self.entries {
            if let Some(delivered) = delivered {
                entry.look();
                entry.count(u64::MAX, delivered, Some(delivered), books);
            }
            entry.fresh = true;
        }
    }

    /// Counts who completed our latest delivery. Once a cycle, at the start of our output's process callback, before
    /// anything is delivered. `this` is the cycle that begins (what it will deliver does not matter yet); `delivered` is
    /// our last one, absent before the first.
    pub(crate) fn scan<const N: usize>(
        &mut self,
        this: &CycleFacts,
        delivered: Option<&CycleFacts>,
        books: &mut Books<'_, N>,
    ) {
        // All looks first. Each record was just written by another core, so each look waits for memory; in a loop of their
        // own the processor waits for many at once.
        for entry in &mut self.entries {
            entry.look();
        }
        for entry in &mut self.entries {
            entry.count(this.started_ns, this, delivered, books);
            entry.fresh = false;
            entry.served = true;
        }
    }
}

impl Entry {
    fn look(&mut self) {
        self.now = self.peer.record.read();
    }

    /// Counts what the latest look shows.
    fn count<const N: usize>(
        &mut self,
        started_ns: u64,
        this: &CycleFacts,
        delivered: Option<&CycleFacts>,
        books: &mut Books<'_, N>,
    ) {
        let now = self.now;
        // A cycle from before the link took from another source.
        let pulled = now.finish_ns != self.finish_ns && now.awake_ns >= self.peer.joined_ns;
        // The state cannot tell: the driver has reset it for this cycle by now. The times can.
        let in_flight = now.in_flight();
        let newly_late = in_flight && now.signal_ns != self.late_signal_ns;
        let after_the_start = pulled && now.finish_ns > started_ns;
        let stumbled = now.xruns != self.xruns;
        let irregular = pulled && (delivered.is_some_and(|cycle| cycle.flagged) || self.late);
        // Before our first cycle with it the peer may have run more than once (seen with 1.4.2 when we start together, also
        // after a pause: 7 of 148 pulls lost over 12 of them).
        let unseen = pulled && self.fresh;
        let flagged = newly_late || after_the_start || stumbled || irregular || unseen;
        if pulled {
            // A link can run its target once before our first delivery to it: that got nothing of ours, so silence.
            let nothing = CycleFacts {
                live: false,
                ..*this
            };
            let cycle = delivered.filter(|_| self.served).unwrap_or(&nothing);
            books.pull(&mut self.peer.account, now.finish_ns, cycle, flagged);
        } else if flagged {
            books.flag(&mut self.peer.account);
        }
        self.finish_ns = now.finish_ns;
        self.xruns = now.xruns;
        self.late = in_flight;
        if newly_late {
            self.late_signal_ns = now.signal_ns;
        }
    }
}

#[cfg(test)]
mod tests;
