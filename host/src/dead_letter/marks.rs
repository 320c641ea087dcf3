//! Marks: what was done about a letter, and by whom. They stand in a table beside the letters', so that neither a
//! letter nor a mark is ever changed or deleted.
//!
//! A letter is known by its record's place and by when it was kept: a record that is read again and fails again is a
//! new letter, and open.

use super::filter::Place;
use crate::clickhouse::convert::Profile;
use crate::clickhouse::ddl::{self, MARK_COLUMNS};
use crate::clickhouse::names::{identifier, literal};
use crate::clickhouse::native::{Block, Encoding};
use crate::debezium::value::{self, Value};

/// What follows the name of a table of letters in that of its marks.
pub const SUFFIX: &str = "_resolved";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its rows may have been written: it stands there before the first of them is.
    Begun,
    /// It was processed, and its rows, if it makes any, are in their tables.
    Retried,
    /// It was processed again, and failed again.
    Failed,
    /// A person decided against it.
    Discarded,
}

impl How {
    /// As it stands in the mark.
    pub fn name(self) -> &'static str {
        match self {
            How::Begun => "begun",
            How::Retried => "retried",
            How::Failed => "failed",
            How::Discarded => "discarded",
        }
    }
}

/// Whether something is left to do about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Open,
    /// Its rows are where they belong.
    Retried,
    /// It was discarded.
    Discarded,
}

impl State {
    /// All of them.
    pub const ALL: [State; 3] = [State::Open, State::Retried, State::Discarded];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Retried => How::Retried.name(),
            State::Discarded => How::Discarded.name(),
        }
    }

    /// The condition that letters of `pipeline` are in this state. `letter` are the expressions of a letter's identity,
    /// `marks` the quoted name of the table of marks; none: there is no such table.
    pub fn condition(self, pipeline: &str, letter: &str, marks: Option<&str>) -> String {
        let Some(marks) = marks else {
            return if self == State::Open { "1" } else { "0" }.to_owned();
        };
        let (is, how) = match self {
            State::Open => ("NOT IN", vec![How::Retried, How::Discarded]),
            State::Retried => ("IN", vec![How::Retried]),
            State::Discarded => ("IN", vec![How::Discarded]),
        };
        let how: Vec<String> = how.iter().map(|how| literal(how.name())).collect();
        format!(
            "({letter}) {is} (SELECT {} FROM {marks} WHERE {} = {} AND {} IN ({}))",
            identity(&identifier("letter")),
            identifier("pipeline"),
            literal(pipeline),
            identifier("how"),
            how.join(", ")
        )
    }
}

/// The expressions of a letter's identity, within its pipeline; `kept` is that of the time at which it was kept.
pub fn identity(kept: &str) -> String {
    let [topic, partition, offset] = ["topic", "partition", "offset"].map(identifier);
    format!("toString({topic}), toUInt32({partition}), toUInt64({offset}), {kept}")
}

/// What the mark of a letter that is begun says of the session that its rows are inserted in.
pub fn in_session(session: &str) -> String {
    format!("{IN_SESSION}{session}")
}

/// The session in such a mark.
pub fn session_of(reason: &str) -> Option<&str> {
    reason.strip_prefix(IN_SESSION).filter(|session| !session.is_empty())
}

const IN_SESSION: &str = "in session ";

/// A mark to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The letter's pipeline.
    pub pipeline: &'a str,
    /// The record's place.
    pub place: &'a Place,
    /// When the letter was kept, as the server writes it.
    pub letter: &'a str,
    /// What was done.
    pub how: How,
    /// The transform that it was done with; nothing for a letter that is discarded.
    pub transform: &'a str,
    /// Who did it.
    pub by: &'a str,
    /// Why, or what came of it.
    pub reason: &'a str,
}

/// Encodes marks as a `Native` block of [`MARK_COLUMNS`], in types that the server has.
pub fn encode(marks: &[Mark<'_>], profile: &Profile) -> Vec<u8> {
    let encoding = Encoding { profile, decode: value::decode };
    let mut block = Block::new(encoding, MARK_COLUMNS.len(), marks.len());
    for (name, ty) in MARK_COLUMNS {
        block.column(name, &ddl::own_type(ty, profile), marks.iter().map(|mark| Ok(mark.cell(name))));
    }
    block.finish().0
}

impl Mark<'_> {
    fn cell(&self, column: &str) -> Value<'_> {
        match column {
            "partition" => Value::Int(self.place.partition.into()),
            "offset" => Value::Int(self.place.offset),
            "pipeline" => Value::Text(self.pipeline.into()),
            "topic" => Value::Text(self.place.topic.as_str().into()),
            "letter" => Value::Text(self.letter.into()),
            "how" => Value::Text(self.how.name().into()),
            "transform" => Value::Text(self.transform.into()),
            "by" => Value::Text(self.by.into()),
            _ => Value::Text(self.reason.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::rows::read_block;

    #[test]
    fn without_marks_all_letters_are_open() {
        assert_eq!(State::ALL.map(|state| state.condition("p", "x", None)), ["1", "0", "0"]);
    }

    #[test]
    fn a_letter_is_open_until_it_was_retried_or_discarded() {
        let open = State::Open.condition("p'", &identity("`letter`"), Some("`d`.`m`"));
        let identity = "toString(`topic`), toUInt32(`partition`), toUInt64(`offset`), `letter`";
        assert_eq!(
            open,
            format!(
                "({identity}) NOT IN (SELECT {identity} FROM `d`.`m` WHERE `pipeline` = 'p\\'' \
                 AND `how` IN ('retried', 'discarded'))"
            )
        );
    }

    #[test]
    fn a_session_reads_back_from_its_mark() {
        assert_eq!(session_of(&in_session("abc")), Some("abc"));
        assert!(["", "in session ", "a person's reason"].iter().all(|reason| session_of(reason).is_none()));
    }

    #[test]
    fn a_mark_says_all_that_its_table_holds() {
        let place = Place { topic: "t".into(), partition: 1, offset: 2 };
        let mark = Mark {
            pipeline: "p",
            place: &place,
            letter: "2026",
            how: How::Discarded,
            transform: "abc",
            by: "me",
            reason: "why",
        };
        let rows = read_block(&encode(&[mark], &Profile::default())).unwrap();
        assert_eq!(
            rows.lines().collect::<Vec<_>>(),
            [
                r#"{"pipeline":"p","topic":"t","partition":1,"offset":2,"letter":"2026","how":"discarded","transform":"abc","by":"me","reason":"why"}"#
            ]
        );
    }
}
