//! Columns of types that hold others, in tables that the user made.

use serde_json::{Value, json};

use crate::support::events::{self, Record};
use crate::support::{Database, Ended, Host, Topic};
use crate::tables::Server;

fn row(row: Value) -> Record {
    events::event("u", Value::Null, row)
}

/// Runs rows into a table of these columns.
fn into(name: &str, columns: &str, rows: &[Value]) -> (Database, Ended) {
    let topic = Topic::new(&format!("{name}.public.my_table"), 1);
    topic.produce(1, &rows.iter().cloned().map(row).collect::<Vec<_>>());
    let database = Database::new(name);
    let lineage = Server::NEW.lineage();
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, op String, {lineage}, {columns}) ENGINE = MergeTree ORDER BY id"
    ));
    let ended = Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    (database, ended)
}

/// One column of a type, its good values with what the server shows of them, and its bad ones.
fn holds(name: &str, ty: &str, good: &[(Value, &str)], bad: &[Value]) {
    let values = good.iter().map(|(value, _)| value).chain(bad);
    let rows: Vec<Value> = values.enumerate().map(|(id, value)| json!({"id": id, "x": value})).collect();
    let (database, ended) = into(&format!("types_{name}"), &format!("x {ty}"), &rows);
    let shown: Vec<&str> = good.iter().map(|(_, shown)| *shown).collect();
    assert_eq!(database.lines("SELECT x FROM my_table ORDER BY id FORMAT TSVRaw"), shown, "{ty}: {ended:?}");
    assert_eq!(ended.counters().rejected, bad.len() as u64, "{ty}");
    if !bad.is_empty() {
        let stages = database.query("SELECT groupUniqArray(stage) FROM _rowgate_dead_letters");
        assert_eq!(stages, "['encode']", "{ty}: found before anything is sent");
    }
}

#[test]
fn a_named_tuple_takes_objects_that_have_just_its_members() {
    holds(
        "tuple",
        "Tuple(a Int64, `b c` Nullable(String), d Array(UInt8))",
        &[
            (json!({"a": 1, "b c": "x", "d": [1, 2]}), "(1,'x',[1,2])"),
            (json!({"d": [], "a": -2}), "(-2,NULL,[])"),
        ],
        &[
            json!({"b c": "x", "d": []}),
            json!({"a": 1, "d": [], "e": 1}),
            json!({"a": 1, "d": [300]}),
            json!({"a": "1", "d": []}),
            json!([1, "x", []]),
            json!(null),
        ],
    );
}

#[test]
fn an_unnamed_tuple_takes_arrays_of_its_length() {
    holds(
        "unnamed",
        "Tuple(Int64, String)",
        &[(json!([1, "x"]), "(1,'x')")],
        &[json!([1]), json!([1, "x", 2]), json!({"1": 1, "2": "x"}), json!(["x", 1])],
    );
}

#[test]
fn an_array_of_tuples_takes_arrays_of_objects() {
    holds(
        "tuples",
        "Array(Tuple(a Int64, b String))",
        &[(json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]), "[(1,'x'),(2,'y')]"), (json!([]), "[]")],
        &[json!([{"a": 1}]), json!({"a": 1, "b": "x"}), json!([{"a": 1, "b": "x"}, null])],
    );
}

#[test]
fn a_point_takes_what_debezium_sends_for_one() {
    holds(
        "point",
        "Point",
        &[
            (json!({"x": 1.5, "y": -2.0, "wkb": "AQEAAAAAAAAAAAD4PwAAAAAAAADA", "srid": null}), "(1.5,-2)"),
            (json!([3, 4.25]), "(3,4.25)"),
        ],
        &[json!({"x": 1, "y": 2, "srid": 4326}), json!({"x": 1}), json!([1, 2, 3]), json!([1, null])],
    );
}

#[test]
fn a_variant_takes_each_value_as_the_type_that_holds_it() {
    let values = [json!(1), json!("1"), json!(null), json!({"a": 5}), json!([1, 2])];
    let rows: Vec<Value> = values.iter().enumerate().map(|(id, x)| json!({"id": id, "x": x})).collect();
    // Each its own batch: the events of one have the types of one look.
    let topic = Topic::new("types_variant.public.my_table", 1);
    topic.produce(1, &rows.into_iter().map(row).collect::<Vec<_>>());
    let database = Database::new("types_variant");
    let lineage = Server::NEW.lineage();
    database.query(&format!(
        "CREATE TABLE my_table (id Int64, op String, {lineage}, \
         x Variant(Int64, String, Array(UInt8), Tuple(a Int64))) ENGINE = MergeTree ORDER BY id"
    ));
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(
        database.lines("SELECT x, variantType(x) FROM my_table ORDER BY id FORMAT TSVRaw"),
        ["1\tInt64", "1\tString", "\\N\tNone", "(5)\tTuple(a Int64)", "[1,2]\tArray(UInt8)"]
    );
}

#[test]
fn maps_may_have_keys_of_other_types() {
    holds(
        "map",
        "Map(Int8, Nullable(String))",
        &[(json!({"1": "a", "-5": null}), "{1:'a',-5:NULL}")],
        &[json!({"300": "a"}), json!({"x": "a"}), json!({"01": "a"}), json!([1])],
    );
}

#[test]
fn enums_take_labels_and_numbers_that_they_have() {
    holds("enum", "Enum8('x' = 1, 'y' = -2)", &[(json!(1), "x"), (json!(-2), "y")], &[json!(3), json!(300)]);
    holds("label", "Enum8('x' = 1, 'y' = -2)", &[(json!("y"), "y")], &[json!("z")]);
}

#[test]
fn addresses_json_and_low_cardinality_are_what_they_look_like() {
    holds("ipv4", "IPv4", &[(json!("10.0.0.1"), "10.0.0.1")], &[json!("10.0.0.0/8")]);
    holds("ipv6", "Nullable(IPv6)", &[(json!("::1"), "::1"), (json!(null), "\\N")], &[json!("x")]);
    holds("json", "JSON", &[(json!({"a": {"b": [1, "x"]}}), "{\"a\":{\"b\":[1,\"x\"]}}")], &[json!([1])]);
    holds("low", "LowCardinality(Nullable(String))", &[(json!("a"), "a"), (json!(null), "\\N")], &[]);
    holds("any_last", "SimpleAggregateFunction(anyLast, Int64)", &[(json!(5), "5")], &[json!(null)]);
}

#[test]
fn the_arrays_of_a_nested_column_must_be_equally_long() {
    let (database, ended) = into(
        "types_nested",
        "n Nested(a Int64, b String)",
        &[
            json!({"id": 1, "n.a": [1, 2], "n.b": ["x", "y"]}),
            json!({"id": 2, "n.a": [1], "n.b": ["x", "y"]}),
            json!({"id": 3, "n.a": [], "n.b": []}),
        ],
    );
    assert_eq!(database.lines("SELECT n.a, n.b FROM my_table ORDER BY id"), ["[1,2]\t['x','y']", "[]\t[]"]);
    assert_eq!(ended.counters().rejected, 1);
    assert!(database.query("SELECT reason FROM _rowgate_dead_letters").contains("not as long as"));
}

#[test]
fn ephemeral_and_default_columns_may_be_written_and_left_out() {
    let (database, _) = into(
        "types_ephemeral",
        "e String EPHEMERAL, d String DEFAULT upper(e), f Int64 DEFAULT id * 2",
        &[json!({"id": 1, "e": "x"}), json!({"id": 2, "e": "y"})],
    );
    assert_eq!(database.lines("SELECT d, f FROM my_table ORDER BY id"), ["X\t2", "Y\t4"]);
}

#[test]
fn an_array_with_a_point_in_its_name_is_created_under_another() {
    let topic = Topic::new("types_points.public.my_table", 1);
    let array = |field: &str| json!({"field": field, "type": "array", "optional": false, "items": {"type": "int32", "optional": false}});
    let fields = json!([{"field": "id", "type": "int64", "optional": false}, array("n.a"), array("n.b")]);
    let schema =
        json!({"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": fields}]});
    let event = events::event("u", Value::Null, json!({"id": 1, "n.a": [1], "n.b": [1, 2]}));
    let payload: Value = serde_json::from_str(&event.value.expect("a value")).expect("JSON");
    topic.produce(1, &[events::text(&json!({"schema": schema, "payload": payload}).to_string())]);
    let database = Database::new("types_points");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    assert_eq!(database.query("SELECT n_a, n_b FROM my_table"), "[1]\t[1,2]");
}
