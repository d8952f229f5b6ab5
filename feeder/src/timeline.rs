//! The driver's clock, as it publishes it: where it stood at one moment of the host's clock, and the number of its timeline.

use crate::RATE;

/// Where the driver's clock stands: at `host_ns` it is at `position`, and it goes on by exactly [`RATE`] frames a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// A moment, in nanoseconds of the host's monotonic clock.
    pub host_ns: u64,
    /// The driver's position then, in frames.
    pub position: u64,
    /// Differs from that of every other timeline of the same driver: positions compare only within one.
    pub seed: u64,
}

impl Timeline {
    /// The position at a moment, also of one before the anchor. Exact to 2^-16 frames for thirty days around the anchor.
    pub fn position_at(&self, host_ns: u64) -> f64 {
        let after = i128::from(host_ns) - i128::from(self.host_ns);
        self.position as f64 + after as f64 * f64::from(RATE) / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reaches_both_ways() {
        let clock = Timeline {
            host_ns: 2_000_000_000,
            position: 1000,
            seed: 0,
        };
        assert_eq!(clock.position_at(2_000_000_000), 1000.0);
        assert_eq!(clock.position_at(3_000_000_000), 49_000.0);
        assert_eq!(clock.position_at(1_999_000_000), 952.0);
    }
}
