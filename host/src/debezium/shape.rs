//! Shapes: one version of one source table's columns, interned.

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use crate::columns::Kind;
use crate::locked::locked;

use super::scan::Json;
pub use super::structured::Structured;

/// The most shapes of one pipeline; they are kept for good.
pub const MAX_SHAPES: usize = 10_000;
/// The most fields that all shapes of one pipeline may have together.
pub const MAX_FIELDS: usize = 1_000_000;

/// How a column's values stand in the JSON, and with that what they mean. The names in the comments are
/// those of Kafka Connect's and Debezium's schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wire {
    /// `boolean`
    Bool,
    /// `int8` to `int64`; 8, 16, 32 or 64 bits, signed. `io.debezium.time.Year` too.
    Int(u8),
    /// An unsigned number of 64 bits that came as a signed one (`bigint.unsigned.handling.mode=long`). No
    /// schema says so.
    UInt64,
    /// `float`
    Float32,
    /// `double`
    Float64,
    /// `string`, and every logical type that is text and has no variant of its own.
    Text,
    /// `bytes`, as base64.
    Bytes,
    /// Bytes in the alphabet that URLs can carry (`binary.handling.mode=base64-url-safe`). No schema says so.
    BytesUrl,
    /// Bytes as hex digits (`binary.handling.mode=hex`). No schema says so.
    BytesHex,
    /// `io.debezium.data.Bits`: base64 of little-endian bytes; bits, where the schema says so.
    Bits(Option<u32>),
    /// `org.apache.kafka.connect.data.Decimal`: base64 of the big-endian unscaled integer, or a number.
    Decimal {
        /// Digits after the point; may be negative.
        scale: i32,
        /// Digits in all, where the schema says so.
        precision: Option<u32>,
    },
    /// A decimal as text or as a number (`decimal.handling.mode=string`): digits in all and after the point,
    /// where they are known. No schema says so.
    DecimalText(Option<(u32, u32)>),
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
    /// `io.debezium.time.StructuredDate` and the like.
    Structured(Structured),
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
    /// An array or an object; or values of different types within one change.
    Json,
}

impl From<Json> for Guess {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Guess::Unknown,
            Json::Bool => Guess::Bool,
            Json::Int => Guess::Int,
            Json::BigInt => Guess::BigInt,
            Json::Float => Guess::Float,
            Json::Text => Guess::Text,
            Json::Array | Json::Object => Guess::Json,
        }
    }
}

impl Guess {
    /// What both values of one column look like. Numbers of different forms are exact as decimals.
    pub fn join(self, other: Guess) -> Guess {
        use Guess::{BigInt, Float, Int, Json, Unknown};
        match (self, other) {
            (a, b) if a == b => a,
            (Unknown, known) | (known, Unknown) => known,
            (Int | BigInt | Float, Int | BigInt | Float) => BigInt,
            _ => Json,
        }
    }
}

/// A column of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl Shape {
    /// Whether both are shapes of one source table, in one topic.
    pub fn is_of_table(&self, other: &Shape) -> bool {
        let names =
            |shape: &Shape| [&shape.topic, &shape.database, &shape.schema, &shape.table].map(String::clone);
        names(self) == names(other)
    }
}

/// A table's names at its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TableName {
    /// `source.connector`
    pub connector: String,
    /// `source.db`
    pub database: String,
    /// `source.schema`
    pub schema: String,
    /// `source.table`, or `source.collection`.
    pub table: String,
}

/// The shapes of one pipeline, each once, as one of its decoders knows them. All decoders of the pipeline have their ids in
/// common.
#[derive(Debug, Default)]
pub struct Shapes {
    interned: Arc<Mutex<Interned>>,
    /// Those that this decoder has met, by their ids.
    met: Vec<Option<Arc<Shape>>>,
}

#[derive(Debug, Default)]
struct Interned {
    all: Vec<Arc<Shape>>,
    ids: FxHashMap<Identity, u32>,
    fields: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    topic: Arc<str>,
    table: TableName,
    typed: bool,
    fields: Vec<Field>,
}

impl Shapes {
    /// The same for another decoder of the pipeline, which has met none yet.
    #[must_use]
    pub fn beside(&self) -> Shapes {
        Shapes { interned: self.interned.clone(), met: Vec::new() }
    }

    /// The shape with this id, if this decoder has met it.
    pub fn get(&self, id: u32) -> Option<&Arc<Shape>> {
        self.met.get(id as usize)?.as_ref()
    }

    /// All that any decoder of the pipeline has met, by their ids, without the first ones.
    pub fn all_but(&self, first: usize) -> Vec<Arc<Shape>> {
        locked(&self.interned).all.get(first..).unwrap_or_default().to_vec()
    }

    /// Finds or makes a shape, and says whether no decoder of the pipeline has met it; an error where there are too many.
    pub fn intern(
        &mut self,
        topic: &Arc<str>,
        table: &TableName,
        typed: bool,
        fields: Vec<Field>,
    ) -> Result<(Arc<Shape>, bool), String> {
        let identity = Identity { topic: Arc::clone(topic), table: table.clone(), typed, fields };
        let (shape, is_new) = locked(&self.interned).intern(identity)?;
        let at = shape.id as usize;
        self.met.resize(self.met.len().max(at + 1), None);
        self.met[at] = Some(shape.clone());
        Ok((shape, is_new))
    }
}

impl Interned {
    fn intern(&mut self, identity: Identity) -> Result<(Arc<Shape>, bool), String> {
        let vacant = match self.ids.entry(identity) {
            Entry::Occupied(id) => return Ok((Arc::clone(&self.all[*id.get() as usize]), false)),
            Entry::Vacant(vacant) => vacant,
        };
        let Identity { topic, table, typed, .. } = vacant.key();
        let fields = &vacant.key().fields;
        if self.all.len() >= MAX_SHAPES || self.fields + fields.len() > MAX_FIELDS {
            return Err(format!(
                "more shapes than {MAX_SHAPES}, or more columns in them than {MAX_FIELDS}: the columns of `{}` or \
                 of other tables change without end; a connector with schemas, or another pipeline, may help",
                table.table
            ));
        }
        let shape = Arc::new(Shape {
            id: self.all.len() as u32,
            topic: topic.to_string(),
            connector: table.connector.clone(),
            database: table.database.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
            typed: *typed,
            fields: fields.clone(),
        });
        self.fields += fields.len();
        vacant.insert(shape.id);
        self.all.push(Arc::clone(&shape));
        Ok((shape, true))
    }
}

impl Wire {
    /// The name of the logical type whose values are written so; empty where there is none.
    pub fn semantic(&self) -> &'static str {
        match self {
            Wire::Decimal { .. } => "org.apache.kafka.connect.data.Decimal",
            Wire::VariableDecimal => "io.debezium.data.VariableScaleDecimal",
            Wire::Bits(_) => "io.debezium.data.Bits",
            Wire::Uuid => "io.debezium.data.Uuid",
            Wire::JsonText => "io.debezium.data.Json",
            Wire::Date => "io.debezium.time.Date",
            Wire::IsoDate => "io.debezium.time.IsoDate",
            Wire::TimeMillis => "io.debezium.time.Time",
            Wire::TimeMicros => "io.debezium.time.MicroTime",
            Wire::TimeNanos => "io.debezium.time.NanoTime",
            Wire::TimestampMillis => "io.debezium.time.Timestamp",
            Wire::TimestampMicros => "io.debezium.time.MicroTimestamp",
            Wire::TimestampNanos => "io.debezium.time.NanoTimestamp",
            Wire::TimestampIso => "io.debezium.time.ZonedTimestamp",
            _ => "",
        }
    }

    /// The kind that a transform sees.
    pub fn kind(&self) -> Kind {
        match self {
            Wire::Bool | Wire::Guess(Guess::Bool) => Kind::Boolean,
            Wire::Int(_) | Wire::Guess(Guess::Int) => Kind::Int,
            Wire::Float32 | Wire::Float64 | Wire::Guess(Guess::Float) => Kind::Float,
            Wire::Decimal { .. }
            | Wire::DecimalText(_)
            | Wire::VariableDecimal
            | Wire::UInt64
            | Wire::Guess(Guess::BigInt) => Kind::Decimal,
            Wire::Structured(Structured::ZonedTime | Structured::Duration) => Kind::Text,
            Wire::Text | Wire::Uuid | Wire::Guess(Guess::Text | Guess::Unknown) => Kind::Text,
            Wire::Bytes | Wire::BytesUrl | Wire::BytesHex | Wire::Bits(_) => Kind::Bytes,
            Wire::Date | Wire::IsoDate | Wire::Structured(Structured::Date) => Kind::Date,
            Wire::TimeMillis | Wire::TimeMicros | Wire::TimeNanos | Wire::Structured(Structured::Time) => {
                Kind::Time
            }
            Wire::TimestampMillis
            | Wire::TimestampMicros
            | Wire::TimestampNanos
            | Wire::TimestampIso
            | Wire::Structured(Structured::Timestamp | Structured::ZonedTimestamp) => Kind::Timestamp,
            Wire::JsonText | Wire::Array(_) | Wire::Map(_) | Wire::Json | Wire::Guess(Guess::Json) => {
                Kind::Json
            }
        }
    }
}
