//! Which letters are meant: what a person says, as a condition in SQL.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::Stage;
use crate::clickhouse::names::{identifier, literal};

/// What letters must be like. All of it counts; what is not said, holds for every letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Their pipeline.
    pub pipeline: String,
    /// A part of their reason.
    pub reason: Option<String>,
    /// Where they failed.
    pub stage: Option<Stage>,
    /// Kept at this time or later: text as [`time`] makes it.
    pub since: Option<String>,
    /// Kept before this time.
    pub until: Option<String>,
    /// One of these topics; one that begins with `^` is a regular expression.
    pub topics: Vec<String>,
    /// The record's partition.
    pub partition: Option<i32>,
    /// The first and the last of the records' offsets.
    pub offsets: Option<(i64, i64)>,
    /// So many at most, in the order of topic, partition and offset.
    pub limit: Option<u64>,
}

impl Filter {
    /// The condition, over a table whose letters were kept at `kept`, an expression for text.
    pub fn condition(&self, kept: &str) -> String {
        let mut all = vec![format!("{} = {}", identifier("pipeline"), literal(&self.pipeline))];
        if let Some(text) = &self.reason {
            all.push(format!("position({}, {}) > 0", identifier("reason"), literal(text)));
        }
        if let Some(stage) = self.stage {
            all.push(format!("{} = {}", identifier("stage"), literal(stage.name())));
        }
        if let Some(since) = &self.since {
            all.push(format!("{kept} >= {}", literal(since)));
        }
        if let Some(until) = &self.until {
            all.push(format!("{kept} < {}", literal(until)));
        }
        let topic = |topic: &String| match topic.starts_with('^') {
            true => format!("match(toString({}), {})", identifier("topic"), literal(topic)),
            false => format!("{} = {}", identifier("topic"), literal(topic)),
        };
        if !self.topics.is_empty() {
            all.push(format!("({})", self.topics.iter().map(topic).collect::<Vec<_>>().join(" OR ")));
        }
        if let Some(partition) = self.partition {
            all.push(format!("{} = {partition}", identifier("partition")));
        }
        if let Some((first, last)) = self.offsets {
            all.push(format!("{} BETWEEN {first} AND {last}", identifier("offset")));
        }
        all.join(" AND ")
    }
}

/// A record's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (place, offset) = text.rsplit_once('@')?;
            let (topic, partition) = place.rsplit_once('/')?;
            let place = Place { topic: topic.into(), partition: number(partition)?, offset: number(offset)? };
            (!place.topic.is_empty()).then_some(place)
        };
        parts()
            .ok_or_else(|| format!("`{text}` is not TOPIC/PARTITION@OFFSET, such as shop.public.orders/0@17"))
    }
}

/// Digits only: neither a sign nor blanks.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// One offset, or `FIRST-LAST`.
///
/// # Errors
/// What it is not.
pub fn offsets(text: &str) -> Result<(i64, i64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is neither an offset nor FIRST-LAST")),
    }
}

/// Where a record failed, by its name.
///
/// # Errors
/// Another word.
pub fn stage(text: &str) -> Result<Stage, String> {
    let all = [Stage::Decode, Stage::Transform, Stage::Encode, Stage::Insert];
    all.into_iter()
        .find(|stage| stage.name() == text)
        .ok_or_else(|| format!("`{text}` is none of decode, transform, encode, insert"))
}

/// A time as text that sorts: in UTC, as the server writes it. `2h` is two hours before `now`.
///
/// # Errors
/// What it is not.
pub fn time(text: &str, now: Timestamp) -> Result<String, String> {
    let at = if let Ok(time) = text.parse::<Timestamp>() {
        time.to_zoned(TimeZone::UTC).datetime()
    } else if let Ok(ago) = text.parse::<SignedDuration>() {
        let at = now.checked_sub(ago).map_err(|_| format!("`{text}` is too long ago"))?;
        at.to_zoned(TimeZone::UTC).datetime()
    } else if let Ok(date) = text.parse::<Date>().and_then(|date| match text.len() {
        10 => Ok(date.at(0, 0, 0, 0)),
        _ => text.parse::<DateTime>(),
    }) {
        date
    } else {
        return Err(format!(
            "`{text}` is no time: write 2026-01-31, 2026-01-31T12:00, both in UTC, or 2h for two hours ago"
        ));
    };
    let (date, time) = (at.date(), at.time());
    Ok(format!(
        "{date} {:02}:{:02}:{:02}.{:03}",
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_part_of_a_filter_is_a_condition_of_its_own() {
        let filter = Filter {
            pipeline: "p'".into(),
            reason: Some("it's `x` \\".into()),
            stage: Some(Stage::Encode),
            since: Some("2026-01-01 00:00:00.000".into()),
            until: Some("2026-01-02 00:00:00.000".into()),
            topics: vec!["a".into(), "^b'.*$".into()],
            partition: Some(3),
            offsets: Some((5, 7)),
            limit: Some(1),
        };
        assert_eq!(
            filter.condition("KEPT"),
            "`pipeline` = 'p\\'' AND position(`reason`, 'it\\'s `x` \\\\') > 0 AND `stage` = 'encode' \
             AND KEPT >= '2026-01-01 00:00:00.000' AND KEPT < '2026-01-02 00:00:00.000' \
             AND (`topic` = 'a' OR match(toString(`topic`), '^b\\'.*$')) AND `partition` = 3 \
             AND `offset` BETWEEN 5 AND 7"
        );
        let plain = Filter { pipeline: "p".into(), ..Filter::default() };
        assert_eq!(plain.condition("KEPT"), "`pipeline` = 'p'");
    }

    #[test]
    fn a_place_is_a_topic_a_partition_and_an_offset() {
        let place: Place = "a/b@c/1@17".parse().unwrap();
        assert_eq!((place.topic.as_str(), place.partition, place.offset), ("a/b@c", 1, 17));
        assert_eq!(place.to_string(), "a/b@c/1@17");
        for wrong in ["", "a", "a/1", "a@1", "/1@1", "a/x@1", "a/1@-1", "a/1@+1", "a/1@", "a/9999999999@1"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn offsets_are_one_or_a_range() {
        assert_eq!((offsets("5"), offsets("5-7")), (Ok((5, 5)), Ok((5, 7))));
        for wrong in ["", "-", "7-5", "a", "1-", "-1", "1-2-3"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_points_or_spans_before_now() {
        let now: Timestamp = "2026-01-31T12:00:00.5Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-30", "2026-01-30 00:00:00.000"),
            ("2026-01-30T07:08", "2026-01-30 07:08:00.000"),
            ("2026-01-30 07:08:09.25", "2026-01-30 07:08:09.250"),
            ("2026-01-30T07:08:09+02:00", "2026-01-30 05:08:09.000"),
            ("2h", "2026-01-31 10:00:00.500"),
        ] {
            assert_eq!(time(text, now), Ok(expected.to_owned()), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "2"] {
            assert!(time(wrong, now).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,30}") {
            let _ = (text.parse::<Place>(), offsets(&text), stage(&text), time(&text, Timestamp::UNIX_EPOCH));
        }
    }
}
