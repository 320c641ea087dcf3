//! Consumers as one would write them by hand for this one table: a parser of JSON, the rule, a block.
//!
//! Strings borrow from the record where they have no escapes, columns are built directly, times are read
//! by the same functions as in the transform. The table's columns and types are compiled in.

use std::borrow::Cow;

use rowgate_transform::time::{Unit, parse_iso};
use serde::Deserialize;

use crate::Design;
use crate::corpus::{Record, TOPIC};

/// An event with all that Debezium documents of it; the fields that the rule does without are there as they
/// are where such types are generated.
#[derive(Deserialize)]
#[expect(dead_code, reason = "a consumer's types describe the whole event")]
struct Envelope<'a> {
    #[serde(borrow)]
    before: Option<Row<'a>>,
    #[serde(borrow)]
    after: Option<Row<'a>>,
    #[serde(borrow)]
    source: Source<'a>,
    op: &'a str,
    ts_ms: Option<i64>,
    ts_us: Option<i64>,
    ts_ns: Option<i64>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "a consumer's types describe the whole event")]
struct Source<'a> {
    version: &'a str,
    connector: &'a str,
    name: &'a str,
    ts_ms: i64,
    #[serde(borrow)]
    snapshot: Option<Cow<'a, str>>,
    db: &'a str,
    #[serde(borrow)]
    sequence: Option<Cow<'a, str>>,
    ts_us: Option<i64>,
    ts_ns: Option<i64>,
    schema: &'a str,
    table: &'a str,
    #[serde(rename = "txId")]
    tx_id: Option<i64>,
    lsn: Option<i64>,
    xmin: Option<i64>,
    #[serde(borrow)]
    origin: Option<Cow<'a, str>>,
    origin_lsn: Option<i64>,
}

/// No more of an event than the rule needs; the parser steps over the rest.
#[derive(Deserialize)]
struct Lean<'a> {
    op: &'a str,
    #[serde(borrow)]
    after: Option<Row<'a>>,
}

/// A row of the table.
#[derive(Deserialize)]
pub struct Row<'a> {
    pub id: i64,
    pub customer_id: Option<i64>,
    #[serde(borrow)]
    pub status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub currency: Option<Cow<'a, str>>,
    pub total: Option<f64>,
    pub is_gift: Option<bool>,
    #[serde(borrow)]
    pub email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub note: Option<Cow<'a, str>>,
    pub created_at: Option<i64>,
    #[serde(borrow)]
    pub updated_at: Option<Cow<'a, str>>,
}

/// Parses one event, and appends its row; none where it is no event.
type Parse = for<'a> fn(&'a [u8], &mut Rows) -> Option<()>;

/// A consumer, and what it parses an event with: gives the row of an update.
pub struct Consumer {
    name: &'static str,
    parse: Parse,
    digest: String,
    /// Its buffers are used again for the next batch.
    rows: Rows,
}

impl Consumer {
    /// The four of them; `digest` is what the host writes as `_transform`.
    pub fn all(digest: &str) -> [Consumer; 4] {
        let parsers: [(&'static str, Parse); 4] = [
            ("typed sonic-rs", |json, rows| typed(sonic_rs::from_slice(json).ok()?, rows)),
            ("typed sonic-rs, lean", |json, rows| lean(sonic_rs::from_slice(json).ok()?, rows)),
            ("typed serde_json", |json, rows| typed(serde_json::from_slice(json).ok()?, rows)),
            ("serde_json::Value", |json, rows| value(&serde_json::from_slice(json).ok()?, rows)),
        ];
        parsers.map(|(name, parse)| Consumer {
            name,
            parse,
            digest: digest.to_owned(),
            rows: Rows::default(),
        })
    }
}

fn typed(event: Envelope<'_>, rows: &mut Rows) -> Option<()> {
    if event.op == "u" { rows.push(&event.after?) } else { Some(()) }
}

fn lean(event: Lean<'_>, rows: &mut Rows) -> Option<()> {
    if event.op == "u" { rows.push(&event.after?) } else { Some(()) }
}

fn value(event: &serde_json::Value, rows: &mut Rows) -> Option<()> {
    if event["op"] != "u" {
        return Some(());
    }
    let after = &event["after"];
    let text = |name: &str| after[name].as_str().map(Cow::Borrowed);
    rows.push(&Row {
        id: after["id"].as_i64()?,
        customer_id: after["customer_id"].as_i64(),
        status: text("status"),
        currency: text("currency"),
        total: after["total"].as_f64(),
        is_gift: after["is_gift"].as_bool(),
        email: text("email"),
        note: text("note"),
        created_at: after["created_at"].as_i64(),
        updated_at: text("updated_at"),
    })
}

impl Design for Consumer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn block(&mut self, first: i64, records: &[Record<'_>]) -> Vec<u8> {
        self.rows.clear();
        for (offset, (_, value)) in (first..).zip(records) {
            self.rows.offset = offset;
            (self.parse)(value, &mut self.rows).expect("every event of the corpus can be parsed");
        }
        self.rows.block(&self.digest)
    }
}

/// The columns of a block that is being filled.
#[derive(Default)]
pub struct Rows {
    /// Of the event that is being parsed.
    pub offset: i64,
    rows: usize,
    id: Vec<u8>,
    customer_id: Column,
    status: Column,
    currency: Column,
    total: Column,
    is_gift: Column,
    email: Column,
    note: Column,
    created_at: Column,
    updated_at: Column,
    offsets: Vec<u8>,
}

/// Which of a column's cells are null, and the cells.
#[derive(Default)]
struct Column {
    nulls: Vec<u8>,
    cells: Vec<u8>,
}

impl Column {
    fn clear(&mut self) {
        self.nulls.clear();
        self.cells.clear();
    }

    fn number<const BYTES: usize>(&mut self, cell: Option<[u8; BYTES]>) {
        self.nulls.push(cell.is_none().into());
        self.cells.extend_from_slice(&cell.unwrap_or([0; BYTES]));
    }

    fn text(&mut self, cell: Option<&str>) {
        self.nulls.push(cell.is_none().into());
        put_text(&mut self.cells, cell.unwrap_or_default());
    }
}

impl Rows {
    /// Takes all rows out.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.id.clear();
        self.offsets.clear();
        for column in [
            &mut self.customer_id,
            &mut self.status,
            &mut self.currency,
            &mut self.total,
            &mut self.is_gift,
            &mut self.email,
            &mut self.note,
            &mut self.created_at,
            &mut self.updated_at,
        ] {
            column.clear();
        }
    }

    /// Appends a row. Nothing where a time is none.
    pub fn push(&mut self, row: &Row<'_>) -> Option<()> {
        let micros = |number| Unit::guess(number).since_1970(number).filter(|instant| instant.nanos == 0);
        let created_at = match row.created_at {
            Some(number) => Some(micros(number)?.micros),
            None => None,
        };
        let updated_at = match &row.updated_at {
            Some(text) => Some(parse_iso(text).filter(|instant| instant.nanos == 0)?.micros),
            None => None,
        };
        self.rows += 1;
        self.id.extend_from_slice(&row.id.to_le_bytes());
        self.customer_id.number(row.customer_id.map(i64::to_le_bytes));
        self.status.text(row.status.as_deref());
        self.currency.text(row.currency.as_deref());
        self.total.number(row.total.map(f64::to_le_bytes));
        self.is_gift.number(row.is_gift.map(|gift| [u8::from(gift)]));
        self.email.text(row.email.as_deref());
        self.note.text(row.note.as_deref());
        self.created_at.number(created_at.map(i64::to_le_bytes));
        self.updated_at.number(updated_at.map(i64::to_le_bytes));
        self.offsets.extend_from_slice(&self.offset.to_le_bytes());
        Some(())
    }

    /// The rows as a block.
    pub fn block(&self, digest: &str) -> Vec<u8> {
        const TIME: &str = "Nullable(DateTime64(6, 'UTC'))";
        const TEXT: &str = "Nullable(String)";
        let mut out = Vec::new();
        put_varuint(&mut out, 16);
        put_varuint(&mut out, self.rows);
        put_header(&mut out, "id", "Int64");
        out.extend_from_slice(&self.id);
        for (name, ty, column) in [
            ("customer_id", "Nullable(Int64)", &self.customer_id),
            ("status", TEXT, &self.status),
            ("currency", TEXT, &self.currency),
            ("total", "Nullable(Float64)", &self.total),
            ("is_gift", "Nullable(Bool)", &self.is_gift),
            ("email", TEXT, &self.email),
            ("note", TEXT, &self.note),
            ("created_at", TIME, &self.created_at),
            ("updated_at", TIME, &self.updated_at),
        ] {
            put_header(&mut out, name, ty);
            out.extend_from_slice(&column.nulls);
            out.extend_from_slice(&column.cells);
        }
        self.constant(&mut out, "op", "u");
        self.constant(&mut out, "_topic", TOPIC);
        put_header(&mut out, "_partition", "UInt32");
        out.resize(out.len() + 4 * self.rows, 0);
        put_header(&mut out, "_offset", "UInt64");
        out.extend_from_slice(&self.offsets);
        put_header(&mut out, "_seq", "UInt16");
        out.resize(out.len() + 2 * self.rows, 0);
        self.constant(&mut out, "_transform", digest);
        out
    }

    fn constant(&self, out: &mut Vec<u8>, name: &str, text: &str) {
        put_header(out, name, "String");
        for _ in 0..self.rows {
            put_text(out, text);
        }
    }
}

fn put_header(out: &mut Vec<u8>, name: &str, ty: &str) {
    put_text(out, name);
    put_text(out, ty);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varuint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_varuint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
