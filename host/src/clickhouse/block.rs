//! From rows to a `Native` block: each written column, over all rows, in the table's type.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use super::convert::Profile;
use super::keyed;
use super::native::{self, Block, Encoding, Joined};
use super::policy::Replaced;
use super::table::{Binding, Bound, From, Role};
use super::types::ColumnType;
use crate::batch::Batch;
use crate::columns::{self, Input, Plain, TILE_ROWS};
use crate::debezium::value::{self, Value};
use crate::debezium::{Change, Decoded};
use crate::transform::keyed::Standing;
use crate::transform::plan::MAX_CONSTANT_BYTES;
use crate::transform::run::ShapeRows;

/// Everything that the values of a batch's rows come from.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The records.
    pub batch: &'a Batch,
    /// Their changes.
    pub decoded: &'a Decoded,
    /// The beginning of the transform's digest, as `_transform` holds it.
    pub transform: &'a str,
    /// What the target's types can hold.
    pub profile: &'a Profile,
}

/// A row, by its index in `rows`, that does not fit, and why.
pub type Unfit = (usize, String);

/// Rows as a block.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The block; it has no meaning if a row does not fit.
    pub body: Vec<u8>,
    /// The rows that do not fit.
    pub unfit: Vec<Unfit>,
    /// The values that others stand for.
    pub replaced: Replaced,
}

/// Encodes the rows of these indices.
pub fn encode(values: &Values<'_>, binding: &Binding, rows: &ShapeRows, which: &[usize]) -> Encoded {
    let changes: Vec<&Change> =
        which.iter().map(|row| &values.decoded.changes[rows.changes[*row] as usize]).collect();
    let types = || binding.columns.iter().map(|column| &column.ty);
    // Several rows of one change may copy more than the batch has, which is not to be there twice.
    let is_fanned_out = which.len() > values.batch.records.len();
    let is_whole = is_fanned_out || which.len() <= TILE_ROWS || types().any(ColumnType::is_nested);
    let encoding = Encoding { profile: values.profile, decode: value::decode };
    let in_block = if is_whole { which.len() } else { TILE_ROWS };
    let mut block = Block::new(encoding, binding.columns.len(), in_block);
    let (body, failed, replaced) = if is_whole {
        fill(&mut block, values, binding, rows, (which, &changes));
        let replaced = block.replaced().clone();
        let (body, failed) = block.finish();
        (body, failed, replaced)
    } else {
        let mut joined = Joined::default();
        let mut left = which.len();
        for (which, changes) in which.chunks(TILE_ROWS).zip(changes.chunks(TILE_ROWS)) {
            fill(&mut block, values, binding, rows, (which, changes));
            left -= which.len();
            joined.take(&mut block, types(), left.min(TILE_ROWS));
        }
        joined.finish()
    };
    Encoded { body, unfit: failed.into_iter().map(|(at, why)| (which[at], why)).collect(), replaced }
}

/// Adds all columns of the rows `which`, whose changes are `changes`.
fn fill(
    block: &mut Block<'_>,
    values: &Values<'_>,
    binding: &Binding,
    rows: &ShapeRows,
    (which, changes): (&[usize], &[&Change]),
) {
    // Rows of keys that leave have values of their own for the plan's columns.
    let leaves = |row: &usize| rows.standings.get(*row).is_some_and(|standing| *standing != Standing::Lives);
    let leaving = which.iter().any(leaves);
    for column in &binding.columns {
        match leaving && column.role != Role::Host {
            true => add_keyed(block, values, column, rows, (which, changes)),
            false => add(block, values, column, rows, (which, changes)),
        }
    }
}

/// The largest changes, without which the rows of a batch copy at most `most` bytes, as JSON.
pub fn too_large(values: &Values<'_>, parts: &[(&Binding, &ShapeRows)], most: usize) -> HashSet<u32> {
    let Values { batch, decoded, .. } = *values;
    // Nearly always it is enough that no column of a row has more than the whole batch, or than a constant.
    let bound = parts.iter().map(|(binding, rows)| {
        let of_change = rows.changes.chunk_by(u32::eq).map(<[u32]>::len).max().unwrap_or(0);
        binding.columns.len() * (batch.arena.len() * of_change).max(MAX_CONSTANT_BYTES * rows.changes.len())
    });
    if bound.sum::<usize>() <= most {
        return HashSet::new();
    }
    let size = |column: &Bound, change: &Change| match &column.from {
        From::Copy(Input::Detail(_)) => change.source.map_or(0, |source| source.of(&batch.arena).len()),
        From::Copy(input) => columns::json(batch, decoded, change, input).map_or(0, <[u8]>::len),
        From::Constant(text) => text.len(),
        _ => 0,
    };
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for (binding, rows) in parts {
        for of_change in rows.changes.chunk_by(u32::eq) {
            let change = &decoded.changes[of_change[0] as usize];
            let row: usize = binding.columns.iter().map(|column| size(column, change)).sum();
            *sizes.entry(of_change[0]).or_default() += row * of_change.len();
        }
    }
    let mut total: usize = sizes.values().sum();
    let mut largest: Vec<(u32, usize)> = sizes.into_iter().collect();
    largest.sort_by_key(|(_, size)| Reverse(*size));
    let over = largest.into_iter().take_while(|(_, size)| {
        let over = total > most;
        total -= size;
        over
    });
    over.map(|(change, _)| change).collect()
}

/// Adds a column of the rows `which`, whose changes are `changes`.
fn add(
    block: &mut Block<'_>,
    values: &Values<'_>,
    column: &Bound,
    rows: &ShapeRows,
    (which, changes): (&[usize], &[&Change]),
) {
    let Values { batch, decoded, transform, .. } = *values;
    let Bound { name, ty, from, rules, .. } = column;
    block.set_rules(*rules);
    match from {
        From::Copy(Input::Topic) => block.constant(name, ty, &batch.topic),
        From::Transform => block.constant(name, ty, transform),
        From::Constant(text) => block.constant(name, ty, text),
        From::Computed(index, kind) => {
            block.computed(name, ty, &rows.computed[*index], *kind, which);
        }
        From::Seq => {
            block.column(name, ty, which.iter().map(|row| Ok(Value::Int(rows.seqs[*row].into()))));
        }
        From::Version => {
            let version =
                |change: &&Change| keyed::version(batch.epoch, batch.records[change.record as usize].offset);
            block.column(name, ty, changes.iter().map(version));
        }
        From::Epoch => {
            block.column(name, ty, which.iter().map(|_| Ok(Value::Int(batch.epoch.into()))));
        }
        From::IsDeleted => {
            let leaves = |row: &usize| rows.standings.get(*row).is_some_and(|one| *one != Standing::Lives);
            block.column(name, ty, which.iter().map(|row| Ok(Value::Bool(leaves(row)))));
        }
        From::Copy(input) => {
            let value = |row: usize| columns::value(batch, decoded, &rows.shape, changes[row], input);
            let json = |row: usize| columns::json(batch, decoded, changes[row], input);
            block.copied(name, ty, Plain::of(columns::wire(input, &rows.shape)), json, value);
        }
    }
}

/// As [`add`], for a column of the plan, where a row may be of a key that leaves.
fn add_keyed(
    block: &mut Block<'_>,
    values: &Values<'_>,
    column: &Bound,
    rows: &ShapeRows,
    (which, changes): (&[usize], &[&Change]),
) {
    let Values { batch, decoded, .. } = *values;
    let Bound { name, ty, from, role, rules } = column;
    block.set_rules(*rules);
    let standing = |row: usize| rows.standings.get(which[row]).copied().unwrap_or(Standing::Lives);
    let is_blank = |row: usize| *role != Role::Key && standing(row) != Standing::Lives;
    block.set_blanks((0..which.len()).map(is_blank).collect());
    match from {
        From::Copy(input) => {
            let (latest, before) = of_leaving(input);
            let input = |row| match standing(row) {
                Standing::Lives => input,
                Standing::Leaves => &latest,
                Standing::Left => &before,
            };
            let value = |row: usize| match is_blank(row) {
                true => Ok(Value::Null),
                false => columns::value(batch, decoded, &rows.shape, changes[row], input(row)),
            };
            let json = |row: usize| columns::json(batch, decoded, changes[row], input(row));
            block.copied(name, ty, Plain::of(columns::wire(&latest, &rows.shape)), json, value);
        }
        from => {
            let value = |row: usize| match from {
                _ if is_blank(row) => Ok(Value::Null),
                From::Computed(index, kind) => native::cell(&rows.computed[*index], *kind, which[row]),
                From::Constant(text) => Ok(Value::Text(text.as_str().into())),
                _ => Err("a column of the host is none of the plan's".to_owned()),
            };
            block.column(name, ty, (0..which.len()).map(value));
        }
    }
}

/// What a copied column of the key is in the row of a key that leaves: after the change, as far as there is
/// such a row, and before it.
fn of_leaving(input: &Input) -> (Input, Input) {
    match input {
        Input::After(field) | Input::Latest(field) => (Input::Latest(*field), Input::Before(*field)),
        other => (other.clone(), other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clickhouse::policy::Rules;
    use crate::debezium::fixture::Run;
    use crate::transform::plan::{Ops, Output, Plan};

    #[test]
    fn the_largest_changes_are_too_large_until_the_others_fit() {
        let event = |text: &str| format!(r#"{{"op":"c","after":{{"t":"{text}"}},"source":{{"table":"t"}}}}"#);
        let events = [event(&"a".repeat(1_000)), event("b"), event(&"c".repeat(500))];
        let run = Run::of_values(&events.each_ref().map(String::as_str));
        let (batch, decoded) = &run.batches[0];
        let profile = Profile::default();
        let values = Values { batch, decoded, transform: "", profile: &profile };
        let copy = Bound {
            name: "t".into(),
            ty: ColumnType::String,
            from: From::Copy(Input::Latest(0)),
            rules: Rules::default(),
            role: Role::Plain,
        };
        let constant = Bound { from: From::Constant("x".repeat(1_000)), ..copy.clone() };
        let output = Output { target: None, columns: vec![], key: vec![] };
        let plan = Arc::new(Plan { ops: Ops::ALL_FOR_TESTS, reads: vec![], outputs: vec![output] });
        let shape = run.decoder.shape(0).clone();
        let too_large = |columns: &[&Bound], changes: &[u32], most: usize| {
            let columns = columns.iter().map(|column| (*column).clone()).collect();
            let binding = Binding { columns, notes: vec![], left_out: vec![] };
            let (shape, plan, changes) = (shape.clone(), plan.clone(), changes.to_vec());
            let (seqs, standings, computed) = (vec![0; changes.len()], vec![], vec![]);
            let rows = ShapeRows { shape, plan, output: 0, changes, seqs, standings, computed };
            let mut found: Vec<u32> =
                super::too_large(&values, &[(&binding, &rows)], most).into_iter().collect();
            found.sort_unstable();
            found
        };
        // With their quotes: 2 of 1,002 bytes, 4 of 3, 3 of 502.
        let rows = [0, 0, 1, 1, 1, 1, 2, 2, 2];
        assert_eq!(too_large(&[&copy], &rows, 3_522), [0; 0]);
        assert_eq!(too_large(&[&copy], &rows, 3_521), [0]);
        assert_eq!(too_large(&[&copy], &rows, 1_517), [0, 2]);
        assert_eq!(too_large(&[&copy], &rows, 11), [0, 1, 2]);
        // Rows of two columns with the same cell, and of a constant in each.
        assert_eq!(too_large(&[&copy, &copy], &[0, 1], 2_009), [0]);
        assert_eq!(too_large(&[&copy, &constant], &[0, 1, 1, 1], 5_010), [1]);
    }
}
