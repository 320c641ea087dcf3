//! Dates and times as structs (`time.precision.mode=structured`): every field by itself, so that values
//! come through that no number can hold.

use std::borrow::Cow;

use super::value::Value;
use super::{civil, walk};

/// What a struct of fields is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Structured {
    /// `year month day`
    Date,
    /// `hour minute second nanos`
    Time,
    /// Both, without an offset.
    Timestamp,
    /// A time with its offset.
    ZonedTime,
    /// A timestamp with its offset.
    ZonedTimestamp,
    /// `years months days hours minutes seconds nanos`
    Duration,
}

/// The struct's fields; those that are null or absent are none.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl Fields<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let (_, json) = self.0.iter().find(|(key, json)| key == name && *json != "null")?;
        Some(walk::inside(json).unwrap_or(json))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("the field `{name}` is no whole number"))
    }

    /// A field that is 0 where it is not there.
    fn within(&self, name: &str, most: i64) -> Result<i64, String> {
        match self.number(name)?.unwrap_or(0) {
            number if (0..=most).contains(&number) => Ok(number),
            _ => Err(format!("the field `{name}` is not within 0 and {most}")),
        }
    }

    fn days(&self) -> Result<i64, String> {
        let needed = |name| self.number(name)?.ok_or_else(|| format!("the field `{name}` is missing"));
        let (year, month, day) = (needed("year")?, needed("month")?, needed("day")?);
        civil::days_of(year, month, day).ok_or_else(|| "there is no such date".into())
    }

    /// Seconds and nanoseconds.
    fn of_day(&self) -> Result<(i64, i64), String> {
        let nanos = self.within("nanos", 999_999_999)?;
        let (hour, minute, second) =
            (self.within("hour", 24)?, self.within("minute", 59)?, self.within("second", 59)?);
        let seconds = hour * 3_600 + minute * 60 + second;
        if hour == 24 && (seconds > 86_400 || nanos > 0) {
            return Err("a time after 24:00:00".into());
        }
        Ok((seconds, nanos))
    }

    fn offset(&self) -> Result<i64, String> {
        match self.number("offsetSeconds")? {
            Some(offset) if offset.abs() <= 64_800 => Ok(offset),
            Some(_) => Err("an offset of more than 18 hours".into()),
            None if matches!(self.text("zoneId"), Some("Z" | "UTC" | "GMT")) => Ok(0),
            None => Err("the field `offsetSeconds` is missing".into()),
        }
    }
}

/// Decodes one value.
///
/// # Errors
/// What is no struct, and fields that are no date or time, such as MySQL's month 0.
pub fn decode(structured: Structured, json: &str) -> Result<Value<'_>, String> {
    if !json.starts_with('{') {
        return Err("expected an object of the fields of a date or time".into());
    }
    let fields = Fields(walk::entries(json).collect());
    match fields.text("specialValue") {
        Some("POSITIVE_INFINITY") => return Ok(Value::Infinite { negative: false }),
        Some("NEGATIVE_INFINITY") => return Ok(Value::Infinite { negative: true }),
        Some(_) => return Err("an unknown special value".into()),
        None => {}
    }
    match structured {
        Structured::Date => fields.days().map(Value::Date),
        Structured::Time => {
            let (seconds, nanos) = fields.of_day()?;
            Ok(Value::Time(seconds * 1_000_000_000 + nanos))
        }
        Structured::Timestamp => instant(&fields, 0),
        Structured::ZonedTimestamp => instant(&fields, fields.offset()?),
        Structured::ZonedTime => zoned_time(&fields).map(|text| Value::Text(text.into())),
        Structured::Duration => duration(&fields).map(|text| Value::Text(text.into())),
    }
}

fn instant<'a>(fields: &Fields<'_>, offset: i64) -> Result<Value<'a>, String> {
    let (of_day, nanos) = fields.of_day()?;
    // A date's year is below a billion, and nanoseconds below one too.
    Ok(Value::Timestamp { seconds: fields.days()? * 86_400 + of_day - offset, nanos: nanos as u32 })
}

fn zoned_time(fields: &Fields<'_>) -> Result<String, String> {
    let ((seconds, nanos), offset) = (fields.of_day()?, fields.offset()?);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, nanos);
    if offset == 0 {
        text.push('Z');
        return Ok(text);
    }
    let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    text.push_str(&format!("{sign}{:02}:{:02}", offset / 3_600, offset / 60 % 60));
    if offset % 60 != 0 {
        text.push_str(&format!(":{:02}", offset % 60));
    }
    Ok(text)
}

fn push_fraction(text: &mut String, nanos: i64) {
    if nanos != 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
}

/// ISO 8601, as Debezium's `Interval` is: all fields but the last may be negative.
fn duration(fields: &Fields<'_>) -> Result<String, String> {
    let number = |name| Ok::<_, String>(fields.number(name)?.unwrap_or(0));
    let mut text = String::from("P");
    for (name, unit) in [("years", 'Y'), ("months", 'M'), ("days", 'D')] {
        match number(name)? {
            0 => {}
            count => text.push_str(&format!("{count}{unit}")),
        }
    }
    let mut time = String::from("T");
    for (name, unit) in [("hours", 'H'), ("minutes", 'M')] {
        match number(name)? {
            0 => {}
            count => time.push_str(&format!("{count}{unit}")),
        }
    }
    let nanos = i128::from(number("seconds")?) * 1_000_000_000 + i128::from(number("nanos")?);
    if nanos != 0 {
        let size = nanos.unsigned_abs();
        time.push_str(&format!("{}{}", if nanos < 0 { "-" } else { "" }, size / 1_000_000_000));
        push_fraction(&mut time, (size % 1_000_000_000) as i64);
        time.push('S');
    }
    if time.len() > 1 {
        text.push_str(&time);
    }
    Ok(if text.len() > 1 { text } else { "PT0S".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn structs_are_dates_times_and_texts() {
        use Structured::{Date, Duration, Time, Timestamp, ZonedTime, ZonedTimestamp};
        for (structured, json, expected) in [
            (Date, r#"{"year":2024,"month":2,"day":29}"#, Value::Date(19_782)),
            (
                Date,
                r#"{"year":-43,"month":3,"day":15,"specialValue":null}"#,
                Value::Date(civil::days(-43, 3, 15)),
            ),
            (Date, r#"{"specialValue":"POSITIVE_INFINITY"}"#, Value::Infinite { negative: false }),
            (Timestamp, r#"{"specialValue":"NEGATIVE_INFINITY"}"#, Value::Infinite { negative: true }),
            (
                Time,
                r#"{"hour":23,"minute":59,"second":59,"nanos":1,"precision":9}"#,
                Value::Time(86_399_000_000_001),
            ),
            (Time, r#"{"hour":24}"#, Value::Time(86_400_000_000_000)),
            (
                Timestamp,
                r#"{"year":1970,"month":1,"day":2,"hour":1,"minute":0,"second":0,"nanos":5}"#,
                Value::Timestamp { seconds: 90_000, nanos: 5 },
            ),
            (
                ZonedTimestamp,
                r#"{"year":1970,"month":1,"day":1,"hour":1,"offsetSeconds":3600}"#,
                Value::Timestamp { seconds: 0, nanos: 0 },
            ),
            (
                ZonedTime,
                r#"{"hour":4,"minute":5,"second":11,"nanos":789000000,"offsetSeconds":0}"#,
                text("04:05:11.789Z"),
            ),
            (ZonedTime, r#"{"hour":4,"offsetSeconds":-5400}"#, text("04:00:00-01:30")),
            (
                Duration,
                r#"{"years":1,"months":2,"days":-3,"hours":4,"minutes":5,"seconds":6,"nanos":780000000}"#,
                text("P1Y2M-3DT4H5M6.78S"),
            ),
            (Duration, r#"{"seconds":-1,"nanos":-500000000}"#, text("PT-1.5S")),
            (Duration, "{}", text("PT0S")),
        ] {
            assert_eq!(decode(structured, json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_date_or_time_says_why() {
        use Structured::{Date, Time, ZonedTimestamp};
        for (structured, json, why) in [
            (Date, r#"{"year":2024,"month":0,"day":10}"#, "there is no such date"),
            (Date, r#"{"year":2023,"month":2,"day":29}"#, "there is no such date"),
            (Date, r#"{"year":2024,"month":2}"#, "the field `day` is missing"),
            (Date, r#"{"year":9223372036854775807,"month":2,"day":1}"#, "there is no such date"),
            (Date, "19782", "expected an object"),
            (Date, r#"{"specialValue":"X"}"#, "an unknown special value"),
            (Time, r#"{"hour":24,"second":1}"#, "a time after 24:00:00"),
            (Time, r#"{"hour":-1}"#, "not within 0 and 24"),
            (Time, r#"{"hour":"x"}"#, "the field `hour` is no whole number"),
            (
                ZonedTimestamp,
                r#"{"year":1970,"month":1,"day":1,"zoneId":"Europe/Berlin"}"#,
                "`offsetSeconds` is missing",
            ),
        ] {
            let error = decode(structured, json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
