//! Topics that are deleted and made anew, and topics that get more partitions.

use serde_json::json;

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Running, Stack, Topic, wait_until};

const HOSTILE: &str = "tests/hostile";
const ENVIRONMENT: i32 = 3;
const USAGE: i32 = 2;

/// A host whose batches are cut alike in each run.
fn host(topic: &Topic, database: &Database) -> Host {
    Host::pipeline(topic, database).args(["--batch-rows", "20"])
}

/// Updates of the rows `first..end`; see [`events::updates`].
fn updates(first: u64, end: u64) -> Vec<Record> {
    events::updates(end).split_off(first as usize)
}

/// Checks that the updates of all rows below `end` are there once, and how many are of each epoch.
fn has_once(database: &Database, end: u64, epochs: &[&str]) {
    let sums = database.query(
        "SELECT count(), uniqExact(id), min(id), max(id), countIf(name = concat('name ', toString(id))) FROM my_table",
    );
    assert_eq!(sums, format!("{end}\t{end}\t0\t{}\t{end}", end - 1));
    let of_epoch =
        "SELECT _epoch, count(), uniqExact(_partition, _offset, _seq) FROM my_table GROUP BY 1 ORDER BY 1";
    assert_eq!(database.lines(of_epoch), epochs);
}

#[test]
fn rows_and_dead_letters_of_a_topic_that_was_made_anew_stand_beside_those_of_the_one_before() {
    let topic = Topic::new("epochs_log.public.my_table", 1);
    let bad = |what: &str| vec![events::text(what)];
    topic.produce(1, &[updates(0, 100), bad("old")].concat());
    let database = Database::new("epochs_log");
    let run = || host(&topic, &database).arg("--until-caught-up").succeed();
    run();
    let columns = "SELECT count() FROM system.columns WHERE database = currentDatabase() AND name IN ('_epoch', 'epoch') \
                   AND table != '_rowgate_topics'";
    assert_eq!(database.query(columns), "0", "a topic that was never made anew needs no epochs");

    topic.delete();
    topic.make_again(1);
    // Other records at the same offsets, in ranges of the same ends.
    topic.produce(1, &[updates(100, 200), bad("new")].concat());
    let ended = run();
    has_once(&database, 200, &["0\t100\t100", "1\t100\t100"]);
    assert!(ended.err.contains("the topic was deleted and made anew"), "{ended:?}");
    assert_eq!((ended.counters().kept, ended.counters().rows, ended.counters().rejected), (100, 100, 1));
    let letters = "SELECT epoch, offset, value FROM _rowgate_dead_letters ORDER BY epoch";
    assert_eq!(database.lines(letters), ["0\t100\told", "1\t100\tnew"]);
    assert_eq!(topic.committed("rowgate-epochs_log"), [(0, 101, "v1;n=1".to_owned())]);

    // The next start goes on where that one ended, and says nothing of it any more.
    topic.produce(1, &updates(200, 230));
    let ended = run();
    assert!(!ended.err.contains("made anew"), "{ended:?}");
    has_once(&database, 230, &["0\t100\t100", "1\t130\t130"]);
    let topics = "SELECT pipeline, topic, epoch, partitions FROM _rowgate_topics ORDER BY epoch";
    let line = |epoch: u16| format!("epochs_log\t{}\t{epoch}\t1", topic.name);
    assert_eq!(database.lines(topics), [line(0), line(1)]);
}

#[test]
fn of_a_key_the_state_in_the_topic_that_was_made_anew_wins() {
    let topic = Topic::new("epochs_keyed.public.my_table", 1);
    let old = (0..30).map(|number| events::update(number % 3, &format!("old {number}")));
    topic.produce(1, &old.collect::<Vec<_>>());
    let database = Database::new("epochs_keyed");
    let run = || {
        let host = host(&topic, &database).transform(HOSTILE);
        host.args(["-p", "mode=keyed", "--until-caught-up"]).succeed()
    };
    run();
    let current = || database.lines("SELECT id, name FROM my_table_current ORDER BY id");
    assert_eq!(current(), ["0\told 27", "1\told 28", "2\told 29"]);
    for round in 1..3 {
        topic.delete();
        topic.make_again(1);
        // At the smallest offsets, where the old states have greater ones.
        let name = format!("new {round}");
        topic.produce(1, &[events::update(0, &name), events::delete(1)]);
        run();
        assert_eq!(current(), [format!("0\t{name}"), "2\told 29".to_owned()]);
    }
    let versions = "SELECT bitShiftRight(_version, 48), bitAnd(_version, 0xffffffffffff) = _offset FROM my_table FINAL \
                    WHERE id = 0";
    assert_eq!(database.query(versions), "2\t1");
    assert_eq!(database.query("SELECT count() FROM system.columns WHERE table = 'my_table' AND name = '_epoch' AND database = currentDatabase()"), "0");
}

#[test]
fn a_range_of_a_topic_that_was_made_anew_is_finished_after_a_kill_whatever_stood_at_its_offsets() {
    let stack = Stack::shared();
    let topic = Topic::new("epochs_kill.public.my_table", 1);
    topic.produce(1, &updates(0, 100));
    let database = Database::new("epochs_kill");
    // A member with a name of its own is let in again at once when it was killed.
    let host = || host(&topic, &database).args(["-X", "group.instance.id=epochs_kill"]);
    host().arg("--until-caught-up").succeed();
    topic.delete();
    topic.make_again(1);
    topic.produce(1, &updates(100, 200));
    // The third insert lands, and the host is killed before it knows.
    let matching = "INSERT INTO .epochs_kill.\\..my_table.";
    stack.arm(matching, json!({"kind": "delay_response", "seconds": 30, "skip": 2}));
    let running = host().set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(matching) == 0);
    database.wait_for_rows("my_table", 160);
    running.kill();
    let [(_, 40, seal)] = &topic.committed("rowgate-epochs_kill")[..] else {
        panic!("{:?}", topic.committed("rowgate-epochs_kill"))
    };
    assert!(seal.starts_with("v1;e=59;r=") && seal.ends_with(";n=1"), "{seal}");
    let ended = host().arg("--until-caught-up").succeed();
    assert!(ended.err.contains("expected=20 missing=0"), "{ended:?}");
    has_once(&database, 200, &["0\t100\t100", "1\t100\t100"]);
}

/// A host that has read 100 records of a topic, of which it then sees nothing until it goes on.
fn halted(name: &str) -> (Topic, Database, Running) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &updates(0, 100));
    let database = Database::new(name);
    let running = host(&topic, &database).start();
    database.wait_for_rows("my_table", 100);
    wait_until("the last commit", || topic.is_done(&format!("rowgate-{name}")));
    running.signal("STOP");
    topic.delete();
    topic.make_again(1);
    (topic, database, running)
}

#[test]
fn a_topic_that_is_made_anew_under_a_host_stops_it_and_the_next_start_goes_on() {
    let (topic, database, running) = halted("epochs_under");
    topic.produce(1, &updates(100, 130));
    running.signal("CONT");
    running.wait().fails(
        ENVIRONMENT,
        &["epochs_under.public.my_table was deleted and made anew", "help: ", "start again", "epoch"],
    );
    let ended = host(&topic, &database).arg("--until-caught-up").succeed();
    assert!(ended.err.contains("the topic was deleted and made anew"), "{ended:?}");
    has_once(&database, 130, &["0\t100\t100", "1\t30\t30"]);
}

#[test]
fn a_host_whose_position_is_there_in_the_topic_that_was_made_anew_finds_that_out() {
    let (topic, _database, running) = halted("epochs_beyond");
    // More than the one before had: the position of the old topic is one of the new topic, too.
    topic.produce(1, &updates(100, 250));
    running.signal("CONT");
    running.wait().fails(ENVIRONMENT, &["epochs_beyond.public.my_table was deleted and made anew", "help: "]);
}

#[test]
fn a_position_of_the_topic_before_is_left_and_a_doubtful_one_stops_the_host() {
    let topic = Topic::new("epochs_commit.public.my_table", 1);
    topic.produce(1, &updates(0, 40));
    let database = Database::new("epochs_commit");
    let run = || host(&topic, &database).arg("--until-caught-up").run();
    assert_eq!(run().code(), Some(0));
    topic.delete();
    topic.make_again(1);
    topic.produce(1, &updates(40, 80));
    // What another program writes, or a host in epoch 0 just after the topic was made anew.
    topic.commit("rowgate-epochs_commit", 0, 10, "");
    run().fails(
        ENVIRONMENT,
        &["was made anew", "position 10 of epochs_commit.public.my_table/0", "--delete-offsets"],
    );
    assert_eq!(database.count("my_table"), 40);
    // A range that was being inserted when the topic went.
    topic.commit("rowgate-epochs_commit", 0, 10, "v1;e=29;r=0123456789abcdef;a=0");
    let ended = run();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(
        ended.err.contains("the committed position is of the topic before it was made anew"),
        "{ended:?}"
    );
    has_once(&database, 80, &["0\t40\t40", "1\t40\t40"]);
    // Where what was written down is gone, its positions tell.
    database.query("TRUNCATE TABLE _rowgate_topics");
    run().fails(ENVIRONMENT, &["is of epoch 1 of the topic", "_rowgate_topics"]);
}

#[test]
fn a_table_that_is_not_to_be_changed_stops_the_host_before_rows_that_could_not_be_told_apart() {
    let topic = Topic::new("epochs_fixed.public.my_table", 1);
    topic.produce(1, &updates(0, 40));
    let database = Database::new("epochs_fixed");
    let run = || host(&topic, &database).args(["--schema-changes", "stop", "--until-caught-up"]).run();
    assert_eq!(run().code(), Some(0));
    topic.delete();
    topic.make_again(1);
    topic.produce(1, &updates(40, 80));
    let statement =
        "ALTER TABLE `epochs_fixed`.`my_table` ADD COLUMN IF NOT EXISTS `_epoch` UInt16 DEFAULT 0";
    run().fails(USAGE, &["has no column _epoch", statement]);
    assert_eq!(database.count("my_table"), 40);
    database.query(statement);
    let ended = run();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    has_once(&database, 80, &["0\t40\t40", "1\t40\t40"]);
}

#[test]
fn a_start_at_the_latest_leaves_out_nothing_of_a_topic_that_was_made_anew_or_of_partitions_that_were_added() {
    let topic = Topic::new("epochs_latest.public.my_table", 1);
    let database = Database::new("epochs_latest");
    let run = || host(&topic, &database).args(["--start", "latest", "--until-caught-up"]).succeed();
    run();
    // Only what it has read something of is known.
    topic.produce(1, &updates(0, 10));
    run();
    topic.grow(2);
    topic.produce(2, &updates(10, 30));
    run();
    database.has_updates_once("my_table", 30);
    topic.delete();
    topic.make_again(1);
    topic.produce(1, &updates(30, 40));
    run();
    has_once(&database, 40, &["0\t30\t30", "1\t10\t10"]);
}

#[test]
fn a_topic_that_grew_is_warned_of_once_where_rows_have_keys() {
    const WARNING: &str = "the topic has got more partitions, and feeds rows with a key";
    let topic = Topic::new("epochs_grown.public.my_table", 1);
    topic.produce(1, &updates(0, 10));
    let (log, keyed) = (Database::new("epochs_grown_log"), Database::new("epochs_grown_keyed"));
    let run = |database: &Database| {
        let transform = if database.name == keyed.name { HOSTILE } else { "update_only" };
        let mode: &[&str] = if database.name == keyed.name { &["-p", "mode=keyed"] } else { &[] };
        let host = host(&topic, database).transform(transform).args(mode.iter().copied());
        host.arg("--until-caught-up").succeed()
    };
    let warned = |database: &Database| {
        let ended = run(database);
        let summed = [&ended.out, &ended.err].iter().any(|text| text.contains("grown topics   1\n"));
        assert_eq!(ended.err.contains(WARNING), summed, "{ended:?}");
        summed
    };
    assert_eq!((warned(&log), warned(&keyed)), (false, false));
    topic.grow(3);
    topic.produce(3, &updates(10, 40));
    assert_eq!((warned(&log), warned(&keyed)), (false, true));
    topic.produce(3, &updates(40, 70));
    assert_eq!((warned(&log), warned(&keyed)), (false, false));
    log.has_updates_once("my_table", 70);
    let topics = "SELECT epoch, partitions FROM _rowgate_topics ORDER BY partitions";
    assert_eq!(keyed.lines(topics), ["0\t1", "0\t3"]);
}

#[test]
fn a_topic_that_comes_back_while_its_host_runs_is_read_on_by_it() {
    let topic = Topic::new("epochs_back.public.my_table", 1);
    topic.produce(1, &updates(0, 100));
    let database = Database::new("epochs_back");
    let running = host(&topic, &database).args(["-X", "topic.metadata.refresh.interval.ms=500"]).start();
    database.wait_for_rows("my_table", 100);
    wait_until("the last commit", || topic.is_done("rowgate-epochs_back"));
    topic.delete();
    running.wait_for_line("partition revoked");
    topic.make_again(1);
    topic.produce(1, &updates(100, 130));
    database.wait_for_rows("my_table", 130);
    let ended = running.drain();
    assert!(ended.err.contains("the topic was deleted and made anew"), "{ended:?}");
    has_once(&database, 130, &["0\t100\t100", "1\t30\t30"]);
}
