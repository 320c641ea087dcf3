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
    /// Whether the cells of such a column are its rows', one after the other: what is nested has them in several parts.
    pub fn takes(ty: &ColumnType) -> bool {
        !matches!(
            ty.bare(),
            ColumnType::Array(_)
                | ColumnType::Map(..)
                | ColumnType::Tuple(_)
                | ColumnType::Point
                | ColumnType::Variant(_)
        )
    }

    /// Appends the rows of a block, whose columns have these types; the same in each block, and each such that
    /// [`Joined::takes`] it. Names and types count in the first block only.
    pub fn push<'t>(&mut self, block: Block<'_>, types: impl Iterator<Item = &'t ColumnType>) {
        let Block { rows, out, begins, failed, replaced, .. } = block;
        let ends = begins.iter().skip(1).map(|(begin, _)| *begin).chain([out.len()]);
        for (index, ((ty, (begin, cells)), end)) in types.zip(&begins).zip(ends).enumerate() {
            if index == self.columns.len() {
                let (head, is_nullable) = (out[*begin..*cells].to_vec(), ty.is_nullable());
                self.columns.push(Joint { head, is_nullable, nulls: Vec::new(), cells: Vec::new() });
            }
            let joint = &mut self.columns[index];
            let nulls = if joint.is_nullable { rows } else { 0 };
            joint.nulls.extend_from_slice(&out[*cells..cells + nulls]);
            joint.cells.extend_from_slice(&out[cells + nulls..end]);
        }
        self.failed.extend(failed.into_iter().map(|(row, reason)| (self.rows + row, reason)));
        for ((column, replacement), count) in &replaced.0 {
            self.replaced.add(column, *replacement, *count);
        }
        self.rows += rows;
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

    /// Rows of which each third has null, and each fifth a number where a text is to be.
    fn block<'a>(
        profile: &'a Profile,
        types: &[ColumnType],
        rows: std::ops::Range<usize>,
        has_heads: bool,
    ) -> Block<'a> {
        let mut block = Block::new(Encoding { profile, decode: value::decode }, types.len() + 1, rows.len());
        if !has_heads {
            block = block.without_heads();
        }
        for (name, ty) in ["a", "b", "c"].into_iter().zip(types) {
            let value = |row: usize| match row {
                row if row % 5 == 0 => Err(format!("row {row} of {name}")),
                row if row % 3 == 0 => Ok(Value::Null),
                row => Ok(Value::Text(row.to_string().into())),
            };
            block.column(name, ty, rows.clone().map(value));
        }
        block.constant("d", &types[0], "the same");
        block
    }

    #[test]
    fn joined_blocks_are_the_block_of_all_their_rows() {
        let text = ColumnType::String;
        let types = [
            text.clone(),
            ColumnType::Nullable(text.clone().into()),
            ColumnType::LowCardinality(Box::new(ColumnType::Nullable(text.into()))),
        ];
        let all = || types.iter().chain(&types[..1]);
        assert!(all().all(Joined::takes) && !Joined::takes(&ColumnType::Array(types[1].clone().into())));
        let profile = Profile::default();
        for rows in [1, 2, 7, 30] {
            let mut joined = Joined::default();
            for first in (0..rows).step_by(7) {
                joined.push(block(&profile, &types, first..rows.min(first + 7), first == 0), all());
            }
            let (body, failed, replaced) = joined.finish();
            assert_eq!((body, failed), block(&profile, &types, 0..rows, true).finish());
            assert!(replaced.is_empty());
        }
    }
}
