//! From a batch of records to encoded rows: decode, transform, encode.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::targets::Targets;
use super::{Stop, locked};
use crate::clickhouse::block::{self, Values};
use crate::clickhouse::convert::Profile;
use crate::clickhouse::insert::Identity;
use crate::clickhouse::policy::Replaced;
use crate::clickhouse::table::{Binding, Table};
use crate::commit::DIGEST_DIGITS;
use crate::dead_letter::Stage;
use crate::debezium::{Decoded, Decoder, Rejected};
use crate::source::SourceBatch;
use crate::source::kafka::ownership::Partition;
use crate::transform::Transform;
use crate::transform::run::{self, Plans, ShapeRows, Transformed};

/// The stages that compute, with what they remember between batches.
pub(super) struct Preparer {
    transform: Transform,
    decoder: Decoder,
    plans: Plans,
    targets: Arc<Mutex<Targets>>,
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
}

/// A batch that is ready to be sealed and inserted.
pub(super) struct Prepared {
    pub source: SourceBatch,
    pub decoded: Decoded,
    pub parts: Vec<Part>,
    pub rejections: Vec<Rejection>,
    pub counts: Counts,
    pub profile: Arc<Profile>,
}

impl Preparer {
    pub(super) fn new(transform: Transform, targets: Arc<Mutex<Targets>>) -> Self {
        Preparer { transform, decoder: Decoder::new(), plans: Plans::default(), targets }
    }

    /// None: given up while waiting for the target.
    pub(super) fn prepare(&mut self, mut source: SourceBatch, stop: &Stop) -> Result<Option<Prepared>> {
        let decoded = self.decoder.decode(&mut source.batch);
        let shape = |id| self.decoder.shape(id).clone();
        let Transformed { rows, kept, filtered, rejected } =
            run::run(&self.transform, &mut self.plans, &source.batch, &decoded, shape);
        let mut rejections = Vec::new();
        reject(&mut rejections, Stage::Decode, decoded.rejected.clone());
        reject(&mut rejections, Stage::Transform, rejected);
        let not_changes = decoded.not_changes.total();
        let counts = Counts { kept, filtered: filtered + not_changes, not_changes };

        let mut targets = locked(&self.targets);
        let mut refused: HashMap<u32, String> = HashMap::new();
        let (rows, nameless): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|rows| targets.refusal(rows).is_none());
        for rows in nameless {
            let why = targets.refusal(&rows).unwrap_or_default();
            refused.extend(rows.changes.iter().map(|change| (*change, why.clone())));
        }
        if targets.ensure(&rows, stop)?.is_none() {
            return Ok(None);
        }
        let profile = targets.profile();
        let mut parts = Vec::with_capacity(rows.len());
        for rows in rows {
            let (table, binding) = targets.bound(&rows)?;
            parts.push(Part {
                table,
                binding,
                rows,
                identities: vec![],
                body: vec![],
                replaced: Replaced::default(),
            });
        }
        drop(targets);
        let mut prepared = Prepared { source, decoded, parts, rejections, counts, profile };
        let unfit = prepared.encode(&self.transform.digest()[..DIGEST_DIGITS], refused);
        prepared.counts.kept -= unfit.len() as u64;
        reject(&mut prepared.rejections, Stage::Encode, unfit);
        prepared.rejections.sort_by_key(|rejection| rejection.record);
        Ok(Some(prepared))
    }
}

fn reject(rejections: &mut Vec<Rejection>, stage: Stage, rejected: Vec<Rejected>) {
    let all = rejected.into_iter().map(|Rejected { record, reason }| Rejection { record, stage, reason });
    rejections.extend(all);
}

impl Prepared {
    /// Whether there is anything to write.
    pub(super) fn has_work(&self) -> bool {
        !(self.parts.is_empty() && self.rejections.is_empty())
    }

    /// The records' topic and partition.
    pub(super) fn partition(&self) -> Partition {
        (self.source.batch.topic.clone(), self.source.batch.partition)
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
