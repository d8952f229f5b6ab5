//! Where a counted pull goes: into the client's slot of the ledger and, while somebody traces, into a bounded queue.
//! How pulls are found is `table.rs` and `profiler.rs`; who reads the counts is not known here.

use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use truemute_core::ledger::{Ledger, Pull, SlotWriter};
use truemute_core::observed;

/// What our output did in one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CycleFacts {
    /// When the cycle began, in nanoseconds of the monotonic clock.
    pub(crate) started_ns: u64,
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

/// Whose pulls are counted where.
#[derive(Debug)]
pub(crate) struct Account {
    /// The number of the client, which no other client of this backend instance ever has.
    pub(crate) client: u64,
    /// The client's place in the ledger. Without one, because all are taken, its pulls are counted as unattributed.
    pub(crate) slot: Option<SlotWriter>,
}

/// The ledger and the trace, for the thread that counts.
pub(crate) struct Books<'a, const N: usize> {
    /// The counts.
    pub(crate) ledger: &'a Ledger<N>,
    /// The single pulls.
    pub(crate) trace: &'a mut TraceSender,
}

impl<const N: usize> Books<'_, N> {
    /// Books one completed delivery: `finish_ns` is when the client completed it (monotonic clock), `cycle` what it
    /// got. Real-time safe.
    pub(crate) fn pull(
        &mut self,
        account: &mut Account,
        finish_ns: u64,
        cycle: &CycleFacts,
        flagged: bool,
    ) {
        let nanoseconds = u64::from(cycle.frames) * 1_000_000_000 / u64::from(cycle.rate.max(1));
        let CycleFacts {
            frames,
            live,
            position,
            ..
        } = *cycle;
        let pull = Pull {
            finish_ns,
            frames,
            nanoseconds,
            live,
            flagged,
        };
        match &mut account.slot {
            Some(slot) => self.ledger.record(slot, pull),
            None => self.ledger.record_unattributed(pull),
        }
        let client = account.client;
        self.trace.send(observed::Pull {
            client,
            monotonic_ns: finish_ns,
            position,
            frames,
            live,
            flagged,
        });
    }

    /// Books a cycle in which no pull was seen, but an xrun or a late client: one pull may be missing, or come to light
    /// later. Real-time safe.
    pub(crate) fn flag(&mut self, account: &mut Account) {
        if let Some(slot) = &mut account.slot {
            self.ledger.record_flagged(slot);
        }
    }

    /// Books pulls that happened unseen. Real-time safe.
    pub(crate) fn lost(&mut self, account: &mut Account, pulls: u64) {
        if let Some(slot) = &mut account.slot {
            self.ledger.record_lost(slot, pulls);
        }
    }
}

/// The end of the trace's queue on the counting thread.
#[derive(Debug)]
pub(crate) struct TraceSender {
    queue: Producer<observed::Pull>,
    shared: Arc<TraceState>,
}

/// The end of the trace's queue on the main thread.
#[derive(Debug)]
pub(crate) struct TraceReceiver {
    queue: Consumer<observed::Pull>,
    shared: Arc<TraceState>,
}

#[derive(Debug, Default)]
struct TraceState {
    on: AtomicBool,
    lost: AtomicU64,
}

/// A queue for `capacity` pulls, switched off.
pub(crate) fn trace_queue(capacity: usize) -> (TraceSender, TraceReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let shared = Arc::<TraceState>::default();
    (
        TraceSender {
            queue: producer,
            shared: shared.clone(),
        },
        TraceReceiver {
            queue: consumer,
            shared,
        },
    )
}

impl TraceSender {
    /// Real-time safe: a pull that does not fit is counted as lost.
    fn send(&mut self, pull: observed::Pull) {
        if self.shared.on.load(Ordering::Relaxed) && self.queue.push(pull).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl TraceReceiver {
    /// Starts or stops the trace. Pulls that are queued stay.
    pub(crate) fn switch(&self, on: bool) {
        self.shared.on.store(on, Ordering::Relaxed);
    }

    /// The pulls since the last call, in the order in which they were counted, and how many did not fit.
    pub(crate) fn take(&mut self) -> (Vec<observed::Pull>, u64) {
        // First the losses: those counted here came before the pulls that are still queued, never after.
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        let mut pulls = Vec::with_capacity(self.queue.slots());
        pulls.extend(std::iter::from_fn(|| self.queue.pop().ok()));
        (pulls, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_no_alloc::assert_no_alloc;

    const CYCLE: CycleFacts = CycleFacts {
        started_ns: 5,
        position: 77,
        frames: 480,
        rate: 48_000,
        live: true,
        flagged: false,
    };

    #[test]
    fn books_on_slot_and_trace_alike_without_allocating() {
        let ledger = Ledger::<2>::new(1);
        let (mut sender, mut receiver) = trace_queue(8);
        receiver.switch(true);
        let mut account = Account {
            client: 9,
            slot: ledger.claim(9),
        };
        let mut books = Books {
            ledger: &ledger,
            trace: &mut sender,
        };
        assert_no_alloc(|| {
            books.pull(&mut account, 1000, &CYCLE, false);
            books.pull(
                &mut account,
                2000,
                &CycleFacts {
                    live: false,
                    ..CYCLE
                },
                true,
            );
            books.flag(&mut account);
            books.lost(&mut account, 3);
        });
        let seen = ledger.snapshot(0).unwrap();
        assert_eq!(
            (seen.live.pulls, seen.muted.pulls, seen.xruns, seen.lost),
            (1, 1, 2, 3)
        );
        assert_eq!((seen.live.frames, seen.live.nanoseconds), (480, 10_000_000));
        let first = observed::Pull {
            client: 9,
            monotonic_ns: 1000,
            position: 77,
            frames: 480,
            live: true,
            flagged: false,
        };
        let second = observed::Pull {
            monotonic_ns: 2000,
            live: false,
            flagged: true,
            ..first
        };
        assert_eq!(receiver.take(), (vec![first, second], 0));
    }

    #[test]
    fn a_client_without_a_slot_is_unattributed() {
        let ledger = Ledger::<1>::new(1);
        let (mut sender, _receiver) = trace_queue(1);
        let mut account = Account {
            client: 9,
            slot: None,
        };
        let mut books = Books {
            ledger: &ledger,
            trace: &mut sender,
        };
        books.pull(&mut account, 1000, &CYCLE, true);
        books.flag(&mut account);
        assert_eq!(
            (ledger.unattributed().pulls, ledger.unattributed().frames),
            (1, 480)
        );
    }

    #[test]
    fn counts_what_does_not_fit_into_the_trace_and_sends_nothing_while_off() {
        let ledger = Ledger::<1>::new(1);
        let (mut sender, mut receiver) = trace_queue(3);
        let mut account = Account {
            client: 9,
            slot: ledger.claim(9),
        };
        let mut pulls = |sender: &mut TraceSender, n: u64| {
            let mut books = Books {
                ledger: &ledger,
                trace: sender,
            };
            (0..n).for_each(|n| books.pull(&mut account, n, &CYCLE, false));
        };
        pulls(&mut sender, 5);
        assert_eq!(receiver.take(), (vec![], 0));
        receiver.switch(true);
        pulls(&mut sender, 5);
        let (taken, lost) = receiver.take();
        assert_eq!((taken.len(), lost), (3, 2));
        pulls(&mut sender, 1);
        let (taken, lost) = receiver.take();
        assert_eq!((taken.len(), lost), (1, 0));
    }

    #[test]
    fn a_rate_of_zero_is_no_division_by_zero() {
        let ledger = Ledger::<1>::new(1);
        let (mut sender, _receiver) = trace_queue(1);
        let mut account = Account {
            client: 9,
            slot: None,
        };
        Books {
            ledger: &ledger,
            trace: &mut sender,
        }
        .pull(&mut account, 1, &CycleFacts { rate: 0, ..CYCLE }, false);
        assert_eq!(ledger.unattributed().pulls, 1);
    }
}
