//! Plans: what a transform said, once per shape, about what it reads and what it makes, checked.

use std::collections::HashSet;

use super::bindings::rowgate::transform::types as wit;
use crate::clickhouse::profile::Profile;
use crate::clickhouse::table::{may_be_null, planned_type};
use crate::clickhouse::types::ColumnType;
use crate::clickhouse::{ddl, names};
use crate::columns::{Input, Kind};
use crate::debezium::{Op, shape::Shape};

/// Columns of all outputs of a plan together, and columns that it reads, at most. PostgreSQL's tables have
/// 1,600 at most.
const MAX_COLUMNS: usize = 10_000;
/// Outputs of one plan at most.
const MAX_OUTPUTS: usize = 64;
/// A constant's length at most, bytes.
pub const MAX_CONSTANT_BYTES: usize = 1_024;

/// Names of the columns that the host adds to every row; a plan's output cannot have them.
pub const LINEAGE: [&str; 5] = ["_topic", "_partition", "_offset", "_seq", "_transform"];

/// Names of the columns that the host adds to the rows of an output with a key; no output can have them.
pub const VERSION: [&str; 2] = ["_version", "_is_deleted"];

/// The column of a log that says which life of its topic a row's record is of. A table gets it when a topic of its
/// rows is made anew, and not before.
pub const EPOCH: &str = "_epoch";

/// A set of ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ops(u8);

impl Ops {
    #[cfg(test)]
    pub(crate) const ALL_FOR_TESTS: Ops = Ops(0x3f);

    /// Whether `op` is in the set.
    pub fn has(self, op: Op) -> bool {
        self.0 & (1 << op as u8) != 0
    }
}

impl FromIterator<Op> for Ops {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        Ops(ops.into_iter().fold(0, |set, op| set | 1 << op as u8))
    }
}

/// What a transform does with the changes of one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Changes of other ops are filtered without being looked at.
    pub ops: Ops,
    /// What `apply` is given, in this order.
    pub reads: Vec<Input>,
    /// The streams of rows that it makes. None: the table is left out.
    pub outputs: Vec<Output>,
}

/// One stream of rows, for one target table.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The table to write; none for the one that the configuration names.
    pub target: Option<String>,
    /// The row's columns, without those of the host.
    pub columns: Vec<OutputColumn>,
    /// The names of the columns that identify a row. Empty: a log.
    pub key: Vec<String>,
}

impl Output {
    /// Whether the newest row of a key replaces the ones before it.
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }
}

/// A column of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    /// Its name in the target.
    pub name: String,
    /// Where its values come from.
    pub origin: Origin,
}

/// Where an output column's values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// Filled in by the host.
    Copy(Input),
    /// The same text in every row.
    Constant(String),
    /// Returned by the transform.
    Computed {
        /// What the values mean.
        kind: Kind,
        /// Whether they may be null.
        nullable: bool,
        /// The column's type in a table that the host creates, where not the usual one for `kind`.
        target_type: Option<ColumnType>,
    },
}

impl Plan {
    /// Whether the plan is the whole rule, so that `apply` is never called.
    pub fn is_pure_copy(&self) -> bool {
        self.reads.is_empty()
            && self.outputs.iter().all(|output| {
                output.columns.iter().all(|column| !matches!(column.origin, Origin::Computed { .. }))
            })
    }

    /// Checks what `prepare` returned for `shape`. The error says what is wrong with the plan.
    pub(super) fn check(plan: wit::Plan, shape: &Shape) -> Result<Plan, String> {
        if plan.outputs.len() > MAX_OUTPUTS {
            return Err(format!("the plan has {} outputs, {MAX_OUTPUTS} are allowed", plan.outputs.len()));
        }
        if plan.reads.len() > MAX_COLUMNS {
            return Err(format!("the plan reads {} columns, {MAX_COLUMNS} are allowed", plan.reads.len()));
        }
        let columns: usize = plan.outputs.iter().map(|output| output.columns.len()).sum();
        if columns > MAX_COLUMNS {
            return Err(format!("the plan makes {columns} columns, {MAX_COLUMNS} are allowed"));
        }
        let reads = plan.reads.into_iter().map(|read| input(read, shape)).collect::<Result<_, _>>()?;
        let outputs =
            plan.outputs.into_iter().map(|out| output(out, shape)).collect::<Result<Vec<_>, _>>()?;
        check_targets(&outputs)?;
        Ok(Plan { ops: ops(plan.ops), reads, outputs })
    }
}

fn ops(flags: wit::Ops) -> Ops {
    let pairs = [
        (wit::Ops::CREATE, Op::Create),
        (wit::Ops::UPDATE, Op::Update),
        (wit::Ops::DELETE, Op::Delete),
        (wit::Ops::READ, Op::Read),
        (wit::Ops::TRUNCATE, Op::Truncate),
        (wit::Ops::MESSAGE, Op::Message),
    ];
    pairs.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, op)| *op).collect()
}

fn output(output: wit::Output, shape: &Shape) -> Result<Output, String> {
    if output.columns.is_empty() {
        return Err("an output has no columns".into());
    }
    if let Some(target) = &output.target {
        names::check_table("default", target)?;
    }
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(output.columns.len());
    for column in output.columns {
        names::check_column(&column.name)?;
        if LINEAGE.iter().chain(&VERSION).chain(&[EPOCH]).any(|own| *own == column.name) {
            return Err(format!(
                "column {:?} has a name that the host writes itself: rename it",
                column.name
            ));
        }
        if !names.insert(column.name.clone()) {
            return Err(format!("column {:?} stands twice in one output", column.name));
        }
        columns.push(OutputColumn { name: column.name, origin: origin(column.origin, shape)? });
    }
    check_key(&output.key, &columns, shape)?;
    Ok(Output { target: output.target, columns, key: output.key })
}

/// A key must tell rows apart whatever they hold: it has no nulls, and nothing that cannot be sorted by.
fn check_key(key: &[String], columns: &[OutputColumn], shape: &Shape) -> Result<(), String> {
    for (index, name) in key.iter().enumerate() {
        let column = columns
            .iter()
            .find(|column| column.name == *name)
            .ok_or_else(|| format!("the key has {name:?}, which is none of the output's columns"))?;
        if key[..index].contains(name) {
            return Err(format!("the key has {name:?} twice"));
        }
        match &column.origin {
            Origin::Copy(from) if may_be_null(from, shape) => {
                return Err(format!(
                    "the key has {name:?}, whose source may be null: leave it out of the key, or compute it with a \
                     value for null"
                ));
            }
            Origin::Computed { nullable: true, .. } => {
                return Err(format!(
                    "the key has {name:?}, which is computed and may be null: make it not nullable"
                ));
            }
            _ => {}
        }
        // Whatever the server lacks stands in a type that can be sorted by.
        let ty = planned_type(column, shape, &Profile::default());
        let unsorted =
            matches!(ty.bare(), ColumnType::Json(_) | ColumnType::Map(..) | ColumnType::Variant(_));
        if ty.is_nullable() || unsorted {
            return Err(format!("the key has {name:?}, and no table can be ordered by {ty}"));
        }
    }
    Ok(())
}

/// Rows of one change are versions of one key only where one output makes them.
fn check_targets(outputs: &[Output]) -> Result<(), String> {
    for (index, output) in outputs.iter().enumerate() {
        let other = outputs[..index].iter().find(|other| other.target == output.target);
        if other.is_some_and(|other| other.is_keyed() || output.is_keyed()) {
            let target = output.target.as_deref().unwrap_or("that the configuration names");
            return Err(format!("two outputs go to the table {target:?}, and one of them has a key"));
        }
    }
    Ok(())
}

fn origin(origin: wit::Origin, shape: &Shape) -> Result<Origin, String> {
    Ok(match origin {
        wit::Origin::Copy(from) => Origin::Copy(input(from, shape)?),
        wit::Origin::Constant(text) if text.len() > MAX_CONSTANT_BYTES => {
            return Err(format!("a constant has {} bytes, {MAX_CONSTANT_BYTES} are allowed", text.len()));
        }
        wit::Origin::Constant(text) => Origin::Constant(text),
        wit::Origin::Computed(computed) => Origin::Computed {
            kind: kind(computed.kind),
            nullable: computed.nullable,
            target_type: computed.target_type.as_deref().map(ddl::target_type).transpose()?,
        },
    })
}

fn input(input: wit::Input, shape: &Shape) -> Result<Input, String> {
    let field = |index: u32| match (index as usize) < shape.fields.len() {
        true => Ok(index),
        false => Err(format!("the plan names field {index} of a table that has {}", shape.fields.len())),
    };
    Ok(match input {
        wit::Input::After(index) => Input::After(field(index)?),
        wit::Input::Before(index) => Input::Before(field(index)?),
        wit::Input::Latest(index) => Input::Latest(field(index)?),
        wit::Input::Op => Input::Op,
        wit::Input::CommittedAt => Input::CommittedAt,
        wit::Input::CapturedAt => Input::CapturedAt,
        wit::Input::Topic => Input::Topic,
        wit::Input::Partition => Input::Partition,
        wit::Input::Offset => Input::Offset,
        wit::Input::Detail(name) => Input::Detail(name),
    })
}

fn kind(kind: wit::Kind) -> Kind {
    match kind {
        wit::Kind::Boolean => Kind::Boolean,
        wit::Kind::Int => Kind::Int,
        wit::Kind::Float => Kind::Float,
        wit::Kind::Decimal => Kind::Decimal,
        wit::Kind::Text => Kind::Text,
        wit::Kind::Json => Kind::Json,
        wit::Kind::Bytes => Kind::Bytes,
        wit::Kind::Date => Kind::Date,
        wit::Kind::Time => Kind::Time,
        wit::Kind::Timestamp => Kind::Timestamp,
    }
}

pub(super) fn wit_kind(kind: Kind) -> wit::Kind {
    match kind {
        Kind::Boolean => wit::Kind::Boolean,
        Kind::Int => wit::Kind::Int,
        Kind::Float => wit::Kind::Float,
        Kind::Decimal => wit::Kind::Decimal,
        Kind::Text => wit::Kind::Text,
        Kind::Json => wit::Kind::Json,
        Kind::Bytes => wit::Kind::Bytes,
        Kind::Date => wit::Kind::Date,
        Kind::Time => wit::Kind::Time,
        Kind::Timestamp => wit::Kind::Timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::shape::{Field, Wire};

    fn shape() -> Shape {
        let field = |name: &str, wire, nullable| Field {
            name: name.to_owned(),
            wire,
            nullable,
            key: name == "id",
            semantic: String::new(),
        };
        Shape {
            id: 0,
            topic: "a.b.t".into(),
            connector: "postgresql".into(),
            database: "a".into(),
            schema: "b".into(),
            table: "t".into(),
            typed: true,
            fields: vec![
                field("id", Wire::Int(32), false),
                field("note", Wire::Text, true),
                field("tags", Wire::Map(Box::new(Wire::Text)), false),
            ],
        }
    }

    fn column(name: &str, origin: wit::Origin) -> wit::OutputColumn {
        wit::OutputColumn { name: name.to_owned(), origin }
    }

    fn copy(name: &str, field: u32) -> wit::OutputColumn {
        column(name, wit::Origin::Copy(wit::Input::Latest(field)))
    }

    fn checked(columns: Vec<wit::OutputColumn>, key: &[&str]) -> Result<Output, String> {
        let key = key.iter().map(|name| (*name).to_owned()).collect();
        output(wit::Output { target: None, columns, key }, &shape())
    }

    #[test]
    fn a_key_has_columns_of_the_output_that_are_never_null_each_once() {
        let computed = |nullable| {
            wit::Origin::Computed(wit::Computed { kind: wit::Kind::Text, nullable, target_type: None })
        };
        let columns = || {
            vec![
                copy("id", 0),
                copy("note", 1),
                copy("tags", 2),
                column("before", wit::Origin::Copy(wit::Input::Before(0))),
                column("some", computed(true)),
                column("word", computed(false)),
                column("site", wit::Origin::Constant("x".into())),
            ]
        };
        for key in [&["id"][..], &["word", "id"], &["site", "id"], &[]] {
            assert_eq!(
                checked(columns(), key).map(|output| output.key),
                Ok(key.iter().map(ToString::to_string).collect())
            );
        }
        for (key, reason) in [
            (&["other"][..], "none of the output's columns"),
            (&["id", "id"], "twice"),
            (&["note"], "whose source may be null: leave it out of the key, or compute it"),
            (&["before"], "whose source may be null"),
            (&["some"], "make it not nullable"),
            (&["tags"], "no table can be ordered by Map"),
        ] {
            let error = checked(columns(), key).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_columns_of_versions_belong_to_the_host_in_every_output() {
        for name in LINEAGE.iter().chain(&VERSION).chain(&[EPOCH]) {
            assert!(
                checked(vec![copy(name, 0)], &[]).unwrap_err().contains("the host writes itself"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_table_of_rows_with_a_key_has_one_output() {
        let output = |target: Option<&str>, key: &[&str]| Output {
            target: target.map(str::to_owned),
            columns: vec![],
            key: key.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(check_targets(&[output(None, &["id"]), output(Some("t"), &["id"])]).is_ok());
        assert!(check_targets(&[output(None, &[]), output(None, &[])]).is_ok());
        assert!(check_targets(&[output(Some("t"), &["id"]), output(Some("t"), &[])]).is_err());
        assert!(check_targets(&[output(None, &["id"]), output(None, &["id"])]).is_err());
    }
}
