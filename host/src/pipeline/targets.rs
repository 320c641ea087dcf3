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
use crate::config::{Settings, Sink};
use crate::debezium::shape::Shape;
use crate::error::Classify;
use crate::pause::pause;
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
            profile: Arc::new(profile),
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
        self.name_for(rows.plan.outputs[rows.output].target.as_ref(), &rows.shape)
    }

    fn name_for(&self, target: Option<&String>, shape: &Shape) -> String {
        target.or(self.default_table.as_ref()).unwrap_or(&shape.table).clone()
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
            let mut key: &[String] = &[];
            for rows in rows.iter().filter(|rows| self.name_of(rows) == name) {
                let output = &rows.plan.outputs[rows.output];
                key = if key.is_empty() { &output.key } else { key };
                for (name, ty) in planned_columns(output, &rows.shape) {
                    if columns.iter().all(|(known, _)| *known != name) {
                        columns.push((name, ty));
                    }
                }
            }
            let Some(table) = self.find_or_create(&name, &columns, key, stop)? else { return Ok(None) };
            self.tables.insert(name, Arc::new(table));
        }
        Ok(Some(()))
    }

    fn find_or_create(
        &self,
        name: &str,
        columns: &[(String, ColumnType)],
        key: &[String],
        stop: &Stop,
    ) -> Result<Option<Table>> {
        let planned = || Table::planned(&self.database, name, columns, key).usage();
        let keyed = !key.is_empty();
        let Some(client) = &self.client else { return planned().map(Some) };
        let Some(found) = patiently(stop, || Table::describe(client, &self.database, name))? else {
            return Ok(None);
        };
        if let Some(table) = found {
            let guarantee = table.guarantee(keyed);
            tracing::info!(table = name, guarantee, "writing to the table that there is");
            return Ok(Some(table));
        }
        if self.dry_run {
            return planned().map(Some);
        }
        let new: Vec<NewColumn<'_>> = columns.iter().map(|(name, ty)| NewColumn { name, ty }).collect();
        let keys: Vec<&str> = key.iter().map(String::as_str).collect();
        let sql = ddl::create_table(&self.database, name, &new, &keys, self.profile.replacing_deletes);
        let sql = sql.map_err(|e| anyhow!(e)).usage()?;
        let created = patiently(stop, || client.query(&sql).map(drop))?;
        let Some(()) = created else { return Ok(None) };
        if keyed && self.create_view(name, &new, stop)?.is_none() {
            return Ok(None);
        }
        let described = patiently(stop, || Table::describe(client, &self.database, name))?;
        let Some(table) = described else { return Ok(None) };
        let table =
            table.ok_or_else(|| anyhow!("table {name} was created and is not there")).environment()?;
        tracing::info!(table = name, guarantee = table.guarantee(keyed), "created the table");
        Ok(Some(table))
    }

    /// Creates the view of a keyed table's rows that are there now, unless something has its name. Nothing is
    /// written to it, so a server that refuses it is no reason to stop. None: given up.
    fn create_view(&self, table: &str, columns: &[NewColumn<'_>], stop: &Stop) -> Result<Option<()>> {
        let Some(client) = &self.client else { return Ok(Some(())) };
        let columns: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let view = ddl::view_name(table);
        let sql = match ddl::create_view(&self.database, table, &columns) {
            Ok(sql) => sql,
            Err(reason) => {
                tracing::warn!(table, "there is no view of the rows that are there now: {reason}");
                return Ok(Some(()));
            }
        };
        let refused = |failure: Failure| match failure.class {
            Class::Retry | Class::Unknown => Err(failure),
            _ => {
                tracing::warn!(table, view, "the view was not created: {failure}");
                Ok(())
            }
        };
        patiently(stop, || client.query(&sql).map(drop).or_else(refused))
    }

    /// The tables of outputs with a key that a source table feeds: those of `targets`, and where these are not
    /// known yet, after a start, the one that the configuration names. Tables that do not exist are left out.
    /// None: given up while waiting for the server.
    pub(super) fn keyed(
        &mut self,
        shape: &Shape,
        targets: &[Option<String>],
        stop: &Stop,
    ) -> Result<Option<Vec<Arc<Table>>>> {
        let mut names: Vec<String> =
            targets.iter().map(|target| self.name_for(target.as_ref(), shape)).collect();
        if names.is_empty() {
            names.push(self.name_for(None, shape));
        }
        let Some(client) = &self.client else { return Ok(Some(vec![])) };
        let mut found = Vec::new();
        for name in names {
            let described = match self.tables.get(&name) {
                Some(table) => Some(table.clone()),
                None => match patiently(stop, || Table::describe(client, &self.database, &name))? {
                    Some(table) => table.map(Arc::new),
                    None => return Ok(None),
                },
            };
            found.extend(described.filter(|table| table.is_keyed()));
        }
        Ok(Some(found))
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
                let columns = planned_columns(output, &rows.shape);
                Table::planned(&self.database, &name, &columns, &output.key)
                    .and_then(|table| table.bind(output, &rows.shape))
            }
            bound => bound,
        };
        let binding = binding.usage()?;
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
        let sql = ddl::create_dead_letters(&self.database, name).map_err(|e| anyhow!(e)).usage()?;
        if patiently(stop, || client.query(&sql).map(drop))?.is_none() {
            return Ok(None);
        }
        tracing::warn!(table = name, database = self.database, "dead letters go to this table");
        self.dead_letters_ready = true;
        Ok(Some(()))
    }
}

/// Repeats `ask` until the server answers. None: given up because the host is to stop.
pub(super) fn patiently<T>(stop: &Stop, ask: impl Fn() -> Result<T, Failure>) -> Result<Option<T>> {
    loop {
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(failure) if matches!(failure.class, Class::Retry | Class::Unknown) => {
                tracing::warn!("waiting for ClickHouse: {failure}");
                if !pause(WAIT, || stop.give_up()) {
                    return Ok(None);
                }
            }
            Err(failure) => return Err(anyhow!("{failure}")).environment(),
        }
    }
}
