//! Where each read of one client comes in: whether that client is muted on its own, and whether a read of it is still under way.
//! Who is muted is decided by the agent, and kept in `clients.rs`.
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

use crate::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// One client's door.
#[derive(Debug)]
pub(crate) struct Door {
    silent: AtomicBool,
    /// Reads under way.
    inside: AtomicU64,
}

/// A read that came in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visit<'d> {
    door: &'d Door,
    silent: bool,
}

impl Default for Door {
    fn default() -> Self {
        Self::new()
    }
}

impl Door {
    /// Nobody inside, and not silent.
    pub(crate) fn new() -> Self {
        Self {
            silent: AtomicBool::new(false),
            inside: AtomicU64::new(0),
        }
    }

    /// A read begins. Real-time safe, never waits, and from any number of threads.
    pub(crate) fn enter(&self) -> Visit<'_> {
        self.inside.fetch_add(1, Ordering::Relaxed);
        // Pairs with the one in `set_silent`: either this read sees that it is silent, or it is waited for.
        fence(Ordering::SeqCst);
        Visit {
            door: self,
            // Acquire: who is let in by one client's setting also sees that the client before it left.
            silent: self.silent.load(Ordering::Acquire),
        }
    }

    /// Reads that begin from now on are silent, or not. Control thread.
    pub(crate) fn set_silent(&self, silent: bool) {
        // Release: whoever sees it sees what came before, such as that another client left.
        self.silent.store(silent, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Whether every read has ended that began before the last [`Door::set_silent`]. Reads that began since may keep it from being
    /// so; they are as it was set.
    pub(crate) fn is_settled(&self) -> bool {
        // Acquire: what such a read did to its buffer came before.
        self.inside.load(Ordering::Acquire) == 0
    }
}

impl Visit<'_> {
    /// Whether this read has to be zeros, whatever the gate says.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.door.inside.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_read_from_before_is_waited_for_and_one_from_after_is_silent() {
        let door = Door::new();
        let before = door.enter();
        door.set_silent(true);
        assert!(!before.is_silent() && !door.is_settled());
        let after = door.enter();
        assert!(after.is_silent());
        drop(before);
        assert!(!door.is_settled(), "the other one is not told from it");
        drop(after);
        assert!(door.is_settled());
        door.set_silent(false);
        assert!(!door.enter().is_silent());
    }
}
