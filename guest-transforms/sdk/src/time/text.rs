//! Times as text, the way that the host writes them into columns of text.

use std::fmt;

const DAY: i64 = 86_400_000_000;

/// A day, in days since 1970-01-01: `2024-05-06`. Years that have no four digits get a sign; the one before 1
/// is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateText(pub i64);

/// A time of day or a span, in microseconds: `07:08:09.123456`, with as few of no, three or six digits of
/// fraction as show it all. There may be more hours than 23, and a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeText(pub i64);

/// A point of time in UTC, in microseconds since 1970-01-01: `2024-05-06T07:08:09.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampText(pub i64);

impl fmt::Display for DateText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eras of 400 years, whose years begin in March: the day that leap years add is the last one then.
        let days = i128::from(self.0) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i128::from(month <= 2);
        match year {
            0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
            _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
        }
    }
}

impl fmt::Display for TimeText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (seconds, micros) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        write!(out, "{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60)?;
        match micros {
            0 => Ok(()),
            _ if micros % 1_000 == 0 => write!(out, ".{:03}", micros / 1_000),
            _ => write!(out, ".{micros:06}"),
        }
    }
}

impl fmt::Display for TimestampText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}T{}Z", DateText(self.0.div_euclid(DAY)), TimeText(self.0.rem_euclid(DAY)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Unit, parse_iso};

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0000-12-31"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(DateText(days).to_string(), text);
        }
        for days in [i64::MIN, i64::MAX] {
            assert!(DateText(days).to_string().len() > 16);
        }
    }

    #[test]
    fn spans_have_a_sign_and_any_number_of_hours() {
        assert_eq!(TimeText(0).to_string(), "00:00:00");
        assert_eq!(TimeText(86_399_999_999).to_string(), "23:59:59.999999");
        assert_eq!(TimeText(-3_020_399_000_000).to_string(), "-838:59:59");
        assert_eq!(TimeText(3_600_050_000).to_string(), "01:00:00.050");
        assert!(TimeText(i64::MIN).to_string().starts_with("-2562047788:00:54"));
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_was_written(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let text = TimestampText(micros).to_string();
            prop_assert_eq!(parse_iso(&text), Unit::Micros.since_1970(micros), "{}", text);
        }
    }
}
