//! The events: generated, always the same, as Debezium's PostgreSQL connector writes them without a schema.

use std::ops::Range;

use fastrand::Rng;

/// The topic of all events.
pub const TOPIC: &str = "shop.public.orders";

/// 2024-11-22T00:00:00Z, in milliseconds since 1970.
const START_MS: i64 = 1_732_233_600_000;
const SEED: u64 = 0x5eed;
const STATUS: [&str; 5] = ["new", "paid", "packed", "shipped", "returned"];
const WORDS: [&str; 12] = [
    "please",
    "leave",
    "with",
    "neighbour",
    "ring",
    "twice",
    "gift",
    "wrap",
    "café",
    "garden",
    "door",
    "fragile",
];

/// Records, one after the other in one run of bytes, as a consumer's buffers hold them.
pub struct Corpus {
    bytes: Vec<u8>,
    records: Vec<[Range<usize>; 2]>,
    updates: usize,
}

/// How the events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Without a schema, rows of ten columns.
    Plain,
    /// With the converter's schema in each key and value.
    WithSchema,
    /// Without a schema, rows of ten columns and so many more of text, which nothing reads.
    Wide(usize),
}

/// Key and value of a record.
pub type Record<'a> = (&'a [u8], &'a [u8]);

impl Corpus {
    /// So many events, 60 % updates, 25 % creates, 10 % deletes, 5 % reads of a snapshot.
    pub fn new(events: usize, form: Form) -> Self {
        let [key_schema, value_schema] = [key_schema(), value_schema()];
        let mut rng = Rng::with_seed(SEED);
        let mut corpus = Corpus { bytes: Vec::new(), records: Vec::with_capacity(events), updates: 0 };
        for event in 0..events as i64 {
            let row = Row::new(&mut rng, event, form);
            let op = match rng.u8(0..100) {
                // The first event shows what all columns look like.
                _ if event == 0 => "c",
                0..60 => "u",
                60..85 => "c",
                85..95 => "d",
                _ => "r",
            };
            corpus.updates += usize::from(op == "u");
            let mut key = format!(r#"{{"id":{}}}"#, row.id);
            let mut value = envelope(&mut rng, op, &row, START_MS + event * 3);
            if form == Form::WithSchema {
                key = format!(r#"{{"schema":{key_schema},"payload":{key}}}"#);
                value = format!(r#"{{"schema":{value_schema},"payload":{value}}}"#);
            }
            let records = [&key, &value].map(|text| {
                let start = corpus.bytes.len();
                corpus.bytes.extend_from_slice(text.as_bytes());
                start..corpus.bytes.len()
            });
            corpus.records.push(records);
        }
        corpus
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many of them are updates.
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// Bytes of all values: those of the keys do not count in any rate.
    pub fn value_bytes(&self) -> usize {
        self.records.iter().map(|[_, value]| value.len()).sum()
    }

    /// The events in batches of `rows`, each with the offset of its first.
    pub fn batches(&self, rows: usize) -> impl Iterator<Item = (i64, Vec<Record<'_>>)> {
        let record =
            |[key, value]: &[Range<usize>; 2]| (&self.bytes[key.clone()], &self.bytes[value.clone()]);
        let batch = move |(at, records): (usize, &[[Range<usize>; 2]])| {
            ((at * rows) as i64, records.iter().map(record).collect())
        };
        self.records.chunks(rows).enumerate().map(batch)
    }
}

struct Row {
    id: i64,
    customer_id: i64,
    status: &'static str,
    currency: &'static str,
    total: f64,
    is_gift: bool,
    email: String,
    note: Option<String>,
    created_us: i64,
    updated_us: i64,
    /// The JSON of further columns.
    more: String,
}

impl Row {
    fn new(rng: &mut Rng, event: i64, form: Form) -> Self {
        let more = match form {
            Form::Wide(columns) => (0..columns)
                .map(|column| format!(",\"attribute_{column}\":\"{:016x}\"", rng.u64(..)))
                .collect(),
            _ => String::new(),
        };
        let created_us = (START_MS - rng.i64(0..90 * 86_400_000)) * 1_000 + rng.i64(0..1_000);
        let customer_id = rng.i64(1..2_000_000);
        let note = (0..rng.usize(3..9)).map(|_| WORDS[rng.usize(..WORDS.len())]).collect::<Vec<_>>();
        let note = note.join(if rng.u8(..10) == 0 { " \\\"" } else { " " });
        Row {
            id: rng.i64(1..5_000_000),
            customer_id,
            status: STATUS[rng.usize(..STATUS.len())],
            currency: ["EUR", "USD", "JPY"][rng.usize(..3)],
            total: rng.i64(100..90_000) as f64 / 100.0,
            is_gift: rng.u8(..8) == 0,
            email: format!("customer{customer_id}@example.com"),
            note: (event == 0 || rng.u8(..5) > 0).then_some(note),
            created_us,
            updated_us: START_MS * 1_000 + event * 3_000 + rng.i64(0..1_000),
            more,
        }
    }

    /// How it was before an update.
    fn earlier(&self, rng: &mut Rng) -> Row {
        let status = STATUS[rng.usize(..STATUS.len())];
        let updated_us = self.updated_us - rng.i64(1..86_400_000_000);
        let (email, note, more) = (self.email.clone(), self.note.clone(), self.more.clone());
        Row { status, updated_us, email, note, more, ..*self }
    }

    fn json(&self) -> String {
        let Row { id, customer_id, status, currency, total, is_gift, email, note, .. } = self;
        let Row { created_us, updated_us, more, .. } = self;
        let note = note.as_ref().map_or("null".to_owned(), |note| format!("\"{note}\""));
        let updated = jiff::Timestamp::from_microsecond(*updated_us).unwrap();
        format!(
            "{{\"id\":{id},\"customer_id\":{customer_id},\"status\":\"{status}\",\"currency\":\"{currency}\",\
             \"total\":{total:?},\"is_gift\":{is_gift},\"email\":\"{email}\",\"note\":{note},\
             \"created_at\":{created_us},\"updated_at\":\"{updated:.6}\"{more}}}"
        )
    }
}

fn envelope(rng: &mut Rng, op: &str, row: &Row, at_ms: i64) -> String {
    let json = row.json();
    let (before, after) = match op {
        "u" => (row.earlier(rng).json(), json),
        "d" => (json, "null".to_owned()),
        _ => ("null".to_owned(), json),
    };
    let lsn = 26_374_496 + at_ms - START_MS;
    let snapshot = if op == "r" { "true" } else { "false" };
    let [us, ns] = [rng.i64(0..1_000), rng.i64(0..1_000)];
    let captured_ms = at_ms + rng.i64(5..400);
    format!(
        "{{\"before\":{before},\"after\":{after},\"source\":{{\"version\":\"3.6.3.Final\",\
         \"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":{at_ms},\"snapshot\":\"{snapshot}\",\
         \"db\":\"shop\",\"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\"ts_us\":{at_ms}{us:03},\
         \"ts_ns\":{at_ms}{us:03}000,\"schema\":\"public\",\"table\":\"orders\",\"txId\":{},\"lsn\":{lsn},\
         \"xmin\":null,\"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\"op\":\"{op}\",\
         \"ts_ms\":{captured_ms},\"ts_us\":{captured_ms}{us:03},\"ts_ns\":{captured_ms}{us:03}{ns:03}}}",
        lsn - 56,
        700 + (at_ms - START_MS) / 7,
    )
}

fn field(name: &str, ty: &str, optional: bool, semantic: &str) -> String {
    let semantic = match semantic {
        "" => String::new(),
        name => format!(r#","name":"{name}","version":1"#),
    };
    format!(r#"{{"type":"{ty}","optional":{optional}{semantic},"field":"{name}"}}"#)
}

/// What Debezium's converter writes of an event; `field` is that of a member, empty for the whole.
fn structure(fields: &[String], optional: bool, name: &str, field: &str) -> String {
    let field = if field.is_empty() { String::new() } else { format!(r#","field":"{field}""#) };
    let fields = fields.join(",");
    format!(
        r#"{{"type":"struct","fields":[{fields}],"optional":{optional},"name":"{name}","version":1{field}}}"#
    )
}

fn key_schema() -> String {
    structure(&[field("id", "int64", false, "")], false, "shop.public.orders.Key", "")
}

fn value_schema() -> String {
    let row = [
        field("id", "int64", false, ""),
        field("customer_id", "int64", true, ""),
        field("status", "string", true, ""),
        field("currency", "string", true, ""),
        field("total", "double", true, ""),
        field("is_gift", "boolean", true, ""),
        field("email", "string", true, ""),
        field("note", "string", true, ""),
        field("created_at", "int64", true, "io.debezium.time.MicroTimestamp"),
        field("updated_at", "string", true, "io.debezium.time.ZonedTimestamp"),
    ];
    let text = |name: &str, optional| field(name, "string", optional, "");
    let number = |name: &str, optional| field(name, "int64", optional, "");
    let source = [
        text("version", false),
        text("connector", false),
        text("name", false),
        number("ts_ms", false),
        field("snapshot", "string", true, "io.debezium.data.Enum"),
        text("db", false),
        text("sequence", true),
        number("ts_us", true),
        number("ts_ns", true),
        text("schema", false),
        text("table", false),
        number("txId", true),
        number("lsn", true),
        number("xmin", true),
        text("origin", true),
        number("origin_lsn", true),
    ];
    let transaction =
        [text("id", false), number("total_order", false), number("data_collection_order", false)];
    let members = [
        structure(&row, true, "shop.public.orders.Value", "before"),
        structure(&row, true, "shop.public.orders.Value", "after"),
        structure(&source, false, "io.debezium.connector.postgresql.Source", "source"),
        structure(&transaction, true, "event.block", "transaction"),
        text("op", false),
        number("ts_ms", true),
        number("ts_us", true),
        number("ts_ns", true),
    ];
    structure(&members, false, "shop.public.orders.Envelope", "")
}
