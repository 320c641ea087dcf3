//! The parameter `target`.

use rowgate_transform::Table;

/// What the copy of a table is called: texts and parts of the source's name.
#[derive(Debug, PartialEq)]
pub(crate) struct Target(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Database,
    Schema,
    Table,
}

impl Target {
    /// # Errors
    /// When it is empty, or something else stands between braces than one of the three names.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "parameter `target` is `{text}`: it must be a table's name, in which `{{database}}`, `{{schema}}` and \
                 `{{table}}` stand for those of the source"
            )
        };
        let mut parts = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let plain = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, after) = rest.split_at(plain);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
            let (name, after) =
                rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).ok_or_else(wrong)?;
            parts.push(match name {
                "database" => Part::Database,
                "schema" => Part::Schema,
                "table" => Part::Table,
                _ => return Err(wrong()),
            });
            rest = after;
        }
        if parts.is_empty() { Err(wrong()) } else { Ok(Self(parts)) }
    }

    /// The name for one table.
    pub(crate) fn of(&self, table: &Table) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Database => &table.database,
            Part::Schema => &table.schema,
            Part::Table => &table.name,
        });
        parts.collect()
    }
}
