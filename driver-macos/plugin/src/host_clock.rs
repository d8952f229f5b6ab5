//! The host's clock, in its own ticks and in nanoseconds: `mach_absolute_time` on macOS, `CLOCK_MONOTONIC` elsewhere.
//! The device's time line over it is in `clock.rs`.

/// How the host's clock counts: one tick is `numerator` / `denominator` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timebase {
    numerator: u32,
    denominator: u32,
}

impl Timebase {
    /// One tick a nanosecond.
    pub const NANOSECONDS: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// A timebase; where one of the numbers is 0, the system told nonsense, and it counts as nanoseconds.
    pub const fn new(numerator: u32, denominator: u32) -> Self {
        if numerator == 0 || denominator == 0 {
            return Self::NANOSECONDS;
        }
        Self {
            numerator,
            denominator,
        }
    }

    /// The nanoseconds of so many ticks, rounded down.
    pub const fn nanoseconds(self, ticks: u64) -> u64 {
        scale(ticks, self.numerator as u64, self.denominator as u64)
    }

    /// The ticks in which `frames` pass at `rate` frames a second, rounded down.
    pub const fn ticks_of_frames(self, frames: u64, rate: u32) -> u64 {
        let per_second = 1_000_000_000 * self.denominator as u64;
        scale(frames, per_second, self.numerator as u64 * rate as u64)
    }

    /// The whole frames that pass in so many ticks at `rate` frames a second.
    pub const fn frames_of_ticks(self, ticks: u64, rate: u32) -> u64 {
        let per_second = 1_000_000_000 * self.denominator as u64;
        scale(ticks, self.numerator as u64 * rate as u64, per_second)
    }
}

/// `value * times / by`, rounded down, without an overflow in between; the largest number where it would not fit.
/// A `by` of 0 cannot be: it is a product of numbers that are not 0.
const fn scale(value: u64, times: u64, by: u64) -> u64 {
    // Division of 128 bits takes tens of nanoseconds, so only where it must be.
    if let Some(product) = value.checked_mul(times)
        && let Some(result) = product.checked_div(by)
    {
        return result;
    }
    let product = value as u128 * times as u128;
    match product.checked_div(by as u128) {
        Some(result) if result <= u64::MAX as u128 => result as u64,
        _ => u64::MAX,
    }
}

/// The host's clock.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    timebase: Timebase,
}

#[cfg(target_vendor = "apple")]
mod system {
    use super::Timebase;

    /// `mach_timebase_info_data_t` of `mach/mach_time.h`.
    #[repr(C)]
    struct Info {
        numer: u32,
        denom: u32,
    }

    unsafe extern "C" {
        fn mach_absolute_time() -> u64;
        fn mach_timebase_info(info: *mut Info) -> i32;
    }

    pub(super) fn ticks() -> u64 {
        // SAFETY: it takes nothing and always succeeds.
        unsafe { mach_absolute_time() }
    }

    pub(super) fn timebase() -> Timebase {
        let mut info = Info { numer: 0, denom: 0 };
        // SAFETY: it writes the two numbers.
        unsafe { mach_timebase_info(&raw mut info) };
        Timebase::new(info.numer, info.denom)
    }
}

#[cfg(not(target_vendor = "apple"))]
mod system {
    use super::Timebase;
    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn ticks() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec
            .cast_unsigned()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(now.tv_nsec.cast_unsigned())
    }

    pub(super) fn timebase() -> Timebase {
        Timebase::NANOSECONDS
    }
}

impl HostClock {
    /// The system's clock. Asks the system for its timebase once.
    pub fn system() -> Self {
        Self {
            timebase: system::timebase(),
        }
    }

    /// How it counts.
    pub fn timebase(&self) -> Timebase {
        self.timebase
    }

    /// Now, in ticks. Real-time safe.
    pub fn ticks(&self) -> u64 {
        system::ticks()
    }

    /// Now, in nanoseconds. Real-time safe.
    pub fn now_ns(&self) -> u64 {
        self.timebase.nanoseconds(self.ticks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Apple's processors count 24 MHz, Intel's count nanoseconds.
    const APPLE: Timebase = Timebase::new(125, 3);

    #[test]
    fn a_second_is_a_second_in_every_timebase() {
        assert_eq!(APPLE.nanoseconds(24_000_000), 1_000_000_000);
        assert_eq!(APPLE.ticks_of_frames(48_000, 48_000), 24_000_000);
        assert_eq!(APPLE.frames_of_ticks(24_000_000, 48_000), 48_000);
        assert_eq!(
            Timebase::NANOSECONDS.ticks_of_frames(48_000, 48_000),
            1_000_000_000
        );
    }

    #[test]
    fn a_century_does_not_overflow() {
        let century = 100 * 365 * 86_400 * 24_000_000_u64;
        assert_eq!(
            APPLE.nanoseconds(century),
            100 * 365 * 86_400 * 1_000_000_000
        );
        assert_eq!(
            APPLE.frames_of_ticks(century, 48_000),
            100 * 365 * 86_400 * 48_000
        );
        assert_eq!(APPLE.nanoseconds(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_timebase_that_is_nonsense_counts_as_nanoseconds() {
        assert_eq!(Timebase::new(0, 3), Timebase::NANOSECONDS);
        assert_eq!(Timebase::new(125, 0), Timebase::NANOSECONDS);
    }
}
