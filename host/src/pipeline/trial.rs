//! Trying a transform on records that a pipeline has had: what it would make of them, and nothing of it is written.
//!
//! The records pass the same stages as those of a run with `--input` and `--output`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;

use super::prepare::Prepared;
use super::{Stop, pinned};
use crate::batch::{Batch, Incoming, IncomingHeader, OpenBatch};
use crate::config::Settings;
use crate::error::Classify;
use crate::output;
use crate::source::SourceBatch;
use crate::transform::Transform;

/// Records that are kept of a batch at most, and their bytes.
const MAX_RECORDS: usize = 100;
const MAX_BYTES: usize = 1 << 20;
/// How often records are kept at most.
const EVERY: Duration = Duration::from_secs(1);
/// Rows and rejections that a trial shows at most; the rest is counted.
const MAX_SHOWN: usize = 1_000;

/// The last records of a batch, as they came.
#[derive(Clone)]
pub struct Captured {
    batch: Batch,
    at: Instant,
}

impl Captured {
    /// The last records of a batch, where those `before` are old enough. None: they are not, or the last record alone
    /// is too large.
    pub(super) fn of(batch: &Batch, before: Option<&Captured>) -> Option<Self> {
        if before.is_some_and(|before| before.at.elapsed() < EVERY) {
            return None;
        }
        let now = Instant::now();
        let bytes = |at: usize| {
            let record = &batch.records[at];
            let headers = batch.headers_of(at as u32).filter_map(|(_, value)| value).map(<[u8]>::len);
            let spans = record.key.iter().chain(&record.value).map(|span| span.range().len());
            spans.chain(headers).sum::<usize>()
        };
        let (mut first, mut total) = (batch.records.len(), 0);
        while first > 0 && batch.records.len() - first < MAX_RECORDS && total + bytes(first - 1) <= MAX_BYTES
        {
            first -= 1;
            total += bytes(first);
        }
        let begin = batch.records.get(first)?.offset;
        let mut open = OpenBatch::new(batch.topic.clone(), batch.partition, begin, None, now);
        for (at, record) in batch.records.iter().enumerate().skip(first) {
            let names = batch.headers.iter().filter(|header| header.record as usize == at);
            let headers: Vec<IncomingHeader<'_>> =
                names.map(|header| (&header.name, header.value.map(|span| span.of(&batch.arena)))).collect();
            let part = |span: Option<crate::batch::Span>| span.map(|span| span.of(&batch.arena));
            let incoming = Incoming {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: part(record.key),
                value: part(record.value),
                headers: &headers,
            };
            open.push(&incoming);
        }
        let mut batch_of = open.close();
        batch_of.epoch = batch.epoch;
        Some(Captured { batch: batch_of, at: now })
    }
}

/// A record of which a transform makes no row, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rejected {
    /// Its offset.
    pub offset: i64,
    /// The stage that rejects it.
    pub stage: &'static str,
    /// Why.
    pub reason: String,
}

/// What a transform makes of records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trial {
    /// The records' topic.
    pub topic: String,
    /// The records' partition.
    pub partition: i32,
    /// Their first and last offset.
    pub offsets: (i64, i64),
    /// How many there are.
    pub records: u64,
    /// Records that have rows.
    pub kept: u64,
    /// Records that rightly have none.
    pub filtered: u64,
    /// The rows, as JSON; of very many only the first.
    pub rows: Vec<String>,
    /// Records that cannot be processed; of very many only the first.
    pub rejected: Vec<Rejected>,
    /// Rows and rejected records that are not shown.
    pub left_out: u64,
}

/// Passes records through a transform. Values of rows are shown as they would be inserted; `settings` are those of
/// the pipeline, with the transform's parameters.
///
/// # Errors
/// Where not even one record could be tried: the schema registry does not answer, a plan that cannot be carried out.
pub(super) fn trial(
    settings: &Settings,
    transform: Transform,
    pin: &str,
    captured: &Captured,
    runtime: &Handle,
) -> Result<Trial> {
    let mut preparer = pinned::lone(settings, pinned::maker(settings, transform, pin, None), runtime)?;
    let (recovered, written_before, incarnation) = (None, false, Arc::default());
    let batch = captured.batch.clone();
    let source = SourceBatch { batch, assignment: 0, recovered, incarnation, written_before };
    let prepared = preparer.prepare(source, &Stop::soon())?;
    let prepared =
        prepared.ok_or_else(|| anyhow!("the schema registry did not answer in time")).environment()?;
    told(&prepared)
}

fn told(prepared: &Prepared) -> Result<Trial> {
    let batch = &prepared.source.batch;
    let mut trial = Trial {
        topic: batch.topic.to_string(),
        partition: batch.partition,
        offsets: (batch.first, batch.last),
        records: batch.records.len() as u64,
        kept: prepared.counts.kept,
        filtered: prepared.counts.filtered,
        ..Trial::default()
    };
    for part in &prepared.parts {
        let mut lines = Vec::new();
        output::write_rows(&mut lines, &part.table.name, &part.body, &part.binding.of_leaving())?;
        let lines = String::from_utf8(lines).context("rows are JSON, and that is UTF-8")?;
        trial.rows.extend(lines.lines().map(str::to_owned));
    }
    trial.rejected = prepared
        .rejections
        .iter()
        .map(|rejection| Rejected {
            offset: batch.records[rejection.record as usize].offset,
            stage: rejection.stage.name(),
            reason: rejection.reason.clone(),
        })
        .collect();
    let beyond = |shown: usize| shown.saturating_sub(MAX_SHOWN) as u64;
    trial.left_out = beyond(trial.rows.len()) + beyond(trial.rejected.len());
    trial.rows.truncate(MAX_SHOWN);
    trial.rejected.truncate(MAX_SHOWN);
    Ok(trial)
}
