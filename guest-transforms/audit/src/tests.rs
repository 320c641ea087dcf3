use rowgate_transform::testing::{Change, OutputRow, Run, TableBuilder, Value, run};
use rowgate_transform::{Kind, Op};

use super::*;

/// `app.public.orders` of PostgreSQL.
fn orders() -> Table {
    TableBuilder::new("orders")
        .key("id", Kind::Int)
        .column("note", Kind::Text)
        .column("total", Kind::Decimal)
        .build()
}

fn order(id: i64, note: impl Into<Value>, total: &str) -> [Value; 3] {
    [id.into(), note.into(), Value::Decimal(total.to_owned())]
}

fn audit(params: &[(&str, &str)], changes: &[Change]) -> Run {
    run::<Audit>(params, &orders(), changes).unwrap()
}

fn text(row: &OutputRow, column: &str) -> Option<String> {
    match row.get(column).unwrap() {
        Value::Text(text) => Some(text.clone()),
        Value::Null => None,
        other => panic!("{other:?}"),
    }
}

/// `op column old -> new`, with `?` behind an old value that is not known.
fn lines(run: &Run) -> Vec<String> {
    assert!(run.rejects.is_empty(), "{:?}", run.rejects);
    let value = |row, column| text(row, column).unwrap_or("null".to_owned());
    let lines = run.rows.iter().map(|row| {
        let doubt = if row.get("old_known") == Some(&true.into()) { "" } else { "?" };
        let [op, column, old, new] = ["op", "column", "old", "new"].map(|column| value(row, column));
        format!("{op} {column} {old}{doubt} -> {new}")
    });
    lines.collect()
}

#[test]
fn a_row_says_where_and_when_and_by_whom() {
    let run = audit(&[("include", "note")], &[Change::create(order(7, "a", "1.50"))]);
    let [row] = run.rows.as_slice() else { panic!("{run:?}") };
    let expected = [
        ("table_schema", "public".into()),
        ("table_name", "orders".into()),
        ("key", "{\"id\":7}".into()),
        ("column", "note".into()),
        ("old", Value::Null),
        ("new", "a".into()),
        ("old_known", true.into()),
        ("op", "c".into()),
        ("committed_at", Value::Timestamp(1_700_000_000_000_000)),
    ];
    assert_eq!(row.values, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(row.target.as_deref(), Some("audit"));
}

#[test]
fn inserts_give_each_column_and_updates_those_that_differ() {
    let changes = [
        Change::create(order(1, Value::Null, "1.50")),
        Change::update(order(1, "x", "1.50")).before(order(1, Value::Null, "1.50")),
        Change::update(order(1, Value::Null, "2.00")).before(order(1, "x", "1.50")),
        Change::update(order(1, "y", "2.00")).before(order(1, "y", "2.00")),
        Change::read(order(2, "read", "0")),
    ];
    let expected = [
        "c id null -> 1",
        "c note null -> null",
        "c total null -> 1.50",
        "u note null -> x",
        "u note x -> null",
        "u total 1.50 -> 2.00",
    ];
    assert_eq!(lines(&audit(&[], &changes)), expected);
}

#[test]
fn an_update_without_the_row_before_gives_each_column_with_the_old_value_unknown() {
    let change = Change::update(order(1, "x", "1.50"));
    let expected = ["u id null? -> 1", "u note null? -> x", "u total null? -> 1.50"];
    assert_eq!(lines(&audit(&[], &[change])), expected);
}

#[test]
fn what_the_source_did_not_send_is_no_change() {
    let unavailable = || order(1, Value::Unavailable, "2.00");
    let changes = [
        Change::update(unavailable()).before(order(1, "x", "1.50")),
        Change::update(unavailable()),
        Change::update(order(1, "x", "1.50")).before(order(1, Value::Unavailable, "1.50")),
        Change::delete(unavailable()),
    ];
    let expected = [
        "u total 1.50 -> 2.00",
        "u id null? -> 1",
        "u total null? -> 2.00",
        "u note null? -> x",
        "d id 1 -> null",
        "d note null? -> null",
        "d total 2.00 -> null",
    ];
    assert_eq!(lines(&audit(&[("full_rows", "orders")], &changes)), expected);
}

#[test]
fn of_a_delete_the_old_values_are_known_where_whole_rows_are_sent() {
    let delete = || [Change::delete(order(1, "x", "1.50"))];
    let doubtful = ["d id 1 -> null", "d note x? -> null", "d total 1.50? -> null"];
    let certain = ["d id 1 -> null", "d note x -> null", "d total 1.50 -> null"];
    assert_eq!(lines(&audit(&[], &delete())), doubtful);
    assert_eq!(lines(&audit(&[("full_rows", "public.*")], &delete())), certain);
    assert_eq!(lines(&audit(&[("full_rows", "other.*")], &delete())), doubtful);
    let mut mysql = orders();
    mysql.connector = "mysql".to_owned();
    assert_eq!(lines(&run::<Audit>(&[], &mysql, &delete()).unwrap()), certain);
}

#[test]
fn a_delete_without_any_row_is_said_to_be_one() {
    let mut delete = Change::delete(order(1, "x", "1.50"));
    delete.before = None;
    let run = audit(&[("full_rows", "*"), ("include", "id,note")], &[delete]);
    assert_eq!(lines(&run), ["d id null? -> null", "d note null? -> null"]);
}

#[test]
fn a_table_without_a_key_is_watched_too() {
    let log = TableBuilder::new("log").column("line", Kind::Text).column("size", Kind::Int).build();
    let line = |text: &str, size: i64| [text.into(), size.into()];
    let changes = [
        Change::update(line("b", 1)).before(line("a", 1)),
        Change::update(line("b", 2)),
        // A row of nulls cannot be told from none.
        Change::update(line("b", 2)).before([Value::Null, Value::Null]),
    ];
    let run = run::<Audit>(&[], &log, &changes).unwrap();
    let expected =
        ["u line a -> b", "u line null? -> b", "u size null? -> 2", "u line null? -> b", "u size null? -> 2"];
    assert_eq!(lines(&run), expected);
    assert_eq!(text(&run.rows[0], "key"), None);
}

#[test]
fn the_row_before_is_seen_though_its_key_is_not_listed() {
    let change = Change::update(order(1, "x", "1.50")).before(order(1, Value::Null, "1.50"));
    assert_eq!(lines(&audit(&[("exclude", "id,total")], &[change])), ["u note null -> x"]);
}

#[test]
fn the_key_is_an_object_of_its_columns() {
    let key = |params: &[(&str, &str)]| {
        let run = audit(params, &[Change::create(order(7, "a \"b\"", "1.50"))]);
        text(&run.rows[0], "key").unwrap()
    };
    assert_eq!(key(&[("key", "total,id")]), r#"{"total":"1.50","id":7}"#);
    assert_eq!(key(&[("key.orders", "note")]), r#"{"note":"a \"b\""}"#);
}

#[test]
fn not_a_number_is_the_same_as_itself() {
    let table = TableBuilder::new("t").key("id", Kind::Int).column("x", Kind::Float).build();
    let row = |x: f64| [1.into(), Value::Float(x)];
    let changes =
        [Change::update(row(f64::NAN)).before(row(f64::NAN)), Change::update(row(0.5)).before(row(f64::NAN))];
    assert_eq!(lines(&run::<Audit>(&[], &table, &changes).unwrap()), ["u x NaN -> 0.5"]);
}

#[test]
fn a_change_of_more_columns_than_the_host_takes_is_rejected_alone() {
    let wide =
        (0..101).fold(TableBuilder::new("wide"), |table, at| table.column(&format!("c{at}"), Kind::Int));
    let wide = wide.build();
    let row = |number: i64| vec![Value::Int(number); 101];
    let mut last = row(1);
    last[100] = 2.into();
    let changes = [Change::create(row(1)), Change::update(last).before(row(1))];
    let run = run::<Audit>(&[], &wide, &changes).unwrap();
    let [(0, reason)] = run.rejects.as_slice() else { panic!("{:?}", run.rejects) };
    assert!(reason.starts_with("c100: more than 100 columns changed"), "{reason}");
    assert_eq!(run.rows.len(), 1);
}

#[test]
fn tables_are_chosen_and_the_target_is_named() {
    let targets = |params: &[(&str, &str)]| {
        let run = audit(params, &[]);
        run.plan.outputs.iter().map(|output| output.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&[("target", "_audit")]), [Some("_audit".to_owned())]);
    assert_eq!(targets(&[("exclude_tables", "orders")]), []);
}

#[test]
fn truncations_and_messages_are_none_of_its_business() {
    let mut truncate = Change::delete(order(1, "x", "1"));
    truncate.op = Op::Truncate;
    assert!(audit(&[], &[truncate]).rows.is_empty());
}

#[test]
fn a_shape_without_columns_is_left_out() {
    let truncation = TableBuilder::new("orders").build();
    assert!(run::<Audit>(&[("key", "id")], &truncation, &[]).unwrap().plan.outputs.is_empty());
}

#[test]
fn a_parameter_that_is_not_understood_is_refused() {
    let reason = |name, value| run::<Audit>(&[(name, value)], &orders(), &[]).unwrap_err();
    assert!(reason("rename", "a:b").starts_with("unknown parameter `rename`: there are `tables`"));
    assert_eq!(reason("target", " "), "parameter `target` is empty: it must be a table's name");
    assert!(reason("full_rows", ",").starts_with("parameter `full_rows` is `,`"));
    assert_eq!(reason("key", "x"), "parameter `key` names `x`, which table `orders` does not have");
}
