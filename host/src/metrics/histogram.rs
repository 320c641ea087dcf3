//! How values are spread, by their order of magnitude.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds of each histogram. They are four times apart: that tells what a dashboard is looked at for, at 18 series each.
const BOUNDS: usize = 17;

/// Of times: from 61 µs to three days.
pub type Seconds = Histogram<-14>;
/// Of rows and bytes: from 1 to 4 Gi.
pub type Sizes = Histogram<0>;

/// Counts values at most as large as each of its bounds, of which the first is two to the power of `LEAST`.
/// Recording neither locks nor allocates.
#[derive(Debug)]
pub struct Histogram<const LEAST: i32> {
    buckets: [AtomicU64; BOUNDS + 1],
    /// In millionths; wraps after 18 trillion.
    sum_millionths: AtomicU64,
}

impl<const LEAST: i32> Default for Histogram<LEAST> {
    fn default() -> Self {
        Histogram { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_millionths: AtomicU64::new(0) }
    }
}

impl<const LEAST: i32> Histogram<LEAST> {
    /// The upper bounds, ascending.
    fn bounds() -> impl Iterator<Item = f64> {
        (0..BOUNDS as i32).map(|step| 2f64.powi(LEAST + 2 * step))
    }

    /// Adds a value; what is below 0 or no number counts as 0.
    pub fn record(&self, value: f64) {
        let value = value.max(0.0);
        let bucket = Self::bounds().position(|bound| value <= bound).unwrap_or(BOUNDS);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // A float's cast to an integer saturates.
        self.sum_millionths.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// What these counted together, at one moment: the sum of the values, and for each upper bound how many lie
    /// above the bound before it. The last bound is infinity.
    pub fn total<'a>(all: impl Iterator<Item = &'a Self>) -> (f64, Vec<(f64, u64)>) {
        let mut total: Vec<(f64, u64)> =
            Self::bounds().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        let mut sum = 0.0;
        for histogram in all {
            for ((_, total), bucket) in total.iter_mut().zip(&histogram.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            sum += histogram.sum_millionths.load(Ordering::Relaxed) as f64 / 1e6;
        }
        (sum, total)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(values: &[f64]) -> (f64, Vec<(f64, u64)>) {
        let histogram = Seconds::default();
        values.iter().for_each(|value| histogram.record(*value));
        Seconds::total([&histogram, &Seconds::default()].into_iter())
    }

    #[test]
    fn the_bounds_take_in_microseconds_and_gibibytes() {
        let times: Vec<f64> = Seconds::bounds().collect();
        assert_eq!((times[0], times[7], times[BOUNDS - 1]), (0.000_061_035_156_25, 1.0, 262_144.0));
        let sizes: Vec<f64> = Sizes::bounds().collect();
        assert_eq!((sizes[0], sizes[BOUNDS - 1]), (1.0, 4_294_967_296.0));
    }

    #[test]
    fn what_is_no_length_counts_as_none() {
        let (_, buckets) = counted(&[f64::NAN, -1.0, f64::INFINITY, 1e30]);
        assert_eq!((buckets[0].1, buckets[BOUNDS].1), (2, 2));
    }

    proptest! {
        #[test]
        fn each_value_is_counted_once_below_the_first_bound_that_holds_it(
            values in prop::collection::vec(0.0..1e7f64, 0..50),
        ) {
            let (sum, buckets) = counted(&values);
            prop_assert!((sum - values.iter().sum::<f64>()).abs() < 1e-3);
            let mut least = f64::NEG_INFINITY;
            for (bound, count) in buckets {
                let within = values.iter().filter(|value| **value > least && **value <= bound).count();
                prop_assert_eq!(count, within as u64, "up to {}", bound);
                least = bound;
            }
        }
    }
}
