//! The stages that compute, and those that write, spread over threads by partition.
//!
//! ```text
//!  who makes the rows ──▶ worker of the partition ──▶ its delivery
//!  one batch after the other   prepares                    writes
//! ```
//!
//! There is one worker and one delivery from the start, and a further pair for each further partition, up to a bound. As long
//! as there is one partition, its worker has no thread of its own. Batches of one partition have one way, and stay in
//! their order; all of them together are as many, and have as many bytes, as the bounds say.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;
use tracing::Span;

use super::control::Control;
use super::deliver::Deliverer;
use super::pinned::{self, Choice, Pinned};
use super::prepare::{Maker, Prepared, Preparer, SaidGrown};
use super::{Stop, deliver, given_up};
use crate::config::Settings;
use crate::debezium::shape::Shapes;
use crate::locked::locked;
use crate::source::SourceBatch;
use crate::source::kafka::ownership::Partition;

/// Pairs of a pipeline at most.
const MAX: usize = 4;
/// Bytes of records, for each pair, that all batches together may have that are being prepared, wait, or are being written; one
/// batch may have more. What `batch_bytes` is where it is not set.
const BYTES_OF_PAIR: usize = 16 << 20;
/// One pair has as much as two, so that a batch is prepared while the one before it is written.
const LEAST_BYTES: usize = 2 * BYTES_OF_PAIR;
/// How many they may be. All channels have room for so many, so that batches of one partition that waits do not keep others
/// from being prepared and written.
const MAX_BATCHES: usize = 64;
/// The longest wait for these, before it is asked whether to go on.
const POLL: Duration = Duration::from_millis(50);

/// A batch, and who makes its rows.
pub(super) struct Job {
    pub source: SourceBatch,
    pub choice: Choice,
}

/// The batches that are under way.
#[derive(Default)]
struct UnderWay {
    taken: Mutex<Taken>,
    less: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    batches: usize,
    bytes: usize,
}

/// What a batch takes of the bytes that all of them may have; given back when it is dropped.
pub(super) struct Room {
    of: Arc<UnderWay>,
    bytes: usize,
}

impl UnderWay {
    /// Waits until there is room among so many pairs. None: given up.
    fn room(self: &Arc<Self>, bytes: usize, pairs: usize, stop: &Stop) -> Option<Room> {
        let most = LEAST_BYTES.max(pairs * BYTES_OF_PAIR);
        let mut taken = locked(&self.taken);
        while taken.batches > 0 && (taken.bytes + bytes > most || taken.batches >= MAX_BATCHES) {
            if stop.give_up() {
                return None;
            }
            taken = self.less.wait_timeout(taken, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.batches += 1;
        taken.bytes += bytes;
        Some(Room { of: self.clone(), bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = locked(&self.of.taken);
        taken.batches -= 1;
        taken.bytes -= self.bytes;
        drop(taken);
        self.of.less.notify_all();
    }
}

/// What all workers of a pipeline have in common.
pub(super) struct Seed {
    settings: Settings,
    control: Control,
    runtime: Handle,
    shapes: Shapes,
    said_grown: SaidGrown,
}

impl Seed {
    pub(super) fn of(pinned: &Pinned) -> Self {
        let (settings, control) = pinned.of();
        let (shapes, said_grown) = (Shapes::default(), SaidGrown::default());
        Seed { settings, control, runtime: Handle::current(), shapes, said_grown }
    }

    /// A worker that begins with the transform of now.
    ///
    /// # Errors
    /// The settings of the schema registry.
    pub(super) fn worker(&self, now: Arc<Maker>) -> Result<Worker> {
        let of = (self.shapes.beside(), self.said_grown.clone());
        let now = pinned::preparer(&self.settings, now, of, &self.runtime)?;
        Ok(Worker { now, then: None, control: self.control.clone(), runtime: self.runtime.clone() })
    }
}

/// Makes rows of the batches of its partitions.
pub(super) struct Worker {
    now: Preparer,
    /// For ranges that another transform began.
    then: Option<Preparer>,
    control: Control,
    runtime: Handle,
}

impl Worker {
    /// None: given up while waiting for the schema registry, the target, or room for the transform.
    pub(super) fn prepare(&mut self, job: Job, stop: &Stop) -> Result<Option<Prepared>> {
        let Job { source, choice } = job;
        let preparer = match &choice {
            Choice::Now(maker) | Choice::NowInItsPlace(maker) => {
                self.now.work_for(maker);
                &mut self.now
            }
            Choice::Then(then) => match &mut self.then {
                Some(known) if Arc::ptr_eq(known.maker(), &then.maker) => known,
                other => {
                    let of = (then.shapes.beside(), then.said_grown.clone());
                    let maker = then.maker.clone();
                    other.insert(pinned::preparer(&then.settings, maker, of, &self.runtime)?)
                }
            },
        };
        let Some(mut prepared) = preparer.prepare(source, stop)? else { return Ok(None) };
        prepared.calls.iter().for_each(|call| self.control.recorder().called(call));
        match choice {
            Choice::Now(_) => self.control.shade(&prepared),
            Choice::NowInItsPlace(_) => prepared.by_another = true,
            Choice::Then(_) => {}
        }
        self.control.saw(self.now.shapes());
        Ok(Some(prepared))
    }

    /// Prepares a batch and hands it on. False: nothing more is to come.
    fn work(&mut self, (job, room): (Job, Room), delivery: &Sender<Prepared>, stop: &Stop) -> Result<bool> {
        let Some(mut prepared) = self.prepare(job, stop)? else { return given_up(stop).map(|()| false) };
        prepared.maker.transform.sandbox().share().use_rows(prepared.rows());
        prepared.room = Some(room);
        Ok(delivery.send(prepared).is_ok())
    }
}

/// Where a partition's batches go.
enum Way {
    /// Its worker's thread.
    Thread(Sender<(Job, Room)>),
    /// The worker that has no thread of its own, and its delivery.
    Here(Box<Worker>, Sender<Prepared>),
}

/// The workers and deliveries of a run.
pub(super) struct Workers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stop: &'env Stop,
    seed: Seed,
    /// What further deliveries are like; none where there must be one.
    like: Option<Deliverer<'static>>,
    under_way: Arc<UnderWay>,
    ways: Vec<Way>,
    /// Which of them a partition's batches take.
    of: HashMap<Partition, usize>,
    threads: Vec<ScopedJoinHandle<'scope, Result<()>>>,
}

impl<'scope, 'env> Workers<'scope, 'env> {
    /// With the first pair, whose delivery is `deliverer`'s and gets its batches from what is returned.
    ///
    /// # Errors
    /// The settings of the schema registry.
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        stop: &'env Stop,
        pinned: &Pinned,
        deliverer: &Deliverer<'_>,
    ) -> Result<(Self, Receiver<Prepared>)> {
        let seed = Seed::of(pinned);
        let (delivery, batches) = bounded(MAX_BATCHES);
        let ways = vec![Way::Here(Box::new(seed.worker(pinned.now())?), delivery)];
        let like = deliverer.another();
        let (under_way, of, threads) = (Arc::default(), HashMap::new(), Vec::new());
        Ok((Workers { scope, stop, seed, like, under_way, ways, of, threads }, batches))
    }

    /// Hands a batch to its partition's worker, once there is room for it. False: nothing more is to come, since one of them
    /// has failed, which says why itself, or the run is given up.
    ///
    /// # Errors
    /// What the worker met, where it has no thread of its own; no thread could be started.
    pub(super) fn take(&mut self, job: Job) -> Result<bool> {
        let way = self.way_of(&job)?;
        let bytes = job.source.batch.arena.len();
        let Some(room) = self.under_way.room(bytes, self.ways.len(), self.stop) else {
            return given_up(self.stop).map(|()| false);
        };
        match &mut self.ways[way] {
            Way::Here(worker, delivery) => worker.work((job, room), delivery, self.stop),
            Way::Thread(jobs) => Ok(jobs.send((job, room)).is_ok()),
        }
    }

    fn way_of(&mut self, Job { source, choice }: &Job) -> Result<usize> {
        let partition = (source.batch.topic.clone(), source.batch.partition);
        if let Some(way) = self.of.get(&partition) {
            return Ok(*way);
        }
        let next = self.of.len() % MAX;
        let way = if next < self.ways.len() || self.begin(choice.maker())? { next } else { 0 };
        self.of.insert(partition, way);
        Ok(way)
    }

    /// Begins a further pair. False: there must be no other.
    fn begin(&mut self, now: &Arc<Maker>) -> Result<bool> {
        let Some(mut deliverer) = self.like.as_ref().and_then(Deliverer::another) else { return Ok(false) };
        if let Some(Way::Here(worker, delivery)) = self.ways.pop_if(|way| matches!(way, Way::Here(..))) {
            self.thread(*worker, delivery)?;
        }
        let (delivery, batches) = bounded(MAX_BATCHES);
        self.thread(self.seed.worker(now.clone())?, delivery)?;
        let stop = self.stop;
        self.spawn("deliver", move || deliver(&mut deliverer, &batches, stop))?;
        Ok(true)
    }

    /// Gives a worker a thread, and the last way to it.
    fn thread(&mut self, mut worker: Worker, delivery: Sender<Prepared>) -> Result<()> {
        let (way, jobs) = bounded(MAX_BATCHES);
        let stop = self.stop;
        self.spawn("prepare", move || {
            for job in jobs {
                if stop.give_up() {
                    return given_up(stop);
                }
                if !worker.work(job, &delivery, stop)? {
                    break;
                }
            }
            Ok(())
        })?;
        self.ways.push(Way::Thread(way));
        Ok(())
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() -> Result<()> + Send + 'scope) -> Result<()> {
        let (stop, span) = (self.stop, Span::current());
        let run = move || {
            let _in = span.entered();
            run().inspect_err(|_| stop.fail())
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(self.scope, run);
        self.threads.push(thread.context("starting a thread")?);
        Ok(())
    }

    /// No batch comes any more; what to wait for.
    pub(super) fn end(self) -> Vec<ScopedJoinHandle<'scope, Result<()>>> {
        self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Shutdown;

    #[test]
    fn a_batch_waits_until_those_before_it_leave_room_and_one_that_is_larger_than_all_may_be_goes_alone() {
        let (under_way, stop) = (Arc::<UnderWay>::default(), Stop::new(Shutdown::new()));
        let taken = || locked(&under_way.taken).bytes;
        let large = under_way.room(LEAST_BYTES + 1, 1, &stop).expect("there is nothing else");
        thread::scope(|scope| {
            let next = scope.spawn(|| under_way.room(1, 1, &stop));
            assert!(!next.is_finished() && taken() == LEAST_BYTES + 1);
            drop(large);
            let next = next.join().expect("no panic").expect("there is room");
            let rest = under_way.room(LEAST_BYTES - 1, 1, &stop).expect("it is all that there is");
            let more = under_way.room(BYTES_OF_PAIR, 3, &stop).expect("a third pair has as much again");
            assert_eq!(taken(), LEAST_BYTES + BYTES_OF_PAIR);
            stop.fail();
            assert!(under_way.room(1, 3, &stop).is_none(), "nobody waits when the run has failed");
            drop((next, rest, more));
        });
        assert_eq!(taken(), 0);
    }
}
