//! Blocks of the same columns, one after the other, as one: so rows can be encoded a few at a time, all columns of them,
//! while their records are in the cache.

use crate::clickhouse::policy::Replaced;
use crate::clickhouse::types::ColumnType;

use super::{Block, put_varuint};

/// The rows of several blocks.
#[derive(Default)]
pub struct Joined {
    rows: usize,
    columns: Vec<Joint>,
    failed: Vec<(usize, String)>,
    replaced: Replaced,
}

/// A column of all of them.
struct Joint {
    /// Its name and type.
    head: Vec<u8>,
    is_nullable: bool,
    nulls: Vec<u8>,
    cells: Vec<u8>,
}

impl Joined {
    /// Takes the rows of a block, which then begins anew with `next` others. Its columns have these types, the same each
    /// time, and none is nested: the cells of those are not its rows', one after the other.
    pub fn take<'t>(
        &mut self,
        block: &mut Block<'_>,
        types: impl Iterator<Item = &'t ColumnType>,
        next: usize,
    ) {
        let Block { rows, out, begins, failed, replaced, .. } = &mut *block;
        let ends = begins.iter().skip(1).map(|(begin, _)| *begin).chain([out.len()]);
        for (index, ((ty, (begin, cells)), end)) in types.zip(&*begins).zip(ends).enumerate() {
            if index == self.columns.len() {
                let (head, is_nullable) = (out[*begin..*cells].to_vec(), ty.is_nullable());
                self.columns.push(Joint { head, is_nullable, nulls: Vec::new(), cells: Vec::new() });
            }
            let joint = &mut self.columns[index];
            let nulls = if joint.is_nullable { *rows } else { 0 };
            joint.nulls.extend_from_slice(&out[*cells..cells + nulls]);
            joint.cells.extend_from_slice(&out[cells + nulls..end]);
        }
        self.failed.extend(failed.drain(..).map(|(row, reason)| (self.rows + row, reason)));
        for ((column, replacement), count) in std::mem::take(replaced).0 {
            self.replaced.add(&column, replacement, count);
        }
        self.rows += *rows;
        block.go_on(next);
    }

    /// The block's bytes, the rows that failed as [`Block::finish`] gives them, and what was replaced.
    pub fn finish(mut self) -> (Vec<u8>, Vec<(usize, String)>, Replaced) {
        let bytes: usize =
            self.columns.iter().map(|joint| joint.head.len() + joint.nulls.len() + joint.cells.len()).sum();
        // Two numbers of at most ten bytes come first.
        let mut out = Vec::with_capacity(bytes + 20);
        put_varuint(&mut out, self.columns.len());
        put_varuint(&mut out, self.rows);
        for joint in self.columns {
            out.extend_from_slice(&joint.head);
            out.extend_from_slice(&joint.nulls);
            out.extend_from_slice(&joint.cells);
        }
        super::once_each(&mut self.failed);
        (out, self.failed, self.replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::convert::Profile;
    use crate::clickhouse::native::Encoding;
    use crate::debezium::value::{self, Value};

    /// Adds rows of which each third has null, and each fifth a value that cannot be written.
    fn fill(block: &mut Block<'_>, types: &[ColumnType], rows: std::ops::Range<usize>) {
        for (name, ty) in ["a", "b", "c"].into_iter().zip(types) {
            let value = |row: usize| match row {
                row if row % 5 == 0 => Err(format!("row {row} of {name}")),
                row if row % 3 == 0 => Ok(Value::Null),
                row => Ok(Value::Text(row.to_string().into())),
            };
            block.column(name, ty, rows.clone().map(value));
        }
        block.constant("d", &types[0], "the same");
    }

    #[test]
    fn joined_blocks_are_the_block_of_all_their_rows() {
        let text = ColumnType::String;
        let types = [
            text.clone(),
            ColumnType::Nullable(text.clone().into()),
            ColumnType::LowCardinality(Box::new(ColumnType::Nullable(text.into()))),
        ];
        let profile = Profile::default();
        let new = |rows| Block::new(Encoding { profile: &profile, decode: value::decode }, 4, rows);
        for rows in [1_usize, 2, 7, 30] {
            let tile = |first: usize| first..rows.min(first + 7);
            let mut joined = Joined::default();
            let mut block = new(tile(0).len());
            for first in (0..rows).step_by(7) {
                fill(&mut block, &types, tile(first));
                joined.take(&mut block, types.iter().chain(&types[..1]), tile(first + 7).len());
            }
            let (body, failed, replaced) = joined.finish();
            let mut whole = new(rows);
            fill(&mut whole, &types, 0..rows);
            assert_eq!((&replaced, (body, failed)), (&whole.replaced().clone(), whole.finish()));
        }
    }
}
