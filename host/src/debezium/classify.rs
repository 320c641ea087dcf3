//! Tells the records apart that are no change events.
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

impl Other<'_> {
    /// The record's class, or why it is refused.
    pub fn class(&self, parts: &Parts<'_>) -> Result<NotChange, String> {
        if self.is_heartbeat() {
            return Ok(NotChange::Heartbeat);
        }
        if self.is_transaction() {
            return Ok(NotChange::Transaction);
        }
        if self.schema.ends_with(".SchemaChangeValue") || self.has(&["databaseName", "ddl", "tableChanges"]) {
            return Ok(NotChange::SchemaChange);
        }
        if self.schema.ends_with(".common.Notification")
            || self.has(&["id", "type", "aggregate_type", "additional_data", "timestamp"])
        {
            return Ok(NotChange::Notification);
        }
        if self.text("specversion").is_some() && self.text("type").is_some() {
            return Err("cloudevents are not supported yet: use the connector's own json converter".into());
        }
        if parts.resembles_envelope() {
            return Err("not_debezium: an envelope has a text `op` and an object `source`".into());
        }
        Err("a flattened row, or no change event at all: remove the ExtractNewRecordState transform from the \
             connector"
            .into())
    }

    fn is_heartbeat(&self) -> bool {
        if self.schema.ends_with("io.debezium.connector.common.Heartbeat") {
            return true;
        }
        let named = self.topic.starts_with("__debezium-heartbeat.") || self.key == ["serverName"];
        named && self.members.len() == 1 && self.has(&["ts_ms"])
    }

    fn is_transaction(&self) -> bool {
        self.schema.ends_with(".TransactionMetadataValue")
            || (self.has(&["id", "event_count", "data_collections"])
                && matches!(self.text("status"), Some("BEGIN" | "END")))
    }

    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.members.iter().any(|(member, ..)| member == name))
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
