//! A virtual mic as small as can be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use truemute_bridge::device::Device;
use truemute_bridge::message::{Anchor, Aside, Pulls, Recorded, Snapshot};
use truemute_core::gate::Gate;
use truemute_core::ledger::Tally;

/// Nanoseconds of the monotonic clock, the same in all processes.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A virtual mic.
#[derive(Debug, Default)]
pub(crate) struct Mic {
    pub(crate) gate: Gate,
    pub(crate) running: AtomicU32,
    pub(crate) seed: AtomicU64,
    pub(crate) aside: Mutex<Aside>,
    pub(crate) traced: AtomicBool,
    /// A read does not end.
    pub(crate) hangs: AtomicBool,
}

impl Device for Mic {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn clock(&self) -> Anchor {
        Anchor {
            host_ns: 0,
            sample: 0,
            seed: self.seed.load(Ordering::Relaxed),
            rate: 48_000,
        }
    }

    fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    fn instance(&self) -> u64 {
        7
    }

    fn arrivals(&self) -> u64 {
        0
    }

    fn set_aside(&self, aside: &Aside) {
        *self.aside.lock().unwrap() = aside.clone();
    }

    fn is_aside_settled(&self) -> bool {
        !self.hangs.load(Ordering::Relaxed)
    }

    fn trace(&self, on: bool) {
        self.traced.store(on, Ordering::Relaxed);
    }

    fn pulls(&self, most: usize) -> Pulls {
        Pulls {
            pulls: Vec::new(),
            lost: most as u64,
        }
    }

    fn snapshot(&self, _recorded: Option<&Recorded>) -> Snapshot {
        Snapshot {
            instance: 7,
            look: 0,
            at_ns: now_ns(),
            clients: Vec::new(),
            unattributed: Tally::default(),
            forgotten: 3,
        }
    }

    /// Long, so that a peer that does not read fills the socket.
    fn diag(&self) -> String {
        "all is well. ".repeat(50_000)
    }
}
