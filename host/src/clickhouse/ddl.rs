//! Tables that the host creates: the types of their columns, and the statements.
//!
//! The types are those that lose nothing, of those that the server has ([`Profile::nearest`]). Where a value
//! might not fit the type that it has at the source, the column is text:
//! * decimals without a precision have 38 digits; those with a negative or a varying scale, or more digits
//!   than 76, are `String`;
//! * times of day are `Time64` where the server has it without a setting, else `Int64`, microseconds since
//!   midnight; those with nanoseconds are `String` then;
//! * JSON is `String`, since a JSON column takes only objects and rounds long numbers;
//! * arrays and maps that may be null are `Nullable(String)` with their JSON: no array can be null in
//!   ClickHouse, and an empty one is something else.

use crate::chaos::{self, Bug};
use crate::columns::Kind;
use crate::debezium::shape::{Guess, Structured, Wire};

use super::keyed;
use super::names::{check_column, check_table, identifier, literal, shown};
use super::profile::Profile;
use super::types::ColumnType;

/// A column of a table to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub ty: &'a ColumnType,
}

/// How many of the latest insert blocks a table remembers, to know a repeated one. Without a window, tokens do
/// nothing on a plain MergeTree.
const DEDUPLICATION_WINDOW: u32 = 10_000;

/// The columns that say which record and transform a row comes from, and identify it.
pub const LINEAGE: [(&str, &str); 5] = [
    ("_topic", "LowCardinality(String)"),
    ("_partition", "UInt32"),
    ("_offset", "UInt64"),
    ("_seq", "UInt16"),
    ("_transform", "LowCardinality(String)"),
];

/// When the server took a row.
fn inserted_at(profile: &Profile) -> &'static str {
    match profile.datetime64_seconds {
        Some(_) => "`ts` DateTime64(3) DEFAULT now64(3)",
        None => "`ts` DateTime DEFAULT now()",
    }
}

/// The columns of a table of dead letters that the host writes. Tables of earlier versions lack the last one.
pub const DEAD_LETTER_COLUMNS: [(&str, &str); 11] = [
    ("pipeline", "LowCardinality(String)"),
    ("topic", "LowCardinality(String)"),
    ("partition", "UInt32"),
    ("offset", "UInt64"),
    ("timestamp", "Nullable(DateTime64(3, 'UTC'))"),
    ("key", "Nullable(String)"),
    ("value", "Nullable(String)"),
    ("stage", "LowCardinality(String)"),
    ("reason", "String"),
    ("transform", "LowCardinality(String)"),
    ("headers", "String"),
];

/// The columns of the table of marks on dead letters that the host writes.
pub const MARK_COLUMNS: [(&str, &str); 9] = [
    ("pipeline", "LowCardinality(String)"),
    ("topic", "LowCardinality(String)"),
    ("partition", "UInt32"),
    ("offset", "UInt64"),
    ("letter", "String"),
    ("how", "LowCardinality(String)"),
    ("transform", "LowCardinality(String)"),
    ("by", "String"),
    ("reason", "String"),
];

/// The columns of the table with a row for each range, as the host writes them.
pub const AUDIT_COLUMNS: [(&str, &str); 15] = [
    ("pipeline", "LowCardinality(String)"),
    ("topic", "LowCardinality(String)"),
    ("partition", "UInt32"),
    ("first", "UInt64"),
    ("last", "UInt64"),
    ("records", "UInt64"),
    ("kept", "UInt64"),
    ("filtered", "UInt64"),
    ("not_changes", "UInt64"),
    ("rejected", "UInt64"),
    ("rows", "UInt64"),
    ("tables", "Array(String)"),
    ("transform", "LowCardinality(String)"),
    ("epoch", "UInt16"),
    ("recovered", "UInt8"),
];

/// The columns by which the newest row of a key replaces the ones before it.
pub const VERSION: [(&str, &str); 2] = [("_version", "UInt64"), ("_is_deleted", "UInt8")];

/// The column that says which life of its topic a row's record is of.
pub const EPOCH: (&str, &str) = ("_epoch", "UInt16");

/// The same in a table of dead letters.
pub const DEAD_LETTER_EPOCH: (&str, &str) = ("epoch", "UInt16");

/// The columns of the table that keeps which lives the topics have had; what is in them is told in `topics.rs`.
pub const TOPICS_COLUMNS: [(&str, &str); 5] = [
    ("pipeline", "LowCardinality(String)"),
    ("topic", "String"),
    ("topic_id", "String"),
    ("epoch", "UInt16"),
    ("partitions", "UInt32"),
];

/// The columns of the table that says which transform made a partition's rows from where on; what is in them is told in
/// `transforms.rs`.
pub const TRANSFORMS_COLUMNS: [(&str, &str); 9] = [
    ("pipeline", "LowCardinality(String)"),
    ("topic", "String"),
    ("partition", "UInt32"),
    ("epoch", "UInt16"),
    ("from_offset", "UInt64"),
    ("transform", "String"),
    ("pin", "String"),
    ("before", "String"),
    ("before_pin", "String"),
];

/// The most labels of an enum that a transform may ask for, and the most bytes of one.
const MAX_LABELS: (usize, usize) = (1_000, 255);

/// The type that a copied column gets on a server of this profile.
pub fn column_type(wire: &Wire, nullable: bool, profile: &Profile) -> ColumnType {
    let ty = match wire {
        Wire::Array(_) | Wire::Map(_) if nullable => ColumnType::String,
        wire => profile.nearest(wire_type(wire)),
    };
    if nullable { ty.into_nullable() } else { ty }
}

fn wire_type(wire: &Wire) -> ColumnType {
    match wire {
        Wire::Bool | Wire::Guess(Guess::Bool) => ColumnType::Bool,
        Wire::Int(bits) => ColumnType::Int { signed: true, bits: u16::from(*bits) },
        Wire::Guess(Guess::Int) => ColumnType::Int { signed: true, bits: 64 },
        Wire::Float32 => ColumnType::Float32,
        Wire::Float64 | Wire::Guess(Guess::Float) => ColumnType::Float64,
        Wire::Decimal { scale, precision } => decimal_type(*scale, *precision),
        Wire::DecimalText(Some((precision, scale))) => {
            i32::try_from(*scale).map_or(ColumnType::String, |scale| decimal_type(scale, Some(*precision)))
        }
        Wire::UInt64 => ColumnType::Int { signed: false, bits: 64 },
        Wire::Date | Wire::IsoDate | Wire::Structured(Structured::Date) => ColumnType::Date32,
        Wire::Structured(Structured::Timestamp | Structured::ZonedTimestamp) => utc(6),
        Wire::Structured(Structured::ZonedTime | Structured::Duration) => ColumnType::String,
        Wire::TimeMillis => ColumnType::Time64(3),
        Wire::TimeMicros => ColumnType::Time64(6),
        Wire::TimeNanos | Wire::Structured(Structured::Time) => ColumnType::Time64(9),
        Wire::TimestampMillis => utc(3),
        Wire::TimestampMicros | Wire::TimestampIso => utc(6),
        Wire::TimestampNanos => utc(9),
        Wire::Uuid => ColumnType::Uuid,
        Wire::Array(element) => ColumnType::Array(Box::new(element_type(element))),
        Wire::Map(value) => ColumnType::Map(Box::new(ColumnType::String), Box::new(element_type(value))),
        Wire::Text
        | Wire::Bytes
        | Wire::BytesUrl
        | Wire::BytesHex
        | Wire::DecimalText(None)
        | Wire::Bits(_)
        | Wire::VariableDecimal
        | Wire::JsonText
        | Wire::Json
        | Wire::Guess(Guess::Unknown | Guess::BigInt | Guess::Text | Guess::Json) => ColumnType::String,
    }
}

/// Arrays in arrays cannot be null; their elements can, at the bottom.
fn element_type(wire: &Wire) -> ColumnType {
    wire_type(wire).into_nullable()
}

fn utc(digits: u8) -> ColumnType {
    ColumnType::DateTime64(digits, Some("UTC".to_owned()))
}

fn decimal_type(scale: i32, precision: Option<u32>) -> ColumnType {
    let Ok(scale) = u8::try_from(scale) else { return ColumnType::String };
    match precision {
        None if scale <= 38 => ColumnType::Decimal { precision: 38, scale },
        // Oracle's NUMBER(2, 5) has more digits after the point than in all.
        Some(precision) => match u8::try_from(precision.max(u32::from(scale))) {
            Ok(precision @ 1..=76) => ColumnType::Decimal { precision, scale },
            _ => ColumnType::String,
        },
        None => ColumnType::String,
    }
}

/// The type that a computed column gets where its transform names none, on a server of this profile.
pub fn computed_type(kind: Kind, nullable: bool, profile: &Profile) -> ColumnType {
    let ty = match kind {
        Kind::Boolean => ColumnType::Bool,
        Kind::Int => ColumnType::Int { signed: true, bits: 64 },
        Kind::Time => ColumnType::Time64(6),
        Kind::Float => ColumnType::Float64,
        Kind::Date => ColumnType::Date32,
        Kind::Timestamp => utc(6),
        // A decimal's digits are not known, and text loses none.
        Kind::Decimal | Kind::Text | Kind::Json | Kind::Bytes => ColumnType::String,
    };
    let ty = profile.nearest(ty);
    if nullable { ty.into_nullable() } else { ty }
}

/// The type that a transform asks for. Its text never goes into SQL; the type that it names does, in the
/// host's own spelling.
///
/// # Errors
/// Text that is no type, a type that the host does not write, or one with parameters that it does not know.
pub fn target_type(text: &str) -> Result<ColumnType, String> {
    let ty = ColumnType::parse(text)?;
    if let Some(unsupported) = ty.unsupported() {
        return Err(format!("the column type {} is not supported", shown(&unsupported.to_string())));
    }
    check_parameters(&ty)?;
    Ok(ty)
}

fn check_parameters(ty: &ColumnType) -> Result<(), String> {
    match ty {
        ColumnType::Json(text) if text != "JSON" => {
            Err("a JSON type with parameters is not supported here: ask for JSON, or create the table"
                .to_owned())
        }
        ColumnType::DateTime(Some(zone)) | ColumnType::DateTime64(_, Some(zone))
            if zone.len() > MAX_LABELS.1 =>
        {
            Err("the time zone's name is too long".to_owned())
        }
        ColumnType::Enum { labels, .. } => {
            let (count, bytes) = MAX_LABELS;
            if labels.len() > count || labels.iter().any(|(label, _)| label.len() > bytes) {
                return Err(format!("an enum may have {count} labels of {bytes} bytes at most"));
            }
            Ok(())
        }
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) | ColumnType::Array(inner) => {
            check_parameters(inner)
        }
        ColumnType::Map(key, value) => check_parameters(key).and_then(|()| check_parameters(value)),
        ColumnType::Tuple(elements) => elements.iter().try_for_each(|(_, ty)| check_parameters(ty)),
        ColumnType::Variant(types) => types.iter().try_for_each(check_parameters),
        _ => Ok(()),
    }
}

/// The statement that creates a plan's table, unless it is there.
///
/// Without a key it is a log: a `MergeTree` ordered by the position of the record. With one, the newest
/// row of a key replaces the ones before it, and a deleted one removes it, as far as the server that `profile`
/// tells of can; where it cannot, readers leave out what `_is_deleted` says. `ts`, the time of the insert, is added unless the plan has a column of that name.
///
/// # Errors
/// Names that the server or the host does not take, repeated columns, and keys that cannot be sorted by.
pub fn create_table(
    database: &str,
    table: &str,
    columns: &[NewColumn<'_>],
    key: &[&str],
    profile: &Profile,
) -> Result<String, String> {
    check_table(database, table)?;
    check_columns(columns)?;
    check_key(columns, key)?;
    let mut lines: Vec<String> =
        columns.iter().map(|column| format!("{} {}", identifier(column.name), column.ty)).collect();
    if columns.iter().all(|column| column.name != "ts") {
        lines.push(inserted_at(profile).to_owned());
    }
    let version = if key.is_empty() { &[][..] } else { &VERSION[..] };
    lines.extend(LINEAGE.iter().chain(version).map(|column| line(column, profile)));
    let (engine, order, window) = if key.is_empty() {
        ("MergeTree", "`_topic`, `_partition`, `_offset`, `_seq`".to_owned(), true)
    } else {
        // So that the rows of a range can be found without reading the whole table. Servers of 2018 have none.
        if profile.modern_syntax {
            lines.push("INDEX `_position` (`_partition`, `_offset`) TYPE minmax GRANULARITY 1".to_owned());
        }
        let names: Vec<String> = key.iter().map(|name| identifier(name)).collect();
        let engine = match profile.replacing_deletes {
            true => "ReplacingMergeTree(`_version`, `_is_deleted`)",
            false => "ReplacingMergeTree(`_version`)",
        };
        // No window: a killed server can remember a block whose rows it lost, and a row that comes twice does
        // no harm here.
        (engine, names.join(", "), false)
    };
    Ok(statement(database, table, &lines, engine, &order, window && profile.windows))
}

/// The name of the view of a keyed table's rows that are there now.
pub fn view_name(table: &str) -> String {
    format!("{table}_current")
}

/// The statement that creates the view of the rows of a keyed table that are there now: the newest of each
/// key, without those that left. It leaves alone whatever has that name.
///
/// # Errors
/// A name that is too long for the server.
pub fn create_view(database: &str, table: &str, columns: &[&str]) -> Result<String, String> {
    Ok(format!("CREATE VIEW IF NOT EXISTS {}", view(database, table, columns)?))
}

/// The statements that make that view anew: one, or if the server refuses it the two others.
///
/// # Errors
/// A name that is too long for the server.
pub fn replace_view(database: &str, table: &str, columns: &[&str]) -> Result<[String; 3], String> {
    let replace = format!("CREATE OR REPLACE VIEW {}", view(database, table, columns)?);
    let drop = format!("DROP VIEW IF EXISTS {}.{}", identifier(database), identifier(&view_name(table)));
    Ok([replace, drop, create_view(database, table, columns)?])
}

/// The statement that adds a column. Servers before 2019 do not know `if_not_exists`.
///
/// # Errors
/// A name or a type that the server or the host does not take.
pub fn add_column(
    database: &str,
    table: &str,
    name: &str,
    ty: &ColumnType,
    if_not_exists: bool,
) -> Result<String, String> {
    check_columns(&[NewColumn { name, ty }])?;
    let condition = if if_not_exists { "IF NOT EXISTS " } else { "" };
    Ok(format!(
        "ALTER TABLE {}.{} ADD COLUMN {condition}{} {ty}",
        identifier(database),
        identifier(table),
        identifier(name)
    ))
}

/// The statement that gives a column another type.
///
/// # Errors
/// A name or a type that the server or the host does not take.
pub fn modify_column(database: &str, table: &str, name: &str, ty: &ColumnType) -> Result<String, String> {
    check_columns(&[NewColumn { name, ty }])?;
    let (database, table) = (identifier(database), identifier(table));
    Ok(format!("ALTER TABLE {database}.{table} MODIFY COLUMN {} {ty}", identifier(name)))
}

/// What comes after `CREATE VIEW`.
fn view(database: &str, table: &str, columns: &[&str]) -> Result<String, String> {
    let view = view_name(table);
    check_table(database, &view)?;
    let columns: Vec<String> = columns.iter().map(|name| identifier(name)).collect();
    let database = identifier(database);
    Ok(format!(
        "{database}.{} AS\nSELECT {}\nFROM {database}.{} FINAL\nWHERE `_is_deleted` = 0",
        identifier(&view),
        columns.join(", "),
        identifier(table),
    ))
}

/// The statement that adds the column of epochs, to a table of rows ([`EPOCH`]) or of dead letters
/// ([`DEAD_LETTER_EPOCH`]). Rows that are there are of epoch 0. Servers before 2019 do not know `if_not_exists`.
pub fn add_epoch(
    database: &str,
    table: &str,
    (name, ty): (&str, &str),
    profile: &Profile,
    if_not_exists: bool,
) -> String {
    let condition = if if_not_exists { "IF NOT EXISTS " } else { "" };
    format!(
        "ALTER TABLE {}.{} ADD COLUMN {condition}{} {} DEFAULT 0",
        identifier(database),
        identifier(table),
        identifier(name),
        own_type(ty, profile)
    )
}

/// The statement that creates the table of topics, unless it is there.
///
/// # Errors
/// Names that the server or the host does not take.
pub fn create_topics(database: &str, table: &str, profile: &Profile) -> Result<String, String> {
    check_table(database, table)?;
    let mut lines: Vec<String> = TOPICS_COLUMNS.iter().map(|column| line(column, profile)).collect();
    lines.push("`at` DateTime DEFAULT now()".to_owned());
    // No window: a line that comes twice says the same.
    Ok(statement(database, table, &lines, "MergeTree", "`pipeline`, `topic`, `epoch`", false))
}

/// The statement that creates the table which says which transform made a partition's rows from where on, unless it is
/// there.
///
/// # Errors
/// Names that the server or the host does not take.
pub fn create_transforms(database: &str, table: &str, profile: &Profile) -> Result<String, String> {
    check_table(database, table)?;
    let mut lines: Vec<String> = TRANSFORMS_COLUMNS.iter().map(|column| line(column, profile)).collect();
    lines.push("`at` DateTime DEFAULT now()".to_owned());
    // No window: a line that comes twice says the same.
    let order = "`pipeline`, `topic`, `partition`, `epoch`, `from_offset`";
    Ok(statement(database, table, &lines, "MergeTree", order, false))
}

/// The statement that removes what a partition's records before `offset` wrote, for a truncate at `offset`. The
/// server answers when it is done. What the topic wrote before it was made anew (`epoch`) came before, too.
pub fn truncate(
    database: &str,
    table: &str,
    topic: &str,
    partition: i32,
    (epoch, offset): (u16, i64),
) -> String {
    let before = match keyed::version_number(epoch, offset) {
        Ok(version) if epoch > 0 => format!("`_version` < {version}"),
        _ => format!("`_offset` < {offset}"),
    };
    // Not a lightweight delete: what is gone must not come back by a merge, on any version.
    format!(
        "ALTER TABLE {}.{} DELETE WHERE `_topic` = {} AND `_partition` = {partition} AND {before} \
         SETTINGS mutations_sync = 2",
        identifier(database),
        identifier(table),
        literal(topic),
    )
}

/// The statement that creates the table of dead letters, unless it is there.
///
/// # Errors
/// Names that the server or the host does not take.
pub fn create_dead_letters(database: &str, table: &str, profile: &Profile) -> Result<String, String> {
    create_by_record(database, table, &DEAD_LETTER_COLUMNS, profile)
}

/// The statement that creates the table of marks on dead letters, unless it is there.
///
/// # Errors
/// Names that the server or the host does not take.
pub fn create_marks(database: &str, table: &str, profile: &Profile) -> Result<String, String> {
    create_by_record(database, table, &MARK_COLUMNS, profile)
}

fn create_by_record(
    database: &str,
    table: &str,
    columns: &[(&str, &str)],
    profile: &Profile,
) -> Result<String, String> {
    check_table(database, table)?;
    let mut lines: Vec<String> = columns.iter().map(|column| line(column, profile)).collect();
    lines.push(inserted_at(profile).to_owned());
    let order = "`pipeline`, `topic`, `partition`, `offset`";
    Ok(statement(database, table, &lines, "MergeTree", order, profile.windows))
}

/// The statement that creates the table with a row for each range, unless it is there.
///
/// # Errors
/// Names that the server or the host does not take.
pub fn create_audit(database: &str, table: &str, profile: &Profile) -> Result<String, String> {
    check_table(database, table)?;
    let mut lines: Vec<String> = AUDIT_COLUMNS.iter().map(|column| line(column, profile)).collect();
    lines.push(inserted_at(profile).to_owned());
    let order = "`pipeline`, `topic`, `partition`, `first`";
    Ok(statement(database, table, &lines, "MergeTree", order, profile.windows))
}

/// A column of the host's own, in a type that the server has.
fn line((name, ty): &(&str, &str), profile: &Profile) -> String {
    format!("{} {}", identifier(name), own_type(ty, profile))
}

/// A type of the host's own, or the one that stands for it on this server.
pub fn own_type(ty: &str, profile: &Profile) -> ColumnType {
    profile.nearest(ColumnType::parse(ty).unwrap_or(ColumnType::String))
}

fn statement(
    database: &str,
    table: &str,
    lines: &[String],
    engine: &str,
    order: &str,
    window: bool,
) -> String {
    let settings = match window && !chaos::has(Bug::NoWindow) {
        true => format!("\nSETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"),
        false => String::new(),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{}\n(\n    {}\n)\nENGINE = {engine}\nORDER BY ({order}){settings}",
        identifier(database),
        identifier(table),
        lines.join(",\n    "),
    )
}

/// The name that a column is created under: in an array's, a point would make it a part of a Nested column.
pub fn created_name(name: &str, ty: &ColumnType) -> String {
    match ty {
        ColumnType::Array(_) => plain_name(name),
        _ => name.to_owned(),
    }
}

/// A name without points.
pub fn plain_name(name: &str) -> String {
    name.replace('.', "_")
}

fn check_columns(columns: &[NewColumn<'_>]) -> Result<(), String> {
    if columns.is_empty() {
        return Err("the plan has no column to create the table with".to_owned());
    }
    for (index, column) in columns.iter().enumerate() {
        let name = column.name;
        check_column(name)?;
        if LINEAGE.iter().chain(&VERSION).chain(&[EPOCH]).any(|(own, _)| *own == name) {
            return Err(format!(
                "the column {} has a name that the host keeps for itself: choose another",
                shown(name)
            ));
        }
        if columns.iter().take(index).any(|other| other.name == name) {
            return Err(format!("the column {} is there twice", shown(name)));
        }
        if matches!(column.ty, ColumnType::Array(_)) && name.contains('.') {
            return Err(format!(
                "the column {} is an array with a point in its name, which ClickHouse takes for a part of \
                 a Nested column: choose another name",
                shown(name)
            ));
        }
        target_type(&column.ty.to_string()).map_err(|reason| format!("column {}: {reason}", shown(name)))?;
    }
    Ok(())
}

fn check_key(columns: &[NewColumn<'_>], key: &[&str]) -> Result<(), String> {
    for name in key {
        let column = columns
            .iter()
            .find(|column| column.name == *name)
            .ok_or_else(|| format!("the key names {}, which is none of the columns", shown(name)))?;
        if column.ty.is_nullable() || matches!(column.ty, ColumnType::Json(_)) {
            return Err(format!(
                "the key has {}, but a table cannot be ordered by {}: make it not nullable",
                shown(name),
                column.ty
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(wire: &Wire, nullable: bool) -> String {
        column_type(wire, nullable, &Profile::default()).to_string()
    }

    #[test]
    fn each_wire_has_a_type_that_loses_nothing() {
        let array = |inner| Wire::Array(Box::new(inner));
        for (wire, plain, nullable) in [
            (Wire::Bool, "Bool", "Nullable(Bool)"),
            (Wire::Int(8), "Int8", "Nullable(Int8)"),
            (Wire::Int(64), "Int64", "Nullable(Int64)"),
            (Wire::Float32, "Float32", "Nullable(Float32)"),
            (Wire::Float64, "Float64", "Nullable(Float64)"),
            (Wire::Text, "String", "Nullable(String)"),
            (Wire::Bytes, "String", "Nullable(String)"),
            (Wire::Bits(Some(3)), "String", "Nullable(String)"),
            (Wire::Decimal { scale: 4, precision: Some(18) }, "Decimal(18, 4)", "Nullable(Decimal(18, 4))"),
            (Wire::Decimal { scale: 4, precision: None }, "Decimal(38, 4)", "Nullable(Decimal(38, 4))"),
            (Wire::Decimal { scale: 5, precision: Some(2) }, "Decimal(5, 5)", "Nullable(Decimal(5, 5))"),
            (Wire::Decimal { scale: 0, precision: Some(77) }, "String", "Nullable(String)"),
            (Wire::Decimal { scale: -2, precision: Some(5) }, "String", "Nullable(String)"),
            (Wire::Decimal { scale: 39, precision: None }, "String", "Nullable(String)"),
            (Wire::VariableDecimal, "String", "Nullable(String)"),
            (Wire::Date, "Date32", "Nullable(Date32)"),
            (Wire::IsoDate, "Date32", "Nullable(Date32)"),
            (Wire::TimeMillis, "Time64(3)", "Nullable(Time64(3))"),
            (Wire::TimeMicros, "Time64(6)", "Nullable(Time64(6))"),
            (Wire::TimeNanos, "Time64(9)", "Nullable(Time64(9))"),
            (Wire::TimestampMillis, "DateTime64(3, 'UTC')", "Nullable(DateTime64(3, 'UTC'))"),
            (Wire::TimestampMicros, "DateTime64(6, 'UTC')", "Nullable(DateTime64(6, 'UTC'))"),
            (Wire::TimestampNanos, "DateTime64(9, 'UTC')", "Nullable(DateTime64(9, 'UTC'))"),
            (Wire::TimestampIso, "DateTime64(6, 'UTC')", "Nullable(DateTime64(6, 'UTC'))"),
            (Wire::Uuid, "UUID", "Nullable(UUID)"),
            (Wire::JsonText, "String", "Nullable(String)"),
            (array(Wire::Int(32)), "Array(Nullable(Int32))", "Nullable(String)"),
            (array(array(Wire::Uuid)), "Array(Array(Nullable(UUID)))", "Nullable(String)"),
            (Wire::Map(Box::new(Wire::Text)), "Map(String, Nullable(String))", "Nullable(String)"),
            (Wire::Json, "String", "Nullable(String)"),
            (Wire::Guess(Guess::Unknown), "String", "Nullable(String)"),
            (Wire::Guess(Guess::Bool), "Bool", "Nullable(Bool)"),
            (Wire::Guess(Guess::Int), "Int64", "Nullable(Int64)"),
            (Wire::Guess(Guess::BigInt), "String", "Nullable(String)"),
            (Wire::Guess(Guess::Float), "Float64", "Nullable(Float64)"),
            (Wire::Guess(Guess::Text), "String", "Nullable(String)"),
            (Wire::Guess(Guess::Json), "String", "Nullable(String)"),
        ] {
            assert_eq!(named(&wire, false), plain, "{wire:?}");
            assert_eq!(named(&wire, true), nullable, "{wire:?}");
        }
        let profile = Profile::default();
        let computed = computed_type(Kind::Timestamp, true, &profile);
        assert_eq!(computed.to_string(), "Nullable(DateTime64(6, 'UTC'))");
    }

    #[test]
    fn an_old_server_gets_types_that_it_has() {
        let old = Profile::oldest();
        for (wire, plain, nullable) in [
            (Wire::Bool, "UInt8", "Nullable(UInt8)"),
            (Wire::Date, "String", "Nullable(String)"),
            (Wire::TimeMicros, "Int64", "Nullable(Int64)"),
            (Wire::TimeNanos, "String", "Nullable(String)"),
            (Wire::TimestampMicros, "String", "Nullable(String)"),
            (Wire::Decimal { scale: 2, precision: Some(40) }, "String", "Nullable(String)"),
            (Wire::Decimal { scale: 2, precision: Some(38) }, "Decimal(38, 2)", "Nullable(Decimal(38, 2))"),
            (Wire::Map(Box::new(Wire::Text)), "String", "Nullable(String)"),
            (Wire::Array(Box::new(Wire::Date)), "Array(Nullable(String))", "Nullable(String)"),
            (Wire::Uuid, "UUID", "Nullable(UUID)"),
        ] {
            assert_eq!(column_type(&wire, false, &old).to_string(), plain, "{wire:?}");
            assert_eq!(column_type(&wire, true, &old).to_string(), nullable, "{wire:?}");
        }
        assert_eq!(computed_type(Kind::Timestamp, false, &old).to_string(), "String");
        let id = ColumnType::Int { signed: true, bits: 64 };
        let sql =
            create_table("db", "t", &[NewColumn { name: "id", ty: &id }], &[], &old).expect("good names");
        assert!(sql.contains("`ts` DateTime DEFAULT now(),\n    `_topic` String,"), "{sql}");
        assert!(sql.ends_with("ORDER BY (`_topic`, `_partition`, `_offset`, `_seq`)"), "{sql}");
        let sql = create_dead_letters("db", "d", &old).expect("good names");
        assert!(sql.contains("`timestamp` Nullable(String)") && !sql.contains("SETTINGS"), "{sql}");
    }

    #[test]
    fn the_types_that_tables_get_hold_what_their_sources_send() {
        use crate::clickhouse::convert::{Fit, Source, check};

        for wire in [
            Wire::Bool,
            Wire::Int(16),
            Wire::Float32,
            Wire::Float64,
            Wire::Text,
            Wire::Bytes,
            Wire::Bits(None),
            Wire::Decimal { scale: 2, precision: Some(10) },
            Wire::VariableDecimal,
            Wire::Date,
            Wire::IsoDate,
            Wire::TimeMillis,
            Wire::TimeMicros,
            Wire::TimeNanos,
            Wire::TimestampMillis,
            Wire::TimestampMicros,
            Wire::TimestampNanos,
            Wire::TimestampIso,
            Wire::Uuid,
            Wire::JsonText,
            Wire::Json,
            Wire::Array(Box::new(Wire::Int(32))),
            Wire::Map(Box::new(Wire::Date)),
            Wire::Guess(Guess::BigInt),
        ] {
            for nullable in [false, true] {
                let ty = column_type(&wire, nullable, &Profile::default());
                assert_eq!(check(Source::Wire(&wire), nullable, &ty), Ok(Fit::Exact), "{wire:?}");
                let old = column_type(&wire, nullable, &Profile::oldest());
                assert_eq!(check(Source::Wire(&wire), nullable, &old), Ok(Fit::Exact), "{wire:?}");
            }
        }
        for kind in [
            Kind::Boolean,
            Kind::Int,
            Kind::Float,
            Kind::Decimal,
            Kind::Text,
            Kind::Json,
            Kind::Bytes,
            Kind::Date,
            Kind::Time,
            Kind::Timestamp,
        ] {
            for profile in [Profile::default(), Profile::oldest()] {
                let ty = computed_type(kind, true, &profile);
                assert_eq!(check(Source::Kind(kind), true, &ty), Ok(Fit::Exact), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_log_is_ordered_by_the_records_position_and_remembers_tokens() {
        let ty = ColumnType::String.into_nullable();
        let columns = [NewColumn { name: "na`me", ty: &ty }];
        let sql = create_table("db", "orders", &columns, &[], &Profile::default()).expect("good names");
        assert_eq!(
            sql,
            "CREATE TABLE IF NOT EXISTS `db`.`orders`\n(\n    `na\\`me` Nullable(String),\n    \
             `ts` DateTime64(3) DEFAULT now64(3),\n    `_topic` LowCardinality(String),\n    \
             `_partition` UInt32,\n    `_offset` UInt64,\n    `_seq` UInt16,\n    \
             `_transform` LowCardinality(String)\n)\nENGINE = MergeTree\n\
             ORDER BY (`_topic`, `_partition`, `_offset`, `_seq`)\n\
             SETTINGS non_replicated_deduplication_window = 10000"
        );
    }

    #[test]
    fn a_plans_own_ts_is_left_alone() {
        let ty = utc(6);
        let sql = create_table("db", "t", &[NewColumn { name: "ts", ty: &ty }], &[], &Profile::default())
            .expect("good names");
        assert_eq!(sql.matches("`ts`").count(), 1);
    }

    #[test]
    fn a_keyed_table_replaces_rows_by_version() {
        let (id, text) = (ColumnType::Int { signed: true, bits: 64 }, ColumnType::String.into_nullable());
        let columns = [NewColumn { name: "id", ty: &id }, NewColumn { name: "v", ty: &text }];
        let sql = create_table("db", "t", &columns, &["id"], &Profile::default()).expect("a good key");
        assert!(
            sql.ends_with("ENGINE = ReplacingMergeTree(`_version`, `_is_deleted`)\nORDER BY (`id`)"),
            "{sql}"
        );
        let old = create_table(
            "db",
            "t",
            &columns,
            &["id"],
            &Profile { replacing_deletes: false, ..Profile::default() },
        )
        .expect("a good key");
        assert!(old.contains("    `_is_deleted` UInt8"), "{old}");
        assert!(old.contains("ENGINE = ReplacingMergeTree(`_version`)\nORDER BY (`id`)"), "{old}");
        assert!(create_table("db", "t", &columns, &["v"], &Profile::default()).is_err(), "nullable");
        assert!(create_table("db", "t", &columns, &["x"], &Profile::default()).is_err(), "not there");
    }

    #[test]
    fn the_view_of_a_keyed_table_shows_what_is_there_now() {
        assert_eq!(
            create_view("d`b", "t", &["id", "na`me"]).expect("good names"),
            "CREATE VIEW IF NOT EXISTS `d\\`b`.`t_current` AS\nSELECT `id`, `na\\`me`\nFROM `d\\`b`.`t` FINAL\n\
             WHERE `_is_deleted` = 0"
        );
        assert!(create_view("db", &"t".repeat(121), &["id"]).is_err(), "the view's name is longer");
    }

    #[test]
    fn columns_are_added_and_widened_under_quoted_names() {
        let ty = ColumnType::Int { signed: true, bits: 64 }.into_nullable();
        assert_eq!(
            add_column("db", "t", "a`b", &ty, true).expect("a good name"),
            "ALTER TABLE `db`.`t` ADD COLUMN IF NOT EXISTS `a\\`b` Nullable(Int64)"
        );
        assert_eq!(
            add_column("db", "t", "a", &ty, false).expect("a good name"),
            "ALTER TABLE `db`.`t` ADD COLUMN `a` Nullable(Int64)"
        );
        assert_eq!(
            modify_column("db", "t", "a", &ty).expect("a good name"),
            "ALTER TABLE `db`.`t` MODIFY COLUMN `a` Nullable(Int64)"
        );
        assert!(add_column("db", "t", "_offset", &ty, true).is_err());
        assert!(add_column("db", "t", "", &ty, true).is_err());
    }

    #[test]
    fn a_truncate_removes_what_came_before_it_from_its_partition() {
        assert_eq!(
            truncate("db", "t", "it's", 3, (0, 17)),
            "ALTER TABLE `db`.`t` DELETE WHERE `_topic` = 'it\\'s' AND `_partition` = 3 AND `_offset` < 17 \
             SETTINGS mutations_sync = 2"
        );
    }

    #[test]
    fn columns_that_would_collide_or_mean_something_else_are_refused() {
        let (text, list) = (ColumnType::String, ColumnType::Array(Box::new(ColumnType::String)));
        let json = ColumnType::Json("JSON(x) ENGINE = Null --".to_owned());
        for columns in [
            &[][..],
            &[NewColumn { name: "_offset", ty: &text }],
            &[NewColumn { name: "_version", ty: &text }],
            &[NewColumn { name: "a", ty: &text }, NewColumn { name: "a", ty: &text }],
            &[NewColumn { name: "n.x", ty: &list }],
            &[NewColumn { name: "a", ty: &json }],
            &[NewColumn { name: "", ty: &text }],
        ] {
            assert!(create_table("db", "t", columns, &[], &Profile::default()).is_err(), "{columns:?}");
        }
        assert!(
            create_table("db", "../t", &[NewColumn { name: "a", ty: &text }], &[], &Profile::default())
                .is_err()
        );
    }

    #[test]
    fn a_transforms_type_is_read_and_never_pasted() {
        assert_eq!(target_type("Decimal(18,4)").map(|ty| ty.to_string()), Ok("Decimal(18, 4)".to_owned()));
        assert_eq!(target_type("JSON").map(|ty| ty.to_string()), Ok("JSON".to_owned()));
        let labels: Vec<String> = (0..1_001).map(|number| format!("'l{number}' = {number}")).collect();
        for wrong in [
            "String DEFAULT 1",
            "Foo",
            "Array(Foo)",
            "JSON(a Int8)",
            "Tuple(Foo)",
            "Variant(JSON, String)",
            "",
            &format!("Enum16({})", labels.join(", ")),
            &format!("Enum8('{}' = 1)", "x".repeat(256)),
            &format!("DateTime('{}')", "x".repeat(256)),
        ] {
            assert!(target_type(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dead_letters_keep_the_record_and_the_reason() {
        let sql = create_dead_letters("db", "dead_letters", &Profile::default()).expect("good names");
        for name in [
            "pipeline",
            "topic",
            "partition",
            "offset",
            "timestamp",
            "key",
            "value",
            "stage",
            "reason",
            "transform",
            "headers",
        ] {
            assert!(sql.contains(&format!("    `{name}` ")), "{name}");
        }
        assert!(sql.ends_with("SETTINGS non_replicated_deduplication_window = 10000"));
    }
}
