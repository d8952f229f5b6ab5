//! A list of fixed size that one thread appends to without allocating, locking or waiting, while others read what is
//! there already. The real-time callbacks of the recorders write into it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The list. What does not fit any more is counted in [`Append::lost`].
pub struct Append<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Slots below this are written and never change again.
    length: AtomicUsize,
    lost: AtomicU64,
}

// SAFETY: a slot is written once, before the release store of `length` that makes it readable, and only read after.
unsafe impl<T: Copy + Send + Sync> Sync for Append<T> {}

impl<T: Copy> Append<T> {
    /// Room for `capacity` items, touched now so that appending never faults a page in.
    pub fn with_capacity(capacity: usize) -> Self
    where
        T: Default,
    {
        Self {
            slots: (0..capacity)
                .map(|_| UnsafeCell::new(MaybeUninit::new(T::default())))
                .collect(),
            length: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Appends all of `items` or, if they do not fit, none.
    ///
    /// # Safety
    /// Only one thread may append at a time.
    pub unsafe fn extend(&self, items: impl ExactSizeIterator<Item = T>) {
        let start = self.length.load(Ordering::Relaxed);
        let Some(end) = start
            .checked_add(items.len())
            .filter(|end| *end <= self.slots.len())
        else {
            self.lost.fetch_add(items.len() as u64, Ordering::Relaxed);
            return;
        };
        for (slot, item) in self.slots[start..end].iter().zip(items) {
            // SAFETY: slots from `length` on are not read by anybody, and the caller is the only writer.
            unsafe { slot.get().write(MaybeUninit::new(item)) };
        }
        self.length.store(end, Ordering::Release);
    }

    /// Items that it has room for.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Items that are there now.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that did not fit.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// A copy of the items from `start` on.
    pub fn from(&self, start: usize) -> Vec<T> {
        let end = self.len();
        self.slots[start.min(end)..end]
            .iter()
            // SAFETY: below `length`, so written and final.
            .map(|slot| unsafe { (*slot.get()).assume_init() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn readers_see_a_growing_prefix_and_overflow_is_counted() {
        const ITEMS: usize = 10_000;
        let list = Append::<usize>::with_capacity(ITEMS);
        thread::scope(|scope| {
            scope.spawn(|| {
                for item in (0..ITEMS + 7).step_by(1) {
                    // SAFETY: this is the only thread that appends.
                    unsafe { list.extend([item].into_iter()) };
                }
            });
            while list.len() < ITEMS {
                let seen = list.from(0);
                assert!(seen.iter().enumerate().all(|(index, item)| index == *item));
            }
        });
        assert_eq!(list.from(ITEMS - 1), [ITEMS - 1]);
        assert_eq!(list.lost(), 7);
    }
}
