//! Seal, insert, dead letters, commit: what makes each row land once.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::Stop;
use super::audit::{self, Book, Tally};
use super::letters::Letters;
use super::prepare::{Emptied, Part, Prepared, Rejection};
use super::reach::Reach;
use super::targets::patiently;
use crate::chaos;
use crate::cli::summary::Summary;
use crate::clickhouse::insert::{IdentityColumns, Inserter, Job, Landed};
use crate::clickhouse::names::literal;
use crate::clickhouse::table::{Binding, Table};
use crate::clickhouse::{block, ddl};
use crate::commit::Seal;
use crate::dead_letter::Stage;
use crate::error::Classify;
use crate::output;
use crate::pause::pause;
use crate::source::kafka::ownership::Partition;

/// How often a table that changed under an insert is read again, until that is an error.
const MAX_REPAIRS: u32 = 3;
/// How often finished positions are committed at least.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// The waits between two attempts at a commit.
const COMMIT_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where rows go.
pub(super) enum Rows {
    /// Into tables.
    ClickHouse,
    /// As JSON lines.
    Lines(Box<dyn Write + Send>),
    /// Nowhere: a dry run.
    Nowhere,
}

/// How a delivery ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// All rows and dead letters are where they belong.
    Done,
    /// The partition was taken away: its new owner goes on.
    Void,
    /// The host is to stop. What was sealed stays sealed.
    GivenUp,
}

/// Rows that the server refuses, by their index in their part, and why. None: given up.
type Refused = Option<Vec<(usize, String)>>;

/// The stages that write.
pub(super) struct Deliverer<'a> {
    reach: Reach,
    rows: Rows,
    letters: Letters,
    book: Book,
    /// Where records and rows are printed, if they are.
    print: Option<&'a mut dyn Write>,
    summary: Summary,
    started: Option<Instant>,
    /// When finished positions were committed last.
    committed: Instant,
}

impl<'a> Deliverer<'a> {
    pub(super) fn new(
        reach: Reach,
        rows: Rows,
        letters: Letters,
        book: Book,
        print: Option<&'a mut dyn Write>,
    ) -> Self {
        let committed = Instant::now();
        Deliverer { reach, rows, letters, book, print, summary: Summary::default(), started: None, committed }
    }

    /// The counters so far.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            elapsed: self.started.map_or_else(Duration::default, |at| at.elapsed()),
            levels: self.reach.targets.levels(),
            ..self.summary.clone()
        }
    }

    /// Delivers a batch, within the ownership of its partition.
    pub(super) fn deliver(&mut self, prepared: Prepared, stop: &Stop) -> Result<Delivered> {
        self.started.get_or_insert_with(Instant::now);
        let partition = prepared.partition();
        let Some(commits) = self.reach.commits.clone() else {
            return self.write(&prepared, &partition, stop);
        };
        let assignment = prepared.source.assignment;
        if !commits.ownership().begin(&partition, assignment) {
            return Ok(Delivered::Void);
        }
        let delivered = self.write(&prepared, &partition, stop);
        let done = matches!(delivered, Ok(Delivered::Done)).then_some(prepared.source.batch.last + 1);
        commits.ownership().end(&partition, assignment, done);
        // A range without rows has no seal that would commit the one before it.
        if self.committed.elapsed() >= COMMIT_EVERY {
            self.commit_finished();
        }
        delivered
    }

    fn write(&mut self, prepared: &Prepared, partition: &Partition, stop: &Stop) -> Result<Delivered> {
        if let Some(out) = &mut self.print {
            output::print_records(out, &prepared.source.batch, prepared.source.recovered.is_some())?;
        }
        let mut refused: Vec<Rejection> = Vec::new();
        let mut tally = Tally::of(prepared);
        audit::of_range(tally.check_records(), prepared)?;
        if prepared.has_work() || self.book.is_kept() {
            self.check_order_of_emptied(prepared)?;
            let series = Cell::new(prepared.source.recovered.as_ref().map_or(0, |seal| seal.series));
            if !self.seal(prepared, partition, series.get(), stop)? {
                return Ok(self.undelivered(prepared, partition));
            }
            for index in 0..prepared.parts.len() {
                let more = self.part(prepared, index, partition, &series, &mut tally, stop)?;
                let Some(more) = more else { return Ok(self.undelivered(prepared, partition)) };
                refused.extend(more);
            }
            if !self.empty(prepared, partition, stop)? {
                return Ok(self.undelivered(prepared, partition));
            }
            if !self.letters.keep(&self.reach, prepared, &refused, stop)? {
                return Ok(self.undelivered(prepared, partition));
            }
            tally.refuse(&refused);
            audit::of_range(tally.check_rows(), prepared)?;
            if !self.book.record(&self.reach, prepared, &tally, stop)? {
                return Ok(self.undelivered(prepared, partition));
            }
            chaos::point("audited");
        }
        self.count(prepared, &tally);
        Ok(Delivered::Done)
    }

    /// A truncate has a place among the records of its partition, and among no others.
    fn check_order_of_emptied(&self, prepared: &Prepared) -> Result<()> {
        let (Some(emptied), Some(commits)) = (prepared.emptied.first(), &self.reach.commits) else {
            return Ok(());
        };
        let topic = &prepared.source.batch.topic;
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

    /// Removes what the batch's truncates take out of their tables. Doing it again is harmless. False: given
    /// up.
    fn empty(&self, prepared: &Prepared, partition: &Partition, stop: &Stop) -> Result<bool> {
        if !matches!(self.rows, Rows::ClickHouse) {
            return Ok(true);
        }
        let batch = &prepared.source.batch;
        for Emptied { table, offset } in &prepared.emptied {
            if !table.has_lineage() {
                let what = format!("table {} does not say which record a row comes from", table.name);
                return Err(anyhow!(what).context("removing what the source emptied"))
                    .usage()
                    .help("remove the rows by hand, and go on with `truncate: ignore`");
            }
            let Table { database, name, .. } = &**table;
            let sql = ddl::truncate(database, name, &batch.topic, batch.partition, *offset);
            let client = self.reach.client()?;
            let ask = || match self.reach.is_ours(partition, prepared.source.assignment) {
                true => client.query(&sql).map(|_| true),
                false => Ok(false),
            };
            if !patiently(stop, ask)?.unwrap_or(false) {
                return Ok(false);
            }
            tracing::info!(table = name, offset, "removed the rows that the source emptied");
        }
        Ok(true)
    }

    fn count(&mut self, prepared: &Prepared, tally: &Tally) {
        self.summary.consumed += tally.records;
        self.summary.kept += tally.kept;
        self.summary.filtered += tally.filtered;
        self.summary.not_changes += tally.not_changes;
        self.summary.rejected += tally.rejected;
        self.summary.rows += tally.landed;
        let cut = prepared.parts.iter().filter(|part| !part.binding.left_out.is_empty());
        self.summary.left_out += cut.map(|part| part.identities.len() as u64).sum::<u64>();
        self.summary.same_key += prepared.counts.same_key;
        self.summary.truncates_ignored += prepared.counts.truncates_ignored;
        for part in &prepared.parts {
            for ((column, replacement), count) in &part.replaced.0 {
                let column = format!("{}.{column}", part.table.name);
                if !self.summary.replaced.0.contains_key(&(column.clone(), *replacement)) {
                    tracing::warn!(
                        column,
                        "values were replaced: {}; the end says how many",
                        replacement.words()
                    );
                }
                self.summary.replaced.add(&column, *replacement, *count);
            }
        }
    }

    fn undelivered(&self, prepared: &Prepared, partition: &Partition) -> Delivered {
        match self.reach.is_ours(partition, prepared.source.assignment) {
            true => Delivered::GivenUp,
            false => Delivered::Void,
        }
    }

    /// Writes the range's end and the transform's digest into Kafka's commit, before anything is inserted.
    /// False: the partition was taken away, or the host is to stop.
    fn seal(&self, prepared: &Prepared, partition: &Partition, series: u32, stop: &Stop) -> Result<bool> {
        let (Some(commits), Rows::ClickHouse) = (&self.reach.commits, &self.rows) else { return Ok(true) };
        let batch = &prepared.source.batch;
        let transform = self.reach.transform.clone();
        if let Some(sealed) =
            prepared.source.recovered.as_ref().filter(|sealed| sealed.transform != transform)
        {
            tracing::warn!(
                topic = &*batch.topic,
                partition = batch.partition,
                first = batch.first,
                last = batch.last,
                "this range was sealed by transform {} and is finished by {transform}",
                sealed.transform
            );
        }
        let seal = Seal { last: batch.last, transform, series };
        let mut wait = COMMIT_WAITS.0;
        loop {
            match commits.commit(partition, batch.first, Some(&seal)) {
                Ok(()) => return Ok(true),
                Err(error) => tracing::warn!("waiting for Kafka: {error:#}"),
            }
            // A member that lost its place may not commit; the revocation that follows makes the batch void.
            if !pause(wait, || stop.give_up() || !self.reach.is_ours(partition, prepared.source.assignment)) {
                return Ok(false);
            }
            wait = (wait * 2).min(COMMIT_WAITS.1);
        }
    }

    /// Writes the part of this index. None: given up. Otherwise the changes of which the server refuses a row.
    fn part(
        &mut self,
        prepared: &Prepared,
        index: usize,
        partition: &Partition,
        series: &Cell<u32>,
        tally: &mut Tally,
        stop: &Stop,
    ) -> Result<Option<Vec<Rejection>>> {
        let part = &prepared.parts[index];
        let table = &part.table.name;
        // Of a row whose key leaves the rest is blank, and says nothing.
        let told = part.binding.of_leaving();
        let refused = match &mut self.rows {
            Rows::ClickHouse => {
                let reseal = |new: u32| {
                    series.set(new);
                    match self.seal(prepared, partition, new, stop)? {
                        true => Ok(()),
                        false => bail!("the partition was revoked during an insert"),
                    }
                };
                let ours = || self.reach.is_ours(partition, prepared.source.assignment);
                let give_up = || stop.give_up();
                let client = self.reach.client()?;
                let inserter = Inserter::new(client, &give_up, &ours, &reseal);
                let Some(refused) = self.insert(&inserter, prepared, part, index, series, stop)? else {
                    return Ok(None);
                };
                tally.landed += inserter.landed.get();
                refused
            }
            Rows::Lines(out) => {
                // Whatever is committed after this must not be in a buffer of this process.
                let written =
                    output::write_rows(out, table, &part.body, &told).and_then(|()| Ok(out.flush()?));
                written.context("writing the output").environment()?;
                tally.landed += part.identities.len() as u64;
                vec![]
            }
            Rows::Nowhere => {
                tally.made -= part.identities.len() as u64;
                vec![]
            }
        };
        tally.refused += refused.len() as u64;
        if let Some(out) = &mut self.print {
            let gone: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
            let dry = matches!(self.rows, Rows::Nowhere);
            output::print_rows(out, table, &part.body, &told, &gone, dry)?;
        }
        let rejection = |(row, reason): (usize, String)| {
            let record = prepared.decoded.changes[part.rows.changes[row] as usize].record;
            Rejection { record, stage: Stage::Insert, reason }
        };
        Ok(Some(refused.into_iter().map(rejection).collect()))
    }

    fn insert(
        &self,
        inserter: &Inserter<'_>,
        prepared: &Prepared,
        part: &Part,
        index: usize,
        series: &Cell<u32>,
        stop: &Stop,
    ) -> Result<Refused> {
        let batch = &prepared.source.batch;
        let expected = prepared.identities_in(&part.table.name);
        let values = prepared.values(&self.reach.transform);
        let mut verify = prepared.source.recovered.is_some();
        let (mut table, mut binding) = (part.table.clone(), part.binding.clone());
        for _ in 0..MAX_REPAIRS {
            let repaired = !Arc::ptr_eq(&table, &part.table);
            if repaired {
                fits_still(&values, &binding, part)?;
            }
            let encode = |rows: &[usize]| match rows.len() == part.identities.len() && !repaired {
                true => part.body.clone(),
                false => block::encode(&values, &binding, &part.rows, rows).body,
            };
            let columns: Vec<&str> = binding.columns.iter().map(|column| column.name.as_str()).collect();
            let converges = part.rows.is_keyed() || table.converges();
            let identity =
                (self.reach.lasting && table.can_verify() && !converges).then(|| IdentityColumns {
                    condition: format!(
                        "_topic = {} AND _partition = {}",
                        literal(&batch.topic),
                        batch.partition
                    ),
                    offset: "_offset".into(),
                    seq: Some("_seq".into()),
                });
            let job = Job {
                database: &table.database,
                table: &table.name,
                token: self.reach.token(batch, &table.name, &index.to_string()),
                converges,
                identity,
                rows: &part.identities,
                range: (batch.first, batch.last),
                expected: &expected,
                columns: &columns,
                encode: &encode,
            };
            match inserter.insert(&job, series.get(), verify)? {
                Landed::Except(refused) => return Ok(Some(refused)),
                Landed::Abandoned => return Ok(None),
                Landed::TableChanged(why) => {
                    tracing::warn!(table = table.name, "{why}: reading the table again");
                    self.reach.targets.forget(&table.name);
                    let Some(bound) = self.reach.targets.bound(&part.rows, stop)? else { return Ok(None) };
                    (table, binding) = bound;
                    verify = true;
                }
            }
        }
        Err(anyhow!("the columns of table {} keep changing", part.table.name)).environment()
    }

    /// Commits what is done and not committed yet. A failure is harmless: those ranges are repeated, and
    /// their rows found.
    pub(super) fn commit_finished(&mut self) {
        self.committed = Instant::now();
        let Some(commits) = &self.reach.commits else { return };
        for (partition, done) in commits.ownership().uncommitted() {
            match commits.commit(&partition, done, None) {
                Ok(()) => commits.ownership().committed(&partition, done),
                Err(error) => tracing::warn!("{error:#}: it is tried again"),
            }
        }
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
