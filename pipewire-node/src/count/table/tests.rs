//! The table against simulated records: every pull once, live or muted as it was, flagged when in doubt.

use super::super::activation::simulated::SimulatedRecord;
use super::super::books::{TraceReceiver, TraceSender, trace_queue};
use super::*;
use assert_no_alloc::assert_no_alloc;
use truemute_core::ledger::{Ledger, SlotSnapshot, SlotWriter, Tally};

const CYCLE: u64 = 21_333_333;
const SLOTS: usize = 32;

fn facts(cycle: u64, live: bool) -> CycleFacts {
    let started_ns = cycle * CYCLE;
    CycleFacts {
        started_ns,
        position: cycle * 1024,
        frames: 1024,
        rate: 48_000,
        live,
        flagged: false,
    }
}

/// A graph of one output and its peers, with the table and the books beside it.
struct Graph {
    table: PeerTable,
    ledger: Ledger<SLOTS>,
    trace: TraceSender,
    traced: TraceReceiver,
    peers: Vec<SimulatedRecord>,
    cycle: u64,
    delivered: Option<CycleFacts>,
}

impl Graph {
    fn new(peers: usize) -> Self {
        let (trace, traced) = trace_queue(1 << 20);
        let mut graph = Graph {
            table: PeerTable::new(),
            ledger: Ledger::new(1),
            trace,
            traced,
            peers: (0..peers).map(|_| SimulatedRecord::new()).collect(),
            cycle: 1000,
            delivered: None,
        };
        for n in 0..peers {
            let slot = graph.ledger.claim(n as u64);
            graph.join(n, slot);
        }
        graph
    }

    fn join(&mut self, n: usize, slot: Option<SlotWriter>) {
        self.join_at(self.now() + 1, n, slot);
    }

    fn join_at(&mut self, joined_ns: u64, n: usize, slot: Option<SlotWriter>) {
        let account = Account {
            client: n as u64,
            slot,
        };
        self.table
            .add(Peer {
                node_id: n as u32,
                account,
                record: self.peers[n].record(),
                joined_ns,
            })
            .unwrap();
    }

    fn now(&self) -> u64 {
        self.cycle * CYCLE
    }

    /// Our callback: look at the last cycle, deliver this one.
    fn callback(&mut self, live: bool) {
        self.callback_with(facts(self.cycle + 1, live));
    }

    fn callback_with(&mut self, next: CycleFacts) {
        self.cycle += 1;
        let this = facts(self.cycle, true);
        let (table, delivered) = (&mut self.table, self.delivered.as_ref());
        let mut books = Books {
            ledger: &self.ledger,
            trace: &mut self.trace,
        };
        assert_no_alloc(|| table.scan(&this, delivered, &mut books));
        let started_ns = self.now();
        self.delivered = Some(CycleFacts { started_ns, ..next });
    }

    fn pulls(&mut self, n: usize) {
        let now = self.now();
        self.peers[n].signalled(now + 10_000);
        self.peers[n].finished(now + 30_000);
    }

    fn leave(&mut self, n: usize) -> Option<Peer> {
        let mut books = Books {
            ledger: &self.ledger,
            trace: &mut self.trace,
        };
        self.table
            .remove(n as u32, self.delivered.as_ref(), &mut books)
    }

    fn pause(&mut self) {
        let mut books = Books {
            ledger: &self.ledger,
            trace: &mut self.trace,
        };
        self.table.pause(self.delivered.as_ref(), &mut books);
    }

    fn settle(&mut self, n: usize) {
        let mut books = Books {
            ledger: &self.ledger,
            trace: &mut self.trace,
        };
        let (table, delivered) = (&mut self.table, self.delivered.as_ref());
        assert_no_alloc(|| table.settle(n as u32, delivered, &mut books));
    }

    fn counts(&self, n: usize) -> SlotSnapshot {
        self.ledger.snapshot(n).unwrap()
    }

    /// Live pulls and flagged cycles.
    fn live_and_flagged(&self, n: usize) -> (u64, u64) {
        (self.counts(n).live.pulls, self.counts(n).xruns)
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
    let counts = graph.counts(0);
    assert_eq!(
        counts.live,
        Tally {
            pulls: 100,
            frames: 102_400,
            nanoseconds: 100 * 21_333_333
        }
    );
    assert_eq!(
        (counts.muted, counts.xruns, counts.lost),
        (Tally::default(), 0, 0)
    );
}

#[test]
fn counts_nothing_for_a_peer_that_stands_still() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    graph.pulls(0);
    for _ in 0..50 {
        graph.callback(true);
    }
    assert_eq!(graph.live_and_flagged(0), (1, 0));
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
    assert_eq!(
        (graph.counts(0).live.pulls, graph.counts(0).muted.pulls),
        (5, 4)
    );
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
    let nanoseconds =
        64 * 1_000_000_000 / 48_000 + 1024 * 1_000_000_000 / 44_100 + 256 * 1_000_000_000 / 96_000;
    assert_eq!(
        graph.counts(0).muted,
        Tally {
            pulls: 3,
            frames: 64 + 1024 + 256,
            nanoseconds
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
    assert_eq!((gone.node_id, gone.account.client), (0, 0));
    let last = graph.ledger.release(gone.account.slot.unwrap()).unwrap();
    assert_eq!((last.muted.pulls, last.xruns), (1, 0));
    assert!(graph.leave(0).is_none());
    graph.callback(false);
    assert_eq!(graph.counts(1).muted.pulls, 1);
}

#[test]
fn flags_a_peer_that_leaves_in_the_middle_of_a_cycle() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    let now = graph.now();
    graph.callback(true);
    graph.peers[0].signalled(now + CYCLE + 10_000);
    graph.leave(0);
    assert_eq!(graph.live_and_flagged(0), (0, 1));
}

#[test]
fn counts_as_silent_what_a_peer_completes_between_link_and_our_first_cycle_with_it() {
    let mut graph = Graph::new(1);
    graph.pulls(0);
    graph.callback(true);
    graph.pulls(0);
    graph.callback(true);
    let slot = graph.leave(0).unwrap().account.slot;
    graph.join(0, slot);
    graph.pulls(0);
    graph.callback(true);
    assert_eq!(
        (graph.counts(0).live.pulls, graph.counts(0).muted.pulls),
        (1, 2)
    );
    // Each time it may have been more than one.
    assert_eq!(graph.counts(0).xruns, 2);
}

#[test]
fn books_what_a_peer_got_that_joined_between_the_start_of_a_cycle_and_its_delivery() {
    for live in [true, false] {
        let mut graph = Graph::new(1);
        graph.callback(!live);
        let slot = graph.leave(0).unwrap().account.slot;
        // The driver has begun the next cycle, and our turn in it is still to come.
        graph.join_at(graph.now() + CYCLE + 1_000, 0, slot);
        graph.callback(live);
        graph.pulls(0);
        graph.callback(!live);
        let counts = graph.counts(0);
        let expected = (u64::from(live), u64::from(!live), 0);
        assert_eq!(
            (counts.live.pulls, counts.muted.pulls, counts.xruns),
            expected
        );
    }
}

#[test]
fn does_not_count_a_cycle_that_began_before_the_link() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    let slot = graph.leave(0).unwrap().account.slot;
    let now = graph.now();
    graph.peers[0].signalled(now - 10);
    graph.join(0, slot);
    graph.peers[0].finished(now + 10);
    graph.callback(true);
    graph.pulls(0);
    graph.callback(true);
    assert_eq!(
        (graph.counts(0).live.pulls, graph.counts(0).muted.pulls),
        (1, 0)
    );
}

#[test]
fn counts_a_peer_that_comes_back_anew() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    graph.pulls(0);
    let gone = graph.leave(0).unwrap();
    // Meanwhile it records from somewhere else.
    graph.callback(true);
    graph.pulls(0);
    graph.join(0, gone.account.slot);
    graph.callback(true);
    graph.pulls(0);
    graph.callback(true);
    assert_eq!(graph.counts(0).live.pulls, 2);
}

#[test]
fn flags_the_first_pull_after_a_pause() {
    first_pull_after_a_pause(|_| {});
}

#[test]
fn flags_it_also_if_the_peer_was_seen_to_stand_still_meanwhile() {
    first_pull_after_a_pause(|graph| graph.settle(0));
}

fn first_pull_after_a_pause(meanwhile: impl Fn(&mut Graph)) {
    let mut graph = Graph::new(1);
    for _ in 0..2 {
        graph.callback(true);
        graph.pulls(0);
    }
    assert_eq!(graph.live_and_flagged(0), (1, 0));
    graph.pause();
    // What it completed before is no reason for doubt.
    assert_eq!(graph.live_and_flagged(0), (2, 0));
    meanwhile(&mut graph);
    graph.cycle += 1;
    graph.pulls(0);
    for _ in 0..3 {
        graph.callback(true);
        graph.pulls(0);
    }
    assert_eq!(graph.live_and_flagged(0), (5, 1));
}

#[test]
fn counts_the_last_pull_of_a_peer_that_stands_still_at_once_and_once() {
    let mut graph = Graph::new(2);
    graph.callback(true);
    for live in [true, false] {
        graph.callback(live);
        graph.pulls(0);
        graph.pulls(1);
        graph.settle(0);
    }
    let pulls = |graph: &Graph, n| {
        let counts = graph.counts(n);
        (counts.live.pulls, counts.muted.pulls, counts.xruns)
    };
    assert_eq!(pulls(&graph, 0), (1, 1, 0));
    assert_eq!(pulls(&graph, 1), (1, 0, 0));
    graph.settle(0);
    graph.callback(true);
    assert_eq!(pulls(&graph, 0), (1, 1, 0));
    // One that is still at it is counted when it is through, and is not late by that.
    let now = graph.now();
    graph.peers[0].signalled(now + 10_000);
    graph.settle(0);
    assert_eq!(pulls(&graph, 0), (1, 1, 0));
    graph.peers[0].finished(now + 30_000);
    graph.callback(false);
    assert_eq!(pulls(&graph, 0), (2, 1, 0));
}

#[test]
fn flags_a_late_peer_once_for_each_signal() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    let now = graph.now();
    graph.peers[0].signalled(now + 10_000);
    graph.callback(true);
    assert_eq!(graph.live_and_flagged(0), (0, 1));
    // Paused while signalled: it stays so, and is no later for it.
    for _ in 0..20 {
        graph.callback(true);
    }
    assert_eq!(graph.counts(0).xruns, 1);
    let now = graph.now();
    graph.peers[0].finished(now + 5_000);
    graph.callback(true);
    assert_eq!(graph.live_and_flagged(0), (1, 2));
    graph.pulls(0);
    graph.callback(true);
    assert_eq!(graph.live_and_flagged(0), (2, 2));
}

#[test]
fn flags_a_pull_that_completes_after_the_next_cycle_began() {
    let mut graph = Graph::new(1);
    graph.callback(true);
    let now = graph.now();
    graph.peers[0].signalled(now + 10_000);
    graph.peers[0].finished(now + CYCLE + 1);
    graph.callback(true);
    assert_eq!(graph.live_and_flagged(0), (1, 1));
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
    assert_eq!(graph.live_and_flagged(0), (1, 1));
    assert_eq!(graph.live_and_flagged(1), (1, 0));
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
    assert_eq!((graph.counts(0).xruns, graph.counts(1).xruns), (1, 0));
}

#[test]
fn counts_a_peer_without_a_slot_as_unattributed() {
    let mut graph = Graph::new(1);
    let slot = graph.leave(0).unwrap().account.slot;
    graph.join(0, None);
    for _ in 0..3 {
        graph.callback(false);
        graph.pulls(0);
    }
    graph.callback(false);
    assert_eq!(graph.ledger.unattributed().pulls, 3);
    assert_eq!(graph.ledger.release(slot.unwrap()).unwrap().muted.pulls, 0);
}

#[test]
fn counts_more_peers_than_the_ledger_keeps_apart() {
    const MORE: usize = 8;
    let ledger = crate::count::Clients::new(1);
    let (mut trace, _traced) = trace_queue(1);
    let mut simulated = SimulatedRecord::new();
    let mut table = PeerTable::new();
    for node_id in 0..(crate::count::SLOTS + MORE) as u32 {
        let account = Account {
            client: u64::from(node_id),
            slot: ledger.claim(u64::from(node_id)),
        };
        let record = simulated.record();
        let peer = Peer {
            node_id,
            account,
            record,
            joined_ns: 1,
        };
        table.add(peer).unwrap();
    }
    let mut books = Books {
        ledger: &ledger,
        trace: &mut trace,
    };
    table.scan(&facts(1, true), None, &mut books);
    simulated.signalled(CYCLE + 10_000);
    simulated.finished(CYCLE + 20_000);
    table.scan(&facts(2, true), Some(&facts(1, true)), &mut books);
    let last = ledger.snapshot(crate::count::SLOTS - 1).unwrap();
    assert_eq!((last.live.pulls, last.live.frames), (1, 1024));
    let rest = ledger.unattributed();
    assert_eq!((rest.pulls, rest.frames), (MORE as u64, MORE as u64 * 1024));
}

#[test]
fn refuses_the_peer_that_does_not_fit_and_hands_it_back() {
    let simulated = SimulatedRecord::new();
    let peer = |node_id| {
        let account = Account {
            client: 0,
            slot: None,
        };
        Peer {
            node_id,
            account,
            record: simulated.record(),
            joined_ns: 0,
        }
    };
    let mut table = PeerTable::new();
    let mut peers = (0..PEERS as u32).map(peer).collect::<Vec<_>>().into_iter();
    let extra = peer(9999);
    assert_no_alloc(|| peers.by_ref().for_each(|peer| table.add(peer).unwrap()));
    let TableFull(extra) = table.add(extra).unwrap_err();
    assert_eq!(extra.node_id, 9999);
    let (mut trace, _traced) = trace_queue(1);
    let mut books = Books {
        ledger: &Ledger::<1>::new(1),
        trace: &mut trace,
    };
    assert_eq!(table.remove(7, None, &mut books).unwrap().node_id, 7);
    table.add(extra).unwrap();
}

/// Whoever comes, pulls, pauses and goes in whatever order: what the table counts is what the clients did, to the
/// pull, apart for live and muted, in the ledger and in the trace.
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
    let mut unseen = [0; CLIENTS];
    graph.traced.switch(true);
    // Slots of those who are away.
    let mut away: Vec<Option<SlotWriter>> = (0..CLIENTS).map(|_| None).collect();
    for _ in 0..4_000 {
        let live = random(3) == 0;
        graph.callback(live);
        // Linked since before our latest callback.
        let ready: [bool; CLIENTS] = std::array::from_fn(|n| away[n].is_none());
        let mut order: Vec<usize> = (0..CLIENTS).collect();
        order.sort_by_cached_key(|_| random(1 << 30));
        for n in order {
            match random(20) {
                0 if away[n].is_none() => away[n] = graph.leave(n).unwrap().account.slot,
                1 if away[n].is_some() => {
                    let slot = away[n].take();
                    graph.join(n, slot);
                    // The link may run before our next cycle.
                    if random(2) == 0 {
                        graph.pulls(n);
                        own[n].1 += 1;
                        unseen[n] += 1;
                    }
                }
                // Recording from elsewhere.
                2..12 if !ready[n] => graph.pulls(n),
                2..16 if ready[n] => {
                    graph.pulls(n);
                    *(if live { &mut own[n].0 } else { &mut own[n].1 }) += 1;
                    if random(10) == 0 {
                        away[n] = graph.leave(n).unwrap().account.slot;
                    }
                }
                _ => {}
            }
        }
    }
    graph.callback(true);
    let counted = |n| (graph.counts(n).live.pulls, graph.counts(n).muted.pulls);
    assert_eq!((0..CLIENTS).map(counted).collect::<Vec<_>>(), own);
    assert!(own.iter().all(|own| own.0 > 200 && own.1 > 200));
    assert!((0..CLIENTS).all(|n| graph.counts(n).xruns == unseen[n]));
    let (traced, lost) = graph.traced.take();
    let mut sums = vec![(0, 0); CLIENTS];
    for pull in traced {
        let sum = &mut sums[pull.client as usize];
        *(if pull.live { &mut sum.0 } else { &mut sum.1 }) += 1;
    }
    assert_eq!((sums, lost), (own, 0));
}
