use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clickhouse::rows::read_block;
use crate::columns::Blobs;
use crate::debezium::shape::{Guess, Wire};

fn decode<'a>(wire: &'a Wire, json: &'a str) -> Result<Value<'a>, String> {
    let wrong = || "the element is not what its wire says".to_owned();
    Ok(match wire {
        _ if json == "null" => Value::Null,
        Wire::Int(_) => Value::Int(json.parse().map_err(|_| wrong())?),
        Wire::Text => Value::Text(serde_json::from_str::<String>(json).map_err(|_| wrong())?.into()),
        Wire::Array(inner) => Value::Array(json, inner),
        Wire::Map(inner) => Value::Map(json, inner),
        _ => return Err(wrong()),
    })
}

fn ty(text: &str) -> ColumnType {
    ColumnType::parse(text).expect("a type")
}

/// A block of one column, and the rows that failed.
fn encode(column_type: &str, values: &[Value<'_>]) -> (Vec<u8>, Vec<(usize, String)>) {
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode }, 1, values.len());
    block.column("x", &ty(column_type), values.iter().cloned().map(Ok));
    block.finish()
}

/// The values' bytes alone.
fn data(column_type: &str, values: &[Value<'_>]) -> Vec<u8> {
    let (bytes, failed) = encode(column_type, values);
    assert_eq!(failed, [], "{column_type}");
    let header = 2 + 2 + 1 + ty(column_type).sent().to_string().len();
    bytes[header..].to_vec()
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

#[test]
fn a_block_is_its_counts_then_each_column_with_name_type_and_values() {
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode }, 3, 2);
    block.column("id", &ty("Int32"), [Ok(Value::Int(1)), Ok(Value::Int(-2))].into_iter());
    block.column("v", &ty("LowCardinality(Nullable(String))"), [Ok(Value::Null), Ok(text("hé"))].into_iter());
    block.constant("c", &ty("Nullable(String)"), "k");
    let (bytes, failed) = block.finish();
    assert_eq!(failed, []);
    let expected = [
        b"\x03\x02".as_slice(),
        b"\x02id\x05Int32\x01\0\0\0\xfe\xff\xff\xff",
        b"\x01v\x10Nullable(String)\x01\0\0\x03h\xc3\xa9",
        b"\x01c\x10Nullable(String)\0\0\x01k\x01k",
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn each_type_has_its_bytes() {
    for (column_type, value, expected) in [
        ("Int8", Value::Int(-1), &b"\xff"[..]),
        ("UInt16", Value::Int(258), b"\x02\x01"),
        ("UInt64", Value::Decimal("18446744073709551615".into()), &[0xff; 8]),
        ("Int128", Value::Int(-2), b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("Float32", Value::Float(1.0), b"\0\0\x80\x3f"),
        ("Float64", Value::Int(1), b"\0\0\0\0\0\0\xf0\x3f"),
        ("Bool", Value::Bool(true), b"\x01"),
        ("FixedString(2)", Value::Bytes(b"a\0"[..].into()), b"a\0"),
        ("Decimal(9, 2)", Value::Decimal("-0.01".into()), b"\xff\xff\xff\xff"),
        ("Decimal(18, 1)", Value::Int(1), b"\x0a\0\0\0\0\0\0\0"),
        ("Decimal(38, 0)", Value::Int(1), b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("Decimal(76, 0)", Value::Int(-1), &[0xff; 32]),
        ("Date", Value::Date(256), b"\0\x01"),
        ("Date32", Value::Date(-1), b"\xff\xff\xff\xff"),
        ("DateTime", Value::Timestamp { seconds: 1, nanos: 0 }, b"\x01\0\0\0"),
        ("DateTime64(3)", Value::Timestamp { seconds: 1, nanos: 1_000_000 }, b"\xe9\x03\0\0\0\0\0\0"),
        ("Time", Value::Time(-1_000_000_000), b"\xff\xff\xff\xff"),
        ("Time64(3)", Value::Time(1_000_000), b"\x01\0\0\0\0\0\0\0"),
        (
            "UUID",
            text("00112233-4455-6677-8899-aabbccddeeff"),
            b"\x77\x66\x55\x44\x33\x22\x11\0\xff\xee\xdd\xcc\xbb\xaa\x99\x88",
        ),
        ("IPv4", text("1.2.3.4"), b"\x04\x03\x02\x01"),
        ("IPv6", text("::1"), b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
        ("Enum8('a' = -1, 'b' = 2)", text("a"), b"\xff"),
        ("Enum16('a' = 300)", text("a"), b"\x2c\x01"),
        ("JSON", Value::Json("{}".into()), b"\x02{}"),
        ("String", Value::Int(-7), b"\x02-7"),
    ] {
        assert_eq!(data(column_type, &[value]), expected, "{column_type}");
    }
}

#[test]
fn the_offsets_of_arrays_come_first_and_add_up() {
    let list = Wire::Int(8);
    let values = [Value::Array("[1,null]", &list), Value::Array("[]", &list), Value::Array("[3]", &list)];
    let offsets = |ends: &[u64]| ends.iter().flat_map(|end| end.to_le_bytes()).collect::<Vec<u8>>();
    let expected = [offsets(&[2, 2, 3]).as_slice(), b"\0\x01\0\x01\0\x03"].concat();
    assert_eq!(data("Array(Nullable(Int8))", &values), expected);

    let lists = Wire::Array(Box::new(Wire::Int(8)));
    let values = [Value::Array("[[1,2],[]]", &lists), Value::Array("[[3]]", &lists)];
    let expected = [offsets(&[2, 3]), offsets(&[2, 2, 3]), vec![1, 2, 3]].concat();
    assert_eq!(data("Array(Array(Int8))", &values), expected);

    let map = Wire::Int(8);
    let values = [Value::Map("{\"a\":1,\"b\":null}", &map)];
    let expected = [offsets(&[2]).as_slice(), b"\x01a\x01b\0\x01\x01\0"].concat();
    assert_eq!(data("Map(LowCardinality(String), Nullable(Int8))", &values), expected);
}

#[test]
fn a_value_that_fails_leaves_a_placeholder_and_its_row_is_listed_once() {
    let list = Wire::Int(8);
    let map = Wire::Text;
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode }, 4, 3);
    block.column("a", &ty("UInt8"), [Ok(Value::Int(1)), Ok(Value::Int(256)), Ok(Value::Int(3))].into_iter());
    let lists = [Value::Array("[1]", &list), Value::Array("[2,300,4]", &list), Value::Null];
    block.column("b", &ty("Array(UInt8)"), lists.into_iter().map(Ok));
    let maps = [Value::Map("{\"a\":\"b\"}", &map), Value::Map("{\"a\":1}", &map), Value::Map("[]", &map)];
    block.column("c", &ty("Map(String, String)"), maps.into_iter().map(Ok));
    block.column("d", &ty("Enum8('x' = 5)"), [Ok(text("x")), Err("no such thing".to_owned())].into_iter());
    let (bytes, failed) = block.finish();
    let rows: Vec<usize> = failed.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [1, 2]);
    assert_eq!(failed[0].1, "column `a` (UInt8): the number is outside the column's range");
    assert_eq!(failed[1].1, "column `b` (Array(UInt8)): the value is null, and the column is not Nullable");
    let rows = read_block(&bytes).expect("the columns are aligned");
    assert_eq!(rows.rows[0], [json!(1), json!([1]), json!({"a": "b"}), json!("x")]);
}

#[test]
fn null_needs_a_nullable_column_and_unavailable_none_will_do() {
    let (_, failed) = encode("Nullable(Int32)", &[Value::Null, Value::Unavailable]);
    assert_eq!(failed.len(), 1);
    assert!(failed[0].1.contains("REPLICA IDENTITY"), "{failed:?}");
    for column_type in ["Int32", "String", "Array(Int8)", "DateTime64(3)", "JSON", "LowCardinality(String)"] {
        assert_eq!(encode(column_type, &[Value::Null]).1.len(), 1, "{column_type}");
        assert_eq!(encode(column_type, &[Value::Unavailable]).1.len(), 1, "{column_type}");
    }
}

#[test]
fn a_reason_never_shows_the_value() {
    let secret = "s3cret";
    for column_type in
        ["Decimal(9, 2)", "UUID", "IPv4", "FixedString(2)", "Enum8('a' = 1)", "DateTime", "Float64"]
    {
        let (_, failed) = encode(column_type, &[text(secret)]);
        assert!(failed.len() == 1 && !failed[0].1.contains(secret), "{failed:?}");
    }
}

#[test]
fn computed_cells_are_values_of_their_kind() {
    let blobs =
        |offsets: &[u32], bytes: &[u8]| Cells::Blobs(Blobs { offsets: offsets.into(), bytes: bytes.into() });
    let column = |cells| Column { states: vec![], cells };
    for (cells, kind, column_type, expected) in [
        (Cells::Small(vec![0, 1]), Kind::Boolean, "Bool", json!(true)),
        (Cells::Ints(vec![0, -5]), Kind::Int, "Int8", json!(-5)),
        (Cells::Floats(vec![0.0, 0.5]), Kind::Float, "Float32", json!(0.5)),
        (Cells::Ints(vec![0, -1]), Kind::Date, "Date32", json!("1969-12-31")),
        (Cells::Ints(vec![0, -1]), Kind::Timestamp, "DateTime64(6)", json!("1969-12-31 23:59:59.999999")),
        (Cells::Ints(vec![0, 1]), Kind::Time, "Int64", json!(1)),
        (blobs(&[0, 1, 4], b"11.5"), Kind::Decimal, "Decimal(4, 2)", json!(1.5)),
        (blobs(&[0, 1, 2], b"1a"), Kind::Text, "String", json!("a")),
        (blobs(&[0, 1, 2], b"1\xff"), Kind::Bytes, "String", json!("\\xFF")),
    ] {
        let profile = Profile::default();
        let mut block = Block::new(Encoding { profile: &profile, decode }, 1, 1);
        block.computed("x", &ty(column_type), &column(cells), kind, &[1]);
        let (bytes, failed) = block.finish();
        assert_eq!(failed, [], "{kind:?}");
        assert_eq!(read_block(&bytes).expect("a good block").rows, [[expected]], "{kind:?}");
    }
}

#[test]
fn an_answer_that_does_not_hold_its_kind_fails_by_row() {
    let blobs =
        |offsets: &[u32], bytes: &[u8]| Cells::Blobs(Blobs { offsets: offsets.into(), bytes: bytes.into() });
    let column = |cells| Column { states: vec![], cells };
    for (column, kind) in [
        (column(Cells::Ints(vec![])), Kind::Int),
        (column(Cells::Small(vec![2])), Kind::Boolean),
        (column(Cells::Small(vec![1])), Kind::Int),
        (column(Cells::Ints(vec![1])), Kind::Text),
        (column(Cells::Ints(vec![i64::MAX])), Kind::Time),
        (column(Cells::Floats(vec![1.0])), Kind::Int),
        (column(blobs(&[0], b"")), Kind::Text),
        (column(blobs(&[0, 9], b"")), Kind::Text),
        (column(blobs(&[5, 1], b"aaaaaa")), Kind::Text),
        (column(blobs(&[0, 1], b"\xff")), Kind::Text),
        (column(blobs(&[0, 1], b"1")), Kind::Int),
        (Column { states: vec![7], cells: Cells::Ints(vec![1]) }, Kind::Int),
        (Column { states: vec![0], cells: Cells::Ints(vec![]) }, Kind::Int),
    ] {
        assert!(cell(&column, kind, 0).is_err(), "{column:?}");
    }
    let nulls = Column { states: vec![1, 2], cells: Cells::Ints(vec![0, 0]) };
    assert_eq!(cell(&nulls, Kind::Int, 0), Ok(Value::Null));
    assert_eq!(cell(&nulls, Kind::Int, 1), Ok(Value::Unavailable));
}

#[test]
fn a_constant_is_in_each_row_or_fails_each_row() {
    let profile = Profile::default();
    for (column_type, expected) in [
        ("String", json!("2024-01-31")),
        ("Nullable(Date)", json!("2024-01-31")),
        ("LowCardinality(String)", json!("2024-01-31")),
    ] {
        let mut block = Block::new(Encoding { profile: &profile, decode }, 1, 3);
        block.constant("x", &ty(column_type), "2024-01-31");
        let (bytes, failed) = block.finish();
        assert_eq!(failed, []);
        assert_eq!(read_block(&bytes).expect("a good block").rows, vec![vec![expected]; 3]);
    }
    let mut block = Block::new(Encoding { profile: &profile, decode }, 1, 3);
    block.constant("x", &ty("UUID"), "2024-01-31");
    assert_eq!(block.finish().1.len(), 3);
}

#[test]
fn a_large_count_takes_more_bytes() {
    for (number, bytes) in
        [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2]), (1 << 14, &[0x80, 0x80, 1])]
    {
        let mut out = Vec::new();
        put_varuint(&mut out, number);
        assert_eq!(out, bytes);
    }
}

/// A type, a value for it, and how the value reads back.
type Sample = (&'static str, Value<'static>, serde_json::Value);

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![numbers(), decimals(), texts(), times()]
}

fn numbers() -> impl Strategy<Value = Sample> {
    prop_oneof![
        any::<i8>().prop_map(|n| ("Int8", Value::Int(n.into()), json!(n))),
        any::<i16>().prop_map(|n| ("Int16", Value::Int(n.into()), json!(n))),
        any::<i32>().prop_map(|n| ("Int32", Value::Int(n.into()), json!(n))),
        any::<i64>().prop_map(|n| ("Int64", Value::Int(n), json!(n))),
        any::<i64>().prop_map(|n| ("Int128", Value::Int(n), json!(n.to_string()))),
        any::<i128>().prop_map(|n| ("Int256", Value::Decimal(n.to_string().into()), json!(n.to_string()))),
        any::<u8>().prop_map(|n| ("UInt8", Value::Int(n.into()), json!(n))),
        any::<u16>().prop_map(|n| ("UInt16", Value::Int(n.into()), json!(n))),
        any::<u32>().prop_map(|n| ("UInt32", Value::Int(n.into()), json!(n))),
        any::<u64>().prop_map(|n| ("UInt64", Value::Decimal(n.to_string().into()), json!(n))),
        any::<u128>().prop_map(|n| ("UInt128", Value::Decimal(n.to_string().into()), json!(n.to_string()))),
        any::<u128>().prop_map(|n| ("UInt256", Value::Decimal(n.to_string().into()), json!(n.to_string()))),
        (-1e300..1e300).prop_map(|n| ("Float64", Value::Float(n), json!(n))),
        (-1_000_000..1_000_000_i64).prop_map(|n| ("Float32", Value::Int(n), json!(n as f64))),
    ]
}

fn decimals() -> impl Strategy<Value = Sample> {
    let decimal = |precision: usize, scale: usize, column_type: &'static str| {
        let digits = |count| prop::collection::vec(prop::char::range('0', '9'), count);
        (1..10_u8, digits(precision - scale - 1), digits(scale), any::<bool>()).prop_map(
            move |(first, before, after, negative)| {
                let sign = if negative { "-" } else { "" };
                let digits = |digits: Vec<char>| String::from_iter(digits);
                let text = format!("{sign}{first}{}.{}", digits(before), digits(after));
                (column_type, Value::Decimal(text.clone().into()), json!(text))
            },
        )
    };
    prop_oneof![
        decimal(18, 4, "Decimal(18, 4)"),
        decimal(38, 10, "Decimal(38, 10)"),
        decimal(76, 30, "Decimal(76, 30)"),
        any::<i32>().prop_map(|n| {
            let text = format!("{}.{:02}", n / 100, (n % 100).abs());
            let sign = if n < 0 && n > -100 { "-" } else { "" };
            ("Decimal(11, 2)", Value::Decimal(format!("{sign}{text}").into()), json!(f64::from(n) / 100.0))
        }),
    ]
}

fn texts() -> impl Strategy<Value = Sample> {
    prop_oneof![
        any::<bool>().prop_map(|flag| ("Bool", Value::Bool(flag), json!(flag))),
        any::<String>().prop_map(|s| ("String", Value::Text(s.clone().into()), json!(s))),
        "[a-z]{4}".prop_map(|s| ("FixedString(4)", Value::Text(s.clone().into()), json!(s))),
        any::<u128>().prop_map(|n| {
            let hex = format!("{n:032x}");
            let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
            ("UUID", Value::Text(text.clone().into()), json!(text))
        }),
        any::<std::net::Ipv4Addr>().prop_map(|a| (
            "IPv4",
            Value::Text(a.to_string().into()),
            json!(a.to_string())
        )),
        any::<std::net::Ipv6Addr>().prop_map(|a| (
            "IPv6",
            Value::Text(a.to_string().into()),
            json!(a.to_string())
        )),
        prop::sample::select(vec!["a", "b'("]).prop_map(|s| (
            "Enum8('a' = -7, 'b\\'(' = 9)",
            Value::Text(s.into()),
            json!(s)
        )),
        prop::sample::select(vec!["a", ""]).prop_map(|s| (
            "Enum16('a' = 7, '' = 900)",
            Value::Text(s.into()),
            json!(s)
        )),
    ]
}

fn times() -> impl Strategy<Value = Sample> {
    let scaled = |ticks: i64, digits: u8| Value::Timestamp {
        seconds: ticks.div_euclid(10_i64.pow(digits.into())),
        nanos: (ticks.rem_euclid(10_i64.pow(digits.into())) * 10_i64.pow(9 - u32::from(digits))) as u32,
    };
    prop_oneof![
        (0_i64..65_536).prop_map(|day| ("Date", Value::Date(day), json!(date(day)))),
        (-719_528_i64..=2_932_896).prop_map(|day| ("Date32", Value::Date(day), json!(date(day)))),
        any::<u32>().prop_map(move |s| ("DateTime", scaled(s.into(), 0), json!(instant(s.into(), 0)))),
        (-62_167_219_200_000..=253_402_300_799_999_i64).prop_map(move |t| (
            "DateTime64(3, 'UTC')",
            scaled(t, 3),
            json!(instant(t, 3))
        )),
        any::<i64>().prop_map(move |t| ("DateTime64(9)", scaled(t, 9), json!(instant(t, 9)))),
        (-3_599_999..=3_599_999_i64).prop_map(|s| (
            "Time",
            Value::Time(s * 1_000_000_000),
            json!(clock(s, 0))
        )),
        (-3_599_999_999..=3_599_999_999_i64).prop_map(|t| (
            "Time64(3)",
            Value::Time(t * 1_000_000),
            json!(clock(t, 3))
        )),
    ]
}

fn clock(ticks: i64, digits: u8) -> String {
    crate::clickhouse::convert::calendar::plain_time(ticks, digits)
}

fn date(day: i64) -> String {
    crate::clickhouse::convert::calendar::date_text(day).expect("in the calendar")
}

fn instant(ticks: i64, digits: u8) -> String {
    crate::clickhouse::convert::calendar::plain_timestamp(ticks, digits)
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same((column_type, value, expected) in sample(), null in any::<bool>()) {
        let (bytes, failed) = encode(column_type, &[value.clone(), value.clone()]);
        prop_assert_eq!(failed, []);
        let rows = read_block(&bytes).expect("a good block").rows;
        prop_assert_eq!(rows, vec![vec![expected.clone()]; 2]);

        let first = if null { Value::Null } else { value.clone() };
        let (bytes, failed) = encode(&format!("Nullable({column_type})"), &[first, value]);
        prop_assert_eq!(failed, []);
        let rows = read_block(&bytes).expect("a good block").rows;
        prop_assert_eq!(rows, [vec![if null { json!(null) } else { expected.clone() }], vec![expected]]);
    }

    #[test]
    fn nested_values_read_back_the_same(
        lists in prop::collection::vec(prop::collection::vec(prop::option::of(any::<i32>()), 0..4), 0..4),
        map in prop::collection::btree_map("[a-c\"é]{0,2}", prop::collection::vec(".{0,3}", 0..3), 0..4),
    ) {
        let json = json!(lists).to_string();
        let wire = Wire::Array(Box::new(Wire::Int(32)));
        let (bytes, failed) = encode("Array(Array(Nullable(Int32)))", &[Value::Array(&json, &wire)]);
        prop_assert_eq!(failed, []);
        prop_assert_eq!(read_block(&bytes).expect("a good block").rows, [[json!(lists)]]);

        let json = json!(map).to_string();
        let wire = Wire::Array(Box::new(Wire::Text));
        let (bytes, failed) = encode("Map(String, Array(String))", &[Value::Map(&json, &wire)]);
        prop_assert_eq!(failed, []);
        prop_assert_eq!(read_block(&bytes).expect("a good block").rows, [[json!(map)]]);
    }
}

proptest! {
    #[test]
    fn copied_cells_are_written_as_their_values_are(
        cells in prop::collection::vec("null|true|false|-?[0-9]{1,20}|-?[0-9]{1,10}\\.[0-9]{1,10}([eE][-+]?[0-9]{1,3})?|9223372036825200000|\"([a-zé]|\\\\n){0,40}\"|\"__debezium_unavailable_value\"|", 0..20),
        nullable: bool,
        (wire, name) in prop::sample::select(vec![
            (Wire::Text, "String"),
            (Wire::Int(64), "Int64"),
            (Wire::Float64, "Float64"),
            (Wire::Guess(Guess::Float), "Float64"),
            (Wire::Bool, "Bool"),
            (Wire::TimestampMicros, "DateTime64(6, 'UTC')"),
        ]),
    ) {
        let plain = Plain::of(Some(&wire));
        prop_assert_ne!(plain, Plain::No);
        let ty = ty(&if nullable { format!("Nullable({name})") } else { name.to_owned() });
        let profile = Profile::default();
        let encoding = Encoding { profile: &profile, decode: value::decode };
        let value = |row: usize| value::decode(&wire, &cells[row]);
        let mut copied = Block::new(encoding, 1, cells.len());
        copied.copied("x", &ty, plain, |row| Some(cells[row].as_bytes()), value);
        let mut valued = Block::new(encoding, 1, cells.len());
        valued.column("x", &ty, (0..cells.len()).map(value));
        prop_assert_eq!(copied.finish(), valued.finish());
    }

    #[test]
    fn computed_times_are_written_as_their_values_are(
        times in prop::collection::vec((any::<i64>(), -62_000_000_000_000_000_i64..260_000_000_000_000_000, 0_u8..8), 0..20),
        nullable: bool,
    ) {
        let ty = ty(if nullable { "Nullable(DateTime64(6, 'UTC'))" } else { "DateTime64(6, 'UTC')" });
        let cells = times.iter().map(|(any, near, which)| match which { 0 => *any, 1 => i64::MAX, _ => *near });
        let states = times.iter().map(|(_, _, which)| u8::from(*which == 7)).collect();
        let column = Column { states, cells: Cells::Ints(cells.collect()) };
        let which: Vec<usize> = (0..times.len()).rev().collect();
        let profile = Profile::default();
        let encoding = Encoding { profile: &profile, decode: value::decode };
        let mut computed = Block::new(encoding, 1, which.len());
        computed.computed("x", &ty, &column, Kind::Timestamp, &which);
        let mut valued = Block::new(encoding, 1, which.len());
        valued.column("x", &ty, which.iter().map(|index| cell(&column, Kind::Timestamp, *index)));
        prop_assert_eq!(computed.finish(), valued.finish());
    }
}

#[test]
fn what_tuples_points_and_variants_hold_stands_column_by_column() {
    let json = |text: &'static str| Value::Json(text.into());
    let long = |number: i64| number.to_le_bytes();
    let values = [json(r#"{"b":"x","a":1}"#), json(r#"{"a":2}"#)];
    let expected = [&long(1)[..], &long(2), b"\0\x01", b"\x01x", b"\0"].concat();
    assert_eq!(data("Tuple(a Int64, b Nullable(String))", &values), expected);

    let values = [json("[1.5,2]"), json(r#"{"x":0.25,"y":-1,"wkb":"AA==","srid":null}"#)];
    let expected: Vec<u8> =
        [1.5_f64, 0.25, 2.0, -1.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(data("Point", &values), expected);

    let values = [Value::Int(7), text("x"), Value::Null, json("[1]")];
    let expected = [&[0; 8][..], &[1, 2, 255, 0], &long(1), &long(1), &long(7), b"\x01x"].concat();
    assert_eq!(data("Variant(Array(Int64), Int64, String)", &values), expected);
    let list = Wire::Int(64);
    let values = [Value::Array("[1,null]", &list)];
    let expected = [&[0; 8][..], &long(2), &[0, 255], &long(1)].concat();
    assert_eq!(
        data("Array(Variant(Int64, String))", &values),
        expected,
        "the mark stands before the offsets"
    );
}

#[test]
fn a_tuple_that_has_other_members_than_the_column_is_refused_and_all_stays_aligned() {
    let json = |text: &'static str| Value::Json(text.into());
    let values = [
        json(r#"{"a":1,"b":"x"}"#),
        json(r#"{"b":"x"}"#),
        json(r#"{"a":1,"b":"x","c":1}"#),
        json(r#"{"a":1,"a":2,"b":"x"}"#),
        json(r#"{"a":"1","b":"x"}"#),
        json("[1,\"x\"]"),
        Value::Null,
        json(r#"{"a":5,"b":"y"}"#),
    ];
    let (bytes, failed) = encode("Tuple(a Int64, b String)", &values);
    assert_eq!(failed.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let rows = read_block(&bytes).expect("the columns are aligned");
    assert_eq!(rows.rows[0], [json!({"a": 1, "b": "x"})]);
    assert_eq!(rows.rows[7], [json!({"a": 5, "b": "y"})]);
}

#[test]
fn parts_of_a_nested_column_that_differ_in_length_fail_their_row_alone() {
    let list = Wire::Int(8);
    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode }, 2, 3);
    let column = |texts: [&'static str; 3]| texts.map(|text| Ok(Value::Array(text, &list))).into_iter();
    block.column("n.a", &ty("Array(Int8)"), column(["[1]", "[1,2]", "[]"]));
    block.column("n.b", &ty("Array(Nullable(Int8))"), column(["[1]", "[1]", "[]"]));
    let (_, failed) = block.finish();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].0 == 1 && failed[0].1.contains("not as long as"), "{failed:?}");
}

#[test]
fn what_may_stand_for_a_value_is_written_and_counted() {
    use crate::clickhouse::policy::{OutOfRange, Replacement, Rules, Unavailable};

    let profile = Profile::default();
    let mut block = Block::new(Encoding { profile: &profile, decode }, 3, 2);
    block.set_rules(Rules { out_of_range: OutOfRange::Saturate, ..Rules::default() });
    block.column("a", &ty("UInt8"), [Ok(Value::Int(300)), Ok(Value::Int(-1))].into_iter());
    block.set_rules(Rules { out_of_range: OutOfRange::Null, ..Rules::default() });
    block.column("b", &ty("Nullable(UInt8)"), [Ok(Value::Int(300)), Ok(Value::Int(1))].into_iter());
    block.set_rules(Rules { unavailable: Unavailable::Default, ..Rules::default() });
    block.column("c", &ty("Array(String)"), [Ok(Value::Unavailable), Ok(Value::Unavailable)].into_iter());
    let counts: Vec<(String, Replacement, u64)> =
        block.replaced().0.iter().map(|((column, what), count)| (column.clone(), *what, *count)).collect();
    let expected = [
        ("a".to_owned(), Replacement::Saturated, 2),
        ("b".to_owned(), Replacement::Nulled, 1),
        ("c".to_owned(), Replacement::UnavailableDefault, 2),
    ];
    assert_eq!(counts, expected);
    let (bytes, failed) = block.finish();
    assert_eq!(failed, []);
    let rows = read_block(&bytes).expect("a good block");
    assert_eq!(rows.rows, [[json!(255), json!(null), json!([])], [json!(0), json!(1), json!([])]]);
}

#[test]
fn the_blank_of_each_type_is_its_default_whatever_the_rules_and_the_ranges() {
    use crate::clickhouse::policy::{OutOfRange, Rules, Unavailable};

    // A server on which the day and the second of the default are out of range.
    let profile = Profile { date_days: (1, 65_535), datetime_seconds: (1, 1 << 31), ..Profile::default() };
    for (name, default) in [
        ("Int8", json!(0)),
        ("UInt64", json!(0)),
        ("Int256", json!("0")),
        ("Float32", json!(0.0)),
        ("Float64", json!(0.0)),
        ("Bool", json!(false)),
        ("String", json!("")),
        ("FixedString(3)", json!("\0\0\0")),
        ("Decimal(9, 2)", json!(0.0)),
        ("Decimal(76, 10)", json!("0.0000000000")),
        ("Date", json!("1970-01-01")),
        ("Date32", json!("1970-01-01")),
        ("DateTime", json!("1970-01-01 00:00:00")),
        ("DateTime64(6, 'UTC')", json!("1970-01-01 00:00:00.000000")),
        ("Time", json!("00:00:00")),
        ("Time64(6)", json!("00:00:00.000000")),
        ("UUID", json!("00000000-0000-0000-0000-000000000000")),
        ("IPv4", json!("0.0.0.0")),
        ("IPv6", json!("::")),
        ("Enum8('a' = -1, 'b' = 2)", json!("a")),
        ("Enum16('x' = 300)", json!("x")),
        ("Nullable(Int32)", json!(null)),
        ("LowCardinality(String)", json!("")),
        ("LowCardinality(Nullable(String))", json!(null)),
        ("Nullable(Enum8('x' = 1))", json!(null)),
        ("Array(Array(Nullable(UUID)))", json!([])),
        ("Map(String, Date)", json!({})),
        ("Tuple(a Nullable(Int8), b Tuple(Date, Array(Int8)))", json!({"a": null, "b": ["1970-01-01", []]})),
        ("Point", json!([0.0, 0.0])),
        ("Variant(Int64, String)", json!(null)),
        // It is sent as text.
        ("JSON", json!("{}")),
    ] {
        for out_of_range in [OutOfRange::Reject, OutOfRange::Null, OutOfRange::Saturate, OutOfRange::AsString]
        {
            let mut block = Block::new(Encoding { profile: &profile, decode: value::decode }, 2, 2);
            block.set_rules(Rules { out_of_range, unavailable: Unavailable::Default, in_key: false });
            for value in [Err("no value".to_owned()), Ok(Value::Unavailable)] {
                block.set_blanks(vec![true; 2]);
                block.column("x", &ty(name), [value.clone(), value].into_iter());
            }
            assert!(block.replaced().is_empty(), "{name}");
            let (bytes, failed) = block.finish();
            assert_eq!(failed, [], "{name}");
            let rows = read_block(&bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
            let row = [default.clone(), default.clone()];
            assert_eq!(rows.rows, [row.clone(), row], "{name}");
        }
    }
    // Copied cells that would be taken as they stand; and the next column has no blanks.
    let mut block = Block::new(Encoding { profile: &profile, decode: value::decode }, 2, 2);
    block.set_blanks(vec![false, true]);
    for name in ["x", "y"] {
        block.copied(name, &ty("Int64"), Plain::Int, |_| Some(b"7"), |_| Ok(Value::Int(7)));
    }
    let (bytes, failed) = block.finish();
    assert_eq!(failed, []);
    let rows = read_block(&bytes).expect("a good block");
    assert_eq!(rows.rows, [[json!(7), json!(7)], [json!(0), json!(7)]]);
}

#[test]
fn nan_is_no_part_of_a_key() {
    use crate::clickhouse::policy::Rules;

    for name in ["Float64", "Float32", "Nullable(Float64)"] {
        let profile = Profile::default();
        let mut block = Block::new(Encoding { profile: &profile, decode }, 1, 3);
        block.set_rules(Rules { in_key: true, ..Rules::default() });
        let values = [Value::Float(f64::NAN), text("NaN"), Value::Float(f64::INFINITY)];
        block.column("x", &ty(name), values.into_iter().map(Ok));
        let (_, failed) = block.finish();
        assert_eq!(failed.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 1], "{name}");
        assert!(failed[0].1.contains("NaN"), "{failed:?}");
    }
}

#[test]
fn text_in_json_that_no_schema_describes_is_no_number() {
    let json = |text: &'static str| Value::Json(text.into());
    for (column_type, value) in [
        ("Tuple(Decimal(9, 2))", json("[\"1234\"]")),
        ("Array(Float64)", json("[\"1.5\"]")),
        ("Map(String, Nullable(Decimal(9, 2)))", json("{\"a\":\"12\"}")),
        ("Point", json("{\"x\":\"1\",\"y\":2}")),
    ] {
        assert_eq!(encode(column_type, &[value]).1.len(), 1, "{column_type}");
    }
    assert_eq!(encode("Tuple(Decimal(9, 2))", &[json("[12]")]).1, []);
}

/// Every form that a value can have in an event.
fn wires() -> Vec<Wire> {
    use crate::debezium::shape::Guess;
    use crate::debezium::structured::Structured;

    let guesses =
        [Guess::Unknown, Guess::Bool, Guess::Int, Guess::BigInt, Guess::Float, Guess::Text, Guess::Json];
    let structured = [
        Structured::Date,
        Structured::Time,
        Structured::Timestamp,
        Structured::ZonedTime,
        Structured::ZonedTimestamp,
        Structured::Duration,
    ];
    let plain = [
        Wire::Bool,
        Wire::Int(8),
        Wire::Int(32),
        Wire::Int(64),
        Wire::UInt64,
        Wire::Float32,
        Wire::Float64,
        Wire::Text,
        Wire::Bytes,
        Wire::BytesUrl,
        Wire::BytesHex,
        Wire::Bits(None),
        Wire::Decimal { scale: 2, precision: Some(9) },
        Wire::Decimal { scale: 150_000, precision: None },
        Wire::DecimalText(None),
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
    ];
    let mut wires: Vec<Wire> = plain.into_iter().chain(guesses.map(Wire::Guess)).collect();
    wires.extend(structured.map(Wire::Structured));
    let within: Vec<Wire> = wires
        .iter()
        .flat_map(|wire| [Wire::Array(Box::new(wire.clone())), Wire::Map(Box::new(wire.clone()))])
        .collect();
    wires.extend(within);
    wires
}

/// Texts that hold `marker`, most of which fit nothing.
fn hostile(marker: &str) -> Vec<String> {
    let mut texts: Vec<String> = [
        "M",
        "-M",
        "M.5",
        "1eM",
        "MeM",
        "0.5e-M",
        "MMMMMMMMMM",
        r#""M""#,
        r#""+M""#,
        r#""1eM""#,
        r#""x M""#,
        r#""M é\u0000 %""#,
        r#""2024-13-M""#,
        r#""+M-01-01""#,
        r#""2024-01-01T00:00:00.M+99:00""#,
        r#""{\"M\":M}""#,
        r#""M.5.5""#,
        "[]",
        r#"[M,"M",[M],{"M":M},true,null]"#,
        r#"{"M":M}"#,
        r#"{"M":"M","b":["M"]}"#,
        r#"{"scale":M,"value":"AQ=="}"#,
        r#"{"scale":2,"value":"M!"}"#,
        r#"{"scale":"M","value":"M"}"#,
        r#"{"x":"M","y":M,"srid":M}"#,
        r#"{"specialValue":"M"}"#,
    ]
    .map(|text| text.replace('M', marker))
    .into();
    let fields = ["year", "month", "day", "hour", "minute", "second", "seconds", "nanos", "offsetSeconds"];
    for bad in fields {
        for value in [marker.to_owned(), format!("-{marker}{marker}{marker}"), format!("\"{marker}\"")] {
            let parts = fields.map(|name| match name == bad {
                true => format!("\"{name}\":{value}"),
                false => format!("\"{name}\":1"),
            });
            texts.push(format!("{{{}}}", parts.join(",")));
        }
    }
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_wrong_with_a_value_its_reason_does_not_show_it(digits in "7[0-9]{3}", target in 0_usize..24) {
        // No text of the host's own has these digits.
        let marker = format!("73918{digits}");
        let types = [
            "Int8", "UInt64", "Int256", "Float32", "Float64", "Bool", "String", "FixedString(3)", "Decimal(9, 2)",
            "Decimal(76, 30)", "Date", "Date32", "DateTime", "DateTime64(3)", "Time", "Time64(6)", "UUID", "IPv4",
            "Enum8('a' = 1)", "Array(Nullable(Int8))", "Map(Int8, Decimal(9, 2))", "Tuple(a Int8, b Date)", "Point",
            "JSON",
        ];
        let (profile, ty, texts) = (Profile::default(), ty(types[target]), hostile(&marker));
        for wire in wires() {
            let mut block = Block::new(Encoding { profile: &profile, decode: value::decode }, 1, texts.len());
            block.column("x", &ty, texts.iter().map(|json| value::decode(&wire, json)));
            for (row, reason) in block.finish().1 {
                prop_assert!(!reason.contains("73918"), "{wire:?} {}: {reason}", texts[row]);
            }
        }
    }
}
