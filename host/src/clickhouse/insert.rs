//! Inserting rows so that each lands once: attempts, verification, splitting.
//!
//! The first attempt on a range carries a deduplication token that was never used, and is safe. Whatever
//! follows an attempt of unknown outcome is verified by the rows' identities, since a token alone can lose a
//! batch: the server logs it before the part is committed (promises D3 and D4 of `docs/invariants.md`).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::client::MAX_EXECUTION_TIME_S;
use super::request::Insert;
use super::response::{Class, Failure};
use super::session::{self, Session};
use super::target::{Look, Target};
use crate::chaos::{self, Bug};
use crate::error::Classify;
use crate::pause::{Backoff, Clock};

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
    /// Whether the table drops a block whose token it knows.
    pub remembers: bool,
    /// Whether its attempts go in the writer's session, so that none lands after it was looked for.
    pub in_session: bool,
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
    pub encode: &'a dyn Fn(&[usize]) -> Cow<'a, [u8]>,
}

impl Job<'_> {
    /// Where the table says which rows it has.
    fn identity(&self) -> Option<&IdentityColumns> {
        let blind = chaos::has(Bug::TokenOfAttempt) || chaos::has(Bug::NoWindow);
        self.identity.as_ref().filter(|_| !blind)
    }

    fn in_session(&self) -> bool {
        self.in_session && !chaos::has(Bug::SessionsIgnored)
    }
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

/// What attempts are tied to beyond the process that makes them: who comes next finds them by it.
pub trait Tie {
    /// Writes a new series of attempts into the range's seal; false where the range is given up.
    ///
    /// # Errors
    /// What only a person can end.
    fn reseal(&self, series: u32) -> Result<bool>;

    /// The writer's session.
    fn sessions(&self) -> &RefCell<Session>;

    /// The session that the next attempt goes in.
    fn session(&self) -> Option<String> {
        self.sessions().borrow().name().map(str::to_owned)
    }

    /// An attempt in the session had no good end: it may still run, or begin.
    fn doubt(&self) {
        self.sessions().borrow_mut().doubt();
    }

    /// Where there is doubt, closes that session and takes another, which stands in the range's seal; false where the
    /// range is given up.
    ///
    /// # Errors
    /// The inner one is the server's: to be tried again. The outer one is what only a person can end.
    fn settle(&self) -> Result<Result<bool, Failure>>;
}

/// Inserts; holds what one insert must know of the process.
pub struct Inserter<'a> {
    /// The server.
    pub target: &'a dyn Target,
    /// What waits.
    pub clock: &'a dyn Clock,
    /// Whether the host is to stop, now.
    pub give_up: &'a dyn Fn() -> bool,
    /// Whether the range may still be written: its partition has not been taken away.
    pub is_ours: &'a dyn Fn() -> bool,
    /// What outlives the process.
    pub tie: &'a dyn Tie,
    /// Rows of the last insert that were acknowledged, or found in their table: each is counted once.
    pub landed: Cell<u64>,
}

impl Inserter<'_> {
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
        // The rows of an insert that failed in a view behind the table.
        let mut behind: Option<Vec<usize>> = None;
        let begun = series;
        loop {
            if (self.give_up)() || !(self.is_ours)() {
                return Ok(Landed::Abandoned);
            }
            // What is looked for must not land later.
            if job.in_session() {
                match self.tie.settle()? {
                    Ok(true) => {}
                    Ok(false) => return Ok(Landed::Abandoned),
                    Err(failure) => {
                        match waits.class(&failure, 1) {
                            Class::Halt => return Err(halted(job, &failure)),
                            _ => self.wait(&mut waits, job, &failure),
                        }
                        continue;
                    }
                }
            }
            if verify && let Some(identity) = job.identity() {
                match self.missing(job, identity, &rows) {
                    Ok(Ok(missing)) => match behind.take() {
                        // By its token the table drops what it has; the view gets what it lacks.
                        Some(all) => rows = all,
                        None => {
                            self.land(rows.len() - missing.len());
                            rows = missing;
                        }
                    },
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
                    if series > begun + MAX_SERIES {
                        return Err(anyhow!(
                            "table {}: the server acknowledged the same rows {MAX_SERIES} times, and does not have them",
                            job.table
                        ))
                        .environment()
                        .help("nothing is committed: see the server's log, and start again");
                    }
                    if !self.tie.reseal(series)? {
                        return Ok(Landed::Abandoned);
                    }
                }
            }
            // Nothing that an attempt of now may remove is to come back later.
            if verify
                && job.converges
                && let Err(failure) = self.end_zombies(&job.token)
            {
                match waits.class(&failure, 1) {
                    Class::Halt => return Err(halted(job, &failure)),
                    _ => self.wait(&mut waits, job, &failure),
                }
                continue;
            }
            // Looking may take longer than a revocation waits: then the next owner looks, too, and inserts.
            if verify && !(self.is_ours)() {
                return Ok(Landed::Abandoned);
            }
            let failure = match self.attempt(job, &rows, series, waits.attempt) {
                Ok(()) if !verify || job.identity().is_none() => {
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
            if job.in_session() && session::leaves_doubt(&failure) {
                self.tie.doubt();
            }
            // Even a failure that the server names may come after its rows were written (a view that fails).
            verify |= failure.class != Class::Retry || failure.code.is_some();
            if failure.view.is_some() {
                if job.identity.is_some() && !job.remembers {
                    return Err(halted(job, &failure));
                }
                behind = Some(rows.clone());
            }
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
        let right = rows.split_off(middle(&rows, job.rows.len()));
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
        if chaos::has(Bug::TokenOfAttempt) {
            token += &format!("-{attempt}");
        }
        let session = self.tie.session().filter(|_| job.in_session());
        let mut query_id = format!("{}-{}-{attempt}", job.token, rows[0]);
        if let Some(session) = &session {
            query_id += &format!("-{session}");
        }
        let insert = Insert {
            database: job.database,
            table: job.table,
            columns: job.columns,
            token: (!job.converges).then_some(token.as_str()),
            query_id: &query_id,
            session: session.as_deref(),
            max_execution_time_s: MAX_EXECUTION_TIME_S,
        };
        self.target.insert(&insert, &(job.encode)(rows))
    }

    /// Which of `rows` the table does not have; the inner error says that it has more than it should.
    fn missing(
        &self,
        job: &Job<'_>,
        identity: &IdentityColumns,
        rows: &[usize],
    ) -> Result<Result<Vec<usize>>, Failure> {
        self.end_zombies(&job.token)?;
        let Job { database, table, range, .. } = *job;
        let mut there: HashMap<Identity, u32> = HashMap::new();
        for identity in self.target.identities(&Look { database, table, columns: identity, range })? {
            *there.entry(identity).or_default() += 1;
        }
        let surplus = there
            .iter()
            .filter(|(identity, count)| **count > 1 || job.expected.binary_search(identity).is_err());
        let surplus = surplus.count();
        if surplus > 0 {
            let ((first, last), condition) = (range, &identity.condition);
            return Ok(Err(anyhow!(
                "table {table} has {surplus} rows of offsets {first} to {last} of {condition} that this range does \
                 not make, or that stand there twice: another pipeline writes the same records, or the transform \
                 was changed in mid-range"
            )));
        }
        let missing: Vec<usize> =
            rows.iter().copied().filter(|row| !there.contains_key(&job.rows[*row])).collect();
        tracing::info!(
            table = job.table,
            first = range.0,
            last = range.1,
            of = identity.condition,
            expected = rows.len(),
            missing = missing.len(),
            "checked which rows of an earlier attempt landed"
        );
        Ok(Ok(missing))
    }

    /// Ends inserts of earlier attempts that may still be running in the server. One that is not ended could be
    /// applied after it was looked for; only where the server never lets us, that is taken.
    fn end_zombies(&self, token: &str) -> Result<(), Failure> {
        match self.target.end_attempts(token) {
            Err(failure) if failure.class == Class::Halt => {
                tracing::warn!("inserts of earlier attempts cannot be ended: {failure}");
                Ok(())
            }
            ended => ended,
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
        self.clock.pause(wait, self.give_up);
    }
}

/// Where two or more rows of a job are cut in two, by their place among them: at the same rows of the job,
/// whichever of these are missing, so that the parts of two hosts carry the same tokens.
fn middle(rows: &[usize], of_job: usize) -> usize {
    let (mut from, mut to) = (0, of_job);
    while to - from > 1 {
        let cut = from + (to - from) / 2;
        match rows.partition_point(|row| *row < cut) {
            0 => from = cut,
            all if all == rows.len() => to = cut,
            at => return at,
        }
    }
    rows.len() / 2
}

fn halted(job: &Job<'_>, failure: &Failure) -> anyhow::Error {
    let place = format!("inserting into {}.{}", job.database, job.table);
    let place = match &failure.view {
        Some(view) => format!("{place}, behind which the view {view} fails"),
        None => place,
    };
    let error = Err::<(), _>(anyhow!("{failure}").context(place)).environment().help(failure.advice());
    error.expect_err("made from an error")
}

/// Waits with full jitter.
struct Waits {
    attempt: u32,
    backoff: Backoff,
    /// The code that failed last, and how often in a row.
    repeated: ((Option<u32>, usize), usize),
}

impl Waits {
    fn new() -> Self {
        Waits { attempt: 0, backoff: Backoff::new(MIN_BACKOFF, MAX_BACKOFF), repeated: ((None, 0), 0) }
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
        self.backoff.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::response::{Outcome, outcome};
    use Class::{Halt, Permanent, Repair, Retry, Split, Unknown};

    fn failure(code: u32) -> Failure {
        let text = format!("Code: {code}. DB::Exception: x. (NAME)");
        match outcome(500, Some(&code.to_string()), None, text.as_bytes()) {
            Outcome::Failed(failure) => failure,
            Outcome::Ok => panic!("taken for a success: {text}"),
        }
    }

    /// What is done about a failure, again and again: each means, and how often in a row.
    fn means(code: u32, rows: usize) -> Vec<(Class, usize)> {
        let (mut waits, mut found) = (Waits::new(), Vec::<(Class, usize)>::new());
        for _ in 0..40 {
            let class = waits.class(&failure(code), rows);
            match found.last_mut().filter(|(last, _)| *last == class) {
                Some((_, times)) => *times += 1,
                None => found.push((class, 1)),
            }
        }
        found
    }

    #[test]
    fn a_failure_that_stays_is_met_by_one_means_after_the_other_and_the_last_one_stays() {
        assert_eq!(means(252, 1000), [(Retry, 40)]);
        assert_eq!(means(210, 1000), [(Unknown, 40)]);
        assert_eq!(means(27, 1000), [(Permanent, 40)]);
        assert_eq!(means(62, 1000), [(Halt, 40)]);
        assert_eq!(means(164, 1000), [(Retry, 5), (Halt, 35)]);
        assert_eq!(means(49, 1000), [(Unknown, 5), (Halt, 35)]);
        assert_eq!(means(33, 1000), [(Unknown, 5), (Repair, 35)]);
        assert_eq!(means(60, 1000), [(Retry, 5), (Repair, 35)]);
        assert_eq!(means(241, 1000), [(Split, 5), (Retry, 5), (Halt, 30)]);
        // So few rows are not what takes the memory.
        assert_eq!(means(241, MIN_SPLIT_ROWS), [(Retry, 10), (Halt, 30)]);
    }

    #[test]
    fn another_failure_begins_anew() {
        let mut waits = Waits::new();
        for _ in 0..PATIENCE {
            assert_eq!(waits.class(&failure(49), 1), Unknown);
            assert_eq!(waits.class(&failure(210), 1), Unknown);
        }
        assert_eq!(waits.class(&failure(49), 1), Unknown);
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_a_random_part_of_it() {
        let mut waits = Waits::new();
        let mut bound = MIN_BACKOFF;
        let mut differ = false;
        for _ in 0..50 {
            let wait = waits.next();
            assert!(wait <= bound, "{wait:?} of {bound:?}");
            differ |= wait < bound.mul_f64(0.7);
            bound = (bound * 2).min(MAX_BACKOFF);
        }
        assert!(differ && bound == MAX_BACKOFF);
    }

    #[test]
    fn rows_are_cut_at_the_same_places_whichever_of_them_are_missing() {
        let cut = |rows: &[usize]| {
            let (left, right) = rows.split_at(middle(rows, 5));
            (left.to_vec(), right.to_vec())
        };
        assert_eq!(cut(&[0, 1, 2, 3, 4]), (vec![0, 1], vec![2, 3, 4]));
        assert_eq!(cut(&[0, 2, 3, 4]), (vec![0], vec![2, 3, 4]));
        assert_eq!(cut(&[2, 3, 4]), (vec![2], vec![3, 4]));
        assert_eq!(cut(&[0, 4]), (vec![0], vec![4]));
        assert_eq!(cut(&[3, 4]), (vec![3], vec![4]));
    }
}
