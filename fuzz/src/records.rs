//! Whole records through the decoder, and schemas.

use std::sync::Arc;
use std::time::Instant;

use host::batch::{Batch, Incoming, IncomingHeader, OpenBatch};
use host::clickhouse::convert::Profile;
use host::clickhouse::ddl;
use host::clickhouse::native::{Block, Encoding};
use host::clickhouse::rows;
use host::columns::{self, Input};
use host::debezium::options::{Options, Tombstones};
use host::debezium::placeholder::Placeholder;
use host::debezium::{Change, Decoded, Decoder, value};

/// Records with zero bytes between them, each a key and, after a line's end, a value: one batch, twice. Each
/// record is one change, one that is none, or rejected; every cell of every row can be looked at, and what can be
/// written reads back.
pub(crate) fn decode(bytes: &[u8]) {
    outcomes(&mut Decoder::new(), || batch(bytes, &[]));
}

/// A byte of flags, then with tabs between them up to a line's end: the prefix of flattened rows, the placeholder,
/// what the header of an operation says, a hint's pattern and its type. After that as [`decode`].
pub(crate) fn forms(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else { return };
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let Ok(text) = str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let rest = parts.next().unwrap_or_default();
    let mut words = text.split('\t');
    let mut word = || words.next().filter(|word| !word.is_empty());
    let mut options = Options { flattened_headers: flags & 1 == 1, ..Options::default() };
    if flags & 2 == 2 {
        options.tombstones = Tombstones::Delete;
    }
    options.flattened_prefix = word().unwrap_or("__").to_owned();
    options.placeholder = word().and_then(|text| Placeholder::parse(text).ok()).unwrap_or_default();
    let header = word().unwrap_or_default().as_bytes();
    if let (Some(pattern), Some(ty)) = (word(), word()) {
        let _ = options.hints.add(pattern, ty);
    }
    let name: Arc<str> = format!("{}op", options.flattened_prefix).into();
    let headers = [(&name, Some(header))];
    let headers = if options.flattened_headers { &headers[..] } else { &[] };
    outcomes(&mut Decoder::with(options), || batch(rest, headers));
}

/// Decodes the same batch twice, and looks at all that comes out.
pub(crate) fn outcomes(decoder: &mut Decoder, make: impl Fn() -> Batch) {
    for _ in 0..2 {
        let mut batch = make();
        assert!(decoder.learn(&batch, &|| false).is_ok_and(|learned| learned.is_some()));
        let records = batch.records.len();
        let decoded = decoder.decode(&mut batch);
        let outcomes = decoded.changes.len() + decoded.rejected.len() + decoded.not_changes.total() as usize;
        assert_eq!(outcomes, records, "a record has no outcome, or two");
        for change in &decoded.changes {
            look(decoder, &batch, &decoded, change);
        }
        let shapes = decoded.changes.iter().map(|change| change.shape);
        for shape in shapes.collect::<std::collections::BTreeSet<_>>() {
            write(decoder, &batch, &decoded, shape);
        }
    }
}

fn batch(bytes: &[u8], headers: &[IncomingHeader<'_>]) -> Batch {
    let mut open = OpenBatch::new("server.public.t".into(), 0, 0, None, Instant::now());
    for (offset, record) in (0..).zip(bytes.split(|byte| *byte == 0)) {
        let mut parts = record.splitn(2, |byte| *byte == b'\n');
        // Without a line's end there is no key.
        let (key, value) = match (parts.next(), parts.next()) {
            (Some(key), Some(value)) => (Some(key), Some(value)),
            (value, _) => (None, value),
        };
        let value = value.filter(|value| !value.is_empty());
        open.push(&Incoming { offset, timestamp_ms: None, key, value, headers });
    }
    open.close()
}

fn look(decoder: &Decoder, batch: &Batch, decoded: &Decoded, change: &Change) {
    let shape = decoder.shape(change.shape);
    for at in 0..shape.fields.len() as u32 {
        for input in [Input::After(at), Input::Before(at), Input::Latest(at)] {
            let _ = columns::value(batch, decoded, shape, change, &input);
            let _ = columns::json(batch, decoded, change, &input);
        }
    }
    for input in [Input::CommittedAt, Input::CapturedAt, Input::Detail("lsn".to_owned())] {
        assert!(columns::value(batch, decoded, shape, change, &input).is_ok());
    }
}

/// Reads all columns of a shape, and writes the rows that can be written.
fn write(decoder: &Decoder, batch: &Batch, decoded: &Decoded, id: u32) {
    let shape = decoder.shape(id);
    let numbered = (0_u32..).zip(&decoded.changes);
    let mut changes: Vec<u32> =
        numbered.filter(|(_, change)| change.shape == id).map(|(number, _)| number).collect();
    let inputs: Vec<Input> = (0..shape.fields.len() as u32).map(Input::After).collect();
    for read in columns::read(batch, decoded, shape, &changes, &inputs) {
        assert_eq!(read.column.cells.len(), changes.len());
    }
    let profile = Profile::default();
    let encoding = Encoding { profile: &profile, decode: value::decode };
    // Once to learn which rows cannot be written, then without them.
    for last in [false, true] {
        let mut block = Block::new(encoding, shape.fields.len(), changes.len());
        for (at, field) in (0..).zip(&shape.fields) {
            let input = Input::Latest(at);
            let ty = ddl::column_type(&field.wire, field.nullable, &Profile::default());
            let values = changes.iter().filter_map(|change| decoded.changes.get(*change as usize));
            let values = values.map(|change| columns::value(batch, decoded, shape, change, &input));
            block.column(&field.name, &ty, values);
        }
        let (bytes, failed) = block.finish();
        assert!(!last || failed.is_empty(), "{failed:?}");
        let read = rows::read_block(&bytes).unwrap_or_else(|reason| panic!("{reason}"));
        assert!(shape.fields.is_empty() || read.lines().count() == changes.len());
        for (row, _) in failed.iter().rev() {
            changes.remove(*row);
        }
    }
}

/// The text of a schema.
pub(crate) fn schema(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = host::debezium::schema::parse(text);
    }
}
