//! Debezium's events: from a record's bytes to a change, without building a tree of values.

pub mod block;
pub mod civil;
pub mod classify;
pub mod cloud;
pub mod decimal;
pub mod envelope;
pub mod flat;
pub mod hints;
pub mod mongo;
pub mod options;
pub mod placeholder;
pub mod registry;
pub mod report;
pub mod scan;
pub mod schema;
pub mod shape;
pub mod structured;
pub mod text;
pub mod topic;
pub mod value;
pub mod walk;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::batch::{Batch, Span};

use block::Block;
use classify::{Class, NotChange, Other};
use envelope::{Parts, Source, Unusual, View};
use forms::details;
use options::{Options, Tombstones};
use registry::{Codec, Registry, Side};
use scan::{Json, Lanes, Member, Scanner};
use shape::{Shape, Shapes};
use topic::{Rows, Shaped, Topic, Wrapping};

/// What happened to a row; numbered as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `c`
    Create,
    /// `u`
    Update,
    /// `d`
    Delete,
    /// `r`: read by a snapshot.
    Read,
    /// `t`
    Truncate,
    /// `m`: a logical decoding message.
    Message,
}

/// A decoded Debezium event.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Index of its record in the batch.
    pub record: u32,
    /// What happened.
    pub op: Op,
    /// Id of its shape.
    pub shape: u32,
    /// Index, in [`Decoded::cells`], of the first cell of the row before the change.
    pub before: Option<u32>,
    /// Index, in [`Decoded::cells`], of the first cell of the row after the change.
    pub after: Option<u32>,
    /// When the source database committed it, microseconds since 1970 in UTC.
    pub committed_at_us: Option<i64>,
    /// When the connector read it, microseconds since 1970 in UTC.
    pub captured_at_us: Option<i64>,
    /// The `source` block, a JSON object.
    pub source: Option<Span>,
}

/// A record that cannot be processed, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Index of the record in the batch.
    pub record: u32,
    /// What is wrong, for a person.
    pub reason: String,
}

/// Records of a batch that are no change, by their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotChanges {
    /// A null value after a delete.
    pub tombstones: u64,
    /// Debezium's heartbeats.
    pub heartbeats: u64,
    /// BEGIN and END of transactions.
    pub transactions: u64,
    /// DDL events.
    pub schema_changes: u64,
    /// Debezium's notifications.
    pub notifications: u64,
}

impl NotChanges {
    /// How many records there are of all classes.
    pub fn total(&self) -> u64 {
        self.tombstones + self.heartbeats + self.transactions + self.schema_changes + self.notifications
    }

    fn count(&mut self, class: NotChange) {
        *match class {
            NotChange::Tombstone => &mut self.tombstones,
            NotChange::Heartbeat => &mut self.heartbeats,
            NotChange::Transaction => &mut self.transactions,
            NotChange::SchemaChange => &mut self.schema_changes,
            NotChange::Notification => &mut self.notifications,
        } += 1;
    }
}

impl Op {
    /// The letter that Debezium writes, such as `c`.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Read => "r",
            Op::Truncate => "t",
            Op::Message => "m",
        }
    }
}

/// A batch's records after decoding. Each record is in exactly one of `changes`, `rejected`, `not_changes`.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The changes, in the order of the records.
    pub changes: Vec<Change>,
    /// Spans of the values of rows: a row has one for each field of its shape, in that order. An empty one is
    /// a value that the source did not send.
    pub cells: Vec<Span>,
    /// Records that cannot be decoded.
    pub rejected: Vec<Rejected>,
    /// Records that are no change.
    pub not_changes: NotChanges,
}

/// Decodes the batches of one pipeline, and remembers the shapes, schemas and topics that it met.
#[derive(Debug, Default)]
pub struct Decoder {
    options: Options,
    topics: FxHashMap<Arc<str>, Topic>,
    shapes: Shapes,
    value: Scanner,
    key: Scanner,
    key_names: Vec<Span>,
    /// None: there is no registry, and what needs one is refused.
    registry: Option<Registry>,
    /// For what a value has inside of it that is scanned by itself.
    inner: Scanner,
    block: Block,
    /// How many cells the last batch had: the next one has about as many.
    cells: usize,
}

enum Outcome {
    Change(Change),
    NotChange(NotChange),
}

/// What is known of an event before its rows are looked at.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Index of the record in the batch.
    record: u32,
    op: Op,
    source: Source,
    captured_at_us: Option<i64>,
    /// Whether the first of the topic's schemas is the event's.
    typed: bool,
    /// The member of the key scanner's object whose members are the key's, or the root.
    key: Option<u32>,
}

impl Head {
    fn change(&self, shaped: Shaped) -> Outcome {
        Outcome::Change(Change {
            record: self.record,
            op: self.op,
            shape: shaped.shape,
            before: shaped.before,
            after: shaped.after,
            committed_at_us: self.source.committed_at_us,
            captured_at_us: self.captured_at_us,
            source: Some(self.source.span),
        })
    }
}

impl Decoder {
    /// A decoder that has met nothing yet, for records as Debezium writes them by default.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that has met nothing yet.
    pub fn with(options: Options) -> Self {
        Decoder { options, ..Self::default() }
    }

    /// The same, for records whose schemas are in a registry too.
    #[must_use]
    pub fn with_registry(self, registry: Registry) -> Self {
        Decoder { registry: Some(registry), ..self }
    }

    /// The same, whose scanners look at bytes in this way.
    #[must_use]
    pub fn with_lanes(self, lanes: Lanes) -> Self {
        let [value, key, inner] = [lanes; 3].map(Scanner::with);
        Decoder { value, key, inner, ..self }
    }

    /// Asks the registry, if there is one, for the schemas that a batch needs; comes before [`Self::decode`].
    /// Waits for a registry that does not answer. None: given up because `give_up` said so.
    ///
    /// # Errors
    /// Where the registry refuses the host, or what answers is none.
    pub fn learn(&mut self, batch: &Batch, give_up: &dyn Fn() -> bool) -> anyhow::Result<Option<()>> {
        match &mut self.registry {
            Some(registry) => registry.learn(batch, give_up),
            None => Ok(Some(())),
        }
    }

    /// Decodes a batch. What is wrong with a record rejects that record, and no other. Text that an event
    /// holds in another form than plain JSON is appended to the batch's arena; the records stay as they came.
    pub fn decode(&mut self, batch: &mut Batch) -> Decoded {
        let mut topic = self.topics.remove(&batch.topic).unwrap_or_default();
        self.block.begin_batch();
        let mut decoded = Decoded {
            changes: Vec::with_capacity(batch.records.len()),
            cells: Vec::with_capacity(self.cells),
            ..Decoded::default()
        };
        for index in 0..batch.records.len() as u32 {
            let cells = decoded.cells.len();
            match self.record(&mut topic, batch, index, &mut decoded.cells) {
                Ok(Outcome::Change(change)) => decoded.changes.push(change),
                Ok(Outcome::NotChange(class)) => decoded.not_changes.count(class),
                Err(reason) => {
                    decoded.cells.truncate(cells);
                    decoded.rejected.push(Rejected { record: index, reason });
                }
            }
        }
        self.topics.insert(Arc::clone(&batch.topic), topic);
        self.cells = decoded.cells.len();
        decoded
    }

    /// The same for a pipeline whose shapes others decode, too.
    #[must_use]
    pub fn with_shapes(self, shapes: Shapes) -> Self {
        Decoder { shapes, ..self }
    }

    /// The shape with this id.
    ///
    /// # Panics
    ///
    /// Where no change that this decoder gave has such a shape.
    pub fn shape(&self, id: u32) -> &Arc<Shape> {
        self.shapes.get(id).expect("shape ids come from this decoder")
    }

    /// The shapes that it has given, and those of the other decoders of its pipeline.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Where a half of a record is as JSON, and by which of the registry's schemas if it is by one.
    fn plain(
        &self,
        side: Side,
        batch: &mut Batch,
        record: u32,
        span: Span,
    ) -> Result<(Span, Option<Arc<Codec>>), String> {
        let opened = match &self.registry {
            Some(registry) => registry.open(side, batch, record, span)?,
            None => None,
        };
        Ok(opened.map_or((span, None), |(span, codec)| (span, Some(codec))))
    }

    /// The same for a key; whether it is by one of the registry's schemas.
    fn plain_key(&self, batch: &mut Batch, record: u32) -> Result<(Option<Span>, bool), String> {
        let Some(key) = batch.records.get(record as usize).and_then(|record| record.key) else {
            return Ok((None, false));
        };
        let (span, codec) = self.plain(Side::Key, batch, record, key)?;
        Ok((Some(span), codec.is_some()))
    }

    fn record(
        &mut self,
        topic: &mut Topic,
        batch: &mut Batch,
        index: u32,
        cells: &mut Vec<Span>,
    ) -> Result<Outcome, String> {
        let Some(record) = batch.records.get(index as usize).copied() else {
            return Err("the batch has no such record".into());
        };
        let Some(value) = record.value.filter(|value| !value.is_empty()) else {
            return self.tombstone(topic, batch, index, cells);
        };
        let (value, codec) = self.plain(Side::Value, batch, index, value)?;
        let key = self.plain_key(batch, index)?;
        let arena = batch.arena.as_slice();
        let refuse = |found| classify::not_an_object(value.of(arena), found);
        let scanned = match &codec {
            Some(_) => self.value.scan::<topic::KnownSchema>(arena, value, &[]),
            None => self.value.scan(arena, value, &topic.schemas),
        };
        let scanned = scanned.map_err(|fault| refuse(Err(fault.to_string())))?;
        match scanned.root {
            Json::Object => {}
            Json::Null => return self.tombstone(topic, batch, index, cells),
            other => return Err(refuse(Ok(other))),
        }
        let view = View { scanner: &self.value, arena, options: &self.options };
        let opened = match &codec {
            Some(_) => Opened::plain(view, &mut topic.values),
            None => Opened::find(view, &mut topic.values),
        };
        if let Some(codec) = &codec {
            topic.use_registered(&codec.label, &codec.schema);
        } else if let Some(schema) = opened.schema {
            topic.use_schema(view.text(schema), scanned.known);
        }
        let typed = codec.is_some() || opened.schema.is_some();
        if opened.payload.is_some_and(|(_, payload)| payload.json == Json::Null) {
            return self.tombstone(topic, batch, index, cells);
        }
        let key = read_key(&mut self.key, topic, (arena, &self.options), key, &mut self.key_names);
        if !opened.parts.is_envelope() {
            let row = opened.payload.map_or(scan::ROOT, |(payload, _)| payload);
            return match other(topic, batch, view, (&opened, typed), &self.key_names)? {
                Class::NotChange(class) => Ok(Outcome::NotChange(class)),
                Class::CloudEvent if codec.is_some() => {
                    Err("cloudevents are supported in json only: use the json converter".into())
                }
                Class::CloudEvent => self.cloud_event(topic, batch, (index, key), row, cells),
                Class::Flattened => self.flattened(topic, batch, (index, key, typed), row, cells),
            };
        }
        let parts = &opened.parts;
        let source = parts.source(view, &mut topic.source)?;
        let (op, captured_at_us) = (parts.op(view)?, parts.captured_at_us(view)?);
        let head = Head { record: index, op, source, captured_at_us, typed, key };
        if matches!(op, Op::Truncate | Op::Message) {
            let shape = topic.rowless(&batch.topic, view, &source, typed, &mut self.shapes)?;
            return Ok(head.change(Shaped { shape, before: None, after: None }));
        }
        let [before, after] = match parts.rows(op) {
            Ok(rows) => rows,
            Err(unusual) => {
                let (documents, details) = (parts.documents(), details(view, &opened));
                return self.unusual(topic, batch, head, (unusual, documents, details), cells);
            }
        };
        let rows = Rows { view, source, before, after, key: &self.key_names, flattened: false };
        Ok(head.change(topic.shape(&batch.topic, &rows, typed, &mut self.shapes, cells)?))
    }
}

/// What a value holds, outside of the converter's wrapper if it has one.
struct Opened<'a> {
    parts: Parts<'a>,
    /// The wrapper's member `payload`, and its index.
    payload: Option<(u32, &'a Member)>,
    /// The wrapper's schema.
    schema: Option<Span>,
}

impl<'a> Opened<'a> {
    /// What stands in no wrapper.
    fn plain(view: View<'a>, topic: &mut Wrapping) -> Self {
        let parts = Parts::find(view, scan::ROOT, &mut topic.layouts[0]);
        Opened { parts, payload: None, schema: None }
    }

    /// `topic` is what the topic's records settled, and is settled here if it was not.
    fn find(view: View<'a>, topic: &mut Wrapping) -> Self {
        let plain = Opened::plain(view, topic);
        let wrapper = if plain.parts.is_envelope() { None } else { envelope::wrapper(view) };
        let Some(((index, schema), payload)) = wrapper else {
            topic.wrapped.get_or_insert(false);
            return plain;
        };
        let parts = Parts::find(view, payload.0, &mut topic.layouts[1]);
        // Without an envelope this may be a row that has columns of these two names.
        let is_schema = || schema.json == Json::Null || has_type(view, index);
        if *topic.wrapped.get_or_insert_with(|| parts.is_envelope() || is_schema()) || parts.is_envelope() {
            let schema = (schema.json == Json::Object).then_some(schema.value);
            Opened { parts, payload: Some(payload), schema }
        } else {
            plain
        }
    }
}

/// Whether an object has the member that every schema of the converter has.
fn has_type(view: View<'_>, object: u32) -> bool {
    view.scanner.members_of(object).any(|(_, member)| member.name(view.arena).as_ref() == b"type")
}

/// Writes the names of the key's members to `names`, and says whose members they are; none where the key is
/// no JSON object, as it need not be: keys may be null, plain text, or in another converter's format. A key
/// whose schema was in a registry, as the second part of `key` says, has no wrapper.
fn read_key(
    scanner: &mut Scanner,
    topic: &mut Topic,
    (arena, options): (&[u8], &Options),
    (key, registered): (Option<Span>, bool),
    names: &mut Vec<Span>,
) -> Option<u32> {
    names.clear();
    let scanned = scanner.scan(arena, key?, &topic.key_schemas).ok()?;
    let view = View { scanner, arena, options };
    let mut row = scan::ROOT;
    match envelope::wrapper(view) {
        _ if registered => {}
        Some(((index, schema), (payload, _))) => {
            let looks_so = scanned.known.is_some() || schema.json == Json::Null || has_type(view, index);
            // A key may have columns of these two names.
            if *topic.key_wrapped.get_or_insert(looks_so) && looks_so {
                row = payload;
                if schema.json == Json::Object {
                    topic.use_key_schema(schema.value.of(arena), scanned.known);
                }
            }
        }
        None if scanned.root == Json::Object => _ = topic.key_wrapped.get_or_insert(false),
        None => {}
    }
    names.extend(scanner.members_of(row).map(|(_, member)| member.key));
    (scanned.root == Json::Object && (row == scan::ROOT || !names.is_empty())).then_some(row)
}

/// The class of a record that is no envelope. `typed`: the first of the topic's schemas is its own.
fn other(
    topic: &Topic,
    batch: &Batch,
    view: View<'_>,
    (opened, typed): (&Opened<'_>, bool),
    key: &[Span],
) -> Result<Class, String> {
    let schema = match topic.schemas.first() {
        Some(schema) if typed => schema.parsed.as_ref().map_err(String::clone)?.name.as_str(),
        _ => "",
    };
    let members = match opened.payload {
        Some((payload, _)) => view.scanner.members_of(payload),
        None => view.scanner.members(),
    };
    let members = members.map(|(_, member)| {
        let name = String::from_utf8_lossy(&member.name(view.arena)).into_owned();
        (name, *member, view.text(member.value))
    });
    let key: Vec<String> = key.iter().map(|span| scan::unescape(view.text(*span)).into_owned()).collect();
    Other { topic: &batch.topic, schema, key: &key, members: &members.collect::<Vec<_>>() }
        .class(&opened.parts)
}

mod forms;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
