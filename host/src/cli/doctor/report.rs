//! What was checked, and what came of it.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::clickhouse::level::Verdict;
use crate::error::{self, Exit};

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing to do.
    Fine,
    /// A run works; something should be known or done.
    Warning,
    /// A run would end with this code.
    Failed(Exit),
}

/// Something that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What came of it.
    pub state: State,
    /// What was looked at: one word or two.
    pub of: &'static str,
    /// What was found.
    pub found: String,
    /// What to do.
    pub help: Option<String>,
    /// What is guaranteed of rows, where it is a table: its name, and the level.
    pub level: Option<(String, Verdict)>,
}

impl Check {
    /// All is well.
    pub fn fine(of: &'static str, found: impl Into<String>) -> Self {
        Check { state: State::Fine, of, found: found.into(), help: None, level: None }
    }

    /// A run works, but.
    pub fn warning(of: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Check { state: State::Warning, help: Some(help.into()), ..Check::fine(of, found) }
    }

    /// A run would end with this.
    pub fn failed(of: &'static str, error: &anyhow::Error) -> Self {
        Check {
            state: State::Failed(error::exit_of(error)),
            help: error::help_of(error).map(str::to_owned),
            ..Check::fine(of, format!("{error:#}"))
        }
    }

    /// A target table.
    pub fn table(name: &str, verdict: Verdict) -> Self {
        let Verdict { level, why, advice } = &verdict;
        Check {
            state: if advice.is_empty() { State::Fine } else { State::Warning },
            help: (!advice.is_empty()).then(|| advice.join("; ")),
            level: Some((name.to_owned(), verdict.clone())),
            ..Check::fine("table", format!("{name}: level {level}: {why}"))
        }
    }
}

/// All checks.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// How a run would end, if it would not begin: what no restart helps against, before what passes.
    pub fn exit(&self) -> Option<Exit> {
        let failed = self.checks.iter().filter_map(|check| match check.state {
            State::Failed(exit) => Some(exit),
            State::Fine | State::Warning => None,
        });
        failed.min_by_key(|exit| match exit {
            Exit::Usage => 0,
            Exit::Environment => 1,
            Exit::Internal | Exit::TransformFailed => 2,
        })
    }

    /// A line a check, and one below it that says what to do.
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            _ = writeln!(text, "{:<8} {:<13} {}", word(check.state), check.of, visible(&check.found));
            if let Some(help) = &check.help {
                _ = writeln!(text, "{:<22} help: {}", "", visible(help));
            }
        }
        text
    }

    /// An object.
    pub fn as_json(&self) -> Value {
        let one = |check: &Check| {
            let mut object = json!({
                "state": word(check.state), "check": check.of, "found": check.found, "help": check.help,
            });
            if let Some((table, Verdict { level, why, advice })) = &check.level {
                object["table"] = table.as_str().into();
                object["level"] = level.letter().to_string().into();
                object["guarantee"] = why.as_str().into();
                object["advice"] = advice.clone().into();
            }
            object
        };
        json!({
            "exit": self.exit().map_or(0, |exit| exit as u8),
            "checks": self.checks.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Fine => "ok",
        State::Warning => "warning",
        State::Failed(_) => "failed",
    }
}

/// Names come from servers: nothing in them acts on a terminal or breaks a line.
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::clickhouse::level::Facts;
    use crate::error::Classify;

    fn report() -> Report {
        let refused: anyhow::Result<()> = Err(anyhow!("connection refused")).environment().help("is it up?");
        let facts = Facts { lacks: vec!["_seq"], ..Facts::created("`db`.`t\n`".into(), false) };
        Report {
            checks: vec![
                Check::fine("transform", "built in"),
                Check::failed("clickhouse", &refused.unwrap_err()),
                Check::table("t\n", facts.verdict(false)),
            ],
        }
    }

    #[test]
    fn each_check_has_a_line_and_below_it_what_to_do() {
        let text = report().as_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       transform     built in");
        assert_eq!(lines[1], "failed   clickhouse    connection refused");
        assert_eq!(lines[2].trim_start(), "help: is it up?");
        assert!(lines[3].starts_with("warning  table         t\\n: level D (at least once): "), "{text}");
        assert!(lines[4].contains("help: ALTER TABLE `db`.`t\\n` ADD COLUMN `_seq` UInt16"), "{text}");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn the_json_has_the_same_and_the_levels() {
        let json = report().as_json();
        assert_eq!((&json["exit"], &json["checks"][1]["state"]), (&json!(3), &json!("failed")));
        assert_eq!((&json["checks"][2]["table"], &json["checks"][2]["level"]), (&json!("t\n"), &json!("D")));
        assert_eq!(json["checks"][0]["help"], Value::Null);
    }

    #[test]
    fn what_no_restart_helps_against_is_the_code() {
        let mut report = report();
        assert_eq!(report.exit(), Some(Exit::Environment));
        let unfit: anyhow::Result<()> = Err(anyhow!("no such file")).usage();
        report.checks.push(Check::failed("transform", &unfit.unwrap_err()));
        assert_eq!(report.exit(), Some(Exit::Usage));
        report.checks.retain(|check| !matches!(check.state, State::Failed(_)));
        assert_eq!(report.exit(), None, "warnings are no failures");
    }
}
