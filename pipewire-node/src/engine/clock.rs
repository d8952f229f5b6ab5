//! The times that the main thread works with: a timer for its loop, and the wall clock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::monotonic::monotonic_ns;

/// The wall clock, nanoseconds since 1970.
pub(super) fn wall_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// A one-shot timer for the loop, on the monotonic clock.
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        Ok(Self(timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?))
    }

    /// Becomes readable at `at_ns`, or never.
    pub(super) fn set(&self, at_ns: Option<u64>) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A zero time would disarm it.
        let wait = at_ns.map(|at| at.saturating_sub(monotonic_ns()).max(1));
        let value = wait.map_or(zero, |wait| Timespec {
            tv_sec: (wait / 1_000_000_000) as i64,
            tv_nsec: (wait % 1_000_000_000) as _,
        });
        // Fails only for arguments that are no times.
        let _ = timerfd_settime(
            &self.0,
            TimerfdTimerFlags::empty(),
            &Itimerspec {
                it_interval: zero,
                it_value: value,
            },
        );
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
