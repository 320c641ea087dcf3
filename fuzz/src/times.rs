//! Times as ISO 8601 text, against another library.

use host::clickhouse::convert::calendar;
use host::debezium::civil;
use jiff::Timestamp;
use jiff::civil::Date;
use rowgate_transform::time::{self, TimestampText};

/// Years that the other library knows.
const YEARS: std::ops::RangeInclusive<i64> = -9_998..=9_998;

/// Whether it has the form that every reader of ISO 8601 takes, if there is such a time. The other library's last
/// day is not the last of its year.
fn is_usual(text: &str) -> bool {
    let digits = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    digits.eq(*b"0000-00-00T00:00:00Z") && !text.starts_with("9999-12")
}

/// A date or a timestamp as the decoder reads them.
pub(crate) fn host(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(days) = civil::parse_date(text) {
        let (year, month, day) = civil::date(days);
        assert_eq!(civil::days(year, month, day), days, "{text}");
        if let (true, Ok(theirs)) = (YEARS.contains(&year), text.trim_end_matches('Z').parse::<Date>()) {
            let of_it = (i64::from(theirs.year()), theirs.month() as u32, theirs.day() as u32);
            assert_eq!((year, month, day), of_it, "{text}");
        }
        let day_of_text = text.trim_end_matches('Z');
        if day_of_text.len() == "2024-02-29".len() {
            assert_eq!(calendar::date_text(days).as_deref(), Ok(day_of_text), "another day than it says");
        }
        let _ = calendar::date_text(days).map(|text| assert_eq!(civil::parse_date(&text), Some(days)));
    }
    if let Some((seconds, nanos)) = civil::parse_timestamp(text) {
        assert!(nanos < 1_000_000_000);
        let written = calendar::timestamp_text(seconds, nanos);
        assert_eq!(civil::parse_timestamp(&written), Some((seconds, nanos)), "{text} is {written}");
        let theirs = text.parse::<Timestamp>();
        if is_usual(text) {
            assert!(theirs.is_ok(), "{text}: {theirs:?}");
        }
        if let Ok(theirs) = theirs {
            let nanos_of = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            assert_eq!(nanos_of, theirs.as_nanosecond(), "{text}");
        }
    }
}

/// A time as the kit of transforms reads it.
pub(crate) fn sdk(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Some(instant) = time::parse_iso(text) else { return };
    assert!(instant.nanos < 1_000);
    let written = TimestampText(instant.micros).to_string();
    if let Some(read) = time::parse_iso(&written) {
        assert_eq!(read.micros, instant.micros, "{text} is {written}");
    }
    let theirs = text.parse::<Timestamp>();
    if is_usual(text) {
        assert!(theirs.is_ok(), "{text}: {theirs:?}");
    }
    if let Ok(theirs) = theirs {
        let nanos = i128::from(instant.micros) * 1_000 + i128::from(instant.nanos);
        assert_eq!(nanos, theirs.as_nanosecond(), "{text}");
    }
}
