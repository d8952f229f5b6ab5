//! Medians, percentiles and ranges of measured values.

use serde::Serialize;

/// A set of values of one quantity, in its unit.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) lowest: f64,
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Nothing if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            count: values.len(),
            lowest: *values.first()?,
            p10: nearest_rank(&values, 0.1),
            median: nearest_rank(&values, 0.5),
            p99: nearest_rank(&values, 0.99),
            highest: *values.last()?,
        })
    }
}

/// The smallest value that at least this share of all values does not exceed.
fn nearest_rank(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = Spread::of((1..=200).rev().map(f64::from)).expect("values");
        assert_eq!((spread.lowest, spread.highest), (1.0, 200.0));
        assert_eq!(
            (spread.p10, spread.median, spread.p99),
            (20.0, 100.0, 198.0)
        );
        let five = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]).expect("values");
        assert_eq!((five.median, five.p99), (3.0, 5.0));
        assert!(Spread::of([]).is_none());
    }
}
