//! Conservation: of each range, what went in must have come out. It is checked before the range is done, and if
//! the configuration asks for it one row a range is written that says so.

use anyhow::{Result, anyhow, ensure};

use super::Stop;
use super::prepare::{Prepared, Rejection};
use super::reach::Reach;
use crate::clickhouse::ddl;
use crate::clickhouse::insert::{IdentityColumns, Job, Landed};
use crate::clickhouse::names::{identifier, literal};
use crate::clickhouse::native::{Block, Encoding};
use crate::clickhouse::profile::Profile;
use crate::config::{Audit, Settings, Sink};
use crate::debezium::shape::Wire;
use crate::debezium::value::{self, Value};
use crate::delivery::Writer;
use crate::error::Classify;

/// The table that has a row for each range.
pub const TABLE: &str = "_rowgate_audit";

/// What became of a range's records and rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Records read.
    pub records: u64,
    /// Records of which a row was made, and not refused.
    pub kept: u64,
    /// Records of which no row was made, and rightly so.
    pub filtered: u64,
    /// Those of `filtered` that are no change.
    pub not_changes: u64,
    /// Records that go to the dead letters.
    pub rejected: u64,
    /// Records that have a row in a block, counted there.
    pub with_rows: u64,
    /// Of these, records that are rejected all the same.
    pub torn: u64,
    /// Rows that were made for tables.
    pub made: u64,
    /// Of these, rows that the server refuses.
    pub refused: u64,
    /// Rows that were acknowledged, or found in their table.
    pub landed: u64,
}

impl Tally {
    /// What was made of a batch; nothing has landed yet.
    pub(super) fn of(prepared: &Prepared) -> Self {
        let counts = &prepared.counts;
        let parts = prepared.parts.iter();
        let mut offsets: Vec<i64> =
            parts.clone().flat_map(|part| part.identities.iter().map(|(offset, _)| *offset)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let records = &prepared.source.batch.records;
        let torn = prepared.rejections.iter().filter(|rejection| {
            let offset = records[rejection.record as usize].offset;
            offsets.binary_search(&offset).is_ok()
        });
        Tally {
            records: records.len() as u64,
            kept: counts.kept,
            filtered: counts.filtered,
            not_changes: counts.not_changes,
            rejected: prepared.rejections.len() as u64,
            with_rows: offsets.len() as u64,
            torn: torn.count() as u64,
            made: parts.map(|part| part.rows.changes.len() as u64).sum(),
            refused: 0,
            landed: 0,
        }
    }

    /// Checks that each record is accounted for, and that just those have rows that are kept. For before anything
    /// is written.
    ///
    /// # Errors
    /// When it is not so; that is a fault of the host.
    pub(super) fn check_records(&self) -> Result<()> {
        let Tally { records, kept, filtered, not_changes, rejected, with_rows, torn, .. } = self;
        let sum = kept + filtered + rejected;
        ensure!(
            *records == sum && not_changes <= filtered,
            "of {records} records {kept} are kept, {filtered} filtered ({not_changes} no changes) and {rejected} \
             rejected, which are {sum}"
        );
        ensure!(with_rows == kept, "{kept} records are kept, and {with_rows} have rows");
        ensure!(*torn == 0, "{torn} records are rejected and have rows all the same");
        Ok(())
    }

    /// Checks that each row that was made has landed, but those that the server refuses.
    ///
    /// # Errors
    /// When it has not; that is a fault of the host.
    pub(super) fn check_rows(&self) -> Result<()> {
        let Tally { made, refused, landed, .. } = self;
        ensure!(
            made.checked_sub(*refused) == Some(*landed),
            "of {made} rows that were made {refused} are refused by the server, and {landed} landed"
        );
        Ok(())
    }

    /// Takes the records of which the server refuses a row from those that are kept.
    pub(super) fn refuse(&mut self, refused: &[Rejection]) {
        let mut records: Vec<u32> = refused.iter().map(|rejection| rejection.record).collect();
        records.sort_unstable();
        records.dedup();
        self.kept -= (records.len() as u64).min(self.kept);
        self.rejected += records.len() as u64;
    }
}

/// Marks a failed check with the range that it failed for: a fault of the host, with nothing committed.
pub(super) fn of_range(checked: Result<()>, prepared: &Prepared) -> Result<()> {
    let batch = &prepared.source.batch;
    checked
        .map_err(|error| {
            let place = format!("{}/{} from {} to {}", batch.topic, batch.partition, batch.first, batch.last);
            error.context(format!(
                "records or rows of {place} are not accounted for: this is a fault of the host"
            ))
        })
        .help("nothing of this range is committed: keep the log, and tell us")
}

/// Where the row of each range goes.
#[derive(Clone)]
pub(super) struct Book {
    /// None: nowhere.
    database: Option<String>,
}

impl Book {
    pub(super) fn open(settings: &Settings) -> Self {
        let database = match (&settings.audit, &settings.sink) {
            (Audit::Table, Sink::ClickHouse(sink)) if !settings.dry_run => Some(sink.database.clone()),
            _ => None,
        };
        Book { database }
    }

    /// Whether each range is recorded, those without rows, too.
    pub(super) fn is_kept(&self) -> bool {
        self.database.is_some()
    }

    /// Records a range, once its rows and dead letters are where they belong. False: given up.
    pub(super) fn record(
        &self,
        reach: &Reach,
        prepared: &Prepared,
        tally: &Tally,
        writer: &Writer<'_>,
        stop: &Stop,
    ) -> Result<bool> {
        let Some(database) = &self.database else { return Ok(true) };
        if reach.targets.ensure_audit(TABLE, stop)?.is_none() {
            return Ok(false);
        }
        let batch = &prepared.source.batch;
        let mut tables: Vec<&str> = prepared.parts.iter().map(|part| part.table.name.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        let entry = Entry {
            pipeline: &reach.pipeline,
            topic: &batch.topic,
            partition: batch.partition,
            range: (batch.first, batch.last),
            tally,
            tables: serde_json::to_string(&tables)?,
            transform: &prepared.maker.digest,
            epoch: batch.epoch,
            recovered: prepared.source.recovered.is_some(),
        };
        let rows = [(batch.first, 0)];
        // Of a range that is read once more, the first pass has its row already, in whatever cut.
        let identity = (reach.lasting && !prepared.source.written_before).then(|| IdentityColumns {
            condition: format!(
                "pipeline = {} AND topic = {} AND {} = {} AND epoch = {}",
                literal(&reach.pipeline),
                literal(&batch.topic),
                identifier("partition"),
                batch.partition,
                batch.epoch
            ),
            offset: "first".into(),
            seq: None,
        });
        let job = Job {
            database,
            table: TABLE,
            token: reach.token(batch, TABLE, "audit"),
            converges: false,
            remembers: true,
            in_session: identity.is_some() && reach.client()?.profile().wants_sessions(),
            identity,
            rows: &rows,
            range: (batch.first, batch.last),
            expected: &rows,
            columns: &ddl::AUDIT_COLUMNS.map(|(name, _)| name),
            encode: &|_| entry.encode(&prepared.profile).into(),
        };
        match writer.letters(&job)? {
            Landed::Abandoned => Ok(false),
            Landed::Except(refused) => match refused.first() {
                None => Ok(true),
                Some((_, why)) => Err(anyhow!("the server refuses a row of {TABLE}: {why}")).environment(),
            },
            Landed::TableChanged(why) => {
                Err(anyhow!("the table {TABLE} has other columns than the host writes: {why}"))
                    .environment()
                    .help("rename the table, and the host creates it anew")
            }
        }
    }
}

/// A row of [`TABLE`].
struct Entry<'a> {
    pipeline: &'a str,
    topic: &'a str,
    partition: i32,
    /// First and last offset.
    range: (i64, i64),
    tally: &'a Tally,
    /// A JSON list of names.
    tables: String,
    transform: &'a str,
    epoch: u16,
    /// Whether an earlier owner had begun the range.
    recovered: bool,
}

impl Entry<'_> {
    /// As a `Native` block, in types that the server has.
    fn encode(&self, profile: &Profile) -> Vec<u8> {
        let encoding = Encoding { profile, decode: value::decode };
        let mut block = Block::new(encoding, ddl::AUDIT_COLUMNS.len(), 1);
        for (name, ty) in ddl::AUDIT_COLUMNS {
            block.column(name, &ddl::own_type(ty, profile), std::iter::once(Ok(self.cell(name))));
        }
        block.finish().0
    }

    fn cell(&self, column: &str) -> Value<'_> {
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        match column {
            "pipeline" => Value::Text(self.pipeline.into()),
            "topic" => Value::Text(self.topic.into()),
            "partition" => Value::Int(self.partition.into()),
            "first" => Value::Int(self.range.0),
            "last" => Value::Int(self.range.1),
            "records" => count(self.tally.records),
            "kept" => count(self.tally.kept),
            "filtered" => count(self.tally.filtered),
            "not_changes" => count(self.tally.not_changes),
            "rejected" => count(self.tally.rejected),
            "rows" => count(self.tally.landed),
            "tables" => Value::Array(&self.tables, &Wire::Text),
            "transform" => Value::Text(self.transform.into()),
            "epoch" => Value::Int(self.epoch.into()),
            _ => Value::Int(self.recovered.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            records: 10,
            kept: 5,
            filtered: 3,
            not_changes: 1,
            rejected: 2,
            with_rows: 5,
            torn: 0,
            made: 12,
            refused: 0,
            landed: 12,
        }
    }

    #[test]
    fn a_range_that_adds_up_is_taken() {
        for fine in [tally(), Tally::default(), Tally { refused: 4, landed: 8, ..tally() }] {
            fine.check_records().unwrap();
            fine.check_rows().unwrap();
        }
    }

    #[test]
    fn each_planted_mismatch_of_records_is_found() {
        for (wrong, told) in [
            (
                Tally { records: 11, ..tally() },
                "of 11 records 5 are kept, 3 filtered (1 no changes) and 2 rejected, which are 10",
            ),
            (Tally { filtered: 2, ..tally() }, "which are 9"),
            (Tally { rejected: 3, ..tally() }, "which are 11"),
            (Tally { not_changes: 4, ..tally() }, "(4 no changes)"),
            (Tally { with_rows: 4, ..tally() }, "5 records are kept, and 4 have rows"),
            (Tally { with_rows: 6, ..tally() }, "and 6 have rows"),
            (Tally { torn: 1, ..tally() }, "1 records are rejected and have rows all the same"),
        ] {
            let error = wrong.check_records().expect_err("it does not add up").to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_row_that_neither_landed_nor_was_refused_is_found_and_one_that_landed_too_often() {
        for wrong in [
            Tally { landed: 11, ..tally() },
            Tally { landed: 13, ..tally() },
            Tally { refused: 1, ..tally() },
            Tally { refused: 13, landed: 0, ..tally() },
        ] {
            wrong.check_records().unwrap();
            wrong.check_rows().expect_err("it does not add up");
        }
    }

    #[test]
    fn a_record_of_which_several_rows_are_refused_is_rejected_once() {
        let refused =
            |record| Rejection { record, stage: crate::dead_letter::Stage::Insert, reason: String::new() };
        let mut tally = tally();
        tally.refuse(&[refused(4), refused(7), refused(4)]);
        assert_eq!((tally.kept, tally.rejected), (3, 4));
    }

    #[test]
    fn an_entry_has_a_value_of_its_type_in_each_column_on_any_server() {
        for profile in [Profile::default(), Profile::oldest()] {
            let tally = tally();
            let entry = Entry {
                pipeline: "p",
                topic: "t",
                partition: 1,
                range: (3, 12),
                tally: &tally,
                tables: r#"["a","b"]"#.into(),
                transform: "abc",
                epoch: 1,
                recovered: true,
            };
            let encoding = Encoding { profile: &profile, decode: value::decode };
            for (name, ty) in ddl::AUDIT_COLUMNS {
                let mut block = Block::new(encoding, 1, 1);
                block.column(name, &ddl::own_type(ty, &profile), std::iter::once(Ok(entry.cell(name))));
                let unfit = block.finish().1;
                assert!(unfit.is_empty(), "{name}: {unfit:?}");
            }
        }
    }
}
