//! Schemas, and what becomes of values of theirs.

use super::*;
use crate::debezium::shape::Wire;

fn json(schema: &str, bytes: &[u8]) -> String {
    let (avro, _) = Avro::parse(schema, &[]).unwrap();
    let mut json = Vec::new();
    avro.to_json(bytes, &mut json).unwrap_or_else(|what| panic!("{schema}: {what}"));
    String::from_utf8(json).unwrap()
}

#[test]
fn every_type_becomes_the_json_of_kafka_connect() {
    for (schema, bytes, expected) in [
        (r#""null""#, &b""[..], "null"),
        (r#""boolean""#, &[1], "true"),
        (r#""int""#, &[1], "-1"),
        (r#""long""#, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "-9223372036854775808"),
        (r#""float""#, &[0, 0, 0x80, 0x3f], "1.0"),
        (r#""double""#, &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f], "\"NaN\""),
        (r#""bytes""#, &[4, 0x30, 0x39], "\"MDk=\""),
        (r#""string""#, b"\x06a\"\n", r#""a\"\n""#),
        ("string", b"\x02a", r#""a""#),
        (r#"{"type":"fixed","name":"F","size":2}"#, &[0x30, 0x39], "\"MDk=\""),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, &[2], "\"B\""),
        (r#"{"type":"array","items":"int"}"#, &[4, 2, 4, 4, 6, 8, 0], "[1,2,3,4]"),
        (r#"{"type":"array","items":"int"}"#, &[3, 4, 2, 4, 0], "[1,2]"),
        (r#"{"type":"array","items":"int"}"#, &[0], "[]"),
        (r#"{"type":"map","values":"int"}"#, b"\x04\x02a\x02\x02b\x04\0", r#"{"a":1,"b":2}"#),
        (r#"["null","int"]"#, &[0], "null"),
        (r#"["int","null"]"#, &[0, 2], "1"),
        (r#"["int"]"#, &[0, 2], r#"{"int":1}"#),
        (r#"["null","int",{"type":"record","name":"n.R","fields":[]}]"#, &[2, 2], r#"{"int":1,"R":null}"#),
        (r#"["null","int","string"]"#, &[0], "null"),
        (r#"{"type":"record","name":"R","fields":[]}"#, b"", "{}"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a b","type":"int"},{"name":"r","type":["null","R"]}]}"#,
            &[2, 2, 4, 0],
            r#"{"a b":1,"r":{"a b":2,"r":null}}"#,
        ),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            r#""01020304-0506-0708-090a-0b0c0d0e0f10""#,
        ),
    ] {
        assert_eq!(json(schema, bytes), expected, "{schema}");
    }
}

#[test]
fn an_array_of_entries_is_a_map() {
    let map = |marks: &str, key: &str, fields: [&str; 2]| {
        let field = |name: &str| {
            format!(r#"{{"name":"{name}","type":{}}}"#, if name == "key" { key } else { "\"int\"" })
        };
        let fields = fields.map(field).join(",");
        format!(r#"{{"type":"array","items":{{"type":"record",{marks},"fields":[{fields}]}}}}"#)
    };
    let marked = r#""name":"X","connect.internal.type":"MapEntry""#;
    let named = r#""name":"MapEntry","namespace":"io.confluent.connect.avro""#;
    let (key_first, value_first) = (["key", "value"], ["value", "key"]);
    assert_eq!(json(&map(marked, "\"int\"", key_first), &[4, 2, 4, 6, 8, 0]), "[[1,2],[3,4]]");
    assert_eq!(json(&map(named, "\"int\"", value_first), &[2, 2, 4, 0]), "[[2,1]]");
    assert_eq!(json(&map(named, "\"string\"", key_first), b"\x02\x02a\x04\0"), r#"{"a":2}"#);
    let optional = r#"["null","string"]"#;
    assert_eq!(json(&map(named, optional, key_first), b"\x04\x02\x02a\x04\0\x06\0"), r#"{"a":2,"null":3}"#);
    assert_eq!(json(&map(r#""name":"X""#, "\"int\"", key_first), &[2, 2, 4, 0]), r#"[{"key":1,"value":2}]"#);
}

/// The column that a type is.
fn column(ty: &str) -> schema::ColumnSchema {
    let text = format!(
        r#"{{"type":"record","name":"Envelope","namespace":"n","fields":[{{"name":"after","type":["null",
            {{"type":"record","name":"Value","fields":[{{"name":"c","type":{ty}}}]}}]}}]}}"#
    );
    let (_, schema) = Avro::parse(&text, &[]).unwrap();
    assert_eq!(schema.name, "n.Envelope");
    schema.columns.unwrap().into_iter().next().unwrap()
}

#[test]
fn columns_mean_what_kafka_connect_says_or_else_avro() {
    let decimal = |scale, precision| Wire::Decimal { scale, precision };
    let array = |wire| Wire::Array(Box::new(wire));
    for (ty, wire) in [
        (r#""int""#, Wire::Int(32)),
        (r#"{"type":"int","connect.type":"int16"}"#, Wire::Int(16)),
        (r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#, Wire::TimestampMicros),
        (r#"{"type":"int","logicalType":"date"}"#, Wire::Date),
        (r#"{"type":"int","logicalType":"time-millis"}"#, Wire::TimeMillis),
        (r#"{"type":"long","logicalType":"time-micros"}"#, Wire::TimeMicros),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, Wire::TimestampMillis),
        (r#"{"type":"long","logicalType":"timestamp-micros"}"#, Wire::TimestampMicros),
        (r#"{"type":"long","logicalType":"local-timestamp-micros"}"#, Wire::TimestampMicros),
        (r#"{"type":"long","logicalType":"timestamp-nanos"}"#, Wire::TimestampNanos),
        (r#"{"type":"string","logicalType":"timestamp-nanos"}"#, Wire::Text),
        (r#"{"type":"string","logicalType":"uuid"}"#, Wire::Uuid),
        (r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, Wire::Uuid),
        (r#"{"type":"fixed","name":"U","size":12,"logicalType":"duration"}"#, Wire::Bytes),
        (r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#, decimal(2, Some(9))),
        (r#"{"type":"bytes","logicalType":"decimal","precision":9}"#, decimal(0, Some(9))),
        (
            r#"{"type":"fixed","name":"D","size":8,"logicalType":"decimal","precision":9,"scale":2}"#,
            decimal(2, Some(9)),
        ),
        (
            r#"{"type":"bytes","scale":2,"precision":64,"connect.parameters":{"scale":"2","connect.decimal.precision":"5"},
                "connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}"#,
            decimal(2, Some(5)),
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-millis","connect.name":"io.debezium.time.NanoTimestamp"}"#,
            Wire::TimestampNanos,
        ),
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, Wire::Text),
        (r#""null""#, Wire::Text),
        (r#"["int","string"]"#, Wire::Json),
        (r#"{"type":"record","name":"P","fields":[]}"#, Wire::Json),
        (
            r#"{"type":"array","items":["null",{"type":"int","connect.name":"io.debezium.time.Date"}]}"#,
            array(Wire::Date),
        ),
        (r#"{"type":"map","values":"double"}"#, Wire::Map(Box::new(Wire::Float64))),
        (r#"{"type":{"type":"string"}}"#, Wire::Text),
    ] {
        let required = column(ty);
        assert_eq!(required.wire, wire, "{ty}");
        assert_eq!(required.nullable, ty == r#""null""#);
        if !ty.starts_with('[') && ty != r#""null""# {
            let optional = column(&format!(r#"[{ty},"null"]"#));
            assert_eq!(
                (optional.wire, optional.nullable, optional.semantic),
                (wire, true, required.semantic)
            );
        }
    }
    assert_eq!(
        column(r#"{"type":"string","connect.name":"io.debezium.data.Xml"}"#).semantic,
        "io.debezium.data.Xml"
    );
    assert!(column(r#"["null","int","string"]"#).nullable);
}

#[test]
fn names_are_found_in_their_namespaces_and_in_other_schemas() {
    let other = r#"{"type":"enum","name":"Colour","namespace":"a.b","symbols":["RED"]}"#;
    let text = r#"{"type":"record","name":"a.b.R","fields":[{"name":"c","type":"Colour"},{"name":"d","type":"a.b.Colour"}]}"#;
    let (avro, _) = Avro::parse(text, &[other]).unwrap();
    let mut json = Vec::new();
    avro.to_json(&[0, 0], &mut json).unwrap();
    assert_eq!(json, br#"{"c":"RED","d":"RED"}"#);
}

#[test]
fn a_schema_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let nested = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(200), "}".repeat(200));
    for (text, why) in [
        ("{", "is nowhere"),
        ("7", "neither text, an array nor an object"),
        ("{}", "a type without `type`"),
        (r#""Unheard""#, "the type `Unheard` is nowhere"),
        (r#"{"type":"record","fields":[]}"#, "without a name"),
        (r#"{"type":"record","name":"R"}"#, "a type without `fields`"),
        (r#"{"type":"record","name":"R","fields":[{"name":"f"}]}"#, "the field `f` has no type"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"f","type":"X"}]}"#,
            "in `f` the type `X` is nowhere",
        ),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "without a fitting size"),
        (r#"{"type":"fixed","name":"F","size":99999999999}"#, "without a fitting size"),
        (r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#, "defined twice"),
        ("[]", "a union of nothing"),
        (&nested, "is nowhere"),
    ] {
        let what = Avro::parse(text, &[]).map(|(avro, _)| avro).unwrap_err();
        assert!(what.contains(why), "{text:.60}: {what}");
    }
    let many = vec![r#""int""#; 100_001].join(",");
    assert!(Avro::parse(&format!("[{many}]"), &[]).unwrap_err().contains("more than 100000 types"));
}
