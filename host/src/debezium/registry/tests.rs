//! Records of a registry, from their bytes to the values of a change.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value as Tree, json};

use super::client::{Format, Reference, Registered, Trouble};
use super::fixture::{Fake, framed, in_avro};
use super::*;
use crate::debezium::fixture::{Run, batch, lines};
use crate::debezium::value::{Value, decode};
use crate::debezium::{Decoder, NotChanges};

type Keyed = (Option<Vec<u8>>, Option<Vec<u8>>);

fn run(mut decoder: Decoder, topic: &str, records: &[Keyed]) -> Run {
    let mut run = Run { decoder: Decoder::new(), batches: vec![] };
    let batch = batch(topic, records);
    decoder.learn(&batch, &|| false).unwrap().unwrap();
    run.decoder = decoder;
    run.decode(batch);
    run
}

/// All that a transform can learn from the changes of a run.
fn told(run: &Run) -> Vec<String> {
    let mut told = Vec::new();
    for at in run.changes() {
        let mut change =
            format!("{:?} {:?}", at.change.op, (at.change.committed_at_us, at.change.captured_at_us));
        let text = |span: Span| str::from_utf8(span.of(&at.batch.arena)).unwrap();
        let source: Tree = serde_json::from_str(text(at.change.source.unwrap())).unwrap();
        change.push_str(&format!(" {source} {:?}", at.shape()));
        for row in [at.change.before, at.change.after].into_iter().flatten() {
            for (index, field) in at.shape().fields.iter().enumerate() {
                let json = text(at.decoded.cells[row as usize + index]);
                change.push_str(&format!("\n{} {:?}", field.name, decode(&field.wire, json)));
            }
        }
        told.push(change);
    }
    told
}

/// Checks that records as JsonConverter writes them, with schema, say the same in Avro; how many changes they are.
fn compare(topic: &str, records: &[(Option<Tree>, Tree)]) -> usize {
    let plain: Vec<Keyed> = records
        .iter()
        .map(|(key, value)| (key.as_ref().map(|key| key.to_string().into()), Some(value.to_string().into())))
        .collect();
    let mut texts = Vec::new();
    let mut framed_half = |half: &Tree| {
        let (text, bytes) = in_avro(&half["schema"], &half["payload"]);
        let known = texts.iter().position(|known| *known == text).unwrap_or_else(|| {
            texts.push(text);
            texts.len() - 1
        });
        framed(known as u32 + 1, &bytes)
    };
    let avro: Vec<Keyed> = records
        .iter()
        .map(|(key, value)| (key.as_ref().map(&mut framed_half), Some(framed_half(value))))
        .collect();
    let fake = Fake::of(Format::Avro, &texts);
    let (plain, avro) = (run(Decoder::new(), topic, &plain), run(fake.decoder(), topic, &avro));
    assert_eq!(avro.reasons(), plain.reasons());
    assert_eq!(told(&avro), told(&plain));
    assert_eq!(avro.batches[0].1.not_changes, plain.batches[0].1.not_changes);
    avro.changes().len()
}

#[test]
fn captured_events_of_all_types_say_the_same_in_avro_as_in_json() {
    let plain =
        |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._".contains(letter));
    let (mut tables, mut changes) = (std::collections::BTreeSet::new(), 0);
    for file in ["types_schema.ndjson", "types_connect_string.ndjson", "types_iso_double.ndjson"] {
        for (topic, key, value) in lines(file) {
            let Some(value) = value else { continue };
            let value: Tree = serde_json::from_str(&value).unwrap();
            let columns = value["payload"]["after"].as_object().map(|row| row.keys().all(|name| plain(name)));
            // The Avro converter has other names than these columns have.
            if value["schema"].is_null() || columns == Some(false) {
                continue;
            }
            tables.insert(topic.clone());
            changes += compare(&topic, &[(key.map(|key| serde_json::from_str(&key).unwrap()), value)]);
        }
    }
    assert!(tables.len() >= 3 && changes >= 30, "{changes} {tables:?}");
}

fn event(columns: &[(Tree, Tree)]) -> Tree {
    let (mut fields, mut row) = (vec![], serde_json::Map::new());
    for (index, (schema, value)) in columns.iter().enumerate() {
        let mut field = schema.clone();
        field["field"] = format!("c{index}").into();
        fields.push(field);
        row.insert(format!("c{index}"), value.clone());
    }
    let rows = |name: &str| json!({"type": "struct", "name": "t.Value", "optional": true, "field": name, "fields": fields});
    let text = |name: &str| json!({"type": "string", "optional": false, "field": name});
    json!({
        "schema": {"type": "struct", "name": "t.Envelope", "optional": false, "fields": [
            rows("before"),
            rows("after"),
            {"type": "struct", "name": "Source", "optional": false, "field": "source", "fields": [
                text("connector"), text("db"), text("schema"), text("table"),
                {"type": "int64", "optional": true, "field": "ts_us"},
            ]},
            text("op"),
        ]},
        "payload": {
            "before": null, "after": row, "op": "c",
            "source": {"connector": "postgresql", "db": "d", "schema": "s", "table": "t", "ts_us": 7},
        },
    })
}

/// A column's schema and value.
fn column() -> impl Strategy<Value = (Tree, Tree)> {
    let named = |ty: &str, name: &str| json!({"type": ty, "name": name});
    let of = |schema: Tree, value: BoxedStrategy<Tree>| {
        value.prop_map(move |value| (schema.clone(), value)).boxed()
    };
    let bytes =
        || prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Tree::from(STANDARD.encode(bytes)));
    let digits =
        || prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| Tree::from(STANDARD.encode(bytes)));
    let text = || any::<String>().prop_map(Tree::from);
    let double = prop_oneof![
        any::<f64>().prop_map(|number| if number.is_finite() { number.into() } else { "NaN".into() }),
        Just("Infinity".into()),
        Just("-Infinity".into()),
    ];
    let decimal = json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "3"}});
    let pair = json!({"type": "struct", "name": "p.Point", "fields": [
        {"type": "int64", "optional": false, "field": "x"}, {"type": "bytes", "optional": true, "field": "wkb"},
    ]});
    let point = (any::<i64>(), bytes()).prop_map(|(x, wkb)| json!({"x": x, "wkb": wkb}));
    let texts = json!({"type": "array", "items": {"type": "string", "optional": true}});
    let list = prop::collection::vec(prop::option::of(any::<String>()), 0..5).prop_map(|list| json!(list));
    let map = json!({"type": "map", "keys": {"type": "string"}, "values": {"type": "int16"}});
    let entry = prop::option::of(("[a-z]{0,4}", any::<i16>()));
    let entry = entry
        .prop_map(|entry| Tree::Object(entry.into_iter().map(|(key, value)| (key, value.into())).collect()));
    let pairs = json!({"type": "map", "keys": {"type": "int16"}, "values": {"type": "string"}});
    let numbered =
        prop::collection::vec((any::<i16>(), any::<String>()), 0..4).prop_map(|pairs| json!(pairs));
    let value = prop_oneof![
        of(json!({"type": "boolean"}), any::<bool>().prop_map(Tree::from).boxed()),
        of(json!({"type": "int8"}), any::<i8>().prop_map(Tree::from).boxed()),
        of(json!({"type": "int16"}), any::<i16>().prop_map(Tree::from).boxed()),
        of(named("int32", "io.debezium.time.Date"), any::<i32>().prop_map(Tree::from).boxed()),
        of(named("int32", "org.apache.kafka.connect.data.Date"), any::<i32>().prop_map(Tree::from).boxed()),
        of(named("int64", "io.debezium.time.MicroTimestamp"), any::<i64>().prop_map(Tree::from).boxed()),
        of(json!({"type": "int64"}), any::<i64>().prop_map(Tree::from).boxed()),
        of(json!({"type": "double"}), double.boxed()),
        of(json!({"type": "string"}), text().boxed()),
        of(named("string", "io.debezium.data.Json"), text().boxed()),
        of(json!({"type": "bytes"}), bytes().boxed()),
        of(
            json!({"type": "bytes", "name": "io.debezium.data.Bits", "parameters": {"length": "9"}}),
            bytes().boxed()
        ),
        of(decimal, digits().boxed()),
        of(pair, point.boxed()),
        of(texts, list.boxed()),
        of(map, entry.boxed()),
        of(pairs, numbered.boxed()),
    ];
    (value, 0..3).prop_map(|((mut schema, value), optional)| {
        schema["optional"] = (optional > 0).into();
        (schema, if optional == 1 { Tree::Null } else { value })
    })
}

proptest! {
    #[test]
    fn a_row_says_the_same_in_avro_as_in_json(columns in prop::collection::vec(column(), 0..12)) {
        let key = json!({
            "schema": {"type": "struct", "name": "t.Key", "fields": [{"type": "int32", "field": "c0"}]},
            "payload": {"c0": 1},
        });
        prop_assert_eq!(compare("t", &[(Some(key), event(&columns))]), 1);
    }

    #[test]
    fn no_bytes_behind_an_id_panic_or_grow(body in prop::collection::vec(any::<u8>(), 0..200), id in 0_u32..4) {
        let event = event(&[
            (json!({"type": "array", "items": {"type": "string", "optional": true}}), json!(["a"])),
            (json!({"type": "map", "keys": {"type": "int16"}, "values": {"type": "string"}}), json!([[1, "a"]])),
        ]);
        let (text, good) = in_avro(&event["schema"], &event["payload"]);
        let loops = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"},{"name":"n","type":{"type":"array","items":"null"}}]}"#;
        let nulls = r#"{"type":"array","items":{"type":"array","items":["null","int"]}}"#;
        let fake = Fake::of(Format::Avro, &[&text, loops, nulls]);
        for end in 0..=good.len() {
            let body = if id == 1 { [&good[..end], &body[..]].concat() } else { body.clone() };
            let run = run(fake.decoder(), "t", &[(None, Some(framed(id, &body)))]);
            let decoded = &run.batches[0].1;
            prop_assert_eq!(decoded.changes.len() + decoded.rejected.len() + decoded.not_changes.total() as usize, 1);
            prop_assert!(run.batches[0].0.arena.len() <= 3 * MAX_OUTPUT_BYTES);
            if id != 1 { break; }
        }
    }
}

fn refused(fake: &Fake, value: Vec<u8>) -> String {
    let run = run(fake.decoder(), "t", &[(None, Some(value))]);
    let reasons = run.reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons[0].to_owned()
}

#[test]
fn counts_and_lengths_that_lie_are_refused_at_once() {
    let longs = |numbers: &[i64]| {
        let mut bytes = Vec::new();
        for number in numbers {
            let mut rest = ((number << 1) ^ (number >> 63)) as u64;
            while rest > 0x7f {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    };
    let schemas = [
        r#"{"type":"array","items":"null"}"#,
        r#""string""#,
        r#"{"type":"array","items":"int"}"#,
        r#"{"type":"map","values":"bytes"}"#,
        r#"{"type":"enum","name":"E","symbols":["A"]}"#,
        r#"["null","int","string"]"#,
        r#"{"type":"fixed","name":"F","size":9}"#,
    ];
    let fake = Fake::of(Format::Avro, &schemas);
    for (id, numbers, why) in [
        (1, vec![i64::MAX], "elements are announced"),
        (1, vec![i64::MIN, 1], "elements are announced"),
        (2, vec![i64::MAX], "bytes are announced"),
        (2, vec![-1], "a negative length"),
        (3, vec![1, i64::MAX], "a number of more than 32 bits"),
        (3, vec![2, 1, 1], "ends within a number"),
        (4, vec![1, 0, 1 << 40], "bytes are announced"),
        (5, vec![1], "a symbol beyond the 1 that there are"),
        (5, vec![-1], "a symbol beyond"),
        (6, vec![3], "a branch beyond the 3"),
        (7, vec![1], "more bytes are announced than the"),
        (5, vec![0, 0], "1 bytes after the end"),
    ] {
        let reason = refused(&fake, framed(id, &longs(&numbers)));
        assert!(
            reason.contains(why) && reason.contains(&format!("schema id {id} ")),
            "{id} {numbers:?}: {reason}"
        );
    }
    assert!(refused(&fake, framed(3, &[0x80; 12])).contains("more than 64 bits"));
}

#[test]
fn a_schema_that_is_made_to_be_expanded_fills_no_memory() {
    // Each level doubles; no byte is needed for any of it.
    let mut types = vec![r#"{"type":"record","name":"R0","fields":[]}"#.to_owned()];
    for level in 1..100 {
        let below = level - 1;
        types.push(format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":"R{below}"}},{{"name":"b","type":"R{below}"}}]}}"#
        ));
    }
    let fields: Vec<String> =
        types.iter().enumerate().map(|(index, ty)| format!(r#"{{"name":"f{index}","type":{ty}}}"#)).collect();
    let text = format!(r#"{{"type":"record","name":"Root","fields":[{}]}}"#, fields.join(","));
    let reason = refused(&Fake::of(Format::Avro, &[text]), framed(1, &[]));
    assert!(reason.contains("larger than 16 MiB"), "{reason}");
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
    let reason = refused(&Fake::of(Format::Avro, &[endless]), framed(1, &[]));
    assert!(reason.contains("nesting deeper than 120"), "{reason}");
}

#[test]
fn what_is_no_change_is_told_apart_in_avro_too() {
    let record = |name: &str, fields: &[(&str, Tree, Tree)]| {
        let list: Vec<_> = fields
            .iter()
            .map(|(field, ty, _)| json!({"field": field, "type": ty, "optional": false}))
            .collect();
        let row: serde_json::Map<_, _> =
            fields.iter().map(|(field, _, value)| ((*field).to_owned(), value.clone())).collect();
        in_avro(&json!({"type": "struct", "name": name, "fields": list}), &row.into())
    };
    let heartbeat = record("io.debezium.connector.common.Heartbeat", &[("ts_ms", json!("int64"), json!(5))]);
    let transaction = record(
        "shop.TransactionMetadataValue",
        &[("status", json!("string"), json!("BEGIN")), ("id", json!("string"), json!("1:2"))],
    );
    let row = record("shop.public.t.Value", &[("id", json!("int32"), json!(1))]);
    let fake = Fake::of(Format::Avro, &[&heartbeat.0, &transaction.0, &row.0, r#"["null","int"]"#]);
    let records = [
        (None, Some(framed(1, &heartbeat.1))),
        (None, Some(framed(2, &transaction.1))),
        (None, None),
        (None, Some(vec![])),
        (None, Some(framed(4, &[0]))),
        (None, Some(framed(3, &row.1))),
        (None, Some(framed(4, &[2, 6]))),
    ];
    let run = run(fake.decoder(), "shop.public.t", &records);
    let expected = NotChanges { tombstones: 3, heartbeats: 1, transactions: 1, ..NotChanges::default() };
    assert_eq!(run.batches[0].1.not_changes, expected);
    assert_eq!(run.changes().len(), 1, "a flattened row is a change");
    let [number] = run.reasons()[..] else { panic!("{:?}", run.reasons()) };
    assert!(number.contains("no object but a number"), "{number}");
}

#[test]
fn keys_and_values_choose_their_format_independently() {
    let event = event(&[(json!({"type": "int32", "optional": false}), json!(1))]);
    let (value_text, value) = in_avro(&event["schema"], &event["payload"]);
    let key_schema = json!({"type": "struct", "name": "t.Key", "fields": [{"type": "int32", "field": "c0"}]});
    let (key_text, key) = in_avro(&key_schema, &json!({"c0": 1}));
    let fake = Fake::of(Format::Avro, &[value_text, key_text]);
    let (value, key) = (framed(1, &value), framed(2, &key));
    for (key, columns) in [
        (Some(key.clone()), "c0*"),
        (Some(br#"{"c0":1}"#.to_vec()), "c0*"),
        (Some(b"plain".to_vec()), "c0"),
        (None, "c0"),
    ] {
        for value in
            [value.clone(), event.to_string().into_bytes(), event["payload"].to_string().into_bytes()]
        {
            let run = run(fake.decoder(), "t", &[(key.clone(), Some(value))]);
            assert_eq!(run.changes()[0].columns(), [columns], "{key:?}");
        }
    }
    let run = run(fake.decoder(), "t", &[(Some(framed(9, &[])), Some(value))]);
    assert!(
        run.reasons()[0].contains("schema id 9 of the key (subject `t-key` by the usual rule)"),
        "{:?}",
        run.reasons()
    );
}

#[test]
fn a_record_keeps_its_bytes_and_names_its_schema_where_there_is_none() {
    let value = framed(77, b"x");
    let mut decoder = Fake::default().decoder();
    let mut batch = batch("shop.public.t", &[(None::<&str>, Some(&value))]);
    decoder.learn(&batch, &|| false).unwrap().unwrap();
    let decoded = decoder.decode(&mut batch);
    let expected = "schema id 77 of the value (subject `shop.public.t-value` by the usual rule): the registry does not \
                    know it: nobody has registered it";
    assert_eq!(decoded.rejected[0].reason, expected);
    assert_eq!(batch.records[0].value.unwrap().of(&batch.arena), value);
}

#[test]
fn without_a_registry_the_reason_names_the_setting() {
    let run = run(Decoder::new(), "t", &[(None, Some(framed(1, b"x")))]);
    assert!(run.reasons()[0].contains("`registry.url`"), "{:?}", run.reasons());
}

#[test]
fn each_schema_is_asked_for_once_and_waited_for() {
    let good = Registered { format: Format::Avro, text: r#""int""#.into(), references: vec![] };
    let wait = || Err(Trouble::Wait("connection refused".into()));
    let mut fake = Fake::default();
    fake.schemas.insert(SchemaId::Number(1), vec![wait(), wait(), Ok(good)]);
    let mut decoder = fake.decoder();
    for _ in 0..2 {
        let value = framed(1, &[2]);
        let mut batch = batch("t", &[(None::<&str>, Some(&value)); 3]);
        decoder.learn(&batch, &|| false).unwrap().unwrap();
        assert!(decoder.decode(&mut batch).rejected[0].reason.contains("a number"));
    }
    assert_eq!(*fake.asked.lock().unwrap(), [SchemaId::Number(1); 3]);
}

#[test]
fn what_the_registry_does_not_know_is_not_asked_for_with_each_batch() {
    let fake = Fake::default();
    let mut decoder = fake.decoder();
    for _ in 0..3 {
        decoder.learn(&batch("t", &[(None::<&str>, Some(framed(1, b"")))]), &|| false).unwrap().unwrap();
    }
    assert_eq!(fake.asked.lock().unwrap().len(), 1);
}

#[test]
fn waiting_for_a_registry_ends_when_the_host_is_to_stop() {
    let mut fake = Fake::default();
    fake.schemas.insert(SchemaId::Number(1), vec![Err(Trouble::Wait("down".into()))]);
    let looks = std::cell::Cell::new(0);
    let give_up = || {
        looks.set(looks.get() + 1);
        looks.get() > 4
    };
    let batch = batch("t", &[(None::<&str>, Some(framed(1, b"")))]);
    assert_eq!(fake.decoder().learn(&batch, &give_up).unwrap(), None);
}

#[test]
fn a_registry_that_refuses_the_host_ends_it() {
    let mut fake = Fake::default();
    let halt = Trouble::Halt { what: "status 401".into(), help: "check registry.user".into() };
    fake.schemas.insert(SchemaId::Number(1), vec![Err(halt)]);
    let batch = batch("t", &[(None::<&str>, Some(framed(1, b"")))]);
    let error = fake.decoder().learn(&batch, &|| false).unwrap_err();
    assert_eq!(crate::error::exit_of(&error), crate::error::Exit::Environment);
    assert_eq!(
        crate::error::report(&error),
        "error: the schema registry: status 401\nhelp: check registry.user"
    );
}

fn reference(name: &str) -> Reference {
    Reference { name: name.into(), path: vec!["subjects".into(), name.into(), "versions".into(), "1".into()] }
}

fn referring(text: &str, to: &[&str]) -> Registered {
    Registered {
        format: Format::Avro,
        text: text.into(),
        references: to.iter().map(|name| reference(name)).collect(),
    }
}

#[test]
fn references_are_followed_in_the_order_in_which_they_need_each_other() {
    let record = |name: &str, ty: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","namespace":"n","fields":[{{"name":"f","type":"{ty}"}}]}}"#
        )
    };
    let mut fake = Fake::default();
    let root = referring(&record("A", "n.B"), &["C", "B"]);
    fake.schemas.insert(SchemaId::Number(1), vec![Ok(root)]);
    fake.referred.insert("B".into(), referring(&record("B", "n.C"), &["C"]));
    fake.referred.insert("C".into(), referring(&record("C", "int"), &[]));
    let row = run(fake.decoder(), "t", &[(None, Some(framed(1, &[6])))]);
    assert_eq!(row.changes()[0].after("f"), Value::Json(r#"{"f":{"f":3}}"#.into()));
    fake.referred.remove("C");
    let reason = refused(&fake, framed(1, &[6]));
    assert!(reason.contains("it refers to `C`: no such version"), "{reason}");
}

#[test]
fn references_in_a_circle_or_without_end_are_refused() {
    let mut fake = Fake::default();
    fake.schemas.insert(SchemaId::Number(1), vec![Ok(referring(r#""B""#, &["B"]))]);
    fake.referred.insert("B".into(), referring(r#""C""#, &["C"]));
    fake.referred.insert("C".into(), referring(r#""B""#, &["B"]));
    assert!(refused(&fake, framed(1, &[])).contains("the type `B` is nowhere"));
    for number in 0..200 {
        let next = format!("N{}", number + 1);
        fake.referred.insert(format!("N{number}"), referring(r#""int""#, &[&next]));
    }
    fake.schemas.insert(SchemaId::Number(2), vec![Ok(referring(r#""int""#, &["N0"]))]);
    assert!(refused(&fake, framed(2, &[])).contains("more than 100 schemas"));
}

#[test]
fn headers_may_name_the_schemas_of_bytes_without_a_frame() {
    let event = event(&[(json!({"type": "int32", "optional": false}), json!(1))]);
    let (text, value) = in_avro(&event["schema"], &event["payload"]);
    let key_schema = json!({"type": "struct", "name": "t.Key", "fields": [{"type": "int32", "field": "c0"}]});
    let (key_text, key) = in_avro(&key_schema, &json!({"c0": 1}));
    let registered =
        |text: &str| vec![Ok(Registered { format: Format::Avro, text: text.into(), references: vec![] })];
    let mut fake = Fake::default();
    for (key_id, value_id) in [
        (SchemaId::Guid([1; 16]), SchemaId::Guid([2; 16])),
        (SchemaId::Number(1), SchemaId::Number(2)),
        (SchemaId::Global(1), SchemaId::Global(2)),
        (SchemaId::Content(1), SchemaId::Content(2)),
    ] {
        fake.schemas.insert(key_id, registered(&key_text));
        fake.schemas.insert(value_id, registered(&text));
    }
    let long = |id: u64| id.to_be_bytes().to_vec();
    let (confluent, apicurio) = (Framing::Confluent, Framing::Apicurio);
    for (framing, names, ids) in [
        (confluent, ["__key_schema_id", "__value_schema_id"], [vec![1; 17], [&[1][..], &[2; 16]].concat()]),
        (confluent, ["__key_schema_id", "__value_schema_id"], [vec![0, 0, 0, 0, 1], vec![0, 0, 0, 0, 2]]),
        (apicurio, ["apicurio.key.globalId", "apicurio.value.globalId"], [long(1), long(2)]),
        (apicurio, ["apicurio.key.contentId", "apicurio.value.contentId"], [long(1), long(2)]),
    ] {
        assert!(names.iter().all(|name| framing.headers().contains(name)));
        let with = |ids: [Vec<u8>; 2]| {
            let mut batch = batch("t", &[(Some(&key), Some(&value))]);
            for (name, id) in names.into_iter().zip(ids) {
                let start = batch.arena.len() as u32;
                batch.arena.extend(id);
                let value = Some(Span { start, end: batch.arena.len() as u32 });
                batch.headers.push(crate::batch::Header { record: 0, name: name.into(), value });
            }
            let mut decoder = fake.decoder_of(framing);
            decoder.learn(&batch, &|| false).unwrap().unwrap();
            let mut run = Run { decoder, batches: vec![] };
            run.decode(batch);
            run
        };
        assert_eq!(with(ids).changes()[0].columns(), ["c0*"]);
        let reason = with([vec![1], vec![1]]).reasons()[0].to_owned();
        assert!(reason.contains("has no schema's id"), "{reason}");
    }
}

#[test]
fn apicurios_ids_of_eight_bytes_are_a_setting() {
    let text = r#"{"type":"record","name":"R","fields":[]}"#;
    let mut fake = Fake::of(Format::Avro, &[text]);
    let known = fake.schemas.remove(&SchemaId::Number(1)).unwrap();
    fake.schemas.insert(SchemaId::Global(1), known);
    let value = [&[0][..], &1_u64.to_be_bytes()].concat();
    let run = run(fake.decoder_of(Framing::Apicurio), "t", &[(None, Some(value))]);
    assert_eq!(
        run.reasons(),
        ["not_debezium: an object without members, which is neither an event nor a row"]
    );
}

fn in_json(schema: &Tree, value: &Tree) -> Run {
    let fake = Fake::of(Format::Json, &[schema.to_string()]);
    run(fake.decoder(), "t", &[(None, Some(framed(1, value.to_string().as_bytes())))])
}

/// A schema as Confluent's converter registers it, of one column.
fn of_column(column: Tree) -> Tree {
    let optional =
        |tree: Tree, index: u32| json!({"oneOf": [{"type": "null"}, tree], "connect.index": index});
    let row = json!({"type": "object", "title": "t.Value", "properties": {
        "z": {"type": "integer", "connect.type": "int32", "connect.index": 0},
        "c": {"oneOf": [{"type": "null"}, column], "connect.index": 1},
    }});
    json!({"type": "object", "title": "t.Envelope", "connect.version": 2, "properties": {
        "op": {"type": "string", "connect.index": 3},
        "before": optional(json!({"$ref": "#/definitions/row"}), 0),
        "after": optional(json!({"$ref": "#/definitions/row"}), 1),
        "source": {"type": "object", "connect.index": 2},
    }, "definitions": {"row": row}})
}

#[test]
fn columns_of_json_schema_mean_what_kafka_connect_says() {
    use crate::debezium::shape::Wire;
    let named =
        |ty: &str, connect: &str, title: &str| json!({"type": ty, "connect.type": connect, "title": title});
    let decimal = json!({"type": "number", "connect.type": "bytes", "title": "org.apache.kafka.connect.data.Decimal",
        "connect.parameters": {"scale": "2"}});
    for (column, value, wire) in [
        (json!({"type": "integer", "connect.type": "int8"}), json!(1), Wire::Int(8)),
        (json!({"type": "integer"}), json!(1), Wire::Int(64)),
        (json!({"type": "number", "connect.type": "float32"}), json!(1.5), Wire::Float32),
        (json!({"type": "number"}), json!(1.5), Wire::Float64),
        (json!({"type": "boolean"}), json!(true), Wire::Bool),
        (json!({"type": "string"}), json!("x"), Wire::Text),
        (json!({"type": ["string", "null"]}), json!("x"), Wire::Text),
        (json!({"type": "string", "connect.type": "bytes"}), json!("MDk="), Wire::Bytes),
        (decimal, json!("MDk="), Wire::Decimal { scale: 2, precision: None }),
        (named("integer", "int32", "io.debezium.time.Date"), json!(1), Wire::Date),
        (named("integer", "int64", "io.debezium.time.MicroTimestamp"), json!(1), Wire::TimestampMicros),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a"]),
            Wire::Array(Box::new(Wire::Text)),
        ),
        (
            json!({"type": "object", "connect.type": "map", "additionalProperties": {"type": "integer"}}),
            json!({"a": 1}),
            Wire::Map(Box::new(Wire::Int(64))),
        ),
        (json!({"type": "object", "properties": {}}), json!({"a": 1}), Wire::Json),
        (json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), json!("x"), Wire::Json),
    ] {
        let source = json!({"connector": "c", "db": "d", "schema": "s", "table": "t"});
        let event = json!({"before": null, "after": {"c": value, "z": 1}, "source": source, "op": "c"});
        let run = in_json(&of_column(column.clone()), &event);
        assert_eq!(run.reasons(), Vec::<&str>::new(), "{column}");
        let at = run.changes()[0];
        let [z, c] = &at.shape().fields[..] else { panic!("{:?}", at.shape()) };
        assert_eq!((z.name.as_str(), z.nullable, &z.wire), ("z", false, &Wire::Int(32)));
        assert_eq!((c.name.as_str(), c.nullable, &c.wire), ("c", true, &wire), "{column}");
        assert_ne!(format!("{:?}", at.after("c")), "Null");
    }
}

#[test]
fn a_json_schema_that_refers_to_nothing_or_itself_is_refused() {
    for (schema, why) in [
        (json!({"$ref": "#/definitions/x"}), "refers to `#/definitions/x`, which is nowhere"),
        (json!({"$ref": "other.json"}), "refers to `other.json`, which is nowhere"),
        (json!({"$ref": "#"}), "references deeper than 64"),
    ] {
        let run = in_json(&schema, &json!({}));
        assert!(run.reasons()[0].contains(why), "{:?}", run.reasons());
    }
    let itself = json!({"type": "object", "properties": {"after": {"type": "object", "properties": {
        "c": {"type": "array", "items": {"$ref": "#/properties/after/properties/c"}}}}}});
    let source = json!({"connector": "c", "table": "t"});
    let event = json!({"after": {"c": [[]]}, "source": source, "op": "c"});
    let run = in_json(&itself, &event);
    assert_eq!((run.reasons().len(), run.changes().len()), (0, 1), "{:?}", run.reasons());
}

#[test]
fn the_schema_of_kafka_connects_own_converter_may_be_in_the_registry() {
    let event =
        event(&[(json!({"type": "int32", "name": "io.debezium.time.Date", "optional": false}), json!(1))]);
    let fake = Fake::of(Format::Connect, &[event["schema"].to_string()]);
    let value = framed(1, event["payload"].to_string().as_bytes());
    let run = run(fake.decoder(), "t", &[(None, Some(value))]);
    assert_eq!(format!("{:?}", run.changes()[0].after("c0")), "Date(1)");
}
