//! Tables of outputs with a key: what their engine must be, and what their rows have beside the plan's columns.

use crate::debezium::value::Value;

/// The bits of a version that are an offset.
const OFFSET_BITS: u32 = 48;

/// `_version` of a row: the later record of a partition has the greater one, in each repetition, and those of a
/// topic that was made anew (a later `epoch`) are later than all before.
///
/// # Errors
/// An offset that does not fit; no topic comes near.
pub fn version(epoch: u16, offset: i64) -> Result<Value<'static>, String> {
    let version = version_number(epoch, offset)?;
    Ok(i64::try_from(version).map_or_else(|_| Value::Decimal(version.to_string().into()), Value::Int))
}

/// The same as a number.
///
/// # Errors
/// As [`version`].
pub fn version_number(epoch: u16, offset: i64) -> Result<u64, String> {
    let offset = u64::try_from(offset).ok().filter(|offset| offset >> OFFSET_BITS == 0);
    let offset =
        offset.ok_or_else(|| format!("the offset does not fit the {OFFSET_BITS} bits of a version"))?;
    Ok(u64::from(epoch) << OFFSET_BITS | offset)
}

/// What a table of the engine ReplacingMergeTree, or a replicated one of it, replaces rows by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacing {
    /// The column whose greatest value stays; none: the row that was inserted last.
    pub version: Option<String>,
    /// The column that takes a key out; none: rows that say so stay, and a reader leaves them out.
    pub deleted: Option<String>,
}

impl Replacing {
    /// Reads `engine` and `engine_full` of `system.tables`; none for other engines.
    pub fn parse(engine: &str, engine_full: &str) -> Option<Self> {
        if !engine.ends_with("ReplacingMergeTree") {
            return None;
        }
        let arguments = engine_full.strip_prefix(engine).and_then(in_parentheses).unwrap_or_default();
        // A replicated engine's path and replica are text, and come first.
        let mut names = list(arguments)
            .into_iter()
            .filter(|argument| !argument.starts_with('\''))
            .map(|argument| name(&argument));
        Some(Replacing { version: names.next(), deleted: names.next() })
    }
}

/// The columns of a list of them. An expression stays as it stands, and is no column's name.
pub fn columns(text: &str) -> Vec<String> {
    list(text).iter().map(|part| name(part)).collect()
}

/// The columns of `system.tables.sorting_key`. An expression stays as it stands, and is no column's name.
pub fn sorting_key(text: &str) -> Vec<String> {
    let text = text.trim();
    // `ORDER BY (a)` is shown as it was written.
    let inner = in_parentheses(text).filter(|inner| inner.len() + 2 == text.len());
    columns(inner.unwrap_or(text))
}

/// What stands between the parenthesis that `text` begins with and the one that closes it.
fn in_parentheses(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?;
    let end =
        pieces(inner).find_map(|(at, depth, character)| (depth == 0 && character == ')').then_some(at))?;
    inner.get(..end)
}

/// The parts of a list, separated by commas that stand in no parentheses and no quotes.
fn list(text: &str) -> Vec<String> {
    let commas = pieces(text).filter(|(_, depth, character)| *depth == 0 && *character == ',');
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, ..) in commas {
        parts.push(text.get(start..at).unwrap_or_default());
        start = at + 1;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The characters outside of quotes: where each stands, in how many parentheses, and itself. One that closes
/// stands inside of what it closes.
fn pieces(text: &str) -> impl Iterator<Item = (usize, usize, char)> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter_map(move |(at, character)| {
        if let Some(mark) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                // A mark that is doubled ends one text and begins another, which comes to the same here.
                _ if character == mark => quote = None,
                _ => {}
            }
            return None;
        }
        match character {
            '\'' | '`' | '"' => quote = Some(character),
            // Not itself: it is inside of what it opens.
            '(' | '[' => depth += 1,
            ')' | ']' => {
                let at_depth = depth;
                depth = depth.saturating_sub(1);
                return Some((at, at_depth, character));
            }
            _ => return Some((at, depth, character)),
        }
        None
    })
}

/// A column's name as SQL has it, in backticks or plain.
fn name(sql: &str) -> String {
    let Some(inner) = sql.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
        return sql.to_owned();
    };
    let mut name = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'b' => '\u{8}',
                'f' => '\u{c}',
                other => other,
            })),
            '`' => {
                name.push('`');
                characters.next();
            }
            other => name.push(other),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clickhouse::names::identifier;

    fn replacing(engine: &str, full: &str) -> Option<(Option<String>, Option<String>)> {
        Replacing::parse(engine, full).map(|found| (found.version, found.deleted))
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn the_columns_that_an_engine_replaces_by_are_found() {
        let plain = "ReplacingMergeTree";
        for (engine, arguments, expected) in [
            (plain, "", (None, None)),
            (plain, "()", (None, None)),
            (plain, "(_version)", (some("_version"), None)),
            (plain, "(_version, _is_deleted)", (some("_version"), some("_is_deleted"))),
            (plain, "(`od)d, \\`one`, `a``b`)", (some("od)d, `one"), some("a`b"))),
            ("ReplicatedReplacingMergeTree", "('/a, (b)/{uuid}', '{replica}')", (None, None)),
            ("ReplicatedReplacingMergeTree", "('/a\\'(', 'r', v, d)", (some("v"), some("d"))),
            ("SharedReplacingMergeTree", "('/a', 'r', v)", (some("v"), None)),
        ] {
            let full = format!("{engine}{arguments} PARTITION BY (a, b) ORDER BY (x) SETTINGS a = 1");
            assert_eq!(replacing(engine, &full), Some(expected), "{full}");
        }
        assert_eq!(replacing("MergeTree", "MergeTree ORDER BY x"), None);
        assert_eq!(replacing("ReplacingMergeTree", "ReplacingMergeTree(v"), Some((None, None)), "cut off");
    }

    #[test]
    fn a_sorting_key_is_read_column_by_column() {
        assert_eq!(sorting_key("a, `b c`, lower(d, e), `f``g`"), ["a", "b c", "lower(d, e)", "f`g"]);
        assert_eq!(sorting_key("(a)"), ["a"]);
        assert_eq!(sorting_key("(a), (b)"), ["(a)", "(b)"]);
        assert_eq!(sorting_key(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_names_are_read_back(names in proptest::collection::vec("[a-z`\\\\,()'\" é]{1,8}", 1..4)) {
            let quoted: Vec<String> = names.iter().map(|name| identifier(name)).collect();
            prop_assert_eq!(sorting_key(&quoted.join(", ")), names);
        }

        #[test]
        fn no_text_panics(text in "[a-z`'\"\\\\(),\\[\\] é]{0,30}") {
            sorting_key(&text);
            Replacing::parse("ReplacingMergeTree", &format!("ReplacingMergeTree{text}"));
        }
    }

    #[test]
    fn versions_ascend_with_offsets_and_end_where_their_bits_do() {
        assert_eq!(version(0, 0), Ok(Value::Int(0)));
        assert_eq!(version(0, (1 << 48) - 1), Ok(Value::Int((1 << 48) - 1)));
        assert!(version(0, 1 << 48).is_err());
        assert!(version(0, -1).is_err());
    }

    #[test]
    fn every_record_of_a_topic_that_was_made_anew_is_later_than_all_before() {
        assert_eq!(version(1, 0), Ok(Value::Int(1 << 48)));
        assert_eq!(version(u16::MAX, (1 << 48) - 1), Ok(Value::Decimal(u64::MAX.to_string().into())));
        assert!(version_number(0, (1 << 48) - 1) < version_number(1, 0));
    }
}
