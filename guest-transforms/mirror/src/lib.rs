//! Keeps a copy of each source table: one row for each key, the newest, and none where it was deleted.
//!
//! | parameter | value |
//! | --- | --- |
//! | `tables`, `exclude_tables` | which tables are copied; see [`Tables`] |
//! | `include`, `exclude` | which columns; see [`Columns`]. Those of the key cannot be left out |
//! | `rename` | `old:new` or `table.old:new`, with commas between them |
//! | `key`, `key.<table>` | the columns of the key, as the source names them; see [`Keys`] |
//! | `target` | the table to write, with `{database}`, `{schema}` and `{table}` for those of the source |
//!
//! Nothing is computed, so that the host does all of it alone. A truncation is not among the changes: what
//! becomes of the copy then is a setting of the host.

mod rename;
mod target;

use rename::Renames;
use rowgate_transform::select::{Columns, Keys, RESERVED, Tables, free_name, qualified, repeated};
use rowgate_transform::{Field, Input, Ops, Params, Rule, Table, Transform};
use target::Target;

/// Keeps a copy of each source table.
#[derive(Debug)]
pub struct Mirror {
    tables: Tables,
    columns: Columns,
    renames: Renames,
    keys: Keys,
    target: Option<Target>,
}

impl Transform for Mirror {
    fn configure(params: &Params) -> Result<Self, String> {
        let names = [&Tables::PARAMS[..], &Columns::PARAMS, &["rename", Keys::PARAM, "target"]].concat();
        params.allow_with(&names, &[Keys::PREFIX])?;
        Ok(Self {
            tables: Tables::configure(params)?,
            columns: Columns::configure(params)?,
            renames: Renames::parse(params.get("rename").unwrap_or_default())?,
            keys: Keys::configure(params)?,
            target: params.get("target").map(Target::parse).transpose()?,
        })
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        // Without columns: the shape of truncations and messages, which are no rows and have no key.
        if table.fields.is_empty() || !self.tables.contains(table) {
            return Ok(Rule::leave_out());
        }
        let key = self.key(table)?;
        let kept = self.names(table)?;
        let mut rule = Rule::on(Ops::CREATE | Ops::UPDATE | Ops::DELETE | Ops::READ);
        if let Some(target) = &self.target {
            rule.target(&target.of(table));
        }
        for (at, name) in &kept {
            rule.copy(name, Input::Latest(*at));
        }
        let named = key.iter().filter_map(|at| kept.iter().find(|(kept, _)| kept == at));
        rule.key(&named.map(|(_, name)| name.as_str()).collect::<Vec<_>>());
        Ok(rule)
    }
}

impl Mirror {
    /// The fields of the key, none of which is left out.
    fn key(&self, table: &Table) -> Result<Vec<u32>, String> {
        let key = self.keys.of(table)?;
        if key.is_empty() {
            let name = qualified(table).into_iter().next().unwrap_or_else(|| table.name.clone());
            return Err(format!(
                "table `{name}` has no key, so that rows cannot be told apart: give it a primary key or a replica \
                 identity at the source, or set the parameter `key.{}` to columns that identify a row, or use the \
                 transform `all_changes`",
                table.name
            ));
        }
        let fields = key.iter().filter_map(|&at| table.fields.get(at as usize));
        let mut left_out =
            fields.filter_map(|field| Some((&field.name, self.columns.leaves_out(table, field)?)));
        match left_out.next() {
            Some((column, parameter)) => Err(format!(
                "parameter `{parameter}` leaves out column `{column}`, which is in the key of table `{}`",
                table.name
            )),
            None => Ok(key),
        }
    }

    /// The fields that are copied, and what they are called in the copy.
    fn names(&self, table: &Table) -> Result<Vec<(u32, String)>, String> {
        let mut kept = Vec::new();
        for (field, at) in table.fields.iter().zip(0..) {
            if self.columns.contains(table, field) {
                kept.push((at, self.name(table, field)));
            }
        }
        let names: Vec<&String> = kept.iter().map(|(_, name)| name).collect();
        match repeated(&names) {
            Some(name) => Err(format!(
                "parameter `rename` gives table `{}` two columns called `{name}`: rename one otherwise, or exclude it",
                table.name
            )),
            None => Ok(kept),
        }
    }

    fn name(&self, table: &Table, field: &Field) -> String {
        match self.renames.of(table, field) {
            Some(name) => name.to_owned(),
            None => free_name(&field.name, &RESERVED, &table.fields),
        }
    }
}

#[cfg(feature = "component")]
rowgate_transform::export!(Mirror);

#[cfg(test)]
mod tests;
