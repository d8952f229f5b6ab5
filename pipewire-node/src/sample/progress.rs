//! What the real-time thread tells about its cycles: which epoch of the gate it saw first where, and how the last cycle
//! went. One writer, any number of readers, nobody waits for the writer and the writer for nobody.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use truemute_core::published::Published;

/// A place in the graph's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// The driver's clock id; positions compare within one clock only.
    pub(crate) clock: u32,
    /// First frame of the cycle.
    pub(crate) position: u64,
}

/// What a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Cycles delivered since the start.
    pub(crate) cycles: u64,
    /// The newest epoch of the gate that a cycle saw.
    pub(crate) epoch: u64,
    /// The first cycle that saw it.
    pub(crate) epoch_at: At,
    /// The first cycle of that epoch that was delivered live.
    pub(crate) live_at: Option<At>,
    /// Whether the last cycle was live, or why not ([`truemute_core::gate::SilentReason`] as a number).
    pub(crate) silent: Option<u8>,
    /// Frames of the last cycle.
    pub(crate) quantum: u32,
    /// Sample rate of the last cycle in Hz.
    pub(crate) rate: u32,
    /// When the last cycle was delivered, monotonic nanoseconds.
    pub(crate) at_ns: u64,
}

const NONE: u64 = u64::MAX;

/// The cell between the real-time thread and the main loop, with a descriptor that becomes readable when something
/// changed that the main loop waits for.
pub(crate) struct Progress {
    cell: Published<8>,
    last_read: Mutex<Seen>,
    wake: OwnedFd,
}

impl Progress {
    pub(crate) fn new() -> std::io::Result<Self> {
        let wake = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC,
        )?;
        let progress = Self {
            cell: Published::new(),
            last_read: Mutex::default(),
            wake,
        };
        progress.publish(&Seen::default());
        Ok(progress)
    }

    /// Real-time thread, the only one that publishes.
    pub(crate) fn publish(&self, seen: &Seen) {
        self.cell.publish([
            seen.cycles,
            seen.epoch,
            u64::from(seen.epoch_at.clock) | u64::from(seen.live_at.map_or(0, |at| at.clock)) << 32,
            seen.epoch_at.position,
            seen.live_at.map_or(NONE, |at| at.position),
            seen.silent.map_or(NONE, u64::from),
            u64::from(seen.quantum) | u64::from(seen.rate) << 32,
            seen.at_ns,
        ]);
    }

    /// Any thread but the real-time one. While the publisher is interrupted in the middle, what was read before.
    pub(crate) fn read(&self) -> Seen {
        let mut last = self
            .last_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = self.cell.read() {
            *last = Seen {
                cycles: words[0],
                epoch: words[1],
                epoch_at: At {
                    clock: words[2] as u32,
                    position: words[3],
                },
                live_at: (words[4] != NONE).then_some(At {
                    clock: (words[2] >> 32) as u32,
                    position: words[4],
                }),
                silent: (words[5] != NONE).then_some(words[5] as u8),
                quantum: words[6] as u32,
                rate: (words[6] >> 32) as u32,
                at_ns: words[7],
            };
        }
        *last
    }

    /// Real-time thread: wakes the main loop. A write to a non-blocking eventfd; its failure (a full counter) means
    /// that the main loop has a wake-up pending already.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Main loop: takes the pending wake-ups.
    pub(crate) fn acknowledge(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }
}

impl AsFd for Progress {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let progress = Progress::new().expect("an eventfd");
        assert_eq!(progress.read(), Seen::default());
        let seen = Seen {
            cycles: 7,
            epoch: 3,
            epoch_at: At {
                clock: 42,
                position: 1 << 40,
            },
            live_at: Some(At {
                clock: 43,
                position: 0,
            }),
            silent: Some(0),
            quantum: 1024,
            rate: 48_000,
            at_ns: 9,
        };
        progress.publish(&seen);
        assert_eq!(progress.read(), seen);
    }
}
