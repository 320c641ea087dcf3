//! Changes as the batch that a plan asks for.

use super::{Change, Value};
use crate::bindings::rowgate::transform::types::{Batch, Blobs, Cells, Column};
use crate::input::Meaning;
use crate::{Input, Kind, Plan, Table};

/// The batch of these changes.
pub(super) fn new(plan: &Plan, table: &Table, changes: &[(usize, &Change)]) -> Batch {
    let columns = plan.reads.iter().map(|input| {
        if *input == Input::Op {
            let cells = Cells::Small(changes.iter().map(|(_, change)| change.op as u8).collect());
            return Column { states: Vec::new(), cells };
        }
        let values = changes.iter().map(|(_, change)| value(input, table, change)).collect::<Vec<_>>();
        column(&values, kind(input, table))
    });
    Batch { table: table.id, rows: changes.len() as u32, columns: columns.collect() }
}

/// What an input is in a change; other than `op`, which has another form when it is copied.
///
/// # Panics
/// When a row has another number of values than the table has columns.
pub(super) fn value(input: &Input, table: &Table, change: &Change) -> Value {
    let of = |row: Option<&Vec<Value>>, at: &u32| match row {
        Some(row) => {
            assert_eq!(row.len(), table.fields.len(), "a row must have a value for each column of the table");
            row[*at as usize].clone()
        }
        None => Value::Null,
    };
    match input {
        Input::After(at) => of(change.after.as_ref(), at),
        Input::Before(at) => of(change.before.as_ref(), at),
        Input::Latest(at) => of(change.after.as_ref().or(change.before.as_ref()), at),
        Input::Op => Value::Text(super::letter(change.op).to_owned()),
        Input::CommittedAt => Value::Timestamp(change.committed_at_us),
        Input::CapturedAt => Value::Timestamp(change.committed_at_us + 1_000),
        Input::Topic => Value::Text(table.topic.clone()),
        Input::Partition | Input::Offset => Value::Int(0),
        Input::Detail(name) => {
            let detail = change.details.iter().find(|(given, _)| given == name);
            detail.map_or(Value::Null, |(_, text)| Value::Text(text.clone()))
        }
    }
}

/// The kind of an input that [`super::check::plan`] let pass.
fn kind(input: &Input, table: &Table) -> Kind {
    match Meaning::of(table, input) {
        Ok(Meaning::Kind(kind)) => kind,
        _ => Kind::Text,
    }
}

/// # Panics
/// When a value is of another kind than its column.
fn column(values: &[Value], kind: Kind) -> Column {
    let states: Vec<u8> = values.iter().map(state).collect();
    let wrong = |value: &Value| -> ! { panic!("{value:?} given for a column of kind {kind:?}") };
    let cells = match kind {
        Kind::Boolean => Cells::Small(
            values
                .iter()
                .map(|value| match value {
                    Value::Bool(value) => u8::from(*value),
                    Value::Null | Value::Unavailable => 0,
                    other => wrong(other),
                })
                .collect(),
        ),
        Kind::Float => Cells::Floats(
            values
                .iter()
                .map(|value| match value {
                    Value::Float(value) => *value,
                    Value::Null | Value::Unavailable => 0.0,
                    other => wrong(other),
                })
                .collect(),
        ),
        Kind::Int | Kind::Date | Kind::Time | Kind::Timestamp => Cells::Ints(
            values
                .iter()
                .map(|value| match (value, kind) {
                    (Value::Int(value), Kind::Int)
                    | (Value::Date(value), Kind::Date)
                    | (Value::Time(value), Kind::Time)
                    | (Value::Timestamp(value), Kind::Timestamp) => *value,
                    (Value::Null | Value::Unavailable, _) => 0,
                    (other, _) => wrong(other),
                })
                .collect(),
        ),
        Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes => {
            let mut blobs = Blobs { offsets: vec![0], bytes: Vec::new() };
            for value in values {
                match (value, kind) {
                    (Value::Decimal(text), Kind::Decimal)
                    | (Value::Text(text), Kind::Text)
                    | (Value::Json(text), Kind::Json) => blobs.bytes.extend_from_slice(text.as_bytes()),
                    (Value::Bytes(bytes), Kind::Bytes) => blobs.bytes.extend_from_slice(bytes),
                    (Value::Null | Value::Unavailable, _) => {}
                    (other, _) => wrong(other),
                }
                blobs.offsets.push(blobs.bytes.len() as u32);
            }
            Cells::Blobs(blobs)
        }
    };
    let all_present = states.iter().all(|&state| state == 0);
    Column { states: if all_present { Vec::new() } else { states }, cells }
}

fn state(value: &Value) -> u8 {
    match value {
        Value::Null => 1,
        Value::Unavailable => 2,
        _ => 0,
    }
}
