//! The command line as people type it.

use super::*;
use crate::config::keys::{Form, KEYS};
use crate::config::{Component, DeadLetters, Sink, Source};
use crate::source::kafka::offsets::To;

fn parsed(line: &[&str]) -> Invocation {
    try_parsed(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn try_parsed(line: &[&str]) -> Result<Invocation, clap::Error> {
    parse(std::iter::once("host").chain(line.iter().copied()).map(OsString::from))
}

fn loaded(line: &[&str]) -> Result<Loaded, String> {
    config::load_one(&parsed(line).request, &Surroundings::default()).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn the_definition_has_no_contradiction() {
    args::command().debug_assert();
}

#[test]
fn run_is_what_happens_without_a_command() {
    for line in [&["-t", "rule.wasm"][..], &["run", "-t", "rule.wasm"], &["-t", "rule.wasm", "run"]] {
        let invocation = parsed(line);
        assert_eq!(invocation.command, Command::Run);
        let settings = config::load_one(&invocation.request, &Surroundings::default()).unwrap().settings;
        assert_eq!(settings.transform, Component::File("rule.wasm".into()), "{line:?}");
    }
    assert_eq!(parsed(&[]).command, Command::Run);
}

#[test]
fn every_flag_of_the_table_is_taken_by_every_command_that_reads_settings() {
    for key in KEYS {
        let Some(flag) = key.flag else { continue };
        let value = if key.form == Form::Map { "a=b" } else { "1" };
        let doctor = &["doctor"][..];
        for command in [&[][..], &["run"], &["validate"], doctor, &["config", "show"], &["offsets", "show"]] {
            let flag = format!("--{flag}={value}");
            let invocation = parsed(&[command, &[&flag]].concat());
            assert_eq!(invocation.request.flags.items(key.name).len(), 1, "{command:?} {flag}");
        }
    }
}

#[test]
fn positions_are_moved_by_partition_or_topic_to_an_offset_or_an_end() {
    let change = |line: &[&str]| match parsed(line).command {
        Command::Offsets(offsets::Action::Change { target, to, reason, yes }) => {
            (target.topic, target.partition, to, reason, yes)
        }
        other => panic!("{other:?}"),
    };
    let set = change(&["offsets", "set", "a.b/3", "17", "--reason", "why", "--yes"]);
    assert_eq!(set, ("a.b".to_owned(), Some(3), Some(To::Offset(17)), "why".to_owned(), true));
    let all = change(&["-b", "k:9092", "offsets", "set", "a.b", "latest"]);
    assert_eq!(all, ("a.b".to_owned(), None, Some(To::Latest), String::new(), false));
    assert_eq!(change(&["offsets", "skip", "a/0"]).2, None);
    for wrong in [
        &["offsets"][..],
        &["offsets", "set", "a"],
        &["offsets", "set", "a/0", "-1"],
        &["offsets", "skip", "a"],
        &["offsets", "skip", "a/0", "17"],
    ] {
        assert!(try_parsed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn dead_letters_are_chosen_after_the_command_and_the_settings_stand_anywhere() {
    let line =
        ["--topic", "a", "--table", "t", "dlq", "retry", "--topic", "b", "--dry-run", "--offset", "1-2"];
    let invocation = parsed(&line);
    let Command::Dlq(command) = &invocation.command else { panic!("{invocation:?}") };
    assert_eq!(command.action, dlq::Action::Retry);
    assert_eq!(
        (command.filter.topics.as_slice(), command.filter.offsets),
        (&["b".to_owned()][..], Some((1, 2)))
    );
    assert_eq!(invocation.request.flags.items("topic")[0].text, "a");
    assert_eq!(invocation.request.flags.items("dry_run").len(), 1);
    for wrong in [
        &["dlq"][..],
        &["dlq", "show"],
        &["dlq", "show", "x"],
        &["dlq", "discard"],
        &["dlq", "discard", "--because", ""],
        &["dlq", "ls", "--stage", "x"],
        &["dlq", "ls", "--limit", "0"],
    ] {
        assert!(try_parsed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_whole_line_becomes_settings() {
    let settings = loaded(&[
        "-t",
        "rule.wasm",
        "-p",
        "zone=UTC",
        "-p",
        "rate=1.50",
        "-b",
        "a:9092,b:9092",
        "--topic",
        "shop.public.orders",
        "--topic",
        "^shop[.]audit[.].*$",
        "-g",
        "g",
        "-X",
        "client.id=shop",
        "--clickhouse-url",
        "http://ch:8123",
        "--database",
        "d",
        "--user",
        "u",
        "--table",
        "t",
        "--start",
        "latest",
        "--for",
        "20s",
        "--max-records",
        "5",
        "--until-caught-up",
        "--print",
        "--show-last",
        "3",
        "--dry-run",
        "--dead-letters",
        "stop",
        "--compression",
        "zstd",
        "--batch-rows",
        "10",
        "--batch-bytes",
        "2048",
        "--linger-ms",
        "5",
        "--name",
        "n",
        "--log-format",
        "json",
    ])
    .unwrap()
    .settings;
    let Source::Kafka(kafka) = &settings.source else { panic!("{settings:?}") };
    assert_eq!((kafka.brokers.len(), kafka.topics.len(), kafka.group.as_str()), (2, 2, "g"));
    let Sink::ClickHouse(clickhouse) = &settings.sink else { panic!("{settings:?}") };
    assert_eq!((clickhouse.database.as_str(), clickhouse.table.as_deref()), ("d", Some("t")));
    assert_eq!(
        settings.params.0,
        [("zone".to_owned(), "UTC".to_owned()), ("rate".to_owned(), "1.50".to_owned())]
    );
    assert_eq!(settings.dead_letters, DeadLetters::Stop);
    assert!(settings.print && settings.dry_run && settings.bounds.until_caught_up);
    assert_eq!((settings.batch.rows, settings.show_last, settings.name.as_str()), (10, 3, "n"));
}

#[test]
fn standard_streams_are_a_dash() {
    let settings = loaded(&["--input", "-", "--output", "-"]).unwrap().settings;
    assert_eq!((settings.source, settings.sink), (Source::Lines { path: None }, Sink::Lines { path: None }));
}

#[test]
fn a_switch_stands_alone_or_with_its_value() {
    assert!(loaded(&["--print", "run"]).unwrap().settings.print);
    assert!(!loaded(&["--print=false"]).unwrap().settings.print);
    assert_eq!(loaded(&["--print=perhaps"]).unwrap_err(), "--print: `perhaps` is neither true nor false");
}

#[test]
fn the_flags_of_a_command_win_over_those_before_it() {
    let settings =
        loaded(&["--name", "before", "--database", "d", "run", "--name", "after"]).unwrap().settings;
    assert_eq!(settings.name, "after");
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_shown() {
    let mistakes = loaded(&["-X", "sasl.password=hunter2"]).unwrap_err();
    assert!(mistakes.starts_with("-X: `sasl.password` is a secret"), "{mistakes}");
    assert!(!mistakes.contains("hunter2"), "{mistakes}");
    assert!(try_parsed(&["--password", "hunter2"]).unwrap_err().to_string().contains("--password-file"));
    assert_eq!(loaded(&["-p", "zone"]).unwrap_err(), "-p: not of the form `NAME=VALUE`");
}

#[test]
fn verbosity_is_the_count_of_v_less_that_of_q() {
    assert_eq!(parsed(&[]).verbosity, None);
    assert_eq!(parsed(&["-vv"]).verbosity, Some(2));
    assert_eq!(parsed(&["-q", "run"]).verbosity, Some(-1));
    assert_eq!(parsed(&["validate", "-v", "-q"]).verbosity, Some(0));
}

#[test]
fn other_commands_take_what_is_theirs() {
    assert_eq!(parsed(&["-c", "p.yaml", "validate"]).command, Command::Validate);
    assert_eq!(parsed(&["config", "show", "--json"]).command, Command::ConfigShow { json: true });
    let inspect = Command::Inspect { file: PathBuf::from("rule.wasm"), keys: vec![], json: true };
    assert_eq!(parsed(&["inspect", "rule.wasm", "--json"]).command, inspect);
}

#[test]
fn wrong_usage_is_told_and_exits_2() {
    for (line, part) in [
        (&["--brokerz", "a"][..], "--brokers"),
        (&["--transform"], "FILE"),
        (&["inspect"], "FILE"),
        (&["config"], "show"),
        (&["valid"], "validate"),
        (&["-t", "a.wasm", "inspect", "b.wasm"], "--transform says nothing to `inspect`"),
        (&["--name", "a", "--name", "b"], "--name"),
    ] {
        let error = try_parsed(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
        assert!(error.to_string().contains(part), "{line:?}: {error}");
    }
}

#[test]
fn help_names_every_flag_variable_and_exit_code() {
    let error = try_parsed(&["--help"]).unwrap_err();
    let help = error.to_string();
    assert_eq!(error.exit_code(), 0);
    for key in KEYS.iter().filter(|key| key.flag.is_some()) {
        assert!(
            help.contains(&format!("--{}", key.flag.unwrap())) && help.contains(&key.variable()),
            "{}",
            key.name
        );
    }
    assert!(help.contains("Exit codes: 0 done") && help.contains("Examples:"), "{help}");
    let brief = try_parsed(&["-h"]).unwrap_err().to_string();
    assert!(brief.len() < help.len() && !brief.contains("ROWGATE_TOPIC"), "{brief}");
}

#[test]
fn a_configuration_mistake_exits_2() {
    let invocation = parsed(&["validate", "--for", "soon"]);
    let error = execute(&invocation, &Surroundings::default()).unwrap_err();
    assert_eq!(crate::error::exit_of(&error), crate::error::Exit::Usage);
}
