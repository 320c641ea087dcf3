use std::collections::BTreeMap;

use rowgate_transform::testing::{Change, Run, TableBuilder, Value, run};
use rowgate_transform::{Kind, Op};

use super::*;

/// `app.public.orders`.
fn orders() -> Table {
    TableBuilder::new("orders")
        .key("id", Kind::Int)
        .column("note", Kind::Text)
        .column("paid_at", Kind::Timestamp)
        .build()
}

fn order(id: i64, note: &str) -> [Value; 3] {
    [id.into(), note.into(), Value::Null]
}

fn mirror(params: &[(&str, &str)], table: &Table) -> Result<Run, String> {
    run::<Mirror>(params, table, &[])
}

fn columns(params: &[(&str, &str)], table: &Table) -> Vec<String> {
    let run = mirror(params, table).unwrap();
    run.plan.outputs[0].columns.iter().map(|column| column.name.clone()).collect()
}

#[test]
fn the_newest_row_of_each_key_remains() {
    let mut truncate = Change::delete(order(0, ""));
    truncate.op = Op::Truncate;
    let changes = [
        Change::read(order(1, "read")),
        Change::create(order(2, "created")),
        Change::update(order(1, "updated")),
        Change::create(order(3, "gone")),
        Change::delete([3.into(), Value::Null, Value::Null]),
        truncate,
    ];
    let run = run::<Mirror>(&[], &orders(), &changes).unwrap();
    assert!(!run.applied, "the host does it alone");
    assert_eq!(run.rows.len(), 5, "a truncation is no row");
    let mut copy = BTreeMap::new();
    for row in &run.rows {
        let Some(Value::Int(id)) = row.get("id") else { panic!("{row:?}") };
        match row.removed {
            true => copy.remove(id),
            false => copy.insert(*id, row.get("note").unwrap().clone()),
        };
    }
    assert_eq!(copy, BTreeMap::from([(1, "updated".into()), (2, "created".into())]));
}

#[test]
fn without_parameters_every_column_is_copied_under_its_name() {
    let run = mirror(&[], &orders()).unwrap();
    let [output] = run.plan.outputs.as_slice() else { panic!("{:?}", run.plan) };
    assert_eq!(output.target, None);
    assert_eq!(output.key, ["id"]);
    assert_eq!(columns(&[], &orders()), ["id", "note", "paid_at"]);
    assert!(run.plan.reads.is_empty());
}

#[test]
fn an_unavailable_value_stays_unavailable() {
    let change = Change::update([1.into(), Value::Unavailable, Value::Null]);
    let run = run::<Mirror>(&[], &orders(), &[change]).unwrap();
    assert_eq!(run.rows[0].get("note"), Some(&Value::Unavailable));
}

#[test]
fn columns_are_chosen_and_renamed() {
    let chosen = |params: &[(&str, &str)]| columns(params, &orders());
    assert_eq!(chosen(&[("include", "id,orders.note")]), ["id", "note"]);
    assert_eq!(chosen(&[("exclude", "*_at")]), ["id", "note"]);
    assert_eq!(chosen(&[("exclude", "customers.*")]), ["id", "note", "paid_at"]);
    assert_eq!(chosen(&[("rename", "note:remark, customers.id:cid")]), ["id", "remark", "paid_at"]);
    assert_eq!(
        chosen(&[("rename", "note:a,orders.note:b,public.orders.note:c,orders.paid_at:note")]),
        ["id", "c", "note"]
    );
    // The name of a column that is left out is free.
    assert_eq!(chosen(&[("exclude", "note"), ("rename", "paid_at:note")]), ["id", "note"]);
}

#[test]
fn a_renamed_key_is_the_key_under_its_new_name() {
    let run = mirror(&[("rename", "id:order_id")], &orders()).unwrap();
    assert_eq!(run.plan.outputs[0].key, ["order_id"]);
}

#[test]
fn the_key_can_be_given() {
    let key = |params: &[(&str, &str)]| mirror(params, &orders()).unwrap().plan.outputs[0].key.clone();
    assert_eq!(key(&[("key", "note")]), ["note"]);
    assert_eq!(key(&[("key", "id"), ("key.orders", "note,id")]), ["note", "id"]);
    let run = mirror(&[("key.orders", "uid")], &orders());
    assert_eq!(run.unwrap_err(), "parameter `key.orders` names `uid`, which table `orders` does not have");
}

#[test]
fn a_table_without_a_key_is_refused_with_the_ways_out() {
    let log = TableBuilder::new("log").column("line", Kind::Text).build();
    let reason = mirror(&[], &log).unwrap_err();
    assert!(reason.starts_with("table `public.log` has no key"), "{reason}");
    for way in ["a primary key", "a replica identity", "`key.log`", "`all_changes`"] {
        assert!(reason.contains(way), "{reason}");
    }
    assert_eq!(mirror(&[("key.log", "line")], &log).unwrap().plan.outputs[0].key, ["line"]);
    assert!(mirror(&[("exclude_tables", "log")], &log).unwrap().plan.outputs.is_empty());
}

#[test]
fn a_shape_without_columns_is_left_out() {
    let truncation = TableBuilder::new("orders").build();
    assert!(mirror(&[("key", "id")], &truncation).unwrap().plan.outputs.is_empty());
}

#[test]
fn a_column_of_the_key_cannot_be_left_out() {
    for parameter in ["include", "exclude"] {
        let value = if parameter == "include" { "note" } else { "i*" };
        assert_eq!(
            mirror(&[(parameter, value)], &orders()).unwrap_err(),
            format!("parameter `{parameter}` leaves out column `id`, which is in the key of table `orders`")
        );
    }
    let other_key = [("exclude", "id"), ("key", "note")];
    assert_eq!(columns(&other_key, &orders()), ["note", "paid_at"]);
}

#[test]
fn two_columns_of_one_name_are_refused() {
    for value in ["note:id", "note:x,paid_at:x"] {
        let reason = mirror(&[("rename", value)], &orders()).unwrap_err();
        assert!(reason.starts_with("parameter `rename` gives table `orders` two columns called"), "{reason}");
    }
    // Two that change places are none.
    assert_eq!(columns(&[("rename", "note:paid_at,paid_at:note")], &orders()), ["id", "paid_at", "note"]);
}

#[test]
fn the_names_of_the_hosts_columns_are_given_up() {
    let names = ["op", "ts", "_version", "_is_deleted", "_seq", "source__seq"];
    let table = names
        .iter()
        .fold(TableBuilder::new("t").key("_offset", Kind::Int), |table, name| table.column(name, Kind::Int));
    let table = table.build();
    let expected = [
        "source__offset",
        "op",
        "ts",
        "source__version",
        "source__is_deleted",
        "source_source__seq",
        "source__seq",
    ];
    assert_eq!(columns(&[], &table), expected);
    assert_eq!(mirror(&[], &table).unwrap().plan.outputs[0].key, ["source__offset"]);
    assert_eq!(columns(&[("rename", "_seq:number")], &table)[5], "number");
}

#[test]
fn the_target_is_made_of_the_sources_names() {
    let target =
        |value| mirror(&[("target", value)], &orders()).map(|run| run.plan.outputs[0].target.clone());
    assert_eq!(target("{database}.{schema}_{table}"), Ok(Some("app.public_orders".to_owned())));
    assert_eq!(target("all {table}s"), Ok(Some("all orderss".to_owned())));
    for wrong in ["", "{tabel}", "{table", "table}", "{}"] {
        let reason = target(wrong).unwrap_err();
        assert!(reason.starts_with(&format!("parameter `target` is `{wrong}`: it must be")), "{reason}");
    }
}

#[test]
fn a_parameter_that_is_not_understood_is_refused() {
    let reason = |name, value| mirror(&[(name, value)], &orders()).unwrap_err();
    assert_eq!(
        reason("times", "x"),
        "unknown parameter `times`: there are `tables`, `exclude_tables`, `include`, `exclude`, `rename`, `key`, \
         `target`, `key.<table>`"
    );
    assert!(reason("rename", "note").starts_with("parameter `rename` has `note`: it must be"));
    assert!(reason("rename", "note:,").starts_with("parameter `rename` has `note:`: it must be"));
    assert_eq!(reason("rename", "note:a,note:b"), "parameter `rename` renames `note` twice");
    assert_eq!(
        reason("rename", "note:_version"),
        "parameter `rename` calls a column `_version`, which is a column that the host writes itself"
    );
    assert!(reason("exclude", "a,,b").starts_with("parameter `exclude` is `a,,b`"));
}
