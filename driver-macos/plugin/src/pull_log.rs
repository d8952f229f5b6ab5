//! Single reads for the trace, while somebody traces: a bounded queue for each client, from the thread that reads for it to the
//! bridge's. What does not fit is counted as lost.
#![cfg_attr(
    not(any(test, loom)),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use truemute_core::ledger::Pull;

/// Reads that are kept for each client, 12 KiB: 0.7 s of a client with blocks of 64 frames. The agent fetches them ten times a
/// second.
pub const KEPT: usize = 512;

/// One read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// When, in nanoseconds of the host's clock.
    pub at_ns: u64,
    /// Its first frame on the device's time line; 0 if the host named none.
    pub position: u64,
    /// Its frames.
    pub frames: u32,
    /// Whether it got sound.
    pub live: bool,
    /// Whether it does not follow on the one before.
    pub flagged: bool,
}

impl Logged {
    /// What is kept of a read.
    pub fn new(pull: &Pull, position: Option<u64>) -> Self {
        Self {
            at_ns: pull.finish_ns,
            position: position.unwrap_or(0),
            frames: pull.frames,
            live: pull.live,
            flagged: pull.flagged,
        }
    }
}

/// All clients' queues.
#[derive(Debug, Default)]
pub struct PullLogs {
    on: AtomicBool,
    lost: AtomicU64,
    queues: Mutex<Vec<Queue>>,
}

#[derive(Debug)]
struct Queue {
    arrival: u64,
    reads: Consumer<Logged>,
}

/// The end of one client's queue that its reads are put in at.
#[derive(Debug)]
pub struct Logging(Producer<Logged>);

impl PullLogs {
    /// No clients; nobody traces.
    pub fn new() -> Self {
        Self::default()
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client came. Its queue lives until the other end was dropped and all was taken out. Control thread.
    pub fn open(&self, arrival: u64) -> Logging {
        let (producer, reads) = RingBuffer::new(KEPT);
        let mut queues = self.queues();
        queues.retain(|queue| !(queue.reads.is_abandoned() && queue.reads.is_empty()));
        queues.push(Queue { arrival, reads });
        Logging(producer)
    }

    /// Keeps a read, if somebody traces. Real-time safe, and never waits.
    pub fn keep(&self, log: &mut Logging, read: Logged) {
        if self.on.load(Ordering::Relaxed) && log.0.push(read).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A read that is of no client, and so in no queue. Real-time safe.
    pub fn lose(&self) {
        if self.on.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody traces from now on, or nobody. What is left of an earlier trace is dropped. Not for the audio threads.
    pub fn switch(&self, on: bool) {
        if self.on.load(Ordering::Relaxed) != on {
            for queue in &mut *self.queues() {
                while queue.reads.pop().is_ok() {}
            }
            self.lost.store(0, Ordering::Relaxed);
            self.on.store(on, Ordering::Relaxed);
        }
    }

    /// At most so many reads, each with the arrival of its client, and how many were lost since the last time. Not for the audio
    /// threads.
    pub fn take(&self, most: usize) -> (Vec<(u64, Logged)>, u64) {
        let mut taken = Vec::new();
        for queue in &mut *self.queues() {
            while taken.len() < most
                && let Ok(read) = queue.reads.pop()
            {
                taken.push((queue.arrival, read));
            }
        }
        (taken, self.lost.swap(0, Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn read(at_ns: u64) -> Logged {
        Logged {
            at_ns,
            position: 0,
            frames: 1,
            live: false,
            flagged: false,
        }
    }

    #[test]
    fn what_is_read_while_somebody_traces_is_kept_or_counted_as_lost() {
        let logs = PullLogs::new();
        let (mut one, mut other) = (logs.open(1), logs.open(2));
        logs.keep(&mut one, read(0));
        logs.lose();
        assert_eq!(logs.take(9), (Vec::new(), 0), "nobody traces");
        logs.switch(true);
        for at_ns in 0..KEPT as u64 + 3 {
            logs.keep(&mut one, read(at_ns));
        }
        logs.keep(&mut other, read(7));
        logs.lose();
        let (some, lost) = logs.take(KEPT - 1);
        assert_eq!((some.len(), lost), (KEPT - 1, 4));
        assert!(
            some.iter()
                .zip(0..)
                .all(|(it, at_ns)| *it == (1, read(at_ns)))
        );
        let rest = vec![(1, read(KEPT as u64 - 1)), (2, read(7))];
        assert_eq!(logs.take(KEPT), (rest, 0));
    }

    #[test]
    fn the_last_reads_of_a_client_that_left_are_taken_and_those_of_an_earlier_trace_are_not() {
        let logs = PullLogs::new();
        logs.switch(true);
        let mut gone = logs.open(1);
        logs.keep(&mut gone, read(5));
        drop(gone);
        let mut present = logs.open(2);
        assert_eq!(logs.take(9), (vec![(1, read(5))], 0));
        let _third = logs.open(3);
        assert_eq!(logs.queues().len(), 2, "the first one's queue is gone");
        logs.keep(&mut present, read(6));
        logs.switch(false);
        logs.switch(true);
        assert_eq!(logs.take(9), (Vec::new(), 0));
    }
}
