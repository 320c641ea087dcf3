//! A batch: a closed range of offsets of one topic partition, with the bytes of its records.
//!
//! It is the unit of transforming, inserting, retrying and committing. Record bytes are copied once, into
//! the batch's arena; every later stage works on [`Span`]s into it.

use std::ops::Range;
use std::sync::Arc;

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
#[derive(Debug)]
pub struct Batch {
    /// The records' topic.
    pub topic: Arc<str>,
    /// The records' partition.
    pub partition: i32,
    /// The first offset that the range covers.
    pub first: i64,
    /// The last offset that the range covers. A batch is never without a record.
    pub last: i64,
    /// The bytes of all keys and values.
    pub arena: Vec<u8>,
    /// The records, by ascending offset.
    pub records: Vec<Record>,
}
