//! For tests: batches of captured and of made-up records.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::batch::{Batch, Record, Span};
use crate::columns::{self, Input};

use super::options::Options;
use super::shape::{Field, Shape};
use super::value::{Value, decode};
use super::{Change, Decoded, Decoder};

/// A batch of one topic from keys and values.
pub fn batch<K: AsRef<[u8]>, V: AsRef<[u8]>>(topic: &str, records: &[(Option<K>, Option<V>)]) -> Batch {
    let mut arena = Vec::new();
    let mut keep = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| {
            let start = arena.len() as u32;
            arena.extend_from_slice(bytes);
            Span { start, end: arena.len() as u32 }
        })
    };
    let records: Vec<_> = (0..)
        .zip(records)
        .map(|(offset, (key, value))| Record {
            offset,
            timestamp_ms: None,
            key: keep(key.as_ref().map(AsRef::as_ref)),
            value: keep(value.as_ref().map(AsRef::as_ref)),
        })
        .collect();
    let last = records.len().saturating_sub(1) as i64;
    Batch {
        topic: Arc::from(topic),
        partition: 0,
        epoch: 0,
        first: 0,
        last,
        arena,
        records,
        headers: vec![],
        begun: Instant::now(),
    }
}

/// The captured lines of a file: topic, key, value.
pub fn lines(file: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/debezium-postgres");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |member: &str| line[member].as_str().map(String::from);
        (text("topic").unwrap(), text("key"), text("value"))
    };
    text.lines().map(line).collect()
}

/// A decoder, and the batches that it has decoded.
pub struct Run {
    pub decoder: Decoder,
    pub batches: Vec<(Batch, Decoded)>,
}

impl Run {
    /// Decodes a file, its lines in their order, in a batch as long as the topic stays the same.
    pub fn of_file(file: &str) -> Run {
        let lines = lines(file);
        let mut run = Run { decoder: Decoder::new(), batches: Vec::new() };
        for same in lines.chunk_by(|a, b| a.0 == b.0) {
            let records: Vec<_> = same.iter().map(|(_, key, value)| (key.as_ref(), value.as_ref())).collect();
            run.decode(batch(&same[0].0, &records));
        }
        run
    }

    /// A decoder of such records that has decoded nothing yet.
    pub fn with(options: Options) -> Run {
        Run { decoder: Decoder::with(options), batches: Vec::new() }
    }

    /// Decodes keys and values of one topic, in one batch.
    pub fn of_records(topic: &str, records: &[(Option<&str>, Option<&str>)]) -> Run {
        let mut run = Run::with(Options::default());
        run.decode(batch(topic, records));
        run
    }

    /// Decodes values without keys, in one batch.
    pub fn of_values(values: &[&str]) -> Run {
        let mut run = Run { decoder: Decoder::new(), batches: Vec::new() };
        run.decode(batch("t", &values.iter().map(|value| (None::<&str>, Some(*value))).collect::<Vec<_>>()));
        run
    }

    pub fn decode(&mut self, mut batch: Batch) {
        let decoded = self.decoder.decode(&mut batch);
        self.batches.push((batch, decoded));
    }

    /// The changes of all batches, in their order.
    pub fn changes(&self) -> Vec<At<'_>> {
        let mut all = Vec::new();
        for (batch, decoded) in &self.batches {
            all.extend(decoded.changes.iter().map(|change| At { run: self, batch, decoded, change }));
        }
        all
    }

    /// The changes of one table.
    pub fn changes_of(&self, table: &str) -> Vec<At<'_>> {
        self.changes().into_iter().filter(|at| at.shape().table == table).collect()
    }

    /// The reasons of all rejections.
    pub fn reasons(&self) -> Vec<&str> {
        let rejected = self.batches.iter().flat_map(|(_, decoded)| &decoded.rejected);
        rejected.map(|rejected| rejected.reason.as_str()).collect()
    }
}

/// A change with all that its values are read from.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub run: &'a Run,
    pub batch: &'a Batch,
    pub decoded: &'a Decoded,
    pub change: &'a Change,
}

impl<'a> At<'a> {
    pub fn shape(&self) -> &'a Shape {
        self.run.decoder.shape(self.change.shape)
    }

    /// An input's value.
    pub fn value(&self, input: &'a Input) -> Value<'a> {
        columns::value(self.batch, self.decoded, self.shape(), self.change, input).unwrap()
    }

    /// A column of the row after the change.
    pub fn after(&self, column: &str) -> Value<'a> {
        self.cell(column, self.change.after)
    }

    /// A column of the row before the change.
    pub fn before(&self, column: &str) -> Value<'a> {
        self.cell(column, self.change.before)
    }

    fn cell(&self, column: &str, row: Option<u32>) -> Value<'a> {
        let shape = self.shape();
        let index = shape.fields.iter().position(|field| field.name == column);
        let index = index.unwrap_or_else(|| panic!("no column {column}"));
        let span = self.decoded.cells[row.expect("a row") as usize + index];
        let json = str::from_utf8(span.of(&self.batch.arena)).unwrap();
        decode(&shape.fields[index].wire, json).unwrap_or_else(|what| panic!("{column}: {what}"))
    }

    /// A detail of the change; none where there is none.
    pub fn detail(&self, name: &str) -> Option<String> {
        let input = Input::Detail(name.to_owned());
        match columns::value(self.batch, self.decoded, self.shape(), self.change, &input).unwrap() {
            Value::Text(text) => Some(text.into_owned()),
            Value::Null => None,
            value => panic!("{value:?}"),
        }
    }

    /// The names of the source: connector, database, schema, table.
    pub fn names(&self) -> [&'a str; 4] {
        let shape = self.shape();
        [&shape.connector, &shape.database, &shape.schema, &shape.table].map(String::as_str)
    }

    /// The names of the shape's columns; those of the key are marked.
    pub fn columns(&self) -> Vec<String> {
        let name = |field: &Field| format!("{}{}", field.name, if field.key { "*" } else { "" });
        self.shape().fields.iter().map(name).collect()
    }
}
