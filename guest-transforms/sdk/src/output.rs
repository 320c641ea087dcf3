//! The rows that a closure makes, as columns.

use crate::bindings::rowgate::transform::types::{self, Answer, Blobs, Cells, Column, Origin, Part, Reject};
use crate::cell::kind_name;
use crate::rule::Rule;
use crate::{Cell, Computed, Kind, OutputId};

const PRESENT: u8 = 0;
const NULL: u8 = 1;
const UNAVAILABLE: u8 = 2;
/// Nothing was set in this row; never leaves the transform.
const UNSET: u8 = 3;

/// What becomes of one change. Set the computed columns, then keep the row; a change that is not kept is
/// filtered.
pub struct Out<'p> {
    parts: Vec<PartBuilder<'p>>,
    rejects: Vec<Reject>,
    row: u32,
    is_delete: bool,
    /// The first thing that was wrong with this change.
    fault: Option<String>,
}

impl Out<'_> {
    /// Sets a computed column of the rows that are kept from here on, until the next change. A column that
    /// is not set is null. A value of another kind than the column's rejects the change.
    pub fn set<'c>(&mut self, column: Computed, value: impl Into<Cell<'c>>) {
        let part = &mut self.parts[column.output];
        if let Err(fault) = part.computed[column.column].set(value.into()) {
            self.fault.get_or_insert(fault);
        }
    }

    /// Makes a row of this change, in every output. Once more makes one more row. In an output with a key,
    /// the row of a delete removes its key.
    pub fn keep(&mut self) {
        for output in 0..self.parts.len() {
            self.keep_in(OutputId(output));
        }
    }

    /// Takes the key of this change out of every output, whatever the change was. The row needs no values but
    /// those of the key.
    pub fn remove(&mut self) {
        for output in 0..self.parts.len() {
            self.remove_in(OutputId(output));
        }
    }

    /// Makes a row of this change in one output.
    pub fn keep_in(&mut self, output: OutputId) {
        self.push(output, self.is_delete);
    }

    /// Makes a row in one output that takes its key out of it, whatever the change was. An output without a key
    /// has nothing to take out; the change is rejected.
    pub fn remove_in(&mut self, output: OutputId) {
        if !self.parts[output.0].keyed {
            self.fault
                .get_or_insert_with(|| "the rule removes a row from an output without a key".to_owned());
        }
        self.push(output, true);
    }

    fn push(&mut self, output: OutputId, removed: bool) {
        if let Err(fault) = self.parts[output.0].push(self.row, removed, self.is_delete) {
            self.fault.get_or_insert(fault);
        }
    }
}

impl<'p> Out<'p> {
    pub(crate) fn new(rule: &'p Rule, rows: usize) -> Self {
        let parts = rule.outputs.iter().map(|output| PartBuilder::new(output, rows)).collect();
        Self { parts, rejects: Vec::new(), row: 0, is_delete: false, fault: None }
    }

    pub(crate) fn begin(&mut self, row: u32, is_delete: bool) {
        self.row = row;
        self.is_delete = is_delete;
        for part in &mut self.parts {
            part.kept = part.rows.len();
            for column in &mut part.computed {
                column.begin();
            }
        }
    }

    /// Ends the change: where something was wrong with it, nothing of it remains but the reason.
    pub(crate) fn end(&mut self, result: Result<(), String>) {
        let fault = self.fault.take();
        let Some(reason) = result.err().or(fault) else { return };
        for part in &mut self.parts {
            part.undo();
        }
        self.rejects.push(Reject { row: self.row, reason });
    }

    pub(crate) fn finish(self) -> Answer {
        let parts = self.parts.into_iter().map(PartBuilder::finish).collect();
        Answer { parts, rejects: self.rejects }
    }
}

struct PartBuilder<'p> {
    keyed: bool,
    rows: Vec<u32>,
    removed: Vec<u8>,
    /// Whether `removed` says anything that the host would not take for granted.
    removes: bool,
    /// How many rows there were before this change.
    kept: usize,
    computed: Vec<Builder<'p>>,
}

impl<'p> PartBuilder<'p> {
    fn new(output: &'p types::Output, rows: usize) -> Self {
        let computed = output.columns.iter().filter_map(|column| match &column.origin {
            Origin::Computed(computed) => Some(Builder::new(&column.name, computed, rows)),
            _ => None,
        });
        Self {
            keyed: !output.key.is_empty(),
            rows: Vec::with_capacity(rows),
            removed: Vec::new(),
            removes: false,
            kept: 0,
            computed: computed.collect(),
        }
    }

    fn push(&mut self, row: u32, removed: bool, is_delete: bool) -> Result<(), String> {
        self.rows.push(row);
        if self.keyed {
            self.removed.push(removed.into());
            self.removes |= removed != is_delete;
        }
        let mut result = Ok(());
        for column in &mut self.computed {
            result = result.and(column.push());
        }
        result
    }

    fn undo(&mut self) {
        self.rows.truncate(self.kept);
        self.removed.truncate(self.kept);
        for column in &mut self.computed {
            column.truncate(self.kept);
        }
    }

    fn finish(self) -> Part {
        let removed = if self.removes { self.removed } else { Vec::new() };
        Part { rows: self.rows, removed, computed: self.computed.into_iter().map(Builder::finish).collect() }
    }
}

/// A computed column: the cells of the rows so far, and the one that the next row gets.
struct Builder<'p> {
    name: &'p str,
    kind: Kind,
    nullable: bool,
    states: Vec<u8>,
    values: Values,
    state: u8,
}

enum Values {
    Small {
        cells: Vec<u8>,
        next: u8,
    },
    Ints {
        cells: Vec<i64>,
        next: i64,
    },
    Floats {
        cells: Vec<f64>,
        next: f64,
    },
    /// The next cell's bytes stand at `next`: behind those of all rows, or where the last row has its own.
    Blobs {
        offsets: Vec<u32>,
        bytes: Vec<u8>,
        next: std::ops::Range<usize>,
    },
}

impl<'p> Builder<'p> {
    fn new(name: &'p str, computed: &types::Computed, rows: usize) -> Self {
        let values = match computed.kind {
            Kind::Boolean => Values::Small { cells: Vec::with_capacity(rows), next: 0 },
            Kind::Int | Kind::Date | Kind::Time | Kind::Timestamp => {
                Values::Ints { cells: Vec::with_capacity(rows), next: 0 }
            }
            Kind::Float => Values::Floats { cells: Vec::with_capacity(rows), next: 0.0 },
            Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                Values::Blobs { offsets, bytes: Vec::new(), next: 0..0 }
            }
        };
        let states = Vec::with_capacity(rows);
        Self { name, kind: computed.kind, nullable: computed.nullable, states, values, state: UNSET }
    }

    fn begin(&mut self) {
        self.state = UNSET;
        self.values.clear_next();
    }

    fn set(&mut self, cell: Cell<'_>) -> Result<(), String> {
        self.values.clear_next();
        self.state = match cell {
            Cell::Null => NULL,
            Cell::Unavailable => UNAVAILABLE,
            _ => PRESENT,
        };
        if self.state == PRESENT && cell.kind() != Some(self.kind) {
            self.state = NULL;
            let given = cell.kind().map_or("op", kind_name);
            return Err(format!(
                "{}: {given} given for a column of kind {}",
                self.name,
                kind_name(self.kind)
            ));
        }
        self.values.set_next(cell);
        Ok(())
    }

    fn push(&mut self) -> Result<(), String> {
        let state = if self.state == UNSET { NULL } else { self.state };
        self.states.push(state);
        self.values.push();
        if state == NULL && !self.nullable {
            return Err(format!("{}: no value for a column that needs one", self.name));
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.states.truncate(rows);
        self.values.truncate(rows);
    }

    fn finish(mut self) -> Column {
        self.values.clear_next();
        let all_present = self.states.iter().all(|&state| state == PRESENT);
        let states = if all_present { Vec::new() } else { self.states };
        let cells = match self.values {
            Values::Small { cells, .. } => Cells::Small(cells),
            Values::Ints { cells, .. } => Cells::Ints(cells),
            Values::Floats { cells, .. } => Cells::Floats(cells),
            Values::Blobs { offsets, bytes, .. } => Cells::Blobs(Blobs { offsets, bytes }),
        };
        Column { states, cells }
    }
}

impl Values {
    fn clear_next(&mut self) {
        match self {
            Values::Small { next, .. } => *next = 0,
            Values::Ints { next, .. } => *next = 0,
            Values::Floats { next, .. } => *next = 0.0,
            Values::Blobs { offsets, bytes, next } => {
                let end = last(offsets);
                bytes.truncate(end);
                *next = end..end;
            }
        }
    }

    /// Cells of other kinds than the column's do not come here.
    fn set_next(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Values::Small { next, .. }, Cell::Bool(value)) => *next = value.into(),
            (
                Values::Ints { next, .. },
                Cell::Int(value) | Cell::Date(value) | Cell::Time(value) | Cell::Timestamp(value),
            ) => *next = value,
            (Values::Floats { next, .. }, Cell::Float(value)) => *next = value,
            (Values::Blobs { bytes, next, .. }, Cell::Bytes(value)) => {
                bytes.extend_from_slice(value);
                next.end = bytes.len();
            }
            (Values::Blobs { bytes, next, .. }, cell) => {
                bytes.extend_from_slice(cell.as_str().unwrap_or_default().as_bytes());
                next.end = bytes.len();
            }
            _ => {}
        }
    }

    fn push(&mut self) {
        match self {
            Values::Small { cells, next } => cells.push(*next),
            Values::Ints { cells, next } => cells.push(*next),
            Values::Floats { cells, next } => cells.push(*next),
            Values::Blobs { offsets, bytes, next } => {
                if next.end <= last(offsets) {
                    // It is an earlier row's already.
                    bytes.extend_from_within(next.clone());
                }
                offsets.push(bytes.len() as u32);
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Values::Small { cells, .. } => cells.truncate(rows),
            Values::Ints { cells, .. } => cells.truncate(rows),
            Values::Floats { cells, .. } => cells.truncate(rows),
            Values::Blobs { offsets, .. } => offsets.truncate(rows + 1),
        }
        self.clear_next();
    }
}

/// Where the cells so far end.
fn last(offsets: &[u32]) -> usize {
    offsets.last().map_or(0, |&end| end as usize)
}
