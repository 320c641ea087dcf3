//! Times as sources without a schema write them, ISO 8601 text or a number since 1970, and times as text.

mod text;

pub use text::{DateText, TimeText, TimestampText};

/// A point of time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// Microseconds since 1970-01-01T00:00:00Z, rounded down; a timestamp of the contract.
    pub micros: i64,
    /// Nanoseconds after them, below 1,000.
    pub nanos: u16,
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Unit {
    /// The unit that a number most likely counts: seconds below 10^11 (until the year 5138), milliseconds
    /// below 10^14, microseconds below 10^17, nanoseconds above, whatever the sign. This is wrong near 1970:
    /// milliseconds from before March 1973 are taken for seconds, and so on up; where such times occur, the
    /// unit has to be known.
    pub fn guess(number: i64) -> Self {
        match number.unsigned_abs() {
            0..100_000_000_000 => Unit::Seconds,
            100_000_000_000..100_000_000_000_000 => Unit::Millis,
            100_000_000_000_000..100_000_000_000_000_000 => Unit::Micros,
            _ => Unit::Nanos,
        }
    }

    /// The time that is `number` of this unit after 1970-01-01T00:00:00Z; none where a timestamp cannot
    /// hold it.
    pub fn since_1970(self, number: i64) -> Option<Instant> {
        let micros = match self {
            Unit::Seconds => number.checked_mul(1_000_000)?,
            Unit::Millis => number.checked_mul(1_000)?,
            Unit::Micros => number,
            Unit::Nanos => {
                return Some(Instant {
                    micros: number.div_euclid(1_000),
                    nanos: number.rem_euclid(1_000) as u16,
                });
            }
        };
        Some(Instant { micros, nanos: 0 })
    }
}

/// Reads ISO 8601 text: `2024-05-06`, then perhaps `T` or a space and `07:08` or `07:08:09` with up to nine
/// digits after a point, then perhaps `Z`, `+01`, `+01:30` or `-01:30`. Without a time it is midnight, without a
/// zone UTC. None where the text is anything else, or no day of the calendar.
pub fn parse_iso(text: &str) -> Option<Instant> {
    let mut rest = Digits(text.as_bytes());
    let year = rest.number(4)?;
    rest.byte(b'-')?;
    let month = rest.number(2)?;
    rest.byte(b'-')?;
    let day = rest.number(2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let (seconds, nanos) = match rest.0.first() {
        Some(b'T' | b't' | b' ') => {
            rest.skip();
            time_of_day(&mut rest)?
        }
        _ => (0, 0),
    };
    let ahead = zone(&mut rest)?;
    if !rest.0.is_empty() {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + seconds - ahead;
    Some(Instant { micros: seconds * 1_000_000 + nanos / 1_000, nanos: (nanos % 1_000) as u16 })
}

/// Seconds since midnight, and nanoseconds after them.
fn time_of_day(rest: &mut Digits<'_>) -> Option<(i64, i64)> {
    let hour = rest.number(2)?;
    rest.byte(b':')?;
    let minute = rest.number(2)?;
    let (mut second, mut nanos) = (0, 0);
    if rest.byte(b':').is_some() {
        second = rest.number(2)?;
        if rest.byte(b'.').is_some() {
            nanos = rest.fraction()?;
        }
    }
    // A leap second is no time that a timestamp could hold.
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3_600 + minute * 60 + second, nanos))
}

/// How many seconds the zone is ahead of UTC.
fn zone(rest: &mut Digits<'_>) -> Option<i64> {
    let sign = match rest.0.first() {
        None => return Some(0),
        Some(b'Z' | b'z') => {
            rest.skip();
            return Some(0);
        }
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    rest.skip();
    let hours = rest.number(2)?;
    let minutes = if rest.byte(b':').is_some() { rest.number(2)? } else { 0 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// What is left of a text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn skip(&mut self) {
        self.0 = self.0.get(1..).unwrap_or_default();
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    }

    /// One to nine digits after a point, as nanoseconds.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        Some(self.number(digits)? * 10_i64.pow(9 - digits as u32))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Counted from the first of March of the year 0, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Five months from March or from August have 153 days: 31 30 31 30 31.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    const FIRST_OF_MARCH_0000_TO_1970: i64 = 719_468;
    year * 365 + leap_days + day_of_year - FIRST_OF_MARCH_0000_TO_1970
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse_iso(text).map(|instant| instant.micros)
    }

    #[test]
    fn iso_text_is_read_in_all_its_forms() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00", 0),
            ("1970-01-01T00:00:01", 1_000_000),
            ("1970-01-01 00:00:01.5", 1_500_000),
            ("1970-01-01t00:00:01.000001z", 1_000_001),
            ("1970-01-01T01:00:00+01", 0),
            ("1970-01-01T01:30:00+01:30", 0),
            ("1969-12-31T18:29:59.999999-05:30", -1),
            ("2024-02-29T12:34:56.789012Z", 1_709_210_096_789_012),
            ("2000-02-29 00:00:00+00", 951_782_400_000_000),
            ("2017-09-15Z", 1_505_433_600_000_000),
            ("0000-01-01", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999999", 253_402_300_799_999_999),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn nanoseconds_are_kept_apart() {
        let expected = Instant { micros: 1_234_567, nanos: 891 };
        assert_eq!(parse_iso("1970-01-01T00:00:01.234567891"), Some(expected));
        let before = Instant { micros: -1, nanos: 999 };
        assert_eq!(parse_iso("1969-12-31T23:59:59.999999999"), Some(before));
        assert_eq!(Unit::Nanos.since_1970(-1), Some(before));
        assert_eq!(parse_iso("1970-01-01T00:00:00.000001000").map(|instant| instant.nanos), Some(0));
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            " ",
            "now",
            "1700000000",
            "2024-1-2",
            "24-01-02",
            "2024-13-01",
            "2024-00-01",
            "0000-00-00 00:00:00",
            "2024-02-30",
            "2023-02-29",
            "1900-02-29",
            "2024-04-31",
            "2024-01-02T",
            "2024-01-02T1",
            "2024-01-02T24:00:00",
            "2024-01-02T00:60:00",
            "2024-01-02T00:00:60",
            "2024-01-02T00:00:00.",
            "2024-01-02T00:00:00.1234567890",
            "2024-01-02T00:00:00,5",
            "2024-01-02T00:00:00+1",
            "2024-01-02T00:00:00+0100",
            "2024-01-02T00:00:00+24:00",
            "2024-01-02T00:00:00+01:60",
            "2024-01-02T00:00:00 UTC",
            "2024-01-02T00:00:00ZZ",
            "2024-01-02T00:00:00Z ",
            " 2024-01-02",
            "+2024-01-02",
            "2024-01-02T-1:00:00",
            "２024-01-02",
        ] {
            assert_eq!(parse_iso(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_unit_of_a_number_is_guessed_by_its_size() {
        for (number, unit) in [
            (0, Unit::Seconds),
            (1_700_000_000, Unit::Seconds),
            (99_999_999_999, Unit::Seconds),
            (-99_999_999_999, Unit::Seconds),
            (100_000_000_000, Unit::Millis),
            (1_700_000_000_000, Unit::Millis),
            (99_999_999_999_999, Unit::Millis),
            (100_000_000_000_000, Unit::Micros),
            (1_700_000_000_000_000, Unit::Micros),
            (99_999_999_999_999_999, Unit::Micros),
            (100_000_000_000_000_000, Unit::Nanos),
            (1_700_000_000_000_000_000, Unit::Nanos),
            (i64::MAX, Unit::Nanos),
            (i64::MIN, Unit::Nanos),
        ] {
            assert_eq!(Unit::guess(number), unit, "{number}");
        }
    }

    #[test]
    fn a_number_that_a_timestamp_cannot_hold_is_no_time() {
        assert_eq!(Unit::Seconds.since_1970(i64::MAX), None);
        assert_eq!(Unit::Millis.since_1970(i64::MIN), None);
        assert_eq!(Unit::Micros.since_1970(i64::MIN).map(|instant| instant.micros), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn every_day_follows_the_one_before_it(year in 0_i64..=9999, month in 1_i64..=12, day in 1_i64..=31) {
            let day = day.min(days_of(year, month));
            let next = if day < days_of(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
            prop_assert_eq!(days_since_1970(next.0, next.1, next.2), days_since_1970(year, month, day) + 1);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse_iso(&text);
        }

        #[test]
        fn near_misses_do_not_make_the_parser_panic(text in "[0-9TtZz:. +-]{0,40}") {
            let _ = parse_iso(&text);
        }

        #[test]
        fn a_zone_moves_the_time_by_its_offset(
            seconds in 0_i64..86_400, hours in 0_i64..24, minutes in 0_i64..60, ahead: bool
        ) {
            let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let local = format!("2024-06-07T{hour:02}:{minute:02}:{second:02}");
            let sign = if ahead { '+' } else { '-' };
            let zoned = micros(&format!("{local}{sign}{hours:02}:{minutes:02}")).unwrap();
            let offset = (hours * 3600 + minutes * 60) * 1_000_000;
            prop_assert_eq!(zoned + if ahead { offset } else { -offset }, micros(&local).unwrap());
        }
    }
}
