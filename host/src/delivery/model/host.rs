//! A simulated host: the delivery as a coroutine, which stops before each call to the outside, and what the
//! polling thread does beside it.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::work::Batched;
use super::world::{Kind, Level, Request, TABLES, World, failure};
use crate::batch::Incoming;
use crate::clickhouse::insert::Identity;
use crate::clickhouse::request::Insert;
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::target::{Look, Target};
use crate::commit::{Position, Seal};
use crate::config::BatchLimits;
use crate::delivery::{Delivered, Delivery, Log};
use crate::pause::Clock;
use crate::source::SourceBatch;
use crate::source::kafka::ownership::{Ownership, Partition};
use crate::source::reading::Reading;

/// A call to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Waits for the next batch.
    Next,
    Commit {
        partition: usize,
        offset: i64,
        seal: String,
    },
    Insert(Request),
    Look {
        table: usize,
        partition: usize,
        range: (i64, i64),
    },
    /// Ends the attempts on a token.
    End(String),
    /// Opens a session.
    Open,
    /// Closes this one.
    Close(String),
    Pause(Duration),
}

impl Effect {
    /// The same, however long it waits.
    fn untimed(&self) -> Effect {
        match self {
            Effect::Pause(_) => Effect::Pause(Duration::ZERO),
            other => other.clone(),
        }
    }
}

/// What comes back of it.
pub enum Answer {
    Batch(Box<SourceBatch>),
    Idle,
    Done,
    Refused,
    Failed(Failure),
    Rows(Vec<Identity>),
    Session(String),
}

pub type Records = Rc<Vec<Vec<Kind>>>;

/// The traits of delivery, as calls that stop the coroutine.
struct Line<'y> {
    yielder: &'y Yielder<Answer, Effect>,
    ownership: Arc<Ownership>,
    clock: Rc<Cell<Instant>>,
}

impl Clone for Line<'_> {
    fn clone(&self) -> Self {
        Line { ownership: self.ownership.clone(), clock: self.clock.clone(), ..*self }
    }
}

impl Line<'_> {
    fn ask(&self, effect: Effect) -> Answer {
        self.yielder.suspend(effect)
    }
}

impl Log for Line<'_> {
    fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    fn commit(&self, partition: &Partition, offset: i64, seal: Option<&Seal>) -> Result<()> {
        let seal = seal.map(Seal::to_string).unwrap_or_default();
        match self.ask(Effect::Commit { partition: partition.1 as usize, offset, seal }) {
            Answer::Done => Ok(()),
            _ => Err(anyhow!("the brokers refuse it")),
        }
    }
}

impl Target for Line<'_> {
    fn insert(&self, insert: &Insert<'_>, block: &[u8]) -> Result<(), Failure> {
        let rows = block.chunks_exact(14).map(super::work::decoded).collect();
        let [token, session] = [insert.token, insert.session].map(|name| name.map(str::to_owned));
        let query_id = insert.query_id.to_owned();
        match self.ask(Effect::Insert(Request { table: table(insert.table), token, session, query_id, rows }))
        {
            Answer::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }

    fn identities(&self, look: &Look<'_>) -> Result<Vec<Identity>, Failure> {
        // The condition is the partition's number.
        let partition = look.columns.condition.parse().unwrap_or_default();
        match self.ask(Effect::Look { table: table(look.table), partition, range: look.range }) {
            Answer::Rows(rows) => Ok(rows),
            _ => Err(failure(Class::Unknown, None)),
        }
    }

    fn end_attempts(&self, token: &str) -> Result<(), Failure> {
        match self.ask(Effect::End(token.to_owned())) {
            Answer::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }

    fn open_session(&self) -> Result<String, Failure> {
        match self.ask(Effect::Open) {
            Answer::Session(name) => Ok(name),
            _ => Err(failure(Class::Unknown, None)),
        }
    }

    fn close_session(&self, session: &str) -> Result<(), Failure> {
        match self.ask(Effect::Close(session.to_owned())) {
            Answer::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }
}

fn table(name: &str) -> usize {
    TABLES.iter().position(|table| *table == name).unwrap_or_default()
}

impl Clock for Line<'_> {
    fn now(&self) -> Instant {
        self.clock.get()
    }

    fn pause(&self, wait: Duration, end: &dyn Fn() -> bool) -> bool {
        !end() && {
            self.ask(Effect::Pause(wait));
            !end()
        }
    }
}

/// As `pipeline`'s loop over prepared batches.
fn deliver(line: &Line<'_>, level: Level, records: &Records, give_up: &dyn Fn() -> bool) -> Result<()> {
    let mut delivery = Delivery::new(Some(line.clone()), Some(line.clone()), line.clone());
    loop {
        match line.ask(Effect::Next) {
            Answer::Batch(source) => {
                let (range, mut work) = Batched::new(*source, level, records);
                if delivery.deliver(&range, &mut work, give_up)? == Delivered::GivenUp {
                    return Ok(());
                }
            }
            _ => delivery.commit_finished(),
        }
    }
}

/// A partition that is being taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaving {
    /// Which host gets it; none where another has it already.
    pub to: Option<usize>,
}

pub struct Host {
    coroutine: Coroutine<Answer, Effect, Result<()>>,
    /// The call that it stopped before; none when it has ended.
    pub pending: Option<Effect>,
    pub ownership: Arc<Ownership>,
    pub readings: BTreeMap<usize, Reading>,
    pub queue: VecDeque<SourceBatch>,
    /// The partition whose batch is in delivery.
    pub delivering: Option<usize>,
    pub leaving: BTreeMap<usize, Leaving>,
    /// The brokers have given its partitions away, and it does not know.
    pub is_lost: bool,
    pub give_up: Rc<Cell<bool>>,
    limits: BatchLimits,
    clock: Rc<Cell<Instant>>,
    assignments: u64,
    /// What the delivery under way has done and been answered.
    seen: u64,
}

impl Host {
    /// A host that has just been started; `rows` is how many records a batch of it has.
    pub fn start(level: Level, records: &Records, clock: &Rc<Cell<Instant>>, rows: u32) -> Self {
        let ownership = Arc::new(Ownership::default());
        let give_up = Rc::new(Cell::new(false));
        let (own, time, gives_up, records) =
            (ownership.clone(), clock.clone(), give_up.clone(), records.clone());
        let stack = DefaultStack::new(128 << 10).expect("memory for a stack");
        let body = move |yielder: &Yielder<Answer, Effect>, _| {
            let line = Line { yielder, ownership: own, clock: time };
            deliver(&line, level, &records, &|| gives_up.get())
        };
        let mut host = Host {
            coroutine: Coroutine::with_stack(stack, body),
            pending: None,
            ownership,
            readings: BTreeMap::new(),
            queue: VecDeque::new(),
            delivering: None,
            leaving: BTreeMap::new(),
            is_lost: false,
            give_up,
            limits: BatchLimits { rows, bytes: 1 << 20, linger_ms: 1000 },
            clock: clock.clone(),
            assignments: 0,
            seen: 0,
        };
        let _ = host.resume(Answer::Idle);
        host
    }

    /// Answers the pending call, and runs to the next. An error is the delivery's end by itself.
    pub fn resume(&mut self, answer: Answer) -> Result<()> {
        let mut hasher = rustc_hash::FxHasher::default();
        self.seen.hash(&mut hasher);
        self.pending.as_ref().map(Effect::untimed).hash(&mut hasher);
        match &answer {
            Answer::Batch(source) => {
                (source.batch.first, source.batch.last, source.recovered.is_some()).hash(&mut hasher);
                self.delivering = Some(source.batch.partition as usize);
            }
            Answer::Idle | Answer::Done => 0.hash(&mut hasher),
            Answer::Refused => 1.hash(&mut hasher),
            Answer::Failed(failure) => (failure.class, failure.code).hash(&mut hasher),
            Answer::Rows(rows) => rows.hash(&mut hasher),
            Answer::Session(name) => name.hash(&mut hasher),
        }
        self.seen = hasher.finish();
        match self.coroutine.resume(answer) {
            CoroutineResult::Yield(effect) => {
                if effect == Effect::Next {
                    (self.seen, self.delivering) = (0, None);
                }
                self.pending = Some(effect);
                Ok(())
            }
            CoroutineResult::Return(end) => {
                (self.pending, self.delivering) = (None, None);
                end
            }
        }
    }

    /// The partition as the host's code names it.
    pub fn name(partition: usize) -> Partition {
        thread_local! {
            static TOPIC: Arc<str> = "t".into();
        }
        (TOPIC.with(Arc::clone), partition as i32)
    }

    /// The group gives it a partition: it asks for the commit, and reads from there.
    pub fn assign(&mut self, world: &World, partition: usize) {
        let position = match &world.commits[partition] {
            Some((offset, metadata)) => Position::of_commit(*offset, metadata).expect("a seal of ours"),
            None => Position::first(0),
        };
        self.assignments += 1;
        let done = position.is_new.then_some(position.start);
        self.ownership.assign(Self::name(partition), self.assignments, done);
        let reading =
            Reading::new(Self::name(partition), self.assignments, position, Arc::default(), self.clock.get());
        self.readings.insert(partition, reading);
    }

    /// Takes the next record of a partition in.
    pub fn fetch(&mut self, partition: usize) {
        let now = self.clock.get();
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        let offset = reading.next();
        let record = Incoming { offset, timestamp_ms: None, key: None, value: Some(b"x"), headers: &[] };
        self.queue.extend(reading.take(&record, &self.limits, now).expect("offsets ascend"));
        self.queue.extend(reading.close_due(&self.limits, now, false));
    }

    /// Lets `linger` pass for a partition's open batch; at the end of the log, or in between.
    pub fn linger(&mut self, partition: usize, at_end: bool) {
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        let now = reading.ages_out(&self.limits).unwrap_or_else(|| self.clock.get());
        reading.at_end = at_end;
        self.queue.extend(reading.close_due(&self.limits, now, false));
    }

    /// The first step of a revocation.
    pub fn leave(&mut self, partition: usize, to: Option<usize>) {
        self.ownership.leave(&[Self::name(partition)]);
        self.leaving.insert(partition, Leaving { to });
    }

    /// The last step of a revocation: the position to commit, if there is one.
    pub fn gone(&mut self, partition: usize) -> Option<i64> {
        let done = self.ownership.gone(&[Self::name(partition)]);
        self.leaving.remove(&partition);
        self.readings.remove(&partition);
        self.queue.retain(|source| source.batch.partition as usize != partition);
        done.first().map(|(_, offset)| *offset)
    }

    /// Whether its next step would do anything.
    pub fn is_busy(&self) -> bool {
        match &self.pending {
            None => false,
            Some(Effect::Next) => !self.queue.is_empty() || !self.ownership.uncommitted().is_empty(),
            Some(_) => true,
        }
    }

    /// What makes its future, apart from the world's.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        (self.limits.rows, self.seen, self.delivering, &self.leaving).hash(state);
        self.pending.as_ref().map(Effect::untimed).hash(state);
        (self.is_lost, self.give_up.get()).hash(state);
        for (partition, reading) in &self.readings {
            let owned = self.ownership.state(&Self::name(*partition));
            (partition, reading.next(), reading.bytes(), reading.is_sealed(), owned).hash(state);
        }
        for source in &self.queue {
            let batch = &source.batch;
            let series = source.recovered.as_ref().map(|seal| seal.series.to_string());
            (batch.partition, batch.first, batch.last, series).hash(state);
        }
    }
}
