//! The virtual mic as the driver has it: gate, feed ring, ledger, the one stream and the one feeder, and what becomes of them. One
//! lock keeps it (`kernel/spin.rs`), so every method has it to itself. Nothing here calls the system: time comes in as nanoseconds of
//! the performance counter. What the requests' buffers say is in `requests.rs`.

use crate::capture::{Packet, State, Stream};
use crate::clock::{Clock, SEED, nanoseconds_of};
use truemute_core::gate::{Decision, Gate, Source};
use truemute_core::ledger::{Ledger, Pull, SlotWriter};
use truemute_core::local_ring::{Frame, LocalRing};
use truemute_windows_interface::record::{self, Feed};
use truemute_windows_interface::{ATTACHED_HERE, LEASE_NS, REACH, STALE_NS, VERSION};

/// Frames of the feed ring: 341 ms. More than are in reach, so that nothing is overwritten that is still to be delivered.
const RING: usize = 16_384;
const _: () = assert!(RING as u64 > REACH);

/// Without packets nobody waits for a moment: the buffer is written so often.
const UNHURRIED_NS: u64 = 10_000_000;

/// Who opened the control device: the address of its file object, which is nobody else's while it is open.
pub type Handle = usize;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// By which handle.
    pub handle: Handle,
    /// Whether it may be the feeder now: it is the system's, or of the session at the console.
    pub may_feed: bool,
}

/// Why the device does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was removed, or has not started.
    Gone,
    /// The code is none of ours.
    Unknown,
    /// A buffer has another length than the request's, or a field is not as it must be.
    Malformed,
    /// The agent is of another version.
    Version,
    /// Another handle is the feeder.
    Busy,
    /// Only the feeder may, or only who may become it.
    NotFeeder,
    /// The gate is not open in the feed's epoch.
    Closed,
    /// The feed's frames lie too far from the present.
    OutOfReach,
}

/// What the stream's timer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// A packet was completed: whoever registered an event is to be told.
    pub complete: bool,
    /// In how many nanoseconds to come again; nothing if the stream does not run.
    pub again_ns: Option<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    reason: u32,
    opened: u64,
    refused: u64,
    runs: u64,
    live_frames: u64,
    muted_frames: u64,
    zeroed_frames: u64,
    feeds: u64,
    fed_frames: u64,
    feeds_refused: u64,
    leases_expired: u64,
    feeders_lost: u64,
}

/// The device. Silent from the first moment on.
#[derive(Debug)]
pub struct Device {
    clock: Clock,
    instance: u64,
    /// Whether it is there for its control device's callers.
    present: bool,
    gate: Gate,
    ring: LocalRing<RING>,
    /// When the last feed came.
    fed_ns: u64,
    feeder: Option<Handle>,
    stream: Option<Stream>,
    /// What the audio engine fetched, in slot 0.
    ledger: Ledger<1>,
    writer: Option<SlotWriter>,
    counts: Counts,
}

impl Device {
    /// A device that is not there yet.
    pub const fn new() -> Self {
        Self {
            clock: Clock::new(0, 0),
            instance: 0,
            present: false,
            gate: Gate::new(),
            ring: LocalRing::new(),
            fed_ns: 0,
            feeder: None,
            stream: None,
            ledger: Ledger::new(0),
            writer: None,
            counts: Counts {
                reason: 0,
                opened: 0,
                refused: 0,
                runs: 0,
                live_frames: 0,
                muted_frames: 0,
                zeroed_frames: 0,
                feeds: 0,
                fed_frames: 0,
                feeds_refused: 0,
                leases_expired: 0,
                feeders_lost: 0,
            },
        }
    }

    /// The driver was loaded: the time line begins. `instance` must differ from that of every earlier start.
    pub fn start(&mut self, clock: Clock, instance: u64) {
        self.clock = clock;
        self.instance = instance;
        self.writer = self.ledger.claim(0);
    }

    /// Its clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The device is there from now on: its control device can be asked.
    pub fn appear(&mut self) {
        self.present = true;
    }

    /// The device is gone, or about to go: silence, and no feeder.
    pub fn vanish(&mut self) {
        self.shut();
        self.feeder = None;
        self.present = false;
    }

    /// The machine goes to sleep: silence until somebody unmutes.
    pub fn sleep(&mut self) {
        self.shut();
    }

    /// Shuts the gate, and leaves no frame of sound in the ring or in the buffer that the audio engine reads.
    fn shut(&mut self) {
        self.gate.mute();
        self.gate.revoke_lease();
        self.ring.clear();
        if let Some(stream) = &mut self.stream {
            let zeroed = stream.silence();
            add(&mut self.counts.zeroed_frames, zeroed);
        }
    }

    /// Everything looks here first: a lease that ran out is a mute, which a later renewal does not undo.
    fn look(&mut self, now_ns: u64) {
        let expired = self.gate.decide(now_ns, Source::Missing)
            == Decision::Silent(truemute_core::gate::SilentReason::LeaseExpired);
        if expired {
            add(&mut self.counts.leases_expired, 1);
            self.shut();
        }
    }

    /// Which driver this is.
    pub fn version(&self) -> record::Version {
        record::Version {
            version: VERSION,
            rate: truemute_windows_interface::RATE,
            instance: self.instance,
        }
    }

    /// Makes the handle the feeder.
    ///
    /// # Errors
    /// There is one, or it is of another version.
    pub fn attach(&mut self, handle: Handle, request: record::Attach) -> Result<(), Refused> {
        if request.reserved != 0 {
            return Err(Refused::Malformed);
        }
        if request.version != VERSION {
            return Err(Refused::Version);
        }
        if self.feeder.is_some_and(|feeder| feeder != handle) {
            return Err(Refused::Busy);
        }
        self.feeder = Some(handle);
        Ok(())
    }

    /// The handle is closed, or not one that may feed any more. If it was the feeder's, that is a mute.
    pub fn detach(&mut self, handle: Handle) {
        if self.feeder == Some(handle) {
            self.feeder = None;
            let (_, open) = self.gate.state();
            add(&mut self.counts.feeders_lost, u64::from(open));
            self.shut();
        }
    }

    fn only_feeder(&self, handle: Handle) -> Result<(), Refused> {
        (self.feeder == Some(handle))
            .then_some(())
            .ok_or(Refused::NotFeeder)
    }

    /// Takes sound.
    ///
    /// # Errors
    /// It is not the feeder's, not of an open epoch, or too far from the present; then nothing of it is kept.
    pub fn feed(
        &mut self,
        now_ns: u64,
        handle: Handle,
        head: Feed,
        frames: &[Frame],
    ) -> Result<(), Refused> {
        self.only_feeder(handle)?;
        self.look(now_ns);
        let taken = self.may_feed(now_ns, head, frames.len() as u64);
        match taken {
            Ok(()) => {
                self.ring
                    .feed(head.epoch, head.position, head.began_ns, frames);
                self.fed_ns = now_ns;
                add(&mut self.counts.feeds, 1);
                add(&mut self.counts.fed_frames, frames.len() as u64);
            }
            Err(_) => add(&mut self.counts.feeds_refused, 1),
        }
        taken
    }

    fn may_feed(&self, now_ns: u64, head: Feed, frames: u64) -> Result<(), Refused> {
        let (epoch, open) = self.gate.state();
        if !open || epoch.get() != head.epoch {
            return Err(Refused::Closed);
        }
        let now = self.clock.position_at(now_ns);
        let reach = now.saturating_sub(REACH)..=now.saturating_add(REACH);
        let end = head.position.saturating_add(frames);
        let within = reach.contains(&head.position) && reach.contains(&end);
        within.then_some(()).ok_or(Refused::OutOfReach)
    }

    /// Extends the lease, if the gate is open.
    ///
    /// # Errors
    /// It is not the feeder that asks.
    pub fn renew(&mut self, now_ns: u64, handle: Handle) -> Result<record::Gate, Refused> {
        self.only_feeder(handle)?;
        self.look(now_ns);
        let (epoch, open) = self.gate.state();
        if open {
            self.gate.renew_lease(now_ns.saturating_add(LEASE_NS));
        }
        Ok(record::Gate {
            epoch: epoch.get(),
            open: u32::from(open),
            reserved: 0,
        })
    }

    /// Silence from now on. Anybody.
    pub fn mute(&mut self, now_ns: u64) -> record::Muted {
        self.look(now_ns);
        self.shut();
        record::Muted {
            epoch: self.gate.state().0.get(),
            position: self.clock.position_at(now_ns),
            done_ns: now_ns,
        }
    }

    /// Opens the gate in a new epoch.
    ///
    /// # Errors
    /// It is not the feeder that asks.
    pub fn unmute(&mut self, now_ns: u64, handle: Handle) -> Result<record::Unmuted, Refused> {
        self.only_feeder(handle)?;
        self.look(now_ns);
        self.ring.clear();
        let epoch = self.gate.unmute(now_ns);
        self.gate.renew_lease(now_ns.saturating_add(LEASE_NS));
        Ok(record::Unmuted {
            epoch: epoch.get(),
            position: self.clock.position_at(now_ns),
            opened_ns: now_ns,
        })
    }

    /// Where the clock stands.
    pub fn anchor(&self, now_ns: u64) -> record::Clock {
        let position = self.clock.position_at(now_ns);
        record::Clock {
            host_ns: self.clock.nanoseconds_at(position),
            position,
            seed: SEED,
        }
    }

    /// Whether its control device's callers are answered.
    pub const fn is_present(&self) -> bool {
        self.present
    }

    /// Opens the one stream. False if there is one.
    pub fn open_stream(&mut self) -> bool {
        let free = self.stream.is_none();
        if free {
            self.stream = Some(Stream::default());
            add(&mut self.counts.opened, 1);
        } else {
            self.refuse_stream();
        }
        free
    }

    /// A stream was refused before it came here: for its format, or because there is no timer.
    pub fn refuse_stream(&mut self) {
        add(&mut self.counts.refused, 1);
    }

    /// The stream is gone. Its buffer must not be written any more after this.
    pub fn close_stream(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.leave_buffer();
        }
        self.stream = None;
    }

    /// The stream.
    pub fn stream(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    /// Changes the stream's state. False if there is no stream, or none with a buffer to run.
    pub fn go(&mut self, now_ns: u64, state: State) -> bool {
        self.advance(now_ns);
        let position = self.clock.position_at(now_ns);
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let begins = state == State::Run && stream.state() != State::Run;
        let gone = stream.go(state, position);
        add(&mut self.counts.runs, u64::from(begins && gone));
        gone
    }

    /// Writes all that is due of the buffer, through the gate.
    pub fn advance(&mut self, now_ns: u64) {
        self.look(now_ns);
        let now = self.clock.position_at(now_ns);
        let stale = now_ns.saturating_sub(self.fed_ns) > STALE_NS;
        let Some(stream) = &mut self.stream else {
            return;
        };
        while let Some(piece) = stream.due(now) {
            let decision = if stale {
                let delivery = self.gate.begin(now_ns, Source::Missing);
                delivery.fill(piece.bytes, |bytes| bytes.fill(0))
            } else {
                self.ring
                    .deliver(&self.gate, now_ns, piece.position, piece.bytes)
            };
            let frames = piece.frames;
            let live = match decision {
                Decision::Live(_) => {
                    self.counts.reason = 0;
                    add(&mut self.counts.live_frames, frames);
                    true
                }
                Decision::Silent(reason) => {
                    self.counts.reason = u32::from(reason.code());
                    add(&mut self.counts.muted_frames, frames);
                    false
                }
            };
            stream.wrote(frames, live);
        }
    }

    /// What the timer does: writes what is due, and says when to come again.
    pub fn tick(&mut self, now_ns: u64) -> Tick {
        self.advance(now_ns);
        let running = self
            .stream
            .as_mut()
            .filter(|stream| stream.state() == State::Run);
        let Some(stream) = running else {
            return Tick {
                complete: false,
                again_ns: None,
            };
        };
        let complete = stream.tell();
        let next = stream
            .next_packet()
            .map(|position| self.clock.nanoseconds_at(position));
        let again_ns = next.map_or(UNHURRIED_NS, |next_ns| next_ns.saturating_sub(now_ns));
        Tick {
            complete,
            again_ns: Some(again_ns),
        }
    }

    /// The audio engine fetches a packet, and reads it after this; nothing if none is complete.
    pub fn fetch(&mut self, now_ns: u64) -> Option<Packet> {
        self.advance(now_ns);
        let packet = self.stream.as_mut()?.fetch()?;
        if let Some(writer) = &mut self.writer {
            self.ledger.record_lost(writer, packet.lost);
            let pull = Pull {
                finish_ns: now_ns,
                frames: u32::try_from(packet.frames).unwrap_or(u32::MAX),
                nanoseconds: nanoseconds_of(packet.frames),
                live: packet.live,
                flagged: packet.lost > 0,
            };
            self.ledger.record(writer, pull);
        }
        Some(packet)
    }

    /// Everything that was counted, and whether the handle is the feeder.
    pub fn snapshot(&mut self, now_ns: u64, handle: Handle) -> record::Snapshot {
        self.advance(now_ns);
        let (epoch, open) = self.gate.state();
        let pulls = self.ledger.snapshot(0).ok();
        let pulls = pulls.as_ref();
        let counts = &self.counts;
        let stream = self.stream.as_ref();
        record::Snapshot {
            instance: self.instance,
            at_ns: now_ns,
            epoch: epoch.get(),
            open: u32::from(open),
            reason: counts.reason,
            attached: match self.feeder {
                None => 0,
                Some(feeder) if feeder == handle => ATTACHED_HERE,
                Some(_) => 1,
            },
            state: stream.map_or(0, |stream| stream.state() as u32),
            streams: u32::from(stream.is_some()),
            buffer_frames: stream.map_or(0, |stream| {
                stream.buffer_frames().try_into().unwrap_or(u32::MAX)
            }),
            opened: counts.opened,
            refused: counts.refused,
            runs: counts.runs,
            live_pulls: pulls.map_or(0, |pulls| pulls.live.pulls),
            live_pull_frames: pulls.map_or(0, |pulls| pulls.live.frames),
            muted_pulls: pulls.map_or(0, |pulls| pulls.muted.pulls),
            muted_pull_frames: pulls.map_or(0, |pulls| pulls.muted.frames),
            lost_pulls: pulls.map_or(0, |pulls| pulls.lost),
            last_pull_ns: pulls.and_then(|pulls| pulls.last_pull_ns).unwrap_or(0),
            interval_p50_ns: pulls.map_or(0, |pulls| pulls.intervals.percentile_ns(500)),
            interval_p99_ns: pulls.map_or(0, |pulls| pulls.intervals.percentile_ns(990)),
            interval_max_ns: pulls.map_or(0, |pulls| pulls.intervals.max_ns()),
            live_frames: counts.live_frames,
            muted_frames: counts.muted_frames,
            zeroed_frames: counts.zeroed_frames,
            feeds: counts.feeds,
            fed_frames: counts.fed_frames,
            feeds_refused: counts.feeds_refused,
            leases_expired: counts.leases_expired,
            feeders_lost: counts.feeders_lost,
        }
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}

#[cfg(test)]
pub(crate) mod stage;
#[cfg(test)]
mod tests;
