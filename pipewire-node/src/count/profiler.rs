//! Counting without activation records: from what the server's profiler tells. An estimate, for the profiler drops
//! cycles under load and falls silent with about 100 clients on one driver; what it says to have dropped is counted as
//! lost. Main thread only. Reading its messages is `profile_pod.rs`.

use super::books::{Account, Books, CycleFacts};
use super::profile_pod::{Follower, ProfiledCycle, parse};
use std::collections::{HashMap, VecDeque};

/// How many of our last cycles are remembered: messages come late, at q = 64 by up to a dozen cycles.
const REMEMBERED: usize = 256;

/// The estimator. Whoever is followed here must not be in the peer table: a ledger slot has one writer.
#[derive(Debug, Default)]
pub(crate) struct ProfilerCounts {
    clients: HashMap<u32, Followed>,
    /// The last cycle that each driver told, by the driver's id.
    told: HashMap<u32, i64>,
    /// Our own last cycles, oldest first.
    delivered: VecDeque<CycleFacts>,
}

#[derive(Debug)]
struct Followed {
    account: Account,
    joined_ns: u64,
    finish_ns: u64,
    /// Pulled in the last cycle that its driver told.
    active: bool,
}

impl ProfilerCounts {
    /// Follows a client's node from now on, which was linked at `joined_ns` of the monotonic clock.
    pub(crate) fn follow(&mut self, node_id: u32, account: Account, joined_ns: u64) {
        let followed = Followed {
            account,
            joined_ns,
            finish_ns: 0,
            active: false,
        };
        self.clients.insert(node_id, followed);
    }

    /// Ends that, and hands the account back.
    pub(crate) fn unfollow(&mut self, node_id: u32) -> Option<Account> {
        self.clients
            .remove(&node_id)
            .map(|followed| followed.account)
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
        let last = self.told.insert(cycle.driver_id, cycle.count);
        let untold = last.map_or(0, |last| {
            cycle.count.saturating_sub(last).saturating_sub(1).max(0)
        });
        for follower in &cycle.followers {
            if let Some(followed) = self.clients.get_mut(&follower.node_id) {
                followed.cycle(
                    follower,
                    cycle,
                    untold.cast_unsigned(),
                    &self.delivered,
                    books,
                );
            }
        }
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
            let ours = delivered
                .iter()
                .rev()
                .find(|ours| ours.started_ns <= told.finish_ns);
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
    fn a_driver_that_starts_over_or_another_one_is_no_gap() {
        let mut profiled = Profiled::new();
        for (n, count, driver_id) in [(5, 1000, 30), (6, 1, 30), (7, 500, 31), (8, 501, 31)] {
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
    fn hands_the_account_back_and_counts_no_more() {
        let mut profiled = Profiled::new();
        let cycle = profiled.cycle(5, true);
        profiled.tell(&[cycle]);
        let account = profiled.counts.unfollow(40).unwrap();
        let cycle = profiled.cycle(6, true);
        profiled.tell(&[cycle]);
        assert_eq!(
            profiled
                .ledger
                .release(account.slot.unwrap())
                .unwrap()
                .live
                .pulls,
            1
        );
        assert!(profiled.counts.unfollow(40).is_none());
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
