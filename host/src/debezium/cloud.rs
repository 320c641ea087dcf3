//! CloudEvents of Debezium's converter, in structured mode with JSON data.
//!
//! `data` holds what an envelope has in `before` and `after`; the rest of the envelope stands in attributes
//! whose names have lost their capitals and underscores.

use crate::batch::Span;

use super::block::Block;
use super::envelope::{View, op_of};
use super::scan::{Json, Members};
use super::{Op, civil, walk};

/// What the names of Debezium's attributes begin with.
const PREFIX: &str = "iodebezium";
/// Members of `source` whose names as attributes are others.
const NAMES: [(&str, &str); 24] = [
    ("tsms", "ts_ms"),
    ("tsus", "ts_us"),
    ("tsns", "ts_ns"),
    ("txid", "txId"),
    ("originlsn", "origin_lsn"),
    ("serverid", "server_id"),
    ("changelsn", "change_lsn"),
    ("commitlsn", "commit_lsn"),
    ("eventserialno", "event_serial_no"),
    ("commitscn", "commit_scn"),
    ("lcrposition", "lcr_position"),
    ("rsid", "rs_id"),
    ("redothread", "redo_thread"),
    ("redosql", "redo_sql"),
    ("username", "user_name"),
    ("rowid", "row_id"),
    ("startscn", "start_scn"),
    ("starttsms", "start_ts_ms"),
    ("committsms", "commit_ts_ms"),
    ("txseq", "txSeq"),
    ("txnnumber", "txnNumber"),
    ("walltime", "wallTime"),
    ("txtotalorder", "transaction_total_order"),
    ("txdatacollectionorder", "transaction_data_collection_order"),
];

/// What a CloudEvent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened; none where the attributes do not say it.
    pub op: Option<Op>,
    /// When the event was made, microseconds since 1970 in UTC.
    pub captured_at_us: Option<i64>,
    /// The object that holds the rows.
    pub data: Span,
}

/// Reads the members of a CloudEvent; `block` gets what belongs into `source`.
///
/// # Errors
/// No change, or data that is not JSON.
pub fn read(view: View<'_>, members: Members<'_>, block: &mut Block) -> Result<Event, String> {
    let (mut op, mut data, mut captured_at_us) = (None, None, None);
    for (_, member) in members {
        let name = member.name(view.arena);
        let json = view.text(member.value);
        match (name.as_ref(), member.json) {
            (_, Json::Null) => {}
            (b"type", _) => {
                if !json.ends_with(".DataChangeEvent\"") {
                    return Err(
                        "a cloudevent whose type does not end with DataChangeEvent: no change of a row"
                            .into(),
                    );
                }
            }
            (b"time", Json::Text) => captured_at_us = walk::inside(json).and_then(time),
            (b"data", Json::Object) => data = Some(member.value),
            (b"data" | b"data_base64", _) => {
                return Err("the data of this cloudevent is not json but base64 or avro: set \
                            value.converter.data.serializer.type=json"
                    .into());
            }
            (name, _) => {
                let name = str::from_utf8(name).ok().and_then(|name| name.strip_prefix(PREFIX));
                match name {
                    Some("op") => op = Some(op_of(json)?),
                    Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                        let known = NAMES.iter().find(|(attribute, _)| *attribute == name);
                        block.member(known.map_or(name, |(_, name)| name), json)?;
                    }
                    _ => {}
                }
            }
        }
    }
    let data = data.ok_or("a cloudevent without `data`: nothing says which row")?;
    Ok(Event { op, captured_at_us, data })
}

fn time(text: &str) -> Option<i64> {
    let (seconds, nanos) = civil::parse_timestamp(text)?;
    seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
}
