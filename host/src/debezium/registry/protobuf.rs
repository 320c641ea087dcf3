//! Protobuf: a schema's text is read once, and a record becomes JSON by it.
//!
//! The JSON is that of Kafka Connect's data as Confluent's converter reads it: fields in the order of the
//! message, those that are not there as null or as their default, dates, times and decimals of Google's and
//! Confluent's types as Kafka Connect's.

mod parse;
mod read;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Tree, json};

use super::MAX_OUTPUT_BYTES;
use super::json::Out;
use crate::debezium::schema::{self, ValueSchema};

/// How deep values may nest: somewhat less than the scanner takes.
const MAX_DEPTH: u32 = 120;

/// A message's place in [`Protobuf::messages`].
type Id = usize;

/// A schema with all the messages that it refers to.
#[derive(Debug)]
pub struct Protobuf {
    messages: Vec<Message>,
    enums: Vec<FxHashMap<i32, Box<[u8]>>>,
    /// The first message of the file.
    root: Id,
}

#[derive(Debug, Default)]
struct Message {
    name: String,
    /// In the order of the text.
    fields: Vec<Field>,
    by_number: FxHashMap<u32, usize>,
    meant: Meant,
}

/// What a message stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Meant {
    /// Its fields.
    #[default]
    Itself,
    /// An entry of a map.
    Entry,
    /// `confluent.type.Decimal`
    Decimal,
    /// `google.type.Date`
    Date,
    /// `google.type.TimeOfDay`
    Time,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `google.protobuf.Int32Value` and its like: a value, or null.
    Wrapper,
}

#[derive(Debug)]
struct Field {
    /// `"name":`
    key: Box<[u8]>,
    name: Box<str>,
    kind: Kind,
    repeated: bool,
    /// Whether it may be null.
    optional: bool,
    parameters: Map<String, Tree>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int32,
    Sint32,
    Uint32,
    Int64,
    Sint64,
    Uint64,
    Fixed32,
    Sfixed32,
    Fixed64,
    Sfixed64,
    Float,
    Double,
    Bool,
    Text,
    Bytes,
    Enum(usize),
    Message(Id),
}

impl Protobuf {
    /// Reads a schema; `references` are the files that it imports, by their names.
    pub fn parse(text: &str, references: &[(String, String)]) -> Result<(Protobuf, ValueSchema), String> {
        let protobuf = parse::parse(text, references)?;
        let schema = schema::of_tree(&protobuf.connect_root());
        Ok((protobuf, schema))
    }

    /// Appends to `json` what a record's bytes stand for; `indexes` say which message it is, where they do not
    /// stand before it. What it appended before an error is the caller's to remove.
    pub fn to_json(&self, bytes: &[u8], indexes: Option<&[u8]>, json: &mut Vec<u8>) -> Result<(), String> {
        let bytes = match indexes {
            Some([]) => bytes,
            Some(indexes) => read::indexes(indexes).map(|_| bytes)?,
            None => read::indexes(bytes)?,
        };
        self.read(self.root, bytes, &mut Out::new(json, MAX_OUTPUT_BYTES), 0)
    }

    fn message(&self, id: Id) -> Option<&Message> {
        self.messages.get(id)
    }

    /// The schema as `JsonConverter` would write it, as far as anyone looks at it.
    fn connect_root(&self) -> Tree {
        let Some(root) = self.message(self.root) else { return json!({}) };
        let fields = root.fields.iter().map(|field| {
            let mut tree = self.connect(field, 0);
            if let ("before" | "after", Kind::Message(row)) = (&*field.name, field.kind)
                && let Some(row) = self.message(row)
            {
                tree["fields"] = row.fields.iter().map(|column| self.connect(column, 0)).collect();
            }
            tree
        });
        json!({"type": "struct", "name": root.name, "fields": fields.collect::<Vec<_>>()})
    }

    /// A field without those that its type has, and without what is in very deep maps.
    fn connect(&self, field: &Field, depth: u32) -> Tree {
        let element = self.connect_one(field, depth);
        let mut tree = match (field.repeated, field.kind) {
            (true, Kind::Message(id)) if self.is_entry(id) => element,
            (true, _) => json!({"type": "array", "items": element}),
            _ => element,
        };
        tree["field"] = (*field.name).into();
        tree["optional"] = field.optional.into();
        tree
    }

    fn is_entry(&self, id: Id) -> bool {
        self.message(id).is_some_and(|message| message.meant == Meant::Entry)
    }

    fn connect_one(&self, field: &Field, depth: u32) -> Tree {
        let small = field.parameters.get("connect.type").and_then(Tree::as_str);
        match field.kind {
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => match small {
                Some(small @ ("int8" | "int16")) => json!({"type": small}),
                _ => json!({"type": "int32"}),
            },
            Kind::Uint32 | Kind::Fixed32 | Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "int64"}),
            Kind::Float => json!({"type": "float"}),
            Kind::Double => json!({"type": "double"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Text | Kind::Enum(_) => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "bytes"}),
            Kind::Message(id) => self.connect_message(id, field, depth),
        }
    }

    fn connect_message(&self, id: Id, field: &Field, depth: u32) -> Tree {
        let named = |ty: &str, name: &str| json!({"type": ty, "name": name});
        let Some(message) = self.message(id).filter(|_| depth < MAX_DEPTH) else {
            return json!({"type": "struct"});
        };
        match (message.meant, message.fields.as_slice()) {
            (Meant::Itself, _) => named("struct", &message.name),
            (Meant::Decimal, _) => {
                let mut tree = named("bytes", "org.apache.kafka.connect.data.Decimal");
                let mut parameters = Map::new();
                for (from, to) in [("scale", "scale"), ("precision", "connect.decimal.precision")] {
                    if let Some(found) = field.parameters.get(from) {
                        parameters.insert(to.into(), found.clone());
                    }
                }
                tree["parameters"] = parameters.into();
                match field.parameters.contains_key("scale") {
                    true => tree,
                    false => named("struct", "io.debezium.data.VariableScaleDecimal"),
                }
            }
            (Meant::Date, _) => named("int32", "org.apache.kafka.connect.data.Date"),
            (Meant::Time, _) => named("int32", "org.apache.kafka.connect.data.Time"),
            (Meant::Timestamp, _) => named("int64", "org.apache.kafka.connect.data.Timestamp"),
            (Meant::Wrapper, [value, ..]) => self.connect_one(
                &Field {
                    parameters: field.parameters.clone(),
                    name: "".into(),
                    key: Box::default(),
                    ..*value
                },
                depth + 1,
            ),
            (Meant::Entry, [key, value]) => {
                let text = matches!(key.kind, Kind::Text);
                let keys = json!({"type": if text { "string" } else { "struct" }});
                json!({"type": "map", "keys": keys, "values": self.connect(value, depth + 1)})
            }
            _ => json!({"type": "struct"}),
        }
    }
}

#[cfg(test)]
mod tests;
