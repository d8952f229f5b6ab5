//! Which deliveries are under way, and since which epoch: what a mute waits for before it is acknowledged.
//! What a delivery may let through is the gate's business (`gate.rs`).

use crate::atomic::{AtomicU64, Ordering, array_of, const_unless_loom, fence};

/// Deliveries that are tracked one by one. PipeWire has one at a time, Core Audio one per reading client and thread.
#[cfg(not(loom))]
const PLACES: usize = 64;
/// One place is enough for loom to reach every path: an empty place, a reused one and a full table.
#[cfg(loom)]
const PLACES: usize = 1;

const EMPTY: u64 = 0;

/// The deliveries in flight, each with the epoch at which it came.
///
/// A place per delivery and not a counter per epoch: counters need reuse (by parity, say), and then a steady stream of
/// overlapping newer deliveries would keep an older epoch from ever counting as ended.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// [`EMPTY`], or one more than the epoch of the delivery that holds the place.
    places: [AtomicU64; PLACES],
    /// Deliveries that found no place. Their epochs are unknown, so all of them are waited for.
    crowd: AtomicU64,
}

/// Where a delivery is registered.
#[derive(Debug)]
pub(crate) enum Place {
    Listed(usize),
    Crowd,
}

impl InFlight {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Self { places: array_of!(AtomicU64::new(EMPTY)), crowd: AtomicU64::new(0) }
        }
    }

    /// Registers a delivery. `epoch` was read before, so it is at most the one that the delivery acts on; what the
    /// caller reads after this call, a later [`InFlight::none_before`] is ordered against.
    pub(crate) fn enter(&self, epoch: u64) -> Place {
        let mark = epoch.wrapping_add(1);
        let place = self.places.iter().position(|place| {
            place.load(Ordering::Relaxed) == EMPTY
                // Relaxed, because the fence below also acquires what the delivery here before this one released.
                && place.compare_exchange(EMPTY, mark, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        let place = place.map_or(Place::Crowd, Place::Listed);
        if let Place::Crowd = place {
            self.crowd.fetch_add(1, Ordering::Relaxed);
        }
        // Pairs with the fence in `none_before`: of "the delivery registers, then reads the word" and "a command
        // changes the word, then looks for deliveries" at least one sees the other.
        fence(Ordering::SeqCst);
        place
    }

    /// Ends a delivery. What it wrote is visible to whoever then finds it gone.
    pub(crate) fn leave(&self, place: &Place) {
        match *place {
            Place::Listed(index) => {
                if let Some(place) = self.places.get(index) {
                    place.store(EMPTY, Ordering::Release);
                }
            }
            Place::Crowd => {
                self.crowd.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Whether no delivery that came before `epoch` is still under way.
    pub(crate) fn none_before(&self, epoch: u64) -> bool {
        fence(Ordering::SeqCst);
        self.crowd.load(Ordering::Acquire) == 0
            && self.places.iter().all(|place| {
                let mark = place.load(Ordering::Acquire);
                mark == EMPTY || mark > epoch
            })
    }
}
