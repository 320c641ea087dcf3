//! Column vectors: what the contract carries into a transform and back.
//!
//! The layout is that of `wit/transform.wit` (`column`, `cells`, `blobs`), in the host's own types.

/// What a value means; `kind` of the contract, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// A decimal number as text.
    Decimal,
    /// Text.
    Text,
    /// JSON text.
    Json,
    /// Bytes.
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// A cell's state, as the contract numbers it.
pub mod state {
    /// The cell has a value.
    pub const PRESENT: u8 = 0;
    /// The cell is null.
    pub const NULL: u8 = 1;
    /// The source did not send the cell: an unchanged TOAST value.
    pub const UNAVAILABLE: u8 = 2;
}

/// Cells of varying length: cell i is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Blobs {
    /// One more than there are cells; the first is 0, and none is less than the one before it.
    pub offsets: Vec<u32>,
    /// The cells' bytes, one after the other.
    pub bytes: Vec<u8>,
}

/// The stored form of a column's cells.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// boolean (0 or 1), op (its number).
    Small(Vec<u8>),
    /// int, date, time, timestamp.
    Ints(Vec<i64>),
    /// float.
    Floats(Vec<f64>),
    /// decimal, text, json, bytes.
    Blobs(Blobs),
}

/// One column of a batch or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// A [`state`] for each cell; empty: all are present.
    pub states: Vec<u8>,
    /// The cells; one that is not present has its place all the same: 0, or no bytes.
    pub cells: Cells,
}
