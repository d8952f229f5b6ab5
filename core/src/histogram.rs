//! The distribution of intervals between pulls: fixed buckets from 1 us to 69 s, eight to each doubling, so that a
//! percentile is off by at most 6.3 %. Whole numbers only. What an interval is, the ledger knows.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, array_of, const_unless_loom};

/// Everything below 2^10 ns (about 1 us) shares the first bucket.
const FIRST_DOUBLING: u32 = 10;
/// 2^36 ns (69 s) and everything above share the last one. Under loom there are only the first and the last, because each
/// further counter doubles the number of executions.
const LAST_DOUBLING: u32 = if cfg!(loom) { 10 } else { 36 };
/// Buckets to a doubling: 2^3.
const FINENESS: u32 = 3;

const BUCKETS: usize = 2 + (((LAST_DOUBLING - FIRST_DOUBLING) as usize) << FINENESS);

/// The bucket of an interval.
fn bucket_of(interval_ns: u64) -> usize {
    let Some(doubling) = interval_ns
        .checked_ilog2()
        .filter(|&doubling| doubling >= FIRST_DOUBLING)
    else {
        return 0;
    };
    if doubling >= LAST_DOUBLING {
        return BUCKETS - 1;
    }
    let whole = doubling.saturating_sub(FIRST_DOUBLING) << FINENESS;
    // The bits below the highest one, as many as there are buckets to a doubling.
    let part = (interval_ns >> doubling.saturating_sub(FINENESS)) & ((1 << FINENESS) - 1);
    1_usize
        .saturating_add(whole as usize)
        .saturating_add(part as usize)
}

/// The middle of a bucket; nothing for the last, which has no end.
fn middle_of(bucket: usize) -> Option<u64> {
    let Some(above_first) = bucket.checked_sub(1) else {
        return Some(1 << (FIRST_DOUBLING - 1));
    };
    if bucket >= BUCKETS - 1 {
        return None;
    }
    let part = (above_first as u64) & ((1 << FINENESS) - 1);
    let width_bits = (above_first >> FINENESS) as u32;
    // In units of half a bucket: the doubling begins at 2^FINENESS buckets.
    let halves = part
        .saturating_add(1 << FINENESS)
        .saturating_mul(2)
        .saturating_add(1);
    Some(halves << width_bits.saturating_add(FIRST_DOUBLING - FINENESS - 1))
}

/// A histogram in the ledger: one thread writes, others copy. Consistent only within the slot's sequence.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct AtomicHistogram {
    /// First, on the cache line of what is written with it (see the ledger's slot).
    max_ns: AtomicU64,
    /// 32 bits, for there are hundreds of them for each client. At a quantum of 64 one of them is full after 66 days, and
    /// stays so: the percentiles then lean towards the other intervals.
    counts: [AtomicU32; BUCKETS],
}

impl AtomicHistogram {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Self { max_ns: AtomicU64::new(0), counts: array_of!(AtomicU32::new(0)) }
        }
    }

    /// Counts one interval. Only for the slot's one writer.
    pub(crate) fn add(&self, interval_ns: u64) {
        if let Some(count) = self.counts.get(bucket_of(interval_ns)) {
            count.store(
                count.load(Ordering::Relaxed).saturating_add(1),
                Ordering::Relaxed,
            );
        }
        if interval_ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.store(interval_ns, Ordering::Relaxed);
        }
    }

    pub(crate) fn reset(&self) {
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.max_ns.store(0, Ordering::Relaxed);
    }

    pub(crate) fn copy(&self) -> Histogram {
        let mut copy = Histogram::default();
        for (to, from) in copy.counts.iter_mut().zip(&self.counts) {
            *to = u64::from(from.load(Ordering::Relaxed));
        }
        copy.max_ns = self.max_ns.load(Ordering::Relaxed);
        copy
    }
}

/// A distribution of intervals, as of one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            max_ns: 0,
        }
    }
}

impl Histogram {
    /// How many intervals were counted.
    pub fn total(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The longest interval, exactly, in nanoseconds; 0 if there was none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The interval that `per_mille` of 1000 intervals do not exceed (500: the median), in nanoseconds, off by at most
    /// 6.3 %; below 1 us and above 69 s the bucket's middle and the maximum stand for it. 0 if there was none.
    pub fn percentile_ns(&self, per_mille: u16) -> u64 {
        let (total, per_mille) = (self.total(), u64::from(per_mille.min(1000)));
        // ceil(total * per_mille / 1000), in two parts so that no product overflows.
        let whole = (total / 1000).saturating_mul(per_mille);
        let rank = whole
            .saturating_add((total % 1000).saturating_mul(per_mille).div_ceil(1000))
            .max(1);
        let mut below = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            below = below.saturating_add(*count);
            if below >= rank {
                return middle_of(bucket).unwrap_or(self.max_ns).min(self.max_ns);
            }
        }
        0
    }
}

#[cfg(feature = "std")]
impl From<&Histogram> for crate::observed::Intervals {
    /// Rounded to the nearest microsecond.
    fn from(histogram: &Histogram) -> Self {
        let microseconds = |nanoseconds: u64| nanoseconds.saturating_add(500) / 1000;
        Self {
            p50_us: microseconds(histogram.percentile_ns(500)),
            p99_us: microseconds(histogram.percentile_ns(990)),
            max_us: microseconds(histogram.max_ns),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(loom))]
    fn a_full_bucket_stays_full() {
        let histogram = AtomicHistogram::new();
        histogram.add(5_000_000);
        let bucket = bucket_of(5_000_000);
        histogram.counts[bucket].store(u32::MAX, Ordering::Relaxed);
        histogram.add(5_000_000);
        assert_eq!(histogram.copy().total(), u64::from(u32::MAX));
    }

    #[test]
    fn buckets_follow_one_another_without_gap() {
        let mut last = 0;
        let mut interval = 0_u64;
        while interval < 1 << 37 {
            let bucket = bucket_of(interval);
            assert!(
                bucket == last || bucket == last + 1,
                "gap before {interval}"
            );
            last = bucket;
            interval += (interval >> 8).max(1);
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_middle_is_near_everything_in_its_bucket() {
        let mut interval = 1_u64 << FIRST_DOUBLING;
        while interval < 60_000_000_000 {
            let middle = middle_of(bucket_of(interval)).expect("below 69 s");
            assert!(
                middle.abs_diff(interval) * 1000 <= interval * 63,
                "{interval} is far from {middle}"
            );
            interval += (interval >> 7).max(1);
        }
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let histogram = AtomicHistogram::new();
        for _ in 0..985 {
            histogram.add(21_333_333);
        }
        for _ in 0..15 {
            histogram.add(42_666_666);
        }
        let copy = histogram.copy();
        let near = |value: u64, want: u64| value.abs_diff(want) * 1000 <= want * 63;
        assert!(near(copy.percentile_ns(500), 21_333_333));
        assert!(near(copy.percentile_ns(985), 21_333_333));
        assert!(near(copy.percentile_ns(990), 42_666_666));
        assert_eq!((copy.total(), copy.max_ns()), (1000, 42_666_666));
    }

    #[test]
    fn nothing_counted_is_all_zero() {
        let empty = Histogram::default();
        assert_eq!(
            (empty.total(), empty.max_ns(), empty.percentile_ns(500)),
            (0, 0, 0)
        );
    }
}
