//! For tests: a registry without a server, and what Kafka Connect's Avro converter makes of Connect's schemas
//! and data, written with a library that the host does not read with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use apache_avro::types::Value as AvroValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Tree, json};

use super::client::{Format, Reference, Registered, Source, Trouble};
use super::{Framing, Registry, SchemaId};
use crate::debezium::Decoder;

/// Answers, and what was asked.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    pub schemas: HashMap<SchemaId, Vec<Result<Registered, Trouble>>>,
    pub referred: HashMap<String, Registered>,
    pub asked: Arc<Mutex<Vec<SchemaId>>>,
}

impl Fake {
    /// A registry in which the texts have the numbers from 1 on.
    pub fn of<S: AsRef<str>>(format: Format, texts: &[S]) -> Fake {
        let registered = |text: &S| Registered { format, text: text.as_ref().to_owned(), references: vec![] };
        let schemas = texts.iter().map(|text| vec![Ok(registered(text))]);
        Fake { schemas: (1..).map(SchemaId::Number).zip(schemas).collect(), ..Fake::default() }
    }

    pub fn decoder_of(&self, framing: Framing) -> Decoder {
        Decoder::new().with_registry(Registry::new(Box::new(self.clone()), framing))
    }

    pub fn decoder(&self) -> Decoder {
        self.decoder_of(Framing::Confluent)
    }
}

impl Source for Fake {
    fn schema(&self, id: SchemaId) -> Result<Registered, Trouble> {
        let mut asked = self.asked.lock().unwrap();
        let times = asked.iter().filter(|known| **known == id).count();
        asked.push(id);
        match self.schemas.get(&id) {
            Some(answers) => answers[times.min(answers.len() - 1)].clone(),
            None => Err(Trouble::Unknown("nobody has registered it".into())),
        }
    }

    fn referred(&self, reference: &Reference) -> Result<Registered, Trouble> {
        self.referred.get(&reference.name).cloned().ok_or_else(|| Trouble::Unknown("no such version".into()))
    }
}

/// A body behind the id of its schema.
pub fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), body].concat()
}

/// A schema and a value of it as JsonConverter writes them, in Avro: the schema's text, and the value's bytes.
pub fn in_avro(schema: &Tree, value: &Tree) -> (String, Vec<u8>) {
    let avro = avro_schema(schema, &mut Vec::new());
    let text = avro.to_string();
    let parsed = apache_avro::Schema::parse(&avro).unwrap_or_else(|error| panic!("{error}: {text}"));
    let value = avro_value(schema, value);
    let bytes = apache_avro::to_avro_datum(&parsed, value).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, bytes)
}

fn text_of<'t>(schema: &'t Tree, member: &str) -> &'t str {
    schema[member].as_str().unwrap_or_default()
}

/// What the Avro converter registers for a schema of Kafka Connect.
fn avro_schema(schema: &Tree, named: &mut Vec<String>) -> Tree {
    let mut avro = match text_of(schema, "type") {
        small @ ("int8" | "int16") => json!({"type": "int", "connect.type": small}),
        "int32" => json!({"type": "int"}),
        "int64" => json!({"type": "long"}),
        "struct" => record(schema, named),
        "array" => json!({"type": "array", "items": avro_schema(&schema["items"], named)}),
        "map" if text_of(&schema["keys"], "type") == "string" => {
            json!({"type": "map", "values": avro_schema(&schema["values"], named)})
        }
        "map" => {
            named.push(String::new());
            let (key, value) = (avro_schema(&schema["keys"], named), avro_schema(&schema["values"], named));
            json!({"type": "array", "items": {
                "type": "record", "name": format!("Entry{}", named.len()), "connect.internal.type": "MapEntry",
                "fields": [{"name": "key", "type": key}, {"name": "value", "type": value}],
            }})
        }
        plain => json!({"type": plain}),
    };
    if let Some(object) = avro.as_object_mut() {
        for (member, attribute) in
            [("name", "connect.name"), ("version", "connect.version"), ("parameters", "connect.parameters")]
        {
            if let Some(found) = schema.get(member) {
                object.insert(attribute.into(), found.clone());
            }
        }
        match text_of(schema, "name") {
            "org.apache.kafka.connect.data.Decimal" => {
                object.insert("logicalType".into(), "decimal".into());
                object.insert("precision".into(), 64.into());
                let scale: i64 = text_of(&schema["parameters"], "scale").parse().unwrap();
                object.insert("scale".into(), scale.into());
            }
            "org.apache.kafka.connect.data.Date" => _ = object.insert("logicalType".into(), "date".into()),
            _ => {}
        }
    }
    if schema["optional"] == true { json!(["null", avro]) } else { avro }
}

fn record(schema: &Tree, named: &mut Vec<String>) -> Tree {
    let name = match text_of(schema, "name") {
        "" => format!("ConnectDefault{}", named.len()),
        name => name.to_owned(),
    };
    if named.contains(&name) {
        return name.into();
    }
    named.push(name.clone());
    let (space, short) = name.rsplit_once('.').unwrap_or(("", &name));
    let field = |field: &Tree| json!({"name": field["field"], "type": avro_schema(field, named)});
    let fields: Vec<Tree> = schema["fields"].as_array().unwrap().iter().map(field).collect();
    json!({"type": "record", "name": short, "namespace": space, "fields": fields})
}

fn float(value: &Tree) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap(),
    }
}

/// What the Avro converter writes for a value that stands as JSON.
fn avro_value(schema: &Tree, value: &Tree) -> AvroValue {
    if schema["optional"] == true {
        return match value {
            Tree::Null => AvroValue::Union(0, Box::new(AvroValue::Null)),
            value => {
                let mut required = schema.clone();
                required["optional"] = false.into();
                AvroValue::Union(1, Box::new(avro_value(&required, value)))
            }
        };
    }
    let list = || value.as_array().unwrap().iter();
    match text_of(schema, "type") {
        "boolean" => AvroValue::Boolean(value.as_bool().unwrap()),
        "int32" if schema["name"] == "org.apache.kafka.connect.data.Date" => {
            AvroValue::Date(value.as_i64().unwrap() as i32)
        }
        "int8" | "int16" | "int32" => AvroValue::Int(value.as_i64().unwrap() as i32),
        "int64" => AvroValue::Long(value.as_i64().unwrap()),
        "float" => AvroValue::Float(float(value) as f32),
        "double" => AvroValue::Double(float(value)),
        "string" => AvroValue::String(value.as_str().unwrap().into()),
        "bytes" => {
            let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
            match text_of(schema, "name") {
                "org.apache.kafka.connect.data.Decimal" => AvroValue::Decimal(bytes.into()),
                _ => AvroValue::Bytes(bytes),
            }
        }
        "array" => AvroValue::Array(list().map(|item| avro_value(&schema["items"], item)).collect()),
        "map" if value.is_object() => {
            let entries = value.as_object().unwrap().iter();
            AvroValue::Map(
                entries.map(|(key, value)| (key.clone(), avro_value(&schema["values"], value))).collect(),
            )
        }
        "map" => AvroValue::Array(
            list()
                .map(|pair| {
                    let key = avro_value(&schema["keys"], &pair[0]);
                    let value = avro_value(&schema["values"], &pair[1]);
                    AvroValue::Record(vec![("key".into(), key), ("value".into(), value)])
                })
                .collect(),
        ),
        "struct" => {
            let fields = schema["fields"].as_array().unwrap().iter();
            AvroValue::Record(
                fields
                    .map(|field| {
                        let name = text_of(field, "field");
                        (name.into(), avro_value(field, &value[name]))
                    })
                    .collect(),
            )
        }
        other => panic!("no type of Kafka Connect: {other}"),
    }
}
