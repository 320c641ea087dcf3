//! Time, and waiting that ends early.

use std::time::{Duration, Instant};

/// How often it is looked whether the wait is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What time it is, and waiting.
pub trait Clock {
    /// Now.
    fn now(&self) -> Instant;

    /// Waits so long; false, as soon as possible, where `end` says so.
    fn pause(&self, wait: Duration, end: &dyn Fn() -> bool) -> bool;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&self, wait: Duration, end: &dyn Fn() -> bool) -> bool {
        pause(wait, end)
    }
}

/// Waits so long; false, at once, where `end` says so.
pub(crate) fn pause(wait: Duration, end: impl Fn() -> bool) -> bool {
    let until = Instant::now() + wait;
    loop {
        if end() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(LOOK.min(left));
    }
}

/// The waits between attempts. Each is a random part of a bound that doubles, so that those who wait for one server do
/// not all come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
    longest: Duration,
}

impl Backoff {
    /// With the bounds of the first wait and of the longest.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff { bound: first, longest }
    }

    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let wait = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_wait_lasts_as_long_as_it_says_unless_it_is_ended() {
        let begin = Instant::now();
        assert!(pause(Duration::from_millis(30), || false));
        assert!(begin.elapsed() >= Duration::from_millis(30));
        let looks = Cell::new(0);
        let third = || looks.replace(looks.get() + 1) == 2;
        assert!(!pause(Duration::from_secs(600), third));
        assert_eq!(looks.get(), 3);
    }
}
