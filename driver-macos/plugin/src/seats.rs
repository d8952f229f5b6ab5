//! Where each client's reads are counted, found by client id without a lock: the half of the clients that the IO threads
//! touch. Who the clients are, and when they come and leave, is in `clients.rs`.
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

use crate::atomic::{AtomicU64, Ordering, yield_now};
use crate::try_cell::TryCell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use truemute_core::ledger::{Ledger, NoSnapshot, Pull, SlotSnapshot, SlotWriter, Tally};

/// Clients that are counted one by one. Every process that opens the device is one, some at their launch, whether or not
/// they ever record. What more of them read is unattributed. Under loom one, so that each client comes to the same seat.
pub const MOST: usize = if cfg!(loom) { 1 } else { 256 };

/// How often a look at a seat lets a thread go on that is just counting there, before it says what it saw last.
const PATIENCE: u32 = if cfg!(loom) { 2 } else { 100 };

/// The seats.
#[derive(Debug)]
pub struct Seats {
    /// Whose seat it is: 0 for nobody's, else the arrival above and the id below, with the highest bit set. Apart from the
    /// seats, so that a search touches few cache lines.
    keys: Box<[AtomicU64]>,
    seats: Box<[Seat]>,
    /// Its slots are not used, only what it counts besides them.
    nobody: Ledger<0>,
}

/// Where one client is counted.
#[derive(Debug)]
struct Seat {
    ledger: Ledger<1>,
    /// Host and header promise one IO thread for each client; the flag holds even if there are two.
    writer: TryCell<Option<SlotWriter>>,
    /// What was last seen of its client's counts. Not for the IO threads.
    seen: Mutex<Option<SlotSnapshot>>,
}

impl Seat {
    fn seen(&self) -> MutexGuard<'_, Option<SlotSnapshot>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn key(arrival: u64, id: u32) -> u64 {
    1 << 63 | (arrival & 0x7fff_ffff) << 32 | id as u64
}

const fn is_of(key: u64, id: u32) -> bool {
    key != 0 && key as u32 == id
}

/// The seats in the order in which a client's is looked for: its favourite one first.
fn order(id: u32) -> impl Iterator<Item = usize> {
    let favourite = id as usize % MOST;
    (favourite..MOST).chain(0..favourite)
}

impl Default for Seats {
    fn default() -> Self {
        Self::new()
    }
}

impl Seats {
    /// All free.
    pub fn new() -> Self {
        let seat = |_| Seat {
            ledger: Ledger::new(0),
            writer: TryCell::new(None),
            seen: Mutex::new(None),
        };
        Self {
            keys: (0..MOST).map(|_| AtomicU64::new(0)).collect(),
            seats: (0..MOST).map(seat).collect(),
            nobody: Ledger::new(0),
        }
    }

    fn at(&self, seat: usize) -> Option<(&AtomicU64, &Seat)> {
        Some((self.keys.get(seat)?, self.seats.get(seat)?))
    }

    /// Counts one read of a client. Real-time safe, and never waits: a read of an unknown client, and one that comes while
    /// another thread reads for the same client, are unattributed.
    pub fn record(&self, id: u32, pull: Pull) {
        if !self.try_record(id, pull) {
            self.nobody.record_unattributed(pull);
        }
    }

    fn try_record(&self, id: u32, pull: Pull) -> bool {
        let found = order(id)
            .filter_map(|at| self.at(at))
            .find_map(|(key, seat)| {
                let seen = key.load(Ordering::Acquire);
                is_of(seen, id).then_some((key, seat, seen))
            });
        let Some((key, seat, seen)) = found else {
            return false;
        };
        let counted = seat.writer.try_with(|writer| {
            // Again, for the client may have left, and another come, since the seat was found.
            match writer {
                Some(writer) if key.load(Ordering::Relaxed) == seen => {
                    seat.ledger.record(writer, pull);
                    true
                }
                _ => false,
            }
        });
        counted == Some(true)
    }

    /// Gives a free seat to the client with this number of arrival, which no other client ever had, and this id, which no other
    /// client has now. Control thread, one at a time.
    pub fn take(&self, arrival: u64, id: u32) -> Option<usize> {
        let free = |at: &usize| {
            let key = self.keys.get(*at);
            key.is_some_and(|key| key.load(Ordering::Relaxed) == 0)
        };
        let at = order(id).find(free)?;
        let (its_key, seat) = self.at(at)?;
        seat.writer.with(|writer| {
            *writer = seat.ledger.claim(arrival);
        });
        // Nobody counts yet: a look is never in anybody's way.
        *seat.seen() = seat.ledger.snapshot(0).ok();
        its_key.store(key(arrival, id), Ordering::Release);
        Some(at)
    }

    /// Takes a seat back, with the final counts of its client: no read is counted there for it any more. Control thread, one
    /// at a time; waits for a read that is being counted.
    pub fn give_up(&self, at: usize) -> Option<SlotSnapshot> {
        let (key, seat) = self.at(at)?;
        let writer = seat.writer.with(|writer| {
            // Whoever found the seat already looks again when it is his turn.
            key.store(0, Ordering::Relaxed);
            writer.take()
        })?;
        seat.ledger.release(writer)
    }

    /// The counts of a seat that is taken. Any thread but an IO thread, while nobody gives it up. Waits a bounded time for an IO
    /// thread that was interrupted while it counted; if that does not go on, these are the counts of the look before.
    pub fn counts(&self, at: usize) -> Option<SlotSnapshot> {
        let (_, seat) = self.at(at)?;
        let mut seen = seat.seen();
        for _ in 0..PATIENCE {
            match seat.ledger.snapshot(0) {
                Ok(counts) => {
                    *seen = Some(counts);
                    break;
                }
                Err(NoSnapshot::Free) => return None,
                // It goes on sooner if we let it.
                Err(NoSnapshot::Busy) => yield_now(),
            }
        }
        seen.clone()
    }

    /// The reads that were counted for nobody.
    pub fn unattributed(&self) -> Tally {
        self.nobody.unattributed()
    }
}
