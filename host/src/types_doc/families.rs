//! What a database's types are on the wire, in the modes of its connector: from recorded events where there are some.

use serde_json::Value as Tree;

use super::{code, file, meaning, short, table};
use crate::debezium::schema;

/// A family of connectors.
pub struct Family {
    /// The folder of its recorded events.
    folder: &'static str,
    rows: &'static [Row],
}

struct Row {
    /// The database's types, with commas; `t[]` for arrays.
    types: &'static str,
    /// The connector's setting; empty: any, or its default.
    mode: &'static str,
    wire: Wired,
}

/// Where the schema and the value come from.
enum Wired {
    /// A file and a column of `all_types` in it.
    Seen(&'static str, &'static str),
    /// The schema; the value is recorded without one.
    Partly(&'static str, &'static str, &'static str),
    /// The schema and the value, by Debezium's documentation and the zoo's expectations.
    Said(&'static str, &'static str),
    /// The connector leaves the column out.
    Unsent,
}

use Wired::{Partly, Said, Seen, Unsent};

const DEFAULT: &str = "types_schema.ndjson";
/// `time.precision.mode=connect`, `decimal.handling.mode=string`, `binary.handling.mode=base64`; for MariaDB also
/// `bigint.unsigned.handling.mode=precise`.
const CONNECT: &str = "types_connect_string.ndjson";
/// `time.precision.mode=isostring`, `decimal.handling.mode=double`, `binary.handling.mode=hex`,
/// `interval.handling.mode=string`; without schemas.
const ISO: &str = "types_iso_double.ndjson";

const fn row(types: &'static str, mode: &'static str, wire: Wired) -> Row {
    Row { types, mode, wire }
}

const DOUBLE: &str = r#"{"type":"double"}"#;
const STRING: &str = r#"{"type":"string"}"#;
const STRUCTURED_DATE: &str = r#"{"type":"struct","name":"io.debezium.time.StructuredDate"}"#;
const STRUCTURED_TIME: &str = r#"{"type":"struct","name":"io.debezium.time.StructuredTime"}"#;
const STRUCTURED_TIMESTAMP: &str = r#"{"type":"struct","name":"io.debezium.time.StructuredTimestamp"}"#;
const NANO_TIME: &str = r#"{"type":"int64","name":"io.debezium.time.NanoTime"}"#;
const NANO_TIMESTAMP: &str = r#"{"type":"int64","name":"io.debezium.time.NanoTimestamp"}"#;
const ISO_DATE: &str = r#"{"type":"string","name":"io.debezium.time.IsoDate"}"#;
const ISO_TIME: &str = r#"{"type":"string","name":"io.debezium.time.IsoTime"}"#;
const ISO_TIMESTAMP: &str = r#"{"type":"string","name":"io.debezium.time.IsoTimestamp"}"#;

/// PostgreSQL, as Debezium 3.6 reads it.
pub const POSTGRESQL: Family = Family {
    folder: "debezium-postgres",
    rows: &[
        row("boolean, bit(1)", "", Seen(DEFAULT, "c_bool")),
        row("smallint", "", Seen(DEFAULT, "c_smallint")),
        row("integer", "", Seen(DEFAULT, "c_int")),
        row("bigint, oid", "", Seen(DEFAULT, "c_bigint")),
        row("real", "", Seen(DEFAULT, "c_real")),
        row("double precision", "", Seen(DEFAULT, "c_double")),
        row("numeric(18,4)", "`decimal` `precise`", Seen(DEFAULT, "c_numeric")),
        row("numeric(60,10)", "`decimal` `precise`", Seen(DEFAULT, "c_numeric_big")),
        row("numeric without digits", "`decimal` `precise`", Seen(DEFAULT, "c_numeric_any")),
        row("money", "`decimal` `precise`", Seen(DEFAULT, "c_money")),
        row("numeric, money", "`decimal` `string`", Seen(CONNECT, "c_numeric")),
        row("numeric, money", "`decimal` `double`", Partly(DOUBLE, ISO, "c_numeric")),
        row("text, varchar, citext", "", Seen(DEFAULT, "c_text")),
        row("char(8)", "", Seen(DEFAULT, "c_char")),
        row("enum", "", Seen(DEFAULT, "c_mood")),
        row("xml", "", Seen(DEFAULT, "c_xml")),
        row("ltree", "", Seen(DEFAULT, "c_ltree")),
        row("tsvector", "", Seen(DEFAULT, "c_tsvector")),
        row("uuid", "", Seen(DEFAULT, "c_uuid")),
        row("json, jsonb", "", Seen(DEFAULT, "c_json")),
        row("hstore", "`hstore` `json`", Seen(DEFAULT, "c_hstore")),
        row(
            "hstore",
            "`hstore` `map`",
            Said(
                r#"{"type":"map","keys":{"type":"string"},"values":{"type":"string"}}"#,
                r#"{"a":"1","b":null}"#,
            ),
        ),
        row("bytea", "`binary` `bytes`", Seen(DEFAULT, "c_bytea")),
        row("bytea", "`binary` `base64`", Seen(CONNECT, "c_bytea")),
        row("bytea", "`binary` `base64-url-safe`", Said(STRING, r#""3q2-7w==""#)),
        row("bytea", "`binary` `hex`", Partly(STRING, ISO, "c_bytea")),
        row("bit(8)", "", Seen(DEFAULT, "c_bit8")),
        row("varbit", "", Seen(DEFAULT, "c_varbit")),
        row("date", "any other `time`", Seen(DEFAULT, "c_date")),
        row("date", "`time` `connect`", Seen(CONNECT, "c_date")),
        row("date", "`time` `isostring`", Partly(ISO_DATE, ISO, "c_date")),
        row("date", "`time` `structured`", Said(STRUCTURED_DATE, r#"{"year":2024,"month":2,"day":29}"#)),
        row("time(3)", "`time` `adaptive`", Seen(DEFAULT, "c_time3")),
        row("time", "`time` `adaptive`, `…_microseconds`, `microseconds`", Seen(DEFAULT, "c_time")),
        row("time", "`time` `connect`", Seen(CONNECT, "c_time")),
        row("time", "`time` `nanoseconds`", Said(NANO_TIME, "45296789012000")),
        row("time", "`time` `isostring`", Partly(ISO_TIME, ISO, "c_time")),
        row("time", "`time` `structured`", Said(STRUCTURED_TIME, r#"{"hour":12,"minute":34,"second":56}"#)),
        row("timetz", "", Seen(DEFAULT, "c_timetz")),
        row("timestamp(3)", "`time` `adaptive`, `…_microseconds`", Seen(DEFAULT, "c_ts3")),
        row("timestamp", "`time` `adaptive`, `…_microseconds`, `microseconds`", Seen(DEFAULT, "c_ts")),
        row("timestamp", "`time` `connect`", Seen(CONNECT, "c_ts")),
        row("timestamp", "`time` `nanoseconds`", Said(NANO_TIMESTAMP, "1709251199999999000")),
        row("timestamp", "`time` `isostring`", Partly(ISO_TIMESTAMP, ISO, "c_ts")),
        row(
            "timestamp",
            "`time` `structured`",
            Said(STRUCTURED_TIMESTAMP, r#"{"year":2024,"month":2,"day":29,"hour":23}"#),
        ),
        row("timestamptz", "", Seen(DEFAULT, "c_tstz")),
        row("interval", "`interval` `numeric`", Seen(DEFAULT, "c_interval")),
        row(
            "interval",
            "`interval` `string`",
            Partly(r#"{"type":"string","name":"io.debezium.time.Interval"}"#, ISO, "c_interval"),
        ),
        row("integer[]", "", Seen(DEFAULT, "c_int_arr")),
        row("text[]", "", Seen(DEFAULT, "c_text_arr")),
        row("numeric(10,2)[]", "`decimal` `precise`", Seen(DEFAULT, "c_numeric_arr")),
        row("timestamptz[]", "", Seen(DEFAULT, "c_tstz_arr")),
        row("uuid[]", "", Seen(DEFAULT, "c_uuid_arr")),
        row("enum[]", "", Seen(DEFAULT, "c_mood_arr")),
        row("int4range, int8range, numrange, daterange, tsrange", "", Seen(DEFAULT, "c_int4range")),
        row("tstzrange", "", Seen(DEFAULT, "c_tstzrange")),
        row("inet", "", Seen(DEFAULT, "c_inet")),
        row("cidr, macaddr, macaddr8", "", Seen(DEFAULT, "c_cidr")),
        row("point", "", Seen(DEFAULT, "c_point")),
        row("line, lseg, box, path, polygon, circle, composite, int4multirange", "", Unsent),
        row(
            "geometry, geography (PostGIS)",
            "",
            Said(
                r#"{"type":"struct","name":"io.debezium.data.geometry.Geometry"}"#,
                r#"{"wkb":"AQEAAAA…","srid":4326}"#,
            ),
        ),
        row(
            "vector (pgvector)",
            "",
            Said(
                r#"{"type":"array","name":"io.debezium.data.DoubleVector","items":{"type":"double"}}"#,
                "[1.5,2]",
            ),
        ),
        row(
            "halfvec (pgvector)",
            "",
            Said(
                r#"{"type":"array","name":"io.debezium.data.FloatVector","items":{"type":"float"}}"#,
                "[1.5,2]",
            ),
        ),
        row(
            "sparsevec (pgvector)",
            "",
            Said(
                r#"{"type":"struct","name":"io.debezium.data.SparseDoubleVector"}"#,
                r#"{"dimensions":5,"vector":[[1,0.5]]}"#,
            ),
        ),
    ],
};

/// MariaDB as Debezium 3.5 reads it, and MySQL.
pub const MARIADB: Family = Family {
    folder: "debezium-mariadb",
    rows: &[
        row("tinyint, boolean", "", Seen(DEFAULT, "c_tinyint")),
        row("tinyint unsigned, smallint", "", Seen(DEFAULT, "c_tinyint_u")),
        row("smallint unsigned, mediumint, mediumint unsigned", "", Seen(DEFAULT, "c_smallint_u")),
        row("int", "", Seen(DEFAULT, "c_int")),
        row("int unsigned, bigint", "", Seen(DEFAULT, "c_int_u")),
        row("bigint unsigned", "`bigint.unsigned` `long`", Seen(DEFAULT, "c_bigint_u")),
        row("bigint unsigned", "`bigint.unsigned` `precise`", Seen(CONNECT, "c_bigint_u")),
        row("decimal(18,4)", "`decimal` `precise`", Seen(DEFAULT, "c_decimal")),
        row("decimal(65,30)", "`decimal` `precise`", Seen(DEFAULT, "c_decimal_big")),
        row("decimal", "`decimal` `string`", Seen(CONNECT, "c_decimal")),
        row("decimal", "`decimal` `double`", Said(DOUBLE, "12345.6789")),
        row("float", "", Seen(DEFAULT, "c_float")),
        row("double", "", Seen(DEFAULT, "c_double")),
        row("bit(1)", "", Seen(DEFAULT, "c_bit1")),
        row("bit(10)", "", Seen(DEFAULT, "c_bit10")),
        row("char, varchar, tinytext to longtext", "", Seen(DEFAULT, "c_varchar")),
        row("json (MariaDB)", "", Seen(DEFAULT, "c_json")),
        row(
            "json (MySQL)",
            "",
            Said(r#"{"type":"string","name":"io.debezium.data.Json"}"#, r#""{\"a\":[1,2]}""#),
        ),
        row("enum", "", Seen(DEFAULT, "c_enum")),
        row("set", "", Seen(DEFAULT, "c_set")),
        row("uuid (MariaDB)", "", Seen(DEFAULT, "c_uuid")),
        row("binary(6), varbinary, tinyblob to longblob", "`binary` `bytes`", Seen(DEFAULT, "c_binary")),
        row("binary(6), varbinary, tinyblob to longblob", "`binary` `base64`", Seen(CONNECT, "c_binary")),
        row("date", "any other `time`", Seen(DEFAULT, "c_date")),
        row("date", "`time` `connect`", Seen(CONNECT, "c_date")),
        row("date", "`time` `isostring`", Said(ISO_DATE, r#""2024-02-29Z""#)),
        row("time", "`time` `adaptive_time_microseconds`, `microseconds`", Seen(DEFAULT, "c_time6")),
        row("time", "`time` `connect`", Seen(CONNECT, "c_time6")),
        row("time", "`time` `isostring`", Said(ISO_TIME, r#""12:34:56.789012Z""#)),
        row("time", "`time` `nanoseconds`", Said(NANO_TIME, "45296789012000")),
        row("datetime, datetime(3)", "`time` `adaptive_time_microseconds`", Seen(DEFAULT, "c_datetime3")),
        row(
            "datetime(6)",
            "`time` `adaptive_time_microseconds`, `microseconds`",
            Seen(DEFAULT, "c_datetime6"),
        ),
        row("datetime", "`time` `connect`", Seen(CONNECT, "c_datetime6")),
        row("datetime", "`time` `isostring`", Said(ISO_TIMESTAMP, r#""2024-02-29T23:59:59.999999Z""#)),
        row("datetime", "`time` `nanoseconds`", Said(NANO_TIMESTAMP, "1709251199999999000")),
        row("timestamp", "", Seen(DEFAULT, "c_timestamp6")),
        row("year", "", Seen(DEFAULT, "c_year")),
        row("point", "", Seen(DEFAULT, "c_point")),
        row("geometry, linestring and the others", "", Seen(DEFAULT, "c_linestring")),
        row(
            "vector (MySQL 9)",
            "",
            Said(
                r#"{"type":"array","name":"io.debezium.data.FloatVector","items":{"type":"float"}}"#,
                "[1.5,2]",
            ),
        ),
    ],
};

fn recorded(folder: &str, name: &str, column: &str) -> (Option<Tree>, Tree) {
    let text = file(&format!("tests/fixtures/{folder}/{name}"));
    let values = text.lines().filter_map(|line| {
        let line: Tree = serde_json::from_str(line).expect("a line of JSON");
        serde_json::from_str::<Tree>(line["value"].as_str()?).ok()
    });
    for value in values {
        let payload = if value["payload"].is_object() { &value["payload"] } else { &value };
        let cell = &payload["after"][column];
        if payload["source"]["table"] != "all_types" || cell.is_null() {
            continue;
        }
        let fields = |schema: &Tree| schema["fields"].as_array().cloned().unwrap_or_default();
        let named = |fields: Vec<Tree>, name: &str| fields.into_iter().find(|field| field["field"] == name);
        let schema = named(fields(&value["schema"]), "after").and_then(|after| named(fields(&after), column));
        return (schema, cell.clone());
    }
    panic!("{folder}/{name} has no value of {column}");
}

/// A schema's name and base type, as short as they are known.
fn schema_text(schema: &Tree) -> String {
    let name = schema["name"].as_str().unwrap_or_default();
    let base = match schema["type"].as_str().expect("a base type") {
        "array" => format!("`array` of {}", schema_text(&schema["items"])),
        "map" => format!("`map` to {}", schema_text(&schema["values"])),
        base => code(base),
    };
    let short = name.replace("io.debezium.", "").replace("org.apache.kafka.connect.data.", "connect.");
    if short.is_empty() { base } else { format!("`{short}` on {base}") }
}

/// A family's types, with what is made of them.
pub fn of(family: &Family) -> String {
    let rows: Vec<Vec<String>> = family
        .rows
        .iter()
        .map(|row| {
            let said = |text| serde_json::from_str::<Tree>(text).expect("a schema");
            let (schema, json) = match row.wire {
                Seen(file, column) => {
                    let (schema, json) = recorded(family.folder, file, column);
                    (schema.expect("recorded with its schema"), json.to_string())
                }
                Partly(schema, file, column) => {
                    (said(schema), recorded(family.folder, file, column).1.to_string())
                }
                Said(schema, json) => (said(schema), json.to_owned()),
                Unsent => {
                    let mut cells = vec![row.types.to_owned(), row.mode.to_owned(), "is not sent".to_owned()];
                    cells.resize(7, String::new());
                    return cells;
                }
            };
            let wire = schema::wire(&schema).expect("a schema that makes sense");
            let [kind, today, old] = meaning(&wire);
            // The values are of the wire, as far as they are whole.
            if !json.contains('…') {
                crate::debezium::value::decode(&wire, &json)
                    .unwrap_or_else(|what| panic!("{}: {what}", row.types));
            }
            let mark = if matches!(row.wire, Said(..)) { "\\*" } else { "" };
            let schema = format!("{}{mark}", schema_text(&schema));
            vec![row.types.to_owned(), row.mode.to_owned(), schema, short(&json), kind, today, old]
        })
        .collect();
    table(&["type", "mode", "schema", "JSON", "kind", "column", "2018"], &rows)
}

/// A type's name without digits, brackets and remarks.
fn bare(name: &str) -> String {
    name.split(['(', '[']).next().unwrap_or_default().trim_end_matches(" without digits").trim().to_owned()
}

/// The types of the zoo's columns: the second text of each `c("name", "type", …)`, and of the keys' columns.
fn zoo() -> Vec<String> {
    let text = file("tests/zoo/tables.py");
    let tables = text.split_once("def tables(").expect("the zoo's tables").1;
    let columns = tables.split("c(\"").skip(1).map(|rest| rest.split('"').nth(2).unwrap_or_default());
    // A name with a quote in it takes the type's place; its type is that of other columns too.
    let mut types: Vec<String> =
        columns.map(bare).filter(|name| name.starts_with(|c: char| c.is_alphabetic())).collect();
    types.sort();
    types.dedup();
    types
}

/// What the zoo calls the types that it makes itself.
fn made_in_the_zoo() -> Vec<(String, &'static str)> {
    let text = file("tests/zoo/tables.py");
    let mut made = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next(), words.next()) {
            (Some("CREATE"), Some("TYPE"), Some(name), Some("AS"), Some("ENUM")) => {
                made.push((name.into(), "enum"))
            }
            (Some("CREATE"), Some("TYPE"), Some(name), Some("AS"), _) => {
                made.push((name.into(), "composite"))
            }
            (Some("CREATE"), Some("DOMAIN"), Some(name), Some("AS"), _) => made.push((name.into(), "")),
            _ => {}
        }
    }
    made
}

/// The first cells of PostgreSQL's table in the document, which is what people read.
fn documented() -> Vec<String> {
    let document = super::document();
    let (begin, end) = super::place(&document, "postgresql");
    let cells = document[begin..end].lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut types: Vec<String> = cells
        .flat_map(|line| line[2..].split(" | ").next().unwrap_or_default().split(", "))
        .map(bare)
        .filter(|name| !name.chars().all(|letter| letter.is_ascii_digit()) && !name.is_empty())
        .collect();
    types.sort();
    types.dedup();
    types
}

#[test]
fn each_type_of_postgresql_is_in_the_zoo_or_named_as_not_covered() {
    let made = made_in_the_zoo();
    let zoo: Vec<String> = zoo()
        .into_iter()
        .map(|name| match made.iter().find(|(own, _)| *own == name) {
            Some((_, kind)) => (*kind).to_owned(),
            None => name,
        })
        .filter(|name| !name.is_empty())
        .collect();
    let document = super::document();
    let line =
        document.lines().find(|line| line.starts_with("Not covered by the zoo: ")).expect("a line of those");
    let uncovered: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let documented = documented();
    assert!(documented.len() > 40, "{documented:?}");
    for name in &documented {
        let (known, named) = (zoo.contains(name), uncovered.contains(&name.as_str()));
        assert!(known != named, "{name}: in the zoo: {known}, named as not covered: {named}");
    }
    for name in &zoo {
        let alias = match name.as_str() {
            "float8" => "double precision",
            name => name,
        };
        assert!(documented.iter().any(|known| known == alias), "docs/types.md lacks {name}");
    }
}
