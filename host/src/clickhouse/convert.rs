//! The one conversion matrix: which values may be written to which column types, and how.
//!
//! [`check`] is the static half, asked once for each column of a plan; the modules below convert the values
//! and refuse each one that the column cannot hold as it is. Nothing is rounded, cut, wrapped, or
//! saturated, and reasons never show a value. The server converts nothing but `LowCardinality` and JSON.

use crate::columns::Kind;
use crate::debezium::shape::{Guess, Structured, Wire};
use crate::debezium::value::Value;

use super::types::ColumnType;

pub use super::profile::Profile;

pub mod calendar;
pub mod number;
pub mod text;
mod words;

pub use words::{describe, refuse};

/// Decodes one element of an array or a value of a map from its JSON.
///
/// # Errors
/// Why the element is not what its wire says.
pub type Decode = for<'a> fn(&'a Wire, &'a str) -> Result<Value<'a>, String>;

/// What a column's values are before they are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A source column, copied.
    Wire(&'a Wire),
    /// A computed column, or one that the host knows, such as the offset. A constant is [`Kind::Text`].
    Kind(Kind),
}

/// How well a column's values fit a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Any value that the source may have fits, but for what no column type can hold.
    Exact,
    /// Each value is checked: says which ones are refused.
    Checked(String),
}

/// What the matrix knows of a source.
#[derive(Clone, Copy)]
enum Family<'a> {
    Unknown,
    Bool,
    /// Its bits.
    Int(u8),
    Float32,
    Float64,
    /// Digits before and after the point, where they are known.
    Decimal(Option<(i64, i64)>),
    /// A decimal without a fraction, of unknown length.
    Whole,
    /// Whether it may be read as a number or a time.
    Text(Reading),
    Uuid,
    Bytes,
    Bits,
    Date,
    /// Digits after the second.
    Time(u8),
    /// Digits after the second.
    Timestamp(u8),
    Json,
    Array(&'a Wire),
    Map(&'a Wire),
}

/// What text may be read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The schema says that it is text; a decimal may be sent so (`decimal.handling.mode=string`).
    Decimal,
    /// No schema says what it is: numbers and ISO times too.
    Loose,
}

impl<'a> Family<'a> {
    fn of(source: Source<'a>) -> Self {
        match source {
            Source::Wire(wire) => Family::of_wire(wire),
            Source::Kind(kind) => match kind {
                Kind::Boolean => Family::Bool,
                Kind::Int => Family::Int(64),
                Kind::Float => Family::Float64,
                Kind::Decimal => Family::Decimal(None),
                Kind::Text => Family::Text(Reading::Loose),
                Kind::Json => Family::Json,
                Kind::Bytes => Family::Bytes,
                Kind::Date => Family::Date,
                Kind::Time => Family::Time(6),
                Kind::Timestamp => Family::Timestamp(6),
            },
        }
    }

    fn of_wire(wire: &'a Wire) -> Self {
        match wire {
            Wire::Bool | Wire::Guess(Guess::Bool) => Family::Bool,
            Wire::Int(bits) => Family::Int(*bits),
            Wire::Guess(Guess::Int) => Family::Int(64),
            Wire::Guess(Guess::BigInt) => Family::Whole,
            Wire::Float32 => Family::Float32,
            Wire::Float64 | Wire::Guess(Guess::Float) => Family::Float64,
            Wire::Decimal { scale, precision } if *scale <= 0 && precision.is_none() => Family::Whole,
            Wire::Decimal { scale, precision } => Family::Decimal(precision.map(|precision| {
                let scale = i64::from(*scale);
                ((i64::from(precision) - scale).max(0), scale.max(0))
            })),
            Wire::VariableDecimal => Family::Decimal(None),
            Wire::UInt64 => Family::Decimal(Some((20, 0))),
            Wire::DecimalText(digits) => Family::Decimal(
                digits.map(|(precision, scale)| (i64::from(precision) - i64::from(scale), i64::from(scale))),
            ),
            Wire::Text => Family::Text(Reading::Decimal),
            Wire::Guess(Guess::Text) => Family::Text(Reading::Loose),
            Wire::Uuid => Family::Uuid,
            Wire::Bytes | Wire::BytesUrl | Wire::BytesHex => Family::Bytes,
            Wire::Structured(structured) => match structured {
                Structured::Date => Family::Date,
                Structured::Time => Family::Time(9),
                Structured::Timestamp | Structured::ZonedTimestamp => Family::Timestamp(6),
                Structured::ZonedTime | Structured::Duration => Family::Text(Reading::Decimal),
            },
            Wire::Bits(_) => Family::Bits,
            Wire::Date | Wire::IsoDate => Family::Date,
            Wire::TimeMillis => Family::Time(3),
            Wire::TimeMicros => Family::Time(6),
            Wire::TimeNanos => Family::Time(9),
            Wire::TimestampMillis => Family::Timestamp(3),
            // The text may have nine digits; databases that send it keep six, as a rule.
            Wire::TimestampMicros | Wire::TimestampIso => Family::Timestamp(6),
            Wire::TimestampNanos => Family::Timestamp(9),
            Wire::JsonText | Wire::Json | Wire::Guess(Guess::Json) => Family::Json,
            Wire::Array(element) => Family::Array(element),
            Wire::Map(value) => Family::Map(value),
            Wire::Guess(Guess::Unknown) => Family::Unknown,
        }
    }
}

/// The answer of the matrix for one pair: a note where values are checked, or why the pair is refused.
type Pair = Result<Option<String>, &'static str>;

const ANY: Pair = Ok(None);
const NOTHING: Pair = Err("");
const RANGE: &str = "numbers outside its range are refused";

fn some(note: &str) -> Pair {
    Ok(Some(note.to_owned()))
}

fn unless(fits: bool, note: &str) -> Pair {
    if fits { ANY } else { some(note) }
}

/// Whether a column of `target` can hold what `source` gives; `nullable`: whether that may be null.
///
/// # Errors
/// Names both types, and says what to do where that is known. No value of the source fits then.
pub fn check(source: Source<'_>, nullable: bool, target: &ColumnType) -> Result<Fit, String> {
    if let Some(unsupported) = target.unsupported() {
        return Err(format!("the column type {unsupported} is not supported: leave the column out"));
    }
    let family = Family::of(source);
    let bare = target.bare();
    if let ColumnType::Variant(types) = bare {
        return variant(source, family, types, target);
    }
    let note = pair(family, bare).map_err(|why| {
        let separator = if why.is_empty() { "" } else { ": " };
        format!("{} cannot be written to {target}{separator}{why}", describe(source))
    })?;
    let nested = match (family, bare) {
        (Family::Array(element), ColumnType::Array(inner)) => element_note(element, inner)?,
        (Family::Map(value), ColumnType::Map(_, inner)) => element_note(value, inner)?,
        _ => None,
    };
    let null = (nullable && !target.takes_null()).then(|| "it is not Nullable: nulls are refused".to_owned());
    let notes: Vec<String> = [note, nested, null].into_iter().flatten().collect();
    if notes.is_empty() {
        return Ok(Fit::Exact);
    }
    Ok(Fit::Checked(format!("{} to {target}: {}", describe(source), notes.join("; "))))
}

/// A value of a Variant goes to the member that holds it exactly; text is not what everything turns into there.
fn variant(
    source: Source<'_>,
    family: Family<'_>,
    types: &[ColumnType],
    target: &ColumnType,
) -> Result<Fit, String> {
    let textual =
        matches!(family, Family::Unknown | Family::Text(_) | Family::Uuid | Family::Bytes | Family::Bits);
    let held = |ty: &&ColumnType| {
        (textual || matches!(family, Family::Json) || **ty != ColumnType::String)
            && check(source, false, ty).is_ok()
    };
    match types.iter().find(held) {
        Some(_) => Ok(Fit::Checked(format!(
            "{} to {target}: values that none of its types holds as they are, are refused",
            describe(source)
        ))),
        None => Err(format!("{} cannot be written to {target}", describe(source))),
    }
}

/// What is checked of the elements of an array, or the values of a map; null among them is always possible.
fn element_note(element: &Wire, inner: &ColumnType) -> Result<Option<String>, String> {
    match check(Source::Wire(element), true, inner)? {
        Fit::Exact => Ok(None),
        Fit::Checked(note) => Ok(Some(format!("of its elements, {note}"))),
    }
}

/// The matrix.
fn pair(family: Family<'_>, target: &ColumnType) -> Pair {
    if matches!(family, Family::Unknown) {
        return ANY;
    }
    match target {
        ColumnType::Int { signed, bits } => to_int(family, *signed, *bits),
        ColumnType::Decimal { precision, scale } => {
            to_decimal(family, i64::from(*precision) - i64::from(*scale), i64::from(*scale))
        }
        ColumnType::Float32 => to_float(family, 24),
        ColumnType::Float64 => to_float(family, 53),
        ColumnType::Bool => match family {
            Family::Bool => ANY,
            Family::Int(_) => some("numbers other than 0 and 1 are refused"),
            _ => NOTHING,
        },
        ColumnType::String => ANY,
        ColumnType::FixedString(_) => match family {
            Family::Text(_) | Family::Bytes | Family::Bits | Family::Uuid => {
                some("values of another length are refused")
            }
            _ => NOTHING,
        },
        ColumnType::Date | ColumnType::Date32 => to_date(family, matches!(target, ColumnType::Date)),
        ColumnType::DateTime(_) => to_timestamp(family, 0),
        ColumnType::DateTime64(digits, _) => to_timestamp(family, *digits),
        ColumnType::Time => to_time(family, 0),
        ColumnType::Time64(digits) => to_time(family, *digits),
        ColumnType::Uuid => match family {
            Family::Uuid => ANY,
            Family::Text(_) => some("text that is not a UUID is refused"),
            _ => NOTHING,
        },
        ColumnType::Ipv4 | ColumnType::Ipv6 => match family {
            Family::Text(_) => some("text that is not an address is refused"),
            _ => NOTHING,
        },
        ColumnType::Enum { .. } => match family {
            Family::Text(_) => some("text that is not one of its labels is refused"),
            Family::Int(_) => some("numbers that none of its labels has are refused"),
            _ => NOTHING,
        },
        ColumnType::Json(_) => match family {
            Family::Json => some("JSON that is not an object is refused"),
            Family::Map(_) => some("integers of more than 64 bits are refused"),
            _ => NOTHING,
        },
        ColumnType::Array(_) => match family {
            Family::Array(_) => ANY,
            Family::Json => some("JSON that is not an array of such elements is refused"),
            _ => NOTHING,
        },
        ColumnType::Map(key, _) => match (family, key.bare()) {
            (Family::Map(_), ColumnType::String) => ANY,
            (Family::Map(_) | Family::Json, key) if is_key(key) => {
                some("JSON that is not an object of such keys and values is refused")
            }
            (Family::Map(_) | Family::Json, _) => Err("text cannot be read as its keys"),
            _ => NOTHING,
        },
        ColumnType::Tuple(elements) => match family {
            Family::Json => some("JSON that has not just its members is refused"),
            Family::Map(_) if elements.iter().all(|(name, _)| name.is_some()) => {
                some("maps that have not just its members are refused")
            }
            Family::Array(_) if elements.iter().all(|(name, _)| name.is_none()) => {
                some("arrays of another length are refused")
            }
            _ => NOTHING,
        },
        ColumnType::Point => match family {
            Family::Json => {
                some("JSON that is not an object of x and y, or an array of two numbers, is refused")
            }
            Family::Array(_) => some("arrays of other than two numbers are refused"),
            _ => NOTHING,
        },
        _ => NOTHING,
    }
}

/// Whether a map's keys, which are text in the events, can be of this type.
fn is_key(ty: &ColumnType) -> bool {
    matches!(
        ty,
        ColumnType::String
            | ColumnType::FixedString(_)
            | ColumnType::Int { .. }
            | ColumnType::Date
            | ColumnType::Date32
            | ColumnType::Uuid
            | ColumnType::Ipv4
            | ColumnType::Ipv6
            | ColumnType::Enum { .. }
    )
}

fn to_int(family: Family<'_>, signed: bool, bits: u16) -> Pair {
    match family {
        Family::Bool => ANY,
        Family::Int(source) => unless(signed && bits >= u16::from(source), RANGE),
        Family::Whole | Family::Decimal(None) => {
            some("numbers with a fraction or outside its range are refused")
        }
        Family::Decimal(Some((_, 0))) => some(RANGE),
        Family::Bits if !signed && bits <= 64 => some("longer bit strings are refused"),
        Family::Time(digits) if signed && bits == 64 => {
            unless(digits <= 6, "it counts microseconds since midnight, and finer times are refused")
        }
        Family::Text(_) => Err("text is never read as a whole number; let the transform compute the column"),
        Family::Date | Family::Timestamp(_) => {
            Err("its unit would be unknown; let the transform compute the column as an int")
        }
        _ => NOTHING,
    }
}

fn to_decimal(family: Family<'_>, before_point: i64, after_point: i64) -> Pair {
    let note = "numbers with more digits are refused, and so are NaN and the infinities";
    match family {
        Family::Int(bits) => {
            let digits = match bits {
                8 => 3,
                16 => 5,
                32 => 10,
                _ => 19,
            };
            unless(digits <= before_point, RANGE)
        }
        Family::Decimal(Some((before, after))) => {
            unless(before <= before_point && after <= after_point, note)
        }
        Family::Decimal(None) | Family::Whole => some(note),
        Family::Text(_) => some("text that is not a number of its size is refused"),
        Family::Float32 | Family::Float64 => {
            Err("a float is no exact decimal; send decimals as text (decimal.handling.mode=string) \
                 or let the transform compute the column")
        }
        _ => NOTHING,
    }
}

/// `exact_bits`: those of the float's significand.
fn to_float(family: Family<'_>, exact_bits: u8) -> Pair {
    match family {
        Family::Float32 => ANY,
        Family::Float64 => unless(exact_bits == 53, "numbers that it would round are refused"),
        Family::Int(bits) => unless(bits <= exact_bits, "numbers that it would round are refused"),
        Family::Text(Reading::Loose) => some("text that is not a number is refused"),
        Family::Decimal(_) | Family::Whole => Err("a float would round a decimal"),
        _ => NOTHING,
    }
}

fn to_date(family: Family<'_>, narrow: bool) -> Pair {
    match family {
        Family::Date => unless(!narrow, "days before 1970-01-01 or after 2149-06-06 are refused"),
        Family::Text(Reading::Loose) => some("text that is not a date such as 2024-01-31 is refused"),
        Family::Int(_) => Err("the number's unit is unknown; let the transform compute the column as a date"),
        Family::Timestamp(_) => {
            Err("the time of day would be lost; let the transform compute the column as a date")
        }
        _ => NOTHING,
    }
}

fn to_timestamp(family: Family<'_>, digits: u8) -> Pair {
    match family {
        Family::Timestamp(source) => {
            unless(source <= digits, "times that are finer than its unit or outside its range are refused")
        }
        Family::Text(Reading::Loose) => {
            some("text that is not an ISO 8601 time is refused, and one without an offset is read as UTC")
        }
        Family::Int(_) => {
            Err("the number's unit is unknown; let the transform compute the column as a timestamp")
        }
        _ => NOTHING,
    }
}

fn to_time(family: Family<'_>, digits: u8) -> Pair {
    match family {
        Family::Time(source) => unless(source <= digits, "times finer than its unit are refused"),
        _ => NOTHING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::native::{Block, Encoding};

    fn decode<'a>(wire: &'a Wire, json: &'a str) -> Result<Value<'a>, String> {
        match wire {
            Wire::Array(inner) => Ok(Value::Array(json, inner)),
            _ => json.parse().map(Value::Int).map_err(|_| "not an integer".to_owned()),
        }
    }

    /// Whether a value is written to a column of a type.
    fn written(value: Value<'_>, target: &ColumnType) -> bool {
        let profile = Profile::default();
        let mut block = Block::new(Encoding { profile: &profile, decode }, 1, 1);
        block.column("x", target, std::iter::once(Ok(value)));
        block.finish().1.is_empty()
    }

    /// A value that each family may have, and its source.
    fn families() -> Vec<(&'static str, Wire, Value<'static>)> {
        let list = |wire| Wire::Array(Box::new(wire));
        vec![
            ("bool", Wire::Bool, Value::Bool(true)),
            ("int8", Wire::Int(8), Value::Int(1)),
            ("int64", Wire::Int(64), Value::Int(1)),
            ("int", Wire::Guess(Guess::Int), Value::Int(1)),
            ("bigint", Wire::Guess(Guess::BigInt), Value::Decimal("1".into())),
            ("float", Wire::Float32, Value::Float(1.0)),
            ("double", Wire::Float64, Value::Float(1.0)),
            ("decimal", Wire::Decimal { scale: 2, precision: Some(6) }, Value::Decimal("1.00".into())),
            ("whole", Wire::Decimal { scale: 0, precision: Some(20) }, Value::Decimal("1".into())),
            ("variable", Wire::VariableDecimal, Value::Decimal("1".into())),
            ("text", Wire::Text, Value::Text("1".into())),
            ("loose", Wire::Guess(Guess::Text), Value::Text("1".into())),
            ("uuid", Wire::Uuid, Value::Text("00112233-4455-6677-8899-aabbccddeeff".into())),
            ("bytes", Wire::Bytes, Value::Bytes(b"1"[..].into())),
            ("bits", Wire::Bits(None), Value::Bytes(b"1"[..].into())),
            ("date", Wire::Date, Value::Date(1)),
            ("time", Wire::TimeMicros, Value::Time(1_000_000_000)),
            ("timestamp", Wire::TimestampMicros, Value::Timestamp { seconds: 1, nanos: 0 }),
            ("json", Wire::JsonText, Value::Json("{}".into())),
            ("array", list(Wire::Int(64)), Value::Array("[1]", &Wire::Int(64))),
            ("map", Wire::Map(Box::new(Wire::Int(64))), Value::Map("{\"a\":1}", &Wire::Int(64))),
        ]
    }

    /// For each target the families that it can hold; it refuses all others.
    const MATRIX: &[(&str, &[&str])] = &[
        ("Int64", &["bool", "int8", "int64", "int", "bigint", "whole", "variable", "time"]),
        ("Int32", &["bool", "int8", "int64", "int", "bigint", "whole", "variable"]),
        ("UInt64", &["bool", "int8", "int64", "int", "bigint", "whole", "variable", "bits"]),
        ("UInt256", &["bool", "int8", "int64", "int", "bigint", "whole", "variable"]),
        (
            "Decimal(10, 2)",
            &["int8", "int64", "int", "bigint", "decimal", "whole", "variable", "text", "loose"],
        ),
        (
            "Decimal(76, 2)",
            &["int8", "int64", "int", "bigint", "decimal", "whole", "variable", "text", "loose"],
        ),
        ("Float64", &["int8", "int64", "int", "float", "double", "loose"]),
        ("Float32", &["int8", "int64", "int", "float", "double", "loose"]),
        ("Bool", &["bool", "int8", "int64", "int"]),
        (
            "String",
            &[
                "bool",
                "int8",
                "int64",
                "int",
                "bigint",
                "float",
                "double",
                "decimal",
                "whole",
                "variable",
                "text",
                "loose",
                "uuid",
                "bytes",
                "bits",
                "date",
                "time",
                "timestamp",
                "json",
                "array",
                "map",
            ],
        ),
        ("FixedString(1)", &["text", "loose", "bytes", "bits", "uuid"]),
        ("Date", &["date", "loose"]),
        ("Date32", &["date", "loose"]),
        ("DateTime", &["timestamp", "loose"]),
        ("DateTime64(6, 'UTC')", &["timestamp", "loose"]),
        ("Time", &["time"]),
        ("Time64(6)", &["time"]),
        ("UUID", &["uuid", "text", "loose"]),
        ("IPv4", &["text", "loose"]),
        ("IPv6", &["text", "loose"]),
        ("Enum8('1' = 1)", &["int8", "int64", "int", "text", "loose"]),
        ("JSON", &["json", "map"]),
        ("Array(Int64)", &["array", "json"]),
        ("Map(String, Int64)", &["map", "json"]),
        ("Map(Int8, Int64)", &["map", "json"]),
        ("Map(Float64, Int64)", &[]),
        ("Tuple(Int64)", &["array", "json"]),
        ("Tuple(a Int64)", &["map", "json"]),
        ("Point", &["array", "json"]),
        (
            "Variant(Int64, String)",
            &[
                "bool", "int8", "int64", "int", "bigint", "whole", "variable", "text", "loose", "uuid",
                "bytes", "bits", "json", "time",
            ],
        ),
    ];

    #[test]
    fn each_pair_of_families_is_held_or_refused_by_both_halves_of_the_matrix() {
        // Text and UUIDs of a form that their target does not have.
        let unlike = |family: &str, target: &ColumnType| match target {
            ColumnType::FixedString(_) => family == "uuid",
            ColumnType::Date
            | ColumnType::Date32
            | ColumnType::DateTime(_)
            | ColumnType::DateTime64(..)
            | ColumnType::Uuid
            | ColumnType::Ipv4
            | ColumnType::Ipv6 => matches!(family, "text" | "loose"),
            ColumnType::Array(_) | ColumnType::Tuple(_) => family == "json",
            ColumnType::Map(key, _) => family == "map" && **key != ColumnType::String,
            ColumnType::Point => true,
            ColumnType::Variant(_) => matches!(family, "bool" | "time"),
            _ => false,
        };
        for (target, held) in MATRIX {
            let target = ColumnType::parse(target).expect("a type");
            for (family, wire, value) in families() {
                let fit = check(Source::Wire(&wire), false, &target);
                assert_eq!(fit.is_ok(), held.contains(&family), "{family} to {target}: {fit:?}");
                if fit.is_ok() {
                    assert_eq!(written(value, &target), !unlike(family, &target), "{family} to {target}");
                } else {
                    let reason = fit.expect_err("refused");
                    assert!(reason.contains(&target.to_string()), "{reason}");
                    assert!(reason.contains(&describe(Source::Wire(&wire))), "{reason}");
                }
            }
        }
    }

    #[test]
    fn each_checked_pair_refuses_the_values_that_its_note_speaks_of() {
        let text = |text: &'static str| Value::Text(text.into());
        let decimal = |text: &'static str| Value::Decimal(text.into());
        let at = |seconds, nanos| Value::Timestamp { seconds, nanos };
        let number = Wire::Decimal { scale: 2, precision: Some(10) };
        for (wire, target, good, bad) in [
            (Wire::Int(64), "Int32", Value::Int(1 << 30), Value::Int(1 << 31)),
            (Wire::Int(8), "UInt8", Value::Int(127), Value::Int(-1)),
            (Wire::Int(64), "Decimal(3, 2)", Value::Int(9), Value::Int(10)),
            (Wire::Int(64), "Float64", Value::Int(1 << 53), Value::Int((1 << 53) + 1)),
            (Wire::Int(32), "Float32", Value::Int(1 << 24), Value::Int((1 << 24) + 1)),
            (Wire::Int(16), "Bool", Value::Int(0), Value::Int(2)),
            (Wire::Float64, "Float32", Value::Float(0.25), Value::Float(0.1)),
            (number.clone(), "Decimal(10, 1)", decimal("1.10"), decimal("1.11")),
            (number, "Decimal(4, 2)", decimal("99.99"), decimal("100.00")),
            (Wire::VariableDecimal, "Decimal(4, 2)", decimal("1.5"), decimal("NaN")),
            (Wire::VariableDecimal, "Int64", decimal("15"), decimal("1.5")),
            (Wire::Text, "Decimal(4, 2)", text("1.5"), text("1.5x")),
            (Wire::Text, "FixedString(2)", text("ab"), text("a")),
            (Wire::Text, "UUID", text("00112233-4455-6677-8899-aabbccddeeff"), text("0011")),
            (Wire::Text, "IPv4", text("1.2.3.4"), text("1.2.3")),
            (Wire::Text, "IPv6", text("::1"), text("::1/64")),
            (Wire::Text, "Enum8('a' = 1)", text("a"), text("b")),
            (Wire::Guess(Guess::Text), "Float64", text("1.5"), text("1,5")),
            (Wire::Guess(Guess::Text), "Date", text("2024-01-31"), text("31.01.2024")),
            (
                Wire::Guess(Guess::Text),
                "DateTime",
                text("2024-01-31T00:00:00Z"),
                text("2024-01-31T00:00:00.5Z"),
            ),
            (Wire::Date, "Date", Value::Date(0), Value::Date(-1)),
            (Wire::TimestampMicros, "DateTime64(3)", at(0, 1_000_000), at(0, 1_000)),
            (Wire::TimestampMillis, "DateTime", at(0, 0), at(-1, 0)),
            (Wire::TimeMicros, "Time", Value::Time(1_000_000_000), Value::Time(1_000_000)),
            (Wire::TimeNanos, "Int64", Value::Time(1_000), Value::Time(1)),
            (Wire::Bits(None), "UInt8", Value::Bytes(b"\xff"[..].into()), Value::Bytes(b"\0\x01"[..].into())),
            (Wire::JsonText, "JSON", Value::Json("{}".into()), Value::Json("[]".into())),
        ] {
            let target = ColumnType::parse(target).expect("a type");
            let fit = check(Source::Wire(&wire), false, &target);
            assert!(matches!(fit, Ok(Fit::Checked(_))), "{wire:?} to {target}: {fit:?}");
            assert!(written(good, &target), "{wire:?} to {target}");
            assert!(!written(bad, &target), "{wire:?} to {target}");
        }
    }

    #[test]
    fn what_no_column_can_hold_is_refused_even_in_an_exact_pair() {
        for (value, target) in [
            (Value::Infinite { negative: false }, "Date32"),
            (Value::Infinite { negative: true }, "DateTime64(6)"),
            (Value::Date(3_000_000), "Date32"),
            (Value::Timestamp { seconds: 253_402_300_800, nanos: 0 }, "DateTime64(6)"),
            (Value::Decimal("-Infinity".into()), "Decimal(38, 4)"),
        ] {
            let target = ColumnType::parse(target).expect("a type");
            assert!(!written(value, &target), "{target}");
        }
        assert!(written(Value::Infinite { negative: true }, &ColumnType::String));
        assert!(written(Value::Decimal("NaN".into()), &ColumnType::String));
    }

    #[test]
    fn a_number_without_a_unit_is_no_time_and_the_reason_says_what_to_do() {
        for target in ["Date", "Date32", "DateTime", "DateTime64(6)"] {
            let target = ColumnType::parse(target).expect("a type");
            let reason = check(Source::Wire(&Wire::Guess(Guess::Int)), false, &target).expect_err("refused");
            assert!(reason.contains("unit is unknown") && reason.contains("transform"), "{reason}");
        }
    }

    #[test]
    fn a_source_that_may_be_null_is_noted_where_the_column_is_not_nullable() {
        let fit = |target: &str, nullable| {
            check(Source::Kind(Kind::Int), nullable, &ColumnType::parse(target).expect("a type"))
        };
        assert_eq!(fit("Int64", false), Ok(Fit::Exact));
        assert_eq!(fit("Nullable(Int64)", true), Ok(Fit::Exact));
        assert_eq!(fit("LowCardinality(Nullable(Int64))", true), Ok(Fit::Exact));
        assert!(matches!(fit("Int64", true), Ok(Fit::Checked(note)) if note.contains("nulls are refused")));
    }

    #[test]
    fn only_nulls_fit_every_type_that_is_supported() {
        let unknown = Wire::Guess(Guess::Unknown);
        let fit =
            |target: &str| check(Source::Wire(&unknown), true, &ColumnType::parse(target).expect("a type"));
        assert_eq!(fit("Nullable(Date)"), Ok(Fit::Exact));
        assert!(matches!(fit("Int8"), Ok(Fit::Checked(_))));
        assert!(fit("Dynamic").is_err_and(|reason| reason.contains("Dynamic")));
        assert!(fit("Array(Tuple(Dynamic))").is_err());
    }

    #[test]
    fn an_arrays_elements_are_checked_as_well() {
        let wire = Wire::Array(Box::new(Wire::Int(64)));
        let fit =
            |target: &str| check(Source::Wire(&wire), false, &ColumnType::parse(target).expect("a type"));
        assert_eq!(fit("Array(Nullable(Int64))"), Ok(Fit::Exact));
        assert!(matches!(fit("Array(Int64)"), Ok(Fit::Checked(note)) if note.contains("elements")));
        assert!(fit("Array(Date)").is_err());
        assert!(fit("Array(Array(Int64))").is_err());
        let map = Wire::Map(Box::new(Wire::Text));
        let target = ColumnType::parse("Map(Float64, String)").expect("a type");
        assert!(check(Source::Wire(&map), false, &target).is_err());
    }

    #[test]
    fn an_older_server_holds_fewer_years() {
        assert_eq!(Profile::years(1900, 2299).date32_days, Some((-25_567, 120_529)));
        assert_eq!(Profile::default().datetime64_seconds, Some((-62_167_219_200, 253_402_300_799)));
    }
}
