//! Transforms that misbehave: the host lives, the other records land, and each bad one is kept with the reason.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use attacks::table::{ATTACKS, Attack, Must};

use crate::support::events::{self, Record};
use crate::support::host::Counters;
use crate::support::{Database, Ended, Host, Topic, places};

const HOSTILE: &str = "tests/hostile";

/// Runs a mode over these records, from a file.
fn run(mode: &str, records: &[Record]) -> Ended {
    let file = places::file("events.ndjson", events::lines("hostile.public.my_table", records));
    Host::from_file(&file).transform(HOSTILE).args(["-p", &format!("mode={mode}")]).run()
}

/// The reasons in the file of dead letters of the transform, by offset.
fn reasons(ended: &Ended) -> Vec<(u64, String)> {
    letters(ended, "transform")
}

/// The reasons in the file of dead letters of a stage, by offset.
fn letters(ended: &Ended, stage: &str) -> Vec<(u64, String)> {
    let letters = std::fs::read_to_string(ended.folder.join("dead-letters.ndjson")).unwrap_or_default();
    let letters = letters.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    letters
        .filter(|letter| letter["stage"] == stage)
        .map(|letter| {
            let reason = letter["reason"].as_str().expect("a reason").to_owned();
            (letter["offset"].as_u64().expect("an offset"), reason)
        })
        .collect()
}

/// What is wrong with how an attack ended; nothing where all is well.
fn wrong(attack: &Attack) -> Option<String> {
    let file = places::file("component.wasm", attack.component());
    let records =
        places::file("events.ndjson", events::lines("hostile.public.my_table", &events::updates(1)));
    let ended =
        Host::from_file(&records).args(["--transform", &file, "-p", &format!("mode={}", attack.name)]).run();
    let right = !ended.err.contains("panicked")
        && match attack.end {
            Must::Refused(reason) => ended.code() == Some(2) && ended.error().contains(reason),
            // What it returned stands in the dead letters as text, which is its own business.
            Must::Fail(reason) => {
                let reasons = reasons(&ended);
                let offsets: Vec<u64> = reasons.iter().map(|(offset, _)| *offset).collect();
                ended.code() == Some(0)
                    && offsets == [0]
                    && reasons.iter().all(|(_, found)| found.contains(reason))
            }
            Must::Pass => ended.code() == Some(0) && letters(&ended, "transform").is_empty(),
        };
    (!right).then(|| format!("{}: it must {:?}: {ended:?}", attack.name, attack.end))
}

/// All of them, in as many processes, some at once.
#[test]
fn every_attack_ends_as_it_must_in_the_hosts_own_process() {
    let next = AtomicUsize::new(0);
    let attack = || {
        let mut wrongs = Vec::new();
        while let Some(attack) = ATTACKS.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrongs.extend(wrong(attack));
        }
        wrongs
    };
    let wrongs: Vec<String> = thread::scope(|scope| {
        let running = [(); 4].map(|()| scope.spawn(attack));
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[test]
fn lies_that_need_two_changes_are_found_out_and_the_changes_one_by_one_are_taken() {
    for mode in ["liar_unsorted", "liar_utf8_split"] {
        let ended = run(mode, &events::updates(4));
        assert_eq!(ended.code(), Some(0), "{mode}: {ended:?}");
        assert_eq!((ended.counters().kept, ended.counters().rows), (4, 4), "{mode}");
    }
    let ended = run("liar_reject_unsorted", &events::updates(4));
    assert_eq!(reasons(&ended).len(), 4, "{ended:?}");
}

#[test]
fn names_and_types_of_a_plan_never_become_sql() {
    let topic = Topic::new("hostile_names.public.my_table", 1);
    topic.produce(1, &events::updates(4));
    let database = Database::new("hostile_names");
    database.query("CREATE TABLE x (a Int32) ENGINE = Memory");
    for (mode, text) in [
        ("plan_target", "DROP TABLE x"),
        ("plan_odd_names", "control characters"),
        ("plan_type", "Nothing(of"),
    ] {
        Host::pipeline(&topic, &database)
            .set("--name", &format!("hostile_{mode}"))
            .transform(HOSTILE)
            .args(["-p", &format!("mode={mode}"), "--until-caught-up"])
            .succeed();
        let reasons = format!(
            "SELECT any(reason), count() FROM _rowgate_dead_letters WHERE pipeline = 'hostile_{mode}'"
        );
        let found = database.query(&reasons);
        assert!(found.contains(text) && found.ends_with("\t4"), "{mode}: {found}");
    }
    assert_eq!(database.lines("SHOW TABLES"), ["_rowgate_dead_letters", "_rowgate_topics", "x"]);
}

#[test]
fn a_plan_with_thousands_of_columns_lands() {
    let topic = Topic::new("hostile_wide.public.my_table", 1);
    topic.produce(1, &events::updates(4));
    let database = Database::new("hostile_wide");
    Host::pipeline(&topic, &database)
        .transform(HOSTILE)
        .args(["-p", "mode=plan_many_columns", "--until-caught-up"])
        .succeed();
    assert_eq!(database.query("SELECT count(), countIf(column_4999 = _topic) FROM my_table"), "4\t4");
}

#[test]
fn a_transform_that_cannot_be_configured_ends_the_host_with_the_reason() {
    for (mode, reason) in [
        ("spin_configure", "configure used up its fuel"),
        ("grow_configure", "configure needs more than 64 MiB"),
        ("trap_configure", "configure trapped"),
        ("fail_configure", "parameter `mode` is at fault, as told"),
        ("nonsense", "parameter `mode` is `nonsense`"),
    ] {
        run(mode, &events::updates(1)).fails(2, &["hostile.wasm", reason]);
    }
}

#[test]
fn what_a_transform_logs_cannot_act_on_a_terminal_or_flood_the_log() {
    let ended = run("log_flood", &events::updates(4));
    assert_eq!(ended.code(), Some(0));
    assert!(ended.err.lines().count() < 100, "{} lines", ended.err.lines().count());
    assert!(ended.err.len() < 200_000, "{} bytes", ended.err.len());
    assert!(!ended.err.contains('\u{1b}') && !ended.err.contains('\u{202e}'), "{}", ended.err);
    assert!(!ended.err.lines().any(|line| line.starts_with("{\"level\"")), "{}", ended.err);

    let reasons = reasons(&run("huge_reason", &events::updates(4)));
    assert!(reasons.iter().all(|(_, reason)| reason.len() < 1100));
}

#[test]
fn one_large_value_is_taken() {
    let ended = run("huge_cell", &events::updates(2));
    assert_eq!((ended.code(), ended.counters().kept), (Some(0), 2));
}

#[test]
fn the_one_change_that_a_transform_traps_on_is_found_and_the_others_land() {
    let topic = Topic::new("hostile_trap.public.my_table", 1);
    let mut records = events::updates(1_000);
    records[700] = events::update(700, "boom");
    topic.produce(1, &records);
    let database = Database::new("hostile_trap");
    let ended = Host::pipeline(&topic, &database)
        .transform(HOSTILE)
        .args(["-p", "mode=trap", "--until-caught-up"])
        .succeed();
    assert_eq!(
        ended.counters(),
        Counters { consumed: 1_000, kept: 999, filtered: 0, rejected: 1, rows: 999 }
    );
    assert_eq!(
        database.query("SELECT count(), uniqExact(id), countIf(id = 700) FROM my_table"),
        "999\t999\t0"
    );
    assert_eq!(
        database.query("SELECT offset, stage, key, position(value, 'boom') > 0, position(reason, 'trapped') > 0 FROM _rowgate_dead_letters"),
        "700\ttransform\t{\"id\":700}\t1\t1"
    );
    assert!(topic.is_done("rowgate-hostile_trap"));
}

#[test]
fn changes_that_a_transform_rejects_are_kept_with_its_reason() {
    let topic = Topic::new("hostile_reject.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("hostile_reject");
    let ended = Host::pipeline(&topic, &database)
        .transform(HOSTILE)
        .args(["-p", "mode=reject_odd", "--until-caught-up"])
        .succeed();
    assert_eq!(ended.counters(), Counters { consumed: 100, kept: 50, filtered: 0, rejected: 50, rows: 50 });
    assert_eq!(database.query("SELECT count(), countIf(id % 2 = 0) FROM my_table"), "50\t50");
    assert_eq!(
        database.query("SELECT count(), countIf(reason = concat('offset ', toString(offset), ' is odd')) FROM _rowgate_dead_letters"),
        "50\t50"
    );
}

#[test]
fn several_rows_of_one_change_land_each_with_its_place() {
    let topic = Topic::new("hostile_fan.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("hostile_fan");
    let ended = Host::pipeline(&topic, &database)
        .transform(HOSTILE)
        .args(["-p", "mode=fan_out", "--until-caught-up"])
        .succeed();
    assert_eq!(ended.counters(), Counters { consumed: 100, kept: 100, filtered: 0, rejected: 0, rows: 200 });
    assert_eq!(
        database.query("SELECT count(), uniqExact(id), countIf(copy = _seq) FROM my_table"),
        "200\t100\t200"
    );
    assert_eq!(database.doubled("my_table"), [""; 0]);
}

#[test]
fn rows_go_to_the_tables_that_the_transform_names() {
    let topic = Topic::new("hostile_route.public.my_table", 1);
    topic.produce(1, &events::updates(100));
    let database = Database::new("hostile_route");
    Host::pipeline(&topic, &database)
        .transform(HOSTILE)
        .args(["-p", "mode=route", "--until-caught-up"])
        .succeed();
    assert_eq!(database.query("SELECT count(), countIf(id % 2 = 0) FROM even"), "50\t50");
    assert_eq!(database.query("SELECT count(), countIf(id % 2 = 1) FROM odd"), "50\t50");
}
