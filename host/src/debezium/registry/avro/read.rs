//! From Avro's bytes to JSON.
//!
//! Every element of an array and every value costs output, and output is limited: so is the time, whatever
//! counts the bytes claim.

use super::super::MAX_OUTPUT_BYTES;
use super::super::json::Out;
use super::{Avro, Entries, Id, MAX_DEPTH, Type};

/// The bytes of a record, and how many of them are read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        match self.bytes.split_at_checked(length) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(format!("more bytes are announced than the {} that are left", self.bytes.len())),
        }
    }

    /// A number of 64 bits: seven bits a byte, the lowest first, the sign in the lowest.
    fn long(&mut self) -> Result<i64, String> {
        let mut number = 0_u64;
        for (index, byte) in self.bytes.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && *byte > 1 {
                return Err("a number of more than 64 bits".into());
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = self.bytes.get(index + 1..).unwrap_or_default();
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err("it ends within a number".into())
    }

    fn int(&mut self) -> Result<i64, String> {
        let number = self.long()?;
        match i32::try_from(number) {
            Ok(_) => Ok(number),
            Err(_) => Err("a number of more than 32 bits".into()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let Some(bytes) = self.take(N)?.first_chunk() else { return Err("it ends within a number".into()) };
        Ok(*bytes)
    }

    fn sized(&mut self) -> Result<&'a [u8], String> {
        match usize::try_from(self.long()?) {
            Ok(length) => self.take(length),
            Err(_) => Err("a negative length".into()),
        }
    }

    /// An index below `end`.
    fn index(&mut self, what: &str, end: usize) -> Result<usize, String> {
        let index = self.int()?;
        match usize::try_from(index) {
            Ok(index) if index < end => Ok(index),
            _ => Err(format!("a {what} beyond the {end} that there are")),
        }
    }

    /// How many elements follow; none at the end.
    fn block(&mut self) -> Result<u64, String> {
        let count = self.long()?;
        if count < 0 {
            // Its length in bytes, for those who skip it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

impl Avro {
    /// Reads a value and writes it.
    pub(super) fn read(
        &self,
        id: Id,
        reader: &mut Reader<'_>,
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        match self.of(id) {
            Type::Null => out.raw(b"null"),
            Type::Bool => match reader.array()? {
                [0] => out.bool(false),
                [1] => out.bool(true),
                _ => Err("a boolean that is neither 0 nor 1".into()),
            },
            Type::Int => out.int(reader.int()?),
            Type::Long => out.int(reader.long()?),
            Type::Float => out.float32(f32::from_le_bytes(reader.array()?)),
            Type::Double => out.float64(f64::from_le_bytes(reader.array()?)),
            Type::Bytes => out.base64(reader.sized()?),
            Type::Text => out.text(reader.sized()?),
            Type::Fixed(length) => out.base64(reader.take(*length)?),
            Type::FixedUuid => out.text(super::super::hyphenated(reader.array()?).as_bytes()),
            Type::Enum(symbols) => {
                let index = reader.index("symbol", symbols.len())?;
                out.raw(symbols.get(index).map_or(b"null", |symbol| symbol))
            }
            Type::Optional(inner, null) => match reader.index("branch", 2)? {
                branch if branch == *null => out.raw(b"null"),
                _ => self.read(*inner, reader, out, depth),
            },
            Type::Unfinished => Err("a type that is not there".into()),
            _ if depth >= MAX_DEPTH => Err(format!("nesting deeper than {MAX_DEPTH}")),
            Type::Record(fields) => {
                let mut separator: &[u8] = b"{";
                for field in fields {
                    out.raw(separator)?;
                    out.raw(&field.key)?;
                    self.read(field.of, reader, out, depth + 1).map_err(|what| inside(&field.name, what))?;
                    separator = b",";
                }
                if fields.is_empty() {
                    out.raw(b"{")?;
                }
                out.raw(b"}")
            }
            Type::Array(items) => {
                let item =
                    |reader: &mut Reader<'_>, out: &mut Out<'_>| self.read(*items, reader, out, depth + 1);
                blocks(reader, out, [b"[", b"]"], item)
            }
            Type::Map(values) => {
                let entry = |reader: &mut Reader<'_>, out: &mut Out<'_>| {
                    out.text(reader.sized()?)?;
                    out.raw(b":")?;
                    self.read(*values, reader, out, depth + 1)
                };
                blocks(reader, out, [b"{", b"}"], entry)
            }
            Type::Entries(entries) => {
                let ends: [&[u8]; 2] = if entries.text { [b"{", b"}"] } else { [b"[", b"]"] };
                blocks(reader, out, ends, |reader, out| self.entry(entries, reader, out, depth + 2))
            }
            Type::Union(branches) => self.branch(branches, reader, out, depth + 1),
        }
    }

    fn entry(
        &self,
        entries: &Entries,
        reader: &mut Reader<'_>,
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        let ends: [&[u8]; 3] = if entries.text { [b"", b":", b""] } else { [b"[", b",", b"]"] };
        let aside = |id: Id, reader: &mut Reader<'_>| {
            let mut json = Vec::new();
            self.read(id, reader, &mut Out::new(&mut json, MAX_OUTPUT_BYTES), depth).map(|()| json)
        };
        let value = if entries.value_first { Some(aside(entries.value, reader)?) } else { None };
        let key = aside(entries.key, reader)?;
        out.raw(ends[0])?;
        out.raw(if entries.text && key == b"null" { b"\"null\"" } else { &key })?;
        out.raw(ends[1])?;
        match value {
            Some(json) => out.raw(&json)?,
            None => self.read(entries.value, reader, out, depth)?,
        }
        out.raw(ends[2])
    }

    fn branch(
        &self,
        branches: &[(Option<Box<[u8]>>, Id)],
        reader: &mut Reader<'_>,
        out: &mut Out<'_>,
        depth: u32,
    ) -> Result<(), String> {
        let chosen = reader.index("branch", branches.len())?;
        if matches!(branches.get(chosen), Some((None, _))) {
            return out.raw(b"null");
        }
        let mut separator: &[u8] = b"{";
        for (index, (key, id)) in branches.iter().enumerate() {
            let Some(key) = key else { continue };
            out.raw(separator)?;
            out.raw(key)?;
            if index == chosen {
                self.read(*id, reader, out, depth)?
            } else {
                out.raw(b"null")?
            }
            separator = b",";
        }
        out.raw(b"}")
    }
}

/// Reads the elements of an array or a map to its end.
fn blocks(
    reader: &mut Reader<'_>,
    out: &mut Out<'_>,
    ends: [&[u8]; 2],
    mut element: impl FnMut(&mut Reader<'_>, &mut Out<'_>) -> Result<(), String>,
) -> Result<(), String> {
    out.raw(ends[0])?;
    let mut first = true;
    loop {
        let count = reader.block()?;
        if count == 0 {
            return out.raw(ends[1]);
        }
        // Kafka Connect has no elements without bytes, so such a count is a lie.
        if count > reader.left() as u64 {
            return Err(format!(
                "more elements are announced than the {} bytes that are left",
                reader.left()
            ));
        }
        for _ in 0..count {
            if !first {
                out.raw(b",")?;
            }
            first = false;
            element(reader, out)?;
        }
    }
}

/// An error's text with the field that it is in. The innermost eight say enough.
fn inside(name: &str, what: String) -> String {
    if what.matches("in `").count() >= 8 {
        return what;
    }
    format!("in `{}` {what}", name.chars().take(64).collect::<String>())
}
