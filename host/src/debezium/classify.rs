//! Tells the records apart that are no envelopes.
//!
//! What is an envelope never comes here: none of the other classes has both a text `op` and an object
//! `source`, so looking for those two first changes no outcome, and is what nearly every record needs.

use super::envelope::Parts;
use super::scan::{Json, Member};
use super::walk;

/// A class of records that are no changes, and that is fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChange {
    /// A null value after a delete.
    Tombstone,
    /// Debezium's heartbeat.
    Heartbeat,
    /// BEGIN or END of a transaction.
    Transaction,
    /// A DDL event.
    SchemaChange,
    /// Debezium's notification.
    Notification,
}

/// What an object is that is no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No change, and that is fine.
    NotChange(NotChange),
    /// An envelope's parts, told in the terms of CloudEvents.
    CloudEvent,
    /// A row without an envelope.
    Flattened,
}

/// What is known of a record that is an object and no envelope.
#[derive(Debug)]
pub struct Other<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The name of its value's schema; empty without one.
    pub schema: &'a str,
    /// The names of its key's members; none where the key is no JSON object.
    pub key: &'a [String],
    /// The members of its value: name, member, text.
    pub members: &'a [(String, Member, &'a str)],
}

const TRANSACTION: [&str; 5] = ["status", "id", "event_count", "data_collections", "ts_ms"];
const NOTIFICATION: [&str; 5] = ["id", "type", "aggregate_type", "additional_data", "timestamp"];

impl Other<'_> {
    /// The record's class, or why it is refused. The order is that in which the classes exclude each other.
    pub fn class(&self, parts: &Parts<'_>) -> Result<Class, String> {
        if self.is_heartbeat() {
            return Ok(Class::NotChange(NotChange::Heartbeat));
        }
        if self.is_transaction() {
            return Ok(Class::NotChange(NotChange::Transaction));
        }
        if self.has(&["position", "ddl"]) {
            return Err(
                "not_debezium: a record of the connector's schema history, which is its own and holds no \
                        changes: leave this topic out"
                    .into(),
            );
        }
        if self.schema.ends_with(".SchemaChangeValue") || self.has(&["databaseName", "tableChanges"]) {
            return Ok(Class::NotChange(NotChange::SchemaChange));
        }
        if self.is_notification() {
            return Ok(Class::NotChange(NotChange::Notification));
        }
        if self.text("specversion").is_some() && self.text("type").is_some() {
            return Ok(Class::CloudEvent);
        }
        if parts.resembles_envelope() {
            return Err("not_debezium: an envelope has a text `op` and an object `source`".into());
        }
        if self.members.is_empty() {
            return Err("not_debezium: an object without members, which is neither an event nor a row".into());
        }
        Ok(Class::Flattened)
    }

    fn is_heartbeat(&self) -> bool {
        if self.schema.ends_with("io.debezium.connector.common.Heartbeat") {
            return true;
        }
        let named = self.topic.starts_with("__debezium-heartbeat.") || self.key == ["serverName"];
        named && self.members.len() == 1 && self.has(&["ts_ms"])
    }

    fn is_transaction(&self) -> bool {
        // A field that is null may be left out, and a user's table may look a little like it.
        let told = self.has(&["event_count"])
            || self.has(&["data_collections"])
            || self.topic.ends_with(".transaction");
        self.schema.ends_with(".TransactionMetadataValue")
            || (told
                && self.has(&["id"])
                && matches!(self.text("status"), Some("BEGIN" | "END"))
                && self.has_only(&TRANSACTION))
    }

    fn is_notification(&self) -> bool {
        self.schema.ends_with(".common.Notification")
            || (self.has(&["id", "type", "aggregate_type", "timestamp"]) && self.has_only(&NOTIFICATION))
    }

    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.members.iter().any(|(member, ..)| member == name))
    }

    fn has_only(&self, names: &[&str]) -> bool {
        self.members.iter().all(|(member, ..)| names.contains(&member.as_str()))
    }

    /// The text of a member that is a string without escapes.
    fn text(&self, name: &str) -> Option<&str> {
        let (.., text) =
            self.members.iter().find(|(member, found, _)| member == name && found.json == Json::Text)?;
        walk::inside(text)
    }
}

/// Why a value that is no JSON object is refused; `bytes` are its own.
pub fn not_an_object(bytes: &[u8], found: Result<Json, String>) -> String {
    match (bytes.first(), found) {
        (Some(0 | 1), _) => {
            "not_debezium: the value starts like a schema registry's format (avro, protobuf, json schema): set \
             `registry.url` (ROWGATE_REGISTRY_URL) to the registry's address"
                .into()
        }
        (_, Err(fault)) => format!("not_debezium: {fault}"),
        (_, Ok(json)) => format!("not_debezium: the value is no object but {}", name(json)),
    }
}

fn name(json: Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool => "a boolean",
        Json::Int | Json::BigInt | Json::Float => "a number",
        Json::Text => "a string",
        Json::Array => "an array",
        Json::Object => "an object",
    }
}
