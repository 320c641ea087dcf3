//! Shadow mode: another transform runs beside the one that runs, on the same batches, and its rows are compared and not
//! written.
//!
//! It has a thread of its own and takes one batch at a time; batches that come while it is busy are counted and passed
//! over. So neither what it takes nor what it does wrong touches the pipeline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tracing::Span;

use super::prepare::{Part, Prepared, Preparer};
use super::{Stop, locked};
use crate::batch::Batch;
use crate::clickhouse::rows::read_block;
use crate::error::Classify;
use crate::source::SourceBatch;

/// Differences that are kept, the first ones.
const MAX_DIFFERENCES: usize = 20;
/// The column that differs with each transform.
const MADE_BY: &str = "_transform";

/// How a row of the one differs from that of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the transform that runs makes it.
    OnlyLive,
    /// Only the shadow makes it.
    OnlyShadow,
    /// Both make it, with other values.
    Different,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// How.
    pub kind: Kind,
    /// The record's topic.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The row's place among those of its record.
    pub seq: u16,
    /// The table.
    pub table: String,
    /// The columns that differ, where both make the row.
    pub columns: Vec<String>,
    /// What they hold by the transform that runs; none unless the configuration says `log_values`.
    pub live: Option<String>,
    /// What they hold by the shadow; the same.
    pub shadow: Option<String>,
}

/// What a shadow came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// SHA-256 of the shadow's component, in hexadecimal.
    pub digest: String,
    /// Its pin.
    pub pin: String,
    /// Batches that were compared.
    pub batches: u64,
    /// Batches that came while it was busy.
    pub skipped: u64,
    /// Rows that both make alike.
    pub same: u64,
    /// Rows that only the transform that runs makes.
    pub only_live: u64,
    /// Rows that only the shadow makes.
    pub only_shadow: u64,
    /// Rows that both make, with other values.
    pub different: u64,
    /// Records that the shadow rejects.
    pub rejected: u64,
    /// Why it rejects the first of them.
    pub rejected_first: Option<String>,
    /// The first rows that differ.
    pub differences: Vec<Difference>,
    /// Why it takes no more batches, where it does not.
    pub ended: Option<String>,
}

/// A shadow at work. It ends when this is dropped.
pub(super) struct Shadow {
    work: SyncSender<Work>,
    /// Whether it has a batch.
    busy: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
}

/// A batch, with the rows that the transform that runs makes of it.
struct Work {
    batch: Batch,
    live: Vec<Encoded>,
}

/// The rows for one table.
struct Encoded {
    table: String,
    /// Offset and place of each row.
    identities: Vec<(i64, u16)>,
    body: Vec<u8>,
}

impl Encoded {
    fn of(part: &Part) -> Self {
        let (table, identities) = (part.table.name.clone(), part.identities.clone());
        Encoded { table, identities, body: part.body.clone() }
    }
}

impl Shadow {
    /// Starts one. `show_values`: whether differences tell values.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(super) fn start(preparer: Preparer, digest: String, show_values: bool) -> Result<Self> {
        let pin = preparer.maker().pin.clone();
        let report = Arc::new(Mutex::new(Report { digest, pin, ..Report::default() }));
        let (work, batches) = sync_channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let shading = Shading { preparer, report: report.clone(), busy: busy.clone(), show_values };
        // What it and its transform log is the pipeline's.
        let of = Span::current();
        let thread = thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            let _in = of.entered();
            shading.run(&batches);
        });
        thread.context("starting the thread of the shadow").environment()?;
        Ok(Shadow { work, busy, report })
    }

    /// What it came to so far.
    pub(super) fn report(&self) -> Report {
        locked(&self.report).clone()
    }

    /// Gives it a batch, unless it is busy.
    pub(super) fn offer(&self, prepared: &Prepared) {
        if self.busy.swap(true, Ordering::AcqRel) {
            locked(&self.report).skipped += 1;
            return;
        }
        let live = prepared.parts.iter().map(Encoded::of).collect();
        let work = Work { batch: prepared.source.batch.clone(), live };
        // One that has ended has said so in the report, and stays busy.
        let _ = self.work.try_send(work);
    }
}

/// The shadow's own side.
struct Shading {
    preparer: Preparer,
    report: Arc<Mutex<Report>>,
    busy: Arc<AtomicBool>,
    show_values: bool,
}

impl Shading {
    fn run(mut self, batches: &Receiver<Work>) {
        for work in batches {
            if let Err(error) = self.compare(work) {
                tracing::warn!(pin = self.preparer.maker().pin, "the shadow has ended: {error:#}");
                locked(&self.report).ended = Some(format!("{error:#}"));
                return;
            }
            self.busy.store(false, Ordering::Release);
        }
    }

    fn compare(&mut self, work: Work) -> Result<()> {
        let (topic, partition) = (work.batch.topic.clone(), work.batch.partition);
        let (recovered, written_before, incarnation) = (None, false, Arc::default());
        let batch = work.batch;
        let source = SourceBatch { batch, assignment: 0, recovered, incarnation, written_before };
        let prepared = self.preparer.prepare(source, &Stop::soon())?;
        let prepared = prepared.ok_or_else(|| anyhow!("ClickHouse or the schema registry did not answer"))?;
        let shadow: Vec<Encoded> = prepared.parts.iter().map(Encoded::of).collect();
        let mut comparison = Comparison::default();
        comparison.rows(&read(&work.live)?, &read(&shadow)?);
        let mut report = locked(&self.report);
        report.batches += 1;
        report.rejected += prepared.rejections.len() as u64;
        if let Some(first) = prepared.rejections.first() {
            report.rejected_first.get_or_insert_with(|| first.reason.clone());
        }
        comparison.add_to(&mut report, (&topic, partition), self.show_values);
        Ok(())
    }
}

impl Drop for Shading {
    fn drop(&mut self) {
        self.busy.store(true, Ordering::Release);
        locked(&self.report).ended.get_or_insert_with(|| "its thread has ended".to_owned());
    }
}

/// Which row: its record's offset, its place, and its table.
type Which = (i64, u16, String);
type Rows = BTreeMap<Which, BTreeMap<String, Value>>;

/// All rows, without what differs with each transform.
fn read(parts: &[Encoded]) -> Result<Rows> {
    let mut rows = Rows::new();
    for part in parts {
        let block = read_block(&part.body).map_err(|why| anyhow!(why))?;
        ensure!(block.rows.len() == part.identities.len(), "a block has other rows than it should");
        for ((offset, seq), row) in part.identities.iter().zip(block.rows) {
            let mut row: BTreeMap<String, Value> = block.names.iter().cloned().zip(row).collect();
            row.remove(MADE_BY);
            rows.insert((*offset, *seq, part.table.clone()), row);
        }
    }
    Ok(rows)
}

/// How the rows of a batch compare.
#[derive(Default)]
struct Comparison {
    same: u64,
    only_live: u64,
    only_shadow: u64,
    different: u64,
    /// The first rows that differ: which, how, and in which columns with what values.
    first: Vec<(Which, Kind, Vec<Column>)>,
}

/// The name of a column that differs, and its value by each.
type Column = (String, Option<Value>, Option<Value>);

impl Comparison {
    fn rows(&mut self, live: &Rows, shadow: &Rows) {
        let only_shadow = shadow.keys().filter(|place| !live.contains_key(place));
        for place in live.keys().chain(only_shadow) {
            let (kind, columns) = match (live.get(place), shadow.get(place)) {
                (Some(live), Some(shadow)) if live == shadow => {
                    self.same += 1;
                    continue;
                }
                (Some(live), Some(shadow)) => (Kind::Different, columns(live, shadow)),
                (Some(_), None) => (Kind::OnlyLive, vec![]),
                (None, _) => (Kind::OnlyShadow, vec![]),
            };
            match kind {
                Kind::OnlyLive => self.only_live += 1,
                Kind::OnlyShadow => self.only_shadow += 1,
                Kind::Different => self.different += 1,
            }
            if self.first.len() < MAX_DIFFERENCES {
                self.first.push((place.clone(), kind, columns));
            }
        }
    }

    fn add_to(self, report: &mut Report, (topic, partition): (&str, i32), show_values: bool) {
        report.same += self.same;
        report.only_live += self.only_live;
        report.only_shadow += self.only_shadow;
        report.different += self.different;
        let left = MAX_DIFFERENCES.saturating_sub(report.differences.len());
        for ((offset, seq, table), kind, columns) in self.first.into_iter().take(left) {
            let values = |of: fn(&Column) -> &Option<Value>| {
                let told = columns.iter().filter_map(|column| Some((column.0.clone(), of(column).clone()?)));
                (show_values && !columns.is_empty()).then(|| Value::Object(told.collect()).to_string())
            };
            let (live, shadow) = (values(|column| &column.1), values(|column| &column.2));
            let columns = columns.iter().map(|column| column.0.clone()).collect();
            let topic = topic.to_owned();
            report.differences.push(Difference {
                kind,
                topic,
                partition,
                offset,
                seq,
                table,
                columns,
                live,
                shadow,
            });
        }
    }
}

fn columns(live: &BTreeMap<String, Value>, shadow: &BTreeMap<String, Value>) -> Vec<Column> {
    let more = shadow.keys().filter(|name| !live.contains_key(*name));
    let all = live.keys().chain(more);
    let differs = |name: &&String| live.get(*name) != shadow.get(*name);
    all.filter(differs)
        .map(|name| (name.clone(), live.get(name).cloned(), shadow.get(name).cloned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(i64, u16, &str, &str)]) -> Rows {
        let row = |(offset, seq, table, word): &(i64, u16, &str, &str)| {
            let row = [("id".to_owned(), Value::from(*offset)), ("word".to_owned(), Value::from(*word))];
            ((*offset, *seq, (*table).to_owned()), row.into())
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn each_row_is_the_same_different_or_only_of_one_and_the_first_that_differ_are_kept() {
        let live = rows(&[(1, 0, "t", "a"), (2, 0, "t", "b"), (2, 1, "t", "c"), (3, 0, "t", "secret")]);
        let shadow = rows(&[(1, 0, "t", "a"), (2, 0, "u", "b"), (2, 1, "t", "c"), (3, 0, "t", "other")]);
        for show_values in [false, true] {
            let mut report = Report::default();
            for _ in 0..MAX_DIFFERENCES {
                let mut comparison = Comparison::default();
                comparison.rows(&live, &shadow);
                comparison.add_to(&mut report, ("topic", 7), show_values);
            }
            let rounds = MAX_DIFFERENCES as u64;
            let counts = [report.same, report.only_live, report.only_shadow, report.different];
            assert_eq!(counts, [2 * rounds, rounds, rounds, rounds]);
            assert_eq!(report.differences.len(), MAX_DIFFERENCES);
            let different = &report.differences[1];
            assert_eq!(
                (different.kind, different.offset, &different.columns[..]),
                (Kind::Different, 3, &["word".to_owned()][..])
            );
            let shown = show_values.then(|| r#"{"word":"secret"}"#.to_owned());
            assert_eq!(different.live, shown);
            assert_eq!(serde_json::to_string(&report).unwrap().contains("secret"), show_values);
        }
    }
}
