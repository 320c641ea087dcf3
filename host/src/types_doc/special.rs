//! Values that no column holds as they are: decoded, written and read back under each policy.

use super::{code, table};
use crate::clickhouse::ddl::column_type;
use crate::clickhouse::native::{Block, Encoding};
use crate::clickhouse::policy::{OutOfRange, Policies, Rules, Unavailable};
use crate::clickhouse::profile::Profile;
use crate::clickhouse::rows::read_block;
use crate::clickhouse::types::ColumnType;
use crate::debezium::shape::{Structured, Wire};
use crate::debezium::value::decode;

/// What stands in the column, or why nothing does.
fn written(
    wire: &Wire,
    json: &str,
    ty: &ColumnType,
    rules: Rules,
    profile: &Profile,
) -> Result<String, String> {
    let mut block = Block::new(Encoding { profile, decode }, 1, 1);
    block.set_rules(rules);
    block.column("c", ty, std::iter::once(decode(wire, json)));
    let (bytes, failed) = block.finish();
    if let Some((_, reason)) = failed.into_iter().next() {
        return Err(reason.split_once("): ").map_or(reason.as_str(), |(_, why)| why).to_owned());
    }
    let rows = read_block(&bytes).expect("a good block");
    Ok(match &rows.rows[0][0] {
        serde_json::Value::String(text) => format!("`{text}`"),
        serde_json::Value::Null => "null".to_owned(),
        other => format!("`{other}`"),
    })
}

struct Case {
    what: &'static str,
    wire: Wire,
    json: &'static str,
    /// The column that is created for a nullable source, unless it is said.
    ty: Option<&'static str>,
    profile: fn() -> Profile,
}

fn case(what: &'static str, wire: Wire, json: &'static str) -> Case {
    Case { what, wire, json, ty: None, profile: Profile::default }
}

fn own(what: &'static str, wire: Wire, json: &'static str, ty: &'static str) -> Case {
    Case { ty: Some(ty), ..case(what, wire, json) }
}

fn cases() -> Vec<Case> {
    let decimal = || Wire::DecimalText(Some((10, 2)));
    vec![
        case("`infinity` of a PostgreSQL timestamp", Wire::TimestampMicros, "9223372036825200000"),
        case("`-infinity` of one", Wire::TimestampMicros, "-9223372036832400000"),
        case("`infinity` of one, mode `connect`", Wire::TimestampMillis, "9223372036825200"),
        case("`infinity` of one, mode `isostring`", Wire::TimestampIso, "\"+294247-01-10T04:00:25.2Z\""),
        case("`infinity` of a `timestamptz`", Wire::TimestampIso, "\"infinity\""),
        case("`infinity` of a date, streamed", Wire::Date, "-2147472692"),
        case("`-infinity` of a date, streamed", Wire::Date, "-2147472691"),
        case("`infinity` of a date, in a snapshot", Wire::Date, "-622191234"),
        case("44 BC, date", Wire::Date, "-735160"),
        case("44 BC, timestamp", Wire::TimestampIso, "\"-0043-03-15T12:00:00Z\""),
        case("the year 10000, date", Wire::Date, "2932897"),
        case("the year 20240, timestamp", Wire::TimestampIso, "\"+20240-01-01T00:00:00Z\""),
        case("nanoseconds in ISO text", Wire::TimestampIso, "\"2024-02-29T23:59:59.123456789Z\""),
        case("nanoseconds in a `StructuredTimestamp`", Wire::Structured(Structured::Timestamp), FINE),
        own(
            "the year 2300 in `DateTime64(9)`",
            Wire::TimestampMillis,
            "10413792000000",
            "Nullable(DateTime64(9))",
        ),
        Case {
            profile: || Profile::years(1900, 2299),
            ..case("the year 1800, server before mid-2026", Wire::Date, "-62091")
        },
        case("24:00:00", Wire::TimeMicros, "86400000000"),
        Case {
            profile: Profile::oldest,
            ..case("24:00:00, server without Time64", Wire::TimeMicros, "86400000000")
        },
        case("-838:59:59 of MySQL", Wire::TimeMicros, "-3020399000000"),
        case("1000 hours", Wire::TimeMicros, "3600000000000"),
        case("NaN, decimal as text", decimal(), "\"NAN\""),
        case("Infinity, decimal as text", decimal(), "\"POSITIVE_INFINITY\""),
        case("123456789.00 in `decimal(10,2)`", decimal(), "\"123456789.00\""),
        case("1.239 in `decimal(10,2)`", decimal(), "\"1.239\""),
        case("NaN, double", Wire::Float64, "\"NaN\""),
        case("-Infinity, double", Wire::Float64, "\"-Infinity\""),
        own("1e300 in a table of your own", Wire::Float64, "1e300", "Nullable(Float32)"),
        own("300 in a table of your own", Wire::Int(32), "300", "Nullable(Int8)"),
        own("300, not `Nullable`", Wire::Int(32), "300", "Int8"),
        own("null, not `Nullable`", Wire::Int(32), "null", "Int32"),
        own("null, array", Wire::Array(Box::new(Wire::Int(32))), "null", "Array(Int32)"),
        own("null, map", Wire::Map(Box::new(Wire::Int(32))), "null", "Map(String, Int32)"),
        own("null, array that is created", Wire::Array(Box::new(Wire::Int(32))), "null", "Nullable(String)"),
        case("zero date of MySQL in a column that may not be null", Wire::Date, "0"),
        case(
            "zero date of MySQL, mode `structured`",
            Wire::Structured(Structured::Date),
            "{\"year\":0,\"month\":0,\"day\":0}",
        ),
    ]
}

const FINE: &str = "{\"year\":2024,\"month\":1,\"day\":1,\"nanos\":1}";

/// Each special value under each policy of `out_of_range`.
pub fn values() -> String {
    let rows: Vec<Vec<String>> = cases()
        .iter()
        .map(|case| {
            let profile = (case.profile)();
            let ty = match case.ty {
                Some(ty) => ColumnType::parse(ty).expect("a type"),
                None => column_type(&case.wire, true, &profile),
            };
            let mut cells = vec![case.what.to_owned(), super::short(case.json), code(&ty.to_string())];
            let policies = [OutOfRange::Reject, OutOfRange::Null, OutOfRange::Saturate, OutOfRange::AsString];
            for policy in policies {
                let rules = Rules { out_of_range: policy, ..Rules::default() };
                let policies = Policies { out_of_range: policy, ..Policies::default() };
                // It says nothing of tables that there are.
                let ty = if case.ty.is_none() { policies.created("t", "c", ty.clone()) } else { ty.clone() };
                cells.push(match written(&case.wire, case.json, &ty, rules, &profile) {
                    Ok(text) => text,
                    Err(why) if policy == OutOfRange::Reject => format!("dead letter: *{why}*"),
                    Err(_) => "dead letter".to_owned(),
                });
            }
            cells
        })
        .collect();
    table(&["value", "arrives as", "column", "`reject`", "`null`", "`saturate`", "`as_string`"], &rows)
}

/// A value that the source did not send, under each policy of `unavailable`.
pub fn unavailable() -> String {
    let columns = [
        "Nullable(String)",
        "String",
        "Int64",
        "DateTime64(6, 'UTC')",
        "Enum8('a' = 1, 'b' = 2)",
        "Array(Int64)",
        "Map(String, String)",
    ];
    let rows = columns.map(|column| {
        let ty = ColumnType::parse(column).expect("a type");
        let mut cells = vec![code(column)];
        for unavailable in [Unavailable::Reject, Unavailable::Null, Unavailable::Default] {
            let rules = Rules { unavailable, ..Rules::default() };
            let written = written(&Wire::Text, "", &ty, rules, &Profile::default());
            let shown = written.unwrap_or_else(|_| "dead letter".to_owned());
            cells.push(if shown == "``" { "empty text".to_owned() } else { shown });
        }
        cells
    });
    table(&["column", "`reject`", "`null`", "`default`"], &rows)
}
