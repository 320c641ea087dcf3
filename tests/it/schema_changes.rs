//! Columns that come, go and change at the source while the host runs.

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Stack, Topic, wait_until};

const HOSTILE: &str = "tests/hostile";

/// A log of all changes.
fn log(topic: &Topic, database: &Database) -> Host {
    Host::pipeline(topic, database).transform("all_changes")
}

/// A mirror of the table, by its key.
fn mirror(topic: &Topic, database: &Database) -> Host {
    Host::pipeline(topic, database).transform(HOSTILE).args(["-p", "mode=keyed"])
}

/// A new row that has these columns besides its own.
fn wider(id: u64, more: &[(&str, Value)]) -> Record {
    let mut row = events::row(id, "new");
    for (name, value) in more {
        row[*name] = value.clone();
    }
    events::event("c", Value::Null, row)
}

fn column(database: &Database, table: &str, column: &str) -> String {
    database.query(&format!(
        "SELECT type FROM system.columns WHERE database = currentDatabase() AND table = '{table}' AND name = '{column}'"
    ))
}

#[test]
fn a_column_that_comes_while_the_host_runs_is_added_and_old_rows_are_null_there() {
    let topic = Topic::new("schema_add.public.my_table", 1);
    topic.produce(1, &[events::create(1, "old")]);
    let database = Database::new("schema_add");
    let host = mirror(&topic, &database).start();
    database.wait_for_rows("my_table", 1);
    // Both shapes in one batch, one after the other.
    let size = |size: i64| [("size", json!(size))];
    topic.produce(
        1,
        &[
            wider(2, &size(2)),
            events::create(3, "old"),
            wider(4, &[("size", json!(4)), ("odd `na\\me", json!("x"))]),
            events::create(5, "old"),
        ],
    );
    database.wait_for_rows("my_table", 5);
    let ended = host.drain();
    assert_eq!(
        database.lines("SELECT id, size, `odd \\`na\\\\me` FROM my_table_current ORDER BY id"),
        ["1\t\\N\t\\N", "2\t2\t\\N", "3\t\\N\t\\N", "4\t4\tx", "5\t\\N\t\\N"],
        "{ended:?}"
    );
    assert_eq!(column(&database, "my_table", "size"), "Nullable(Int64)");
    assert!(ended.err.contains("add column \"size\" as Nullable(Int64)"), "{ended:?}");
    assert!(!ended.err.contains("new rows do not have"), "nothing was dropped: {ended:?}");
    assert!(!database.has_table("_rowgate_dead_letters"));
}

#[test]
fn a_table_of_ones_own_gets_the_column_too() {
    let topic = Topic::new("schema_own.public.my_table", 1);
    topic.produce(1, &[wider(1, &[("size", json!(7))])]);
    let database = Database::new("schema_own");
    database.query("CREATE TABLE my_table (id Int64, name String, note String DEFAULT 'mine') ENGINE = MergeTree ORDER BY id");
    database.query("INSERT INTO my_table (id, name) VALUES (0, 'old')");
    log(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(
        database.lines("SELECT id, size, op, note FROM my_table ORDER BY id"),
        ["0\t\\N\t\tmine", "1\t7\tc\tmine"]
    );
}

/// The schema of a row whose column `n` has this type.
fn fields(ty: &str, optional: bool) -> Value {
    json!([
        {"field": "id", "type": "int32", "optional": false},
        {"field": "n", "type": ty, "optional": optional},
    ])
}

#[test]
fn a_column_is_widened_where_nothing_is_lost_and_a_key_is_not() {
    let topic = Topic::new("schema_widen.public.my_table", 1);
    let row = |id: u64, n: Value| json!({"id": id, "n": n});
    let create = |fields: &Value, row: Value| events::typed("c", fields, Value::Null, row);
    topic.produce(1, &[create(&fields("int32", false), row(1, json!(1)))]);
    let database = Database::new("schema_widen");
    let host = mirror(&topic, &database).start();
    database.wait_for_rows("my_table", 1);
    assert_eq!(column(&database, "my_table", "n"), "Int32");
    topic.produce(
        1,
        &[
            create(&fields("int64", false), row(2, json!(5_000_000_000_i64))),
            create(&fields("int32", false), row(3, json!(3))),
            create(&fields("int32", true), row(4, json!(null))),
        ],
    );
    database.wait_for_rows("my_table", 4);
    // The key grows at the source: it stays as it is here, and what does not fit is kept apart.
    let long_key = json!([
        {"field": "id", "type": "int64", "optional": false},
        {"field": "n", "type": "int32", "optional": true},
    ]);
    topic.produce(1, &[create(&long_key, row(5, json!(5))), create(&long_key, row(6_000_000_000, json!(6)))]);
    database.wait_for_rows("my_table", 5);
    let ended = host.drain();
    assert_eq!(
        database.lines("SELECT id, n FROM my_table_current ORDER BY id"),
        ["1\t1", "2\t5000000000", "3\t3", "4\t\\N", "5\t5"]
    );
    assert_eq!(column(&database, "my_table", "n"), "Nullable(Int64)");
    assert_eq!(column(&database, "my_table", "id"), "Int32");
    assert_eq!(ended.counters().rejected, 1);
    assert!(ended.err.contains("widen column \"n\" to Int64"), "{ended:?}");
}

#[test]
fn times_of_day_get_more_digits_and_keep_their_values_and_integers_stay() {
    let topic = Topic::new("schema_times.public.my_table", 1);
    let create = |name: &str, ty: &str, id: u64, t: i64| {
        let fields = json!([
            {"field": "id", "type": "int32", "optional": false},
            {"field": "t", "type": ty, "name": format!("io.debezium.time.{name}"), "optional": false},
        ]);
        events::typed("c", &fields, Value::Null, json!({"id": id, "t": t}))
    };
    let database = Database::new("schema_times");
    let own = Database::new("schema_times_own");
    own.query("CREATE TABLE my_table (id Int32, t Int64) ENGINE = MergeTree ORDER BY id");
    topic.produce(1, &[create("Time", "int32", 1, 3_723_004), create("Time", "int32", 2, 86_399_999)]);
    let host = mirror(&topic, &database).start();
    database.wait_for_rows("my_table", 2);
    assert_eq!(column(&database, "my_table", "t"), "Time64(3)");
    topic.produce(1, &[create("MicroTime", "int64", 3, 1), create("Time", "int32", 4, 5)]);
    database.wait_for_rows("my_table", 4);
    assert_eq!(column(&database, "my_table", "t"), "Time64(6)");
    topic.produce(
        1,
        &[create("NanoTime", "int64", 5, 86_399_999_999_999), create("MicroTime", "int64", 6, 7)],
    );
    database.wait_for_rows("my_table", 6);
    let ended = host.drain();
    assert_eq!(column(&database, "my_table", "t"), "Time64(9)");
    assert_eq!(
        database.lines("SELECT id, t FROM my_table_current ORDER BY id"),
        [
            "1\t01:02:03.004000000",
            "2\t23:59:59.999000000",
            "3\t00:00:00.000001000",
            "4\t00:00:00.005000000",
            "5\t23:59:59.999999999",
            "6\t00:00:00.000007000",
        ],
        "{ended:?}"
    );
    assert_eq!(ended.counters().rejected, 0);
    // Where somebody has integers, they stay: microseconds, and what is finer is kept apart.
    let ended = log(&topic, &own).arg("--until-caught-up").succeed();
    assert_eq!(column(&own, "my_table", "t"), "Int64");
    assert_eq!(
        own.lines("SELECT id, t FROM my_table ORDER BY id"),
        ["1\t3723004000", "2\t86399999000", "3\t1", "4\t5000", "6\t7"]
    );
    assert_eq!(ended.counters().rejected, 1);
}

#[test]
fn columns_can_be_left_out_and_are_counted() {
    let topic = Topic::new("schema_ignore.public.my_table", 1);
    topic.produce(1, &[events::create(1, "old")]);
    let database = Database::new("schema_ignore");
    let host = || log(&topic, &database).args(["--schema-changes", "ignore", "--until-caught-up"]);
    host().succeed();
    topic.produce(
        1,
        &[wider(2, &[("size", json!(2))]), wider(3, &[("size", json!(3))]), events::create(4, "old")],
    );
    let ended = host().succeed();
    assert_eq!(database.count("my_table"), 4);
    assert_eq!(column(&database, "my_table", "size"), "");
    assert!(ended.out.contains("rows without new columns 2"), "{ended:?}");
    assert_eq!(
        ended.err.lines().filter(|line| line.contains("column size is left out")).count(),
        1,
        "{ended:?}"
    );
}

#[test]
fn a_new_column_can_stop_the_host_which_says_the_statement() {
    let topic = Topic::new("schema_stop.public.my_table", 1);
    topic.produce(1, &[events::create(1, "old")]);
    let database = Database::new("schema_stop");
    let host = || log(&topic, &database).args(["--schema-changes", "stop", "--until-caught-up"]);
    host().succeed();
    topic.produce(1, &[wider(2, &[("size", json!(2))])]);
    let statement = "ALTER TABLE `schema_stop`.`my_table` ADD COLUMN IF NOT EXISTS `size` Nullable(Int64)";
    host().run().fails(2, &["has no column \"size\"", statement]);
    database.query(statement);
    host().succeed();
    assert_eq!(database.lines("SELECT id, size FROM my_table ORDER BY id"), ["1\t\\N", "2\t2"]);
}

#[test]
fn a_dry_run_changes_no_table() {
    let topic = Topic::new("schema_dry.public.my_table", 1);
    topic.produce(1, &[events::create(1, "old")]);
    let database = Database::new("schema_dry");
    log(&topic, &database).arg("--until-caught-up").succeed();
    topic.produce(1, &[wider(2, &[("size", json!(2))])]);
    let ended = log(&topic, &database).args(["--dry-run", "--print", "--until-caught-up"]).succeed();
    assert!(ended.out.contains("\"size\":2"), "{ended:?}");
    assert_eq!(column(&database, "my_table", "size"), "");
}

#[test]
fn a_column_that_is_gone_at_the_source_stays_and_is_told_once() {
    let topic = Topic::new("schema_gone.public.my_table", 1);
    let both = json!([
        {"field": "id", "type": "int32", "optional": false},
        {"field": "n", "type": "int32", "optional": true},
    ]);
    let one = json!([{"field": "id", "type": "int32", "optional": false}]);
    let create = |fields: &Value, row: Value| events::typed("c", fields, Value::Null, row);
    topic.produce(1, &[create(&both, json!({"id": 1, "n": 1}))]);
    let database = Database::new("schema_gone");
    let host = mirror(&topic, &database).start();
    database.wait_for_rows("my_table", 1);
    topic.produce(1, &[create(&one, json!({"id": 2}))]);
    database.wait_for_rows("my_table", 2);
    topic.produce(1, &[create(&one, json!({"id": 3}))]);
    database.wait_for_rows("my_table", 3);
    let ended = host.drain();
    assert_eq!(
        database.lines("SELECT id, n FROM my_table_current ORDER BY id"),
        ["1\t1", "2\t\\N", "3\t\\N"]
    );
    let told = ended.err.lines().filter(|line| line.contains("new rows do not have the columns n"));
    assert_eq!(told.count(), 1, "{ended:?}");
}

#[test]
fn two_hosts_that_add_the_same_columns_at_once_both_go_on() {
    const PARTITIONS: i32 = 4;
    const SHAPES: u64 = 8;
    let topic = Topic::new("schema_race.public.my_table", PARTITIONS);
    let database = Database::new("schema_race");
    let start = || {
        let host = mirror(&topic, &database).args(["--batch-rows", "5"]).start();
        host.wait_for_line("partition assigned");
        host
    };
    let hosts = [start(), start()];
    // Each shape has one column more than the one before it, and comes to all partitions at once.
    let mut records = Vec::new();
    for shape in 0..SHAPES {
        for at in 0..PARTITIONS as u64 * 6 {
            let more: Vec<String> = (0..=shape).map(|number| format!("more_{number}")).collect();
            let more: Vec<(&str, Value)> = more.iter().map(|name| (name.as_str(), json!(shape))).collect();
            records.push(wider(shape * 1_000 + at, &more));
        }
    }
    topic.produce(PARTITIONS, &records);
    wait_until("all rows", || database.count("my_table_current") == records.len() as u64);
    let written: u64 = hosts.map(|host| host.drain().counters().rows).into_iter().sum();
    assert_eq!(written, records.len() as u64);
    for shape in 0..SHAPES {
        assert_eq!(
            database.query(&format!("SELECT count(), min(more_{shape}), max(more_{shape}) FROM my_table_current WHERE more_{shape} IS NOT NULL")),
            format!("{}\t{shape}\t{}", (SHAPES - shape) * PARTITIONS as u64 * 6, SHAPES - 1)
        );
    }
    assert!(!database.has_table("_rowgate_dead_letters"));
}

#[test]
fn a_range_whose_insert_was_cut_off_after_the_column_came_lands_once() {
    let stack = Stack::shared();
    let topic = Topic::new("schema_replay.public.my_table", 1);
    topic.produce(1, &[events::create(0, "old")]);
    let database = Database::new("schema_replay");
    let host = || log(&topic, &database).args(["-X", "group.instance.id=schema_replay", "--until-caught-up"]);
    host().succeed();
    let records: Vec<Record> = (1..100)
        .map(|id| if id % 2 == 0 { wider(id, &[("size", json!(id))]) } else { events::create(id, "old") })
        .collect();
    topic.produce(1, &records);
    let matching = "INSERT INTO .schema_replay.\\..my_table.";
    stack.arm(matching, json!({"kind": "delay_response", "seconds": 30}));
    let running = host().set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(matching) == 0);
    database.wait_for_rows("my_table", 2);
    running.kill();
    let ended = host().succeed();
    assert_eq!(database.doubled("my_table"), [""; 0]);
    assert_eq!(
        database.query("SELECT count(), countIf(size = id), countIf(size IS NULL) FROM my_table"),
        "100\t49\t51",
        "{ended:?}"
    );
}
