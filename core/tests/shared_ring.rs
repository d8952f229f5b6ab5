//! Property tests of the shared ring: against a plain model of what it holds, and through the gate (P1, P3).
#![cfg(not(loom))]

use proptest::prelude::*;
use truemute_core::gate::{Decision, Epoch, Gate, SilentReason};
use truemute_core::shared_ring::{Absent, FRAME_BYTES, FRAMES, RingWriter, SharedRing};

const RING: u64 = FRAMES as u64;

#[derive(Clone, Debug)]
enum Step {
    /// A run of the nth epoch, at a position.
    Begin(usize, u64),
    Write(usize),
    /// Of the nth epoch: frames at a distance from the end of what is written.
    Read(usize, i64, usize),
}

/// Positions around 0, around a lap, and at the end of all numbers.
fn position() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..40_u64,
        RING - 20..RING + 20,
        Just(u64::MAX - 3 * RING),
        any::<u32>().prop_map(u64::from)
    ]
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..600_usize, 1 => FRAMES - 3..FRAMES + 3, 1 => Just(2 * FRAMES + 5)]
}

fn step() -> impl Strategy<Value = Step> {
    let distance = prop_oneof![
        4 => -700..100_i64,
        1 => -(RING as i64) - 700..-(RING as i64) + 700,
        1 => any::<i64>(),
    ];
    prop_oneof![
        1 => (0..3_usize, position()).prop_map(|(epoch, at)| Step::Begin(epoch, at)),
        4 => count().prop_map(Step::Write),
        6 => (0..3_usize, distance, count()).prop_map(|(epoch, at, n)| Step::Read(epoch, at, n)),
    ]
}

/// What the ring should hold: the present run, and all that was written in it.
#[derive(Default)]
struct Model {
    epoch: Option<usize>,
    from: u64,
    to: u64,
    /// Number of the run: part of each frame, so that frames of different runs differ.
    run: u64,
}

impl Model {
    fn frame(&self, position: u64) -> u64 {
        position.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.run
    }

    fn has(&self, epoch: usize, position: u64, count: u64) -> bool {
        let kept = self.from.max(self.to.saturating_sub(RING));
        let end = position.checked_add(count);
        self.epoch == Some(epoch) && position >= kept && end.is_some_and(|end| end <= self.to)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_read_is_what_was_written_there_or_nothing(steps in prop::collection::vec(step(), 1..30)) {
        let gate = Gate::new();
        let epochs: [Epoch; 3] = std::array::from_fn(|_| gate.mute());
        let (ring, mut writer) = (Box::new(SharedRing::new()), RingWriter::new());
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Begin(epoch, at) => {
                    writer.begin(&ring, epochs[epoch].get(), at, at / 7);
                    model = Model { epoch: Some(epoch), from: at, to: at, run: model.run + 1 };
                }
                Step::Write(count) => {
                    let end = model.to.checked_add(count as u64);
                    let (Some(_), Some(end)) = (model.epoch, end) else {
                        continue;
                    };
                    let frames: Vec<u64> = (model.to..end).map(|at| model.frame(at)).collect();
                    writer.write(&ring, frames.into_iter());
                    model.to = end;
                }
                Step::Read(epoch, distance, count) => {
                    let at = model.to.wrapping_add_signed(distance);
                    let mut bytes = vec![0xff; count * FRAME_BYTES];
                    let found = ring.find(epochs[epoch], at, bytes.len());
                    prop_assert_eq!(found.is_ok(), count <= FRAMES && model.has(epoch, at, count as u64));
                    if let Ok(passage) = found {
                        prop_assert_eq!(ring.copy(&passage, &mut bytes), Ok(()));
                        let expected: Vec<u8> = (at..at + count as u64)
                            .flat_map(|at| model.frame(at).to_le_bytes())
                            .collect();
                        prop_assert_eq!(bytes, expected);
                        let since_ns = (at - model.from) * 62_500 / 3;
                        prop_assert_eq!(passage.began_ns, model.from / 7 + since_ns);
                    }
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_frame_is_nothing(bytes in 0..100_usize, at in any::<u64>()) {
        let ring = Box::new(SharedRing::new());
        let found = ring.find(Gate::new().mute(), at, bytes);
        if bytes % FRAME_BYTES != 0 {
            prop_assert_eq!(found, Err(Absent::NoPlace));
        }
    }
}

/// A ring with 1000 frames from position 500 on, captured in `epoch` from `began_ns` on.
fn filled(epoch: Epoch, began_ns: u64) -> (Box<SharedRing>, RingWriter) {
    let (ring, mut writer) = (Box::new(SharedRing::new()), RingWriter::new());
    writer.begin(&ring, epoch.get(), 500, began_ns);
    writer.write(&ring, (0..1000_u32).map(|n| u64::from(n) + 1));
    (ring, writer)
}

fn deliver(ring: &SharedRing, gate: &Gate, now_ns: u64, position: u64) -> (Decision, Vec<u8>) {
    let mut bytes = vec![0xff; 64];
    let decision = ring.deliver(gate, now_ns, position, &mut bytes);
    (decision, bytes)
}

/// Each reason for silence writes zeros over all of the buffer.
#[test]
fn through_the_gate_come_frames_or_zeros() {
    let gate = Gate::new();
    gate.renew_lease(2_000_000_000);
    let epoch = gate.unmute(1000);
    let (ring, mut writer) = filled(epoch, 1000);
    let now_ns = 1_000_000_000;

    let (decision, bytes) = deliver(&ring, &gate, now_ns, 600);
    assert_eq!(decision, Decision::Live(epoch));
    let frames: Vec<u8> = (101..109_u64).flat_map(u64::to_le_bytes).collect();
    assert_eq!(bytes, frames);

    let silent = |ring: &SharedRing, now_ns, position, why| {
        assert_eq!(
            deliver(ring, &gate, now_ns, position),
            (Decision::Silent(why), vec![0; 64])
        );
    };
    silent(&ring, now_ns, 499, SilentReason::SourceMissing);
    silent(&ring, now_ns, 1493, SilentReason::SourceMissing);
    silent(&ring, now_ns, u64::MAX - 3, SilentReason::SourceUnhealthy);
    silent(&ring, 2_000_000_000, 600, SilentReason::LeaseExpired);
    silent(&ring, 2_000_000, 600, SilentReason::SourceUnhealthy); // captured in the future
    writer.begin(&ring, epoch.get(), 500, 900);
    writer.write(&ring, (0..1000_u32).map(|n| u64::from(n) + 1));
    silent(&ring, now_ns, 500, SilentReason::BeforeUnmute);

    gate.mute();
    silent(&ring, now_ns, 600, SilentReason::Muted);
    gate.unmute(now_ns);
    silent(&ring, now_ns, 600, SilentReason::SourceMissing); // of the former epoch
}

/// Readers move nothing: each hears all of it, in any order and as often as it likes.
#[test]
fn readers_do_not_steal_from_each_other() {
    let gate = Gate::new();
    gate.renew_lease(2_000_000_000);
    let (ring, _writer) = filled(gate.unmute(1000), 1000);
    let read = |position| deliver(&ring, &gate, 1_000_000_000, position);
    let first = read(900);
    assert!(matches!(first.0, Decision::Live(_)));
    read(500);
    read(1400);
    assert_eq!(read(900), first);
}
