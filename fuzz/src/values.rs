//! Values in each of their forms, and decimals.

use host::batch::Span;
use host::clickhouse::convert::{Profile, text};
use host::clickhouse::native::{Block, Encoding};
use host::clickhouse::policy::{OutOfRange, Replaced, Rules, Unavailable};
use host::clickhouse::types::ColumnType;
use host::clickhouse::{ddl, rows};
use host::debezium::scan::Scanner;
use host::debezium::shape::{Guess, Wire};
use host::debezium::structured::Structured;
use host::debezium::value::{self, Value};
use host::debezium::{civil, decimal};
use num_bigint::BigInt;

/// Types that a value may be converted to, beside the one that its column would get.
const TYPES: [&str; 26] = [
    "String",
    "Nullable(String)",
    "Int8",
    "Int64",
    "UInt64",
    "Int256",
    "UInt128",
    "Float32",
    "Float64",
    "Decimal(9, 4)",
    "Decimal(76, 30)",
    "Date",
    "Date32",
    "DateTime",
    "DateTime64(3, 'UTC')",
    "UUID",
    "IPv6",
    "FixedString(16)",
    "Array(Nullable(Int64))",
    "Map(String, Nullable(String))",
    "Time",
    "Nullable(Time64(3))",
    "Nullable(DateTime64(9, 'UTC'))",
    "Enum8('a' = 1, 'b' = 2)",
    "Tuple(a Nullable(Int8), b Date)",
    "Variant(Int64, String)",
];

/// A byte for the form, a byte for the type, and a JSON text: what is written of it reads back.
pub(crate) fn decode(bytes: &[u8]) {
    let [form, ty, json @ ..] = bytes else { return };
    let Some(json) = accepted(json) else { return };
    let wires = wires();
    let wire = &wires[usize::from(*form) % wires.len()];
    let copied = ddl::column_type(wire, form & 0x80 != 0, &Profile::default());
    let ty = match TYPES.get(usize::from(*ty) % (TYPES.len() + 1)) {
        Some(ty) => ColumnType::parse(ty).unwrap_or(copied),
        None => copied,
    };
    let decoded = value::decode(wire, json);
    if let Ok(decoded) = &decoded
        && let Ok(text) = text::canonical(decoded, value::decode)
        && !matches!(decoded, Value::Bytes(_))
    {
        assert!(str::from_utf8(&text).is_ok(), "{decoded:?}");
    }
    encode(&ty, Rules::default(), false, decoded);
}

/// A byte for the rules, one for the form, one for the type, and a JSON text: a value that fits is written as it is by
/// all rules, and one that does not is refused or replaced, and never both.
pub(crate) fn policies(bytes: &[u8]) {
    let [rule, form, ty, json @ ..] = bytes else { return };
    let Some(json) = accepted(json) else { return };
    let wires = wires();
    let wire = &wires[usize::from(*form) % wires.len()];
    let Some(ty) = TYPES.get(usize::from(*ty) % TYPES.len()).and_then(|ty| ColumnType::parse(ty).ok()) else {
        return;
    };
    let out_of_range = [OutOfRange::Reject, OutOfRange::Null, OutOfRange::Saturate, OutOfRange::AsString];
    let unavailable = [Unavailable::Reject, Unavailable::Null, Unavailable::Default];
    let rules = Rules {
        out_of_range: out_of_range[usize::from(rule & 3)],
        unavailable: unavailable[usize::from(rule >> 2 & 3) % 3],
        in_key: rule & 16 == 16,
    };
    let (plain, refused, _) = encode(&ty, Rules::default(), false, value::decode(wire, json));
    let (bytes, failed, replaced) = encode(&ty, rules, false, value::decode(wire, json));
    let count: u64 = replaced.0.values().sum();
    assert!(count as usize + failed.len() <= 1, "{replaced:?} {failed:?}");
    assert!(count == 0 || !rules.in_key, "a key is replaced: {replaced:?}");
    if refused.is_empty() {
        assert_eq!(count, 0, "a value that fits is replaced: {replaced:?}");
        assert!(bytes == plain || !failed.is_empty());
    } else {
        assert_eq!(
            count as usize + failed.len(),
            1,
            "a value that does not fit is neither refused nor replaced"
        );
    }
    let (_, failed, replaced) = encode(&ty, rules, true, value::decode(wire, json));
    assert!(failed.is_empty() && replaced.is_empty(), "a blank is neither refused nor replaced");
}

/// A row of one column, read back: its bytes, the rows that failed, and what was replaced.
fn encode(
    ty: &ColumnType,
    rules: Rules,
    blank: bool,
    value: Result<Value<'_>, String>,
) -> (Vec<u8>, Vec<(usize, String)>, Replaced) {
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode: value::decode }, 1, 1);
    block.set_rules(rules);
    block.set_blanks(vec![blank]);
    block.column("c", ty, std::iter::once(value));
    let replaced = block.replaced().clone();
    let (bytes, failed) = block.finish();
    let read = rows::read_block(&bytes).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(read.lines().count(), 1);
    (bytes, failed, replaced)
}

/// Dates and times as structs.
const STRUCTURED: [Structured; 6] = [
    Structured::Date,
    Structured::Time,
    Structured::Timestamp,
    Structured::ZonedTime,
    Structured::ZonedTimestamp,
    Structured::Duration,
];

/// A byte for the form, and a JSON text: a date or time has the fields that it was read from.
pub(crate) fn structured(bytes: &[u8]) {
    let [form, json @ ..] = bytes else { return };
    let Some(json) = accepted(json) else { return };
    let form = STRUCTURED[usize::from(*form) % STRUCTURED.len()];
    let wire = Wire::Structured(form);
    let Ok(value) = value::decode(&wire, json) else { return };
    let tree: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let field = |name: &str| tree.get(name).and_then(serde_json::Value::as_i64);
    match value {
        Value::Date(days) => {
            let (year, month, day) = civil::date(days);
            for (name, found) in [("year", year), ("month", i64::from(month)), ("day", i64::from(day))] {
                assert!(field(name).is_none_or(|field| field == found), "{name} {found}: {json}");
            }
        }
        Value::Time(nanos) => assert!((0..=86_400_000_000_000).contains(&nanos), "{nanos}: {json}"),
        Value::Timestamp { nanos, .. } => {
            assert!(nanos < 1_000_000_000 && field("nanos").is_none_or(|field| field == i64::from(nanos)));
        }
        Value::Text(text) => assert!(!text.is_empty()),
        Value::Null | Value::Unavailable | Value::Infinite { .. } => {}
        other => panic!("{form:?} is {other:?}"),
    }
}

/// The text without space around it, if it is what comes to be decoded: nothing, or what the scanner has accepted.
fn accepted(json: &[u8]) -> Option<&str> {
    let json = str::from_utf8(json).ok()?.trim_matches([' ', '\n', '\r', '\t']);
    let span = Span { start: 0, end: json.len() as u32 };
    let scanned = Scanner::new().scan::<&[u8]>(json.as_bytes(), span, &[]);
    (json.is_empty() || scanned.is_ok()).then_some(json)
}

fn wires() -> Vec<Wire> {
    let mut wires = vec![
        Wire::Bool,
        Wire::Int(8),
        Wire::Int(16),
        Wire::Int(32),
        Wire::Int(64),
        Wire::Float32,
        Wire::Float64,
        Wire::Text,
        Wire::Bytes,
        Wire::Bits(None),
        Wire::Bits(Some(9)),
        Wire::Decimal { scale: 4, precision: Some(18) },
        Wire::Decimal { scale: -3, precision: None },
        Wire::Decimal { scale: 60, precision: Some(70) },
        Wire::VariableDecimal,
        Wire::Date,
        Wire::IsoDate,
        Wire::TimeMillis,
        Wire::TimeMicros,
        Wire::TimeNanos,
        Wire::TimestampMillis,
        Wire::TimestampMicros,
        Wire::TimestampNanos,
        Wire::TimestampIso,
        Wire::Uuid,
        Wire::JsonText,
        Wire::Json,
        Wire::Guess(Guess::Unknown),
        Wire::Guess(Guess::Bool),
        Wire::Guess(Guess::Int),
        Wire::Guess(Guess::BigInt),
        Wire::Guess(Guess::Float),
        Wire::Guess(Guess::Text),
        Wire::Guess(Guess::Json),
    ];
    wires.extend([Wire::UInt64, Wire::BytesUrl, Wire::BytesHex, Wire::DecimalText(None)]);
    wires.extend(STRUCTURED.map(Wire::Structured));
    let elements = [Wire::Int(32), Wire::Text, Wire::Date, Wire::VariableDecimal, Wire::TimestampIso];
    for element in elements {
        wires.push(Wire::Array(Box::new(element.clone())));
        wires.push(Wire::Map(Box::new(element.clone())));
        wires.push(Wire::Array(Box::new(Wire::Array(Box::new(element.clone())))));
        wires.push(Wire::Map(Box::new(Wire::Array(Box::new(element)))));
    }
    wires
}

/// Longer decimals take long to compare.
const MAX_DIGITS: usize = 1_000;

/// A scale in four bytes, and the bytes of an unscaled integer: the text means the same number.
pub(crate) fn unscaled(bytes: &[u8]) {
    let Some((scale, bytes)) = bytes.split_first_chunk::<4>() else { return };
    let scale = i32::from_le_bytes(*scale);
    // Most scales are out of all bounds; so that not all are.
    for scale in [scale, scale % 200] {
        let Ok(text) = decimal::from_unscaled(bytes, scale) else { continue };
        if text.len() > MAX_DIGITS {
            continue;
        }
        let number = Number::of(&text).unwrap_or_else(|| panic!("{text} is no decimal"));
        assert_eq!(number, Number::new(BigInt::from_signed_bytes_be(bytes), i64::from(scale)), "{text}");
    }
}

/// The text of a JSON number: without its exponent it means the same number.
pub(crate) fn number(bytes: &[u8]) {
    let Ok(json) = str::from_utf8(bytes) else { return };
    let span = Span { start: 0, end: json.len() as u32 };
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && json.ends_with(|last: char| last.is_ascii_digit())
        && Scanner::new().scan::<&[u8]>(bytes, span, &[]).is_ok();
    if !is_number {
        return;
    }
    assert!(decimal::significant_digits(json) <= json.len());
    if let Ok(text) = decimal::from_number(json) {
        assert!(!text.contains(['e', 'E']), "{text}");
        if text.len() > MAX_DIGITS {
            return;
        }
        assert_eq!(Number::of(&text), Number::of(json), "{text} of {json}");
        assert!(Number::of(&text).is_some());
    }
}

/// A decimal number: an integer divided by a power of ten, of which the integer is no multiple.
#[derive(Debug, PartialEq)]
struct Number(BigInt, i64);

impl Number {
    fn new(unscaled: BigInt, scale: i64) -> Self {
        let digits = unscaled.to_string();
        let kept = digits.trim_end_matches('0');
        if kept.is_empty() || kept == "-" {
            return Self(BigInt::ZERO, 0);
        }
        let zeros = (digits.len() - kept.len()) as i64;
        Self(kept.parse().unwrap_or_default(), scale - zeros)
    }

    /// None where the text is no number.
    fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let unscaled = format!("{whole}{fraction}").parse().ok()?;
        Some(Self::new(unscaled, fraction.len() as i64 - exponent.parse::<i64>().ok()?))
    }
}
