//! Counting without activation records: from what the server's profiler tells. An estimate, for the profiler drops
//! cycles under load and falls silent with about 100 clients on one driver; what it says to have dropped is counted as
//! lost. Main thread only. Reading its messages is `profile_pod.rs`.

use super::books::{Account, Books, CycleFacts};
use super::profile_pod::{Follower, ProfiledCycle, parse};
use std::collections::{HashMap, VecDeque};

/// How many of our last cycles are remembered. 0.3.65 sends its messages once a second: 750 cycles at q = 64.
const REMEMBERED: usize = 2048;
/// After this nothing more is expected about a client that has left.
const SETTLED_NS: u64 = 2_500_000_000;

/// The estimator. Whoever is followed here must not be in the peer table: a ledger slot has one writer.
#[derive(Debug, Default)]
pub(crate) struct ProfilerCounts {
    clients: Vec<Followed>,
    /// The last cycle told, by any driver and by each.
    last_count: Option<i64>,
    last_count_of: HashMap<u32, i64>,
    /// The start of the latest cycle told.
    told_ns: u64,
    /// Our own last cycles, oldest first.
    delivered: VecDeque<CycleFacts>,
}

#[derive(Debug)]
struct Followed {
    node_id: u32,
    account: Account,
    /// From link to unlink: the node can be somebody else's before and after.
    joined_ns: u64,
    left_ns: Option<u64>,
    finish_ns: u64,
    /// Pulled in the last cycle that its driver told.
    active: bool,
}

impl ProfilerCounts {
    /// Follows a client's node, which was linked at `joined_ns` of the monotonic clock.
    pub(crate) fn follow(&mut self, node_id: u32, account: Account, joined_ns: u64) {
        self.clients.push(Followed {
            node_id,
            account,
            joined_ns,
            left_ns: None,
            finish_ns: 0,
            active: false,
        });
    }

    /// The node was unlinked at `left_ns`. What it did before may still be told: see [`Self::settled`].
    pub(crate) fn leave(&mut self, node_id: u32, left_ns: u64) {
        let here = |client: &&mut Followed| client.node_id == node_id && client.left_ns.is_none();
        if let Some(client) = self.clients.iter_mut().find(here) {
            client.left_ns = Some(left_ns);
        }
    }

    /// Hands back the accounts of those who have left and of whom everything is told; at the latest 2.5 s after that.
    pub(crate) fn settled(&mut self, now_ns: u64) -> Vec<Account> {
        let told_ns = self.told_ns;
        let settled = |client: &mut Followed| {
            let left = client.left_ns;
            left.is_some_and(|left_ns| told_ns > left_ns || now_ns > left_ns + SETTLED_NS)
        };
        self.clients
            .extract_if(.., settled)
            .map(|client| client.account)
            .collect()
    }

    /// When the next account is handed back at the latest, in nanoseconds of the monotonic clock.
    pub(crate) fn settles_at_ns(&self) -> Option<u64> {
        let left = self.clients.iter().filter_map(|client| client.left_ns);
        left.min().map(|left_ns| left_ns + SETTLED_NS + 1)
    }

    /// What our output did in its latest cycle. In order.
    pub(crate) fn delivered(&mut self, cycle: CycleFacts) {
        if self.delivered.len() == REMEMBERED {
            self.delivered.pop_front();
        }
        self.delivered.push_back(cycle);
    }

    /// Counts from one message of the profiler. Returns how much of it could not be read.
    pub(crate) fn message<const N: usize>(
        &mut self,
        message: &[u8],
        books: &mut Books<'_, N>,
    ) -> u64 {
        let profile = parse(message);
        for cycle in &profile.cycles {
            self.cycle(cycle, books);
        }
        profile.damaged
    }

    fn cycle<const N: usize>(&mut self, cycle: &ProfiledCycle, books: &mut Books<'_, N>) {
        let untold = self.untold(cycle);
        self.told_ns = self.told_ns.max(cycle.signal_ns);
        for told in &cycle.followers {
            for client in &mut self.clients {
                if client.node_id == told.node_id
                    && client
                        .left_ns
                        .is_none_or(|left_ns| told.awake_ns <= left_ns)
                {
                    client.cycle(told, cycle, untold, &self.delivered, books);
                }
            }
        }
    }

    /// How many of this driver's cycles are known to be missing before this one. 0.3.65 numbers the cycles of all
    /// drivers together, 1.4 those of each; what both ways of counting find missing, is.
    fn untold(&mut self, cycle: &ProfiledCycle) -> u64 {
        let missing = |last: Option<i64>| {
            let missing = last.map_or(0, |last| cycle.count.saturating_sub(last).saturating_sub(1));
            u64::try_from(missing).unwrap_or(0)
        };
        let of_all = missing(self.last_count.replace(cycle.count));
        let of_this = missing(self.last_count_of.insert(cycle.driver_id, cycle.count));
        of_all.min(of_this)
    }
}

impl Followed {
    fn cycle<const N: usize>(
        &mut self,
        told: &Follower,
        cycle: &ProfiledCycle,
        untold: u64,
        delivered: &VecDeque<CycleFacts>,
        books: &mut Books<'_, N>,
    ) {
        let pulled = told.finish_ns != self.finish_ns
            && told.finish_ns > 0
            && told.awake_ns >= self.joined_ns;
        let late = told.signal_ns > told.finish_ns;
        // Only who pulled before and after the gap is known to have pulled in it.
        if pulled && self.active && untold > 0 {
            books.lost(&mut self.account, untold);
        }
        if pulled {
            let ours = delivered.partition_point(|ours| ours.started_ns <= told.finish_ns);
            let ours = ours.checked_sub(1).and_then(|ours| delivered.get(ours));
            let got = ours.filter(|ours| ours.started_ns >= self.joined_ns);
            let nothing = CycleFacts {
                started_ns: told.signal_ns,
                position: cycle.position,
                frames: cycle.frames,
                rate: cycle.rate,
                live: false,
                flagged: false,
            };
            let got = got.copied().unwrap_or(nothing);
            books.pull(&mut self.account, told.finish_ns, &got, late || got.flagged);
        } else if late {
            books.flag(&mut self.account);
        }
        self.finish_ns = told.finish_ns;
        self.active = pulled;
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::{TraceReceiver, TraceSender, trace_queue};
    use super::super::profile_pod::built::message;
    use super::*;
    use truemute_core::ledger::{Ledger, SlotSnapshot};

    const CYCLE: u64 = 5_333_333;

    struct Profiled {
        counts: ProfilerCounts,
        ledger: Ledger<4>,
        trace: TraceSender,
        _traced: TraceReceiver,
    }

    impl Profiled {
        /// Clients 40 and 41 in slots 0 and 1.
        fn new() -> Self {
            let ledger = Ledger::new(1);
            let mut counts = ProfilerCounts::default();
            for client in [40, 41] {
                let account = Account {
                    client: u64::from(client),
                    slot: ledger.claim(u64::from(client)),
                };
                counts.follow(client, account, CYCLE);
            }
            let (trace, _traced) = trace_queue(1);
            Profiled {
                counts,
                ledger,
                trace,
                _traced,
            }
        }

        /// Our cycle number `n`, and what the profiler says about it: 40 completed it.
        fn cycle(&mut self, n: u64, live: bool) -> ProfiledCycle {
            let started_ns = n * CYCLE;
            self.counts.delivered(CycleFacts {
                started_ns,
                position: n * 256,
                frames: 256,
                rate: 48_000,
                live,
                flagged: false,
            });
            let follower = |node_id, n: u64| Follower {
                node_id,
                signal_ns: n * CYCLE + 10,
                awake_ns: n * CYCLE + 20,
                finish_ns: n * CYCLE + 30,
                status: 3,
            };
            ProfiledCycle {
                count: n.cast_signed(),
                driver_id: 30,
                signal_ns: started_ns,
                frames: 256,
                rate: 48_000,
                position: n * 256,
                // 41 stands still, 99 is somebody else's.
                followers: vec![follower(40, n), follower(41, 0), follower(99, n)],
            }
        }

        fn tell(&mut self, cycles: &[ProfiledCycle]) -> u64 {
            let mut books = Books {
                ledger: &self.ledger,
                trace: &mut self.trace,
            };
            self.counts.message(&message(cycles), &mut books)
        }

        fn counts(&self, slot: usize) -> SlotSnapshot {
            self.ledger.snapshot(slot).unwrap()
        }
    }

    #[test]
    fn counts_who_completed_and_books_it_on_the_state_of_that_cycle() {
        let mut profiled = Profiled::new();
        let states = [true, true, false, true, false, false, false];
        // A message brings several cycles, and late.
        let cycles: Vec<_> = (5..)
            .zip(states)
            .map(|(n, live)| profiled.cycle(n, live))
            .collect();
        assert_eq!(profiled.tell(&cycles), 0);
        let counts = profiled.counts(0);
        assert_eq!(
            (
                counts.live.pulls,
                counts.muted.pulls,
                counts.xruns,
                counts.lost
            ),
            (3, 4, 0, 0)
        );
        assert_eq!(counts.live.frames, 3 * 256);
        assert_eq!(counts.last_pull_ns, Some(11 * CYCLE + 30));
        assert_eq!(profiled.counts(1).muted.pulls, 0);
    }

    #[test]
    fn counts_the_cycles_that_the_profiler_dropped_as_lost() {
        let mut profiled = Profiled::new();
        for n in [5, 6, 10, 11, 13] {
            let cycle = profiled.cycle(n, true);
            profiled.tell(&[cycle]);
        }
        assert_eq!(
            (profiled.counts(0).live.pulls, profiled.counts(0).lost),
            (5, 4)
        );
        assert_eq!(
            (profiled.counts(1).live.pulls, profiled.counts(1).lost),
            (0, 0)
        );
    }

    #[test]
    fn other_drivers_and_new_numbers_are_no_gap() {
        // As 0.3.65 numbers them, then as 1.4 does, then after a restart of the driver.
        let numbers = [
            [(1, 30), (2, 31), (3, 30), (4, 31)],
            [(1000, 30), (7, 31), (1001, 30), (8, 31)],
            [(1000, 30), (1001, 30), (1, 30), (2, 30)],
        ];
        for numbers in numbers {
            let mut profiled = Profiled::new();
            for (n, (count, driver_id)) in (5..).zip(numbers) {
                let cycle = ProfiledCycle {
                    count,
                    driver_id,
                    ..profiled.cycle(n, true)
                };
                profiled.tell(&[cycle]);
            }
            assert_eq!(
                (profiled.counts(0).live.pulls, profiled.counts(0).lost),
                (4, 0)
            );
        }
    }

    #[test]
    fn flags_who_is_late_and_what_was_irregular() {
        let mut profiled = Profiled::new();
        let mut cycle = profiled.cycle(5, true);
        cycle.followers[0].finish_ns = 0;
        profiled.tell(&[cycle]);
        assert_eq!(
            (profiled.counts(0).live.pulls, profiled.counts(0).xruns),
            (0, 1)
        );
        let cycle = profiled.cycle(6, true);
        profiled.counts.delivered.back_mut().unwrap().flagged = true;
        profiled.tell(&[cycle]);
        assert_eq!(
            (profiled.counts(0).live.pulls, profiled.counts(0).xruns),
            (1, 2)
        );
    }

    #[test]
    fn what_we_did_not_deliver_is_silence_and_what_was_before_the_link_is_no_pull() {
        let mut profiled = Profiled::new();
        let cycles = [profiled.cycle(0, true), profiled.cycle(2, true)];
        profiled.counts.delivered.clear();
        profiled.tell(&cycles);
        let counts = profiled.counts(0);
        assert_eq!((counts.live.pulls, counts.muted.pulls), (0, 1));
    }

    #[test]
    fn hears_a_client_out_before_it_hands_the_account_back() {
        let mut profiled = Profiled::new();
        let cycles = [5, 6, 7, 8].map(|n| profiled.cycle(n, true));
        profiled.tell(&cycles[..1]);
        // It leaves after cycle 6; its node's id is taken at once by another client, which pulls in cycle 8.
        let left_ns = 7 * CYCLE;
        profiled.counts.leave(40, left_ns);
        let account = Account {
            client: 42,
            slot: profiled.ledger.claim(42),
        };
        profiled.counts.follow(40, account, 8 * CYCLE);
        assert!(profiled.counts.settled(left_ns + 1).is_empty());
        profiled.tell(&cycles[1..]);
        let [account] = profiled.counts.settled(left_ns + 2).try_into().unwrap();
        assert_eq!(account.client, 40);
        let counts = profiled.ledger.release(account.slot.unwrap()).unwrap();
        assert_eq!(counts.live.pulls, 2);
        assert_eq!(profiled.counts(2).live.pulls, 1);
    }

    #[test]
    fn waits_for_nothing_when_the_graph_stands_still() {
        let mut profiled = Profiled::new();
        profiled.counts.leave(41, 7);
        assert!(profiled.counts.settled(SETTLED_NS).is_empty());
        assert_eq!(profiled.counts.settles_at_ns(), Some(SETTLED_NS + 8));
        assert_eq!(profiled.counts.settled(SETTLED_NS + 8).len(), 1);
        assert_eq!(profiled.counts.settles_at_ns(), None);
        assert!(profiled.counts.settled(SETTLED_NS + 8).is_empty());
    }

    #[test]
    fn says_how_much_was_damaged() {
        let mut profiled = Profiled::new();
        let mut books = Books {
            ledger: &profiled.ledger,
            trace: &mut profiled.trace,
        };
        assert_eq!(profiled.counts.message(b"not a pod at all", &mut books), 1);
    }
}
