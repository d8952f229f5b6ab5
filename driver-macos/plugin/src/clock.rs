//! The device's time line: which of its frames the host's clock has come to. One rate, counted from an anchor; a new anchor
//! is a new time line and has a new seed. Who starts one is in `device.rs`.

use crate::host_clock::Timebase;
use truemute_core::published::Published;

/// Frames a second. There is no other rate.
pub const RATE: u32 = truemute_core::shared_ring::RATE as u32;
/// Frames from one zero time stamp to the next, as the property table says.
pub const PERIOD: u64 = 16_384;

/// From where a time line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Ticks of the host's clock.
    pub ticks: u64,
    /// The frame of the device at that moment; a multiple of [`PERIOD`].
    pub sample: u64,
    /// The time line's number, from 1.
    pub seed: u64,
}

impl Anchor {
    /// That of the first time line, at frame 0.
    pub const fn first(now_ticks: u64) -> Self {
        Self {
            ticks: now_ticks,
            sample: 0,
            seed: 1,
        }
    }

    const fn words(self) -> [u64; 3] {
        [self.ticks, self.sample, self.seed]
    }
}

/// What `GetZeroTimeStamp` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroTimeStamp {
    /// A multiple of [`PERIOD`], in frames.
    pub sample: u64,
    /// When that was, in ticks of the host's clock.
    pub ticks: u64,
    /// The time line that both belong to.
    pub seed: u64,
}

/// The time line. Any thread may read it, real-time safe; [`Clock::restart`] is for one thread at a time.
///
/// No frame number is ever used twice: a new time line begins after the last frame of the old one and of whatever was
/// written ahead of it. So what a ring still holds of an old time line cannot be taken for sound of a new one.
#[derive(Debug)]
pub struct Clock {
    timebase: Timebase,
    anchor: Published<3>,
}

impl Clock {
    /// A first time line, which begins now at frame 0.
    pub fn new(timebase: Timebase, now_ticks: u64) -> Self {
        let anchor = Published::new();
        anchor.publish(Anchor::first(now_ticks).words());
        Self { timebase, anchor }
    }

    /// The present anchor; nothing while it is being changed and the thread that does so does not run.
    pub fn anchor(&self) -> Option<Anchor> {
        let [ticks, sample, seed] = self.anchor.read()?;
        Some(Anchor {
            ticks,
            sample,
            seed,
        })
    }

    /// Begins a new time line now. One thread at a time.
    pub fn restart(&self, now_ticks: u64) -> Option<Anchor> {
        let old = self.anchor()?;
        // Two periods on: one that is rounded up, and one of room for frames that were written ahead.
        let periods = (self.frame_at(&old, now_ticks) / PERIOD).saturating_add(2);
        let new = Anchor {
            ticks: now_ticks,
            sample: periods.saturating_mul(PERIOD),
            seed: old.seed.wrapping_add(1),
        };
        self.anchor.publish(new.words());
        Some(new)
    }

    /// The latest boundary of a period, found at once however long ago the last call was.
    pub fn zero_time_stamp(&self, now_ticks: u64) -> Option<ZeroTimeStamp> {
        let anchor = self.anchor()?;
        let elapsed = self
            .frame_at(&anchor, now_ticks)
            .saturating_sub(anchor.sample);
        let frames = elapsed - elapsed % PERIOD;
        Some(ZeroTimeStamp {
            sample: anchor.sample.saturating_add(frames),
            ticks: self.ticks_at(&anchor, anchor.sample.saturating_add(frames)),
            seed: anchor.seed,
        })
    }

    /// When the time line comes to `sample`, in nanoseconds of the host's clock; a frame before it began counts as its
    /// beginning.
    pub fn nanoseconds_at(&self, sample: u64) -> Option<u64> {
        let anchor = self.anchor()?;
        Some(self.timebase.nanoseconds(self.ticks_at(&anchor, sample)))
    }

    fn frame_at(&self, anchor: &Anchor, ticks: u64) -> u64 {
        let passed = ticks.saturating_sub(anchor.ticks);
        anchor
            .sample
            .saturating_add(self.timebase.frames_of_ticks(passed, RATE))
    }

    fn ticks_at(&self, anchor: &Anchor, sample: u64) -> u64 {
        let frames = sample.saturating_sub(anchor.sample);
        anchor
            .ticks
            .saturating_add(self.timebase.ticks_of_frames(frames, RATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLE: Timebase = Timebase::new(125, 3);
    /// Ticks of Apple's clock in a period.
    const TICKS: u64 = PERIOD * 500;

    #[test]
    fn zero_time_stamps_are_period_boundaries_and_never_ahead() {
        let clock = Clock::new(APPLE, 1000);
        for now in [
            1000,
            1001,
            1000 + TICKS - 1,
            1000 + TICKS,
            1000 + 3 * TICKS + 7,
        ] {
            let stamp = clock.zero_time_stamp(now).expect("nobody writes");
            assert_eq!(stamp.sample % PERIOD, 0);
            assert_eq!(stamp.ticks, 1000 + stamp.sample * 500);
            assert!(
                stamp.ticks <= now && now - stamp.ticks < TICKS,
                "{now}: {stamp:?}"
            );
            assert_eq!(stamp.seed, 1);
        }
    }

    #[test]
    fn after_a_stall_of_a_day_the_first_call_is_right() {
        let clock = Clock::new(APPLE, 0);
        clock.zero_time_stamp(5).expect("nobody writes");
        let day = 86_400 * 24_000_000;
        let stamp = clock.zero_time_stamp(day).expect("nobody writes");
        assert!(day - stamp.ticks < TICKS, "{stamp:?}");
        assert_eq!(stamp.sample, 86_400 * 48_000 / PERIOD * PERIOD);
    }

    #[test]
    fn a_clock_that_stands_before_the_anchor_is_at_the_anchor() {
        let clock = Clock::new(APPLE, 1000);
        let stamp = clock.zero_time_stamp(10).expect("nobody writes");
        assert_eq!((stamp.sample, stamp.ticks), (0, 1000));
    }

    #[test]
    fn a_new_time_line_has_a_new_seed_and_no_frame_of_the_old_one() {
        let clock = Clock::new(APPLE, 0);
        let now = 10 * TICKS + 250_000;
        let last = 10 * PERIOD + 500;
        let anchor = clock.restart(now).expect("nobody writes");
        assert_eq!(anchor.seed, 2);
        assert_eq!(anchor.sample % PERIOD, 0);
        assert!(anchor.sample >= last + PERIOD, "{anchor:?}");
        let stamp = clock.zero_time_stamp(now).expect("nobody writes");
        assert_eq!(
            (stamp.sample, stamp.ticks, stamp.seed),
            (anchor.sample, now, 2)
        );
        assert_eq!(
            clock.nanoseconds_at(anchor.sample),
            Some(APPLE.nanoseconds(now))
        );
    }

    #[test]
    fn the_period_is_the_one_in_the_property_table() {
        use crate::table::{Answer, ROWS};
        let mut rows = ROWS.iter();
        let row = rows.find(|row| row.name == "kAudioDevicePropertyZeroTimeStampPeriod");
        match row.map(|row| row.answer) {
            Some(Answer::Numbers(numbers)) => assert_eq!(numbers.as_slice(), [PERIOD as u32]),
            other => panic!("{other:?}"),
        }
    }
}
