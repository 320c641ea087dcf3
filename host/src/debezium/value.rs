//! Values as the source database meant them, decoded from their JSON.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::shape::{Guess, Wire};
use super::text::all_digits;
use super::walk::{inside, member};
use super::{civil, decimal, scan, structured};

/// PostgreSQL's `infinity` and `-infinity` of timestamps, in microseconds, as Debezium writes them.
const INFINITE_MICROS: [i64; 2] = [9_223_372_036_825_200_000, -9_223_372_036_832_400_000];
/// The same in milliseconds.
const INFINITE_MILLIS: [i64; 2] = [9_223_372_036_825_200, -9_223_372_036_832_400];
/// The same in nanoseconds.
const INFINITE_NANOS: [i64; 2] = [i64::MAX, i64::MIN];
/// PostgreSQL's `infinity` and `-infinity` of dates, in days, as Debezium streams them.
const INFINITE_DAYS: [i64; 2] = [-2_147_472_692, -2_147_472_691];
/// PostgreSQL's date `infinity` in a snapshot.
const INFINITE_DAYS_OF_SNAPSHOT: i64 = -622_191_234;
/// With or without the padding at its end.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// A double is written with at most so many digits; a number with more is something else.
const DIGITS_OF_A_DOUBLE: usize = 17;

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
    /// A decimal number as plain text: `-?digits(.digits)?`; or `NaN`, `Infinity`, `-Infinity`.
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

/// Decodes one value; `json` is its text without space around it, or nothing for a value that is not there.
///
/// An error says what is wrong with the value, and names no column.
pub fn decode<'a>(wire: &'a Wire, json: &'a str) -> Result<Value<'a>, String> {
    match json.as_bytes().first() {
        None => return Ok(Value::Unavailable),
        Some(b'n') if json == "null" => return Ok(Value::Null),
        Some(_) => {}
    }
    match wire {
        Wire::Bool | Wire::Guess(Guess::Bool) => boolean(json),
        Wire::Int(bits) => int(json, *bits).map(Value::Int),
        Wire::Guess(Guess::Int) => int(json, 64).map(Value::Int),
        Wire::UInt64 => int(json, 64).map(|number| owned_decimal(number.cast_unsigned().to_string())),
        Wire::Float32 => float32(json),
        Wire::Float64 => float64(json),
        Wire::Guess(Guess::Float) => guessed_float(json),
        Wire::Guess(Guess::BigInt) => number(json).and_then(decimal::from_number).map(owned_decimal),
        Wire::Text | Wire::Uuid | Wire::Guess(Guess::Text) => text(json).map(Value::Text),
        // Only a hint says that text is JSON where a whole value may stand.
        Wire::JsonText if json.starts_with(['{', '[']) => Ok(Value::Json(Cow::Borrowed(json))),
        Wire::JsonText => text(json).map(Value::Json),
        Wire::BytesUrl => base64_url(json).map(|bytes| Value::Bytes(Cow::Owned(bytes))),
        Wire::BytesHex => hex(json).map(|bytes| Value::Bytes(Cow::Owned(bytes))),
        Wire::DecimalText(_) => text_decimal(json),
        Wire::Structured(structured) => structured::decode(*structured, json),
        Wire::Bytes | Wire::Bits(_) => bytes(json).map(|bytes| Value::Bytes(Cow::Owned(bytes))),
        Wire::Decimal { scale, .. } => scaled_decimal(json, *scale),
        Wire::VariableDecimal => variable_decimal(json),
        Wire::Date => int(json, 32).map(date),
        Wire::IsoDate => iso_date(json),
        Wire::TimeMillis => time(json, 1_000_000),
        Wire::TimeMicros => time(json, 1_000),
        Wire::TimeNanos => time(json, 1),
        Wire::TimestampMillis => timestamp(json, 1_000, INFINITE_MILLIS),
        Wire::TimestampMicros => timestamp(json, 1_000_000, INFINITE_MICROS),
        Wire::TimestampNanos => timestamp(json, 1_000_000_000, INFINITE_NANOS),
        Wire::TimestampIso => iso_timestamp(json),
        Wire::Array(element) if json.starts_with('[') => Ok(Value::Array(json, element)),
        Wire::Map(value) if json.starts_with('{') => Ok(Value::Map(json, value)),
        Wire::Json | Wire::Guess(Guess::Json) => Ok(Value::Json(Cow::Borrowed(json))),
        Wire::Array(_) => Err(unexpected("an array", json)),
        Wire::Map(_) => Err(unexpected("an object", json)),
        Wire::Guess(Guess::Unknown) => Err(unexpected("null", json)),
    }
}

/// What is between the quotes of a JSON string without escapes. None where a closer look is needed, by
/// [`decode`].
pub fn plain_text(json: &[u8]) -> Option<&[u8]> {
    let [b'"', inside @ .., b'"'] = json else { return None };
    memchr::memchr(b'\\', inside).is_none().then_some(inside)
}

/// An integer of at most 18 digits. None where a closer look is needed, by [`decode`].
pub fn plain_int(json: &[u8]) -> Option<i64> {
    let (negative, digits) = match json {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (words, rest) = digits.as_chunks::<8>();
    let mut number = 0;
    for word in words {
        number = number * 100_000_000 + eight_digits(*word)?;
    }
    for digit in rest {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

/// A number of at most so many characters as a double has digits. None where a closer look is needed, by
/// [`decode`].
pub fn plain_float(json: &[u8]) -> Option<f64> {
    let (b'-' | b'0'..=b'9', true) = (json.first()?, json.len() <= DIGITS_OF_A_DOUBLE) else { return None };
    str::from_utf8(json).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The number that eight digits are.
fn eight_digits(word: [u8; 8]) -> Option<i64> {
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    let word = u64::from_le_bytes(word);
    if !all_digits(word) {
        return None;
    }
    // Pairs of digits, then of pairs, then of fours: each sum is below its part of the word.
    let pairs = (word ^ ZEROS).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000 << 32 | 1) >> 32) as i64)
}

/// Whether errors show the beginning of values.
static SHOW_VALUES: AtomicBool = AtomicBool::new(false);

/// Lets errors of this process show the beginning of values, or not; at first they do not, for a value may be
/// a person's data.
pub fn show_in_errors(show: bool) {
    SHOW_VALUES.store(show, Ordering::Relaxed);
}

/// Whether errors may show the beginning of values.
pub fn shown_in_errors() -> bool {
    SHOW_VALUES.load(Ordering::Relaxed)
}

fn unexpected(expected: &str, json: &str) -> String {
    unexpected_shown(expected, json, shown_in_errors())
}

fn unexpected_shown(expected: &str, json: &str, show: bool) -> String {
    if show {
        let shown: String = json.chars().take(40).collect();
        let more = if shown.len() < json.len() { "…" } else { "" };
        return format!("expected {expected}, found {shown}{more}");
    }
    let found = match json.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    match expected.contains(found) {
        true => format!("expected {expected}, found another"),
        false => format!("expected {expected}, found {found}"),
    }
}

fn boolean(json: &str) -> Result<Value<'_>, String> {
    match json {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => Err(unexpected("a boolean", json)),
    }
}

fn int(json: &str, bits: u8) -> Result<i64, String> {
    let value: i64 = json.parse().map_err(|_| unexpected("a 64-bit integer", json))?;
    let unused = 64_u32.saturating_sub(u32::from(bits));
    if (value << unused) >> unused == value {
        Ok(value)
    } else {
        Err(unexpected(&format!("a {bits}-bit integer"), json))
    }
}

fn text(json: &str) -> Result<Cow<'_, str>, String> {
    inside(json).map(scan::unescape).ok_or_else(|| unexpected("a string", json))
}

fn number(json: &str) -> Result<&str, String> {
    match json.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(json),
        _ => Err(unexpected("a number", json)),
    }
}

fn quoted_float(json: &str) -> Option<f64> {
    match json {
        "\"NaN\"" => Some(f64::NAN),
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn float64(json: &str) -> Result<Value<'_>, String> {
    if let Some(value) = quoted_float(json) {
        return Ok(Value::Float(value));
    }
    match number(json)?.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Value::Float(value)),
        _ => Err(unexpected("a 64-bit float", json)),
    }
}

/// The text is the shortest that means this 32-bit float, so it is read as one; widening is exact.
fn float32(json: &str) -> Result<Value<'_>, String> {
    if let Some(value) = quoted_float(json) {
        return Ok(Value::Float(value));
    }
    match number(json)?.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(Value::Float(f64::from(value))),
        _ => Err(unexpected("a 32-bit float", json)),
    }
}

/// A number with more digits than any double is written with is an exact decimal, and stays one.
fn guessed_float(json: &str) -> Result<Value<'_>, String> {
    if json.len() > DIGITS_OF_A_DOUBLE && decimal::significant_digits(number(json)?) > most_digits(json) {
        return decimal::from_number(json).map(owned_decimal);
    }
    float64(json)
}

/// Java before 19 writes large doubles with one digit more than needed, such as `2.00317738139160352E17`. A decimal
/// has no exponent without a sign.
fn most_digits(json: &str) -> usize {
    let exponent = json.split_once('E').map(|(_, exponent)| exponent);
    let is_java = exponent.is_some_and(|exponent| exponent.starts_with(|c: char| c.is_ascii_digit()));
    DIGITS_OF_A_DOUBLE + usize::from(is_java)
}

fn owned_decimal<'a>(text: String) -> Value<'a> {
    Value::Decimal(Cow::Owned(text))
}

fn bytes(json: &str) -> Result<Vec<u8>, String> {
    let encoded = text(json)?;
    STANDARD.decode(encoded.as_bytes()).map_err(|_| unexpected("bytes in base64", json))
}

fn base64_url(json: &str) -> Result<Vec<u8>, String> {
    let encoded = text(json)?;
    URL_SAFE.decode(encoded.as_bytes()).map_err(|_| unexpected("bytes in base64 for urls", json))
}

fn hex(json: &str) -> Result<Vec<u8>, String> {
    let digits = text(json)?;
    decimal::unhex(&digits).ok_or_else(|| unexpected("bytes in hex", json))
}

/// What Debezium writes for a decimal that is no number. None of it is base64.
fn special_decimal(json: &str) -> Option<&'static str> {
    match json {
        "\"NAN\"" => Some("NaN"),
        "\"POSITIVE_INFINITY\"" => Some("Infinity"),
        "\"NEGATIVE_INFINITY\"" => Some("-Infinity"),
        _ => None,
    }
}

/// A decimal as text, as a number, or as an object of scale and value.
fn text_decimal(json: &str) -> Result<Value<'_>, String> {
    let special = special_decimal(json).or(match json {
        "\"NaN\"" => Some("NaN"),
        "\"Infinity\"" => Some("Infinity"),
        "\"-Infinity\"" => Some("-Infinity"),
        _ => None,
    });
    if let Some(special) = special {
        return Ok(Value::Decimal(Cow::Borrowed(special)));
    }
    match json.as_bytes().first() {
        Some(b'{') => variable_decimal(json),
        Some(b'"') => {
            let text = text(json)?;
            let text = text.strip_prefix('+').unwrap_or(&text);
            match decimal::is_number(text) {
                true => decimal::from_number(text).map(owned_decimal),
                false => Err(unexpected("a decimal number", json)),
            }
        }
        _ => scaled_decimal(json, 0),
    }
}

fn unscaled(json: &str, scale: i32) -> Result<String, String> {
    let encoded = inside(json).ok_or_else(|| unexpected("a decimal in base64", json))?;
    // Nearly every decimal has at most 16 bytes: no allocation for those.
    let mut buffer = [0; 24];
    if encoded.len() <= 24 && !encoded.contains('\\') {
        let length = STANDARD.decode_slice(encoded, &mut buffer);
        let length = length.map_err(|_| unexpected("a decimal in base64", json))?;
        return decimal::from_unscaled(buffer.get(..length).unwrap_or_default(), scale);
    }
    decimal::from_unscaled(&bytes(json)?, scale)
}

fn scaled_decimal(json: &str, scale: i32) -> Result<Value<'_>, String> {
    if !json.starts_with('"') {
        return decimal::from_number(number(json)?).map(owned_decimal);
    }
    match (unscaled(json, scale), special_decimal(json)) {
        (Ok(text), _) => Ok(owned_decimal(text)),
        (Err(_), Some(special)) => Ok(Value::Decimal(Cow::Borrowed(special))),
        (Err(what), None) => Err(what),
    }
}

fn variable_decimal(json: &str) -> Result<Value<'_>, String> {
    let scale = member(json, "scale").and_then(|scale| scale.parse().ok());
    let (Some(scale), Some(value)) = (scale, member(json, "value")) else {
        return Err(unexpected("an object of scale and value", json));
    };
    scaled_decimal(value, scale)
}

fn infinite<'a>(value: i64, sentinels: [i64; 2]) -> Option<Value<'a>> {
    sentinels
        .iter()
        .position(|sentinel| *sentinel == value)
        .map(|index| Value::Infinite { negative: index == 1 })
}

fn date<'a>(days: i64) -> Value<'a> {
    if days == INFINITE_DAYS_OF_SNAPSHOT {
        return Value::Infinite { negative: false };
    }
    infinite(days, INFINITE_DAYS).unwrap_or(Value::Date(days))
}

fn iso_date(json: &str) -> Result<Value<'_>, String> {
    let text = text(json)?;
    if let Some(infinite) = infinite_text(&text) {
        return Ok(infinite);
    }
    civil::parse_date(&text).map(date).ok_or_else(|| unexpected("an iso date", json))
}

fn time(json: &str, nanos_of_unit: i64) -> Result<Value<'_>, String> {
    let units = int(json, 64)?;
    units.checked_mul(nanos_of_unit).map(Value::Time).ok_or_else(|| unexpected("a time of day", json))
}

fn timestamp(json: &str, units_of_second: i64, sentinels: [i64; 2]) -> Result<Value<'_>, String> {
    let units = int(json, 64)?;
    if let Some(infinite) = infinite(units, sentinels) {
        return Ok(infinite);
    }
    let nanos = units.rem_euclid(units_of_second) * (1_000_000_000 / units_of_second);
    // Below a second by the remainder.
    Ok(Value::Timestamp { seconds: units.div_euclid(units_of_second), nanos: nanos as u32 })
}

fn infinite_text<'a>(text: &str) -> Option<Value<'a>> {
    match text {
        "infinity" => Some(Value::Infinite { negative: false }),
        "-infinity" => Some(Value::Infinite { negative: true }),
        _ => None,
    }
}

fn iso_timestamp(json: &str) -> Result<Value<'_>, String> {
    let text = text(json)?;
    if let Some(infinite) = infinite_text(&text) {
        return Ok(infinite);
    }
    let Some((seconds, nanos)) = civil::parse_timestamp(&text) else {
        return Err(unexpected("an iso timestamp with its offset", json));
    };
    // The sentinels reach us as text where the connector writes all timestamps so.
    let micros =
        seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(i64::from(nanos / 1_000)));
    Ok(micros
        .and_then(|micros| infinite(micros, INFINITE_MICROS))
        .unwrap_or(Value::Timestamp { seconds, nanos }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok<'a>(wire: &'a Wire, json: &'a str) -> Value<'a> {
        decode(wire, json).unwrap_or_else(|what| panic!("{wire:?} {json}: {what}"))
    }

    fn decimal(text: &str) -> Value<'_> {
        Value::Decimal(Cow::Borrowed(text))
    }

    #[test]
    fn null_and_what_is_not_there_are_the_same_for_every_wire() {
        let array = Wire::Array(Box::new(Wire::Text));
        for wire in [Wire::Bool, Wire::Int(8), Wire::Text, Wire::Json, Wire::TimestampIso, array] {
            assert_eq!(ok(&wire, "null"), Value::Null);
            assert_eq!(ok(&wire, ""), Value::Unavailable);
        }
        assert_eq!(ok(&Wire::Text, r#""null""#), Value::Text("null".into()));
    }

    #[test]
    fn integers_are_held_to_their_bits() {
        assert_eq!(ok(&Wire::Int(8), "-128"), Value::Int(-128));
        assert!(decode(&Wire::Int(8), "128").is_err());
        assert_eq!(ok(&Wire::Int(16), "32767"), Value::Int(32767));
        assert_eq!(decode(&Wire::Int(16), "32768").unwrap_err(), "expected a 16-bit integer, found a number");
        assert!(decode(&Wire::Int(32), "-2147483649").is_err());
        assert_eq!(ok(&Wire::Int(64), "-9223372036854775808"), Value::Int(i64::MIN));
        for json in ["9223372036854775808", "1.0", "1e0", "\"1\"", "true", "[]"] {
            assert!(decode(&Wire::Int(64), json).is_err(), "{json}");
        }
    }

    #[test]
    fn floats_are_exact_and_may_be_no_number() {
        assert_eq!(ok(&Wire::Float64, "5e-324"), Value::Float(5e-324));
        assert_eq!(ok(&Wire::Float64, "0.1"), Value::Float(0.1));
        assert_eq!(ok(&Wire::Float32, "0.1"), Value::Float(f64::from(0.1_f32)));
        assert_eq!(ok(&Wire::Float64, "\"Infinity\""), Value::Float(f64::INFINITY));
        assert_eq!(ok(&Wire::Float32, "\"-Infinity\""), Value::Float(f64::NEG_INFINITY));
        assert!(matches!(ok(&Wire::Float64, "\"NaN\""), Value::Float(value) if value.is_nan()));
        for (wire, json) in [(Wire::Float64, "1e400"), (Wire::Float32, "1e39"), (Wire::Float64, "\"x\"")] {
            assert!(decode(&wire, json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_guessed_float_with_more_digits_than_a_double_stays_a_decimal() {
        let wire = Wire::Guess(Guess::Float);
        assert_eq!(ok(&wire, "12345.6789"), Value::Float(12345.6789));
        assert_eq!(ok(&wire, "1.2345678901234568e+39"), Value::Float(1.2345678901234568e39));
        assert_eq!(ok(&wire, "1.17749738139160352E17"), Value::Float(117_749_738_139_160_350.0));
        assert_eq!(ok(&wire, "1.17749738139160352E+17"), decimal("117749738139160352"));
        assert_eq!(ok(&wire, "1.177497381391603521E17"), decimal("117749738139160352.1"));
        assert_eq!(ok(&wire, "1234567890.1234567890"), decimal("1234567890.1234567890"));
        assert_eq!(ok(&Wire::Guess(Guess::BigInt), "18446744073709551615"), decimal("18446744073709551615"));
    }

    #[test]
    fn decimals_come_in_base64_and_as_numbers() {
        let wire = Wire::Decimal { scale: 4, precision: None };
        assert_eq!(ok(&wire, "\"B1vNFQ==\""), decimal("12345.6789"));
        assert_eq!(ok(&wire, "\"/w==\""), decimal("-0.0001"));
        assert_eq!(ok(&wire, r#""\/w==""#), decimal("-0.0001"));
        assert_eq!(
            ok(&wire, "12345.67890123456789012345678901234567"),
            decimal("12345.67890123456789012345678901234567")
        );
        let big = Wire::Decimal { scale: 10, precision: Some(60) };
        let expected = "1234567890123456789012345678901234567890.0123456789";
        assert_eq!(ok(&big, "\"CHJ/Y2mq+DyhUCZ0evjH8ZaMBNUV\""), decimal(expected));
        let variable = r#"{"scale":18,"value":"Zh798uOxn3Vk804="}"#;
        assert_eq!(ok(&Wire::VariableDecimal, variable), decimal("123456789.123456789012345678"));
        for json in ["\"\"", "\"*\"", "\"B1vNFQ\"", "true", "\"NaN\""] {
            assert!(decode(&wire, json).is_err(), "{json}");
        }
        for json in
            [r#"{"value":"AA=="}"#, r#"{"scale":"x","value":"AA=="}"#, "[]", r#"{"scale":1,"value":null}"#]
        {
            assert!(decode(&Wire::VariableDecimal, json).is_err(), "{json}");
        }
    }

    #[test]
    fn decimals_that_are_no_numbers_are_told_from_base64() {
        let scaled = Wire::Decimal { scale: 2, precision: None };
        let number = |text| Wire::DecimalText(text);
        for (json, expected) in [
            ("\"NAN\"", "NaN"),
            ("\"POSITIVE_INFINITY\"", "Infinity"),
            ("\"NEGATIVE_INFINITY\"", "-Infinity"),
        ] {
            assert_eq!(ok(&scaled, json), decimal(expected));
            assert_eq!(ok(&number(None), json), decimal(expected));
        }
        // Eight characters of base64 are a number.
        assert_eq!(ok(&scaled, "\"Infinity\""), decimal("378982984692.34"));
        assert_eq!(ok(&number(Some((4, 2))), "\"Infinity\""), decimal("Infinity"));
    }

    #[test]
    fn hinted_values_are_read_as_the_hint_says() {
        for (wire, json, expected) in [
            (Wire::UInt64, "-1", decimal("18446744073709551615")),
            (Wire::UInt64, "7", decimal("7")),
            (Wire::DecimalText(None), "\"-12.50\"", decimal("-12.50")),
            (Wire::DecimalText(None), "\"1e3\"", decimal("1000")),
            (Wire::DecimalText(Some((4, 2))), "12.5", decimal("12.5")),
            (Wire::DecimalText(None), r#"{"scale":5,"value":"BMsv"}"#, decimal("3.14159")),
            (Wire::BytesHex, "\"DeadBeef\"", Value::Bytes(vec![0xde, 0xad, 0xbe, 0xef].into())),
            (Wire::BytesUrl, "\"_-8=\"", Value::Bytes(vec![0xff, 0xef].into())),
            (Wire::BytesUrl, "\"_-8\"", Value::Bytes(vec![0xff, 0xef].into())),
            (Wire::JsonText, "[1]", Value::Json("[1]".into())),
        ] {
            assert_eq!(ok(&wire, json), expected, "{wire:?} {json}");
        }
        for (wire, json) in [
            (Wire::DecimalText(None), "\"x\""),
            (Wire::DecimalText(None), "\"\""),
            (Wire::DecimalText(None), "\"1.\""),
            (Wire::DecimalText(None), "true"),
            (Wire::BytesHex, "\"abc\""),
            (Wire::BytesHex, "\"zz\""),
            (Wire::BytesHex, "1"),
            (Wire::BytesUrl, "\"+/8=\""),
            (Wire::UInt64, "1.5"),
            (Wire::JsonText, "1"),
        ] {
            assert!(decode(&wire, json).is_err(), "{wire:?} {json}");
        }
    }

    #[test]
    fn infinities_are_told_from_points_of_time() {
        let (positive, negative) = (Value::Infinite { negative: false }, Value::Infinite { negative: true });
        for (wire, json, expected) in [
            (Wire::Date, "-2147472692", &positive),
            (Wire::Date, "-2147472691", &negative),
            (Wire::Date, "-622191234", &positive),
            (Wire::IsoDate, "\"-5877611-06-21Z\"", &positive),
            (Wire::TimestampMillis, "9223372036825200", &positive),
            (Wire::TimestampMillis, "-9223372036832400", &negative),
            (Wire::TimestampMicros, "9223372036825200000", &positive),
            (Wire::TimestampMicros, "-9223372036832400000", &negative),
            (Wire::TimestampNanos, "9223372036854775807", &positive),
            (Wire::TimestampNanos, "-9223372036854775808", &negative),
            (Wire::TimestampIso, "\"infinity\"", &positive),
            (Wire::TimestampIso, "\"-infinity\"", &negative),
            (Wire::TimestampIso, "\"+294247-01-10T04:00:25.2Z\"", &positive),
        ] {
            assert_eq!(&ok(&wire, json), expected, "{wire:?} {json}");
        }
        assert_eq!(ok(&Wire::Date, "-2147472690"), Value::Date(-2_147_472_690));
        let near = Value::Timestamp { seconds: 9_223_372_036_825, nanos: 200_001_000 };
        assert_eq!(ok(&Wire::TimestampMicros, "9223372036825200001"), near);
    }

    #[test]
    fn times_keep_their_unit() {
        for (wire, json, expected) in [
            (Wire::TimeMillis, "45296789", Value::Time(45_296_789_000_000)),
            (Wire::TimeMicros, "86400000000", Value::Time(86_400_000_000_000)),
            (Wire::TimeMicros, "-3020399000000", Value::Time(-3_020_399_000_000_000)),
            (Wire::TimeNanos, "1", Value::Time(1)),
            (Wire::TimestampMillis, "-1", Value::Timestamp { seconds: -1, nanos: 999_000_000 }),
            (
                Wire::TimestampMicros,
                "-210831897600000001",
                Value::Timestamp { seconds: -210_831_897_601, nanos: 999_999_000 },
            ),
            (
                Wire::TimestampNanos,
                "1709251199999999999",
                Value::Timestamp { seconds: 1_709_251_199, nanos: 999_999_999 },
            ),
        ] {
            assert_eq!(ok(&wire, json), expected, "{wire:?} {json}");
        }
        assert!(decode(&Wire::TimeMillis, "9223372036854775807").is_err());
    }

    #[test]
    fn what_holds_others_is_given_as_it_stands() {
        let array = Wire::Array(Box::new(Wire::Int(32)));
        assert_eq!(ok(&array, "[1,null]"), Value::Array("[1,null]", &Wire::Int(32)));
        let map = Wire::Map(Box::new(Wire::Text));
        assert_eq!(ok(&map, r#"{"a":"b"}"#), Value::Map(r#"{"a":"b"}"#, &Wire::Text));
        assert!(decode(&array, "{}").is_err());
        assert!(decode(&map, "[]").is_err());
        assert_eq!(ok(&Wire::Json, r#"{"x":1.5}"#), Value::Json(r#"{"x":1.5}"#.into()));
        assert_eq!(ok(&Wire::JsonText, r#""{\"a\":[1]}""#), Value::Json(r#"{"a":[1]}"#.into()));
    }

    #[test]
    fn an_error_shows_no_value_or_if_asked_its_start() {
        let long = format!("\"{}\"", "secret".repeat(100));
        assert_eq!(decode(&Wire::Bool, &long).unwrap_err(), "expected a boolean, found a string");
        assert_eq!(decode(&Wire::Uuid, "[1]").unwrap_err(), "expected a string, found an array");
        let error = unexpected_shown("a boolean", &long, true);
        assert!(error.starts_with("expected a boolean, found \"secret") && error.len() < 80, "{error}");
    }

    fn wire() -> impl Strategy<Value = Wire> {
        let guesses =
            [Guess::Unknown, Guess::Bool, Guess::Int, Guess::BigInt, Guess::Float, Guess::Text, Guess::Json];
        let mut wires = vec![
            Wire::Bool,
            Wire::Int(8),
            Wire::Int(64),
            Wire::Float32,
            Wire::Float64,
            Wire::Text,
            Wire::Bytes,
            Wire::Bits(None),
            Wire::Decimal { scale: 3, precision: None },
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
            Wire::UInt64,
            Wire::BytesHex,
            Wire::BytesUrl,
            Wire::DecimalText(None),
            Wire::Structured(structured::Structured::ZonedTimestamp),
            Wire::Structured(structured::Structured::Duration),
            Wire::JsonText,
            Wire::Array(Box::new(Wire::Text)),
            Wire::Map(Box::new(Wire::Text)),
            Wire::Json,
        ];
        wires.extend(guesses.map(Wire::Guess));
        prop::sample::select(wires)
    }

    #[test]
    fn what_takes_a_closer_look_is_not_plain() {
        for json in ["", "-", "null", "1.0", "1e3", "\"1\"", "9223372036854775807", "-1234567890123456789"] {
            assert_eq!(plain_int(json.as_bytes()), None, "{json}");
        }
        assert_eq!(plain_int(b"-999999999999999999"), Some(-999_999_999_999_999_999));
        for json in ["", "\"", "null", "1", r#""a\n""#] {
            assert_eq!(plain_text(json.as_bytes()), None, "{json}");
        }
        assert_eq!(plain_text(b"\"\""), Some(&b""[..]));
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_or_refused_by_any_wire(wire in wire(), json in "[-+0-9.eETZ:\"{}\\[\\],a-z\\\\/=é]{0,30}") {
            let _ = decode(&wire, &json);
        }

        #[test]
        fn a_plain_integer_is_what_decoding_makes_of_it(json in "-?[0-9]{0,20}|[-0-9./:]{0,20}") {
            if let Some(number) = plain_int(json.as_bytes()) {
                prop_assert_eq!(ok(&Wire::Int(64), &json), Value::Int(number));
            }
        }

        #[test]
        fn a_plain_text_is_what_decoding_makes_of_it(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            match plain_text(json.as_bytes()) {
                Some(plain) => prop_assert_eq!(plain, text.as_bytes()),
                None => prop_assert!(json.contains('\\')),
            }
        }

        #[test]
        fn any_float_comes_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(ok(&Wire::Float64, &json), Value::Float(value));
        }

        #[test]
        fn a_plain_float_is_what_decoding_makes_of_it(json in "-?[0-9]{1,12}(\\.[0-9]{1,8})?([eE][-+]?[0-9]{1,3})?|[-0-9.eE\"]{0,20}") {
            if let Some(number) = plain_float(json.as_bytes()) {
                for wire in [Wire::Float64, Wire::Guess(Guess::Float)] {
                    prop_assert_eq!(ok(&wire, &json), Value::Float(number));
                }
            }
        }

        #[test]
        fn any_decimal_comes_back(number in any::<i128>()) {
            let json = format!("\"{}\"", STANDARD.encode(number.to_be_bytes()));
            let wire = Wire::Decimal { scale: 0, precision: None };
            let expected = number.to_string();
            prop_assert_eq!(ok(&wire, &json), decimal(&expected));
        }

        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let json = format!("\"{}\"", STANDARD.encode(&bytes));
            prop_assert_eq!(ok(&Wire::Bytes, &json), Value::Bytes(bytes.into()));
        }
    }
}
