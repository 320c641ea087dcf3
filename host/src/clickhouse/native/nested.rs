//! Writers of arrays, maps, tuples and variants: the values inside are columns of their own. Before those of
//! arrays and maps stand the offsets, before those of a variant which row has a value of which type.

use crate::clickhouse::convert::{Decode, number, refuse, text};
use crate::clickhouse::names;
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
            Some(_) if misfits.is_blank(row) => writer.push_empty(),
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
    writer.begin(out);
    writer.finish(out);
}

/// A column in memory, at one level of a nested type.
enum Writer<'t> {
    Leaf { leaf: Leaf<Write<'t>>, nulls: Option<Vec<u8>>, data: Vec<u8>, number: bool },
    Array { ends: Ends, inner: Box<Writer<'t>> },
    Map { ends: Ends, key: &'t ColumnType, keys: Box<Writer<'t>>, values: Box<Writer<'t>> },
    Tuple { members: Vec<Member<'t>> },
    Point { axes: [Vec<u8>; 2] },
    Variant { types: Vec<Alternative<'t>>, chosen: Vec<u8> },
}

/// A tuple's member.
struct Member<'t> {
    name: Option<&'t str>,
    nullable: bool,
    writer: Writer<'t>,
}

/// One of a variant's types.
struct Alternative<'t> {
    ty: &'t ColumnType,
    encoding: Encoding<'t>,
    writer: Writer<'t>,
}

/// What says of a variant's row that it is null.
const NO_TYPE: u8 = 255;
/// How a variant's types are marked: a byte a row.
const BASIC_MARKS: [u8; 8] = [0; 8];

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
                key,
                keys: Box::new(Writer::new(key, encoding)),
                values: Box::new(Writer::new(value, encoding)),
            },
            ColumnType::Tuple(elements) => Writer::Tuple {
                members: elements
                    .iter()
                    .map(|(name, ty)| Member {
                        name: name.as_deref(),
                        nullable: ty.takes_null(),
                        writer: Writer::new(ty, encoding),
                    })
                    .collect(),
            },
            ColumnType::Point => Writer::Point { axes: Default::default() },
            ColumnType::Variant(types) => Writer::Variant {
                types: types
                    .iter()
                    .map(|ty| Alternative { ty, encoding, writer: Writer::new(ty, encoding) })
                    .collect(),
                chosen: Vec::new(),
            },
            bare => Writer::Leaf {
                leaf: leaf::any(bare, encoding),
                nulls: ty.is_nullable().then(Vec::new),
                data: Vec::new(),
                number: matches!(
                    bare,
                    ColumnType::Decimal { .. } | ColumnType::Float32 | ColumnType::Float64
                ),
            },
        }
    }

    /// Appends exactly one entry, from its JSON.
    fn push_part(&mut self, json: &str, of: Of<'_>, decode: Decode) -> Result<(), String> {
        let value = match self {
            // It may be the bytes of something in base64, which now and then look like a number.
            Writer::Leaf { number: true, .. } if matches!(of, Of::Nothing) && json.starts_with('"') => {
                Err("text is not a number, and no schema says that it is to be read as one".to_owned())
            }
            _ => of.value(json, decode),
        };
        match value {
            Ok(value) => self.push(&value, decode),
            Err(reason) => {
                self.push_empty();
                Err(reason)
            }
        }
    }

    /// Appends exactly one entry, whether the value can be written or not. After an error within an array
    /// its entry ends there: the row is dropped anyway, and all levels stay aligned.
    fn push(&mut self, value: &Value<'_>, decode: Decode) -> Result<(), String> {
        match self {
            Writer::Leaf { leaf, nulls, data, .. } => {
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
                    Value::Array(json, wire) => push_elements(ends, inner, json, Of::Wire(wire), decode),
                    Value::Json(json) if json.starts_with('[') => {
                        push_elements(ends, inner, json, Of::Nothing, decode)
                    }
                    other => Err(refuse(other, "an array")),
                };
                ends.close();
                written
            }
            Writer::Map { ends, key, keys, values } => {
                let written = match value {
                    Value::Map(json, wire) => {
                        push_members(ends, key, keys, values, json, Of::Wire(wire), decode)
                    }
                    Value::Json(json) if json.starts_with('{') => {
                        push_members(ends, key, keys, values, json, Of::Nothing, decode)
                    }
                    other => Err(refuse(other, "a map")),
                };
                ends.close();
                written
            }
            Writer::Tuple { members } => push_tuple(members, value, decode),
            Writer::Point { axes } => push_point(axes, value, decode),
            Writer::Variant { types, chosen } => push_variant(types, chosen, value, decode),
        }
    }

    /// Whether null is one of its values.
    fn takes_null(&self) -> bool {
        matches!(self, Writer::Leaf { nulls: Some(_), .. } | Writer::Variant { .. })
    }

    /// Appends an entry that means nothing: the type's default, which is null where it can be.
    fn push_empty(&mut self) {
        match self {
            Writer::Leaf { leaf, nulls, data, .. } => {
                if let Some(nulls) = nulls {
                    nulls.push(1);
                }
                data.extend_from_slice(&leaf.empty);
            }
            Writer::Array { ends, .. } | Writer::Map { ends, .. } => ends.close(),
            Writer::Tuple { members } => {
                for member in members {
                    member.writer.push_empty();
                }
            }
            Writer::Point { axes } => {
                for axis in axes {
                    axis.extend_from_slice(&0_f64.to_le_bytes());
                }
            }
            Writer::Variant { chosen, .. } => chosen.push(NO_TYPE),
        }
    }

    /// Appends what stands before a column of this type, whatever it is in.
    fn begin(&self, out: &mut Vec<u8>) {
        match self {
            Writer::Leaf { .. } | Writer::Point { .. } => {}
            Writer::Array { inner, .. } => inner.begin(out),
            Writer::Map { keys, values, .. } => {
                keys.begin(out);
                values.begin(out);
            }
            Writer::Tuple { members } => {
                for member in members {
                    member.writer.begin(out);
                }
            }
            Writer::Variant { types, .. } => {
                out.extend_from_slice(&BASIC_MARKS);
                for alternative in types {
                    alternative.writer.begin(out);
                }
            }
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
            Writer::Map { ends, keys, values, .. } => {
                out.extend_from_slice(&ends.bytes);
                keys.finish(out);
                values.finish(out);
            }
            Writer::Tuple { members } => {
                for member in members {
                    member.writer.finish(out);
                }
            }
            Writer::Point { axes } => {
                for axis in axes {
                    out.extend_from_slice(axis);
                }
            }
            Writer::Variant { types, chosen } => {
                out.extend_from_slice(chosen);
                for alternative in types {
                    alternative.writer.finish(out);
                }
            }
        }
    }
}

fn in_element(index: usize, reason: &str) -> String {
    format!("element {}: {reason}", index + 1)
}

/// What is known of JSON inside a value.
#[derive(Clone, Copy)]
enum Of<'w> {
    /// How it is written.
    Wire(&'w Wire),
    /// Nothing: it means what it looks like.
    Nothing,
}

impl Of<'_> {
    fn value<'v>(&'v self, json: &'v str, decode: Decode) -> Result<Value<'v>, String> {
        match self {
            Of::Wire(wire) => decode(wire, json),
            Of::Nothing => text::loose(json),
        }
    }
}

fn push_elements(
    ends: &mut Ends,
    inner: &mut Writer<'_>,
    json: &str,
    of: Of<'_>,
    decode: Decode,
) -> Result<(), String> {
    for (index, element) in text::elements(json)?.into_iter().enumerate() {
        ends.elements += 1;
        inner.push_part(element.get(), of, decode).map_err(|reason| in_element(index, &reason))?;
    }
    Ok(())
}

fn push_members(
    ends: &mut Ends,
    key_type: &ColumnType,
    keys: &mut Writer<'_>,
    values: &mut Writer<'_>,
    json: &str,
    of: Of<'_>,
    decode: Decode,
) -> Result<(), String> {
    for (index, (key, element)) in text::members(json)?.into_iter().enumerate() {
        ends.elements += 1;
        let key = match key_type.bare() {
            // In the events keys are text, whatever they were at the source.
            ColumnType::Int { .. } if is_whole(&key) => Value::Decimal(key),
            _ => Value::Text(key),
        };
        let key = keys.push(&key, decode);
        // Both, so that there are as many values as keys.
        let value = values.push_part(element.get(), of, decode);
        key.and(value).map_err(|reason| in_element(index, &reason))?;
    }
    Ok(())
}

/// Whether text is a whole number in the one form that it has.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && (digits == "0" && text == "0" || !digits.starts_with('0'))
}

/// Appends one entry to each member: those of an object by name, those of an array by place.
fn push_tuple(members: &mut [Member<'_>], value: &Value<'_>, decode: Decode) -> Result<(), String> {
    let named = members.iter().all(|member| member.name.is_some());
    let unnamed = members.iter().all(|member| member.name.is_none());
    let (json, of) = match value {
        Value::Json(json) => (&**json, Of::Nothing),
        Value::Map(json, wire) if named => (*json, Of::Wire(wire)),
        Value::Array(json, wire) if unnamed => (*json, Of::Wire(wire)),
        _ => ("", Of::Nothing),
    };
    let parts = match json.as_bytes().first() {
        Some(b'{') if named => by_name(members, json),
        Some(b'[') if unnamed => by_place(members.len(), json),
        _ => Err(refuse(value, if named { "an object of its members" } else { "an array of its members" })),
    };
    let (parts, mut failed) = match parts {
        Ok(parts) => (parts, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    for (index, member) in members.iter_mut().enumerate() {
        let Some(part) = parts.get(index) else {
            member.writer.push_empty();
            continue;
        };
        if let Err(reason) = member.writer.push_part(part, of, decode) {
            failed.get_or_insert(format!("member {}: {reason}", index + 1));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The JSON of each member of a tuple, in an object that has no other members.
fn by_name<'j>(members: &[Member<'_>], json: &'j str) -> Result<Vec<&'j str>, String> {
    let found = text::members(json)?;
    let mut parts = Vec::with_capacity(members.len());
    let mut taken = 0;
    for member in members {
        let name = member.name.unwrap_or_default();
        let mut these = found.iter().filter(|(key, _)| key == name);
        match (these.next(), these.next()) {
            (Some((_, part)), None) => {
                taken += 1;
                parts.push(part.get());
            }
            (Some(_), Some(_)) => return Err(format!("the member {} comes twice", names::shown(name))),
            (None, _) if member.nullable => parts.push("null"),
            (None, _) => {
                return Err(format!("it has no member {}, which is not Nullable", names::shown(name)));
            }
        }
    }
    if taken < found.len() {
        return Err("it has members that the column has not, and they would be lost".to_owned());
    }
    Ok(parts)
}

/// The JSON of each member of a tuple, in an array of as many elements.
fn by_place(members: usize, json: &str) -> Result<Vec<&str>, String> {
    let found = text::elements(json)?;
    if found.len() != members {
        return Err(format!("it has {} elements, and the column {members}", found.len()));
    }
    Ok(found.into_iter().map(|part| part.get()).collect())
}

/// A point: `[x, y]`, or an object of x and y as Debezium sends it, whose other members say nothing more.
fn push_point(axes: &mut [Vec<u8>; 2], value: &Value<'_>, decode: Decode) -> Result<(), String> {
    // A coordinate is what a Float64 column would take.
    let number = |value: Value<'_>| match value {
        text @ Value::Text(_) => Err(refuse(&text, "a coordinate")),
        number => number::float64(&number),
    };
    let numbers = point(value, decode).and_then(|[x, y]| Ok([number(x)?, number(y)?]));
    let (numbers, written) = match numbers {
        Ok(numbers) => (numbers, Ok(())),
        Err(reason) => ([0.0; 2], Err(reason)),
    };
    for (axis, number) in axes.iter_mut().zip(numbers) {
        axis.extend_from_slice(&number.to_le_bytes());
    }
    written
}

fn point<'v>(value: &'v Value<'_>, decode: Decode) -> Result<[Value<'v>; 2], String> {
    let wanted = "a point: an array of two numbers, or an object of x and y";
    let (json, of) = match value {
        Value::Json(json) => (&**json, Of::Nothing),
        Value::Array(json, wire) => (*json, Of::Wire(wire)),
        other => return Err(refuse(other, wanted)),
    };
    if json.starts_with('[') {
        let [x, y] = by_place(2, json)?.try_into().map_err(|_| refuse(value, wanted))?;
        // The wire lives as long as the value.
        return Ok([of_value(value, of, x, decode)?, of_value(value, of, y, decode)?]);
    }
    let (mut x, mut y) = (None, None);
    for (name, part) in text::members(json).map_err(|_| refuse(value, wanted))? {
        match (&*name, part.get()) {
            ("x", number) => x = Some(text::loose(number)?),
            ("y", number) => y = Some(text::loose(number)?),
            // It repeats the two.
            ("wkb", _) | ("srid", "null" | "0") => {}
            ("srid", _) => return Err("the point has an srid, which the column cannot keep".to_owned()),
            _ => return Err("it has members that the column has not, and they would be lost".to_owned()),
        }
    }
    x.zip(y).map(|(x, y)| [x, y]).ok_or_else(|| refuse(value, wanted))
}

fn of_value<'v>(
    value: &'v Value<'_>,
    of: Of<'_>,
    json: &'v str,
    decode: Decode,
) -> Result<Value<'v>, String> {
    match (of, value) {
        (Of::Wire(_), Value::Array(_, wire)) => decode(wire, json),
        _ => text::loose(json),
    }
}

/// Appends a value to the type that holds it exactly, of several the one that is most like it.
fn push_variant(
    types: &mut [Alternative<'_>],
    chosen: &mut Vec<u8>,
    value: &Value<'_>,
    decode: Decode,
) -> Result<(), String> {
    if matches!(value, Value::Null) {
        chosen.push(NO_TYPE);
        return Ok(());
    }
    let mut order: Vec<(u8, usize)> = types
        .iter()
        .enumerate()
        .filter_map(|(index, alternative)| Some((likeness(value, alternative.ty.bare())?, index)))
        .collect();
    order.sort_unstable();
    for (_, index) in order {
        let Some(alternative) = types.get_mut(index) else { continue };
        // What is refused leaves traces, so it is tried elsewhere first.
        let mut trial = Writer::new(alternative.ty, alternative.encoding);
        if trial.push(value, decode).is_ok() {
            // There are fewer than 255.
            chosen.push(index as u8);
            return alternative.writer.push(value, decode);
        }
    }
    chosen.push(NO_TYPE);
    Err(refuse(value, "a value of one of the column's types"))
}

/// How unlike a type is to a value, from 0; none: it never holds one.
fn likeness(value: &Value<'_>, ty: &ColumnType) -> Option<u8> {
    let place = |types: &[&str]| {
        let name = ty.to_string();
        let family = name.split('(').next().unwrap_or_default();
        types.iter().position(|known| *known == family).map(|place| place as u8)
    };
    match value {
        Value::Bool(_) => place(&["Bool"]),
        Value::Int(_) => place(&[
            "Int64", "Int32", "Int16", "Int8", "Int128", "Int256", "UInt64", "UInt32", "UInt16", "UInt8",
            "UInt128", "UInt256", "Decimal", "Float64",
        ]),
        Value::Float(_) => place(&["Float64", "Float32"]),
        Value::Decimal(_) => place(&["Decimal", "Int64", "UInt64", "Int128", "UInt128", "Int256", "UInt256"]),
        Value::Text(_) => place(&["String", "UUID", "Enum8", "Enum16", "IPv6", "IPv4", "FixedString"]),
        Value::Bytes(_) => place(&["String", "FixedString"]),
        Value::Date(_) => place(&["Date32", "Date"]),
        Value::Time(_) => place(&["Time64", "Time"]),
        Value::Timestamp { .. } => place(&["DateTime64", "DateTime"]),
        Value::Array(..) => place(&["Array", "Tuple", "Point"]),
        Value::Map(..) => place(&["Map", "Tuple"]),
        Value::Json(_) => place(&["Tuple", "Map", "Array", "Point", "String"]),
        Value::Null | Value::Unavailable | Value::Infinite { .. } => None,
    }
}
