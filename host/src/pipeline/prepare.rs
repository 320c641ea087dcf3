//! From a batch of records to encoded rows: decode, transform, encode.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};

use super::Stop;
use super::targets::Targets;
use super::workers::Room;
use crate::chaos::{self, Bug};
use crate::clickhouse::block::{self, Values};
use crate::clickhouse::convert::Profile;
use crate::clickhouse::insert::Identity;
use crate::clickhouse::policy::Replaced;
use crate::clickhouse::table::{Binding, Table};
use crate::commit::{DIGEST_DIGITS, Seal};
use crate::config::Truncate;
use crate::dead_letter::Stage;
use crate::debezium::shape::Shapes;
use crate::debezium::{Decoded, Decoder, Op, Rejected};
use crate::error::Classify;
use crate::locked::locked;
use crate::metrics::Call;
use crate::source::SourceBatch;
use crate::source::kafka::ownership::Partition;
use crate::transform::Transform;
use crate::transform::run::{self, Plans, ShapeRows, Transformed};

/// What the cells that a batch's rows copy may take together, bytes. A transform may make a hundred rows of each
/// change, and copy one cell to each column of each of them.
const MAX_COPIED_BYTES: usize = 1 << 30;

/// What makes a batch's rows: the transform, and the tables as it knows them. Several preparers may have it in common.
pub(super) struct Maker {
    /// The beginning of the transform's digest.
    pub digest: String,
    /// The pin: all that decided the rows.
    pub pin: String,
    pub transform: Transform,
    pub targets: Arc<Targets>,
    truncate: Truncate,
    /// Whether it was said that rows of one change have one key.
    said_same_key: AtomicBool,
}

/// The topics of which it was said that they have got more partitions.
pub(super) type SaidGrown = Arc<Mutex<HashSet<Arc<str>>>>;

/// The stages that compute, with what they remember between batches.
pub(super) struct Preparer {
    decoder: Decoder,
    plans: Plans,
    /// Whose plans these are.
    maker: Arc<Maker>,
    said_grown: SaidGrown,
}

impl Maker {
    pub(super) fn new(transform: Transform, pin: String, targets: Arc<Targets>, truncate: Truncate) -> Self {
        let digest = transform.digest()[..DIGEST_DIGITS].to_owned();
        Maker { digest, pin, transform, targets, truncate, said_same_key: AtomicBool::new(false) }
    }

    /// Another transform in its place, with tables as that one knows them.
    pub(super) fn replaced(&self, transform: Transform, pin: String, targets: Arc<Targets>) -> Self {
        Maker::new(transform, pin, targets, self.truncate)
    }

    /// Whether `seal` is of this one. Older hosts wrote no pin.
    pub(super) fn has_sealed(&self, seal: &Seal) -> bool {
        match &seal.pin {
            Some(pin) => *pin == self.pin,
            None => seal.transform == self.digest,
        }
    }
}

/// Rows for one table, encoded.
pub(super) struct Part {
    pub table: Arc<Table>,
    pub binding: Arc<Binding>,
    pub rows: ShapeRows,
    /// The rows' identities, ascending.
    pub identities: Vec<Identity>,
    /// All rows as a `Native` block.
    pub body: Vec<u8>,
    /// The values in it that stand for others.
    pub replaced: Replaced,
}

/// A record that is going to the dead letters.
pub(super) struct Rejection {
    /// Index of the record in the batch.
    pub record: u32,
    pub stage: Stage,
    pub reason: String,
}

/// What became of the batch's records.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub kept: u64,
    pub filtered: u64,
    pub not_changes: u64,
    /// Rows that were left out because a later one of their change has the same key.
    pub same_key: u64,
    pub truncates_ignored: u64,
    /// Whether its topic has got more partitions, and this is the first batch with rows that have a key.
    pub grown: bool,
}

/// Rows before `offset` are to leave a table: the source emptied theirs.
pub(super) struct Emptied {
    pub table: Arc<Table>,
    pub offset: i64,
}

/// A batch that is ready to be sealed and inserted.
pub(super) struct Prepared {
    pub source: SourceBatch,
    pub decoded: Decoded,
    pub parts: Vec<Part>,
    /// What leaves the tables once the rows stand there, by ascending offset.
    pub emptied: Vec<Emptied>,
    pub rejections: Vec<Rejection>,
    pub counts: Counts,
    /// How the calls of the transform ended.
    pub calls: Vec<Call>,
    pub profile: Arc<Profile>,
    pub maker: Arc<Maker>,
    /// Whether another transform sealed the range, and is gone.
    pub by_another: bool,
    /// What it takes of the memory that all batches may have; none for one that is alone.
    pub room: Option<Room>,
}

impl Preparer {
    pub(super) fn new(maker: Arc<Maker>, decoder: Decoder, said_grown: SaidGrown) -> Self {
        Preparer { decoder, plans: Plans::default(), maker, said_grown }
    }

    /// Has another transform make the rows from here on, unless it is that one already. What was learned of the source
    /// stays.
    pub(super) fn work_for(&mut self, maker: &Arc<Maker>) {
        if !Arc::ptr_eq(&self.maker, maker) {
            (self.maker, self.plans) = (maker.clone(), Plans::default());
        }
    }

    /// The shapes that it has met, and others of its pipeline.
    pub(super) fn shapes(&self) -> &Shapes {
        self.decoder.shapes()
    }

    /// Whose rows it makes.
    pub(super) fn maker(&self) -> &Arc<Maker> {
        &self.maker
    }

    /// None: given up while waiting for the schema registry, the target, or room for the transform.
    pub(super) fn prepare(&mut self, mut source: SourceBatch, stop: &Stop) -> Result<Option<Prepared>> {
        if self.decoder.learn(&source.batch, &|| stop.give_up())?.is_none() {
            return Ok(None);
        }
        let share = self.maker.transform.sandbox().share().clone();
        let turn = share.turn();
        let decoded = self.decoder.decode(&mut source.batch);
        drop(turn);
        let shape = |id| self.decoder.shape(id).clone();
        let give_up = || stop.give_up();
        let transformed =
            run::run(&self.maker.transform, &mut self.plans, &source.batch, &decoded, shape, &give_up)?;
        let Some(Transformed { rows, kept, filtered, rejected, calls }) = transformed else {
            return Ok(None);
        };
        let mut rejections = Vec::new();
        reject(&mut rejections, Stage::Decode, decoded.rejected.clone());
        reject(&mut rejections, Stage::Transform, rejected);
        let not_changes = decoded.not_changes.total();
        let mut counts = Counts { kept, filtered: filtered + not_changes, not_changes, ..Counts::default() };

        let targets = &self.maker.targets;
        let mut refused: HashMap<u32, String> = HashMap::new();
        let refusals = rows.iter().map(|rows| targets.refusal(rows)).collect();
        let taken = without_refused(rows, refusals, &mut refused);
        let epoch = source.batch.epoch;
        let Some(refusals) = targets.ensure(&taken, epoch, stop)? else { return Ok(None) };
        let taken = without_refused(taken, refusals, &mut refused);
        // Only now: a table that the batch itself makes is one of those that it may empty.
        let emptied = self.emptied(&source, &decoded, &mut counts, stop)?;
        let Some(emptied) = emptied else { return Ok(None) };
        counts.grown = taken.iter().any(ShapeRows::is_keyed) && self.say_grown(&source);
        let targets = &self.maker.targets;
        let profile = targets.profile();
        let mut parts = Vec::with_capacity(taken.len());
        for rows in taken {
            let Some((table, binding)) = targets.bound(&rows, epoch, stop)? else { return Ok(None) };
            let replaced = Replaced::default();
            parts.push(Part { table, binding, rows, identities: vec![], body: vec![], replaced });
        }
        let (maker, by_another) = (self.maker.clone(), false);
        let _turn = share.turn();
        let mut prepared = Prepared {
            source,
            decoded,
            parts,
            emptied,
            rejections,
            counts,
            calls,
            profile,
            maker,
            by_another,
            room: None,
        };
        let digest = &self.maker.digest;
        prepared.refuse_too_large(digest, &mut refused);
        let same_key = prepared.keep_last_of_key(digest);
        prepared.counts.same_key = same_key;
        if same_key > 0 && !self.maker.said_same_key.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                rows = same_key,
                "the transform makes several rows of one change with the same key: the last one counts"
            );
        }
        let unfit = prepared.encode(digest, refused);
        prepared.counts.kept -= unfit.len() as u64;
        if chaos::has(Bug::RowVanishes) {
            prepared.parts.iter_mut().take(1).for_each(|part| _ = part.identities.pop());
        }
        reject(&mut prepared.rejections, Stage::Encode, unfit);
        prepared.rejections.sort_by_key(|rejection| rejection.record);
        chaos::point("prepared");
        Ok(Some(prepared))
    }
}

impl Preparer {
    /// Says once that a topic of rows with a key has got more partitions. True: now.
    fn say_grown(&self, source: &SourceBatch) -> bool {
        let SourceBatch { batch, incarnation, .. } = source;
        let Some(before) = incarnation.grown_from else { return false };
        if !locked(&self.said_grown).insert(batch.topic.clone()) {
            return false;
        }
        tracing::warn!(
            topic = &*batch.topic,
            before,
            now = incarnation.partitions,
            "the topic has got more partitions, and feeds rows with a key: of a key whose changes are in two of them, \
             the newest row is not known"
        );
        true
    }

    /// What the truncates of a batch take out of which tables, as far as the configuration lets them. None:
    /// given up.
    ///
    /// # Errors
    /// A truncate of a table that feeds outputs with a key, where the configuration says stop.
    fn emptied(
        &self,
        source: &SourceBatch,
        decoded: &Decoded,
        counts: &mut Counts,
        stop: &Stop,
    ) -> Result<Option<Vec<Emptied>>> {
        let mut emptied = Vec::new();
        let truncates = decoded.changes.iter().filter(|change| change.op == Op::Truncate);
        for (change, shape) in truncates.map(|change| (change, self.decoder.shape(change.shape))) {
            let known = self.plans.keyed_targets(shape);
            let Some(tables) = self.maker.targets.keyed(shape, &known, stop)? else { return Ok(None) };
            if known.is_empty() && tables.is_empty() {
                continue; // it feeds logs only
            }
            let offset = source.batch.records[change.record as usize].offset;
            let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
            let place = format!("{}/{}@{offset}", source.batch.topic, source.batch.partition);
            match self.maker.truncate {
                Truncate::Stop => {
                    let what = format!(
                        "the source emptied the table {} ({place}), which feeds rows with a key in {}",
                        shape.table,
                        if names.is_empty() { "its target".to_owned() } else { names.join(", ") },
                    );
                    return Err(anyhow!(what)).usage().help(
                        "nothing of it was committed: say what is to happen with `truncate` (--truncate): `truncate` \
                         removes the rows that came before, `ignore` keeps them",
                    );
                }
                Truncate::Truncate => {
                    emptied.extend(tables.into_iter().map(|table| Emptied { table, offset }));
                }
                Truncate::Ignore => {
                    counts.truncates_ignored += 1;
                    tracing::warn!("the source emptied the table {} ({place}): ignored", shape.table);
                }
            }
        }
        Ok(Some(emptied))
    }
}

/// Takes out the rows for which there is a refusal; it is the reason of all of their changes.
fn without_refused(
    rows: Vec<ShapeRows>,
    refusals: Vec<Option<String>>,
    refused: &mut HashMap<u32, String>,
) -> Vec<ShapeRows> {
    let mut taken = Vec::with_capacity(rows.len());
    for (rows, refusal) in rows.into_iter().zip(refusals) {
        match refusal {
            None => taken.push(rows),
            Some(why) => refused.extend(rows.changes.iter().map(|change| (*change, why.clone()))),
        }
    }
    taken
}

fn reject(rejections: &mut Vec<Rejection>, stage: Stage, rejected: Vec<Rejected>) {
    let all = rejected.into_iter().map(|Rejected { record, reason }| Rejection { record, stage, reason });
    rejections.extend(all);
}

impl Prepared {
    /// Whether there is anything to write.
    pub(super) fn has_work(&self) -> bool {
        !(self.parts.is_empty() && self.rejections.is_empty() && self.emptied.is_empty())
    }

    /// The records' topic and partition.
    pub(super) fn partition(&self) -> Partition {
        (self.source.batch.topic.clone(), self.source.batch.partition)
    }

    /// How many rows the batch makes.
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.identities.len() as u64).sum()
    }

    /// The identities of all rows that the batch makes in a table; ascending.
    pub(super) fn identities_in(&self, table: &str) -> Vec<Identity> {
        let parts = self.parts.iter().filter(|part| part.table.name == table);
        let mut all: Vec<Identity> = parts.flat_map(|part| part.identities.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// What the rows' values come from.
    pub(super) fn values<'a>(&'a self, transform: &'a str) -> Values<'a> {
        Values { batch: &self.source.batch, decoded: &self.decoded, transform, profile: &self.profile }
    }

    /// Takes out, as refused, the largest changes where all rows together would take too much memory.
    fn refuse_too_large(&mut self, transform: &str, refused: &mut HashMap<u32, String>) {
        let parts: Vec<_> = self.parts.iter().map(|part| (&*part.binding, &part.rows)).collect();
        let large = block::too_large(&self.values(transform), &parts, MAX_COPIED_BYTES);
        if large.is_empty() {
            return;
        }
        for part in &mut self.parts {
            part.rows.retain(|change| !large.contains(&change));
        }
        let why = "the rows of its batch copy more than 1 GiB, and its own have the largest part in that: let the \
                   transform make fewer rows or columns of large values";
        refused.extend(large.into_iter().map(|change| (change, why.to_owned())));
    }

    /// Takes out rows of outputs with a key after which the same change has one of the same key: both would
    /// have one version, and nothing would say which is newer. Returns how many they are.
    fn keep_last_of_key(&mut self, transform: &str) -> u64 {
        let mut parts = std::mem::take(&mut self.parts);
        let mut dropped = 0;
        for part in parts.iter_mut().filter(|part| part.rows.is_keyed()) {
            let rows = &part.rows;
            let mut several = false;
            for pair in rows.changes.windows(2) {
                several |= pair[0] == pair[1];
            }
            if !several {
                continue;
            }
            let key = part.binding.of_key();
            let values = self.values(transform);
            let encoded = |row: usize| block::encode(&values, &key, rows, &[row]);
            let mut kept = Vec::with_capacity(rows.changes.len());
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
            // From the last row back, change by change.
            for row in (0..rows.changes.len()).rev() {
                let alone = |at: Option<usize>| {
                    at.and_then(|at| rows.changes.get(at)).is_none_or(|change| *change != rows.changes[row])
                };
                if alone(Some(row + 1)) {
                    seen.clear();
                    if alone(row.checked_sub(1)) {
                        kept.push(row);
                        continue;
                    }
                }
                // A key that cannot be written rejects the change, whichever of its rows it is in.
                let encoded = encoded(row);
                if !encoded.unfit.is_empty() || seen.insert(encoded.body) {
                    kept.push(row);
                }
            }
            kept.reverse();
            dropped += (rows.changes.len() - kept.len()) as u64;
            part.rows.pick(&kept);
        }
        self.parts = parts;
        dropped
    }

    /// Encodes all parts. A change that is `refused`, or of which a row does not fit its table, loses all its
    /// rows, in every part, and is returned with the reason.
    fn encode(&mut self, transform: &str, refused: HashMap<u32, String>) -> Vec<Rejected> {
        let record = |change: u32| self.decoded.changes[change as usize].record;
        let mut gone: HashSet<u32> = refused.keys().copied().collect();
        let mut unfit: Vec<Rejected> =
            refused.into_iter().map(|(change, reason)| Rejected { record: record(change), reason }).collect();
        let mut stale: Vec<bool> = vec![true; self.parts.len()];
        let mut parts = std::mem::take(&mut self.parts);
        while stale.contains(&true) {
            let mut more: HashSet<u32> = HashSet::new();
            for (part, stale) in parts.iter_mut().zip(&mut stale).filter(|(_, stale)| **stale) {
                part.rows.retain(|change| !gone.contains(&change));
                let all: Vec<usize> = (0..part.rows.changes.len()).collect();
                let encoded = block::encode(&self.values(transform), &part.binding, &part.rows, &all);
                part.body = encoded.body;
                part.replaced = encoded.replaced;
                *stale = false;
                for (row, reason) in encoded.unfit {
                    let change = part.rows.changes[row];
                    if more.insert(change) && !gone.contains(&change) {
                        unfit.push(Rejected { record: self.decoded.changes[change as usize].record, reason });
                    }
                }
            }
            for (part, stale) in parts.iter().zip(&mut stale) {
                *stale = part.rows.changes.iter().any(|change| more.contains(change));
            }
            gone.extend(more);
        }
        parts.retain(|part| !part.rows.changes.is_empty());
        for part in &mut parts {
            let offset = |change: u32| {
                let record = self.decoded.changes[change as usize].record;
                self.source.batch.records[record as usize].offset
            };
            let rows = part.rows.changes.iter().zip(&part.rows.seqs);
            part.identities = rows.map(|(change, seq)| (offset(*change), *seq)).collect();
        }
        self.parts = parts;
        unfit
    }
}
