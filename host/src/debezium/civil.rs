//! Dates of the proleptic Gregorian calendar, as day numbers and as ISO 8601 text, for any year that a
//! database can hold.

/// The largest year, either way from 0, that text may name; far past PostgreSQL's 294,276.
const MAX_YEAR: i64 = 1_000_000_000;
const DAYS_OF_400_YEARS: i64 = 146_097;

/// A point of time: seconds since 1970-01-01T00:00:00Z, rounded down, and the nanoseconds after them.
pub type Instant = (i64, u32);

/// The number of days from 1970-01-01 to a date; year 0 is 1 BC. Years up to a billion either way.
pub fn days(year: i64, month: u32, day: u32) -> i64 {
    // A year that starts in March has its leap day at its end, which leaves the lengths of months regular.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = i64::from((153 * month + 2) / 5 + day) - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * DAYS_OF_400_YEARS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date, as (year, month, day), so many days from 1970-01-01.
pub fn date(days: i64) -> (i64, u32, u32) {
    let days = i128::from(days) + 719_468;
    let era = days.div_euclid(i128::from(DAYS_OF_400_YEARS));
    let of_era = days.rem_euclid(i128::from(DAYS_OF_400_YEARS)) as i64;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    // Fits: a date of i64 days has a year of less than 2^56.
    ((era * 400) as i64 + year + next, month as u32, day as u32)
}

fn month_length(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day number of a date that there is, with a year of up to a billion either way.
pub fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let exists =
        year.abs() <= MAX_YEAR && (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
    exists.then(|| days(year, month, day))
}

/// The day number of an ISO date such as `2017-09-15Z`; `Z` may be missing, years may be signed.
pub fn parse_date(text: &str) -> Option<i64> {
    let mut reader = Reader(text.as_bytes());
    let days = reader.date()?;
    reader.take(b'Z');
    reader.0.is_empty().then_some(days)
}

/// The point of time of an ISO timestamp such as `2024-02-29T20:59:59.123456+02:00`. Seconds may be
/// missing, the offset (or `Z`) may not.
pub fn parse_timestamp(text: &str) -> Option<Instant> {
    let mut reader = Reader(text.as_bytes());
    let days = reader.date()?;
    if !reader.take(b'T') {
        return None;
    }
    let hours = reader.two_digits(23)?;
    reader.expect(b':')?;
    let minutes = reader.two_digits(59)?;
    let (mut seconds, mut nanos) = (0, 0);
    if reader.take(b':') {
        seconds = reader.two_digits(59)?;
        nanos = if reader.take(b'.') { reader.fraction()? } else { 0 };
    }
    let offset = reader.offset()?;
    let of_day = i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds);
    reader.0.is_empty().then_some((days * 86_400 + of_day - offset, nanos))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    /// A run of digits as a number, and how many there were.
    fn digits(&mut self) -> Option<(i64, usize)> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let value = str::from_utf8(digits).ok()?.parse().ok()?;
        Some((value, length))
    }

    fn two_digits(&mut self, max: u32) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        let value = u32::from(digits[0] - b'0') * 10 + u32::from(digits[1] - b'0');
        (value <= max).then_some(value)
    }

    fn date(&mut self) -> Option<i64> {
        let negative = self.take(b'-');
        if !negative {
            self.take(b'+');
        }
        let (year, length) = self.digits()?;
        if length < 4 || year > MAX_YEAR {
            return None;
        }
        let year = if negative { -year } else { year };
        self.expect(b'-')?;
        let month = self.two_digits(12)?;
        self.expect(b'-')?;
        let day = self.two_digits(31)?;
        days_of(year, month.into(), day.into())
    }

    /// One to nine digits after a point, as nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let (value, length) = self.digits()?;
        let missing = 9_u32.checked_sub(u32::try_from(length).ok()?)?;
        u32::try_from(value).ok()?.checked_mul(10_u32.pow(missing))
    }

    /// `Z`, or `+hh`, `+hh:mm`, `+hh:mm:ss` of either sign, in seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.take(b'Z') {
            return Some(0);
        }
        let negative = self.take(b'-');
        if !negative {
            self.expect(b'+')?;
        }
        let mut seconds = i64::from(self.two_digits(18)?) * 3_600;
        if self.take(b':') {
            seconds += i64::from(self.two_digits(59)?) * 60;
            if self.take(b':') {
                seconds += i64::from(self.two_digits(59)?);
            }
        }
        Some(if negative { -seconds } else { seconds })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn days_and_dates_agree_with_jiff(day in -4_371_587_i64..=2_932_896) {
            let epoch = jiff::civil::date(1970, 1, 1);
            let expected = epoch.checked_add(jiff::Span::new().days(day)).unwrap();
            let (year, month, dom) = date(day);
            prop_assert_eq!(
                (year, month, dom),
                (i64::from(expected.year()), expected.month() as u32, expected.day() as u32)
            );
            prop_assert_eq!(days(year, month, dom), day);
        }

        #[test]
        fn days_and_dates_are_inverse_for_any_year(day in -365_000_000_000_i64..365_000_000_000) {
            let (year, month, dom) = date(day);
            prop_assert!((1..=12).contains(&month) && (1..=month_length(year, month)).contains(&dom));
            prop_assert_eq!(days(year, month, dom), day);
        }

        #[test]
        fn timestamps_agree_with_jiff(second in -377_705_023_201_i64..253_402_207_200, nanos in 0..1_000_000_000_i32) {
            let expected = jiff::Timestamp::new(second, nanos);
            prop_assume!(expected.is_ok());
            let expected = expected.unwrap();
            // jiff writes a negative year with six digits.
            let parsed = parse_timestamp(&expected.to_string());
            prop_assert_eq!(parsed, Some((expected.as_nanosecond().div_euclid(1_000_000_000) as i64,
                expected.as_nanosecond().rem_euclid(1_000_000_000) as u32)));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[-+0-9TZ:. ]{0,40}") {
            parse_date(&text);
            parse_timestamp(&text);
        }
    }

    #[test]
    fn extremes_of_days_have_dates() {
        for day in [i64::MIN, i64::MAX, i64::from(i32::MIN), 0] {
            let (_, month, dom) = date(day);
            assert!((1..=12).contains(&month) && (1..=31).contains(&dom));
        }
    }

    #[test]
    fn iso_timestamps_of_every_form_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("1969-12-31T23:59:59.5Z", (-1, 500_000_000)),
            ("2024-02-29T20:59:59.123456Z", (1_709_240_399, 123_456_000)),
            ("2024-02-29T23:59:59.123456789+03:00", (1_709_240_399, 123_456_789)),
            ("2024-02-29T23:59+03", (1_709_240_340, 0)),
            ("1970-01-01T00:00:00-00:00:01", (1, 0)),
            ("9999-12-31T23:59:59.999999Z", (253_402_300_799, 999_999_000)),
            ("+294247-01-10T04:00:25.2Z", (9_223_372_036_825, 200_000_000)),
            ("-4713-12-31T23:59:59.999999Z", (-2_440_551 * 86_400 + 86_399, 999_999_000)),
            ("-0043-03-15T00:00:00Z", (days(-43, 3, 15) * 86_400, 0)),
        ] {
            assert_eq!(parse_timestamp(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn timestamps_that_are_no_point_of_time_are_refused() {
        for text in [
            "",
            "Z",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01",
            "24-01-01T00:00:00Z",
            "2024-1-01T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "99999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn iso_dates_are_read_with_and_without_their_z() {
        assert_eq!(parse_date("2024-02-29Z"), Some(19_782));
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        assert_eq!(parse_date("0001-01-01Z"), Some(-719_162));
        assert_eq!(parse_date("-5877611-06-21Z"), Some(-2_147_472_692));
        assert_eq!(parse_date("2024-02-29+01:00"), None);
        assert_eq!(parse_date("2024-02-30"), None);
    }
}
