//! What becomes of values that do not fit, where somebody has said so.

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Ended, Host, Topic, places};
use crate::tables::Server;

fn row(row: Value) -> Record {
    events::event("u", Value::Null, row)
}

/// Runs records into a table of these columns, sorted by `key`.
fn into(name: &str, columns: &str, key: &str, records: &[Record], arguments: &[&str]) -> (Database, Ended) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, records);
    let database = Database::new(name);
    let lineage = Server::NEW.lineage();
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, op String, {lineage}, {columns}) ENGINE = MergeTree ORDER BY {key}"
    ));
    let host = Host::pipeline(&topic, &database).arg("--until-caught-up");
    (database, host.args(arguments.iter().copied()).succeed())
}

#[test]
fn a_value_beyond_its_columns_range_becomes_what_its_policy_says_and_is_counted() {
    let beyond = |id: i64| {
        row(
            json!({"id": id, "small": 300, "maybe": -300, "amount": "Infinity", "made": "2300-01-01T00:00:00Z", "list": null}),
        )
    };
    let good = json!({"id": 3, "small": 1, "maybe": null, "amount": "1.5", "made": "1970-01-01T00:00:00Z", "list": [1]});
    let (database, ended) = into(
        "policies_beyond",
        "small Int8, maybe Nullable(Int8), amount Decimal(10, 2), made DateTime('UTC'), list Array(Int8)",
        "tuple()",
        &[beyond(1), beyond(2), row(good)],
        &[
            "--out-of-range",
            "null",
            "--out-of-range-columns",
            "small=saturate",
            "--out-of-range-columns",
            "my_table.made=saturate",
            "--out-of-range-columns",
            "amount=saturate",
        ],
    );
    assert_eq!(
        ended.counters().rejected,
        0,
        "{:?}",
        database.rows("SELECT reason FROM _rowgate_dead_letters")
    );
    assert_eq!(
        database.lines("SELECT small, maybe, amount, made, list FROM my_table ORDER BY id"),
        [
            "127\t\\N\t99999999.99\t2106-02-07 06:28:15\t[]",
            "127\t\\N\t99999999.99\t2106-02-07 06:28:15\t[]",
            "1\t\\N\t1.5\t1970-01-01 00:00:00\t[1]",
        ]
    );
    for line in [
        "replaced      2 in my_table.small (beyond its range: saturated)",
        "replaced      2 in my_table.maybe (beyond its range: made null)",
        "replaced      2 in my_table.amount (beyond its range: saturated)",
        "replaced      2 in my_table.made (beyond its range: saturated)",
        "replaced      2 in my_table.list (null: made empty)",
    ] {
        assert!(ended.out.contains(line) || ended.err.contains(line), "{line}: {ended:?}");
    }
    let warned =
        ended.err.lines().filter(|line| line.contains("WARN") && line.contains("values were replaced"));
    assert_eq!(warned.count(), 5, "once a column: {ended:?}");
}

#[test]
fn nothing_is_replaced_in_a_column_that_the_table_is_sorted_by() {
    let records = [
        row(json!({"id": 1, "small": 300, "ratio": 1.5})),
        row(json!({"id": 2, "small": 1, "ratio": "NaN"})),
        row(json!({"id": 3, "small": 1, "ratio": 1.5})),
    ];
    let (database, ended) = into(
        "policies_key",
        "small Int8, ratio Float64",
        "(small, ratio)",
        &records,
        &["--out-of-range", "saturate"],
    );
    assert_eq!(database.query("SELECT groupArray(id) FROM my_table"), "[3]");
    assert_eq!(ended.counters().rejected, 2);
    let reasons = database.lines("SELECT reason FROM _rowgate_dead_letters ORDER BY offset");
    assert_eq!(reasons[0], "column `small` (Int8): the number is outside the column\\'s range");
    assert!(reasons[1].contains("`ratio` (Float64)") && reasons[1].contains("NaN"), "{reasons:?}");
}

#[test]
fn a_value_that_the_source_did_not_send_becomes_what_the_policy_says() {
    let unsent = || {
        [row(
            json!({"id": 1, "name": "__debezium_unavailable_value", "title": "__debezium_unavailable_value"}),
        )]
    };
    let columns = "name Nullable(String), title String";
    let of = |name: &str, policy: &str| into(name, columns, "tuple()", &unsent(), &["--unavailable", policy]);
    let (database, ended) = of("policies_unavailable_default", "default");
    assert_eq!(database.query("SELECT name, title FROM my_table"), "\\N\t");
    assert!(ended.err.contains("not sent by the source") || ended.out.contains("not sent by the source"));
    for policy in ["null", "reject"] {
        let (database, ended) = of(&format!("policies_unavailable_{policy}"), policy);
        assert_eq!((database.count("my_table"), ended.counters().rejected), (0, 1), "{policy}");
    }
}

#[test]
fn a_column_that_is_to_hold_every_value_is_created_as_text() {
    let database = Database::new("policies_text");
    let file = places::fixture("types_schema.ndjson");
    Host::new()
        .args(["--input", file.to_str().expect("UTF-8"), "--clickhouse-url", database.server.url()])
        .args(["--database", &database.name, "--out-of-range", "as_string"])
        .transform("all_changes")
        .succeed();
    assert_eq!(
        database.query("SELECT c_date, c_ts, c_tstz, toTypeName(c_date) FROM all_types WHERE id = 4 LIMIT 1"),
        "infinity\tinfinity\t-infinity\tNullable(String)"
    );
    let letters =
        "SELECT count() FROM _rowgate_dead_letters WHERE stage = 'encode' AND topic LIKE '%all_types'";
    assert_eq!(database.query(letters), "0");
}

#[test]
fn a_policy_that_does_not_exist_is_a_mistake_that_names_those_that_do() {
    for (flag, value) in
        [("--out-of-range", "clamp"), ("--out-of-range-columns", "a=clamp"), ("--unavailable", "keep")]
    {
        Host::new().args([flag, value]).run().fails(2, &["is none of reject, null"]);
    }
}
