//! From Protobuf's bytes to JSON.
//!
//! Every field costs output, and output is limited: so is the time, whatever the bytes claim.

use super::super::json::Out;
use super::{Field, Id, Kind, MAX_DEPTH, Meant, Message, Protobuf};
use crate::debezium::civil;

/// What stands in the bytes for one value.
#[derive(Debug, Clone, Copy)]
enum Raw<'a> {
    /// Of a variable length, or of eight bytes or four.
    Number(u64),
    Bytes(&'a [u8]),
}

/// Steps over the place of the message, which stands before its data; it must be the first.
pub(super) fn indexes(bytes: &[u8]) -> Result<&[u8], String> {
    let mut rest = bytes;
    let mut next = || varint(&mut rest).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64));
    match next()? {
        0 => Ok(rest),
        1 if next()? == 0 => Ok(rest),
        _ => Err("it is not of the schema's first message, and of no other is anything known".into()),
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0_u64;
    for index in 0..10 {
        let Some((byte, rest)) = bytes.split_first() else { return Err("it ends within a number".into()) };
        *bytes = rest;
        if index == 9 && *byte > 1 {
            return Err("a number of more than 64 bits".into());
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of more than 64 bits".into())
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], String> {
    let taken = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (taken, rest) =
        taken.ok_or_else(|| format!("more bytes are announced than the {} that are left", bytes.len()))?;
    *bytes = rest;
    Ok(taken)
}

fn fixed(bytes: &mut &[u8], length: u64) -> Result<u64, String> {
    let mut wide = [0; 8];
    let taken = take(bytes, length)?;
    for (to, from) in wide.iter_mut().zip(taken) {
        *to = *from;
    }
    Ok(u64::from_le_bytes(wide))
}

/// The next field's number and value.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u32, u8, Raw<'a>), String> {
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3).map_err(|_| "a field's number that is too large".to_owned())?;
    let wire = (tag & 7) as u8;
    let raw = match wire {
        0 => Raw::Number(varint(bytes)?),
        1 => Raw::Number(fixed(bytes, 8)?),
        2 => {
            let length = varint(bytes)?;
            Raw::Bytes(take(bytes, length)?)
        }
        5 => Raw::Number(fixed(bytes, 4)?),
        other => {
            return Err(format!("the field {number} is written in the way {other}, which is not supported"));
        }
    };
    Ok((number, wire, raw))
}

/// How a value of this kind is written outside of a packed list.
fn wire_of(kind: Kind) -> u8 {
    match kind {
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => 1,
        Kind::Text | Kind::Bytes | Kind::Message(_) => 2,
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => 5,
        _ => 0,
    }
}

impl Protobuf {
    /// Reads a message and writes it.
    pub(super) fn read(&self, id: Id, bytes: &[u8], out: &mut Out<'_>, depth: u32) -> Result<(), String> {
        if depth >= MAX_DEPTH {
            return Err(format!("nesting deeper than {MAX_DEPTH}"));
        }
        let Some(message) = self.message(id) else { return Err("a message that is not there".into()) };
        let found = values(message, bytes)?;
        let mut rest = found.as_slice();
        let mut separator: &[u8] = b"{";
        for (index, field) in message.fields.iter().enumerate() {
            let end = rest.partition_point(|(at, _)| *at <= index);
            let (own, others) = rest.split_at_checked(end).unwrap_or_default();
            rest = others;
            out.raw(separator)?;
            out.raw(&field.key)?;
            self.field(field, own, out, depth + 1).map_err(|what| {
                if what.starts_with("in `") { what } else { format!("in `{}` {what}", field.name) }
            })?;
            separator = b",";
        }
        if message.fields.is_empty() {
            out.raw(separator)?;
        }
        out.raw(b"}")
    }

    fn field(
        &self,
        field: &Field,
        own: &[(usize, Raw<'_>)],
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        if !field.repeated {
            return match own {
                [] if field.optional => out.raw(b"null"),
                [] => default(field.kind, self, out),
                // Two messages would have to be merged; nobody writes that.
                [_, _, ..] if matches!(field.kind, Kind::Message(_)) => {
                    Err("a message that comes twice".into())
                }
                [.., (_, raw)] => self.value(field, *raw, out, depth),
            };
        }
        if let Kind::Message(id) = field.kind
            && let Some(entry) = self.message(id).filter(|message| message.meant == Meant::Entry)
        {
            return self.map(entry, own, out, depth);
        }
        let mut separator: &[u8] = b"[";
        let packable = !matches!(field.kind, Kind::Text | Kind::Bytes | Kind::Message(_));
        for (_, raw) in own {
            match raw {
                Raw::Bytes(packed) if packable => {
                    let mut packed = *packed;
                    while !packed.is_empty() {
                        let number = match wire_of(field.kind) {
                            1 => fixed(&mut packed, 8)?,
                            5 => fixed(&mut packed, 4)?,
                            _ => varint(&mut packed)?,
                        };
                        out.raw(separator)?;
                        self.value(field, Raw::Number(number), out, depth)?;
                        separator = b",";
                    }
                }
                raw => {
                    out.raw(separator)?;
                    self.value(field, *raw, out, depth)?;
                    separator = b",";
                }
            }
        }
        if separator == b"[" {
            out.raw(b"[")?;
        }
        out.raw(b"]")
    }

    fn map(
        &self,
        entry: &Message,
        own: &[(usize, Raw<'_>)],
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        let [key, value] = entry.fields.as_slice() else {
            return Err("an entry without key and value".into());
        };
        let text = matches!(key.kind, Kind::Text);
        let ends: [&[u8]; 5] =
            if text { [b"{", b"}", b"", b":", b""] } else { [b"[", b"]", b"[", b",", b"]"] };
        out.raw(ends[0])?;
        for (index, (_, raw)) in own.iter().enumerate() {
            let Raw::Bytes(bytes) = raw else { return Err("an entry that is a number".into()) };
            let found = values(entry, bytes)?;
            let (keys, values) = found.split_at(found.partition_point(|(at, _)| *at == 0));
            out.raw(if index == 0 { b"" } else { b"," })?;
            out.raw(ends[2])?;
            self.field(key, keys, out, depth)?;
            out.raw(ends[3])?;
            self.field(value, values, out, depth)?;
            out.raw(ends[4])?;
        }
        out.raw(ends[1])
    }

    fn value(&self, field: &Field, raw: Raw<'_>, out: &mut Out<'_>, depth: u32) -> Result<(), String> {
        match (field.kind, raw) {
            (Kind::Int32 | Kind::Sfixed32, Raw::Number(number)) => out.int(i64::from(number as i32)),
            (Kind::Sint32 | Kind::Sint64, Raw::Number(number)) => {
                out.int((number >> 1) as i64 ^ -((number & 1) as i64))
            }
            (Kind::Uint32 | Kind::Fixed32, Raw::Number(number)) => out.uint(number & 0xffff_ffff),
            (Kind::Int64 | Kind::Sfixed64, Raw::Number(number)) => out.int(number as i64),
            (Kind::Uint64 | Kind::Fixed64, Raw::Number(number)) => out.uint(number),
            (Kind::Float, Raw::Number(number)) => out.float32(f32::from_bits(number as u32)),
            (Kind::Double, Raw::Number(number)) => out.float64(f64::from_bits(number)),
            (Kind::Bool, Raw::Number(number)) => out.bool(number != 0),
            (Kind::Enum(id), Raw::Number(number)) => {
                match self.enums.get(id).and_then(|names| names.get(&(number as i32))) {
                    Some(name) => out.raw(name),
                    None => out.text(number.to_string().as_bytes()),
                }
            }
            (Kind::Text, Raw::Bytes(bytes)) => out.text(bytes),
            (Kind::Bytes, Raw::Bytes(bytes)) => out.base64(bytes),
            (Kind::Message(id), Raw::Bytes(bytes)) => self.meant(id, field, bytes, out, depth),
            _ => Err("a value that is not of its field's type".into()),
        }
    }

    fn meant(
        &self,
        id: Id,
        field: &Field,
        bytes: &[u8],
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        let Some(message) = self.message(id) else { return Err("a message that is not there".into()) };
        if matches!(message.meant, Meant::Itself | Meant::Entry) {
            return self.read(id, bytes, out, depth);
        }
        let found = values(message, bytes)?;
        let last = |field: usize| found.iter().rev().find(|(at, _)| *at == field).map(|(_, raw)| *raw);
        let number = |field: usize| match last(field) {
            Some(Raw::Number(number)) => number as i64,
            _ => 0,
        };
        match message.meant {
            Meant::Wrapper => match (message.fields.first(), last(0)) {
                (Some(value), Some(raw)) => self.value(value, raw, out, depth),
                (Some(value), None) => default(value.kind, self, out),
                (None, _) => out.raw(b"null"),
            },
            Meant::Decimal => {
                let digits = match last(0) {
                    Some(Raw::Bytes(bytes)) if !bytes.is_empty() => bytes,
                    _ => &[0],
                };
                let scale = number(2) as i32;
                match field.parameters.get("scale").and_then(|scale| scale.as_str()) {
                    None => {
                        out.raw(b"{\"scale\":")?;
                        out.int(i64::from(scale))?;
                        out.raw(b",\"value\":")?;
                        out.base64(digits)?;
                        out.raw(b"}")
                    }
                    Some(expected) if expected == scale.to_string() => out.base64(digits),
                    Some(expected) => {
                        Err(format!("a decimal of another scale than {expected}, which the schema says"))
                    }
                }
            }
            Meant::Date => {
                let (year, month, day) = (number(0), number(1), number(2));
                let days = match (u32::try_from(month), u32::try_from(day)) {
                    (Ok(month @ 1..=12), Ok(day @ 1..=31)) if year.unsigned_abs() < 1_000_000 => {
                        Some(civil::days(year, month, day))
                            .filter(|days| civil::date(*days) == (year, month, day))
                    }
                    _ => None,
                };
                out.int(days.ok_or("there is no such date")?)
            }
            Meant::Time => {
                let seconds = (number(0).checked_mul(3600))
                    .zip(number(1).checked_mul(60))
                    .and_then(|(hours, minutes)| hours.checked_add(minutes)?.checked_add(number(2)));
                millis(seconds, number(3), out)
            }
            _ => millis(Some(number(0)), number(1), out),
        }
    }
}

/// Writes a time as Kafka Connect does, in milliseconds; nothing is cut off.
fn millis(seconds: Option<i64>, nanos: i64, out: &mut Out<'_>) -> Result<(), String> {
    if nanos % 1_000_000 != 0 {
        return Err("a time that is finer than milliseconds, as kafka connect has them".into());
    }
    let millis = seconds.and_then(|seconds| seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000));
    out.int(millis.ok_or("a time that is out of range")?)
}

/// Writes the value of a field that is not there and cannot be null.
fn default(kind: Kind, protobuf: &Protobuf, out: &mut Out<'_>) -> Result<(), String> {
    match kind {
        Kind::Text | Kind::Bytes => out.raw(b"\"\""),
        Kind::Bool => out.raw(b"false"),
        Kind::Float | Kind::Double => out.raw(b"0.0"),
        Kind::Message(_) => out.raw(b"null"),
        Kind::Enum(id) => match protobuf.enums.get(id).and_then(|names| names.get(&0)) {
            Some(name) => out.raw(name),
            None => out.raw(b"\"0\""),
        },
        _ => out.raw(b"0"),
    }
}

/// The values of a message's fields, by the fields' places; those of one field in their order. What the message
/// does not know is passed over.
fn values<'a>(message: &Message, mut bytes: &'a [u8]) -> Result<Vec<(usize, Raw<'a>)>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (number, wire, raw) = next(&mut bytes)?;
        let Some(index) = message.by_number.get(&number) else { continue };
        let Some(field) = message.fields.get(*index) else { continue };
        if wire != wire_of(field.kind) && !(field.repeated && wire == 2) {
            return Err(format!("in `{}` a value that is not of its field's type", field.name));
        }
        found.push((*index, raw));
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found)
}
