//! Reads a block back as rows for people: what `--print` and `--output` show is what would be inserted.
//!
//! How values stand in the JSON:
//! * integers of up to 64 bits are numbers, wider ones text; a `Decimal` of up to 15 digits is a number, a
//!   longer one text, so that nothing is lost to a reader that knows only 64-bit floats;
//! * floats are numbers, but `"nan"`, `"inf"` and `"-inf"`;
//! * dates and times are `2024-01-31` and `2024-01-31 23:59:59.123456`, always in UTC;
//! * a `String` that is no UTF-8 has `\xHH` for each byte that is not; one that is stands as it is;
//! * a map is an object, or a list of pairs where a key is repeated.

use serde_json::{Map, Number, Value as Json};

use super::convert::calendar;
use super::types::ColumnType;

/// The rows of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The columns' names.
    pub names: Vec<String>,
    /// The rows; each has a value for each name.
    pub rows: Vec<Vec<Json>>,
}

impl Rows {
    /// The rows as JSON objects, a line each, without the line's end.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.iter().map(|row| {
            let object: Map<String, Json> = self.names.iter().cloned().zip(row.iter().cloned()).collect();
            Json::Object(object).to_string()
        })
    }
}

/// Reads one block of the `Native` format.
///
/// # Errors
/// Bytes that are no such block, say where; types whose values are never written.
pub fn read_block(bytes: &[u8]) -> Result<Rows, String> {
    let mut reader = Reader { bytes, at: 0 };
    let columns = reader.varuint()?;
    let rows = reader.varuint()?;
    // Each row takes a byte at least, and each column two: a lie about them costs no memory.
    if columns > bytes.len() || (rows > bytes.len() && columns > 0) {
        return Err(reader.wrong("more columns or rows than bytes"));
    }
    let mut names = Vec::with_capacity(columns);
    let mut table: Vec<Vec<Json>> = Vec::new();
    for index in 0..columns {
        names.push(reader.utf8()?);
        let ty = ColumnType::parse(&reader.utf8()?)?;
        reader.begin(&ty)?;
        let values = reader.column(&ty, rows)?;
        if index == 0 {
            table.resize_with(rows, Vec::new);
        }
        for (row, value) in table.iter_mut().zip(values) {
            row.push(value);
        }
    }
    if reader.at < bytes.len() {
        return Err(reader.wrong("bytes after the end"));
    }
    Ok(Rows { names, rows: table })
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

type Read<T> = Result<T, String>;

impl<'b> Reader<'b> {
    fn wrong(&self, what: &str) -> String {
        format!("the block cannot be read: {what} at byte {}", self.at)
    }

    fn take(&mut self, count: usize) -> Read<&'b [u8]> {
        let end = self.at.checked_add(count);
        let taken =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.wrong("too few bytes"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.wrong("too few bytes"))
    }

    fn varuint(&mut self) -> Read<usize> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| self.wrong("a number too large"));
            }
        }
        Err(self.wrong("a number without end"))
    }

    fn text(&mut self) -> Read<&'b [u8]> {
        let length = self.varuint()?;
        self.take(length)
    }

    fn utf8(&mut self) -> Read<String> {
        let text = self.text()?;
        String::from_utf8(text.to_vec()).map_err(|_| self.wrong("a name that is not UTF-8"))
    }

    fn column(&mut self, ty: &ColumnType, rows: usize) -> Read<Vec<Json>> {
        match ty {
            ColumnType::Nullable(inner) => {
                let nulls = self.take(rows)?;
                let mut values = self.column(inner, rows)?;
                for (value, null) in values.iter_mut().zip(nulls) {
                    if *null != 0 {
                        *value = Json::Null;
                    }
                }
                Ok(values)
            }
            ColumnType::Array(inner) => {
                let lengths = self.lengths(rows)?;
                let mut elements = self.column(inner, lengths.iter().sum())?.into_iter();
                Ok(lengths
                    .into_iter()
                    .map(|length| Json::Array(elements.by_ref().take(length).collect()))
                    .collect())
            }
            ColumnType::Map(key, value) => {
                let lengths = self.lengths(rows)?;
                let total = lengths.iter().sum();
                let mut keys = self.column(key, total)?.into_iter();
                let mut values = self.column(value, total)?.into_iter();
                Ok(lengths
                    .into_iter()
                    .map(|length| object(keys.by_ref().take(length).zip(values.by_ref()).collect()))
                    .collect())
            }
            ColumnType::Tuple(elements) => self.tuples(elements, rows),
            ColumnType::Point => {
                self.tuples(&[(None, ColumnType::Float64), (None, ColumnType::Float64)], rows)
            }
            ColumnType::Variant(types) => self.variants(types, rows),
            leaf => {
                // Every value takes a byte or more.
                let mut values = Vec::with_capacity(rows.min(self.bytes.len() - self.at));
                for _ in 0..rows {
                    values.push(self.value(leaf)?);
                }
                Ok(values)
            }
        }
    }

    /// Passes over what stands before a column of this type.
    fn begin(&mut self, ty: &ColumnType) -> Read<()> {
        match ty {
            ColumnType::Array(inner) => self.begin(inner),
            ColumnType::Map(key, value) => self.begin(key).and_then(|()| self.begin(value)),
            ColumnType::Tuple(elements) => elements.iter().try_for_each(|(_, ty)| self.begin(ty)),
            ColumnType::Variant(types) => {
                self.take(8)?;
                types.iter().try_for_each(|ty| self.begin(ty))
            }
            _ => Ok(()),
        }
    }

    /// Objects where the members have names, else arrays.
    fn tuples(&mut self, elements: &[(Option<String>, ColumnType)], rows: usize) -> Read<Vec<Json>> {
        let mut columns = Vec::with_capacity(elements.len());
        for (_, ty) in elements {
            columns.push(self.column(ty, rows)?.into_iter());
        }
        if columns.is_empty() {
            return Err(self.wrong("a tuple without members"));
        }
        let mut tuples = Vec::with_capacity(rows.min(self.bytes.len()));
        for _ in 0..rows {
            let values: Vec<Json> = columns.iter_mut().filter_map(Iterator::next).collect();
            let names: Option<Vec<String>> = elements.iter().map(|(name, _)| name.clone()).collect();
            tuples.push(match names {
                Some(names) => Json::Object(names.into_iter().zip(values).collect()),
                None => Json::Array(values),
            });
        }
        Ok(tuples)
    }

    fn variants(&mut self, types: &[ColumnType], rows: usize) -> Read<Vec<Json>> {
        let marks = self.take(rows)?;
        let mut columns = Vec::with_capacity(types.len());
        for (index, ty) in types.iter().enumerate() {
            let count = marks.iter().filter(|mark| usize::from(**mark) == index).count();
            columns.push(self.column(ty, count)?.into_iter());
        }
        Ok(marks
            .iter()
            .map(|mark| columns.get_mut(usize::from(*mark)).and_then(Iterator::next).unwrap_or(Json::Null))
            .collect())
    }

    /// How many elements each row has.
    fn lengths(&mut self, rows: usize) -> Read<Vec<usize>> {
        let mut lengths = Vec::with_capacity(rows.min(self.bytes.len() / 8));
        let mut before = 0_usize;
        for _ in 0..rows {
            let end = u64::from_le_bytes(self.array()?);
            let end = usize::try_from(end).ok().filter(|end| *end <= self.bytes.len());
            let length =
                end.and_then(|end| end.checked_sub(before)).ok_or_else(|| self.wrong("a wrong offset"))?;
            before += length;
            lengths.push(length);
        }
        Ok(lengths)
    }

    fn value(&mut self, ty: &ColumnType) -> Read<Json> {
        Ok(match ty {
            ColumnType::Int { signed, bits } => self.int(*signed, *bits)?,
            ColumnType::Float32 => float32(f32::from_le_bytes(self.array()?)),
            ColumnType::Float64 => float(f64::from_le_bytes(self.array()?)),
            ColumnType::Bool => {
                let [flag] = self.array()?;
                Json::Bool(flag != 0)
            }
            ColumnType::String => lossless(self.text()?).into(),
            ColumnType::FixedString(size) => lossless(self.take(*size as usize)?).into(),
            ColumnType::Decimal { precision, scale } => self.decimal(*precision, *scale)?,
            ColumnType::Date => self.date(|days: [u8; 2]| i64::from(u16::from_le_bytes(days)))?,
            ColumnType::Date32 => self.date(|days: [u8; 4]| i64::from(i32::from_le_bytes(days)))?,
            ColumnType::DateTime(_) => {
                calendar::plain_timestamp(i64::from(u32::from_le_bytes(self.array()?)), 0).into()
            }
            ColumnType::DateTime64(digits, _) => {
                calendar::plain_timestamp(i64::from_le_bytes(self.array()?), *digits).into()
            }
            ColumnType::Time => calendar::plain_time(i64::from(i32::from_le_bytes(self.array()?)), 0).into(),
            ColumnType::Time64(digits) => {
                calendar::plain_time(i64::from_le_bytes(self.array()?), *digits).into()
            }
            ColumnType::Uuid => self.uuid()?,
            ColumnType::Ipv4 => {
                std::net::Ipv4Addr::from_bits(u32::from_le_bytes(self.array()?)).to_string().into()
            }
            ColumnType::Ipv6 => std::net::Ipv6Addr::from(self.array::<16>()?).to_string().into(),
            ColumnType::Enum { wide, labels } => {
                let number = if *wide {
                    i16::from_le_bytes(self.array()?)
                } else {
                    i16::from(i8::from_le_bytes(self.array()?))
                };
                labels
                    .iter()
                    .find_map(|(label, of)| (*of == number).then(|| Json::from(label.as_str())))
                    .ok_or_else(|| self.wrong("a number that no label has"))?
            }
            other => return Err(self.wrong(&format!("a column of type {other}, which is never written,"))),
        })
    }

    fn int(&mut self, signed: bool, bits: u16) -> Read<Json> {
        Ok(match (signed, bits) {
            (true, 8) => i8::from_le_bytes(self.array()?).into(),
            (true, 16) => i16::from_le_bytes(self.array()?).into(),
            (true, 32) => i32::from_le_bytes(self.array()?).into(),
            (true, 64) => i64::from_le_bytes(self.array()?).into(),
            (false, 8) => u8::from_le_bytes(self.array()?).into(),
            (false, 16) => u16::from_le_bytes(self.array()?).into(),
            (false, 32) => u32::from_le_bytes(self.array()?).into(),
            (false, 64) => u64::from_le_bytes(self.array()?).into(),
            _ => {
                let bytes = self.take(usize::from(bits / 8))?;
                big(signed, bytes).to_string().into()
            }
        })
    }

    fn decimal(&mut self, precision: u8, scale: u8) -> Read<Json> {
        let bytes = self.take(match precision {
            0..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            _ => 32,
        })?;
        let number = big(true, bytes);
        let sign = if number.sign() == num_bigint::Sign::Minus { "-" } else { "" };
        let digits = format!("{:0>width$}", number.magnitude().to_string(), width = usize::from(scale) + 1);
        let (before, after) = digits.split_at_checked(digits.len() - usize::from(scale)).unwrap_or(("0", ""));
        let text =
            if after.is_empty() { format!("{sign}{before}") } else { format!("{sign}{before}.{after}") };
        if precision > 15 {
            return Ok(text.into());
        }
        Ok(match scale {
            0 => text.parse::<i64>().map_or_else(|_| text.into(), Json::from),
            _ => text.parse::<f64>().map_or_else(|_| text.into(), float),
        })
    }

    fn date<const N: usize>(&mut self, days: fn([u8; N]) -> i64) -> Read<Json> {
        let days = days(self.array()?);
        calendar::date_text(days).map(Json::from)
    }

    fn uuid(&mut self) -> Read<Json> {
        let high = u64::from_le_bytes(self.array()?);
        let low = u64::from_le_bytes(self.array()?);
        let text = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        );
        Ok(text.into())
    }
}

fn big(signed: bool, bytes: &[u8]) -> num_bigint::BigInt {
    if signed {
        num_bigint::BigInt::from_signed_bytes_le(bytes)
    } else {
        num_bigint::BigInt::from_bytes_le(num_bigint::Sign::Plus, bytes)
    }
}

fn float(number: f64) -> Json {
    Number::from_f64(number).map_or_else(|| not_finite(number).into(), Json::Number)
}

/// By its own shortest text: 0.1, not 0.10000000149011612.
fn float32(number: f32) -> Json {
    float(number.to_string().parse().unwrap_or(f64::from(number)))
}

fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "nan"
    } else if number > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

/// Text as it is; of other bytes those that are no UTF-8 as `\xHH`.
fn lossless(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

fn object(members: Vec<(Json, Json)>) -> Json {
    let mut map = Map::new();
    for (key, value) in &members {
        let key = match key {
            Json::String(key) => key.clone(),
            other => other.to_string(),
        };
        if map.insert(key, value.clone()).is_some() {
            return members.into_iter().map(|(key, value)| Json::Array(vec![key, value])).collect();
        }
    }
    Json::Object(map)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn block(rows: u8, name_and_type: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![name_and_type.len() as u8, rows];
        for (name, ty, data) in name_and_type {
            for text in [name, ty] {
                bytes.push(text.len() as u8);
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn rows_show_each_value_for_people() {
        let bytes = block(
            2,
            &[
                ("a", "Nullable(Int32)", &[0, 1, 7, 0, 0, 0, 0, 0, 0, 0]),
                ("b", "String", b"\x02hi\x03a\xff\\"),
                ("c", "Decimal(9, 2)", &[0xe2, 0x04, 0, 0, 0xff, 0xff, 0xff, 0xff]),
                ("d", "Array(UInt8)", &[1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
                ("e", "Float32", &[0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0x80, 0xff]),
            ],
        );
        let rows = read_block(&bytes).expect("a good block");
        assert_eq!(rows.names, ["a", "b", "c", "d", "e"]);
        assert_eq!(rows.rows[0], [json!(7), json!("hi"), json!(12.5), json!([1]), json!(0.1)]);
        assert_eq!(
            rows.rows[1],
            [json!(null), json!("a\\xFF\\"), json!(-0.01), json!([2, 3]), json!("-inf")]
        );
        assert_eq!(rows.lines().next().as_deref(), Some(r#"{"a":7,"b":"hi","c":12.5,"d":[1],"e":0.1}"#));
    }

    #[test]
    fn a_repeated_key_makes_a_map_a_list_of_pairs() {
        let data = b"\x02\0\0\0\0\0\0\0\x01k\x01k\x01\x02";
        let rows = read_block(&block(1, &[("m", "Map(String, UInt8)", data)])).expect("a good block");
        assert_eq!(rows.rows[0], [json!([["k", 1], ["k", 2]])]);
    }

    #[test]
    fn a_cut_or_lying_block_is_an_error() {
        let good =
            block(1, &[("a", "Array(Array(UInt8))", &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9])]);
        assert!(read_block(&good).is_ok());
        for end in 0..good.len() {
            assert!(read_block(&good[..end]).is_err(), "{end}");
        }
        assert!(read_block(&[good.as_slice(), &[0]].concat()).is_err());
        assert!(read_block(&block(1, &[("a", "Array(UInt8)", &[0xff; 8])])).is_err());
        assert!(read_block(&block(2, &[("a", "Enum8('x' = 1)", &[1, 2])])).is_err());
        assert!(read_block(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            rows in 0_u8..5,
            ty in prop::sample::select(vec![
                "Int8", "UInt256", "String", "Nullable(Decimal(76, 5))", "Array(Map(String, Array(Date32)))",
                "Tuple(a Int8, b String)", "Variant(Int8, String)", "Array(Point)", "DateTime64(9)", "Time64(3)", "FixedString(3)", "UUID", "IPv6", "Enum16('a' = 1)", "Float64", "Time",
            ]),
            data in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = read_block(&block(rows, &[("x", ty, &data)]));
            let _ = read_block(&data);
        }
    }
}
