//! Schemas, and what becomes of values of theirs.

use proptest::prelude::*;

use super::*;
use crate::debezium::shape::Wire;

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn json_of(text: &str, data: &[u8]) -> Result<String, String> {
    let (protobuf, _) = Protobuf::parse(text, &[])?;
    let mut json = Vec::new();
    protobuf.to_json(&[&[0], data].concat(), None, &mut json)?;
    Ok(String::from_utf8(json).unwrap())
}

/// The JSON of a message of one field of this type, whose value is `data`.
fn field(definition: &str, data: &[u8]) -> String {
    let text = format!(
        "syntax = \"proto3\"; message M {{ {definition} }} enum E {{ A = 0; B = 2 [deprecated = true]; }}"
    );
    json_of(&text, data).unwrap_or_else(|what| panic!("{definition}: {what}"))
}

#[test]
fn every_type_becomes_the_json_of_kafka_connect() {
    let minus_one = u64::MAX;
    for (definition, data, expected) in [
        ("int32 f = 1;", number(1, minus_one), "-1"),
        ("int64 f = 1;", number(1, minus_one), "-1"),
        ("uint32 f = 1;", number(1, u64::from(u32::MAX)), "4294967295"),
        ("uint64 f = 1;", number(1, minus_one), "18446744073709551615"),
        ("sint64 f = 1;", number(1, 3), "-2"),
        ("fixed32 f = 1;", [vec![13], 7_u32.to_le_bytes().to_vec()].concat(), "7"),
        ("sfixed64 f = 1;", [vec![9], (-7_i64).to_le_bytes().to_vec()].concat(), "-7"),
        ("float f = 1;", [vec![13], 1.5_f32.to_le_bytes().to_vec()].concat(), "1.5"),
        ("double f = 1;", [vec![9], f64::NAN.to_le_bytes().to_vec()].concat(), "\"NaN\""),
        ("bool f = 1;", number(1, 1), "true"),
        ("string f = 1;", bytes(1, "ü\"".as_bytes()), r#""ü\"""#),
        ("bytes f = 1;", bytes(1, &[0x30, 0x39]), "\"MDk=\""),
        ("E f = 1;", number(1, 2), "\"B\""),
        ("E f = 1;", number(1, 9), "\"9\""),
        ("int32 f = 1;", vec![], "0"),
        ("string f = 1;", vec![], "\"\""),
        ("E f = 1;", vec![], "\"A\""),
        ("optional int32 f = 1;", vec![], "null"),
        ("oneof o { string f = 1; }", vec![], "null"),
        ("M f = 1;", vec![], "null"),
        ("M f = 1;", bytes(1, &[]), r#"{"f":null}"#),
        ("google.protobuf.Int64Value f = 1;", vec![], "null"),
        ("google.protobuf.Int64Value f = 1;", bytes(1, &[]), "0"),
        ("google.protobuf.StringValue f = 1;", bytes(1, &bytes(1, b"x")), "\"x\""),
        ("repeated int32 f = 1;", bytes(1, &[1, 2, 3]), "[1,2,3]"),
        ("repeated int32 f = 1;", [number(1, 1), number(1, 2)].concat(), "[1,2]"),
        ("repeated int32 f = 1;", vec![], "[]"),
        ("repeated string f = 1;", [bytes(1, b"a"), bytes(1, b"b")].concat(), r#"["a","b"]"#),
        ("map<string, int32> f = 1;", bytes(1, &[bytes(1, b"a"), number(2, 1)].concat()), r#"{"a":1}"#),
        ("map<int32, string> f = 1;", bytes(1, &number(1, 5)), r#"[[5,""]]"#),
        ("google.type.Date f = 1;", bytes(1, &[number(1, 1970), number(2, 1), number(3, 2)].concat()), "1"),
        (
            "google.type.TimeOfDay f = 1;",
            bytes(1, &[number(1, 1), number(3, 1), number(4, 5_000_000)].concat()),
            "3601005",
        ),
        (
            "google.protobuf.Timestamp f = 1;",
            bytes(1, &[number(1, 1), number(2, 5_000_000)].concat()),
            "1005",
        ),
        (
            "confluent.type.Decimal f = 1;",
            bytes(1, &[bytes(1, &[0x30, 0x39]), number(3, 2)].concat()),
            r#"{"scale":2,"value":"MDk="}"#,
        ),
    ] {
        assert_eq!(field(definition, &data), format!(r#"{{"f":{expected}}}"#), "{definition}");
    }
    assert_eq!(field("", &number(7, 1)), "{}");
    assert_eq!(
        field("int32 b = 2; int32 a = 1;", &[number(1, 1), number(2, 2)].concat()),
        r#"{"b":2,"a":1}"#
    );
}

#[test]
fn columns_mean_what_kafka_connect_says() {
    let text = r#"
        // A comment; with { and "
        syntax = "proto3";
        package n.m;
        import "confluent/meta.proto"; import public "other.proto";
        option java_package = "x";
        message Envelope {
          option (confluent.message_meta) = { params: [{ key: "a", value: "b" }] };
          Value before = 1; Value after = 2; string op = 3; /* } */
          reserved 7 to 9;
          message Value {
            int32 id = 1;
            int32 small = 2 [(confluent.field_meta) = { params: [{ key: "connect.type", value: "int16" }] }];
            optional int64 big = 3;
            .confluent.type.Decimal money = 4 [(confluent.field_meta) = {
              params: [ { value: "9", key: "ignored" }, { key: "precision", value: "9" }, { key: "scale", value: "2" } ] }];
            google.type.Date day = 5;
            google.protobuf.Timestamp at = 6;
            repeated string tags = 7 [packed = false];
            map<string, double> map = 8;
            map<int32, double> pairs = 9;
            Inner inner = 10;
            other.Colour colour = 11;
            google.protobuf.BoolValue flag = 12;
            confluent.type.Decimal any = 13;
          }
          message Inner { Inner inner = 1; }
        }
        service S { rpc Get(Envelope) returns (Envelope) { option deprecated = true; } }
    "#;
    let other = ("other.proto".to_owned(), "package other; enum Colour { RED = 0; }".to_owned());
    let (_, schema) = Protobuf::parse(text, &[other]).unwrap();
    assert_eq!(schema.name, "n.m.Envelope");
    let columns = schema.columns.unwrap();
    let found: Vec<_> =
        columns.iter().map(|column| (column.name.as_str(), &column.wire, column.nullable)).collect();
    let (texts, map) = (Wire::Array(Box::new(Wire::Text)), Wire::Map(Box::new(Wire::Float64)));
    assert_eq!(
        found,
        [
            ("id", &Wire::Int(32), false),
            ("small", &Wire::Int(16), false),
            ("big", &Wire::Int(64), true),
            ("money", &Wire::Decimal { scale: 2, precision: Some(9) }, true),
            ("day", &Wire::Date, true),
            ("at", &Wire::TimestampMillis, true),
            ("tags", &texts, false),
            ("map", &map, false),
            ("pairs", &Wire::Json, false),
            ("inner", &Wire::Json, true),
            ("colour", &Wire::Text, false),
            ("flag", &Wire::Bool, true),
            ("any", &Wire::VariableDecimal, true),
        ]
    );
}

#[test]
fn a_schema_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let deep = "message M {".repeat(100);
    for (text, why) in [
        ("", "it has no message"),
        ("message", "it ends where a name"),
        ("message M {", "it ends within a message"),
        ("message M { X f = 1; }", "the type `X` is nowhere"),
        ("message M { int32 f = x; }", "`x` is no field's number"),
        ("message M { int32 f = 1", "the field `f` has no end"),
        ("message M { int32 f = 1; int32 g = 1; }", "the number of the field `g` is there twice"),
        ("message M {} message M {}", "the type `M` is defined twice"),
        ("message M { optional group G = 1 {} }", "has no end"),
        ("message M { /* ", "a comment without end"),
        ("option x = \"", "a string without end"),
        (&deep, "messages nest deeper than 32"),
        ("{", "`{` where a definition is expected"),
        ("message M { int32 f = 1 [ (", "it ends within options"),
    ] {
        let what = Protobuf::parse(text, &[]).map(|(protobuf, _)| protobuf).unwrap_err();
        assert!(what.contains(why), "{text:.60}: {what}");
    }
}

#[test]
fn data_that_does_not_fit_is_refused_with_what_is_wrong() {
    let schema = "syntax = \"proto3\"; message M { M m = 1; int32 n = 2; string s = 3; google.protobuf.Timestamp t = 4; google.type.Date d = 5; }";
    let mut deep = vec![];
    for _ in 0..130 {
        deep = bytes(1, &deep);
    }
    for (data, why) in [
        (vec![8], "it ends within a number"),
        (vec![0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "bytes are announced"),
        (vec![0xff; 11], "more than 64 bits"),
        (vec![0x0b], "written in the way 3"),
        (number(1, 1), "in `m` a value that is not of its field's type"),
        (bytes(2, b"x"), "in `n` a value that is not of its field's type"),
        (bytes(3, b"\xff"), "in `s` text that is not utf-8"),
        ([bytes(1, &[]), bytes(1, &[])].concat(), "in `m` a message that comes twice"),
        (bytes(4, &number(2, 1)), "finer than milliseconds"),
        (bytes(4, &number(1, i64::MAX as u64)), "out of range"),
        (bytes(5, &[number(1, 2023), number(2, 2), number(3, 29)].concat()), "there is no such date"),
        (deep, "nesting deeper than 120"),
    ] {
        let what = json_of(schema, &data).unwrap_err();
        assert!(what.contains(why), "{data:?}: {what}");
    }
}

#[test]
fn the_place_of_the_message_stands_before_its_data_or_in_a_header() {
    let (protobuf, _) = Protobuf::parse("message A { optional int32 f = 1; } message B {}", &[]).unwrap();
    let data = number(1, 5);
    let read = |bytes: &[u8], indexes: Option<&[u8]>| {
        let mut json = Vec::new();
        protobuf.to_json(bytes, indexes, &mut json).map(|()| String::from_utf8(json).unwrap())
    };
    let expected = Ok(r#"{"f":5}"#.to_owned());
    for place in [&[0][..], &[2, 0]] {
        assert_eq!(read(&[place, &data].concat(), None), expected);
        assert_eq!(read(&data, Some(place)), expected);
    }
    assert_eq!(read(&data, Some(&[])), expected);
    for place in [&[2, 2][..], &[4, 0, 0], &[1], &[]] {
        assert!(read(place, None).is_err(), "{place:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_text_panic_or_grow(data in prop::collection::vec(any::<u8>(), 0..100), text in "[a-zM1 ={};\"\\[\\]().,<>/*\n-]{0,80}") {
        let schema = "message M { repeated M m = 1; repeated int32 n = 2; map<string, M> k = 3; google.type.Date d = 4; \
                      confluent.type.Decimal c = 5; repeated google.protobuf.Timestamp t = 6; double f = 7; }";
        let (protobuf, _) = Protobuf::parse(schema, &[]).unwrap();
        let mut json = Vec::new();
        if protobuf.to_json(&data, None, &mut json).is_ok() {
            prop_assert!(serde_json::from_slice::<Tree>(&json).is_ok());
        }
        prop_assert!(json.len() <= MAX_OUTPUT_BYTES);
        let _ = Protobuf::parse(&text, &[]);
        let _ = Protobuf::parse(&format!("message M {{ {text}"), &[]);
    }
}
