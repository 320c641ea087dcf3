//! Real events, and made-up ones for what they do not hold.

use proptest::prelude::*;

use super::fixture::{At, Run, batch, lines};
use super::shape::{Guess, Wire};
use super::value::Value;
use super::*;

mod types;

const FILES: [&str; 5] = [
    "simple.ndjson",
    "types_noschema.ndjson",
    "types_schema.ndjson",
    "types_connect_string.ndjson",
    "types_iso_double.ndjson",
];

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

fn timestamp<'a>(seconds: i64, nanos: u32) -> Value<'a> {
    Value::Timestamp { seconds, nanos }
}

fn check(change: At<'_>, expected: &[(&str, Value<'_>)]) {
    for (column, value) in expected {
        let found = change.after(column);
        let nan = matches!((&found, value), (Value::Float(a), Value::Float(b)) if a.is_nan() && b.is_nan());
        assert!(nan || found == *value, "{column}: {found:?} instead of {value:?}");
    }
}

/// What no connector setting of the fixtures changes, of the row that has a value in each column.
fn check_plain_columns(change: At<'_>) {
    check(
        change,
        &[
            ("id", int(1)),
            ("c_smallint", int(1)),
            ("c_int", int(2)),
            ("c_bigint", int(3)),
            ("c_oid", int(4)),
            ("c_bool", Value::Bool(true)),
            ("c_posint", int(5)),
            ("c_real", Value::Float(1.5)),
            ("c_double", Value::Float(2.25)),
            ("c_char", text("abc     ")),
            ("c_varchar", text("vär")),
            ("c_text", text(r#"héllo 🙂 "q" \\ tab"#)),
            ("c_citext", text("CiText")),
            ("c_bit1", Value::Bool(true)),
            ("c_timetz", text("10:34:56.789Z")),
            ("c_uuid", text("11111111-2222-3333-4444-555555555555")),
            ("c_xml", text("<a>b</a>")),
            ("c_inet", text("10.0.0.1/8")),
            ("c_cidr", text("10.0.0.0/8")),
            ("c_macaddr", text("08:00:2b:01:02:03")),
            ("c_ltree", text("top.sci.astro")),
            ("c_mood", text("happy")),
            ("c_int4range", text("[1,10)")),
            ("c_tstzrange", text(r#"["2024-01-01 00:00:00+00",)"#)),
            ("c_point", json(r#"{"x":1.5,"y":-2.0,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAADA","srid":null}"#)),
            ("c_tsvector", text("'a' 'cat' 'fat'")),
        ],
    );
}

#[test]
fn every_captured_line_has_its_class() {
    let mut totals = Vec::new();
    for file in FILES {
        let run = Run::of_file(file);
        assert_eq!(run.reasons(), [""; 0], "{file}");
        let mut changes = run.changes().into_iter();
        let mut not_changes = NotChanges::default();
        for (topic, _, value) in lines(file) {
            let tree = value.map_or(serde_json::Value::Null, |value| serde_json::from_str(&value).unwrap());
            let payload = if tree["payload"].is_object() { &tree["payload"] } else { &tree };
            if let Some(op) = payload["op"].as_str() {
                let change = changes.next().unwrap();
                assert_eq!((&*change.batch.topic, change.change.op.letter()), (topic.as_str(), op));
                assert_eq!(change.shape().table, payload["source"]["table"]);
                assert_eq!(change.shape().schema, payload["source"]["schema"]);
                assert_eq!(change.shape().database, payload["source"]["db"]);
                assert_eq!(change.shape().connector, "postgresql");
                assert_eq!(change.shape().typed, tree["payload"].is_object());
                assert_eq!(change.change.committed_at_us, payload["source"]["ts_us"].as_i64());
                let captured = payload["ts_us"].as_i64().or(payload["ts_ms"].as_i64().map(|ms| ms * 1_000));
                assert_eq!(change.change.captured_at_us, captured);
                assert_eq!(change.change.before.is_some(), payload["before"].is_object());
                assert_eq!(change.change.after.is_some(), payload["after"].is_object());
            } else if payload.is_null() {
                not_changes.tombstones += 1;
            } else if payload["status"].is_string() {
                not_changes.transactions += 1;
            } else {
                assert!(topic.starts_with("__debezium-heartbeat"), "{topic}");
                not_changes.heartbeats += 1;
            }
        }
        assert!(changes.next().is_none());
        let counted = |count: fn(&NotChanges) -> u64| {
            run.batches.iter().map(|(_, d)| count(&d.not_changes)).sum::<u64>()
        };
        assert_eq!(not_changes.tombstones, counted(|counts| counts.tombstones));
        assert_eq!(not_changes.transactions, counted(|counts| counts.transactions));
        assert_eq!(not_changes.heartbeats, counted(|counts| counts.heartbeats));
        assert_eq!(not_changes.total(), counted(NotChanges::total));
        totals.push((
            run.changes().len(),
            not_changes.tombstones,
            not_changes.transactions,
            not_changes.heartbeats,
        ));
    }
    assert_eq!(totals, [(9, 1, 0, 0), (27, 4, 0, 0), (27, 4, 0, 0), (26, 4, 32, 113), (26, 4, 0, 0)]);
}

#[test]
fn with_a_schema_every_type_has_the_value_that_was_inserted() {
    let run = Run::of_file("types_schema.ndjson");
    let row = run.changes_of("all_types")[0];
    assert_eq!(row.shape().fields.len(), 26 + 24);
    check_plain_columns(row);
    let instant = timestamp(1_709_251_199, 999_999_000);
    let (ints, texts, instants) = (Wire::Int(32), Wire::Text, Wire::TimestampIso);
    let (decimals, uuids) = (Wire::Decimal { scale: 2, precision: Some(10) }, Wire::Uuid);
    check(
        row,
        &[
            ("c_numeric", decimal("12345.6789")),
            ("c_numeric_big", decimal("1234567890123456789012345678901234567890.0123456789")),
            ("c_numeric_any", decimal("3.14159")),
            ("c_money", decimal("12.34")),
            ("c_bytea", Value::Bytes(vec![0xde, 0xad, 0xbe, 0xef].into())),
            ("c_bit8", Value::Bytes(vec![0b1010_1010].into())),
            ("c_varbit", Value::Bytes(vec![0b1011].into())),
            ("c_date", Value::Date(19_782)),
            ("c_time", Value::Time(45_296_789_012_000)),
            ("c_time3", Value::Time(45_296_789_000_000)),
            ("c_ts", instant),
            ("c_ts3", timestamp(1_709_251_199, 999_000_000)),
            ("c_ts0", timestamp(1_709_251_199, 0)),
            ("c_tstz", timestamp(1_709_240_399, 123_456_000)),
            ("c_interval", int(37_091_106_789_000)),
            ("c_json", json(r#"{"a":[1,2,{"b":null}]}"#)),
            ("c_jsonb", json(r#"{"k": "v", "n": 1.5}"#)),
            ("c_hstore", json(r#"{"a":"1","b":null}"#)),
            ("c_int_arr", Value::Array("[1,null,3]", &ints)),
            ("c_text_arr", Value::Array(r#"["a","b c",null]"#, &texts)),
            ("c_tstz_arr", Value::Array(r#"["2024-01-01T00:00:00.000000Z"]"#, &instants)),
            ("c_numeric_arr", Value::Array(r#"["bg==","ANw="]"#, &decimals)),
            ("c_uuid_arr", Value::Array(r#"["11111111-2222-3333-4444-555555555555"]"#, &uuids)),
            ("c_mood_arr", Value::Array(r#"["sad","ok"]"#, &texts)),
        ],
    );
    let field = |name: &str| row.shape().fields.iter().find(|field| field.name == name).unwrap();
    assert!(field("id").key && !field("id").nullable);
    assert!(!field("c_ts").key && field("c_ts").nullable);
    assert_eq!(field("c_ts").semantic, "io.debezium.time.MicroTimestamp");
    assert_eq!(field("c_mood").semantic, "io.debezium.data.Enum");
    assert_eq!(field("c_text").semantic, "");
    assert_eq!(field("c_bit8").wire, Wire::Bits(Some(8)));
}

#[test]
fn a_row_of_nulls_is_null_in_every_column_but_the_key() {
    for file in FILES.iter().filter(|file| file.starts_with("types")) {
        let run = Run::of_file(file);
        let row = run.changes_of("all_types")[1];
        for field in &row.shape().fields {
            let expected = if field.name == "id" { int(2) } else { Value::Null };
            assert_eq!(row.after(&field.name), expected, "{file} {}", field.name);
        }
    }
}

#[test]
fn with_a_schema_the_extremes_of_every_type_are_kept() {
    let run = Run::of_file("types_schema.ndjson");
    let rows = run.changes_of("all_types");
    check(
        rows[2],
        &[
            ("c_smallint", int(-32_768)),
            ("c_int", int(-2_147_483_648)),
            ("c_bigint", int(i64::MIN)),
            ("c_real", Value::Float(f64::NAN)),
            ("c_double", Value::Float(f64::INFINITY)),
            ("c_numeric", decimal("-0.0001")),
            ("c_numeric_any", decimal("123456789.123456789012345678")),
            ("c_date", Value::Date(-719_162)),
            ("c_ts", timestamp(-2_208_988_800, 0)),
            ("c_tstz", timestamp(253_402_300_799, 999_999_000)),
            ("c_text", text("line1\nline2\t\u{1}")),
            ("c_interval", int(-86_400_000_000)),
            ("c_timetz", text("12:00:00Z")),
        ],
    );
    check(
        rows[3],
        &[
            ("c_smallint", int(32_767)),
            ("c_int", int(2_147_483_647)),
            ("c_bigint", int(i64::MAX)),
            ("c_real", Value::Float(f64::NEG_INFINITY)),
            ("c_double", Value::Float(5e-324)),
            ("c_numeric_any", decimal("0")),
            ("c_date", Value::Infinite { negative: false }),
            ("c_ts", Value::Infinite { negative: false }),
            ("c_tstz", Value::Infinite { negative: true }),
            ("c_text", text("")),
        ],
    );
    check(
        rows[4],
        &[
            ("c_text", text("updated")),
            ("c_tstz", timestamp(1_711_848_600, 0)),
            ("c_numeric", decimal("99.9999")),
        ],
    );
}

#[test]
fn without_a_schema_values_are_what_they_look_like() {
    let run = Run::of_file("types_noschema.ndjson");
    let rows = run.changes_of("all_types");
    check_plain_columns(rows[0]);
    check(
        rows[0],
        &[
            ("c_numeric", text("B1vNFQ==")),
            ("c_numeric_any", json(r#"{"scale":5,"value":"BMsv"}"#)),
            ("c_bytea", text("3q2+7w==")),
            ("c_date", int(19_782)),
            ("c_time", int(45_296_789_012)),
            ("c_ts", int(1_709_251_199_999_999)),
            ("c_tstz", text("2024-02-29T20:59:59.123456Z")),
            ("c_int_arr", json("[1,null,3]")),
        ],
    );
    check(rows[2], &[("c_bigint", int(i64::MIN)), ("c_real", text("NaN")), ("c_date", int(-719_162))]);
    check(
        rows[3],
        &[("c_bigint", int(i64::MAX)), ("c_double", Value::Float(5e-324)), ("c_tstz", text("-infinity"))],
    );
    let field =
        |row: usize, name: &str| rows[row].shape().fields.iter().find(|field| field.name == name).cloned();
    assert_eq!(field(0, "c_double").unwrap().wire, Wire::Guess(Guess::Float));
    assert_eq!(field(2, "c_double").unwrap().wire, Wire::Guess(Guess::Text));
    // The row of nulls fits the shape of the row before it.
    assert_eq!(rows[0].change.shape, rows[1].change.shape);
    assert!(field(0, "id").unwrap().key && !field(0, "id").unwrap().nullable);
    assert!(field(0, "c_int").unwrap().nullable);
}

#[test]
fn other_settings_of_the_connector_give_the_same_values_where_they_can() {
    let run = Run::of_file("types_connect_string.ndjson");
    let rows = run.changes_of("all_types");
    check_plain_columns(rows[0]);
    check(
        rows[0],
        &[
            ("c_numeric", text("12345.6789")),
            ("c_bytea", text("3q2+7w==")),
            ("c_date", Value::Date(19_782)),
            ("c_time", Value::Time(45_296_789_000_000)),
            ("c_ts", timestamp(1_709_251_199, 999_000_000)),
        ],
    );
    check(rows[3], &[("c_numeric_any", text("NAN")), ("c_ts", Value::Infinite { negative: false })]);
    let run = Run::of_file("types_iso_double.ndjson");
    let rows = run.changes_of("all_types");
    check_plain_columns(rows[0]);
    check(
        rows[0],
        &[
            ("c_numeric", Value::Float(12345.6789)),
            ("c_numeric_big", Value::Float(1.2345678901234568e39)),
            ("c_bytea", text("deadbeef")),
            ("c_interval", text("P1Y2M3DT4H5M6.789S")),
        ],
    );
    check(rows[3], &[("c_ts", text("+294247-01-10T04:00:25.2Z"))]);
}

#[test]
fn an_unchanged_toast_value_is_unavailable() {
    for file in FILES.iter().filter(|file| file.starts_with("types")) {
        let run = Run::of_file(file);
        let rows = run.changes_of("toasted");
        assert!(matches!(rows[0].after("big"), Value::Text(big) if big.len() == 64_000));
        assert_eq!(rows[1].after("big"), Value::Unavailable);
        assert_eq!(rows[1].after("n"), int(2));
        assert_eq!(rows[0].change.shape, rows[1].change.shape);
    }
}

#[test]
fn a_changed_key_is_a_delete_a_tombstone_and_a_create() {
    for file in ["types_schema.ndjson", "types_noschema.ndjson"] {
        let run = Run::of_file(file);
        let rows = run.changes_of("composite_pk");
        let ops: String = rows.iter().map(|row| row.change.op.letter()).collect();
        assert_eq!(ops, "rrudcdcuduut");
        assert_eq!(rows[3].before("a"), int(2));
        assert_eq!(rows[3].before("v"), Value::Null);
        assert_eq!((rows[4].after("a"), rows[4].after("v")), (int(10), text("v2")));
        assert_eq!(rows[4].columns(), ["a*", "b*", "v"]);
    }
}

#[test]
fn a_column_that_comes_and_goes_makes_a_shape_and_finds_the_old_one_again() {
    for file in ["types_schema.ndjson", "types_noschema.ndjson", "types_connect_string.ndjson"] {
        let run = Run::of_file(file);
        let rows = run.changes_of("composite_pk");
        let rows: Vec<_> = rows.into_iter().filter(|row| row.change.after.is_some()).collect();
        let [.., before, with, without] = rows.as_slice() else { panic!("too few changes") };
        assert_eq!(with.columns(), ["a*", "b*", "v", "extra"]);
        assert_eq!(with.after("extra"), int(7));
        assert_eq!(without.columns(), ["a*", "b*", "v"]);
        assert_eq!(without.after("v"), text("v1d"));
        assert_eq!(before.change.shape, without.change.shape);
        assert_ne!(before.change.shape, with.change.shape);
    }
}

#[test]
fn truncates_and_messages_are_changes_without_columns() {
    for file in ["types_schema.ndjson", "types_noschema.ndjson"] {
        let run = Run::of_file(file);
        let changes = run.changes();
        let truncate = changes.iter().find(|change| change.change.op == Op::Truncate).unwrap();
        assert_eq!((truncate.shape().table.as_str(), truncate.shape().fields.len()), ("composite_pk", 0));
        assert_eq!((truncate.change.before, truncate.change.after), (None, None));
        let message = changes.iter().find(|change| change.change.op == Op::Message).unwrap();
        assert_eq!((message.shape().table.as_str(), message.shape().fields.len()), ("", 0));
        assert_eq!(message.shape().topic, "shop.message");
    }
}

#[test]
fn names_of_any_characters_come_through() {
    for file in ["types_schema.ndjson", "types_noschema.ndjson"] {
        let run = Run::of_file(file);
        let rows = run.changes_of("Weird \"Näme\" table");
        let columns = ["Id*", "select", "with space", "emoji 🙂", "quote'd", "back`tick"];
        assert_eq!(rows[1].columns(), columns);
        assert_eq!(rows[1].after("emoji 🙂"), text("🙃"));
        assert_eq!(rows[0].change.shape, rows[1].change.shape);
    }
}

#[test]
fn a_full_before_and_a_table_without_key_are_read() {
    let run = Run::of_file("types_noschema.ndjson");
    let rows = run.changes_of("full_identity");
    assert_eq!((rows[1].before("n"), rows[1].after("n")), (int(1), int(2)));
    assert_eq!(rows[2].before("big"), text("xxxxxxxxxxxxxxxxxxxx"));
    assert_eq!(run.changes_of("no_pk")[1].columns(), ["a", "b"]);
}

const SOURCE: &str = r#""source":{"connector":"postgresql","db":"d","schema":"s","table":"t","ts_ms":1}"#;

fn event(op: &str, before: &str, after: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},{SOURCE},"op":"{op}","ts_ms":2}}"#)
}

fn create(after: &str) -> String {
    event("c", "null", after)
}

fn run_of(values: &[String]) -> Run {
    Run::of_values(&values.iter().map(String::as_str).collect::<Vec<_>>())
}

fn wires(change: At<'_>) -> Vec<Guess> {
    let guess = |wire: &Wire| if let Wire::Guess(guess) = wire { *guess } else { panic!("{wire:?}") };
    change.shape().fields.iter().map(|field| guess(&field.wire)).collect()
}

#[test]
fn a_column_of_nulls_gets_its_type_from_its_first_value_and_keeps_it() {
    use Guess::{Int, Text, Unknown};
    let rows =
        [r#"{"a":1,"b":null}"#, r#"{"a":null,"b":"x"}"#, r#"{"a":null,"b":null}"#, r#"{"a":2,"b":null}"#];
    let run = run_of(&rows.map(create));
    let changes = run.changes();
    assert_eq!(wires(changes[0]), [Int, Unknown]);
    for change in &changes[1..] {
        assert_eq!(wires(*change), [Int, Text]);
    }
}

#[test]
fn a_value_of_another_type_makes_a_shape_beside_the_first() {
    let rows = [r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":null}"#, r#"{"a":2}"#, r#"{"a":null}"#, r#"{"a":1.5}"#];
    let run = run_of(&rows.map(create));
    let shapes: Vec<_> = run.changes().iter().map(|change| change.change.shape).collect();
    assert_eq!(shapes, [0, 1, 1, 0, 0, 2]);
    assert_eq!(run.changes()[3].after("a"), int(2));
}

#[test]
fn the_placeholder_fits_any_type_and_makes_none() {
    let toast = r#"{"a":"__debezium_unavailable_value"}"#;
    let run = run_of(&[toast, r#"{"a":7}"#, toast].map(create));
    let shapes: Vec<_> = run.changes().iter().map(|change| change.change.shape).collect();
    assert_eq!(shapes, [0, 1, 1]);
    assert_eq!(wires(run.changes()[0]), [Guess::Unknown]);
    assert_eq!(run.changes()[2].after("a"), Value::Unavailable);
}

#[test]
fn a_before_with_fewer_columns_leaves_the_others_unavailable() {
    let run = run_of(&[
        event("u", r#"{"id":1}"#, r#"{"id":2,"v":"x"}"#),
        event("d", r#"{"id":2}"#, "null"),
        event("d", r#"{"v":"x","id":2}"#, "null"),
    ]);
    let changes = run.changes();
    assert_eq!(changes[0].before("id"), int(1));
    assert_eq!(changes[0].before("v"), Value::Unavailable);
    assert_eq!(changes[1].before("v"), Value::Unavailable);
    assert_eq!((changes[2].before("id"), changes[2].before("v")), (int(2), text("x")));
    assert_eq!(run.decoder.shapes.get(1), None);
}

#[test]
fn rows_of_one_change_that_differ_in_type_are_exact_in_a_common_one() {
    let run = run_of(&[
        event("u", r#"{"a":1,"b":1}"#, r#"{"a":1.5,"b":"x"}"#),
        event("u", r#"{"a":7,"b":2}"#, r#"{"a":2.5,"b":"y"}"#),
    ]);
    let changes = run.changes();
    assert_eq!(wires(changes[0]), [Guess::BigInt, Guess::Json]);
    assert_eq!((changes[0].before("a"), changes[0].after("a")), (decimal("1"), decimal("1.5")));
    assert_eq!((changes[0].before("b"), changes[0].after("b")), (json("1"), json("\"x\"")));
    assert_eq!(changes[0].change.shape, changes[1].change.shape);
    assert_eq!(changes[1].before("a"), decimal("7"));
}

#[test]
fn columns_that_only_before_has_follow_those_of_after() {
    let run = run_of(&[
        event("u", r#"{"old":1,"a":2}"#, r#"{"a":3}"#),
        event("u", r#"{"old":4,"a":5}"#, r#"{"a":6}"#),
    ]);
    for (change, (old, a)) in run.changes().into_iter().zip([(1, 3), (4, 6)]) {
        assert_eq!(change.columns(), ["a", "old"]);
        assert_eq!((change.before("old"), change.after("old")), (int(old), Value::Unavailable));
        assert_eq!(change.after("a"), int(a));
    }
    assert_eq!(run.changes()[0].change.shape, run.changes()[1].change.shape);
}

fn decode_keyed(records: &[(Option<&str>, &str)]) -> Run {
    let mut run = Run { decoder: Decoder::new(), batches: Vec::new() };
    run.decode(batch("t", &records.iter().map(|(key, value)| (*key, Some(*value))).collect::<Vec<_>>()));
    run
}

#[test]
fn the_key_is_read_in_and_out_of_its_wrapper_and_may_be_anything_else() {
    let value = create(r#"{"id":1,"schema":"x","payload":2}"#);
    let schema = r#"{"type":"struct","fields":[{"type":"int32","field":"id"}]}"#;
    let wrapped = format!(r#"{{"schema":{schema},"payload":{{"id":1}}}}"#);
    for (key, columns) in [
        (Some(r#"{"id":1}"#), ["id*", "schema", "payload"]),
        (Some(r#"{"payload":1,"id":1,"other":2}"#), ["id*", "schema", "payload*"]),
        (Some(&wrapped), ["id*", "schema", "payload"]),
        (Some(r#"{"schema":null,"payload":{"id":1}}"#), ["id*", "schema", "payload"]),
        (Some(r#"{"schema":"x","payload":1}"#), ["id", "schema*", "payload*"]),
        (Some(r#"{"i\u0064":1}"#), ["id*", "schema", "payload"]),
        (Some("id"), ["id", "schema", "payload"]),
        (Some("1"), ["id", "schema", "payload"]),
        (Some("\0\0\0\0\u{1}id"), ["id", "schema", "payload"]),
        (None, ["id", "schema", "payload"]),
    ] {
        // Twice, as the second key meets what was remembered of the first.
        let run = decode_keyed(&[(key, &value), (key, &value)]);
        for change in run.changes() {
            assert_eq!(change.columns(), columns, "{key:?}");
            assert_eq!(change.change.shape, 0);
        }
    }
}

#[test]
fn a_table_that_gets_a_key_gets_a_shape() {
    let value = create(r#"{"id":1,"k":2}"#);
    let run =
        decode_keyed(&[(None, &value), (Some(r#"{"id":1}"#), &value), (Some(r#"{"id":1,"k":2}"#), &value)]);
    let columns: Vec<_> = run.changes().iter().map(|change| change.columns().join(" ")).collect();
    assert_eq!(columns, ["id k", "id* k", "id* k*"]);
}

#[test]
fn what_is_no_event_is_refused_and_says_what_it_is() {
    let unknown = create("{}").replace("\"op\":\"c\"", "\"op\":\"x\"");
    let time = create("{}").replace("\"ts_ms\":1", "\"ts_ms\":1.5");
    let mongo = create(r#""{\"_id\":1}""#);
    let huge = create(r#"{"a":1,"a":2}"#);
    for (value, reason) in [
        ("x", "not_debezium: not acceptable as json: no value at byte 0"),
        ("[1]", "not_debezium: the value is no object but an array"),
        ("1", "not_debezium: the value is no object but a number"),
        ("\0\0\0\0\u{1}abc", "not_debezium: the value starts like a schema registry's format"),
        (r#"{"op":"c","after":{}}"#, "not_debezium: an envelope has a text `op` and an object `source`"),
        (r#"{"op":1,"source":{}}"#, "not_debezium: an envelope has a text `op` and an object `source`"),
        ("{}", "not_debezium: an object without members"),
        (
            r#"{"source":{"server":"m"},"position":{"file":"b.3"},"databaseName":"d","ddl":"","tableChanges":[]}"#,
            "not_debezium: a record of the connector's schema history",
        ),
        (
            r#"{"specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","data":{}}"#,
            "a cloudevent without the attribute `iodebeziumop`",
        ),
        (&unknown, "unknown op: expected one of c, u, d, r, t, m"),
        (&time, "in `source`, `ts_ms` is not a 64-bit integer"),
        (&mongo, "`after` is text, and the connector is not mongodb: nothing says what is in it"),
        (&create("null"), "op c without `after`: nothing says which row"),
        (&event("d", "null", "null"), "op d without `before`: nothing says which row"),
        (&create("[]"), "`after` is neither an object nor null"),
        (&huge, "not_debezium: not acceptable as json: a key that comes twice in the object that ends"),
    ] {
        let run = Run::of_values(&[value]);
        let reasons = run.reasons();
        assert!(reasons.len() == 1 && reasons[0].starts_with(reason), "{value}: {reasons:?}");
        assert!(run.changes().is_empty());
    }
}

#[test]
fn records_of_the_connector_itself_are_counted_and_no_changes() {
    let ddl = r#"{"source":{"connector":"mysql"},"ts_ms":1,"databaseName":"d","ddl":"DROP TABLE t","tableChanges":[]}"#;
    let notification = r#"{"id":"1","type":"COMPLETED","aggregate_type":"Initial Snapshot","additional_data":{},"timestamp":1}"#;
    let transaction = r#"{"status":"END","id":"1:2","event_count":1,"data_collections":[],"ts_ms":1}"#;
    let nothing = r#"{"schema":null,"payload":null}"#;
    let named =
        |name: &str| format!(r#"{{"schema":{{"type":"struct","name":"{name}"}},"payload":{{"x":1}}}}"#);
    let heartbeat = named("io.debezium.connector.common.Heartbeat");
    let change = named("io.debezium.connector.mysql.SchemaChangeValue");
    let noted = named("io.debezium.connector.common.Notification");
    let run =
        Run::of_values(&["", "null", nothing, ddl, notification, transaction, &heartbeat, &change, &noted]);
    let expected =
        NotChanges { tombstones: 3, heartbeats: 1, transactions: 1, schema_changes: 2, notifications: 2 };
    assert_eq!(run.batches[0].1.not_changes, expected);
    assert_eq!(run.reasons(), [""; 0]);
    // A row of a user's own table may look a little like one of them.
    let row = r#"{"id":"1","status":"BEGIN"}"#;
    assert_eq!(Run::of_values(&[row]).changes()[0].columns(), ["id", "status"]);
    let run = decode_keyed(&[(Some(r#"{"serverName":"shop"}"#), r#"{"ts_ms":1}"#)]);
    assert_eq!(run.batches[0].1.not_changes.heartbeats, 1);
    assert_eq!(Run::of_values(&[r#"{"ts_ms":1}"#]).changes()[0].columns(), ["ts_ms"]);
}

#[test]
fn a_schemaless_topic_may_have_rows_with_the_columns_schema_and_payload() {
    let plain = create(r#"{"schema":{"type":"x"},"payload":1}"#);
    let flat = r#"{"schema":null,"payload":null}"#;
    let wrapped = format!(r#"{{"schema":null,"payload":{}}}"#, create(r#"{"a":1}"#));
    let run = Run::of_values(&[&plain, flat, &wrapped]);
    assert_eq!(run.changes()[0].columns(), ["schema", "payload"]);
    // The first record settled that there is no wrapper, but an envelope in one is an envelope.
    assert_eq!(run.changes()[1].columns(), ["schema", "payload"]);
    assert_eq!(run.changes()[2].columns(), ["a"]);
    assert!(!run.changes()[2].shape().typed);
}

fn typed(columns: &[(&str, &str)], payload: &str) -> String {
    let columns: Vec<_> =
        columns.iter().map(|(name, ty)| format!(r#"{{"field":"{name}","type":"{ty}"}}"#)).collect();
    let row = format!(r#"{{"field":"after","type":"struct","fields":[{}]}}"#, columns.join(","));
    format!(r#"{{"schema":{{"type":"struct","fields":[{row}]}},"payload":{payload}}}"#)
}

#[test]
fn schemas_that_alternate_are_each_read_once_and_told_apart() {
    let one = typed(&[("a", "int32")], &create(r#"{"a":1}"#));
    let two = typed(&[("a", "int64"), ("b", "string")], &create(r#"{"a":1,"b":"x"}"#));
    let moved = typed(&[("a", "int64"), ("b", "string")], &create(r#"{"b":"x"}"#));
    let run = Run::of_values(&[&one, &two, &one, &two, &moved]);
    let shapes: Vec<_> = run.changes().iter().map(|change| change.change.shape).collect();
    assert_eq!(shapes, [0, 1, 0, 1, 1]);
    assert_eq!(run.changes()[4].after("a"), Value::Unavailable);
    assert_eq!(run.changes()[4].after("b"), text("x"));
    let topic = run.decoder.topics.values().next().unwrap();
    assert_eq!(topic.schemas.len(), 2);
}

#[test]
fn a_row_that_contradicts_its_schema_is_refused() {
    let extra = typed(&[("a", "int32")], &create(r#"{"a":1,"b":2}"#));
    let unknown = typed(&[("a", "int128")], &create(r#"{"a":1}"#));
    let run = Run::of_values(&[&extra, &unknown, &unknown]);
    let unknown = "the schema of column `a` has the unknown type `int128`";
    assert_eq!(run.reasons(), ["a row has the column `b`, which its schema lacks", unknown, unknown]);
    assert!(run.batches[0].1.cells.is_empty());
}

#[test]
fn an_op_may_be_written_large_and_times_in_quotes() {
    let value =
        create("{}").replace("\"op\":\"c\"", "\"op\":\"C\"").replace("\"ts_ms\":1", "\"ts_ms\":\"-1\"");
    let run = Run::of_values(&[&value]);
    let change = run.changes()[0].change;
    assert_eq!(
        (change.op, change.committed_at_us, change.captured_at_us),
        (Op::Create, Some(-1_000), Some(2_000))
    );
    let nanos = create("{}").replace("\"ts_ms\":1", "\"ts_ms\":1,\"ts_ns\":-1");
    assert_eq!(Run::of_values(&[&nanos]).changes()[0].change.committed_at_us, Some(-1));
}

#[test]
fn shapes_without_end_are_refused_at_a_bound() {
    let values: Vec<_> =
        (0..=shape::MAX_SHAPES).map(|index| create(&format!("{{\"c{index}\":1}}"))).collect();
    let run = run_of(&values);
    assert_eq!(run.changes().len(), shape::MAX_SHAPES);
    assert!(run.reasons()[0].starts_with("more shapes than 10000"), "{:?}", run.reasons());
}

#[test]
fn tables_of_one_topic_are_told_apart() {
    let other = create(r#"{"a":1}"#).replace("\"table\":\"t\"", "\"table\":\"u\"");
    let absent = create(r#"{"a":1}"#).replace("\"schema\":\"s\",", "");
    let bad = create(r#"{"a":1}"#).replace("\"table\":\"t\"", "\"table\":5");
    let run = Run::of_values(&[&create(r#"{"a":1}"#), &other, &absent, &bad, &create(r#"{"a":1}"#)]);
    let names: Vec<_> = run
        .changes()
        .iter()
        .map(|change| (change.shape().schema.as_str(), change.shape().table.as_str()))
        .collect();
    assert_eq!(names, [("s", "t"), ("s", "u"), ("", "t"), ("s", "t")]);
    assert_eq!(run.reasons(), ["`source` names its table with something other than text"]);
}

fn any_record() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    let captured: Vec<_> =
        FILES.iter().flat_map(|file| lines(file)).map(|(_, key, value)| (key, value)).collect();
    // The long ones would only slow the search down.
    let captured: Vec<_> = captured
        .into_iter()
        .filter(|(_, value)| value.as_ref().is_none_or(|value| value.len() < 20_000))
        .collect();
    let edit =
        (any::<prop::sample::Index>(), prop::sample::select(b"{}[],:\"\\x0n-".to_vec()), any::<bool>());
    let edits = prop::collection::vec(edit, 0..3);
    let cell = prop_oneof!["null", "[0-9]{1,20}", "[0-9]\\.[0-9]{1,20}", "\"[a-z]{0,4}\"", "\\[1\\]", "true"];
    let row = prop_oneof![
        1 => Just("null".to_owned()),
        4 => prop::collection::vec(("[ab\"]{0,2}", cell), 0..4).prop_map(|cells| {
            let cells: Vec<_> = cells.into_iter().map(|(name, cell)| format!("\"{name}\":{cell}")).collect();
            format!("{{{}}}", cells.join(","))
        }),
    ];
    let key = prop_oneof![Just(None), "\\{\"[ab]\":1\\}".prop_map(Some)];
    let form = prop::sample::select(vec!["envelope", "flattened", "cloud", "document"]);
    let made = (key, row.clone(), row, "[cudrtmx]", form).prop_map(|(key, before, after, op, form)| {
        let value = match form {
            "flattened" => after.replacen('{', &format!("{{\"__op\":\"{op}\","), 1).replace(",}", "}"),
            "cloud" => format!(
                r#"{{"specversion":"1.0","type":"x.DataChangeEvent","iodebeziumop":"{op}","data":{{"before":{before},"after":{after}}}}}"#
            ),
            "document" => {
                let document = serde_json::Value::from(after.replacen("\"a\"", "\"_id\"", 1)).to_string();
                event(&op, "null", &document).replace("postgresql", "mongodb")
            }
            _ => event(&op, &before, &after),
        };
        (key, Some(value))
    });
    prop_oneof![
        1 => (prop::sample::select(captured), edits).prop_map(|((key, value), edits)| {
            let value = value.map(|value| {
                let mut bytes = value.into_bytes();
                for (at, byte, insert) in edits {
                    let at = at.index(bytes.len());
                    if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
                }
                String::from_utf8_lossy(&bytes).into_owned()
            });
            (key, value)
        }),
        2 => made,
    ]
}

proptest! {
    #[test]
    fn every_record_ends_in_exactly_one_place_and_every_cell_can_be_read(
        records in prop::collection::vec(any_record(), 1..20), delete in any::<bool>()
    ) {
        let tombstones = if delete { Tombstones::Delete } else { Tombstones::Ignore };
        let mut run = Run::with(Options { tombstones, ..Options::default() });
        run.decode(batch("shop.public.t", &records));
        let (batch, decoded) = &run.batches[0];
        let mut seen: Vec<_> = decoded.changes.iter().map(|change| change.record).collect();
        prop_assert!(seen.is_sorted());
        seen.extend(decoded.rejected.iter().map(|rejected| rejected.record));
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), decoded.changes.len() + decoded.rejected.len());
        prop_assert_eq!(seen.len() as u64 + decoded.not_changes.total(), records.len() as u64);
        let mut cells = 0;
        for change in &decoded.changes {
            let shape = run.decoder.shape(change.shape);
            prop_assert_eq!(change.shape, shape.id);
            for row in [change.before, change.after].into_iter().flatten() {
                prop_assert_eq!(row as usize, cells);
                cells += shape.fields.len();
                for (cell, field) in decoded.cells[row as usize..cells].iter().zip(&shape.fields) {
                    let json = str::from_utf8(cell.of(&batch.arena)).unwrap();
                    let value = value::decode(&field.wire, json);
                    // Without a schema every value fits what its column was taken for.
                    prop_assert!(shape.typed || value.is_ok(), "{:?} {}", field.wire, json);
                }
            }
        }
        prop_assert_eq!(cells, decoded.cells.len());
        // The same records give the same, whatever was remembered of them.
        let again = run.decoder.decode(&mut batch.clone());
        prop_assert_eq!(&again.rejected, &decoded.rejected);
        prop_assert_eq!(again.not_changes, decoded.not_changes);
        prop_assert_eq!(again.changes.len(), decoded.changes.len());
    }
}
