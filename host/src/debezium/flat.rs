//! Flattened records: rows without an envelope, as Debezium's `ExtractNewRecordState` leaves them.
//!
//! What the envelope said is lost but for the fields that the connector is told to add (`add.fields`,
//! `add.headers`): those begin with a prefix, and are no columns.

use super::Op;
use super::block::Block;
use super::envelope::{micros, op_of};
use crate::batch::Batch;

/// Fields that say what happened, not where.
const OF_EVENT: [&str; 6] = ["op", "deleted", "ts_ms", "ts_us", "ts_ns", "transaction_id"];
/// Members of `source` that can be added under their own name; any can be as `source_…`.
const OF_SOURCE: [&str; 45] = [
    "version",
    "connector",
    "name",
    "snapshot",
    "db",
    "sequence",
    "schema",
    "table",
    "collection",
    "txId",
    "lsn",
    "xmin",
    "origin",
    "origin_lsn",
    "server_id",
    "gtid",
    "file",
    "pos",
    "row",
    "thread",
    "query",
    "change_lsn",
    "commit_lsn",
    "event_serial_no",
    "scn",
    "commit_scn",
    "lcr_position",
    "rs_id",
    "ssn",
    "redo_thread",
    "user_name",
    "redo_sql",
    "row_id",
    "start_scn",
    "start_ts_ms",
    "commit_ts_ms",
    "txSeq",
    "ord",
    "lsid",
    "txnNumber",
    "wallTime",
    "rs",
    "h",
    "keyspace",
    "shard",
];
/// Members of `source` that are added as `source_…` as a rule.
const NESTED: [&str; 3] = ["source_ts_ms", "source_ts_us", "source_ts_ns"];

/// What the fields that flattening added say of a row.
#[derive(Debug, Default)]
pub struct Added {
    op: Option<Op>,
    deleted: Option<bool>,
    captured: [Option<i64>; 3],
}

/// The name of a field that was added, without its prefix; none for a column.
pub fn added<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let bare = name.strip_prefix(prefix)?;
    let known = OF_EVENT.contains(&bare)
        || OF_SOURCE.contains(&bare)
        || bare.starts_with("source_")
        || bare.starts_with("transaction_");
    known.then_some(bare)
}

/// The names of the headers in which the fields stand that are looked for.
pub fn header_names(prefix: &str) -> Vec<String> {
    let nested = OF_SOURCE.iter().map(|name| format!("{prefix}source_{name}"));
    let plain = OF_EVENT.iter().chain(&OF_SOURCE).chain(&NESTED).map(|name| format!("{prefix}{name}"));
    plain.chain(nested).collect()
}

impl Added {
    /// Takes in one field, by its name without the prefix. `block` gets what belongs into `source`.
    ///
    /// # Errors
    /// A field whose value makes no sense.
    pub fn take(&mut self, name: &str, json: &str, block: &mut Block) -> Result<(), String> {
        let text = json.trim_matches('"');
        match name {
            _ if json == "null" => {}
            "op" => self.op = Some(op_of(json)?),
            "deleted" => {
                self.deleted = match text {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => return Err("the field for `deleted` is neither true nor false".into()),
                }
            }
            "ts_us" => self.captured[0] = Some(integer(name, text)?),
            "ts_ns" => self.captured[1] = Some(integer(name, text)?),
            "ts_ms" => self.captured[2] = Some(integer(name, text)?),
            _ if name.starts_with("transaction_") => block.member(name, json)?,
            _ => block.member(name.strip_prefix("source_").unwrap_or(name), json)?,
        }
        Ok(())
    }

    /// Takes in the fields that stand in a record's headers; what the row itself says counts more.
    ///
    /// # Errors
    /// As [`Added::take`].
    pub fn take_headers(
        &mut self,
        batch: &Batch,
        record: u32,
        prefix: &str,
        block: &mut Block,
    ) -> Result<(), String> {
        let mut of_headers = Added::default();
        let first = batch.headers.partition_point(|header| header.record < record);
        for header in batch.headers.iter().skip(first).take_while(|header| header.record == record) {
            let (Some(name), Some(value)) = (added(&header.name, prefix), header.value) else { continue };
            let Ok(text) = str::from_utf8(value.of(&batch.arena)) else { continue };
            let is_name = ["connector", "db", "schema", "table", "collection"].contains(&name);
            let json =
                if is_name && !text.starts_with(['"', '{']) { quoted(text) } else { header_json(text) };
            of_headers.take(name, &json, block)?;
        }
        self.op = self.op.or(of_headers.op);
        self.deleted = self.deleted.or(of_headers.deleted);
        for (own, other) in self.captured.iter_mut().zip(of_headers.captured) {
            *own = own.or(other);
        }
        Ok(())
    }

    /// What happened: `None` where nothing says so, and the row is taken as it stands.
    pub fn op(&self) -> Option<Op> {
        match (self.op, self.deleted) {
            (Some(op), _) => Some(op),
            (None, Some(true)) => Some(Op::Delete),
            _ => None,
        }
    }

    /// When the connector read the change, microseconds since 1970 in UTC.
    ///
    /// # Errors
    /// A time that is out of range.
    pub fn captured_at_us(&self) -> Result<Option<i64>, String> {
        micros(self.captured)
    }
}

/// A header's value as JSON: converters write text without quotes, or JSON, in its wrapper or without.
fn header_json(text: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(mut wrapper)) => {
            wrapper.remove("payload").unwrap_or_default().to_string()
        }
        Ok(json) => json.to_string(),
        Err(_) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn integer(name: &str, text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("the added field for `{name}` is not a 64-bit integer"))
}
