//! Reads a schema's text.

use std::collections::HashMap;

use serde_json::{Map, Value as Tree};

use super::super::json::quoted;
use super::{Avro, Entries, Field, Id, Meaning, Type};

/// How many types a schema may have, those of its references counted.
const MAX_TYPES: usize = 100_000;
/// The longest fixed type, in bytes.
const MAX_FIXED: u64 = 16 << 20;
/// Where Confluent's converter keeps its own types.
const ENTRY: [&str; 2] = ["io.confluent.connect.avro.MapEntry", "MapEntry"];

/// Reads `text` after `others`, the schemas that it refers to.
pub(super) fn parse(text: &str, others: &[&str]) -> Result<(Avro, Vec<Meaning>), String> {
    let mut parser = Parser::default();
    let mut root = 0;
    for text in others.iter().chain([&text]) {
        // Some registries keep a plain type's name without its quotes.
        let tree = serde_json::from_str(text).unwrap_or_else(|_| Tree::from(text.trim()));
        root = parser.read(&tree, "")?;
    }
    Ok((Avro { types: parser.types, root }, parser.meanings))
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    /// One for each type.
    meanings: Vec<Meaning>,
    named: HashMap<String, Id>,
}

type Object = Map<String, Tree>;

impl Parser {
    fn add(&mut self, found: Type, meaning: Meaning) -> Result<Id, String> {
        if self.types.len() >= MAX_TYPES {
            return Err(format!("it has more than {MAX_TYPES} types"));
        }
        self.types.push(found);
        self.meanings.push(meaning);
        Ok(self.types.len() as Id - 1)
    }

    /// Reads a type within `space`, a namespace. The JSON reader has limited how deep it nests.
    fn read(&mut self, tree: &Tree, space: &str) -> Result<Id, String> {
        match tree {
            Tree::String(name) => match plain(name) {
                Some(plain) => self.add(plain, Meaning::default()),
                None => self.find(name, space),
            },
            Tree::Array(branches) => self.union(branches, space),
            Tree::Object(object) => match object.get("type") {
                Some(Tree::String(name)) => self.object(name, object, space),
                Some(inner) => self.read(inner, space),
                None => Err("a type without `type`".into()),
            },
            _ => Err("a type that is neither text, an array nor an object".into()),
        }
    }

    fn find(&self, name: &str, space: &str) -> Result<Id, String> {
        let full = full_name(name, space);
        let found = self.named.get(&full).or_else(|| self.named.get(name));
        found.copied().ok_or_else(|| format!("the type `{}` is nowhere", shown(name)))
    }

    fn object(&mut self, name: &str, object: &Object, space: &str) -> Result<Id, String> {
        match name {
            "record" | "error" => self.record(object, space),
            "enum" => {
                let symbols = list(object, "symbols")?.iter().filter_map(Tree::as_str);
                let symbols = symbols.map(|symbol| quoted(symbol).into()).collect();
                self.define(object, space, Type::Enum(symbols), meaning(object, "string")).map(|(id, _)| id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Tree::as_u64).filter(|size| *size <= MAX_FIXED);
                let size = size.ok_or("a fixed type without a fitting size")? as usize;
                let uuid = size == 16 && text(object, "logicalType") == "uuid";
                let (found, base) =
                    if uuid { (Type::FixedUuid, "string") } else { (Type::Fixed(size), "bytes") };
                self.define(object, space, found, meaning(object, base)).map(|(id, _)| id)
            }
            "array" => {
                let items = self.read(member(object, "items")?, space)?;
                let found = self.entries(items).unwrap_or(Type::Array(items));
                self.add(found, meaning(object, "array"))
            }
            "map" => {
                let values = self.read(member(object, "values")?, space)?;
                self.add(Type::Map(values), meaning(object, "map"))
            }
            _ => match plain(name) {
                Some(found) => {
                    let meaning = meaning(object, name);
                    self.add(found, meaning)
                }
                None => self.find(name, space),
            },
        }
    }

    /// Adds a type under its name; gives the namespace of what is inside of it too.
    fn define(
        &mut self,
        object: &Object,
        space: &str,
        found: Type,
        mut meaning: Meaning,
    ) -> Result<(Id, String), String> {
        let name = text(object, "name");
        if name.is_empty() {
            return Err("a record, enum or fixed type without a name".into());
        }
        let full = full_name(name, object.get("namespace").and_then(Tree::as_str).unwrap_or(space));
        let is_record = matches!(found, Type::Unfinished);
        if is_record && meaning.name.is_none() {
            meaning.name = Some(full.clone());
        }
        let id = self.add(found, meaning)?;
        let inner = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        if self.named.insert(full, id).is_some() {
            return Err(format!("the type `{}` is defined twice", shown(name)));
        }
        Ok((id, inner))
    }

    fn record(&mut self, object: &Object, space: &str) -> Result<Id, String> {
        let mut meaning = meaning(object, "record");
        if text(object, "connect.internal.type") == ENTRY[1] {
            meaning.name = Some(ENTRY[0].into());
        }
        let (id, inner) = self.define(object, space, Type::Unfinished, meaning)?;
        let mut fields: Vec<Field> = Vec::new();
        for field in list(object, "fields")? {
            let Some(name) = field.get("name").and_then(Tree::as_str) else {
                return Err("a field without a name".into());
            };
            let of = field.get("type").ok_or_else(|| format!("the field `{}` has no type", shown(name)))?;
            let of = self.read(of, &inner).map_err(|what| format!("in `{}` {what}", shown(name)))?;
            let mut key = quoted(name);
            key.push(b':');
            fields.push(Field { key: key.into(), name: name.into(), of });
        }
        if let Some(place) = self.types.get_mut(id as usize) {
            *place = Type::Record(fields);
        }
        Ok(id)
    }

    /// What an array of these is, if they are the entries of a map.
    fn entries(&self, items: Id) -> Option<Type> {
        let meaning = self.meanings.get(items as usize)?;
        let Some(Type::Record(fields)) = self.types.get(items as usize) else { return None };
        let [one, other] = fields.as_slice() else { return None };
        if meaning.name.as_deref() != Some(ENTRY[0]) {
            return None;
        }
        let value_first = match (&*one.name, &*other.name) {
            ("key", "value") => false,
            ("value", "key") => true,
            _ => return None,
        };
        let (key, value) = if value_first { (other.of, one.of) } else { (one.of, other.of) };
        let of = |id: Id| self.types.get(id as usize);
        let text = match of(key) {
            Some(Type::Optional(inner, _)) => matches!(of(*inner), Some(Type::Text)),
            found => matches!(found, Some(Type::Text)),
        };
        Some(Type::Entries(Entries { key, value, value_first, text }))
    }

    fn union(&mut self, branches: &[Tree], space: &str) -> Result<Id, String> {
        let mut found = Vec::with_capacity(branches.len().min(16));
        for branch in branches {
            found.push(self.read(branch, space)?);
        }
        let is_null = |id: &Id| matches!(self.types.get(*id as usize), Some(Type::Null));
        match found.as_slice() {
            [] => Err("a union of nothing".into()),
            [null, inner] if is_null(null) && !is_null(inner) => {
                self.add(Type::Optional(*inner, 0), Meaning::default())
            }
            [inner, null] if is_null(null) => self.add(Type::Optional(*inner, 1), Meaning::default()),
            _ => {
                let key = |(id, branch): (&Id, &Tree)| {
                    let key = (!is_null(id)).then(|| {
                        let mut key = quoted(branch_name(branch));
                        key.push(b':');
                        key.into()
                    });
                    (key, *id)
                };
                let branches = found.iter().zip(branches).map(key).collect();
                self.add(Type::Union(branches), Meaning::default())
            }
        }
    }
}

/// The name that Kafka Connect gives to a branch: the last part of a named type's, or the type's.
fn branch_name(branch: &Tree) -> &str {
    let name = match branch {
        Tree::Object(object) => match text(object, "name") {
            "" => text(object, "type"),
            name => name,
        },
        other => other.as_str().unwrap_or("union"),
    };
    name.rsplit('.').next().unwrap_or(name)
}

fn plain(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Bool,
        "int" => Type::Int,
        "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::Text,
        _ => return None,
    })
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

fn text<'t>(object: &'t Object, member: &str) -> &'t str {
    object.get(member).and_then(Tree::as_str).unwrap_or_default()
}

fn member<'t>(object: &'t Object, name: &str) -> Result<&'t Tree, String> {
    object.get(name).ok_or_else(|| format!("a type without `{name}`"))
}

fn list<'t>(object: &'t Object, name: &str) -> Result<&'t [Tree], String> {
    object
        .get(name)
        .and_then(Tree::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| format!("a type without `{name}`"))
}

/// The start of a name, for a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// What the attributes of a type on `base` say: Kafka Connect's own, else Avro's.
fn meaning(object: &Object, base: &str) -> Meaning {
    let mut meaning = Meaning::default();
    if let Some(parameters) = object.get("connect.parameters").and_then(Tree::as_object) {
        meaning.parameters = parameters.clone();
    }
    if let ("int", small @ ("int8" | "int16")) = (base, text(object, "connect.type")) {
        meaning.base = Some(small.into());
    }
    let (name, own) = match text(object, "connect.name") {
        "" => (logical(text(object, "logicalType"), base).unwrap_or_default(), false),
        name => (name, true),
    };
    if name == DECIMAL {
        let mut add = |parameter: &str, number: i64| {
            meaning.parameters.entry(parameter).or_insert_with(|| number.to_string().into());
        };
        // Without a scale Avro means 0.
        add("scale", object.get("scale").and_then(Tree::as_i64).unwrap_or(0));
        // Kafka Connect writes 64 where it does not know the precision, so its own parameter alone counts.
        if let (Some(precision), false) = (object.get("precision").and_then(Tree::as_i64), own) {
            add("connect.decimal.precision", precision);
        }
    }
    meaning.name = (!name.is_empty()).then(|| name.to_owned());
    meaning
}

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

/// What Kafka Connect or Debezium calls a logical type of Avro.
fn logical(name: &str, base: &str) -> Option<&'static str> {
    Some(match (name, base) {
        ("decimal", "bytes") => DECIMAL,
        ("date", "int") => "org.apache.kafka.connect.data.Date",
        ("time-millis", "int") => "org.apache.kafka.connect.data.Time",
        ("time-micros", "long") => "io.debezium.time.MicroTime",
        ("timestamp-millis" | "local-timestamp-millis", "long") => "org.apache.kafka.connect.data.Timestamp",
        ("timestamp-micros" | "local-timestamp-micros", "long") => "io.debezium.time.MicroTimestamp",
        ("timestamp-nanos" | "local-timestamp-nanos", "long") => "io.debezium.time.NanoTimestamp",
        ("uuid", "string") => "io.debezium.data.Uuid",
        _ => return None,
    })
}
