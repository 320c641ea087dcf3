//! Avro: a schema is read once, and a record becomes JSON by it without values in between.
//!
//! It is read here and not by a library for what such drop: Kafka Connect writes what a value means
//! (`connect.name`, `connect.parameters`) into attributes of types, plain types such as `int` too.

mod parse;
mod read;

use serde_json::{Map, Value as Tree, json};

use super::MAX_OUTPUT_BYTES;
use super::json::Out;
use crate::debezium::schema::{self, ValueSchema};

/// How deep values may nest: somewhat less than the scanner takes.
const MAX_DEPTH: u32 = 120;

/// A type's place in [`Avro::types`].
type Id = u32;

/// A schema with all the types that it refers to.
#[derive(Debug)]
pub struct Avro {
    types: Vec<Type>,
    root: Id,
}

/// A type, and how it becomes JSON.
#[derive(Debug)]
enum Type {
    Null,
    Bool,
    /// Of 32 bits.
    Int,
    /// Of 64 bits.
    Long,
    Float,
    Double,
    Bytes,
    Text,
    /// So many bytes.
    Fixed(usize),
    /// 16 bytes that are written as text.
    FixedUuid,
    /// The symbols, as JSON.
    Enum(Vec<Box<[u8]>>),
    Array(Id),
    /// A map with text keys.
    Map(Id),
    /// An array of entries, which is how Kafka Connect writes any other map.
    Entries(Entries),
    Record(Vec<Field>),
    /// The type, or null; and which of the two is null.
    Optional(Id, usize),
    /// A choice, which becomes an object with a member for each; none for null.
    Union(Vec<(Option<Box<[u8]>>, Id)>),
    /// Was named and has not been read to its end yet.
    Unfinished,
}

#[derive(Debug)]
struct Field {
    /// `"name":`
    key: Box<[u8]>,
    name: Box<str>,
    of: Id,
}

#[derive(Debug)]
struct Entries {
    key: Id,
    value: Id,
    /// The value stands before the key.
    value_first: bool,
    /// Keys are text, or null: it becomes an object.
    text: bool,
}

/// What a type's attributes say to Kafka Connect.
#[derive(Debug, Default)]
struct Meaning {
    /// The logical type's name.
    name: Option<String>,
    /// Another base type than Avro has, such as `int8`.
    base: Option<String>,
    parameters: Map<String, Tree>,
}

impl Avro {
    /// Reads a schema; `others` are the schemas that it refers to, those first that others refer to.
    pub fn parse(text: &str, others: &[&str]) -> Result<(Avro, ValueSchema), String> {
        let (avro, meanings) = parse::parse(text, others)?;
        let schema = schema::of_tree(&avro.connect_root(&meanings));
        Ok((avro, schema))
    }

    /// Appends to `json` what a record's bytes stand for. What it appended before an error is the caller's to
    /// remove.
    pub fn to_json(&self, bytes: &[u8], json: &mut Vec<u8>) -> Result<(), String> {
        let mut reader = read::Reader::new(bytes);
        let mut out = Out::new(json, MAX_OUTPUT_BYTES);
        self.read(self.root, &mut reader, &mut out, 0)?;
        match reader.left() {
            0 => Ok(()),
            left => Err(format!("{left} bytes after the end of the record")),
        }
    }

    fn of(&self, id: Id) -> &Type {
        self.types.get(id as usize).unwrap_or(&Type::Unfinished)
    }

    /// The type that is meant, and whether it may be null.
    fn required(&self, id: Id) -> (Id, bool) {
        match self.of(id) {
            Type::Optional(inner, _) => (*inner, true),
            _ => (id, false),
        }
    }

    /// The schema as `JsonConverter` would write it, as far as anyone looks at it: the columns of a change.
    fn connect_root(&self, meanings: &[Meaning]) -> Tree {
        let (root, _) = self.required(self.root);
        let mut tree = self.connect(root, meanings, 0);
        if let Type::Record(fields) = self.of(root) {
            let fields = fields.iter().map(|field| {
                let mut tree = self.connect(field.of, meanings, 0);
                if let (Type::Record(columns), "before" | "after") =
                    (self.of(self.required(field.of).0), &*field.name)
                {
                    tree["fields"] =
                        columns.iter().map(|column| self.connect_field(column, meanings)).collect();
                }
                tree["field"] = (*field.name).into();
                tree
            });
            tree["fields"] = fields.collect();
        }
        tree
    }

    fn connect_field(&self, field: &Field, meanings: &[Meaning]) -> Tree {
        let mut tree = self.connect(field.of, meanings, 0);
        tree["field"] = (*field.name).into();
        tree
    }

    /// A type without the fields that it may have, and without what is in very deep arrays and maps: so it
    /// has an end, and soon.
    fn connect(&self, id: Id, meanings: &[Meaning], depth: u32) -> Tree {
        if depth > MAX_DEPTH {
            return json!({"type": "struct"});
        }
        let inner = |id| self.connect(id, meanings, depth + 1);
        let (required, optional) = self.required(id);
        let optional = optional
            || matches!(self.of(required), Type::Union(all) if all.iter().any(|one| one.0.is_none()));
        let text = || json!({"type": "string"});
        let mut tree = match self.of(required) {
            Type::Bool => json!({"type": "boolean"}),
            Type::Int => json!({"type": "int32"}),
            Type::Long => json!({"type": "int64"}),
            Type::Float => json!({"type": "float"}),
            Type::Double => json!({"type": "double"}),
            Type::Bytes | Type::Fixed(_) => json!({"type": "bytes"}),
            Type::Null | Type::Text | Type::FixedUuid | Type::Enum(_) => text(),
            Type::Array(items) => json!({"type": "array", "items": inner(*items)}),
            Type::Map(values) => json!({"type": "map", "keys": text(), "values": inner(*values)}),
            Type::Entries(Entries { text: true, value, .. }) => {
                json!({"type": "map", "keys": text(), "values": inner(*value)})
            }
            // Of other keys it matters only that they are none of text.
            Type::Entries(Entries { value, .. }) => {
                json!({"type": "map", "keys": {"type": "struct"}, "values": inner(*value)})
            }
            Type::Record(_) | Type::Union(_) | Type::Optional(..) | Type::Unfinished => {
                json!({"type": "struct"})
            }
        };
        tree["optional"] = (optional || matches!(self.of(required), Type::Null)).into();
        let Some(meaning) = meanings.get(required as usize) else { return tree };
        if let Some(name) = &meaning.name {
            tree["name"] = name.as_str().into();
        }
        if let Some(base) = &meaning.base {
            tree["type"] = base.as_str().into();
        }
        if !meaning.parameters.is_empty() {
            tree["parameters"] = meaning.parameters.clone().into();
        }
        tree
    }
}

#[cfg(test)]
mod tests;
