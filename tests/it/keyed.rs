//! Outputs with a key: what is read with FINAL is what the source has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Stack, Topic, assert_same, wait_until};

const HOSTILE: &str = "tests/hostile";

/// A host whose rule is the mode of the same name.
fn host(mode: &str, topic: &Topic, database: &Database) -> Host {
    Host::pipeline(topic, database).transform(HOSTILE).args([
        "-p",
        &format!("mode={mode}"),
        "--until-caught-up",
    ])
}

/// The source emptied the table.
fn truncate() -> Record {
    let mut record = events::event("t", Value::Null, Value::Null);
    record.key = None;
    record
}

/// The rows that are there now, as a reader sees them.
fn current(database: &Database) -> Vec<String> {
    database.lines("SELECT id, name FROM my_table_current ORDER BY id")
}

#[test]
fn the_newest_row_of_each_key_is_there_and_deleted_keys_are_not() {
    let topic = Topic::new("keyed_mirror.public.my_table", 1);
    topic.produce(
        1,
        &[
            events::create(1, "one"),
            events::create(2, "two"),
            events::update(1, "uno"),
            events::delete(2),
            events::tombstone(2),
            events::create(3, "three"),
            events::delete(3),
            events::create(3, "drei"),
        ],
    );
    let database = Database::new("keyed_mirror");
    let ended = host("keyed", &topic, &database).arg("--print").succeed();
    assert_eq!(current(&database), ["1\tuno", "3\tdrei"]);
    assert_eq!(database.lines("SELECT id FROM my_table FINAL ORDER BY id"), ["1", "3"]);
    assert_eq!((ended.counters().kept, ended.counters().rows), (7, 7));
    // A row of a key that leaves says nothing but its key, and where it comes from.
    assert_eq!(
        database.query(
            "SELECT name, created_at, _offset, _version FROM my_table WHERE id = 2 AND _is_deleted = 1"
        ),
        "\\N\t\\N\t3\t3"
    );
    assert!(ended.out.contains("removed my_table {\"id\":2,\"_topic\":"), "{ended:?}");
    assert_eq!(
        database.query(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'my_table'"
        ),
        "ReplacingMergeTree(_version, _is_deleted) ORDER BY (id) SETTINGS index_granularity = 8192"
    );
}

#[test]
fn a_transform_takes_rows_out_that_were_not_deleted() {
    let topic = Topic::new("keyed_leaves.public.my_table", 1);
    let records = [events::create(1, "one"), events::create(2, "two"), events::update(1, "gone")];
    topic.produce(1, &records);
    let database = Database::new("keyed_leaves");
    host("keyed_leaves", &topic, &database).succeed();
    assert_eq!(current(&database), ["2\ttwo"]);
}

/// An event of a topic whose events carry their schema: `name` is never null there, and no key.
fn typed(op: &str, before: Value, after: Value) -> Record {
    let columns = json!([
        {"field": "id", "type": "int32", "optional": false},
        {"field": "name", "type": "string", "optional": false},
        {"field": "created_at", "type": "int64", "optional": true, "name": "io.debezium.time.MicroTimestamp"},
    ]);
    events::typed(op, &columns, before, after)
}

#[test]
fn a_row_that_moves_to_another_key_leaves_the_one_that_it_had() {
    let topic = Topic::new("keyed_name.public.my_table", 1);
    let row = |id: u64, name: &str| events::row(id, name);
    topic.produce(
        1,
        &[
            typed("c", Value::Null, row(1, "a")),
            typed("c", Value::Null, row(2, "b")),
            typed("u", row(1, "a"), row(1, "c")),
            // The old key is taken by another row, and stays that one's.
            typed("c", Value::Null, row(3, "a")),
            typed("u", row(2, "b"), row(2, "b")),
            typed("c", Value::Null, row(4, "d")),
            typed("d", row(4, "d"), Value::Null),
        ],
    );
    let database = Database::new("keyed_name");
    let ended = host("keyed_name", &topic, &database).succeed();
    assert_eq!(
        database.lines("SELECT name, id FROM my_table_current ORDER BY name"),
        ["a\t3", "b\t2", "c\t1"],
        "{ended:?}"
    );
    // The update that moved its row made two.
    assert_eq!((ended.counters().kept, ended.counters().rows), (7, 8));
    assert_eq!(database.doubled("my_table"), [""; 0]);
}

#[test]
fn changes_that_do_not_say_which_key_a_row_had_are_kept_apart() {
    let topic = Topic::new("keyed_unknown.public.my_table", 1);
    let row = |id: u64, name: &str| events::row(id, name);
    topic.produce(
        1,
        &[
            typed("c", Value::Null, row(1, "a")),
            // What PostgreSQL sends by default: nothing, and nothing but the key at the source.
            typed("u", Value::Null, row(1, "b")),
            typed("d", json!({"id": 1, "name": "", "created_at": null}), Value::Null),
            typed("u", row(1, "a"), row(1, "a")),
        ],
    );
    let database = Database::new("keyed_unknown");
    let ended = host("keyed_name", &topic, &database).succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected), (2, 2), "{ended:?}");
    let letters = database
        .lines("SELECT offset, stage, reason FROM _rowgate_dead_letters ORDER BY offset FORMAT TSVRaw");
    for (letter, what) in letters.iter().zip(["1\ttransform\t", "2\ttransform\t"]) {
        assert!(
            letter.starts_with(what) && letter.contains("`name`") && letter.contains("REPLICA IDENTITY FULL"),
            "{letter}"
        );
    }
    assert_eq!(database.lines("SELECT name, id FROM my_table_current"), ["a\t1"]);
}

#[test]
fn a_key_that_may_be_null_is_refused_with_the_way_out() {
    let topic = Topic::new("keyed_null.public.my_table", 1);
    // Without a schema every column but the key may be null.
    topic.produce(1, &events::updates(2));
    let database = Database::new("keyed_null");
    let ended = host("keyed_name", &topic, &database).succeed();
    assert_eq!(ended.counters().rejected, 2);
    let reason = database.query("SELECT DISTINCT reason FROM _rowgate_dead_letters FORMAT TSVRaw");
    assert!(
        reason.contains("the key has \"name\", whose source may be null: leave it out of the key"),
        "{reason}"
    );
}

#[test]
fn of_two_rows_of_one_change_with_one_key_the_last_counts() {
    let topic = Topic::new("keyed_twice.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one"), events::create(2, "two"), events::delete(1)]);
    let database = Database::new("keyed_twice");
    let ended = host("keyed_twice", &topic, &database).succeed();
    assert_eq!(database.lines("SELECT id, name, copy FROM my_table_current"), ["2\ttwo\t1"]);
    assert_eq!(ended.counters().rows, 3);
    assert!(ended.out.contains("rows of a key twice 3"), "{ended:?}");
    let said = ended.err.lines().filter(|line| line.contains("with the same key: the last one counts"));
    assert_eq!(said.count(), 1, "{ended:?}");
}

/// Creates, updates and deletes of `ids` rows, one after the other, and what is there at their end.
fn history(ids: u64, changes: u64) -> (Vec<Record>, BTreeMap<u64, String>) {
    let mut rows = BTreeMap::new();
    let mut records = Vec::new();
    for change in 0..changes {
        // Each third time round a row is deleted; it comes again with the next.
        let id = change * 7_919 % ids;
        let name = format!("name {change}");
        let known = rows.contains_key(&id);
        match (known, (change / ids + id) % 3) {
            (false, _) => records.push(events::create(id, &name)),
            (true, 0) => {
                records.push(events::delete(id));
                records.push(events::tombstone(id));
                rows.remove(&id);
                continue;
            }
            (true, _) => records.push(events::update(id, &name)),
        }
        rows.insert(id, name);
    }
    (records, rows)
}

fn as_lines(rows: BTreeMap<u64, String>) -> Vec<String> {
    rows.into_iter().map(|(id, name)| format!("{id}\t{name}")).collect()
}

#[test]
fn what_is_read_is_what_the_source_has_though_clickhouse_is_killed_in_the_middle_of_inserts() {
    let (records, rows) = history(2_000, 80_000);
    let topic = Topic::new("keyed_kill.public.my_table", 1);
    topic.produce(1, &records);
    let stack = Stack::start(&["clickhouse"]);
    let database = Database::on(&stack, "keyed_kill");
    let host = Host::between(Stack::shared().brokers(), stack.clickhouse_url(), &database)
        .transform(HOSTILE)
        .args(["-p", "mode=keyed", "--topic", &topic.name, "--batch-rows", "200", "--until-caught-up"])
        .start();

    let last = || -> u64 {
        let answer = database.try_query("SELECT max(_offset) FROM my_table");
        answer.ok().and_then(|offset| offset.trim().parse().ok()).unwrap_or(0)
    };
    wait_until("the first rows", || last() > 0);
    for _ in 0..6 {
        let said = host.err.len();
        stack.run(&["kill", "clickhouse"]);
        host.wait_for_line_from("waiting for ClickHouse", said);
        stack.run(&["start", "clickhouse"]);
        let before = last();
        wait_until("more rows", || last() > before);
    }
    assert!(last() + 1_000 < records.len() as u64, "all rows were there before the last kill");

    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_same("what is there", &current(&database), &as_lines(rows));
    // Nothing was looked for: the same rows were sent again.
    assert!(!ended.err.contains("checked which rows"), "{ended:?}");
    assert!(topic.is_done("rowgate-keyed_kill"));
}

#[test]
fn what_is_read_is_what_the_source_has_though_hosts_are_killed() {
    let (records, rows) = history(500, 12_000);
    let topic = Topic::new("keyed_hosts.public.my_table", 1);
    topic.produce(1, &records);
    let database = Database::new("keyed_hosts");
    let host = || {
        host("keyed", &topic, &database).args(["--batch-rows", "100", "-X", "group.instance.id=keyed_hosts"])
    };
    for kill in 1..=4 {
        let running = host().start();
        running.wait_for_line("partition assigned");
        wait_until("more rows", || {
            let answer = database.try_query("SELECT max(_offset) FROM my_table");
            answer.ok().and_then(|offset| offset.trim().parse::<u64>().ok()) >= Some(kill * 1_500)
        });
        assert_eq!(running.kill().by_signal(), Some(9));
    }
    host().succeed();
    assert_same("what is there", &current(&database), &as_lines(rows));
}

#[test]
fn a_log_is_not_written_where_rows_replace_each_other() {
    let topic = Topic::new("keyed_refuses_log.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one"), events::update(1, "two")]);
    let database = Database::new("keyed_refuses_log");
    assert_eq!(host("keyed", &topic, &database).run().code(), Some(0));
    let log = Host::pipeline(&topic, &database).args(["--group", "log", "--until-caught-up"]).run();
    log.fails(2, &["keeps the newest row of each key, and the output has no key", "--table"]);
    assert_eq!(database.lines("SELECT id, name FROM my_table FINAL"), ["1\ttwo"]);
}

#[test]
fn a_table_of_ones_own_replaces_rows_or_is_refused_with_what_helps() {
    let columns =
        "id Int64, name Nullable(String), created_at Nullable(Int64), _version UInt64, _topic String";
    let deleted = "_is_deleted UInt8";
    for (number, (statement, refusal)) in [
        (format!("({columns}, {deleted}) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id"), None),
        (format!("({columns}, {deleted}) ENGINE = ReplacingMergeTree(_version) ORDER BY (id) PARTITION BY id % 3"), None),
        (format!("({columns}, {deleted}) ENGINE = MergeTree ORDER BY id"), Some("has the engine MergeTree")),
        (
            format!("({columns}, {deleted}) ENGINE = ReplacingMergeTree ORDER BY id"),
            Some("replaces rows by no version"),
        ),
        (
            format!("({columns}, {deleted}, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY id"),
            Some("replaces rows by `v`, not by _version"),
        ),
        (
            format!("({columns}, {deleted}) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY (id, _topic)"),
            Some("is sorted by (id, _topic)"),
        ),
        (
            format!("({columns}) ENGINE = ReplacingMergeTree(_version) ORDER BY id"),
            Some("ADD COLUMN _is_deleted UInt8"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("keyed_own_{number}");
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        topic.produce(1, &[events::create(1, "one"), events::create(2, "two"), events::delete(1)]);
        let database = Database::new(&name);
        database.query(&format!("CREATE TABLE my_table {statement}"));
        let ended = host("keyed", &topic, &database).run();
        match refusal {
            None => {
                assert_eq!(ended.code(), Some(0), "{ended:?}");
                assert_eq!(database.lines("SELECT id FROM my_table FINAL WHERE _is_deleted = 0"), ["2"]);
                assert!(!database.has_table("my_table_current"), "the user did not ask for it");
            }
            Some(reason) => ended.fails(2, &[reason, "and the output has the key (`id`)", "help: "]),
        }
    }
}

#[test]
fn a_server_that_remembers_blocks_drops_none_of_a_table_with_a_key() {
    let topic = Topic::new("keyed_window.public.my_table", 1);
    topic.produce(1, &events::updates(10));
    let database = Database::new("keyed_window");
    database.query(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(Int64), _version UInt64, \
         _is_deleted UInt8) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000",
    );
    database.query("SYSTEM STOP MERGES my_table");
    for round in 1..=3 {
        host("keyed", &topic, &database).succeed();
        // What a server remembers it may have lost: the same block comes again, and is taken again.
        assert_eq!(database.count("my_table"), round * 10);
        assert_eq!(database.query("SELECT count() FROM my_table FINAL"), "10");
        topic.commit("rowgate-keyed_window", 0, 0, "");
    }
}

#[test]
fn a_view_of_ones_own_stays_as_it_is() {
    let topic = Topic::new("keyed_view.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one")]);
    let database = Database::new("keyed_view");
    database.query("CREATE VIEW my_table_current AS SELECT 'mine' AS whose");
    host("keyed", &topic, &database).succeed();
    assert_eq!(database.query("SELECT * FROM my_table_current"), "mine");
    assert_eq!(database.query("SELECT id FROM my_table"), "1");
}

#[test]
fn a_truncate_stops_until_it_is_said_what_it_does() {
    let topic = Topic::new("keyed_truncate.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one"), events::create(2, "two")]);
    let database = Database::new("keyed_truncate");
    host("keyed", &topic, &database).succeed();
    topic.produce(
        1,
        &[events::create(3, "three"), truncate(), events::create(4, "four"), events::create(1, "uno")],
    );
    // Started anew, so that it meets the truncate without having seen a row, but for those of the batch.
    let stopped = || host("keyed", &topic, &database).run();
    stopped().fails(2, &["the source emptied the table my_table", "@3", "help: ", "--truncate"]);
    stopped().fails(2, &["the source emptied the table my_table"]);
    assert_eq!(current(&database), ["1\tone", "2\ttwo"]);

    let ended = host("keyed", &topic, &database).args(["--truncate", "truncate"]).succeed();
    assert_eq!(current(&database), ["1\tuno", "4\tfour"], "{ended:?}");
    assert_eq!(database.query("SELECT min(_offset) FROM my_table"), "4");
    assert_eq!(ended.counters().filtered, 1);
}

#[test]
fn a_truncate_that_comes_first_after_a_start_is_known_by_the_table() {
    let topic = Topic::new("keyed_first.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one")]);
    let database = Database::new("keyed_first");
    host("keyed", &topic, &database).succeed();
    topic.produce(1, &[truncate()]);
    host("keyed", &topic, &database).run().fails(2, &["the source emptied the table my_table"]);
    let ended = host("keyed", &topic, &database).args(["--truncate", "ignore"]).succeed();
    assert!(ended.out.contains("truncates ignored 1"), "{ended:?}");
    assert_eq!(current(&database), ["1\tone"]);
}

#[test]
fn a_truncate_takes_out_what_its_own_batch_wrote_before_it() {
    let topic = Topic::new("keyed_batch.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one"), truncate(), events::create(2, "two")]);
    let database = Database::new("keyed_batch");
    host("keyed", &topic, &database).args(["--truncate", "truncate"]).succeed();
    assert_eq!(current(&database), ["2\ttwo"]);
}

#[test]
fn a_truncate_has_no_order_against_other_partitions() {
    let topic = Topic::new("keyed_partitions.public.my_table", 2);
    topic.produce(2, &[events::create(1, "one"), events::create(2, "two"), truncate()]);
    let database = Database::new("keyed_partitions");
    let ended = host("keyed", &topic, &database).args(["--truncate", "truncate"]).run();
    ended.fails(2, &["has 2 partitions", "truncate: ignore"]);
}

#[test]
fn a_log_is_not_concerned_with_truncates() {
    let topic = Topic::new("keyed_log.public.my_table", 1);
    topic.produce(1, &[events::create(1, "one"), truncate()]);
    let database = Database::new("keyed_log");
    let ended = Host::pipeline(&topic, &database).transform("all_changes").arg("--until-caught-up").succeed();
    assert_eq!((ended.counters().kept, ended.counters().filtered), (1, 1));
}

#[test]
fn lines_show_what_leaves() {
    let records = [events::create(1, "one"), events::delete(1)];
    let file = crate::support::places::file("in.ndjson", events::lines("a.b.my_table", &records));
    let ended = Host::from_file(&file).transform(HOSTILE).args(["-p", "mode=keyed"]).succeed();
    let lines: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (&lines[0]["name"], &lines[0]["_is_deleted"], &lines[0]["_version"]),
        (&json!("one"), &json!(0), &json!(0))
    );
    assert_eq!(
        (&lines[1]["id"], &lines[1]["_is_deleted"], &lines[1]["_version"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(lines[1].get("name"), None);
}
