//! What the host checks of a plan and an answer.

use crate::bindings::rowgate::transform::types::{Cells, Column, Computed, Origin, Output, Part};
use crate::rule::field_of;
use crate::select::{RESERVED, repeated};
use crate::{Answer, Kind, Plan, Table};

/// Checks that a plan refers to what there is.
pub(super) fn plan(plan: &Plan, table: &Table) -> Result<(), String> {
    for input in &plan.reads {
        field_of(table, input)?;
    }
    for output in &plan.outputs {
        if output.columns.is_empty() {
            return Err("an output has no columns".to_owned());
        }
        for (at, column) in output.columns.iter().enumerate() {
            if RESERVED.contains(&column.name.as_str()) {
                return Err(format!(
                    "an output has the column `{}`, which the host writes itself",
                    column.name
                ));
            }
            if output.columns.iter().take(at).any(|earlier| earlier.name == column.name) {
                return Err(format!("an output has the column `{}` twice", column.name));
            }
            if let Origin::Copy(input) = &column.origin {
                field_of(table, input)?;
            }
        }
        if let Some(key) = repeated(&output.key) {
            return Err(format!("an output has the key `{key}` twice"));
        }
        if let Some(key) =
            output.key.iter().find(|key| !output.columns.iter().any(|column| column.name == **key))
        {
            return Err(format!("an output has the key `{key}`, which is no column of it"));
        }
    }
    Ok(())
}

/// Checks an answer to a batch of `rows` changes.
pub(super) fn answer(answer: &Answer, plan: &Plan, rows: usize) -> Result<(), String> {
    if answer.parts.len() != plan.outputs.len() {
        return Err(format!(
            "the answer has {} parts for {} outputs",
            answer.parts.len(),
            plan.outputs.len()
        ));
    }
    for (output, part) in plan.outputs.iter().zip(&answer.parts) {
        check_part(part, output, rows)?;
    }
    if !answer.rejects.is_sorted_by(|reject, next| reject.row < next.row) {
        return Err("the rejected changes are not in order, or one is rejected twice".to_owned());
    }
    for reject in &answer.rejects {
        if reject.row as usize >= rows {
            return Err(format!("change {} is rejected, in a batch of {rows}", reject.row));
        }
        if answer.parts.iter().any(|part| part.rows.binary_search(&reject.row).is_ok()) {
            return Err(format!("change {} is both kept and rejected", reject.row));
        }
    }
    Ok(())
}

fn check_part(part: &Part, output: &Output, rows: usize) -> Result<(), String> {
    if !part.rows.is_sorted() || part.rows.last().is_some_and(|&last| last as usize >= rows) {
        return Err(format!("the rows of a part are not in order, or not below {rows}"));
    }
    if !part.removed.is_empty() && (output.key.is_empty() || part.removed.len() != part.rows.len()) {
        return Err("a part says what is removed of an output without a key, or not for each row".to_owned());
    }
    let computed = output.columns.iter().filter_map(|column| match &column.origin {
        Origin::Computed(computed) => Some((column.name.as_str(), computed)),
        _ => None,
    });
    if computed.clone().count() != part.computed.len() {
        return Err(format!("a part has {} computed columns", part.computed.len()));
    }
    for ((name, computed), column) in computed.zip(&part.computed) {
        check_column(column, computed, part.rows.len())
            .map_err(|reason| format!("column `{name}`: {reason}"))?;
    }
    Ok(())
}

fn check_column(column: &Column, computed: &Computed, rows: usize) -> Result<(), String> {
    let cells = match (&column.cells, computed.kind) {
        (Cells::Small(cells), Kind::Boolean) if cells.iter().all(|&cell| cell <= 1) => cells.len(),
        (Cells::Ints(cells), Kind::Int | Kind::Date | Kind::Time | Kind::Timestamp) => cells.len(),
        (Cells::Floats(cells), Kind::Float) => cells.len(),
        (Cells::Blobs(blobs), Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes) => {
            let end = blobs.offsets.last().map(|&end| end as usize);
            if blobs.offsets.first() != Some(&0)
                || !blobs.offsets.is_sorted()
                || end > Some(blobs.bytes.len())
            {
                return Err("its offsets are not in order".to_owned());
            }
            let mut cells =
                blobs.offsets.windows(2).map(|pair| &blobs.bytes[pair[0] as usize..pair[1] as usize]);
            if computed.kind != Kind::Bytes && cells.any(|cell| str::from_utf8(cell).is_err()) {
                return Err("a cell is not UTF-8".to_owned());
            }
            blobs.offsets.len() - 1
        }
        _ => return Err(format!("its cells are not stored as {:?} is", computed.kind)),
    };
    if cells != rows || !(column.states.is_empty() || column.states.len() == rows) {
        return Err(format!("it has {cells} cells for {rows} rows"));
    }
    match column.states.iter().find(|&&state| state > 2 || (state == 1 && !computed.nullable)) {
        Some(state) => Err(format!("a cell has the state {state}")),
        None => Ok(()),
    }
}
