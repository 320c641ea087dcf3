//! Inserting rows so that each lands once: attempts, verification, splitting.
//!
//! The first attempt on a range carries a deduplication token that was never used, and is safe. Whatever
//! follows an attempt of unknown outcome is verified by the rows' identities, since a token alone can lose a
//! batch: the server logs it before the part is committed (promises D3 and D4 of `docs/invariants.md`).

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::client::{Client, MAX_EXECUTION_TIME_S};
use super::names::{identifier, literal};
use super::request::Insert;
use super::response::{Class, Failure};
use crate::error::Classify;
use crate::pause::pause;

/// The first wait between two attempts; it doubles up to [`MAX_BACKOFF`], and the wait taken is a random
/// part of it.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Rows that are not split further for want of memory: what one of them needs, all of them have.
const MIN_SPLIT_ROWS: usize = 64;
/// How often the same failure is met by the same means, until the next is tried.
const PATIENCE: usize = 5;
/// Attempts that the server acknowledges without the rows being there, until the pipeline stops.
const MAX_SERIES: u32 = 5;

/// What tells a row from all others: its record's offset, and its place among the record's rows.
pub type Identity = (i64, u16);

/// The columns of a table that hold identities, and what else narrows the search down.
#[derive(Debug, Clone)]
pub struct IdentityColumns {
    /// SQL that is true for the rows of this topic and partition, and of this writer.
    pub condition: String,
    /// The column of the record's offset.
    pub offset: String,
    /// The column of the row's place; none where a record has one row.
    pub seq: Option<String>,
}

/// Rows of one range for one table.
pub struct Job<'a> {
    /// Where they go.
    pub database: &'a str,
    /// Where they go.
    pub table: &'a str,
    /// Names the range, the table, and the rows' place among the range's inserts: the same in each attempt.
    pub token: String,
    /// Whether a row that is inserted twice counts once: the table has a key and versions. Then no attempt
    /// carries its token, since a server that is killed can log a token and lose its rows.
    pub converges: bool,
    /// None: the table cannot say which rows it has.
    pub identity: Option<IdentityColumns>,
    /// The rows' identities; ascending by offset.
    pub rows: &'a [Identity],
    /// The range's offsets, first and last.
    pub range: (i64, i64),
    /// All identities that the range makes in this table, ascending; what else stands there is not ours.
    pub expected: &'a [Identity],
    /// The block's columns.
    pub columns: &'a [&'a str],
    /// Encodes the rows of these indices as a `Native` block.
    pub encode: &'a dyn Fn(&[usize]) -> Vec<u8>,
}

/// How an insert ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Landed {
    /// All rows stand in the table but these, which the server refuses: index and reason.
    Except(Vec<(usize, String)>),
    /// Given up because the host is to stop. The seal stays, and the next start goes on.
    Abandoned,
    /// The table's columns changed: it is to be read again, and the rows encoded anew.
    TableChanged(String),
}

/// Inserts; holds what one insert must know of the process.
pub struct Inserter<'a> {
    /// The server.
    pub client: &'a Client,
    /// Whether the host is to stop, now.
    pub give_up: &'a dyn Fn() -> bool,
    /// Whether the range may still be written: its partition has not been taken away.
    pub is_ours: &'a dyn Fn() -> bool,
    /// Writes a new series of attempts into the range's seal.
    pub reseal: &'a dyn Fn(u32) -> Result<()>,
    /// Rows of the last insert that were acknowledged, or found in their table: each is counted once.
    pub landed: Cell<u64>,
}

impl<'a> Inserter<'a> {
    /// One by which nothing has landed yet.
    pub fn new(
        client: &'a Client,
        give_up: &'a dyn Fn() -> bool,
        is_ours: &'a dyn Fn() -> bool,
        reseal: &'a dyn Fn(u32) -> Result<()>,
    ) -> Self {
        Inserter { client, give_up, is_ours, reseal, landed: Cell::new(0) }
    }

    fn land(&self, rows: usize) {
        self.landed.set(self.landed.get() + rows as u64);
    }

    /// Inserts the rows of `job`. `series` is that of the range's seal, `verify` whether an earlier attempt
    /// may have written some of them.
    pub fn insert(&self, job: &Job<'_>, series: u32, verify: bool) -> Result<Landed> {
        self.landed.set(0);
        let all: Vec<usize> = (0..job.rows.len()).collect();
        self.rows(job, all, series, verify)
    }

    fn rows(&self, job: &Job<'_>, mut rows: Vec<usize>, mut series: u32, mut verify: bool) -> Result<Landed> {
        let mut waits = Waits::new();
        let mut acknowledged = false;
        loop {
            if (self.give_up)() || !(self.is_ours)() {
                return Ok(Landed::Abandoned);
            }
            if verify && let Some(identity) = &job.identity {
                match self.missing(job, identity, &rows) {
                    Ok(Ok(missing)) => {
                        self.land(rows.len() - missing.len());
                        rows = missing;
                    }
                    Ok(Err(surplus)) => {
                        return Err(surplus).environment().help(
                            "nothing is committed: finish the range with the transform that began it, or delete \
                             these rows, and start again",
                        );
                    }
                    Err(failure) => {
                        match waits.class(&failure, 1) {
                            Class::Halt => return Err(halted(job, &failure)),
                            Class::Repair => return Ok(Landed::TableChanged(failure.to_string())),
                            _ => self.wait(&mut waits, job, &failure),
                        }
                        continue;
                    }
                }
                if rows.is_empty() {
                    return Ok(Landed::Except(vec![]));
                }
                if acknowledged {
                    // The server knows the token and has lost its rows: it would drop them for ever.
                    series += 1;
                    if series > MAX_SERIES {
                        return Err(anyhow!(
                            "table {}: the server acknowledged the same rows {MAX_SERIES} times, and does not have them",
                            job.table
                        ))
                        .environment()
                        .help("nothing is committed: see the server's log, and start again");
                    }
                    (self.reseal)(series)?;
                }
            }
            if verify && job.converges {
                // Nothing that an attempt of now may remove is to come back later.
                self.end_zombies(&job.token);
            }
            let failure = match self.attempt(job, &rows, series, waits.attempt) {
                Ok(()) if !verify || job.identity.is_none() => {
                    self.land(rows.len());
                    return Ok(Landed::Except(vec![]));
                }
                Ok(()) => {
                    acknowledged = true;
                    continue;
                }
                Err(failure) => failure,
            };
            acknowledged = false;
            // Even a failure that the server names may come after its rows were written (a view that fails).
            verify |= failure.class != Class::Retry || failure.code.is_some();
            match waits.class(&failure, rows.len()) {
                Class::Retry | Class::Unknown => self.wait(&mut waits, job, &failure),
                Class::Repair => return Ok(Landed::TableChanged(failure.to_string())),
                Class::Split | Class::Permanent if rows.len() > 1 => {
                    tracing::info!(table = job.table, rows = rows.len(), "{failure}: trying again by halves");
                    return self.halves(job, rows, series);
                }
                Class::Permanent => return Ok(Landed::Except(vec![(rows[0], failure.to_string())])),
                Class::Split | Class::Halt => return Err(halted(job, &failure)),
            }
        }
    }

    fn halves(&self, job: &Job<'_>, mut rows: Vec<usize>, series: u32) -> Result<Landed> {
        let right = rows.split_off(rows.len() / 2);
        let mut refused = Vec::new();
        for half in [rows, right] {
            match self.rows(job, half, series, true)? {
                Landed::Except(more) => refused.extend(more),
                other => return Ok(other),
            }
        }
        Ok(Landed::Except(refused))
    }

    fn attempt(&self, job: &Job<'_>, rows: &[usize], series: u32, attempt: u32) -> Result<(), Failure> {
        let mut token = job.token.clone();
        if rows.len() < job.rows.len() {
            // Halves, and what is left of a range, have tokens of their own, the same in each attempt.
            let (first, last) = (job.rows[rows[0]], job.rows[rows[rows.len() - 1]]);
            token += &format!("-{}.{}-{}.{}-{}", first.0, first.1, last.0, last.1, rows.len());
        }
        if series > 0 {
            token += &format!("-s{series}");
        }
        let insert = Insert {
            database: job.database,
            table: job.table,
            columns: job.columns,
            token: (!job.converges).then_some(token.as_str()),
            query_id: &format!("{}-{}-{attempt}", job.token, rows[0]),
            max_execution_time_s: MAX_EXECUTION_TIME_S,
        };
        self.client.insert(&insert, &(job.encode)(rows))
    }

    /// Which of `rows` the table does not have; the inner error says that it has more than it should.
    fn missing(
        &self,
        job: &Job<'_>,
        identity: &IdentityColumns,
        rows: &[usize],
    ) -> Result<Result<Vec<usize>>, Failure> {
        self.end_zombies(&job.token);
        let (first, last) = job.range;
        let offset = identifier(&identity.offset);
        let seq = identity.seq.as_deref().map_or_else(|| "0".to_owned(), identifier);
        let sql = format!(
            "SELECT toInt64({offset}), toUInt16({seq}) FROM {}.{} WHERE {} AND {offset} BETWEEN {} AND {} FORMAT RowBinary",
            identifier(job.database),
            identifier(job.table),
            identity.condition,
            first,
            last,
        );
        let found = self.client.query(&sql)?;
        let mut there: HashMap<Identity, u32> = HashMap::new();
        for row in found.chunks_exact(10) {
            let (offset, seq) = row.split_at(8);
            let identity = (
                i64::from_le_bytes(offset.try_into().unwrap_or_default()),
                u16::from_le_bytes(seq.try_into().unwrap_or_default()),
            );
            *there.entry(identity).or_default() += 1;
        }
        let surplus = there
            .iter()
            .filter(|(identity, count)| **count > 1 || job.expected.binary_search(identity).is_err());
        let surplus = surplus.count();
        if surplus > 0 {
            return Ok(Err(anyhow!(
                "table {} has {surplus} rows of offsets {first} to {last} of {} that this range does not make, or \
                 that stand there twice: another pipeline writes the same records, or the transform was changed \
                 in mid-range",
                job.table,
                identity.condition
            )));
        }
        let missing: Vec<usize> =
            rows.iter().copied().filter(|row| !there.contains_key(&job.rows[*row])).collect();
        tracing::info!(
            table = job.table,
            expected = rows.len(),
            missing = missing.len(),
            "checked which rows of an earlier attempt landed"
        );
        Ok(Ok(missing))
    }

    /// Ends inserts of earlier attempts that may still be running in the server.
    fn end_zombies(&self, token: &str) {
        let pattern = format!("{token}-%");
        let sql = format!("KILL QUERY WHERE query_id LIKE {} SYNC FORMAT Null", literal(&pattern));
        if let Err(failure) = self.client.query(&sql) {
            tracing::debug!("inserts of earlier attempts could not be ended: {failure}");
        }
    }

    fn wait(&self, waits: &mut Waits, job: &Job<'_>, failure: &Failure) {
        let wait = waits.next();
        tracing::warn!(
            table = job.table,
            attempt = waits.attempt,
            wait_ms = wait.as_millis() as u64,
            "waiting for ClickHouse: {failure}"
        );
        pause(wait, self.give_up);
    }
}

fn halted(job: &Job<'_>, failure: &Failure) -> anyhow::Error {
    let error = anyhow!("{failure}").context(format!("inserting into {}.{}", job.database, job.table));
    Err::<(), _>(error).environment().expect_err("made from an error")
}

/// Waits with full jitter.
struct Waits {
    attempt: u32,
    bound: Duration,
    /// The code that failed last, and how often in a row.
    repeated: ((Option<u32>, usize), usize),
}

impl Waits {
    fn new() -> Self {
        Waits { attempt: 0, bound: MIN_BACKOFF, repeated: ((None, 0), 0) }
    }

    /// What to do about a failure: first its own class, and after [`PATIENCE`] times the next one of its row.
    /// The last one stays.
    fn class(&mut self, failure: &Failure, rows: usize) -> Class {
        let kind = (failure.code, failure.then.len());
        let times = if self.repeated.0 == kind { self.repeated.1 + 1 } else { 0 };
        self.repeated = (kind, times);
        let split = usize::from(failure.class == Class::Split && rows <= MIN_SPLIT_ROWS);
        let step = (times / PATIENCE).max(split).min(failure.then.len());
        if step == 0 { failure.class } else { failure.then[step - 1] }
    }

    fn next(&mut self) -> Duration {
        self.attempt += 1;
        let wait = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 2).min(MAX_BACKOFF);
        wait
    }
}
