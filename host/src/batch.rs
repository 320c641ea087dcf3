//! A batch: a closed range of offsets of one topic partition, with the bytes of its records.
//!
//! It is the unit of transforming, inserting, retrying and committing. Record bytes are copied once, into
//! the batch's arena; every later stage works on [`Span`]s into it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chaos::{self, Bug};
use crate::config::BatchLimits;

/// A range of bytes in a batch's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span in `arena`.
    pub fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.range()]
    }

    /// As a range of indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether it holds no byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One Kafka message, or one line of a file. Its topic and partition are its batch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition; for a file the line's number, from 0, where the line names none.
    pub offset: i64,
    /// When it was written, milliseconds since 1970-01-01T00:00:00Z, where the source says so.
    pub timestamp_ms: Option<i64>,
    /// The key's bytes; none for a null key.
    pub key: Option<Span>,
    /// The value's bytes; none for a null value (a tombstone).
    pub value: Option<Span>,
}

/// A closed range of offsets of one partition, in the order of the offsets. Offsets may have gaps.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The records' topic.
    pub topic: Arc<str>,
    /// The records' partition.
    pub partition: i32,
    /// Which life of the topic they are of; see [`crate::epochs`].
    pub epoch: u16,
    /// The first offset that the range covers.
    pub first: i64,
    /// The last offset that the range covers. A batch is never without a record.
    pub last: i64,
    /// The bytes of all keys, values and kept headers; decoding appends what it derives from them.
    pub arena: Vec<u8>,
    /// The records, by ascending offset.
    pub records: Vec<Record>,
    /// The headers that were asked for, by ascending record; mostly none.
    pub headers: Vec<Header>,
    /// When its first record was taken in.
    pub begun: Instant,
}

/// A header of a record. Of several with one name the last counts, as it does for Kafka Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Index of its record in the batch.
    pub record: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its value's bytes; none for a null value.
    pub value: Option<Span>,
}

impl Batch {
    /// The headers of a record that were asked for, in their order.
    pub fn headers_of(&self, record: u32) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let first = self.headers.partition_point(|header| header.record < record);
        let own = self.headers.iter().skip(first).take_while(move |header| header.record == record);
        own.map(|header| (&*header.name, header.value.map(|span| span.of(&self.arena))))
    }

    /// The value of a record's header; none where the record has no such header, it is null, or nobody asked
    /// for its name when the run started (see [`HeaderNames`]).
    pub fn header(&self, record: u32, name: &str) -> Option<&[u8]> {
        let first = self.headers.partition_point(|header| header.record < record);
        let own = self.headers.get(first..)?.iter().take_while(|header| header.record == record);
        own.filter(|header| &*header.name == name).last()?.value.map(|span| span.of(&self.arena))
    }
}

/// The names of the headers that batches keep, settled when a run starts. A source does not look at headers
/// at all where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderNames(Vec<Arc<str>>);

impl HeaderNames {
    /// Also keeps headers of these names.
    pub fn add<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        for name in names {
            if self.find(name).is_none() {
                self.0.push(name.into());
            }
        }
    }

    /// The name as it is kept; none for a header that nobody asked for.
    pub fn find(&self, name: &str) -> Option<&Arc<str>> {
        self.0.iter().find(|known| &***known == name)
    }

    /// Whether all that `others` keep are kept.
    pub fn has_all(&self, others: &HeaderNames) -> bool {
        others.0.iter().all(|name| self.find(name).is_some())
    }

    /// Whether no header is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A batch that is still being filled.
#[derive(Debug)]
pub struct OpenBatch {
    batch: Batch,
    /// From when on its age counts.
    since: Instant,
    /// A range that was sealed before is cut where it was cut then, whatever the limits say.
    sealed_last: Option<i64>,
}

/// How large a batch was; the next one of its partition is about as large.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    bytes: usize,
    records: usize,
}

impl Room {
    /// What this batch takes.
    pub fn of(batch: &Batch) -> Self {
        Room { bytes: batch.arena.len(), records: batch.records.len() }
    }
}

/// One record before it is copied into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// See [`Record::offset`].
    pub offset: i64,
    /// See [`Record::timestamp_ms`].
    pub timestamp_ms: Option<i64>,
    /// None: a null key.
    pub key: Option<&'a [u8]>,
    /// None: a null value.
    pub value: Option<&'a [u8]>,
    /// The headers to keep, in their order: name, and value unless it is null.
    pub headers: &'a [IncomingHeader<'a>],
}

/// A header before it is copied: its name as [`HeaderNames`] keeps it, and its value.
pub type IncomingHeader<'a> = (&'a Arc<str>, Option<&'a [u8]>);

impl OpenBatch {
    /// An empty batch whose range begins at `first`, and whose age counts from `since` on. With `sealed_last` the range is
    /// closed there.
    pub fn new(
        topic: Arc<str>,
        partition: i32,
        first: i64,
        sealed_last: Option<i64>,
        since: Instant,
    ) -> Self {
        let sealed_last = sealed_last.filter(|_| !chaos::has(Bug::OtherCutOnReplay));
        let (arena, records, headers) = (vec![], vec![], vec![]);
        let last = first - 1;
        let batch = Batch { topic, partition, epoch: 0, first, last, arena, records, headers, begun: since };
        OpenBatch { batch, since, sealed_last }
    }

    /// Makes room for as much as `like` has, so that filling it does not move what is there already.
    #[must_use]
    pub fn with_room(mut self, like: Room) -> Self {
        self.batch.arena.reserve(like.bytes);
        self.batch.records.reserve(like.records);
        self
    }

    /// Whether `record` belongs into this batch. If not, the batch is to be closed first.
    pub fn takes(&self, record: &Incoming<'_>, limits: &BatchLimits) -> bool {
        if let Some(last) = self.sealed_last {
            return record.offset <= last;
        }
        let headers = record.headers.iter().filter_map(|(_, value)| *value);
        let bytes: usize = record.key.into_iter().chain(record.value).chain(headers).map(<[u8]>::len).sum();
        self.batch.records.is_empty()
            || (self.batch.records.len() < limits.rows as usize
                && self.batch.arena.len() + bytes <= limits.bytes as usize)
    }

    /// Copies `record` in. Offsets must ascend.
    pub fn push(&mut self, record: &Incoming<'_>) {
        debug_assert!(record.offset > self.batch.last);
        if self.batch.records.is_empty() {
            self.batch.begun = Instant::now();
        }
        let mut copy = |bytes: &[u8]| {
            let start = self.batch.arena.len() as u32;
            self.batch.arena.extend_from_slice(bytes);
            Span { start, end: self.batch.arena.len() as u32 }
        };
        let (key, value) = (record.key.map(&mut copy), record.value.map(&mut copy));
        let index = self.batch.records.len() as u32;
        self.batch.headers.extend(record.headers.iter().map(|(name, value)| {
            let (name, value) = (Arc::clone(name), value.map(&mut copy));
            Header { record: index, name, value }
        }));
        let Incoming { offset, timestamp_ms, .. } = *record;
        self.batch.records.push(Record { offset, timestamp_ms, key, value });
        self.batch.last = offset;
    }

    /// Whether it is to be closed now, though no further record came.
    pub fn is_due(&self, limits: &BatchLimits, now: Instant) -> bool {
        match self.sealed_last {
            Some(last) => self.batch.last >= last,
            None => self.ages_out(limits).is_some_and(|at| {
                self.batch.records.len() >= limits.rows as usize
                    || self.batch.arena.len() >= limits.bytes as usize
                    || now >= at
            }),
        }
    }

    /// When it is to be closed for its age alone; never while it is empty, or where its range was sealed before.
    pub fn ages_out(&self, limits: &BatchLimits) -> Option<Instant> {
        let ages = self.sealed_last.is_none() && !self.batch.records.is_empty();
        ages.then(|| self.since + Duration::from_millis(limits.linger_ms.into()))
    }

    /// The offset of its last record, if it has one.
    pub fn last(&self) -> Option<i64> {
        self.batch.records.last().map(|record| record.offset)
    }

    /// Whether it repeats a range that was sealed before.
    pub fn is_sealed(&self) -> bool {
        self.sealed_last.is_some()
    }

    /// The bytes it holds.
    pub fn bytes(&self) -> usize {
        self.batch.arena.len()
    }

    /// Closes it. A sealed range ends where it was sealed, even if its last records are gone (compaction).
    pub fn close(self) -> Batch {
        let mut batch = self.batch;
        batch.last = self.sealed_last.unwrap_or(batch.last);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits = BatchLimits { rows: 3, bytes: 10, linger_ms: 100 };

    fn record(offset: i64, value: &[u8]) -> Incoming<'_> {
        Incoming { offset, timestamp_ms: None, key: None, value: Some(value), headers: &[] }
    }

    fn filled(sealed_last: Option<i64>, offsets: &[i64]) -> OpenBatch {
        let now = Instant::now();
        let mut batch = OpenBatch::new("t".into(), 0, offsets[0], sealed_last, now);
        for offset in offsets {
            let record = record(*offset, b"ab");
            assert!(batch.takes(&record, &LIMITS));
            batch.push(&record);
        }
        batch
    }

    #[test]
    fn rows_bytes_and_age_close_a_batch() {
        let now = Instant::now();
        assert!(!filled(None, &[0, 1, 2]).takes(&record(3, b""), &LIMITS));
        assert!(!filled(None, &[0, 1]).takes(&record(2, b"1234567"), &LIMITS));
        assert!(filled(None, &[0, 1]).takes(&record(2, b"123456"), &LIMITS));
        assert!(!filled(None, &[0]).is_due(&LIMITS, now));
        assert!(filled(None, &[0]).is_due(&LIMITS, now + Duration::from_millis(200)));
        assert!(filled(None, &[0, 1, 2]).is_due(&LIMITS, now));
    }

    #[test]
    fn a_batch_says_when_it_is_to_be_closed_for_its_age() {
        let batch = filled(None, &[0]);
        let at = batch.ages_out(&LIMITS).expect("it has a record");
        assert!(!batch.is_due(&LIMITS, at - Duration::from_millis(1)) && batch.is_due(&LIMITS, at));
        let empty = OpenBatch::new("t".into(), 0, 0, None, Instant::now());
        assert!(empty.ages_out(&LIMITS).is_none() && !empty.is_due(&LIMITS, at));
        assert!(filled(Some(7), &[0]).ages_out(&LIMITS).is_none(), "its range was sealed before");
    }

    #[test]
    fn a_record_larger_than_a_batch_gets_one_of_its_own() {
        let batch = OpenBatch::new("t".into(), 0, 0, None, Instant::now());
        assert!(batch.takes(&record(0, &[b'x'; 100]), &LIMITS));
    }

    #[test]
    fn a_sealed_range_is_cut_where_it_was_sealed_whatever_the_limits() {
        let batch = filled(Some(7), &[0, 1, 2, 3, 4, 6]);
        assert!(!batch.takes(&record(8, b""), &LIMITS));
        assert!(!batch.is_due(&LIMITS, Instant::now() + Duration::from_secs(9)));
        assert_eq!(batch.close().last, 7);
        assert!(filled(Some(7), &[0, 7]).is_due(&LIMITS, Instant::now()));
    }

    #[test]
    fn a_records_headers_are_found_by_name_and_the_last_of_a_name_counts() {
        let mut names = HeaderNames::default();
        assert!(names.is_empty());
        names.add(["a", "b", "a"]);
        let (a, b) = (names.find("a").unwrap(), names.find("b").unwrap());
        assert_eq!(names.find("c"), None);
        let now = Instant::now();
        let mut open = OpenBatch::new("t".into(), 0, 0, None, now);
        open.push(&Incoming { headers: &[(a, Some(b"1")), (b, None), (a, Some(b"2"))], ..record(0, b"x") });
        open.push(&record(1, b"y"));
        open.push(&Incoming { headers: &[(b, Some(b""))], ..record(2, b"z") });
        let batch = open.close();
        let found = |record, name| batch.header(record, name);
        assert_eq!((found(0, "a"), found(0, "b"), found(1, "a")), (Some(&b"2"[..]), None, None));
        assert_eq!((found(2, "b"), found(2, "a"), found(3, "a")), (Some(&b""[..]), None, None));
        assert_eq!(batch.records[1].value.map(|span| span.of(&batch.arena)), Some(&b"y"[..]));
    }

    #[test]
    fn headers_count_towards_a_batchs_bytes() {
        let name: Arc<str> = "a".into();
        let takes = |value: &[u8]| {
            let record = Incoming { headers: &[(&name, Some(value))], ..record(2, b"1234") };
            filled(None, &[0, 1]).takes(&record, &LIMITS)
        };
        assert!(takes(b"12"));
        assert!(!takes(b"123"));
    }
}
