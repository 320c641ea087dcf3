//! How much memory the host takes where ClickHouse takes nothing.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::support::{BOUND, Database, Host, Stack, Topic, events, wait_for};

/// What docs/architecture.md ("Memory") says that the host stays below with the default settings.
const BOUND_MIB: u64 = 600;
/// A record's size, about.
const RECORD_BYTES: usize = 2_500;

/// Fills a topic with updates, compressed as they come from a producer that compresses: the n-th gives the row n
/// the name `name n`.
fn fill(topic: &Topic, partitions: i32, count: u64) {
    let text = events::update(0, "name 0").value.expect("a value");
    let (id, name) = ("\"id\":0,", "\"name 0\"");
    assert!(text.matches(id).count() == 1 && text.matches(name).count() == 1, "{text}");
    let padding = "what a row has besides, ".repeat(RECORD_BYTES.saturating_sub(text.len()) / 24);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", Stack::shared().brokers())
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .expect("a producer");
    for number in 0..count {
        let value = text
            .replace(id, &format!("\"id\":{number},\"padding\":\"{padding}\","))
            .replace(name, &format!("\"name {number}\""));
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic.name)
            .partition((number % partitions as u64) as i32)
            .payload(value.as_bytes());
        while let Err((_, full)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = full;
        }
    }
    producer.flush(BOUND).expect("the broker takes the records");
}

#[test]
fn a_host_whose_clickhouse_is_stalled_keeps_its_memory_and_its_place_in_the_group_and_goes_on_afterwards() {
    const PARTITIONS: i32 = 4;
    // More than the host may hold.
    const UPDATES: u64 = 120_000;
    let stack = Stack::shared();
    let topic = Topic::new("memory_stalled.public.my_table", PARTITIONS);
    fill(&topic, PARTITIONS, UPDATES);
    let database = Database::new("memory_stalled");
    let matching = "INSERT INTO .memory_stalled.";
    // Of all deliveries, for twice the time after which a member that does not poll loses its place.
    stack.arm(matching, json!({"kind": "hang", "seconds": 13, "skip": 1, "count": PARTITIONS}));
    let host = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .set("--linger-ms", "500")
        .args(["-X", "session.timeout.ms=6000", "-X", "max.poll.interval.ms=6000", "--until-caught-up"])
        .start();
    let mut stalled = None;
    let mut peak_kib = 0;
    wait_for("the host's end", || match host.peak_kib() {
        Some(peak) => {
            peak_kib = peak_kib.max(peak);
            if host.err.text().contains("waiting for ClickHouse") {
                stalled.get_or_insert(peak);
            }
            None
        }
        None => Some(()),
    });
    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(stack.armed(matching), 0);
    let stalled_mib = stalled.expect("ClickHouse was stalled") >> 10;
    println!("stalled: {stalled_mib} MiB, at the most: {} MiB", peak_kib >> 10);
    assert!(peak_kib >> 10 <= BOUND_MIB, "{} MiB, and {stalled_mib} MiB by the stall's end", peak_kib >> 10);
    // It kept its place.
    assert_eq!(ended.err.matches("partition assigned").count(), PARTITIONS as usize, "{ended:?}");
    assert!(!ended.err.contains("partition revoked"), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert!(topic.is_done("rowgate-memory_stalled"));
}
