//! `host offsets`: looking at a group's positions, and moving them.

use serde_json::Value;

use crate::support::{Database, Ended, Host, Topic, events};

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

fn offsets(topic: &Topic, database: &Database, arguments: &[&str]) -> Ended {
    Host::pipeline(topic, database).arg("offsets").args(arguments.iter().copied()).run()
}

/// What `show` says of the first partition.
fn shown(topic: &Topic, database: &Database) -> Value {
    let ended = offsets(topic, database, &["show", "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let mut shown: Value = serde_json::from_str(&ended.out).expect("JSON");
    shown["partitions"][0].take()
}

fn caught_up(topic: &Topic, database: &Database) -> Ended {
    Host::pipeline(topic, database).arg("--until-caught-up").succeed()
}

/// What was recorded, without the time and who it was.
fn recorded(database: &Database) -> Vec<String> {
    assert_eq!(database.query("SELECT countIf(who = '') FROM _rowgate_offsets"), "0");
    database.lines(
        "SELECT action, before, after, skipped_first, skipped_last, pending, reason, outcome \
         FROM _rowgate_offsets ORDER BY topic, partition, ts, outcome",
    )
}

#[test]
fn a_gap_that_retention_made_is_skipped_on_request_and_recorded() {
    let topic = Topic::new("offsets_gone.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("offsets_gone");
    Host::pipeline(&topic, &database).args(["--max-records", "5"]).succeed();
    let place = format!("{}/0", topic.name);
    offsets(&topic, &database, &["skip", &place, "--yes"]).fails(USAGE, &["nothing holds up"]);

    topic.delete_before(0, 10);
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").run();
    ended.fails(ENVIRONMENT, &["host offsets skip"]);
    let at = shown(&topic, &database);
    assert_eq!(
        (&at["state"], &at["committed"], &at["low"], &at["high"]),
        (&"GONE".into(), &5.into(), &10.into(), &20.into())
    );
    // Nobody is asked, and nobody said yes; then only a look.
    offsets(&topic, &database, &["skip", &place]).fails(USAGE, &["--yes"]);
    let look = offsets(&topic, &database, &["skip", &place, "--dry-run"]);
    assert!(look.out.contains("5 -> 10") && look.out.contains("leaves out the offsets 5 to 9"), "{look:?}");
    assert_eq!(topic.committed("rowgate-offsets_gone"), [(0, 5, String::new())]);
    assert!(!database.has_table("_rowgate_offsets"));

    let ended = offsets(&topic, &database, &["skip", &place, "--yes", "--reason", "it's late"]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(
        recorded(&database),
        ["skip\t5\t10\t5\t9\t\tit\\'s late\tbegun", "skip\t5\t10\t5\t9\t\tit\\'s late\tdone"]
    );
    caught_up(&topic, &database);
    assert_eq!(
        database.query("SELECT count(), countIf(_offset < 5), countIf(_offset >= 10) FROM my_table"),
        "15\t5\t10"
    );
    assert_eq!(shown(&topic, &database)["state"], "ok");
}

#[test]
fn a_range_that_is_pending_is_skipped_on_request_and_recorded() {
    let topic = Topic::new("offsets_pending.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("offsets_pending");
    let seal = "v1;e=9;r=0123456789abcdef;a=0";
    topic.commit("rowgate-offsets_pending", 0, 5, seal);
    let at = shown(&topic, &database);
    assert_eq!(
        (&at["state"], &at["pending"]["last"], &at["lag"]),
        (&"pending".into(), &9.into(), &15.into())
    );
    let ended = offsets(&topic, &database, &["skip", &format!("{}/0", topic.name), "--yes"]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(recorded(&database)[1], format!("skip\t5\t10\t5\t9\t{seal}\t\tdone"));
    caught_up(&topic, &database);
    assert_eq!(database.query("SELECT count(), min(_offset) FROM my_table"), "10\t10");
}

#[test]
fn records_that_are_read_again_give_the_rows_that_are_missing_and_double_none() {
    let topic = Topic::new("offsets_back.public.my_table", 2);
    topic.produce(2, &events::updates(40));
    let database = Database::new("offsets_back");
    caught_up(&topic, &database);
    database.query("ALTER TABLE my_table DELETE WHERE id IN (3, 8) SETTINGS mutations_sync = 2");
    let ended = offsets(&topic, &database, &["set", &topic.name, "earliest", "--yes"]);
    assert!(ended.out.contains("reads the offsets 0 to 19 again"), "{ended:?}");
    assert_eq!(recorded(&database).len(), 4);
    // In other cuts than before, and with an end in between: what is known to be written lasts.
    let host = || Host::pipeline(&topic, &database).args(["--batch-rows", "7"]);
    host().args(["--max-records", "10"]).succeed();
    topic.produce(2, &events::updates(60).split_off(40));
    host().arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 60);
    assert!(topic.is_done("rowgate-offsets_back"), "{:?}", topic.committed("rowgate-offsets_back"));
}

#[test]
fn records_that_were_refused_and_are_read_again_give_no_second_dead_letter_and_the_rows_that_they_can() {
    let topic = Topic::new("offsets_letters.public.my_table", 1);
    let mut records = events::updates(20);
    records[3] = events::text("no event");
    topic.produce(1, &records);
    let database = Database::new("offsets_letters");
    caught_up(&topic, &database);
    // A letter of a record that is taken now, as after a mended transform.
    database.query(
        "INSERT INTO _rowgate_dead_letters (pipeline, topic, partition, offset, stage, reason) \
         SELECT pipeline, topic, partition, 4, stage, reason FROM _rowgate_dead_letters",
    );
    database.query("ALTER TABLE my_table DELETE WHERE _offset = 4 SETTINGS mutations_sync = 2");
    offsets(&topic, &database, &["set", &topic.name, "earliest", "--yes"]);
    caught_up(&topic, &database);
    assert_eq!(database.query("SELECT count(), uniqExact(_offset) FROM my_table"), "19\t19");
    assert_eq!(database.query("SELECT count() FROM _rowgate_dead_letters"), "2");
}

#[test]
fn nothing_is_moved_under_hosts_that_run_whichever_protocol_their_group_has() {
    for (name, protocol, said) in [
        ("offsets_classic", "classic", "rowgate at /127.0.0.1"),
        ("offsets_consumer", "consumer", "has live members"),
    ] {
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        topic.produce(1, &events::updates(20));
        let database = Database::new(name);
        let host = Host::pipeline(&topic, &database).args(["--group-protocol", protocol]).start();
        database.wait_for_rows("my_table", 20);
        let ended = offsets(&topic, &database, &["set", &topic.name, "0", "--yes"]);
        ended.fails(ENVIRONMENT, &[said, "stop all hosts of the group first"]);
        host.drain();
        assert!(topic.is_done(&format!("rowgate-{name}")));
        // With nobody in the group it works, by the same settings.
        let ended = offsets(&topic, &database, &["set", &topic.name, "0", "--yes"]);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}

#[test]
fn a_position_that_the_partition_does_not_have_is_refused() {
    let topic = Topic::new("offsets_range.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("offsets_range");
    offsets(&topic, &database, &["set", &topic.name, "21", "--yes"]).fails(USAGE, &["offsets 0 to 20"]);
    offsets(&topic, &database, &["set", "no_such_topic", "0", "--yes"]).fails(USAGE, &["no_such_topic"]);
    let file = Host::new().args(["offsets", "show", "--input", "changes.ndjson"]).run();
    file.fails(USAGE, &["no positions"]);
}
