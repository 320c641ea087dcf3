//! Dead letters of a batch: collected, and kept where the configuration says.

use std::collections::HashSet;

use anyhow::{Result, anyhow};

use super::Stop;
use super::prepare::{Prepared, Rejection};
use super::reach::Reach;
use crate::clickhouse::insert::{Identity, IdentityColumns, Inserter, Job, Landed};
use crate::clickhouse::names::{identifier, literal};
use crate::config::{DeadLetters, Settings, Sink, Source};
use crate::dead_letter::{self, DeadLetter, Keeper};
use crate::error::Classify;

/// Where dead letters go.
pub(super) enum Letters {
    /// A ClickHouse table.
    Table {
        /// Its database.
        database: String,
        /// Its name.
        table: String,
    },
    /// Elsewhere.
    Keeper(Keeper),
    /// Nowhere, in a dry run: they are only logged.
    Log,
}

impl Letters {
    /// # Errors
    /// A choice that the rest of the settings leaves no place for.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        if settings.dry_run {
            return Ok(Letters::Log);
        }
        Ok(match (&settings.dead_letters, &settings.sink, &settings.source) {
            (DeadLetters::Table(table), Sink::ClickHouse(sink), _) => {
                Letters::Table { database: sink.database.clone(), table: table.clone() }
            }
            (DeadLetters::Table(_), Sink::Lines { .. }, _) => {
                return Err(anyhow!("dead letters cannot go to a table when the output is a file")).usage();
            }
            (DeadLetters::Topic(name), _, Source::Kafka(kafka)) => {
                Letters::Keeper(Keeper::topic(name, kafka)?)
            }
            (DeadLetters::Topic(_), _, Source::Lines { .. }) => {
                return Err(anyhow!("dead letters cannot go to a topic when the input is a file")).usage();
            }
            (DeadLetters::File(path), ..) => Letters::Keeper(Keeper::File(path.clone(), None)),
            (DeadLetters::Stop, ..) => Letters::Keeper(Keeper::Stop),
        })
    }

    /// Keeps a batch's dead letters: those that it came with, and `more` that the server refused. False:
    /// given up.
    pub(super) fn keep(
        &mut self,
        reach: &Reach,
        prepared: &Prepared,
        more: &[Rejection],
        stop: &Stop,
    ) -> Result<bool> {
        let mut seen = HashSet::new();
        let rejections =
            prepared.rejections.iter().chain(more).filter(|rejection| seen.insert(rejection.record));
        let mut rejections: Vec<&Rejection> = rejections.collect();
        rejections.sort_by_key(|rejection| rejection.record);
        if rejections.is_empty() {
            return Ok(true);
        }
        let letters: Vec<DeadLetter<'_>> =
            rejections.into_iter().map(|rejection| letter(reach, prepared, rejection)).collect();
        match self {
            Letters::Table { database, table } => insert(reach, prepared, (database, table), &letters, stop),
            Letters::Keeper(keeper) => keeper.keep(&letters).map(|()| true),
            Letters::Log => {
                for letter in letters {
                    let DeadLetter { topic, partition, offset, reason, .. } = letter;
                    tracing::warn!(
                        topic,
                        partition,
                        offset,
                        stage = letter.stage.name(),
                        "would reject: {reason}"
                    );
                }
                Ok(true)
            }
        }
    }
}

fn letter<'a>(reach: &'a Reach, prepared: &'a Prepared, rejection: &'a Rejection) -> DeadLetter<'a> {
    let batch = &prepared.source.batch;
    let record = &batch.records[rejection.record as usize];
    DeadLetter {
        topic: &batch.topic,
        partition: batch.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(|key| key.of(&batch.arena)),
        value: record.value.map(|value| value.of(&batch.arena)),
        stage: rejection.stage,
        reason: &rejection.reason,
        transform: &reach.transform,
        pipeline: &reach.pipeline,
        headers: batch.headers_of(rejection.record).collect(),
    }
}

fn insert(
    reach: &Reach,
    prepared: &Prepared,
    (database, table): (&str, &str),
    letters: &[DeadLetter<'_>],
    stop: &Stop,
) -> Result<bool> {
    let Some(headers) = reach.targets.ensure_dead_letters(table, stop)? else { return Ok(false) };
    let columns = dead_letter::columns(headers);
    let batch = &prepared.source.batch;
    let rows: Vec<Identity> = letters.iter().map(|letter| (letter.offset, 0)).collect();
    let identity = reach.lasting.then(|| IdentityColumns {
        condition: format!(
            "pipeline = {} AND topic = {} AND {} = {}",
            literal(&reach.pipeline),
            literal(&batch.topic),
            identifier("partition"),
            batch.partition
        ),
        offset: "offset".into(),
        seq: None,
    });
    let job = Job {
        database,
        table,
        token: reach.token(batch, table, "dead letters"),
        converges: false,
        identity,
        rows: &rows,
        range: (batch.first, batch.last),
        expected: &rows,
        columns: &columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        encode: &|which: &[usize]| dead_letter::encode(letters, which, columns, &prepared.profile),
    };
    let partition = prepared.partition();
    let ours = || reach.is_ours(&partition, prepared.source.assignment);
    let give_up = || stop.give_up();
    // A lost token costs letters a series of its own only while this process lives; the next one verifies.
    let inserter =
        Inserter { client: reach.client()?, give_up: &give_up, is_ours: &ours, reseal: &|_| Ok(()) };
    match inserter.insert(&job, 0, prepared.source.recovered.is_some())? {
        Landed::Abandoned => Ok(false),
        Landed::Except(refused) => match refused.first() {
            None => Ok(true),
            Some((_, why)) => Err(anyhow!("the server refuses a dead letter: {why}")).environment(),
        },
        Landed::TableChanged(why) => {
            Err(anyhow!("the table {table} of dead letters has other columns than the host writes: {why}"))
                .environment()
        }
    }
}
