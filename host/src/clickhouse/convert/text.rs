//! Text: canonical text of any value, and text that must have a certain form.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::debezium::shape::{Guess, Wire};
use crate::debezium::value::{self, Value};

use super::{Decode, calendar, refuse};

/// A value as the bytes of a String column.
///
/// Numbers are shown in full; a float as the shortest text that reads back as it, with an exponent from
/// 1e21 on and below 1e-7; dates and times in ISO 8601, points of time in UTC; infinite ones as `infinity`
/// and `-infinity`; arrays and maps as JSON whose decimals, dates and times are canonical text.
///
/// # Errors
/// Null, what the source did not send, and elements that cannot be decoded.
pub fn canonical<'v>(value: &'v Value<'_>, decode: Decode) -> Result<Cow<'v, [u8]>, String> {
    let text = match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        Value::Bytes(bytes) => return Ok(Cow::Borrowed(bytes)),
        Value::Null | Value::Unavailable => return Err(refuse(value, "text")),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => itoa::Buffer::new().format(*number).to_owned(),
        Value::Float(number) => float(*number),
        Value::Date(days) => calendar::date_text(*days)?,
        Value::Time(nanos) => calendar::time_text(*nanos),
        Value::Timestamp { seconds, nanos } => calendar::timestamp_text(*seconds, *nanos),
        Value::Infinite { negative } => if *negative { "-infinity" } else { "infinity" }.to_owned(),
        Value::Array(json, wire) | Value::Map(json, wire) if means_itself(wire) => {
            return Ok(Cow::Borrowed(json.as_bytes()));
        }
        Value::Array(..) | Value::Map(..) => {
            let mut text = String::new();
            push_json(&mut text, value, decode)?;
            text
        }
    };
    Ok(Cow::Owned(text.into_bytes()))
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

/// Whether a wire's JSON already says what its values mean.
fn means_itself(wire: &Wire) -> bool {
    match wire {
        Wire::Bool
        | Wire::Int(_)
        | Wire::Float32
        | Wire::Float64
        | Wire::Text
        | Wire::Bytes
        | Wire::BytesUrl
        | Wire::BytesHex
        | Wire::Bits(_)
        | Wire::Uuid
        | Wire::JsonText
        | Wire::Json
        | Wire::Guess(
            Guess::Unknown
            | Guess::Bool
            | Guess::Int
            | Guess::BigInt
            | Guess::Float
            | Guess::Text
            | Guess::Json,
        ) => true,
        Wire::Array(inner) | Wire::Map(inner) => means_itself(inner),
        _ => false,
    }
}

/// A value as JSON; what JSON has no form for stands as its canonical text in quotes.
fn push_json(out: &mut String, value: &Value<'_>, decode: Decode) -> Result<(), String> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Array(json, wire) => {
            out.push('[');
            for (index, element) in elements(json)?.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_element(out, element.get(), wire, decode)?;
            }
            out.push(']');
        }
        Value::Map(json, wire) => {
            out.push('{');
            for (index, (key, element)) in members(json)?.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_quoted(out, &key);
                out.push(':');
                push_element(out, element.get(), wire, decode)?;
            }
            out.push('}');
        }
        other => {
            let bytes = canonical(other, decode)?;
            push_quoted(out, &String::from_utf8_lossy(&bytes));
        }
    }
    Ok(())
}

fn push_element(out: &mut String, json: &str, wire: &Wire, decode: Decode) -> Result<(), String> {
    if means_itself(wire) {
        out.push_str(json);
        return Ok(());
    }
    push_json(out, &decode(wire, json)?, decode)
}

fn push_quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The elements of a JSON array.
///
/// # Errors
/// What is no JSON array.
pub fn elements(json: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(json).map_err(|_| "the array's JSON cannot be read".to_owned())
}

/// The members of a JSON object, in their order, repeated ones too.
///
/// # Errors
/// What is no JSON object.
pub fn members(json: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, String> {
    let members: Members<'_> =
        serde_json::from_str(json).map_err(|_| "the map's JSON cannot be read".to_owned())?;
    Ok(members.0)
}

/// A value of JSON that no schema describes, as it stands there.
///
/// # Errors
/// What is no JSON.
pub fn loose(json: &str) -> Result<Value<'_>, String> {
    let wrong = || "the JSON cannot be read".to_owned();
    Ok(match json.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => {
            let Key(text) = serde_json::from_str(json).map_err(|_| wrong())?;
            Value::Text(text)
        }
        Some(b'[' | b'{') => Value::Json(json.into()),
        Some(b'-' | b'0'..=b'9') => {
            let wire = if json.contains(['.', 'e', 'E']) { &FLOAT } else { &LONG };
            return match (wire, json.parse()) {
                (_, Ok(number)) => Ok(Value::Int(number)),
                (wire, Err(_)) => value::decode(wire, json),
            };
        }
        _ => return Err(wrong()),
    })
}

static FLOAT: Wire = Wire::Guess(Guess::Float);
static LONG: Wire = Wire::Guess(Guess::BigInt);

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// The text of a JSON object for a JSON column.
///
/// # Errors
/// JSON of another form, and integers of more than 64 bits, which the column would round.
pub fn json_object<'v>(value: &'v Value<'_>) -> Result<&'v str, String> {
    let text: &str = match value {
        Value::Json(text) => text,
        Value::Map(text, wire) if means_itself(wire) => text,
        _ => return Err(refuse(value, "a JSON object")),
    };
    if !text.trim_start().starts_with('{') {
        return Err("the JSON is not an object, which a JSON column must have".to_owned());
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| "the text is not valid JSON".to_owned())?;
    if has_long_integer(text) {
        return Err(
            "the JSON has an integer of more than 64 bits, which a JSON column would round".to_owned()
        );
    }
    Ok(text)
}

/// Whether valid JSON has an integer that neither 64 bits signed nor unsigned hold.
fn has_long_integer(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let length = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .count();
                let number = json.get(at..at + length).unwrap_or_default();
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return true;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    false
}

/// Where the string that begins at `at` has ended.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn plain<'v>(value: &'v Value<'_>, wanted: &str) -> Result<&'v str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(refuse(other, wanted)),
    }
}

/// The bytes for a FixedString of `size` bytes.
///
/// # Errors
/// What is neither text nor bytes, or has another length: padding would change it.
pub fn fixed<'v>(value: &'v Value<'_>, size: usize) -> Result<&'v [u8], String> {
    let bytes: &[u8] = match value {
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        other => return Err(refuse(other, "text or bytes")),
    };
    if bytes.len() != size {
        return Err(format!("the value does not have exactly {size} bytes, and padding would change it"));
    }
    Ok(bytes)
}

/// A UUID from its 36 characters.
///
/// # Errors
/// Any other text or value.
pub fn uuid(value: &Value<'_>) -> Result<u128, String> {
    let text = plain(value, "a UUID")?;
    let wrong = || "the text is not a UUID".to_owned();
    if text.len() != 36 {
        return Err(wrong());
    }
    let mut number = 0_u128;
    for (index, byte) in text.bytes().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return Err(wrong());
            }
            continue;
        }
        let digit = char::from(byte).to_digit(16).ok_or_else(wrong)?;
        number = number << 4 | u128::from(digit);
    }
    Ok(number)
}

/// An IPv4 address.
///
/// # Errors
/// Any other text or value.
pub fn ipv4(value: &Value<'_>) -> Result<Ipv4Addr, String> {
    plain(value, "an IPv4 address")?.parse().map_err(|_| "the text is not an IPv4 address".to_owned())
}

/// An IPv6 address; an IPv4 address is written as its mapped form, as the server does.
///
/// # Errors
/// Any other text or value.
pub fn ipv6(value: &Value<'_>) -> Result<Ipv6Addr, String> {
    let address: IpAddr =
        plain(value, "an IPv6 address")?.parse().map_err(|_| "the text is not an IPv6 address".to_owned())?;
    Ok(match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    })
}

/// An enum's number, by its label or as it is.
///
/// # Errors
/// What is no text and no integer, or none of the labels.
pub fn label(
    value: &Value<'_>,
    find: impl Fn(&str) -> Option<i16>,
    has: impl Fn(i16) -> bool,
) -> Result<i16, String> {
    if let Value::Int(number) = value {
        let number = i16::try_from(*number).ok().filter(|number| has(*number));
        return number.ok_or_else(|| "the number is none of the enum's".to_owned());
    }
    let text = plain(value, "one of the enum's labels")?;
    find(text).ok_or_else(|| "the text is not one of the enum's labels".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<'a>(wire: &'a Wire, json: &'a str) -> Result<Value<'a>, String> {
        Ok(match wire {
            _ if json == "null" => Value::Null,
            Wire::Date => Value::Date(json.parse().map_err(|_| "not a day".to_owned())?),
            Wire::Array(inner) => Value::Array(json, inner),
            _ => return Err("unexpected".to_owned()),
        })
    }

    fn canonical_text(value: &Value<'_>) -> String {
        String::from_utf8(canonical(value, decode).expect("it has a text").into_owned()).expect("it is UTF-8")
    }

    #[test]
    fn every_value_has_one_text() {
        for (value, text) in [
            (Value::Bool(true), "true"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(-0.0), "-0"),
            (Value::Float(1e300), "1e300"),
            (Value::Float(1e20), "100000000000000000000"),
            (Value::Float(-1e-9), "-1e-9"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Float(f64::NEG_INFINITY), "-Infinity"),
            (Value::Decimal("NaN".into()), "NaN"),
            (Value::Decimal("-12.50".into()), "-12.50"),
            (Value::Date(-1), "1969-12-31"),
            (Value::Time(1), "00:00:00.000000001"),
            (Value::Timestamp { seconds: -1, nanos: 500_000_000 }, "1969-12-31T23:59:59.500Z"),
            (Value::Infinite { negative: true }, "-infinity"),
            (Value::Json("{\"a\": 1}".into()), "{\"a\": 1}"),
            (Value::Array("[1, null]", &Wire::Int(32)), "[1, null]"),
            (Value::Array("[0,null]", &Wire::Date), "[\"1970-01-01\",null]"),
            (Value::Map("{\"a\\\"\":0}", &Wire::Date), "{\"a\\\"\":\"1970-01-01\"}"),
        ] {
            assert_eq!(canonical_text(&value), text);
        }
        let wire = Wire::Array(Box::new(Wire::Date));
        assert_eq!(canonical_text(&Value::Array("[[0],[]]", &wire)), "[[\"1970-01-01\"],[]]");
        assert!(canonical(&Value::Unavailable, decode).is_err());
        assert!(canonical(&Value::Array("[true]", &Wire::Date), decode).is_err());
    }

    #[test]
    fn a_maps_members_keep_their_order_and_repetitions() {
        let members = members("{\"b\":1,\"a\":2,\"b\":{\"c\":3}}").expect("an object");
        let texts: Vec<_> = members.iter().map(|(key, value)| (key.as_ref(), value.get())).collect();
        assert_eq!(texts, [("b", "1"), ("a", "2"), ("b", "{\"c\":3}")]);
        assert!(super::members("[1]").is_err());
        assert!(elements("{}").is_err());
    }

    #[test]
    fn a_json_column_takes_objects_whose_integers_it_keeps() {
        let object = |text: &'static str| json_object(&Value::Json(text.into())).map(str::len);
        assert!(
            object(" {\"a\":[1,-9223372036854775808,18446744073709551615,1.5e300,\"99999999999999999999\"]}")
                .is_ok()
        );
        for wrong in [
            "[1]",
            "1",
            "\"{}\"",
            "null",
            "{",
            "{\"a\":18446744073709551616}",
            "{\"\\\"\":[-9223372036854775809]}",
            "",
        ] {
            assert!(object(wrong).is_err(), "{wrong}");
        }
        assert!(json_object(&Value::Text("{}".into())).is_err());
    }

    #[test]
    fn text_of_a_certain_form_is_exact_or_refused() {
        let text = |text: &'static str| Value::Text(text.into());
        assert_eq!(fixed(&text("abc"), 3), Ok(&b"abc"[..]));
        assert!(fixed(&text("ab"), 3).is_err());
        assert!(fixed(&text("abcd"), 3).is_err());
        assert_eq!(
            uuid(&text("00112233-4455-6677-8899-AABBccddeeff")),
            Ok(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)
        );
        for wrong in ["", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg"] {
            assert!(uuid(&text(wrong)).is_err(), "{wrong}");
        }
        assert!(ipv4(&text("10.0.0.1")).is_ok() && ipv4(&text("10.0.0.0/8")).is_err());
        assert_eq!(
            ipv6(&text("10.0.0.1")).map(|address| address.to_string()),
            Ok("::ffff:10.0.0.1".to_owned())
        );
        assert!(ipv6(&text("::1/128")).is_err());
        let of = |value| label(&value, |label| (label == "a").then_some(1), |number| number == 1);
        assert!(of(text("c")).is_err() && of(Value::Int(2)).is_err());
        assert_eq!((of(text("a")), of(Value::Int(1))), (Ok(1), Ok(1)));
    }
}
