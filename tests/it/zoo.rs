//! What stands in ClickHouse is what stands in PostgreSQL: the zoo of `tests/zoo`, in small.

use std::process::Command;

use crate::support::{Stack, host, places};

/// Runs the zoo on the servers of the tests, and returns what it says.
fn zoo(arguments: &[&str]) -> String {
    let stack = Stack::with_debezium();
    let ran = Command::new("python3")
        .arg(places::root().join("tests/zoo/run.py"))
        .args(arguments)
        .arg("--host")
        .arg(host::binary())
        .args(["--transform", &places::transform("mirror")])
        .env("ZOO_PATIENCE", "120")
        .envs(stack.place())
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    said
}

/// With and without a schema: the two have little in common.
#[test]
fn rows_of_every_type_are_in_clickhouse_as_in_postgresql_after_changes_at_random() {
    let said =
        zoo(&["--changes", "500", "--matrix", "precise_adaptive_bytes_schema,string_isostring_base64_plain"]);
    // It would not end well with a difference; this is that it compared something.
    let compared: Vec<u32> = said
        .lines()
        .filter_map(|line| line.split_once(" rows and ")?.0.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(compared.len() == 2 && compared.iter().all(|rows| *rows > 200), "{said}");
    assert!(said.contains("2 combinations in"), "{said}");
}
