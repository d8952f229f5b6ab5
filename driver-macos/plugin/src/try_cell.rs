//! A value that one thread at a time may change, and that nobody waits for on the audio thread. All `unsafe` that this takes
//! is here.

use crate::atomic::{AtomicBool, Ordering, UnsafeCell, yield_now};

/// A value behind a flag.
#[derive(Debug)]
pub(crate) struct TryCell<T> {
    busy: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the flag lets one thread at a time at the value, which therefore only has to be able to change threads.
unsafe impl<T: Send> Sync for TryCell<T> {}

impl<T> TryCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            busy: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Does something to the value; nothing if another thread is doing so. Never waits, never allocates.
    pub(crate) fn try_with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        /// Lowers the flag, also if `act` unwinds.
        struct Busy<'c>(&'c AtomicBool);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        self.busy
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        let _busy = Busy(&self.busy);
        // SAFETY: the flag was down, and is ours until `_busy` is dropped: nobody else has a reference.
        let result = self.value.with_mut(|value| act(unsafe { &mut *value }));
        Some(result)
    }

    /// The same, but waits until nobody else does. Not for the audio thread.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut act = Some(act);
        loop {
            let done = self.try_with(|value| act.take().map(|act| act(value)));
            match done {
                Some(Some(result)) => return result,
                _ => yield_now(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_second_is_turned_away() {
        let cell = TryCell::new(1);
        let inner = cell.try_with(|value| {
            *value = 2;
            cell.try_with(|_| ())
        });
        assert_eq!(inner, Some(None));
        assert_eq!(cell.try_with(|value| *value), Some(2));
    }

    #[test]
    fn the_flag_comes_down_when_somebody_unwinds() {
        let cell = TryCell::new(());
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cell.try_with(|()| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(unwound.is_err());
        assert!(cell.try_with(|()| ()).is_some());
    }

    #[test]
    fn no_change_is_lost_between_threads() {
        let cell = TryCell::new(0_u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        cell.with(|value| *value += 1);
                    }
                });
            }
        });
        assert_eq!(cell.with(|value| *value), 4000);
    }
}
