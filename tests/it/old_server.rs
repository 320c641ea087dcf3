//! A ClickHouse of 2018: what it lacks is found out, and everything else holds.

use serde_json::json;

use crate::support::events;
use crate::support::{Database, Host, Topic};
use crate::tables::{Server, suite};

/// The tests of tables, on the old server.
macro_rules! as_on_a_new_server {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                suite::$name(Server::OLD);
            }
        )*
    };
}

as_on_a_new_server! {
    a_table_without_lineage_columns_works_and_its_lower_guarantee_is_said
    a_value_that_does_not_fit_a_narrower_column_is_kept_apart_and_never_cut
    nulls_go_into_nullable_columns_and_are_kept_apart_from_others
    a_row_whose_times_are_null_lands_in_a_table_that_the_host_makes
    a_column_that_the_source_gets_later_is_told_and_goes_on_once_the_table_has_it
    a_table_that_changes_while_the_host_runs_is_read_again
    a_table_that_is_dropped_while_the_host_runs_is_made_again
    a_view_over_the_table_gets_each_row_once
}

#[test]
fn rows_that_a_table_no_longer_holds_stop_the_host_and_are_dead_letters_of_the_next_start() {
    let topic = Topic::new("old_narrowed.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::on_old("old_narrowed");
    let host = || Host::pipeline(&topic, &database);
    let running = host().start();
    database.wait_for_rows("my_table", 3);
    database.query("ALTER TABLE my_table MODIFY COLUMN name Nullable(FixedString(8))");
    topic.produce(1, &events::updates(6).split_off(3));
    running
        .wait()
        .fails(3, &["table my_table changed under an insert, and 3 rows no longer fit it", "help: "]);
    assert_eq!(database.count("my_table"), 3, "nothing stands there in another form");
    assert_eq!(host().arg("--until-caught-up").succeed().counters().rejected, 3);
    assert_eq!(
        database.query("SELECT count(), min(offset), max(offset) FROM _rowgate_dead_letters"),
        "3\t3\t5"
    );
}

#[test]
fn created_tables_have_the_types_that_it_knows_and_the_guarantee_speaks_of_no_tokens() {
    let topic = Topic::new("old_created.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::on_old("old_created");
    let ended = Host::pipeline(&topic, &database)
        .args(["--until-caught-up", "--table", "my_table", "--show-last", "2"])
        .succeed();
    database.has_updates_once("my_table", 100);
    let types = database.lines(
        "SELECT concat(name, ' ', type) FROM system.columns WHERE database = currentDatabase() AND table = 'my_table'",
    );
    assert_eq!(
        types,
        [
            "id Int64",
            "name Nullable(String)",
            "created_at Nullable(String)",
            "op String",
            "ts DateTime",
            "_topic String",
            "_partition UInt32",
            "_offset UInt64",
            "_seq UInt16",
            "_transform String",
        ]
    );
    assert!(ended.err.contains("too old to know deduplication tokens"), "{ended:?}");
    assert!(ended.out.contains("name 99"), "{ended:?}");
}

#[test]
fn dead_letters_are_kept_in_a_table_of_its_types() {
    let topic = Topic::new("old_letters.public.my_table", 1);
    topic.produce(1, &[events::text("no event"), events::update(1, "a")]);
    let database = Database::on_old("old_letters");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(
        database.query("SELECT offset, stage, value, timestamp > '2000' FROM _rowgate_dead_letters"),
        "0\tdecode\tno event\t1"
    );
}

#[test]
fn dead_letters_are_listed_shown_processed_again_and_discarded() {
    let topic = Topic::new("old_retry.public.my_table", 1);
    topic.produce(1, &[events::update(1, "a"), events::update(2, "much too long"), events::text("no event")]);
    let database = Database::on_old("old_retry");
    database.query(
        "CREATE TABLE my_table (id Int64, name Nullable(FixedString(1)), created_at Nullable(String), op String, \
         _topic String, _partition UInt32, _offset UInt64, _seq UInt16, _transform String) \
         ENGINE = MergeTree ORDER BY (_topic, _partition, _offset, _seq)",
    );
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.query("ALTER TABLE my_table MODIFY COLUMN name Nullable(String)");
    let dlq = |line: &[&str]| Host::pipeline(&topic, &database).arg("dlq").args(line.iter().copied());
    let listed = dlq(&["ls"]).succeed().out;
    assert!(listed.contains("encode\t1") && listed.contains("decode\t1"), "{listed}");
    let place = format!("{}/0@1", topic.name);
    assert!(dlq(&["show", &place]).succeed().out.contains("much too long"));
    for stay in ["1 of 2 letters stay", "1 of 1 letters stay"] {
        dlq(&["retry"]).run().fails(4, &[stay]);
        assert_eq!(database.query("SELECT count(), uniq(id), max(_offset) FROM my_table"), "2\t2\t1");
    }
    dlq(&["discard", "--yes", "--because", "no event", "--since", "1h"]).succeed();
    assert!(dlq(&["ls", "--each"]).succeed().out.is_empty());
    let all = dlq(&["ls", "--each", "--all"]).succeed().out;
    assert!(all.contains("retried\t") && all.contains("discarded\t"), "{all}");
}

#[test]
fn a_killed_host_finishes_what_it_began_without_doubling_rows() {
    let topic = Topic::new("old_killed.public.my_table", 1);
    topic.produce(1, &events::updates(5_000));
    let database = Database::on_old("old_killed");
    let host = || Host::pipeline(&topic, &database).args(["--batch-rows", "100"]);
    let running = host().start();
    database.wait_for_rows("my_table", 500);
    running.kill();
    host().arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", 5_000);
}

#[test]
fn a_wrong_password_and_a_missing_database_are_told_from_the_text_of_its_errors() {
    let topic = Topic::new("old_errors.public.my_table", 1);
    let database = Database::on_old("old_errors");
    let host = || Host::pipeline(&topic, &database).arg("--until-caught-up");
    host().env("ROWGATE_PASSWORD", "wrong").run().fails(3, &["code 193", "Wrong password"]);
    host().set("--database", "nowhere").run().fails(3, &["no database \"nowhere\"", "CREATE DATABASE"]);
}

#[test]
fn an_array_is_written_and_read_back() {
    let topic = Topic::new("old_array.public.my_table", 1);
    let row = json!({"id": 1, "name": "a", "created_at": events::CREATED_AT, "tags": ["x", "y"]});
    topic.produce(1, &[events::event("u", serde_json::Value::Null, row)]);
    let database = Database::on_old("old_array");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(database.query("SELECT tags FROM my_table"), "[\"x\",\"y\"]");
}
