//! Delivery: what makes each row land once, apart from the servers that it talks to.
//!
//! ```text
//!  begin ──▶ seal ──▶ insert, verify ──▶ dead letters ──▶ end ──▶ commit
//!  ours?     log      target             target           done    with the next seal, or when idle
//! ```
//!
//! Everything outside is behind three traits: [`Log`] (the group's commits), [`Target`] (the server), and
//! [`Clock`]. What is to be written is a [`Work`]. In production these are Kafka, ClickHouse, the system's
//! clock and the prepared batches of `pipeline`; in `delivery/model` they are simulated, and the very same code
//! runs through crashes at every step (promises D1 to D5 of `docs/invariants.md`).

#[cfg(test)]
mod model;
mod writer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;

pub use self::writer::Writer;
use crate::chaos::{self, Bug};
use crate::clickhouse::request::SESSION_TIMEOUT_S;
use crate::clickhouse::session::Session;
use crate::clickhouse::target::Target;
use crate::commit::Seal;
use crate::pause::Clock;
use crate::source::kafka::ownership::{Ownership, Partition};

/// How often finished positions are committed at least.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// For how long a session is taken for open after its last use; well below what the server grants it.
const SESSION_REUSE: Duration = Duration::from_secs(SESSION_TIMEOUT_S as u64 / 3);

/// Where seals and positions are written down, and which partitions may be written.
pub trait Log {
    /// Which partitions may still be delivered.
    fn ownership(&self) -> &Ownership;

    /// Commits `offset` as the position of `partition`, with `seal` as what is pending. Blocks until the
    /// brokers have it. Repeating it is harmless.
    ///
    /// # Errors
    /// The brokers refuse it, or do not answer: then nobody knows whether they have it.
    fn commit(&self, partition: &Partition, offset: i64, seal: Option<&Seal>) -> Result<()>;
}

/// A closed range of offsets of one partition: what is sealed, written and committed as one.
#[derive(Debug, Clone)]
pub struct Range {
    /// The records' topic and partition.
    pub partition: Partition,
    /// Which assignment of the partition it was read under.
    pub assignment: u64,
    /// Its first offset.
    pub first: i64,
    /// Its last offset.
    pub last: i64,
    /// Which life of the topic it is of; see [`crate::epochs`].
    pub epoch: u16,
    /// The beginning of the digest of the transform that makes its rows.
    pub transform: String,
    /// The pin: all that decides its rows; see [`crate::pins`].
    pub pin: Option<String>,
    /// The seal of an earlier attempt on exactly this range.
    pub recovered: Option<Seal>,
}

/// What a range has to be written. The calls come in this order; false, or none, means given up.
pub trait Work {
    /// Whether there is anything to write. A range without rows and dead letters needs no seal.
    fn begin(&mut self) -> Result<Option<bool>>;
    /// How many inserts its rows are.
    fn parts(&self) -> usize;
    /// Writes the rows of one of them, and remembers those that the server refuses.
    fn part(&mut self, index: usize, writer: &Writer<'_>) -> Result<bool>;
    /// All rows stand where they belong.
    fn rows_done(&mut self, writer: &Writer<'_>) -> Result<bool>;
    /// Keeps the dead letters: those that the range came with, and what the server refused. Then all is accounted for.
    fn letters(&mut self, writer: &Writer<'_>) -> Result<bool>;
    /// Everything of the range is done; an error keeps its position from being committed.
    fn done(&mut self) -> Result<()>;
}

/// How a delivery ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivered {
    /// All rows and dead letters are where they belong.
    Done,
    /// The partition was taken away: its new owner goes on.
    Void,
    /// The host is to stop. What was sealed stays sealed.
    GivenUp,
}

/// Delivers ranges, one after the other. Of several in one process each has partitions of its own; any of them commits
/// finished positions of all.
pub struct Delivery<L, T, C> {
    /// None: there is nothing to commit to, or nothing is to be committed.
    log: Option<L>,
    /// None: there is no server, and nothing is sealed.
    target: Option<T>,
    clock: C,
    /// When finished positions were committed last.
    committed: Instant,
    /// By partition: the assignment that a session was opened under, when it was last used, and the session.
    sessions: RefCell<HashMap<Partition, (u64, Instant, Session)>>,
}

impl<L: Log, T: Target, C: Clock> Delivery<L, T, C> {
    /// With what there is to write to.
    pub fn new(log: Option<L>, target: Option<T>, clock: C) -> Self {
        let committed = clock.now();
        Delivery { log, target, clock, committed, sessions: RefCell::default() }
    }

    /// Delivers a range, within the ownership of its partition.
    ///
    /// # Errors
    /// What only a person can end. The range stays sealed.
    pub fn deliver(
        &mut self,
        range: &Range,
        work: &mut dyn Work,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Delivered> {
        let Some(log) = &self.log else { return self.write(range, work, give_up) };
        if !log.ownership().begin(&range.partition, range.assignment)
            && !chaos::has(Bug::CommitAfterRevocation)
        {
            return Ok(Delivered::Void);
        }
        let delivered = self.write(range, work, give_up);
        let next = range.last + 1;
        let done = matches!(delivered, Ok(Delivered::Done)).then_some(next);
        log.ownership().end(&range.partition, range.assignment, done);
        if done.is_some() {
            chaos::point("done");
            if chaos::has(Bug::CommitAfterRevocation) {
                let _ = log.commit(&range.partition, next, None);
            }
        }
        // A range without rows has no seal that would commit the one before it.
        if self.clock.now().saturating_duration_since(self.committed) >= COMMIT_EVERY {
            self.commit_finished();
        }
        delivered
    }

    fn write(&self, range: &Range, work: &mut dyn Work, give_up: &dyn Fn() -> bool) -> Result<Delivered> {
        let log = self.log.as_ref().map(|log| log as &dyn Log);
        let target = self.target.as_ref().map(|target| target as &dyn Target);
        let writer = Writer::new(log, target, &self.clock, range, give_up, self.session_of(range));
        let written = match work.begin()? {
            Some(true) => self.write_all(&writer, work)?,
            Some(false) => true,
            None => false,
        };
        if !written {
            return Ok(match writer.is_ours() {
                true => Delivered::GivenUp,
                false => Delivered::Void,
            });
        }
        work.done()?;
        let kept = (range.assignment, self.clock.now(), writer.into_session());
        self.sessions.borrow_mut().insert(range.partition.clone(), kept);
        Ok(Delivered::Done)
    }

    /// The session that the partition's last range has left open.
    fn session_of(&self, range: &Range) -> Option<Session> {
        let (assignment, used, session) = self.sessions.borrow_mut().remove(&range.partition)?;
        let is_old = self.clock.now().saturating_duration_since(used) > SESSION_REUSE;
        (assignment == range.assignment && range.recovered.is_none() && !is_old).then_some(session)
    }

    /// False: given up, or the partition was taken away.
    fn write_all(&self, writer: &Writer<'_>, work: &mut dyn Work) -> Result<bool> {
        if !writer.close_left()? || !writer.seal()? {
            return Ok(false);
        }
        if chaos::has(Bug::CommitBeforeInsert)
            && let Some(log) = &self.log
        {
            let Range { partition, last, .. } = writer.range();
            let _ = log.commit(partition, last + 1, None);
        }
        for index in 0..work.parts() {
            if !work.part(index, writer)? {
                return Ok(false);
            }
            chaos::point("inserted");
        }
        if !work.rows_done(writer)? {
            return Ok(false);
        }
        chaos::point("rows_done");
        if !work.letters(writer)? {
            return Ok(false);
        }
        chaos::point("letters_done");
        Ok(true)
    }

    /// Commits what is done and not committed yet. A failure is harmless: those ranges are repeated, and
    /// their rows found.
    pub fn commit_finished(&mut self) {
        self.committed = self.clock.now();
        let Some(log) = &self.log else { return };
        for finished in log.ownership().uncommitted() {
            let (partition, assignment, done) = &finished;
            let commit = || log.commit(partition, *done, None);
            match log.ownership().committing_finished(&finished, commit) {
                None => {}
                Some(Ok(())) => {
                    log.ownership().committed(partition, *assignment, *done);
                    chaos::point("committed");
                }
                Some(Err(error)) => tracing::warn!("{error:#}: it is tried again"),
            }
        }
    }
}
