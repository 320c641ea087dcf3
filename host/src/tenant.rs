//! What the pipelines of a tenant have together: turns at computing, and a budget.
//!
//! Where more pipelines want to compute than there are cores, [`turns`] says who may. What a tenant has used beyond its
//! budget ([`bucket`]) its pipelines wait for before their next batch; meanwhile their channels fill, and their sources
//! pause. Neither holds up another tenant (promise S16 of `docs/invariants.md`).

mod bucket;
mod turns;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::bucket::Bucket;
pub use self::turns::{Turn, Turns};
use crate::locked::locked;
use crate::pause::{Clock, SystemClock};

/// How often the same is said at most.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// What the pipelines of a tenant may use together; none: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Fuel a second, on average; at least 1.
    pub fuel_per_second: Option<u64>,
    /// Rows a second, on average; at least 1.
    pub rows_per_second: Option<u64>,
    /// Columns created in an hour; at least 1.
    pub columns_per_hour: Option<u64>,
    /// MiB that all instances of transforms have at once; at least what one may have.
    pub memory_mib: Option<u32>,
}

/// A tenant's part of the host. Cheap to clone; all clones are the same one's.
#[derive(Clone)]
pub struct Share(Arc<Account>);

struct Account {
    turns: Turns,
    /// What names it among the turns.
    tenant: usize,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    fuel: Option<Bucket>,
    rows: Option<Bucket>,
    columns: Option<Bucket>,
    /// When it was said last that its pipelines wait.
    said_wait: Option<Instant>,
    /// When it was said last that columns are refused.
    said_refusal: Option<Instant>,
}

impl Share {
    /// That of a tenant with this budget, in `turns`.
    pub fn new(budget: &Budget, turns: &Turns) -> Self {
        let now = Instant::now();
        let bucket = |rate: Option<u64>, period| rate.map(|rate| Bucket::new(rate, period, now));
        let buckets = Buckets {
            fuel: bucket(budget.fuel_per_second, SECOND),
            rows: bucket(budget.rows_per_second, SECOND),
            columns: bucket(budget.columns_per_hour, HOUR),
            said_wait: None,
            said_refusal: None,
        };
        Share(Arc::new(Account { turns: turns.clone(), tenant: turns.join(), buckets: Mutex::new(buckets) }))
    }

    /// That of the only tenant of a process, with all that there is.
    pub fn alone() -> Self {
        Share::new(&Budget::default(), &Turns::of_machine())
    }

    /// Waits for a turn at computing.
    pub fn turn(&self) -> Turn {
        self.0.turns.take(self.0.tenant)
    }

    /// Notes fuel that a call has used.
    pub fn use_fuel(&self, fuel: u64) {
        let now = Instant::now();
        locked(&self.0.buckets).fuel.iter_mut().for_each(|bucket| bucket.take(fuel, now));
    }

    /// Notes rows that a batch has made.
    pub fn use_rows(&self, rows: u64) {
        let now = Instant::now();
        locked(&self.0.buckets).rows.iter_mut().for_each(|bucket| bucket.take(rows, now));
    }

    /// Waits until what was used beyond the budget has come back, or `end` says that nothing more is to be done. Returns
    /// how long that took; none: nothing was used beyond it.
    pub fn wait_for_budget(&self, end: &dyn Fn() -> bool) -> Option<Duration> {
        self.wait_by(&SystemClock, end)
    }

    fn wait_by(&self, clock: &dyn Clock, end: &dyn Fn() -> bool) -> Option<Duration> {
        let begin = clock.now();
        let (what, mut wait) = self.debt(begin)?;
        self.say_wait(what, begin);
        // What other pipelines of the tenant use meanwhile is waited for, too.
        while clock.pause(wait, end) {
            let Some((_, more)) = self.debt(clock.now()) else { break };
            wait = more;
        }
        Some(clock.now().saturating_duration_since(begin))
    }

    /// Takes so many columns from what may be created in an hour.
    ///
    /// # Errors
    /// There are not so many left: why nothing is to be created. Then nothing is taken.
    pub fn take_columns(&self, columns: u64) -> Result<(), String> {
        let mut buckets = locked(&self.0.buckets);
        let now = Instant::now();
        let Some(bucket) = &mut buckets.columns else { return Ok(()) };
        if bucket.try_take(columns, now) {
            return Ok(());
        }
        let most = bucket.rate();
        let why = format!(
            "more columns would have to be created ({columns}) than are left of the tenant's budget of {most} an hour \
             (`budget.columns_per_hour`)"
        );
        if is_due(&mut buckets.said_refusal, now) {
            tracing::warn!("{why}: rows that need them are dead letters");
        }
        Err(why)
    }

    /// The setting of what was used beyond the budget, and how long that takes to come back; none: nothing was.
    fn debt(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let mut buckets = locked(&self.0.buckets);
        let Buckets { fuel, rows, .. } = &mut *buckets;
        let of = |name, bucket: &mut Option<Bucket>| Some((name, bucket.as_mut()?.wait(now)?));
        let debts = [of("budget.fuel_per_second", fuel), of("budget.rows_per_second", rows)];
        debts.into_iter().flatten().max_by_key(|(_, wait)| *wait)
    }

    fn say_wait(&self, what: &str, now: Instant) {
        if is_due(&mut locked(&self.0.buckets).said_wait, now) {
            tracing::warn!("`{what}` is used up: the tenant's pipelines wait between their batches");
        }
    }
}

/// Whether something is to be said again that was `said` then.
fn is_due(said: &mut Option<Instant>, now: Instant) -> bool {
    let due = said.is_none_or(|said| now.saturating_duration_since(said) >= SAY_AGAIN);
    if due {
        *said = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A clock that only waiting moves.
    struct Simulated(Cell<Instant>);

    impl Clock for Simulated {
        fn now(&self) -> Instant {
            self.0.get()
        }

        fn pause(&self, wait: Duration, end: &dyn Fn() -> bool) -> bool {
            if end() {
                return false;
            }
            self.0.set(self.0.get() + wait);
            true
        }
    }

    /// A share whose buckets are full now, by a clock that stands.
    fn share(budget: Budget) -> (Share, Simulated) {
        let share = Share::new(&budget, &Turns::of_machine());
        (share, Simulated(Cell::new(Instant::now())))
    }

    fn use_at(share: &Share, clock: &Simulated, fuel: u64, rows: u64) {
        let mut buckets = locked(&share.0.buckets);
        buckets.fuel.iter_mut().for_each(|bucket| bucket.take(fuel, clock.now()));
        buckets.rows.iter_mut().for_each(|bucket| bucket.take(rows, clock.now()));
    }

    #[test]
    fn a_tenant_waits_for_what_takes_longest_to_come_back() {
        let budget = Budget { fuel_per_second: Some(1_000), rows_per_second: Some(10), ..Budget::default() };
        let (share, clock) = share(budget);
        assert_eq!(share.wait_by(&clock, &|| false), None);
        // Two seconds of fuel and five of rows, of which a second each was there.
        use_at(&share, &clock, 2_000, 50);
        assert_eq!(share.wait_by(&clock, &|| false), Some(4 * SECOND));
        assert_eq!(share.wait_by(&clock, &|| false), None);
    }

    #[test]
    fn a_tenant_waits_for_what_its_other_pipelines_use_meanwhile() {
        let (share, clock) = share(Budget { rows_per_second: Some(10), ..Budget::default() });
        use_at(&share, &clock, 0, 20);
        let other = Cell::new(true);
        let uses = || {
            if other.take() {
                use_at(&share, &clock, 0, 30);
            }
            false
        };
        assert_eq!(share.wait_by(&clock, &uses), Some(4 * SECOND));
    }

    #[test]
    fn a_wait_ends_when_nothing_more_is_to_be_done() {
        let (share, clock) = share(Budget { rows_per_second: Some(1), ..Budget::default() });
        use_at(&share, &clock, 0, 1_000_000);
        assert_eq!(share.wait_by(&clock, &|| true), Some(Duration::ZERO));
    }

    #[test]
    fn columns_beyond_the_budget_are_refused_as_a_whole_with_the_reason() {
        let (share, _) = share(Budget { columns_per_hour: Some(5), ..Budget::default() });
        assert_eq!(share.take_columns(3), Ok(()));
        let why = share.take_columns(3).unwrap_err();
        assert!(why.contains("(3)") && why.contains("of 5 an hour (`budget.columns_per_hour`)"), "{why}");
        assert_eq!(share.take_columns(2), Ok(()));
        assert_eq!(Share::alone().take_columns(u64::MAX), Ok(()));
    }
}
