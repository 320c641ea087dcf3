//! SIGTERM and SIGINT: the first drains, the second ends at once.

use serde_json::json;

use crate::support::{Database, Host, Stack, Topic, events, wait_until};

#[test]
fn the_first_signal_finishes_what_was_taken_in_commits_it_and_ends_with_0() {
    let topic = Topic::new("signals_drain.public.my_table", 2);
    topic.produce(2, &events::updates(3_000));
    let database = Database::new("signals_drain");
    let host = Host::pipeline(&topic, &database).args(["--batch-rows", "100"]).start();
    database.wait_for_rows("my_table", 1);
    let ended = host.drain();
    let counters = ended.counters();
    assert_eq!(database.count("my_table"), counters.rows);
    let committed = topic.committed("rowgate-signals_drain");
    assert_eq!(committed.iter().map(|(_, offset, _)| *offset as u64).sum::<u64>(), counters.consumed);
    assert!(committed.iter().all(|(_, _, pending)| pending.is_empty()), "{committed:?}");

    // The next start goes on there.
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 3_000);
}

#[test]
fn a_signal_that_comes_while_there_is_nothing_to_do_ends_it_at_once() {
    let topic = Topic::new("signals_idle.public.my_table", 1);
    let database = Database::new("signals_idle");
    for signal in ["INT", "TERM"] {
        let host = Host::pipeline(&topic, &database).start();
        host.wait_for_line("partition assigned");
        host.signal(signal);
        let ended = host.wait();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert!(ended.took_ms < 10_000, "it took {} ms", ended.took_ms);
    }
}

#[test]
fn the_second_signal_ends_it_at_once_and_the_next_start_loses_nothing() {
    let stack = Stack::shared();
    let topic = Topic::new("signals_second.public.my_table", 1);
    topic.produce(1, &events::updates(500));
    let database = Database::new("signals_second");
    // A member with a name of its own is let in again at once, though it left without a word.
    let host = || Host::pipeline(&topic, &database).args(["-X", "group.instance.id=signals_second"]);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let matching = format!("INSERT INTO .signals_second.|never {code}");
        stack.arm(&matching, json!({"kind": "hang", "seconds": 30}));
        let host = host().set("--clickhouse-url", stack.faults_url()).start();
        wait_until("the insert", || stack.armed(&matching) == 0);
        host.signal(signal);
        host.wait_for_line("draining");
        host.signal(signal);
        let ended = host.wait();
        assert_eq!(ended.code(), Some(code), "{ended:?}");
        assert!(ended.took_ms < 5_000, "it took {} ms", ended.took_ms);
    }
    host().arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 500);
}

#[test]
fn a_drain_that_clickhouse_holds_up_is_given_up_in_time_and_the_next_start_finishes_it() {
    let stack = Stack::shared();
    let topic = Topic::new("signals_stuck.public.my_table", 1);
    topic.produce(1, &events::updates(500));
    let database = Database::new("signals_stuck");
    let matching = "INSERT INTO .signals_stuck.";
    stack.arm(matching, json!({"kind": "status", "status": 429, "count": 1000}));
    let host = Host::pipeline(&topic, &database).set("--clickhouse-url", stack.faults_url()).start();
    host.wait_for_line("waiting for ClickHouse");
    host.signal("TERM");
    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.err.contains("the next start finishes them"), "{ended:?}");
    assert!(ended.took_ms < 30_000, "it took {} ms", ended.took_ms);
    assert_eq!(database.count("my_table"), 0);

    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 500);
}
