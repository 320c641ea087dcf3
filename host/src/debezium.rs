//! Debezium's events: from a record's bytes to a change, without building a tree of values.

pub mod shape;
pub mod value;

use crate::batch::Span;

/// What happened to a row; numbered as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `c`
    Create,
    /// `u`
    Update,
    /// `d`
    Delete,
    /// `r`: read by a snapshot.
    Read,
    /// `t`
    Truncate,
    /// `m`: a logical decoding message.
    Message,
}

/// A decoded Debezium event.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Index of its record in the batch.
    pub record: u32,
    /// What happened.
    pub op: Op,
    /// Id of its shape.
    pub shape: u32,
    /// Index, in [`Decoded::cells`], of the first cell of the row before the change.
    pub before: Option<u32>,
    /// Index, in [`Decoded::cells`], of the first cell of the row after the change.
    pub after: Option<u32>,
    /// When the source database committed it, microseconds since 1970 in UTC.
    pub committed_at_us: Option<i64>,
    /// When the connector read it, microseconds since 1970 in UTC.
    pub captured_at_us: Option<i64>,
    /// The `source` block, a JSON object.
    pub source: Option<Span>,
}

/// A record that cannot be processed, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Index of the record in the batch.
    pub record: u32,
    /// What is wrong, for a person.
    pub reason: String,
}

/// Records of a batch that are no change, by their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotChanges {
    /// A null value after a delete.
    pub tombstones: u64,
    /// Debezium's heartbeats.
    pub heartbeats: u64,
    /// BEGIN and END of transactions.
    pub transactions: u64,
    /// DDL events.
    pub schema_changes: u64,
    /// Debezium's notifications.
    pub notifications: u64,
}

/// A batch's records after decoding. Each record is in exactly one of `changes`, `rejected`, `not_changes`.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The changes, in the order of the records.
    pub changes: Vec<Change>,
    /// Spans of the values of rows: a row has one for each field of its shape, in that order.
    pub cells: Vec<Span>,
    /// Records that cannot be decoded.
    pub rejected: Vec<Rejected>,
    /// Records that are no change.
    pub not_changes: NotChanges,
}
