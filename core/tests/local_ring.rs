//! Property tests of the local ring: against a plain model of what it holds, through the gate (P1, P3).
#![cfg(not(loom))]

use proptest::prelude::*;
use truemute_core::gate::{Decision, Gate, SilentReason};
use truemute_core::local_ring::{Frame, LocalRing};

const RING: usize = 64;
const NOW_NS: u64 = u64::MAX / 2;

#[derive(Clone, Debug)]
enum Step {
    /// Frames of the present epoch or of one that it is not, at a distance from the last ones' end.
    Feed(bool, i64, usize),
    Clear,
    /// A mute and an unmute: another epoch.
    Epoch,
    /// At a distance from the end of what was fed.
    Deliver(i64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![6 => Just(0_i64), 1 => -100..100_i64, 1 => any::<i64>()];
    let count = || prop_oneof![6 => 0..40_usize, 1 => RING - 2..RING + 3, 1 => Just(3 * RING + 5)];
    let distance = prop_oneof![8 => -90..20_i64, 1 => any::<i64>()];
    prop_oneof![
        8 => (prop::bool::weighted(0.9), gap, count()).prop_map(|(now, gap, n)| Step::Feed(now, gap, n)),
        1 => Just(Step::Clear),
        1 => Just(Step::Epoch),
        8 => (distance, count()).prop_map(|(at, n)| Step::Deliver(at, n)),
    ]
}

/// The run that the ring should hold: its epoch, and each frame with its position.
#[derive(Default)]
struct Model {
    epoch: u64,
    run: Vec<(u64, Frame)>,
    end: u64,
    fed: u64,
}

impl Model {
    fn feed(&mut self, epoch: u64, position: u64, count: usize) -> Vec<Frame> {
        if epoch != self.epoch || position != self.end {
            self.run.clear();
        }
        (self.epoch, self.end) = (epoch, position + count as u64);
        let frame = |n: usize| {
            (self.fed + n as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes()
        };
        let frames: Vec<Frame> = (0..count).map(frame).collect();
        self.fed += count as u64;
        self.run.extend((position..).zip(frames.iter().copied()));
        let surplus = self.run.len().saturating_sub(RING);
        self.run.drain(..surplus);
        frames
    }

    /// The bytes of frames that are all there.
    fn find(&self, position: u64, count: usize) -> Option<Vec<u8>> {
        let first = self.run.iter().position(|(at, _)| *at == position)?;
        let found = self.run.get(first..first + count)?;
        Some(found.iter().flat_map(|(_, frame)| *frame).collect())
    }
}

proptest! {
    #[test]
    fn a_delivery_is_what_was_fed_there_or_zeros(steps in prop::collection::vec(step(), 1..60)) {
        let (gate, mut ring) = (Gate::new(), LocalRing::<RING>::new());
        gate.renew_lease(NOW_NS + 1);
        let mut epoch = gate.unmute(0);
        let mut model = Model { end: 1000, ..Model::default() };
        for step in steps {
            match step {
                Step::Feed(present, gap, count) => {
                    let position = model.end.wrapping_add_signed(gap);
                    if position > u64::MAX / 2 {
                        continue;
                    }
                    let epoch = epoch.get() - u64::from(!present);
                    let frames = model.feed(epoch, position, count);
                    ring.feed(epoch, position, 0, &frames);
                }
                Step::Clear => {
                    ring.clear();
                    model.run.clear();
                    prop_assert!(ring.is_empty());
                }
                Step::Epoch => {
                    gate.mute();
                    let mut bytes = [0xff; 8];
                    let decision = ring.deliver(&gate, NOW_NS, model.end.saturating_sub(1), &mut bytes);
                    prop_assert_eq!((decision, bytes), (Decision::Silent(SilentReason::Muted), [0; 8]));
                    epoch = gate.unmute(0);
                }
                Step::Deliver(distance, count) => {
                    let position = model.end.wrapping_add_signed(distance);
                    let mut bytes = vec![0xff; count * 8];
                    let decision = ring.deliver(&gate, NOW_NS, position, &mut bytes);
                    let found = model.find(position, count).filter(|_| model.epoch == epoch.get());
                    // No frames are found nowhere or anywhere.
                    if count > 0 {
                        prop_assert_eq!(matches!(decision, Decision::Live(_)), found.is_some());
                        prop_assert_eq!(bytes, found.unwrap_or(vec![0; count * 8]));
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_captured_before_the_unmute_stays_silent_to_the_frame() {
    let (gate, mut ring) = (Gate::new(), LocalRing::<RING>::new());
    gate.renew_lease(1_000_000_001);
    // Three frames are 62,500 ns; the run begins six frames before the unmute.
    let epoch = gate.unmute(1_000_000);
    ring.feed(epoch.get(), 100, 1_000_000 - 125_000, &[[7; 8]; 12]);
    let deliver = |position| {
        let mut bytes = [0xff; 8];
        (
            ring.deliver(&gate, 1_000_000_000, position, &mut bytes),
            bytes,
        )
    };
    assert_eq!(
        deliver(105),
        (Decision::Silent(SilentReason::BeforeUnmute), [0; 8])
    );
    assert_eq!(deliver(106), (Decision::Live(epoch), [7; 8]));
}

#[test]
fn clearing_leaves_no_frame_in_memory() {
    let (gate, mut ring) = (Gate::new(), LocalRing::<RING>::new());
    ring.feed(1, 5, 0, &[[7; 8]; RING + 3]);
    ring.clear();
    // An empty ring's memory: Debug shows every byte.
    let shown = format!("{ring:?}");
    assert!(!shown.contains("7, 7"), "{shown}");
    gate.renew_lease(2);
    gate.unmute(0);
    ring.feed(1, 72, 0, &[[9; 8]]);
    let mut bytes = [0xff; 16];
    assert!(matches!(
        ring.deliver(&gate, 1, 71, &mut bytes),
        Decision::Silent(_)
    ));
    assert_eq!(bytes, [0; 16]);
}
