//! A ring of frames between two processes: an agent that captures writes, a driver reads, and neither waits for the other.
//! The reader trusts nothing that stands in it: whatever a peer does to the memory, a read ends at once, as frames or as
//! zeros. How the memory gets to be shared is not decided here, nor which peer may write.

use crate::atomic::{AtomicU64, Ordering, array_of, const_unless_loom, fence};
use crate::gate::{Decision, Epoch, Gate, SilentReason, Source};

/// Frames that the ring holds: 0.68 s. A power of two, and the same on both sides, so that no size is read from memory
/// that a peer can write. Two under loom, so that it wraps soon.
pub const FRAMES: usize = if cfg!(loom) { 2 } else { 32_768 };

/// What of a position is its place in the ring.
const PLACE: u64 = FRAMES as u64 - 1;

/// Bytes of one frame in a client's buffer: left and right as 32-bit floats.
pub const FRAME_BYTES: usize = 8;

/// The rate of the frames in Hz.
pub const RATE: u64 = 48_000;

/// Nanoseconds of three frames, which are a whole number of them.
pub(crate) const THREE_FRAMES_NS: u64 = 3 * 1_000_000_000 / RATE;

/// The shared memory itself: all atomics, so that any bytes in it are valid, zero bytes are an empty ring, and a peer that
/// writes at any time is no data race. Readers only load, relaxed, and order by fences: the memory may be mapped read-only.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct SharedRing {
    /// Odd while a run begins, and different after. A run is an unbroken row of frames of one epoch.
    run: AtomicU64,
    /// The epoch of the gate that the run's frames were captured in.
    epoch: AtomicU64,
    /// Position of the run's first frame.
    valid_from: AtomicU64,
    /// When the capture of that frame began, by the host's clock; the source's latency is subtracted.
    began_ns: AtomicU64,
    /// The run's end as announced, before the frames up to there are written.
    writing_to: AtomicU64,
    /// The run's end as far as it is written.
    written_to: AtomicU64,
    frames: [Frame; FRAMES],
}

/// A frame as one word, so that it is never torn: the bits of left in the low half, of right in the high one.
#[derive(Debug)]
#[repr(C, align(8))]
struct Frame(AtomicU64);

/// Why the ring does not have what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absent {
    /// What it has is of another epoch, or it has nothing.
    OtherEpoch,
    /// Some of the frames are not written yet.
    NotYet,
    /// Some of the frames came before the run, or are overwritten.
    TooOld,
    /// The writer was beginning a run, or overtook the reader.
    Changing,
    /// No frames can be there: an enormous position, more frames than the ring holds, or a part of a frame.
    NoPlace,
}

impl Absent {
    /// What the gate is told of it.
    pub(crate) const fn source(self) -> Source {
        match self {
            Self::Changing | Self::NoPlace => Source::Unhealthy,
            Self::OtherEpoch | Self::NotYet | Self::TooOld => Source::Missing,
        }
    }
}

/// Frames that are there, or were when [`SharedRing::find`] looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    run: u64,
    epoch: u64,
    position: u64,
    end: u64,
    /// When the capture of its first frame began, as the writer says, in nanoseconds of the host's clock.
    pub began_ns: u64,
}

impl SharedRing {
    const_unless_loom! {
        /// An empty ring. As good as zero bytes.
        pub fn new() -> Self {
            Self {
                run: AtomicU64::new(0),
                epoch: AtomicU64::new(0),
                valid_from: AtomicU64::new(0),
                began_ns: AtomicU64::new(0),
                writing_to: AtomicU64::new(0),
                written_to: AtomicU64::new(0),
                frames: array_of!(Frame(AtomicU64::new(0))),
            }
        }
    }

    /// Delivers the frames from `position` on through the gate, or zero bytes: fills all of `destination`, in frames of
    /// [`FRAME_BYTES`]. Frames pass only if they are tagged with the epoch in which the gate is open, are all there before
    /// and after the copy, and may pass by the gate's own rules. Moves nothing, so that any number of readers hear the same.
    ///
    /// `now_ns` is the present, by the clock of [`Gate::unmute`] and [`RingWriter::begin`]. Real-time safe, and from any number of threads at
    /// once: no loop is longer than `destination`.
    pub fn deliver(
        &self,
        gate: &Gate,
        now_ns: u64,
        position: u64,
        destination: &mut [u8],
    ) -> Decision {
        let (epoch, _) = gate.state();
        let found = self.find(epoch, position, destination.len());
        let source = match found {
            Ok(passage) => Source::Block {
                began_ns: passage.began_ns,
            },
            Err(absent) => absent.source(),
        };
        let delivery = gate.begin(now_ns, source);
        // A command may have come after the search: then what was found is of a former epoch, whatever its time says.
        let found = found.ok().filter(|_| delivery.epoch() == epoch);
        let mut clean = false;
        let decision = delivery.fill(destination, |destination| {
            clean = found.is_some_and(|passage| self.copy(&passage, destination).is_ok());
            if !clean {
                destination.fill(0);
            }
        });
        match decision {
            Decision::Live(_) if !clean => Decision::Silent(SilentReason::SourceUnhealthy),
            decided => decided,
        }
    }

    /// Looks for `bytes` bytes of frames from `position` on. Real-time safe.
    ///
    /// # Errors
    /// They are not there, or not as frames of `epoch`.
    pub fn find(&self, epoch: Epoch, position: u64, bytes: usize) -> Result<Passage, Absent> {
        let frames = bytes.checked_div(FRAME_BYTES).unwrap_or(0);
        if frames > FRAMES || bytes != frames.saturating_mul(FRAME_BYTES) {
            return Err(Absent::NoPlace);
        }
        let end = u64::try_from(frames)
            .ok()
            .and_then(|frames| position.checked_add(frames))
            .ok_or(Absent::NoPlace)?;
        let run = self.run.load(Ordering::Relaxed);
        if run & 1 == 1 {
            return Err(Absent::Changing);
        }
        // Pairs with the release of the run's number: what is read from here on is of this run, or of a later one.
        fence(Ordering::Acquire);
        let mut passage = Passage {
            run,
            epoch: epoch.get(),
            position,
            end,
            began_ns: self.began_ns.load(Ordering::Relaxed),
        };
        let valid_from = self.check(&passage)?;
        let after_ns = (position.saturating_sub(valid_from)).saturating_mul(THREE_FRAMES_NS) / 3;
        passage.began_ns = passage.began_ns.saturating_add(after_ns);
        Ok(passage)
    }

    /// Whether the passage is there now; says where its run began.
    fn check(&self, passage: &Passage) -> Result<u64, Absent> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let valid_from = self.valid_from.load(Ordering::Relaxed);
        let written_to = self.written_to.load(Ordering::Relaxed);
        let writing_to = self.writing_to.load(Ordering::Relaxed);
        // If the run is still the same after this, all of the above belongs to it. It also pairs with the release of
        // `written_to`: frames are read only after `find` came here.
        fence(Ordering::Acquire);
        if self.run.load(Ordering::Relaxed) != passage.run {
            return Err(Absent::Changing);
        }
        let kept_from = valid_from.max(writing_to.saturating_sub(FRAMES as u64));
        if epoch != passage.epoch {
            Err(Absent::OtherEpoch)
        } else if passage.end > written_to {
            Err(Absent::NotYet)
        } else if passage.position < kept_from {
            Err(Absent::TooOld)
        } else {
            Ok(valid_from)
        }
    }

    /// Copies what [`SharedRing::find`] found; after an error, `destination` holds anything. Real-time safe.
    ///
    /// # Errors
    /// The frames are not there any more, or not as they were found; or `destination` is not as long as they are.
    pub fn copy(&self, passage: &Passage, destination: &mut [u8]) -> Result<(), Absent> {
        let start = usize::try_from(passage.position & PLACE).unwrap_or(0);
        let (before, from) = self.frames.split_at_checked(start).unwrap_or_default();
        let (pieces, rest) = destination.as_chunks_mut::<FRAME_BYTES>();
        let frames = u64::try_from(pieces.len()).ok();
        if !rest.is_empty() || frames != passage.end.checked_sub(passage.position) {
            return Err(Absent::NoPlace);
        }
        let until_wrap = pieces.len().min(from.len());
        let (first, second) = pieces.split_at_mut_checked(until_wrap).unwrap_or_default();
        copy_frames(from, first);
        copy_frames(before, second);
        // Whoever saw a frame of a later lap or run also sees it announced: pairs with the fence in `RingWriter::write`.
        fence(Ordering::Acquire);
        self.check(passage).map(|_| ())
    }
}

fn copy_frames(frames: &[Frame], destination: &mut [[u8; FRAME_BYTES]]) {
    for (piece, frame) in destination.iter_mut().zip(frames) {
        *piece = frame.0.load(Ordering::Relaxed).to_le_bytes();
    }
}

impl Default for SharedRing {
    fn default() -> Self {
        Self::new()
    }
}

/// The one who writes into a ring: the same one in every call. There must be one at a time in all processes; the type
/// cannot see to that.
#[derive(Debug, Default)]
pub struct RingWriter {
    /// Number of the last run: even.
    run: u64,
    next: u64,
}

impl RingWriter {
    /// The writer of an empty ring. Before [`RingWriter::begin`] nothing that it writes is heard.
    pub const fn new() -> Self {
        Self { run: 0, next: 0 }
    }

    /// Begins a run at `position`; what was written before is no longer delivered. `epoch` is the number of the epoch in
    /// which its first frame, and so every later one, was captured: at `began_ns` of the host's clock, with the source's
    /// latency subtracted. Real-time safe.
    pub fn begin(&mut self, ring: &SharedRing, epoch: u64, position: u64, began_ns: u64) {
        ring.run.store(self.run.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees anything of the new run also sees that the old one is over: pairs with the fence in `check`.
        fence(Ordering::Release);
        ring.epoch.store(epoch, Ordering::Relaxed);
        ring.valid_from.store(position, Ordering::Relaxed);
        ring.began_ns.store(began_ns, Ordering::Relaxed);
        ring.writing_to.store(position, Ordering::Relaxed);
        ring.written_to.store(position, Ordering::Relaxed);
        self.run = self.run.wrapping_add(2);
        ring.run.store(self.run, Ordering::Release);
        self.next = position;
    }

    /// Writes the run's next frames, each as the bits of left in the low half and of right in the high one. Real-time safe.
    pub fn write(&mut self, ring: &SharedRing, frames: impl ExactSizeIterator<Item = u64>) {
        let end = self.next.wrapping_add(frames.len() as u64);
        ring.writing_to.store(end, Ordering::Relaxed);
        // Announced before the first old frame is lost: pairs with the last fence in `SharedRing::copy`.
        fence(Ordering::Release);
        for frame in frames {
            let at = usize::try_from(self.next & PLACE).unwrap_or(0);
            if let Some(place) = ring.frames.get(at) {
                place.0.store(frame, Ordering::Relaxed);
            }
            self.next = self.next.wrapping_add(1);
        }
        ring.written_to.store(end, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::sync::atomic::AtomicBool;
    use std::vec;

    /// Numbers at the edges, where sums overflow and comparisons turn.
    fn edge() -> impl Strategy<Value = u64> {
        let ring = FRAMES as u64;
        prop_oneof![
            0..4_u64,
            Just(ring),
            Just(ring - 1),
            Just(u64::MAX),
            Just(u64::MAX - ring),
            Just(1 << 63),
            any::<u64>(),
        ]
    }

    fn scribble(ring: &SharedRing, words: [u64; 6]) {
        let header = [
            &ring.run,
            &ring.epoch,
            &ring.valid_from,
            &ring.began_ns,
            &ring.writing_to,
            &ring.written_to,
        ];
        for (place, word) in header.into_iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
    }

    proptest! {
        /// Whatever stands in the header, a read ends as the frames that stand there, or as zeros.
        #[test]
        fn any_header_gives_frames_or_zeros(
            words in prop::array::uniform6(edge()),
            in_epoch in any::<bool>(),
            position in edge(),
            frames in prop_oneof![0..20_usize, Just(FRAMES), Just(FRAMES + 1)],
        ) {
            let (gate, ring) = (Gate::new(), Box::new(SharedRing::new()));
            gate.renew_lease(2000);
            let epoch = gate.unmute(0);
            for (at, frame) in ring.frames.iter().enumerate() {
                frame.0.store(at as u64 + 1, Ordering::Relaxed);
            }
            scribble(&ring, words);
            if in_epoch {
                ring.epoch.store(epoch.get(), Ordering::Relaxed);
            }
            let mut bytes = vec![0xff; frames * FRAME_BYTES];
            match ring.deliver(&gate, 1000, position, &mut bytes) {
                Decision::Live(_) => {
                    let (pieces, _) = bytes.as_chunks::<FRAME_BYTES>();
                    for (n, piece) in pieces.iter().enumerate() {
                        let at = (position + n as u64) & PLACE;
                        prop_assert_eq!(u64::from_le_bytes(*piece), at + 1);
                    }
                }
                Decision::Silent(_) => prop_assert!(bytes.iter().all(|it| *it == 0)),
            }
        }
    }

    /// A peer that writes anything anywhere, all the time, meets readers that always come to an end.
    #[test]
    fn a_peer_that_scribbles_cannot_stop_a_reader() {
        let (gate, ring) = (Gate::new(), Box::new(SharedRing::new()));
        gate.renew_lease(2000);
        let epoch = gate.unmute(0).get();
        let done = AtomicBool::new(false);
        let live = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = 1_u64;
                while !done.load(Ordering::Relaxed) {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let end = random >> 52;
                    scribble(&ring, [random >> 60, epoch, 0, 0, end, end]);
                    ring.frames[random as usize % FRAMES]
                        .0
                        .store(random, Ordering::Relaxed);
                }
            });
            let (mut live, mut n) = (0_u32, 0_u64);
            let began = std::time::Instant::now();
            // The peer may be slow to start.
            while n < 20_000 || live == 0 && began.elapsed().as_secs() < 10 {
                n += 1;
                let mut bytes = [0xff; 64 * FRAME_BYTES];
                match ring.deliver(&gate, 1000, n % 1000, &mut bytes) {
                    Decision::Live(_) => live += 1,
                    Decision::Silent(_) => assert_eq!(bytes, [0; 64 * FRAME_BYTES]),
                }
            }
            done.store(true, Ordering::Relaxed);
            live
        });
        assert!(
            live > 0,
            "the peer never got anything through: nothing was tried"
        );
    }
}
