//! MongoDB's changes: `before` and `after` are text that holds a document in extended JSON.
//!
//! Their rows have two columns: the document, and its `_id`, which is the key. Both are JSON text as the
//! connector wrote it.

use crate::batch::Span;

use super::block::append;
use super::envelope::{Source, Unusual, View};
use super::scan::{self, Json, Scanner};
use super::shape::{Field, Wire};
use super::{Op, walk};

/// The name of the column of keys.
pub const ID: &str = "_id";
/// The name of the column of documents.
pub const DOCUMENT: &str = "document";
const SEMANTIC: &str = "io.debezium.data.Json";
/// Members of the event that become members of its `source` block, where transforms can ask for them.
pub const DETAILS: [&str; 1] = ["updateDescription"];

/// The columns of any collection.
pub fn fields() -> Vec<Field> {
    let field = |name: &str, key: bool| Field {
        name: name.to_owned(),
        wire: Wire::JsonText,
        nullable: !key,
        key,
        semantic: SEMANTIC.to_owned(),
    };
    vec![field(ID, true), field(DOCUMENT, false)]
}

/// Whether a change with unusual rows is one of a document.
pub fn is_document(view: View<'_>, source: &Source, unusual: Unusual) -> bool {
    match unusual {
        Unusual::Text(_) | Unusual::Missing(Op::Update | Op::Delete) => {
            view.text(source.names[0]) == "\"mongodb\""
        }
        _ => false,
    }
}

/// The cells of a row of a document: its `_id` and itself. Without a document, as an update has none that
/// looks nothing up, and a delete none that keeps no earlier states, the document is unavailable.
///
/// # Errors
/// What is no document in JSON, or has no `_id`, where the key does not have it either.
pub fn row(
    arena: &mut Vec<u8>,
    scanner: &mut Scanner,
    key: Option<Span>,
    document: Option<Span>,
) -> Result<[Span; 2], String> {
    let Some(document) = document else {
        let key = key.ok_or("neither the key nor the event says which document")?;
        return Ok([key, Span::default()]);
    };
    let text = str::from_utf8(document.of(arena)).ok().and_then(walk::inside).unwrap_or_default();
    let text = scan::unescape(text).into_owned();
    let whole = Span { start: 0, end: text.len() as u32 };
    let scanned = scanner.scan::<&[u8]>(text.as_bytes(), whole, &[]);
    let root = scanned.map_err(|fault| format!("the document is {fault}"))?.root;
    if root != Json::Object {
        return Err("the document is no json object".into());
    }
    if let Some(key) = key {
        return Ok([key, document]);
    }
    let id = scanner.members().find(|(_, member)| member.name(text.as_bytes()).as_ref() == ID.as_bytes());
    let (_, id) = id.ok_or("the document has no `_id`, and the key does not say it either")?;
    let id = serde_json::Value::from(&text[id.value.range()]).to_string();
    Ok([append(arena, id.as_bytes())?, document])
}

/// The `source` block with further members of the event at its end, if it has any of those.
///
/// # Errors
/// The arena is full.
pub fn with_details(arena: &mut Vec<u8>, source: Span, details: &[(&str, Span)]) -> Result<Span, String> {
    if details.is_empty() {
        return Ok(source);
    }
    let own = source.of(arena);
    // It ends with the brace, as the scanner has no space in its spans.
    let own = own.strip_suffix(b"}").unwrap_or(own).trim_ascii_end();
    let mut block = own.to_vec();
    for (name, value) in details {
        if !block.ends_with(b"{") {
            block.push(b',');
        }
        block.extend_from_slice(format!("\"{name}\":").as_bytes());
        block.extend_from_slice(value.of(arena));
    }
    block.push(b'}');
    append(arena, &block)
}
