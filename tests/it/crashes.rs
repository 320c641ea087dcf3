//! SIGKILL of the host in the middle of a load.

use std::time::Duration;

use serde_json::json;

use crate::support::events::{self, Record};
use crate::support::{Database, Ended, Host, Stack, Topic, wait_until};

const PARTITIONS: i32 = 3;
const UPDATES: u64 = 20_000;
const KILLS: u64 = 10;

/// Updates with other events between them, as they come from a source: each tenth record makes no row.
fn load() -> Vec<Record> {
    let mut records = Vec::new();
    for number in 0..UPDATES {
        records.push(events::update(number, &format!("name {number}")));
        match number % 30 {
            9 => records.push(events::create(number, "new")),
            19 => records.push(events::delete(number)),
            29 => records.push(events::tombstone(number)),
            _ => {}
        }
    }
    records
}

#[test]
fn nothing_is_lost_or_doubled_when_the_host_is_killed_ten_times_in_the_middle_of_a_load() {
    let topic = Topic::new("crashes.public.my_table", PARTITIONS);
    topic.produce(PARTITIONS, &load());
    let database = Database::new("crashes");
    // A member with a name of its own is let in again at once; another would wait for the dead one's session.
    let host = || {
        Host::pipeline(&topic, &database).args([
            "--batch-rows",
            "150",
            "--until-caught-up",
            "-X",
            "group.instance.id=crashes",
        ])
    };

    let mut logs = String::new();
    for kill in 0..KILLS {
        let running = host().start();
        running.wait_for_line("partition assigned");
        if kill % 2 == 0 {
            // Right after rows have become visible, before or while their position is committed.
            let rows = database.count("my_table") + 1 + kill * 90;
            database.wait_for_rows("my_table", rows);
        } else {
            // At any moment: while it fetches, transforms, seals, inserts or verifies.
            std::thread::sleep(Duration::from_millis(kill * 23));
        }
        let ended = running.kill();
        assert_eq!(ended.by_signal(), Some(9), "it ended before it was killed: {ended:?}");
        logs += &ended.err;
    }
    let rows = database.count("my_table");
    assert!(rows < UPDATES, "all {rows} rows were there before the last kill");
    logs += &host().succeed().err;

    database.has_updates_once("my_table", UPDATES);
    assert!(!database.has_table("_rowgate_dead_letters"));
    assert!(topic.is_done("rowgate-crashes"), "{:?}", topic.committed("rowgate-crashes"));
    // The kills did hit ranges that were sealed, and rows of them that had landed.
    assert!(logs.contains("a range was being inserted when the last owner stopped: it is checked first"));
    assert!(logs.contains("checked which rows of an earlier attempt landed"));
}

/// Kills a host with the transform `first` after the second of its inserts was applied and before it knows, and
/// returns how the next one with the transform `then` ends.
fn recovered_by_another(name: &str, first: &str, then: &str) -> (Database, Ended) {
    let stack = Stack::shared();
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    let records = (0..200).map(|number| match number % 2 {
        0 => events::update(number, &format!("name {number}")),
        _ => events::create(number, "new"),
    });
    topic.produce(1, &records.collect::<Vec<_>>());
    let database = Database::new(name);
    let host = || {
        Host::pipeline(&topic, &database).args([
            "--batch-rows",
            "100",
            "-X",
            &format!("group.instance.id={name}"),
            "--until-caught-up",
        ])
    };
    let matching = format!("INSERT INTO .{name}.\\..my_table.");
    stack.arm(&matching, json!({"kind": "delay_response", "seconds": 30, "skip": 1}));
    let running = host().transform(first).set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(&matching) == 0);
    database.wait_for_rows("my_table", if first == "all_changes" { 200 } else { 100 });
    running.kill();
    let ended = host().transform(then).run();
    (database, ended)
}

#[test]
fn a_range_that_one_transform_began_is_finished_by_the_next() {
    let (database, ended) = recovered_by_another("crashes_swap", "update_only", "all_changes");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.err.contains("this range was sealed by transform"), "{ended:?}");
    assert_eq!(database.doubled("my_table"), [""; 0]);
    // The first range by the first transform, the second by the second.
    assert_eq!(
        database
            .lines("SELECT _offset < 100 AS first, op, count() FROM my_table GROUP BY 1, 2 ORDER BY 1, 2"),
        ["0\tc\t50", "0\tu\t50", "1\tu\t50"]
    );
}

#[test]
fn rows_that_the_next_transform_would_not_make_stop_the_pipeline_with_the_reason() {
    let (database, ended) = recovered_by_another("crashes_fewer", "all_changes", "update_only");
    assert_ne!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.error().contains("the transform was changed in mid-range"), "{ended:?}");
    assert!(ended.error().contains("help: "), "it does not say what to do: {}", ended.error());
    assert_eq!(database.count("my_table"), 200);
}
