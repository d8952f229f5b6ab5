//! The driver's clock: which frame the performance counter has come to. One time line from the driver's start on, of exactly
//! 48,000 frames a second. Pure arithmetic of whole numbers; who asks the counter is in `kernel/spin.rs`.

use truemute_windows_interface::RATE;

const SECOND_NS: u64 = 1_000_000_000;
/// Three frames are so many nanoseconds, which are a whole number.
const THREE_FRAMES_NS: u64 = 3 * SECOND_NS / RATE as u64;

/// The number of the time line. There is one: a restart of the driver is another instance, with other counts.
pub const SEED: u64 = 1;

/// How the performance counter counts, and when the time line began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Ticks a second; never 0.
    frequency: u64,
    began_ns: u64,
}

impl Clock {
    /// A time line whose frame 0 is now. A frequency of 0 counts as nanoseconds.
    pub const fn new(frequency: u64, now_ticks: u64) -> Self {
        let frequency = if frequency == 0 { SECOND_NS } else { frequency };
        Self {
            frequency,
            began_ns: scale(now_ticks, SECOND_NS, frequency),
        }
    }

    /// The nanoseconds of so many ticks, rounded down.
    pub const fn nanoseconds(&self, ticks: u64) -> u64 {
        scale(ticks, SECOND_NS, self.frequency)
    }

    /// The ticks of so many nanoseconds, rounded down.
    pub const fn ticks(&self, nanoseconds: u64) -> u64 {
        scale(nanoseconds, self.frequency, SECOND_NS)
    }

    /// The frame that begins last, at a moment in nanoseconds of the counter; 0 before the beginning.
    pub const fn position_at(&self, now_ns: u64) -> u64 {
        scale(now_ns.saturating_sub(self.began_ns), 3, THREE_FRAMES_NS)
    }

    /// The first nanosecond of a frame.
    pub const fn nanoseconds_at(&self, position: u64) -> u64 {
        let since_ns = scale(position, THREE_FRAMES_NS, 3);
        let rounded_down = !(position.wrapping_mul(THREE_FRAMES_NS)).is_multiple_of(3);
        self.began_ns
            .saturating_add(since_ns)
            .saturating_add(rounded_down as u64)
    }
}

/// The nanoseconds of sound in so many frames, rounded down.
pub const fn nanoseconds_of(frames: u64) -> u64 {
    scale(frames, THREE_FRAMES_NS, 3)
}

/// `value * times / by`, rounded down; the largest number where it would not fit. `by` below 2^32, or `times` and `by` both
/// below 2^34 (a performance counter runs at some GHz at most), so that nothing overflows in between. Zero for a `by` of 0.
const fn scale(value: u64, times: u64, by: u64) -> u64 {
    let (Some(whole), Some(rest)) = (value.checked_div(by), value.checked_rem(by)) else {
        return 0;
    };
    let Some(part) = rest.saturating_mul(times).checked_div(by) else {
        return 0;
    };
    whole.saturating_mul(times).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock::new(10_000_000, 5_000_000_000);

    #[test]
    fn a_second_is_48000_frames_and_its_ticks() {
        let second = CLOCK.nanoseconds(5_010_000_000);
        assert_eq!(second, 501 * SECOND_NS);
        assert_eq!(CLOCK.position_at(second), 48_000);
        assert_eq!(CLOCK.nanoseconds_at(48_000), second);
        assert_eq!(CLOCK.ticks(second), 5_010_000_000);
        assert_eq!(CLOCK.position_at(0), 0);
    }

    #[test]
    fn a_frame_begins_at_its_first_nanosecond() {
        for clock in [CLOCK, Clock::new(3_000_000_001, 77), Clock::new(0, 1)] {
            for position in (0..200).chain([1 << 40, (1 << 40) + 1, (1 << 40) + 2]) {
                let at = clock.nanoseconds_at(position);
                assert_eq!(clock.position_at(at), position);
                assert!(position == 0 || clock.position_at(at - 1) == position - 1);
            }
        }
    }

    #[test]
    fn a_century_does_not_overflow() {
        let century_s = 100 * 365 * 86_400;
        let clock = Clock::new(4_000_000_000, 0);
        assert_eq!(
            clock.nanoseconds(century_s * 4_000_000_000),
            century_s * SECOND_NS
        );
        assert_eq!(clock.position_at(century_s * SECOND_NS), century_s * 48_000);
        assert_eq!(
            clock.nanoseconds_at(century_s * 48_000),
            century_s * SECOND_NS
        );
    }
}
