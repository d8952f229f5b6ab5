//! A few words that one thread publishes together and any thread reads together: how the audio thread tells where its
//! cycles are. Neither waits for the other. What the words mean is the backend's business.

use crate::atomic::{AtomicU64, Ordering, array_of, const_unless_loom, fence};

/// How often a reader tries before it gives up. Under loom each try multiplies the model.
const ATTEMPTS: u32 = if cfg!(loom) { 1 } else { 256 };

/// `W` words that belong together. There must be one publishing thread at a time; the type cannot see to that.
#[derive(Debug)]
pub struct Published<const W: usize> {
    /// Odd while the words change, and different after.
    sequence: AtomicU64,
    words: [AtomicU64; W],
}

impl<const W: usize> Published<W> {
    const_unless_loom! {
        /// All words 0.
        pub fn new() -> Self {
            Self { sequence: AtomicU64::new(0), words: array_of!(AtomicU64::new(0)) }
        }
    }

    /// Publishes new words. Real-time safe, and wait-free. Only for the one publishing thread.
    pub fn publish(&self, words: [u64; W]) {
        let even = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(even.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees a changed word also sees the odd number: pairs with the fence in `read`.
        fence(Ordering::Release);
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
        self.sequence.store(even.wrapping_add(2), Ordering::Release);
    }

    /// The words of one publication; nothing if the publisher was in the middle of one at every try, which takes a
    /// publisher that was interrupted there: then the last read still holds.
    pub fn read(&self) -> Option<[u64; W]> {
        for _ in 0..ATTEMPTS {
            let before = self.sequence.load(Ordering::Acquire);
            let mut words = [0; W];
            for (word, cell) in words.iter_mut().zip(&self.words) {
                *word = cell.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return Some(words);
            }
            core::hint::spin_loop();
        }
        None
    }
}

impl<const W: usize> Default for Published<W> {
    fn default() -> Self {
        Self::new()
    }
}
