//! Keeps what changed: one row for each column that an insert, update or delete gave another value.
//!
//! | column | holds |
//! | --- | --- |
//! | `table_schema`, `table_name` | the source table; the database where the connector has no schemas |
//! | `key` | the row's key as a JSON object; null where the table has none |
//! | `column` | the column |
//! | `old`, `new` | its values as text; null where there is none: the old one of an insert, the new one of a delete |
//! | `old_known` | whether the source is known to have sent the old value |
//! | `op` | `c`, `u` or `d` |
//! | `committed_at` | when the source committed the change |
//!
//! An insert and a delete give a row for each column, an update for each that differs. Snapshots are left out:
//! nothing changed. Where an update comes without the row before it (PostgreSQL's default replica identity), nobody
//! can say what differs: each column gives a row, with `old` null and `old_known` false. A value that the source
//! left out because it did not change is no change. A delete of PostgreSQL has the key, and the other columns only
//! where the table's replica identity is full; otherwise the connector fills in nulls and defaults. The event does
//! not tell the two apart, so that `old_known` is false beyond the key unless the parameter `full_rows` names the
//! table.
//!
//! | parameter | value |
//! | --- | --- |
//! | `tables`, `exclude_tables` | which tables are watched; see [`Tables`] |
//! | `include`, `exclude` | which columns; see [`Columns`] |
//! | `key`, `key.<table>` | the columns of the key; see [`Keys`] |
//! | `target` | the table to write, `audit` unless given |
//! | `full_rows` | tables whose deletes have whole rows, by patterns as in `tables` |

mod rule;
mod text;

use rowgate_transform::select::{Columns, Keys, Patterns, Tables};
use rowgate_transform::{Params, Rule, Table, Transform};

/// Keeps one row for each column that changed.
#[derive(Debug)]
pub struct Audit {
    tables: Tables,
    columns: Columns,
    keys: Keys,
    target: String,
    full_rows: Patterns,
}

impl Transform for Audit {
    fn configure(params: &Params) -> Result<Self, String> {
        let own = [Keys::PARAM, "target", "full_rows"];
        params.allow_with(&[&Tables::PARAMS[..], &Columns::PARAMS, &own].concat(), &[Keys::PREFIX])?;
        let target = params.get("target").unwrap_or("audit").trim();
        if target.is_empty() {
            return Err("parameter `target` is empty: it must be a table's name".to_owned());
        }
        Ok(Self {
            tables: Tables::configure(params)?,
            columns: Columns::configure(params)?,
            keys: Keys::configure(params)?,
            target: target.to_owned(),
            full_rows: Patterns::parse("full_rows", params.get("full_rows").unwrap_or_default())?,
        })
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        // Without columns: the shape of truncations and messages, which are no rows and have no key.
        if table.fields.is_empty() || !self.tables.contains(table) {
            return Ok(Rule::leave_out());
        }
        let has_full_rows = table.connector != "postgresql" || self.full_rows.contains_table(table);
        let key = self.keys.of(table)?;
        let listed = table.fields.iter().zip(0..);
        let listed = listed.filter(|(field, _)| self.columns.contains(table, field)).map(|(_, at)| at);
        Ok(rule::of(table, &self.target, &key, &listed.collect::<Vec<_>>(), has_full_rows))
    }
}

#[cfg(feature = "component")]
rowgate_transform::export!(Audit);

#[cfg(test)]
mod tests;
