//! Servers that stop, die, or answer wrongly in the middle of a load: nothing is lost or doubled.

use serde_json::{Value, json};

use crate::support::{Database, Host, Running, Stack, Topic, events, wait_until};

/// What the host says once it has asked which rows of an attempt with an unknown outcome are there.
const VERIFIED: &str = "checked which rows of an earlier attempt landed";

/// A host that reads `topic` of the shared Kafka to its end, in batches of `batch_rows`.
fn start(topic: &Topic, clickhouse_url: &str, database: &Database, batch_rows: &str) -> Running {
    Host::between(Stack::shared().brokers(), clickhouse_url, database)
        .args(["--topic", &topic.name, "--batch-rows", batch_rows, "--until-caught-up"])
        .start()
}

#[test]
fn nothing_is_lost_or_doubled_when_clickhouse_stops_and_comes_back() {
    const UPDATES: u64 = 10_000;
    let topic = Topic::new("faults_stop.public.my_table", 2);
    topic.produce(2, &events::updates(UPDATES));
    let stack = Stack::start(&["clickhouse"]);
    let database = Database::on(&stack, "faults_stop");
    let host = start(&topic, stack.clickhouse_url(), &database, "100");

    database.wait_for_rows("my_table", 1);
    stack.run(&["stop", "clickhouse"]);
    host.wait_for_line("waiting for ClickHouse");
    stack.run(&["start", "clickhouse"]);

    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.counters().rows, UPDATES);
    database.has_updates_once("my_table", UPDATES);
    assert!(topic.is_done("rowgate-faults_stop"));
}

#[test]
fn nothing_is_lost_or_doubled_when_clickhouse_is_killed_ten_times_in_the_middle_of_inserts() {
    // Enough batches that none of the kills finds the work done.
    const UPDATES: u64 = 150_000;
    let topic = Topic::new("faults_kill.public.my_table", 1);
    topic.produce(1, &events::updates(UPDATES));
    let stack = Stack::start(&["clickhouse"]);
    let database = Database::on(&stack, "faults_kill");
    let host = start(&topic, stack.clickhouse_url(), &database, "250");

    database.wait_for_rows("my_table", 1);
    for _ in 0..10 {
        let said = host.err.len();
        stack.run(&["kill", "clickhouse"]);
        host.wait_for_line_from("waiting for ClickHouse", said);
        stack.run(&["start", "clickhouse"]);
        database.wait_for_rows("my_table", database.count("my_table") + 1);
    }
    let rows = database.count("my_table");
    assert!(rows < UPDATES, "all {rows} rows were there before the last kill");

    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert!(ended.err.contains(VERIFIED), "{ended:?}");
}

#[test]
fn nothing_is_lost_or_doubled_when_kafka_dies_and_comes_back() {
    const UPDATES: u64 = 10_000;
    let stack = Stack::start(&["kafka"]);
    let topic = Topic::on(&stack, "faults_kafka.public.my_table", 2);
    topic.produce(2, &events::updates(UPDATES / 2));
    let database = Database::new("faults_kafka");
    let host = Host::between(stack.brokers(), Stack::shared().clickhouse_url(), &database)
        .args(["--topic", &topic.name, "--batch-rows", "100"])
        .start();

    database.wait_for_rows("my_table", 1);
    stack.run(&["kill", "kafka"]);
    host.wait_for_line("no broker can be reached");
    stack.run(&["start", "kafka"]);
    // It goes on by itself with what was there, and with what comes.
    let rest: Vec<_> = events::updates(UPDATES).split_off(UPDATES as usize / 2);
    topic.produce(2, &rest);
    database.wait_for_rows("my_table", UPDATES);

    let ended = host.drain();
    database.has_updates_once("my_table", UPDATES);
    assert!(topic.is_done("rowgate-faults_kafka"), "{ended:?}");
}

/// Faults of one kind, one after the other, while a load is inserted; all of it must land once.
fn every_insert_lands_once(name: &str, faults: &[Value]) -> String {
    const UPDATES: u64 = 2_000;
    let stack = Stack::shared();
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &events::updates(UPDATES));
    let database = Database::new(name);
    let matching = format!("INSERT INTO .{name}.\\..my_table.");
    for fault in faults {
        let mut fault = fault.clone();
        // The first insert goes through, so that the table is an old one.
        fault["skip"] = json!(fault["skip"].as_u64().unwrap_or(1));
        stack.arm(&matching, fault);
    }
    let ended = start(&topic, stack.faults_url(), &database, "100").wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(stack.armed(&matching), 0, "a fault did not fire: {ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert!(!database.has_table("_rowgate_dead_letters"), "{ended:?}");
    assert!(topic.is_done(&format!("rowgate-{name}")));
    ended.err
}

#[test]
fn an_insert_whose_answer_is_lost_lands_once() {
    let log = every_insert_lands_once(
        "faults_answer",
        &[
            json!({"kind": "drop_response", "count": 2}),
            json!({"kind": "drop_response", "how": "close"}),
            json!({"kind": "half_response"}),
            json!({"kind": "half_response", "fraction": 0.1, "how": "reset"}),
            json!({"kind": "slow_response", "seconds": 0.5}),
        ],
    );
    assert!(log.contains(VERIFIED), "{log}");
}

#[test]
fn an_insert_whose_request_is_lost_lands_once() {
    let log = every_insert_lands_once(
        "faults_request",
        &[
            json!({"kind": "reset_request", "count": 2}),
            json!({"kind": "reset_request", "after_bytes": 1000}),
            json!({"kind": "hang", "seconds": 1}),
            json!({"kind": "status", "status": 503}),
        ],
    );
    assert!(log.contains(VERIFIED), "{log}");
}

#[test]
fn an_insert_that_a_proxy_refuses_for_a_while_lands_once() {
    let faults = [502, 503, 504].map(|status| json!({"kind": "status", "status": status, "count": 3}));
    every_insert_lands_once("faults_proxy", &faults);
}

#[test]
fn an_insert_for_which_the_server_has_no_memory_for_a_while_lands_once() {
    every_insert_lands_once("faults_memory", &[json!({"kind": "exception", "code": 241, "count": 8})]);
}

#[test]
fn an_insert_that_the_server_applies_late_lands_once() {
    let stack = Stack::shared();
    let late = stack.fault_counter("applied_late");
    let log = every_insert_lands_once("faults_late", &[json!({"kind": "late", "seconds": 2, "count": 2})]);
    assert!(log.contains(VERIFIED), "{log}");
    wait_until("the late inserts", || stack.fault_counter("applied_late") >= late + 2);
    Database { server: stack.clickhouse(), name: "faults_late".to_owned() }
        .has_updates_once("my_table", 2_000);
}

#[test]
fn an_insert_that_fails_with_status_200_lands_once() {
    let mut faults = Vec::new();
    for style in ["tagged", "plain", "header"] {
        // 241 asks for smaller parts, 210 for the same again.
        for code in [241, 210] {
            faults.push(json!({"kind": "exception_in_200", "style": style, "code": code}));
        }
    }
    every_insert_lands_once("faults_200", &faults);
}

#[test]
fn an_insert_that_fails_after_its_rows_were_written_lands_once() {
    let mut faults = Vec::new();
    for style in ["tagged", "plain", "header"] {
        for code in [210, 319, 241] {
            faults.push(json!({"kind": "exception_in_200", "style": style, "code": code, "apply": true}));
        }
    }
    let log = every_insert_lands_once("faults_applied", &faults);
    assert!(log.contains(VERIFIED), "{log}");
}

#[test]
fn an_insert_that_the_server_refuses_for_a_while_lands_once() {
    let codes = [159, 202, 210, 241, 242, 252, 319, 999];
    every_insert_lands_once("faults_codes", &codes.map(|code| json!({"kind": "exception", "code": code})));
}

#[test]
fn rows_that_the_server_acknowledged_by_their_token_and_lost_are_inserted_again() {
    const UPDATES: u64 = 500;
    let topic = Topic::new("faults_lost.public.my_table", 1);
    topic.produce(1, &events::updates(UPDATES));
    let stack = Stack::start(&["clickhouse", "faults"]);
    let database = Database::on(&stack, "faults_lost");
    // The second insert is applied and its answer lost; the host cannot look for its rows for a while.
    stack.arm("INSERT INTO .faults_lost.\\..my_table.", json!({"kind": "drop_response", "skip": 1}));
    stack.arm("SELECT toInt64", json!({"kind": "status", "status": 503, "count": 1000}));
    let host = start(&topic, stack.faults_url(), &database, "100");
    wait_until("the insert without an answer", || stack.armed("INSERT INTO .faults_lost.\\..my_table.") == 0);
    database.wait_for_rows("my_table", 200);
    host.wait_for_line("waiting for ClickHouse");
    // The server loses these rows, and keeps their token: as if it was killed between the two.
    database.query("DELETE FROM my_table WHERE _offset BETWEEN 100 AND 199");
    assert_eq!(database.count("my_table"), 100);
    stack.disarm();

    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
}

#[test]
fn dead_letters_whose_insert_has_an_unknown_outcome_are_kept_once() {
    let stack = Stack::shared();
    let topic = Topic::new("faults_letters.public.my_table", 1);
    let records: Vec<_> = (0..300).map(|number| events::text(&format!("not an event {number}"))).collect();
    topic.produce(1, &records);
    let database = Database::new("faults_letters");
    let matching = "INSERT INTO .faults_letters.\\.._rowgate_dead_letters.";
    stack.arm(matching, json!({"kind": "drop_response", "count": 3}));
    stack.arm(matching, json!({"kind": "reset_request", "count": 2}));
    let ended = start(&topic, stack.faults_url(), &database, "50").wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(stack.armed(matching), 0);
    assert_eq!(ended.counters().rejected, 300);
    assert_eq!(
        database.query("SELECT count(), uniqExact(offset), uniqExact(value) FROM _rowgate_dead_letters"),
        "300\t300\t300"
    );
}
