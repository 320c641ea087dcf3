//! What was moved, by whom and why: a row for each move, in ClickHouse, where the rows are that are missing now.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Runtime;

use crate::clickhouse::client::Client;
use crate::clickhouse::names::{identifier, literal};
use crate::config::{Settings, Sink};
use crate::error::Classify;
use crate::source::kafka::offsets::Move;

/// The table, in the database of the rows.
const TABLE: &str = "_rowgate_offsets";

/// The columns that are written, and their types, which all servers have.
const COLUMNS: [(&str, &str); 13] = [
    ("pipeline", "String"),
    ("group", "String"),
    ("topic", "String"),
    ("partition", "UInt32"),
    ("action", "String"),
    ("before", "Nullable(UInt64)"),
    ("after", "UInt64"),
    ("skipped_first", "Nullable(UInt64)"),
    ("skipped_last", "Nullable(UInt64)"),
    ("pending", "String"),
    ("who", "String"),
    ("reason", "String"),
    ("outcome", "String"),
];

/// Where moves are recorded.
pub(super) struct Records {
    pipeline: String,
    action: &'static str,
    reason: String,
    /// None: there is no ClickHouse, and the log has to do.
    table: Option<Table>,
}

struct Table {
    client: Client,
    name: String,
    /// What the client's requests run on.
    _runtime: Runtime,
}

impl Records {
    /// Makes the table if need be.
    ///
    /// # Errors
    /// ClickHouse is not reachable, or refuses: then nothing is to be moved.
    pub(super) fn open(settings: &Settings, action: &'static str, reason: &str) -> Result<Self> {
        let table = match &settings.sink {
            Sink::Lines { .. } => None,
            Sink::ClickHouse(sink) => {
                let runtime = Runtime::new().context("cannot start the worker threads").environment()?;
                let client = Client::connect(sink, runtime.handle().clone())?;
                let name = format!("{}.{}", identifier(&sink.database), identifier(TABLE));
                run(&client, &create(&name))?;
                Some(Table { client, name, _runtime: runtime })
            }
        };
        Ok(Records { pipeline: settings.name.clone(), action, reason: reason.to_owned(), table })
    }

    /// Records the moves, and how far they are: `begun`, `done`, or what failed.
    ///
    /// # Errors
    /// ClickHouse refuses, or is not reachable any more.
    pub(super) fn write(&self, group: &str, moves: &[Move], outcome: &str) -> Result<()> {
        let rows: Vec<String> = moves.iter().map(|change| self.row(group, change, outcome)).collect();
        match &self.table {
            Some(Table { client, name, .. }) => {
                let columns = COLUMNS.map(|(name, _)| identifier(name)).join(", ");
                run(client, &format!("INSERT INTO {name} ({columns}) VALUES {}", rows.join(", ")))
            }
            None => {
                rows.iter().for_each(|row| tracing::warn!("position moved: {row}"));
                Ok(())
            }
        }
    }

    fn row(&self, group: &str, change: &Move, outcome: &str) -> String {
        let number =
            |number: Option<i64>| number.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
        let skipped = change.skipped.unzip();
        let values = [
            literal(&self.pipeline),
            literal(group),
            literal(&change.topic),
            change.partition.to_string(),
            literal(self.action),
            number(change.from),
            change.to.to_string(),
            number(skipped.0),
            number(skipped.1),
            literal(&change.pending.as_ref().map(ToString::to_string).unwrap_or_default()),
            literal(&who()),
            literal(&self.reason),
            literal(outcome),
        ];
        format!("({})", values.join(", "))
    }
}

fn create(table: &str) -> String {
    let columns = COLUMNS.map(|(name, ty)| format!("    {} {ty}", identifier(name))).join(",\n");
    format!(
        "CREATE TABLE IF NOT EXISTS {table}\n(\n    `ts` DateTime DEFAULT now(),\n{columns}\n)\nENGINE = MergeTree\n\
         ORDER BY (`pipeline`, `topic`, `partition`, `ts`)"
    )
}

fn run(client: &Client, sql: &str) -> Result<()> {
    let answer = client.query(sql).map_err(|failure| anyhow!("{failure}"));
    answer.context("recording the move").environment()?;
    Ok(())
}

/// The user and the machine, as far as they are known.
fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kafka::offsets::{Place, To};

    #[test]
    fn no_reason_and_no_topic_becomes_sql() {
        let records = Records {
            pipeline: "p".to_owned(),
            action: "set",
            reason: "it's \\ over'); DROP TABLE x; --".to_owned(),
            table: None,
        };
        let place = Place {
            topic: "t".to_owned(),
            partition: 1,
            committed: Some(5),
            metadata: String::new(),
            low: 0,
            high: 20,
        };
        let row = records.row("g", &place.set(To::Offset(9)).unwrap(), "done");
        assert!(row.starts_with("('p', 'g', 't', 1, 'set', 5, 9, 5, 8, '', "), "{row}");
        assert!(row.ends_with(&format!("{}, 'done')", literal(&records.reason))), "{row}");
    }
}
