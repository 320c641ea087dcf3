//! What delivery promises where nothing fails, or only the place for dead letters does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::support::{BOUND, Database, Host, Stack, Topic, events, places, wait_until};
use crate::tables::Server;

/// What the host says once it has asked which rows of an attempt with an unknown outcome are there.
const VERIFIED: &str = "checked which rows of an earlier attempt landed";

#[test]
fn positions_are_committed_while_records_without_rows_keep_coming() {
    let topic = Topic::new("delivery_filtered.public.my_table", 1);
    let database = Database::new("delivery_filtered");
    let host = Host::pipeline(&topic, &database).start();
    host.wait_for_line("partition assigned");
    // Never so long without a record that the host would take itself for idle; none of them makes a row.
    let sent = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", Stack::shared().brokers())
                .create()
                .expect("a producer");
            while !enough.load(Ordering::Relaxed) {
                let value = events::create(0, "filtered").value.expect("a value");
                let record: BaseRecord<'_, [u8], [u8]> =
                    BaseRecord::to(&topic.name).payload(value.as_bytes());
                producer.send(record).map_err(|(error, _)| error).expect("it is queued");
                sent.fetch_add(1, Ordering::Relaxed);
                producer.poll(Duration::from_millis(20));
            }
            producer.flush(BOUND).expect("the broker takes the records");
        });
        let is_committed = || {
            let committed = topic.committed("rowgate-delivery_filtered");
            committed.iter().any(|(_, offset, _)| *offset > 0)
        };
        let begin = Instant::now();
        // Far above the 5 s, and below what a busy machine needs to make the host idle for a moment.
        while !is_committed() && begin.elapsed() < Duration::from_secs(30) {}
        enough.store(true, Ordering::Relaxed);
        assert!(is_committed(), "nothing is committed after {} records", sent.load(Ordering::Relaxed));
    });
    let sent = sent.load(Ordering::Relaxed);
    wait_until("the last records", || topic.is_done("rowgate-delivery_filtered"));
    let ended = host.drain();
    assert_eq!((ended.counters().filtered, ended.counters().rows), (sent, 0));
    assert!(topic.is_done("rowgate-delivery_filtered"));
}

#[test]
fn batches_of_four_partitions_are_inserted_at_the_same_time_and_each_row_lands_once() {
    const UPDATES: u64 = 2_000;
    let stack = Stack::shared();
    let topic = Topic::new("delivery_together.public.my_table", 4);
    topic.produce(4, &events::updates(UPDATES));
    let database = Database::new("delivery_together");
    let matching = "INSERT INTO .delivery_together.";
    // Four inserts wait, each so long that none of them is over before all have begun.
    stack.arm(matching, json!({"kind": "hang", "seconds": 20, "skip": 4, "count": 4}));
    let host = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .args(["--batch-rows", "100", "--until-caught-up"])
        .start();
    wait_until("four inserts at the same time", || stack.armed(matching) == 0);
    assert!(!host.err.text().contains("waiting for ClickHouse"), "one was over before the last one began");
    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.counters().rows, UPDATES, "counted over all deliveries");
    database.has_updates_once("my_table", UPDATES);
    assert!(topic.is_done("rowgate-delivery_together"));
}

#[test]
fn a_table_that_merges_its_rows_is_not_verified_and_gets_the_retry_all_the_same() {
    let stack = Stack::shared();
    let columns = format!(
        "id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String, {}",
        Server::NEW.lineage()
    );
    for (name, engine) in [
        ("delivery_replacing", "ReplacingMergeTree ORDER BY id"),
        (
            "delivery_expires",
            "MergeTree ORDER BY id TTL toDateTime(assumeNotNull(created_at)) + INTERVAL 1 DAY",
        ),
    ] {
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        // Of each row three versions, which the server merges at once, or of old times, which it drops at once.
        let records: Vec<_> = (0..300).map(|number| events::update(number % 100, "newest")).collect();
        topic.produce(1, &records);
        let database = Database::new(name);
        let settings = "SETTINGS non_replicated_deduplication_window = 100";
        database.query(&format!("CREATE TABLE my_table ({columns}) ENGINE = {engine} {settings}"));
        let matching = format!("INSERT INTO .{name}.");
        stack.arm(&matching, json!({"kind": "drop_response", "count": 2}));
        let ended = Host::pipeline(&topic, &database)
            .set("--clickhouse-url", stack.faults_url())
            .arg("--until-caught-up")
            .succeed();
        assert_eq!(stack.armed(&matching), 0);
        assert!(ended.err.contains("retries cannot be verified"), "{ended:?}");
        assert!(!ended.err.contains(VERIFIED), "{ended:?}");
        assert!(topic.is_done(&format!("rowgate-{name}")));
        let (last, expected) = match name {
            "delivery_replacing" => ("FINAL", "100\t100\t100"),
            _ => ("", "0\t0\t0"),
        };
        let sums = "count(), uniqExact(id), countIf(name = 'newest')";
        assert_eq!(database.query(&format!("SELECT {sums} FROM my_table {last}")), expected, "{engine}");
    }
}

#[test]
fn a_dead_letter_that_clickhouse_refuses_stops_the_host_and_nothing_is_committed_past_it() {
    let stack = Stack::shared();
    let topic = Topic::new("delivery_letters.public.my_table", 1);
    let mut records = events::updates(30);
    records.insert(15, events::text("not an event"));
    topic.produce(1, &records);
    let database = Database::new("delivery_letters");
    let host = || Host::pipeline(&topic, &database).args(["--batch-rows", "10", "--until-caught-up"]);
    let matching = "INSERT INTO .delivery_letters.\\.._rowgate_dead_letters.";
    for (code, text) in [(27, "the server refuses a dead letter: code 27"), (62, "code 62"), (16, "code 16")]
    {
        stack.arm(matching, json!({"kind": "exception", "code": code}));
        let ended = host().set("--clickhouse-url", stack.faults_url()).run();
        ended.fails(3, &["_rowgate_dead_letters", text]);
        assert_eq!(stack.armed(matching), 0);
        // The rows of its batch stand there, and its range is sealed.
        let committed = topic.committed("rowgate-delivery_letters");
        assert!(matches!(&committed[..], [(0, 10, seal)] if !seal.is_empty()), "{committed:?}");
        assert_eq!(database.count("_rowgate_dead_letters"), 0);
    }
    host().succeed();
    database.has_updates_once("my_table", 30);
    assert_eq!(database.query("SELECT offset, value FROM _rowgate_dead_letters"), "15\tnot an event");
    assert!(topic.is_done("rowgate-delivery_letters"));
}

#[test]
fn of_a_change_of_several_rows_none_is_written_where_one_does_not_fit() {
    let topic = Topic::new("delivery_whole.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("delivery_whole");
    // Two rows of each change, with 0 and 1 in `copy`; the column holds no 1.
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(Int64), \
         copy Decimal(1, 1), {}) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100",
        Server::NEW.lineage()
    ));
    let ended = Host::pipeline(&topic, &database)
        .transform("tests/hostile")
        .args(["-p", "mode=fan_out", "--until-caught-up"])
        .succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected), (0, 20));
    assert_eq!(database.count("my_table"), 0, "half of a change was written");
    assert_eq!(
        database
            .query("SELECT count(), uniqExact(offset), countIf(stage = 'encode') FROM _rowgate_dead_letters"),
        "20\t20\t20"
    );
}

#[test]
fn lines_of_a_second_file_whose_numbers_begin_anew_are_told_to_lose_in_a_table_with_a_key() {
    let database = Database::new("delivery_files");
    let keyed = |number: u64, name: &str| {
        let row = json!({"id": number, "name": name, "created_at": events::CREATED_AT});
        events::event("u", Value::Null, row)
    };
    let run = |records: &[events::Record]| {
        let file = places::file("lines.ndjson", events::lines("delivery_files.public.my_table", records));
        Host::new()
            .args(["--input", &file, "--clickhouse-url", Stack::shared().clickhouse_url()])
            .args(["--database", &database.name])
            .transform("mirror")
            .succeed()
            .err
    };
    let told = "the table has rows of this topic up to offset 2";
    assert!(
        !run(&[keyed(1, "a"), keyed(2, "b"), keyed(3, "c")]).contains("the table has rows of this topic")
    );
    let log = run(&[keyed(3, "second file")]);
    assert_eq!(log.matches(told).count(), 1, "{log}");
    // What it speaks of.
    assert_eq!(database.query("SELECT name FROM my_table FINAL WHERE id = 3"), "c");
}
