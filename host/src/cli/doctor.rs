//! `host doctor`: is everything there that this configuration names, and what is guaranteed where? It connects to
//! all of it, joins nothing, and changes nothing.

mod report;
mod target;

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::{Handle, Runtime};

use self::report::{Check, Report};
use crate::config::{Configured, DeadLetters, Kafka, Loaded, Settings, Sink, Source};
use crate::debezium::registry::client::Client as Registry;
use crate::error::{self, Classify};
use crate::pipeline;
use crate::source::kafka::look::{self, Look, Position};

/// Partitions of which each gets a line; of more, only those with something to say.
const MAX_PARTITIONS: usize = 12;

/// Checks everything, of each pipeline, and shows what came of it.
///
/// # Errors
/// When a run with this configuration would end at once, with the code that it would end with; of several pipelines the
/// first such one's.
pub fn doctor(configured: &Configured, json: bool) -> Result<()> {
    let runtime = Runtime::new().context("cannot start the worker threads").environment()?;
    let _context = runtime.enter();
    let reports: Vec<(&Settings, Report)> =
        configured.pipelines().iter().map(|loaded| (&loaded.settings, report(loaded))).collect();
    let shown = match (configured, json) {
        (Configured::One(_), true) => {
            reports.iter().map(|(_, report)| report.as_json()).next().unwrap_or_default()
        }
        (Configured::Many(..), true) => {
            reports.iter().map(|(settings, report)| (settings.name.clone(), report.as_json())).collect()
        }
        (_, false) => serde_json::Value::Null,
    };
    let text = || reports.iter().map(|(_, report)| report.as_text()).collect::<Vec<_>>().join("\n");
    super::show(&if json { format!("{shown:#}\n") } else { text() })?;
    let checks: Vec<&Check> = reports.iter().flat_map(|(_, report)| &report.checks).collect();
    let failed = checks.iter().filter(|check| matches!(check.state, report::State::Failed(_))).count();
    let error = |exit| error::of_class(anyhow!("{failed} of {} checks failed", checks.len()), exit, None);
    reports.iter().find_map(|(_, report)| report.exit()).map_or(Ok(()), |exit| Err(error(exit)))
}

fn report(loaded: &Loaded) -> Report {
    let settings = &loaded.settings;
    let mut report = Report::default();
    report.checks.push(Check::fine("configuration", format!("pipeline `{}`", settings.name)));
    for warning in &loaded.warnings {
        report.checks.push(Check::warning("configuration", warning, "see docs/configuration.md"));
    }
    report.checks.push(transform(settings));
    let look = source(settings, &mut report.checks);
    report.checks.extend(registry(settings));
    target::check(settings, look.as_ref(), &mut report.checks);
    report.checks.extend(dead_letters(settings, look.as_ref()));
    report
}

fn transform(settings: &Settings) -> Check {
    match pipeline::load_transform(settings) {
        Ok(transform) => {
            Check::fine("transform", format!("{}, sha256:{}", settings.transform, transform.digest()))
        }
        Err(error) => Check::failed("transform", &error),
    }
}

/// The source; what the brokers say, where they are asked and answer.
fn source(settings: &Settings, checks: &mut Vec<Check>) -> Option<Look> {
    match &settings.source {
        Source::Lines { path: None } => checks.push(Check::fine("input", "standard input")),
        Source::Lines { path: Some(path) } => {
            let opened = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()));
            checks.push(match opened.usage() {
                Ok(_) => Check::fine("input", path.display().to_string()),
                Err(error) => Check::failed("input", &error),
            });
        }
        Source::Kafka(kafka) => match look::look(kafka) {
            Ok(look) => {
                checks.push(Check::fine(
                    "kafka",
                    format!("{} broker(s), found by {}", look.brokers, kafka.brokers.join(",")),
                ));
                topics(kafka, &look, checks);
                group(kafka, &look, checks);
                return Some(look);
            }
            Err(error) => checks.push(Check::failed("kafka", &error)),
        },
    }
    None
}

fn topics(kafka: &Kafka, look: &Look, checks: &mut Vec<Check>) {
    for name in &look.missing {
        let help = "a run waits for it; Debezium's names are prefix.schema.table";
        checks.push(Check::warning("topic", format!("{name}: it does not exist yet"), help));
    }
    let patterns = kafka.topics.iter().map(|topic| topic.as_str()).filter(|topic| topic.starts_with('^'));
    for pattern in patterns {
        let found = format!("{pattern}: the group has a position in {} topic(s)", look.topics.len());
        checks.push(Check::fine("topic", found));
    }
    let quiet = look.partitions.len() > MAX_PARTITIONS;
    for Position { partition: (topic, number), first, end, .. } in look.partitions.iter().filter(|_| !quiet) {
        checks.push(Check::fine("topic", format!("{topic}/{number}: offsets {first} to {end}")));
    }
    if quiet {
        let found = format!("{} partitions of {} topics", look.partitions.len(), look.topics.len());
        checks.push(Check::fine("topic", found));
    }
}

/// The group's members and positions.
fn group(kafka: &Kafka, look: &Look, checks: &mut Vec<Check>) {
    let members = match &look.group {
        None => "it has no member and may not have run yet".to_owned(),
        Some((state, members)) => format!("{members} member(s), {state}"),
    };
    let lag: i64 = look.partitions.iter().map(lag).sum();
    checks.push(Check::fine("group", format!("{}: {members}; {lag} records are not done", kafka.group)));
    checks.extend(look.partitions.iter().filter_map(|position| of_position(kafka, position)));
}

/// Records of a partition that the group has not done.
fn lag(position: &Position) -> i64 {
    let from = position.committed.as_ref().map_or(position.first, |(offset, _)| *offset);
    (position.end - from).max(0)
}

/// What there is to say of a group's position in a partition.
fn of_position(kafka: &Kafka, position: &Position) -> Option<Check> {
    let Position { partition: (topic, number), first, end, committed } = position;
    let place = format!("{topic}/{number}");
    let (offset, seal) = committed.as_ref()?;
    if offset < first || offset > end {
        let error = anyhow!(
            "{place} is at offset {offset}, and has {first} to {end}: records are gone, or it was made anew"
        );
        let error = Err::<(), _>(error).environment().help(
            "decide where to go on, and set the group's offsets there (kafka-consumer-groups.sh --reset-offsets)",
        );
        return Some(Check::failed("group", &error.expect_err("made from an error")));
    }
    match seal {
        Ok(None) => None,
        Ok(Some(seal)) => Some(Check::warning(
            "group",
            format!(
                "{place}: the range {offset} to {} was sealed by transform {} and is not done",
                seal.last, seal.transform
            ),
            "a run is at it just now, or the next start finishes it",
        )),
        Err(why) => {
            let error = Err::<(), _>(anyhow!("{place}: {why}")).usage();
            let error = error.help(format!(
                "another program commits with the group {}: choose another (--group)",
                kafka.group
            ));
            Some(Check::failed("group", &error.expect_err("made from an error")))
        }
    }
}

fn registry(settings: &Settings) -> Option<Check> {
    let registry = settings.registry.as_ref()?;
    let asked = Registry::new(registry, Handle::current()).and_then(|client| client.reach());
    Some(match asked {
        Ok(()) => Check::fine("registry", registry.url.to_string()),
        Err(error) => Check::failed("registry", &error),
    })
}

/// Where dead letters go, but for a table, which is checked with the others.
fn dead_letters(settings: &Settings, look: Option<&Look>) -> Option<Check> {
    match &settings.dead_letters {
        DeadLetters::Table(_) => None,
        DeadLetters::Stop => {
            let found = "a record that cannot be processed stops the pipeline (exit 4)";
            Some(Check::fine("dead letters", found))
        }
        DeadLetters::File(path) => Some(Check::fine("dead letters", format!("the file {}", path.display()))),
        DeadLetters::Topic(name) => look.map(|look| match look.all.contains(name) {
            true => Check::fine("dead letters", format!("the topic {name}")),
            false => Check::warning(
                "dead letters",
                format!("the topic {name} does not exist"),
                "create it: the first record that cannot be processed stops the pipeline (exit 3)",
            ),
        }),
    }
}

/// The sink of a configuration, where it is ClickHouse.
fn clickhouse(settings: &Settings) -> Option<&crate::config::ClickHouse> {
    match &settings.sink {
        Sink::ClickHouse(sink) => Some(sink),
        Sink::Lines { .. } => None,
    }
}
