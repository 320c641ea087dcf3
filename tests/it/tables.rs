//! Tables that the user made.

use serde_json::json;

use crate::support::events::{self, Record};
use crate::support::{Database, Ended, Host, Topic};

const LINEAGE: &str =
    "_topic LowCardinality(String), _partition UInt32, _offset UInt64, _seq UInt16, _transform String";

/// Runs records into a table of these columns.
fn into(name: &str, columns: &str, records: &[Record]) -> (Database, Ended) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, records);
    let database = Database::new(name);
    database.query(&format!(
        "CREATE TABLE my_table ({columns}) ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100"
    ));
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    (database, ended)
}

#[test]
fn columns_in_another_order_and_columns_of_the_users_own_are_fine() {
    let columns = format!(
        "op Enum8('u' = 1), note String DEFAULT 'none', {LINEAGE}, created_at DateTime64(3, 'Europe/Berlin'), \
         ts DateTime DEFAULT now(), name LowCardinality(Nullable(String)), twice Int64 MATERIALIZED id * 2, id Int64"
    );
    let (database, ended) = into("tables_order", &columns, &events::updates(50));
    assert_eq!(ended.counters().rows, 50);
    assert_eq!(
        database.query(
            "SELECT count(), countIf(note = 'none'), countIf(twice = id * 2), countIf(name = concat('name ', toString(id))), \
             countIf(toUnixTimestamp64Milli(created_at) = 1704067200000), uniqExact(_offset) FROM my_table"
        ),
        "50\t50\t50\t50\t50\t50"
    );
}

#[test]
fn a_table_without_lineage_columns_works_and_its_lower_guarantee_is_said() {
    let (database, ended) = into(
        "tables_plain",
        "id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String",
        &events::updates(50),
    );
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "50\t50");
    let warned = ended.err.lines().any(|line| line.contains("WARN") && line.contains("_offset"));
    assert!(warned, "{ended:?}");
    assert!(ended.err.contains("guarantee="), "{ended:?}");
}

#[test]
fn a_value_that_does_not_fit_a_narrower_column_is_kept_apart_and_never_cut() {
    let created = |id: i64, name: serde_json::Value, created_at: serde_json::Value| {
        events::event("u", serde_json::Value::Null, json!({"id": id, "name": name, "created_at": created_at}))
    };
    let day = json!(events::CREATED_AT);
    let columns = format!("id Int8, name FixedString(4), created_at DateTime('UTC'), op String, {LINEAGE}");
    let records = [
        created(127, json!("four"), day.clone()),
        created(128, json!("four"), day.clone()),
        created(-128, json!("four"), day.clone()),
        created(-129, json!("four"), day.clone()),
        created(1, json!("fifth"), day.clone()),
        created(2, json!(null), day.clone()),
        created(3, json!("four"), json!(events::CREATED_AT + 1)),
        created(4, json!("four"), json!(-1_000_000)),
        created(5, json!("four"), json!(null)),
    ];
    let (database, ended) = into("tables_narrow", &columns, &records);
    assert_eq!((ended.counters().kept, ended.counters().rejected), (2, 7));
    assert_eq!(database.lines("SELECT id, name FROM my_table ORDER BY id"), ["-128\tfour", "127\tfour"]);
    let letters = database
        .lines("SELECT offset, stage, reason FROM _rowgate_dead_letters ORDER BY offset FORMAT TSVRaw");
    assert_eq!(letters.len(), 7);
    for (letter, (offset, column)) in letters.iter().zip([
        (1, "`id` (Int8)"),
        (3, "`id` (Int8)"),
        (4, "`name` (FixedString(4))"),
        (5, "`name` (FixedString(4))"),
        (6, "`created_at` (DateTime('UTC'))"),
        (7, "`created_at` (DateTime('UTC'))"),
        (8, "`created_at` (DateTime('UTC'))"),
    ]) {
        assert!(letter.starts_with(&format!("{offset}\tencode\tcolumn {column}: ")), "{letter}");
    }
}

#[test]
fn nulls_go_into_nullable_columns_and_are_kept_apart_from_others() {
    let null = || {
        events::event(
            "u",
            serde_json::Value::Null,
            json!({"id": 1, "name": null, "created_at": events::CREATED_AT}),
        )
    };
    let common = format!("id Int64, created_at DateTime64(6, 'UTC'), op String, {LINEAGE}");
    let (nullable, _) = into("tables_nullable", &format!("{common}, name Nullable(String)"), &[null()]);
    assert_eq!(nullable.query("SELECT name FROM my_table"), "\\N");
    let (other, ended) = into("tables_not_nullable", &format!("{common}, name String"), &[null()]);
    assert_eq!((other.count("my_table"), ended.counters().rejected), (0, 1));
    assert_eq!(
        other.query("SELECT reason FROM _rowgate_dead_letters"),
        "column `name` (String): the value is null, and the column is not Nullable"
    );
}

#[test]
fn a_row_whose_times_are_null_lands_in_a_table_that_the_host_makes() {
    let topic = Topic::new("tables_null_time.public.my_table", 1);
    let event = |created_at| {
        events::event("u", serde_json::Value::Null, json!({"id": 1, "name": "a", "created_at": created_at}))
    };
    topic.produce(1, &[event(json!(events::CREATED_AT)), event(json!(null))]);
    let database = Database::new("tables_null_time");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(
        database.lines("SELECT created_at FROM my_table ORDER BY _offset"),
        ["2024-01-01 00:00:00.000000", "\\N"]
    );
}

#[test]
fn a_column_that_the_source_gets_later_is_told_and_goes_on_once_the_table_has_it() {
    let topic = Topic::new("tables_evolve.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::new("tables_evolve");
    let host = || Host::pipeline(&topic, &database).args(["--schema-changes", "stop", "--until-caught-up"]);
    host().succeed();
    let mut row = events::row(3, "name 3");
    row["colour"] = json!("red");
    topic.produce(1, &[events::event("u", serde_json::Value::Null, row)]);
    host().run().fails(2, &["has no column \"colour\"", "ADD COLUMN"]);
    database.query("ALTER TABLE my_table ADD COLUMN colour Nullable(String)");
    host().succeed();
    database.has_updates_once("my_table", 4);
    assert_eq!(database.query("SELECT groupArray(colour) FROM my_table WHERE id = 3"), "['red']");
}

#[test]
fn a_table_that_changes_while_the_host_runs_is_read_again() {
    let topic = Topic::new("tables_change.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::new("tables_change");
    let host = Host::pipeline(&topic, &database).start();
    database.wait_for_rows("my_table", 3);
    database.query("ALTER TABLE my_table MODIFY COLUMN name Nullable(FixedString(8))");
    topic.produce(1, &events::updates(6).split_off(3));
    database.wait_for_rows("my_table", 6);
    host.drain();
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "6\t6");
}

#[test]
fn a_table_that_is_dropped_while_the_host_runs_is_made_again() {
    let topic = Topic::new("tables_drop.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::new("tables_drop");
    let host = Host::pipeline(&topic, &database).start();
    database.wait_for_rows("my_table", 3);
    database.query("DROP TABLE my_table SYNC");
    topic.produce(1, &events::updates(6).split_off(3));
    database.wait_for_rows("my_table", 3);
    host.drain();
    assert_eq!(database.query("SELECT min(id), max(id), count() FROM my_table"), "3\t5\t3");
}

#[test]
fn a_view_over_the_table_gets_each_row_once() {
    let topic = Topic::new("tables_view.public.my_table", 1);
    topic.produce(1, &events::updates(1_000));
    let database = Database::new("tables_view");
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String, {LINEAGE}) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
    ));
    database.query("CREATE MATERIALIZED VIEW seen ENGINE = MergeTree ORDER BY id AS SELECT id FROM my_table");
    Host::pipeline(&topic, &database).args(["--batch-rows", "100", "--until-caught-up"]).succeed();
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM seen"), "1000\t1000");
}
