//! Shapes: one version of one source table's columns, interned.

use crate::columns::Kind;

/// How a column's values stand in the JSON, and with that what they mean. The names in the comments are
/// those of Kafka Connect's and Debezium's schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wire {
    /// `boolean`
    Bool,
    /// `int8` to `int64`; 8, 16, 32 or 64 bits, signed. `io.debezium.time.Year` too.
    Int(u8),
    /// `float`
    Float32,
    /// `double`
    Float64,
    /// `string`, and every logical type that is text and has no variant of its own.
    Text,
    /// `bytes`, as base64.
    Bytes,
    /// `io.debezium.data.Bits`: base64 of little-endian bytes; bits, where the schema says so.
    Bits(Option<u32>),
    /// `org.apache.kafka.connect.data.Decimal`: base64 of the big-endian unscaled integer, or a number.
    Decimal {
        /// Digits after the point; may be negative.
        scale: i32,
        /// Digits in all, where the schema says so.
        precision: Option<u32>,
    },
    /// `io.debezium.data.VariableScaleDecimal`: `{"scale":…,"value":base64}`.
    VariableDecimal,
    /// `io.debezium.time.Date`, `org.apache.kafka.connect.data.Date`: days since 1970-01-01.
    Date,
    /// `io.debezium.time.IsoDate`: `2017-09-15Z`.
    IsoDate,
    /// `io.debezium.time.Time`, `org.apache.kafka.connect.data.Time`: milliseconds since midnight.
    TimeMillis,
    /// `io.debezium.time.MicroTime`
    TimeMicros,
    /// `io.debezium.time.NanoTime`
    TimeNanos,
    /// `io.debezium.time.Timestamp`, `org.apache.kafka.connect.data.Timestamp`
    TimestampMillis,
    /// `io.debezium.time.MicroTimestamp`
    TimestampMicros,
    /// `io.debezium.time.NanoTimestamp`
    TimestampNanos,
    /// `io.debezium.time.ZonedTimestamp`, `io.debezium.time.IsoTimestamp`: ISO 8601 text.
    TimestampIso,
    /// `io.debezium.data.Uuid`
    Uuid,
    /// `io.debezium.data.Json`: text that holds JSON.
    JsonText,
    /// `array`
    Array(Box<Wire>),
    /// `map` with text keys (a JSON object).
    Map(Box<Wire>),
    /// `struct`, and maps with other keys: JSON as it stands.
    Json,
    /// No schema: what the values look like.
    Guess(Guess),
}

/// What a value without a schema looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guess {
    /// Only nulls were seen.
    Unknown,
    /// `true`, `false`
    Bool,
    /// A number without fraction or exponent, in the range of a signed 64-bit integer.
    Int,
    /// Any other number without fraction or exponent.
    BigInt,
    /// A number with fraction or exponent.
    Float,
    /// A string.
    Text,
    /// An array or an object.
    Json,
}

/// A column of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The source column's name.
    pub name: String,
    /// How its values are written.
    pub wire: Wire,
    /// Whether it can be null.
    pub nullable: bool,
    /// Whether it is part of the row's key at the source.
    pub key: bool,
    /// The logical type's name, such as `io.debezium.time.MicroTimestamp`; empty without one.
    pub semantic: String,
}

/// One version of one source table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Unique within a pipeline.
    pub id: u32,
    /// The topic that it was first seen in.
    pub topic: String,
    /// `source.connector`
    pub connector: String,
    /// `source.db`
    pub database: String,
    /// `source.schema`; empty where the connector has none.
    pub schema: String,
    /// `source.table`, or `source.collection`.
    pub table: String,
    /// Whether the events carry a schema.
    pub typed: bool,
    /// The columns, in the order of the events.
    pub fields: Vec<Field>,
}

impl Wire {
    /// The kind that a transform sees.
    pub fn kind(&self) -> Kind {
        match self {
            Wire::Bool | Wire::Guess(Guess::Bool) => Kind::Boolean,
            Wire::Int(_) | Wire::Guess(Guess::Int) => Kind::Int,
            Wire::Float32 | Wire::Float64 | Wire::Guess(Guess::Float) => Kind::Float,
            Wire::Decimal { .. } | Wire::VariableDecimal | Wire::Guess(Guess::BigInt) => Kind::Decimal,
            Wire::Text | Wire::Uuid | Wire::Guess(Guess::Text | Guess::Unknown) => Kind::Text,
            Wire::Bytes | Wire::Bits(_) => Kind::Bytes,
            Wire::Date | Wire::IsoDate => Kind::Date,
            Wire::TimeMillis | Wire::TimeMicros | Wire::TimeNanos => Kind::Time,
            Wire::TimestampMillis | Wire::TimestampMicros | Wire::TimestampNanos | Wire::TimestampIso => {
                Kind::Timestamp
            }
            Wire::JsonText | Wire::Array(_) | Wire::Map(_) | Wire::Json | Wire::Guess(Guess::Json) => Kind::Json,
        }
    }
}
