//! Several hosts in one group, and partitions that come and go.

use crate::support::{Database, Host, Running, Topic, events, wait_until};

/// The shortest session that the broker allows: so long a killed host's partitions wait for their next owner.
const SESSION: [&str; 2] = ["-X", "session.timeout.ms=6000"];

/// Batches so small that there is work for minutes.
const SLOWLY: [&str; 2] = ["--batch-rows", "50"];

fn start(topic: &Topic, database: &Database, pace: &[&str]) -> Running {
    Host::pipeline(topic, database).args(SESSION).args(pace.iter().copied()).start()
}

#[test]
fn nothing_is_lost_or_doubled_when_hosts_of_a_group_come_are_killed_and_leave() {
    // Enough that the host that leaves has work left on an idle machine, too.
    const FIRST: u64 = 60_000;
    const UPDATES: u64 = 120_000;
    let topic = Topic::new("groups.public.my_table", 3);
    let updates = events::updates(UPDATES);
    topic.produce(3, &updates[..FIRST as usize]);
    let database = Database::new("groups");

    let first = start(&topic, &database, &SLOWLY);
    database.wait_for_rows("my_table", 100);
    // It takes over some partitions while their batches are under way.
    let second = start(&topic, &database, &SLOWLY);
    second.wait_for_line("partition assigned");
    first.wait_for_line("partition revoked");
    database.wait_for_rows("my_table", database.count("my_table") + 500);
    first.kill();
    // The last one is as fast as it can be, so that a busy machine gets done, too.
    let third = start(&topic, &database, &[]);
    third.wait_for_line("partition assigned");
    database.wait_for_rows("my_table", database.count("my_table") + 500);
    // Leaving in order hands everything over, of which there is something again.
    topic.produce(3, &updates[FIRST as usize..]);
    let rows = database.count("my_table");
    assert!(rows < UPDATES, "all {rows} rows were there before the host was told to leave");
    second.drain();
    database.wait_for_rows("my_table", UPDATES);
    wait_until("the last commit", || topic.is_done("rowgate-groups"));
    third.drain();
    database.has_updates_once("my_table", UPDATES);
}

#[test]
fn partitions_that_a_topic_gets_are_read_from_their_beginning() {
    let topic = Topic::new("groups_grow.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("groups_grow");
    let host =
        Host::pipeline(&topic, &database).args(["-X", "topic.metadata.refresh.interval.ms=500"]).start();
    database.wait_for_rows("my_table", 100);
    topic.grow(3);
    topic.produce(3, &events::updates(400).split_off(100));
    database.wait_for_rows("my_table", 400);
    host.drain();
    database.has_updates_once("my_table", 400);
    assert_eq!(database.query("SELECT uniqExact(_partition) FROM my_table"), "3");
}
