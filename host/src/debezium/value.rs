//! Values as the source database meant them, decoded from their JSON.

use std::borrow::Cow;

use super::shape::Wire;

/// One value. Nothing has been rounded, clamped or cut on the way here.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// SQL's null.
    Null,
    /// The source did not send it (unchanged TOAST).
    Unavailable,
    /// A boolean.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A float; NaN and the infinities are values of it.
    Float(f64),
    /// A decimal number as plain text: `-?digits(.digits)?`, or `NaN`, `Infinity`, `-Infinity`.
    Decimal(Cow<'a, str>),
    /// Text, unescaped.
    Text(Cow<'a, str>),
    /// JSON text.
    Json(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i64),
    /// Nanoseconds since midnight; may be negative, or more than a day (MySQL's TIME).
    Time(i64),
    /// A point of time in UTC.
    Timestamp {
        /// Seconds since 1970-01-01T00:00:00Z, rounded down.
        seconds: i64,
        /// Nanoseconds after them, below 1,000,000,000.
        nanos: u32,
    },
    /// PostgreSQL's `infinity` and `-infinity` of dates and timestamps.
    Infinite {
        /// Whether it is `-infinity`.
        negative: bool,
    },
    /// An array: the JSON text, and how its elements are written.
    Array(&'a str, &'a Wire),
    /// A map with text keys: the JSON text, and how its values are written.
    Map(&'a str, &'a Wire),
}
