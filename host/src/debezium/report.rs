//! What is said about records once, so that a person knows what the host cannot.

use super::scan::Json;
use super::schema::ValueSchema;
use super::shape::{Shape, Wire};
use super::topic::Rows;
use super::walk;

/// 2000-01-01 and 2100-01-01 in seconds since 1970.
const LIKELY_SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// A line of the log has no more columns.
const MAX_SHOWN: usize = 20;
/// Shorter texts are base64 by chance.
const LEAST_BASE64: usize = 4;

/// Says of a new shape without a schema which columns' meaning is a guess, and how to settle it. What was
/// `said` of the table's other shapes is not said again.
pub fn guesses(rows: &Rows<'_>, shape: &Shape, said: &mut Vec<String>) {
    let mut guesses = guessed(rows, shape);
    guesses.retain(|guess| !said.contains(guess));
    said.extend(guesses.iter().cloned());
    if !guesses.is_empty() {
        tracing::info!(
            topic = shape.topic,
            table = shape.table,
            "there is no schema, and these columns may be more than they look like; hints settle it, such as \
             --column {}: {}",
            guesses.first().map(|guess| guess.replacen(": ", "=", 1)).unwrap_or_default(),
            list(&guesses)
        );
    }
}

/// The first of many.
fn list<S: AsRef<str>>(all: &[S]) -> String {
    let shown: Vec<&str> = all.iter().take(MAX_SHOWN).map(AsRef::as_ref).collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Columns, each with the hint that may be meant.
fn guessed(rows: &Rows<'_>, shape: &Shape) -> Vec<String> {
    let Some(row) = rows.after.or(rows.before) else { return Vec::new() };
    let mut found = Vec::new();
    for (_, member) in rows.view.scanner.members_of(row) {
        let name = String::from_utf8_lossy(&member.name(rows.view.arena)).into_owned();
        let field = shape.fields.iter().find(|field| field.name == name);
        if !field.is_some_and(|field| matches!(field.wire, Wire::Guess(_))) {
            continue;
        }
        if let Some(hint) = likely(member.json, rows.view.text(member.value)) {
            found.push(format!("{name}: {hint}"));
        }
    }
    found
}

/// The hint that a value suggests.
fn likely(json: Json, text: &str) -> Option<&'static str> {
    match json {
        Json::Int => {
            let number: i64 = text.parse().ok()?;
            let unit = [
                (1_000, "timestamp(millis)"),
                (1_000_000, "timestamp(micros)"),
                (1_000_000_000, "timestamp(nanos)"),
            ];
            unit.into_iter()
                .find(|(units, _)| LIKELY_SECONDS.contains(&(number / units)))
                .map(|(_, hint)| hint)
        }
        Json::Text => {
            let text = walk::inside(text)?;
            let base64 = text.len() >= LEAST_BASE64
                && text.len() % 4 == 0
                && text.ends_with('=')
                && text
                    .trim_end_matches('=')
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
            if base64 {
                return Some("bytes, or decimal(P,S) base64");
            }
            super::civil::parse_timestamp(text).map(|_| "timestamp iso")
        }
        Json::Object => {
            let scaled = walk::member(text, "scale").is_some() && walk::member(text, "value").is_some();
            (scaled && walk::entries(text).count() == 2).then_some("decimal")
        }
        _ => None,
    }
}

/// Says whether nulls may have become defaults, which nobody can tell afterwards; whether it was said.
pub fn defaults(schema: &ValueSchema) -> bool {
    let columns = schema.columns.iter().chain(&schema.own).flatten();
    let names: Vec<&str> =
        columns.filter(|column| column.null_may_be_default).map(|column| column.name.as_str()).collect();
    if !names.is_empty() {
        tracing::info!(
            schema = schema.name,
            "a null in these columns arrives as the column's default, unless the connector has \
             value.converter.replace.null.with.default=false: {}",
            list(&names)
        );
    }
    !names.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        assert_eq!(list(&["a", "b"]), "a, b");
        let many: Vec<String> = (0..22).map(|number| number.to_string()).collect();
        assert!(list(&many).ends_with("18, 19 and 2 more"));
    }

    #[test]
    fn values_that_may_be_more_suggest_a_hint() {
        for (json, text, expected) in [
            (Json::Int, "1704067200000", Some("timestamp(millis)")),
            (Json::Int, "1704067200000000", Some("timestamp(micros)")),
            (Json::Int, "1704067200000000000", Some("timestamp(nanos)")),
            (Json::Int, "1704067200", None),
            (Json::Int, "42", None),
            (Json::Int, "-1704067200000", None),
            (Json::Text, "\"B1vNFQ==\"", Some("bytes, or decimal(P,S) base64")),
            (Json::Text, "\"2024-02-29T20:59:59Z\"", Some("timestamp iso")),
            (Json::Text, "\"name\"", None),
            (Json::Text, "\"\"", None),
            (Json::Object, r#"{"scale":5,"value":"BMsv"}"#, Some("decimal")),
            (Json::Object, r#"{"scale":5,"value":"BMsv","x":1}"#, None),
            (Json::Bool, "true", None),
        ] {
            assert_eq!(likely(json, text), expected, "{text}");
        }
    }
}
