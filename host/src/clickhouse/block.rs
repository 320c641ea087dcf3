//! From rows to a `Native` block: each written column, over all rows, in the table's type.

use super::convert::Profile;
use super::native::{Block, Encoding};
use super::policy::Replaced;
use super::table::{Binding, Bound, From};
use crate::batch::Batch;
use crate::columns::{self, Input, Plain};
use crate::debezium::Decoded;
use crate::debezium::value::{self, Value};
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
    let encoding = Encoding { profile: values.profile, decode: value::decode };
    let mut block = Block::new(encoding, binding.columns.len(), which.len());
    for column in &binding.columns {
        add(&mut block, values, column, rows, which);
    }
    let replaced = block.replaced().clone();
    let (body, failed) = block.finish();
    Encoded { body, unfit: failed.into_iter().map(|(at, why)| (which[at], why)).collect(), replaced }
}

fn add(block: &mut Block<'_>, values: &Values<'_>, column: &Bound, rows: &ShapeRows, which: &[usize]) {
    let Values { batch, decoded, transform, .. } = *values;
    let Bound { name, ty, from, rules } = column;
    block.set_rules(*rules);
    match from {
        From::Copy(Input::Topic) => block.constant(name, ty, &batch.topic),
        From::Transform => block.constant(name, ty, transform),
        From::Constant(text) => block.constant(name, ty, text),
        From::Computed(index, kind) => {
            block.computed(name, ty, &rows.computed[*index], *kind, which.iter().copied());
        }
        From::Seq => {
            block.column(name, ty, which.iter().map(|row| Ok(Value::Int(rows.seqs[*row].into()))));
        }
        From::Copy(input) => {
            let change = |row: usize| &decoded.changes[rows.changes[which[row]] as usize];
            let value = |row| columns::value(batch, decoded, &rows.shape, change(row), input);
            let json = |row| columns::json(batch, decoded, change(row), input);
            block.copied(name, ty, Plain::of(columns::wire(input, &rows.shape)), json, value);
        }
    }
}
