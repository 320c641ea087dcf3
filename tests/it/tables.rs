//! Tables that the user made.

use serde_json::json;

use crate::support::events::{self, Record};
use crate::support::{Database, Ended, Host, Topic};

/// The server that a test is about, and what it has for the types and settings of the tests' tables.
#[derive(Clone, Copy)]
pub struct Server {
    /// Of 2018.
    old: bool,
    /// A text column of few values.
    labels: &'static str,
    /// `created_at` as the host gives it.
    time: &'static str,
    /// The value of `created_at` that the events have, in such a column.
    created_at: &'static str,
    /// What makes a table remember inserts.
    window: &'static str,
}

impl Server {
    /// The one of today.
    pub const NEW: Server = Server {
        old: false,
        labels: "LowCardinality(String)",
        time: "DateTime64(6, 'UTC')",
        created_at: "2024-01-01 00:00:00.000000",
        window: "SETTINGS non_replicated_deduplication_window = 100",
    };

    /// The one of 2018.
    pub const OLD: Server = Server {
        old: true,
        labels: "String",
        time: "String",
        created_at: "2024-01-01T00:00:00Z",
        window: "",
    };

    /// A database of one test, and the name for its other things.
    fn database(self, name: &str) -> Database {
        if self.old { Database::on_old(&self.name(name)) } else { Database::new(name) }
    }

    fn name(self, name: &str) -> String {
        if self.old { format!("old_{name}") } else { name.to_owned() }
    }

    fn topic(self, name: &str) -> Topic {
        Topic::new(&format!("{}.public.my_table", self.name(name)), 1)
    }

    /// The columns that say which record a row comes from; not in the very types that the host gives them, by
    /// which it would take the table for its own.
    pub fn lineage(self) -> String {
        let labels = self.labels;
        format!("_topic {labels}, _partition UInt32, _offset UInt64, _seq UInt32, _transform String")
    }

    /// Runs records into a table of these columns.
    fn into(self, name: &str, columns: &str, records: &[Record]) -> (Database, Ended) {
        let topic = self.topic(name);
        topic.produce(1, records);
        let (database, window) = (self.database(name), self.window);
        database.query(&format!(
            "CREATE TABLE my_table ({columns}) ENGINE = MergeTree ORDER BY tuple() {window}"
        ));
        let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
        (database, ended)
    }
}

/// One test for each server.
macro_rules! for_each_server {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                suite::$name(Server::NEW);
            }
        )*
    };
}

for_each_server! {
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
fn columns_in_another_order_and_columns_of_the_users_own_are_fine() {
    let columns = format!(
        "op Enum8('u' = 1), note String DEFAULT 'none', {LINEAGE}, created_at DateTime64(3, 'Europe/Berlin'), \
         ts DateTime DEFAULT now(), name LowCardinality(Nullable(String)), twice Int64 MATERIALIZED id * 2, id Int64",
        LINEAGE = Server::NEW.lineage()
    );
    let (database, ended) = Server::NEW.into("tables_order", &columns, &events::updates(50));
    assert_eq!(ended.counters().rows, 50);
    assert_eq!(
        database.query(
            "SELECT count(), countIf(note = 'none'), countIf(twice = id * 2), countIf(name = concat('name ', toString(id))), \
             countIf(toUnixTimestamp64Milli(created_at) = 1704067200000), uniqExact(_offset) FROM my_table"
        ),
        "50\t50\t50\t50\t50\t50"
    );
}

/// What holds on servers of any age.
pub mod suite {
    use super::*;

    pub fn a_table_without_lineage_columns_works_and_its_lower_guarantee_is_said(server: Server) {
        let (database, ended) = server.into(
            "tables_plain",
            &format!("id Int64, name Nullable(String), created_at Nullable({}), op String", server.time),
            &events::updates(50),
        );
        assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "50\t50");
        let warned = ended.err.lines().any(|line| line.contains("WARN") && line.contains("_offset"));
        assert!(warned, "{ended:?}");
        assert!(ended.err.contains("guarantee="), "{ended:?}");
    }

    pub fn a_value_that_does_not_fit_a_narrower_column_is_kept_apart_and_never_cut(server: Server) {
        let created = |id: i64, name: serde_json::Value, created_at: serde_json::Value| {
            events::event(
                "u",
                serde_json::Value::Null,
                json!({"id": id, "name": name, "created_at": created_at}),
            )
        };
        let day = json!(events::CREATED_AT);
        let columns = format!(
            "id Int8, name FixedString(4), created_at DateTime('UTC'), op String, {}",
            server.lineage()
        );
        let records = [
            created(127, json!("four"), day.clone()),
            created(128, json!("four"), day.clone()),
            created(-128, json!("four"), day.clone()),
            created(-129, json!("four"), day.clone()),
            created(1, json!("fifth"), day.clone()),
            created(2, json!(null), day.clone()),
            created(3, json!("four"), json!(events::CREATED_AT + 1)),
            created(4, json!("four"), json!(-1_000_000)),
            created(5, json!("four"), json!(null)),
        ];
        let (database, ended) = server.into("tables_narrow", &columns, &records);
        assert_eq!((ended.counters().kept, ended.counters().rejected), (2, 7));
        assert_eq!(database.lines("SELECT id, name FROM my_table ORDER BY id"), ["-128\tfour", "127\tfour"]);
        let letters = database
            .lines("SELECT offset, stage, reason FROM _rowgate_dead_letters ORDER BY offset FORMAT TSVRaw");
        assert_eq!(letters.len(), 7);
        for (letter, (offset, column)) in letters.iter().zip([
            (1, "`id` (Int8)"),
            (3, "`id` (Int8)"),
            (4, "`name` (FixedString(4))"),
            (5, "`name` (FixedString(4))"),
            (6, "`created_at` (DateTime('UTC'))"),
            (7, "`created_at` (DateTime('UTC'))"),
            (8, "`created_at` (DateTime('UTC'))"),
        ]) {
            assert!(letter.starts_with(&format!("{offset}\tencode\tcolumn {column}: ")), "{letter}");
        }
    }

    pub fn nulls_go_into_nullable_columns_and_are_kept_apart_from_others(server: Server) {
        let null = || {
            events::event(
                "u",
                serde_json::Value::Null,
                json!({"id": 1, "name": null, "created_at": events::CREATED_AT}),
            )
        };
        let common = format!("id Int64, created_at {}, op String, {}", server.time, server.lineage());
        let (nullable, _) =
            server.into("tables_nullable", &format!("{common}, name Nullable(String)"), &[null()]);
        assert_eq!(nullable.query("SELECT name FROM my_table"), "\\N");
        let (other, ended) = server.into("tables_not_nullable", &format!("{common}, name String"), &[null()]);
        assert_eq!((other.count("my_table"), ended.counters().rejected), (0, 1));
        assert_eq!(
            other.query("SELECT reason FROM _rowgate_dead_letters"),
            "column `name` (String): the value is null, and the column is not Nullable"
        );
    }

    pub fn a_row_whose_times_are_null_lands_in_a_table_that_the_host_makes(server: Server) {
        let topic = server.topic("tables_null_time");
        let event = |created_at| {
            events::event(
                "u",
                serde_json::Value::Null,
                json!({"id": 1, "name": "a", "created_at": created_at}),
            )
        };
        topic.produce(1, &[event(json!(events::CREATED_AT)), event(json!(null))]);
        let database = server.database("tables_null_time");
        Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
        assert_eq!(
            database.lines("SELECT created_at FROM my_table ORDER BY _offset"),
            [server.created_at, "\\N"]
        );
    }

    pub fn a_column_that_the_source_gets_later_is_told_and_goes_on_once_the_table_has_it(server: Server) {
        let topic = server.topic("tables_evolve");
        topic.produce(1, &events::updates(3));
        let database = server.database("tables_evolve");
        let host =
            || Host::pipeline(&topic, &database).args(["--schema-changes", "stop", "--until-caught-up"]);
        host().succeed();
        let mut row = events::row(3, "name 3");
        row["colour"] = json!("red");
        topic.produce(1, &[events::event("u", serde_json::Value::Null, row)]);
        host().run().fails(2, &["has no column \"colour\"", "ADD COLUMN"]);
        database.query("ALTER TABLE my_table ADD COLUMN colour Nullable(String)");
        host().succeed();
        database.has_updates_once("my_table", 4);
        assert_eq!(database.query("SELECT groupArray(colour) FROM my_table WHERE id = 3"), "['red']");
    }

    pub fn a_table_that_changes_while_the_host_runs_is_read_again(server: Server) {
        let topic = server.topic("tables_change");
        topic.produce(1, &events::updates(3));
        let database = server.database("tables_change");
        let host = Host::pipeline(&topic, &database).start();
        database.wait_for_rows("my_table", 3);
        database.query("ALTER TABLE my_table MODIFY COLUMN name Nullable(FixedString(6))");
        topic.produce(1, &events::updates(6).split_off(3));
        database.wait_for_rows("my_table", 6);
        host.drain();
        assert_eq!(
            database.query(
                "SELECT count(), uniqExact(id), countIf(name = concat('name ', toString(id))) FROM my_table"
            ),
            "6\t6\t6"
        );
    }

    pub fn a_table_that_is_dropped_while_the_host_runs_is_made_again(server: Server) {
        let topic = server.topic("tables_drop");
        topic.produce(1, &events::updates(3));
        let database = server.database("tables_drop");
        let host = Host::pipeline(&topic, &database).start();
        database.wait_for_rows("my_table", 3);
        database.query("DROP TABLE my_table");
        topic.produce(1, &events::updates(6).split_off(3));
        database.wait_for_rows("my_table", 3);
        host.drain();
        assert_eq!(database.query("SELECT min(id), max(id), count() FROM my_table"), "3\t5\t3");
    }

    pub fn a_view_over_the_table_gets_each_row_once(server: Server) {
        let topic = server.topic("tables_view");
        topic.produce(1, &events::updates(1_000));
        let database = server.database("tables_view");
        database.query(&format!(
            "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable({}), op String, {}) \
             ENGINE = MergeTree ORDER BY id {}",
            server.time,
            server.lineage(),
            server.window
        ));
        database
            .query("CREATE MATERIALIZED VIEW seen ENGINE = MergeTree ORDER BY id AS SELECT id FROM my_table");
        Host::pipeline(&topic, &database).args(["--batch-rows", "100", "--until-caught-up"]).succeed();
        assert_eq!(database.query("SELECT count(), uniqExact(id) FROM seen"), "1000\t1000");
    }
}
