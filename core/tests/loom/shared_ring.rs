//! Models of the shared ring, which holds two frames here: whatever the writer does meanwhile, a copy that counts is that of
//! frames of one run, of the epoch that was asked for, each at its position.

use crate::race;
use std::sync::Mutex;
use truemute_core::gate::{Epoch, Gate};
use truemute_core::shared_ring::{Absent, RingWriter, SharedRing};

/// A ring with the frames 0 and 1 of the first epoch, captured from 1000 ns on.
struct Ring {
    ring: SharedRing,
    writer: Mutex<RingWriter>,
    first: Epoch,
    second: Epoch,
}

const BEGAN_NS: u64 = 1000;
const LATER_NS: u64 = 2000;

fn frame(run: u64, position: u64) -> u64 {
    run << 32 | position
}

impl Ring {
    fn new() -> Self {
        let gate = Gate::new();
        let (ring, mut writer) = (SharedRing::new(), RingWriter::new());
        let first = gate.unmute(0);
        writer.begin(&ring, first.get(), 0, BEGAN_NS);
        writer.write(&ring, [frame(1, 0), frame(1, 1)].into_iter());
        Self {
            ring,
            writer: Mutex::new(writer),
            first,
            second: gate.unmute(0),
        }
    }

    /// The next frame of the first run, over the oldest one.
    fn write_on(&self) {
        let mut writer = self.writer.lock().unwrap();
        writer.write(&self.ring, [frame(1, 2)].into_iter());
    }

    /// Another run at the same position.
    fn run_again(&self, epoch: Epoch) {
        let mut writer = self.writer.lock().unwrap();
        writer.begin(&self.ring, epoch.get(), 0, LATER_NS);
        writer.write(&self.ring, [frame(2, 0)].into_iter());
    }

    /// Some frames, and when the first of them was captured.
    fn read<const N: usize>(&self, epoch: Epoch, position: u64) -> Result<Read<N>, Absent> {
        let mut bytes = [[0xff; 8]; N];
        let passage = self.ring.find(epoch, position, 8 * N)?;
        self.ring.copy(&passage, bytes.as_flattened_mut())?;
        Ok((bytes.map(u64::from_le_bytes), passage.began_ns))
    }
}

type Read<const N: usize> = ([u64; N], u64);

/// What stands at position 0 in the first run, and in the second.
const OLD: Read<1> = ([1 << 32], BEGAN_NS);
const NEW: Read<1> = ([2 << 32], LATER_NS);

/// The writer laps the reader: what is overwritten is not delivered.
#[test]
fn frames_that_are_being_overwritten_do_not_count() {
    race(
        Ring::new,
        [Ring::write_on, |ring| match ring.read(ring.first, 0) {
            Ok(read) => assert_eq!(read, OLD),
            Err(why) => assert_eq!(why, Absent::TooOld),
        }],
        |ring| assert_eq!(ring.read::<1>(ring.first, 0), Err(Absent::TooOld)),
    );
}

/// The reader is as fast as the writer: what is not written yet is not delivered.
#[test]
fn frames_that_are_being_written_do_not_count() {
    race(
        Ring::new,
        [Ring::write_on, |ring| match ring.read(ring.first, 1) {
            Ok((frames, _)) => assert_eq!(frames, [frame(1, 1), frame(1, 2)]),
            Err(why) => assert_eq!(why, Absent::NotYet),
        }],
        |ring| assert!(ring.read::<2>(ring.first, 1).is_ok()),
    );
}

/// P3: frames of one epoch are never taken for those of another one.
#[test]
fn a_new_epoch_hears_nothing_of_the_former_one() {
    race(
        Ring::new,
        [
            |ring| ring.run_again(ring.second),
            |ring| {
                if let Ok(read) = ring.read(ring.second, 0) {
                    assert_eq!(read, NEW);
                }
            },
        ],
        |ring| assert_eq!(ring.read(ring.second, 0), Ok(NEW)),
    );
}

/// And the former one nothing of the new one.
#[test]
fn a_former_epoch_hears_nothing_of_the_new_one() {
    race(
        Ring::new,
        [
            |ring| ring.run_again(ring.second),
            |ring| {
                if let Ok(read) = ring.read(ring.first, 0) {
                    assert_eq!(read, OLD);
                }
            },
        ],
        |ring| assert_eq!(ring.read::<1>(ring.first, 0), Err(Absent::OtherEpoch)),
    );
}

/// Two runs of one epoch at the same positions, as after a change of the capture device: never the time of one with the
/// frames of the other.
#[test]
fn two_runs_are_never_mixed() {
    race(
        Ring::new,
        [
            |ring| ring.run_again(ring.first),
            |ring| {
                if let Ok(read) = ring.read(ring.first, 0) {
                    assert!(read == OLD || read == NEW, "{read:?}");
                }
            },
        ],
        |ring| assert_eq!(ring.read(ring.first, 0), Ok(NEW)),
    );
}
