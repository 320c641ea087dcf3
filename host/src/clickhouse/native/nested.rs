//! Writers of arrays and maps: the values inside are a column of their own, before which stand the offsets.

use crate::clickhouse::convert::{Decode, refuse, text};
use crate::clickhouse::types::ColumnType;
use crate::debezium::shape::Wire;
use crate::debezium::value::Value;

use super::leaf::{self, Leaf, Write};
use super::{Encoding, Misfits, NO_VALUE};

/// Writes a column of arrays or maps; see [`super::Block::column`].
pub(super) fn fill<'v>(
    encoding: Encoding<'_>,
    rows: usize,
    mut values: impl Iterator<Item = Result<Value<'v>, String>>,
    out: &mut Vec<u8>,
    mut misfits: Misfits<'_>,
) {
    let mut writer = Writer::new(misfits.ty, encoding);
    for row in 0..rows {
        match values.next() {
            // Nothing has been written of these yet, so that something else may be.
            Some(Ok(value @ (Value::Null | Value::Unavailable))) if !writer.takes_null() => {
                let reason = refuse(&value, "an array or a map");
                _ = misfits.instead(row, &value, &reason);
                writer.push_empty();
            }
            Some(Ok(value)) => {
                if let Err(reason) = writer.push(&value, encoding.decode) {
                    misfits.fail(row, &reason);
                }
            }
            Some(Err(reason)) => {
                writer.push_empty();
                misfits.fail(row, &reason);
            }
            None => {
                writer.push_empty();
                misfits.fail(row, NO_VALUE);
            }
        }
    }
    writer.finish(out);
}

/// A column in memory, at one level of a nested type.
enum Writer<'t> {
    Leaf { leaf: Leaf<Write<'t>>, nulls: Option<Vec<u8>>, data: Vec<u8> },
    Array { ends: Ends, inner: Box<Writer<'t>> },
    Map { ends: Ends, keys: Box<Writer<'t>>, values: Box<Writer<'t>> },
}

/// Where each row's elements end among all elements.
#[derive(Default)]
struct Ends {
    bytes: Vec<u8>,
    elements: u64,
}

impl Ends {
    fn close(&mut self) {
        self.bytes.extend_from_slice(&self.elements.to_le_bytes());
    }
}

impl<'t> Writer<'t> {
    fn new(ty: &'t ColumnType, encoding: Encoding<'t>) -> Self {
        match ty.bare() {
            ColumnType::Array(inner) => {
                Writer::Array { ends: Ends::default(), inner: Box::new(Writer::new(inner, encoding)) }
            }
            ColumnType::Map(key, value) => Writer::Map {
                ends: Ends::default(),
                keys: Box::new(Writer::new(key, encoding)),
                values: Box::new(Writer::new(value, encoding)),
            },
            bare => Writer::Leaf {
                leaf: leaf::any(bare, encoding),
                nulls: ty.is_nullable().then(Vec::new),
                data: Vec::new(),
            },
        }
    }

    /// Appends exactly one entry, whether the value can be written or not. After an error within an array
    /// its entry ends there: the row is dropped anyway, and all levels stay aligned.
    fn push(&mut self, value: &Value<'_>, decode: Decode) -> Result<(), String> {
        match self {
            Writer::Leaf { leaf, nulls, data } => {
                let null = matches!(value, Value::Null) && nulls.is_some();
                if let Some(nulls) = nulls {
                    nulls.push(u8::from(null));
                }
                if null {
                    data.extend_from_slice(&leaf.empty);
                    return Ok(());
                }
                let written = (leaf.write)(value, data);
                if written.is_err() {
                    data.extend_from_slice(&leaf.empty);
                }
                written
            }
            Writer::Array { ends, inner } => {
                let written = match value {
                    Value::Array(json, wire) => push_elements(ends, inner, json, wire, decode),
                    other => Err(refuse(other, "an array")),
                };
                ends.close();
                written
            }
            Writer::Map { ends, keys, values } => {
                let written = match value {
                    Value::Map(json, wire) => push_members(ends, keys, values, json, wire, decode),
                    other => Err(refuse(other, "a map")),
                };
                ends.close();
                written
            }
        }
    }

    /// Whether null is one of its values.
    fn takes_null(&self) -> bool {
        matches!(self, Writer::Leaf { nulls: Some(_), .. })
    }

    /// Appends an entry that means nothing.
    fn push_empty(&mut self) {
        match self {
            Writer::Leaf { leaf, nulls, data } => {
                if let Some(nulls) = nulls {
                    nulls.push(0);
                }
                data.extend_from_slice(&leaf.empty);
            }
            Writer::Array { ends, .. } | Writer::Map { ends, .. } => ends.close(),
        }
    }

    fn finish(&self, out: &mut Vec<u8>) {
        match self {
            Writer::Leaf { nulls, data, .. } => {
                out.extend(nulls.iter().flatten());
                out.extend_from_slice(data);
            }
            Writer::Array { ends, inner } => {
                out.extend_from_slice(&ends.bytes);
                inner.finish(out);
            }
            Writer::Map { ends, keys, values } => {
                out.extend_from_slice(&ends.bytes);
                keys.finish(out);
                values.finish(out);
            }
        }
    }
}

fn in_element(index: usize, reason: &str) -> String {
    format!("element {}: {reason}", index + 1)
}

fn push_elements(
    ends: &mut Ends,
    inner: &mut Writer<'_>,
    json: &str,
    wire: &Wire,
    decode: Decode,
) -> Result<(), String> {
    for (index, element) in text::elements(json)?.into_iter().enumerate() {
        let value = decode(wire, element.get()).map_err(|reason| in_element(index, &reason))?;
        ends.elements += 1;
        inner.push(&value, decode).map_err(|reason| in_element(index, &reason))?;
    }
    Ok(())
}

fn push_members(
    ends: &mut Ends,
    keys: &mut Writer<'_>,
    values: &mut Writer<'_>,
    json: &str,
    wire: &Wire,
    decode: Decode,
) -> Result<(), String> {
    for (index, (key, element)) in text::members(json)?.into_iter().enumerate() {
        let value = decode(wire, element.get()).map_err(|reason| in_element(index, &reason))?;
        ends.elements += 1;
        let key = keys.push(&Value::Text(key), decode);
        // Both, so that there are as many values as keys.
        let value = values.push(&value, decode);
        key.and(value).map_err(|reason| in_element(index, &reason))?;
    }
    Ok(())
}
