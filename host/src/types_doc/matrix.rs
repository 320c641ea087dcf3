//! Which sources fit which column types.

use super::{code, table};
use crate::clickhouse::convert::{Fit, Source, check};
use crate::clickhouse::types::ColumnType;
use crate::columns::Kind;
use crate::debezium::shape::{Guess, Structured, Wire};

fn sources() -> Vec<(&'static str, Wire)> {
    vec![
        ("boolean", Wire::Bool),
        ("int8", Wire::Int(8)),
        ("int16", Wire::Int(16)),
        ("int32", Wire::Int(32)),
        ("int64", Wire::Int(64)),
        ("uint64", Wire::UInt64),
        ("float", Wire::Float32),
        ("double", Wire::Float64),
        ("decimal(10,2)", Wire::Decimal { scale: 2, precision: Some(10) }),
        ("decimal(20,0)", Wire::Decimal { scale: 0, precision: Some(20) }),
        ("decimal(?,2)", Wire::Decimal { scale: 2, precision: None }),
        ("decimal of varying scale", Wire::VariableDecimal),
        ("string", Wire::Text),
        ("uuid", Wire::Uuid),
        ("bytes", Wire::Bytes),
        ("bits", Wire::Bits(Some(8))),
        ("date", Wire::Date),
        ("time(millis)", Wire::TimeMillis),
        ("time(micros)", Wire::TimeMicros),
        ("time(nanos)", Wire::TimeNanos),
        ("timestamp(millis)", Wire::TimestampMillis),
        ("timestamp(micros)", Wire::TimestampMicros),
        ("timestamp(nanos)", Wire::TimestampNanos),
        ("timestamp iso", Wire::TimestampIso),
        ("duration or zoned time", Wire::Structured(Structured::Duration)),
        ("json", Wire::JsonText),
        ("struct", Wire::Json),
        ("array(int32)", Wire::Array(Box::new(Wire::Int(32)))),
        ("map(int32)", Wire::Map(Box::new(Wire::Int(32)))),
        ("guessed integer", Wire::Guess(Guess::Int)),
        ("guessed longer integer", Wire::Guess(Guess::BigInt)),
        ("guessed number", Wire::Guess(Guess::Float)),
        ("guessed text", Wire::Guess(Guess::Text)),
        ("guessed JSON", Wire::Guess(Guess::Json)),
        ("only nulls", Wire::Guess(Guess::Unknown)),
    ]
}

const TARGETS: [&str; 38] = [
    "Int8",
    "Int32",
    "Int64",
    "Int128",
    "UInt8",
    "UInt64",
    "UInt256",
    "Decimal(10, 2)",
    "Decimal(38, 10)",
    "Float32",
    "Float64",
    "Bool",
    "String",
    "FixedString(16)",
    "Date",
    "Date32",
    "DateTime",
    "DateTime64(3)",
    "DateTime64(6)",
    "DateTime64(9)",
    "Time",
    "Time64(6)",
    "UUID",
    "IPv4",
    "IPv6",
    "Enum8('a' = 1)",
    "JSON",
    "Array(Nullable(Int32))",
    "Array(Int32)",
    "Map(String, Nullable(Int32))",
    "Map(UInt64, Nullable(Int32))",
    "Map(Float64, Nullable(Int32))",
    "Tuple(a Int32, b String)",
    "Tuple(Int32, Int32)",
    "Point",
    "Variant(Int64, String)",
    "LowCardinality(String)",
    "AggregateFunction(sum, UInt64)",
];

/// Groups of labels by a note, in the order in which the notes come first.
struct Groups(Vec<(String, Vec<&'static str>)>);

impl Groups {
    fn add(&mut self, note: &str, label: &'static str) {
        match self.0.iter_mut().find(|(known, _)| known == note) {
            Some((_, labels)) => labels.push(label),
            None => self.0.push((note.to_owned(), vec![label])),
        }
    }

    fn text(&self, all: usize) -> String {
        let group = |(note, labels): &(String, Vec<&str>)| {
            let labels = if labels.len() == all { "everything".to_owned() } else { labels.join(", ") };
            if note.is_empty() { labels } else { format!("{labels}: *{note}*") }
        };
        self.0.iter().map(group).collect::<Vec<_>>().join("<br>")
    }
}

/// What follows the two types in a message.
fn after<'t>(text: &'t str, target: &str) -> &'t str {
    text.split_once(&format!("to {target}")).map_or(text, |(_, rest)| rest.trim_start_matches(": "))
}

/// Each target with what fits it.
pub fn matrix() -> String {
    let sources = sources();
    let rows = TARGETS.map(|target| {
        let ty = ColumnType::parse(target).expect("a type");
        let spelled = ty.to_string();
        let [mut exact, mut checked, mut refused] = [const { Groups(Vec::new()) }; 3];
        for (label, wire) in &sources {
            match check(Source::Wire(wire), false, &ty) {
                Ok(Fit::Exact) => exact.add("", label),
                Ok(Fit::Checked(note)) => checked.add(after(&note, &spelled), label),
                Err(why) if after(&why, &spelled).is_empty() => {}
                Err(why) => refused.add(after(&why, &spelled), label),
            }
        }
        vec![
            code(target),
            exact.text(sources.len()),
            checked.text(sources.len()),
            refused.text(sources.len()),
        ]
    });
    table(&["column", "exact", "each value is checked", "refused, with advice"], &rows)
}

/// What a transform computes is taken like a column that is written alike; the document says so, and lists one only.
#[test]
fn a_computed_column_fits_what_a_copied_one_of_its_kind_fits() {
    for (kind, wire) in [
        (Kind::Boolean, Wire::Bool),
        (Kind::Int, Wire::Int(64)),
        (Kind::Float, Wire::Float64),
        (Kind::Decimal, Wire::VariableDecimal),
        (Kind::Text, Wire::Guess(Guess::Text)),
        (Kind::Json, Wire::JsonText),
        (Kind::Bytes, Wire::Bytes),
        (Kind::Date, Wire::Date),
        (Kind::Time, Wire::TimeMicros),
        (Kind::Timestamp, Wire::TimestampMicros),
    ] {
        for target in TARGETS {
            let ty = ColumnType::parse(target).expect("a type");
            let spelled = ty.to_string();
            let of = |source| match check(source, false, &ty) {
                Ok(Fit::Exact) => "exact".to_owned(),
                Ok(Fit::Checked(note)) => after(&note, &spelled).to_owned(),
                Err(_) => "refused".to_owned(),
            };
            assert_eq!(of(Source::Kind(kind)), of(Source::Wire(&wire)), "{kind:?} {target}");
        }
    }
}
