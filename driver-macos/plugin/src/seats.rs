//! Where each client's reads come in and are counted, found by client id without a lock: the half of the clients that the IO
//! threads touch. Who the clients are, and when they come and leave, is in `clients.rs`.
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

use crate::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::door::{Door, Visit};
use crate::pull_log::{Logged, Logging, PullLogs};
use crate::remembered::Remembered;
use crate::try_cell::TryCell;
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
    /// Of all clients without a seat.
    strangers: Door,
    logs: PullLogs,
}

/// Where one client is counted.
#[derive(Debug)]
struct Seat {
    door: Door,
    /// Its client started IO, and has not read since.
    anew: AtomicBool,
    ledger: Ledger<1>,
    /// Host and header promise one IO thread for each client; the flag holds even if there are two.
    writer: TryCell<Option<Writer>>,
    /// What was last seen of its client's counts.
    seen: Remembered<Option<SlotSnapshot>>,
}

/// What counting takes.
#[derive(Debug)]
struct Writer {
    slot: SlotWriter,
    log: Logging,
    /// Where the client's last read ended; nothing if nobody knows.
    end: Option<u64>,
}

impl Writer {
    /// Whether a read begins where the one before ended, as far as there is one. Where it does not, the client was not given what
    /// is in between, or was given it in a read that was counted for nobody.
    fn follows(&mut self, position: Option<u64>, frames: u32, anew: bool) -> bool {
        let before = self.end.take().filter(|_| !anew);
        self.end = position.map(|position| position.saturating_add(u64::from(frames)));
        position.is_some() && before.is_none_or(|end| Some(end) == position)
    }
}

/// A read of one client, from before its buffer is filled until it is counted.
#[derive(Debug)]
pub struct Reading<'s> {
    seats: &'s Seats,
    seat: Option<Found<'s>>,
    visit: Visit<'s>,
}

/// A seat as a read found it.
#[derive(Debug)]
struct Found<'s> {
    key: &'s AtomicU64,
    seen: u64,
    seat: &'s Seat,
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
            door: Door::new(),
            anew: AtomicBool::new(false),
            ledger: Ledger::new(0),
            writer: TryCell::new(None),
            seen: Remembered::new(None),
        };
        Self {
            keys: (0..MOST).map(|_| AtomicU64::new(0)).collect(),
            seats: (0..MOST).map(seat).collect(),
            nobody: Ledger::new(0),
            strangers: Door::new(),
            logs: PullLogs::new(),
        }
    }

    fn at(&self, seat: usize) -> Option<(&AtomicU64, &Seat)> {
        Some((self.keys.get(seat)?, self.seats.get(seat)?))
    }

    fn find(&self, id: u32) -> Option<Found<'_>> {
        order(id)
            .filter_map(|at| self.at(at))
            .find_map(|(key, seat)| {
                let seen = key.load(Ordering::Acquire);
                is_of(seen, id).then_some(Found { key, seen, seat })
            })
    }

    /// A read of a client begins. Real-time safe, and never waits.
    pub fn begin(&self, id: u32) -> Reading<'_> {
        let seat = self.find(id);
        let door = seat.as_ref().map_or(&self.strangers, |it| &it.seat.door);
        Reading {
            seats: self,
            visit: door.enter(),
            seat,
        }
    }

    /// Gives a free seat to the client with this number of arrival, which no other client ever had, and this id, which no other
    /// client has now; from its first read on it is silent, or not. Control thread, one at a time.
    pub fn take(&self, arrival: u64, id: u32, silent: bool) -> Option<usize> {
        let free = |at: &usize| {
            let key = self.keys.get(*at);
            key.is_some_and(|key| key.load(Ordering::Relaxed) == 0)
        };
        let at = order(id).find(free)?;
        let (its_key, seat) = self.at(at)?;
        seat.door.set_silent(silent);
        let mut log = Some(self.logs.open(arrival));
        seat.writer.with(|writer| {
            let slot = seat.ledger.claim(arrival);
            *writer = slot.and_then(|slot| {
                Some(Writer {
                    slot,
                    log: log.take()?,
                    end: None,
                })
            });
        });
        // Nobody counts yet: a look is never in anybody's way.
        seat.seen.set(seat.ledger.snapshot(0).ok());
        its_key.store(key(arrival, id), Ordering::Release);
        Some(at)
    }

    /// The client of a seat that is taken starts IO: its next read need not follow on its last one. Control thread.
    pub fn begins_anew(&self, at: usize) {
        if let Some((_, seat)) = self.at(at) {
            seat.anew.store(true, Ordering::Relaxed);
        }
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
        seat.ledger.release(writer.slot)
    }

    /// The counts of a seat that is taken. Any thread but an IO thread, while nobody gives it up. Waits a bounded time for an IO
    /// thread that was interrupted while it counted; if that does not go on, these are the counts of the look before.
    pub fn counts(&self, at: usize) -> Option<SlotSnapshot> {
        let (_, seat) = self.at(at)?;
        seat.seen.look(PATIENCE, || match seat.ledger.snapshot(0) {
            Ok(counts) => Some(Some(counts)),
            Err(NoSnapshot::Free) => Some(None),
            Err(NoSnapshot::Busy) => None,
        })
    }

    /// The reads that were counted for nobody.
    pub fn unattributed(&self) -> Tally {
        self.nobody.unattributed()
    }

    /// Mutes the client of a seat that is taken on its own, or takes that back. Control thread.
    pub fn set_silent(&self, at: usize, silent: bool) {
        if let Some((_, seat)) = self.at(at) {
            seat.door.set_silent(silent);
        }
    }

    /// The same for all clients without a seat. Control thread.
    pub fn set_strangers_silent(&self, silent: bool) {
        self.strangers.set_silent(silent);
    }

    /// Whether no read of a seat's client is under way that began before it was last muted on its own.
    pub fn is_settled(&self, at: usize) -> bool {
        self.at(at).is_none_or(|(_, seat)| seat.door.is_settled())
    }

    /// The same for all clients without a seat.
    pub fn are_strangers_settled(&self) -> bool {
        self.strangers.is_settled()
    }

    /// The record of single reads.
    pub fn logs(&self) -> &PullLogs {
        &self.logs
    }
}

impl Reading<'_> {
    /// Whether it has to be zeros, whatever the gate says: its client is muted on its own, or left and another one came.
    pub fn is_silent(&self) -> bool {
        let gone = |it: &Found<'_>| it.key.load(Ordering::Relaxed) != it.seen;
        self.visit.is_silent() || self.seat.as_ref().is_some_and(gone)
    }

    /// Counts it. Real-time safe, and never waits: a read of an unknown client, and one that comes while another thread
    /// counts for the same client, are unattributed. `position` is its first frame on the device's time line, if it had one; a read
    /// that does not begin where the client's last one ended is flagged.
    pub fn end(self, pull: Pull, position: Option<u64>) {
        if !self.try_record(pull, position) {
            self.seats.nobody.record_unattributed(pull);
            self.seats.logs.lose();
        }
    }

    fn try_record(&self, pull: Pull, position: Option<u64>) -> bool {
        let Some(Found { key, seen, seat }) = &self.seat else {
            return false;
        };
        let counted = seat.writer.try_with(|writer| {
            // Again, for the client may have left, and another come, since the seat was found.
            match writer {
                Some(writer) if key.load(Ordering::Relaxed) == *seen => {
                    let anew = seat.anew.load(Ordering::Relaxed);
                    if anew {
                        seat.anew.store(false, Ordering::Relaxed);
                    }
                    let flagged = !writer.follows(position, pull.frames, anew);
                    let pull = Pull { flagged, ..pull };
                    seat.ledger.record(&mut writer.slot, pull);
                    self.seats
                        .logs
                        .keep(&mut writer.log, Logged::new(&pull, position));
                    true
                }
                _ => false,
            }
        });
        counted == Some(true)
    }
}
