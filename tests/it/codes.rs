//! Every error of ClickHouse that there is a plan for, by code and message, behind the proxy: what is done, and that
//! nothing is lost, doubled or kept apart that need not be.

use std::process::Command;
use std::sync::Mutex;

use serde_json::json;

use crate::support::clickhouse::ClickHouse;
use crate::support::{Database, Ended, Host, Stack, Topic, events, places};
use Expected::{Kept, Parts, Reread, Stops, StopsAtLast, Waits};

/// What becomes of an insert that gets an error once, or, where it stops, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It is repeated after a while.
    Waits,
    /// Its rows are inserted by halves.
    Parts,
    /// The table is read again, and it is repeated.
    Reread,
    /// The rows at fault are dead letters.
    Kept,
    /// The host stops at once; its help has this text.
    Stops(&'static str),
    /// The host stops after five times in a row; the same.
    StopsAtLast(&'static str),
}

/// The codes, and a part of their message where one has several meanings.
const ERRORS: &[(&[u32], &str, Expected)] = &[
    // The body ended early, or an answer did not come.
    (&[3, 32, 33], "", Waits),
    (&[159, 160, 209, 210, 279], "", Waits),
    (&[202, 203, 364, 373, 745, 749, 762, 763], "", Waits),
    (&[173, 241, 396, 776, 777, 778], "", Parts),
    (&[252], "Too many parts (3000)", Waits),
    (&[252], "Too many partitions for single INSERT block (more than 100)", Parts),
    (
        &[
            225, 236, 242, 254, 285, 286, 289, 319, 341, 369, 415, 416, 425, 439, 473, 499, 529, 574, 655,
            659, 668, 733, 738, 740, 999, 1000, 1001,
        ],
        "",
        Waits,
    ),
    (&[164], "", StopsAtLast("read-only")),
    (&[372], "", StopsAtLast("one server")),
    (&[774], "", Stops("read-only")),
    (&[60, 81, 218], "", Waits),
    (&[15, 57, 82], "", Reread),
    (&[44], "Cannot add column: column with this name already exists", Reread),
    (&[44], "Cannot insert column", StopsAtLast("server's log")),
    (&[8, 10, 16, 20, 47, 122, 131], "", Reread),
    (&[117], "Unknown field found while parsing", Reread),
    (&[117], "Incorrect data", Kept),
    (
        &[6, 25, 26, 27, 38, 41, 53, 69, 70, 72, 130, 321, 349, 376, 407, 441, 467, 469, 632, 675, 676, 691],
        "",
        Kept,
    ),
    (&[36, 46, 48, 50, 62, 115, 452, 455, 471, 549], "", Stops("whatever the rows")),
    (&[192, 193, 194, 195, 516, 720], "", Stops("--password-file")),
    (&[497], "", Stops("grant")),
    (&[201, 243, 290, 359, 405], "", Waits),
    (&[386, 395, 397], "", Stops("its log says more")),
    (&[43, 386, 395, 397, 6, 60], "x: while pushing to view shop.by_day", Stops("mend or drop the view")),
    (&[43, 49, 1002, 123_456], "", StopsAtLast("server's log")),
];

/// All codes that the design's table of errors lists, in its order, and those of sessions.
const LISTED: &[u32] = &[
    3, 32, 33, 159, 160, 209, 210, 279, 202, 203, 745, 749, 762, 763, 364, 241, 173, 776, 777, 778, 396, 252,
    242, 164, 225, 236, 254, 285, 286, 289, 319, 341, 369, 415, 416, 425, 439, 473, 499, 529, 574, 655, 659,
    668, 733, 738, 740, 999, 1000, 1001, 774, 60, 81, 218, 57, 82, 15, 44, 16, 8, 10, 20, 47, 117, 131, 122,
    26, 27, 6, 25, 38, 41, 53, 69, 70, 72, 130, 321, 349, 376, 407, 441, 467, 469, 632, 675, 676, 691, 62,
    36, 46, 48, 50, 115, 452, 455, 471, 549, 192, 193, 194, 195, 497, 516, 720, 243, 201, 290, 359, 405, 395,
    397, 386, 43, 49, 1002, 372, 373,
];

/// The errors of which `which` says yes, one by one: code, message, what is expected.
fn errors(which: impl Fn(Expected) -> bool) -> Vec<(u32, &'static str, Expected)> {
    let rows = ERRORS.iter().filter(|(_, _, expected)| which(*expected));
    let each =
        rows.flat_map(|(codes, message, expected)| codes.iter().map(|code| (*code, *message, *expected)));
    each.map(|(code, message, expected)| {
        (code, if message.is_empty() { "injected" } else { message }, expected)
    })
    .collect()
}

#[test]
fn each_code_of_the_table_is_tried() {
    let tried: Vec<u32> = errors(|_| true).iter().map(|(code, ..)| *code).collect();
    let missing: Vec<&u32> = LISTED.iter().filter(|code| !tried.contains(code)).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
    let beyond: Vec<u32> = tried.into_iter().filter(|code| !LISTED.contains(code)).collect();
    assert_eq!(beyond, [123_456], "codes that the table does not list");
}

#[test]
fn an_insert_that_fails_with_any_code_that_passes_by_itself_lands_once() {
    let stack = Stack::shared();
    let (parts, others): (Vec<_>, Vec<_>) = errors(|expected| matches!(expected, Waits | Parts | Reread))
        .into_iter()
        .partition(|(.., expected)| *expected == Parts);
    // What asks for halves meets a whole batch: the error after it comes to one of the halves.
    let (beside, rest) = others.split_at(parts.len());
    let pairs = parts.iter().zip(beside).flat_map(|(part, other)| [*part, *other]);
    let errors: Vec<_> = pairs.chain(rest.iter().copied()).collect();
    // More rows than are inserted at once however little memory there is, and batches for all of the errors.
    let batch = 100;
    let updates = (errors.len() as u64 + 5) * batch;
    let topic = Topic::new("codes_pass.public.my_table", 1);
    topic.produce(1, &events::updates(updates));
    let database = Database::new("codes_pass");
    let matching = "INSERT INTO .codes_pass.\\..my_table.";
    for (number, (code, message, _)) in errors.iter().enumerate() {
        // Each meets an insert after one that went through, so that the waits stay short.
        let fault = json!({"kind": "exception", "code": code, "message": message, "skip": number + 1});
        stack.arm(matching, fault);
    }
    let ended = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .args(["--batch-rows", &batch.to_string(), "--until-caught-up"])
        .succeed();
    assert_eq!(stack.armed(matching), 0, "an error did not come: {ended:?}");
    for (code, message, expected) in errors {
        let done = match expected {
            Waits => "waiting for ClickHouse",
            Parts => "trying again by halves",
            _ => "reading the table again",
        };
        let lines = ended.err.lines().filter(|line| line.contains(&format!("code {code} (")));
        let mut lines = lines.filter(|line| line.contains(message));
        assert!(lines.any(|line| line.contains(done)), "{code} {message}: not {expected:?}: {}", ended.err);
    }
    database.has_updates_once("my_table", updates);
    assert!(!database.has_table("_rowgate_dead_letters"));
    assert!(topic.is_done("rowgate-codes_pass"));
}

#[test]
fn rows_that_the_server_refuses_with_any_code_are_found_and_no_others_are_kept_apart() {
    const BATCH: usize = 16;
    let stack = Stack::shared();
    let errors = errors(|expected| expected == Kept);
    let topic = Topic::new("codes_rows.public.my_table", 1);
    let mut records = events::updates((errors.len() * BATCH) as u64);
    let mut faulty = Vec::new();
    for (number, (code, message, _)) in errors.iter().enumerate() {
        // Anywhere in its batch: at the beginning, at the end, between.
        let at = number * BATCH + [0, BATCH - 1, number % BATCH][number % 3];
        records[at] = events::update(at as u64, &format!("faulty-{code}-"));
        faulty.push((at, *code));
        let matching = format!("INSERT INTO .codes_rows.\\..my_table..*faulty-{code}-");
        stack.arm(&matching, json!({"kind": "exception", "code": code, "message": message, "count": 1000}));
    }
    topic.produce(1, &records);
    let database = Database::new("codes_rows");
    let ended = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        // So that the proxy can read what is inserted.
        .args(["--compression", "none", "--batch-rows", &BATCH.to_string(), "--until-caught-up"])
        .succeed();
    assert_eq!(ended.counters().rejected, errors.len() as u64);
    let letters = database.lines(
        "SELECT offset, stage, extract(reason, '^code (\\\\d+) ') FROM _rowgate_dead_letters ORDER BY offset",
    );
    let expected: Vec<String> = faulty.iter().map(|(at, code)| format!("{at}\tinsert\t{code}")).collect();
    assert_eq!(letters, expected);
    assert_eq!(database.doubled("my_table"), [""; 0]);
    assert_eq!(
        database.query("SELECT count(), countIf(name = concat('name ', toString(id))) FROM my_table"),
        format!("{0}\t{0}", records.len() - errors.len())
    );
}

/// Runs a few lines into a table of `codes_stop` whose inserts all get this error.
fn stopped_by(code: u32, message: &str, number: usize) -> Ended {
    let stack = Stack::shared();
    let table = format!("t{number}");
    let fault = json!({"kind": "exception", "code": code, "message": message, "count": 1000});
    stack.arm(&format!("INSERT INTO .codes_stop.\\..{table}. "), fault);
    let lines =
        places::file("lines.ndjson", events::lines("codes_stop.public.my_table", &events::updates(3)));
    Host::new()
        .args(["--input", &lines, "--clickhouse-url", stack.faults_url()])
        .args(["--database", "codes_stop", "--table", &table])
        .run()
}

#[test]
fn any_code_that_a_person_must_end_stops_the_host_and_says_what_where_and_what_to_do() {
    let database = Database::new("codes_stop");
    let errors = errors(|expected| matches!(expected, Stops(_) | StopsAtLast(_)));
    let next = Mutex::new(errors.iter().enumerate());
    let work = || {
        while let Some((number, (code, message, expected))) = { next.lock().expect("no panic").next() } {
            let ended = stopped_by(*code, message, number);
            let (help, waits) = match expected {
                Stops(help) => (help, 0),
                StopsAtLast(help) => (help, 5),
                _ => unreachable!("not asked for"),
            };
            let table = format!("inserting into codes_stop.t{number}");
            ended.fails(3, &[&table, &format!("code {code} ("), message, "help: nothing is committed", help]);
            assert_eq!(ended.err.matches("waiting for ClickHouse").count(), waits, "{code}: {ended:?}");
            if let Some((_, view)) = message.split_once("pushing to view ") {
                ended.fails(3, &[&format!("behind which the view {view} fails")]);
            }
            assert_eq!(database.count(&format!("t{number}")), 0);
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(work)));
    assert!(!database.has_table("_rowgate_dead_letters"));
}

#[test]
fn a_host_that_an_error_stopped_has_committed_nothing_and_the_next_start_lands_all_once() {
    let stack = Stack::shared();
    let topic = Topic::new("codes_next.public.my_table", 1);
    topic.produce(1, &events::updates(500));
    let database = Database::new("codes_next");
    let host = || Host::pipeline(&topic, &database).args(["--batch-rows", "100", "--until-caught-up"]);
    let matching = "INSERT INTO .codes_next.\\..my_table.";
    // The first after one batch that goes through.
    for (code, count, skip, text) in
        [(62, 1, 1, "code 62"), (16, 3, 0, "read again 3 times, and still refuses its rows: code 16")]
    {
        let fault =
            json!({"kind": "exception", "code": code, "count": count, "skip": skip, "message": "injected"});
        stack.arm(matching, fault);
        host()
            .set("--clickhouse-url", stack.faults_url())
            .run()
            .fails(3, &["my_table", text, "help: nothing is"]);
        // The batch that did not land is sealed, and no more.
        let committed = topic.committed("rowgate-codes_next");
        assert!(matches!(&committed[..], [(0, 100, seal)] if !seal.is_empty()), "{committed:?}");
        assert_eq!(stack.armed(matching), 0);
    }
    host().succeed();
    database.has_updates_once("my_table", 500);
    assert!(topic.is_done("rowgate-codes_next"));
}

#[test]
fn a_selection_that_fails_with_status_200_is_no_answer() {
    const UPDATES: u64 = 2_000;
    let stack = Stack::shared();
    let topic = Topic::new("codes_select.public.my_table", 1);
    topic.produce(1, &events::updates(UPDATES));
    let database = Database::new("codes_select");
    let (insert, select) =
        ("INSERT INTO .codes_select.\\..my_table.", "SELECT toInt64.* FROM .codes_select.");
    let mut number = 0;
    for style in ["tagged", "plain", "header"] {
        // With nothing before it, and with what reads as the identity of a row.
        for before in ["", "0123456789"] {
            let fault = json!({"kind": "exception_in_200", "style": style, "code": 241, "before": before, "skip": number});
            stack.arm(select, fault);
            number += 1;
            stack.arm(insert, json!({"kind": "drop_response", "skip": number}));
        }
    }
    let ended = Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .args(["--batch-rows", "100", "--until-caught-up"])
        .succeed();
    assert_eq!((stack.armed(insert), stack.armed(select)), (0, 0), "{ended:?}");
    // Each insert without an answer, and each selection after one.
    assert_eq!(ended.err.matches("waiting for ClickHouse").count(), 2 * number, "{ended:?}");
    database.has_updates_once("my_table", UPDATES);
}

#[test]
fn a_block_of_more_partitions_than_the_server_takes_is_inserted_by_parts() {
    let topic = Topic::new("codes_partitions.public.my_table", 1);
    topic.produce(1, &events::updates(500));
    let database = Database::new("codes_partitions");
    let lineage = crate::tables::Server::NEW.lineage();
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String, \
         {lineage}) ENGINE = MergeTree ORDER BY id PARTITION BY intDiv(id, 2) SETTINGS non_replicated_deduplication_window = 100"
    ));
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert!(ended.err.contains("trying again by halves"), "{ended:?}");
    database.has_updates_once("my_table", 500);
}

/// A table with a window, and what its view fills.
fn with_view(database: &Database, select: &str) {
    let lineage = crate::tables::Server::NEW.lineage();
    let window = "non_replicated_deduplication_window = 100";
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, name Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), op String, \
         {lineage}) ENGINE = MergeTree ORDER BY id SETTINGS {window}"
    ));
    database.query(&format!(
        "CREATE TABLE seen (id Int64, number Int64) ENGINE = MergeTree ORDER BY id SETTINGS {window}"
    ));
    database.query(&format!(
        "CREATE MATERIALIZED VIEW seeing TO seen AS SELECT id, {select} AS number FROM my_table"
    ));
}

#[test]
fn a_view_that_fails_stops_the_host_and_its_rows_are_no_dead_letters() {
    let topic = Topic::new("codes_view.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("codes_view");
    // Code 6: in the table's own rows it would be the rows' fault.
    with_view(&database, "if(id < 50, 1, toInt64(assumeNotNull(name)))");
    let host = || Host::pipeline(&topic, &database).args(["--batch-rows", "10", "--until-caught-up"]);
    let ended = host().run();
    ended.fails(
        3,
        &["codes_view.my_table", "view codes_view.seeing fails", "code 6", "mend or drop the view"],
    );
    assert!(!database.has_table("_rowgate_dead_letters"));
    assert_eq!(database.query("SELECT count(), max(id) FROM seen"), "50\t49");

    database.query("DROP TABLE seeing");
    database.query("CREATE MATERIALIZED VIEW seeing TO seen AS SELECT id, 1 AS number FROM my_table");
    host().succeed();
    database.has_updates_once("my_table", 100);
    // As the message says: what the table had already is not sent again.
    assert_eq!(
        database.query("SELECT count(), uniqExact(id), countIf(id < 60 AND id >= 50) FROM seen"),
        "90\t90\t0"
    );
}

#[test]
fn a_view_that_could_not_take_rows_for_a_while_gets_each_of_them_once() {
    let topic = Topic::new("codes_behind.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let stack = Stack::start(&["clickhouse", "faults"]);
    let database = Database::on(&stack, "codes_behind");
    with_view(&database, "if(id < 50, 1, toInt64(assumeNotNull(name)))");
    // The view fails at the sixth batch, whose rows the table has by then. What the host sees passes by itself, and
    // lasts until the view is mended.
    let matching = "INSERT INTO .codes_behind.\\..my_table.";
    let message = "Too many parts (3000): while pushing to view codes_behind.seeing";
    let fault =
        |kind: &str| json!({"kind": kind, "code": 252, "message": message, "style": "header", "skip": 5});
    let (mut applied, mut others) = (fault("exception_in_200"), fault("exception"));
    applied["apply"] = json!(true);
    others["count"] = json!(1000);
    stack.arm(matching, applied);
    stack.arm(matching, others);
    let host = Host::between(Stack::shared().brokers(), stack.faults_url(), &database)
        .args(["--topic", &topic.name, "--batch-rows", "10", "--until-caught-up"])
        .start();
    host.wait_for_line("pushing to view codes_behind.seeing");
    assert_eq!((database.count("my_table"), database.count("seen")), (60, 50));
    database.query("DROP TABLE seeing");
    database.query("CREATE MATERIALIZED VIEW seeing TO seen AS SELECT id, 1 AS number FROM my_table");
    stack.disarm();

    let ended = host.wait();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    database.has_updates_once("my_table", 100);
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM seen"), "100\t100", "{ended:?}");
}

#[test]
fn a_table_that_another_host_creates_at_the_same_time_is_taken() {
    let stack = Stack::shared();
    let topic = Topic::new("codes_create.public.my_table", 1);
    topic.produce(1, &events::updates(5));
    let database = Database::new("codes_create");
    let matching = "CREATE TABLE .*codes_create.*my_table";
    let fault = json!({"kind": "exception_in_200", "code": 57, "style": "header", "apply": true});
    stack.arm(matching, fault);
    Host::pipeline(&topic, &database)
        .set("--clickhouse-url", stack.faults_url())
        .arg("--until-caught-up")
        .succeed();
    assert_eq!(stack.armed(matching), 0);
    database.has_updates_once("my_table", 5);
}

#[test]
fn a_password_that_is_changed_is_read_again_and_the_host_goes_on() {
    let settings = |password| [("CLICKHOUSE_USER", "rowgate"), ("CLICKHOUSE_PASSWORD", password)];
    let topic = Topic::new("codes_password.public.my_table", 1);
    topic.produce(1, &events::updates(10));
    let stack = Stack::start_with(&["clickhouse"], &settings("hush-one"));
    let at = |password: &str| {
        let url = stack.clickhouse_url().replace("http://", &format!("http://rowgate:{password}@"));
        Database { server: ClickHouse::at(&url), name: "codes_password".to_owned() }
    };
    at("hush-one").server.query("CREATE DATABASE codes_password");
    let file = places::file("password", "hush-one\n");
    let host = Host::between(Stack::shared().brokers(), stack.clickhouse_url(), &at("hush-one"))
        .args(["--topic", &topic.name, "--user", "rowgate", "--password-file", &file])
        .start();
    at("hush-one").wait_for_rows("my_table", 10);

    std::fs::write(&file, "hush-two\n").expect("it can be written");
    stack.run(&["stop", "clickhouse"]);
    let started = Command::new(places::root().join("tests/stack/stack"))
        .args(["start", "clickhouse"])
        .envs(stack.place())
        .envs(settings("hush-two"))
        .output()
        .expect("bash runs");
    assert!(started.status.success(), "{started:?}");
    assert!(at("hush-one").try_query("SELECT 1").is_err(), "the old password still works");
    topic.produce(1, &events::updates(20).split_off(10));
    at("hush-two").wait_for_rows("my_table", 20);
    host.wait_for_line("the password's file has another one by now");
    let ended = host.drain();
    at("hush-two").has_updates_once("my_table", 20);
    assert!(!ended.err.contains("hush-"), "{ended:?}");
}
