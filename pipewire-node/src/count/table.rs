//! From activation records to pulls: once a cycle the table looks at every peer of our output and sees who completed
//! the cycle before. Whose records they are is `peers_feed.rs`; where the counts go is the `PullSink`.
//!
//! Everything here runs on the real-time thread. Nothing allocates, locks, blocks or panics after `new`.

use super::activation::ActivationRecord;

/// How many peers one output can have. The server's own limit is its file descriptors: 128 clients at the usual 1024.
pub(crate) const PEERS: usize = 512;

/// What our output did in one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CycleFacts {
    /// Clock position of the first frame.
    pub(crate) position: u64,
    /// Frames delivered to each client.
    pub(crate) frames: u32,
    /// The graph's rate in Hz.
    pub(crate) rate: u32,
    /// Whether the gate let sound through.
    pub(crate) live: bool,
    /// Whether the cycle was out of the ordinary: a jump of the position, a change of the clock, an xrun of ours.
    pub(crate) flagged: bool,
}

impl CycleFacts {
    /// Time that the frames span, in nanoseconds.
    pub(crate) fn nanoseconds(&self) -> u64 {
        u64::from(self.frames) * 1_000_000_000 / u64::from(self.rate.max(1))
    }
}

/// A peer as the main thread hands it over.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The node's global id on the server. Unique while the peer is here.
    pub(crate) node_id: u32,
    /// The number of the client that it is, for the trace.
    pub(crate) client: u64,
    /// The client's place in the ledger. Without one its pulls are counted as unattributed.
    pub(crate) slot: Option<usize>,
    /// What its node writes.
    pub(crate) record: ActivationRecord,
}

/// One completed delivery to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerPull {
    /// When the peer completed it, in nanoseconds of the monotonic clock.
    pub(crate) finish_ns: u64,
    /// What was delivered.
    pub(crate) cycle: CycleFacts,
    /// Whether something was irregular: see [`PullSink::flag`].
    pub(crate) flagged: bool,
}

/// Where the counts go. Called on the real-time thread.
pub(crate) trait PullSink {
    /// One pull. If it is flagged, it stands for one call of `flag` as well.
    fn pull(&mut self, client: u64, slot: Option<usize>, pull: &PeerPull);
    /// A cycle in which no pull was seen, but an xrun or a late peer: one pull may be missing, or come to light later.
    fn flag(&mut self, client: u64, slot: Option<usize>);
}

/// All peers of our output.
#[derive(Debug)]
pub(crate) struct PeerTable {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// Set by `add`, cleared by the first scan.
    fresh: bool,
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

    /// Takes a peer in. Its first scan is the starting point: until our output has run a cycle with the peer linked,
    /// whatever the peer completes came from another source.
    pub(crate) fn add(&mut self, peer: Peer) -> Result<(), TableFull> {
        if self.entries.len() == PEERS {
            return Err(TableFull(peer));
        }
        let entry = Entry {
            peer,
            fresh: true,
            finish_ns: 0,
            xruns: 0,
            late: false,
            late_signal_ns: 0,
        };
        self.entries.push(entry);
        Ok(())
    }

    /// Looks at the peer a last time and hands it back, so that the caller can unmap its record on another thread.
    /// `delivered` is our latest cycle.
    pub(crate) fn remove(
        &mut self,
        node_id: u32,
        delivered: Option<&CycleFacts>,
        sink: &mut impl PullSink,
    ) -> Option<Peer> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.peer.node_id == node_id)?;
        let mut entry = self.entries.swap_remove(at);
        if let Some(delivered) = delivered {
            entry.scan(u64::MAX, delivered, sink);
        }
        Some(entry.peer)
    }

    /// Counts who completed our latest delivery. Once a cycle, at the start of our output's process callback, before
    /// anything is delivered. `started_ns` is when this cycle began (monotonic clock); `delivered` is our last cycle,
    /// absent before the first.
    pub(crate) fn scan(
        &mut self,
        started_ns: u64,
        delivered: Option<&CycleFacts>,
        sink: &mut impl PullSink,
    ) {
        match delivered {
            Some(delivered) => {
                for entry in &mut self.entries {
                    entry.scan(started_ns, delivered, sink);
                }
            }
            None => {
                for entry in &mut self.entries {
                    entry.start();
                }
            }
        }
    }

    /// Gives a peer another slot, or takes it away.
    pub(crate) fn assign(&mut self, node_id: u32, slot: Option<usize>) {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.peer.node_id == node_id)
        {
            entry.peer.slot = slot;
        }
    }
}

impl Entry {
    fn start(&mut self) {
        let now = self.peer.record.read();
        self.fresh = false;
        self.finish_ns = now.finish_ns;
        self.xruns = now.xruns;
        self.late = false;
        self.late_signal_ns = now.signal_ns;
    }

    fn scan(&mut self, started_ns: u64, delivered: &CycleFacts, sink: &mut impl PullSink) {
        if self.fresh {
            return self.start();
        }
        let now = self.peer.record.read();
        let finished = now.finish_ns != self.finish_ns;
        // The state cannot tell: the driver has reset it for this cycle by now. The times can.
        let in_flight = now.signal_ns > now.finish_ns;
        let newly_late = in_flight && now.signal_ns != self.late_signal_ns;
        let after_the_start = finished && now.finish_ns > started_ns;
        let stumbled = now.xruns != self.xruns;
        let irregular = finished && (delivered.flagged || self.late);
        let flagged = newly_late || after_the_start || stumbled || irregular;
        if finished {
            let pull = PeerPull {
                finish_ns: now.finish_ns,
                cycle: *delivered,
                flagged,
            };
            sink.pull(self.peer.client, self.peer.slot, &pull);
        } else if flagged {
            sink.flag(self.peer.client, self.peer.slot);
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
mod tests {
    use super::super::activation::simulated::SimulatedRecord;
    use super::*;
    use assert_no_alloc::assert_no_alloc;

    const CYCLE: u64 = 21_333_333;

    #[derive(Default, Debug, PartialEq, Eq, Clone)]
    struct Counted {
        live: u64,
        muted: u64,
        frames: u64,
        nanoseconds: u64,
        flagged: u64,
    }

    /// Sums by client number.
    #[derive(Default)]
    struct Sums(Vec<Counted>, Counted);

    impl Sums {
        fn of(clients: usize) -> Self {
            Sums(vec![Counted::default(); clients], Counted::default())
        }
        fn at(&mut self, client: u64, slot: Option<usize>) -> &mut Counted {
            match slot {
                Some(_) => &mut self.0[client as usize],
                None => &mut self.1,
            }
        }
    }

    impl PullSink for Sums {
        fn pull(&mut self, client: u64, slot: Option<usize>, pull: &PeerPull) {
            let counted = self.at(client, slot);
            *(if pull.cycle.live {
                &mut counted.live
            } else {
                &mut counted.muted
            }) += 1;
            counted.frames += u64::from(pull.cycle.frames);
            counted.nanoseconds += pull.cycle.nanoseconds();
            counted.flagged += u64::from(pull.flagged);
        }
        fn flag(&mut self, client: u64, slot: Option<usize>) {
            self.at(client, slot).flagged += 1;
        }
    }

    fn facts(cycle: u64, live: bool) -> CycleFacts {
        CycleFacts {
            position: cycle * 1024,
            frames: 1024,
            rate: 48_000,
            live,
            flagged: false,
        }
    }

    /// A graph of one output and its peers, with the table beside it.
    struct Graph {
        table: PeerTable,
        sums: Sums,
        peers: Vec<SimulatedRecord>,
        cycle: u64,
        delivered: Option<CycleFacts>,
    }

    impl Graph {
        fn new(peers: usize) -> Self {
            let mut graph = Graph {
                table: PeerTable::new(),
                sums: Sums::of(peers),
                peers: (0..peers).map(|_| SimulatedRecord::new()).collect(),
                cycle: 1000,
                delivered: None,
            };
            (0..peers).for_each(|n| graph.join(n));
            graph
        }

        fn join(&mut self, n: usize) {
            let peer = Peer {
                node_id: n as u32,
                client: n as u64,
                slot: Some(n),
                record: self.peers[n].record(),
            };
            self.table.add(peer).unwrap();
        }

        fn now(&self) -> u64 {
            self.cycle * CYCLE
        }

        /// Our callback: look at the last cycle, deliver this one.
        fn callback(&mut self, live: bool) {
            self.callback_with(CycleFacts {
                live,
                ..facts(self.cycle + 1, live)
            });
        }

        fn callback_with(&mut self, next: CycleFacts) {
            self.cycle += 1;
            let started_ns = self.now();
            let (table, sums, delivered) =
                (&mut self.table, &mut self.sums, self.delivered.as_ref());
            assert_no_alloc(|| table.scan(started_ns, delivered, sums));
            self.delivered = Some(next);
        }

        fn pulls(&mut self, n: usize) {
            let now = self.now();
            self.peers[n].signalled(now + 10_000);
            self.peers[n].finished(now + 30_000);
        }

        fn leave(&mut self, n: usize) -> Option<Peer> {
            self.table
                .remove(n as u32, self.delivered.as_ref(), &mut self.sums)
        }
    }

    #[test]
    fn counts_each_completed_cycle_once_and_what_it_spanned() {
        let mut graph = Graph::new(1);
        for _ in 0..100 {
            graph.callback(true);
            graph.pulls(0);
        }
        graph.callback(true);
        let expected = Counted {
            live: 100,
            muted: 0,
            frames: 102_400,
            nanoseconds: 100 * 21_333_333,
            flagged: 0,
        };
        assert_eq!(graph.sums.0[0], expected);
    }

    #[test]
    fn counts_nothing_for_a_peer_that_stands_still() {
        let mut graph = Graph::new(1);
        graph.callback(true);
        graph.pulls(0);
        for _ in 0..50 {
            graph.callback(true);
        }
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (1, 0));
    }

    #[test]
    fn books_a_pull_on_the_state_of_the_cycle_that_delivered_it() {
        let mut graph = Graph::new(1);
        let states = [true, false, false, true, false, true, true, true, false];
        for live in states {
            graph.callback(live);
            graph.pulls(0);
        }
        // The state of the cycle in which the last pull is seen does not matter.
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].muted), (5, 4));
    }

    #[test]
    fn books_what_each_cycle_delivered_when_quantum_and_rate_change() {
        let mut graph = Graph::new(1);
        for (frames, rate) in [(64, 48_000), (1024, 44_100), (256, 96_000)] {
            graph.callback_with(CycleFacts {
                frames,
                rate,
                ..facts(0, false)
            });
            graph.pulls(0);
        }
        graph.callback(true);
        let nanoseconds = 64 * 1_000_000_000 / 48_000
            + 1024 * 1_000_000_000 / 44_100
            + 256 * 1_000_000_000 / 96_000;
        assert_eq!(
            graph.sums.0[0],
            Counted {
                live: 0,
                muted: 3,
                frames: 64 + 1024 + 256,
                nanoseconds,
                flagged: 0
            }
        );
    }

    #[test]
    fn reads_once_more_when_a_peer_leaves() {
        let mut graph = Graph::new(2);
        graph.callback(true);
        graph.callback(false);
        graph.pulls(0);
        graph.pulls(1);
        let gone = graph.leave(0).unwrap();
        assert_eq!((gone.node_id, gone.client, gone.slot), (0, 0, Some(0)));
        assert_eq!((graph.sums.0[0].muted, graph.sums.0[0].flagged), (1, 0));
        assert!(graph.leave(0).is_none());
        graph.callback(false);
        assert_eq!(graph.sums.0[1].muted, 1);
        assert_eq!(graph.sums.0[0].muted, 1);
    }

    #[test]
    fn flags_a_peer_that_leaves_in_the_middle_of_a_cycle() {
        let mut graph = Graph::new(1);
        graph.callback(true);
        let now = graph.now();
        graph.callback(true);
        graph.peers[0].signalled(now + CYCLE + 10_000);
        graph.leave(0);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (0, 1));
    }

    #[test]
    fn does_not_count_what_a_peer_completed_before_our_first_cycle_with_it() {
        let mut graph = Graph::new(1);
        graph.pulls(0);
        graph.callback(true);
        graph.pulls(0);
        graph.callback(true);
        assert_eq!(graph.sums.0[0].live, 1);
    }

    #[test]
    fn counts_a_peer_that_comes_back_anew() {
        let mut graph = Graph::new(1);
        graph.callback(true);
        graph.pulls(0);
        graph.leave(0);
        // Meanwhile it records from somewhere else.
        graph.callback(true);
        graph.pulls(0);
        graph.join(0);
        graph.callback(true);
        graph.pulls(0);
        graph.callback(true);
        assert_eq!(graph.sums.0[0].live, 2);
    }

    #[test]
    fn flags_a_late_peer_once_for_each_signal() {
        let mut graph = Graph::new(1);
        graph.callback(true);
        let now = graph.now();
        graph.peers[0].signalled(now + 10_000);
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (0, 1));
        // Paused while signalled: it stays so, and is no later for it.
        for _ in 0..20 {
            graph.callback(true);
        }
        assert_eq!(graph.sums.0[0].flagged, 1);
        let now = graph.now();
        graph.peers[0].finished(now + 5_000);
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (1, 2));
        graph.pulls(0);
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (2, 2));
    }

    #[test]
    fn flags_a_pull_that_completes_after_the_next_cycle_began() {
        let mut graph = Graph::new(1);
        graph.callback(true);
        let now = graph.now();
        graph.peers[0].signalled(now + 10_000);
        graph.peers[0].finished(now + CYCLE + 1);
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (1, 1));
    }

    #[test]
    fn flags_what_the_server_calls_an_xrun() {
        let mut graph = Graph::new(2);
        graph.callback(true);
        graph.pulls(0);
        graph.pulls(1);
        graph.peers[0].now.xruns = 3;
        graph.peers[0].store();
        graph.callback(true);
        assert_eq!((graph.sums.0[0].live, graph.sums.0[0].flagged), (1, 1));
        assert_eq!((graph.sums.0[1].live, graph.sums.0[1].flagged), (1, 0));
    }

    #[test]
    fn flags_only_those_who_pulled_when_our_own_cycle_was_irregular() {
        let mut graph = Graph::new(2);
        graph.callback(true);
        graph.callback_with(CycleFacts {
            flagged: true,
            ..facts(0, true)
        });
        graph.pulls(0);
        graph.callback(true);
        assert_eq!((graph.sums.0[0].flagged, graph.sums.0[1].flagged), (1, 0));
    }

    #[test]
    fn counts_a_peer_without_a_slot_as_unattributed_until_it_gets_one() {
        let mut graph = Graph::new(1);
        graph.table.assign(0, None);
        for _ in 0..3 {
            graph.callback(false);
            graph.pulls(0);
        }
        graph.callback(false);
        assert_eq!((graph.sums.0[0].muted, graph.sums.1.muted), (0, 3));
        graph.table.assign(0, Some(0));
        graph.pulls(0);
        graph.callback(false);
        assert_eq!((graph.sums.0[0].muted, graph.sums.1.muted), (1, 3));
    }

    #[test]
    fn refuses_the_peer_that_does_not_fit_and_hands_it_back() {
        let simulated = SimulatedRecord::new();
        let peer = |n: usize| Peer {
            node_id: n as u32,
            client: 0,
            slot: None,
            record: simulated.record(),
        };
        let mut table = PeerTable::new();
        let mut peers = (0..PEERS).map(peer).collect::<Vec<_>>().into_iter();
        let extra = peer(9999);
        assert_no_alloc(|| peers.by_ref().for_each(|peer| table.add(peer).unwrap()));
        assert_eq!(table.add(extra).unwrap_err().0.node_id, 9999);
        table.remove(7, None, &mut Sums::of(1)).unwrap();
        table.add(peer(9999)).unwrap();
    }

    /// Whoever comes, pulls, pauses and goes in whatever order: what the table counts is what the clients did, to the
    /// pull, apart for live and muted.
    #[test]
    fn equals_the_clients_own_counts_under_random_interleavings() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        const CLIENTS: usize = 24;
        let mut graph = Graph::new(CLIENTS);
        let mut own = vec![(0, 0); CLIENTS];
        // Linked since before our latest callback; linked, but without a cycle of ours; away.
        let mut ready = [false; CLIENTS];
        let mut here = [true; CLIENTS];
        for _ in 0..20_000 {
            let live = random(3) == 0;
            graph.callback(live);
            ready.copy_from_slice(&here);
            let mut order: Vec<usize> = (0..CLIENTS).collect();
            order.sort_by_cached_key(|_| random(1 << 30));
            for n in order {
                match random(20) {
                    0 if here[n] => {
                        graph.leave(n).unwrap();
                        here[n] = false;
                        ready[n] = false;
                    }
                    1 if !here[n] => {
                        graph.join(n);
                        here[n] = true;
                    }
                    // Recording from elsewhere, or linked but not active yet.
                    2..12 if !ready[n] => graph.pulls(n),
                    2..16 if ready[n] => {
                        graph.pulls(n);
                        *(if live { &mut own[n].0 } else { &mut own[n].1 }) += 1;
                        if random(10) == 0 {
                            graph.leave(n).unwrap();
                            here[n] = false;
                            ready[n] = false;
                        }
                    }
                    _ => {}
                }
            }
        }
        graph.callback(true);
        let counted: Vec<_> = graph
            .sums
            .0
            .iter()
            .map(|counted| (counted.live, counted.muted))
            .collect();
        assert_eq!(counted, own);
        assert!(own.iter().all(|own| own.0 > 1000 && own.1 > 1000));
        assert!(graph.sums.0.iter().all(|counted| counted.flagged == 0));
    }
}
