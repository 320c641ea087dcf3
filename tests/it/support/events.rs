//! Change events, made from one that Debezium wrote.

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::places;

/// A record to be written.
#[derive(Clone)]
pub struct Record {
    /// Its key.
    pub key: Option<String>,
    /// Its value; none for a tombstone.
    pub value: Option<String>,
}

/// Microseconds since 1970 of `created_at` in events that say nothing else.
pub const CREATED_AT: i64 = 1_704_067_200_000_000;

/// The update that is recorded in `simple.ndjson`.
fn recorded() -> &'static Value {
    static EVENT: OnceLock<Value> = OnceLock::new();
    EVENT.get_or_init(|| {
        let lines = fs::read_to_string(places::fixture("simple.ndjson")).expect("the fixture");
        let values = lines.lines().filter_map(|line| {
            let record: Value = serde_json::from_str(line).expect("JSON");
            record["value"].as_str().map(|value| serde_json::from_str::<Value>(value).expect("JSON"))
        });
        values.into_iter().find(|value| value["op"] == "u").expect("an update")
    })
}

/// An event of `my_table` with this operation and these rows, without a schema.
pub fn event(op: &str, before: Value, after: Value) -> Record {
    let mut event = recorded().clone();
    let row = if after.is_null() { &before } else { &after };
    let key = json!({"id": row["id"]}).to_string();
    event["op"] = op.into();
    event["before"] = before;
    event["after"] = after;
    Record { key: Some(key), value: Some(event.to_string()) }
}

/// The same with a schema, whose rows have these `fields`.
pub fn typed(op: &str, fields: &Value, before: Value, after: Value) -> Record {
    let mut record = event(op, before, after);
    let payload: Value = serde_json::from_str(record.value.as_deref().expect("a value")).expect("JSON");
    let row = |field: &str| json!({"field": field, "type": "struct", "optional": true, "fields": fields});
    let schema = json!({
        "type": "struct",
        "name": "shop.public.my_table.Envelope",
        "fields": [row("before"), row("after"), {"field": "op", "type": "string", "optional": false}],
    });
    record.value = Some(json!({"schema": schema, "payload": payload}).to_string());
    record
}

/// A row of `my_table`.
pub fn row(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "created_at": CREATED_AT})
}

/// An update.
pub fn update(id: u64, name: &str) -> Record {
    event("u", Value::Null, row(id, name))
}

/// A new row.
pub fn create(id: u64, name: &str) -> Record {
    event("c", Value::Null, row(id, name))
}

/// A deleted row, of which only the key is known, as PostgreSQL gives it by default.
pub fn delete(id: u64) -> Record {
    event("d", json!({"id": id, "name": null, "created_at": 0}), Value::Null)
}

/// What follows a delete.
pub fn tombstone(id: u64) -> Record {
    Record { key: Some(json!({ "id": id }).to_string()), value: None }
}

/// A record with this value, which need be nothing in particular.
pub fn text(value: &str) -> Record {
    Record { key: None, value: Some(value.to_owned()) }
}

/// So many updates; the n-th gives the row n the name `name n`.
pub fn updates(count: u64) -> Vec<Record> {
    (0..count).map(|number| update(number, &format!("name {number}"))).collect()
}

/// The records as lines of a file that `--input` reads.
pub fn lines(topic: &str, records: &[Record]) -> String {
    let line = |(offset, record): (usize, &Record)| {
        format!("{}\n", json!({"topic": topic, "offset": offset, "key": record.key, "value": record.value}))
    };
    records.iter().enumerate().map(line).collect()
}
