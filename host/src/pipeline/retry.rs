//! Processing dead letters again: the same decoding, transform, encoding and inserts as a run, with each row's lineage
//! of the original record (promise D14 of `docs/invariants.md`).
//!
//! A run knows by its seal which rows an earlier attempt may have written. Here the marks of letters say it: a letter is
//! marked as begun before its first row is written, and each insert is preceded by a look at which of its rows are
//! there. The mark names the session that rows go in, as a seal does: another retry of the letter, later or at the same
//! time, closes it before it looks. Rows of a letter that was never begun are someone else's, and are not taken for its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;

use super::prepare::{Part, Prepared, Preparer};
use super::targets::Targets;
use super::{Stop, chosen, header_names, pinned};
use crate::batch::{HeaderNames, Incoming, IncomingHeader, OpenBatch};
use crate::clickhouse::block;
use crate::clickhouse::client::Client;
use crate::clickhouse::insert::{Identity, IdentityColumns, Inserter, Job, Landed, Tie};
use crate::clickhouse::names::{identifier, literal};
use crate::clickhouse::response::Failure;
use crate::clickhouse::session::Session;
use crate::clickhouse::table::Table;
use crate::clickhouse::target::Target;
use crate::config::{Settings, Sink};
use crate::dead_letter::Stage;
use crate::dead_letter::filter::Place;
use crate::dead_letter::read::Letter;
use crate::dead_letter::text::headers_of_json;
use crate::error::Classify;
use crate::pause::SystemClock;
use crate::signal::Shutdown;
use crate::source::SourceBatch;
use crate::transform::digest;
use crate::transform::sandbox::Sandbox;

/// The server's code for a table that is not there.
const UNKNOWN_TABLE: u32 = 60;

/// What becomes of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It makes so many rows; after [`Retrier::land`] they are in their tables.
    Lands(usize),
    /// It makes no row, and rightly so.
    Filtered,
    /// It cannot be processed.
    Fails(Stage, String),
    /// It may not be processed now.
    Held(String),
}

/// What an earlier attempt may have written of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing: there was none.
    Nothing,
    /// Some of its rows.
    Rows,
    /// Some or all of its rows, and the attempt was cut off before it knew.
    Unknown,
}

/// Letters of one partition, processed and not inserted yet.
pub struct Tried {
    prepared: Prepared,
    /// By the letters' order.
    pub fates: Vec<Fate>,
}

impl Tried {
    /// Whether rows go to a table that cannot say which rows it has. Then letters must be tried one by one: a letter's
    /// insert is known by its token alone, which must not depend on which other letters came with it.
    pub fn must_be_alone(&self) -> bool {
        let blind = |part: &Part| !part.rows.is_keyed() && !part.table.can_verify();
        self.fates.len() > 1 && self.prepared.parts.iter().any(blind)
    }

    /// The letter that a row of a part comes from.
    fn letter_of(&self, part: &Part, row: usize) -> usize {
        self.prepared.decoded.changes[part.rows.changes[row] as usize].record as usize
    }

    /// The rows of a part whose letters are to land.
    fn landing(&self, part: &Part) -> Vec<usize> {
        let lands = |row: &usize| matches!(self.fates[self.letter_of(part, *row)], Fate::Lands(_));
        (0..part.identities.len()).filter(lands).collect()
    }
}

/// What processes letters again, by the settings of a run.
pub struct Retrier {
    preparer: Preparer,
    targets: Arc<Targets>,
    client: Client,
    headers: HeaderNames,
    pipeline: String,
    transform: String,
    dry_run: bool,
    stop: Stop,
    /// That of its attempts, where they go in one.
    session: RefCell<Session>,
}

impl Retrier {
    /// # Errors
    /// A transform that cannot be loaded, a target that does not answer.
    pub fn open(settings: &Settings, shutdown: Shutdown) -> Result<Self> {
        let chosen = chosen::chosen(settings)?;
        let sandbox = Sandbox::alone(settings.compiling()).environment()?;
        let transform = chosen::load(&chosen.settings, &chosen.kept, &sandbox)?;
        let settings = &chosen.settings;
        let Sink::ClickHouse(sink) = &settings.sink else {
            return Err(anyhow!("dead letters are processed again into ClickHouse only")).usage();
        };
        let client = Client::connect(sink, Handle::current())?;
        let pin = chosen.kept.pin();
        let maker = pinned::maker(settings, transform, pin, Some(&client));
        let (targets, digest) = (maker.targets.clone(), maker.digest.clone());
        let preparer = pinned::lone(settings, maker, &Handle::current())?;
        tracing::info!(transform = %settings.transform, digest, "transform loaded");
        Ok(Retrier {
            preparer,
            targets,
            client,
            headers: header_names(settings),
            pipeline: settings.name.clone(),
            transform: digest,
            dry_run: settings.dry_run,
            stop: Stop::new(shutdown),
            session: RefCell::default(),
        })
    }

    /// The digest of the transform that letters pass now, as it stands in their rows.
    pub fn transform(&self) -> &str {
        &self.transform
    }

    /// Whether a signal asks to stop.
    pub fn is_to_stop(&self) -> bool {
        self.stop.shutdown.is_requested()
    }

    /// Decodes, transforms and encodes letters of one partition, by ascending offset. None: given up because a signal
    /// asks for it.
    ///
    /// # Errors
    /// What would end a run, too: a table that does not fit, a registry that refuses.
    pub fn prepare(&mut self, of: &Place, letters: &[Letter]) -> Result<Option<Tried>> {
        let first = letters.first().map_or(0, |letter| letter.offset);
        let mut open = OpenBatch::new(of.topic.as_str().into(), of.partition, first, None, Instant::now());
        let mut fates = vec![Fate::Filtered; letters.len()];
        // One batch is of one life of its topic: the last one that is here.
        let epoch = letters.iter().map(|letter| letter.epoch).max().unwrap_or_default();
        for (letter, fate) in letters.iter().zip(&mut fates) {
            if letter.epoch < epoch {
                let what =
                    "it is of the topic before that was made anew: process it again by itself, with --offset";
                *fate = Fate::Held(what.to_owned());
            }
            let headers = headers_of_json(&letter.headers).unwrap_or_else(|what| {
                *fate = Fate::Fails(Stage::Decode, what);
                vec![]
            });
            let headers: Vec<IncomingHeader<'_>> = headers
                .iter()
                .filter_map(|(name, value)| Some((self.headers.find(name)?, value.as_deref())))
                .collect();
            let record = Incoming {
                offset: letter.offset,
                timestamp_ms: letter.timestamp_ms(),
                key: letter.key.as_deref(),
                value: letter.value.as_deref(),
                headers: &headers,
            };
            open.push(&record);
        }
        let mut batch = open.close();
        batch.epoch = epoch;
        let (recovered, written_before, incarnation) = (None, false, Arc::default());
        let source = SourceBatch { batch, assignment: 0, recovered, incarnation, written_before };
        let Some(prepared) = self.preparer.prepare(source, &self.stop)? else { return Ok(None) };
        let mut tried = Tried { prepared, fates };
        tried.judge();
        Ok(Some(tried))
    }

    /// Looks which rows of the letters are in their tables already. `earlier` says of a letter which may be.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn check(&self, tried: &mut Tried, earlier: &dyn Fn(usize) -> Earlier) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        let mut held: Vec<(usize, String)> = Vec::new();
        let Tried { prepared, .. } = &*tried;
        for table in prepared.parts.iter().filter(|part| !part.rows.is_keyed()).map(|part| &part.table) {
            if seen.contains(&table.name.as_str()) {
                continue;
            }
            seen.push(&table.name);
            if !self.dry_run {
                self.end_earlier(prepared, table);
            }
            if !table.can_verify() {
                let unknown = (0..tried.fates.len())
                    .filter(|letter| !table.facts.remembers() && earlier(*letter) == Earlier::Unknown);
                held.extend(unknown.map(|letter| {
                    let what = format!(
                        "an earlier retry of it was cut off, and table {} can neither say whether its rows are there nor \
                         knows them again: look, and discard the letter if they are",
                        table.name
                    );
                    (letter, what)
                }));
                continue;
            }
            let expected = prepared.identities_in(&table.name);
            for ((offset, seq), count) in self.there(prepared, table)? {
                let found =
                    prepared.source.batch.records.binary_search_by_key(&offset, |record| record.offset);
                let Ok(letter) = found else { continue };
                let name = &table.name;
                if count > 1 || expected.binary_search(&(offset, seq)).is_err() {
                    let what = format!(
                        "table {name} has rows of this record that it does not make now, or has them twice: \
                         delete them, or discard the letter"
                    );
                    held.push((letter, what));
                } else if earlier(letter) == Earlier::Nothing {
                    let what = format!(
                        "table {name} has rows of this record, and no retry wrote them: if they are right, \
                         discard the letter, else delete them"
                    );
                    held.push((letter, what));
                }
            }
        }
        for (letter, why) in held {
            tried.fates[letter] = Fate::Held(why);
        }
        Ok(())
    }

    /// Which rows of the batch's records a table has, and how often.
    fn there(&self, prepared: &Prepared, table: &Table) -> Result<HashMap<Identity, u32>> {
        let sql = format!(
            "SELECT toUInt64(`_offset`), toUInt64(`_seq`) FROM {}.{} WHERE {} FORMAT RowBinary",
            identifier(&table.database),
            identifier(&table.name),
            of_records(prepared, table, |_| true),
        );
        let answer = match self.client.query(&sql) {
            Ok(answer) => answer,
            // Only planned, in a dry run.
            Err(failure) if failure.code == Some(UNKNOWN_TABLE) => vec![],
            Err(failure) => return Err(anyhow!("ClickHouse: {failure}")).environment(),
        };
        let mut there = HashMap::new();
        let (pairs, _) = answer.as_chunks::<16>();
        for pair in pairs {
            let (offset, seq) = pair.split_at(8);
            let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            let identity = (number(offset) as i64, number(seq) as u16);
            *there.entry(identity).or_default() += 1;
        }
        Ok(there)
    }

    /// Ends inserts of earlier retries that may still run in the server: they would not be found by looking.
    fn end_earlier(&self, prepared: &Prepared, table: &Table) {
        let pattern = format!("{}-%", self.place_token(prepared, table));
        let sql = format!("KILL QUERY WHERE query_id LIKE {} SYNC FORMAT Null", literal(&pattern));
        if let Err(failure) = self.client.query(&sql) {
            tracing::debug!("inserts of earlier retries could not be ended: {failure}");
        }
    }

    /// What all tokens of a partition's letters begin with, for one table.
    fn place_token(&self, prepared: &Prepared, table: &Table) -> String {
        let batch = &prepared.source.batch;
        let mut text = format!("{}\0{}\0{}\0{}", self.pipeline, batch.topic, batch.partition, table.name);
        if batch.epoch > 0 {
            text += &format!("\0epoch {}", batch.epoch);
        }
        format!("retry-{}", &digest(text.as_bytes())[..16])
    }

    /// Inserts the rows of the letters that are to land; those that the server refuses fail then. `begin` marks them as
    /// begun in a session, and returns the other sessions that they were begun in. False: a table changed, and the
    /// letters are to be prepared again. None: given up.
    ///
    /// # Errors
    /// What ends a run, too.
    pub fn land(&self, tried: &mut Tried, begin: &Begin<'_>) -> Result<Option<bool>> {
        let landing = Landing { retrier: self, begin };
        landing.begin()?;
        for index in 0..tried.prepared.parts.len() {
            let part = &tried.prepared.parts[index];
            let rows = tried.landing(part);
            if rows.is_empty() {
                continue;
            }
            match self.insert(tried, index, &rows, &landing)? {
                Landed::Except(refused) => {
                    let refused: Vec<(usize, String)> = refused
                        .into_iter()
                        .map(|(row, why)| (tried.letter_of(part, rows[row]), why))
                        .collect();
                    for (letter, why) in refused {
                        tried.fates[letter] = Fate::Fails(Stage::Insert, why);
                    }
                }
                Landed::Abandoned => return Ok(None),
                Landed::TableChanged(why) => {
                    tracing::warn!(table = part.table.name, "{why}: reading the table again");
                    self.targets.forget(&part.table.name);
                    return Ok(Some(false));
                }
            }
        }
        Ok(Some(true))
    }

    fn insert(&self, tried: &Tried, index: usize, rows: &[usize], tie: &dyn Tie) -> Result<Landed> {
        let (prepared, part) = (&tried.prepared, &tried.prepared.parts[index]);
        let table = &part.table;
        let identities: Vec<Identity> = rows.iter().map(|row| part.identities[*row]).collect();
        let of_letters = |offset: i64| identities.binary_search_by_key(&offset, |(of, _)| *of).is_ok();
        let mut expected = prepared.identities_in(&table.name);
        expected.retain(|(offset, _)| of_letters(*offset));
        let converges = part.rows.is_keyed() || table.converges();
        let identity = (table.can_verify() && !converges).then(|| IdentityColumns {
            condition: of_records(prepared, table, of_letters),
            offset: "_offset".into(),
            seq: Some("_seq".into()),
        });
        let values = prepared.values(&self.transform);
        let encode = |chosen: &[usize]| {
            let chosen: Vec<usize> = chosen.iter().map(|at| rows[*at]).collect();
            block::encode(&values, &part.binding, &part.rows, &chosen).body.into()
        };
        let columns: Vec<&str> = part.binding.columns.iter().map(|column| column.name.as_str()).collect();
        let offsets: Vec<String> = identities.iter().map(|(offset, seq)| format!("{offset}.{seq}")).collect();
        let token = digest(format!("{index}\0{}", offsets.join(",")).as_bytes());
        let job = Job {
            database: &table.database,
            table: &table.name,
            token: format!("{}-{}", self.place_token(prepared, table), &token[..32]),
            converges,
            remembers: table.facts.remembers(),
            // At any level: the tokens of two retries of a letter may differ.
            in_session: identity.is_some() && self.client.profile().sessions,
            identity,
            rows: &identities,
            range: (prepared.source.batch.first, prepared.source.batch.last),
            expected: &expected,
            columns: &columns,
            encode: &encode,
        };
        let give_up = || self.stop.give_up();
        let inserter = Inserter {
            target: &self.client,
            clock: &SystemClock,
            give_up: &give_up,
            is_ours: &|| true,
            tie,
            landed: Cell::new(0),
        };
        inserter.insert(&job, 0, true)
    }
}

/// Marks the letters that are to land as begun, in this session, and returns the other sessions that they were begun in.
pub type Begin<'a> = dyn Fn(Option<&str>) -> Result<Vec<String>> + 'a;

/// Letters that are landing, tied to their marks.
struct Landing<'a> {
    retrier: &'a Retrier,
    begin: &'a Begin<'a>,
}

impl Landing<'_> {
    /// Has a session, writes it into the marks, and closes those of other retries: what they insert from here on is
    /// refused, and what they have inserted is seen.
    fn begin(&self) -> Result<()> {
        let Retrier { client, session, .. } = self.retrier;
        let answered = |failure| anyhow!("ClickHouse: {failure}");
        session.borrow_mut().settle(client, client.profile().sessions).map_err(answered).environment()?;
        let own = self.session();
        for other in (self.begin)(own.as_deref())? {
            if own.as_ref() != Some(&other) {
                client.close_session(&other).map_err(answered).environment()?;
            }
        }
        Ok(())
    }
}

impl Tie for Landing<'_> {
    /// A lost token costs a series only while this process lives; the next one looks first.
    fn reseal(&self, _series: u32) -> Result<bool> {
        Ok(true)
    }

    fn sessions(&self) -> &RefCell<Session> {
        &self.retrier.session
    }

    fn settle(&self) -> Result<Result<bool, Failure>> {
        let Retrier { client, session, .. } = self.retrier;
        if session.borrow().is_settled(true) {
            return Ok(Ok(true));
        }
        let closed = session.borrow_mut().settle(client, false);
        match closed {
            Ok(()) => self.begin().map(|()| Ok(true)),
            Err(failure) => Ok(Err(failure)),
        }
    }
}

impl Tried {
    /// The letters' fates by what became of their records.
    fn judge(&mut self) {
        let Tried { prepared, fates } = self;
        for part in &prepared.parts {
            for change in &part.rows.changes {
                let letter = prepared.decoded.changes[*change as usize].record as usize;
                fates[letter] = match fates[letter] {
                    Fate::Lands(rows) => Fate::Lands(rows + 1),
                    // Its headers could not be read: what was made without them is not it.
                    Fate::Fails(..) | Fate::Held(_) => continue,
                    _ => Fate::Lands(1),
                };
            }
        }
        for emptied in &prepared.emptied {
            let records = &prepared.source.batch.records;
            if let Ok(letter) = records.binary_search_by_key(&emptied.offset, |record| record.offset) {
                let what = "a truncate is not done again: remove the rows by hand, and discard the letter";
                fates[letter] = Fate::Held(what.to_owned());
            }
        }
        for rejection in &prepared.rejections {
            let fate = &mut fates[rejection.record as usize];
            if !matches!(fate, Fate::Held(_)) {
                *fate = Fate::Fails(rejection.stage, rejection.reason.clone());
            }
        }
    }
}

/// The condition of rows of those of the batch's records whose offsets are `wanted`.
fn of_records(prepared: &Prepared, table: &Table, wanted: impl Fn(i64) -> bool) -> String {
    let batch = &prepared.source.batch;
    let offsets = batch.records.iter().map(|record| record.offset).filter(|offset| wanted(*offset));
    let offsets: Vec<String> = offsets.map(|offset| offset.to_string()).collect();
    let of_partition = table.condition(&batch.topic, batch.epoch, batch.partition);
    format!("{of_partition} AND `_offset` IN ({})", offsets.join(", "))
}
