//! The default transform, written against the contract itself, for this one table without a schema.

use std::cell::RefCell;

use rowgate_transform::bindings::exports::rowgate::transform::handler::Guest;
use rowgate_transform::bindings::rowgate::transform::types::{
    Blobs, Cells, Column, Computed, Origin, Output, OutputColumn, Part,
};
use rowgate_transform::time::{Instant, Unit, parse_iso};
use rowgate_transform::{Answer, Batch, Input, Kind, Ops, Plan, Table};

/// Keeps updates; columns whose names end in `_at` become times.
pub struct RawUpdateOnly;

std::thread_local! {
    /// Names of the columns that are times, in the order in which they are read.
    static TIMES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Guest for RawUpdateOnly {
    fn configure(_: Vec<(String, String)>) -> Result<(), String> {
        Ok(())
    }

    fn prepare(table: Table) -> Result<Plan, String> {
        let (mut reads, mut times, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (field, at) in table.fields.into_iter().zip(0..) {
            let is_time = field.name.ends_with("_at") && matches!(field.kind, Kind::Int | Kind::Text);
            let origin = if is_time {
                reads.push(Input::After(at));
                times.push(field.name.clone());
                Origin::Computed(Computed { kind: Kind::Timestamp, nullable: true, target_type: None })
            } else {
                Origin::Copy(Input::After(at))
            };
            columns.push(OutputColumn { name: field.name, origin });
        }
        columns.push(OutputColumn { name: "op".to_owned(), origin: Origin::Copy(Input::Op) });
        TIMES.set(times);
        Ok(Plan { ops: Ops::UPDATE, reads, outputs: vec![Output { target: None, columns, key: Vec::new() }] })
    }

    /// A value that is no time fails the batch: there is none in the bench.
    fn apply(batch: Batch) -> Result<Answer, String> {
        let computed: Result<_, _> = TIMES.with_borrow(|names| {
            let columns = names.iter().zip(batch.columns);
            columns.map(|(name, column)| times(column).ok_or_else(|| format!("{name}: not a time"))).collect()
        });
        let part = Part { rows: (0..batch.rows).collect(), removed: Vec::new(), computed: computed? };
        Ok(Answer { parts: vec![part], rejects: Vec::new() })
    }
}

/// A column as times, with the same states; what is null or unavailable is 0 in its cells.
fn times(column: Column) -> Option<Column> {
    let micros = |(row, read): (usize, Option<Instant>)| match column.states.get(row) {
        None | Some(0) => read.filter(|read| read.nanos == 0).map(|read| read.micros),
        Some(_) => Some(0),
    };
    let cells: Option<Vec<i64>> = match &column.cells {
        Cells::Ints(cells) => {
            let read = cells.iter().map(|number| Unit::guess(*number).since_1970(*number));
            read.enumerate().map(micros).collect()
        }
        Cells::Blobs(Blobs { offsets, bytes }) => {
            let text = |ends: &[u32]| str::from_utf8(bytes.get(ends[0] as usize..ends[1] as usize)?).ok();
            let read = offsets.windows(2).map(|ends| text(ends).and_then(parse_iso));
            read.enumerate().map(micros).collect()
        }
        _ => None,
    };
    Some(Column { cells: Cells::Ints(cells?), states: column.states })
}
