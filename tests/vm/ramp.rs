//! The ramp that the card's microphone hears (xtask/src/vm/machine.rs): each of its values tells when it was heard. What is
//! expected of whom stands in the checks.

/// What xtask writes: so many frames of each value from 1 to `VALUES`, then again, 10 s in all.
const FRAMES_A_VALUE: i64 = 16;
const VALUES: i64 = 30_000;
const RATE: i64 = 48_000;

/// One channel of the ramp with its sign turned, once: 16 bit.
pub(crate) fn below_zero() -> Vec<u8> {
    let samples = (1..=VALUES).filter_map(|value| i16::try_from(-value).ok());
    samples
        .flat_map(|sample| [sample; FRAMES_A_VALUE as usize])
        .flat_map(i16::to_le_bytes)
        .collect()
}

/// How much later than `other` a value was heard; to be right, within 5 s of it.
fn later_ns(value: i16, other: i16) -> i64 {
    let steps = i64::from(value) - i64::from(other) + VALUES / 2;
    (steps.rem_euclid(VALUES) - VALUES / 2) * FRAMES_A_VALUE * 1_000_000_000 / RATE
}

/// The arrival that took least from the microphone to an app: a clock that tells when any value can have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quickest {
    at_ns: u64,
    value: i16,
}

impl Quickest {
    /// Of these arrivals: when, on the monotonic clock, and which value.
    pub(crate) fn of(arrivals: impl Iterator<Item = (u64, i16)>) -> Option<Self> {
        arrivals
            .map(|(at_ns, value)| Self { at_ns, value })
            .reduce(|best, it| match best.after_ns(it.at_ns, it.value) > 0 {
                true => it,
                false => best,
            })
    }

    /// How long after this moment the quickest way would have brought this value; negative if before it.
    pub(crate) fn after_ns(&self, moment_ns: u64, value: i16) -> i64 {
        self.at_ns.cast_signed() - moment_ns.cast_signed() + later_ns(value, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_quickest_arrival_tells_when_a_value_can_have_come() {
        // 3000 values a second. The second came 10 ms quicker than the first, the third 20 ms slower, past the ramp's end.
        let arrivals = [
            (1000 * MS, 29_900),
            (1020 * MS, 29_990),
            (1063 * MS, 29),
            (1080 * MS, 80),
        ];
        let quickest = Quickest::of(arrivals.into_iter()).expect("there are some");
        assert_eq!(quickest.after_ns(1020 * MS, 29_990), 0);
        assert_eq!(quickest.after_ns(1020 * MS, 50), 20 * MS.cast_signed());
        assert_eq!(
            quickest.after_ns(1120 * MS, 29_990),
            -(100 * MS.cast_signed())
        );
        assert_eq!(Quickest::of(std::iter::empty()), None);
    }
}
