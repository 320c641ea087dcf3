//! Records whose schemas are in a registry: Avro, JSON Schema, Protobuf, behind the id of a schema.
//!
//! Such a value or key becomes, at the end of its batch's arena, the JSON that Kafka Connect's
//! `JsonConverter` would have written for the same data, and its schema the [`ValueSchema`] that would have
//! come with it. From there on nobody knows the difference. The record's own bytes stay: a dead letter
//! carries them.
//!
//! Neither Avro's nor Protobuf's bytes become values on the way: they are written as JSON while they are read, and
//! the JSON of a record is limited, so that no schema or count can fill the memory.
//!
//! Looking schemas up is a step of its own, [`Registry::learn`], before decoding: it may wait for as long as
//! the registry is away, and decoding itself never does. A pipeline decodes in one thread, so there are never
//! two requests for one schema at once.

pub mod client;

mod avro;
mod cache;
mod frame;
mod json;
mod json_schema;
mod protobuf;

use std::fmt;
use std::sync::Arc;

use anyhow::anyhow;

use crate::batch::{Batch, Record, Span};
use crate::error::Classify;

use super::scan::MAX_RECORD_BYTES;
use super::schema::{self, ValueSchema};
use avro::Avro;
use cache::{Cache, Known};
use client::{Format, Reference, Registered, Trouble};
pub use frame::{Framing, SchemaId};
use protobuf::Protobuf;

/// How long the JSON of one record may be: what the scanner takes.
const MAX_OUTPUT_BYTES: usize = MAX_RECORD_BYTES;
/// How large a batch may become by its JSON. Debezium's data is far below; a schema made to be expanded is not.
const MAX_ARENA_BYTES: usize = 2 << 30;
/// How many schemas one may refer to, directly and through others.
const MAX_REFERENCES: usize = 100;
/// How long a schema may be with those that it refers to, in bytes.
const MAX_SCHEMA_BYTES: usize = 8 << 20;

/// Which half of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl Side {
    fn of(self, record: &Record) -> Option<Span> {
        match self {
            Side::Key => record.key,
            Side::Value => record.value,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Key => "key",
            Side::Value => "value",
        })
    }
}

/// A schema, ready for use.
#[derive(Debug)]
pub struct Codec {
    /// What no other schema of the registry has, and no JSON begins with.
    pub label: [u8; 17],
    /// What it says of a value.
    pub schema: Arc<ValueSchema>,
    body: Body,
}

/// How what comes after the id becomes JSON.
#[derive(Debug)]
enum Body {
    Avro(Avro),
    /// It is JSON.
    Json,
    Protobuf(Protobuf),
}

/// How a key or value names its schema.
struct Frame {
    id: SchemaId,
    /// How many of its bytes that takes.
    length: usize,
    /// What follows the id in a header, where it stands in one.
    indexes: Option<Vec<u8>>,
}

/// A schema registry, and what it has said.
#[derive(Debug)]
pub struct Registry {
    framing: Framing,
    source: Box<dyn client::Source>,
    cache: Cache,
}

impl Registry {
    /// One that has been asked nothing yet.
    pub fn new(source: Box<dyn client::Source>, framing: Framing) -> Self {
        Registry { framing, source, cache: Cache::default() }
    }

    /// Asks for the schemas of a batch that are not known. Waits for a registry that does not answer. None:
    /// given up because `give_up` said so.
    ///
    /// # Errors
    /// Where the registry refuses the host, or what answers is none.
    pub fn learn(&mut self, batch: &Batch, give_up: &dyn Fn() -> bool) -> anyhow::Result<Option<()>> {
        self.cache.begin();
        let mut last = [None; 2];
        for (index, record) in (0..).zip(&batch.records) {
            for (side, last) in [Side::Key, Side::Value].into_iter().zip(&mut last) {
                let Some(span) = side.of(record) else { continue };
                let Ok(Some(Frame { id, .. })) = self.find(side, batch, index, span) else { continue };
                if *last == Some(id) || self.cache.use_again(id) {
                    *last = Some(id);
                    continue;
                }
                let Some(known) = self.look_up(id, give_up)? else { return Ok(None) };
                if let Err(why) = &known.codec {
                    tracing::warn!(topic = &*batch.topic, "{why}");
                }
                self.cache.insert(id, known);
                *last = Some(id);
            }
        }
        Ok(Some(()))
    }

    /// Where a value or a key is in the arena as JSON, and by which schema. None: its bytes begin like none of a
    /// registry's. The batch has been through [`Self::learn`].
    pub fn open(
        &self,
        side: Side,
        batch: &mut Batch,
        record: u32,
        span: Span,
    ) -> Result<Option<(Span, Arc<Codec>)>, String> {
        let Some(frame) = self.find(side, batch, record, span)? else { return Ok(None) };
        let (id, length) = (frame.id, frame.length);
        let subject =
            || format!("schema {id} of the {side} (subject `{}-{side}` by the usual rule)", batch.topic);
        let known = self.cache.get(id).ok_or_else(|| format!("{} was not looked for", subject()))?;
        let codec = known.codec.as_ref().map_err(|why| format!("{}: {why}", subject()))?;
        let body = Span { start: span.start + length as u32, end: span.end };
        match codec.to_json(body, frame.indexes.as_deref(), &mut batch.arena) {
            Ok(json) => Ok(Some((json, Arc::clone(codec)))),
            Err(what) => Err(format!("the {side} does not fit {}: {what}", subject())),
        }
    }

    /// How a key or value names its schema, if it does.
    fn find(&self, side: Side, batch: &Batch, record: u32, span: Span) -> Result<Option<Frame>, String> {
        let wrong = |what| format!("not_debezium: of the {side}, {what}");
        if span.is_empty() {
            return Ok(None);
        }
        if let Some((id, indexes)) = frame::header(self.framing, side, batch, record).map_err(wrong)? {
            return Ok(Some(Frame { id, length: 0, indexes: Some(indexes.to_vec()) }));
        }
        let found = frame::prefix(self.framing, span.of(&batch.arena)).map_err(wrong)?;
        Ok(found.map(|(id, length)| Frame { id, length, indexes: None }))
    }

    /// None: given up.
    fn look_up(&self, id: SchemaId, give_up: &dyn Fn() -> bool) -> anyhow::Result<Option<Known>> {
        let found = match client::patiently(give_up, || self.source.schema(id)) {
            Ok(found) => found,
            Err(trouble) => return refused(trouble),
        };
        let Some(found) = found else { return Ok(None) };
        let mut bytes = found.text.len();
        let mut references = Vec::new();
        let mut asked: Vec<Reference> = Vec::new();
        let mut steps: Vec<Step> = found.references.iter().rev().cloned().map(Step::Ask).collect();
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Ask(reference) if asked.contains(&reference) => continue,
                Step::Ask(reference) => reference,
                Step::Done(name, text) => {
                    references.push((name, text));
                    continue;
                }
            };
            let further = match client::patiently(give_up, || self.source.referred(&reference)) {
                Ok(further) => further,
                Err(Trouble::Unknown(why)) => {
                    return refused(Trouble::Unfit(format!("it refers to `{}`: {why}", reference.name)));
                }
                Err(trouble) => return refused(trouble),
            };
            let Some(further) = further else { return Ok(None) };
            bytes += further.text.len();
            if asked.len() >= MAX_REFERENCES || bytes > MAX_SCHEMA_BYTES {
                let (schemas, mib) = (MAX_REFERENCES, MAX_SCHEMA_BYTES >> 20);
                let what =
                    format!("with those that it refers to it is more than {schemas} schemas or {mib} MiB");
                return refused(Trouble::Unfit(what));
            }
            steps.push(Step::Done(reference.name.clone(), further.text));
            steps.extend(further.references.into_iter().rev().map(Step::Ask));
            asked.push(reference);
        }
        Ok(Some(match Codec::new(id, &found, &references) {
            Ok(codec) => Known::good(codec, bytes),
            Err(what) => Known::bad(format!("it cannot be used: {what}")),
        }))
    }
}

/// What is left to do of collecting references: those of one come before it is done.
enum Step {
    Ask(Reference),
    Done(String, String),
}

/// What is remembered of a schema that there is not; or the end.
fn refused(trouble: Trouble) -> anyhow::Result<Option<Known>> {
    match trouble {
        Trouble::Unknown(why) => Ok(Some(Known::bad(format!("the registry does not know it: {why}")))),
        Trouble::Unfit(why) => Ok(Some(Known::bad(format!("it cannot be used: {why}")))),
        Trouble::Elsewhere(what) => {
            Err(anyhow!("the schema registry: {what}")).environment().help(client::NO_REGISTRY)
        }
        Trouble::Halt { what, help } => Err(anyhow!("the schema registry: {what}")).environment().help(help),
        Trouble::Wait(what) => Err(anyhow!("the schema registry: {what}")).environment(),
    }
}

impl Codec {
    fn new(id: SchemaId, found: &Registered, references: &[(String, String)]) -> Result<Self, String> {
        let (schema, body) = match found.format {
            Format::Avro => {
                let mut others: Vec<&str> = Vec::new();
                for (_, text) in references {
                    // One may be referred to by several names.
                    if !others.contains(&text.as_str()) {
                        others.push(text);
                    }
                }
                let (avro, schema) = Avro::parse(&found.text, &others)?;
                (schema, Body::Avro(avro))
            }
            Format::Json => (json_schema::parse(&found.text, references)?, Body::Json),
            Format::Connect => (schema::parse(&found.text)?, Body::Json),
            Format::Protobuf => {
                let (protobuf, schema) = Protobuf::parse(&found.text, references)?;
                (schema, Body::Protobuf(protobuf))
            }
        };
        Ok(Codec { label: id.label(), schema: Arc::new(schema), body })
    }

    /// Where the JSON of `body` is.
    fn to_json(&self, body: Span, indexes: Option<&[u8]>, arena: &mut Vec<u8>) -> Result<Span, String> {
        if matches!(self.body, Body::Json) {
            return Ok(body);
        }
        let start = arena.len();
        if start + MAX_OUTPUT_BYTES > MAX_ARENA_BYTES {
            return Err(format!(
                "the batch's records have become more than {} MiB of json: lower `batch_bytes` or `batch_rows`",
                (MAX_ARENA_BYTES - MAX_OUTPUT_BYTES) >> 20
            ));
        }
        // The arena grows while the body is read from it.
        let bytes = body.of(arena).to_vec();
        let written = match &self.body {
            Body::Avro(avro) => avro.to_json(&bytes, arena),
            Body::Protobuf(protobuf) => protobuf.to_json(&bytes, indexes, arena),
            Body::Json => Ok(()),
        };
        if let Err(what) = written {
            arena.truncate(start);
            return Err(what);
        }
        Ok(Span { start: start as u32, end: arena.len() as u32 })
    }
}

/// A UUID's text.
fn hyphenated(bytes: [u8; 16]) -> String {
    let all = u128::from_be_bytes(bytes);
    let part = |shift: u32, digits: u32| all >> shift & ((1 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12)
    )
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
