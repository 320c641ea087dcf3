//! Names and text in SQL: the only two functions that quote, and what a name may be.

use std::fmt::Write as _;

/// Longest name of a table or column that is accepted, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What ClickHouse leaves of a file name's 255 bytes for database and table together: a dropped table's
/// metadata is called `<database>.<table>.<uuid>.sql`.
const MAX_FILE_NAME_BYTES: usize = 213;

/// A name as an SQL identifier, in backticks.
///
/// ClickHouse reads backslash escapes inside backticks, so a name that ends in a backslash would swallow
/// the closing one if only backticks were handled.
pub fn identifier(name: &str) -> String {
    quote(name, '`')
}

/// Text as an SQL string literal.
pub fn literal(text: &str) -> String {
    quote(text, '\'')
}

fn quote(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for character in text.chars() {
        if character == '\\' || character == mark {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(mark);
    quoted
}

/// Whether a column may have this name: 1 to 128 bytes without control characters.
///
/// # Errors
/// Says what is wrong with the name; shows at most its first 40 characters, escaped.
pub fn check_column(name: &str) -> Result<(), String> {
    check("column", name)
}

/// Whether a table of `database` may have this name. On top of [`check_column`]: nothing that could be a
/// path on an old server, and no longer than the server's file names allow.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_table(database: &str, name: &str) -> Result<(), String> {
    check("database", database)?;
    check("table", name)?;
    if name.starts_with(".inner") || name.contains('/') || name.contains("..") {
        return Err(format!(
            "the table name {} has `/` or `..`, or begins with `.inner`: choose another",
            shown(name)
        ));
    }
    let length = file_name_bytes(database).saturating_add(file_name_bytes(name));
    if length > MAX_FILE_NAME_BYTES {
        return Err(format!(
            "the table name {} is too long for ClickHouse: with its database {length} bytes of at most \
             {MAX_FILE_NAME_BYTES}, where a byte other than a-z, A-Z, 0-9 and _ counts as three: shorten it",
            shown(name)
        ));
    }
    Ok(())
}

fn check(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("a {what} name is empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "the {what} name {} is longer than {MAX_NAME_BYTES} bytes: shorten it",
            shown(name)
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("the {what} name {} has control characters: choose another", shown(name)));
    }
    Ok(())
}

/// The bytes that a name takes in the server's file names, where it stands percent-encoded.
fn file_name_bytes(name: &str) -> usize {
    name.bytes().map(|byte| if byte.is_ascii_alphanumeric() || byte == b'_' { 1 } else { 3 }).sum()
}

/// A name for an error message: bounded, and harmless in a terminal.
pub fn shown(name: &str) -> String {
    let mut text = String::from("`");
    for (index, character) in name.chars().enumerate() {
        if index == 40 {
            text.push('…');
            break;
        }
        if character.is_control() {
            let _ = write!(text, "{}", character.escape_default());
        } else {
            text.push(character);
        }
    }
    text.push('`');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads quoted text as ClickHouse does, and gives what follows it as well.
    fn unquote(sql: &str, mark: char) -> Option<(String, &str)> {
        let mut rest = sql.strip_prefix(mark)?.chars();
        let mut text = String::new();
        loop {
            match rest.next()? {
                '\\' => match rest.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    '0' => text.push('\0'),
                    'r' => text.push('\r'),
                    'b' => text.push('\u{8}'),
                    other => text.push(other),
                },
                end if end == mark => {
                    if let Some(after) = rest.as_str().strip_prefix(mark) {
                        text.push(mark);
                        rest = after.chars();
                    } else {
                        return Some((text, rest.as_str()));
                    }
                }
                other => text.push(other),
            }
        }
    }

    #[test]
    fn hostile_names_come_back_as_they_were() {
        for name in [
            "`",
            "\\",
            "a\\",
            "a\\`",
            "`; DROP TABLE x; --",
            "'",
            "a'b",
            "\0",
            "\n\t",
            "{x:String}",
            "/* */",
            "ünï",
            "\\n",
            "``",
            "\\\\`",
        ] {
            assert_eq!(unquote(&identifier(name), '`'), Some((name.to_owned(), "")), "{name:?}");
            assert_eq!(unquote(&literal(name), '\''), Some((name.to_owned(), "")), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_text_ends_where_it_should_and_reads_back(text in "[`'\\\\a\\x00-\\x7fé]{0,20}") {
            let sql = format!("{}) rest", identifier(&text));
            prop_assert_eq!(unquote(&sql, '`'), Some((text.clone(), ") rest")));
            let sql = format!("{}) rest", literal(&text));
            prop_assert_eq!(unquote(&sql, '\''), Some((text, ") rest")));
        }
    }

    #[test]
    fn names_that_would_trouble_the_server_are_refused() {
        for (database, table) in [
            ("db", ""),
            ("db", "a\0b"),
            ("db", "a\nb"),
            ("db", "../x"),
            ("db", "a/b"),
            ("db", ".inner.x"),
            ("", "t"),
        ] {
            assert!(check_table(database, table).is_err(), "{table:?}");
        }
        assert!(check_column(&"x".repeat(129)).is_err());
        assert!(check_column(&"x".repeat(128)).is_ok());
        assert!(check_table("db", "orders-2024.v1 é").is_ok());
    }

    #[test]
    fn a_table_name_counts_as_the_server_writes_it_into_file_names() {
        assert!(check_table("d", &"é".repeat(35)).is_ok());
        assert!(check_table("d", &"é".repeat(36)).is_err(), "36 times six bytes and the database's one");
        assert!(check_table(&"d".repeat(85), &"t".repeat(128)).is_ok());
        assert!(check_table(&"d".repeat(86), &"t".repeat(128)).is_err());
    }

    #[test]
    fn a_shown_name_is_short_and_has_no_control_characters() {
        let text = shown(&format!("\u{1b}[2J{}", "x".repeat(500)));
        assert!(text.len() < 80 && !text.contains('\u{1b}'), "{text}");
    }
}
