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

/// What paired differences say of the difference that another run would show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Of the differences that were measured.
    pub(crate) value: f64,
    /// The lower end of the 95 % interval.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
}

/// How often the differences are drawn anew.
const DRAWS: usize = 10_000;

impl Estimate {
    /// The mean or median of `differences`, with the interval that holds it in 95 % of as many values drawn from them, with
    /// replacement (the percentile bootstrap). Always the same draws. Nothing if there are fewer than five: five values are the
    /// fewest of which a median's interval can say anything.
    pub(crate) fn of(differences: &[f64], statistic: fn(&mut [f64]) -> f64) -> Option<Self> {
        if differences.len() < 5 {
            return None;
        }
        let mut random = fastrand::Rng::with_seed(1);
        let mut drawn = vec![0.0; differences.len()];
        let mut values: Vec<_> = (0..DRAWS)
            .map(|_| {
                drawn.fill_with(|| differences[random.usize(..differences.len())]);
                statistic(&mut drawn)
            })
            .collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            value: statistic(&mut differences.to_vec()),
            low: nearest_rank(&values, 0.025),
            high: nearest_rank(&values, 0.975),
        })
    }
}

/// The mean; NaN of nothing.
pub(crate) fn mean(values: &mut [f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median: of an even number of values the mean of the middle two. Not for nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
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

    #[test]
    fn an_interval_holds_the_estimate_and_widens_with_the_noise() {
        let calm: Vec<_> = (0..13).map(|it| 10.0 + f64::from(it) / 10.0).collect();
        let wild: Vec<_> = calm.iter().map(|it| 10.0 + (it - 10.6) * 100.0).collect();
        for statistic in [mean, median] {
            let calm = Estimate::of(&calm, statistic).expect("enough values");
            assert!((calm.value - 10.6).abs() < 1e-9);
            assert!(10.0 < calm.low && calm.low < calm.value);
            assert!(calm.value < calm.high && calm.high < 11.2);
            let wild = Estimate::of(&wild, statistic).expect("enough values");
            assert!(wild.low < 0.0 && wild.high > 20.0);
        }
        assert!(Estimate::of(&[1.0; 4], mean).is_none());
    }

    #[test]
    fn a_rare_burden_is_in_the_mean() {
        let mut values = [1.0, 1.0, 1.0, 9.0];
        assert_eq!((mean(&mut values), median(&mut values)), (3.0, 1.0));
    }
}
