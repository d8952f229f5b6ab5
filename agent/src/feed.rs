//! From a block of the real mic to the ring: what runs on the audio thread, and what other threads tell it. Only frames that
//! were captured after the unmute get into the ring, and they carry that unmute's epoch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truemute_core::published::Published;
use truemute_feeder::{self as feeder, Feeder, Flow, Frame, Sink, Timeline};

use crate::driver::{Opened, Ring};
use crate::system::Block;

/// What the audio thread is told, and what it tells. Nobody waits for anybody here.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// The driver's clock: host time, sample, seed.
    clock: Published<3>,
    /// Epoch, when it opened, and 1 while it is open.
    opening: Published<3>,
    /// One who publishes at a time.
    publishing: Mutex<Newest>,
    heard: Heard,
}

/// No opening.
const CLOSED: [u64; 3] = [0, u64::MAX, 0];

/// The newest that the driver told. Its replies are heard on the threads that asked, its events on another one, in any order.
#[derive(Debug, Default)]
struct Newest {
    /// The clock's time line, if there is one.
    seed: Option<u64>,
    /// The gate's epoch.
    epoch: u64,
}

/// What came from the real mic since the last [`Route::begin`].
#[derive(Debug, Default)]
struct Heard {
    frames: AtomicU64,
    /// Blocks without a frame.
    empty: AtomicU64,
    /// Host time of the first of the zeros that have come without anything else since; 0 if something else came last.
    zero_since_ns: AtomicU64,
    /// Times that the device lost frames, or its time stamps jumped.
    gaps: AtomicU64,
}

/// A look at what came from the real mic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hearing {
    pub(crate) frames: u64,
    pub(crate) empty: u64,
    pub(crate) zero_since_ns: Option<u64>,
    pub(crate) gaps: u64,
}

impl Route {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver's clock has this time line, by its greeting: of no account once it has told of another one.
    pub(crate) fn greeted(&self, clock: Timeline) {
        let mut newest = self.newest();
        if newest.seed.is_none() {
            newest.seed = Some(clock.seed);
            self.clock
                .publish([clock.host_ns, clock.position, clock.seed]);
        }
    }

    /// The driver's clock has a new time line.
    pub(crate) fn clock(&self, clock: Timeline) {
        let mut newest = self.newest();
        newest.seed = Some(clock.seed);
        self.clock
            .publish([clock.host_ns, clock.position, clock.seed]);
    }

    /// Frames that are captured from now on are for this epoch; unless a newer one is known, for then it is over.
    pub(crate) fn open(&self, opened: Opened) {
        let mut newest = self.newest();
        if opened.epoch > newest.epoch {
            newest.epoch = opened.epoch;
            self.opening.publish([opened.epoch, opened.opened_ns, 1]);
        }
    }

    /// Nothing goes into the ring any more: the gate is closed in this epoch, unless a newer one is known.
    pub(crate) fn closed(&self, epoch: u64) {
        let mut newest = self.newest();
        if epoch >= newest.epoch {
            newest.epoch = epoch;
            self.opening.publish(CLOSED);
        }
    }

    /// Nothing goes into the ring any more, before the driver has said in which epoch: [`Route::closed`] has to follow if it does.
    pub(crate) fn close(&self) {
        let _one = self.newest();
        self.opening.publish(CLOSED);
    }

    /// Whether frames go into the ring.
    pub(crate) fn is_open(&self) -> bool {
        self.opening.read().is_some_and(|[_, _, open]| open == 1)
    }

    /// Where the driver's clock stands; nothing before its greeting.
    pub(crate) fn timeline(&self) -> Option<Timeline> {
        let [host_ns, position, seed] = self.clock.read()?;
        (host_ns > 0).then_some(Timeline {
            host_ns,
            position,
            seed,
        })
    }

    /// A capture begins: nothing was heard yet.
    pub(crate) fn begin(&self) {
        let heard = &self.heard;
        for counter in [
            &heard.frames,
            &heard.empty,
            &heard.zero_since_ns,
            &heard.gaps,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// What was heard so far.
    pub(crate) fn hearing(&self) -> Hearing {
        let zero_since_ns = self.heard.zero_since_ns.load(Ordering::Relaxed);
        Hearing {
            frames: self.heard.frames.load(Ordering::Relaxed),
            empty: self.heard.empty.load(Ordering::Relaxed),
            zero_since_ns: (zero_since_ns > 0).then_some(zero_since_ns),
            gaps: self.heard.gaps.load(Ordering::Relaxed),
        }
    }
}

/// What the callback of a capture owns.
pub(crate) struct Feed {
    route: Arc<Route>,
    /// Only one capture runs at a time; the lock is tried, never waited for.
    ring: Arc<Mutex<Box<dyn Ring>>>,
    feeder: Feeder,
    channels: usize,
    latency_ns: u64,
    epoch: u64,
}

impl Feed {
    pub(crate) fn new(
        route: Arc<Route>,
        ring: Arc<Mutex<Box<dyn Ring>>>,
        feeder: Feeder,
        channels: u32,
        latency_ns: u64,
    ) -> Feed {
        Feed {
            route,
            ring,
            feeder,
            channels: channels as usize,
            latency_ns,
            epoch: 0,
        }
    }

    /// Takes one block of the mic. Real-time safe.
    pub(crate) fn take(&mut self, block: Block<'_>) {
        self.listen(block);
        let (Some(clock), Some([epoch, opened_ns, open])) =
            (self.route.timeline(), self.route.opening.read())
        else {
            return;
        };
        // What was sound before the unmute is never delivered after it (promise P3), and the gate checks it once more.
        if open == 0 || block.host_ns.saturating_sub(self.latency_ns) < opened_ns {
            return;
        }
        let Ok(mut ring) = self.ring.try_lock() else {
            return;
        };
        if self.epoch != epoch {
            self.feeder.reset();
            self.epoch = epoch;
        }
        let mut writing = Writing {
            ring: &mut **ring,
            epoch,
            latency_ns: self.latency_ns,
        };
        let block = feeder::Block {
            samples: block.samples,
            host_ns: block.host_ns,
        };
        if let Flow::Gap(_) = self.feeder.push(block, clock, &mut writing) {
            self.route.heard.gaps.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn listen(&self, block: Block<'_>) {
        let heard = &self.route.heard;
        if block.samples.is_empty() {
            heard.empty.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let frames = block.samples.len() / self.channels.max(1);
        heard.frames.fetch_add(frames as u64, Ordering::Relaxed);
        if block.samples.iter().any(|sample| *sample != 0.0) {
            heard.zero_since_ns.store(0, Ordering::Relaxed);
        } else if heard.zero_since_ns.load(Ordering::Relaxed) == 0 {
            heard.zero_since_ns.store(block.host_ns, Ordering::Relaxed);
        }
    }
}

struct Writing<'r> {
    ring: &'r mut dyn Ring,
    epoch: u64,
    latency_ns: u64,
}

impl Sink for Writing<'_> {
    fn begin(&mut self, position: u64, host_ns: u64) {
        let began_ns = host_ns.saturating_sub(self.latency_ns);
        self.ring.begin(self.epoch, position, began_ns);
    }

    fn write(&mut self, frames: &[Frame]) {
        self.ring.write(frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(epoch: u64) -> Opened {
        Opened {
            epoch,
            opened_ns: 1,
        }
    }

    #[test]
    fn what_the_driver_did_last_holds_in_whatever_order_it_is_heard() {
        let route = Route::default();
        // An unmute, and a mute after it whose reply is heard first.
        route.close();
        route.closed(2);
        route.open(opened(1));
        assert!(!route.is_open());
        // An unmute, and the notice of the mute before it.
        route.open(opened(3));
        route.closed(2);
        assert!(route.is_open());
        // A mute that is not answered.
        route.close();
        assert!(!route.is_open());
        route.open(opened(3));
        assert!(!route.is_open(), "that one is over");
        route.open(opened(4));
        route.closed(5);
        assert!(!route.is_open());
    }
}
