//! The parameter `rename`.

use rowgate_transform::select::{RESERVED, qualified};
use rowgate_transform::{Field, Table};

/// What columns are called in the copy: pairs of the source's name, which may stand behind that of its table,
/// and the new one.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Renames(Vec<(String, String)>);

impl Renames {
    /// # Errors
    /// When a part is no pair, a column is renamed twice, or the new name is one of the host's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut renames = Self::default();
        if text.trim().is_empty() {
            return Ok(renames);
        }
        for part in text.split(',') {
            let pair = part.rsplit_once(':').map(|(old, new)| (old.trim(), new.trim()));
            let Some((old, new)) = pair.filter(|(old, new)| !old.is_empty() && !new.is_empty()) else {
                return Err(format!(
                    "parameter `rename` has `{part}`: it must be pairs `old:new` or `table.old:new` with commas \
                     between them"
                ));
            };
            if RESERVED.contains(&new) {
                return Err(format!(
                    "parameter `rename` calls a column `{new}`, which is a column that the host writes itself"
                ));
            }
            if renames.0.iter().any(|(earlier, _)| earlier == old) {
                return Err(format!("parameter `rename` renames `{old}` twice"));
            }
            renames.0.push((old.to_owned(), new.to_owned()));
        }
        Ok(renames)
    }

    /// The new name of a column, where it has one; a pair that names the table goes before one that does not.
    pub(crate) fn of(&self, table: &Table, field: &Field) -> Option<&str> {
        let tables = qualified(table);
        let tables = tables.iter().rev().chain([&table.name]);
        let names = tables.map(|table| format!("{table}.{}", field.name)).chain([field.name.clone()]);
        let found = names.into_iter().find_map(|name| self.0.iter().find(|(old, _)| *old == name));
        found.map(|(_, new)| new.as_str())
    }
}
