//! The schema that Kafka Connect's JSON converter puts into each record, read once for each of its texts.

use rustc_hash::FxHashSet;
use serde_json::Value as Tree;

use super::shape::{Structured, Wire};

/// What a value's schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSchema {
    /// The name of the whole, such as `shop.public.orders.Envelope`; empty without one.
    pub name: String,
    /// The columns of `after`, or of `before` where there is no `after`; none for what is no envelope.
    pub columns: Columns,
    /// The columns of the value itself, for a row without an envelope.
    pub own: Columns,
}

/// Columns, or what is wrong with one of them.
pub type Columns = Result<Vec<ColumnSchema>, String>;

/// What a schema says about one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSchema {
    /// The column's name.
    pub name: String,
    /// How its values are written.
    pub wire: Wire,
    /// Whether it may be null.
    pub nullable: bool,
    /// The logical type's name; empty without one.
    pub semantic: String,
    /// Whether a null may stand as the column's default: the converter does that unless it is told otherwise.
    pub null_may_be_default: bool,
}

/// Reads the text of a value's schema.
pub fn parse(text: &str) -> Result<ValueSchema, String> {
    let tree: Tree = serde_json::from_str(text).map_err(|error| format!("the schema is no json: {error}"))?;
    Ok(of_tree(&tree))
}

/// The same of a schema that is no text any more.
pub fn of_tree(tree: &Tree) -> ValueSchema {
    let row = field(tree, "after").or_else(|| field(tree, "before"));
    let name = text_of(tree, "name").to_owned();
    ValueSchema { name, columns: columns(row.map_or(&[], fields)), own: columns(fields(tree)) }
}

/// An error names the column that it cannot make sense of.
fn columns(fields: &[Tree]) -> Columns {
    let columns: Vec<ColumnSchema> = fields.iter().map(column).collect::<Result<_, _>>()?;
    let mut names = FxHashSet::default();
    match columns.iter().find(|column| !names.insert(column.name.as_str())) {
        Some(twice) => Err(format!("the schema has two columns `{}`", twice.name)),
        None => Ok(columns),
    }
}

fn fields(schema: &Tree) -> &[Tree] {
    schema.get("fields").and_then(Tree::as_array).map_or(&[], Vec::as_slice)
}

fn field<'t>(schema: &'t Tree, name: &str) -> Option<&'t Tree> {
    fields(schema).iter().find(|field| text_of(field, "field") == name)
}

fn text_of<'t>(schema: &'t Tree, member: &str) -> &'t str {
    schema.get(member).and_then(Tree::as_str).unwrap_or_default()
}

fn column(schema: &Tree) -> Result<ColumnSchema, String> {
    let Some(name) = schema.get("field").and_then(Tree::as_str) else {
        return Err("the schema has a column without a name".into());
    };
    let nullable = schema.get("optional").and_then(Tree::as_bool).unwrap_or(false);
    Ok(ColumnSchema {
        name: name.to_owned(),
        wire: wire(schema).map_err(|what| format!("the schema of column `{name}` {what}"))?,
        nullable,
        null_may_be_default: nullable && schema.get("default").is_some_and(|default| !default.is_null()),
        semantic: text_of(schema, "name").to_owned(),
    })
}

/// How the values of a schema are written: by its logical name where that is known on its base type, else
/// by the base type alone.
///
/// # Errors
/// A base type or a parameter that it cannot make sense of.
pub fn wire(schema: &Tree) -> Result<Wire, String> {
    let base = text_of(schema, "type");
    if let Some(logical) = Logical::find(text_of(schema, "name"), base) {
        return logical.wire(schema);
    }
    Ok(match base {
        "boolean" => Wire::Bool,
        "int8" => Wire::Int(8),
        "int16" => Wire::Int(16),
        "int32" => Wire::Int(32),
        "int64" => Wire::Int(64),
        "float" | "float32" => Wire::Float32,
        "double" | "float64" => Wire::Float64,
        "string" => Wire::Text,
        "bytes" => Wire::Bytes,
        "struct" => Wire::Json,
        "array" => Wire::Array(Box::new(wire(part(schema, "items")?)?)),
        "map" if text_of(part(schema, "keys")?, "type") == "string" => {
            Wire::Map(Box::new(wire(part(schema, "values")?)?))
        }
        // With other keys it stands as an array of pairs.
        "map" => Wire::Json,
        _ => return Err(format!("has the unknown type `{base}`")),
    })
}

fn part<'t>(schema: &'t Tree, member: &str) -> Result<&'t Tree, String> {
    schema.get(member).ok_or_else(|| format!("lacks `{member}`"))
}

/// A logical type whose values are written in a way of their own. A name that is none of these, or stands on
/// another base type, is written as its base type.
#[derive(Debug)]
pub struct Logical {
    /// The schema's name.
    pub name: &'static str,
    /// The base types on which it is this type.
    pub bases: &'static [&'static str],
    means: Means,
}

/// How a logical type's values are written.
#[derive(Debug)]
enum Means {
    /// Always so.
    This(Wire),
    /// With digits that the schema's parameters say.
    Decimal,
    /// Of a length that the schema's parameters may say.
    Bits,
}

const fn logical(name: &'static str, bases: &'static [&'static str], wire: Wire) -> Logical {
    Logical { name, bases, means: Means::This(wire) }
}

const fn structured(name: &'static str, what: Structured) -> Logical {
    logical(name, &["struct"], Wire::Structured(what))
}

/// All logical types that are known; `docs/types.md` is this list for people.
pub static LOGICAL: [Logical; 24] = [
    Logical { name: "org.apache.kafka.connect.data.Decimal", bases: &["bytes"], means: Means::Decimal },
    logical("io.debezium.data.VariableScaleDecimal", &["struct"], Wire::VariableDecimal),
    Logical { name: "io.debezium.data.Bits", bases: &["bytes"], means: Means::Bits },
    logical("io.debezium.data.Uuid", &["string"], Wire::Uuid),
    logical("io.debezium.data.Json", &["string"], Wire::JsonText),
    logical("io.debezium.time.Date", &["int32"], Wire::Date),
    logical("org.apache.kafka.connect.data.Date", &["int32"], Wire::Date),
    logical("io.debezium.time.IsoDate", &["string"], Wire::IsoDate),
    logical("io.debezium.time.Time", &["int32", "int64"], Wire::TimeMillis),
    logical("org.apache.kafka.connect.data.Time", &["int32", "int64"], Wire::TimeMillis),
    logical("io.debezium.time.MicroTime", &["int64"], Wire::TimeMicros),
    logical("io.debezium.time.NanoTime", &["int64"], Wire::TimeNanos),
    logical("io.debezium.time.Timestamp", &["int64"], Wire::TimestampMillis),
    logical("org.apache.kafka.connect.data.Timestamp", &["int64"], Wire::TimestampMillis),
    logical("io.debezium.time.MicroTimestamp", &["int64"], Wire::TimestampMicros),
    logical("io.debezium.time.NanoTimestamp", &["int64"], Wire::TimestampNanos),
    logical("io.debezium.time.ZonedTimestamp", &["string"], Wire::TimestampIso),
    logical("io.debezium.time.IsoTimestamp", &["string"], Wire::TimestampIso),
    structured("io.debezium.time.StructuredDate", Structured::Date),
    structured("io.debezium.time.StructuredTime", Structured::Time),
    structured("io.debezium.time.StructuredTimestamp", Structured::Timestamp),
    structured("io.debezium.time.StructuredZonedTime", Structured::ZonedTime),
    structured("io.debezium.time.StructuredZonedTimestamp", Structured::ZonedTimestamp),
    structured("io.debezium.time.StructuredDuration", Structured::Duration),
];

impl Logical {
    /// The type of this name on this base.
    fn find(name: &str, base: &str) -> Option<&'static Logical> {
        LOGICAL.iter().find(|logical| logical.name == name && logical.bases.contains(&base))
    }

    fn wire(&self, schema: &Tree) -> Result<Wire, String> {
        Ok(match &self.means {
            Means::This(wire) => wire.clone(),
            Means::Decimal => Wire::Decimal {
                scale: parameter(schema, "scale")?.ok_or("lacks its scale")?,
                precision: parameter(schema, "connect.decimal.precision")?,
            },
            Means::Bits => Wire::Bits(parameter(schema, "length")?),
        })
    }
}

fn parameter<T: std::str::FromStr>(schema: &Tree, name: &str) -> Result<Option<T>, String> {
    let Some(text) = schema.get("parameters").and_then(|parameters| parameters.get(name)?.as_str()) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| format!("has the parameter {name} = `{text}`, which is no fitting number"))
}

/// Logical types of Debezium that are written as their base type, which connectors send.
#[cfg(test)]
pub const AS_THEIR_BASE: [(&str, &str, Wire); 17] = [
    ("io.debezium.data.Enum", "string", Wire::Text),
    ("io.debezium.data.EnumSet", "string", Wire::Text),
    ("io.debezium.data.Xml", "string", Wire::Text),
    ("io.debezium.data.Ltree", "string", Wire::Text),
    ("io.debezium.data.Tsvector", "string", Wire::Text),
    ("io.debezium.data.SparseDoubleVector", "struct", Wire::Json),
    ("io.debezium.data.geometry.Point", "struct", Wire::Json),
    ("io.debezium.data.geometry.Geometry", "struct", Wire::Json),
    ("io.debezium.data.geometry.Geography", "struct", Wire::Json),
    ("io.debezium.data.geometry.Circle", "struct", Wire::Json),
    ("io.debezium.data.geometry.Line", "struct", Wire::Json),
    ("io.debezium.time.Year", "int32", Wire::Int(32)),
    ("io.debezium.time.Interval", "string", Wire::Text),
    ("io.debezium.time.MicroDuration", "int64", Wire::Int(64)),
    ("io.debezium.time.NanoDuration", "int64", Wire::Int(64)),
    ("io.debezium.time.IsoTime", "string", Wire::Text),
    ("io.debezium.time.ZonedTime", "string", Wire::Text),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn wire_of(schema: &str) -> Result<Wire, String> {
        wire(&serde_json::from_str(schema).unwrap())
    }

    #[test]
    fn a_known_logical_type_on_its_base_has_its_own_wire() {
        for (name, base, expected) in [
            ("io.debezium.data.VariableScaleDecimal", "struct", Wire::VariableDecimal),
            ("io.debezium.data.Uuid", "string", Wire::Uuid),
            ("io.debezium.data.Json", "string", Wire::JsonText),
            ("io.debezium.data.Bits", "bytes", Wire::Bits(None)),
            ("io.debezium.time.Date", "int32", Wire::Date),
            ("org.apache.kafka.connect.data.Date", "int32", Wire::Date),
            ("io.debezium.time.IsoDate", "string", Wire::IsoDate),
            ("io.debezium.time.Time", "int32", Wire::TimeMillis),
            ("org.apache.kafka.connect.data.Time", "int32", Wire::TimeMillis),
            ("io.debezium.time.MicroTime", "int64", Wire::TimeMicros),
            ("io.debezium.time.NanoTime", "int64", Wire::TimeNanos),
            ("io.debezium.time.Timestamp", "int64", Wire::TimestampMillis),
            ("org.apache.kafka.connect.data.Timestamp", "int64", Wire::TimestampMillis),
            ("io.debezium.time.MicroTimestamp", "int64", Wire::TimestampMicros),
            ("io.debezium.time.NanoTimestamp", "int64", Wire::TimestampNanos),
            ("io.debezium.time.ZonedTimestamp", "string", Wire::TimestampIso),
            ("io.debezium.time.IsoTimestamp", "string", Wire::TimestampIso),
            ("io.debezium.time.StructuredDate", "struct", Wire::Structured(Structured::Date)),
            ("io.debezium.time.StructuredTime", "struct", Wire::Structured(Structured::Time)),
            ("io.debezium.time.StructuredTimestamp", "struct", Wire::Structured(Structured::Timestamp)),
            ("io.debezium.time.StructuredZonedTime", "struct", Wire::Structured(Structured::ZonedTime)),
            (
                "io.debezium.time.StructuredZonedTimestamp",
                "struct",
                Wire::Structured(Structured::ZonedTimestamp),
            ),
            ("io.debezium.time.StructuredDuration", "struct", Wire::Structured(Structured::Duration)),
        ] {
            assert_eq!(wire_of(&format!(r#"{{"type":"{base}","name":"{name}"}}"#)), Ok(expected), "{name}");
        }
    }

    #[test]
    fn any_other_logical_type_is_written_as_its_base() {
        let more = [
            ("io.debezium.time.NanoDuration", "double", Wire::Float64),
            ("io.debezium.time.MicroDuration", "float64", Wire::Float64),
            ("io.debezium.time.StructuredDate", "string", Wire::Text),
            ("io.debezium.time.Date", "string", Wire::Text),
            ("com.example.Unheard", "float", Wire::Float32),
            ("", "int8", Wire::Int(8)),
            ("", "int16", Wire::Int(16)),
            ("", "boolean", Wire::Bool),
            ("", "bytes", Wire::Bytes),
        ];
        for (name, base, expected) in AS_THEIR_BASE.iter().chain(&more) {
            let wire = wire_of(&format!(r#"{{"type":"{base}","name":"{name}"}}"#));
            assert_eq!(wire.as_ref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn arrays_maps_and_decimals_say_what_is_in_them() {
        let decimal =
            r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"-2"}}"#;
        let scaled = Wire::Decimal { scale: -2, precision: None };
        assert_eq!(wire_of(decimal), Ok(scaled.clone()));
        let array = format!(r#"{{"type":"array","items":{decimal}}}"#);
        assert_eq!(wire_of(&array), Ok(Wire::Array(Box::new(scaled.clone()))));
        let map = format!(r#"{{"type":"map","keys":{{"type":"string"}},"values":{decimal}}}"#);
        assert_eq!(wire_of(&map), Ok(Wire::Map(Box::new(scaled))));
        let pairs = format!(r#"{{"type":"map","keys":{{"type":"int32"}},"values":{decimal}}}"#);
        assert_eq!(wire_of(&pairs), Ok(Wire::Json));
        let vector = r#"{"type":"array","name":"io.debezium.data.FloatVector","items":{"type":"float"}}"#;
        assert_eq!(wire_of(vector), Ok(Wire::Array(Box::new(Wire::Float32))));
        let vector = r#"{"type":"array","name":"io.debezium.data.DoubleVector","items":{"type":"double"}}"#;
        assert_eq!(wire_of(vector), Ok(Wire::Array(Box::new(Wire::Float64))));
    }

    #[test]
    fn a_schema_that_makes_no_sense_names_its_column() {
        let schema = parse(r#"{"fields":[{"field":"after","fields":[{"field":"x","type":"int128"}]}]}"#);
        assert_eq!(
            schema.unwrap().columns.unwrap_err(),
            "the schema of column `x` has the unknown type `int128`"
        );
        let decimal = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}"#;
        assert_eq!(wire_of(decimal).unwrap_err(), "lacks its scale");
        assert_eq!(wire_of(r#"{"type":"array"}"#).unwrap_err(), "lacks `items`");
        let twice = r#"{"field":"x","type":"int8"},{"field":"x","type":"int8"}"#;
        let schema = parse(&format!(r#"{{"fields":[{{"field":"after","fields":[{twice}]}}]}}"#));
        assert_eq!(schema.unwrap().columns.unwrap_err(), "the schema has two columns `x`");
    }

    #[test]
    fn without_after_the_columns_are_those_of_before() {
        let text = r#"{"type":"struct","name":"e.Envelope","fields":[{"field":"before","type":"struct",
            "fields":[{"field":"id","type":"int32","optional":false},{"field":"t","type":"string","optional":true}]}]}"#;
        let schema = parse(text).unwrap();
        assert_eq!(schema.name, "e.Envelope");
        let columns: Vec<_> =
            schema.columns.iter().flatten().map(|column| (column.name.as_str(), column.nullable)).collect();
        assert_eq!(columns, [("id", false), ("t", true)]);
    }
}
