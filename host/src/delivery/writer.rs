//! What one range is written with: its seal, and inserts that know whether they may go on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{Log, Range};
use crate::chaos::{self, Bug};
use crate::clickhouse::insert::{Inserter, Job, Landed, Tie};
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::session::Session;
use crate::clickhouse::target::Target;
use crate::commit::{Seal, Series};
use crate::error::Classify;
use crate::pause::Clock;

/// The waits between two attempts at a seal, or at a session.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Writes the rows and dead letters of one range.
pub struct Writer<'a> {
    log: Option<&'a dyn Log>,
    target: Option<&'a dyn Target>,
    clock: &'a dyn Clock,
    range: &'a Range,
    give_up: &'a dyn Fn() -> bool,
    /// The series of attempts that the range's seal says.
    series: RefCell<Series>,
    /// The session that the range's seal says, and what may be left of one before it.
    session: RefCell<Session>,
    /// See [`Writer::landed`].
    landed: Cell<u64>,
}

impl<'a> Writer<'a> {
    /// `session` is one of the same partition that is open still.
    pub(super) fn new(
        log: Option<&'a dyn Log>,
        target: Option<&'a dyn Target>,
        clock: &'a dyn Clock,
        range: &'a Range,
        give_up: &'a dyn Fn() -> bool,
        session: Option<Session>,
    ) -> Self {
        let recovered = range.recovered.as_ref();
        let series = recovered.map(|seal| seal.series.clone()).unwrap_or_default();
        let left = || Session::left(recovered.and_then(|seal| seal.session.as_deref()));
        let session = RefCell::new(session.unwrap_or_else(left));
        let series = RefCell::new(series);
        Writer { log, target, clock, range, give_up, series, session, landed: Cell::new(0) }
    }

    /// Rows of the last insert that were acknowledged, or found in their table; each is counted once.
    pub fn landed(&self) -> u64 {
        self.landed.get()
    }

    /// The range that it writes.
    pub fn range(&self) -> &Range {
        self.range
    }

    /// Its session, for the partition's next range.
    pub(super) fn into_session(self) -> Session {
        self.session.into_inner()
    }

    /// Whether the range may still be written: its partition has not been taken away.
    pub fn is_ours(&self) -> bool {
        chaos::has(Bug::CommitAfterRevocation) || self.is_current()
    }

    fn is_current(&self) -> bool {
        let Range { partition, assignment, .. } = self.range;
        self.log.is_none_or(|log| log.ownership().is_current(partition, *assignment))
    }

    /// Inserts the rows of a part of the range. What an earlier attempt may have written is looked up first: in a range that
    /// was sealed before, or where the caller says so.
    ///
    /// # Errors
    /// What only a person can end.
    pub fn rows(&self, part: usize, job: &Job<'_>, verify: bool) -> Result<Landed> {
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        let begun = self.series.borrow().of(part);
        self.insert(job, begun, verify, Some(part))
    }

    /// Inserts the range's dead letters.
    ///
    /// # Errors
    /// What only a person can end.
    pub fn letters(&self, job: &Job<'_>) -> Result<Landed> {
        // A lost token costs letters a series of its own only while this process lives; the next one verifies.
        self.insert(job, 0, false, None)
    }

    /// The same where the range may have been written by an earlier pass over its records.
    ///
    /// # Errors
    /// What only a person can end.
    pub fn letters_again(&self, job: &Job<'_>) -> Result<Landed> {
        self.insert(job, 0, true, None)
    }

    fn insert(&self, job: &Job<'_>, series: u32, verify: bool, part: Option<u32>) -> Result<Landed> {
        let Writer { clock, give_up, .. } = *self;
        let target =
            self.target.ok_or_else(|| anyhow!("rows for ClickHouse, and no server to write them to"))?;
        let is_ours = || self.is_ours();
        let (landed, tie) = (Cell::new(0), Tied { writer: self, part });
        let inserter = Inserter { target, clock, give_up, is_ours: &is_ours, tie: &tie, landed };
        let ended = inserter.insert(job, series, verify || self.range.recovered.is_some());
        self.landed.set(inserter.landed.get());
        ended
    }

    /// Closes the session that an earlier owner's seal names, before this one's takes its place. False: as
    /// [`Writer::seal`].
    pub(super) fn close_left(&self) -> Result<bool> {
        let Some(target) = self.target else { return Ok(true) };
        let mut wait = WAITS.0;
        loop {
            let settled = self.session.borrow_mut().settle(target, false);
            match settled {
                Ok(()) => return Ok(true),
                Err(failure) if failure.class == Class::Halt => {
                    let error = anyhow!("{failure}").context("closing the session of an earlier attempt");
                    return Err(error).environment().help(failure.advice());
                }
                Err(failure) => tracing::warn!("waiting for ClickHouse: {failure}"),
            }
            if !self.goes_on_after(&mut wait) {
                return Ok(false);
            }
        }
    }

    /// Writes the range's end, the transform's digest and its pin into the log, before anything is inserted. False: the
    /// partition was taken away, or the host is to stop.
    pub(super) fn seal(&self) -> Result<bool> {
        let (Some(log), Some(_)) = (self.log, self.target) else { return Ok(true) };
        let Range { partition, assignment, first, last, epoch, transform, pin, .. } = self.range;
        let (transform, pin, series) = (transform.clone(), pin.clone(), self.series.borrow().clone());
        let session = self.session.borrow().name().map(str::to_owned);
        let seal = Seal { last: *last, transform, pin, series, epoch: *epoch, session };
        let mut wait = WAITS.0;
        loop {
            chaos::point("sealing");
            let commit = || log.commit(partition, *first, Some(&seal));
            let committed = match chaos::has(Bug::CommitAfterRevocation) {
                true => Some(commit()),
                false => log.ownership().committing(partition, *assignment, commit),
            };
            match committed {
                None => return Ok(false),
                Some(Ok(())) => {
                    chaos::point("sealed");
                    return Ok(true);
                }
                Some(Err(error)) => tracing::warn!("waiting for Kafka: {error:#}"),
            }
            if !self.goes_on_after(&mut wait) {
                return Ok(false);
            }
        }
    }

    /// Waits, the next time longer. False: the partition was taken away, or the host is to stop.
    fn goes_on_after(&self, wait: &mut Duration) -> bool {
        let now = *wait;
        *wait = (now * 2).min(WAITS.1);
        // A member that lost its place may not commit; the revocation that follows makes the batch void.
        self.clock.pause(now, &|| (self.give_up)() || !self.is_current())
    }
}

/// The attempts of one insert, tied to the range's seal.
struct Tied<'a> {
    writer: &'a Writer<'a>,
    /// None: dead letters, whose series is not in the seal.
    part: Option<u32>,
}

impl Tie for Tied<'_> {
    fn reseal(&self, series: u32) -> Result<bool> {
        let Some(part) = self.part else { return Ok(true) };
        self.writer.series.borrow_mut().raise(part, series);
        self.writer.seal()
    }

    fn sessions(&self) -> &RefCell<Session> {
        &self.writer.session
    }

    fn settle(&self) -> Result<Result<bool, Failure>> {
        let Writer { target, session, .. } = self.writer;
        let Some(target) = target.filter(|_| !session.borrow().is_settled(true)) else { return Ok(Ok(true)) };
        let settled = session.borrow_mut().settle(target, true);
        match settled {
            Ok(()) => self.writer.seal().map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }
}
