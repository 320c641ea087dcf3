//! Several hosts in one group, and partitions that come and go.

use crate::support::{Database, Host, Running, Topic, events, wait_until};

/// The shortest session that the broker allows: so long a killed host's partitions wait for their next owner.
const SESSION: [&str; 2] = ["-X", "session.timeout.ms=6000"];

/// Batches so small that there is work for minutes.
const SLOWLY: [&str; 2] = ["--batch-rows", "50"];

fn start(topic: &Topic, database: &Database, protocol: &[&str], pace: &[&str]) -> Running {
    Host::pipeline(topic, database).args(protocol.iter().copied()).args(pace.iter().copied()).start()
}

/// Hosts of a group come, are killed and leave, in the middle of updates of which half are there at the start.
fn come_are_killed_and_leave(name: &str, protocol: &[&str]) {
    // Enough that the host that leaves has work left on an idle machine, too.
    let (first_updates, all) = (60_000, 120_000);
    let topic = Topic::new(&format!("{name}.public.my_table"), 3);
    let updates = events::updates(all);
    topic.produce(3, &updates[..first_updates]);
    let database = Database::new(name);

    let first = start(&topic, &database, protocol, &SLOWLY);
    database.wait_for_rows("my_table", 100);
    // It takes over some partitions while their batches are under way.
    let second = start(&topic, &database, protocol, &SLOWLY);
    second.wait_for_line("partition assigned");
    first.wait_for_line("partition revoked");
    database.wait_for_rows("my_table", database.count("my_table") + 500);
    first.kill();
    // The last one is as fast as it can be, so that a busy machine gets done, too.
    let third = start(&topic, &database, protocol, &[]);
    third.wait_for_line("partition assigned");
    database.wait_for_rows("my_table", database.count("my_table") + 500);
    // Leaving in order hands everything over, of which there is something again.
    topic.produce(3, &updates[first_updates..]);
    let rows = database.count("my_table");
    assert!(rows < all, "all {rows} rows were there before the host was told to leave");
    second.drain();
    database.wait_for_rows("my_table", all);
    wait_until("the last commit", || topic.is_done(&format!("rowgate-{name}")));
    third.drain();
    database.has_updates_once("my_table", all);
}

#[test]
fn nothing_is_lost_or_doubled_when_hosts_of_a_group_come_are_killed_and_leave() {
    come_are_killed_and_leave("groups", &SESSION);
}

#[test]
fn nothing_is_lost_or_doubled_when_they_do_so_and_partitions_move_one_by_one() {
    let protocol = [SESSION[0], SESSION[1], "-X", "partition.assignment.strategy=cooperative-sticky"];
    come_are_killed_and_leave("groups_cooperative", &protocol);
}

#[test]
fn nothing_is_lost_or_doubled_when_they_do_so_and_the_broker_shares_out_the_partitions() {
    come_are_killed_and_leave("groups_broker", &["--group-protocol", "consumer"]);
}

#[test]
fn of_two_hosts_with_one_name_in_the_group_one_ends_with_the_reason_and_the_other_goes_on() {
    // The classic protocol gives the place to the new one, the other leaves it to the old one.
    for (name, protocol, old_ends) in
        [("groups_fenced", SESSION, true), ("groups_refused", ["--group-protocol", "consumer"], false)]
    {
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        let updates = events::updates(400);
        topic.produce(1, &updates[..200]);
        let database = Database::new(name);
        let host = || {
            let host = Host::pipeline(&topic, &database).args(protocol);
            host.args(["-X", "group.instance.id=one"]).start()
        };
        let old = host();
        database.wait_for_rows("my_table", 200);
        let new = host();
        let (ends, stays) = if old_ends { (old, new) } else { (new, old) };
        ends.wait().fails(3, &["with this host's group.instance.id", "a group.instance.id of its own"]);
        topic.produce(1, &updates[200..]);
        database.wait_for_rows("my_table", 400);
        stays.drain();
        database.has_updates_once("my_table", 400);
    }
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
