//! The columns that the host sends, as rows.

use crate::bindings::rowgate::transform::types::{Blobs, Cells, Column};
use crate::cell::kind_name;
use crate::rule::field_of;
use crate::{Cell, Input, Kind, Op, Read, Table};

const NULL: u8 = 1;
const UNAVAILABLE: u8 = 2;

/// One change, as far as the rule reads it.
pub struct Row<'a> {
    columns: &'a [InputColumn<'a>],
    at: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn new(columns: &'a [InputColumn<'a>], at: usize) -> Self {
        Self { columns, at }
    }

    /// A value that the rule reads.
    ///
    /// # Panics
    /// When `read` comes from another table's rule.
    pub fn get(&self, read: Read) -> Cell<'a> {
        self.columns[read.0].get(self.at)
    }
}

/// What the numbers and texts of a column mean.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    Kind(Kind),
    Op,
}

impl Meaning {
    /// What an input of a table means.
    pub(crate) fn of(table: &Table, input: &Input) -> Result<Self, String> {
        if let Some(field) = field_of(table, input)? {
            return Ok(Self::Kind(field.kind));
        }
        Ok(match input {
            Input::Op => Self::Op,
            Input::CommittedAt | Input::CapturedAt => Self::Kind(Kind::Timestamp),
            Input::Partition | Input::Offset => Self::Kind(Kind::Int),
            _ => Self::Kind(Kind::Text),
        })
    }
}

/// A column, checked once so that its cells can be had without further ado.
pub(crate) struct InputColumn<'a> {
    states: &'a [u8],
    values: Values<'a>,
}

enum Values<'a> {
    Bools(&'a [u8]),
    Ops(&'a [u8]),
    Ints(&'a [i64], fn(i64) -> Cell<'a>),
    Floats(&'a [f64]),
    Texts(&'a [u32], &'a str, fn(&'a str) -> Cell<'a>),
    Bytes(&'a [u32], &'a [u8]),
}

impl<'a> InputColumn<'a> {
    /// # Errors
    /// When the column is not as the contract says.
    pub(crate) fn new(column: &'a Column, meaning: Meaning, rows: usize) -> Result<Self, String> {
        let (values, cells) = match (&column.cells, meaning) {
            (Cells::Small(bytes), Meaning::Op) => (Values::Ops(bytes), bytes.len()),
            (Cells::Small(bytes), Meaning::Kind(Kind::Boolean)) => (Values::Bools(bytes), bytes.len()),
            (Cells::Ints(ints), Meaning::Kind(kind)) => (Values::Ints(ints, int_cell(kind)?), ints.len()),
            (Cells::Floats(floats), Meaning::Kind(Kind::Float)) => (Values::Floats(floats), floats.len()),
            (Cells::Blobs(blobs), Meaning::Kind(Kind::Bytes)) => {
                (Values::Bytes(&blobs.offsets, &blobs.bytes), count(blobs)?)
            }
            (Cells::Blobs(blobs), Meaning::Kind(kind)) => {
                let text =
                    str::from_utf8(&blobs.bytes).map_err(|_| "the host sent a text that is not UTF-8")?;
                (Values::Texts(&blobs.offsets, text, text_cell(kind)?), count(blobs)?)
            }
            _ => return Err("the host sent a column that is not stored as its kind is".to_owned()),
        };
        let states = column.states.as_slice();
        if cells != rows || !(states.is_empty() || states.len() == rows) {
            return Err(format!("the host sent a column of {cells} cells with a batch of {rows} rows"));
        }
        Ok(Self { states, values })
    }

    fn get(&self, at: usize) -> Cell<'a> {
        match self.states.get(at) {
            Some(&NULL) => return Cell::Null,
            Some(&UNAVAILABLE) => return Cell::Unavailable,
            _ => {}
        }
        match &self.values {
            Values::Bools(bytes) => Cell::Bool(bytes[at] != 0),
            Values::Ops(bytes) => Cell::Op(op(bytes[at])),
            Values::Ints(ints, cell) => cell(ints[at]),
            Values::Floats(floats) => Cell::Float(floats[at]),
            Values::Texts(offsets, text, cell) => cell(&text[offsets[at] as usize..offsets[at + 1] as usize]),
            Values::Bytes(offsets, bytes) => {
                Cell::Bytes(&bytes[offsets[at] as usize..offsets[at + 1] as usize])
            }
        }
    }

    /// Whether the change is a delete; false where the column does not hold operations.
    pub(crate) fn is_delete(&self, at: usize) -> bool {
        self.get(at) == Cell::Op(Op::Delete)
    }
}

/// How many cells there are.
fn count(blobs: &Blobs) -> Result<usize, String> {
    blobs.offsets.len().checked_sub(1).ok_or_else(|| "the host sent texts without offsets".to_owned())
}

fn int_cell<'a>(kind: Kind) -> Result<fn(i64) -> Cell<'a>, String> {
    Ok(match kind {
        Kind::Int => Cell::Int,
        Kind::Date => Cell::Date,
        Kind::Time => Cell::Time,
        Kind::Timestamp => Cell::Timestamp,
        _ => return Err(format!("the host sent integers for a {}", kind_name(kind))),
    })
}

fn text_cell<'a>(kind: Kind) -> Result<fn(&'a str) -> Cell<'a>, String> {
    Ok(match kind {
        Kind::Decimal => Cell::Decimal,
        Kind::Text => Cell::Text,
        Kind::Json => Cell::Json,
        _ => return Err(format!("the host sent texts for a {}", kind_name(kind))),
    })
}

fn op(number: u8) -> Op {
    match number {
        0 => Op::Create,
        1 => Op::Update,
        2 => Op::Delete,
        3 => Op::Read,
        4 => Op::Truncate,
        _ => Op::Message,
    }
}
