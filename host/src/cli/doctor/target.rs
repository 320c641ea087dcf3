//! What `host doctor` asks ClickHouse: who it is, and what is guaranteed of rows in the pipeline's tables.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Handle;

use super::clickhouse;
use super::report::Check;
use crate::clickhouse::client::Client;
use crate::clickhouse::ddl;
use crate::clickhouse::names::{identifier, literal};
use crate::clickhouse::profile::Profile;
use crate::clickhouse::response::{self, Failure};
use crate::clickhouse::table::Table;
use crate::config::{Audit, ClickHouse, DeadLetters, Settings, Sink};
use crate::error::Classify;
use crate::pipeline::AUDIT_TABLE;
use crate::source::kafka::look::Look;

/// Tables of a database that are looked at.
const MAX_TABLES: usize = 200;

/// Adds what there is to say of where rows go.
pub(super) fn check(settings: &Settings, look: Option<&Look>, checks: &mut Vec<Check>) {
    let Some(sink) = clickhouse(settings) else {
        if let Sink::Lines { path } = &settings.sink {
            let path = path.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string());
            checks.push(Check::fine("output", format!("{path}: rows are written at least once")));
        }
        return;
    };
    let asked = Client::connect(sink, Handle::current()).and_then(|client| {
        checks.push(server(sink, &client.profile()));
        checks.extend(read_only(&client)?);
        tables(settings, sink, &client, look, checks)
    });
    if let Err(error) = asked {
        checks.push(Check::failed("clickhouse", &error));
    }
}

fn server(sink: &ClickHouse, profile: &Profile) -> Check {
    let ClickHouse { url, database, user, .. } = sink;
    let found = format!("{} at {url}, database `{database}`, user `{user}`", profile.version);
    match profile.tokens {
        true => Check::fine("clickhouse", found),
        false => {
            let help = "rows are told apart by their lineage columns alone; 21.12 or later knows deduplication tokens";
            Check::warning("clickhouse", found, help)
        }
    }
}

/// Whether the user may only read.
fn read_only(client: &Client) -> Result<Option<Check>> {
    let value = ask(client, "SELECT value FROM system.settings WHERE name = 'readonly' FORMAT TabSeparated")?;
    if value.first().is_none_or(|[value]: &[String; 1]| value == "0") {
        return Ok(None);
    }
    let error = Err::<(), _>(anyhow!("the user may only read (readonly)")).environment();
    let error = error.help("give the user INSERT, SELECT, CREATE TABLE and ALTER on the database");
    Ok(Some(Check::failed("clickhouse", &error.expect_err("made from an error"))))
}

/// The tables that rows go to as far as it is known without running, and the host's own.
fn tables(
    settings: &Settings,
    sink: &ClickHouse,
    client: &Client,
    look: Option<&Look>,
    checks: &mut Vec<Check>,
) -> Result<()> {
    let mut names = with_lineage(client, &sink.database)?;
    let named = match (&sink.table, look) {
        (Some(table), _) => vec![table.clone()],
        // A table is called as its source, which is what the topic's name ends in.
        (None, Some(look)) => {
            let last = |topic: &String| topic.rsplit('.').next().unwrap_or_default().to_owned();
            look.topics.iter().map(last).collect()
        }
        (None, None) => vec![],
    };
    names.extend(named.iter().cloned());
    for name in names.iter().take(MAX_TABLES) {
        match describe(client, &sink.database, name)? {
            Some(table) => checks.push(Check::table(name, table.verdict(table.is_keyed()))),
            None => checks.push(Check::fine(
                "table",
                format!("{name}: it is not there yet, and is created when its first row comes"),
            )),
        }
    }
    if names.is_empty() {
        checks.push(Check::fine("table", "none yet: each is created when its first row comes"));
    }
    if names.len() > MAX_TABLES {
        checks.push(Check::fine("table", format!("and {} more", names.len() - MAX_TABLES)));
    }
    if let DeadLetters::Table(name) = &settings.dead_letters {
        checks.push(own(client, sink, "dead letters", name, &ddl::DEAD_LETTER_COLUMNS)?);
        checks.extend(letters(client, sink, &settings.name, name)?);
    }
    if settings.audit == Audit::Table {
        checks.push(own(client, sink, "audit", AUDIT_TABLE, &ddl::AUDIT_COLUMNS)?);
    }
    Ok(())
}

fn ask<const N: usize>(client: &Client, sql: &str) -> Result<Vec<[String; N]>> {
    let answer = client.query(sql).and_then(|answer| response::table(&answer));
    answer.map_err(failed).environment()
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}").context("asking ClickHouse")
}

fn describe(client: &Client, database: &str, name: &str) -> Result<Option<Table>> {
    let table = Table::describe(client, database, name).map_err(failed);
    table.with_context(|| format!("table {name}")).environment()
}

/// The tables of a database that say of each row which record it comes from; views left out.
fn with_lineage(client: &Client, database: &str) -> Result<BTreeSet<String>> {
    let lineage: Vec<String> = ddl::LINEAGE[..4].iter().map(|(name, _)| literal(name)).collect();
    let sql = format!(
        "SELECT table FROM system.columns WHERE database = {database} AND name IN ({}) \
         AND table IN (SELECT name FROM system.tables WHERE database = {database} AND engine LIKE '%MergeTree') \
         GROUP BY table HAVING count() = {} ORDER BY table FORMAT TabSeparated",
        lineage.join(", "),
        lineage.len(),
        database = literal(database),
    );
    Ok(ask(client, &sql)?.into_iter().map(|[name]| name).filter(|name| !name.starts_with(".inner")).collect())
}

/// A table of the host's own.
fn own(
    client: &Client,
    sink: &ClickHouse,
    of: &'static str,
    name: &str,
    columns: &[(&str, &str)],
) -> Result<Check> {
    let Some(table) = describe(client, &sink.database, name)? else {
        return Ok(Check::fine(
            of,
            format!("the table {name}: it is not there yet, and is created when it is needed"),
        ));
    };
    let has = |wanted: &str| table.columns.iter().any(|column| column.name == wanted);
    let lacking: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(|name| !has(name)).collect();
    if lacking.is_empty() {
        return Ok(Check::fine(of, format!("the table {name}")));
    }
    let error =
        Err::<(), _>(anyhow!("the table {name} has not the columns {}", lacking.join(", "))).environment();
    let error = error.help("rename it, and the host creates it anew");
    Ok(Check::failed(of, &error.expect_err("made from an error")))
}

/// The dead letters that the pipeline has by now.
fn letters(client: &Client, sink: &ClickHouse, pipeline: &str, name: &str) -> Result<Option<Check>> {
    if describe(client, &sink.database, name)?.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT count() FROM {}.{} WHERE pipeline = {} FORMAT TabSeparated",
        identifier(&sink.database),
        identifier(name),
        literal(pipeline)
    );
    let count = ask::<1>(client, &sql)?.into_iter().next().map(|[count]| count).unwrap_or_default();
    let what = format!("{count} dead letters of this pipeline are in {name}");
    let help = format!(
        "SELECT stage, reason, count() FROM {name} WHERE pipeline = {} GROUP BY stage, reason",
        literal(pipeline)
    );
    Ok((count != "0").then(|| Check::warning("dead letters", what, help)))
}
