//! What the server's answer to a statement means, and what to do next.
//!
//! The HTTP status is not enough either way: a failure can come with 200, and the same error comes with
//! different statuses in different versions. The error's code decides, and for a few its message.

use std::fmt;

use crate::debezium::value;

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was not, or nobody knows.
    Failed(Failure),
}

/// Why a statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The server's error code, if it sent one.
    pub code: Option<u32>,
    /// The code's name, if it sent one, such as `MEMORY_LIMIT_EXCEEDED`.
    pub name: Option<String>,
    /// The message, at most 500 bytes, without credentials. It may show values and SQL.
    pub message: String,
    /// What to do first.
    pub class: Class,
    /// What to do next, one after the other, when that keeps failing.
    pub then: &'static [Class],
    /// The materialized view that failed, if one did: the table itself may have the rows by then, and what is
    /// behind the view has not.
    pub view: Option<String>,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing was written: send the same again, after a while.
    Retry,
    /// It may have been written: check, then send the same again.
    Unknown,
    /// Send it in smaller parts.
    Split,
    /// Read the table's columns again, or create it, then send it once more.
    Repair,
    /// The rows are at fault and stay so: find them by halves; they are dead letters.
    Permanent,
    /// A person must act: stop the pipeline, keep the offsets.
    Halt,
}

/// When a connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Before a byte of the request was sent: refused, no such host, no TLS.
    BeforeSending,
    /// After that: reset, timeout, or end of the answer.
    AfterSending,
}

/// The most bytes of a message that are kept.
const MAX_MESSAGE_BYTES: usize = 500;

/// The cells of an answer in the format `TabSeparated`, which servers of any age have, line by line.
pub fn cells(answer: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.strip_suffix('\n').map_or(Vec::new(), |lines| lines.split('\n').collect());
    lines.iter().map(|line| line.split('\t').map(unescaped).collect()).collect()
}

/// The same, of so many cells a line.
///
/// # Errors
/// Lines of more or fewer cells.
pub fn table<const N: usize>(answer: &[u8]) -> Result<Vec<[String; N]>, Failure> {
    let wrong = |line: Vec<String>| {
        Failure::halt(&format!("the server's answer has {} cells in a line, not {N}", line.len()))
    };
    cells(answer).into_iter().map(|line| line.try_into().map_err(wrong)).collect()
}

/// A cell of `TabSeparated` as the text that it stands for.
fn unescaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut characters = cell.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('0') => '\0',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('N') => {
                    text.push_str("NULL");
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            plain => plain,
        });
    }
    text
}

/// What an exception's text begins with in the middle of an answer.
const MARKER: &[u8] = b"__exception__";

impl Failure {
    /// A request that got no answer.
    pub fn broken(when: Broken, message: &str) -> Self {
        let class = match when {
            Broken::BeforeSending => Class::Retry,
            Broken::AfterSending => Class::Unknown,
        };
        Failure { code: None, name: None, message: presentable(message), class, then: &[], view: None }
    }

    /// A failure that only a person can end.
    pub fn halt(message: &str) -> Self {
        Failure { class: Class::Halt, ..Failure::broken(Broken::BeforeSending, message) }
    }

    /// Whether the server does not let the user in: the password may have been changed.
    pub fn is_login(&self) -> bool {
        matches!(self.code, Some(192..=194 | 516))
    }

    /// What a person can do about a failure that ends the host.
    pub fn advice(&self) -> &'static str {
        if self.view.is_some() {
            return "nothing is committed: mend or drop the view; the rows may stand in the table already, and are \
                    not sent again then: what is behind the view gets them by hand";
        }
        match (self.class, self.code) {
            (_, Some(192..=195 | 516 | 720)) => {
                "nothing is committed: check --user and --password-file, and whether the user may connect from here"
            }
            (_, Some(497)) => "nothing is committed: grant the user what the message names, and start again",
            (_, Some(164 | 774)) => {
                "nothing is committed: the user or the table is read-only: change that, and start again"
            }
            (_, Some(60 | 81 | 218)) => {
                "nothing is committed: the table or its database is gone; start again, and the host creates the table"
            }
            (_, Some(372)) => {
                "nothing is committed: sessions are kept by one server; let all requests of this host go to one server"
            }
            (_, Some(252)) => {
                "nothing is committed: partition the table more coarsely, or raise max_partitions_per_insert_block"
            }
            (Class::Split, _) => {
                "nothing is committed: let the server have more memory, or a proxy take larger requests, and start again"
            }
            (Class::Halt, Some(_)) => {
                "nothing is committed: the server does not take what the host sends, whatever the rows; its log says more"
            }
            _ => "nothing is committed: see the server's log, and start again",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, &self.name) {
            (Some(code), Some(name)) => write!(f, "code {code} ({name}): {}", self.message),
            (Some(code), None) => write!(f, "code {code}: {}", self.message),
            (None, _) => f.write_str(&self.message),
        }
    }
}

/// Judges an answer: its status, the headers `X-ClickHouse-Exception-Code` and `X-ClickHouse-Exception-Tag`
/// where it has them, and its whole body.
pub fn outcome(
    status: u16,
    exception_code: Option<&str>,
    exception_tag: Option<&str>,
    body: &[u8],
) -> Outcome {
    let text = if status == 200 { exception_text(exception_tag, body) } else { Some(body) };
    if text.is_none() && exception_code.is_none() {
        return Outcome::Ok;
    }
    let text = String::from_utf8_lossy(text.unwrap_or(body));
    let code = exception_code.and_then(|code| code.trim().parse().ok()).or_else(|| code_of(&text));
    let view = view_of(&text);
    let of_code = code.map(|code| class_of(code, &text));
    let (class, then) = match of_code {
        Some(steps) if view.is_some() => behind_a_view(steps),
        Some(steps) => steps,
        None => class_of_status(status),
    };
    let message = match text.trim() {
        "" => format!("the server answered with status {status} and no text"),
        text if code.is_none() => format!("status {status}: {}", message_of(text)),
        text => message_of(text),
    };
    let is_of_rows = of_code.is_some_and(|(class, _)| class == Class::Permanent);
    let message = match is_of_rows && !value::shown_in_errors() {
        true => without_values(&message),
        false => message,
    };
    let message = presentable(&message);
    Outcome::Failed(Failure { code, name: name_of(&text), message, class, then, view })
}

/// The exception's text in an answer with status 200, if there is one.
fn exception_text<'b>(tag: Option<&str>, body: &'b [u8]) -> Option<&'b [u8]> {
    // Since 25.11 the marker is followed by a random tag, so that data cannot forge it.
    if let Some(tag) = tag.filter(|tag| !tag.is_empty()) {
        let framed = [MARKER, b"\r\n", tag.as_bytes()].concat();
        if let Some(at) = memchr::memmem::rfind(body, &framed) {
            return body.get(at + framed.len()..);
        }
    } else if let Some(at) = memchr::memmem::rfind(body, MARKER) {
        return body.get(at + MARKER.len()..);
    }
    if body.starts_with(b"Code: ") {
        return Some(body);
    }
    // Older servers put the text right after whatever they had sent.
    let at = memchr::memmem::rfind(body, b"Code: ")?;
    let text = body.get(at..)?;
    (code_of(&String::from_utf8_lossy(text)).is_some() && memchr::memmem::find(text, b"DB::").is_some())
        .then_some(text)
}

/// The number in `Code: 241. DB::Exception: …`
fn code_of(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let end = rest.find(|character: char| !character.is_ascii_digit())?;
    let (digits, rest) = rest.split_at_checked(end)?;
    if rest.starts_with('.') || rest.starts_with(',') { digits.parse().ok() } else { None }
}

/// The last `(NAME)` of capitals.
fn name_of(text: &str) -> Option<String> {
    text.rsplit('(').find_map(|part| {
        let (name, _) = part.split_once(')')?;
        let capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        (name.len() > 3 && name.bytes().all(capitals) && name.bytes().any(|byte| byte.is_ascii_uppercase()))
            .then(|| name.to_owned())
    })
}

/// The materialized view that the message says has failed.
fn view_of(text: &str) -> Option<String> {
    let pushing = text.rsplit_once("pushing to view ").map(|(_, rest)| rest);
    // Its table is gone: "Target table 'd.t' of view 'd.v' doesn't exists".
    let orphan = || text.split_once("Target table ")?.1.split_once(" of view ").map(|(_, rest)| rest);
    let rest = pushing.or_else(orphan)?;
    let name = rest.split(|character: char| character.is_whitespace() || character == '(').next()?;
    Some(name.trim_end_matches(['.', ':', ',']).trim_matches('\'').to_owned())
}

/// What to do about a failure of a view. The table may have the rows, so halves of them would never come to the view,
/// and none is a dead letter. What passes by itself is met by the same insert once more: by its token the table drops
/// the rows that it has, and the view gets them.
fn behind_a_view((class, then): Steps) -> Steps {
    use Class::{Halt, Retry, Split, Unknown};

    match (class, then) {
        (Retry | Unknown, []) => (class, then),
        (Split, _) => (Retry, &[Halt]),
        _ => (Halt, &[]),
    }
}

/// The text without the code before it and the version after it.
fn message_of(text: &str) -> String {
    let text = match text.split_once("DB::Exception: ") {
        Some((before, after)) if before.len() < 40 => after,
        _ => text,
    };
    let text = text.rsplit_once(" (version ").map_or(text, |(before, _)| before);
    // Servers before 2020.
    let text = text.rsplit_once(", e.what() = ").map_or(text, |(before, _)| before);
    text.trim().to_owned()
}

/// What a message about a row says without the row's values: those in single quotes, and those that are listed
/// where a constraint does not hold.
fn without_values(message: &str) -> String {
    let message = message.split_once("Column values:").map_or(message, |(before, _)| before);
    let mut text = String::with_capacity(message.len());
    for (index, part) in message.split('\'').enumerate() {
        if index > 0 {
            text.push('\'');
        }
        text.push_str(if index % 2 == 0 { part } else { "…" });
    }
    text.trim_end().to_owned()
}

/// A message without what stands before the `@` of a URL, in one line, cut to a bound.
fn presentable(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(MAX_MESSAGE_BYTES));
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("://") {
        text.push_str(before);
        text.push_str("://");
        let end = after.find(['/', '?', '#', ' ', '"', '\'', ')']).unwrap_or(after.len());
        let (authority, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        text.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = tail;
    }
    text.push_str(rest);
    let mut line: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if line.len() > MAX_MESSAGE_BYTES {
        let mut end = MAX_MESSAGE_BYTES - '…'.len_utf8();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

type Steps = (Class, &'static [Class]);

/// The table of codes: what to do first, and then. A table that is read again and refuses the same is a failure of its
/// own (`pipeline/deliver.rs`): no row is at fault then, and all would be dead letters.
fn class_of(code: u32, text: &str) -> Steps {
    use Class::{Halt, Permanent, Repair, Retry, Split, Unknown};

    match code {
        // Too many partitions in one block is this code, too.
        252 if text.contains("Too many partitions") => (Split, &[Halt]),
        252 => (Retry, &[]),
        117 if text.contains("Unknown field") => (Repair, &[]),
        // Its columns are not what another statement of ours made; reading them again settles it.
        44 if text.contains("already exists") => (Repair, &[]),
        // The body ended early, or the table's columns changed under it.
        3 | 32 | 33 => (Unknown, &[Repair]),
        159 | 160 | 209 | 210 | 279 => (Unknown, &[]),
        // 373: something still runs in the session.
        202 | 203 | 364 | 373 | 745 | 749 | 762 | 763 => (Retry, &[]),
        173 | 241 | 396 | 776 | 777 | 778 => (Split, &[Retry, Halt]),
        // A user in read-only mode gets this as well as a server that is.
        164 => (Retry, &[Halt]),
        225 | 236 | 242 | 254 | 285 | 286 | 289 | 319 | 341 | 369 | 415 | 416 | 425 | 439 | 473 | 499
        | 529 | 574 | 655 | 659 | 668 | 733 | 738 | 740 | 999 | 1000 | 1001 => (Unknown, &[]),
        774 => (Halt, &[]),
        // A replica may lag behind our own CREATE.
        60 | 81 | 218 => (Retry, &[Repair]),
        15 | 57 | 82 => (Repair, &[]),
        // The last is what servers before 2019 say of a column of another type than the table's.
        8 | 10 | 16 | 20 | 47 | 122 | 131 | 368 => (Repair, &[]),
        6 | 25 | 26 | 27 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 130 | 321 | 349 | 376 | 407 | 441 | 467
        | 469 | 632 | 675 | 676 | 691 => (Permanent, &[]),
        36 | 46 | 48 | 50 | 62 | 115 | 452 | 455 | 471 | 549 => (Halt, &[]),
        // A password that was changed is read again by the client.
        192..=195 | 497 | 516 | 720 => (Halt, &[]),
        201 | 243 | 290 | 359 | 405 => (Retry, &[]),
        386 | 395 | 397 => (Halt, &[]),
        // 49 and 1002 among them.
        _ => (Unknown, &[Halt]),
    }
}

/// What to do where a status is all there is: mostly a proxy's.
fn class_of_status(status: u16) -> Steps {
    use Class::{Halt, Retry, Split, Unknown};

    match status {
        401 | 403 => (Halt, &[]),
        429 => (Retry, &[]),
        413 => (Split, &[Halt]),
        300..=399 | 400 | 404 | 405 | 411 | 414 | 415 | 431 => (Halt, &[]),
        // A proxy whose server is away.
        408 | 502..=504 => (Unknown, &[]),
        _ => (Unknown, &[Halt]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Class::{Halt, Permanent, Repair, Retry, Split, Unknown};

    fn failure(status: u16, code: Option<&str>, tag: Option<&str>, body: &str) -> Failure {
        match outcome(status, code, tag, body.as_bytes()) {
            Outcome::Failed(failure) => failure,
            Outcome::Ok => panic!("taken for a success: {body}"),
        }
    }

    fn exception(code: u32, message: &str) -> String {
        format!("Code: {code}. DB::Exception: {message}. (SOME_NAME) (version 26.7.2.1)\n")
    }

    #[test]
    fn a_message_about_a_row_has_no_values() {
        for (code, message, expected) in [
            (
                6,
                "Cannot parse string 'secret' as Int64: syntax error",
                "Cannot parse string '…' as Int64: syntax error",
            ),
            (
                469,
                "Constraint `c` for table d.t is violated at row 1. Expression: (id < 5). Column values: id = 7",
                "Constraint `c` for table d.t is violated at row 1. Expression: (id < 5).",
            ),
        ] {
            let text = format!("Code: {code}. DB::Exception: {message}. (NAME) (version 26.7.2.1)");
            let found = failure(400, Some(&code.to_string()), None, &text).message;
            assert!(
                found.starts_with(expected) && !found.contains("secret") && !found.contains('7'),
                "{found}"
            );
        }
    }

    #[test]
    fn cells_come_as_they_were_before_they_were_escaped() {
        assert_eq!(cells(b"a\\tb\tc\\\\n\n\\N\t\n"), [["a\tb", "c\\n"], ["NULL", ""]]);
        assert_eq!(cells(b"\n"), [[""]]);
        assert_eq!(cells(b""), Vec::<Vec<String>>::new());
        assert_eq!(table::<2>(b"a\tb\n"), Ok(vec![["a".to_owned(), "b".to_owned()]]));
        assert!(table::<2>(b"a\n").is_err());
    }

    #[test]
    fn an_old_servers_error_is_read_from_its_text() {
        let text = "Code: 115, e.displayText() = DB::Exception: Unknown setting async_insert, e.what() = DB::Exception";
        let failure = failure(500, None, None, text);
        assert_eq!((failure.code, failure.class), (Some(115), Halt));
        assert_eq!(failure.message, "Unknown setting async_insert");
    }

    #[test]
    fn every_row_of_the_error_table_has_its_class() {
        let table: &[(&[u32], &str, Class, &[Class])] = &[
            (&[3, 32, 33], "", Unknown, &[Repair]),
            (&[159, 160, 209, 210, 279], "", Unknown, &[]),
            (&[202, 203, 745, 749, 762, 763, 364, 373], "", Retry, &[]),
            (&[241, 173, 776, 777, 778, 396], "", Split, &[Retry, Halt]),
            (&[252], "Too many parts (3000)", Retry, &[]),
            (&[252], "Too many partitions for single INSERT block (more than 100)", Split, &[Halt]),
            (
                &[
                    242, 225, 236, 254, 285, 286, 289, 319, 341, 369, 415, 416, 425, 439, 473, 499, 529, 574,
                    655, 659, 668, 733, 738, 740, 999, 1000, 1001,
                ],
                "",
                Unknown,
                &[],
            ),
            (&[164], "", Retry, &[Halt]),
            (&[774], "", Halt, &[]),
            (&[60, 81, 218], "", Retry, &[Repair]),
            (&[57, 82, 15], "", Repair, &[]),
            (&[44], "Cannot add column: column with this name already exists", Repair, &[]),
            (&[16, 8, 10, 20, 47, 131, 122, 368], "", Repair, &[]),
            (&[117], "Unknown field found while parsing", Repair, &[]),
            (
                &[
                    26, 27, 6, 25, 38, 41, 53, 69, 70, 72, 117, 130, 321, 349, 376, 407, 441, 467, 469, 632,
                    675, 676, 691,
                ],
                "Cannot parse",
                Permanent,
                &[],
            ),
            (&[62, 36, 46, 48, 50, 115, 452, 455, 471, 549], "", Halt, &[]),
            (&[192, 193, 194, 195, 497, 516, 720], "", Halt, &[]),
            (&[243, 201, 290, 359, 405], "", Retry, &[]),
            (&[395, 397, 386], "", Halt, &[]),
            (&[43], "Illegal type: while pushing to view db.v", Halt, &[]),
            (&[6, 16, 60, 469], "Cannot parse 'x': while pushing to view db.v (uuid)", Halt, &[]),
            (&[60], "Target table 'd.t' of view 'd.v' doesn't exists", Halt, &[]),
            (&[241], "Memory limit exceeded: while pushing to view db.v", Retry, &[Halt]),
            (&[252], "Too many parts: while pushing to view db.v", Retry, &[]),
            (&[159], "Timeout exceeded: while pushing to view db.v", Unknown, &[]),
            (&[49, 1002, 43, 44, 372, 123_456], "", Unknown, &[Halt]),
        ];
        for (codes, message, class, then) in table {
            for code in *codes {
                let failure = failure(500, Some(&code.to_string()), None, &exception(*code, message));
                assert_eq!((failure.class, failure.then), (*class, *then), "{code} {message}");
                assert_eq!(failure.code, Some(*code));
            }
        }
    }

    #[test]
    fn a_view_that_fails_is_named_and_its_values_are_not_shown() {
        for (message, view) in [
            ("Cannot parse string 'secret' as Int64: while pushing to view mv.v. (X)", "mv.v"),
            ("x: while pushing to view d.v1 (0a1b-22): while pushing to view d.v2 (0a1b-33)", "d.v2"),
            ("Target table 'mv.dst' of view 'mv.src' doesn't exists", "mv.src"),
        ] {
            let failure = failure(400, Some("6"), None, &exception(6, message));
            assert_eq!(failure.view.as_deref(), Some(view));
            assert!(!failure.message.contains("secret"), "{failure}");
            assert!(failure.advice().contains("mend or drop the view"));
        }
        assert_eq!(failure(400, Some("6"), None, &exception(6, "Cannot parse")).view, None);
    }

    #[test]
    fn the_code_decides_and_not_the_status() {
        for (status, code, class) in
            [(500, 252, Retry), (408, 159, Unknown), (404, 115, Halt), (500, 241, Split), (403, 516, Halt)]
        {
            // Without the header the code is read from the text.
            assert_eq!(failure(status, None, None, &exception(code, "x")).class, class);
        }
    }

    #[test]
    fn a_connection_that_broke_early_wrote_nothing_and_a_later_one_may_have() {
        assert_eq!(Failure::broken(Broken::BeforeSending, "refused").class, Retry);
        assert_eq!(Failure::broken(Broken::AfterSending, "reset").class, Unknown);
    }

    #[test]
    fn a_proxys_status_has_a_class_without_a_code() {
        for (status, class) in [
            (502, Unknown),
            (503, Unknown),
            (504, Unknown),
            (429, Retry),
            (413, Split),
            (401, Halt),
            (302, Halt),
        ] {
            let failure = failure(status, None, None, "<html>nginx</html>");
            assert_eq!((failure.code, failure.class), (None, class), "{status}");
        }
    }

    #[test]
    fn success_is_status_200_without_any_sign_of_an_exception() {
        assert_eq!(outcome(200, None, None, b""), Outcome::Ok);
        assert_eq!(outcome(200, None, Some("abcdefgh"), b"1\n2\n"), Outcome::Ok);
        assert_eq!(outcome(200, None, Some("abcdefgh"), b"data says __exception__ here\n"), Outcome::Ok);
        assert_eq!(outcome(200, None, None, b"Postal Code: 12345, Berlin\n"), Outcome::Ok);
    }

    #[test]
    fn a_failure_with_status_200_is_seen() {
        let text = exception(241, "Memory limit exceeded");
        assert_eq!(failure(200, Some("241"), None, "").code, Some(241));
        assert_eq!(failure(200, None, None, &text).code, Some(241));
        assert_eq!(failure(200, None, None, &format!("1\n2\n{text}")).code, Some(241));
        assert_eq!(failure(200, None, None, &format!("1\n__exception__\r\n{text}")).code, Some(241));
        let tagged =
            format!("1\n\r\n__exception__\r\nabcdefgh\r\n{text}\r\n96 abcdefgh\r\n__exception__\r\n");
        let failure = failure(200, None, Some("abcdefgh"), &tagged);
        assert_eq!((failure.code, failure.name.as_deref()), (Some(241), Some("SOME_NAME")));
    }

    #[test]
    fn a_message_is_short_names_the_error_and_hides_credentials() {
        let failure = failure(500, Some("241"), None, &exception(241, "Memory limit exceeded"));
        assert_eq!(failure.message, "Memory limit exceeded. (SOME_NAME)");
        assert_eq!(failure.name.as_deref(), Some("SOME_NAME"));
        let failure = Failure::broken(
            Broken::AfterSending,
            "error sending request for url (http://app:s3cr@t@db:8123/?query=x): http://u:p@h",
        );
        assert_eq!(failure.message, "error sending request for url (http://db:8123/?query=x): http://h");
        let long = Failure::broken(Broken::AfterSending, &"é\n".repeat(1_000)).message;
        assert!(long.len() <= 500 && long.ends_with('…') && !long.contains('\n'));
        let empty = super::outcome(500, None, None, b"");
        assert!(
            matches!(empty, Outcome::Failed(Failure { ref message, .. }) if message.contains("status 500"))
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            status in 200_u16..600,
            body in "(Code: |__exception__|DB::Exception: |://|@|[(][A-Z]{5}[)]|[0-9.\r\né]){0,12}",
            tag in prop::option::of("[a-z]{0,4}"),
        ) {
            let outcome = outcome(status, None, tag.as_deref(), body.as_bytes());
            if let Outcome::Failed(failure) = outcome {
                prop_assert!(failure.message.len() <= 500);
            } else {
                prop_assert_eq!(status, 200);
            }
        }
    }
}
