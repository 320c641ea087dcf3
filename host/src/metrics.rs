//! What pipelines did, counted where it can be asked for while they run.
//!
//! Each pipeline records into its own [`Recorder`], once a batch, a call or an insert, and never once a record:
//! recording adds to numbers that are there, and allocates only where a table or a partition is new. [`Metrics`]
//! knows all recorders and shows them ([`text`]); what a pipeline recorded leaves with its recorder.

pub mod histogram;
pub mod measured;
pub mod text;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use self::histogram::{Seconds, Sizes};
use crate::dead_letter::Stage;
use crate::locked::locked;

/// Series that one family may have, over all pipelines; what is beyond is added up as `other`. A thousand is what
/// a small Prometheus takes without noticing, and more than a person reads.
pub const MAX_SERIES: usize = 1000;

/// What stands for a label's value beyond [`MAX_SERIES`].
pub const OTHER: &str = "other";

/// The stages at which a record can be rejected, in the order of their counters.
const STAGES: [Stage; 4] = [Stage::Decode, Stage::Transform, Stage::Encode, Stage::Insert];

/// How a call of a transform ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that has rows.
    Rows,
    /// With an answer that has none.
    Filtered,
    /// With an error of the transform's own, or an answer that breaks the contract.
    Error,
    /// By a trap, or at a limit.
    Trap,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::Rows, Outcome::Filtered, Outcome::Error, Outcome::Trap];

    /// As it stands in the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Rows => "rows",
            Outcome::Filtered => "filtered",
            Outcome::Error => "error",
            Outcome::Trap => "trap",
        }
    }
}

/// A call of a transform.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used.
    pub fuel: u64,
    /// How long it took.
    pub took: Duration,
}

/// How an attempt at an insert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The server acknowledged it.
    Ok,
    /// It did not, and the attempt is repeated or split.
    Failed,
}

impl Attempt {
    const ALL: [Attempt; 2] = [Attempt::Ok, Attempt::Failed];

    /// As it stands in the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Attempt::Ok => "ok",
            Attempt::Failed => "failed",
        }
    }
}

/// How a change of a pipeline's transform ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The new one makes the rows.
    Done,
    /// The old one stays.
    Refused,
}

impl Swap {
    const ALL: [Swap; 2] = [Swap::Done, Swap::Refused];

    /// As it stands in the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Swap::Done => "done",
            Swap::Refused => "refused",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was added by now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of a batch that is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Changes of which at least one row was made.
    pub kept: u64,
    /// Changes that the transform filtered.
    pub filtered: u64,
    /// Records that are no changes.
    pub not_changes: u64,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The first offset that is not committed.
    pub committed: Option<i64>,
    /// The offset after the partition's last record, as far as it was seen.
    pub end: Option<i64>,
}

impl Position {
    /// Records that are not committed.
    pub fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

/// All that pipelines recorded. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    recorders: Mutex<Vec<Weak<Recorder>>>,
    limits: Limits,
}

/// How many series of each family whose labels come from outside are taken.
#[derive(Debug, Default)]
struct Limits {
    pipelines: Arc<AtomicUsize>,
    tables: Arc<AtomicUsize>,
    partitions: Arc<AtomicUsize>,
}

/// A place among [`MAX_SERIES`], given back when it is dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Slot> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        let took = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        took.is_ok().then(|| Slot(taken.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Where the pipeline `name` of `tenant` records. Its series are there as long as the recorder is.
    pub fn recorder(&self, tenant: &str, name: &str) -> Arc<Recorder> {
        let limits = &self.shared.limits;
        // The pipeline's label stands beside another of up to four values.
        let slot = Slot::take(&limits.pipelines, MAX_SERIES / Outcome::ALL.len());
        let recorder = Arc::new(Recorder {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            slot,
            tables: Labelled::new(limits.tables.clone()),
            partitions: Labelled::new(limits.partitions.clone()),
            ..Recorder::default()
        });
        let mut recorders = locked(&self.shared.recorders);
        recorders.retain(|known| known.strong_count() > 0);
        recorders.push(Arc::downgrade(&recorder));
        recorder
    }

    /// The recorders of the pipelines that there are.
    fn recorders(&self) -> Vec<Arc<Recorder>> {
        locked(&self.shared.recorders).iter().filter_map(Weak::upgrade).collect()
    }
}

/// What one pipeline did.
#[derive(Debug, Default)]
pub struct Recorder {
    tenant: String,
    name: String,
    slot: Option<Slot>,
    received: Counter,
    received_bytes: Counter,
    kept: Counter,
    filtered: Counter,
    not_changes: Counter,
    rejected: [Counter; STAGES.len()],
    calls: [Counter; Outcome::ALL.len()],
    fuel: Counter,
    call_seconds: Seconds,
    budget_wait_seconds: Seconds,
    inserts: [Counter; Attempt::ALL.len()],
    insert_seconds: Seconds,
    landed_rows: Sizes,
    insert_bytes: Sizes,
    lag_seconds: Seconds,
    swaps: [Counter; Swap::ALL.len()],
    tables: Labelled<String, Counter>,
    partitions: Labelled<(Arc<str>, i32), Mutex<Position>>,
}

impl Recorder {
    /// Records of a batch came in, with the bytes of their keys and values.
    pub fn received(&self, records: u64, bytes: u64) {
        self.received.add(records);
        self.received_bytes.add(bytes);
    }

    /// A call of the transform ended.
    pub fn called(&self, call: &Call) {
        self.calls[call.outcome as usize].add(1);
        self.fuel.add(call.fuel);
        self.call_seconds.record(call.took.as_secs_f64());
    }

    /// A batch waited so long for the tenant's budget.
    pub fn waited_for_budget(&self, waited: Duration) {
        self.budget_wait_seconds.record(waited.as_secs_f64());
    }

    /// An attempt at an insert ended.
    pub fn inserted(&self, attempt: Attempt, bytes: u64, took: Duration) {
        self.inserts[attempt as usize].add(1);
        self.insert_seconds.record(took.as_secs_f64());
        self.insert_bytes.record(bytes as f64);
    }

    /// A batch is done.
    pub fn done(&self, done: Done) {
        self.kept.add(done.kept);
        self.filtered.add(done.filtered);
        self.not_changes.add(done.not_changes);
    }

    /// A record of a batch that is done went to the dead letters.
    pub fn rejected(&self, stage: Stage) {
        self.rejected[stage as usize].add(1);
    }

    /// Rows of a batch stand in a table.
    pub fn landed(&self, table: &str, rows: u64) {
        self.landed_rows.record(rows as f64);
        self.tables.with(table, str::to_owned, |counter| counter.add(rows));
    }

    /// Rows of a change stand in their tables, this long after the source made it.
    pub fn lagged(&self, behind: Duration) {
        self.lag_seconds.record(behind.as_secs_f64());
    }

    /// A change of the transform was asked for, and ended.
    pub fn swapped(&self, swap: Swap) {
        self.swaps[swap as usize].add(1);
    }

    /// The partitions that are read here stand so; others are read elsewhere, or by nobody.
    pub fn positions_are(&self, positions: Vec<(Arc<str>, i32, Position)>) {
        let read = positions.iter().map(|(topic, partition, _)| (topic.clone(), *partition));
        self.partitions.keep(&read.collect());
        for (topic, partition, position) in positions {
            self.partitions.with(&(topic, partition), Clone::clone, |known| *locked(known) = position);
        }
    }

    /// The partitions whose positions are known, in their order.
    pub fn positions(&self) -> Vec<(Arc<str>, i32, Position)> {
        let mut all = Vec::new();
        self.partitions.each(|place, position| {
            if let Some((topic, partition)) = place {
                all.push((topic.clone(), *partition, *locked(position)));
            }
        });
        all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        all
    }

    /// Records that are not committed, over all partitions; none where no partition is known.
    pub fn lag(&self) -> Option<i64> {
        let positions = self.positions();
        let lags: Vec<i64> = positions.iter().filter_map(|(.., position)| position.lag()).collect();
        (!lags.is_empty()).then(|| lags.iter().sum())
    }

    /// The counters as they stand.
    pub fn counts(&self) -> Counts {
        let rejected = self.rejected.iter().map(Counter::get).sum();
        let mut rows = 0;
        self.tables.each(|_, counter| rows += counter.get());
        Counts {
            received: self.received.get(),
            kept: self.kept.get(),
            filtered: self.filtered.get() + self.not_changes.get(),
            rejected,
            rows,
        }
    }
}

/// The counters of a pipeline since it started.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct Counts {
    /// Records that came in; a batch that is repeated comes in again.
    pub received: u64,
    /// Changes of which at least one row was made.
    pub kept: u64,
    /// Records of which no row was made, and rightly so.
    pub filtered: u64,
    /// Records that went to the dead letters.
    pub rejected: u64,
    /// Rows that stand in tables.
    pub rows: u64,
}

/// Numbers by a label whose values come from outside, as many as there is room for.
#[derive(Debug, Default)]
struct Labelled<K, V> {
    taken: Arc<AtomicUsize>,
    named: Mutex<HashMap<K, (V, Slot)>>,
    /// What has no place of its own.
    other: V,
}

impl<K: Eq + Hash, V: Default> Labelled<K, V> {
    fn new(taken: Arc<AtomicUsize>) -> Self {
        Self { taken, named: Mutex::default(), other: V::default() }
    }

    fn with<Q: Eq + Hash + ?Sized>(&self, key: &Q, own: impl FnOnce(&Q) -> K, change: impl FnOnce(&V))
    where
        K: std::borrow::Borrow<Q>,
    {
        let mut named = locked(&self.named);
        if let Some((value, _)) = named.get(key) {
            return change(value);
        }
        match Slot::take(&self.taken, MAX_SERIES) {
            Some(slot) => change(&named.entry(own(key)).or_insert((V::default(), slot)).0),
            None => change(&self.other),
        }
    }

    fn keep(&self, keys: &HashSet<K>) {
        locked(&self.named).retain(|key, _| keys.contains(key));
    }

    /// All of them; without a key: what has no place of its own.
    fn each(&self, mut look: impl FnMut(Option<&K>, &V)) {
        for (key, (value, _)) in locked(&self.named).iter() {
            look(Some(key), value);
        }
        look(None, &self.other);
    }
}
