//! A column of every type that the connectors and Kafka Connect have, from its schema to its value.

use crate::debezium::fixture::Run;
use crate::debezium::shape::Wire;
use crate::debezium::value::Value;

fn int<'a>(value: i64) -> Value<'a> {
    Value::Int(value)
}

fn text(value: &str) -> Value<'_> {
    Value::Text(value.into())
}

fn json(value: &str) -> Value<'_> {
    Value::Json(value.into())
}

fn decimal(value: &str) -> Value<'_> {
    Value::Decimal(value.into())
}

fn at<'a>(seconds: i64, nanos: u32) -> Value<'a> {
    Value::Timestamp { seconds, nanos }
}

/// An event with one column of this schema and value.
fn event(schema: &str, value: &str) -> String {
    format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"field":"after","type":"struct","fields":[{{"field":"x","optional":true,{schema}}}]}}]}},
        "payload":{{"op":"c","after":{{"x":{value}}},"source":{{"connector":"c","table":"t"}}}}}}"#
    )
}

/// A logical type on its base.
fn named(base: &str, name: &str) -> String {
    format!(r#""type":"{base}","name":"{name}""#)
}

fn check(schema: &str, value: &str, expected: &Value<'_>) {
    let run = Run::of_values(&[&event(schema, value)]);
    assert_eq!(run.reasons(), [""; 0], "{schema}");
    assert_eq!(&run.changes()[0].after("x"), expected, "{schema} {value}");
}

fn check_named(types: &[(&str, &str, &str, Value<'_>)]) {
    for (base, name, value, expected) in types {
        check(&named(base, name), value, expected);
    }
}

#[test]
fn plain_types() {
    for (base, value, expected) in [
        ("int8", "-128", int(-128)),
        ("int16", "255", int(255)),
        ("int32", "65535", int(65_535)),
        ("int64", "4294967295", int(4_294_967_295)),
        ("float", "0.5", Value::Float(0.5)),
        ("double", "\"-Infinity\"", Value::Float(f64::NEG_INFINITY)),
        ("boolean", "true", Value::Bool(true)),
        ("string", "\"[2010-01-01,infinity)\"", text("[2010-01-01,infinity)")),
        ("bytes", "\"3q2+7w==\"", Value::Bytes(vec![0xde, 0xad, 0xbe, 0xef].into())),
        ("struct", r#"{"a":{"b":[1,null]}}"#, json(r#"{"a":{"b":[1,null]}}"#)),
    ] {
        check(&format!("\"type\":\"{base}\""), value, &expected);
    }
}

#[test]
fn logical_types_of_text_and_bytes() {
    check_named(&[
        ("string", "io.debezium.data.Enum", "\"a,b\"", text("a,b")),
        ("string", "io.debezium.data.EnumSet", "\"\"", text("")),
        ("string", "io.debezium.data.Json", r#""{\"a\":1}""#, json(r#"{"a":1}"#)),
        ("string", "io.debezium.data.Xml", "\"<a/>\"", text("<a/>")),
        ("string", "io.debezium.data.Ltree", "\"a.b\"", text("a.b")),
        ("string", "io.debezium.data.Tsvector", "\"'a':1\"", text("'a':1")),
        (
            "string",
            "io.debezium.data.Uuid",
            "\"11111111-2222-3333-4444-555555555555\"",
            text("11111111-2222-3333-4444-555555555555"),
        ),
        ("bytes", "io.debezium.data.Bits", "\"AQI=\"", Value::Bytes(vec![1, 2].into())),
        ("bytes", "io.debezium.data.Unheard", "\"AQI=\"", Value::Bytes(vec![1, 2].into())),
    ]);
}

#[test]
fn decimals() {
    let scaled = |scale: &str| {
        format!(
            r#"{},"parameters":{{"scale":"{scale}"}}"#,
            named("bytes", "org.apache.kafka.connect.data.Decimal")
        )
    };
    for (scale, value, expected) in [
        ("2", "\"MDk=\"", "123.45"),
        ("2", "\"nA==\"", "-1.00"),
        ("0", "\"AP//////////\"", "18446744073709551615"),
        ("-3", "\"DA==\"", "12000"),
        ("2", "123.45", "123.45"),
        ("2", "12345678901234567890123456789012345678.90", "12345678901234567890123456789012345678.90"),
        ("2", "\"NAN\"", "NaN"),
        ("2", "\"POSITIVE_INFINITY\"", "Infinity"),
        ("2", "\"NEGATIVE_INFINITY\"", "-Infinity"),
    ] {
        check(&scaled(scale), value, &decimal(expected));
    }
    let variable = named("struct", "io.debezium.data.VariableScaleDecimal");
    check(&variable, r#"{"scale":5,"value":"BMsv"}"#, &decimal("3.14159"));
}

#[test]
fn dates_and_times() {
    check_named(&[
        ("int32", "io.debezium.time.Date", "-719162", Value::Date(-719_162)),
        ("int32", "org.apache.kafka.connect.data.Date", "19782", Value::Date(19_782)),
        ("string", "io.debezium.time.IsoDate", "\"2024-02-29Z\"", Value::Date(19_782)),
        ("int32", "io.debezium.time.Time", "86400000", Value::Time(86_400_000_000_000)),
        ("int32", "org.apache.kafka.connect.data.Time", "1", Value::Time(1_000_000)),
        ("int64", "io.debezium.time.MicroTime", "-3020399000000", Value::Time(-3_020_399_000_000_000)),
        ("int64", "io.debezium.time.NanoTime", "1", Value::Time(1)),
        ("string", "io.debezium.time.IsoTime", "\"04:05:11.789Z\"", text("04:05:11.789Z")),
        ("string", "io.debezium.time.ZonedTime", "\"04:05:11+02:00\"", text("04:05:11+02:00")),
        ("int64", "io.debezium.time.Timestamp", "-1", at(-1, 999_000_000)),
        ("int64", "org.apache.kafka.connect.data.Timestamp", "1000", at(1, 0)),
        ("int64", "io.debezium.time.MicroTimestamp", "1000001", at(1, 1_000)),
        ("int64", "io.debezium.time.NanoTimestamp", "1000000001", at(1, 1)),
        ("string", "io.debezium.time.ZonedTimestamp", "\"1970-01-01T01:00:01+01:00\"", at(1, 0)),
        ("string", "io.debezium.time.ZonedTimestamp", "\"-infinity\"", Value::Infinite { negative: true }),
        ("string", "io.debezium.time.IsoTimestamp", "\"1970-01-01T00:00:01.5Z\"", at(1, 500_000_000)),
        ("int32", "io.debezium.time.Year", "0", int(0)),
        ("int64", "io.debezium.time.MicroDuration", "-86400000000", int(-86_400_000_000)),
        ("double", "io.debezium.time.MicroDuration", "0.5", Value::Float(0.5)),
        ("int64", "io.debezium.time.NanoDuration", "1", int(1)),
        ("string", "io.debezium.time.Interval", "\"P1Y2M3DT4H5M6.78S\"", text("P1Y2M3DT4H5M6.78S")),
    ]);
    let date = r#"{"year":2024,"month":2,"day":29,"specialValue":null}"#;
    let infinite = r#"{"year":null,"month":null,"day":null,"specialValue":"NEGATIVE_INFINITY"}"#;
    let time = r#"{"hour":0,"minute":0,"second":1,"nanos":5,"precision":9}"#;
    let moment =
        r#"{"year":1970,"month":1,"day":1,"hour":1,"minute":0,"second":1,"nanos":5,"offsetSeconds":3600}"#;
    check_named(&[
        ("struct", "io.debezium.time.StructuredDate", date, Value::Date(19_782)),
        ("struct", "io.debezium.time.StructuredDate", infinite, Value::Infinite { negative: true }),
        ("struct", "io.debezium.time.StructuredTime", time, Value::Time(1_000_000_005)),
        ("struct", "io.debezium.time.StructuredTimestamp", moment, at(3_601, 5)),
        ("struct", "io.debezium.time.StructuredZonedTimestamp", moment, at(1, 5)),
        ("struct", "io.debezium.time.StructuredZonedTime", moment, text("01:00:01.000000005+01:00")),
        ("struct", "io.debezium.time.StructuredDuration", r#"{"days":2,"seconds":1}"#, text("P2DT1S")),
    ]);
}

#[test]
fn what_holds_others() {
    let wires = [Wire::Int(32), Wire::Text, Wire::Float64, Wire::Float32];
    let [ints, texts, doubles, floats] = &wires;
    let vector = |name: &str, item: &str| {
        format!(r#"{},"items":{{"type":"{item}"}}"#, named("array", &format!("io.debezium.data.{name}")))
    };
    let map = |key: &str| format!(r#""type":"map","keys":{{"type":"{key}"}},"values":{{"type":"string"}}"#);
    let point = r#"{"x":1.5,"y":-2.0,"wkb":"AQEAAAA=","srid":null}"#;
    let sparse = r#"{"dimensions":25,"vector":[[1,10.0],[11,20.0]]}"#;
    for (schema, value, expected) in [
        (r#""type":"array","items":{"type":"int32"}"#.to_owned(), "[1,null]", Value::Array("[1,null]", ints)),
        (map("string"), r#"{"a":null}"#, Value::Map(r#"{"a":null}"#, texts)),
        (map("int32"), r#"[[1,"a"]]"#, json(r#"[[1,"a"]]"#)),
        (vector("DoubleVector", "double"), "[1.5]", Value::Array("[1.5]", doubles)),
        (vector("FloatVector", "float"), "[1.5]", Value::Array("[1.5]", floats)),
        (named("struct", "io.debezium.data.SparseDoubleVector"), sparse, json(sparse)),
        (named("struct", "io.debezium.data.geometry.Point"), point, json(point)),
        (named("struct", "io.debezium.data.geometry.Geometry"), point, json(point)),
        (named("struct", "io.debezium.data.geometry.Circle"), point, json(point)),
    ] {
        check(&schema, value, &expected);
    }
}

#[test]
fn all_forms_of_the_placeholder_are_unavailable_in_the_columns_where_they_come() {
    let array = |item: &str| format!(r#""type":"array","items":{{"type":"{item}"}}"#);
    let plain = |base: &str| format!("\"type\":\"{base}\"");
    let uuids = r#""type":"array","items":{"type":"string","name":"io.debezium.data.Uuid"}"#.to_owned();
    let map = r#""type":"map","keys":{"type":"string"},"values":{"type":"string"}"#.to_owned();
    let numbers = "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]";
    for (schema, value) in [
        (plain("string"), r#""__debezium_unavailable_value""#),
        (named("string", "io.debezium.data.Json"), r#""__debezium_unavailable_value""#),
        (named("string", "io.debezium.time.ZonedTimestamp"), r#""__debezium_unavailable_value""#),
        (plain("bytes"), r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#),
        (plain("string"), r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#),
        (array("string"), r#"["__debezium_unavailable_value"]"#),
        (array("bytes"), r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#),
        (array("int32"), numbers),
        (array("int64"), numbers),
        (uuids, r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#),
        (map, r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#),
        (
            named("string", "io.debezium.data.Json"),
            r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
        ),
    ] {
        check(&schema, value, &Value::Unavailable);
    }
    for similar in ["\"__debezium_unavailable_valve\"", "\" __debezium_unavailable_value\""] {
        check(&plain("string"), similar, &text(similar.trim_matches('"')));
    }
    let two = r#"["__debezium_unavailable_value","__debezium_unavailable_value"]"#;
    check(&array("string"), two, &Value::Array(two, &Wire::Text));
}
