//! Recorded events of every type through the host. The expected rows were checked by hand against the statements
//! in `setup*.sql` and `change*.sql`: they are what PostgreSQL held.

use std::fs;

use serde_json::{Map, Value};

use crate::support::{Database, Ended, Host, Stack, assert_same, places};

/// The column that depends on how the transform was compiled.
const DIGEST: &str = ",\"_transform\":\"";

/// A record that goes to the dead letters: its offset, and a part of the reason.
pub type Letter = (u64, &'static str);

const UNCHANGED_TOAST: &str = "column `big` (Nullable(String)): the source did not send the value, because it did \
     not change (unchanged TOAST): set the source table's REPLICA IDENTITY to FULL, or leave the column out";
const INFINITE_DATE: &str = "column `c_date` (Nullable(Date32)): an infinite date or time is not a date";

const EARLY_DATE: &str = "column `c_date` (Nullable(Date32)): the date is outside the column's range";

fn output(file: &str, transform: &str) -> Ended {
    Host::from_file(places::fixture(&format!("{file}.ndjson"))).transform(transform).succeed()
}

/// The rows that the host printed, without the transform's digest.
fn rows(ended: &Ended) -> Vec<String> {
    let without_digest = |line: &str| {
        let (row, digest) = line.rsplit_once(DIGEST).expect("each row names its transform");
        assert_eq!(digest.len(), 16 + "\"}".len(), "{line}");
        format!("{row}}}")
    };
    ended.out.lines().map(without_digest).collect()
}

fn expected(file: &str, transform: &str) -> Vec<String> {
    let file = places::fixture(&format!("{file}.{transform}.expected.ndjson"));
    fs::read_to_string(file).expect("the fixture").lines().map(str::to_owned).collect()
}

/// Checks the rows and the dead letters that recorded events give.
pub fn check(file: &str, transform: &str, letters: &[Letter]) {
    let ended = output(file, transform);
    assert_same(&format!("{file} by {transform}"), &rows(&ended), &expected(file, transform));

    let kept = fs::read_to_string(ended.folder.join("dead-letters.ndjson")).unwrap_or_default();
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let recorded = fs::read_to_string(places::fixture(&format!("{file}.ndjson"))).expect("the fixture");
    let recorded: Vec<&str> = recorded.lines().collect();
    assert_eq!(kept.len(), letters.len(), "{kept:?}");
    for (letter, (offset, reason)) in kept.iter().zip(letters) {
        assert_eq!((&letter["offset"], &letter["stage"]), (&(*offset).into(), &"encode".into()));
        assert_eq!(letter["reason"], *reason);
        let record: Value = serde_json::from_str(recorded[*offset as usize]).expect("JSON");
        assert_eq!((&letter["key"], &letter["payload"]), (&record["key"], &record["value"]));
    }
    let counters = ended.counters();
    assert_eq!(counters.consumed, recorded.len() as u64);
    assert_eq!(counters.rejected, letters.len() as u64);
    assert_eq!(counters.rows, expected(file, transform).len() as u64);
}

#[test]
fn a_simple_table_gives_the_rows_that_postgresql_held() {
    check("simple", "update_only", &[]);
    check("simple", "all_changes", &[]);
}

#[test]
fn every_type_with_a_schema_gives_the_values_that_postgresql_held() {
    check("types_schema", "update_only", &[(21, UNCHANGED_TOAST)]);
    check("types_schema", "all_changes", &[(9, INFINITE_DATE), (21, UNCHANGED_TOAST)]);
}

#[test]
fn every_type_without_a_schema_gives_what_the_event_says() {
    check("types_noschema", "update_only", &[(21, UNCHANGED_TOAST)]);
    check("types_noschema", "all_changes", &[(21, UNCHANGED_TOAST)]);
}

#[test]
fn connects_own_types_and_decimals_as_text_give_the_values_that_postgresql_held() {
    check("types_connect_string", "update_only", &[(94, UNCHANGED_TOAST)]);
    check("types_connect_string", "all_changes", &[(66, INFINITE_DATE), (94, UNCHANGED_TOAST)]);
}

#[test]
fn times_as_text_and_decimals_as_floats_give_what_the_event_says() {
    check("types_iso_double", "update_only", &[(21, UNCHANGED_TOAST)]);
    check("types_iso_double", "all_changes", &[(21, UNCHANGED_TOAST)]);
}

/// Columns that hold bytes which are no text: JSON cannot show them as they are.
const BINARY: [&str; 2] = ["c_bytea", "c_bit8"];

#[test]
fn clickhouse_gives_back_what_output_prints_for_every_type() {
    let database = Database::new("fixtures_types");
    let ended = Host::new()
        .args(["--clickhouse-url", Stack::shared().clickhouse_url(), "--database", &database.name])
        .args(["--input", places::fixture("types_schema.ndjson").to_str().expect("UTF-8")])
        .transform("all_changes")
        .succeed();
    // Dates before 1900 and after 2299 are beyond the types of servers before mid-2026.
    let holds_all_dates = database.query("SELECT toString(toDate32('9999-12-31'))") == "9999-12-31";
    let expected: Vec<Map<String, Value>> = expected("types_schema", "all_changes")
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|row: &Map<String, Value>| holds_all_dates || row["_offset"] != 8)
        .collect();
    assert_eq!(ended.counters().rows, expected.len() as u64);

    for row in &expected {
        let table = row["_table"].as_str().expect("a name").replace('`', "\\`");
        let found = database.rows(&format!(
            "SELECT * EXCEPT (ts, _transform) FROM `{table}` WHERE _offset = {} SETTINGS \
             output_format_json_quote_decimals = 1, output_format_json_quote_denormals = 1",
            row["_offset"]
        ));
        assert_eq!(found.len(), 1, "{row:?}");
        for (name, value) in found[0].as_object().expect("an object") {
            // A column that was added to the source later is null in rows from before.
            let expected = row.get(name).unwrap_or(&Value::Null);
            assert!(value == expected || BINARY.contains(&name.as_str()), "{name}: {value}, not {expected}");
        }
        assert!(row.keys().all(|name| name == "_table" || found[0].get(name).is_some()), "{row:?}");
    }
    assert_eq!(
        database.query("SELECT hex(c_bytea), hex(c_bit8), hex(c_varbit) FROM all_types WHERE _offset = 10"),
        "DEADBEEF\tAA\t0B"
    );
    let mut letters = vec![
        format!("shop.public.all_types\t8\tencode\t{EARLY_DATE}"),
        format!("shop.public.all_types\t9\tencode\t{INFINITE_DATE}"),
        format!("shop.public.toasted\t21\tencode\t{UNCHANGED_TOAST}"),
    ];
    if holds_all_dates {
        letters.remove(0);
    }
    let kept = "SELECT topic, offset, stage, reason FROM _rowgate_dead_letters ORDER BY offset FORMAT TSVRaw";
    assert_same("the dead letters", &database.lines(kept), &letters);
}
