//! Values as text, the way that the host writes them into columns of text.

use std::borrow::Cow;
use std::fmt::Write;

use rowgate_transform::Cell;
use rowgate_transform::time::{DateText, TimeText, TimestampText};

/// A value as text; none where it is null or was not sent. Bytes are hexadecimal: they need not be text.
pub(crate) fn of(cell: Cell<'_>) -> Option<Cow<'_, str>> {
    Some(match cell {
        Cell::Null | Cell::Unavailable | Cell::Op(_) => return None,
        Cell::Bool(value) => if value { "true" } else { "false" }.into(),
        Cell::Int(value) => value.to_string().into(),
        Cell::Float(value) => float(value).into(),
        Cell::Decimal(text) | Cell::Text(text) | Cell::Json(text) => text.into(),
        Cell::Bytes(bytes) => hex(bytes).into(),
        Cell::Date(days) => DateText(days).to_string().into(),
        Cell::Time(micros) => TimeText(micros).to_string().into(),
        Cell::Timestamp(micros) => TimestampText(micros).to_string().into(),
    })
}

/// A value as JSON: numbers where every reader takes them as they are, otherwise text.
pub(crate) fn push_json(json: &mut String, cell: Cell<'_>) {
    match (cell, of(cell)) {
        (Cell::Bool(_) | Cell::Int(_) | Cell::Json(_), Some(text)) => json.push_str(&text),
        (Cell::Float(value), Some(text)) if value.is_finite() => json.push_str(&text),
        (_, Some(text)) => push_string(json, &text),
        (_, None) => json.push_str("null"),
    }
}

/// A text as a JSON string.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            // Writing to a string does not fail.
            '\0'..='\u{1f}' => _ = write!(json, "\\u{:04x}", u32::from(char)),
            _ => json.push(char),
        }
    }
    json.push('"');
}

fn float(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number < 0.0 { "-Infinity" } else { "Infinity" }.to_owned()
    } else if size != 0.0 && !(1e-7..1e21).contains(&size) {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_text() {
        for (cell, text, json) in [
            (Cell::Null, None, "null"),
            (Cell::Unavailable, None, "null"),
            (Cell::Bool(true), Some("true"), "true"),
            (Cell::Int(i64::MIN), Some("-9223372036854775808"), "-9223372036854775808"),
            (Cell::Float(0.1), Some("0.1"), "0.1"),
            (Cell::Float(1e300), Some("1e300"), "1e300"),
            (Cell::Float(-1e-9), Some("-1e-9"), "-1e-9"),
            (Cell::Float(1e20), Some("100000000000000000000"), "100000000000000000000"),
            (Cell::Float(f64::NAN), Some("NaN"), "\"NaN\""),
            (Cell::Float(f64::NEG_INFINITY), Some("-Infinity"), "\"-Infinity\""),
            (Cell::Decimal("-12.50"), Some("-12.50"), "\"-12.50\""),
            (Cell::Text("a\"\\\n\u{1}é"), Some("a\"\\\n\u{1}é"), "\"a\\\"\\\\\\n\\u0001é\""),
            (Cell::Json("{\"a\": 1}"), Some("{\"a\": 1}"), "{\"a\": 1}"),
            (Cell::Bytes(&[0, 255]), Some("00ff"), "\"00ff\""),
            (Cell::Date(-1), Some("1969-12-31"), "\"1969-12-31\""),
            (Cell::Time(1), Some("00:00:00.000001"), "\"00:00:00.000001\""),
            (Cell::Timestamp(-500_000), Some("1969-12-31T23:59:59.500Z"), "\"1969-12-31T23:59:59.500Z\""),
        ] {
            assert_eq!(of(cell).as_deref(), text);
            let mut written = String::new();
            push_json(&mut written, cell);
            assert_eq!(written, json);
        }
    }
}
