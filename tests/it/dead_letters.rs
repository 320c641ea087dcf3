//! Records that cannot be processed: each is kept with its bytes and the reason, and the others land.

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Topic};

/// Five updates with two records between them that are no events.
fn records() -> Vec<Record> {
    let mut records = events::updates(5);
    records.insert(2, events::text("not json"));
    records.insert(4, events::event("x", Value::Null, events::row(9, "an unknown operation")));
    records
}

#[test]
fn they_go_to_a_table_by_default() {
    let topic = Topic::new("letters_table.public.my_table", 1);
    topic.produce(1, &records());
    let database = Database::new("letters_table");
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected), (5, 2));
    database.has_updates_once("my_table", 5);
    let letters = database.rows(
        "SELECT pipeline, topic, partition, offset, stage, key, value, reason, length(transform) AS digest, \
         abs(dateDiff('second', timestamp, now())) < 600 AS recent FROM _rowgate_dead_letters ORDER BY offset",
    );
    assert_eq!(letters.len(), 2);
    for (letter, (offset, record)) in letters.iter().zip([(2, &records()[2]), (4, &records()[4])]) {
        assert_eq!((&letter["pipeline"], &letter["topic"]), (&json!("letters_table"), &json!(topic.name)));
        assert_eq!((&letter["partition"], &letter["offset"]), (&json!(0), &json!(offset)));
        assert_eq!((&letter["key"], &letter["value"]), (&json!(record.key), &json!(record.value)));
        assert_eq!(
            (&letter["stage"], &letter["digest"], &letter["recent"]),
            (&json!("decode"), &json!(16), &json!(1))
        );
        assert_ne!(letter["reason"], "");
    }
}

#[test]
fn they_go_to_a_topic() {
    let topic = Topic::new("letters_topic.public.my_table", 1);
    topic.produce(1, &records());
    let letters = Topic::new("letters", 1);
    let database = Database::new("letters_topic");
    Host::pipeline(&topic, &database)
        .args(["--dead-letters", "topic:letters", "--until-caught-up"])
        .succeed();
    database.has_updates_once("my_table", 5);
    assert!(!database.has_table("_rowgate_dead_letters"));
    let kept = letters.records();
    assert_eq!(kept.len(), 2);
    for (letter, (offset, record)) in kept.iter().zip([(2, &records()[2]), (4, &records()[4])]) {
        assert_eq!(letter.key.as_deref(), record.key.as_deref().map(str::as_bytes));
        assert_eq!(letter.value.as_deref(), record.value.as_deref().map(str::as_bytes));
        let header =
            |name: &str| letter.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(header("rowgate.record"), Some(&*format!("{}/0@{offset}", topic.name)));
        assert_eq!(header("rowgate.stage"), Some("decode"));
        assert_eq!(header("rowgate.pipeline"), Some("letters_topic"));
        assert!(header("rowgate.reason").is_some_and(|reason| !reason.is_empty()));
    }
}

#[test]
fn a_topic_for_them_that_does_not_exist_stops_the_pipeline_before_their_positions_are_committed() {
    let topic = Topic::new("letters_nowhere.public.my_table", 1);
    topic.produce(1, &records());
    let database = Database::new("letters_nowhere");
    let ended = Host::pipeline(&topic, &database)
        .args(["--dead-letters", "topic:letters_that_are_nowhere", "--until-caught-up"])
        .run();
    ended.fails(3, &["letters_that_are_nowhere"]);
    assert!(!topic.is_done("rowgate-letters_nowhere"));

    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 5);
    assert_eq!(database.count("_rowgate_dead_letters"), 2);
}

#[test]
fn they_go_to_a_file() {
    let topic = Topic::new("letters_file.public.my_table", 1);
    topic.produce(1, &records());
    let database = Database::new("letters_file");
    let host =
        Host::pipeline(&topic, &database).args(["--dead-letters", "file:bad.ndjson", "--until-caught-up"]);
    let ended = host.succeed();
    database.has_updates_once("my_table", 5);
    let text = std::fs::read_to_string(ended.folder.join("bad.ndjson")).expect("the file");
    let letters: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0]["offset"], &letters[0]["stage"]), (&json!(2), &json!("decode")));
    assert_eq!(letters[0]["payload"], "not json");

    // The file can be fed in again, and fails in the same way.
    let again = Host::from_file(ended.folder.join("bad.ndjson")).succeed();
    assert_eq!(again.counters().rejected, 2);
}

#[test]
fn with_stop_the_first_of_them_ends_the_host_and_nothing_is_committed_past_it() {
    let topic = Topic::new("letters_stop.public.my_table", 1);
    topic.produce(1, &records());
    let database = Database::new("letters_stop");
    let host = || Host::pipeline(&topic, &database).args(["--dead-letters", "stop", "--until-caught-up"]);
    for _ in 0..2 {
        host().run().fails(
            4,
            &["letters_stop.public.my_table/0 offset 2 cannot be processed (decode)", "--dead-letters"],
        );
        let committed = topic.committed("rowgate-letters_stop");
        // Nothing is pending, so that a mended transform may go on from there.
        let is_before = |(_, offset, seal): &(i32, i64, String)| *offset <= 2 && seal.is_empty();
        assert!(committed.iter().all(is_before), "{committed:?}");
    }
    // Once it may go on, it does, and what had landed before is not doubled.
    host().set("--dead-letters", "table:kept").succeed();
    database.has_updates_once("my_table", 5);
    assert_eq!(database.count("kept"), 2);
}

#[test]
fn rows_that_clickhouse_refuses_are_found_and_the_others_land() {
    let topic = Topic::new("letters_refused.public.my_table", 1);
    let mut records = events::updates(1_000);
    for bad in [0, 333, 334, 999] {
        records[bad] = events::update(bad as u64, "forbidden");
    }
    topic.produce(1, &records);
    let database = Database::new("letters_refused");
    database.query(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String, \
         _topic String, _partition UInt32, _offset UInt64, _seq UInt16, _transform String, \
         CONSTRAINT allowed CHECK name != 'forbidden') ENGINE = MergeTree ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000",
    );
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected, ended.counters().rows), (996, 4, 996));
    assert_eq!(
        database.query("SELECT count(), uniqExact(id), countIf(name = 'forbidden') FROM my_table"),
        "996\t996\t0"
    );
    assert_eq!(
        database.query(
            "SELECT groupArray(offset), groupUniqArray(stage), countIf(reason LIKE '%VIOLATED_CONSTRAINT%') \
             FROM (SELECT * FROM _rowgate_dead_letters ORDER BY offset)"
        ),
        "[0,333,334,999]\t['insert']\t4"
    );
    assert!(topic.is_done("rowgate-letters_refused"));
}

#[test]
fn records_of_every_odd_form_are_kept_or_taken_and_never_end_the_host() {
    let topic = Topic::new("letters_odd.public.my_table", 1);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let values = [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "\"text\"",
        "1e400",
        "\u{0}",
        "{\"op\":\"u\"}",
        "{\"op\":\"u\",\"source\":{},\"after\":{}}",
        "{\"op\":\"u\",\"source\":{\"table\":\"t\"},\"after\":[]}",
        "{\"schema\":{},\"payload\":{}}",
        "{\"before\":null",
        &deep,
        "{\"op\":\"u\",\"op\":\"d\",\"source\":{\"table\":\"t\"},\"after\":{\"a\":1}}",
    ];
    let mut records: Vec<Record> = values.iter().map(|value| events::text(value)).collect();
    records.extend(events::updates(3));
    topic.produce(1, &records);
    let database = Database::new("letters_odd");
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(ended.counters().consumed, records.len() as u64);
    database.has_updates_once("my_table", 3);
    assert_eq!(database.count("_rowgate_dead_letters"), ended.counters().rejected);
}
