//! Column vectors: what the contract carries into a transform and back.
//!
//! The layout is that of `wit/transform.wit` (`column`, `cells`, `blobs`), in the host's own types. Only the
//! cells that are asked for are ever decoded.

use std::borrow::Cow;

use crate::batch::{Batch, Span};
use crate::debezium::shape::{Guess, Shape, Wire};
use crate::debezium::value::{self, Value, decode};
use crate::debezium::{Change, Decoded, Op, scan, walk};

/// What a value means; `kind` of the contract, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// A decimal number as text.
    Decimal,
    /// Text.
    Text,
    /// JSON text.
    Json,
    /// Bytes.
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// A cell's state, as the contract numbers it.
pub mod state {
    /// The cell has a value.
    pub const PRESENT: u8 = 0;
    /// The cell is null.
    pub const NULL: u8 = 1;
    /// The source did not send the cell: an unchanged TOAST value.
    pub const UNAVAILABLE: u8 = 2;
}

/// Cells of varying length: cell i is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Blobs {
    /// One more than there are cells; the first is 0, and none is less than the one before it.
    pub offsets: Vec<u32>,
    /// The cells' bytes, one after the other.
    pub bytes: Vec<u8>,
}

/// The stored form of a column's cells.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// boolean (0 or 1), op (its number).
    Small(Vec<u8>),
    /// int, date, time, timestamp.
    Ints(Vec<i64>),
    /// float.
    Floats(Vec<f64>),
    /// decimal, text, json, bytes.
    Blobs(Blobs),
}

impl Cells {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        match self {
            Cells::Small(cells) => cells.len(),
            Cells::Ints(cells) => cells.len(),
            Cells::Floats(cells) => cells.len(),
            Cells::Blobs(blobs) => blobs.offsets.len().saturating_sub(1),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One column of a batch or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// A [`state`] for each cell; empty: all are present.
    pub states: Vec<u8>,
    /// The cells; one that is not present has its place all the same: 0, or no bytes.
    pub cells: Cells,
}

impl Column {
    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        let cells = match &self.cells {
            Cells::Small(cells) => cells.len(),
            Cells::Ints(cells) => size_of_val(cells.as_slice()),
            Cells::Floats(cells) => size_of_val(cells.as_slice()),
            Cells::Blobs(blobs) => size_of_val(blobs.offsets.as_slice()) + blobs.bytes.len(),
        };
        self.states.len() + cells
    }
}

/// Something that the host knows of a change; `input` of the contract. Numbers are indices into the fields
/// of the change's shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// A column of the row after the change.
    After(u32),
    /// A column of the row before the change.
    Before(u32),
    /// A column of the row after the change, or of the one before where there is none after.
    Latest(u32),
    /// What happened.
    Op,
    /// When the source database committed the change.
    CommittedAt,
    /// When the connector read the change.
    CapturedAt,
    /// The record's topic.
    Topic,
    /// The record's partition.
    Partition,
    /// The record's offset.
    Offset,
    /// A member of the event's `source` block.
    Detail(String),
}

/// The kind of an input's values. An index that the shape lacks counts as text; [`value`] refuses it.
pub fn kind_of(input: &Input, shape: &Shape) -> Kind {
    match input {
        Input::After(index) | Input::Before(index) | Input::Latest(index) => {
            shape.fields.get(*index as usize).map_or(Kind::Text, |field| field.wire.kind())
        }
        Input::CommittedAt | Input::CapturedAt => Kind::Timestamp,
        Input::Partition | Input::Offset => Kind::Int,
        Input::Op | Input::Topic | Input::Detail(_) => Kind::Text,
    }
}

/// One input of one change. The operation is its letter here. An error says what is wrong with the value.
pub fn value<'a>(
    batch: &'a Batch,
    decoded: &'a Decoded,
    shape: &'a Shape,
    change: &'a Change,
    input: &'a Input,
) -> Result<Value<'a>, String> {
    match input {
        Input::After(index) => cell(batch, decoded, shape, change.after, *index),
        Input::Before(index) => cell(batch, decoded, shape, change.before, *index),
        Input::Latest(index) => cell(batch, decoded, shape, change.after.or(change.before), *index),
        Input::Op => Ok(Value::Text(Cow::Borrowed(change.op.letter()))),
        Input::CommittedAt => Ok(time(change.committed_at_us)),
        Input::CapturedAt => Ok(time(change.captured_at_us)),
        Input::Topic => Ok(Value::Text(Cow::Borrowed(&batch.topic))),
        Input::Partition => Ok(Value::Int(i64::from(batch.partition))),
        Input::Offset => match batch.records.get(change.record as usize) {
            Some(record) => Ok(Value::Int(record.offset)),
            None => Err("the change has no record in the batch".into()),
        },
        Input::Detail(name) => Ok(match change.source {
            Some(source) => detail(text(batch, source)?, name),
            None => Value::Null,
        }),
    }
}

/// The JSON of an input that is a column of a row, as it stands; none where the input is none, or the change
/// has no such row.
pub fn json<'a>(batch: &'a Batch, decoded: &Decoded, change: &Change, input: &Input) -> Option<&'a [u8]> {
    let (row, index) = match input {
        Input::After(index) => (change.after?, *index),
        Input::Before(index) => (change.before?, *index),
        Input::Latest(index) => (change.after.or(change.before)?, *index),
        _ => return None,
    };
    decoded.cells.get(row as usize + index as usize).map(|span| span.of(&batch.arena))
}

/// How a column's values are written, where the input is a column of `shape`.
pub fn wire<'a>(input: &Input, shape: &'a Shape) -> Option<&'a Wire> {
    let (Input::After(index) | Input::Before(index) | Input::Latest(index)) = input else { return None };
    shape.fields.get(*index as usize).map(|field| &field.wire)
}

fn cell<'a>(
    batch: &'a Batch,
    decoded: &'a Decoded,
    shape: &'a Shape,
    row: Option<u32>,
    index: u32,
) -> Result<Value<'a>, String> {
    let Some(field) = shape.fields.get(index as usize) else {
        return Err(format!("the shape of `{}` has no column {index}", shape.table));
    };
    let Some(row) = row else { return Ok(Value::Null) };
    let Some(span) = decoded.cells.get(row as usize + index as usize) else {
        return Err(format!("column `{}` has no cell", field.name));
    };
    decode(&field.wire, text(batch, *span)?).map_err(|what| format!("column `{}`: {what}", field.name))
}

fn text(batch: &Batch, span: Span) -> Result<&str, String> {
    // Checked by the scanner already, though not in a way that the types could say.
    str::from_utf8(span.of(&batch.arena)).map_err(|_| "the value is not utf-8".into())
}

fn time<'a>(micros: Option<i64>) -> Value<'a> {
    match micros {
        // Below a second by the remainder.
        Some(micros) => Value::Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: micros.rem_euclid(1_000_000) as u32 * 1_000,
        },
        None => Value::Null,
    }
}

/// A member of `source` as text: strings without their quotes, everything else as it stands.
fn detail<'a>(source: &'a str, name: &str) -> Value<'a> {
    match walk::member(source, name) {
        None | Some("null") => Value::Null,
        Some(json) => Value::Text(walk::inside(json).map_or(Cow::Borrowed(json), scan::unescape)),
    }
}

/// A column that was read, and the cells of it that could not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// A cell for each change asked for; a failed one is null.
    pub column: Column,
    /// Positions in the list of changes asked for, ascending, and what is wrong with the value of each.
    pub failures: Vec<(u32, String)>,
}

/// Changes of which one column after the other is read or written before the next changes are looked at: their records
/// stay in a core's cache meanwhile. With batches of 16 MiB, all of a column first takes about twice as long.
pub const TILE_ROWS: usize = 256;

/// Reads inputs of many changes as columns of the contract. `rows` are indices into `decoded.changes`, all of `shape`.
///
/// The operation is its number. Timestamps and times are microseconds; of finer ones the rest is dropped,
/// towards the past. The infinities of dates and timestamps are `i64::MAX` and `i64::MIN`. Decimals are
/// their text; arrays, maps and structs are JSON as the event has it, elements in their encoding.
pub fn read(batch: &Batch, decoded: &Decoded, shape: &Shape, rows: &[u32], inputs: &[Input]) -> Vec<Read> {
    let reader = |input| Reader::new(batch, decoded, shape, input, rows.len());
    let mut readers: Vec<Reader<'_>> = inputs.iter().map(reader).collect();
    for tile in rows.chunks(TILE_ROWS) {
        readers.iter_mut().for_each(|reader| reader.push(tile));
    }
    readers.into_iter().map(Reader::finish).collect()
}

/// Reads one input.
struct Reader<'a> {
    batch: &'a Batch,
    decoded: &'a Decoded,
    shape: &'a Shape,
    input: &'a Input,
    plain: Plain,
    builder: Builder,
    failures: Vec<(u32, String)>,
    position: u32,
}

impl<'a> Reader<'a> {
    fn new(
        batch: &'a Batch,
        decoded: &'a Decoded,
        shape: &'a Shape,
        input: &'a Input,
        length: usize,
    ) -> Self {
        let (plain, builder) = (Plain::of(wire(input, shape)), Builder::new(input, shape, length));
        Reader { batch, decoded, shape, input, plain, builder, failures: Vec::new(), position: 0 }
    }

    fn push(&mut self, rows: &[u32]) {
        let Reader { batch, decoded, shape, input, plain, builder, failures, position } = self;
        for row in rows {
            let pushed = match decoded.changes.get(*row as usize) {
                None => Err(format!("the batch has no change {row}")),
                Some(change) if **input == Input::Op => builder.push_op(change.op),
                Some(change) if builder.push_plain(*plain, json(batch, decoded, change, input)) => Ok(()),
                Some(change) => {
                    value(batch, decoded, shape, change, input).and_then(|value| builder.push(&value))
                }
            };
            if let Err(reason) = pushed {
                failures.push((*position, reason));
                builder.push_absent(state::NULL);
            }
            *position += 1;
        }
    }

    fn finish(self) -> Read {
        Read { column: self.builder.finish(), failures: self.failures }
    }
}

/// Columns whose cells mostly are what stands in the event, so that they can be copied from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Text.
    Text,
    /// An integer of 64 bits.
    Int,
    /// A float of 64 bits.
    Float,
    /// A boolean.
    Bool,
    /// Microseconds since 1970, or nearly always.
    Micros,
    /// All others.
    No,
}

impl Plain {
    /// What a column is whose values are written so.
    pub fn of(wire: Option<&Wire>) -> Self {
        match wire {
            Some(Wire::Text | Wire::Guess(Guess::Text)) => Plain::Text,
            Some(Wire::Int(64) | Wire::Guess(Guess::Int)) => Plain::Int,
            Some(Wire::Float64 | Wire::Guess(Guess::Float)) => Plain::Float,
            Some(Wire::Bool | Wire::Guess(Guess::Bool)) => Plain::Bool,
            Some(Wire::TimestampMicros) => Plain::Micros,
            _ => Plain::No,
        }
    }
}

/// Builds a column; a cell is pushed whole or, with an error, not at all.
struct Builder {
    states: Vec<u8>,
    cells: Cells,
    all_present: bool,
}

impl Builder {
    fn new(input: &Input, shape: &Shape, length: usize) -> Self {
        let cells = match kind_of(input, shape) {
            _ if *input == Input::Op => Cells::Small(Vec::with_capacity(length)),
            Kind::Boolean => Cells::Small(Vec::with_capacity(length)),
            Kind::Int | Kind::Date | Kind::Time | Kind::Timestamp => Cells::Ints(Vec::with_capacity(length)),
            Kind::Float => Cells::Floats(Vec::with_capacity(length)),
            Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes => {
                let mut offsets = Vec::with_capacity(length + 1);
                offsets.push(0);
                Cells::Blobs(Blobs { offsets, bytes: Vec::new() })
            }
        };
        Builder { states: Vec::with_capacity(length), cells, all_present: true }
    }

    fn finish(self) -> Column {
        Column { states: if self.all_present { Vec::new() } else { self.states }, cells: self.cells }
    }

    fn push_absent(&mut self, state: u8) {
        self.all_present = false;
        self.states.push(state);
        match &mut self.cells {
            Cells::Small(cells) => cells.push(0),
            Cells::Ints(cells) => cells.push(0),
            Cells::Floats(cells) => cells.push(0.0),
            Cells::Blobs(blobs) => blobs.offsets.push(blobs.offsets.last().copied().unwrap_or(0)),
        }
    }

    fn push_op(&mut self, op: Op) -> Result<(), String> {
        if let Cells::Small(cells) = &mut self.cells {
            cells.push(op as u8);
            self.states.push(state::PRESENT);
        }
        Ok(())
    }

    /// Whether the cell could be copied.
    fn push_plain(&mut self, plain: Plain, json: Option<&[u8]>) -> bool {
        let Some(json) = json else { return false };
        match (&mut self.cells, plain) {
            (Cells::Ints(cells), Plain::Int) => match value::plain_int(json) {
                Some(number) => cells.push(number),
                None => return false,
            },
            (Cells::Floats(cells), Plain::Float) => match value::plain_float(json) {
                Some(number) => cells.push(number),
                None => return false,
            },
            (Cells::Small(cells), Plain::Bool) => match json {
                b"true" => cells.push(1),
                b"false" => cells.push(0),
                _ => return false,
            },
            (Cells::Blobs(blobs), Plain::Text) => match value::plain_text(json) {
                Some(text) => match u32::try_from(blobs.bytes.len() + text.len()) {
                    Ok(end) => {
                        blobs.bytes.extend_from_slice(text);
                        blobs.offsets.push(end);
                    }
                    Err(_) => return false,
                },
                None => return false,
            },
            _ => return false,
        }
        self.states.push(state::PRESENT);
        true
    }

    fn push(&mut self, value: &Value<'_>) -> Result<(), String> {
        match value {
            Value::Null => self.push_absent(state::NULL),
            Value::Unavailable => self.push_absent(state::UNAVAILABLE),
            present => {
                self.push_present(present)?;
                self.states.push(state::PRESENT);
            }
        }
        Ok(())
    }

    fn push_present(&mut self, value: &Value<'_>) -> Result<(), String> {
        match &mut self.cells {
            Cells::Small(cells) => match value {
                Value::Bool(value) => cells.push(u8::from(*value)),
                _ => return Err("the value is no boolean".into()),
            },
            Cells::Ints(cells) => cells.push(int(value)?),
            Cells::Floats(cells) => cells.push(float(value)?),
            Cells::Blobs(blobs) => {
                let bytes = bytes(value)?;
                let Ok(end) = u32::try_from(blobs.bytes.len() + bytes.len()) else {
                    return Err("the column has more than 4 GiB".into());
                };
                blobs.bytes.extend_from_slice(bytes);
                blobs.offsets.push(end);
            }
        }
        Ok(())
    }
}

fn int(value: &Value<'_>) -> Result<i64, String> {
    match value {
        Value::Int(value) | Value::Date(value) => Ok(*value),
        Value::Time(nanos) => Ok(nanos.div_euclid(1_000)),
        Value::Timestamp { seconds, nanos } => {
            let micros =
                seconds.checked_mul(1_000_000).and_then(|all| all.checked_add(i64::from(nanos / 1_000)));
            micros.ok_or_else(|| "the timestamp does not fit 64 bits of microseconds".into())
        }
        Value::Infinite { negative } => Ok(if *negative { i64::MIN } else { i64::MAX }),
        _ => Err("the value is no integer, date or time".into()),
    }
}

fn float(value: &Value<'_>) -> Result<f64, String> {
    match value {
        Value::Float(value) => Ok(*value),
        // A number without schema that has more digits than a double.
        Value::Decimal(text) => text.parse().map_err(|_| "the value is no float".into()),
        _ => Err("the value is no float".into()),
    }
}

fn bytes<'v>(value: &'v Value<'_>) -> Result<&'v [u8], String> {
    match value {
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => Ok(text.as_bytes()),
        Value::Bytes(bytes) => Ok(bytes),
        Value::Array(json, _) | Value::Map(json, _) => Ok(json.as_bytes()),
        _ => Err("the value is neither text nor bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::debezium::fixture::Run;

    const ALL: [u8; 0] = [];

    fn read_all(run: &Run, table: &str, input: &Input) -> Read {
        let first = run.changes_of(table)[0];
        let rows: Vec<u32> = (0..first.decoded.changes.len() as u32).collect();
        read(first.batch, first.decoded, first.shape(), &rows, slice::from_ref(input)).remove(0)
    }

    fn blobs(cells: &[&str]) -> Cells {
        let ends = cells.iter().scan(0, |end, cell| {
            *end += cell.len() as u32;
            Some(*end)
        });
        Cells::Blobs(Blobs {
            offsets: [0].into_iter().chain(ends).collect(),
            bytes: cells.concat().into_bytes(),
        })
    }

    fn column(states: &[u8], cells: Cells) -> Read {
        Read { column: Column { states: states.to_vec(), cells }, failures: Vec::new() }
    }

    #[test]
    fn what_the_host_knows_of_a_change_is_read() {
        let run = Run::of_file("simple.ndjson");
        let all = |input| read_all(&run, "my_table", &input);
        assert_eq!(all(Input::Op), column(&ALL, Cells::Small(vec![3, 3, 3, 3, 3, 1, 0, 1, 2])));
        assert_eq!(all(Input::Offset), column(&ALL, Cells::Ints((0..9).collect())));
        assert_eq!(all(Input::Partition), column(&ALL, Cells::Ints(vec![0; 9])));
        assert_eq!(all(Input::Topic), column(&ALL, blobs(&["shop.public.my_table"; 9])));
        let first = |input| match all(input).column.cells {
            Cells::Ints(cells) => cells[0],
            cells => panic!("{cells:?}"),
        };
        assert_eq!(first(Input::CommittedAt), 1_795_343_201_347_177);
        assert_eq!(first(Input::CapturedAt), 1_795_343_201_681_878);
        let last = run.changes()[8];
        assert_eq!(last.value(&Input::Op), Value::Text("d".into()));
        assert_eq!(last.value(&Input::Offset), Value::Int(8));
        let committed = Value::Timestamp { seconds: 1_795_343_205, nanos: 918_050_000 };
        assert_eq!(last.value(&Input::CommittedAt), committed);
    }

    #[test]
    fn a_detail_is_text_whatever_it_is_in_the_event() {
        let run = Run::of_file("simple.ndjson");
        let last = run.changes()[8];
        for (name, expected) in [
            ("lsn", Value::Text("26375008".into())),
            ("snapshot", Value::Text("false".into())),
            ("sequence", Value::Text(r#"["26375008","26375008"]"#.into())),
            ("xmin", Value::Null),
            ("absent", Value::Null),
        ] {
            assert_eq!(last.value(&Input::Detail(name.into())), expected, "{name}");
        }
    }

    #[test]
    fn a_row_that_a_change_has_not_is_null_and_latest_falls_back() {
        let run = Run::of_file("simple.ndjson");
        let all = |input| read_all(&run, "my_table", &input);
        let names = ["Alice 1", "Alice 2", "Alice 3", "Alice 4", "Alice 5", "Alice 5555", "Bob", "Bob 2", ""];
        assert_eq!(all(Input::After(1)), column(&[0, 0, 0, 0, 0, 0, 0, 0, 1], blobs(&names)));
        assert_eq!(
            all(Input::Before(0)),
            column(&[1, 1, 1, 1, 1, 1, 1, 1, 0], Cells::Ints(vec![0, 0, 0, 0, 0, 0, 0, 0, 2]))
        );
        assert_eq!(all(Input::Latest(0)), column(&ALL, Cells::Ints(vec![1, 2, 3, 4, 5, 1, 6, 6, 2])));
    }

    #[test]
    fn only_the_changes_asked_for_are_read_in_the_order_asked() {
        let run = Run::of_file("simple.ndjson");
        let first = run.changes()[0];
        let some = read(first.batch, first.decoded, first.shape(), &[6, 0], &[Input::After(1)]).remove(0);
        assert_eq!(some, column(&ALL, blobs(&["Bob", "Alice 1"])));
    }

    #[test]
    fn a_column_has_the_kind_of_its_field() {
        let run = Run::of_file("types_schema.ndjson");
        let shape = run.changes_of("all_types")[0].shape();
        let kind = |name: &str| {
            let index = shape.fields.iter().position(|field| field.name == name).unwrap();
            kind_of(&Input::Latest(index as u32), shape)
        };
        let kinds = [
            "c_bool",
            "c_int",
            "c_real",
            "c_numeric",
            "c_mood",
            "c_jsonb",
            "c_bytea",
            "c_date",
            "c_time",
            "c_ts",
        ];
        use Kind::*;
        assert_eq!(kinds.map(kind), [Boolean, Int, Float, Decimal, Text, Json, Bytes, Date, Time, Timestamp]);
        assert_eq!(kind_of(&Input::Op, shape), Text);
        assert_eq!(kind_of(&Input::CapturedAt, shape), Timestamp);
        assert_eq!(kind_of(&Input::Partition, shape), Int);
    }

    /// One change a row, of a table whose only column has the given schema.
    fn run_of(schema: &str, cells: &[&str]) -> Run {
        let value = |cell: &&str| {
            format!(
                r#"{{"schema":{{"fields":[{{"field":"after","fields":[{{"field":"x","optional":true,{schema}}}]}}]}},
                "payload":{{"op":"c","after":{{"x":{cell}}},"source":{{"table":"t"}}}}}}"#
            )
        };
        let values: Vec<_> = cells.iter().map(value).collect();
        Run::of_values(&values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn times_are_microseconds_rounded_down_and_infinities_the_ends() {
        let of = |schema: &str, cells: &[&str]| read_all(&run_of(schema, cells), "t", &Input::After(0));
        let ints = |cells: &[i64]| column(&ALL, Cells::Ints(cells.to_vec()));
        let nanos = r#""type":"int64","name":"io.debezium.time.NanoTimestamp""#;
        let ends = ["1", "-1", "9223372036854775807", "-9223372036854775808"];
        assert_eq!(of(nanos, &ends), ints(&[0, -1, i64::MAX, i64::MIN]));
        let nanos = r#""type":"int64","name":"io.debezium.time.NanoTime""#;
        assert_eq!(of(nanos, &["86399999999999", "-1"]), ints(&[86_399_999_999, -1]));
        let dates = r#""type":"int32","name":"io.debezium.time.Date""#;
        assert_eq!(of(dates, &["19782", "-2147472691"]), ints(&[19_782, i64::MIN]));
        let zoned = r#""type":"string","name":"io.debezium.time.ZonedTimestamp""#;
        assert_eq!(of(zoned, &["\"1969-12-31T23:59:59.9999999Z\"", "\"infinity\""]), ints(&[-1, i64::MAX]));
    }

    #[test]
    fn a_cell_that_cannot_be_read_fails_alone() {
        let zoned = r#""type":"string","name":"io.debezium.time.ZonedTimestamp""#;
        let far = "\"+900000000-01-01T00:00:00Z\"";
        let read =
            read_all(&run_of(zoned, &["null", far, "\"1970-01-01T00:00:01Z\"", "5"]), "t", &Input::After(0));
        assert_eq!(
            read.column,
            Column { states: vec![1, 1, 0, 1], cells: Cells::Ints(vec![0, 0, 1_000_000, 0]) }
        );
        let [(1, range), (3, kind)] = read.failures.as_slice() else { panic!("{:?}", read.failures) };
        assert!(range.ends_with("does not fit 64 bits of microseconds"), "{range}");
        assert_eq!(kind, "column `x`: expected a string, found a number");
    }

    #[test]
    fn each_kind_has_its_cells_and_states() {
        let of = |schema: &str, cells: &[&str]| read_all(&run_of(schema, cells), "t", &Input::After(0));
        assert_eq!(
            of(r#""type":"boolean""#, &["true", "false", "null"]),
            column(&[0, 0, 1], Cells::Small(vec![1, 0, 0]))
        );
        assert_eq!(
            of(r#""type":"double""#, &["1.5", "\"Infinity\""]),
            column(&ALL, Cells::Floats(vec![1.5, f64::INFINITY]))
        );
        let toast = "\"__debezium_unavailable_value\"";
        assert_eq!(
            of(r#""type":"string""#, &["\"é\\n\"", toast, "\"\""]),
            column(&[0, 2, 0], blobs(&["é\n", "", ""]))
        );
        assert_eq!(of(r#""type":"bytes""#, &["\"YWI=\""]), column(&ALL, blobs(&["ab"])));
        let decimal =
            r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#;
        assert_eq!(of(decimal, &["\"MDk=\"", "\"nA==\""]), column(&ALL, blobs(&["123.45", "-1.00"])));
        let array = r#""type":"array","items":{"type":"int32"}"#;
        assert_eq!(of(array, &["[1,null]", "[]"]), column(&ALL, blobs(&["[1,null]", "[]"])));
    }

    #[test]
    fn an_exact_decimal_among_floats_is_a_float_for_the_transform() {
        let event = |cell: &str| format!(r#"{{"op":"c","after":{{"x":{cell}}},"source":{{"table":"t"}}}}"#);
        let run = Run::of_values(&[&event("0.5"), &event("0.12345678901234567890")]);
        let floats = Cells::Floats(vec![0.5, 0.123_456_789_012_345_68]);
        assert_eq!(read_all(&run, "t", &Input::After(0)), column(&ALL, floats));
        let exact = Value::Decimal("0.12345678901234567890".into());
        assert_eq!(run.changes()[1].value(&Input::After(0)), exact);
    }

    #[test]
    fn what_the_shape_or_the_batch_lacks_is_an_error() {
        let run = Run::of_file("simple.ndjson");
        let first = run.changes()[0];
        let read = read(first.batch, first.decoded, first.shape(), &[0, 99], &[Input::After(7)]).remove(0);
        let reasons: Vec<_> = read.failures.iter().map(|(at, reason)| (*at, reason.as_str())).collect();
        let expected = [(0, "the shape of `my_table` has no column 7"), (1, "the batch has no change 99")];
        assert_eq!(reasons, expected);
    }
}
