//! The gate: the only place that decides between live and silent, and the last to write into a client's buffer.
//! Time comes in as nanoseconds of one monotonic clock. Who may mute and unmute is not decided here, but by the caller.

use crate::atomic::{AtomicU64, Ordering, const_unless_loom, fence};
use crate::in_flight::{InFlight, Place};

/// The longest that a lease may still have to run. A deadline further ahead is taken for a mistake (another clock,
/// another unit) and counts as no lease, since it would never run out.
pub const LONGEST_LEASE_NS: u64 = 60_000_000_000;

/// The number of a state of the gate. Each mute and each unmute opens the next one.
///
/// 63 bits: at a thousand commands a second they last for 292 million years, so that no code treats their wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The number itself, below 2^63.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What the backend holds in its hands in this cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// No block of the real mic: it is released, gone, or did not deliver.
    Missing,
    /// A block that cannot be trusted (wrong format, wrong cycle, xrun).
    Unhealthy,
    /// This cycle's block of the real mic.
    Block {
        /// When the capture of its first frame began, in nanoseconds of the monotonic clock; the latency that the source
        /// reports is subtracted already. A block from the future counts as [`Source::Unhealthy`].
        began_ns: u64,
    },
}

/// Why a delivery is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SilentReason {
    /// Muted, or never unmuted.
    Muted = 1,
    /// Nobody answers for "live" any more: the lease ran out, was revoked, or never was.
    LeaseExpired = 2,
    /// [`Source::Missing`].
    SourceMissing = 3,
    /// [`Source::Unhealthy`], or a block that claims to begin after the delivery.
    SourceUnhealthy = 4,
    /// The capture of the block began before the unmute.
    BeforeUnmute = 5,
    /// The state changed during the delivery, after it began live.
    Changed = 6,
}

impl SilentReason {
    /// The reason as a number from 1 to 6, for queues and shared memory. 0 is free for "live".
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason of a [`SilentReason::code`]; nothing for any other number.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Muted,
            2 => Self::LeaseExpired,
            3 => Self::SourceMissing,
            4 => Self::SourceUnhealthy,
            5 => Self::BeforeUnmute,
            6 => Self::Changed,
            _ => return None,
        })
    }
}

/// Live or silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The block may pass, in the epoch of this unmute.
    Live(Epoch),
    /// Zero bytes.
    Silent(SilentReason),
}

/// Decides, for one virtual mic, whether sound passes. Every method may be called from any thread, and none allocates,
/// locks, blocks or panics.
///
/// Live needs all three at once: an unmute that is the last command, a lease that has not run out, and a block that began
/// at or after that unmute. All else is silence (promises P2 and P3). Sound passes only through [`Delivery::fill`].
#[derive(Debug)]
pub struct Gate {
    /// Epoch and state in one word, so that no reader can see the one without the other.
    word: AtomicU64,
    /// The latest instant of an unmute. Written before the word that opens, and never smaller than before: whoever sees
    /// an open word finds here its own instant or a later one. A mix of the two can only silence more.
    opened_at_ns: AtomicU64,
    /// First instant without a lease; 0 for none. Stands alone: nothing else is read by its means, so relaxed will do.
    lease_until_ns: AtomicU64,
    in_flight: InFlight,
}

/// The gate's word: the epoch above, in the lowest bit whether it is open.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 1)
    }

    const fn open(self) -> bool {
        self.0 & 1 == 1
    }

    const fn next(self, open: bool) -> Self {
        Self(self.epoch().0.wrapping_add(1) << 1 | open as u64)
    }
}

impl Gate {
    const_unless_loom! {
        /// A gate that is muted, at epoch 0, without a lease.
        pub fn new() -> Self {
            Self {
                word: AtomicU64::new(0),
                opened_at_ns: AtomicU64::new(0),
                lease_until_ns: AtomicU64::new(0),
                in_flight: InFlight::new(),
            }
        }
    }

    /// Silences every delivery that begins from now on, and opens a new epoch even if it was muted. Deliveries in flight
    /// may still end live until [`Gate::settled`] says otherwise for the returned epoch.
    pub fn mute(&self) -> Epoch {
        self.advance(false)
    }

    /// Opens a new epoch, in which blocks pass that began at or after `now_ns` (the present). An unmute of an open gate
    /// does the same, so blocks that were under way are silenced. The last command wins: a caller that must not undo
    /// somebody else's mute has to order the two itself.
    ///
    /// An instant ahead of the true time keeps the gate silent until then; an earlier unmute's later instant stays.
    pub fn unmute(&self, now_ns: u64) -> Epoch {
        self.opened_at_ns.fetch_max(now_ns, Ordering::Relaxed);
        self.advance(true)
    }

    fn advance(&self, open: bool) -> Epoch {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let next = Word(seen).next(open);
            // Release: an open word carries its instant with it.
            match self
                .word
                .compare_exchange_weak(seen, next.0, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return next.epoch(),
                Err(other) => seen = other,
            }
        }
    }

    /// Extends the lease to `until_ns`, at most [`LONGEST_LEASE_NS`] ahead of the present. Never shortens it, so that two
    /// who renew cannot disturb each other; only time and [`Gate::revoke_lease`] end it.
    pub fn renew_lease(&self, until_ns: u64) {
        self.lease_until_ns.fetch_max(until_ns, Ordering::Relaxed);
    }

    /// Ends the lease. Like a lease that runs out, it silences without opening an epoch: a later renewal makes the gate
    /// live again. To wait until the last live delivery has ended, [`Gate::mute`].
    pub fn revoke_lease(&self) {
        self.lease_until_ns.store(0, Ordering::Relaxed);
    }

    /// What a delivery that began now would do. Tells the state; lets nothing through.
    pub fn decide(&self, now_ns: u64, source: Source) -> Decision {
        // Acquire: the instant read below is that of this word, or later.
        self.judge(Word(self.word.load(Ordering::Acquire)), now_ns, source)
    }

    fn judge(&self, word: Word, now_ns: u64, source: Source) -> Decision {
        if !word.open() {
            return Decision::Silent(SilentReason::Muted);
        }
        let left_ns = self
            .lease_until_ns
            .load(Ordering::Relaxed)
            .saturating_sub(now_ns);
        if left_ns == 0 || left_ns > LONGEST_LEASE_NS {
            return Decision::Silent(SilentReason::LeaseExpired);
        }
        match source {
            Source::Missing => Decision::Silent(SilentReason::SourceMissing),
            Source::Unhealthy => Decision::Silent(SilentReason::SourceUnhealthy),
            Source::Block { began_ns } if began_ns > now_ns => {
                Decision::Silent(SilentReason::SourceUnhealthy)
            }
            Source::Block { began_ns } if began_ns < self.opened_at_ns.load(Ordering::Relaxed) => {
                Decision::Silent(SilentReason::BeforeUnmute)
            }
            Source::Block { .. } => Decision::Live(word.epoch()),
        }
    }

    /// Begins the delivery of one buffer: decides, and registers it until the [`Delivery`] is filled or dropped.
    pub fn begin(&self, now_ns: u64, source: Source) -> Delivery<'_> {
        let came_at = Word(self.word.load(Ordering::Relaxed));
        let place = self.in_flight.enter(came_at.epoch().0);
        // Read again: only what is read after registering is certain to be waited for.
        let word = Word(self.word.load(Ordering::Acquire));
        let decision = self.judge(word, now_ns, source);
        Delivery {
            gate: self,
            place,
            now_ns,
            source,
            epoch: word.epoch(),
            decision,
        }
    }

    /// Whether every delivery that began before `epoch` has ended. If `epoch` is that of a mute, which then can be
    /// acknowledged: no byte of sound is written from now on in an earlier one. Later deliveries, however many and
    /// however they overlap, do not delay it (beyond 64 at the same time they may).
    pub fn settled(&self, epoch: Epoch) -> bool {
        self.in_flight.none_before(epoch.0)
    }

    /// The present epoch and whether the last command was an unmute. Open is not yet live: see [`Gate::decide`].
    pub fn state(&self) -> (Epoch, bool) {
        let word = Word(self.word.load(Ordering::Acquire));
        (word.epoch(), word.open())
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// One buffer on its way to a client. In flight until filled or dropped.
#[derive(Debug)]
#[must_use = "a delivery that is not filled leaves the client's buffer as it was"]
pub struct Delivery<'g> {
    gate: &'g Gate,
    place: Place,
    now_ns: u64,
    source: Source,
    epoch: Epoch,
    decision: Decision,
}

impl Delivery<'_> {
    /// What was decided when it began. [`Delivery::fill`] can still turn live into silent, never the reverse.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The epoch that was decided in, live or not.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Writes the whole of `destination`, and says what it wrote. It has to be the last to write there.
    ///
    /// Silent: zero bytes, and `copy` is not called. Live: `copy` has to write every byte; then the gate is looked at
    /// again, and if a command or a revoked lease came in between, zero bytes go over everything
    /// ([`SilentReason::Changed`]). The same if `copy` panics.
    pub fn fill(self, destination: &mut [u8], mut copy: impl FnMut(&mut [u8])) -> Decision {
        self.fill_planes(&mut [destination], |_, plane| copy(plane))
    }

    /// [`Delivery::fill`] for a buffer with a plane per channel: all planes pass, or none does. `copy` is called once
    /// for each, with its index.
    pub fn fill_planes(
        self,
        planes: &mut [&mut [u8]],
        mut copy: impl FnMut(usize, &mut [u8]),
    ) -> Decision {
        let draft = Draft(planes);
        if let Decision::Silent(_) = self.decision {
            drop(draft);
            return self.decision;
        }
        for (index, plane) in draft.0.iter_mut().enumerate() {
            copy(index, plane);
        }
        // The second look must come after the copy for the machine, too: without the fence its stores may pass the load.
        fence(Ordering::SeqCst);
        if self.gate.decide(self.now_ns, self.source) == self.decision {
            draft.keep();
            self.decision
        } else {
            Decision::Silent(SilentReason::Changed)
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.gate.in_flight.leave(&self.place);
    }
}

/// A buffer that nothing is allowed out of yet: becomes zero bytes unless it is kept.
struct Draft<'d, 'p>(&'d mut [&'p mut [u8]]);

impl Draft<'_, '_> {
    fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Draft<'_, '_> {
    fn drop(&mut self) {
        for plane in self.0.iter_mut() {
            plane.fill(0);
        }
    }
}
