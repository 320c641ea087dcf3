//! What a simulated batch has to be written; see `pipeline/deliver.rs` and `letters.rs` for the real ones.

use anyhow::{Result, bail};

use super::host::Records;
use super::world::{Kind, LETTERS, Level, TABLES};
use crate::clickhouse::insert::{Identity, IdentityColumns, Job, Landed};
use crate::delivery::{Range, Work, Writer};
use crate::source::SourceBatch;

pub struct Batched {
    level: Level,
    partition: usize,
    /// The records' offsets, and what becomes of them.
    records: Vec<(i64, Kind)>,
    refused: Vec<i64>,
}

impl Batched {
    pub fn new(source: SourceBatch, level: Level, kinds: &Records) -> (Range, Self) {
        let SourceBatch { batch, assignment, recovered, .. } = source;
        let partition = batch.partition as usize;
        let kind = |offset: i64| (offset, kinds[partition][offset as usize]);
        let records = batch.records.iter().map(|record| kind(record.offset)).collect();
        let range = Range {
            partition: (batch.topic, batch.partition),
            assignment,
            first: batch.first,
            last: batch.last,
            epoch: batch.epoch,
            transform: "0123456789abcdef".into(),
            pin: None,
            recovered,
        };
        (range, Batched { level, partition, records, refused: vec![] })
    }

    fn rows_of(&self, table: usize) -> Vec<Identity> {
        let has_row = |kind: &Kind| match kind {
            Kind::Rows(rows) => table < usize::from(*rows),
            Kind::Refused => table == 0,
            Kind::Rejected | Kind::Nothing => false,
        };
        let records = self.records.iter().filter(|(_, kind)| has_row(kind));
        records.map(|(offset, _)| (*offset, 0)).collect()
    }

    fn tables(&self) -> Vec<usize> {
        (0..LETTERS).filter(|table| !self.rows_of(*table).is_empty()).collect()
    }

    /// None: given up.
    fn insert(
        &self,
        table: usize,
        rows: &[Identity],
        write: impl Fn(&Job<'_>) -> Result<Landed>,
        range: &Range,
    ) -> Result<Option<Vec<i64>>> {
        let identity = IdentityColumns {
            condition: self.partition.to_string(),
            offset: "_offset".into(),
            seq: Some("_seq".into()),
        };
        let encode = |which: &[usize]| {
            let row = |at: &usize| {
                let (offset, seq) = rows[*at];
                [&(self.partition as i32).to_le_bytes()[..], &offset.to_le_bytes(), &seq.to_le_bytes()]
                    .concat()
            };
            which.iter().flat_map(row).collect::<Vec<u8>>().into()
        };
        let job = Job {
            database: "d",
            table: TABLES[table],
            token: format!("{}.{}.{}.{}", self.partition, range.first, range.last, TABLES[table]),
            converges: self.level.converges(table),
            remembers: true,
            in_session: self.level.has_sessions(),
            identity: self.level.has_lineage(table).then_some(identity),
            rows,
            range: (range.first, range.last),
            expected: rows,
            columns: &[],
            encode: &encode,
        };
        match write(&job)? {
            Landed::Except(refused) => Ok(Some(refused.iter().map(|(row, _)| rows[*row].0).collect())),
            Landed::Abandoned => Ok(None),
            Landed::TableChanged(why) => bail!("the table changed: {why}"),
        }
    }
}

/// A row of a block.
pub fn decoded(bytes: &[u8]) -> (usize, Identity) {
    let (partition, rest) = bytes.split_at(4);
    let (offset, seq) = rest.split_at(8);
    let partition = i32::from_le_bytes(partition.try_into().expect("4 bytes"));
    let offset = i64::from_le_bytes(offset.try_into().expect("8 bytes"));
    (partition as usize, (offset, u16::from_le_bytes(seq.try_into().expect("2 bytes"))))
}

impl Work for Batched {
    fn begin(&mut self) -> Result<Option<bool>> {
        Ok(Some(self.records.iter().any(|(_, kind)| *kind != Kind::Nothing)))
    }

    fn parts(&self) -> usize {
        self.tables().len()
    }

    fn part(&mut self, index: usize, writer: &Writer<'_>) -> Result<bool> {
        let table = self.tables()[index];
        let rows = self.rows_of(table);
        let refused = self.insert(table, &rows, |job| writer.rows(index, job, false), writer.range())?;
        let landed = refused.is_some();
        self.refused.extend(refused.unwrap_or_default());
        Ok(landed)
    }

    fn rows_done(&mut self, _: &Writer<'_>) -> Result<bool> {
        Ok(true)
    }

    fn letters(&mut self, writer: &Writer<'_>) -> Result<bool> {
        let rejected = self.records.iter().filter(|(_, kind)| *kind == Kind::Rejected);
        let mut rows: Vec<Identity> = rejected.map(|(offset, _)| (*offset, 0)).collect();
        rows.extend(self.refused.iter().map(|offset| (*offset, 0)));
        rows.sort_unstable();
        if rows.is_empty() {
            return Ok(true);
        }
        let refused = self.insert(LETTERS, &rows, |job| writer.letters(job), writer.range())?;
        Ok(refused.is_some_and(|refused| refused.is_empty()))
    }

    fn done(&mut self) -> Result<()> {
        Ok(())
    }
}
