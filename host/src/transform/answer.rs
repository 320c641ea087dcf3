//! Answers: what `apply` returned, checked against the plan before anything of it is used.

use super::limits::SandboxLimits;
use super::plan::{Origin, Output, Plan};
use crate::columns::{Blobs, Cells, Column, Kind, state};

/// A checked answer: every index is in range, every computed column has the kind and length of the plan.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// One for each of the plan's outputs.
    pub parts: Vec<Part>,
    /// Changes that cannot be processed: index of the change in the batch given, and why. Ascending.
    pub rejects: Vec<(u32, String)>,
}

/// The rows of one output.
#[derive(Debug, Default, PartialEq)]
pub struct Part {
    /// The change that each row comes from, never descending.
    pub rows: Vec<u32>,
    /// For each row 1 where its key leaves the output, else 0. Empty: a row leaves where its change is a
    /// delete. Always empty where the output has no key.
    pub removed: Vec<u8>,
    /// The output's computed columns in their order, each with a cell for each of `rows`.
    pub computed: Vec<Column>,
}

/// What an answer is checked against.
pub(super) struct Asked<'a> {
    pub plan: &'a Plan,
    /// How many changes the batch had.
    pub changes: usize,
    /// How many rows it may make.
    pub limits: &'a SandboxLimits,
}

/// A reason's length at most, bytes; longer ones are cut.
const MAX_REASON_BYTES: usize = 1024;

/// Checks `answer`; the error says how it breaks the contract.
pub(super) fn check(answer: Answer, asked: &Asked<'_>) -> Result<Answer, String> {
    let Answer { parts, mut rejects } = answer;
    if parts.len() != asked.plan.outputs.len() {
        return Err(format!("{} parts for {} outputs", parts.len(), asked.plan.outputs.len()));
    }
    let rows: usize = parts.iter().map(|part| part.rows.len()).sum();
    let most = asked.changes.saturating_mul(asked.limits.rows_per_change);
    if rows > most {
        return Err(format!("{rows} rows from {} changes, at most {most} are allowed", asked.changes));
    }
    let mut rejected = vec![false; asked.changes];
    let mut last = None;
    for (row, reason) in &mut rejects {
        let place =
            rejected.get_mut(*row as usize).ok_or_else(|| out_of_range("rejects", *row, asked.changes))?;
        if last.is_some_and(|last| last >= *row) {
            return Err("the rejects are not ascending".into());
        }
        (*place, last) = (true, Some(*row));
        truncate(reason);
    }
    for (part, output) in parts.iter().zip(&asked.plan.outputs) {
        check_part(part, output, &rejected)?;
    }
    Ok(Answer { parts, rejects })
}

fn out_of_range(list: &str, row: u32, changes: usize) -> String {
    format!("{list} names change {row} of a batch of {changes}")
}

fn truncate(reason: &mut String) {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
}

fn check_part(part: &Part, output: &Output, rejected: &[bool]) -> Result<(), String> {
    let mut last = 0;
    for row in &part.rows {
        match rejected.get(*row as usize) {
            None => return Err(out_of_range("rows", *row, rejected.len())),
            Some(true) => return Err(format!("change {row} is in rows and in rejects")),
            Some(false) if *row < last => return Err("rows are descending".into()),
            Some(false) => last = *row,
        }
    }
    check_removed(part, output)?;
    let planned = output.columns.iter().filter_map(|column| match &column.origin {
        Origin::Computed { kind, nullable, .. } => Some((column.name.as_str(), *kind, *nullable)),
        _ => None,
    });
    let planned: Vec<_> = planned.collect();
    if planned.len() != part.computed.len() {
        return Err(format!("{} computed columns, the plan has {}", part.computed.len(), planned.len()));
    }
    for ((name, kind, nullable), column) in planned.into_iter().zip(&part.computed) {
        check_column(column, kind, nullable, part.rows.len()).map_err(|e| format!("column {name:?}: {e}"))?;
    }
    Ok(())
}

fn check_removed(part: &Part, output: &Output) -> Result<(), String> {
    let Part { rows, removed, .. } = part;
    if removed.is_empty() {
        return Ok(());
    }
    if !output.is_keyed() {
        return Err("`removed` is filled in for an output without a key".into());
    }
    if removed.len() != rows.len() {
        return Err(format!("`removed` has {} entries for {} rows", removed.len(), rows.len()));
    }
    match removed.iter().find(|flag| **flag > 1) {
        Some(flag) => Err(format!("`removed` has {flag}, which is neither 0 nor 1")),
        None => Ok(()),
    }
}

fn check_column(column: &Column, kind: Kind, nullable: bool, rows: usize) -> Result<(), String> {
    let cells = match (&column.cells, kind) {
        (Cells::Small(cells), Kind::Boolean) => {
            if cells.iter().any(|cell| *cell > 1) {
                return Err("a boolean is neither 0 nor 1".into());
            }
            cells.len()
        }
        (Cells::Ints(cells), Kind::Int | Kind::Date | Kind::Time | Kind::Timestamp) => cells.len(),
        (Cells::Floats(cells), Kind::Float) => cells.len(),
        (Cells::Blobs(blobs), Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes) => {
            check_blobs(blobs, kind != Kind::Bytes)?
        }
        _ => return Err(format!("its cells are stored in a way that does not go with {kind:?}")),
    };
    if cells != rows {
        return Err(format!("{cells} cells for {rows} rows"));
    }
    if !column.states.is_empty() && column.states.len() != rows {
        return Err(format!("{} states for {rows} rows", column.states.len()));
    }
    match column.states.iter().find(|state| **state > state::UNAVAILABLE) {
        Some(state) => return Err(format!("a cell's state is {state}")),
        None if !nullable && column.states.contains(&state::NULL) => {
            return Err("a null in a column that the plan says has none".into());
        }
        None => {}
    }
    Ok(())
}

/// Returns the number of cells. UTF-8 is checked cell by cell: a buffer can be valid as a whole while its
/// cells are not.
fn check_blobs(blobs: &Blobs, text: bool) -> Result<usize, String> {
    let Some(cells) = blobs.offsets.len().checked_sub(1) else {
        return Err("no offsets, there must be one more than cells".into());
    };
    if blobs.offsets[0] != 0 || blobs.offsets[cells] as usize != blobs.bytes.len() {
        return Err("the offsets do not begin at 0 and end at the number of bytes".into());
    }
    let whole = text.then(|| std::str::from_utf8(&blobs.bytes)).transpose();
    let whole = whole.map_err(|_| "text that is not UTF-8".to_string())?;
    for pair in blobs.offsets.windows(2) {
        if pair[0] > pair[1] {
            return Err("the offsets descend".into());
        }
        if whole.is_some_and(|whole| !whole.is_char_boundary(pair[1] as usize)) {
            return Err("text that is not UTF-8".into());
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Ops, OutputColumn};
    use super::*;
    use crate::transform::limits::SandboxProfile;

    fn plan(kind: Kind, nullable: bool) -> Plan {
        let origin = Origin::Computed { kind, nullable, target_type: None };
        let columns = vec![OutputColumn { name: "c".into(), origin }];
        let output = Output { target: None, columns, key: vec![] };
        Plan { ops: Ops::ALL_FOR_TESTS, reads: vec![], outputs: vec![output] }
    }

    const LIMITS: SandboxLimits =
        SandboxLimits { rows_per_change: 2, ..SandboxLimits::of(SandboxProfile::Small) };

    fn checked(
        kind: Kind,
        rows: Vec<u32>,
        column: Column,
        rejects: Vec<(u32, String)>,
    ) -> Result<Answer, String> {
        let plan = plan(kind, false);
        let asked = Asked { plan: &plan, changes: 3, limits: &LIMITS };
        let part = Part { rows, removed: vec![], computed: vec![column] };
        check(Answer { parts: vec![part], rejects }, &asked)
    }

    fn ints(cells: &[i64]) -> Column {
        Column { states: vec![], cells: Cells::Ints(cells.to_vec()) }
    }

    fn blobs(offsets: &[u32], bytes: &[u8]) -> Column {
        Column {
            states: vec![],
            cells: Cells::Blobs(Blobs { offsets: offsets.to_vec(), bytes: bytes.to_vec() }),
        }
    }

    #[test]
    fn an_answer_that_keeps_the_contract_is_taken() {
        let answer = checked(Kind::Int, vec![0, 0, 2], ints(&[1, 2, 3]), vec![(1, "odd".into())]).unwrap();
        assert_eq!(answer.parts[0].rows, [0, 0, 2]);
        assert_eq!(answer.rejects.len(), 1);
    }

    #[test]
    fn every_lie_is_named() {
        let lies = [
            (Kind::Int, vec![3], ints(&[1]), vec![], "change 3 of a batch of 3"),
            (Kind::Int, vec![1, 0], ints(&[1, 2]), vec![], "descending"),
            (Kind::Int, vec![0], ints(&[1, 2]), vec![], "2 cells for 1 rows"),
            (Kind::Int, vec![0; 7], ints(&[0; 7]), vec![], "7 rows from 3 changes"),
            (Kind::Int, vec![0], ints(&[1]), vec![(0, String::new())], "in rows and in rejects"),
            (Kind::Int, vec![], ints(&[]), vec![(1, String::new()), (1, String::new())], "not ascending"),
            (Kind::Int, vec![], ints(&[]), vec![(9, String::new())], "change 9"),
            (Kind::Text, vec![0], ints(&[1]), vec![], "does not go with Text"),
            (Kind::Text, vec![0], blobs(&[], b""), vec![], "no offsets"),
            (Kind::Text, vec![0], blobs(&[0, 9], b"abc"), vec![], "begin at 0 and end"),
            (Kind::Text, vec![0, 1, 1], blobs(&[0, 2, 1, 2], b"ab"), vec![], "descend"),
            (Kind::Text, vec![0], blobs(&[0, 1], b"\xff"), vec![], "not UTF-8"),
            // Valid as a whole, but each cell is half of an é.
            (Kind::Text, vec![0, 1], blobs(&[0, 1, 2], "é".as_bytes()), vec![], "not UTF-8"),
        ];
        for (kind, rows, column, rejects, part) in lies {
            let error = checked(kind, rows, column, rejects).unwrap_err();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }

    #[test]
    fn what_leaves_is_said_for_each_row_of_an_output_with_a_key_or_for_none() {
        for (key, removed, reason) in [
            (true, vec![], None),
            (true, vec![0, 1], None),
            (true, vec![1], Some("1 entries for 2 rows")),
            (true, vec![0, 2], Some("neither 0 nor 1")),
            (false, vec![0, 0], Some("without a key")),
        ] {
            let mut plan = plan(Kind::Int, false);
            if key {
                plan.outputs[0].key = vec!["c".into()];
            }
            let part = Part { rows: vec![0, 1], removed, computed: vec![ints(&[1, 2])] };
            let asked = Asked { plan: &plan, changes: 3, limits: &LIMITS };
            let checked = check(Answer { parts: vec![part], rejects: vec![] }, &asked);
            match reason {
                None => assert!(checked.is_ok(), "{checked:?}"),
                Some(reason) => assert!(checked.unwrap_err().contains(reason)),
            }
        }
    }

    #[test]
    fn bytes_need_not_be_utf_8() {
        assert!(checked(Kind::Bytes, vec![0], blobs(&[0, 1], b"\xff"), vec![]).is_ok());
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let answer = checked(Kind::Int, vec![], ints(&[]), vec![(0, "é".repeat(2000))]).unwrap();
        assert!(answer.rejects[0].1.len() <= MAX_REASON_BYTES + '…'.len_utf8());
    }
}
