//! What is being read of one partition: records in, closed ranges out, apart from where they come from.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};

use super::SourceBatch;
use super::kafka::ownership::Partition;
use crate::batch::{Incoming, OpenBatch, Room};
use crate::chaos;
use crate::commit::{Position, Seal};
use crate::config::BatchLimits;
use crate::epochs::Incarnation;

/// What is being read of one partition, under one assignment.
#[derive(Debug)]
pub struct Reading {
    partition: Partition,
    assignment: u64,
    /// The next range's first offset, or the next record's.
    next: i64,
    open: Option<OpenBatch>,
    /// When the last batch was closed, or the partition was assigned: from then on the age of the next one counts.
    closed: Instant,
    /// The size of the last batch.
    room: Room,
    /// The range that comes next was sealed before.
    seal: Option<Seal>,
    /// Rows of records before this offset may stand already.
    written_to: i64,
    /// Whether the partition has nothing more, for now.
    pub at_end: bool,
    /// Which life of the topic it is of.
    incarnation: Arc<Incarnation>,
}

impl Reading {
    /// Reading that begins `now` and where the position says: with the range that is pending there, if there is one.
    pub fn new(
        partition: Partition,
        assignment: u64,
        position: Position,
        incarnation: Arc<Incarnation>,
        now: Instant,
    ) -> Self {
        let Position { start, seal, written_to, .. } = position;
        let (open, closed, room, at_end) = (None, now, Room::default(), false);
        let written_to = written_to.unwrap_or(start);
        Reading {
            partition,
            assignment,
            next: start,
            open,
            closed,
            room,
            seal,
            written_to,
            at_end,
            incarnation,
        }
    }

    /// The offset that comes next.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Which life of the topic it is of.
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// The bytes of its open batch.
    pub fn bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes)
    }

    /// Whether the range that is being read was sealed before.
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Takes a record in. Returns the batch that had to be closed before it.
    ///
    /// # Errors
    /// An offset that was there already.
    pub fn take(
        &mut self,
        record: &Incoming<'_>,
        limits: &BatchLimits,
        now: Instant,
    ) -> Result<Option<SourceBatch>> {
        if record.offset < self.next {
            let ((topic, partition), last) = (&self.partition, self.next - 1);
            bail!(
                "offset {} of {topic}/{partition} came after {last}: the consumer was rewound",
                record.offset
            );
        }
        let closed = if self.open().takes(record, limits) { None } else { self.close(now) };
        self.open().push(record);
        self.next = record.offset + 1;
        self.at_end = false;
        Ok(closed)
    }

    /// Closes the open batch if it is due, or, with `all`, unless it repeats a sealed range.
    pub fn close_due(&mut self, limits: &BatchLimits, now: Instant, all: bool) -> Option<SourceBatch> {
        if self.at_end && self.is_sealed() {
            // The sealed range has no record left (compaction): an empty batch ends it.
            self.open();
        }
        let open = self.open.as_ref()?;
        let sealed_to_end = open.is_sealed() && self.at_end;
        match open.is_due(limits, now) || sealed_to_end || (all && !open.is_sealed()) {
            true => self.close(now),
            false => None,
        }
    }

    /// When the open batch is to be closed for its age.
    pub fn ages_out(&self, limits: &BatchLimits) -> Option<Instant> {
        self.open.as_ref()?.ages_out(limits)
    }

    /// Closes the open batch at the end of a run. A sealed range that is not complete yet is left: its seal
    /// stays in the commit.
    pub fn close_unsealed(&mut self, now: Instant) -> Option<SourceBatch> {
        if self.open.as_ref().is_some_and(OpenBatch::is_sealed) { None } else { self.close(now) }
    }

    fn open(&mut self) -> &mut OpenBatch {
        let Reading { partition, next, seal, room, closed, .. } = self;
        self.open.get_or_insert_with(|| {
            let sealed_last = seal.as_ref().map(|seal| seal.last);
            OpenBatch::new(partition.0.clone(), partition.1, *next, sealed_last, *closed).with_room(*room)
        })
    }

    fn close(&mut self, now: Instant) -> Option<SourceBatch> {
        let open = self.open.take()?;
        self.closed = now;
        let recovered = if open.is_sealed() { self.seal.take() } else { None };
        let mut batch = open.close();
        batch.epoch = self.incarnation.epoch;
        self.room = Room::of(&batch);
        self.next = self.next.max(batch.last + 1);
        chaos::point("closed");
        let written_before = batch.first < self.written_to;
        let (assignment, incarnation) = (self.assignment, self.incarnation.clone());
        Some(SourceBatch { batch, assignment, recovered, incarnation, written_before })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_record_after_a_pause_waits_for_nothing_and_those_that_follow_it_wait_until_a_batch_may_close_again()
     {
        let limits = BatchLimits { rows: 10, bytes: 1000, linger_ms: 100 };
        let (assigned, pause) = (Instant::now(), Duration::from_secs(9));
        let mut reading = Reading::new(("t".into(), 3), 1, Position::first(0), Arc::default(), assigned);
        let mut close = |offset, at: Instant| {
            let record = Incoming { offset, timestamp_ms: None, key: None, value: None, headers: &[] };
            assert!(reading.take(&record, &limits, at).unwrap().is_none());
            let due = reading.ages_out(&limits).expect("it has a record");
            (due, reading.close_due(&limits, at, false).map(|closed| closed.batch.records.len()))
        };
        let linger = Duration::from_millis(100);
        assert_eq!(close(0, assigned), (assigned + linger, None), "the first ones wait since the assignment");
        let late = assigned + pause;
        assert_eq!(close(1, late).1, Some(2));
        assert_eq!(close(2, late + linger / 2), (late + linger, None));
        assert_eq!(close(3, late + linger), (late + linger, Some(2)));
        assert_eq!(close(4, late + pause).1, Some(1), "nothing came for a while");
    }

    #[test]
    fn an_offset_that_comes_again_or_goes_back_is_an_error_and_one_that_is_left_out_is_none() {
        let limits = BatchLimits { rows: 10, bytes: 1000, linger_ms: 10 };
        let mut reading =
            Reading::new(("t".into(), 3), 1, Position::first(5), Arc::default(), Instant::now());
        let mut take = |offset| {
            let record = Incoming { offset, timestamp_ms: None, key: None, value: None, headers: &[] };
            reading.take(&record, &limits, Instant::now()).map(|closed| closed.is_none())
        };
        assert!(take(5).unwrap() && take(9).unwrap());
        for offset in [9, 0] {
            let error = take(offset).expect_err("it was read").to_string();
            assert!(error.contains(&format!("offset {offset} of t/3 came after 9")), "{error}");
        }
    }
}
