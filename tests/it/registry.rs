//! Events in Avro, whose schemas are in a registry: as Debezium's connector and Apicurio's converter write them.

use crate::support::clickhouse::get;
use crate::support::{Database, Host, Stack, assert_same, places, wait_until};

/// The database in PostgreSQL.
const SOURCE: &str = "registry_types";
/// Its tables, but for one whose columns have names that Avro does not know.
const TABLES: &str =
    "public.all_types,public.composite_pk,public.no_pk,public.full_identity,public.toasted,public.marks";

fn connector(stack: &Stack, name: &str, more: &[&str]) {
    let database = format!("database.dbname={SOURCE}");
    let tables = format!("table.include.list={TABLES}");
    let common = ["connector", name, &database, &tables, "poll.interval.ms=10"];
    stack.run(&[&common[..], more].concat());
}

fn source(stack: &Stack, statements: &str) {
    let connect = format!("\\connect {SOURCE}");
    stack.run(&["sql", "-c", &connect, "-c", statements]);
}

fn host(stack: &Stack, name: &str, database: &Database) -> Host {
    Host::between(stack.brokers(), stack.clickhouse_url(), database)
        .args(["--topic", &format!("^{name}[.]public[.].*$")])
        .transform("all_changes")
}

/// A host for records in Avro that name their schemas in Apicurio's own ways.
fn host_of_apicurio(stack: &Stack, database: &Database) -> Host {
    let url = stack.registry_url().replace("/ccompat/v7", "/registry/v2");
    host(stack, "registry_apicurio", database)
        .env("ROWGATE_REGISTRY_URL", &url)
        .env("ROWGATE_REGISTRY_FRAMING", "apicurio")
}

/// A host for the records in Avro.
fn host_of_avro(stack: &Stack, database: &Database) -> Host {
    host(stack, "registry_avro", database).env("ROWGATE_REGISTRY_URL", stack.registry_url())
}

/// What the tables of a database are, and all that is in them but where it came from.
fn contents(database: &Database) -> Vec<String> {
    let mut contents = database.lines(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() \
         ORDER BY table, position FORMAT TSVRaw",
    );
    let tables = database.lines("SHOW TABLES");
    for table in tables.iter().filter(|table| !table.starts_with("_rowgate")) {
        let rows = database.lines(&format!(
            "SELECT * EXCEPT (_topic, _transform, ts) APPLY toString FROM `{table}` ORDER BY _offset, _seq FORMAT TSVRaw"
        ));
        contents.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    let letters = "SELECT substring(topic, position(topic, '.')), offset, stage, reason FROM _rowgate_dead_letters \
                   ORDER BY ALL FORMAT TSVRaw";
    contents.extend(database.lines(letters));
    contents
}

/// Waits for a mark that was inserted last, and then for all that came before it.
fn settled(run: impl Fn() -> Host, database: &Database, mark: u64) {
    let host = run().start();
    wait_until("the last mark", || database.has_table("marks") && database.count("marks") >= mark);
    host.drain();
    run().arg("--until-caught-up").succeed();
}

fn versions(stack: &Stack) -> usize {
    let subject = format!("{}/subjects/registry_avro.public.all_types-value/versions", stack.registry_url());
    get(&subject).map_or(0, |list| list.split(',').count())
}

#[test]
fn events_in_avro_give_the_rows_of_events_in_json_and_wait_for_a_registry_that_was_killed() {
    let stack = Stack::with_debezium();
    stack.run(&["up", "registry"]);
    stack.sql(&format!("create database {SOURCE}"));
    let fixtures = places::root().join("tests/fixtures/debezium-postgres");
    stack.sql_file(SOURCE, &fixtures.join("setup_types.sql"));
    source(stack, "create table marks (id int primary key)");
    let nulls = "value.converter.replace.null.with.default=false";
    connector(
        stack,
        "registry_json",
        &["value.converter.schemas.enable=true", "key.converter.schemas.enable=true", nulls],
    );
    connector(stack, "registry_avro", &["avro"]);
    // Keys with an id of eight bytes, values with one in a header.
    let own = |of: &str, setting: &str| format!("{of}.converter.apicurio.registry.{setting}");
    let own = [
        own("key", "as-confluent=false"),
        own("key", "use-id=globalId"),
        own("value", "as-confluent=false"),
        own("value", "use-id=globalId"),
        own("value", "headers.enabled=true"),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    connector(stack, "registry_apicurio", &[&["avro"], &own[..]].concat());
    stack.sql_file(SOURCE, &fixtures.join("change_types.sql"));
    source(stack, "insert into marks values (1)");

    let [json, avro, apicurio] = ["registry_json", "registry_avro", "registry_apicurio"].map(Database::new);
    settled(|| host(stack, "registry_json", &json), &json, 1);
    settled(|| host_of_avro(stack, &avro), &avro, 1);
    let expected = contents(&json);
    assert!(expected.len() > 100, "{expected:?}");
    assert_same("the tables", &contents(&avro), &expected);

    settled(|| host_of_apicurio(stack, &apicurio), &apicurio, 1);
    assert_same("the tables by apicurio's ids", &contents(&apicurio), &expected);
    stack.run(&["connector", "registry_apicurio", "remove"]);

    // A table loses a column; the host sees that when the registry is gone.
    let running = host_of_avro(stack, &avro).start();
    running.wait_for_line("registry_avro.public.all_types\" partition=0");
    running.signal("STOP");
    let known = versions(stack);
    source(stack, "alter table all_types drop column c_xml; update all_types set c_int = 7 where id = 1");
    wait_until("the new schema", || versions(stack) > known);
    source(stack, "update all_types set c_int = 8 where id = 1; insert into marks values (2)");
    wait_until("the last mark in Kafka", || marks_in_kafka(stack) == 2);
    stack.run(&["kill", "registry"]);
    running.signal("CONT");
    running.wait_for_line("waiting for the schema registry");
    stack.run(&["start", "registry"]);
    wait_until("what came while it was gone", || {
        avro.count("marks") == 2 && avro.query("SELECT count() FROM all_types WHERE c_int = 8") == "1"
    });
    running.drain();

    settled(|| host(stack, "registry_json", &json), &json, 2);
    settled(|| host_of_avro(stack, &avro), &avro, 2);
    assert_same("the tables", &contents(&avro), &contents(&json));
}

/// How many marks have come to Kafka in Avro.
fn marks_in_kafka(stack: &Stack) -> u64 {
    let topic = "registry_avro.public.marks";
    let said = stack.run(&["tool", "org.apache.kafka.tools.GetOffsetShell", "--topic", topic]);
    said.trim().rsplit(':').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn without_a_registry_events_in_avro_are_dead_letters_that_say_what_to_set() {
    let folder = places::new_folder();
    let file = folder.join("avro.ndjson");
    std::fs::write(&file, b"{\"topic\":\"a.b.t\",\"payload\":\"\\u0000\\u0000\\u0000\\u0000\\u0001x\"}\n")
        .expect("a file");
    let ended = Host::from_file(&file).succeed();
    assert_eq!(ended.counters().rejected, 1, "{ended:?}");
    let letters = std::fs::read_to_string(ended.folder.join("dead-letters.ndjson")).expect("letters");
    assert!(letters.contains("`registry.url` (ROWGATE_REGISTRY_URL)"), "{letters}");
}

#[test]
fn a_registry_that_is_none_ends_the_host_and_says_what_to_check() {
    let folder = places::new_folder();
    let file = folder.join("avro.ndjson");
    std::fs::write(&file, b"{\"topic\":\"a.b.t\",\"payload\":\"\\u0000\\u0000\\u0000\\u0000\\u0001x\"}\n")
        .expect("a file");
    let url = Stack::shared().clickhouse_url();
    let ended = Host::from_file(&file).env("ROWGATE_REGISTRY_URL", url).run();
    ended.fails(3, &["the schema registry: ", "check registry.url"]);
}
