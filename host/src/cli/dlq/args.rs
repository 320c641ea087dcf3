//! The words of `host dlq` on the command line.

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};
use jiff::Timestamp;

use super::{Action, Command};
use crate::dead_letter::filter::{self, Filter, Place};

const HEADING: &str = "Which letters";

const EXAMPLES: &str = "\
Examples:
  host -c pipeline.yaml dlq ls
  host -c pipeline.yaml dlq ls --each --stage encode --since 2h
  host -c pipeline.yaml dlq show shop.public.orders/0@17
  host -c pipeline.yaml dlq retry --dry-run
  host -c pipeline.yaml dlq retry --reason 'outside the column'
  host -c pipeline.yaml dlq discard --topic shop.public.tmp --because 'test data'

Settings are those of the run. The setting --topic stands before `dlq`; after it, --topic chooses letters.";

/// `dlq` and what comes after it; `settings` adds the flags of the settings, but those of these names.
pub fn command(settings: impl Fn(Clap, &[&str]) -> Clap) -> Clap {
    let json = || switch("json", "Show it as JSON, an object a line");
    let place = Arg::new("place")
        .value_name("TOPIC/PARTITION@OFFSET")
        .required(true)
        .value_parser(|text: &str| text.parse::<Place>())
        .help("The record's place, as `dlq ls --each` shows it");
    let because = Arg::new("because")
        .long("because")
        .value_name("TEXT")
        .required(true)
        .value_parser(NonEmptyStringValueParser::new())
        .help("Why: it is kept with the letters");
    let with = |command: Clap| chosen(settings(command, &["topic"]));
    Clap::new("dlq")
        .about("Look at dead letters, process them again, or put them aside")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(
            with(Clap::new("ls").about("List the open ones, by groups that are alike"))
                .arg(switch("each", "List them one by one"))
                .arg(switch("all", "List those that were retried or discarded, too"))
                .arg(json()),
        )
        .subcommand(
            settings(
                Clap::new("show").about("Show one with its record, and what was done about it"),
                &["topic"],
            )
            .arg(place)
            .arg(pipeline())
            .arg(json()),
        )
        .subcommand(
            with(Clap::new("retry").about(
                "Process them again, by the transform and settings of now; --dry-run says what would happen",
            ))
            .arg(json()),
        )
        .subcommand(
            with(Clap::new("discard").about("Mark them as not to be processed; none is deleted"))
                .arg(because)
                .arg(switch("yes", "Do not ask"))
                .arg(json()),
        )
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn pipeline() -> Arg {
    Arg::new("of_pipeline")
        .long("pipeline")
        .value_name("NAME")
        .help_heading(HEADING)
        .help("Letters of another pipeline than the configured one")
}

/// The flags that choose letters. Their ids are none of a setting's.
fn chosen(command: Clap) -> Clap {
    let arg = |id: &'static str, long: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).long(long).value_name(value).help_heading(HEADING).help(help)
    };
    let now = Timestamp::now();
    let time = move |text: &str| filter::time(text, now);
    command.args([
        pipeline(),
        arg("of_reason", "reason", "TEXT", "Whose reason has this text"),
        arg("of_stage", "stage", "STAGE", "That failed at decode, transform, encode or insert")
            .value_parser(filter::stage),
        arg("since", "since", "TIME", "Kept at this time or later: 2026-01-31T12:00 in UTC, or 2h (ago)")
            .value_parser(time),
        arg("until", "until", "TIME", "Kept before this time").value_parser(time),
        arg("of_topic", "topic", "TOPIC", "Of this topic: a name, or `^...$`; repeatable")
            .action(ArgAction::Append),
        arg("of_partition", "partition", "N", "Of this partition")
            .value_parser(value_parser!(i32).range(0..)),
        arg("of_offset", "offset", "N", "At this offset, or FIRST-LAST").value_parser(filter::offsets),
        arg("limit", "limit", "N", "So many at most").value_parser(value_parser!(u64).range(1..)),
    ])
}

/// Reads the words that `matches` has, those of the command `name`.
pub fn parse(name: &str, matches: &ArgMatches) -> Result<Command, clap::Error> {
    // Asking for a flag that a command does not have is an error of its own, unlike one that is not given.
    let is = |name: &str| matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default();
    let action = match name {
        "ls" => Action::Ls { each: is("each"), all: is("all") },
        "retry" => Action::Retry,
        "discard" => Action::Discard {
            because: matches.get_one::<String>("because").cloned().unwrap_or_default(),
            yes: is("yes"),
        },
        _ => {
            let place = matches.get_one::<Place>("place").cloned();
            Action::Show(place.ok_or_else(|| clap::Error::new(ErrorKind::MissingRequiredArgument))?)
        }
    };
    Ok(Command { action, filter: filter_of(matches), json: is("json") })
}

fn filter_of(matches: &ArgMatches) -> Filter {
    fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
        matches.try_get_one::<T>(name).ok().flatten().cloned()
    }
    let topics = matches.try_get_many::<String>("of_topic").ok().flatten();
    Filter {
        pipeline: one(matches, "of_pipeline").unwrap_or_default(),
        reason: one(matches, "of_reason"),
        stage: one(matches, "of_stage"),
        since: one(matches, "since"),
        until: one(matches, "until"),
        topics: topics.map(|topics| topics.cloned().collect()).unwrap_or_default(),
        partition: one(matches, "of_partition"),
        offsets: one(matches, "of_offset"),
        limit: one(matches, "limit"),
    }
}
