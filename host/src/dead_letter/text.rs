//! Bytes of records as text: for the table's column of headers, for JSON, and for a person's terminal.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Map, Value, json};

/// A header's name, and its value unless that is null.
pub type OwnedHeader = (String, Option<Vec<u8>>);

/// Bytes as JSON: text where they are text, else `{"base64": …}`.
pub fn as_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => json!({ "base64": base64::prelude::BASE64_STANDARD.encode(bytes) }),
    }
}

/// The bytes that [`as_json`] was given; none for null, and for what it does not make.
fn from_json(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(object) => {
            base64::prelude::BASE64_STANDARD.decode(object.get("base64")?.as_str()?).ok()
        }
        _ => None,
    }
}

/// Headers as an object. Of several with one name the last counts, as it does where they are read.
pub fn headers_as_json(headers: &[(&str, Option<&[u8]>)]) -> Value {
    let members = headers.iter().map(|(name, value)| ((*name).to_owned(), as_json(*value)));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Headers as they stand in a table; nothing where there are none.
pub fn headers_to_json(headers: &[(&str, Option<&[u8]>)]) -> String {
    if headers.is_empty() { String::new() } else { headers_as_json(headers).to_string() }
}

/// The headers that [`headers_to_json`] wrote.
///
/// # Errors
/// Text that it did not write.
pub fn headers_of_json(text: &str) -> Result<Vec<OwnedHeader>, String> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("its headers cannot be read: {error}"))?;
    Ok(object.iter().map(|(name, value)| (name.clone(), from_json(value))).collect())
}

/// Whether a character acts on a terminal, or turns the direction of writing there.
pub fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text in one line that nothing can act on a terminal from.
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// A key or value for people: JSON with a member a line, its numbers and texts as they stand there; other bytes in one
/// line, with `\xHH` for those that are no text and `\\` for a backslash.
pub fn pretty(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => indented(text),
        _ => escaped(bytes),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&line(&chunk.valid().replace('\\', "\\\\")));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02X}");
        }
    }
    shown
}

/// Good JSON with other white space. What acts on a terminal becomes an escape, which means the same.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            in_text = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            push_json(&mut out, letter);
            continue;
        }
        match letter {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                while letters.next_if(|next| matches!(next, ' ' | '\t' | '\n' | '\r')).is_some() {}
                out.push(letter);
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = letter == '"';
                out.push(letter);
            }
        }
    }
    out
}

/// Deeper than this nothing is indented further.
const MAX_INDENT: usize = 40;

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

fn push_json(out: &mut String, letter: char) {
    if acts(letter) {
        let _ = write!(out, "\\u{:04x}", u32::from(letter));
    } else {
        out.push(letter);
    }
}

/// JSON in one line that nothing can act on a terminal from.
pub fn json_line(value: &Value) -> String {
    let mut out = String::new();
    value.to_string().chars().for_each(|letter| push_json(&mut out, letter));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let headers: [(&str, Option<&[u8]>); 3] =
            [("__op", Some(b"c")), ("id", Some(b"\0\xff\x01")), ("null", None)];
        let text = headers_to_json(&headers);
        let back = headers_of_json(&text).unwrap();
        let back: Vec<_> = back.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(back, headers);
        assert_eq!((headers_to_json(&[]), headers_of_json("")), (String::new(), Ok(vec![])));
        assert!(headers_of_json("[1]").is_err());
    }

    #[test]
    fn json_is_shown_by_members_with_its_numbers_as_they_are() {
        assert_eq!(
            pretty(br#"{"a":1.10,"b":[123456789012345678901234567890, {}],"c":"x\"{, \\"} "#),
            "{\n  \"a\": 1.10,\n  \"b\": [\n    123456789012345678901234567890,\n    {}\n  ],\n  \"c\": \"x\\\"{, \\\\\"\n}"
        );
        assert_eq!(pretty(b"[ ]"), "[]");
    }

    #[test]
    fn bytes_that_are_no_json_are_shown_as_escapes() {
        assert_eq!(pretty(b"a\\\x1b[2J\xff\0"), "a\\\\\\u{1b}[2J\\xFF\\u{0}");
        assert_eq!(
            pretty("{\"a\":\"\u{9b}31m\u{202e}\"}".as_bytes()),
            "{\n  \"a\": \"\\u009b31m\\u202e\"\n}"
        );
        assert_eq!(json_line(&json!({"a": "\u{1b}\u{9b}\u{202e}"})), "{\"a\":\"\\u001b\\u009b\\u202e\"}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_acts_on_a_terminal(bytes: Vec<u8>, text: String) {
            let quoted = json!({ "k": text }).to_string();
            for shown in [pretty(&bytes), pretty(text.as_bytes()), pretty(quoted.as_bytes())] {
                prop_assert!(shown.chars().all(|letter| letter == '\n' || !acts(letter)), "{shown:?}");
            }
            prop_assert!(!line(&text).chars().any(acts));
            prop_assert!(!json_line(&json!(text)).chars().any(acts));
        }

        #[test]
        fn indented_json_means_the_same(text: String, number: f64) {
            let value = json!({"a": [text, number, null], "b": {"c": {}}});
            let shown = pretty(value.to_string().as_bytes());
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
    }
}
