//! How long a run lasts, where it begins, and what it shows.

use std::time::{Duration, Instant};

use crate::support::{Database, Host, Stack, Topic, events};

#[test]
fn max_records_ends_it_after_so_many_and_the_next_start_goes_on_there() {
    let topic = Topic::new("bounds_max.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("bounds_max");
    for round in 1..=3 {
        let ended = Host::pipeline(&topic, &database).args(["--max-records", "30"]).succeed();
        assert_eq!((ended.counters().consumed, ended.counters().rows), (30, 30));
        assert_eq!(topic.committed("rowgate-bounds_max"), [(0, round * 30, String::new())]);
        database.has_updates_once("my_table", round as u64 * 30);
    }
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(ended.counters().consumed, 10);
    database.has_updates_once("my_table", 100);
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(ended.counters().consumed, 0);
}

#[test]
fn a_start_that_finds_the_group_at_the_end_ends_whatever_its_membership_has_come_to() {
    let topic = Topic::new("bounds_nothing.public.my_table", 2);
    topic.produce(2, &events::updates(10));
    let database = Database::new("bounds_nothing");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    // The end is seen while the group still hands out the partitions: sometimes before, sometimes after.
    for _ in 0..10 {
        let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
        assert_eq!(ended.counters().consumed, 0);
    }
}

#[test]
fn a_start_at_the_latest_of_an_empty_topic_keeps_its_place_there() {
    let topic = Topic::new("bounds_vacant.public.my_table", 1);
    let database = Database::new("bounds_vacant");
    // A host that ended before its group had given it the partition would keep none: sometimes it would.
    for group in 0..10 {
        let group = format!("bounds_vacant_{group}");
        Host::pipeline(&topic, &database)
            .args(["--group", &group, "--start", "latest", "--until-caught-up"])
            .succeed();
        assert_eq!(topic.committed(&group), [(0, 0, String::new())], "{group}");
    }
}

#[test]
fn a_topic_that_does_not_exist_is_not_caught_up_with() {
    let stack = Stack::shared();
    let host = Host::between(stack.brokers(), stack.clickhouse_url(), &Database::new("bounds_missing"));
    let began = Instant::now();
    let ended = host
        .args(["--topic", "bounds_missing.public.my_table", "--until-caught-up", "--for", "3s"])
        .succeed();
    assert!(began.elapsed() >= Duration::from_secs(3), "{ended:?}");
    assert!(ended.err.contains("the topic does not exist yet: waiting for it"), "{ended:?}");
}

#[test]
fn max_records_holds_for_several_partitions_together() {
    let topic = Topic::new("bounds_several.public.my_table", 3);
    topic.produce(3, &events::updates(90));
    let database = Database::new("bounds_several");
    let ended = Host::pipeline(&topic, &database).args(["--max-records", "40"]).succeed();
    assert_eq!((ended.counters().consumed, database.count("my_table")), (40, 40));
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 90);
}

#[test]
fn for_ends_it_after_that_time_with_everything_committed() {
    let topic = Topic::new("bounds_for.public.my_table", 1);
    topic.produce(1, &events::updates(10));
    let database = Database::new("bounds_for");
    let ended = Host::pipeline(&topic, &database).args(["--for", "3s"]).succeed();
    assert!((3_000..15_000).contains(&ended.took_ms), "it took {} ms", ended.took_ms);
    database.has_updates_once("my_table", 10);
    assert!(topic.is_done("rowgate-bounds_for"));
}

#[test]
fn a_dry_run_neither_inserts_nor_commits_nor_makes_a_table() {
    let topic = Topic::new("bounds_dry.public.my_table", 1);
    let mut records = events::updates(10);
    records.push(events::text("not an event"));
    topic.produce(1, &records);
    let database = Database::new("bounds_dry");
    let host = || Host::pipeline(&topic, &database).args(["--dry-run", "--print", "--until-caught-up"]);
    for _ in 0..2 {
        let ended = host().succeed();
        assert_eq!((ended.counters().consumed, ended.counters().rejected), (11, 1));
        assert_eq!(ended.out.matches("would write my_table {").count(), 10, "{ended:?}");
    }
    assert_eq!(database.lines("SHOW TABLES"), [""; 0]);
    assert_eq!(topic.committed("rowgate-bounds_dry"), []);
}

#[test]
fn print_shows_each_record_consumed_and_each_row_written() {
    let topic = Topic::new("bounds_print.public.my_table", 1);
    topic.produce(1, &[events::update(1, "Alice 5555"), events::create(2, "Bob"), events::tombstone(2)]);
    let database = Database::new("bounds_print");
    let ended = Host::pipeline(&topic, &database).args(["--print", "--until-caught-up"]).succeed();
    let lines: Vec<&str> = ended.out.lines().collect();
    let consumed: Vec<&&str> =
        lines.iter().filter(|line| line.starts_with("consumed bounds_print")).collect();
    assert_eq!(consumed.len(), 3, "{ended:?}");
    assert!(consumed[0].starts_with("consumed bounds_print.public.my_table/0@0 {"), "{ended:?}");
    assert_eq!(*consumed[2], "consumed bounds_print.public.my_table/0@2 null");
    let written: Vec<&&str> = lines.iter().filter(|line| line.starts_with("wrote ")).collect();
    assert_eq!(written.len(), 1, "{ended:?}");
    let row = written[0].strip_prefix("wrote my_table ").expect("the table's name");
    let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
    assert_eq!((&row["id"], &row["name"], &row["op"]), (&1.into(), &"Alice 5555".into(), &"u".into()));
    assert_eq!(row["created_at"], "2024-01-01 00:00:00.000000");
}

#[test]
fn show_last_prints_the_newest_rows_of_the_table() {
    let topic = Topic::new("bounds_last.public.my_table", 1);
    topic.produce(1, &events::updates(30));
    let database = Database::new("bounds_last");
    let ended = Host::pipeline(&topic, &database)
        .args(["--table", "renamed", "--show-last", "3", "--until-caught-up"])
        .succeed();
    assert!(ended.out.starts_with("id\tname\tcreated_at\top\t"), "{ended:?}");
    for (number, shown) in [(27, true), (28, true), (29, true), (26, false)] {
        assert_eq!(ended.out.contains(&format!("\tname {number}\t")), shown, "{ended:?}");
    }
    database.has_updates_once("renamed", 30);
}

#[test]
fn a_start_at_the_latest_leaves_out_what_was_there_and_takes_all_that_comes() {
    let topic = Topic::new("bounds_latest.public.my_table", 2);
    topic.produce(2, &events::updates(10));
    let database = Database::new("bounds_latest");
    let host = Host::pipeline(&topic, &database).args(["--start", "latest"]).start();
    host.wait_for_line("partition=0");
    host.wait_for_line("partition=1");
    topic.produce(2, &events::updates(14).split_off(10));
    database.wait_for_rows("my_table", 4);
    host.drain();
    assert_eq!(database.query("SELECT min(id), max(id), count() FROM my_table"), "10\t13\t4");
    // From then on the group's position counts, whatever the start says.
    topic.produce(2, &events::updates(16).split_off(14));
    Host::pipeline(&topic, &database).args(["--start", "latest", "--until-caught-up"]).succeed();
    assert_eq!(database.query("SELECT min(id), max(id), count() FROM my_table"), "10\t15\t6");
}

#[test]
fn a_start_at_the_latest_without_any_record_is_remembered() {
    let topic = Topic::new("bounds_remembered.public.my_table", 1);
    topic.produce(1, &events::updates(10));
    let database = Database::new("bounds_remembered");
    Host::pipeline(&topic, &database).args(["--start", "latest", "--until-caught-up"]).succeed();
    topic.produce(1, &events::updates(12).split_off(10));
    Host::pipeline(&topic, &database).args(["--start", "latest", "--until-caught-up"]).succeed();
    assert_eq!(database.query("SELECT min(id), count() FROM my_table"), "10\t2");
}

#[test]
fn an_expression_takes_the_topics_that_it_matches_and_no_others() {
    let topics = ["one", "two", "three"].map(|name| Topic::new(&format!("bounds_regex.{name}.my_table"), 2));
    for (number, topic) in topics.iter().enumerate() {
        topic.produce(2, &events::updates(10 * (number as u64 + 1)));
    }
    let database = Database::new("bounds_regex");
    let ended = Host::pipeline(&topics[0], &database)
        .set("--topic", "^bounds_regex[.](one|two)[.].*$")
        .arg("--until-caught-up")
        .succeed();
    assert_eq!(ended.counters().consumed, 30);
    assert_eq!(
        database.lines("SELECT _topic, count() FROM my_table GROUP BY 1 ORDER BY 1"),
        ["bounds_regex.one.my_table\t10", "bounds_regex.two.my_table\t20"]
    );
}

#[test]
fn several_topics_are_caught_up_with_where_some_are_empty() {
    let topics = ["full", "empty"].map(|name| Topic::new(&format!("bounds_empty.{name}.my_table"), 3));
    topics[0].produce(1, &events::updates(10));
    let database = Database::new("bounds_empty");
    Host::pipeline(&topics[0], &database).args(["--topic", &topics[1].name, "--until-caught-up"]).succeed();
    database.has_updates_once("my_table", 10);
}

#[test]
fn the_end_of_standard_input_ends_it() {
    let text = events::lines("a.b.my_table", &events::updates(3));
    let ended =
        Host::new().args(["--input", "-", "--output", "-"]).transform("update_only").input(text).succeed();
    assert_eq!((ended.counters().rows, ended.out.lines().count()), (3, 3));
}
