//! `host dlq`: dead letters looked at, processed again, or put aside.

mod args;
mod discard;
mod ls;
mod retry;
mod show;

use std::io::IsTerminal;

use anyhow::{Context as _, Result, anyhow};
use clap::ArgMatches;
use tokio::runtime::{Handle, Runtime};

pub use self::args::command;
use crate::clickhouse::client::Client;
use crate::config::{DeadLetters, Loaded, Settings, Sink};
use crate::dead_letter::filter::{Filter, Place};
use crate::dead_letter::read::Outline;
use crate::dead_letter::store::Store;
use crate::error::Classify;
use crate::telemetry;

/// Letters that are asked for at once.
const PAGE: u64 = 1000;

/// What to do with dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub action: Action,
    /// With which. The pipeline is empty where it is the configured one.
    pub filter: Filter,
    /// As JSON, an object a line.
    pub json: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// List them.
    Ls {
        /// One by one, not by groups.
        each: bool,
        /// Those that were retried or discarded, too.
        all: bool,
    },
    /// Show one with its record.
    Show(Place),
    /// Process them again.
    Retry,
    /// Put them aside.
    Discard {
        /// Why.
        because: String,
        /// Without asking.
        yes: bool,
    },
}

/// Reads the command `dlq`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(name: &str, matches: &ArgMatches) -> Result<Command, clap::Error> {
    args::parse(name, matches)
}

/// Does what `command` says.
///
/// # Errors
/// Dead letters that are kept elsewhere, servers that do not answer; letters that fail again.
pub fn run(command: &Command, loaded: Loaded, verbosity: Option<i8>) -> Result<()> {
    super::warn(&loaded.warnings);
    let settings = loaded.settings;
    let rust_log = std::env::var("RUST_LOG").ok();
    // Results are for people: without a word, what a run would log is left out.
    let quiet =
        verbosity.or(if rust_log.as_deref().unwrap_or_default().is_empty() { Some(-1) } else { None });
    telemetry::install(settings.log_format, quiet, rust_log.as_deref())?;
    let runtime = Runtime::new().context("cannot start the worker threads").environment()?;
    let _context = runtime.enter();
    let mut filter = command.filter.clone();
    if filter.pipeline.is_empty() {
        filter.pipeline.clone_from(&settings.name);
    }
    let store = open(&settings)?;
    match &command.action {
        Action::Ls { each, all } => ls::ls(store, &filter, *each, *all, command.json),
        Action::Show(place) => show::show(store, &filter.pipeline, place, command.json),
        Action::Retry => retry::retry(store, &filter, &settings, command.json),
        Action::Discard { because, yes } => {
            discard::discard(store, &filter, &settings, because, *yes, command.json)
        }
    }
}

/// The configured place of dead letters; none where no letter was ever kept there.
fn open(settings: &Settings) -> Result<Option<Store>> {
    let (DeadLetters::Table(table), Sink::ClickHouse(sink)) = (&settings.dead_letters, &settings.sink) else {
        let (what, help) = match &settings.dead_letters {
            DeadLetters::Topic(topic) => (
                format!("the dead letters are in the topic {topic}, and this works on tables"),
                "read the topic with any consumer; the header rowgate.reason says why. To process them again, run the \
                 host with --topic and a --name of its own: their rows then say the letters' places, not the records'",
            ),
            DeadLetters::File(path) => (
                format!("the dead letters are in the file {}, and this works on tables", path.display()),
                "each line is one, with its reason. To process them again: host --input FILE, with another file for what \
                 fails again",
            ),
            _ => (
                "no dead letters are kept: dead_letters says stop".to_owned(),
                "name the table with --dead-letters table:NAME",
            ),
        };
        return Err(anyhow!(what)).usage().help(help);
    };
    let client = Client::connect(sink, Handle::current())?;
    Store::open(client, &sink.database, table)
}

/// Calls `each` with all letters that `next` finds after a place, page by page, at most `limit` of them. It ends early
/// where `each` says so.
fn pages(
    limit: Option<u64>,
    mut each: impl FnMut(Option<&Place>, u64) -> Result<Option<Vec<Outline>>>,
) -> Result<()> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut after: Option<Place> = None;
    while left > 0 {
        let wanted = left.min(PAGE);
        let Some(page) = each(after.as_ref(), wanted)? else { return Ok(()) };
        let found = page.len() as u64;
        if found < wanted {
            return Ok(());
        }
        left -= found;
        after = page.into_iter().last().map(|outline| outline.place);
    }
    Ok(())
}

/// Who runs this, for the marks.
fn who() -> String {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

/// `1 letter`, `2 letters`.
fn letters(count: u64) -> String {
    counted(count, "letter")
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}
