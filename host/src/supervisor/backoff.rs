//! How long a pipeline waits before it is started again after a failure.

use std::time::Duration;

/// The longest wait after the first failure, and after any.
const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);
/// A run that lasted so long is none of a row of failures.
const LASTED: Duration = Duration::from_secs(60);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure, of a run that lasted so long: at random up to a bound that doubles, so that the
    /// pipelines of a host do not all come back to a server at once.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        self.failures = if lasted >= LASTED { 1 } else { self.failures.saturating_add(1) };
        self.bound().mul_f64(fastrand::f64())
    }

    fn bound(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        FIRST.saturating_mul(doubled).min(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_below_a_bound_that_doubles_and_begins_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        for bound in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = backoff.after(Duration::ZERO);
            assert_eq!(backoff.bound(), Duration::from_secs(bound));
            assert!(wait <= backoff.bound());
        }
        backoff.failures = u32::MAX;
        assert!(backoff.after(Duration::ZERO) <= MAX);
        assert!(backoff.after(LASTED) <= FIRST);
    }
}
