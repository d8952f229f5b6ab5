//! Clocks: readings of the wall and the monotonic clock that belong together, and wall times as RFC 3339 text.
//! Nothing here waits or schedules.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::system::monotonic_ns;

/// One moment on both clocks.
///
/// The monotonic clock stands still while the machine sleeps and nobody can set it, so durations are measured with it. The
/// audio system counts in the same clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of the wall clock since 1970.
    pub wall_ns: u64,
    /// Nanoseconds of the monotonic clock.
    pub monotonic_ns: u64,
}

impl Stamp {
    /// Reads both clocks. The wall clock is read between two readings of the monotonic one, three times, and the
    /// narrowest of them wins: the pair is off by at most half the distance of those two readings, which is well
    /// below a microsecond unless the thread is interrupted all three times.
    pub fn now() -> Stamp {
        let tries = [Bracket::read(), Bracket::read(), Bracket::read()];
        let [first, rest @ ..] = tries;
        rest.into_iter()
            .fold(first, |best, next| {
                if next.width_ns < best.width_ns {
                    next
                } else {
                    best
                }
            })
            .stamp
    }

    /// A moment that is known by the wall clock, on both; with the accuracy of [`Stamp::wall_of`].
    pub fn at_wall(&self, wall_ns: u64) -> Stamp {
        let monotonic_ns = if wall_ns >= self.wall_ns {
            self.monotonic_ns.saturating_add(wall_ns - self.wall_ns)
        } else {
            self.monotonic_ns.saturating_sub(self.wall_ns - wall_ns)
        };
        Stamp {
            wall_ns,
            monotonic_ns,
        }
    }

    /// The wall time of a moment that is known by the monotonic clock. Exact to the accuracy of [`Stamp::now`] and what
    /// the wall clock was slewed between the two moments (at most 0.5 ms a second, adjtimex(2)), as long as nobody set it.
    pub fn wall_of(&self, monotonic_ns: u64) -> u64 {
        if monotonic_ns >= self.monotonic_ns {
            self.wall_ns
                .saturating_add(monotonic_ns - self.monotonic_ns)
        } else {
            self.wall_ns
                .saturating_sub(self.monotonic_ns - monotonic_ns)
        }
    }
}

/// A reading of the wall clock and how well its monotonic time is known.
struct Bracket {
    stamp: Stamp,
    width_ns: u64,
}

impl Bracket {
    fn read() -> Bracket {
        let before = monotonic_ns();
        let wall_ns = wall_ns();
        let width_ns = monotonic_ns().saturating_sub(before);
        Bracket {
            stamp: Stamp {
                wall_ns,
                monotonic_ns: before + width_ns / 2,
            },
            width_ns,
        }
    }
}

fn wall_ns() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    // 64 bits of nanoseconds reach until the year 2554.
    u64::try_from(time.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with milliseconds, as the contract gives times.
pub fn rfc3339(wall_ns: u64) -> String {
    format!("{:.3}", timestamp(wall_ns))
}

/// RFC 3339 in UTC with microseconds, as the trace gives times.
pub fn rfc3339_us(wall_ns: u64) -> String {
    format!("{:.6}", timestamp(wall_ns))
}

fn timestamp(wall_ns: u64) -> Timestamp {
    // All of u64 lies before the year 9999, where jiff's range ends.
    Timestamp::from_nanosecond(i128::from(wall_ns)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_translates_both_ways() {
        let stamp = Stamp {
            wall_ns: 1_000_000,
            monotonic_ns: 500,
        };
        assert_eq!(stamp.wall_of(700), 1_000_200);
        assert_eq!(stamp.wall_of(100), 999_600);
        for monotonic_ns in [100, 500, 700] {
            let wall_ns = stamp.wall_of(monotonic_ns);
            let moment = Stamp {
                wall_ns,
                monotonic_ns,
            };
            assert_eq!(stamp.at_wall(wall_ns), moment);
        }
    }

    #[test]
    fn clocks_go_forward() {
        let one = Stamp::now();
        let two = Stamp::now();
        assert!(two.monotonic_ns > one.monotonic_ns);
        assert!(one.wall_ns > 1_700_000_000_000_000_000, "after 2023");
    }

    #[test]
    fn text_has_a_fixed_number_of_digits() {
        assert_eq!(
            rfc3339(1_795_000_000_000_000_000),
            "2026-11-18T11:06:40.000Z"
        );
        assert_eq!(
            rfc3339(1_795_000_000_123_999_999),
            "2026-11-18T11:06:40.123Z"
        );
        assert_eq!(
            rfc3339_us(1_795_000_000_123_456_789),
            "2026-11-18T11:06:40.123456Z"
        );
        assert!(rfc3339(u64::MAX).starts_with("2554-"));
    }
}
