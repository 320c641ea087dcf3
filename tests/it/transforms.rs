//! The shipped transforms beside `update_only` and `all_changes`, on recorded events.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Database, Ended, Host, Topic, events, places};

/// The host over the recorded events of every type, with parameters of the transform.
fn host(transform: &str, params: &[&str]) -> Host {
    let host = Host::from_file(places::fixture("types_schema.ndjson")).transform(transform);
    host.args(params.iter().flat_map(|param| ["--param", *param]))
}

fn run(transform: &str, params: &[&str]) -> Ended {
    host(transform, params).succeed()
}

fn rows(ended: &Ended) -> Vec<Value> {
    ended.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The place of a row, and what it says of a column.
fn difference(row: &Value) -> Value {
    let members = ["_offset", "_seq", "op", "key", "column", "old", "old_known", "new"];
    members.map(|member| row[member].clone()).into_iter().collect()
}

#[test]
fn audit_gives_a_row_for_each_column_that_changed() {
    let ended = run("audit", &["tables=full_identity,toasted,composite_pk", "exclude=extra"]);
    let rows = rows(&ended);
    for row in &rows {
        assert_eq!((&row["_table"], &row["table_schema"]), (&"audit".into(), &"public".into()));
    }
    let of = |table: &str| -> Vec<Value> {
        rows.iter().filter(|row| row["table_name"] == table).map(difference).collect()
    };
    // Of this table the source sends whole rows, though the event of a delete does not say so.
    let whole = [
        json!([18, 0, "u", r#"{"id":1}"#, "n", "1", true, "2"]),
        json!([19, 0, "d", r#"{"id":1}"#, "id", "1", true, null]),
        json!([19, 1, "d", r#"{"id":1}"#, "big", "xxxxxxxxxxxxxxxxxxxx", false, null]),
        json!([19, 2, "d", r#"{"id":1}"#, "n", "2", false, null]),
    ];
    assert_eq!(of("full_identity"), whole);
    // Of this one it does not: `big` was not sent because it did not change.
    let partial = [
        json!([21, 0, "u", r#"{"id":1}"#, "id", null, false, "1"]),
        json!([21, 1, "u", r#"{"id":1}"#, "n", null, false, "2"]),
    ];
    assert_eq!(of("toasted"), partial);
    let composite = of("composite_pk");
    let created = [
        json!([14, 0, "c", r#"{"a":10,"b":"y"}"#, "a", null, true, "10"]),
        json!([14, 1, "c", r#"{"a":10,"b":"y"}"#, "b", null, true, "y"]),
        json!([14, 2, "c", r#"{"a":10,"b":"y"}"#, "v", null, true, "v2"]),
    ];
    let of_14: Vec<_> = composite.iter().filter(|row| row[0] == 14).cloned().collect();
    assert_eq!(of_14, created);
    // Two inserts, three deletes, four updates without the row before them, of three columns each.
    assert_eq!(composite.len(), 27);
    assert_eq!(ended.counters().rows, rows.len() as u64);
    assert_eq!(ended.counters().rejected, 0);
}

#[test]
fn audit_writes_every_type_as_text() {
    let ended = run("audit", &["tables=all_types", "full_rows=*", "target=history"]);
    let rows = rows(&ended);
    assert!(rows.iter().all(|row| row["_table"] == "history"), "{ended:?}");
    let new = |offset: u64, column: &str| -> Value {
        let row = rows.iter().find(|row| row["_offset"] == offset && row["column"] == column);
        row.unwrap_or_else(|| panic!("no {column}"))["new"].clone()
    };
    for (column, text) in [
        ("id", "1"),
        ("c_bool", "true"),
        ("c_real", "1.5"),
        ("c_numeric", "99.9999"),
        ("c_bytea", "deadbeef"),
        ("c_date", "2024-02-29"),
        ("c_time", "12:34:56.789012"),
        ("c_time3", "12:34:56.789"),
        ("c_ts", "2024-02-29T23:59:59.999999Z"),
        ("c_ts0", "2024-02-29T23:59:59Z"),
        ("c_tstz", "2024-03-31T01:30:00Z"),
        ("c_uuid", "11111111-2222-3333-4444-555555555555"),
        ("c_json", r#"{"a":[1,2,{"b":null}]}"#),
    ] {
        assert_eq!(new(10, column), text, "{column}");
    }
    for (column, text) in [("c_real", "NaN"), ("c_double", "Infinity"), ("c_bigint", "-9223372036854775808")]
    {
        assert_eq!(new(8, column), text, "{column}");
    }
}

/// The reasons of dead letters, where there are no rows.
fn reasons(ended: &Ended) -> Vec<String> {
    assert_eq!(ended.out, "");
    let letters = fs::read_to_string(ended.folder.join("dead-letters.ndjson")).expect("dead letters");
    let letters = letters.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    letters.map(|letter| letter["reason"].as_str().expect("a reason").to_owned()).collect()
}

/// What is there of each key after all rows: its newest, unless the key has left. Rows of several shapes do not
/// stand in the order of their changes.
fn copy(rows: &[Value], key: &[&str]) -> BTreeMap<String, Value> {
    let number = |row: &Value, column: &str| row[column].as_u64().expect("the host writes it");
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for row in rows {
        let of = key.iter().map(|column| row[column].to_string()).collect::<Vec<_>>().join(",");
        let known = newest.entry(of).or_insert_with(|| row.clone());
        if number(row, "_version") > number(known, "_version") {
            *known = row.clone();
        }
    }
    newest.retain(|_, row| number(row, "_is_deleted") == 0);
    newest
}

#[test]
fn mirror_keeps_the_newest_row_of_each_key() {
    let params = ["tables=composite_pk,full_identity", "target={schema}_{table}", "rename=v:text"];
    let ended = host("mirror", &params).args(["--truncate", "ignore"]).succeed();
    assert_eq!(ended.counters().rejected, 0);
    let rows = rows(&ended);
    let of =
        |table: &str| -> Vec<Value> { rows.iter().filter(|row| row["_table"] == table).cloned().collect() };
    let composite = copy(&of("public_composite_pk"), &["a", "b"]);
    let texts: Vec<_> = composite.iter().map(|(key, row)| (key.as_str(), row["text"].clone())).collect();
    assert_eq!(texts, [("1,\"x\"", json!("v1d"))]);
    assert_eq!(copy(&of("public_full_identity"), &["id"]), BTreeMap::new());
}

#[test]
fn mirror_refuses_a_table_without_a_key_and_says_what_to_do() {
    let reasons = reasons(&run("mirror", &["tables=no_pk"]));
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for reason in &reasons {
        assert!(reason.contains("table `public.no_pk` has no key"), "{reason}");
        assert!(reason.contains("`key.no_pk`"), "{reason}");
    }
}

#[test]
fn mirror_refuses_parameters_that_leave_a_column_of_the_key_out() {
    let reasons = reasons(&run("mirror", &["tables=composite_pk", "exclude=composite_pk.b"]));
    let expected = "parameter `exclude` leaves out column `b`, which is in the key of table `composite_pk`";
    assert_eq!(reasons.len(), 11, "{reasons:?}");
    for reason in &reasons {
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn mirror_is_a_copy_of_the_table_in_clickhouse() {
    let topic = Topic::new("transforms_mirror.public.my_table", 1);
    topic.produce(
        1,
        &[
            events::event("r", Value::Null, events::row(1, "read")),
            events::create(2, "two"),
            events::update(1, "one"),
            events::delete(2),
            events::tombstone(2),
            events::create(3, "three"),
        ],
    );
    let database = Database::new("transforms_mirror");
    let host = Host::pipeline(&topic, &database).transform("mirror");
    let ended =
        host.args(["-p", "exclude=created_at", "-p", "rename=name:label", "--until-caught-up"]).succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected), (5, 0), "{ended:?}");
    assert_eq!(database.lines("SELECT id, label FROM my_table_current ORDER BY id"), ["1\tone", "3\tthree"]);
}

#[test]
fn the_shipped_transforms_fit() {
    for name in ["mirror", "audit"] {
        let ended = Host::new().args(["inspect", &places::transform(name)]).succeed();
        assert!(ended.out.contains("fits      yes"), "{ended:?}");
    }
}
