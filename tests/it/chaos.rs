//! Nothing lost, nothing doubled under faults: the run of `tests/chaos`, in small.

use std::process::Command;

use crate::support::{Stack, host, places};

/// Each fail point and each quick fault once, and ten kills of ClickHouse. What it kills must be its own.
#[test]
fn nothing_is_lost_or_doubled_at_any_fail_point_and_the_checker_sees_what_is_planted() {
    let stack = Stack::start(&["kafka", "clickhouse", "faults"]);
    let ran = Command::new("python3")
        .arg(places::root().join("tests/chaos/run.py"))
        .arg("--short")
        .arg("--host")
        .arg(host::with_faults())
        .envs(stack.place())
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    // It would not end well with a row too many or too few; this is that it did put faults in.
    for text in
        ["crash points covered 11 of 11", "  10  ClickHouse killed in mid-insert", "lost 0, doubled 0"]
    {
        assert!(said.contains(text), "no {text:?} in: {said}");
    }
}
