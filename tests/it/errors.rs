//! What goes wrong says what, where, and what to do, once, and with the exit code that tells whether a restart helps.

use crate::support::{Database, Ended, Host, Stack, Topic, events, places};

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

/// A host that reads the simple fixture and prints its rows.
fn from_fixture() -> Host {
    Host::from_file(places::fixture("simple.ndjson"))
}

/// A host that writes the simple fixture into ClickHouse.
fn into_clickhouse(url: &str) -> Host {
    Host::new()
        .args(["--input", places::fixture("simple.ndjson").to_str().expect("UTF-8")])
        .args(["--clickhouse-url", url])
}

/// One error that says these things, and nothing on standard output.
fn says(ended: &Ended, code: i32, texts: &[&str]) {
    ended.fails(code, texts);
    assert_eq!(ended.err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ended:?}");
    assert_eq!(ended.out, "", "{ended:?}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let database = Database::new("errors_broker");
    let ended = Host::between("127.0.0.1:1", Stack::shared().clickhouse_url(), &database).run();
    says(&ended, ENVIRONMENT, &["no Kafka broker at 127.0.0.1:1", "check --brokers"]);
}

#[test]
fn a_clickhouse_that_is_not_there_is_named() {
    let ended = into_clickhouse("http://127.0.0.1:1").run();
    says(&ended, ENVIRONMENT, &["ClickHouse at http://127.0.0.1:1/", "refused", "check --clickhouse-url"]);
}

#[test]
fn a_clickhouse_that_is_none_is_named() {
    let ended = into_clickhouse(&format!("http://{}", Stack::shared().brokers())).run();
    says(&ended, ENVIRONMENT, &["ClickHouse at http://", "check --clickhouse-url"]);
}

#[test]
fn a_wrong_password_is_told_without_showing_it() {
    let url = Stack::shared().clickhouse_url();
    let ended = into_clickhouse(url).env("ROWGATE_PASSWORD", "hush-hush").run();
    says(&ended, ENVIRONMENT, &["REQUIRED_PASSWORD", "password is incorrect", "--password-file"]);
    assert!(!ended.err.contains("hush-hush"));
    let ended = into_clickhouse(url).args(["--user", "nobody"]).run();
    says(&ended, ENVIRONMENT, &["AUTHENTICATION_FAILED", "nobody"]);
}

#[test]
fn a_database_that_is_missing_is_named_with_the_statement_that_makes_it() {
    let ended = into_clickhouse(Stack::shared().clickhouse_url()).args(["--database", "nowhere"]).run();
    says(&ended, ENVIRONMENT, &["no database \"nowhere\"", "CREATE DATABASE `nowhere`"]);
}

#[test]
fn a_transform_that_is_missing_is_named() {
    let ended = from_fixture().args(["--transform", "/no/such.wasm"]).run();
    says(&ended, USAGE, &["/no/such.wasm", "No such file"]);
}

#[test]
fn components_that_do_not_fit_are_refused_with_the_reason() {
    let transform = |name: &str| from_fixture().transform(name).run();
    says(
        &transform("tests/core_module"),
        USAGE,
        &["core_module.wasm`: a core module, not a component", "wasm-tools"],
    );
    says(
        &transform("tests/other_world"),
        USAGE,
        &["exports greet, not rowgate:transform/handler@0.1.0", "build it for"],
    );
    says(
        &transform("tests/version_two"),
        USAGE,
        &["rowgate:transform@0.2.0", "this host runs 0.1.x", "rebuild it"],
    );
    says(
        &transform("tests/other_import"),
        USAGE,
        &["imports acme:clocked/clock@1.0.0, which the host does not give"],
    );
    says(
        &transform("tests/changed_types"),
        USAGE,
        &["changed_types.wasm", "other types than those of rowgate:transform@0.1.0"],
    );
    says(&transform("tests/spin_start"), USAGE, &["starting used up its fuel"]);
    let text = places::file("text.wasm", "(component)");
    says(
        &from_fixture().args(["--transform", &text]).run(),
        USAGE,
        &["text.wasm`: WebAssembly as text", "wasm-tools parse"],
    );
    let fixture = places::fixture("simple.ndjson");
    let fixture = fixture.to_str().expect("UTF-8");
    says(&from_fixture().args(["--transform", fixture]).run(), USAGE, &["simple.ndjson`: not WebAssembly"]);
}

#[test]
fn a_component_that_wants_wasi_is_refused_with_the_reason() {
    // The component with an import of its own, under a name of the same length.
    let (own, wasi) = ("acme:clocked/clock@1.0.0", "wasi:random/random@0.2.0");
    let component = std::fs::read(places::transform("tests/other_import")).expect("the component");
    let mut changed = component.clone();
    for at in 0..=component.len() - own.len() {
        if component[at..].starts_with(own.as_bytes()) {
            changed[at..at + own.len()].copy_from_slice(wasi.as_bytes());
        }
    }
    assert_ne!(changed, component);
    let ended = from_fixture().args(["--transform", &places::file("wasi.wasm", changed)]).run();
    says(&ended, USAGE, &["wasi.wasm`: imports wasi:random/random@0.2.0", "wasm32-unknown-unknown"]);
}

#[test]
fn parameters_that_the_transform_refuses_are_told_in_its_words() {
    let ended = from_fixture().args(["-p", "colour=red"]).run();
    says(&ended, USAGE, &["the transform refuses its parameters", "unknown parameter `colour`"]);
}

#[test]
fn mistakes_of_the_command_line_are_named_before_anything_starts() {
    let run = |arguments: &[&str]| Host::new().args(arguments.iter().copied()).run();
    says(&run(&["--topik", "a"]), USAGE, &["--topik", "--topic"]);
    says(&run(&["--max-records", "many"]), USAGE, &["--max-records", "`many`"]);
    says(&run(&["--topic", "^a"]), USAGE, &["--topic", "does not end in `$`"]);
    says(&run(&["--dead-letters", "nowhere"]), USAGE, &["--dead-letters", "table:NAME"]);
    says(&run(&["-X", "group.id=a"]), USAGE, &["`group.id`", "`group`"]);
    says(&run(&["--config", "/no/file"]), USAGE, &["/no/file"]);
    says(&run(&["--input", "/no/file", "--output", "-"]), USAGE, &["/no/file"]);
}

#[test]
fn an_expression_that_is_none_is_named() {
    let database = Database::new("errors_regex");
    for expression in ["^a[$", "^a(b$", "^a{$"] {
        let ended = Host::between(Stack::shared().brokers(), Stack::shared().clickhouse_url(), &database)
            .args(["--topic", expression, "--for", "5s"])
            .run();
        says(&ended, USAGE, &[expression]);
    }
}

#[test]
fn a_key_that_the_file_should_not_have_is_named_with_its_place() {
    let file = places::file("pipeline.yaml", "name: a\ntopik: b\n");
    says(
        &Host::new().args(["--config", &file]).run(),
        USAGE,
        &["pipeline.yaml:2:1", "unknown key `topik`", "`topic`"],
    );
}

/// Runs a pipeline into a table that the user made, which must be refused before anything is inserted.
fn refused(name: &str, columns: &str, texts: &[&str]) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &events::updates(10));
    let database = Database::new(name);
    database.query(&format!("CREATE TABLE my_table ({columns}) ENGINE = MergeTree ORDER BY tuple()"));
    let ended =
        Host::pipeline(&topic, &database).args(["--schema-changes", "stop", "--until-caught-up"]).run();
    says(&ended, USAGE, texts);
    assert_eq!(database.count("my_table"), 0);
    assert!(!database.has_table("_rowgate_dead_letters"));
    let committed = topic.committed(&format!("rowgate-{name}"));
    assert!(committed.iter().all(|(_, offset, _)| *offset == 0), "{committed:?}");
}

#[test]
fn a_column_of_a_type_that_does_not_go_is_named_with_both_types_before_anything_is_inserted() {
    refused(
        "errors_type",
        "id UUID, name Nullable(String), created_at Nullable(DateTime64(6)), op String",
        &["column \"id\" of table errors_type.my_table", "integer", "UUID"],
    );
}

#[test]
fn a_column_that_the_table_lacks_is_named_before_anything_is_inserted() {
    refused(
        "errors_column",
        "id Int32, created_at Nullable(DateTime64(6)), op String",
        &["table errors_column.my_table has no column \"name\"", "ALTER TABLE", "ADD COLUMN"],
    );
}

#[test]
fn a_topic_that_does_not_exist_yet_is_waited_for() {
    let database = Database::new("errors_topic");
    let host = Host::between(Stack::shared().brokers(), Stack::shared().clickhouse_url(), &database)
        .args(["--topic", "errors_topic.public.my_table", "-X", "topic.metadata.refresh.interval.ms=500"])
        .start();
    host.wait_for_line("the topic does not exist yet: waiting for it");
    Topic::new("errors_topic.public.my_table", 1).produce(1, &events::updates(5));
    database.wait_for_rows("my_table", 5);
    host.drain();
    database.has_updates_once("my_table", 5);
}

#[test]
fn a_commit_that_another_program_made_in_the_group_stops_the_pipeline() {
    let topic = Topic::new("errors_group.public.my_table", 1);
    topic.produce(1, &events::updates(5));
    topic.commit("rowgate-errors_group", 0, 3, "checkpoint 3");
    let ended = Host::pipeline(&topic, &Database::new("errors_group")).arg("--until-caught-up").run();
    says(&ended, USAGE, &["checkpoint 3", "--group"]);
}

#[test]
fn records_that_retention_removed_before_they_were_read_stop_the_pipeline() {
    let topic = Topic::new("errors_retention.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("errors_retention");
    Host::pipeline(&topic, &database).args(["--max-records", "5"]).succeed();
    topic.delete_before(0, 10);
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").run();
    says(
        &ended,
        ENVIRONMENT,
        &["/0 is at offset 5, and has 10 to 20", "errors_retention", "host offsets skip"],
    );
    assert_eq!(database.count("my_table"), 5);
}

#[test]
fn another_pipeline_that_writes_the_same_records_is_found_out_when_rows_are_verified() {
    let stack = Stack::shared();
    let topic = Topic::new("errors_twice.public.my_table", 1);
    topic.produce(1, &events::updates(20));
    let database = Database::new("errors_twice");
    let host = |name: &str| Host::pipeline(&topic, &database).set("--name", name).arg("--until-caught-up");
    host("errors_one").succeed();
    stack.arm("INSERT INTO .errors_twice.\\..my_table.", serde_json::json!({"kind": "drop_response"}));
    let ended = host("errors_two").set("--clickhouse-url", stack.faults_url()).run();
    assert_ne!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.error().contains("another pipeline writes the same records"), "{ended:?}");
}

#[test]
fn an_error_in_json_logs_is_an_object_too() {
    let ended = from_fixture().args(["--log-format", "json", "--transform", "/no/such.wasm"]).run();
    assert_eq!(ended.code(), Some(USAGE));
    for line in ended.err.lines() {
        let _: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
    }
}

#[test]
fn a_clickhouse_mistake_is_told_before_kafka_is_waited_for() {
    // Neither is there: the error is of the one that was asked first.
    let ended =
        Host::new().args(["--brokers", "127.0.0.1:1", "--clickhouse-url", "http://127.0.0.1:1"]).run();
    says(&ended, ENVIRONMENT, &["ClickHouse at"]);
}
