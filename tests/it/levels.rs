//! The levels of guarantee: each table is found to be at its own, for the reason that there is, and `host doctor`
//! says the same without running.

use serde_json::{Value, json};

use crate::support::events;
use crate::support::{Database, Ended, Host, Stack, Topic, wait_until};

const COLUMNS: &str = "id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String";
const LINEAGE: &str = "_topic LowCardinality(String), _partition UInt32, _offset UInt64, _seq UInt16";
const WINDOW: &str = "SETTINGS non_replicated_deduplication_window = 100";

fn my_table(database: &Database, columns: &str, engine: &str) {
    database.query(&format!("CREATE TABLE my_table ({columns}) ENGINE = {engine}"));
}

/// A topic with a hundred updates, and a database, of one name.
fn loaded(name: &str) -> (Topic, Database) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &events::updates(100));
    (topic, Database::new(name))
}

/// Runs a pipeline to its end in batches of ten records.
fn run(topic: &Topic, database: &Database) -> Ended {
    Host::pipeline(topic, database).args(["--batch-rows", "10", "--until-caught-up"]).succeed()
}

fn doctor(topic: &Topic, database: &Database) -> Host {
    Host::new().arg("doctor").args([
        "--brokers",
        Stack::shared().brokers(),
        "--topic",
        &topic.name,
        "--clickhouse-url",
        database.server.url(),
        "--database",
        &database.name,
        "--name",
        &database.name,
    ])
}

/// The checks that `host doctor` makes, as objects.
fn checks(topic: &Topic, database: &Database) -> Vec<Value> {
    let said = doctor(topic, database).arg("--json").succeed().out;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    said["checks"].as_array().expect("a list").clone()
}

/// The level that `host doctor` finds of a table.
fn doctors_level(topic: &Topic, database: &Database, table: &str) -> String {
    let checks = checks(topic, database);
    let check = checks.iter().find(|check| check["table"] == table);
    let check = check.unwrap_or_else(|| panic!("the doctor says nothing of {table}: {checks:?}"));
    check["level"].as_str().expect("a letter").to_owned()
}

/// Checks that the log, the end and the doctor say this level of `my_table`.
fn is_at(level: &str, topic: &Topic, database: &Database, ended: &Ended) {
    let end = ended.out.lines().find(|line| line.starts_with("level ")).expect("a level at the end");
    assert!(end.split_whitespace().nth(1) == Some(level) && end.ends_with("of my_table"), "{end}");
    assert!(ended.err.contains(&format!("level={level}")), "{ended:?}");
    assert_eq!(doctors_level(topic, database, "my_table"), level);
}

/// What the log says is to be done for a higher level; none where it says nothing.
fn advice(ended: &Ended) -> Option<String> {
    let line = ended.err.lines().find(|line| line.contains("less is guaranteed"))?;
    let help = &line[line.find("help=\"")? + "help=\"".len()..];
    Some(help[..help.find('"')?].to_owned())
}

#[test]
fn a_table_that_the_host_makes_is_at_level_a() {
    let (topic, database) = loaded("levels_a");
    let ended = run(&topic, &database);
    is_at("A", &topic, &database, &ended);
    assert_eq!(advice(&ended), None);
}

#[test]
fn a_table_without_a_window_is_at_level_b_until_the_statement_that_is_told_was_run() {
    let (topic, database) = loaded("levels_b");
    my_table(&database, &format!("{COLUMNS}, {LINEAGE}"), "MergeTree ORDER BY id");
    let ended = run(&topic, &database);
    is_at("B", &topic, &database, &ended);
    database.query(&advice(&ended).expect("an advice"));
    assert_eq!(doctors_level(&topic, &database, "my_table"), "A");
}

#[test]
fn a_server_without_tokens_gives_level_b() {
    let topic = Topic::new("levels_old.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::on_old("levels_old");
    let ended = run(&topic, &database);
    is_at("B", &topic, &database, &ended);
    assert!(ended.err.contains("too old to know deduplication tokens"), "{ended:?}");
}

#[test]
fn a_view_whose_table_forgets_tokens_takes_level_a_away_at_whatever_remove() {
    let (topic, database) = loaded("levels_view");
    my_table(&database, &format!("{COLUMNS}, {LINEAGE}"), &format!("MergeTree ORDER BY id {WINDOW}"));
    database.query(&format!("CREATE TABLE seen (id Int64) ENGINE = MergeTree ORDER BY id {WINDOW}"));
    database.query("CREATE MATERIALIZED VIEW first TO seen AS SELECT id FROM my_table");
    assert_eq!(doctors_level(&topic, &database, "my_table"), "A");
    database.query("CREATE MATERIALIZED VIEW second ENGINE = MergeTree ORDER BY id AS SELECT id FROM seen");
    let ended = run(&topic, &database);
    is_at("B", &topic, &database, &ended);
    assert!(ended.err.contains("its view levels_view.second writes to"), "{ended:?}");
    database.query(&advice(&ended).expect("an advice"));
    assert_eq!(doctors_level(&topic, &database, "my_table"), "A");
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM second"), "100\t100");
}

#[test]
fn a_table_with_a_key_is_at_level_c() {
    let (topic, database) = loaded("levels_key");
    let ended = Host::pipeline(&topic, &database).transform("mirror").arg("--until-caught-up").succeed();
    is_at("C", &topic, &database, &ended);
}

/// The answers to two inserts of ten are lost after the server applied them.
fn with_lost_answers(topic: &Topic, database: &Database) -> Ended {
    let stack = Stack::shared();
    let matching = format!("INSERT INTO .{}.\\..my_table.", database.name);
    stack.arm(&matching, json!({"kind": "drop_response", "count": 2, "skip": 3}));
    let ended = Host::pipeline(topic, database)
        .set("--clickhouse-url", stack.faults_url())
        .args(["--batch-rows", "10", "--until-caught-up"])
        .succeed();
    assert_eq!(stack.armed(&matching), 0, "the fault did not fire");
    ended
}

/// A pipeline into a table without a window, of a hundred updates, whose fourth insert comes to the server three seconds
/// after it was sent: its sender gives it up at once, or is killed, and another host goes on.
fn with_a_late_insert(name: &str, kills: bool) {
    let (topic, database) = loaded(name);
    my_table(&database, &format!("{COLUMNS}, {LINEAGE}"), "MergeTree ORDER BY id");
    let stack = Stack::shared();
    let matching = format!("INSERT INTO .{name}.\\..my_table.");
    stack.arm(&matching, json!({"kind": "late", "wait": kills, "seconds": 3, "skip": 3}));
    let host = || {
        let instance = format!("group.instance.id={name}");
        Host::pipeline(&topic, &database).args(["--batch-rows", "10", "-X", &instance, "--until-caught-up"])
    };
    let first = host().set("--clickhouse-url", stack.faults_url());
    let ended = if kills {
        let running = first.start();
        wait_until("the insert", || stack.armed(&matching) == 0);
        running.kill();
        host().succeed()
    } else {
        first.succeed()
    };
    is_at("B", &topic, &database, &ended);
    wait_until("the late insert", || stack.none_is_late());
    database.has_updates_once("my_table", 100);
}

#[test]
fn an_insert_into_a_table_without_a_window_that_begins_after_it_was_looked_for_doubles_nothing() {
    with_a_late_insert("levels_late", false);
}

#[test]
fn an_insert_of_a_killed_host_that_begins_after_the_next_has_looked_doubles_nothing() {
    with_a_late_insert("levels_late_killed", true);
}

#[test]
fn a_table_that_replaces_rows_by_their_identity_is_at_level_c_and_read_with_final_has_each_once() {
    let (topic, database) = loaded("levels_identity");
    let order = "ReplacingMergeTree ORDER BY (_topic, _partition, _offset, _seq)";
    my_table(&database, &format!("{COLUMNS}, {LINEAGE}"), &format!("{order} {WINDOW}"));
    database.query("SYSTEM STOP MERGES my_table");
    let ended = with_lost_answers(&topic, &database);
    is_at("C", &topic, &database, &ended);
    assert!(
        database.count("my_table") > 100,
        "no attempt carries a token that a killed server could lose rows by"
    );
    database.has_updates_once("my_table FINAL", 100);
}

#[test]
fn a_table_that_can_neither_drop_nor_verify_is_at_level_d_and_retries_do_double_rows_there() {
    let (topic, database) = loaded("levels_d");
    my_table(&database, COLUMNS, "MergeTree ORDER BY id");
    let ended = with_lost_answers(&topic, &database);
    is_at("D", &topic, &database, &ended);
    assert_eq!(database.query("SELECT uniqExact(id) FROM my_table"), "100", "none is lost");
    assert!(database.count("my_table") > 100, "level D is called so for a reason");
    assert!(advice(&ended).expect("an advice").contains("ADD COLUMN `_offset`"), "{ended:?}");
}

#[test]
fn the_doctor_looks_at_everything_and_changes_nothing() {
    let (topic, database) = loaded("levels_doctor");
    let said = doctor(&topic, &database).args(["--audit", "table"]).succeed().out;
    for line in [
        "ok       kafka         1 broker(s)",
        "ok       topic         levels_doctor.public.my_table/0: offsets 0 to 100",
        "ok       group         rowgate-levels_doctor: it has no member and may not have run yet; 100 records are not done",
        "ok       clickhouse    ",
        "ok       table         my_table: it is not there yet, and is created when its first row comes",
        "ok       dead letters  the table _rowgate_dead_letters: it is not there yet",
        "ok       audit         the table _rowgate_audit: it is not there yet",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line:?} is not in\n{said}");
    }
    assert_eq!(database.query("SELECT count() FROM system.tables WHERE database = currentDatabase()"), "0");
    assert!(topic.committed("rowgate-levels_doctor").is_empty());

    topic.produce(1, &[events::text("no event")]);
    run(&topic, &database);
    let said = doctor(&topic, &database).succeed().out;
    for line in [
        "ok       table         my_table: level A (effectively exactly once): ",
        "warning  dead letters  1 dead letters of this pipeline are in _rowgate_dead_letters",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line:?} is not in\n{said}");
    }
    assert!(said.contains("; 0 records are not done"), "{said}");
}

#[test]
fn the_doctor_ends_with_the_code_that_a_run_would_end_with() {
    let (topic, database) = loaded("levels_codes");
    let away = doctor(&topic, &database).set("--clickhouse-url", "http://127.0.0.1:1").run();
    away.fails(3, &["1 of "]);
    assert!(away.out.contains("failed   clickhouse    ClickHouse at http://127.0.0.1:1/"), "{away:?}");
    let both = doctor(&topic, &database)
        .set("--clickhouse-url", "http://127.0.0.1:1")
        .args(["--transform", "nowhere.wasm"])
        .run();
    both.fails(2, &["2 of "]);

    topic.commit("rowgate-levels_codes", 0, 7, "v1;e=9;r=0011223344556677;a=0");
    let pending = doctor(&topic, &database).succeed().out;
    assert!(pending.contains("the range 7 to 9 was sealed by transform 0011223344556677"), "{pending}");
    topic.commit("rowgate-levels_codes", 0, 7, "of another program");
    doctor(&topic, &database).run().fails(2, &["1 of "]);
    topic.commit("rowgate-levels_codes", 0, 5, "");
    topic.delete_before(0, 10);
    let gone = doctor(&topic, &database).run();
    gone.fails(3, &["1 of "]);
    assert!(gone.out.contains("is at offset 5, and has 10 to 100"), "{gone:?}");
}
