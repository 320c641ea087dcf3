//! `host offsets`: where the pipeline's group stands, and moving it when something holds it up.
//!
//! Nothing is left out silently: each move is shown before it is made, and recorded (promise D6 of
//! `docs/invariants.md`).

mod record;

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};

use anyhow::{Context as _, Result, anyhow};
use clap::ArgMatches;
use serde_json::{Value, json};

use self::record::Records;
use crate::config::{Loaded, Source};
use crate::error::Classify;
use crate::source::kafka::offsets::{self, Group, Move, Place, To};
use crate::telemetry;

/// What to do with the positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show them.
    Show {
        /// As JSON.
        json: bool,
    },
    /// Move them.
    Change {
        /// Which.
        target: Target,
        /// Where to; none: past what holds the partition up.
        to: Option<To>,
        /// Why, as it is recorded.
        reason: String,
        /// Whether nobody is asked.
        yes: bool,
    },
}

impl Action {
    /// The change of this name, by its arguments.
    pub fn of(name: &str, matches: &ArgMatches) -> Self {
        let target = matches.get_one::<Target>("place").cloned().unwrap_or_default();
        let to = if name == "set" { matches.get_one::<To>("to").copied() } else { None };
        let reason = matches.get_one::<String>("reason").cloned().unwrap_or_default();
        Action::Change { target, to, reason, yes: matches.get_flag("yes") }
    }
}

/// A topic, and one of its partitions or all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The topic.
    pub topic: String,
    /// The partition; none: all.
    pub partition: Option<i32>,
}

impl Target {
    /// Reads `TOPIC` or `TOPIC/PARTITION`.
    ///
    /// # Errors
    /// Something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (topic, partition) = match text.split_once('/') {
            None => (text, None),
            Some((topic, number)) => {
                let number = number.parse().ok().filter(|number| *number >= 0);
                (topic, Some(number.ok_or("the partition, after the `/`, is no number")?))
            }
        };
        match topic {
            "" => Err("it names no topic".to_owned()),
            _ => Ok(Target { topic: topic.to_owned(), partition }),
        }
    }

    /// Reads `TOPIC/PARTITION`.
    ///
    /// # Errors
    /// Something else.
    pub fn parse_partition(text: &str) -> Result<Self, String> {
        let target = Self::parse(text)?;
        target.partition.map(|_| target.clone()).ok_or_else(|| "write TOPIC/PARTITION".to_owned())
    }
}

/// Does what is asked for.
///
/// # Errors
/// The brokers or ClickHouse are not reachable or refuse, the group has members, or the move makes no sense.
pub fn execute(loaded: &Loaded, action: &Action, verbosity: Option<i8>) -> Result<()> {
    // What the libraries and the server's probe say is noise beside the answer.
    telemetry::install(loaded.settings.log_format, verbosity.or(Some(-1)), None)?;
    let Source::Kafka(source) = &loaded.settings.source else {
        return Err(anyhow!("an input file has no positions")).usage().help("leave out `input`");
    };
    let group = Group::open(source)?;
    match action {
        Action::Show { json } => show(&group, *json),
        Action::Change { target, to, reason, yes } => {
            let members = group.members()?;
            if !members.is_empty() {
                return Err(offsets::has_members(&group.name, &members.join(", ")));
            }
            let moves = moves(&group, target, *to)?;
            super::show(&as_text(&group.name, &moves))?;
            if moves.is_empty() || loaded.settings.dry_run {
                return Ok(());
            }
            if !*yes && !is_wanted()? {
                return super::show("nothing was changed\n");
            }
            let records = Records::open(&loaded.settings, if to.is_some() { "set" } else { "skip" }, reason)?;
            change(&group, &moves, &records)
        }
    }
}

fn show(group: &Group, json: bool) -> Result<()> {
    let (places, members) = (group.places(None)?, group.members()?);
    if json {
        return super::show(&format!("{:#}\n", as_json(&group.name, &places, &members)));
    }
    let who = if members.is_empty() { "no member".to_owned() } else { members.join(", ") };
    eprintln!("group {}: {who}", group.name);
    let columns = ["topic", "partition", "committed", "pending", "low", "high", "lag", "state"];
    let rows: Vec<Vec<String>> = places.iter().map(row).collect();
    super::show(&super::last_rows::render(&columns.map(str::to_owned), &rows, io::stdout().is_terminal()))
}

fn row(place: &Place) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let pending = place.pending().map_or_else(
        || "-".to_owned(),
        |seal| {
            let first = place.committed.unwrap_or_default();
            format!("{first} to {}, transform {}, series {}", seal.last, seal.transform, seal.series)
        },
    );
    vec![
        place.topic.clone(),
        place.partition.to_string(),
        number(place.committed),
        pending,
        place.low.to_string(),
        place.high.to_string(),
        number(place.lag()),
        place.state().name().to_owned(),
    ]
}

fn as_json(group: &str, places: &[Place], members: &[String]) -> Value {
    let partition = |place: &Place| {
        let pending = place.pending().map(|seal| {
            json!({
                "first": place.committed,
                "last": seal.last,
                "transform": seal.transform,
                "series": seal.series.to_string(),
            })
        });
        json!({
            "topic": place.topic,
            "partition": place.partition,
            "committed": place.committed,
            "pending": pending,
            "low": place.low,
            "high": place.high,
            "lag": place.lag(),
            "state": place.state().name(),
        })
    };
    let partitions: Vec<Value> = places.iter().map(partition).collect();
    json!({ "group": group, "members": members, "partitions": partitions })
}

/// What is to be moved; without the positions that are there already.
fn moves(group: &Group, target: &Target, to: Option<To>) -> Result<Vec<Move>> {
    let places = group.places(Some(&target.topic))?;
    let wanted = |place: &&Place| target.partition.is_none_or(|partition| partition == place.partition);
    let places: Vec<&Place> = places.iter().filter(wanted).collect();
    if places.is_empty() {
        let number = target.partition.map_or_else(String::new, |partition| format!("/{partition}"));
        return Err(anyhow!("there is no {}{number}", target.topic)).usage();
    }
    let mut moves = Vec::new();
    for place in places {
        let change = match to {
            Some(to) => place.set(to)?,
            None => place.skip()?,
        };
        if change.changes() {
            moves.push(change);
        }
    }
    Ok(moves)
}

/// What the moves mean, a line for each thing.
fn as_text(group: &str, moves: &[Move]) -> String {
    if moves.is_empty() {
        return format!("group {group} stands there already\n");
    }
    let mut text = format!("group {group}\n");
    for change in moves {
        let from = change.from.map_or_else(|| "no position".to_owned(), |offset| offset.to_string());
        _ = writeln!(text, "{}/{}: {from} -> {}", change.topic, change.partition, change.to);
        if let Some(seal) = &change.pending {
            let first = change.from.unwrap_or_default();
            _ = writeln!(
                text,
                "  gives up the pending range {first} to {}: some of its rows may stand in their tables",
                seal.last
            );
        }
        if let Some((first, last)) = change.skipped {
            _ = writeln!(text, "  leaves out the offsets {first} to {last}");
        }
        if let Some((first, last)) = change.again {
            _ = writeln!(
                text,
                "  reads the offsets {first} to {last} again: rows that stand already stay as they are, and are not \
                 written twice, in tables that can be verified; in others they double unless you remove them first"
            );
        }
        if change.is_anew {
            _ = writeln!(
                text,
                "  the topic was made anew: its offsets begin again, and rows of the old one stay in their tables"
            );
        }
    }
    text
}

/// Asks a person.
fn is_wanted() -> Result<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("nobody is there to be asked")).usage().help("add --yes to do it");
    }
    eprint!("do it? [y/N] ");
    io::stderr().flush().context("asking").environment()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("reading the answer").environment()?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Records the moves, makes them, and records how that ended.
fn change(group: &Group, moves: &[Move], records: &Records) -> Result<()> {
    records.write(&group.name, moves, "begun")?;
    let moved = group.commit(moves);
    let outcome = moved.as_ref().map_or_else(|error| format!("failed: {error:#}"), |()| "done".to_owned());
    let recorded = records.write(&group.name, moves, &outcome);
    moved?;
    recorded.context("the positions were moved")?;
    super::show("done\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_topic_with_or_without_a_partition() {
        let target = |topic: &str, partition| Ok(Target { topic: topic.to_owned(), partition });
        assert_eq!(Target::parse("shop.public.orders/3"), target("shop.public.orders", Some(3)));
        assert_eq!(Target::parse("orders"), target("orders", None));
        assert!(
            ["", "/3", "orders/", "orders/x", "orders/-1"].iter().all(|text| Target::parse(text).is_err())
        );
        assert!(Target::parse_partition("orders").is_err());
    }

    fn place(committed: Option<i64>, metadata: &str) -> Place {
        let metadata = metadata.to_owned();
        Place { topic: "t".to_owned(), partition: 0, committed, metadata, low: 10, high: 20 }
    }

    #[test]
    fn a_partition_is_shown_with_its_pending_range() {
        let shown = row(&place(Some(15), "v1;e=17;r=abc;a=1"));
        let expected = ["t", "0", "15", "15 to 17, transform abc, series 0:1", "10", "20", "5", "pending"];
        assert_eq!(shown, expected);
        let json = as_json("g", &[place(Some(15), "v1;e=17;r=abc;a=1"), place(None, "")], &[]);
        let pending = json!({"first": 15, "last": 17, "transform": "abc", "series": "0:1"});
        assert_eq!(json["partitions"][0]["pending"], pending);
        assert_eq!(json["partitions"][1]["committed"], Value::Null);
    }

    #[test]
    fn a_move_is_told_with_all_that_follows_from_it() {
        let skip = place(Some(15), "v1;e=17;r=abc;a=1").skip().unwrap();
        let text = as_text("g", &[skip]);
        assert!(
            text.contains("t/0: 15 -> 18\n") && text.contains("leaves out the offsets 15 to 17"),
            "{text}"
        );
        assert!(text.contains("gives up the pending range 15 to 17"), "{text}");
        let back = place(Some(15), "").set(To::Earliest).unwrap();
        assert!(as_text("g", &[back]).contains("reads the offsets 10 to 14 again"));
    }
}
