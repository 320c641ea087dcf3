//! One value.

use crate::{Kind, Op};

/// One value of a row, in the form that [`Kind`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// SQL's null.
    Null,
    /// The source did not send it: an unchanged TOAST value. Written, it leaves what is there.
    Unavailable,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A float; not a number and the infinities are values of it.
    Float(f64),
    /// A decimal number as text, such as `-12.50`.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// JSON text.
    Json(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// What happened to the row; read with `Input::Op`.
    Op(Op),
}

impl<'a> Cell<'a> {
    /// The text of a text, decimal or JSON cell.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Cell::Text(text) | Cell::Decimal(text) | Cell::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer cell.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Cell::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is [`Cell::Null`].
    pub fn is_null(self) -> bool {
        self == Cell::Null
    }

    /// The kind of a value; none where it is null or unavailable, or an operation.
    pub(crate) fn kind(self) -> Option<Kind> {
        Some(match self {
            Cell::Null | Cell::Unavailable | Cell::Op(_) => return None,
            Cell::Bool(_) => Kind::Boolean,
            Cell::Int(_) => Kind::Int,
            Cell::Float(_) => Kind::Float,
            Cell::Decimal(_) => Kind::Decimal,
            Cell::Text(_) => Kind::Text,
            Cell::Json(_) => Kind::Json,
            Cell::Bytes(_) => Kind::Bytes,
            Cell::Date(_) => Kind::Date,
            Cell::Time(_) => Kind::Time,
            Cell::Timestamp(_) => Kind::Timestamp,
        })
    }
}

/// A kind as the contract names it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Decimal => "decimal",
        Kind::Text => "text",
        Kind::Json => "json",
        Kind::Bytes => "bytes",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Timestamp => "timestamp",
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}

impl From<f64> for Cell<'_> {
    fn from(value: f64) -> Self {
        Cell::Float(value)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Cell::Text(value)
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(value: &'a String) -> Self {
        Cell::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Cell<'a> {
    fn from(value: &'a [u8]) -> Self {
        Cell::Bytes(value)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}
