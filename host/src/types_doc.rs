//! The generated parts of `docs/types.md`, and what compares them with the file.
//!
//! A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Its cells come from recorded events
//! and from the code that decodes, creates columns, converts and applies policies; by hand are the databases' types with
//! their modes (`families`) and which sources, columns and values are shown. The rest of the document is written by hand, and the
//! names of types and tests in it are looked up here.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::clickhouse::ddl::column_type;
use crate::clickhouse::profile::Profile;
use crate::columns::Kind;
use crate::debezium::shape::Wire;

mod families;
mod matrix;
mod special;
mod types;

/// Set to anything, it makes the test write the file anew.
const RENEW: &str = "ROWGATE_RENEW_DOCS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document() -> String {
    file("docs/types.md")
}

/// A table of Markdown.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
    for row in rows {
        assert_eq!(row.len(), heads.len(), "{row:?}");
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text
}

/// Text as code, but nothing for nothing.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Code, and what is too long for a cell cut.
fn short(text: &str) -> String {
    const MOST: usize = 44;
    let start: String = text.chars().take(MOST).collect();
    code(&if start.len() < text.len() { format!("{start}…") } else { start })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Decimal => "decimal",
        Kind::Text => "text",
        Kind::Json => "json",
        Kind::Bytes => "bytes",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Timestamp => "timestamp",
    }
}

/// The kind, and the columns that are created on a server with every type, and on one of 2018; of the latter
/// nothing, where it is the same.
fn meaning(wire: &Wire) -> [String; 3] {
    let [today, old] =
        [Profile::default(), Profile::oldest()].map(|profile| column_type(wire, false, &profile));
    let old = if old == today { String::new() } else { code(&old.to_string()) };
    [kind_name(wire.kind()).to_owned(), code(&today.to_string()), old]
}

fn generated() -> Vec<(&'static str, String)> {
    vec![
        ("postgresql", families::of(&families::POSTGRESQL)),
        ("mariadb", families::of(&families::MARIADB)),
        ("schemas", types::schemas()),
        ("guesses", types::guesses()),
        ("hints", types::hints()),
        ("computed", types::computed()),
        ("matrix", matrix::matrix()),
        ("special", special::values()),
        ("unavailable", special::unavailable()),
    ]
}

/// Where a part's text begins and ends in the document.
fn place(document: &str, name: &str) -> (usize, usize) {
    let mark = format!("<!-- generated: {name} -->\n");
    let begin = document.find(&mark).unwrap_or_else(|| panic!("docs/types.md has no `{}`", mark.trim()));
    let begin = begin + mark.len();
    let length = document[begin..].find("<!-- end -->").expect("each part has an end");
    (begin, begin + length)
}

#[test]
fn the_map_of_types_says_what_the_code_does() {
    let mut document = document();
    let mut stale = Vec::new();
    for (name, text) in generated() {
        let (begin, end) = place(&document, name);
        let text = format!("\n{text}\n");
        if document[begin..end] != text {
            document.replace_range(begin..end, &text);
            stale.push(name);
        }
    }
    if std::env::var_os(RENEW).is_some() {
        // In one step, for the other tests read it meanwhile.
        let new = root().join("docs/types.md.new");
        std::fs::write(&new, document).unwrap();
        std::fs::rename(new, root().join("docs/types.md")).unwrap();
        return;
    }
    assert!(
        stale.is_empty(),
        "docs/types.md is not what the code does in {stale:?}: \
         `{RENEW}=1 cargo test -p host --lib types_doc` writes it, then read the difference"
    );
}

#[test]
fn the_document_has_no_part_that_nobody_generates() {
    let known: Vec<&str> = generated().iter().map(|(name, _)| *name).collect();
    let document = document();
    let marks = document.split("<!-- generated: ").skip(1).map(|rest| rest.split(" -->").next().unwrap());
    assert_eq!(marks.collect::<Vec<_>>().len(), known.len());
    assert_eq!(document.matches("<!-- end -->").count(), known.len());
}

/// The Rust files below a folder, one after the other.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_test_that_the_document_names_is_there() {
    let mut code = String::new();
    sources(&root().join("host/src"), &mut code);
    sources(&root().join("tests/it"), &mut code);
    let document = document();
    let names = document.split('`').skip(1).step_by(2).filter(|name| {
        name.matches('_').count() >= 4 && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    });
    let names: Vec<&str> = names.filter(|name| !name.starts_with('_')).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "docs/types.md names the test {name}");
    }
}
