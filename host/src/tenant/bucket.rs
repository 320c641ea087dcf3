//! What may be used in a time, on average.

use std::time::{Duration, Instant};

/// Fills steadily up to what may be used in one period, and may be overdrawn: what a batch will use is known only
/// afterwards.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What comes in one period, and the most that there is.
    rate: u64,
    period: Duration,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: u64, period: Duration, now: Instant) -> Self {
        Bucket { rate, period, level: rate as f64, at: now }
    }

    /// What comes in one period.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let full = self.rate as f64;
        self.level = (self.level + full * passed / self.period.as_secs_f64()).min(full);
        self.at = now;
    }

    /// Takes so much, whether it is there or not.
    pub fn take(&mut self, amount: u64, now: Instant) {
        self.fill(now);
        self.level -= amount as f64;
    }

    /// Takes so much if it is there; false: it is not, and nothing is taken.
    pub fn try_take(&mut self, amount: u64, now: Instant) -> bool {
        self.fill(now);
        let is_there = self.level >= amount as f64;
        if is_there {
            self.level -= amount as f64;
        }
        is_there
    }

    /// How long until it is not overdrawn any more; none: it is not.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let wait = -self.level / self.rate as f64 * self.period.as_secs_f64();
        // What is overdrawn by less than a nanosecond has come back.
        Some(Duration::try_from_secs_f64(wait).unwrap_or_default()).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_overdrawn_comes_back_in_its_time() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(100, SECOND, begin);
        bucket.take(100, begin);
        assert_eq!(bucket.wait(begin), None);
        bucket.take(250, begin);
        assert_eq!(bucket.wait(begin), Some(Duration::from_millis(2500)));
        assert_eq!(bucket.wait(begin + SECOND), Some(Duration::from_millis(1500)));
        assert_eq!(bucket.wait(begin + 3 * SECOND), None);
    }

    #[test]
    fn no_more_is_saved_than_one_period_brings() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(50, 3600 * SECOND, begin);
        assert!(bucket.try_take(50, begin + 90_000 * SECOND));
        assert!(!bucket.try_take(1, begin + 90_000 * SECOND));
        // One comes back each 72 seconds.
        assert!(bucket.try_take(1, begin + 90_073 * SECOND) && !bucket.try_take(1, begin + 90_073 * SECOND));
    }

    proptest! {
        #[test]
        fn over_a_long_time_no_more_is_used_than_the_rate(amounts in proptest::collection::vec(1_u64..1000, 1..50)) {
            let begin = Instant::now();
            let (mut bucket, mut now, mut used) = (Bucket::new(100, SECOND, begin), begin, 0);
            for amount in amounts {
                now += bucket.wait(now).unwrap_or_default();
                // Before each is taken, nothing is owed: at most one period's worth was saved.
                prop_assert!(used as f64 <= 100.0 + 100.0 * (now - begin).as_secs_f64() + 1.0);
                bucket.take(amount, now);
                used += amount;
            }
        }
    }
}
