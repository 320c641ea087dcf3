//! Dates, times of day, points of time: as the column counts them, and as text.

use std::fmt::Write as _;

use crate::debezium::civil;
use crate::debezium::value::Value;

use super::{Profile, refuse};

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// Beyond this many days there is no calendar worth a name; it keeps the arithmetic from overflowing.
const MAX_DAYS: i64 = 1 << 40;

/// The largest time of day that ClickHouse's Time and Time64 hold: 999:59:59, in seconds.
pub const MAX_TIME_SECONDS: i64 = 3_599_999;

/// The range of a type that the server does not have: no table can have a column of it.
pub const NOWHERE: (i64, i64) = (0, -1);

const OUT_OF_RANGE: &str = "the time is outside the column's range";
const DATE_OUT_OF_RANGE: &str = "the date is outside the column's range";
const TOO_FINE: &str = "the time is finer than the column's unit";

/// Days since 1970-01-01, within `first` and `last`.
///
/// # Errors
/// What is no date, or outside the range.
pub fn days(value: &Value<'_>, (first, last): (i64, i64)) -> Result<i64, String> {
    let days = match value {
        Value::Date(days) => *days,
        Value::Text(text) => {
            parse_date(text).ok_or_else(|| "the text is not a date such as 2024-01-31".to_owned())?
        }
        other => return Err(refuse(other, "a date")),
    };
    if (first..=last).contains(&days) { Ok(days) } else { Err(DATE_OUT_OF_RANGE.to_owned()) }
}

/// A date as days, or text that is one, whatever the range; none of anything else.
pub fn any_days(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Date(days) => Some(*days),
        Value::Text(text) => parse_date(text),
        _ => None,
    }
}

/// A point of time, or text that is one, whatever the range; none of anything else.
pub fn any_instant(value: &Value<'_>) -> Option<(i64, u32)> {
    instant(value).ok()
}

/// Ticks of `10^-digits` seconds since 1970, rounded down.
pub fn wide_ticks(seconds: i64, nanos: u32, digits: u8) -> i128 {
    let unit = 10_i128.pow(u32::from(digits.min(9)));
    i128::from(seconds) * unit + i128::from(split(i64::from(nanos), digits).0)
}

/// The nanoseconds of a second's last tick.
pub fn last_nanos(digits: u8) -> u32 {
    1_000_000_000 - 10_u32.pow(9 - u32::from(digits.min(9)))
}

/// The first or the last point of time of a DateTime64 of `digits` digits, whose seconds have this range: in
/// nanoseconds 64 bits end before that.
pub fn datetime64_end((first, last): (i64, i64), digits: u8, at_last: bool) -> (i64, u32) {
    let (seconds, nanos) = if at_last { (last, last_nanos(digits)) } else { (first, 0) };
    let unit = 10_i64.pow(u32::from(digits.min(9)));
    match i64::try_from(wide_ticks(seconds, nanos, digits)) {
        Ok(_) => (seconds, nanos),
        Err(_) => {
            let ticks = if at_last { i64::MAX } else { i64::MIN };
            // Below a second by the remainder.
            let nanos = ticks.rem_euclid(unit) * (1_000_000_000 / unit);
            (ticks.div_euclid(unit), nanos as u32)
        }
    }
}

fn instant(value: &Value<'_>) -> Result<(i64, u32), String> {
    match value {
        Value::Timestamp { seconds, nanos } if *nanos < 1_000_000_000 => Ok((*seconds, *nanos)),
        Value::Text(text) => parse_instant(text).ok_or_else(|| "the text is not an ISO 8601 time".to_owned()),
        other => Err(refuse(other, "a point of time")),
    }
}

/// Seconds since 1970 for DateTime.
///
/// # Errors
/// What is no point of time, has a fraction of a second, or is outside the server's range: 1970 to 2106.
pub fn unix_seconds(value: &Value<'_>, profile: &Profile) -> Result<u32, String> {
    let (seconds, nanos) = instant(value)?;
    let (first, last) = profile.datetime_seconds;
    if !(first..=last).contains(&seconds) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    if nanos != 0 {
        return Err(TOO_FINE.to_owned());
    }
    u32::try_from(seconds).map_err(|_| OUT_OF_RANGE.to_owned())
}

/// Ticks of `10^-digits` seconds since 1970 for DateTime64.
///
/// # Errors
/// What is no point of time, is finer than a tick, or is outside the server's range or 64 bits.
pub fn ticks(value: &Value<'_>, digits: u8, profile: &Profile) -> Result<i64, String> {
    let (seconds, nanos) = instant(value)?;
    let (first, last) = profile.datetime64_seconds.unwrap_or(NOWHERE);
    if !(first..=last).contains(&seconds) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    let (tick, remainder) = split(i64::from(nanos), digits);
    if remainder != 0 {
        return Err(TOO_FINE.to_owned());
    }
    seconds
        .checked_mul(10_i64.pow(u32::from(digits.min(9))))
        .and_then(|ticks| ticks.checked_add(tick))
        .ok_or_else(|| OUT_OF_RANGE.to_owned())
}

/// Nanoseconds as ticks of `10^-digits` seconds, and what is left.
fn split(nanos: i64, digits: u8) -> (i64, i64) {
    let tick = 10_i64.pow(9 - u32::from(digits.min(9)));
    (nanos / tick, nanos % tick)
}

/// Ticks of `10^-digits` seconds since midnight for Time (0 digits) and Time64.
///
/// # Errors
/// What is no time of day, is finer than a tick, or beyond 999:59:59 either way.
pub fn time_ticks(value: &Value<'_>, digits: u8) -> Result<i64, String> {
    let Value::Time(nanos) = value else { return Err(refuse(value, "a time of day")) };
    let (ticks, remainder) = split(*nanos, digits);
    if remainder != 0 {
        return Err(TOO_FINE.to_owned());
    }
    if (nanos / 1_000_000_000).abs() > MAX_TIME_SECONDS {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(ticks)
}

/// `2024-01-31`; years that have no four digits get a sign.
///
/// # Errors
/// Days beyond any calendar.
pub fn date_text(days: i64) -> Result<String, String> {
    if !(-MAX_DAYS..=MAX_DAYS).contains(&days) {
        return Err(DATE_OUT_OF_RANGE.to_owned());
    }
    let mut text = String::with_capacity(10);
    push_date(&mut text, days);
    Ok(text)
}

fn push_date(text: &mut String, days: i64) {
    let (year, month, day) = civil::date(days);
    // Writing to a String cannot fail.
    let _ = match year {
        0..=9999 => write!(text, "{year:04}-{month:02}-{day:02}"),
        _ => write!(text, "{year:+05}-{month:02}-{day:02}"),
    };
}

fn push_clock(text: &mut String, seconds: i64) {
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
}

/// A fraction of a second with none, 3, 6 or 9 digits, as few as show it all.
fn push_fraction(text: &mut String, nanos: u32) {
    let _ = match nanos {
        0 => Ok(()),
        _ if nanos.is_multiple_of(1_000_000) => write!(text, ".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => write!(text, ".{:06}", nanos / 1_000),
        _ => write!(text, ".{nanos:09}"),
    };
}

/// `2024-01-31T23:59:59.123456Z`
pub fn timestamp_text(seconds: i64, nanos: u32) -> String {
    let mut text = String::with_capacity(30);
    push_date(&mut text, seconds.div_euclid(DAY_SECONDS));
    text.push('T');
    push_clock(&mut text, seconds.rem_euclid(DAY_SECONDS));
    push_fraction(&mut text, nanos);
    text.push('Z');
    text
}

/// `23:59:59.123456`; the hours may be more than 23, and a sign comes first.
pub fn time_text(nanos: i64) -> String {
    let mut text = String::with_capacity(18);
    if nanos < 0 {
        text.push('-');
    }
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    // Both fit: 64 bits of nanoseconds are 34 bits of seconds.
    push_clock(&mut text, seconds as i64);
    push_fraction(&mut text, fraction as u32);
    text
}

/// `2024-01-31 23:59:59.123456` with just `digits` digits of fraction, for people.
pub fn plain_timestamp(ticks: i64, digits: u8) -> String {
    let unit = 10_i64.pow(u32::from(digits.min(9)));
    let seconds = ticks.div_euclid(unit);
    let mut text = String::with_capacity(29);
    push_date(&mut text, seconds.div_euclid(DAY_SECONDS));
    text.push(' ');
    push_clock(&mut text, seconds.rem_euclid(DAY_SECONDS));
    if digits > 0 {
        let _ = write!(text, ".{:0width$}", ticks.rem_euclid(unit), width = usize::from(digits));
    }
    text
}

/// `-23:59:59.123456` with just `digits` digits of fraction, for people.
pub fn plain_time(ticks: i64, digits: u8) -> String {
    let unit = 10_u64.pow(u32::from(digits.min(9)));
    let mut text = String::with_capacity(19);
    if ticks < 0 {
        text.push('-');
    }
    let ticks = ticks.unsigned_abs();
    let seconds = ticks / unit;
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if digits > 0 {
        let _ = write!(text, ".{:0width$}", ticks % unit, width = usize::from(digits));
    }
    text
}

/// Takes `count` digits off the front.
fn take_number(text: &str, count: usize) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

fn take_date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = take_number(text, 4)?;
    let (month, rest) = take_number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = take_number(rest.strip_prefix('-')?, 2)?;
    let days = (1..=12).contains(&month).then(|| civil::days(i64::from(year), month, day))?;
    // Not a day of its month: it comes back as another one.
    (civil::date(days) == (i64::from(year), month, day)).then_some((days, rest))
}

fn parse_date(text: &str) -> Option<i64> {
    let (days, rest) = take_date(text)?;
    matches!(rest, "" | "Z").then_some(days)
}

/// `2024-01-31T23:59:59.123456789+02:00`; a space may stand for the `T`, and without an offset it is UTC.
fn parse_instant(text: &str) -> Option<(i64, u32)> {
    let (days, rest) = take_date(text)?;
    let (hour, rest) = take_number(rest.strip_prefix(['T', ' '])?, 2)?;
    let (minute, rest) = take_number(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = take_number(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = take_fraction(rest)?;
    let offset = parse_offset(rest)?;
    let of_day = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Some((days * DAY_SECONDS + of_day - offset, nanos))
}

fn take_fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let unit = 10_u32.checked_pow(9_u32.checked_sub(u32::try_from(count).ok()?)?)?;
    let (number, rest) = take_number(rest, count)?;
    Some((number * unit, rest))
}

/// `Z`, `+02`, `+0200`, `+02:00` or nothing, in seconds east.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1) {
        None => return text.is_empty().then_some(0),
        Some(("Z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, rest) = take_number(rest, 2)?;
    let minutes = match rest {
        "" => 0,
        _ => {
            let (minutes, end) = take_number(rest.strip_prefix(':').unwrap_or(rest), 2)?;
            end.is_empty().then_some(minutes)?
        }
    };
    (hours <= 18 && minutes <= 59).then(|| sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &'static str) -> Value<'static> {
        Value::Text(text.into())
    }

    proptest! {
        #[test]
        fn a_written_timestamp_reads_back(seconds in -62_167_219_200_i64..=253_402_300_799, nanos in 0_u32..1_000_000_000) {
            prop_assert_eq!(parse_instant(&timestamp_text(seconds, nanos)), Some((seconds, nanos)));
            let date = date_text(seconds.div_euclid(DAY_SECONDS)).expect("in the calendar");
            prop_assert_eq!(parse_date(&date), Some(seconds.div_euclid(DAY_SECONDS)));
        }

        #[test]
        fn no_text_or_number_makes_it_panic(text in "[0-9TZé:. +-]{0,30}", number in any::<i64>(), digits in 0_u8..10) {
            let _ = (parse_instant(&text), parse_date(&text), date_text(number), time_text(number));
            let _ = (plain_timestamp(number, digits), plain_time(number, digits), timestamp_text(number, 1));
            let _ = ticks(&Value::Timestamp { seconds: number, nanos: 1 }, digits, &Profile::default());
            let _ = time_ticks(&Value::Time(number), digits);
        }
    }

    #[test]
    fn known_days_have_their_numbers() {
        for (date, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("1969-12-31", -1),
            ("0000-01-01", -719_528),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(parse_date(date), Some(days));
            assert_eq!(date_text(days).as_deref(), Ok(date));
        }
        assert_eq!(date_text(-719_529).as_deref(), Ok("-0001-12-31"));
        assert_eq!(date_text(2_932_897).as_deref(), Ok("+10000-01-01"));
        assert!(date_text(i64::MAX).is_err());
    }

    #[test]
    fn only_iso_text_is_a_time() {
        assert_eq!(parse_instant("1970-01-02 00:00:00"), Some((86_400, 0)));
        assert_eq!(parse_instant("1970-01-02T00:00:00.5+02:00"), Some((79_200, 500_000_000)));
        assert_eq!(parse_instant("1970-01-01T00:00:00-0130"), Some((5_400, 0)));
        for wrong in [
            "",
            "1970-01-01",
            "1970-1-1T00:00:00Z",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00z",
            "1970-01-01T00:00:00+2",
            "0000-00-00 00:00:00",
            "infinity",
            "1970-01-01T00:00Z",
            "+1970-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_instant(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn points_of_time_keep_their_precision_and_range() {
        let profile = Profile::default();
        let at = |seconds, nanos| Value::Timestamp { seconds, nanos };
        assert_eq!(ticks(&at(-1, 999_000_000), 3, &profile), Ok(-1));
        assert!(ticks(&at(0, 999_000_001), 6, &profile).is_err());
        assert_eq!(ticks(&at(0, 999_000_001), 9, &profile), Ok(999_000_001));
        assert!(ticks(&at(9_300_000_000, 0), 9, &profile).is_err(), "beyond 64 bits of nanoseconds");
        assert!(ticks(&at(253_402_300_800, 0), 0, &profile).is_err());
        assert!(ticks(&at(-2_208_988_801, 0), 0, &Profile::years(1900, 2299)).is_err());
        assert_eq!(ticks(&at(-2_208_988_800, 0), 0, &Profile::years(1900, 2299)), Ok(-2_208_988_800));
        assert_eq!(unix_seconds(&at(4_294_967_295, 0), &profile), Ok(u32::MAX));
        assert!(unix_seconds(&at(4_294_967_296, 0), &profile).is_err());
        assert!(unix_seconds(&at(-1, 0), &profile).is_err());
        assert!(unix_seconds(&at(0, 1), &profile).is_err());
        assert!(ticks(&Value::Infinite { negative: false }, 6, &profile).is_err());
        assert!(ticks(&Value::Int(0), 6, &profile).is_err());
        assert_eq!(ticks(&text("2024-01-01T00:00:00Z"), 3, &profile), Ok(1_704_067_200_000));
    }

    #[test]
    fn dates_keep_their_range() {
        assert_eq!(days(&Value::Date(65_535), (0, 65_535)), Ok(65_535));
        assert!(days(&Value::Date(65_536), (0, 65_535)).is_err());
        assert!(days(&Value::Date(-1), (0, 65_535)).is_err());
        assert_eq!(days(&text("2017-09-15Z"), (0, 65_535)), Ok(17_424));
        assert!(days(&text("2017-09-31"), (0, 65_535)).is_err());
        assert!(days(&Value::Timestamp { seconds: 0, nanos: 0 }, (0, 65_535)).is_err());
    }

    #[test]
    fn times_of_day_may_be_negative_and_long() {
        let hour = 3_600_000_000_000;
        assert_eq!(time_ticks(&Value::Time(-838 * hour), 0), Ok(-3_016_800));
        assert!(time_ticks(&Value::Time(1_000 * hour), 3).is_err());
        assert!(time_ticks(&Value::Time(1_000), 3).is_err());
        assert_eq!(time_text(-838 * hour - 1_000), "-838:00:00.000001");
        assert_eq!(time_text(24 * hour), "24:00:00");
        assert_eq!(time_text(1_500_000_000), "00:00:01.500");
        assert_eq!(plain_time(-1_500, 3), "-00:00:01.500");
        assert_eq!(plain_timestamp(-1, 3), "1969-12-31 23:59:59.999");
        assert_eq!(plain_timestamp(0, 0), "1970-01-01 00:00:00");
    }
}
