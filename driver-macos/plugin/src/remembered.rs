//! What was seen last of a value that another thread may keep busy at any moment: a look tries a bounded number of times, and
//! then says what the look before saw. Not for the audio threads.

use crate::atomic::yield_now;
use std::sync::{Mutex, PoisonError};

/// The last look.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Mutex<T>);

impl<T: Clone> Remembered<T> {
    pub(crate) fn new(first: T) -> Self {
        Self(Mutex::new(first))
    }

    /// Whatever was seen before no longer counts.
    pub(crate) fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The value as `look` finds it within `tries` tries; if it finds it busy each time, as it was seen last. The busy thread goes
    /// on sooner if we let it.
    pub(crate) fn look(&self, tries: u32, mut look: impl FnMut() -> Option<T>) -> T {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..tries {
            if let Some(seen) = look() {
                *last = seen;
                break;
            }
            yield_now();
        }
        last.clone()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_stays_busy_is_as_it_was_seen_last_and_is_not_looked_at_for_ever() {
        let last = Remembered::new(1);
        let mut looks = 0;
        let busy = |free_after: u32, looks: &mut u32| {
            last.look(5, || {
                *looks += 1;
                (*looks > free_after).then_some(2)
            })
        };
        assert_eq!((busy(9, &mut looks), looks), (1, 5));
        looks = 0;
        assert_eq!((busy(4, &mut looks), looks), (2, 5), "the last try counts");
        looks = 0;
        assert_eq!(
            (busy(9, &mut looks), looks),
            (2, 5),
            "what was seen is remembered"
        );
        last.set(7);
        assert_eq!(last.look(0, || Some(8)), 7);
    }
}
