//! What a person asked to see: records, rows, and the last rows of a table.

use std::io::Write;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, Value};

use crate::batch::Batch;
use crate::clickhouse::client::Client;
use crate::clickhouse::names::identifier;
use crate::clickhouse::response;
use crate::clickhouse::rows::read_block;
use crate::clickhouse::table::Table;
use crate::error::Classify;

/// How much of a record's value is shown, bytes.
const SHOWN_BYTES: usize = 400;

/// Writes the rows of a `Native` block as JSON lines, `_table` first. Rows of keys that leave have the columns
/// `told` only.
pub fn write_rows(out: &mut dyn Write, table: &str, block: &[u8], told: &[&str]) -> Result<()> {
    let read = read_block(block).map_err(|e| anyhow!(e))?;
    for row in read.rows {
        let mut line = Map::new();
        line.insert("_table".to_owned(), table.into());
        line.extend(read.names.iter().cloned().zip(row));
        if leaves(&line) {
            line.retain(|name, _| name == "_table" || told.contains(&name.as_str()));
        }
        serde_json::to_writer(&mut *out, &Value::Object(line))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Prints each record of a batch.
pub fn print_records(out: &mut dyn Write, batch: &Batch, repeated: bool) -> Result<()> {
    let again = if repeated { " (again)" } else { "" };
    for record in &batch.records {
        let place = format!("{}/{}@{}", batch.topic, batch.partition, record.offset);
        match record.value.map(|value| value.of(&batch.arena)) {
            None => writeln!(out, "consumed{again} {place} null"),
            Some(value) => {
                let shown = String::from_utf8_lossy(&value[..value.len().min(SHOWN_BYTES)]);
                let shown: String =
                    shown.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
                let rest = value.len().saturating_sub(SHOWN_BYTES);
                let rest = if rest > 0 { format!("… (+{rest} bytes)") } else { String::new() };
                writeln!(out, "consumed{again} {place} {shown}{rest}")
            }
        }
        .context("printing")
        .environment()?;
    }
    Ok(())
}

/// Whether a row says that its key leaves.
fn leaves(row: &Map<String, Value>) -> bool {
    row.get("_is_deleted").is_some_and(|flag| *flag == 1)
}

/// Prints each row of a `Native` block but those of the indices `gone`; of keys that leave the columns `told`.
pub fn print_rows(
    out: &mut dyn Write,
    table: &str,
    block: &[u8],
    told: &[&str],
    gone: &[usize],
    dry: bool,
) -> Result<()> {
    let read = read_block(block).map_err(|e| anyhow!(e))?;
    for (_, row) in read.rows.into_iter().enumerate().filter(|(index, _)| !gone.contains(index)) {
        let mut line: Map<String, Value> = read.names.iter().cloned().zip(row).collect();
        let removed = leaves(&line);
        if removed {
            line.retain(|name, _| told.contains(&name.as_str()));
        }
        let verb = match (removed, dry) {
            (false, false) => "wrote",
            (false, true) => "would write",
            (true, false) => "removed",
            (true, true) => "would remove",
        };
        writeln!(out, "{verb} {table} {}", Value::Object(line)).context("printing").environment()?;
    }
    out.flush().context("printing").environment()
}

/// The names and the last `count` rows of a table, the newest last. By `ts` where there is such a column,
/// else by the records' offsets.
pub fn last_rows(
    client: &Client,
    database: &str,
    table: &str,
    count: u64,
) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let described = Table::describe(client, database, table).map_err(|e| anyhow!("{e}")).environment()?;
    let Some(described) = described else { return Ok((vec![], vec![])) };
    let order = ["ts", "_partition", "_offset", "_seq"];
    let order: Vec<&str> = order
        .into_iter()
        .filter(|name| described.columns.iter().any(|column| column.name == *name))
        .collect();
    let by = match order.is_empty() {
        true => String::new(),
        false => format!(" ORDER BY {} DESC", order.join(" DESC, ")),
    };
    let sql = format!(
        "SELECT * FROM {}.{}{by} LIMIT {count} FORMAT TabSeparatedWithNames",
        identifier(database),
        identifier(table)
    );
    let answer = client.query(&sql).map_err(|e| anyhow!("{e}")).environment()?;
    let mut rows: Vec<Vec<String>> = response::cells(&answer);
    let names = if rows.is_empty() { vec![] } else { rows.remove(0) };
    rows.reverse();
    Ok((names, rows))
}
