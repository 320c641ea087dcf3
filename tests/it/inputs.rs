//! Records of every form, from a file to rows: what the events say is in the rows, whatever form they take.

use serde_json::Value;

use crate::support::{Ended, Host};

/// Passes lines through `all_changes`, with these flags.
fn through(lines: &[&str], flags: &[&str]) -> Ended {
    let host = Host::new().args(["--input", "-", "--output", "-"]).transform("all_changes");
    host.args(flags.iter().copied()).input(lines.join("\n")).succeed()
}

/// These members of each row.
fn rows(ended: &Ended, names: &[&str]) -> Vec<String> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("rows are JSON");
        let values: Vec<String> = names.iter().map(|name| row[name].to_string()).collect();
        values.join(" ")
    };
    ended.out.lines().map(row).collect()
}

/// The reasons of the dead letters.
fn letters(ended: &Ended) -> Vec<String> {
    let text = std::fs::read_to_string(ended.folder.join("dead-letters.ndjson")).unwrap_or_default();
    let reason = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("letters are JSON");
        letter["reason"].as_str().expect("text").to_owned()
    };
    text.lines().map(reason).collect()
}

#[test]
fn flattened_rows_become_rows_with_their_op_and_table() {
    let lines = [
        r#"{"topic":"s.p.orders","key":{"id":1},"payload":{"id":1,"name":"a","__op":"c","__source_ts_ms":1000}}"#,
        r#"{"topic":"s.p.orders","key":{"id":1},"payload":{"id":1,"name":"b","__op":"u","__source_ts_ms":2000}}"#,
        r#"{"topic":"s.p.orders","key":{"id":1},"payload":{"id":1,"name":null,"__deleted":"true"}}"#,
        r#"{"topic":"s.p.orders","key":{"id":1},"payload":null}"#,
        r#"{"topic":"s.p.other","key":{"id":7},"payload":{"id":7}}"#,
    ];
    let ended = through(&lines, &[]);
    assert_eq!(
        rows(&ended, &["_table", "op", "id"]),
        [r#""orders" "c" 1"#, r#""orders" "u" 1"#, r#""orders" "d" 1"#, r#""other" "r" 7"#]
    );
    assert!(!ended.out.contains("__"), "{}", ended.out);
    let warned = ended.err.lines().filter(|line| line.contains("add.fields=op")).count();
    assert_eq!(warned, 1, "{ended:?}");
    assert_eq!((ended.counters().kept, ended.counters().filtered), (4, 1));
}

#[test]
fn a_tombstone_is_a_delete_and_an_op_stands_in_a_header_where_the_settings_say_so() {
    let lines = [
        r#"{"topic":"s.p.t","key":"{\"id\":1}","headers":["__op","u","x","y"],"payload":"{\"id\":1,\"name\":\"a\"}"}"#,
        r#"{"topic":"s.p.t","key":"{\"id\":1}","payload":null}"#,
    ];
    let ended = through(&lines, &["--tombstones", "delete", "--flattened-headers"]);
    assert_eq!(rows(&ended, &["op", "id"]), [r#""u" 1"#]);
    // What a delete does not send is in no row: the name is unavailable.
    assert!(letters(&ended)[0].contains("column `name`"), "{:?}", letters(&ended));
    let plain = through(&lines, &[]);
    assert_eq!(rows(&plain, &["op", "id"]), [r#""r" 1"#]);
}

#[test]
fn a_cloudevent_becomes_a_row() {
    let event = r#"{"id":"n","source":"/debezium/postgresql/s","specversion":"1.0",
        "type":"io.debezium.connector.postgresql.DataChangeEvent","time":"2020-01-13T13:55:39.738Z",
        "datacontenttype":"application/json","iodebeziumop":"u","iodebeziumtable":"a","iodebeziumconnector":"postgresql",
        "iodebeziumtsms":"1578923739738","data":{"before":null,"after":{"pk":1,"name":"Bob"}}}"#
        .replace('\n', "");
    let avro = event.replace(r#"{"before":null,"after":{"pk":1,"name":"Bob"}}"#, "\"AAAAAAE=\"");
    let ended = through(&[&event, &avro], &[]);
    assert_eq!(rows(&ended, &["_table", "op", "pk", "name"]), [r#""a" "u" 1 "Bob""#]);
    assert!(letters(&ended)[0].contains("base64 or avro"), "{:?}", letters(&ended));
}

#[test]
fn a_document_of_mongodb_becomes_a_row() {
    let lines = [
        r#"{"topic":"m.d.c","key":{"id":"{\"$oid\":\"a\"}"},"payload":{"op":"c","after":"{\"_id\":{\"$oid\":\"a\"},\"n\":1}","source":{"connector":"mongodb","db":"d","collection":"c","ts_ms":1}}}"#,
        r#"{"topic":"m.d.c","key":{"id":"{\"$oid\":\"a\"}"},"payload":{"op":"u","after":null,"source":{"connector":"mongodb","db":"d","collection":"c","ts_ms":1}}}"#,
    ];
    let ended = through(&lines, &[]);
    assert_eq!(
        rows(&ended, &["_table", "op", "_id", "document"]),
        [r#""c" "c" "{\"$oid\":\"a\"}" "{\"_id\":{\"$oid\":\"a\"},\"n\":1}""#]
    );
    assert!(letters(&ended)[0].contains("column `document`"), "{:?}", letters(&ended));
}

#[test]
fn hints_give_a_schemaless_column_its_type_and_a_wrong_one_is_named() {
    let event = |after: &str| {
        format!(
            r#"{{"op":"u","after":{after},"source":{{"connector":"postgresql","schema":"p","table":"t"}}}}"#
        )
    };
    let good = event(r#"{"id":1,"seen":1704067200123456,"price":"MDk=","born":19782}"#);
    let bad = event(r#"{"id":2,"seen":"soon","price":"MDk=","born":19782}"#);
    let hints = [
        "--column",
        "seen=timestamp(micros)",
        "--column",
        "t.price=decimal(10,2) base64",
        "--column",
        "b*=date",
    ];
    let ended = through(&[&good, &bad], &hints);
    assert_eq!(
        rows(&ended, &["seen", "price", "born"]),
        [r#""2024-01-01 00:00:00.123456" 123.45 "2024-02-29""#]
    );
    assert!(letters(&ended)[0].contains("column `seen`"), "{:?}", letters(&ended));

    let others = event(
        r#"{"big":-1,"raw":"ff","cost":"-12.50","day":{"year":2024,"month":2,"day":29},"list":["1.5"]}"#,
    );
    let hints = [
        "--column",
        "big=uint64",
        "--column",
        "raw=bytes hex",
        "--column",
        "cost=decimal(10,2)",
        "--column",
        "list=array(decimal)",
    ];
    let ended = through(&[&others], &hints);
    assert_eq!(
        rows(&ended, &["big", "raw", "cost", "day", "list"]),
        [r#"18446744073709551615 "\\xFF" -12.5 "{\"year\":2024,\"month\":2,\"day\":29}" "[\"1.5\"]""#]
    );

    let guessed = through(&[&good], &[]);
    let said: Vec<&str> = guessed.err.lines().filter(|line| line.contains("--column")).collect();
    assert_eq!(said.len(), 1, "{guessed:?}");
    assert!(
        said[0].contains("seen: timestamp(micros)") && said[0].contains("price: bytes, or decimal"),
        "{said:?}"
    );

    let wrong =
        Host::new().args(["--input", "-", "--output", "-", "--column", "seen=timestamp"]).input("").run();
    wrong.fails(2, &["--column", "`seen`", "timestamp(millis), timestamp(micros) or timestamp(nanos)"]);
}

#[test]
fn a_placeholder_of_the_connectors_own_is_never_a_value() {
    let event = r#"{"op":"u","after":{"id":1,"big":"n/a"},"source":{"connector":"postgresql","table":"t"}}"#;
    let ended = through(&[event], &["--unavailable-placeholder", "n/a"]);
    assert!(ended.out.is_empty() && letters(&ended)[0].contains("column `big`"), "{ended:?}");
    assert_eq!(rows(&through(&[event], &[]), &["big"]), ["\"n/a\""]);
}
