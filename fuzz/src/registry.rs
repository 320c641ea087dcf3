//! Records whose schemas a registry has: how they name them, the schemas, and the data.

use std::time::Instant;

use host::batch::{Batch, HeaderNames, Incoming, OpenBatch};
use host::debezium::Decoder;
use host::debezium::registry::client::{Format, Reference, Registered, Source, Trouble};
use host::debezium::registry::{Framing, Registry, SchemaId};

use crate::records;

/// A schema of which no record says more than that it has it.
const PLAIN: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"]}]}"#;

/// A registry that has one schema, whatever it is asked for.
#[derive(Debug)]
struct One(Registered);

impl One {
    fn decoder(format: Format, text: &str, framing: Framing) -> Decoder {
        let registered = Registered { format, text: text.to_owned(), references: vec![] };
        Decoder::new().with_registry(Registry::new(Box::new(One(registered)), framing))
    }
}

impl Source for One {
    fn schema(&self, _: SchemaId) -> Result<Registered, Trouble> {
        Ok(self.0.clone())
    }

    fn referred(&self, _: &Reference) -> Result<Registered, Trouble> {
        Err(Trouble::Unknown("it has no other".into()))
    }
}

/// An Avro schema, and data.
pub(crate) fn avro(bytes: &[u8]) {
    read(Format::Avro, bytes);
}

/// A Protobuf schema's text, and data.
pub(crate) fn protobuf(bytes: &[u8]) {
    read(Format::Protobuf, bytes);
}

/// A JSON Schema, and an event.
pub(crate) fn json_schema(bytes: &[u8]) {
    read(Format::Json, bytes);
}

/// The schema's length in two bytes, the schema, and what follows its id in the value of a record.
fn read(format: Format, bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (text, body) = rest.split_at(length);
    let Ok(text) = str::from_utf8(text) else { return };
    let value = [&[0, 0, 0, 0, 1], body].concat();
    records::outcomes(&mut One::decoder(format, text, Framing::Confluent), || {
        batch(None, &value, &HeaderNames::default(), &[])
    });
}

/// A byte for the framing and for what has a header, the header's length, the header, and then a value, which is
/// the key too.
pub(crate) fn framing(bytes: &[u8]) {
    let [flags, length, rest @ ..] = bytes else { return };
    let (header, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let framing = if flags & 1 == 0 { Framing::Confluent } else { Framing::Apicurio };
    let mut names = HeaderNames::default();
    names.add(framing.headers());
    let chosen: Vec<(&str, &[u8])> = framing
        .headers()
        .into_iter()
        .enumerate()
        .filter(|(index, _)| flags >> (index + 1) & 1 == 1)
        .map(|(_, name)| (name, header))
        .collect();
    records::outcomes(&mut One::decoder(Format::Avro, PLAIN, framing), || {
        batch(Some(value), value, &names, &chosen)
    });
}

fn batch(key: Option<&[u8]>, value: &[u8], names: &HeaderNames, headers: &[(&str, &[u8])]) -> Batch {
    let mut open = OpenBatch::new("server.public.t".into(), 0, 0, None, Instant::now());
    let headers: Vec<_> =
        headers.iter().filter_map(|(name, value)| Some((names.find(name)?, Some(*value)))).collect();
    for offset in 0..2 {
        let value = Some(value);
        open.push(&Incoming { offset, timestamp_ms: None, key, value, headers: &headers });
    }
    open.close()
}
