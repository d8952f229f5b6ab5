//! The ledger: who pulled how often, while live and while muted. A fixed table with one writer a slot, whom no reader
//! ever holds up. Names, identities and what becomes of the figures are not its business.

use crate::atomic::{AtomicBool, AtomicU64, Ordering, array_of, const_unless_loom, fence};
use crate::histogram::{AtomicHistogram, Histogram};

/// How often a reader tries before it gives up. A writer is inside a slot for well under a microsecond, so that only
/// one that was interrupted there exhausts this. One under loom: further tries are the same again, and multiply the executions.
const ATTEMPTS: u32 = if cfg!(loom) { 1 } else { 256 };

/// Pulls, frames and time in one of the two states of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tally {
    /// Completed deliveries.
    pub pulls: u64,
    /// Frames in them, at the graph's rate. A frame is one sample per channel.
    pub frames: u64,
    /// Nanoseconds of sound that these frames span.
    pub nanoseconds: u64,
}

/// One pull, as its writer saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// When it completed, in nanoseconds of the monotonic clock. Earlier than the one before counts as an interval of 0.
    pub finish_ns: u64,
    /// Frames delivered.
    pub frames: u32,
    /// Nanoseconds of sound that the frames span.
    pub nanoseconds: u64,
    /// Whether the gate was live for this delivery.
    pub live: bool,
    /// Whether an xrun, discontinuity or late wake-up was flagged in this cycle.
    pub flagged: bool,
}

/// The right to write one slot, from [`Ledger::claim`] to [`Ledger::release`]. There is one for each claimed slot, and
/// writing needs it exclusively, so a slot never has two writers. Send it to the thread that counts, and back.
#[derive(Debug)]
#[must_use = "a slot whose writer is dropped stays claimed for as long as the ledger lives"]
pub struct SlotWriter {
    instance: u64,
    slot: usize,
}

impl SlotWriter {
    /// The slot, for [`Ledger::snapshot`].
    pub fn slot(&self) -> usize {
        self.slot
    }
}

/// The counts of one client as of one instant: all of them from between the same two pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSnapshot {
    /// The number that the slot was claimed with.
    pub client: u64,
    /// While the gate was live.
    pub live: Tally,
    /// While it was silent, for whatever reason.
    pub muted: Tally,
    /// Cycles that were flagged: a pull may be missing from or doubled in the tallies for each.
    pub xruns: u64,
    /// Pulls known to have happened that could not be read.
    pub lost: u64,
    /// The last pull, in nanoseconds of the monotonic clock; none yet if absent.
    pub last_pull_ns: Option<u64>,
    /// The time between pulls: one interval fewer than pulls.
    pub intervals: Histogram,
}

#[cfg(feature = "std")]
impl From<&SlotSnapshot> for crate::observed::Counts {
    fn from(seen: &SlotSnapshot) -> Self {
        Self {
            live: seen.live,
            muted: seen.muted,
            xruns: seen.xruns,
            lost: seen.lost,
            intervals: (&seen.intervals).into(),
        }
    }
}

/// Why there is no snapshot of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSnapshot {
    /// Nobody has claimed the slot, or there is no such slot.
    Free,
    /// Its writer was in the middle of a change each time. The last snapshot still holds; try again later.
    Busy,
}

/// The counters of up to `N` clients at once.
///
/// The control thread claims and releases slots, each slot's writer records, and anyone takes snapshots. Nothing
/// blocks; a writer never even repeats a step. Counters only grow while a slot is claimed and begin at zero for the next
/// client.
#[derive(Debug)]
pub struct Ledger<const N: usize> {
    instance: u64,
    slots: [Slot; N],
    unattributed: AtomicTally,
}

impl<const N: usize> Ledger<N> {
    const_unless_loom! {
        /// An empty ledger. `instance` has to differ from that of every earlier one whose figures might be compared with
        /// this one's, so that counts which begin anew never look negative.
        pub fn new(instance: u64) -> Self {
            Self { instance, slots: array_of!(Slot::new()), unattributed: AtomicTally::new() }
        }
    }

    /// The number given to [`Ledger::new`].
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Takes a free slot for `client`, with all counts at zero; nothing if all are taken. Then what this client pulls
    /// belongs into [`Ledger::record_unattributed`]. Control thread.
    pub fn claim(&self, client: u64) -> Option<SlotWriter> {
        // Acquire: the former writer's last change comes before ours.
        let take = |slot: &Slot| {
            slot.taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let index = self.slots.iter().position(take)?;
        let slot = self.slots.get(index)?;
        slot.change(|slot| slot.begin(client));
        Some(SlotWriter {
            instance: self.instance,
            slot: index,
        })
    }

    /// Gives a slot back, with its final counts; nothing if the writer is another ledger's. Control thread.
    pub fn release(&self, writer: SlotWriter) -> Option<SlotSnapshot> {
        let slot = self.slot_of(&writer)?;
        let counts = slot.copy();
        slot.change(|slot| slot.occupied.store(false, Ordering::Relaxed));
        slot.taken.store(false, Ordering::Release);
        Some(counts)
    }

    /// Gives a slot back whose client nobody will ever know: its pulls become unattributed. Those that were lost, too: they are known
    /// to have happened, and nobody knows their frames. Control thread.
    pub fn disown(&self, writer: SlotWriter) {
        if let Some(counts) = self.release(writer) {
            for tally in [counts.live, counts.muted] {
                self.unattributed
                    .pulls
                    .fetch_add(tally.pulls, Ordering::Relaxed);
                self.unattributed
                    .frames
                    .fetch_add(tally.frames, Ordering::Relaxed);
                self.unattributed
                    .nanoseconds
                    .fetch_add(tally.nanoseconds, Ordering::Relaxed);
            }
            self.unattributed
                .pulls
                .fetch_add(counts.lost, Ordering::Relaxed);
        }
    }

    /// Counts one pull. Real-time safe, and wait-free. Through another ledger's writer it counts as unattributed.
    pub fn record(&self, writer: &mut SlotWriter, pull: Pull) {
        match self.slot_of(writer) {
            Some(slot) => slot.change(|slot| slot.record(&pull)),
            None => self.record_unattributed(pull),
        }
    }

    /// Counts pulls that are known to have happened, but could not be read. Real-time safe, and wait-free.
    pub fn record_lost(&self, writer: &mut SlotWriter, pulls: u64) {
        match self.slot_of(writer) {
            Some(slot) => slot.change(|slot| add(&slot.lost, pulls)),
            None => {
                self.unattributed.pulls.fetch_add(pulls, Ordering::Relaxed);
            }
        }
    }

    /// Counts a flagged cycle in which no pull was seen: one may have been missed, or come to light later. Real-time
    /// safe, and wait-free.
    pub fn record_flagged(&self, writer: &mut SlotWriter) {
        if let Some(slot) = self.slot_of(writer) {
            slot.change(|slot| add(&slot.xruns, 1));
        }
    }

    /// Counts a pull that cannot be given to any client. Real-time safe, and from any number of threads at once.
    pub fn record_unattributed(&self, pull: Pull) {
        self.unattributed.pulls.fetch_add(1, Ordering::Relaxed);
        self.unattributed
            .frames
            .fetch_add(u64::from(pull.frames), Ordering::Relaxed);
        self.unattributed
            .nanoseconds
            .fetch_add(pull.nanoseconds, Ordering::Relaxed);
    }

    /// The pulls of no client. The frames and nanoseconds are of those pulls that could be read: [`Ledger::record_lost`] knows of
    /// others. Each figure is exact; a pull that is being counted may be in one and not yet in another.
    pub fn unattributed(&self) -> Tally {
        self.unattributed.copy()
    }

    /// The counts in `slot` (from 0 to `N` - 1), from any thread.
    pub fn snapshot(&self, slot: usize) -> Result<SlotSnapshot, NoSnapshot> {
        let slot = self.slots.get(slot).ok_or(NoSnapshot::Free)?;
        for _ in 0..ATTEMPTS {
            if let Some(seen) = slot.look() {
                return seen.ok_or(NoSnapshot::Free);
            }
            core::hint::spin_loop();
        }
        Err(NoSnapshot::Busy)
    }

    fn slot_of(&self, writer: &SlotWriter) -> Option<&Slot> {
        self.slots
            .get(writer.slot)
            .filter(|_| writer.instance == self.instance)
    }
}

/// Counters of one client. All but `taken` belong to `sequence`: odd while they change, and different after.
/// On cache lines of its own, because neighbours may have other writers, and in this order, so that a pull while live
/// touches the first of them and one of the histogram's: the audio thread finds few of 256 clients' lines in its cache.
#[derive(Debug)]
#[repr(C, align(64))]
struct Slot {
    sequence: AtomicU64,
    occupied: AtomicBool,
    /// Keeps a slot for its writer from claim to release. Outside of `sequence`, since it decides who may write that.
    taken: AtomicBool,
    last_pull_ns: AtomicU64,
    live: AtomicTally,
    intervals: AtomicHistogram,
    muted: AtomicTally,
    client: AtomicU64,
    xruns: AtomicU64,
    lost: AtomicU64,
}

// Loom's atomics are larger.
#[cfg(not(loom))]
const _: () = assert!(
    core::mem::offset_of!(Slot, intervals) + size_of::<AtomicU64>() <= 64,
    "what a pull while live writes lies on the slot's first cache line, but for one count of the histogram"
);

impl Slot {
    const_unless_loom! {
        fn new() -> Self {
            Self {
                sequence: AtomicU64::new(0),
                occupied: AtomicBool::new(false),
                taken: AtomicBool::new(false),
                last_pull_ns: AtomicU64::new(0),
                live: AtomicTally::new(),
                intervals: AtomicHistogram::new(),
                muted: AtomicTally::new(),
                client: AtomicU64::new(0),
                xruns: AtomicU64::new(0),
                lost: AtomicU64::new(0),
            }
        }
    }

    /// Changes the counters so that no reader takes half a change for a whole one. Only for the slot's one writer.
    fn change(&self, change: impl FnOnce(&Self)) {
        let even = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(even.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees a changed counter also sees the odd number: pairs with the fence in `look`.
        fence(Ordering::Release);
        change(self);
        self.sequence.store(even.wrapping_add(2), Ordering::Release);
    }

    /// One try at a consistent copy: nothing if the writer was busy, `Some(None)` if the slot is free.
    fn look(&self) -> Option<Option<SlotSnapshot>> {
        let before = self.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let seen = self.occupied.load(Ordering::Relaxed).then(|| self.copy());
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then_some(seen)
    }

    fn begin(&self, client: u64) {
        self.client.store(client, Ordering::Relaxed);
        self.live.reset();
        self.muted.reset();
        for counter in [&self.xruns, &self.lost, &self.last_pull_ns] {
            counter.store(0, Ordering::Relaxed);
        }
        self.intervals.reset();
        self.occupied.store(true, Ordering::Relaxed);
    }

    fn record(&self, pull: &Pull) {
        if self.has_pulled() {
            let last_ns = self.last_pull_ns.load(Ordering::Relaxed);
            self.intervals.add(pull.finish_ns.saturating_sub(last_ns));
        }
        self.last_pull_ns.store(pull.finish_ns, Ordering::Relaxed);
        let tally = if pull.live { &self.live } else { &self.muted };
        tally.add(pull);
        if pull.flagged {
            add(&self.xruns, 1);
        }
    }

    fn has_pulled(&self) -> bool {
        [&self.live, &self.muted]
            .iter()
            .any(|tally| tally.pulls.load(Ordering::Relaxed) > 0)
    }

    fn copy(&self) -> SlotSnapshot {
        SlotSnapshot {
            client: self.client.load(Ordering::Relaxed),
            live: self.live.copy(),
            muted: self.muted.copy(),
            xruns: self.xruns.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            last_pull_ns: self
                .has_pulled()
                .then(|| self.last_pull_ns.load(Ordering::Relaxed)),
            intervals: self.intervals.copy(),
        }
    }
}

/// A [`Tally`] that one thread writes and others copy.
#[derive(Debug)]
struct AtomicTally {
    pulls: AtomicU64,
    frames: AtomicU64,
    nanoseconds: AtomicU64,
}

impl AtomicTally {
    const_unless_loom! {
        fn new() -> Self {
            Self { pulls: AtomicU64::new(0), frames: AtomicU64::new(0), nanoseconds: AtomicU64::new(0) }
        }
    }

    fn add(&self, pull: &Pull) {
        add(&self.pulls, 1);
        add(&self.frames, u64::from(pull.frames));
        add(&self.nanoseconds, pull.nanoseconds);
    }

    fn reset(&self) {
        for counter in [&self.pulls, &self.frames, &self.nanoseconds] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    fn copy(&self) -> Tally {
        Tally {
            pulls: self.pulls.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}

/// Adds without a locked instruction: there is but one writer.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}
