//! The audit: one row a range, whose sums are what the topic had, whatever happened in between.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Host, Stack, Topic};

const SUMS: &str = "SELECT sum(records), sum(kept), sum(filtered), sum(not_changes), sum(rejected), sum(rows) \
                    FROM _rowgate_audit";

/// Of ten records: six updates, a new row, a delete with its tombstone, and what is no event.
fn load(tens: u64) -> Vec<Record> {
    let of_ten = |ten: u64| {
        let mut records: Vec<Record> =
            (0..6).map(|one| ten * 6 + one).map(|id| events::update(id, &format!("name {id}"))).collect();
        records.extend([events::create(ten, "new"), events::delete(ten), events::tombstone(ten)]);
        records.push(events::text("no event"));
        records
    };
    (0..tens).flat_map(of_ten).collect()
}

/// Checks that the ranges of each partition follow each other without a gap or an overlap, from 0 to `end`.
fn is_gapless(database: &Database, end: u64) {
    let rows = database.rows(
        "SELECT partition, first, last, records, length(tables) AS tables FROM _rowgate_audit ORDER BY partition, first",
    );
    let number = |row: &Value, name: &str| match &row[name] {
        Value::String(text) => text.parse().expect("a number"),
        value => value.as_u64().expect("a number"),
    };
    let mut next = std::collections::BTreeMap::new();
    for row in &rows {
        let next = next.entry(number(row, "partition")).or_insert(0);
        assert_eq!(number(row, "first"), *next, "a gap or an overlap: {row}");
        *next = number(row, "last") + 1;
        assert_eq!(number(row, "records"), *next - number(row, "first"), "{row}");
    }
    assert!(next.values().all(|next| *next == end), "{next:?}");
}

fn sums(database: &Database, tens: u64) {
    let expected = format!("{}\t{}\t{}\t{tens}\t{tens}\t{}", tens * 10, tens * 6, tens * 3, tens * 6);
    assert_eq!(database.query(SUMS), expected);
}

#[test]
fn each_range_has_one_row_and_the_sums_are_the_topics_though_hosts_are_killed() {
    const TENS: u64 = 900;
    let topic = Topic::new("audit_kills.public.my_table", 3);
    topic.produce(3, &load(TENS));
    let database = Database::new("audit_kills");
    let host = || {
        Host::pipeline(&topic, &database).args([
            "--audit",
            "table",
            "--batch-rows",
            "40",
            "--until-caught-up",
            "-X",
            "group.instance.id=audit_kills",
        ])
    };
    for kill in 0..8 {
        let running = host().start();
        running.wait_for_line("partition assigned");
        if kill % 2 == 0 {
            // Right after a row of the audit has become visible, before its range is committed.
            database.wait_for_rows("_rowgate_audit", database.count("_rowgate_audit") + 1 + kill);
        } else {
            std::thread::sleep(Duration::from_millis(kill * 40));
        }
        assert_eq!(running.kill().by_signal(), Some(9), "it ended before it was killed");
    }
    assert!(database.count("my_table") < TENS * 6, "all was done before the last kill");
    host().succeed();
    is_gapless(&database, TENS * 10 / 3);
    sums(&database, TENS);
    database.has_updates_once("my_table", TENS * 6);
    assert_eq!(database.count("_rowgate_dead_letters"), TENS);
    assert_eq!(
        database.query("SELECT count() - uniqExact(partition, first) FROM _rowgate_audit"),
        "0",
        "a range has two rows"
    );
    assert!(topic.is_done("rowgate-audit_kills"));
}

#[test]
fn the_sums_are_the_counters_though_answers_are_lost() {
    const TENS: u64 = 100;
    let stack = Stack::shared();
    let topic = Topic::new("audit_answers.public.my_table", 1);
    topic.produce(1, &load(TENS));
    let database = Database::new("audit_answers");
    for table in ["my_table", "_rowgate_audit", "_rowgate_dead_letters"] {
        let matching = format!("INSERT INTO .audit_answers.\\..{table}.");
        stack.arm(&matching, json!({"kind": "drop_response", "count": 2, "skip": 1}));
        stack.arm(&matching, json!({"kind": "reset_request", "skip": 4}));
    }
    let ended = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .args(["--audit", "table", "--batch-rows", "50", "--until-caught-up"])
        .succeed();
    for table in ["my_table", "_rowgate_audit", "_rowgate_dead_letters"] {
        assert_eq!(stack.armed(&format!("INSERT INTO .audit_answers.\\..{table}.")), 0, "{ended:?}");
    }
    is_gapless(&database, TENS * 10);
    sums(&database, TENS);
    let counters = ended.counters();
    assert_eq!(
        (counters.consumed, counters.kept, counters.filtered, counters.rejected, counters.rows),
        (TENS * 10, TENS * 6, TENS * 3, TENS, TENS * 6)
    );
    database.has_updates_once("my_table", TENS * 6);
}

#[test]
fn rows_that_the_server_refuses_are_no_rows_of_the_range_and_their_records_are_rejected_ones() {
    let topic = Topic::new("audit_refused.public.my_table", 1);
    topic.produce(1, &events::updates(40));
    let database = Database::new("audit_refused");
    Host::pipeline(&topic, &database).args(["--max-records", "1", "--until-caught-up"]).succeed();
    database.query("ALTER TABLE my_table ADD CONSTRAINT not_twenty CHECK id NOT IN (20, 21)");
    Host::pipeline(&topic, &database).args(["--audit", "table", "--until-caught-up"]).succeed();
    assert_eq!(database.query(SUMS), "39\t37\t0\t0\t2\t37");
    assert_eq!(database.query("SELECT DISTINCT tables FROM _rowgate_audit"), "['my_table']");
}

#[test]
fn a_range_of_which_nothing_is_written_has_its_row_too_on_a_server_of_any_age() {
    for (name, database) in
        [("audit_new", Database::new("audit_new")), ("audit_old", Database::on_old("audit_old"))]
    {
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        let records: Vec<Record> = (0..30).map(|id| events::create(id, "new")).collect();
        topic.produce(1, &records);
        Host::pipeline(&topic, &database)
            .args(["--audit", "table", "--batch-rows", "10", "--until-caught-up"])
            .succeed();
        is_gapless(&database, 30);
        assert_eq!(database.query(SUMS), "30\t0\t30\t0\t0\t0");
        assert_eq!(
            database.query("SELECT count(), sum(recovered), uniqExact(transform) FROM _rowgate_audit"),
            "3\t0\t1"
        );
        assert!(topic.is_done(&format!("rowgate-{name}")));
    }
}

#[test]
fn without_the_setting_nothing_is_recorded() {
    let topic = Topic::new("audit_none.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::new("audit_none");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert!(!database.has_table("_rowgate_audit"));
}
