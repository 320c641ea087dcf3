//! Who may compute: as many at once as there are cores, and of those that wait the one whose tenant had least.
//!
//! Each tenant has a clock that runs while its pipelines have turns; the tenant whose clock is behind is next. One that
//! comes back after a while begins where the others are by then: time that it has not used is not saved. A tenant
//! without a turn need not wait for the end of another's: for it there is one turn more than there are cores, and the
//! system shares them.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::locked::locked;

/// The turns of a process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Turns(Arc<Table>);

struct Table {
    schedule: Mutex<Schedule<Arc<Waiting>>>,
    /// How many wait, so that one who has a turn can see it without the lock.
    waiting: AtomicUsize,
}

/// A thread that waits.
struct Waiting {
    thread: Thread,
    let_in: AtomicBool,
}

/// The right to compute, until it is dropped. Whoever has one must not wait for anything, and not for another turn.
pub struct Turn {
    turns: Turns,
    tenant: usize,
    since: Instant,
}

impl Turns {
    /// For the cores of this machine.
    pub fn of_machine() -> Self {
        Turns::new(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn new(cores: usize) -> Self {
        Turns(Arc::new(Table { schedule: Mutex::new(Schedule::new(cores)), waiting: AtomicUsize::new(0) }))
    }

    /// Another tenant; returns what names it here.
    pub(super) fn join(&self) -> usize {
        locked(&self.0.schedule).join()
    }

    /// Waits for a turn. That ends: whoever has one gives way within milliseconds, or is done with its batch.
    pub(super) fn take(&self, tenant: usize) -> Turn {
        self.wait(tenant, None);
        Turn { turns: self.clone(), tenant, since: Instant::now() }
    }

    /// Waits for a turn; with `long`, in place of one that took so long.
    fn wait(&self, tenant: usize, long: Option<Duration>) {
        let waiting = Arc::new(Waiting { thread: thread::current(), let_in: AtomicBool::new(false) });
        let mut schedule = locked(&self.0.schedule);
        if let Some(long) = long {
            schedule.end(tenant, long);
        }
        schedule.ask(tenant, waiting.clone());
        self.let_in(&mut schedule);
        drop(schedule);
        while !waiting.let_in.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Lets in all who may have a turn now.
    fn let_in(&self, schedule: &mut Schedule<Arc<Waiting>>) {
        while let Some(next) = schedule.next() {
            next.let_in.store(true, Ordering::Release);
            next.thread.unpark();
        }
        self.0.waiting.store(schedule.waiting, Ordering::Relaxed);
    }
}

impl Turn {
    /// Lets those go first whose tenant had less, if any wait; returns when this one is next again. To be called every
    /// few milliseconds by what computes for long.
    pub fn give_way(&mut self) {
        if self.turns.0.waiting.load(Ordering::Relaxed) > 0 {
            self.turns.wait(self.tenant, Some(self.since.elapsed()));
            self.since = Instant::now();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut schedule = locked(&self.turns.0.schedule);
        schedule.end(self.tenant, self.since.elapsed());
        self.turns.let_in(&mut schedule);
    }
}

/// Who is next; decisions only. `T` is one who waits.
struct Schedule<T> {
    /// Turns that nobody has. The last one is for a tenant that has none.
    free: usize,
    tenants: Vec<Tenant<T>>,
    /// What the clocks of all that wait or compute have reached; it never goes back.
    reached: Duration,
    /// How many wait.
    waiting: usize,
}

struct Tenant<T> {
    /// The time that its turns took.
    clock: Duration,
    computing: usize,
    waiting: VecDeque<T>,
}

impl<T> Schedule<T> {
    fn new(cores: usize) -> Self {
        Schedule { free: cores + 1, tenants: Vec::new(), reached: Duration::ZERO, waiting: 0 }
    }

    fn join(&mut self) -> usize {
        self.tenants.push(Tenant { clock: self.reached, computing: 0, waiting: VecDeque::new() });
        self.tenants.len() - 1
    }

    /// One more of a tenant wants to compute.
    fn ask(&mut self, tenant: usize, who: T) {
        let own = &mut self.tenants[tenant];
        if !own.is_there() {
            own.clock = own.clock.max(self.reached);
        }
        own.waiting.push_back(who);
        self.waiting += 1;
    }

    /// A turn of a tenant ends that took so `long`.
    fn end(&mut self, tenant: usize, long: Duration) {
        self.tenants[tenant].clock += long;
        let there = self.tenants.iter().filter(|tenant| tenant.is_there());
        let least = there.map(|tenant| tenant.clock).min();
        self.reached = least.map_or(self.reached, |least| least.max(self.reached));
        self.tenants[tenant].computing -= 1;
        self.free += 1;
    }

    /// The one who gets a turn now; none: nobody waits, or there is none for those who do.
    fn next(&mut self) -> Option<T> {
        let free = self.free;
        let may = |tenant: &&mut Tenant<T>| {
            !tenant.waiting.is_empty() && (free > 1 || free == 1 && tenant.computing == 0)
        };
        let next =
            self.tenants.iter_mut().filter(may).min_by_key(|tenant| (tenant.clock, tenant.computing))?;
        let who = next.waiting.pop_front()?;
        next.computing += 1;
        self.free -= 1;
        self.waiting -= 1;
        Some(who)
    }
}

impl<T> Tenant<T> {
    fn is_there(&self) -> bool {
        self.computing > 0 || !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use proptest::prelude::*;

    use super::*;

    const SLICE: Duration = Duration::from_millis(10);

    /// The slices that each tenant computes in so many of them, by a simulated clock, where all of its `pipelines`
    /// always want to.
    fn slices(cores: usize, pipelines: &[usize], rounds: usize) -> Vec<usize> {
        let mut schedule = Schedule::new(cores);
        for count in pipelines {
            let tenant = schedule.join();
            (0..*count).for_each(|_| schedule.ask(tenant, tenant));
        }
        let mut had = vec![0; pipelines.len()];
        for _ in 0..rounds {
            let computing: Vec<usize> = iter::from_fn(|| schedule.next()).collect();
            for tenant in computing {
                had[tenant] += 1;
                schedule.end(tenant, SLICE);
                schedule.ask(tenant, tenant);
            }
        }
        had
    }

    #[test]
    fn tenants_compute_alike_however_many_pipelines_they_have_and_one_alone_has_all_cores() {
        assert_eq!(slices(2, &[9], 100), [200]);
        assert_eq!(slices(2, &[9, 1], 100), [100, 100]);
        let had = slices(2, &[9, 1, 5, 2], 100);
        assert!(had.iter().max().unwrap() - had.iter().min().unwrap() <= 1, "{had:?}");
    }

    #[test]
    fn a_tenant_without_a_turn_gets_one_while_another_has_all_cores() {
        let mut schedule = Schedule::new(2);
        let (greedy, other) = (schedule.join(), schedule.join());
        (0..3).for_each(|_| schedule.ask(greedy, "greedy"));
        assert_eq!([(); 3].map(|()| schedule.next()), [Some("greedy"), Some("greedy"), None]);
        schedule.ask(other, "other");
        schedule.ask(other, "other again");
        assert_eq!([(); 2].map(|()| schedule.next()), [Some("other"), None]);
        // As many as there are cores go on computing; then the one who had less is next.
        schedule.end(greedy, SLICE);
        assert_eq!(schedule.next(), None);
        schedule.end(greedy, SLICE);
        assert_eq!([(); 2].map(|()| schedule.next()), [Some("other again"), Some("greedy")]);
    }

    #[test]
    fn time_that_a_tenant_has_not_used_is_not_saved() {
        let mut schedule = Schedule::new(1);
        let (busy, idle) = (schedule.join(), schedule.join());
        for _ in 0..1_000 {
            schedule.ask(busy, ());
            schedule.next().unwrap();
            schedule.end(busy, SLICE);
        }
        schedule.ask(idle, ());
        assert_eq!(schedule.tenants[idle].clock, schedule.tenants[busy].clock);
        let late = schedule.join();
        assert_eq!(schedule.tenants[late].clock, 1_000 * SLICE);
    }

    proptest! {
        #[test]
        fn every_tenant_has_its_part(cores in 1_usize..5, pipelines in proptest::collection::vec(1_usize..6, 1..7)) {
            const ROUNDS: usize = 100;
            let part = cores as f64 / pipelines.len() as f64;
            for (had, pipelines) in slices(cores, &pipelines, ROUNDS).into_iter().zip(pipelines) {
                let least = ROUNDS as f64 * part.min(pipelines as f64);
                prop_assert!(had as f64 >= least - 3.0, "{} of {}", had, least);
            }
        }
    }

    #[test]
    fn what_computes_for_long_gives_way_to_one_that_had_less() {
        let turns = Turns::new(1);
        let (long, brief, third) = (turns.join(), turns.join(), turns.join());
        let (_held, mut turn) = (turns.take(third), turns.take(long));
        // Nobody waits: it goes on.
        turn.give_way();
        let of = turns.clone();
        let other = thread::spawn(move || drop(of.take(brief)));
        let begin = Instant::now();
        while turns.0.waiting.load(Ordering::Relaxed) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
        // Both turns are taken: without this the other one never ends.
        turn.give_way();
        other.join().unwrap();
    }
}
