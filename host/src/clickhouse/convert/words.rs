//! The words for sources and values in messages.

use crate::columns::Kind;
use crate::debezium::shape::{Guess, Wire};
use crate::debezium::value::Value;

use super::Source;

/// A source's type, for messages.
pub fn describe(source: Source<'_>) -> String {
    match source {
        Source::Kind(kind) => {
            let name = match kind {
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
            };
            format!("a {name} of the transform or the host")
        }
        Source::Wire(wire) => describe_wire(wire),
    }
}

fn describe_wire(wire: &Wire) -> String {
    let name = match wire {
        Wire::Bool => "boolean",
        Wire::Int(bits) => return format!("int{bits}"),
        Wire::Float32 => "float",
        Wire::Float64 => "double",
        Wire::Text => "string",
        Wire::Bytes => "bytes",
        Wire::BytesUrl => "bytes in base64 for urls",
        Wire::BytesHex => "bytes in hex",
        Wire::UInt64 => "uint64",
        Wire::DecimalText(Some((precision, scale))) => {
            return format!("decimal({precision},{scale}) as text");
        }
        Wire::DecimalText(None) => "decimal as text",
        Wire::Structured(structured) => return format!("io.debezium.time.Structured{structured:?}"),
        Wire::Bits(_) => "io.debezium.data.Bits",
        Wire::Decimal { scale, precision: Some(precision) } => {
            return format!("Decimal with precision {precision} and scale {scale}");
        }
        Wire::Decimal { scale, precision: None } => return format!("Decimal with scale {scale}"),
        Wire::VariableDecimal => "io.debezium.data.VariableScaleDecimal",
        Wire::Date => "io.debezium.time.Date",
        Wire::IsoDate => "io.debezium.time.IsoDate",
        Wire::TimeMillis => "io.debezium.time.Time",
        Wire::TimeMicros => "io.debezium.time.MicroTime",
        Wire::TimeNanos => "io.debezium.time.NanoTime",
        Wire::TimestampMillis => "io.debezium.time.Timestamp",
        Wire::TimestampMicros => "io.debezium.time.MicroTimestamp",
        Wire::TimestampNanos => "io.debezium.time.NanoTimestamp",
        Wire::TimestampIso => "io.debezium.time.ZonedTimestamp",
        Wire::Uuid => "io.debezium.data.Uuid",
        Wire::JsonText => "io.debezium.data.Json",
        Wire::Array(element) => return format!("array of {}", describe_wire(element)),
        Wire::Map(value) => return format!("map to {}", describe_wire(value)),
        Wire::Json => "struct",
        Wire::Guess(guess) => match guess {
            Guess::Unknown => "null without a schema",
            Guess::Bool => "a boolean without a schema",
            Guess::Int => "an integer without a schema",
            Guess::BigInt => "an integer of more than 64 bits without a schema",
            Guess::Float => "a number without a schema",
            Guess::Text => "text without a schema",
            Guess::Json => "JSON without a schema",
        },
    };
    name.to_owned()
}

/// Why `value` is not written to a column that holds `wanted`, such as "a whole number".
pub fn refuse(value: &Value<'_>, wanted: &str) -> String {
    let found = match value {
        Value::Null => return "the value is null, and the column is not Nullable".to_owned(),
        Value::Unavailable => {
            return "the source did not send the value, because it did not change (unchanged TOAST): \
                    set the source table's REPLICA IDENTITY to FULL, or leave the column out"
                .to_owned();
        }
        Value::Infinite { .. } => return format!("an infinite date or time is not {wanted}"),
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Decimal(_) => "a decimal",
        Value::Text(_) => "text",
        Value::Json(_) => "JSON",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time of day",
        Value::Timestamp { .. } => "a timestamp",
        Value::Array(..) => "an array",
        Value::Map(..) => "a map",
    };
    format!("{found} is not {wanted}")
}
