//! Schema changes of a source while the pipeline runs: the statements that make new rows fit, before the
//! first insert that needs them.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};

use super::targets::{Targets, patiently};
use super::{Stop, locked};
use crate::clickhouse::client::Client;
use crate::clickhouse::ddl;
use crate::clickhouse::evolve::{self, Difference, Step};
use crate::clickhouse::names::literal;
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::table::Table;
use crate::config::SchemaChanges;
use crate::error::Classify;
use crate::transform::plan::{EPOCH, LINEAGE, VERSION};
use crate::transform::run::ShapeRows;

/// How often a table may have been changed by others between two looks at it, until that is an error.
const MAX_ROUNDS: u32 = 5;
/// The server does not know `IF NOT EXISTS` here.
const SYNTAX_ERROR: u32 = 62;
/// The column is there by now: another host was faster.
const EXISTS: [u32; 2] = [15, 44];

impl Targets {
    /// Makes the table of `rows` fit them, as far as the configuration lets it; or says why the tenant's budget does not.
    /// None: given up.
    ///
    /// # Errors
    /// Columns that are missing or too narrow, where the configuration says stop; statements that the server
    /// refuses.
    pub(super) fn evolve(&self, rows: &ShapeRows, stop: &Stop) -> Result<Option<Result<(), String>>> {
        let name = self.name_of(rows);
        let Some(client) = &self.client else { return Ok(Some(Ok(()))) };
        let Some(mut table) = self.unbound(&name, rows) else { return Ok(Some(Ok(()))) };
        for round in 0..MAX_ROUNDS {
            let output = &rows.plan.outputs[rows.output];
            if output.is_keyed() && table.check_key(&output.key).is_err() {
                return Ok(Some(Ok(()))); // which the binding says, and the table stays as it is
            }
            let steps = self.difference(&table, rows).steps;
            if steps.is_empty() || self.schema_changes == SchemaChanges::Ignore {
                return Ok(Some(Ok(())));
            }
            let sql = steps.iter().map(|step| statement(&table, step, true)).collect::<Result<Vec<_>>>()?;
            if self.schema_changes == SchemaChanges::Stop || !evolve::holds_rows(&table) {
                return Err(refusal(&table, &steps)).usage().help(sql.join("; "));
            }
            if self.dry_run {
                if !self.tried {
                    steps.iter().for_each(|step| tracing::info!(table = name, "would {}", told(step)));
                }
                self.put(Arc::new(evolve::changed(&table, &steps)));
                return Ok(Some(Ok(())));
            }
            // What is remembered may be older than what another host has done since.
            if round > 0 {
                let added = steps.iter().filter(|step| !step.widens).count();
                if let Err(why) = self.share.take_columns(added as u64) {
                    return Ok(Some(Err(why)));
                }
                for step in &steps {
                    let refused = || format!("table {name}: the server refuses to {}", told(step));
                    let done = take(client, &table, step, stop).with_context(refused);
                    let done = done
                        .help(format!("run it yourself ({}), or choose `schema_changes`", sql.join("; ")));
                    if done?.is_none() {
                        return Ok(None);
                    }
                    tracing::info!(table = name, "schema change: {}", told(step));
                }
                if table.is_keyed() && renew_view(client, &table, stop)?.is_none() {
                    return Ok(None);
                }
            }
            let described = patiently(stop, || Table::describe(client, &table.database, &name))?;
            let Some(described) = described else { return Ok(None) };
            let found = described.ok_or_else(|| anyhow!("table {name} is gone")).environment()?;
            table = Arc::new(found);
            self.put(table.clone());
        }
        Err(anyhow!("the columns of table {name} keep changing")).environment()
    }

    /// Makes the table of a log say which life of its topic a row's record is of, before the first row of a topic
    /// that was made anew: else rows of the same place could not be told apart. None: given up.
    ///
    /// # Errors
    /// A table that cannot be changed, or is not to be.
    pub(super) fn ensure_epoch(&self, rows: &ShapeRows, epoch: u16, stop: &Stop) -> Result<Option<()>> {
        let name = self.name_of(rows);
        let known = || locked(&self.known).tables.get(&name).cloned();
        let Some(table) = known().filter(|table| epoch > 0 && !rows.is_keyed() && table.lacks_epoch()) else {
            return Ok(Some(()));
        };
        let Some(client) = self.client.as_ref().filter(|_| !self.dry_run) else {
            self.put(Arc::new(evolve::with_epoch(&table, &self.profile)));
            return Ok(Some(()));
        };
        let what = format!(
            "table {}.{name} has no column {EPOCH}, which tells the rows of a topic that was made anew from those before",
            table.database
        );
        let sql =
            |if_not_exists| ddl::add_epoch(&table.database, &name, ddl::EPOCH, &self.profile, if_not_exists);
        // Another host may have added it.
        let describe = || Table::describe(client, &table.database, &name);
        let mut found = patiently(stop, describe)?;
        if found.as_ref().is_some_and(|found| found.as_ref().is_some_and(Table::lacks_epoch)) {
            if self.schema_changes != SchemaChanges::Add || !evolve::holds_rows(&table) {
                return Err(anyhow!(what)).usage().help(sql(true));
            }
            let added = add_column(client, &sql, stop).context(what);
            if added.help(format!("run it yourself ({})", sql(true)))?.is_none() {
                return Ok(None);
            }
            tracing::info!(table = name, "added the column {EPOCH}: a topic of its rows was made anew");
            found = patiently(stop, describe)?;
        }
        let Some(found) = found else { return Ok(None) };
        let found = found.ok_or_else(|| anyhow!("table {name} is gone")).environment()?;
        self.put(Arc::new(found));
        Ok(Some(()))
    }

    /// How `table` differs from what `rows` need.
    pub(super) fn difference(&self, table: &Table, rows: &ShapeRows) -> Difference {
        let output = &rows.plan.outputs[rows.output];
        evolve::difference(table, output, &rows.shape, &self.profile, &self.policies)
    }

    /// The table, where these rows are not bound to it yet.
    fn unbound(&self, name: &str, rows: &ShapeRows) -> Option<Arc<Table>> {
        let mut known = locked(&self.known);
        if known.bindings.contains_key(&(rows.shape.id, rows.output)) {
            return None;
        }
        for column in &rows.plan.outputs[rows.output].columns {
            let last = known.brought.entry((name.to_owned(), column.name.clone())).or_default();
            *last = rows.shape.id.max(*last);
        }
        known.tables.get(name).cloned()
    }

    /// Remembers a table in place of what was known of it.
    fn put(&self, table: Arc<Table>) {
        let mut known = locked(&self.known);
        known.bindings.clear();
        known.tables.insert(table.name.clone(), table);
    }
}

fn statement(table: &Table, step: &Step, if_not_exists: bool) -> Result<String> {
    let sql = match step.widens {
        true => ddl::modify_column(&table.database, &table.name, &step.name, &step.ty),
        false => ddl::add_column(&table.database, &table.name, &step.name, &step.ty, if_not_exists),
    };
    sql.map_err(|reason| anyhow!(reason)).usage()
}

/// Says a step as something to do.
fn told(step: &Step) -> String {
    match step.widens {
        true => format!("widen column {:?} to {}", step.name, step.ty),
        false => format!("add column {:?} as {}", step.name, step.ty),
    }
}

fn refusal(table: &Table, steps: &[Step]) -> anyhow::Error {
    let lacking: Vec<String> =
        steps.iter().filter(|step| !step.widens).map(|step| format!("{:?}", step.name)).collect();
    let place = format!("table {}.{}", table.database, table.name);
    match lacking.is_empty() {
        false => anyhow!("{place} has no column {}, which new rows have", lacking.join(", ")),
        true => anyhow!(
            "{place}: a column is too narrow for new rows: {}",
            steps.iter().map(told).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Takes one step; that another host takes the same one at the same time is fine. None: given up.
fn take(client: &Client, table: &Table, step: &Step, stop: &Stop) -> Result<Option<()>> {
    let sql = [statement(table, step, true)?, statement(table, step, false)?];
    if step.widens {
        return patiently(stop, || client.query(&sql[0]).map(drop));
    }
    add_column(client, &|if_not_exists| sql[usize::from(!if_not_exists)].clone(), stop)
}

/// Adds a column by the statement with `IF NOT EXISTS`, or on old servers by the one without; that it is there by
/// then is fine. None: given up.
pub(super) fn add_column(client: &Client, sql: &dyn Fn(bool) -> String, stop: &Stop) -> Result<Option<()>> {
    let done = |answer: Result<Vec<u8>, Failure>| match answer {
        Err(failure) if failure.code.is_some_and(|code| EXISTS.contains(&code)) => Ok(false),
        Err(failure) if failure.code == Some(SYNTAX_ERROR) => Ok(true),
        answer => answer.map(|_| false),
    };
    let Some(is_old) = patiently(stop, || done(client.query(&sql(true))))? else { return Ok(None) };
    if !is_old {
        return Ok(Some(()));
    }
    patiently(stop, || match client.query(&sql(false)) {
        Err(failure) if failure.code.is_some_and(|code| EXISTS.contains(&code)) => Ok(()),
        answer => answer.map(drop),
    })
}

/// Makes the view of a keyed table show all columns that the table has, where the host made the view. It looks
/// again after each attempt, since another host may have put back what it read before.
/// None: given up while waiting for the server.
fn renew_view(client: &Client, table: &Table, stop: &Stop) -> Result<Option<()>> {
    let view = ddl::view_name(&table.name);
    for round in 0..MAX_ROUNDS {
        // Servers that do not tell a view's text are left alone.
        let text = match allowed(stop, || client.query(&text_of_view(table, &view)))? {
            None => return Ok(None),
            Some(Ok(text)) => text,
            Some(Err(failure)) => return not_renewed(&view, &failure),
        };
        let text = String::from_utf8_lossy(&text);
        let Some(mut columns) = evolve::columns_of_view(&text, &table.database, &table.name) else {
            return Ok(Some(()));
        };
        let Some(now) = patiently(stop, || Table::describe(client, &table.database, &table.name))? else {
            return Ok(None);
        };
        let more: Vec<String> =
            now.iter().flat_map(shown_columns).filter(|name| !columns.contains(name)).collect();
        // The first time in any case: a view keeps the types that it was made with.
        if round > 0 && more.is_empty() {
            return Ok(Some(()));
        }
        columns.extend(more);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let statements =
            ddl::replace_view(&table.database, &table.name, &columns).map_err(|e| anyhow!(e)).usage()?;
        // Servers and databases that cannot replace a view can drop it.
        let [replace, drop_it, create] = statements;
        match allowed(stop, || client.query(&replace))? {
            None => return Ok(None),
            Some(Ok(_)) => continue,
            Some(Err(_)) => {}
        }
        for sql in [drop_it, create] {
            match allowed(stop, || client.query(&sql))? {
                None => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(failure)) => return not_renewed(&view, &failure),
            }
        }
    }
    Ok(Some(()))
}

/// The columns of a table that the view of its live rows shows: all but the host's own.
fn shown_columns(table: &Table) -> impl Iterator<Item = String> {
    let own =
        |name: &str| [EPOCH, "ts"].contains(&name) || LINEAGE.contains(&name) || VERSION.contains(&name);
    let shown =
        table.columns.iter().filter(move |column| column.default_kind.takes_values() && !own(&column.name));
    shown.map(|column| column.name.clone())
}

fn text_of_view(table: &Table, view: &str) -> String {
    format!(
        "SELECT as_select FROM system.tables WHERE database = {} AND name = {} AND engine = 'View' FORMAT TSVRaw",
        literal(&table.database),
        literal(view)
    )
}

/// Rows go on without it.
fn not_renewed(view: &str, failure: &Failure) -> Result<Option<()>> {
    tracing::warn!(view, "the view was not renewed: {failure}");
    Ok(Some(()))
}

/// Repeats `ask` until the server answers, be it with a refusal. None: given up because the host is to stop.
fn allowed<T>(stop: &Stop, ask: impl Fn() -> Result<T, Failure>) -> Result<Option<Result<T, Failure>>> {
    patiently(stop, || match ask() {
        Err(failure) if !matches!(failure.class, Class::Retry | Class::Unknown) => Ok(Err(failure)),
        answer => answer.map(Ok),
    })
}
