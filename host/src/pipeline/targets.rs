//! The tables that rows go to: found or created on first use, and bound to each output once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::schema::add_column;
use super::{Stop, locked};
use crate::clickhouse::client::Client;
use crate::clickhouse::convert::Profile;
use crate::clickhouse::ddl::{self, NewColumn};
use crate::clickhouse::level::{Level, Verdict};
use crate::clickhouse::response::{self, Class, Failure};
use crate::clickhouse::table::{Binding, Table, planned_columns};
use crate::clickhouse::types::ColumnType;
use crate::clickhouse::{evolve, names};
use crate::config::tables::Tables;
use crate::config::{DeadLetters, Policies, SchemaChanges, Settings, Sink, Source};
use crate::dead_letter::marks;
use crate::debezium::shape::Shape;
use crate::error::Classify;
use crate::pause::pause;
use crate::tenant::Share;
use crate::transform::plan::Output;
use crate::transform::run::ShapeRows;

/// The wait between two attempts at reading or creating a table.
const WAIT: Duration = Duration::from_secs(1);
/// The database that rows are shown for where there is no server.
const NO_DATABASE: &str = "default";

/// Tables and bindings, as far as they are known.
pub(super) struct Targets {
    /// None: there is no server, tables are what the host would create.
    pub(super) client: Option<Client>,
    database: String,
    default_table: Option<String>,
    /// Which tables the transform may write to.
    allowed: Tables,
    /// The table of dead letters, where there is one.
    letters: Option<String>,
    pub(super) dry_run: bool,
    /// Whether the transform is only tried: in a dry run of which nothing is said.
    pub(super) tried: bool,
    /// Whether records are lines, whose numbers begin anew with each file.
    from_lines: bool,
    pub(super) schema_changes: SchemaChanges,
    pub(super) profile: Arc<Profile>,
    pub(super) policies: Policies,
    /// Whose budget the columns count for that are created.
    pub(super) share: Share,
    /// Held only to look something up: waiting for the server goes on without it.
    pub(super) known: Mutex<Known>,
    /// Held by the one worker that makes tables and columns, so that another sees what it has made.
    making: Mutex<()>,
    /// What one transform learns of the server for all.
    server: Arc<Mutex<Server>>,
}

/// What is known of the server, whichever transform runs.
#[derive(Default)]
struct Server {
    /// What was said to be guaranteed, by table.
    levels: BTreeMap<String, Verdict>,
    /// The host's own tables that are known to be there.
    ready: HashSet<String>,
    /// Which of its later columns the table of dead letters has, once that is known.
    dead_letters: Option<LetterColumns>,
}

/// What is known of the tables that a transform's rows go to.
#[derive(Default)]
pub(super) struct Known {
    pub(super) tables: HashMap<String, Arc<Table>>,
    /// By shape, and place among the outputs of its plan.
    pub(super) bindings: HashMap<(u32, usize), Arc<Binding>>,
    /// The last shape, by its id, that had a column for a table.
    pub(super) brought: HashMap<(String, String), u32>,
    /// Those of which it was said what there is to say.
    said: HashSet<(u32, usize)>,
}

/// Which columns a table of dead letters has that one of an earlier version lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LetterColumns {
    /// For the record's headers.
    pub headers: bool,
    /// For the epoch of its topic.
    pub epoch: bool,
}

impl Targets {
    pub(super) fn new(client: Option<Client>, settings: &Settings, share: Share) -> Self {
        let (database, default_table) = match &settings.sink {
            Sink::ClickHouse(sink) => (sink.database.clone(), sink.table.clone()),
            Sink::Lines { .. } => (NO_DATABASE.to_owned(), None),
        };
        let profile = client.as_ref().map(Client::profile).unwrap_or_default();
        Targets {
            client,
            database,
            default_table,
            allowed: settings.tables.clone(),
            letters: match &settings.dead_letters {
                DeadLetters::Table(name) => Some(name.clone()),
                _ => None,
            },
            dry_run: settings.dry_run,
            tried: false,
            from_lines: matches!(settings.source, Source::Lines { .. }),
            schema_changes: settings.schema_changes,
            profile,
            policies: settings.policies.clone(),
            share,
            known: Mutex::default(),
            making: Mutex::default(),
            server: Arc::default(),
        }
    }

    /// The same place for another transform, which knows nothing of the tables yet. `tried`: nothing is made there, and
    /// nothing is said of it.
    pub(super) fn beside(&self, tried: bool) -> Self {
        Targets {
            client: self.client.clone(),
            database: self.database.clone(),
            default_table: self.default_table.clone(),
            allowed: self.allowed.clone(),
            letters: self.letters.clone(),
            dry_run: self.dry_run || tried,
            tried,
            from_lines: self.from_lines,
            schema_changes: self.schema_changes,
            profile: self.profile.clone(),
            policies: self.policies.clone(),
            share: self.share.clone(),
            known: Mutex::default(),
            making: Mutex::default(),
            server: self.server.clone(),
        }
    }

    /// What the server's types can hold.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.profile.clone()
    }

    pub(super) fn name_of(&self, rows: &ShapeRows) -> String {
        self.name_for(rows.plan.outputs[rows.output].target.as_ref(), &rows.shape)
    }

    fn name_for(&self, target: Option<&String>, shape: &Shape) -> String {
        target.or(self.default_table.as_ref()).unwrap_or(&shape.table).clone()
    }

    /// Why `rows` cannot go to the table that they call for, if they cannot: its name, which may come from an
    /// event, or another output of the plan that goes there. Rows of one change are versions of one key only
    /// where one output makes them.
    pub(super) fn refusal(&self, rows: &ShapeRows) -> Option<String> {
        let name = self.name_of(rows);
        let there = |output: &&Output| self.name_for(output.target.as_ref(), &rows.shape) == name;
        let outputs: Vec<&Output> = rows.plan.outputs.iter().filter(there).collect();
        if outputs.len() > 1 && outputs.iter().any(|output| output.is_keyed()) {
            return Some(format!("two outputs go to the table {name:?}, and one of them has a key"));
        }
        self.check_name(&name).err()
    }

    /// Whether a transform may write to a table: the one place that says so, after the transform has answered
    /// (promise S12 of `docs/invariants.md`).
    fn check_name(&self, name: &str) -> Result<(), String> {
        names::check_table(&self.database, name)?;
        let is_of_letters = |letters: &String| {
            name.strip_prefix(letters.as_str()).is_some_and(|rest| ["", marks::SUFFIX].contains(&rest))
        };
        if self.letters.as_ref().is_some_and(is_of_letters) {
            return Err(format!("the table {} is that of the dead letters", names::shown(name)));
        }
        self.allowed.check(name)
    }

    /// Finds the tables of `rows`, creates those that are missing with the columns of all of these rows, and
    /// makes the others fit them. Returns for each of `rows` why there is no table for it, where that is so. None: given
    /// up while waiting for the server.
    pub(super) fn ensure(
        &self,
        rows: &[ShapeRows],
        epoch: u16,
        stop: &Stop,
    ) -> Result<Option<Vec<Option<String>>>> {
        let _alone = locked(&self.making);
        let mut not_created: HashMap<String, String> = HashMap::new();
        for first in rows {
            let name = self.name_of(first);
            if not_created.contains_key(&name) || locked(&self.known).tables.contains_key(&name) {
                continue;
            }
            let mut columns: Vec<(String, ColumnType)> = Vec::new();
            let mut key: &[String] = &[];
            for rows in rows.iter().filter(|rows| self.name_of(rows) == name) {
                let output = &rows.plan.outputs[rows.output];
                key = if key.is_empty() { &output.key } else { key };
                for (column, ty) in self.planned(rows) {
                    if columns.iter().all(|(known, _)| *known != column) {
                        columns.push((column, ty));
                    }
                }
            }
            let table = match self.find_or_create(&name, &columns, key, stop)? {
                None => return Ok(None),
                Some(Err(why)) => {
                    not_created.insert(name, why);
                    continue;
                }
                Some(Ok(table)) => table,
            };
            if !key.is_empty() && self.tell_earlier_lines(&table, &first.shape.topic, stop)?.is_none() {
                return Ok(None);
            }
            locked(&self.known).tables.insert(name, Arc::new(table));
        }
        let mut refusals = Vec::with_capacity(rows.len());
        for rows in rows {
            let refusal = match not_created.get(&self.name_of(rows)) {
                Some(why) => Some(why.clone()),
                None => match self.evolve(rows, stop)? {
                    None => return Ok(None),
                    Some(evolved) => evolved.err(),
                },
            };
            if refusal.is_none() && self.ensure_epoch(rows, epoch, stop)?.is_none() {
                return Ok(None);
            }
            refusals.push(refusal);
        }
        Ok(Some(refusals))
    }

    /// The same, for where there must be a table for all of them. None: given up.
    pub(super) fn ensure_all(&self, rows: &[ShapeRows], epoch: u16, stop: &Stop) -> Result<Option<()>> {
        let Some(refusals) = self.ensure(rows, epoch, stop)? else { return Ok(None) };
        match refusals.into_iter().flatten().next() {
            Some(why) => Err(anyhow!(why)).environment(),
            None => Ok(Some(())),
        }
    }

    /// The columns that a table for `rows` is created with.
    fn planned(&self, rows: &ShapeRows) -> Vec<(String, ColumnType)> {
        let table = self.name_of(rows);
        let output = &rows.plan.outputs[rows.output];
        let columns = planned_columns(output, &rows.shape, &self.profile);
        let created = |(name, ty): (String, ColumnType)| match output.key.contains(&name) {
            true => (name, ty),
            false => {
                let ty = self.policies.created(&table, &name, ty);
                (name, ty)
            }
        };
        columns.into_iter().map(created).collect()
    }

    /// The table, or why it must not be created. None: given up while waiting for the server.
    fn find_or_create(
        &self,
        name: &str,
        columns: &[(String, ColumnType)],
        key: &[String],
        stop: &Stop,
    ) -> Result<Option<Result<Table, String>>> {
        let planned = || Table::planned(&self.database, name, columns, key, &self.profile).usage();
        let keyed = !key.is_empty();
        let Some(client) = &self.client else { return Ok(Some(Ok(planned()?))) };
        let Some(found) = patiently(stop, || Table::describe(client, &self.database, name))? else {
            return Ok(None);
        };
        if let Some(table) = found {
            self.tell_level(&table, keyed, "writing to the table that there is");
            return Ok(Some(Ok(table)));
        }
        if self.dry_run {
            return Ok(Some(Ok(planned()?)));
        }
        if let Err(why) = self.share.take_columns(columns.len() as u64) {
            return Ok(Some(Err(why)));
        }
        let new: Vec<NewColumn<'_>> = columns.iter().map(|(name, ty)| NewColumn { name, ty }).collect();
        let keys: Vec<&str> = key.iter().map(String::as_str).collect();
        let sql = ddl::create_table(&self.database, name, &new, &keys, &self.profile);
        let sql = sql.map_err(|e| anyhow!(e)).usage()?;
        // Of two hosts that create it at once, an old server refuses one; either looks what is there then.
        let is_there = |failure: Failure| if failure.code == Some(57) { Ok(()) } else { Err(failure) };
        let created = patiently(stop, || client.query(&sql).map(drop).or_else(is_there))?;
        let Some(()) = created else { return Ok(None) };
        if keyed && self.create_view(name, &new, stop)?.is_none() {
            return Ok(None);
        }
        let described = patiently(stop, || Table::describe(client, &self.database, name))?;
        let Some(table) = described else { return Ok(None) };
        let table =
            table.ok_or_else(|| anyhow!("table {name} was created and is not there")).environment()?;
        self.tell_level(&table, keyed, "created the table");
        Ok(Some(Ok(table)))
    }

    /// Says that rows of an earlier file may win over those of this one: of one key the greater line number does.
    /// None: given up while waiting for the server.
    fn tell_earlier_lines(&self, table: &Table, topic: &str, stop: &Stop) -> Result<Option<()>> {
        let asks = self.from_lines && !self.dry_run && table.has_lineage();
        let Some(client) = self.client.as_ref().filter(|_| asks) else { return Ok(Some(())) };
        let sql = format!(
            "SELECT count(), max(_offset) FROM {}.{} WHERE _topic = {} FORMAT TabSeparated",
            names::identifier(&table.database),
            names::identifier(&table.name),
            names::literal(topic)
        );
        let ask = || client.query(&sql).and_then(|answer| response::table::<2>(&answer));
        let Some(answer) = patiently(stop, ask)? else { return Ok(None) };
        if let Some([_, last]) = answer.first().filter(|[count, _]| count != "0") {
            tracing::warn!(
                table = table.name,
                topic,
                "the table has rows of this topic up to offset {last}: where this file's lines have smaller numbers, the \
                 rows that are there win"
            );
        }
        Ok(Some(()))
    }

    /// Says what is guaranteed of rows in a table, and what to do where that is less than it could be: once, and
    /// when it has changed.
    fn tell_level(&self, table: &Table, keyed: bool, what: &'static str) {
        if self.tried {
            return;
        }
        let verdict = table.verdict(keyed);
        let before = locked(&self.server).levels.insert(table.name.clone(), verdict.clone());
        let Verdict { level, why, advice } = &verdict;
        let (level, name) = (level.letter(), &table.name);
        tracing::info!(table = name, level = %level, guarantee = why, "{what}");
        if !advice.is_empty() && before.as_ref() != Some(&verdict) {
            let help = advice.join("; ");
            tracing::warn!(table = name, level = %level, help, "less is guaranteed of rows in this table than could be");
        }
    }

    /// The levels of the tables that were written to.
    pub(super) fn levels(&self) -> Vec<(String, Level)> {
        let server = locked(&self.server);
        let levels = server.levels.iter().map(|(table, verdict)| (table.clone(), verdict.level));
        levels.collect()
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
        &self,
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
        for name in names.into_iter().filter(|name| self.check_name(name).is_ok()) {
            let known = locked(&self.known).tables.get(&name).cloned();
            let described = match known {
                Some(table) => Some(table),
                None => match patiently(stop, || Table::describe(client, &self.database, &name))? {
                    Some(table) => table.map(Arc::new),
                    None => return Ok(None),
                },
            };
            found.extend(described.filter(|table| table.is_keyed()));
        }
        Ok(Some(found))
    }

    /// The table and the binding of `rows`, of this epoch of their topic. None: given up while waiting for the server.
    pub(super) fn bound(
        &self,
        rows: &ShapeRows,
        epoch: u16,
        stop: &Stop,
    ) -> Result<Option<(Arc<Table>, Arc<Binding>)>> {
        let name = self.name_of(rows);
        loop {
            if let Some(bound) = self.bound_to(&name, rows)? {
                return Ok(Some(bound));
            }
            // Looked for already, and forgotten since because it changed.
            if self.ensure_all(std::slice::from_ref(rows), epoch, stop)?.is_none() {
                return Ok(None);
            }
        }
    }

    fn bound_to(&self, name: &str, rows: &ShapeRows) -> Result<Option<(Arc<Table>, Arc<Binding>)>> {
        let mut known = locked(&self.known);
        let Some(table) = known.tables.get(name).cloned() else { return Ok(None) };
        let key = (rows.shape.id, rows.output);
        if let Some(binding) = known.bindings.get(&key) {
            return Ok(Some((table, binding.clone())));
        }
        let output = &rows.plan.outputs[rows.output];
        let leave_out = self.schema_changes == SchemaChanges::Ignore;
        let binding = match table.bind(output, &rows.shape, leave_out) {
            // Where there is no server nothing has to fit what came before.
            Err(_) if self.client.is_none() => {
                let columns = self.planned(rows);
                Table::planned(&self.database, name, &columns, &output.key, &self.profile)
                    .and_then(|table| table.bind(output, &rows.shape, leave_out))
            }
            bound => bound,
        };
        let mut binding = binding.usage()?;
        for column in &mut binding.columns {
            column.rules = self.policies.rules(name, &column.name, column.rules.in_key);
        }
        if !self.tried && known.said.insert(key) {
            for note in &binding.notes {
                tracing::warn!(table = name, "{note}");
            }
            if self.client.is_some() {
                let idle = self.difference(&table, rows).idle;
                let is_ours = evolve::is_made_by_host(&table, &self.profile);
                tell_idle(&table, rows, idle, is_ours, &known.brought);
            }
        }
        let binding = Arc::new(binding);
        known.bindings.insert(key, binding.clone());
        Ok(Some((table, binding)))
    }

    /// Forgets what is known of a table that has changed.
    pub(super) fn forget(&self, name: &str) {
        let mut known = locked(&self.known);
        known.tables.remove(name);
        known.bindings.clear();
    }

    /// Creates the table of dead letters, once, and adds what a table of an earlier version lacks: the column of
    /// headers if the server lets it, and that of epochs where one is to be told. None: given up while waiting for
    /// the server.
    pub(super) fn ensure_dead_letters(
        &self,
        name: &str,
        epoch: u16,
        stop: &Stop,
    ) -> Result<Option<LetterColumns>> {
        let sql = ddl::create_dead_letters(&self.database, name, &self.profile);
        let Some(is_new) = self.ensure_own(name, sql, stop)? else { return Ok(None) };
        if is_new {
            tracing::warn!(table = name, database = self.database, "dead letters go to this table");
        }
        let known = locked(&self.server).dead_letters;
        let Some(client) = &self.client else {
            return Ok(Some(LetterColumns { headers: true, epoch: false }));
        };
        let mut has = match known {
            Some(has) => has,
            None => match self.letter_columns(client, name, stop)? {
                Some(has) => has,
                None => return Ok(None),
            },
        };
        if known.is_none() && !has.headers {
            match self.add_headers(client, name, stop)? {
                Some(added) => has.headers = added,
                None => return Ok(None),
            }
        }
        if epoch > 0 && !has.epoch {
            let sql = |if_not_exists| {
                ddl::add_epoch(&self.database, name, ddl::DEAD_LETTER_EPOCH, &self.profile, if_not_exists)
            };
            let added = add_column(client, &sql, stop).help(format!("run it yourself ({})", sql(true)));
            if added?.is_none() {
                return Ok(None);
            }
            has.epoch = true;
        }
        locked(&self.server).dead_letters = Some(has);
        Ok(Some(has))
    }

    fn letter_columns(&self, client: &Client, name: &str, stop: &Stop) -> Result<Option<LetterColumns>> {
        let described = patiently(stop, || Table::describe(client, &self.database, name))?;
        let Some(described) = described else { return Ok(None) };
        let has = |column: &str| {
            described.as_ref().is_some_and(|table| table.columns.iter().any(|one| one.name == column))
        };
        Ok(Some(LetterColumns { headers: has("headers"), epoch: has(ddl::DEAD_LETTER_EPOCH.0) }))
    }

    /// Whether the column is there then: a server that refuses it is no reason to stop.
    fn add_headers(&self, client: &Client, name: &str, stop: &Stop) -> Result<Option<bool>> {
        let modern = self.profile.modern_syntax;
        let sql = ddl::add_column(&self.database, name, "headers", &ColumnType::String, modern);
        let sql = sql.map_err(|e| anyhow!(e)).usage()?;
        let refused = |failure: Failure| match failure.class {
            Class::Retry | Class::Unknown => Err(failure),
            _ => {
                tracing::warn!(table = name, "dead letters are kept without headers: {failure}");
                Ok(())
            }
        };
        if patiently(stop, || client.query(&sql).map(drop).or_else(refused))?.is_none() {
            return Ok(None);
        }
        Ok(self.letter_columns(client, name, stop)?.map(|has| has.headers))
    }

    /// Creates the table of the audit, once. None: given up while waiting for the server.
    pub(super) fn ensure_audit(&self, name: &str, stop: &Stop) -> Result<Option<()>> {
        let sql = ddl::create_audit(&self.database, name, &self.profile);
        let Some(is_new) = self.ensure_own(name, sql, stop)? else { return Ok(None) };
        if is_new {
            tracing::info!(table = name, database = self.database, "each range is recorded in this table");
        }
        Ok(Some(()))
    }

    /// Creates a table of the host's own; false where that was done before.
    fn ensure_own(&self, name: &str, sql: Result<String, String>, stop: &Stop) -> Result<Option<bool>> {
        let ready = locked(&self.server).ready.contains(name);
        let Some(client) = self.client.as_ref().filter(|_| !ready) else { return Ok(Some(false)) };
        let sql = sql.map_err(|e| anyhow!(e)).usage()?;
        if patiently(stop, || client.query(&sql).map(drop))?.is_none() {
            return Ok(None);
        }
        locked(&self.server).ready.insert(name.to_owned());
        Ok(Some(true))
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
            Err(failure) => return Err(anyhow!("{failure}")).environment().help(failure.advice()),
        }
    }
}

/// Says which columns of a table new rows do not bring: they were dropped or renamed at the source. Those that a
/// later shape brings are none of these.
fn tell_idle(
    table: &Table,
    rows: &ShapeRows,
    mut idle: Vec<String>,
    is_ours: bool,
    brought: &HashMap<(String, String), u32>,
) {
    idle.retain(|column| {
        let last = brought.get(&(table.name.clone(), column.clone()));
        last.is_none_or(|last| *last < rows.shape.id)
    });
    if idle.is_empty() {
        return;
    }
    let what = format!("new rows do not have the columns {}, which get their default", idle.join(", "));
    match is_ours {
        true => tracing::warn!(table = table.name, "{what}: were they dropped or renamed at the source?"),
        false => tracing::info!(table = table.name, "{what}"),
    }
}
