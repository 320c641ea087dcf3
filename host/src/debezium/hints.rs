//! What the configuration says about columns whose records do not say it themselves.
//!
//! A hint names columns and how their values are written: `created_at: timestamp(micros)`. It counts where
//! there is no schema, or one that says no more than the base type; then everything downstream is as if a
//! schema had said so.

use super::shape::Wire;

/// A word that a type begins with.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// Another for the same.
    pub also: Option<&'static str>,
    /// All types that begin with it: in them `UNIT` stands for `millis`, `micros` or `nanos`, `P`, `S` and `N`
    /// for numbers, `TYPE` for a type.
    pub forms: &'static [&'static str],
    follows: Follows,
}

/// What follows a word.
#[derive(Debug)]
enum Follows {
    /// Nothing: the values are written so.
    Nothing(Wire),
    /// `iso`, or nothing.
    Date,
    /// A unit.
    Time,
    /// A unit, or `iso`.
    Timestamp,
    /// Digits, and how they are written, or nothing.
    Decimal,
    /// How they are written, or nothing.
    Bytes,
    /// How many.
    Bits,
    /// The elements' type.
    Array,
    /// The values' type.
    Map,
}

const fn word(
    word: &'static str,
    also: Option<&'static str>,
    forms: &'static [&'static str],
    follows: Follows,
) -> Word {
    Word { word, also, forms, follows }
}

/// All words; `docs/types.md` is this list for people.
pub static WORDS: [Word; 19] = [
    word("bool", Some("boolean"), &["bool"], Follows::Nothing(Wire::Bool)),
    word("int8", None, &["int8"], Follows::Nothing(Wire::Int(8))),
    word("int16", None, &["int16"], Follows::Nothing(Wire::Int(16))),
    word("int32", None, &["int32"], Follows::Nothing(Wire::Int(32))),
    word("int64", None, &["int64"], Follows::Nothing(Wire::Int(64))),
    word("uint64", None, &["uint64"], Follows::Nothing(Wire::UInt64)),
    word("float32", Some("float"), &["float32"], Follows::Nothing(Wire::Float32)),
    word("float64", Some("double"), &["float64"], Follows::Nothing(Wire::Float64)),
    word("text", Some("string"), &["text"], Follows::Nothing(Wire::Text)),
    word("json", None, &["json"], Follows::Nothing(Wire::JsonText)),
    word("uuid", None, &["uuid"], Follows::Nothing(Wire::Uuid)),
    word("date", None, &["date", "date iso"], Follows::Date),
    word("time", None, &["time(UNIT)"], Follows::Time),
    word("timestamp", None, &["timestamp(UNIT)", "timestamp iso"], Follows::Timestamp),
    word(
        "decimal",
        Some("numeric"),
        &["decimal", "decimal(P)", "decimal(P,S)", "decimal(P,S) base64"],
        Follows::Decimal,
    ),
    word("bytes", None, &["bytes", "bytes base64", "bytes base64url", "bytes hex"], Follows::Bytes),
    word("bits", None, &["bits(N)"], Follows::Bits),
    word("array", None, &["array(TYPE)"], Follows::Array),
    word("map", None, &["map(TYPE)"], Follows::Map),
];

/// The forms of a type, for messages.
fn types() -> String {
    let forms: Vec<&str> = WORDS.iter().flat_map(|word| word.forms).copied().collect();
    format!("{}; UNIT is millis, micros or nanos", forms.join(", "))
}

/// How deep arrays and maps may stand in each other.
const MAX_NESTING: u32 = 4;
/// No database has more digits: PostgreSQL has 131,072 before and 16,383 after the point.
const MAX_DIGITS: u32 = 150_000;

/// All hints of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints(Vec<Hint>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hint {
    /// A column's name, or `table.column`, or `schema.table.column`; a `*` stands for any characters.
    pattern: String,
    wire: Wire,
}

impl Hints {
    /// Adds a hint.
    ///
    /// # Errors
    /// Says what is wrong with the name or the type, and what would be right.
    pub fn add(&mut self, pattern: &str, ty: &str) -> Result<(), String> {
        if pattern.is_empty() || pattern.chars().any(char::is_control) {
            return Err(format!("{pattern:?} is no name of a column"));
        }
        let wire = parse(ty).map_err(|what| format!("`{ty}` is no type of a column: {what}"))?;
        self.0.push(Hint { pattern: pattern.to_owned(), wire });
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How the values of a column are written. Of several hints the one without `*` counts, then the longer
    /// one, then the later one.
    pub fn find(&self, schema: &str, table: &str, column: &str) -> Option<&Wire> {
        if self.is_empty() {
            return None;
        }
        let names = [column.to_owned(), format!("{table}.{column}"), format!("{schema}.{table}.{column}")];
        let fitting = self.0.iter().filter(|hint| names.iter().any(|name| matches(&hint.pattern, name)));
        let rank = |hint: &&Hint| (!hint.pattern.contains('*'), hint.pattern.len());
        fitting.max_by_key(rank).map(|hint| &hint.wire)
    }
}

/// Whether `name` is what `pattern` says, in which each `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    let Some((middle, end)) = rest.rsplit_once('*') else { return name.ends_with(rest) };
    let Some(mut name) = name.strip_suffix(end) else { return false };
    // The first place is the best one for each part: it leaves most to the others.
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Reads a type.
///
/// # Errors
/// Says what is wrong, and what would be right.
pub fn parse(text: &str) -> Result<Wire, String> {
    let mut reader = Reader { rest: text };
    let wire = reader.wire(0)?;
    match reader.rest.trim() {
        "" => Ok(wire),
        rest => Err(format!("nothing is expected where `{rest}` stands; types are {}", types())),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn word(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }

    /// The word, if it is the next one.
    fn take(&mut self, word: &str) -> bool {
        let before = self.rest;
        let found = self.word() == word;
        if !found {
            self.rest = before;
        }
        found
    }

    fn mark(&mut self, mark: char) -> bool {
        match self.rest.trim_start().strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.mark(mark) {
            return Ok(());
        }
        match self.rest.trim() {
            "" => Err(format!("`{mark}` is missing at its end")),
            rest => Err(format!("`{mark}` is expected before `{rest}`")),
        }
    }

    fn number(&mut self, what: &str, least: u32, most: u32) -> Result<u32, String> {
        let word = self.word();
        let number = word.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("{what} is a number from {least} to {most}, not `{word}`"))
    }

    fn unit(&mut self, name: &str, [millis, micros, nanos]: [Wire; 3]) -> Result<Wire, String> {
        if !self.mark('(') {
            return Err(format!(
                "a number's unit is part of the type: {name}(millis), {name}(micros) or {name}(nanos)"
            ));
        }
        let wire = match self.word() {
            "millis" => millis,
            "micros" => micros,
            "nanos" => nanos,
            word => return Err(format!("`{word}` is no unit: use millis, micros or nanos")),
        };
        self.expect(')')?;
        Ok(wire)
    }

    fn wire(&mut self, depth: u32) -> Result<Wire, String> {
        if depth > MAX_NESTING {
            return Err(format!("arrays and maps stand in each other more than {MAX_NESTING} deep"));
        }
        let name = self.word();
        if name.is_empty() {
            return Err(format!("a type is missing; types are {}", types()));
        }
        let Some(word) = WORDS.iter().find(|word| word.word == name || word.also == Some(name)) else {
            return Err(format!("`{name}` is unknown; types are {}", types()));
        };
        Ok(match &word.follows {
            Follows::Nothing(wire) => wire.clone(),
            Follows::Date if self.take("iso") => Wire::IsoDate,
            Follows::Date => Wire::Date,
            Follows::Time => self.unit("time", [Wire::TimeMillis, Wire::TimeMicros, Wire::TimeNanos])?,
            Follows::Timestamp if self.take("iso") => Wire::TimestampIso,
            Follows::Timestamp => {
                self.unit("timestamp", [Wire::TimestampMillis, Wire::TimestampMicros, Wire::TimestampNanos])?
            }
            Follows::Decimal => self.decimal()?,
            Follows::Bytes if self.take("hex") => Wire::BytesHex,
            Follows::Bytes if self.take("base64url") => Wire::BytesUrl,
            Follows::Bytes => {
                self.take("base64");
                Wire::Bytes
            }
            Follows::Bits => {
                self.expect('(')?;
                let bits = self.number("the number of bits", 1, u32::MAX)?;
                self.expect(')')?;
                Wire::Bits(Some(bits))
            }
            Follows::Array => Wire::Array(Box::new(self.inner(depth)?)),
            Follows::Map => Wire::Map(Box::new(self.inner(depth)?)),
        })
    }

    fn inner(&mut self, depth: u32) -> Result<Wire, String> {
        self.expect('(')?;
        let wire = self.wire(depth + 1)?;
        self.expect(')')?;
        Ok(wire)
    }

    fn decimal(&mut self) -> Result<Wire, String> {
        if !self.mark('(') {
            return match self.take("base64") {
                true => Err("base64 needs the digits after the point: decimal(P,S) base64".into()),
                false => Ok(Wire::DecimalText(None)),
            };
        }
        let precision = self.number("the number of digits", 1, MAX_DIGITS)?;
        let scale = if self.mark(',') {
            self.number("the number of digits after the point", 0, precision)?
        } else {
            0
        };
        self.expect(')')?;
        Ok(match self.take("base64") {
            // Below the limit of digits.
            true => Wire::Decimal { scale: scale as i32, precision: Some(precision) },
            false => Wire::DecimalText(Some((precision, scale))),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_type_has_its_wire() {
        for (text, wire) in [
            ("bool", Wire::Bool),
            ("int16", Wire::Int(16)),
            ("uint64", Wire::UInt64),
            ("float32", Wire::Float32),
            ("text", Wire::Text),
            (" json ", Wire::JsonText),
            ("uuid", Wire::Uuid),
            ("date", Wire::Date),
            ("date iso", Wire::IsoDate),
            ("time(millis)", Wire::TimeMillis),
            ("time( nanos )", Wire::TimeNanos),
            ("timestamp(millis)", Wire::TimestampMillis),
            ("timestamp(micros)", Wire::TimestampMicros),
            ("timestamp(nanos)", Wire::TimestampNanos),
            ("timestamp iso", Wire::TimestampIso),
            ("decimal", Wire::DecimalText(None)),
            ("decimal(10,2)", Wire::DecimalText(Some((10, 2)))),
            ("decimal(10)", Wire::DecimalText(Some((10, 0)))),
            ("decimal(10, 2) base64", Wire::Decimal { scale: 2, precision: Some(10) }),
            ("bytes", Wire::Bytes),
            ("bytes base64", Wire::Bytes),
            ("bytes base64url", Wire::BytesUrl),
            ("bytes hex", Wire::BytesHex),
            ("bits(8)", Wire::Bits(Some(8))),
            ("array(map(date iso))", Wire::Array(Box::new(Wire::Map(Box::new(Wire::IsoDate))))),
        ] {
            assert_eq!(parse(text), Ok(wire), "{text}");
        }
    }

    #[test]
    fn a_type_that_is_none_says_what_is_wrong_and_what_is_right() {
        for (text, why) in [
            ("", "a type is missing; types are bool, int8"),
            ("datetime", "`datetime` is unknown; types are bool, int8"),
            ("timestamp", "timestamp(millis), timestamp(micros) or timestamp(nanos)"),
            ("timestamp(seconds)", "`seconds` is no unit: use millis, micros or nanos"),
            ("time(micros", "`)` is missing at its end"),
            ("time(micros]", "`)` is expected before `]`"),
            ("decimal(0)", "the number of digits is a number from 1 to 150000, not `0`"),
            ("decimal(3,4)", "from 0 to 3, not `4`"),
            ("decimal base64", "decimal(P,S) base64"),
            ("bits", "`(` is missing"),
            ("bits(0)", "from 1 to"),
            ("int64 hex", "nothing is expected where `hex` stands"),
            ("array", "`(` is missing"),
            ("array(array(array(array(array(text)))))", "more than 4 deep"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Hints::default().add("", "text").is_err());
        assert!(Hints::default().add("a\n", "text").is_err());
    }

    #[test]
    fn the_most_particular_hint_counts() {
        let mut hints = Hints::default();
        assert_eq!(hints.find("s", "t", "a"), None);
        for (pattern, ty) in [
            ("*", "text"),
            ("*_at", "timestamp(micros)"),
            ("created_at", "timestamp(millis)"),
            ("orders.created_at", "timestamp(nanos)"),
            ("shop.orders.*", "json"),
            ("a.b", "uuid"),
        ] {
            hints.add(pattern, ty).unwrap();
        }
        for (schema, table, column, wire) in [
            ("s", "t", "x", Wire::Text),
            ("s", "t", "updated_at", Wire::TimestampMicros),
            ("s", "t", "created_at", Wire::TimestampMillis),
            ("s", "orders", "created_at", Wire::TimestampNanos),
            ("shop", "orders", "updated_at", Wire::JsonText),
            ("s", "a", "b", Wire::Uuid),
            ("s", "t", "a.b", Wire::Uuid),
        ] {
            assert_eq!(hints.find(schema, table, column), Some(&wire), "{schema}.{table}.{column}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("aa*aa", "aaa", false),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxc", false),
            ("**", "x", true),
            ("a", "aa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_type_or_refused(text in "[a-z0-9(), *é]{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_pattern_matches_what_it_was_made_of(parts in prop::collection::vec("[ab.]{0,4}", 1..5), fills in prop::collection::vec("[ab.]{0,4}", 5)) {
            let name: String = parts.iter().zip(&fills).enumerate()
                .map(|(at, (part, fill))| if at == 0 { part.clone() } else { format!("{fill}{part}") }).collect();
            prop_assert!(matches(&parts.join("*"), &name));
        }
    }
}
