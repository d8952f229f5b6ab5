//! Counting where activation records cannot be read: from the server's profiler, on the main thread. The figures are
//! estimates, for the profiler drops events under load. What a message means is in `count/profiler.rs`.

use std::rc::Rc;

use pipewire::context::ContextRc;

use super::inbox::{Inbox, Note};
use crate::{
    count::{
        Clients as Ledger,
        books::{Account, Books, CycleFacts, TraceReceiver, TraceSender, trace_queue},
        profiler::ProfilerCounts,
        profiler_feed::{ProfilerError, ProfilerFeed},
    },
    graph::watch::Watch,
};

/// Cycles that may pass between two messages of the profiler, with room for a slow main loop.
const CYCLES: usize = 4096;
/// As in the exact case: see `thread.rs`.
const TRACE_QUEUE: usize = 32_768;

/// The estimator and what feeds it.
pub(super) struct Estimate {
    counts: ProfilerCounts,
    cycles: rtrb::Consumer<CycleFacts>,
    sender: TraceSender,
    trace: TraceReceiver,
    _feed: ProfilerFeed,
}

impl Estimate {
    /// Binds the server's profiler. The returned producer is for the real-time thread, which tells it each cycle.
    pub(super) fn start(
        context: &ContextRc,
        watch: &Watch,
        profiler: u32,
        inbox: Rc<Inbox>,
    ) -> Result<(Self, rtrb::Producer<CycleFacts>), ProfilerError> {
        let feed = ProfilerFeed::bind(context, watch.registry(), profiler, move |message| {
            inbox.put(Note::Profile(message.to_owned()));
        })?;
        let (producer, cycles) = rtrb::RingBuffer::new(CYCLES);
        let (sender, trace) = trace_queue(TRACE_QUEUE);
        let estimate = Self {
            counts: ProfilerCounts::default(),
            cycles,
            sender,
            trace,
            _feed: feed,
        };
        Ok((estimate, producer))
    }

    /// Begins anew to be told of cycles, by another real-time state. What the former one told last is taken over.
    pub(super) fn listen(&mut self) -> rtrb::Producer<CycleFacts> {
        self.hear_cycles();
        let (producer, cycles) = rtrb::RingBuffer::new(CYCLES);
        self.cycles = cycles;
        producer
    }

    fn hear_cycles(&mut self) {
        while let Ok(cycle) = self.cycles.pop() {
            self.counts.delivered(cycle);
        }
    }

    pub(super) fn follow(&mut self, node: u32, account: Account, joined_ns: u64) {
        self.counts.follow(node, account, joined_ns);
    }

    /// The node was unlinked: counts on what it did before, until [`Self::settled`] gives the account back.
    pub(super) fn leave(&mut self, node: u32, left_ns: u64) {
        self.counts.leave(node, left_ns);
    }

    /// The accounts of those who have left and of whom everything is told.
    pub(super) fn settled(&mut self, now_ns: u64) -> Vec<Account> {
        self.counts.settled(now_ns)
    }

    /// When the next account is settled at the latest, whatever the profiler says.
    pub(super) fn settles_at_ns(&self) -> Option<u64> {
        self.counts.settles_at_ns()
    }

    /// Counts from one message.
    pub(super) fn message(&mut self, message: &[u8], ledger: &Ledger) {
        self.hear_cycles();
        let mut books = Books {
            ledger,
            trace: &mut self.sender,
        };
        let damaged = self.counts.message(message, &mut books);
        if damaged > 0 {
            tracing::debug!(damaged, "parts of a profiler message could not be read");
        }
    }

    /// The end of its trace.
    pub(super) fn trace(&mut self) -> &mut TraceReceiver {
        &mut self.trace
    }
}
