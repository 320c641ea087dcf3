//! ClickHouse's column types: read from their names, and written back in one canonical form.
//!
//! The names come from `system.columns` and from transforms, which are not trusted: a name is read by a
//! parser with a bounded depth that cannot panic, and only [`ColumnType`]'s own text ever goes into SQL.

use std::fmt;

use super::names;

mod parse;

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `Int8` to `Int256`, `UInt8` to `UInt256`.
    Int {
        /// Whether it has negative numbers.
        signed: bool,
        /// 8, 16, 32, 64, 128 or 256.
        bits: u16,
    },
    /// `Float32`
    Float32,
    /// `Float64`
    Float64,
    /// `Bool`
    Bool,
    /// `String`
    String,
    /// `FixedString(N)`: its length in bytes.
    FixedString(u32),
    /// `Decimal(P, S)`
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `Date`: days in 16 bits.
    Date,
    /// `Date32`
    Date32,
    /// `DateTime`: seconds in 32 bits; with its time zone's name.
    DateTime(Option<String>),
    /// `DateTime64`: digits after the second, 0 to 9; with its time zone's name.
    DateTime64(u8, Option<String>),
    /// `Time`: seconds.
    Time,
    /// `Time64`: digits after the second, 0 to 9.
    Time64(u8),
    /// `UUID`
    Uuid,
    /// `IPv4`
    Ipv4,
    /// `IPv6`
    Ipv6,
    /// `Enum8`, `Enum16`
    Enum {
        /// Whether it is `Enum16`.
        wide: bool,
        /// The labels with their numbers, in the order of the type's name.
        labels: Vec<(String, i16)>,
    },
    /// `Nullable(T)`
    Nullable(Box<ColumnType>),
    /// `LowCardinality(T)`
    LowCardinality(Box<ColumnType>),
    /// `Array(T)`
    Array(Box<ColumnType>),
    /// `Map(K, V)`
    Map(Box<ColumnType>, Box<ColumnType>),
    /// `Tuple(…)`: the elements, with their names where they have some.
    Tuple(Vec<(Option<String>, ColumnType)>),
    /// `Point`: two floats.
    Point,
    /// `Variant(…)`: any of these types, in the order of their names.
    Variant(Vec<ColumnType>),
    /// `JSON`, with its parameters as they stood.
    Json(String),
    /// A type that is not written: its name as it stood.
    Unsupported(String),
}

/// Where a table's column gets its value from when an insert leaves it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultKind {
    /// Nothing: the type's own default.
    None,
    /// `DEFAULT`: an insert may give it.
    Default,
    /// `MATERIALIZED`: an insert may not.
    Materialized,
    /// `ALIAS`: an insert may not.
    Alias,
    /// `EPHEMERAL`: an insert may give it, and it is not kept.
    Ephemeral,
}

/// A column of a table that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Where its value comes from when an insert leaves it out.
    pub default_kind: DefaultKind,
    /// Whether the table is sorted by it.
    pub in_key: bool,
}

impl DefaultKind {
    /// Reads `system.columns.default_kind`.
    ///
    /// # Errors
    /// A word that is none of ClickHouse's.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(DefaultKind::None),
            "DEFAULT" => Ok(DefaultKind::Default),
            "MATERIALIZED" => Ok(DefaultKind::Materialized),
            "ALIAS" => Ok(DefaultKind::Alias),
            "EPHEMERAL" => Ok(DefaultKind::Ephemeral),
            _ => Err(format!("unknown default kind {} in system.columns", names::shown(text))),
        }
    }

    /// Whether an insert may name the column.
    pub fn takes_values(self) -> bool {
        !matches!(self, DefaultKind::Materialized | DefaultKind::Alias)
    }
}

impl TableColumn {
    /// A row of `system.columns`.
    ///
    /// # Errors
    /// A type's name that cannot be read, or an unknown default kind; names the column.
    pub fn parse(name: &str, ty: &str, default_kind: &str) -> Result<Self, String> {
        let wrong = |reason| format!("column {}: {reason}", names::shown(name));
        Ok(TableColumn {
            name: name.to_owned(),
            ty: ColumnType::parse(ty).map_err(wrong)?,
            default_kind: DefaultKind::parse(default_kind).map_err(wrong)?,
            in_key: false,
        })
    }
}

impl ColumnType {
    /// Reads a type's name. A well-formed name of a type that is not known is `Unsupported`, not an error.
    ///
    /// # Errors
    /// Text that is no type's name, or is nested more than 16 deep; says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text)
    }

    /// `Nullable(self)`, where there is such a type and it is not one already; else itself.
    pub fn into_nullable(self) -> Self {
        match self {
            ColumnType::Array(_)
            | ColumnType::Map(..)
            | ColumnType::Tuple(_)
            | ColumnType::Point
            | ColumnType::Variant(_)
            | ColumnType::Nullable(_)
            | ColumnType::LowCardinality(_)
            | ColumnType::Json(_)
            | ColumnType::Unsupported(_) => self,
            plain => ColumnType::Nullable(Box::new(plain)),
        }
    }

    /// Whether it has a map of its nulls: it is Nullable.
    pub fn is_nullable(&self) -> bool {
        match self {
            ColumnType::Nullable(_) => true,
            ColumnType::LowCardinality(inner) => inner.is_nullable(),
            _ => false,
        }
    }

    /// Whether its values have others inside, which are written as columns of their own.
    pub fn is_nested(&self) -> bool {
        matches!(
            self.bare(),
            ColumnType::Array(_)
                | ColumnType::Map(..)
                | ColumnType::Tuple(_)
                | ColumnType::Point
                | ColumnType::Variant(_)
        )
    }

    /// Whether null is one of its values, with or without a map of nulls before them.
    pub fn takes_null(&self) -> bool {
        self.is_nullable() || matches!(self, ColumnType::Variant(_))
    }

    /// Whether there is a Variant in it.
    pub fn has_variant(&self) -> bool {
        match self {
            ColumnType::Variant(_) => true,
            ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) | ColumnType::Array(inner) => {
                inner.has_variant()
            }
            ColumnType::Map(key, value) => key.has_variant() || value.has_variant(),
            ColumnType::Tuple(elements) => elements.iter().any(|(_, ty)| ty.has_variant()),
            _ => false,
        }
    }

    /// The type without `Nullable` and `LowCardinality` around it.
    pub fn bare(&self) -> &ColumnType {
        match self {
            ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => inner.bare(),
            _ => self,
        }
    }

    /// The type under whose name its values are sent, which the server converts to this one: without
    /// `LowCardinality`, and text for JSON.
    pub fn sent(&self) -> ColumnType {
        match self {
            ColumnType::LowCardinality(inner) => inner.sent(),
            ColumnType::Nullable(inner) => ColumnType::Nullable(Box::new(inner.sent())),
            ColumnType::Array(inner) => ColumnType::Array(Box::new(inner.sent())),
            ColumnType::Map(key, value) => ColumnType::Map(Box::new(key.sent()), Box::new(value.sent())),
            ColumnType::Tuple(elements) => {
                ColumnType::Tuple(elements.iter().map(|(name, ty)| (name.clone(), ty.sent())).collect())
            }
            ColumnType::Json(_) => ColumnType::String,
            other => other.clone(),
        }
    }

    /// The first type in it whose values cannot be written, if there is one.
    pub fn unsupported(&self) -> Option<&ColumnType> {
        match self {
            ColumnType::Unsupported(_) => Some(self),
            ColumnType::Tuple(elements) => elements.iter().find_map(|(_, ty)| ty.unsupported()),
            // They are sent under other names, by which the server would not know the member.
            ColumnType::Variant(types) => types.iter().find_map(|ty| match ty {
                ty if ty.sent() != *ty => Some(ty),
                ty => ty.unsupported(),
            }),
            ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) | ColumnType::Array(inner) => {
                inner.unsupported()
            }
            ColumnType::Map(key, value) => key.unsupported().or_else(|| value.unsupported()),
            _ => None,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Int { signed, bits } => write!(f, "{}Int{bits}", if *signed { "" } else { "U" }),
            ColumnType::Float32 => f.write_str("Float32"),
            ColumnType::Float64 => f.write_str("Float64"),
            ColumnType::Bool => f.write_str("Bool"),
            ColumnType::String => f.write_str("String"),
            ColumnType::FixedString(bytes) => write!(f, "FixedString({bytes})"),
            ColumnType::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            ColumnType::Date => f.write_str("Date"),
            ColumnType::Date32 => f.write_str("Date32"),
            ColumnType::DateTime(None) => f.write_str("DateTime"),
            ColumnType::DateTime(Some(zone)) => write!(f, "DateTime({})", names::literal(zone)),
            ColumnType::DateTime64(digits, None) => write!(f, "DateTime64({digits})"),
            ColumnType::DateTime64(digits, Some(zone)) => {
                write!(f, "DateTime64({digits}, {})", names::literal(zone))
            }
            ColumnType::Time => f.write_str("Time"),
            ColumnType::Time64(digits) => write!(f, "Time64({digits})"),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Ipv4 => f.write_str("IPv4"),
            ColumnType::Ipv6 => f.write_str("IPv6"),
            ColumnType::Enum { wide, labels } => {
                f.write_str(if *wide { "Enum16" } else { "Enum8" })?;
                list(f, labels, |f, (label, number)| write!(f, "{} = {number}", names::literal(label)))
            }
            ColumnType::Nullable(inner) => write!(f, "Nullable({inner})"),
            ColumnType::LowCardinality(inner) => write!(f, "LowCardinality({inner})"),
            ColumnType::Array(inner) => write!(f, "Array({inner})"),
            ColumnType::Map(key, value) => write!(f, "Map({key}, {value})"),
            ColumnType::Tuple(elements) => {
                f.write_str("Tuple")?;
                list(f, elements, |f, (name, ty)| match name {
                    Some(name) => write!(f, "{} {ty}", names::identifier(name)),
                    None => write!(f, "{ty}"),
                })
            }
            ColumnType::Point => f.write_str("Point"),
            ColumnType::Variant(types) => {
                f.write_str("Variant")?;
                list(f, types, |f, ty| write!(f, "{ty}"))
            }
            ColumnType::Json(text) | ColumnType::Unsupported(text) => f.write_str(text),
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str("(")?;
    for (index, each) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        item(f, each)?;
    }
    f.write_str(")")
}
