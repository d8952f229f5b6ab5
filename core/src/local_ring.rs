//! A ring of frames under the caller's lock: who feeds and who delivers share one address space, one at a time. What lies in
//! memory that another process can write is `shared_ring.rs`; both deliver by the same rules.

use crate::gate::Source;
use crate::gate::{Decision, Gate};
use crate::shared_ring::{Absent, FRAME_BYTES, THREE_FRAMES_NS};

/// A frame, as a client gets it: left and right.
pub type Frame = [u8; FRAME_BYTES];

/// The last `N` frames of one run: an unbroken row of frames of one epoch. `N` is a power of two.
///
/// No method allocates or panics; each takes time in proportion to the frames that it is given, [`LocalRing::clear`] to `N`.
#[derive(Debug)]
pub struct LocalRing<const N: usize> {
    epoch: u64,
    valid_from: u64,
    /// When the capture of the frame at `valid_from` began.
    began_ns: u64,
    next: u64,
    frames: [Frame; N],
}

impl<const N: usize> LocalRing<N> {
    const PLACE: u64 = {
        assert!(N.is_power_of_two(), "a place is the low bits of a position");
        N as u64 - 1
    };

    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            epoch: 0,
            valid_from: 0,
            began_ns: 0,
            next: 0,
            frames: [[0; FRAME_BYTES]; N],
        }
    }

    /// Feeds frames for `position` and what follows it. `epoch` is the number of the epoch that they were captured in, and
    /// `began_ns` when the capture of the first began, with the source's latency subtracted. Frames that follow the last ones go on
    /// with their run; any others begin one, and what was there is not delivered any more.
    pub fn feed(&mut self, epoch: u64, position: u64, began_ns: u64, frames: &[Frame]) {
        if self.is_empty() || epoch != self.epoch || position != self.next {
            (self.epoch, self.valid_from) = (epoch, position);
            (self.began_ns, self.next) = (began_ns, position);
        }
        // Of more than there is room for, the last ones stay.
        let lost = frames.len().saturating_sub(N);
        self.next = self.next.saturating_add(lost as u64);
        let frames = frames.get(lost..).unwrap_or_default();
        let (before, from) = self.frames.split_at_mut(place::<N>(self.next, Self::PLACE));
        let until_wrap = frames.len().min(from.len());
        let (first, second) = frames.split_at_checked(until_wrap).unwrap_or_default();
        for (place, frame) in from
            .iter_mut()
            .zip(first)
            .chain(before.iter_mut().zip(second))
        {
            *place = *frame;
        }
        self.next = self.next.saturating_add(frames.len() as u64);
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.next == self.valid_from
    }

    /// Forgets the run and writes zeros over all of the memory: no frame is left in it.
    pub fn clear(&mut self) {
        self.valid_from = self.next;
        self.frames.as_flattened_mut().fill(0);
    }

    /// Delivers the frames from `position` on through the gate, or zero bytes: fills all of `destination`, in frames of
    /// [`FRAME_BYTES`]. Frames pass only if they are all there, of the epoch in which the gate is open, and may pass by the gate's
    /// own rules. `now_ns` is the present, by the clock of [`Gate::unmute`] and [`LocalRing::feed`].
    pub fn deliver(
        &self,
        gate: &Gate,
        now_ns: u64,
        position: u64,
        destination: &mut [u8],
    ) -> Decision {
        let (epoch, _) = gate.state();
        let found = self.find(epoch.get(), position, destination.len());
        let source = match found {
            Ok(began_ns) => Source::Block { began_ns },
            Err(absent) => absent.source(),
        };
        let delivery = gate.begin(now_ns, source);
        if delivery.epoch() != epoch {
            // A command came after the search: what was found is of a former epoch, whatever its time says.
            drop(delivery);
            return gate
                .begin(now_ns, Source::Missing)
                .fill(destination, |rest| rest.fill(0));
        }
        delivery.fill(destination, |destination| self.copy(position, destination))
    }

    /// When the capture of the frames began that `bytes` bytes from `position` on are.
    fn find(&self, epoch: u64, position: u64, bytes: usize) -> Result<u64, Absent> {
        let frames = bytes.checked_div(FRAME_BYTES).unwrap_or(0);
        if frames > N || bytes != frames.saturating_mul(FRAME_BYTES) {
            return Err(Absent::NoPlace);
        }
        let end = position.checked_add(frames as u64).ok_or(Absent::NoPlace)?;
        let kept_from = self.valid_from.max(self.next.saturating_sub(N as u64));
        if self.is_empty() || epoch != self.epoch {
            Err(Absent::OtherEpoch)
        } else if end > self.next {
            Err(Absent::NotYet)
        } else if position < kept_from {
            Err(Absent::TooOld)
        } else {
            let after = position.saturating_sub(self.valid_from);
            Ok(self
                .began_ns
                .saturating_add(after.saturating_mul(THREE_FRAMES_NS) / 3))
        }
    }

    fn copy(&self, position: u64, destination: &mut [u8]) {
        let (before, from) = self.frames.split_at(place::<N>(position, Self::PLACE));
        let (pieces, _) = destination.as_chunks_mut::<FRAME_BYTES>();
        for (piece, frame) in pieces.iter_mut().zip(from.iter().chain(before)) {
            *piece = *frame;
        }
    }
}

/// Where in a ring a position lies: always below `N`.
fn place<const N: usize>(position: u64, mask: u64) -> usize {
    usize::try_from(position & mask).unwrap_or(0).min(N)
}

impl<const N: usize> Default for LocalRing<N> {
    fn default() -> Self {
        Self::new()
    }
}
