//! Values that own what they hold.

use crate::bindings::rowgate::transform::types::{Cells, Column};
use crate::{Cell, Kind};

/// A [`Cell`] that owns its text; an operation is the text of its letter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's null.
    Null,
    /// The source did not send it.
    Unavailable,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A decimal number as text.
    Decimal(String),
    /// Text.
    Text(String),
    /// JSON text.
    Json(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Value::Null,
            Cell::Unavailable => Value::Unavailable,
            Cell::Bool(value) => Value::Bool(value),
            Cell::Int(value) => Value::Int(value),
            Cell::Float(value) => Value::Float(value),
            Cell::Decimal(text) => Value::Decimal(text.to_owned()),
            Cell::Text(text) => Value::Text(text.to_owned()),
            Cell::Json(text) => Value::Json(text.to_owned()),
            Cell::Bytes(bytes) => Value::Bytes(bytes.to_owned()),
            Cell::Date(value) => Value::Date(value),
            Cell::Time(value) => Value::Time(value),
            Cell::Timestamp(value) => Value::Timestamp(value),
            Cell::Op(op) => Value::Text(super::letter(op).to_owned()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A cell of a column that was checked to be of `kind`.
pub(super) fn at(column: &Column, kind: Kind, at: usize) -> Value {
    match column.states.get(at) {
        Some(1) => return Value::Null,
        Some(2) => return Value::Unavailable,
        _ => {}
    }
    match &column.cells {
        Cells::Small(cells) => Value::Bool(cells[at] == 1),
        Cells::Ints(cells) => match kind {
            Kind::Date => Value::Date(cells[at]),
            Kind::Time => Value::Time(cells[at]),
            Kind::Timestamp => Value::Timestamp(cells[at]),
            _ => Value::Int(cells[at]),
        },
        Cells::Floats(cells) => Value::Float(cells[at]),
        Cells::Blobs(blobs) => {
            let bytes = &blobs.bytes[blobs.offsets[at] as usize..blobs.offsets[at + 1] as usize];
            let text = || String::from_utf8_lossy(bytes).into_owned();
            match kind {
                Kind::Decimal => Value::Decimal(text()),
                Kind::Json => Value::Json(text()),
                Kind::Bytes => Value::Bytes(bytes.to_owned()),
                _ => Value::Text(text()),
            }
        }
    }
}
