//! Writers of single values, for types that have no values inside.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::clickhouse::convert::{Decode, Profile, calendar, number, refuse, text};
use crate::clickhouse::types::ColumnType;
use crate::debezium::value::Value;

use super::{Encoding, put_text};

/// How a type's values are written. `write` appends one whole value, or nothing and says why.
pub(super) struct Leaf<W> {
    pub(super) write: W,
    /// What stands for a null, or for a value that cannot be written.
    pub(super) empty: Cow<'static, [u8]>,
}

/// Any writer.
pub(super) type Write<'t> = Box<dyn Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String> + 't>;

/// A number of a fixed size.
pub(super) trait Fixed: TryFrom<i64> + TryFrom<i128> {
    fn put(self, out: &mut Vec<u8>);
    const BYTES: usize;
}

macro_rules! fixed {
    ($($int:ty)*) => {
        $(impl Fixed for $int {
            const BYTES: usize = size_of::<$int>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

fixed!(i8 i16 i32 i64 u8 u16 u32 u64);

fn zeros<W: Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>>(bytes: usize, write: W) -> Leaf<W> {
    // A leaf is made for each few rows of a column.
    static ZEROS: [u8; 32] = [0; 32];
    Leaf { write, empty: ZEROS.get(..bytes).map_or_else(|| vec![0; bytes].into(), Cow::Borrowed) }
}

pub(super) fn int<T: Fixed>() -> Leaf<impl Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>> {
    zeros(T::BYTES, |value: &Value<'_>, out: &mut Vec<u8>| {
        number::integer::<T>(value)?.put(out);
        Ok(())
    })
}

pub(super) fn float64() -> Leaf<impl Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>> {
    zeros(8, |value: &Value<'_>, out: &mut Vec<u8>| {
        out.extend_from_slice(&number::float64(value)?.to_le_bytes());
        Ok(())
    })
}

pub(super) fn boolean() -> Leaf<impl Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>> {
    zeros(1, |value: &Value<'_>, out: &mut Vec<u8>| {
        out.push(u8::from(number::boolean(value)?));
        Ok(())
    })
}

pub(super) fn string(decode: Decode) -> Leaf<impl Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>> {
    zeros(1, move |value: &Value<'_>, out: &mut Vec<u8>| {
        put_text(out, &text::canonical(value, decode)?);
        Ok(())
    })
}

pub(super) fn datetime64(
    digits: u8,
    profile: &Profile,
) -> Leaf<impl Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>> {
    zeros(8, move |value: &Value<'_>, out: &mut Vec<u8>| {
        calendar::ticks(value, digits, profile)?.put(out);
        Ok(())
    })
}

/// The writer for any type without `Nullable` and `LowCardinality` around it.
pub(super) fn any<'t>(ty: &'t ColumnType, encoding: Encoding<'t>) -> Leaf<Write<'t>> {
    match ty {
        ColumnType::Int { signed, bits } => any_int(*signed, *bits),
        ColumnType::Float32 => boxed(zeros(4, |value: &Value<'_>, out: &mut Vec<u8>| {
            out.extend_from_slice(&number::float32(value)?.to_le_bytes());
            Ok(())
        })),
        ColumnType::Float64 => boxed(float64()),
        ColumnType::Bool => boxed(boolean()),
        ColumnType::String => boxed(string(encoding.decode)),
        ColumnType::FixedString(size) => {
            let size = *size as usize;
            boxed(zeros(size, move |value: &Value<'_>, out: &mut Vec<u8>| {
                out.extend_from_slice(text::fixed(value, size)?);
                Ok(())
            }))
        }
        ColumnType::Decimal { precision, scale } => decimal(*precision, *scale),
        ColumnType::Date
        | ColumnType::Date32
        | ColumnType::DateTime(_)
        | ColumnType::DateTime64(..)
        | ColumnType::Time
        | ColumnType::Time64(_) => temporal(ty, encoding.profile),
        ColumnType::Uuid => boxed(zeros(16, |value: &Value<'_>, out: &mut Vec<u8>| {
            // Two 64-bit halves, the high one first.
            let uuid = text::uuid(value)?;
            ((uuid >> 64) as u64).put(out);
            (uuid as u64).put(out);
            Ok(())
        })),
        ColumnType::Ipv4 => boxed(zeros(4, |value: &Value<'_>, out: &mut Vec<u8>| {
            text::ipv4(value)?.to_bits().put(out);
            Ok(())
        })),
        ColumnType::Ipv6 => boxed(zeros(16, |value: &Value<'_>, out: &mut Vec<u8>| {
            out.extend_from_slice(&text::ipv6(value)?.octets());
            Ok(())
        })),
        ColumnType::Enum { wide, labels } => label(*wide, labels),
        // An empty text would not convert to JSON, not even where it is null.
        ColumnType::Json(_) => Leaf {
            write: Box::new(|value, out| {
                put_text(out, text::json_object(value)?.as_bytes());
                Ok(())
            }),
            empty: Cow::Borrowed(b"\x02{}"),
        },
        // The matrix lets nothing come here; a value all the same is refused, not lost.
        ColumnType::Nullable(_)
        | ColumnType::LowCardinality(_)
        | ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::Point
        | ColumnType::Variant(_)
        | ColumnType::Unsupported(_) => Leaf {
            write: Box::new(|value, _| Err(refuse(value, "of a supported type"))),
            empty: Cow::Borrowed(&[]),
        },
    }
}

fn boxed<'t, W: Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String> + 't>(leaf: Leaf<W>) -> Leaf<Write<'t>> {
    Leaf { write: Box::new(leaf.write), empty: leaf.empty }
}

fn any_int<'t>(signed: bool, bits: u16) -> Leaf<Write<'t>> {
    match (signed, bits) {
        (true, 8) => boxed(int::<i8>()),
        (true, 16) => boxed(int::<i16>()),
        (true, 32) => boxed(int::<i32>()),
        (true, 64) => boxed(int::<i64>()),
        (false, 8) => boxed(int::<u8>()),
        (false, 16) => boxed(int::<u16>()),
        (false, 32) => boxed(int::<u32>()),
        (false, 64) => boxed(int::<u64>()),
        _ => {
            let size = usize::from(bits / 8).min(32);
            boxed(zeros(size, move |value: &Value<'_>, out: &mut Vec<u8>| {
                let bytes = number::wide_integer(value, signed, size)?;
                out.extend(bytes.iter().take(size));
                Ok(())
            }))
        }
    }
}

fn decimal<'t>(precision: u8, scale: u8) -> Leaf<Write<'t>> {
    if precision > 38 {
        return boxed(zeros(32, move |value: &Value<'_>, out: &mut Vec<u8>| {
            out.extend_from_slice(&number::wide_decimal(value, precision, scale)?);
            Ok(())
        }));
    }
    let size = match precision {
        0..=9 => 4,
        10..=18 => 8,
        _ => 16,
    };
    boxed(zeros(size, move |value: &Value<'_>, out: &mut Vec<u8>| {
        // Its digits fit the size, so the bytes left out repeat the sign.
        let number = number::decimal(value, precision, scale)?.to_le_bytes();
        out.extend(number.iter().take(size));
        Ok(())
    }))
}

fn temporal<'t>(ty: &ColumnType, profile: &'t Profile) -> Leaf<Write<'t>> {
    match *ty {
        ColumnType::Date => boxed(zeros(2, |value: &Value<'_>, out: &mut Vec<u8>| {
            // Within 16 bits by its range.
            (calendar::days(value, profile.date_days)? as u16).put(out);
            Ok(())
        })),
        ColumnType::Date32 => boxed(zeros(4, |value: &Value<'_>, out: &mut Vec<u8>| {
            (calendar::days(value, profile.date32_days.unwrap_or(calendar::NOWHERE))? as i32).put(out);
            Ok(())
        })),
        ColumnType::DateTime(_) => boxed(zeros(4, |value: &Value<'_>, out: &mut Vec<u8>| {
            calendar::unix_seconds(value, profile)?.put(out);
            Ok(())
        })),
        ColumnType::DateTime64(digits, _) => boxed(datetime64(digits, profile)),
        ColumnType::Time64(digits) => boxed(zeros(8, move |value: &Value<'_>, out: &mut Vec<u8>| {
            calendar::time_ticks(value, digits)?.put(out);
            Ok(())
        })),
        // `Time`: its range of ±999:59:59 is within 32 bits.
        _ => boxed(zeros(4, |value: &Value<'_>, out: &mut Vec<u8>| {
            (calendar::time_ticks(value, 0)? as i32).put(out);
            Ok(())
        })),
    }
}

fn label<'t>(wide: bool, labels: &'t [(String, i16)]) -> Leaf<Write<'t>> {
    let numbers: FxHashMap<&str, i16> =
        labels.iter().map(|(label, number)| (label.as_str(), *number)).collect();
    let put = move |number: i16, out: &mut Vec<u8>| {
        // An Enum8's numbers have been checked to be of 8 bits.
        if wide { number.put(out) } else { (number as i8).put(out) }
    };
    let mut empty = Vec::new();
    put(labels.first().map_or(0, |(_, number)| *number), &mut empty);
    Leaf {
        write: Box::new(move |value, out| {
            let has = |number| labels.iter().any(|(_, known)| *known == number);
            put(text::label(value, |label| numbers.get(label).copied(), has)?, out);
            Ok(())
        }),
        empty: empty.into(),
    }
}
