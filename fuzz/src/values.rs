//! Values in each of their forms, and decimals.

use host::batch::Span;
use host::clickhouse::convert::{Profile, text};
use host::clickhouse::native::{Block, Encoding};
use host::clickhouse::types::ColumnType;
use host::clickhouse::{ddl, rows};
use host::debezium::decimal;
use host::debezium::scan::Scanner;
use host::debezium::shape::{Guess, Wire};
use host::debezium::value::{self, Value};
use num_bigint::BigInt;

/// Types that a value may be converted to, beside the one that its column would get.
const TYPES: [&str; 20] = [
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
];

/// A byte for the form, a byte for the type, and a JSON text: what is written of it reads back.
pub(crate) fn decode(bytes: &[u8]) {
    let [form, ty, json @ ..] = bytes else { return };
    let Ok(json) = str::from_utf8(json) else { return };
    let json = json.trim_matches([' ', '\n', '\r', '\t']);
    // Only what the scanner has accepted comes to be decoded.
    let span = Span { start: 0, end: json.len() as u32 };
    if !json.is_empty() && Scanner::new().scan::<&[u8]>(json.as_bytes(), span, &[]).is_err() {
        return;
    }
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
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode: value::decode }, 1, 1);
    block.column("c", &ty, std::iter::once(decoded));
    let (bytes, _) = block.finish();
    let read = rows::read_block(&bytes).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(read.lines().count(), 1);
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
