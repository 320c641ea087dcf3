//! The tables that rows go to: found or created on first use, and bound to each output once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::Stop;
use crate::clickhouse::client::Client;
use crate::clickhouse::convert::Profile;
use crate::clickhouse::ddl::{self, NewColumn};
use crate::clickhouse::names;
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::table::{Binding, Table, planned_columns};
use crate::clickhouse::types::ColumnType;
use crate::config::{Policies, Settings, Sink};
use crate::error::Classify;
use crate::transform::run::ShapeRows;

/// The wait between two attempts at reading or creating a table.
const WAIT: Duration = Duration::from_secs(1);
/// The database that rows are shown for where there is no server.
const NO_DATABASE: &str = "default";

/// Tables and bindings, as far as they are known.
pub(super) struct Targets {
    /// None: there is no server, tables are what the host would create.
    client: Option<Client>,
    database: String,
    default_table: Option<String>,
    dry_run: bool,
    profile: Arc<Profile>,
    policies: Policies,
    tables: HashMap<String, Arc<Table>>,
    bindings: HashMap<(u32, usize), Arc<Binding>>,
    dead_letters_ready: bool,
}

impl Targets {
    pub(super) fn new(client: Option<Client>, settings: &Settings) -> Self {
        let (database, default_table) = match &settings.sink {
            Sink::ClickHouse(sink) => (sink.database.clone(), sink.table.clone()),
            Sink::Lines { .. } => (NO_DATABASE.to_owned(), None),
        };
        let profile = client.as_ref().map(Client::profile).unwrap_or_default();
        Targets {
            client,
            database,
            default_table,
            dry_run: settings.dry_run,
            profile,
            policies: settings.policies.clone(),
            tables: HashMap::new(),
            bindings: HashMap::new(),
            dead_letters_ready: false,
        }
    }

    /// What the server's types can hold.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.profile.clone()
    }

    fn name_of(&self, rows: &ShapeRows) -> String {
        let target = rows.plan.outputs[rows.output].target.as_ref();
        target.or(self.default_table.as_ref()).unwrap_or(&rows.shape.table).clone()
    }

    /// Why no table can have the name that `rows` call for, if none can. The name may come from an event.
    pub(super) fn refusal(&self, rows: &ShapeRows) -> Option<String> {
        names::check_table(&self.database, &self.name_of(rows)).err()
    }

    /// Finds the tables of `rows`, and creates those that are missing with the columns of all of these rows.
    /// None: given up while waiting for the server.
    pub(super) fn ensure(&mut self, rows: &[ShapeRows], stop: &Stop) -> Result<Option<()>> {
        for first in rows {
            let name = self.name_of(first);
            if self.tables.contains_key(&name) {
                continue;
            }
            let mut columns: Vec<(String, ColumnType)> = Vec::new();
            for rows in rows.iter().filter(|rows| self.name_of(rows) == name) {
                for (column, ty) in self.planned(rows) {
                    if columns.iter().all(|(known, _)| *known != column) {
                        columns.push((column, ty));
                    }
                }
            }
            let Some(table) = self.find_or_create(&name, &columns, stop)? else { return Ok(None) };
            self.tables.insert(name, Arc::new(table));
        }
        Ok(Some(()))
    }

    /// The columns that a table for `rows` is created with.
    fn planned(&self, rows: &ShapeRows) -> Vec<(String, ColumnType)> {
        let table = self.name_of(rows);
        let columns = planned_columns(&rows.plan.outputs[rows.output], &rows.shape, &self.profile);
        let created = |(name, ty): (String, ColumnType)| {
            let ty = self.policies.created(&table, &name, ty);
            (name, ty)
        };
        columns.into_iter().map(created).collect()
    }

    fn find_or_create(
        &self,
        name: &str,
        columns: &[(String, ColumnType)],
        stop: &Stop,
    ) -> Result<Option<Table>> {
        let planned = || Table::planned(&self.database, name, columns, &self.profile).usage();
        let Some(client) = &self.client else { return planned().map(Some) };
        let Some(found) = self.patiently(stop, || Table::describe(client, &self.database, name))? else {
            return Ok(None);
        };
        if let Some(table) = found {
            tracing::info!(table = name, guarantee = table.guarantee(), "writing to the table that there is");
            return Ok(Some(table));
        }
        if self.dry_run {
            return planned().map(Some);
        }
        let new: Vec<NewColumn<'_>> = columns.iter().map(|(name, ty)| NewColumn { name, ty }).collect();
        let sql = ddl::create_table(&self.database, name, &new, &[], &self.profile)
            .map_err(|e| anyhow!(e))
            .usage()?;
        let created = self.patiently(stop, || client.query(&sql).map(drop))?;
        let Some(()) = created else { return Ok(None) };
        let described = self.patiently(stop, || Table::describe(client, &self.database, name))?;
        let Some(table) = described else { return Ok(None) };
        let table =
            table.ok_or_else(|| anyhow!("table {name} was created and is not there")).environment()?;
        tracing::info!(table = name, guarantee = table.guarantee(), "created the table");
        Ok(Some(table))
    }

    /// Repeats `ask` until the server answers. None: given up because the host is to stop.
    fn patiently<T>(&self, stop: &Stop, ask: impl Fn() -> Result<T, Failure>) -> Result<Option<T>> {
        loop {
            match ask() {
                Ok(answer) => return Ok(Some(answer)),
                Err(failure) if matches!(failure.class, Class::Retry | Class::Unknown) => {
                    tracing::warn!("waiting for ClickHouse: {failure}");
                    if stop.give_up() {
                        return Ok(None);
                    }
                    std::thread::sleep(WAIT);
                }
                Err(failure) => return Err(anyhow!("{failure}")).environment(),
            }
        }
    }

    /// The table and the binding of `rows`; [`Self::ensure`] comes first.
    pub(super) fn bound(&mut self, rows: &ShapeRows) -> Result<(Arc<Table>, Arc<Binding>)> {
        let name = self.name_of(rows);
        let table = self.tables.get(&name).ok_or_else(|| anyhow!("table {name} was not looked for"))?.clone();
        let key = (rows.shape.id, rows.output);
        if let Some(binding) = self.bindings.get(&key) {
            return Ok((table, binding.clone()));
        }
        let output = &rows.plan.outputs[rows.output];
        let binding = match table.bind(output, &rows.shape) {
            // Where there is no server nothing has to fit what came before.
            Err(_) if self.client.is_none() => {
                let columns = self.planned(rows);
                Table::planned(&self.database, &name, &columns, &self.profile)
                    .and_then(|table| table.bind(output, &rows.shape))
            }
            bound => bound,
        };
        let mut binding = binding.usage()?;
        for column in &mut binding.columns {
            column.rules = self.policies.rules(&table.name, &column.name, column.rules.in_key);
        }
        for note in &binding.notes {
            tracing::warn!(table = name, "{note}");
        }
        let binding = Arc::new(binding);
        self.bindings.insert(key, binding.clone());
        Ok((table, binding))
    }

    /// Forgets what is known of a table that has changed.
    pub(super) fn forget(&mut self, name: &str) {
        self.tables.remove(name);
        self.bindings.clear();
    }

    /// Creates the table of dead letters, once. None: given up while waiting for the server.
    pub(super) fn ensure_dead_letters(&mut self, name: &str, stop: &Stop) -> Result<Option<()>> {
        let Some(client) = self.client.as_ref().filter(|_| !self.dead_letters_ready) else {
            return Ok(Some(()));
        };
        let sql =
            ddl::create_dead_letters(&self.database, name, &self.profile).map_err(|e| anyhow!(e)).usage()?;
        if self.patiently(stop, || client.query(&sql).map(drop))?.is_none() {
            return Ok(None);
        }
        tracing::warn!(table = name, database = self.database, "dead letters go to this table");
        self.dead_letters_ready = true;
        Ok(Some(()))
    }
}
