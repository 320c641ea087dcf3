//! Values that ClickHouse's own parser changes without a word: sent to it as JSON, and through the host.

use serde_json::{Value, json};

use crate::support::clickhouse::post;
use crate::support::{Database, Ended, Host, events, places};

/// The column's type, and the value as it stands in the JSON.
const CASES: &[(&str, &str)] = &[
    ("UInt64", "18446744073709551616"),
    ("Int64", "9223372036854775808"),
    ("Int16", "40000"),
    ("UInt8", "256"),
    ("UInt8", "-1"),
    ("Decimal(10, 2)", "1.239"),
    ("Decimal(10, 2)", "\"1.239\""),
    ("Float64", "1e400"),
    ("Int64", "null"),
    ("String", "null"),
    ("Array(Int64)", "null"),
    ("Map(String, Int64)", "null"),
    ("Tuple(a Int64, b String)", "{\"a\": 1}"),
    ("DateTime('UTC')", "\"2300-01-01 00:00:00\""),
    ("DateTime('UTC')", "\"1901-01-01 00:00:00\""),
    ("Date", "\"2300-01-01\""),
    ("Date32", "\"9999-12-31\""),
    ("DateTime64(3, 'UTC')", "\"0000-00-00 00:00:00\""),
    ("DateTime64(3, 'UTC')", "\"-0044-03-15 00:00:00\""),
    ("DateTime64(3, 'UTC')", "\"2024-01-01 24:00:00\""),
    ("DateTime64(3, 'UTC')", "\"2024-01-01 00:00:00.123456\""),
    ("JSON", "null"),
];

/// What came of a value.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It stands there as it was sent.
    Exact,
    /// It stands there as something else.
    Changed(String),
    /// It was refused, and nothing stands there.
    Stopped,
}

fn stored(database: &Database, table: &str, json: &str) -> Outcome {
    // The mark keeps an empty text from being no line.
    match database.lines(&format!("SELECT concat('=', toString(x)) FROM {table} FORMAT TSVRaw")).as_slice() {
        [] => Outcome::Stopped,
        [shown] if shown[1..] == *json.trim_matches('"') => Outcome::Exact,
        [shown] => Outcome::Changed(shown[1..].to_owned()),
        more => panic!("{} rows of one", more.len()),
    }
}

/// Straight to the server, as most programs send rows.
fn directly(database: &Database, table: &str, json: &str) -> Outcome {
    let url = format!(
        "{}/?database={}&query=INSERT+INTO+{table}+(id,x)+FORMAT+JSONEachRow",
        database.server.url(),
        database.name
    );
    match post(&url, format!("{{\"id\": 1, \"x\": {json}}}").as_bytes()) {
        Ok(_) => stored(database, table, json),
        Err(_) => Outcome::Stopped,
    }
}

/// The case of this number as a change without a schema, of a source table of its own.
fn change(index: usize, json: &str) -> String {
    let event = events::event("u", Value::Null, json!({"id": 1, "x": "here"}));
    let mut event: Value = serde_json::from_str(&event.value.expect("a value")).expect("JSON");
    event["source"]["table"] = format!("host{index}").into();
    // Not through a number of the test's own, which would change it.
    event.to_string().replace("\"here\"", json)
}

/// Runs changes through the host.
fn through_the_host(database: &Database, changes: &[String]) -> Ended {
    Host::new()
        .args(["--input", &places::file("events.ndjson", changes.join("\n"))])
        .args(["--clickhouse-url", database.server.url(), "--database", &database.name])
        .transform("update_only")
        .run()
}

/// Pairs of which no value fits: the host says so and stops before anything is written.
fn stops_the_host((ty, json): (&str, &str)) -> bool {
    ty.starts_with("Decimal") && !json.starts_with('"')
}

#[test]
fn no_value_that_the_servers_parser_would_change_is_changed_by_the_host() {
    let database = Database::new("corruption");
    for (index, (ty, _)) in CASES.iter().enumerate() {
        for way in ["direct", "host"] {
            database.query(&format!(
                "CREATE TABLE {way}{index} (id Int64, x {ty}, op String) ENGINE = MergeTree ORDER BY id"
            ));
        }
    }
    let (mut changes, mut refused_pairs) = (Vec::new(), 0);
    for (index, case) in CASES.iter().enumerate() {
        let change = change(index, case.1);
        match stops_the_host(*case) {
            true => {
                through_the_host(&database, &[change]).fails(2, &["cannot be written"]);
                refused_pairs += 1;
            }
            false => changes.push(change),
        }
    }
    let ended = through_the_host(&database, &changes);
    assert_eq!(ended.code(), Some(0), "{ended:?}");

    let (mut changed, mut stopped, mut wrong) = (0, 0, Vec::new());
    for (index, (ty, json)) in CASES.iter().enumerate() {
        let direct = directly(&database, &format!("direct{index}"), json);
        let host = stored(&database, &format!("host{index}"), json);
        changed += usize::from(matches!(direct, Outcome::Changed(_)));
        stopped += usize::from(host == Outcome::Stopped);
        println!("| `{ty}` | `{json}` | {} | {} |", words(&direct), words(&host));
        if let Outcome::Changed(text) = &host {
            wrong.push(format!("{json} became {text} in {ty}"));
        }
    }
    println!(
        "{} tried: {changed} changed in silence without the host; with it {stopped} stopped, the others exact",
        CASES.len()
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    let letters = stopped as u64 - refused_pairs;
    assert_eq!(ended.counters().rejected, letters, "what was stopped is kept: {ended:?}");
    assert!(changed > CASES.len() / 2, "the server's parser has become strict: {changed}");
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exact => "exact".to_owned(),
        Outcome::Changed(text) => format!("`{text}`"),
        Outcome::Stopped => "refused".to_owned(),
    }
}

#[test]
fn the_document_lists_the_values_that_are_tried() {
    let document = std::fs::read_to_string(places::root().join("docs/types.md")).expect("the document");
    let (_, table) =
        document.split_once("| column | JSON | ClickHouse stores | the host |").expect("the table");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), CASES.len(), "{rows:?}");
    for ((ty, json), row) in CASES.iter().zip(rows) {
        assert!(row.starts_with(&format!("| `{ty}` | `{json}` | ")), "{row} is not of {ty} and {json}");
        assert!(row.ends_with(" | refused |"), "{row}");
    }
}

#[test]
fn a_field_that_the_table_has_not_is_said_and_not_dropped() {
    let database = Database::new("corruption_field");
    database.query("CREATE TABLE t (id Int64, op String) ENGINE = MergeTree ORDER BY id");
    let url = format!(
        "{}/?database={}&query=INSERT+INTO+t+FORMAT+JSONEachRow",
        database.server.url(),
        database.name
    );
    post(&url, b"{\"id\": 1, \"op\": \"u\", \"name\": \"lost\"}").expect("the server says nothing");
    let event = events::event("u", Value::Null, json!({"id": 1, "name": "kept"}));
    Host::new()
        .args(["--input", &places::file("events.ndjson", event.value.expect("a value")), "--table", "t"])
        .args(["--schema-changes", "stop"])
        .args(["--clickhouse-url", database.server.url(), "--database", &database.name])
        .transform("update_only")
        .run()
        .fails(2, &["has no column \"name\""]);
    assert_eq!(database.count("t"), 1, "only the row that came directly");
}
