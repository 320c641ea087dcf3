//! How often a call is repeated that failed through no fault of the transform, or perhaps through none: what this
//! machine at this time has no room or no time for must not become a dead letter (promise S14 of
//! `docs/invariants.md`).

use std::time::{Duration, Instant};

use super::CallError;
use crate::pause::pause;

/// Calls of a batch that took too long and are repeated; any more are taken as the transform's fault.
const SLOW_CALLS: u32 = 3;
/// The first wait; it doubles up to [`MAX_WAIT`], and the wait taken is a random one between half of it and all.
const MIN_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How often it is said that there is still no room.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The patience with the calls of one batch.
pub(super) struct Patience<'a> {
    give_up: &'a dyn Fn() -> bool,
    slow_calls: u32,
    wait: Duration,
    said: Option<Instant>,
    is_over: bool,
}

impl<'a> Patience<'a> {
    pub(super) fn new(give_up: &'a dyn Fn() -> bool) -> Self {
        Patience { give_up, slow_calls: 0, wait: MIN_WAIT, said: None, is_over: false }
    }

    /// Whether the batch is given up, to be done at the next start.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits where a call that ended with `error` is to be repeated; false where it is not.
    pub(super) fn waits_after(&mut self, error: &CallError) -> bool {
        match error {
            CallError::Busy(_) => {}
            CallError::Slow(_) if self.slow_calls < SLOW_CALLS => self.slow_calls += 1,
            _ => return false,
        }
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!("the transform is called again: {error}");
        }
        let wait = self.wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.wait = (self.wait * 2).min(MAX_WAIT);
        self.is_over = !pause(wait, self.give_up);
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_took_too_long_are_repeated_three_times_in_a_batch_and_others_not_at_all() {
        let never = || false;
        let mut patience = Patience::new(&never);
        let slow = CallError::Slow("slow".into());
        assert_eq!([(); 4].map(|()| patience.waits_after(&slow)), [true, true, true, false]);
        assert!(!patience.waits_after(&CallError::Trapped("trapped".into())));
        assert!(!patience.is_over());
    }

    #[test]
    fn a_call_without_room_is_repeated_until_the_batch_is_given_up() {
        let asked = std::cell::Cell::new(0);
        let give_up = || {
            asked.set(asked.get() + 1);
            asked.get() > 60
        };
        let mut patience = Patience::new(&give_up);
        let mut calls = 0;
        while patience.waits_after(&CallError::Busy("no room".into())) {
            calls += 1;
        }
        assert!(calls >= 4 && patience.is_over(), "{calls}");
    }
}
