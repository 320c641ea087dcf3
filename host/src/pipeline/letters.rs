//! Dead letters of a batch: collected, and kept where the configuration says.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};

use super::Stop;
use super::prepare::{Prepared, Rejection};
use super::reach::Reach;
use crate::clickhouse::ddl;
use crate::clickhouse::insert::{Identity, IdentityColumns, Job, Landed};
use crate::clickhouse::names::{identifier, literal};
use crate::config::{DeadLetters, Settings, Sink, Source};
use crate::dead_letter::{self, DeadLetter, Keeper};
use crate::delivery::Writer;
use crate::error::Classify;
use crate::locked::locked;

/// Where dead letters go.
#[derive(Clone)]
pub(super) enum Letters {
    /// A ClickHouse table.
    Table {
        /// Its database.
        database: String,
        /// Its name.
        table: String,
    },
    /// Elsewhere, those of one batch after those of another.
    Keeper(Arc<Mutex<Keeper>>),
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
        let keeper = |keeper| Letters::Keeper(Arc::new(Mutex::new(keeper)));
        Ok(match (&settings.dead_letters, &settings.sink, &settings.source) {
            (DeadLetters::Table(table), Sink::ClickHouse(sink), _) => {
                Letters::Table { database: sink.database.clone(), table: table.clone() }
            }
            (DeadLetters::Table(_), Sink::Lines { .. }, _) => {
                return Err(anyhow!("dead letters cannot go to a table when the output is a file")).usage();
            }
            (DeadLetters::Topic(name), _, Source::Kafka(kafka)) => keeper(Keeper::topic(name, kafka)?),
            (DeadLetters::Topic(_), _, Source::Lines { .. }) => {
                return Err(anyhow!("dead letters cannot go to a topic when the input is a file")).usage();
            }
            (DeadLetters::File(path), ..) => keeper(Keeper::File(path.clone(), None)),
            (DeadLetters::Stop, ..) => keeper(Keeper::Stop),
        })
    }

    /// Stops at the first dead letter that a batch comes with, where that is what dead letters do.
    ///
    /// # Errors
    /// There is one.
    pub(super) fn stop_at(&self, reach: &Reach, prepared: &Prepared) -> Result<()> {
        let (Letters::Keeper(keeper), Some(first)) = (self, prepared.rejections.first()) else {
            return Ok(());
        };
        match &mut *locked(keeper) {
            keeper @ Keeper::Stop => keeper.keep(&[letter(reach, prepared, first)]),
            _ => Ok(()),
        }
    }

    /// Keeps a batch's dead letters: those that it came with, and `more` that the server refused. False:
    /// given up.
    pub(super) fn keep(
        &self,
        reach: &Reach,
        prepared: &Prepared,
        more: &[Rejection],
        writer: &Writer<'_>,
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
            Letters::Table { database, table } => {
                insert(reach, prepared, (database, table), &letters, writer, stop)
            }
            Letters::Keeper(keeper) => locked(keeper).keep(&letters).map(|()| true),
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
        transform: &prepared.maker.digest,
        pipeline: &reach.pipeline,
        headers: batch.headers_of(rejection.record).collect(),
    }
}

fn insert(
    reach: &Reach,
    prepared: &Prepared,
    (database, table): (&str, &str),
    letters: &[DeadLetter<'_>],
    writer: &Writer<'_>,
    stop: &Stop,
) -> Result<bool> {
    let batch = &prepared.source.batch;
    let Some(has) = reach.targets.ensure_dead_letters(table, batch.epoch, stop)? else { return Ok(false) };
    let columns = dead_letter::columns(has.headers);
    let epoch = has.epoch.then_some(batch.epoch);
    let rows: Vec<Identity> = letters.iter().map(|letter| (letter.offset, 0)).collect();
    // In an earlier pass any record may have been refused that is taken now.
    let expected: Vec<Identity> = match prepared.source.written_before {
        true => batch.records.iter().map(|record| (record.offset, 0)).collect(),
        false => rows.clone(),
    };
    let identity = reach.lasting.then(|| IdentityColumns {
        condition: format!(
            "pipeline = {} AND topic = {} AND {} = {}{}",
            literal(&reach.pipeline),
            literal(&batch.topic),
            identifier("partition"),
            batch.partition,
            epoch.map(|epoch| format!(" AND epoch = {epoch}")).unwrap_or_default()
        ),
        offset: "offset".into(),
        seq: None,
    });
    let own = columns.iter().map(|(name, _)| *name);
    let names: Vec<&str> = own.chain(epoch.map(|_| ddl::DEAD_LETTER_EPOCH.0)).collect();
    let job = Job {
        database,
        table,
        token: reach.token(batch, table, "dead letters"),
        converges: false,
        remembers: reach.client()?.profile().tokens,
        in_session: identity.is_some() && reach.client()?.profile().wants_sessions(),
        identity,
        rows: &rows,
        range: (batch.first, batch.last),
        expected: &expected,
        columns: &names,
        encode: &|which| dead_letter::encode(letters, which, columns, epoch, &prepared.profile).into(),
    };
    let landed = match prepared.source.written_before {
        true => writer.letters_again(&job),
        false => writer.letters(&job),
    };
    match landed? {
        Landed::Abandoned => Ok(false),
        Landed::Except(refused) => match refused.first() {
            None => Ok(true),
            Some((_, why)) => Err(anyhow!("table {table}: the server refuses a dead letter: {why}"))
                .environment()
                .help("nothing is committed past its batch: mend the table of dead letters, or name another place for them"),
        },
        Landed::TableChanged(why) => {
            Err(anyhow!("the table {table} of dead letters has other columns than the host writes: {why}"))
                .environment()
        }
    }
}
