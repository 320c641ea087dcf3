//! The rule that the shipped transforms share: changes of some kinds, with the row's columns, times in UTC,
//! and the operation.

use rowgate_transform::select::{Patterns, RESERVED, free_name};
use rowgate_transform::{Cell, Computed, Input, Kind, Ops, Params, Read, Rule, Table};

use crate::times::Reader;

/// Columns beside the reserved ones that the transform or the host adds; a source column of such a name gets
/// another.
const ADDED: [&str; 2] = ["op", "ts"];

/// Keeps changes of some kinds. Each gives one row: every column of the row, and `op`.
///
/// - Where the events have a schema, the host knows the times, and every column is copied.
/// - Where they have none, the columns named by the parameter `times` are read as times and become
///   `DateTime64(6, 'UTC')`: integers by their size, or as the parameter `unit` says, and ISO 8601 text. A
///   value that is no time rejects its change. Columns of other kinds than integer and text are copied.
/// - A source column named `op`, `ts`, or as one of [`RESERVED`], becomes `source_op` and so on.
#[derive(Debug)]
pub struct Changes {
    ops: Ops,
    /// The row that is kept, by the number of a field.
    row: fn(u32) -> Input,
    times: Patterns,
    reader: Reader,
}

impl Changes {
    /// Reads the parameters `times`, `unit` and `subsecond`.
    ///
    /// # Errors
    /// Names the parameter that is unknown, or whose value is not one of those allowed.
    pub fn configure(params: &Params, ops: Ops, row: fn(u32) -> Input) -> Result<Self, String> {
        params.allow(&["times", "unit", "subsecond"])?;
        let times = Patterns::parse("times", params.get("times").unwrap_or("*_at"))?;
        let reader = Reader::parse(params.get("unit"), params.get("subsecond"))?;
        Ok(Self { ops, row, times, reader })
    }

    /// What is done with a table.
    pub fn rule(&self, table: &Table) -> Rule {
        let taken = [&ADDED[..], &RESERVED[..]].concat();
        let mut rule = Rule::on(self.ops);
        let mut times: Vec<(Read, Computed, String)> = Vec::new();
        for (field, at) in table.fields.iter().zip(0..) {
            let input = (self.row)(at);
            let name = free_name(&field.name, &taken, &table.fields);
            if !table.typed
                && matches!(field.kind, Kind::Int | Kind::Text)
                && self.times.contains(&field.name)
            {
                let time = rule.compute(&name, Kind::Timestamp);
                times.push((rule.read(input), time, field.name.clone()));
            } else {
                rule.copy(&name, input);
            }
        }
        rule.copy("op", Input::Op);
        if times.is_empty() {
            return rule;
        }
        let reader = self.reader;
        rule.each(move |row, out| {
            for (from, to, name) in &times {
                let cell = row.get(*from);
                match cell {
                    Cell::Int(_) | Cell::Text(_) => {
                        let micros = reader.micros(cell).map_err(|reason| format!("{name}: {reason}"))?;
                        out.set(*to, Cell::Timestamp(micros));
                    }
                    // Null and unavailable.
                    other => out.set(*to, other),
                }
            }
            out.keep();
            Ok(())
        })
    }
}
