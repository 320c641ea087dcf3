//! Dead letters looked at, processed again, and put aside: `host dlq`.

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Stack, Topic, places, wait_until};

/// What the host says once it has asked which rows of an attempt are there.
const VERIFIED: &str = "checked which rows of an earlier attempt landed";
/// Updates of which the first ten fit the narrow table.
const UPDATES: u64 = 30;

/// A table for the rows of updates whose names are no longer than six bytes.
fn narrow(lineage: bool, key: bool) -> String {
    let columns = if lineage {
        ", _topic String, _partition UInt32, _offset UInt64, _seq UInt16, _transform String"
    } else {
        ""
    };
    let (version, engine, settings, time) = match key {
        true => {
            (", _version UInt64, _is_deleted UInt8", "ReplacingMergeTree(_version, _is_deleted)", "", "Int64")
        }
        false => {
            ("", "MergeTree", " SETTINGS non_replicated_deduplication_window = 1000", "DateTime64(6, 'UTC')")
        }
    };
    format!(
        "CREATE TABLE my_table (id Int64, name Nullable(FixedString(6)), created_at Nullable({time}), \
         op String{columns}{version}) ENGINE = {engine} ORDER BY id{settings}"
    )
}

const WIDEN: &str = "ALTER TABLE my_table MODIFY COLUMN name Nullable(String)";

/// A pipeline of updates whose last twenty are dead letters, since a column is narrow; and, if `widened`, is not
/// any more.
fn with_letters(name: &str, widened: bool) -> (Topic, Database) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &events::updates(UPDATES));
    let database = Database::new(name);
    database.query(&narrow(true, false));
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!((ended.counters().kept, ended.counters().rejected), (10, 20));
    if widened {
        database.query(WIDEN);
    }
    (topic, database)
}

fn dlq<'a>(topic: &Topic, database: &Database, arguments: impl IntoIterator<Item = &'a str>) -> Host {
    Host::pipeline(topic, database).arg("dlq").args(arguments)
}

/// The objects of an answer in JSON.
fn objects(host: Host) -> Vec<Value> {
    let out = host.arg("--json").succeed().out;
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn open(topic: &Topic, database: &Database) -> usize {
    objects(dlq(topic, database, ["ls", "--each"])).len()
}

#[test]
fn letters_land_once_when_the_table_takes_them_and_again_is_nothing() {
    let (topic, database) = with_letters("dlq_once", false);
    let groups = objects(dlq(&topic, &database, ["ls"]));
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!((&groups[0]["letters"], &groups[0]["stage"]), (&json!(20), &json!("encode")));

    // As long as nothing has changed they fail again, and stay.
    let ended = dlq(&topic, &database, ["retry"]).run();
    ended.fails(4, &["20 of 20 letters stay"]);
    assert_eq!(ended.out.matches("failed again  dlq_once.public.my_table/0@").count(), 20, "{ended:?}");
    assert_eq!((open(&topic, &database), database.count("my_table")), (20, 10));

    database.query(WIDEN);
    let ended = dlq(&topic, &database, ["retry", "--dry-run"]).succeed();
    assert!(ended.out.contains("20 letters would land, with 20 rows"), "{ended:?}");
    assert_eq!((open(&topic, &database), database.count("my_table")), (20, 10));

    let ended = dlq(&topic, &database, ["retry"]).succeed();
    assert!(ended.out.contains("20 letters landed, with 20 rows"), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert_eq!(
        database.query("SELECT min(_offset), max(_offset), uniqExact(_topic), any(_partition) FROM my_table"),
        "0\t29\t1\t0"
    );
    let ended = dlq(&topic, &database, ["retry"]).succeed();
    assert!(ended.out.contains("0 letters landed"), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);

    // Nothing is deleted: all of them are there, with what was done.
    assert_eq!(open(&topic, &database), 0);
    assert_eq!(database.count("_rowgate_dead_letters"), 20);
    let all = objects(dlq(&topic, &database, ["ls", "--all"]));
    assert_eq!((all.len(), &all[0]["state"], &all[0]["letters"]), (1, &json!("retried"), &json!(20)));
    let place = format!("{}/0@17", topic.name);
    let shown = objects(dlq(&topic, &database, ["show", &place])).remove(0);
    let how: Vec<&str> =
        shown["history"].as_array().unwrap().iter().filter_map(|d| d["how"].as_str()).collect();
    assert_eq!((shown["state"].as_str(), how), (Some("retried"), vec!["failed", "begun", "retried"]));
}

#[test]
fn a_record_that_is_read_again_and_fails_again_is_a_new_letter() {
    let (topic, database) = with_letters("dlq_anew", false);
    dlq(&topic, &database, ["discard", "--yes", "--because", "seen"]).succeed();
    assert_eq!(open(&topic, &database), 0);
    topic.commit("rowgate-dlq_anew", 0, 20, "");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(open(&topic, &database), 10);
}

#[test]
fn a_retry_whose_answers_are_lost_lands_each_row_once() {
    let (topic, database) = with_letters("dlq_answer", true);
    let stack = Stack::shared();
    let rows = "INSERT INTO .dlq_answer.\\..my_table.";
    let marks = "INSERT INTO .dlq_answer.\\.._rowgate_dead_letters_resolved.";
    for matching in [rows, marks] {
        stack.arm(matching, json!({"kind": "drop_response", "count": 2}));
        stack.arm(matching, json!({"kind": "reset_request"}));
    }
    let host = dlq(&topic, &database, ["retry", "-vv", "--batch-rows", "7"]);
    let ended = host.set("--clickhouse-url", stack.faults_url()).succeed();
    assert_eq!((stack.armed(rows), stack.armed(marks)), (0, 0), "{ended:?}");
    assert!(ended.err.contains(VERIFIED), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert_eq!(open(&topic, &database), 0);
}

#[test]
fn a_retry_that_is_killed_in_the_middle_is_finished_by_the_next() {
    let (topic, database) = with_letters("dlq_killed", true);
    let stack = Stack::shared();
    let matching = "INSERT INTO .dlq_killed.\\..my_table.";
    // The second of three inserts is applied, and the answer does not come.
    stack.arm(matching, json!({"kind": "delay_response", "seconds": 30, "skip": 1}));
    let retry = || dlq(&topic, &database, ["retry", "--batch-rows", "7"]);
    let running = retry().set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(matching) == 0);
    database.wait_for_rows("my_table", 24);
    assert_eq!(running.kill().by_signal(), Some(9));
    assert_eq!(open(&topic, &database), 13, "seven are marked as retried");

    // In other inserts than before, so that no token says what has landed.
    let ended = retry().set("--batch-rows", "5").succeed();
    assert!(ended.out.contains("13 letters landed"), "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
    assert_eq!(open(&topic, &database), 0);
}

#[test]
fn of_two_retries_at_once_one_does_not_double_what_the_other_lands() {
    let (topic, database) = with_letters("dlq_two", true);
    let stack = Stack::shared();
    let matching = "INSERT INTO .dlq_two.\\..my_table.";
    // The first insert of the first is on its way while the second lands all of them, in other inserts.
    stack.arm(matching, json!({"kind": "late", "wait": true, "seconds": 4}));
    let retry = |rows| dlq(&topic, &database, ["retry", "--batch-rows", rows]);
    let first = retry("7").set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(matching) == 0);
    let second = retry("5").succeed();
    assert!(second.out.contains("20 letters landed"), "{second:?}");
    let first = first.wait();
    assert_eq!(first.code(), Some(0), "{first:?}");
    database.has_updates_once("my_table", UPDATES);
    assert_eq!(open(&topic, &database), 0);
}

#[test]
fn a_table_that_cannot_say_which_rows_it_has_gets_each_letter_by_its_own_token() {
    let topic = Topic::new("dlq_blind.public.my_table", 1);
    topic.produce(1, &events::updates(14));
    let database = Database::new("dlq_blind");
    database.query(&narrow(false, false));
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.query(WIDEN);
    dlq(&topic, &database, ["retry", "--limit", "3"]).succeed();
    assert_eq!(database.count("my_table"), 13);
    // As if the host was killed before the marks: the server knows the tokens.
    database.query(
        "ALTER TABLE _rowgate_dead_letters_resolved DELETE WHERE how = 'retried' SETTINGS mutations_sync = 2",
    );
    assert_eq!(open(&topic, &database), 4);
    dlq(&topic, &database, ["retry"]).succeed();
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "14\t14");
}

#[test]
fn a_letter_whose_outcome_nobody_can_know_is_held_back() {
    let topic = Topic::new("dlq_unknown.public.my_table", 1);
    topic.produce(1, &events::updates(12));
    let database = Database::new("dlq_unknown");
    database.query(
        &narrow(false, false)
            .replace("non_replicated_deduplication_window = 1000", "index_granularity = 8192"),
    );
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.query(WIDEN);
    let stack = Stack::shared();
    let matching = "INSERT INTO .dlq_unknown.\\..my_table.";
    stack.arm(matching, json!({"kind": "delay_response", "seconds": 30}));
    let running = dlq(&topic, &database, ["retry"]).set("--clickhouse-url", stack.faults_url()).start();
    wait_until("the insert", || stack.armed(matching) == 0);
    database.wait_for_rows("my_table", 11);
    running.kill();
    let ended = dlq(&topic, &database, ["retry"]).run();
    ended.fails(4, &["1 of 2 letters stay"]);
    assert!(ended.out.contains("0@10  an earlier retry of it was cut off"), "{ended:?}");
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "12\t12");
}

#[test]
fn a_newer_state_of_a_key_wins_over_a_letter_that_lands_later() {
    let topic = Topic::new("dlq_keyed.public.my_table", 1);
    let records =
        [events::create(1, "much too long"), events::update(1, "newest"), events::create(2, "too long, too")];
    topic.produce(1, &records);
    let database = Database::new("dlq_keyed");
    database.query(&narrow(true, true));
    let host = || Host::pipeline(&topic, &database).transform("tests/hostile").args(["-p", "mode=keyed"]);
    assert_eq!(host().arg("--until-caught-up").succeed().counters().rejected, 2);
    database.query(WIDEN);
    for _ in 0..2 {
        host().args(["dlq", "retry"]).succeed();
        assert_eq!(
            database.lines("SELECT id, name, _version FROM my_table FINAL ORDER BY id"),
            ["1\tnewest\t1", "2\ttoo long, too\t2"]
        );
    }
}

#[test]
fn letters_of_a_range_that_is_not_done_are_held_back() {
    let (topic, database) = with_letters("dlq_sealed", true);
    let group = "rowgate-dlq_sealed";
    topic.commit(group, 0, 15, "v1;e=19;r=0123456789abcdef;a=0");
    let ended = dlq(&topic, &database, ["retry"]).run();
    ended.fails(4, &["15 of 20 letters stay"]);
    assert!(
        ended.out.contains("held back  dlq_sealed.public.my_table/0@15  its range 15 to 19 is sealed"),
        "{ended:?}"
    );
    assert!(ended.out.contains("0@20  the group rowgate-dlq_sealed is at offset 15"), "{ended:?}");
    assert_eq!(database.count("my_table"), 15);
    topic.commit(group, 0, 30, "");
    dlq(&topic, &database, ["retry"]).succeed();
    database.has_updates_once("my_table", UPDATES);
}

#[test]
fn rows_that_no_retry_wrote_are_not_taken_for_a_letters_own() {
    let (topic, database) = with_letters("dlq_foreign", true);
    database.query(&format!(
        "INSERT INTO my_table (id, name, op, _topic, _partition, _offset, _seq) VALUES (12, 'other', 'u', '{0}', 0, 12, 0), \
         (13, 'x', 'u', '{0}', 0, 13, 7)",
        topic.name
    ));
    let ended = dlq(&topic, &database, ["retry"]).run();
    ended.fails(4, &["2 of 20 letters stay"]);
    assert!(
        ended.out.contains("0@12  table my_table has rows of this record, and no retry wrote them"),
        "{ended:?}"
    );
    assert!(
        ended.out.contains("0@13  table my_table has rows of this record that it does not make now"),
        "{ended:?}"
    );
    assert_eq!(database.query("SELECT count(), countIf(id = 12) FROM my_table"), "30\t1");
    assert_eq!(open(&topic, &database), 2);
}

#[test]
fn letters_are_discarded_only_on_purpose_and_stay_where_they_are() {
    let (topic, database) = with_letters("dlq_discard", true);
    let discard = |more: &[&str]| {
        dlq(&topic, &database, ["discard", "--because", "test data"]).args(more.iter().copied())
    };
    discard(&[]).run().fails(2, &["20 letters would be discarded", "--yes"]);
    let ended = discard(&["--dry-run", "--offset", "10-14"]).succeed();
    assert!(ended.err.contains("5 letters would be discarded"), "{ended:?}");
    assert_eq!(open(&topic, &database), 20);
    assert_eq!(dlq(&topic, &database, ["discard", "--yes"]).run().code(), Some(2), "it needs a reason");

    let ended = discard(&["--yes", "--offset", "10-14"]).succeed();
    assert!(ended.out.contains("discarded 5 letters"), "{ended:?}");
    assert_eq!(open(&topic, &database), 15);
    let place = format!("{}/0@12", topic.name);
    let shown = dlq(&topic, &database, ["show", &place]).succeed().out;
    assert!(shown.contains("state      discarded") && shown.contains(": test data"), "{shown}");

    dlq(&topic, &database, ["retry"]).succeed();
    assert_eq!(database.count("my_table"), 25);
    let all = objects(dlq(&topic, &database, ["ls", "--all"]));
    let states: Vec<_> =
        all.iter().map(|group| (group["state"].as_str().unwrap(), &group["letters"])).collect();
    assert_eq!(states, [("retried", &json!(15)), ("discarded", &json!(5))]);
    assert_eq!(database.count("_rowgate_dead_letters"), 20);
}

#[test]
fn filters_choose_letters() {
    let topic = Topic::new("dlq_filters.public.my_table", 2);
    let mut records: Vec<Record> = (0..6).map(|number| events::text(&format!("no event {number}"))).collect();
    records.push(events::event("x", Value::Null, events::row(9, "an unknown operation")));
    topic.produce(2, &records);
    let database = Database::new("dlq_filters");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    let chosen = |filter: &[&str]| {
        let found = objects(dlq(&topic, &database, ["ls", "--each"]).args(filter.iter().copied()));
        let place = |letter: &Value| format!("{}@{}", letter["partition"], letter["offset"]);
        found.iter().map(place).collect::<Vec<_>>().join(" ")
    };
    let all = "0@0 0@1 0@2 0@3 1@0 1@1 1@2";
    for (filter, expected) in [
        (&[][..], all),
        (&["--partition", "1"], "1@0 1@1 1@2"),
        (&["--offset", "1-2"], "0@1 0@2 1@1 1@2"),
        (&["--offset", "3"], "0@3"),
        (&["--limit", "2"], "0@0 0@1"),
        (&["--reason", "not acceptable as json"], "0@0 0@1 0@2 1@0 1@1 1@2"),
        (&["--reason", "' OR 1=1 --"], ""),
        (&["--reason", "\\"], ""),
        (&["--stage", "decode"], all),
        (&["--stage", "insert"], ""),
        (&["--since", "1h"], all),
        (&["--until", "1h"], ""),
        (&["--until", "2100-01-01"], all),
        (&["--topic", &topic.name], all),
        (&["--topic", "^dlq_filters[.].*$"], all),
        (&["--topic", "another"], ""),
        (&["--pipeline", "another"], ""),
    ] {
        assert_eq!(chosen(filter), expected, "{filter:?}");
    }
    let ended = dlq(&topic, &database, ["ls", "--pipeline", "another"]).succeed();
    assert!(ended.err.contains("pipelines that ever had any: dlq_filters (7 letters)"), "{ended:?}");
    assert_eq!(objects(dlq(&topic, &database, ["ls"])).len(), 2, "numbers in reasons make no groups");
    for (line, what) in
        [(&["ls", "--since", "soon"][..], "`soon` is no time"), (&["show", "x"], "PARTITION@OFFSET")]
    {
        let ended = dlq(&topic, &database, line.iter().copied()).run();
        assert_eq!((ended.code(), ended.err.contains(what)), (Some(2), true), "{ended:?}");
    }
    dlq(&topic, &database, ["retry", "--pipeline", "another"]).run().fails(2, &["--name another"]);
}

#[test]
fn nothing_in_a_letter_acts_on_the_terminal_that_shows_it() {
    let topic = Topic::new("dlq_hostile.public.my_table", 1);
    let text = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\u{8}\\";
    let member = json!({ text: text, "n": 1 }).to_string();
    let mut records = vec![events::text(text), events::text(&format!("{member} ")), events::text("")];
    records[0].key = Some(text.to_owned());
    topic.produce(1, &records);
    let database = Database::new("dlq_hostile");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    let letters = objects(dlq(&topic, &database, ["ls", "--each"]));
    assert!(letters.len() >= 2, "{letters:?}");
    for letter in &letters {
        let place = format!("{}/0@{}", topic.name, letter["offset"]);
        for form in [&[][..], &["--json"]] {
            let out = dlq(&topic, &database, ["show", &place]).args(form.iter().copied()).succeed().out;
            assert!(
                out.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
                "{place}: {out:?}"
            );
        }
    }
    let shown = objects(dlq(&topic, &database, ["show", &format!("{}/0@0", topic.name)])).remove(0);
    assert_eq!((shown["value"].as_str(), shown["key"].as_str()), (Some(text), Some(text)));
}

#[test]
fn a_letter_keeps_the_headers_that_say_what_its_record_is() {
    let database = Database::new("dlq_headers");
    database.query(&narrow(true, false));
    // The table of an earlier version, which has no such column, gets it.
    database.query(
        "CREATE TABLE _rowgate_dead_letters (pipeline String, topic String, partition UInt32, offset UInt64, \
         timestamp Nullable(DateTime64(3, 'UTC')), key Nullable(String), value Nullable(String), stage String, \
         reason String, transform String, ts DateTime64(3) DEFAULT now64(3)) ENGINE = MergeTree ORDER BY offset",
    );
    let row = json!({"id": 7, "name": "longer than six", "created_at": events::CREATED_AT});
    let line = json!({
        "topic": "dlq_headers.public.my_table", "offset": 5, "headers": {"__op": "u", "other": "x"}, "payload": row,
    });
    let file = places::file("flat.ndjson", format!("{line}\n"));
    let url = Stack::shared().clickhouse_url();
    let host = || {
        Host::new()
            .args([
                "--input",
                &file,
                "--clickhouse-url",
                url,
                "--database",
                "dlq_headers",
                "--table",
                "my_table",
            ])
            .args(["--flattened-headers", "--name", "dlq_headers"])
            .transform("update_only")
    };
    assert_eq!(host().succeed().counters().rejected, 1);
    assert_eq!(database.query("SELECT headers FROM _rowgate_dead_letters"), "{\"__op\":\"u\"}");
    database.query(WIDEN);
    host().args(["dlq", "retry"]).succeed();
    assert_eq!(database.query("SELECT id, name, op, _offset FROM my_table"), "7\tlonger than six\tu\t5");
}

#[test]
fn other_places_than_a_table_are_refused_with_what_to_do() {
    let (topic, database) = (Topic::new("dlq_places.public.my_table", 1), Database::new("dlq_places"));
    let ls =
        |place: &str| Host::pipeline(&topic, &database).args(["--dead-letters", place, "dlq", "ls"]).run();
    ls("topic:letters").fails(2, &["the dead letters are in the topic letters", "help: "]);
    ls("file:bad.ndjson").fails(2, &["the dead letters are in the file bad.ndjson", "host --input"]);
    ls("stop").fails(2, &["no dead letters are kept", "help: "]);
    database.query("CREATE TABLE my_table (x UInt8) ENGINE = Memory");
    ls("table:my_table").fails(2, &["the table my_table lacks columns of dead letters: pipeline"]);
    let ended = ls("table:none");
    assert_eq!((ended.code(), ended.err.contains("there are no dead letters")), (Some(0), true), "{ended:?}");
}
