//! What one range is written with: its seal, and inserts that know whether they may go on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{Log, Range};
use crate::chaos::{self, Bug};
use crate::clickhouse::insert::{Inserter, Job, Landed};
use crate::clickhouse::target::Target;
use crate::commit::{Seal, Series};
use crate::pause::Clock;

/// The waits between two attempts at a seal.
const SEAL_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Writes the rows and dead letters of one range.
pub struct Writer<'a> {
    log: Option<&'a dyn Log>,
    target: Option<&'a dyn Target>,
    clock: &'a dyn Clock,
    range: &'a Range,
    give_up: &'a dyn Fn() -> bool,
    /// The series of attempts that the range's seal says.
    series: RefCell<Series>,
    /// See [`Writer::landed`].
    landed: Cell<u64>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        log: Option<&'a dyn Log>,
        target: Option<&'a dyn Target>,
        clock: &'a dyn Clock,
        range: &'a Range,
        give_up: &'a dyn Fn() -> bool,
    ) -> Self {
        let series = range.recovered.as_ref().map(|seal| seal.series.clone()).unwrap_or_default();
        let series = RefCell::new(series);
        Writer { log, target, clock, range, give_up, series, landed: Cell::new(0) }
    }

    /// Rows of the last insert that were acknowledged, or found in their table; each is counted once.
    pub fn landed(&self) -> u64 {
        self.landed.get()
    }

    /// The range that it writes.
    pub fn range(&self) -> &Range {
        self.range
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
        let reseal = |series: u32| {
            self.series.borrow_mut().raise(part, series);
            self.seal()
        };
        let begun = self.series.borrow().of(part);
        self.insert(job, begun, verify, &reseal)
    }

    /// Inserts the range's dead letters.
    ///
    /// # Errors
    /// What only a person can end.
    pub fn letters(&self, job: &Job<'_>) -> Result<Landed> {
        // A lost token costs letters a series of its own only while this process lives; the next one verifies.
        self.insert(job, 0, false, &|_| Ok(true))
    }

    /// The same where the range may have been written by an earlier pass over its records.
    ///
    /// # Errors
    /// What only a person can end.
    pub fn letters_again(&self, job: &Job<'_>) -> Result<Landed> {
        self.insert(job, 0, true, &|_| Ok(true))
    }

    fn insert(
        &self,
        job: &Job<'_>,
        series: u32,
        verify: bool,
        reseal: &dyn Fn(u32) -> Result<bool>,
    ) -> Result<Landed> {
        let Writer { clock, give_up, .. } = *self;
        let target =
            self.target.ok_or_else(|| anyhow!("rows for ClickHouse, and no server to write them to"))?;
        let is_ours = || self.is_ours();
        let landed = Cell::new(0);
        let inserter = Inserter { target, clock, give_up, is_ours: &is_ours, reseal, landed };
        let ended = inserter.insert(job, series, verify || self.range.recovered.is_some());
        self.landed.set(inserter.landed.get());
        ended
    }

    /// Writes the range's end, the transform's digest and its pin into the log, before anything is inserted. False: the
    /// partition was taken away, or the host is to stop.
    pub(super) fn seal(&self) -> Result<bool> {
        let (Some(log), Some(_)) = (self.log, self.target) else { return Ok(true) };
        let Range { partition, assignment, first, last, epoch, transform, pin, .. } = self.range;
        let (transform, pin, series) = (transform.clone(), pin.clone(), self.series.borrow().clone());
        let seal = Seal { last: *last, transform, pin, series, epoch: *epoch };
        let mut wait = SEAL_WAITS.0;
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
            // A member that lost its place may not commit; the revocation that follows makes the batch void.
            if !self.clock.pause(wait, &|| (self.give_up)() || !self.is_current()) {
                return Ok(false);
            }
            wait = (wait * 2).min(SEAL_WAITS.1);
        }
    }
}
