//! Runs a transform natively, on batches as the host makes them, for the tests of its author.
//!
//! The answers go through the checks that the host makes, so that what passes here passes there. Limits of
//! memory and time are the host's alone.

mod batch;
mod check;
mod value;

pub use value::Value;

use crate::bindings::rowgate::transform::types::Origin;
use crate::{Answer, Field, Input, Instance, Kind, Op, Ops, Plan, Table, Transform};

/// Describes a source table.
pub struct TableBuilder(Table);

impl TableBuilder {
    /// A table without columns as yet, whose events have a schema.
    pub fn new(name: &str) -> Self {
        Self(Table {
            id: 1,
            topic: format!("server.public.{name}"),
            connector: "postgresql".to_owned(),
            database: "app".to_owned(),
            schema: "public".to_owned(),
            name: name.to_owned(),
            typed: true,
            fields: Vec::new(),
        })
    }

    /// The events have no schema.
    pub fn without_schema(mut self) -> Self {
        self.0.typed = false;
        self
    }

    /// Adds a column that may be null.
    pub fn column(self, name: &str, kind: Kind) -> Self {
        self.field(Field {
            name: name.to_owned(),
            kind,
            nullable: true,
            key: false,
            semantic: String::new(),
            target_type: String::new(),
        })
    }

    /// Adds a column that is part of the row's key, and not null.
    pub fn key(mut self, name: &str, kind: Kind) -> Self {
        self = self.column(name, kind);
        if let Some(field) = self.0.fields.last_mut() {
            field.key = true;
            field.nullable = false;
        }
        self
    }

    /// Adds a column.
    pub fn field(mut self, field: Field) -> Self {
        self.0.fields.push(field);
        self
    }

    /// The table.
    pub fn build(self) -> Table {
        self.0
    }
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// The row before it, with a value for each column of the table.
    pub before: Option<Vec<Value>>,
    /// The row after it, with a value for each column of the table.
    pub after: Option<Vec<Value>>,
    /// Members of the event's `source` block.
    pub details: Vec<(String, String)>,
    /// When the source database committed it, microseconds since 1970.
    pub committed_at_us: i64,
}

impl Change {
    /// An inserted row.
    pub fn create(after: impl Into<Vec<Value>>) -> Self {
        Self::new(Op::Create, None, Some(after.into()))
    }

    /// A row that was there when the connector began.
    pub fn read(after: impl Into<Vec<Value>>) -> Self {
        Self::new(Op::Read, None, Some(after.into()))
    }

    /// An updated row, of which the row before is not known.
    pub fn update(after: impl Into<Vec<Value>>) -> Self {
        Self::new(Op::Update, None, Some(after.into()))
    }

    /// A deleted row.
    pub fn delete(before: impl Into<Vec<Value>>) -> Self {
        Self::new(Op::Delete, Some(before.into()), None)
    }

    /// The same with the row before the change.
    pub fn before(mut self, row: impl Into<Vec<Value>>) -> Self {
        self.before = Some(row.into());
        self
    }

    /// The same with one more member of the event's `source` block.
    pub fn detail(mut self, name: &str, text: &str) -> Self {
        self.details.push((name.to_owned(), text.to_owned()));
        self
    }

    fn new(op: Op, before: Option<Vec<Value>>, after: Option<Vec<Value>>) -> Self {
        Self { op, before, after, details: Vec::new(), committed_at_us: 1_700_000_000_000_000 }
    }
}

/// A row that a transform made.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRow {
    /// The table that it is for; none: the one that the host's configuration names.
    pub target: Option<String>,
    /// The change that it comes from, counted from 0 in the changes given.
    pub change: usize,
    /// Whether it takes its key out of the target.
    pub removed: bool,
    /// Its values by the names of the columns, in their order.
    pub values: Vec<(String, Value)>,
}

impl OutputRow {
    /// A value by its column's name.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.iter().find(|(name, _)| name == column).map(|(_, value)| value)
    }
}

/// What a transform made of some changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What the transform said about the table.
    pub plan: Plan,
    /// The rows, output by output.
    pub rows: Vec<OutputRow>,
    /// The changes that cannot be processed, counted from 0 in those given, with the reasons.
    pub rejects: Vec<(usize, String)>,
    /// Whether the transform was called, other than for the plan.
    pub applied: bool,
}

/// Runs a new instance of a transform over changes of one table, in one batch.
///
/// # Errors
/// What the transform fails with, or how its plan or its answer breaks the contract.
pub fn run<T: Transform>(params: &[(&str, &str)], table: &Table, changes: &[Change]) -> Result<Run, String> {
    let mut instance = Instance::<T>::new();
    instance.configure(params.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())?;
    let plan = instance.prepare(table)?;
    check::plan(&plan, table)?;

    let kept: Vec<(usize, &Change)> =
        changes.iter().enumerate().filter(|(_, change)| contains(plan.ops, change.op)).collect();
    let computes = plan.outputs.iter().flat_map(|output| &output.columns);
    let applied = !plan.outputs.is_empty()
        && !kept.is_empty()
        && (!plan.reads.is_empty()
            || computes.into_iter().any(|column| matches!(column.origin, Origin::Computed(_))));
    if !applied {
        let rows = plan
            .outputs
            .iter()
            .enumerate()
            .flat_map(|(output, _)| kept.iter().map(move |&(at, change)| (output, at, change)));
        let rows = rows.map(|(output, at, change)| row(&plan, table, output, at, change, None)).collect();
        return Ok(Run { plan, rows, rejects: Vec::new(), applied });
    }
    let answer = instance.apply(&batch::new(&plan, table, &kept))?;
    check::answer(&answer, &plan, kept.len())?;
    let rejects =
        answer.rejects.iter().map(|reject| (kept[reject.row as usize].0, reject.reason.clone())).collect();
    Ok(Run { rows: rows(&answer, &plan, table, &kept), plan, rejects, applied })
}

/// The rows of a checked answer.
fn rows(answer: &Answer, plan: &Plan, table: &Table, kept: &[(usize, &Change)]) -> Vec<OutputRow> {
    let mut rows = Vec::new();
    for (output, part) in answer.parts.iter().enumerate() {
        for (at, &from) in part.rows.iter().enumerate() {
            let (number, change) = kept[from as usize];
            rows.push(row(plan, table, output, number, change, Some((part, at))));
        }
    }
    rows
}

fn row(
    plan: &Plan,
    table: &Table,
    output: usize,
    number: usize,
    change: &Change,
    computed: Option<(&crate::bindings::rowgate::transform::types::Part, usize)>,
) -> OutputRow {
    let output = &plan.outputs[output];
    let mut columns = computed.iter().flat_map(|(part, _)| &part.computed);
    let values = output.columns.iter().map(|column| {
        let value = match &column.origin {
            Origin::Copy(Input::Op) => Value::Text(letter(change.op).to_owned()),
            Origin::Copy(input) => batch::value(input, table, change),
            Origin::Constant(text) => Value::Text(text.clone()),
            Origin::Computed(computed_as) => match (columns.next(), computed) {
                (Some(cells), Some((_, at))) => value::at(cells, computed_as.kind, at),
                _ => Value::Null,
            },
        };
        (column.name.clone(), value)
    });
    let values = values.collect();
    let removed = computed
        .and_then(|(part, at)| part.removed.get(at))
        .map_or(change.op == Op::Delete, |&flag| flag == 1);
    OutputRow {
        target: output.target.clone(),
        change: number,
        removed: removed && !output.key.is_empty(),
        values,
    }
}

fn contains(ops: Ops, op: Op) -> bool {
    let flag = match op {
        Op::Create => Ops::CREATE,
        Op::Update => Ops::UPDATE,
        Op::Delete => Ops::DELETE,
        Op::Read => Ops::READ,
        Op::Truncate => Ops::TRUNCATE,
        Op::Message => Ops::MESSAGE,
    };
    (ops & flag) == flag
}

fn letter(op: Op) -> &'static str {
    match op {
        Op::Create => "c",
        Op::Update => "u",
        Op::Delete => "d",
        Op::Read => "r",
        Op::Truncate => "t",
        Op::Message => "m",
    }
}

#[cfg(test)]
mod tests;
