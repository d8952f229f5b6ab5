//! The host's clock, in its own ticks and in nanoseconds: `mach_absolute_time` on macOS, `CLOCK_MONOTONIC` elsewhere. It stands
//! still while the machine sleeps; how long it stood tells a second clock that does not. The device's time line is in `clock.rs`,
//! what a sleep means for the gate in `sleep.rs`.

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
    look: fn() -> Look,
}

/// A look at both clocks, in ticks of the same timebase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The host's clock.
    pub ticks: u64,
    /// How long it has stood still since the machine started; never too much, so that what is missing shows at the next look.
    pub asleep: u64,
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
        /// Since macOS 10.12; `mach/mach_time.h` says that it goes on in sleep, and counts the same ticks.
        fn mach_continuous_time() -> u64;
        fn mach_timebase_info(info: *mut Info) -> i32;
    }

    pub(super) fn ticks() -> u64 {
        // SAFETY: it takes nothing and always succeeds.
        unsafe { mach_absolute_time() }
    }

    pub(super) fn ticks_with_sleep() -> u64 {
        // SAFETY: as above.
        unsafe { mach_continuous_time() }
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
        nanoseconds(ClockId::Monotonic)
    }

    pub(super) fn ticks_with_sleep() -> u64 {
        nanoseconds(ClockId::Boottime)
    }

    fn nanoseconds(clock: ClockId) -> u64 {
        let now = clock_gettime(clock);
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
            look: || {
                // In this order, an interruption in between makes the sleep look shorter, never longer.
                let with_sleep = system::ticks_with_sleep();
                let ticks = system::ticks();
                Look {
                    ticks,
                    asleep: with_sleep.saturating_sub(ticks),
                }
            },
        }
    }

    /// A clock that counts nanoseconds and says what it is told to.
    #[cfg(test)]
    pub(crate) fn made_up(look: fn() -> Look) -> Self {
        Self {
            timebase: Timebase::NANOSECONDS,
            look,
        }
    }

    /// How it counts.
    pub fn timebase(&self) -> Timebase {
        self.timebase
    }

    /// Now, in ticks. Real-time safe.
    pub fn ticks(&self) -> u64 {
        self.look().ticks
    }

    /// Now, on both clocks. Real-time safe: two looks at a clock.
    pub fn look(&self) -> Look {
        (self.look)()
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

    #[test]
    fn the_systems_clocks_go_on_and_without_a_sleep_they_stay_together() {
        let clock = HostClock::system();
        let first = clock.look();
        let second = clock.look();
        assert!(second.ticks >= first.ticks, "{first:?} {second:?}");
        let second_of = clock.timebase().ticks_of_frames(1, 1);
        assert!(
            first.asleep.abs_diff(second.asleep) < second_of,
            "{first:?} {second:?}"
        );
    }
}
