//! From rows in MariaDB through Debezium and Kafka to rows in ClickHouse, and recorded events of it.
//!
//! What MariaDB holds and what ClickHouse holds are compared as the two servers write it, with SQL of their own:
//! nothing of the host is asked.

mod workload;

use std::fs;

use crate::fixtures::check;
use crate::support::{Database, Host, Running, Stack, assert_same, places, wait_until};

#[test]
fn recorded_events_of_mariadb_give_the_rows_that_it_held() {
    check("debezium-mariadb/simple", "all_changes", &[]);
    check("debezium-mariadb/types_schema", "all_changes", &[]);
}

#[test]
fn recorded_events_of_mariadb_without_a_schema_give_what_the_event_says() {
    check("debezium-mariadb/types_noschema", "all_changes", &[]);
}

#[test]
fn recorded_events_of_mariadb_in_connects_own_types_give_what_is_in_them() {
    // The column became a `bigint unsigned` in the middle, and the table is not altered.
    let letters = [(103, "column `extra` (Nullable(Int32)): the number is outside the column's range")];
    check("debezium-mariadb/types_connect_string", "all_changes", &letters);
}

/// A column as both servers write it.
struct Column {
    name: String,
    mariadb: String,
    clickhouse: String,
}

impl Column {
    fn new(name: &str, mariadb: &str, clickhouse: &str) -> Self {
        let [mariadb, clickhouse] = [mariadb, clickhouse].map(|form| form.replace('$', name));
        Column { name: name.to_owned(), mariadb, clickhouse }
    }

    /// The same, not looked at in rows for which this is true.
    fn unless(self, condition: &str) -> Self {
        let form = |form| format!("if({condition}, NULL, {form})");
        Column { mariadb: form(self.mariadb), clickhouse: form(self.clickhouse), name: self.name }
    }
}

/// The columns of `all_types` in `setup_types.sql`.
fn columns() -> Vec<Column> {
    let alike = |names: &str, mariadb: &str, clickhouse: &str| -> Vec<Column> {
        names.split(' ').map(|name| Column::new(name, mariadb, clickhouse)).collect()
    };
    let numbers = "id c_tinyint c_tinyint_u c_smallint c_smallint_u c_mediumint c_mediumint_u c_int c_int_u c_bigint \
                   c_bigint_u c_bool c_decimal c_decimal_u c_decimal_big c_decimal_0 c_double";
    let texts = "c_char c_varchar c_tinytext c_text c_mediumtext c_longtext c_latin1 c_utf16 c_utf8mb3 c_sjis \
                 c_cp1251 c_gbk c_latin1_text c_collated c_set c_json";
    let bytes = "c_binary c_varbinary c_tinyblob c_blob c_mediumblob c_longblob";
    let moments = "c_datetime c_datetime3 c_datetime6 c_timestamp c_timestamp3 c_timestamp6";
    let mut columns = alike(numbers, "$", "$");
    columns.extend(alike("c_zerofill", "$ + 0", "$"));
    columns.extend(alike("c_double_p", "cast($ as decimal(10, 3))", "toDecimal64(toString($), 3)"));
    // MariaDB writes six digits of a `float`, and so the snapshot has only these.
    let floats = alike("c_float c_float_u", "cast($ as double)", "toFloat64($)");
    columns.extend(floats.into_iter().map(|column| column.unless("id < 100")));
    columns.extend(alike("c_bit1", "$ + 0", "toUInt8($)"));
    // Debezium's bits begin with the lowest.
    columns.extend(alike("c_bit10", "lpad(hex($), 4, '0')", "hex(reverse($))"));
    columns.extend(alike("c_bit64", "lpad(hex($), 16, '0')", "hex(reverse($))"));
    columns.extend(alike(texts, "hex(convert($ using utf8mb4))", "hex($)"));
    // The connector writes a backslash before a comma when it reads the log.
    let label = Column::new("c_enum", "hex(convert($ using utf8mb4))", "hex($)");
    columns.push(label.unless("id = 105"));
    columns.extend(alike(bytes, "hex($)", "hex($)"));
    columns.extend(alike("c_date", "$", "$"));
    columns.extend(alike(moments, "date_format($, '%Y-%m-%d %H:%i:%s.%f')", "toDateTime64($, 6, 'UTC')"));
    columns.extend(alike("c_time c_time3 c_time6", "cast($ as time(6))", "toString($)"));
    // The year 0 arrives as another.
    columns.push(Column::new("c_year", "$", "$").unless("id in (5, 105)"));
    columns.extend(alike(
        "c_point",
        "concat(st_x($), ' ', st_y($))",
        "concat(toString(JSONExtractFloat($, 'x')), ' ', toString(JSONExtractFloat($, 'y')))",
    ));
    columns.extend(alike("c_geometry c_linestring", "to_base64(st_aswkb($))", "JSONExtractString($, 'wkb')"));
    columns.extend(alike("c_uuid", "$", "$"));
    columns
}

/// The rows of `from`, line by line, as MariaDB writes them.
fn in_mariadb(stack: &Stack, database: &str, columns: &[Column], from: &str) -> Vec<String> {
    let forms: Vec<&str> = columns.iter().map(|column| column.mariadb.as_str()).collect();
    stack.mariadb(database, &format!("select {} from {from}", forms.join(", ")))
}

/// The rows of `from`, line by line, as ClickHouse writes them.
fn in_clickhouse(database: &Database, columns: &[Column], from: &str) -> Vec<String> {
    let forms: Vec<&str> = columns.iter().map(|column| column.clickhouse.as_str()).collect();
    database.lines(&format!(
        "SELECT {} FROM {from} SETTINGS output_format_decimal_trailing_zeros = 1, \
         format_tsv_null_representation = 'NULL' FORMAT TSV",
        forms.join(", ")
    ))
}

/// Compares column by column, so that a failure names the column.
fn assert_same_columns(columns: &[Column], found: &[String], expected: &[String]) {
    let of = |lines: &[String], at: usize| -> Vec<String> {
        let cell = |line: &String| line.split('\t').nth(at).unwrap_or("no such column").to_owned();
        lines.iter().map(cell).collect()
    };
    for (at, column) in columns.iter().enumerate() {
        assert_same(&column.name, &of(found, at), &of(expected, at));
    }
    assert_same("the rows", found, expected);
}

/// The statements of a recording.
fn recorded(file: &str) -> String {
    fs::read_to_string(places::fixture(&format!("debezium-mariadb/{file}"))).expect("the fixture")
}

/// A topic of MariaDB's, written by two hosts: one writes all changes, the other keeps a copy of the table.
struct Hosts {
    topic: String,
    changes: Database,
    copy: Database,
    writing: Running,
    copying: Running,
}

impl Hosts {
    fn start(stack: &Stack, topic: &str, name: &str) -> Self {
        let (changes, copy) = (Database::new(name), Database::new(&format!("{name}_copy")));
        let writing = Hosts::host(stack, topic, &changes);
        // Integers stay what they are: without a schema nothing says that they are times.
        let writing = writing.transform("all_changes").args(["--param", "times="]).start();
        let copying = Hosts::host(stack, topic, &copy).transform("mirror").start();
        Hosts { topic: topic.to_owned(), changes, copy, writing, copying }
    }

    fn host(stack: &Stack, topic: &str, database: &Database) -> Host {
        let host = Host::between(stack.brokers(), stack.clickhouse_url(), database);
        host.args(["--topic", topic])
    }

    /// Ends them, once the one that writes all changes has them all: the copy is completed by a host that goes on
    /// where the other stopped. No record is refused.
    fn end(self, stack: &Stack) -> (Database, Database) {
        let completing = Hosts::host(stack, &self.topic, &self.copy).transform("mirror");
        let ended =
            [self.writing.drain(), self.copying.drain(), completing.arg("--until-caught-up").succeed()];
        for host in ended {
            assert_eq!(host.counters().rejected, 0, "{host:?}");
        }
        for database in [&self.changes, &self.copy] {
            assert!(!database.has_table("_rowgate_dead_letters"));
        }
        (self.changes, self.copy)
    }
}

#[test]
fn every_type_of_mariadb_arrives_in_clickhouse_as_mariadb_holds_it() {
    let stack = Stack::with_mariadb();
    stack.run(&["mariadb", "-e", "create database mariadb_types"]);
    stack.mariadb("mariadb_types", &recorded("setup_types.sql"));
    if stack.clickhouse().query("SELECT toString(toDate32('9999-12-31'))") != "9999-12-31\n" {
        // Dates before 1900 and after 2299 are beyond the types of servers before mid-2026.
        stack.mariadb("mariadb_types", "delete from all_types where id in (3, 4)");
    }
    let options = ["poll.interval.ms=10", "bigint.unsigned.handling.mode=precise"];
    let table = ["table.include.list=mariadb_types.all_types", "value.converter.schemas.enable=true"];
    stack.run(&["connector", "mdb_types", "mariadb", options[0], options[1], table[0], table[1]]);
    let hosts = Hosts::start(stack, "mdb_types.mariadb_types.all_types", "mariadb_types");
    stack.mariadb("mariadb_types", &recorded("change_types.sql"));
    stack.mariadb("mariadb_types", "insert into all_types (id) values (18446744073709551614)");

    let arrived = "SELECT count() FROM all_types WHERE id = 18446744073709551614";
    wait_until("the last row", || hosts.changes.try_query(arrived).is_ok_and(|count| count == "1\n"));
    let (changes, copy) = hosts.end(stack);
    let columns = columns();
    let described = "select column_name from information_schema.columns \
                     where table_schema = 'mariadb_types' and table_name = 'all_types'";
    let known = |name: &String| columns.iter().any(|column| column.name == *name);
    let names = stack.mariadb("mariadb_types", described);
    assert!(names.len() == columns.len() && names.iter().all(known), "{names:?}");

    let expected = in_mariadb(stack, "mariadb_types", &columns, "all_types order by id");
    assert!(expected.len() >= 10, "{expected:?}");
    let newest = "(SELECT * FROM all_types ORDER BY _offset DESC LIMIT 1 BY id) WHERE op != 'd' ORDER BY id";
    assert_same_columns(&columns, &in_clickhouse(&changes, &columns, newest), &expected);
    let current = in_clickhouse(&copy, &columns, "all_types_current ORDER BY id");
    assert_same_columns(&columns, &current, &expected);
}

#[test]
fn a_thousand_random_changes_in_mariadb_arrive_as_they_were_made() {
    let stack = Stack::with_mariadb();
    stack.run(&["mariadb", "-e", "create database mariadb_work"]);
    stack.mariadb("mariadb_work", workload::SETUP);
    stack.mariadb("mariadb_work", &workload::changes(1, 100).join("\n"));
    stack.mariadb("mariadb_work", workload::SNAPSHOT);
    let options = ["poll.interval.ms=10", "decimal.handling.mode=string"];
    let table = ["table.include.list=mariadb_work.work", "topic.creation.default.partitions=3"];
    stack.run(&["connector", "mdb_work", "mariadb", options[0], options[1], table[0], table[1]]);
    let hosts = Hosts::start(stack, "mdb_work.mariadb_work.work", "mariadb_work");
    stack.mariadb("mariadb_work", &workload::changes(2, 1500).join("\n"));

    let columns = workload::columns();
    let history = in_mariadb(stack, "mariadb_work", &columns, "work_log order by id, hex(part), seq");
    assert!(history.len() > 1000, "only {} changes", history.len());
    wait_until("the last change", || hosts.changes.count("work") >= history.len() as u64);
    let (changes, copy) = hosts.end(stack);
    // A row's changes are all in one partition, so that their offsets tell their order.
    let found = in_clickhouse(&changes, &columns, "work ORDER BY id, hex(part), _offset");
    assert_same("the changes", &found, &history);

    let rows = in_mariadb(stack, "mariadb_work", &columns[1..], "work order by id, hex(part)");
    let newest = "(SELECT * FROM work ORDER BY _offset DESC LIMIT 1 BY id, part) WHERE op != 'd' ORDER BY id, hex(part)";
    assert_same("the rows", &in_clickhouse(&changes, &columns[1..], newest), &rows);
    let current = in_clickhouse(&copy, &columns[1..], "work_current ORDER BY id, hex(part)");
    assert_same("the copy", &current, &rows);
}
