//! Prepared batches as the work of a delivery: rows into tables or a file, dead letters, counting.
//!
//! In which order that is done, under which seal, and when its position is committed is
//! [`crate::delivery`]'s.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::Stop;
use super::audit::{self, Book, Tally};
use super::handover::Handovers;
use super::letters::Letters;
use super::prepare::{Emptied, Part, Prepared, Rejection};
use super::reach::Reach;
use super::targets::patiently;
use crate::chaos;
use crate::cli::summary::Summary;
use crate::clickhouse::client::Client;
use crate::clickhouse::insert::{IdentityColumns, Job, Landed};
use crate::clickhouse::table::{Binding, Table};
use crate::clickhouse::{block, ddl};
use crate::dead_letter::Stage;
use crate::delivery::{Delivered, Delivery, Range, Work, Writer};
use crate::error::Classify;
use crate::locked::locked;
use crate::metrics::measured::Measured;
use crate::metrics::{Done, Recorder};
use crate::output;
use crate::pause::SystemClock;
use crate::source::kafka::Commits;

/// How often a table that changed under an insert is read again, until that is an error.
const MAX_REPAIRS: u32 = 3;

/// Where rows go.
pub(super) enum Rows {
    /// Into tables.
    ClickHouse,
    /// As JSON lines.
    Lines(Box<dyn Write + Send>),
    /// Nowhere: a dry run.
    Nowhere,
}

/// Rows that the server refuses, by their index in their part, and why. None: given up.
type Refused = Option<Vec<(usize, String)>>;

/// The stages that write.
pub(super) struct Deliverer<'a> {
    delivery: Delivery<Commits, Measured<Client>, SystemClock>,
    ends: Ends<'a>,
}

/// Where everything goes.
struct Ends<'a> {
    reach: Reach,
    rows: Rows,
    letters: Letters,
    book: Book,
    handovers: Handovers,
    recorder: Arc<Recorder>,
    /// Where records and rows are printed, if they are.
    print: Option<&'a mut (dyn Write + Send)>,
    counted: Arc<Counted>,
}

/// What all deliverers of a run count together.
#[derive(Default)]
struct Counted {
    /// When the first record was taken in.
    begun: OnceLock<Instant>,
    summary: Mutex<Summary>,
}

impl<'a> Deliverer<'a> {
    pub(super) fn new(
        reach: Reach,
        rows: Rows,
        letters: Letters,
        book: Book,
        handovers: Handovers,
        recorder: Arc<Recorder>,
        print: Option<&'a mut (dyn Write + Send)>,
    ) -> Self {
        let counted = Arc::default();
        Deliverer::to(Ends { reach, rows, letters, book, handovers, recorder, print, counted })
    }

    fn to(ends: Ends<'a>) -> Self {
        let client = ends.reach.client.clone().filter(|_| matches!(ends.rows, Rows::ClickHouse));
        let client = client.map(|target| Measured { target, recorder: ends.recorder.clone() });
        let delivery = Delivery::new(ends.reach.commits.clone(), client, SystemClock);
        Deliverer { delivery, ends }
    }

    /// Another one for the same tables, which may deliver batches of other partitions at the same time. None where all
    /// rows go into one place in their order.
    pub(super) fn another(&self) -> Option<Deliverer<'static>> {
        let Ends { reach, rows, letters, book, handovers, recorder, print, counted } = &self.ends;
        if !matches!(rows, Rows::ClickHouse) || print.is_some() {
            return None;
        }
        Some(Deliverer::to(Ends {
            reach: reach.clone(),
            rows: Rows::ClickHouse,
            letters: letters.clone(),
            book: book.clone(),
            handovers: handovers.clone(),
            recorder: recorder.clone(),
            print: None,
            counted: counted.clone(),
        }))
    }

    /// The counters so far, of all deliverers of the run.
    pub(super) fn summary(&self) -> Summary {
        let levels = self.ends.reach.targets.levels();
        Summary { levels, ..locked(&self.ends.counted.summary).clone() }
    }

    /// Delivers a batch, within the ownership of its partition.
    pub(super) fn deliver(&mut self, prepared: Prepared, stop: &Stop) -> Result<Delivered> {
        let (batch, assignment) = (&prepared.source.batch, prepared.source.assignment);
        let (partition, recovered) = (prepared.partition(), prepared.source.recovered.clone());
        let (first, last, epoch) = (batch.first, batch.last, batch.epoch);
        let (transform, pin) = (prepared.maker.digest.clone(), Some(prepared.maker.pin.clone()));
        let range = Range { partition, assignment, first, last, epoch, transform, pin, recovered };
        let ends = &mut self.ends;
        let tally = Tally::of(&prepared);
        let mut writing = Writing { ends, prepared: &prepared, stop, refused: Vec::new(), tally };
        self.delivery.deliver(&range, &mut writing, &|| stop.give_up())
    }

    /// Commits what is done and not committed yet.
    pub(super) fn commit_finished(&mut self) {
        self.delivery.commit_finished();
    }
}

/// A batch that is being written.
struct Writing<'a, 'e> {
    ends: &'a mut Ends<'e>,
    prepared: &'a Prepared,
    stop: &'a Stop,
    /// The changes of which the server refused a row.
    refused: Vec<Rejection>,
    /// What became of its records and rows.
    tally: Tally,
}

impl Work for Writing<'_, '_> {
    fn begin(&mut self) -> Result<Option<bool>> {
        if let Some(out) = &mut self.ends.print {
            let source = &self.prepared.source;
            output::print_records(out, &source.batch, source.recovered.is_some())?;
        }
        audit::of_range(self.tally.check_records(), self.prepared)?;
        let has_work = self.prepared.has_work() || self.ends.book.is_kept();
        if has_work {
            self.check_order_of_emptied()?;
            // Before the seal: the range is not begun, and a mended transform may make its rows.
            let Ends { reach, letters, .. } = &*self.ends;
            letters.stop_at(reach, self.prepared)?;
        }
        // Before the seal, too: a host that dies after it does not know any more who made the range before.
        Ok(self.ends.handovers.record(self.prepared, self.stop)?.map(|()| has_work))
    }

    fn parts(&self) -> usize {
        self.prepared.parts.len()
    }

    fn part(&mut self, index: usize, writer: &Writer<'_>) -> Result<bool> {
        let prepared = self.prepared;
        let part = &prepared.parts[index];
        let table = &part.table.name;
        // Of a row whose key leaves the rest is blank, and says nothing.
        let told = part.binding.of_leaving();
        let refused = match &mut self.ends.rows {
            Rows::ClickHouse => {
                let Some(refused) = self.insert(part, index, writer)? else { return Ok(false) };
                self.tally.landed += writer.landed();
                refused
            }
            Rows::Lines(out) => {
                // Whatever is committed after this must not be in a buffer of this process.
                let written =
                    output::write_rows(out, table, &part.body, &told).and_then(|()| Ok(out.flush()?));
                written.context("writing the output").environment()?;
                self.tally.landed += part.identities.len() as u64;
                vec![]
            }
            Rows::Nowhere => {
                self.tally.made -= part.rows.changes.len() as u64;
                vec![]
            }
        };
        let dry = matches!(self.ends.rows, Rows::Nowhere);
        if !dry {
            self.ends.recorder.landed(table, (part.identities.len() - refused.len()) as u64);
        }
        if let Some(out) = &mut self.ends.print {
            let gone: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
            output::print_rows(out, table, &part.body, &told, &gone, dry)?;
        }
        self.tally.refused += refused.len() as u64;
        let rejection = |(row, reason): (usize, String)| {
            let record = prepared.decoded.changes[part.rows.changes[row] as usize].record;
            Rejection { record, stage: Stage::Insert, reason }
        };
        self.refused.extend(refused.into_iter().map(rejection));
        Ok(true)
    }

    /// Removes what the batch's truncates take out of their tables. Doing it again is harmless.
    fn rows_done(&mut self, writer: &Writer<'_>) -> Result<bool> {
        let Ends { reach, rows, .. } = &*self.ends;
        if !matches!(rows, Rows::ClickHouse) {
            return Ok(true);
        }
        let batch = &self.prepared.source.batch;
        for Emptied { table, offset } in &self.prepared.emptied {
            if !table.has_lineage() {
                let what = format!("table {} does not say which record a row comes from", table.name);
                return Err(anyhow!(what).context("removing what the source emptied"))
                    .usage()
                    .help("remove the rows by hand, and go on with `truncate: ignore`");
            }
            let Table { database, name, .. } = &**table;
            let sql = ddl::truncate(database, name, &batch.topic, batch.partition, (batch.epoch, *offset));
            let client = reach.client()?;
            let ask = || match writer.is_ours() {
                true => client.query(&sql).map(|_| true),
                false => Ok(false),
            };
            if !patiently(self.stop, ask)?.unwrap_or(false) {
                return Ok(false);
            }
            tracing::info!(table = name, offset, "removed the rows that the source emptied");
        }
        Ok(true)
    }

    fn letters(&mut self, writer: &Writer<'_>) -> Result<bool> {
        let Ends { reach, letters, book, .. } = &*self.ends;
        if !letters.keep(reach, self.prepared, &self.refused, writer, self.stop)? {
            return Ok(false);
        }
        self.tally.refuse(&self.refused);
        audit::of_range(self.tally.check_rows(), self.prepared)?;
        let recorded = book.record(reach, self.prepared, &self.tally, writer, self.stop)?;
        chaos::point("audited");
        Ok(recorded)
    }

    fn done(&mut self) -> Result<()> {
        let Counted { begun, summary } = &*self.ends.counted;
        let begun = begun.get_or_init(|| self.prepared.source.batch.begun);
        let mut summary = locked(summary);
        summary.count(self.prepared, &self.tally);
        summary.elapsed = begun.elapsed();
        drop(summary);
        self.ends.handovers.done(self.prepared);
        self.record();
        Ok(())
    }
}

impl Writing<'_, '_> {
    /// Records that the batch is done.
    fn record(&self) {
        let (recorder, tally) = (&self.ends.recorder, &self.tally);
        let Tally { kept, filtered, not_changes, .. } = *tally;
        recorder.done(Done { kept, filtered: filtered - not_changes, not_changes });
        for rejection in self.prepared.rejections.iter().chain(&self.refused) {
            recorder.rejected(rejection.stage);
        }
        let newest = self.prepared.decoded.changes.iter().filter_map(|change| change.committed_at_us).max();
        if let (Some(newest), true) = (newest, kept > 0) {
            let behind = jiff::Timestamp::now().as_microsecond().saturating_sub(newest);
            recorder.lagged(Duration::from_micros(u64::try_from(behind).unwrap_or(0)));
        }
    }

    /// A truncate has a place among the records of its partition, and among no others.
    fn check_order_of_emptied(&self) -> Result<()> {
        let (emptied, commits) = (self.prepared.emptied.first(), &self.ends.reach.commits);
        let (Some(emptied), Some(commits)) = (emptied, commits) else { return Ok(()) };
        let topic = &self.prepared.source.batch.topic;
        let partitions = commits.partitions(topic).environment()?;
        if partitions > 1 {
            let what = format!(
                "the source emptied a table whose topic {topic} has {partitions} partitions: whether rows of the others \
                 came before that is not known (offset {})",
                emptied.offset
            );
            return Err(anyhow!(what)).usage().help(
                "nothing of it was committed: remove the rows by hand, and go on with `truncate: ignore`",
            );
        }
        Ok(())
    }

    /// Inserts a part. None: given up. Otherwise the rows that the server refuses.
    fn insert(&self, part: &Part, index: usize, writer: &Writer<'_>) -> Result<Refused> {
        let (prepared, reach) = (self.prepared, &self.ends.reach);
        let batch = &prepared.source.batch;
        let expected = prepared.identities_in(&part.table.name);
        let values = prepared.values(&prepared.maker.digest);
        if let Some(commits) = &reach.commits {
            commits.feeds(&part.table.name, &writer.range().partition);
        }
        let mut verify = prepared.source.written_before;
        let (mut table, mut binding) = (part.table.clone(), part.binding.clone());
        let mut last = String::new();
        for _ in 0..MAX_REPAIRS {
            let repaired = !Arc::ptr_eq(&table, &part.table);
            if repaired {
                fits_still(&values, &binding, part)?;
            }
            let encode = |rows: &[usize]| match rows.len() == part.identities.len() && !repaired {
                true => Cow::Borrowed(part.body.as_slice()),
                false => block::encode(&values, &binding, &part.rows, rows).body.into(),
            };
            let columns: Vec<&str> = binding.columns.iter().map(|column| column.name.as_str()).collect();
            let converges = part.rows.is_keyed() || table.converges();
            let identity = (reach.lasting && table.can_verify() && !converges).then(|| IdentityColumns {
                condition: table.condition(&batch.topic, batch.epoch, batch.partition),
                offset: "_offset".into(),
                seq: Some("_seq".into()),
            });
            let job = Job {
                database: &table.database,
                table: &table.name,
                token: reach.token(batch, &table.name, &index.to_string()),
                converges,
                remembers: table.facts.remembers(),
                in_session: identity.is_some() && table.facts.wants_session(),
                identity,
                rows: &part.identities,
                range: (batch.first, batch.last),
                expected: &expected,
                columns: &columns,
                encode: &encode,
            };
            match writer.rows(index, &job, verify)? {
                Landed::Except(refused) => return Ok(Some(refused)),
                Landed::Abandoned => return Ok(None),
                Landed::TableChanged(why) => {
                    tracing::warn!(table = table.name, "{why}: reading the table again");
                    prepared.maker.targets.forget(&table.name);
                    let bound = prepared.maker.targets.bound(&part.rows, batch.epoch, self.stop)?;
                    let Some(bound) = bound else { return Ok(None) };
                    (table, binding) = bound;
                    verify = true;
                    last = why;
                }
            }
        }
        let what = format!(
            "table {} was read again {MAX_REPAIRS} times, and still refuses its rows: {last}",
            part.table.name
        );
        Err(anyhow!(what)).environment().help(
            "nothing is committed: look whether the table's columns keep changing, and at the server's log",
        )
    }
}

/// Checks that the rows of a part fit their table as it is now.
///
/// # Errors
/// A table that was narrowed under an insert: nothing of the row may be written in another form.
fn fits_still(values: &block::Values<'_>, binding: &Binding, part: &Part) -> Result<()> {
    let all: Vec<usize> = (0..part.identities.len()).collect();
    let unfit = block::encode(values, binding, &part.rows, &all).unfit;
    let Some((_, reason)) = unfit.first() else { return Ok(()) };
    let table = &part.table.name;
    Err(anyhow!("table {table} changed under an insert, and {} rows no longer fit it: {reason}", unfit.len()))
        .environment()
        .help("nothing is committed: start again, and the records of these rows become dead letters")
}

impl Summary {
    /// Adds a batch that is done.
    fn count(&mut self, prepared: &Prepared, tally: &Tally) {
        self.consumed += tally.records;
        self.kept += tally.kept;
        self.filtered += tally.filtered;
        self.not_changes += tally.not_changes;
        self.rejected += tally.rejected;
        self.rows += tally.landed;
        let cut = prepared.parts.iter().filter(|part| !part.binding.left_out.is_empty());
        self.left_out += cut.map(|part| part.identities.len() as u64).sum::<u64>();
        self.same_key += prepared.counts.same_key;
        self.other_transform += u64::from(prepared.by_another);
        self.truncates_ignored += prepared.counts.truncates_ignored;
        self.grown += u64::from(prepared.counts.grown);
        for part in &prepared.parts {
            for ((column, replacement), count) in &part.replaced.0 {
                let column = format!("{}.{column}", part.table.name);
                if !self.replaced.0.contains_key(&(column.clone(), *replacement)) {
                    tracing::warn!(
                        column,
                        "values were replaced: {}; the end says how many",
                        replacement.words()
                    );
                }
                self.replaced.add(&column, *replacement, *count);
            }
        }
    }
}
