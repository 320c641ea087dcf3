//! Names and text in SQL.

use host::clickhouse::names;
use host::clickhouse::request::Insert;

/// A name: quoted it is one token that reads back as it, whatever it holds, and messages show it harmlessly.
pub(crate) fn quote(bytes: &[u8]) {
    let Ok(name) = str::from_utf8(bytes) else { return };
    assert_eq!(unquote(&names::identifier(name), '`').as_deref(), Some(name));
    assert_eq!(unquote(&names::literal(name), '\'').as_deref(), Some(name));
    let shown = names::shown(name);
    assert!(!shown.contains(char::is_control), "{shown:?}");
    for reason in
        [names::check_column(name), names::check_table("default", name)].into_iter().filter_map(Result::err)
    {
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
    let columns = [name, "b"];
    let insert = Insert {
        database: name,
        table: name,
        columns: &columns,
        token: Some(name),
        query_id: name,
        session: Some(name),
        max_execution_time_s: 1,
    };
    let quoted = names::identifier(name);
    assert_eq!(insert.sql(), format!("INSERT INTO {quoted}.{quoted} ({quoted}, `b`) FORMAT Native"));
}

/// What ClickHouse's lexer makes of a quoted token: a backslash takes the next character, and the mark ends it,
/// which must be at the end. None where it is no such token.
fn unquote(token: &str, mark: char) -> Option<String> {
    let mut inside = token.strip_prefix(mark)?.chars();
    let mut text = String::new();
    loop {
        match inside.next()? {
            '\\' => match inside.next()? {
                // Any other escape might mean something else than the character.
                next if next == '\\' || next == mark => text.push(next),
                _ => return None,
            },
            end if end == mark => return inside.as_str().is_empty().then_some(text),
            other => text.push(other),
        }
    }
}
