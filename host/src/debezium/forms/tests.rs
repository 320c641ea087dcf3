//! Records of every form as Debezium's documentation shows them, and what is near them.

use crate::batch::Header;
use crate::debezium::NotChanges;
use crate::debezium::Op;
use crate::debezium::fixture::{Run, batch};
use crate::debezium::options::{Options, Tombstones};
use crate::debezium::shape::Wire;
use crate::debezium::value::{Value, decode};

fn int<'a>(value: i64) -> Value<'a> {
    Value::Int(value)
}

fn text(value: &str) -> Value<'_> {
    Value::Text(value.into())
}

fn json(value: &str) -> Value<'_> {
    Value::Json(value.into())
}

fn not_changes(topic: &str, key: Option<&str>, value: &str) -> NotChanges {
    let run = Run::of_records(topic, &[(key, Some(value))]);
    assert_eq!(run.reasons(), [""; 0], "{value}");
    run.batches[0].1.not_changes
}

#[test]
fn the_connectors_own_records_are_told_apart_as_documented() {
    let heartbeat =
        not_changes("__debezium-heartbeat.shop", Some(r#"{"serverName":"shop"}"#), r#"{"ts_ms":"1"}"#);
    assert_eq!(heartbeat, NotChanges { heartbeats: 1, ..NotChanges::default() });
    let renamed = not_changes("beats", Some(r#"{"serverName":"shop"}"#), r#"{"ts_ms":1}"#);
    assert_eq!(renamed.heartbeats, 1);
    for transaction in [
        r#"{"status":"BEGIN","id":"571:53195829","ts_ms":1486500577125,"event_count":null,"data_collections":null}"#,
        r#"{"status":"BEGIN","id":"571:53195829","ts_ms":"1486500577125"}"#,
        r#"{"status":"END","id":"571:53195832","ts_ms":1486500577691,"event_count":2,
            "data_collections":[{"data_collection":"s1.a","event_count":1},{"data_collection":"s2.a","event_count":1}]}"#,
    ] {
        let found = not_changes("shop.transaction", Some(r#"{"id":"571:53195829"}"#), transaction);
        assert_eq!(found, NotChanges { transactions: 1, ..NotChanges::default() });
    }
    let ddl = r#"{"source":{"version":"3.6.3.Final","connector":"mysql","name":"mysql","ts_ms":1651535750218,
        "snapshot":"false","db":"inventory","table":"customers","server_id":223344,"file":"mysql-bin.000003","pos":570},
        "ts_ms":1651535750218,"databaseName":"inventory","schemaName":null,
        "ddl":"ALTER TABLE customers ADD middle_name varchar(255) AFTER first_name",
        "tableChanges":[{"type":"ALTER","id":"\"inventory\".\"customers\"","table":{"columns":[]}}]}"#;
    let found = not_changes("shop", Some(r#"{"databaseName":"inventory"}"#), ddl);
    assert_eq!(found, NotChanges { schema_changes: 1, ..NotChanges::default() });
    let notification = r#"{"id":"c485ccc3-16ff-47cc-b4e8-b56a57c3bad2","aggregate_type":"Incremental Snapshot",
        "type":"Started","additional_data":{"connector_name":"my-connector"},"timestamp":"1695817046353"}"#;
    let found = not_changes("notes", None, notification);
    assert_eq!(found, NotChanges { notifications: 1, ..NotChanges::default() });
}

#[test]
fn rows_of_a_users_table_that_look_like_the_connectors_records_are_rows() {
    for row in [
        r#"{"id":1,"status":"BEGIN","event_count":3,"place":"x"}"#,
        r#"{"id":1,"type":"a","aggregate_type":"b","timestamp":1,"comment":"c"}"#,
        r#"{"ts_ms":1}"#,
        r#"{"id":1,"source":"web"}"#,
        r#"{"id":1,"op":"x"}"#,
        r#"{"before":1,"after":2}"#,
        r#"{"specversion":"1.0"}"#,
    ] {
        let run = Run::of_records("shop.public.rows", &[(None, Some(row))]);
        assert_eq!((run.reasons().len(), run.changes().len()), (0, 1), "{row}");
        assert_eq!(run.changes()[0].change.op, Op::Read);
    }
}

#[test]
fn a_first_row_with_the_columns_schema_and_payload_is_no_wrapper_unless_there_is_a_schema() {
    let row = r#"{"schema":{"version":1},"payload":{"a":1}}"#;
    let run = Run::of_values(&[row, r#"{"schema":null,"payload":{"a":1}}"#]);
    assert_eq!(
        run.changes().iter().map(|change| change.columns()).collect::<Vec<_>>(),
        [["schema", "payload"]; 2]
    );
    let run =
        Run::of_values(&[r#"{"schema":null,"payload":{"a":1}}"#, r#"{"schema":null,"payload":{"a":2}}"#]);
    assert_eq!(run.changes().iter().map(|change| change.columns()).collect::<Vec<_>>(), [["a"]; 2]);
}

#[test]
fn a_key_is_unwrapped_or_not_as_the_topics_first_one_was() {
    let row = r#"{"id":1,"schema":null,"payload":{"id":2}}"#;
    let plain = r#"{"id":1}"#;
    let both = r#"{"schema":null,"payload":{"id":1}}"#;
    let columns = |keys: &[&str]| {
        let records: Vec<_> = keys.iter().map(|key| (Some(*key), Some(row))).collect();
        let run = Run::of_records("t", &records);
        run.changes().iter().map(|change| change.columns().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(columns(&[both, both]), ["id* schema payload"; 2]);
    assert_eq!(columns(&[plain, both]), ["id* schema payload", "id schema* payload*"]);
    assert_eq!(columns(&["text", both]), ["id schema payload", "id* schema payload"]);
}

const FLATTENED: &str = r#"{"first_name":"Anne","id":1004,"__op":"u","__table":"customers","__db":"inventory",
    "__source_schema":"public","__lsn":"24023128","__source_ts_ms":1559033904863,"__ts_ms":"1559033904900",
    "__deleted":"false"}"#;

#[test]
fn a_flattened_row_is_read_with_the_fields_that_were_added() {
    let run = Run::of_records("any.topic", &[(Some(r#"{"id":1004}"#), Some(FLATTENED))]);
    assert_eq!(run.reasons(), [""; 0]);
    let change = run.changes()[0];
    assert_eq!(change.columns(), ["first_name", "id*"]);
    assert_eq!(change.names(), ["", "inventory", "public", "customers"]);
    assert_eq!(change.change.op, Op::Update);
    assert_eq!(change.change.committed_at_us, Some(1_559_033_904_863_000));
    assert_eq!(change.change.captured_at_us, Some(1_559_033_904_900_000));
    assert_eq!((change.after("id"), change.after("first_name")), (int(1004), text("Anne")));
    assert_eq!(change.change.before, None);
    assert_eq!(change.detail("lsn").as_deref(), Some("24023128"));
    assert_eq!(change.detail("ts_ms").as_deref(), Some("1559033904863"));
}

#[test]
fn a_flattened_row_without_added_fields_counts_as_read_from_the_topics_table() {
    let run = Run::of_records(
        "shop.public.orders",
        &[(None, Some(r#"{"id":1,"__mine":2}"#)), (None, Some(r#"{"id":2,"__mine":3}"#))],
    );
    for (change, id) in run.changes().into_iter().zip(1..) {
        assert_eq!(change.change.op, Op::Read);
        assert_eq!(change.names(), ["", "", "", "orders"]);
        // Only what the connector can add is taken for added.
        assert_eq!(change.columns(), ["id", "__mine"]);
        assert_eq!(change.after("id"), int(id));
        assert_eq!((change.change.shape, change.change.committed_at_us), (0, None));
    }
    // The block that stands for their source is made once.
    let sources: Vec<_> = run.changes().iter().map(|change| change.change.source).collect();
    assert_eq!(sources[0], sources[1]);
}

#[test]
fn a_rewritten_delete_has_its_row_before_the_change() {
    for deleted in ["\"true\"", "true"] {
        let row = format!(r#"{{"id":1,"name":null,"__deleted":{deleted}}}"#);
        let run = Run::of_records(
            "s.p.t",
            &[(None, Some(r#"{"id":1,"name":"x","__deleted":"false"}"#)), (None, Some(&row))],
        );
        let changes = run.changes();
        assert_eq!((changes[0].change.op, changes[1].change.op), (Op::Read, Op::Delete));
        assert_eq!((changes[1].before("id"), changes[1].before("name")), (int(1), Value::Null));
        assert_eq!((changes[1].change.after, changes[1].change.shape), (None, changes[0].change.shape));
    }
    let run =
        Run::of_values(&[r#"{"id":1,"__deleted":"perhaps"}"#, r#"{"id":1,"__op":"x"}"#, r#"{"__op":"u"}"#]);
    assert_eq!(
        run.reasons(),
        [
            "the field for `deleted` is neither true nor false",
            "unknown op: expected one of c, u, d, r, t, m",
            "a flattened row without a column"
        ]
    );
}

#[test]
fn a_flattened_row_with_a_schema_has_its_types_and_not_its_added_fields() {
    let field = |name: &str, ty: &str| format!(r#"{{"field":"{name}","type":"{ty}","optional":true}}"#);
    let micro = r#"{"field":"at","type":"int64","optional":true,"name":"io.debezium.time.MicroTimestamp"}"#;
    let fields =
        [field("after", "int32"), field("__op", "string"), micro.to_owned(), field("__lsn", "int64")];
    let schema = format!(r#"{{"type":"struct","name":"s.p.t.Value","fields":[{}]}}"#, fields.join(","));
    let value = |n: i64| {
        format!(r#"{{"schema":{schema},"payload":{{"after":{n},"__op":"c","at":1000001,"__lsn":7}}}}"#)
    };
    let run = Run::of_values(&[&value(1), &value(2)]);
    assert_eq!(run.reasons(), [""; 0]);
    for (change, n) in run.changes().into_iter().zip(1..) {
        assert_eq!(change.columns(), ["after", "at"]);
        assert!(change.shape().typed);
        assert_eq!((change.change.op, change.after("after")), (Op::Create, int(n)));
        assert_eq!(change.after("at"), Value::Timestamp { seconds: 1, nanos: 1_000 });
        assert_eq!(change.detail("lsn").as_deref(), Some("7"));
    }
}

#[test]
fn the_prefix_of_added_fields_and_the_headers_they_may_stand_in_are_settings() {
    let options = Options { flattened_prefix: "cdc.".into(), flattened_headers: true, ..Options::default() };
    assert!(options.headers().contains(&"cdc.op".to_owned()));
    assert!(Options::default().headers().is_empty());
    let mut run = Run::with(options);
    let mut records = batch(
        "s.p.t",
        &[
            (None::<&str>, Some(r#"{"id":1,"__op":"c","cdc.table":"mine"}"#)),
            (None, Some(r#"{"id":2,"__op":"c"}"#)),
        ],
    );
    for (record, name, value) in [
        (0, "cdc.op", "u"),
        (0, "cdc.table", "other"),
        (0, "cdc.source_ts_ms", "5"),
        (1, "cdc.op", r#"{"schema":{"type":"string"},"payload":"d"}"#),
        (1, "cdc.db", "7"),
        (1, "other", "x"),
    ] {
        let start = records.arena.len() as u32;
        records.arena.extend_from_slice(value.as_bytes());
        let value = Some(crate::batch::Span { start, end: records.arena.len() as u32 });
        records.headers.push(Header { record, name: name.into(), value });
    }
    run.decode(records);
    let changes = run.changes();
    assert_eq!(changes[0].columns(), ["id", "__op"]);
    assert_eq!((changes[0].change.op, changes[1].change.op), (Op::Update, Op::Delete));
    assert_eq!(changes[0].change.committed_at_us, Some(5_000));
    // What the row says counts more than its headers.
    assert_eq!(changes[0].names(), ["", "", "", "mine"]);
    assert_eq!(changes[1].names(), ["", "7", "", "t"]);
}

#[test]
fn a_tombstone_is_a_delete_where_the_settings_say_so() {
    let records = [
        (Some(r#"{"id":1}"#), Some(r#"{"id":1,"name":"x"}"#)),
        (Some(r#"{"id":1}"#), None),
        (Some(r#"{"schema":null,"payload":{"id":2}}"#), None),
        (Some("no object"), None),
        (None, None),
        (Some(r#"{"id":3}"#), Some("")),
    ];
    let mut run = Run::with(Options { tombstones: Tombstones::Delete, ..Options::default() });
    run.decode(batch("s.p.t", &records));
    let changes = run.changes();
    let ops: String = changes.iter().map(|change| change.change.op.letter()).collect();
    assert_eq!((ops.as_str(), run.batches[0].1.not_changes.tombstones), ("rddd", 2));
    assert_eq!(changes[1].columns(), ["id*", "name"]);
    assert_eq!((changes[1].before("id"), changes[1].before("name")), (int(1), Value::Unavailable));
    assert_eq!((changes[1].change.shape, changes[1].change.after), (changes[0].change.shape, None));
    assert_eq!(changes[3].before("id"), int(3));
    // A topic that has told no columns yet has those of the key, and the table of its name.
    run.decode(batch("s.p.other", &records[1..2]));
    let first = *run.changes_of("other").first().unwrap();
    assert_eq!((first.columns(), first.before("id")), (vec!["id*".to_owned()], int(1)));
    // Left alone they are nothing.
    let run = Run::of_records("s.p.t", &records);
    assert_eq!((run.changes().len(), run.batches[0].1.not_changes.tombstones), (1, 5));
}

const CLOUD_EVENT: &str = r#"{
  "id" : "name:test_server;lsn:29274832;txId:565",
  "source" : "/debezium/postgresql/test_server",
  "specversion" : "1.0",
  "type" : "io.debezium.connector.postgresql.DataChangeEvent",
  "time" : "2020-01-13T13:55:39.738Z",
  "datacontenttype" : "application/json",
  "iodebeziumop" : "r",
  "iodebeziumversion" : "3.6.3.Final",
  "iodebeziumconnector" : "postgresql",
  "iodebeziumname" : "test_server",
  "iodebeziumtsms" : "1578923739738",
  "iodebeziumsnapshot" : "true",
  "iodebeziumdb" : "postgres",
  "iodebeziumschema" : "s1",
  "iodebeziumtable" : "a",
  "iodebeziumlsn" : "29274832",
  "iodebeziumxmin" : null,
  "iodebeziumtxid": "565",
  "iodebeziumtxtotalorder": "1",
  "iodebeziumtxdatacollectionorder": "1",
  "data" : DATA
}"#;

#[test]
fn a_cloudevent_is_mapped_to_an_envelope() {
    let plain = CLOUD_EVENT.replace("DATA", r#"{"before":null,"after":{"pk":1,"name":"Bob"}}"#);
    let schema = r#"{"type":"struct","fields":[{"field":"before","type":"struct","fields":[]},
        {"field":"after","type":"struct","fields":[{"field":"pk","type":"int32"},{"field":"name","type":"string"}]}]}"#;
    let wrapped = CLOUD_EVENT.replace(
        "DATA",
        &format!(r#"{{"schema":{schema},"payload":{{"before":null,"after":{{"pk":1,"name":"Bob"}}}}}}"#),
    );
    for (value, typed) in [(plain, false), (wrapped, true)] {
        let key = Some(r#"{"pk":1}"#);
        let run = Run::of_records("t", &[(key, Some(&value)), (key, Some(&value))]);
        assert_eq!(run.reasons(), [""; 0]);
        for change in run.changes() {
            assert_eq!(change.names(), ["postgresql", "postgres", "s1", "a"]);
            assert_eq!((change.change.op, change.shape().typed, change.change.shape), (Op::Read, typed, 0));
            assert_eq!(change.columns(), ["pk*", "name"]);
            assert_eq!((change.after("pk"), change.after("name")), (int(1), text("Bob")));
            assert_eq!(change.change.committed_at_us, Some(1_578_923_739_738_000));
            assert_eq!(change.change.captured_at_us, Some(1_578_923_739_738_000));
            assert_eq!(change.detail("txId").as_deref(), Some("565"));
            assert_eq!(change.detail("snapshot").as_deref(), Some("true"));
            assert_eq!(change.detail("xmin"), None);
        }
    }
}

#[test]
fn a_cloudevent_may_carry_a_whole_envelope_and_stand_in_a_wrapper() {
    let envelope = r#"{"before":null,"after":{"pk":1},"op":"u","ts_ms":7,"source":{"connector":"mysql","table":"b","pos":3}}"#;
    let bare = r#"{"specversion":"1.0","type":"io.debezium.connector.mysql.DataChangeEvent","data":DATA}"#;
    let whole = bare.replace("DATA", envelope);
    let wrapped = format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{whole}}}"#);
    for value in [whole, wrapped] {
        let run = Run::of_values(&[&value]);
        assert_eq!(run.reasons(), [""; 0]);
        let change = run.changes()[0];
        assert_eq!((change.change.op, change.change.captured_at_us), (Op::Update, Some(7_000)));
        assert_eq!((change.names()[3], change.detail("pos").as_deref()), ("b", Some("3")));
        assert_eq!(change.after("pk"), int(1));
    }
}

#[test]
fn a_cloudevent_that_cannot_be_read_says_why() {
    let with = |data: &str| CLOUD_EVENT.replace("DATA", data);
    let other = with("{}").replace("DataChangeEvent", "SchemaChangeEvent");
    let base64 = with("null").replace("\"data\" :", "\"data_base64\":\"AAA=\",\"data\":");
    for (value, reason) in [
        (with("\"AAAAAAEAAgICAg==\""), "the data of this cloudevent is not json but base64 or avro"),
        (base64, "the data of this cloudevent is not json but base64 or avro"),
        (with("null"), "a cloudevent without `data`"),
        (with(r#"{"before":null,"after":null}"#), "op r without `after`"),
        (with("{}").replace("\"r\"", "\"z\""), "unknown op"),
        (with("{}").replace("\"1578923739738\"", "\"soon\""), "`ts_ms` is not a 64-bit integer"),
        (other, "a cloudevent whose type does not end with DataChangeEvent"),
    ] {
        let run = Run::of_values(&[&value]);
        assert!(run.reasons().len() == 1 && run.reasons()[0].starts_with(reason), "{:?}", run.reasons());
    }
}

fn mongo(op: &str, rows: &str) -> String {
    format!(
        r#"{{"op":"{op}","ts_ms":1558965515240,{rows}"source":{{"version":"3.6.3.Final","connector":"mongodb",
        "name":"fulfillment","ts_ms":1558965508000,"snapshot":false,"db":"inventory","rs":"rs0","collection":"customers",
        "ord":31,"h":1546547425148721999}}}}"#
    )
}

const DOCUMENT: &str = r#"{"_id" : {"$numberLong" : "1004"},"first_name" : "Anne \"A\"","email" : null}"#;

#[test]
fn a_document_of_mongodb_is_a_row_of_its_id_and_itself() {
    let document = serde_json::Value::from(DOCUMENT).to_string();
    let create = mongo("c", &format!(r#""after":{document},"#));
    let update = mongo(
        "u",
        r#""after":null,"updateDescription":{"removedFields":null,"updatedFields":"{\"first_name\": \"Anne Marie\"}","truncatedArrays":null},"#,
    );
    let delete = mongo("d", r#""before":null,"after":null,"#);
    let key = Some(r#"{"id":"{\"$numberLong\" : \"1004\"}"}"#);
    let run = Run::of_records(
        "t",
        &[(key, Some(&create)), (key, Some(&update)), (key, Some(&delete)), (None, Some(&create))],
    );
    assert_eq!(run.reasons(), [""; 0]);
    let changes = run.changes();
    for change in &changes {
        assert_eq!(change.names(), ["mongodb", "inventory", "", "customers"]);
        assert_eq!((change.columns().join(" "), change.change.shape), ("_id* document".to_owned(), 0));
    }
    let id = json(r#"{"$numberLong" : "1004"}"#);
    assert_eq!((changes[0].after("_id"), changes[0].after("document")), (id.clone(), json(DOCUMENT)));
    assert_eq!((changes[1].after("_id"), changes[1].after("document")), (id.clone(), Value::Unavailable));
    assert_eq!(changes[1].change.before, None);
    let description = changes[1].detail("updateDescription").unwrap();
    assert!(description.contains(r#""updatedFields":"{\"first_name\": \"Anne Marie\"}""#), "{description}");
    assert_eq!(changes[1].detail("ord").as_deref(), Some("31"));
    assert_eq!((changes[2].before("_id"), changes[2].before("document")), (id.clone(), Value::Unavailable));
    // Without a key the document says its id.
    assert_eq!((changes[3].after("_id"), changes[3].after("document")), (id, json(DOCUMENT)));
}

#[test]
fn a_document_before_the_change_is_read_too() {
    let document = serde_json::Value::from(DOCUMENT).to_string();
    let update = mongo("u", &format!(r#""before":{document},"after":{document},"#));
    let delete = mongo("d", &format!(r#""before":{document},"#));
    let text_key = Some(r#"{"id":"\"1234\""}"#);
    let run = Run::of_records("t", &[(None, Some(&update)), (text_key, Some(&delete))]);
    let changes = run.changes();
    assert_eq!(
        (changes[0].before("document"), changes[0].after("document")),
        (json(DOCUMENT), json(DOCUMENT))
    );
    assert_eq!((changes[1].before("_id"), changes[1].before("document")), (json("\"1234\""), json(DOCUMENT)));
}

#[test]
fn a_document_with_a_schema_is_the_same() {
    let document = serde_json::Value::from(DOCUMENT).to_string();
    let schema = r#"{"type":"struct","fields":[{"field":"before","type":"string","optional":true,"name":"io.debezium.data.Json"},
        {"field":"after","type":"string","optional":true,"name":"io.debezium.data.Json"}]}"#;
    let value =
        format!(r#"{{"schema":{schema},"payload":{}}}"#, mongo("c", &format!(r#""after":{document},"#)));
    let run = Run::of_records("t", &[(None, Some(&value))]);
    assert_eq!(run.reasons(), [""; 0]);
    assert!(run.changes()[0].shape().typed);
    assert_eq!(run.changes()[0].after("document"), json(DOCUMENT));
}

#[test]
fn what_is_no_document_is_refused() {
    let with = |after: &str| mongo("c", &format!(r#""after":{after},"#));
    for (value, reason) in [
        (with(r#""{\"_id\":1""#), "the document is not acceptable as json"),
        (with(r#""[1]""#), "the document is no json object"),
        (with(r#""{\"a\":1}""#), "the document has no `_id`"),
        (with("null"), "op c without `after`"),
        (mongo("u", ""), "neither the key nor the event says which document"),
        (mongo("d", ""), "neither the key nor the event says which document"),
    ] {
        let run = Run::of_values(&[&value]);
        assert!(run.reasons().len() == 1 && run.reasons()[0].starts_with(reason), "{:?}", run.reasons());
        assert!(run.batches[0].1.cells.is_empty());
    }
}

/// The `source` block that the documentation of a connector shows, its names, and some of its details.
type Documented = (&'static str, [&'static str; 4], &'static [(&'static str, Option<&'static str>)]);

const SOURCES: [Documented; 6] = [
    (
        r#"{"version":"3.6.3.Final","connector":"mysql","name":"mysql-server-1","ts_ms":"1580390884335","snapshot":false,
        "db":"inventory","table":"customers","server_id":"223344","gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
        "file":"mysql-bin.000003","pos":484,"row":0,"thread":7,"query":"UPDATE customers SET x=1"}"#,
        ["mysql", "inventory", "", "customers"],
        &[
            ("gtid", Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:23")),
            ("pos", Some("484")),
            ("server_id", Some("223344")),
        ],
    ),
    (
        r#"{"version":"3.6.3.Final","connector":"mariadb","name":"m","ts_ms":1580390884335,"snapshot":"incremental",
        "db":"inventory","sequence":null,"table":"customers","server_id":1,"gtid":"0-1-270","file":"mariadb-bin.000008","pos":0,"row":0}"#,
        ["mariadb", "inventory", "", "customers"],
        &[("gtid", Some("0-1-270")), ("snapshot", Some("incremental")), ("sequence", None)],
    ),
    (
        r#"{"version":"3.6.3.Final","connector":"sqlserver","name":"server1","ts_ms":1580390884335,"snapshot":true,"db":"testDB",
        "schema":"dbo","table":"customers","change_lsn":null,"commit_lsn":"00000027:00000758:0005","event_serial_no":"2"}"#,
        ["sqlserver", "testDB", "dbo", "customers"],
        &[("change_lsn", None), ("commit_lsn", Some("00000027:00000758:0005")), ("snapshot", Some("true"))],
    ),
    (
        r#"{"version":"3.6.3.Final","connector":"oracle","name":"server1","ts_ms":1580390884335,"snapshot":"last_in_data_collection",
        "db":"ORCLPDB1","schema":"DEBEZIUM","table":"CUSTOMERS","txId":"6.28.807","scn":"18446744073709551616",
        "commit_scn":"2122185","rs_id":"001234.00012345.0124","ssn":1,"redo_thread":1,"user_name":"user"}"#,
        ["oracle", "ORCLPDB1", "DEBEZIUM", "CUSTOMERS"],
        &[("scn", Some("18446744073709551616")), ("txId", Some("6.28.807")), ("ssn", Some("1"))],
    ),
    (
        r#"{"version":"3.6.3.Final","connector":"db2","name":"myconnector","ts_ms":1580390884335,"snapshot":false,"db":"mydatabase",
        "schema":"MYSCHEMA","table":"CUSTOMERS","change_lsn":"00000027:00000758:0003","commit_lsn":"00000027:00000758:0005"}"#,
        ["db2", "mydatabase", "MYSCHEMA", "CUSTOMERS"],
        &[("change_lsn", Some("00000027:00000758:0003"))],
    ),
    (
        r#"{"version":"3.6.3.Final","connector":"vitess","name":"v","ts_ms":1580390884335,"db":"","keyspace":"commerce","table":"customers",
        "shard":"-80","vgtid":"[{\"keyspace\":\"commerce\"}]"}"#,
        ["vitess", "", "", "customers"],
        &[("shard", Some("-80")), ("snapshot", None)],
    ),
];

#[test]
fn the_source_of_every_connector_is_read() {
    for (source, names, details) in SOURCES {
        let value = format!(
            r#"{{"op":"u","ts_ms":"1580390884336","before":null,"after":{{"id":1}},"source":{source},
            "transaction":{{"id":"a","total_order":"1","data_collection_order":"1"}}}}"#
        );
        let run = Run::of_records("t", &[(Some(r#"{"id":1}"#), Some(&value))]);
        assert_eq!(run.reasons(), [""; 0], "{source}");
        let change = run.changes()[0];
        assert_eq!(change.names(), names);
        assert_eq!(change.change.committed_at_us, Some(1_580_390_884_335_000));
        assert_eq!(change.change.captured_at_us, Some(1_580_390_884_336_000));
        for (name, expected) in details {
            assert_eq!(change.detail(name).as_deref(), *expected, "{name} of {names:?}");
        }
    }
}

#[test]
fn an_absent_row_is_as_good_as_a_null_one() {
    let with = |op: &str, rows: &str| {
        let value = format!(r#"{{"op":"{op}",{rows}"source":{{"connector":"mysql","table":"t"}}}}"#);
        let run = Run::of_values(&[&value]);
        let found = run
            .changes()
            .first()
            .map(|change| (change.change.before.is_some(), change.change.after.is_some()));
        found.ok_or_else(|| run.reasons()[0].to_owned())
    };
    assert_eq!(with("c", r#""after":{"id":1},"#), Ok((false, true)));
    assert_eq!(with("d", r#""before":{"id":1},"#), Ok((true, false)));
    assert_eq!(with("t", ""), Ok((false, false)));
    assert_eq!(with("u", ""), Err("op u without `after`: nothing says which row".into()));
}

#[test]
fn a_placeholder_of_the_connectors_own_is_known_and_the_default_is_a_value_then() {
    let event = |after: &str| {
        format!(r#"{{"op":"u","after":{after},"source":{{"connector":"postgresql","table":"t"}}}}"#)
    };
    let values = [
        event(r#"{"a":"x","b":"y","c":[1],"d":"__debezium_unavailable_value"}"#),
        event(r#"{"a":"n/a","b":"bi9h","c":[110,47,97],"d":"n/a!"}"#),
        event(r#"{"a":"6e2f61","b":["n/a"],"c":["n/a","n/a"],"d":{"n/a":"n/a"}}"#),
    ];
    let placeholder = crate::debezium::placeholder::Placeholder::parse("n/a").unwrap();
    let mut run = Run::with(Options { placeholder, ..Options::default() });
    run.decode(batch("t", &values.iter().map(|value| (None::<&str>, Some(value))).collect::<Vec<_>>()));
    let changes = run.changes();
    assert_eq!(changes[0].after("d"), text("__debezium_unavailable_value"));
    let unavailable =
        |row: usize| ["a", "b", "c", "d"].map(|name| changes[row].after(name) == Value::Unavailable);
    assert_eq!(unavailable(0), [false; 4]);
    assert_eq!(unavailable(1), [true, true, true, false]);
    assert_eq!(unavailable(2), [true, true, false, true]);
    // The rows' bytes stay as they came: only the cells are empty.
    assert_eq!(
        run.batches[0].0.records[1].value.map(|span| span.of(&run.batches[0].0.arena)),
        Some(values[1].as_bytes())
    );
}

fn hinted(hints: &[(&str, &str)], values: &[&str]) -> Run {
    let mut options = Options::default();
    for (name, ty) in hints {
        options.hints.add(name, ty).unwrap();
    }
    let mut run = Run::with(options);
    run.decode(batch("t", &values.iter().map(|value| (None::<&str>, Some(*value))).collect::<Vec<_>>()));
    run
}

#[test]
fn a_hint_says_what_a_schema_would() {
    let event = |after: &str| {
        format!(
            r#"{{"op":"u","after":{after},"source":{{"connector":"postgresql","schema":"s","table":"t"}}}}"#
        )
    };
    let values = [
        event(
            r#"{"id":1,"at":null,"price":"MDk=","day":19782,"raw":"dead","big":-1,"flags":"qg==","list":["MDk="]}"#,
        ),
        event(
            r#"{"id":2,"at":1000001,"price":"__debezium_unavailable_value","day":-2147472692,"raw":null,"big":1,"flags":"","list":null}"#,
        ),
        event(r#"{"id":3,"at":"soon","price":12.5,"day":1.5,"raw":"0","big":2.5,"flags":7,"list":{}}"#),
    ];
    let hints = [
        ("*.at", "timestamp(micros)"),
        ("price", "decimal(10,2) base64"),
        ("day", "date"),
        ("raw", "bytes hex"),
        ("big", "uint64"),
        ("flags", "bits(8)"),
        ("s.t.list", "array(decimal(10,2) base64)"),
        ("id", "int16"),
    ];
    let run = hinted(&hints, &values.each_ref().map(String::as_str));
    let changes = run.changes();
    // Whatever the values look like, the columns are what the hints say.
    assert_eq!(changes.iter().map(|change| change.change.shape).collect::<Vec<_>>(), [0, 0, 0]);
    let wire = Wire::Decimal { scale: 2, precision: Some(10) };
    for (column, first, second) in [
        ("id", int(1), int(2)),
        ("at", Value::Null, Value::Timestamp { seconds: 1, nanos: 1_000 }),
        ("price", Value::Decimal("123.45".into()), Value::Unavailable),
        ("day", Value::Date(19_782), Value::Infinite { negative: false }),
        ("raw", Value::Bytes(vec![0xde, 0xad].into()), Value::Null),
        ("big", Value::Decimal("18446744073709551615".into()), Value::Decimal("1".into())),
        ("flags", Value::Bytes(vec![0xaa].into()), Value::Bytes(vec![].into())),
        ("list", Value::Array(r#"["MDk="]"#, &wire), Value::Null),
    ] {
        assert_eq!((changes[0].after(column), changes[1].after(column)), (first, second), "{column}");
        let field = changes[2].shape().fields.iter().position(|field| field.name == column).unwrap();
        let span = changes[2].decoded.cells[changes[2].change.after.unwrap() as usize + field];
        let json = str::from_utf8(span.of(&changes[2].batch.arena)).unwrap();
        let fits = ["id", "price"].contains(&column);
        assert_eq!(decode(&changes[2].shape().fields[field].wire, json).is_ok(), fits, "{column}");
    }
    let semantic = |column: &str| {
        changes[0].shape().fields.iter().find(|field| field.name == column).unwrap().semantic.as_str()
    };
    assert_eq!((semantic("at"), semantic("raw")), ("io.debezium.time.MicroTimestamp", ""));
}

#[test]
fn a_hint_completes_a_schema_and_never_contradicts_it() {
    let schema = r#"{"type":"struct","fields":[{"field":"after","type":"struct","fields":[
        {"field":"raw","type":"string"},{"field":"at","type":"int64","name":"io.debezium.time.MicroTimestamp"}]}]}"#;
    let payload = r#"{"op":"c","after":{"raw":"ff","at":1000000},"source":{"table":"t"}}"#;
    let value = format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
    let run = hinted(&[("*", "bytes hex")], &[&value]);
    assert_eq!(run.changes()[0].after("raw"), Value::Bytes(vec![0xff].into()));
    assert_eq!(run.changes()[0].after("at"), Value::Timestamp { seconds: 1, nanos: 0 });
}
