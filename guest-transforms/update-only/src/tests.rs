use rowgate_transform::testing::{Change, Run, TableBuilder, Value, run};

use super::*;
use rowgate_transform::Kind;

fn events() -> Table {
    TableBuilder::new("events")
        .without_schema()
        .column("id", Kind::Int)
        .column("created_at", Kind::Int)
        .column("updated_at", Kind::Text)
        .column("note", Kind::Text)
        .build()
}

fn event(id: i64, created_at: impl Into<Value>, updated_at: impl Into<Value>) -> Change {
    Change::update([id.into(), created_at.into(), updated_at.into(), "x".into()])
}

fn times(run: &Run) -> Vec<(Value, Value)> {
    let value = |row: &rowgate_transform::testing::OutputRow, name| row.get(name).unwrap().clone();
    run.rows.iter().map(|row| (value(row, "created_at"), value(row, "updated_at"))).collect()
}

#[test]
fn only_updates_are_kept() {
    let row = || [1.into(), 0.into(), "2024-01-01".into(), "x".into()];
    let changes = [Change::create(row()), Change::update(row()), Change::delete(row()), Change::read(row())];
    let run = run::<UpdateOnly>(&[], &events(), &changes).unwrap();
    assert_eq!(run.rows.iter().map(|row| row.change).collect::<Vec<_>>(), [1]);
    assert_eq!(run.rows[0].get("op"), Some(&"u".into()));
}

#[test]
fn without_a_schema_numbers_and_texts_become_times() {
    let second = 1_700_000_000;
    let micros = second * 1_000_000;
    let changes = [
        event(1, second, "2023-11-14T22:13:20Z"),
        event(2, second * 1_000, "2023-11-14 22:13:20"),
        event(3, micros, "2023-11-14T23:13:20+01:00"),
        event(4, micros * 1_000, "2023-11-14T22:13:20.000000000"),
    ];
    let run = run::<UpdateOnly>(&[], &events(), &changes).unwrap();
    let time = Value::Timestamp(micros);
    assert_eq!(times(&run), vec![(time.clone(), time); 4]);
    let names: Vec<_> = run.rows[0].values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "created_at", "updated_at", "note", "op"]);
    assert_eq!(run.rows[0].get("note"), Some(&"x".into()));
}

#[test]
fn times_are_datetime64_in_utc() {
    use rowgate_transform::bindings::rowgate::transform::types::Origin;
    let run = run::<UpdateOnly>(&[], &events(), &[]).unwrap();
    let types: Vec<_> = run.plan.outputs[0]
        .columns
        .iter()
        .filter_map(|column| match &column.origin {
            Origin::Computed(computed) => Some((column.name.as_str(), computed.target_type.as_deref())),
            _ => None,
        })
        .collect();
    // The usual type of a timestamp, Nullable where the column is.
    let expected = None;
    assert_eq!(types, [("created_at", expected), ("updated_at", expected)]);
}

#[test]
fn null_and_unavailable_pass() {
    let run = run::<UpdateOnly>(&[], &events(), &[event(1, Value::Null, Value::Unavailable)]).unwrap();
    assert_eq!(times(&run), [(Value::Null, Value::Unavailable)]);
}

#[test]
fn a_value_that_is_no_time_rejects_its_change_alone() {
    let changes = [event(1, 0, "soon"), event(2, 0, "2024-01-01"), event(3, 0, "2024-02-30")];
    let run = run::<UpdateOnly>(&[], &events(), &changes).unwrap();
    let reason = "updated_at: not a time: text that is not as ISO 8601 has it".to_owned();
    assert_eq!(run.rejects, [(0, reason.clone()), (2, reason)]);
    assert_eq!(run.rows.len(), 1);
}

#[test]
fn the_parameter_times_says_which_columns_are_times() {
    let changes = [event(1, 5, "2024-01-01")];
    let run = run::<UpdateOnly>(&[("times", "updated_at")], &events(), &changes).unwrap();
    assert_eq!(times(&run), [(Value::Int(5), Value::Timestamp(1_704_067_200_000_000))]);
}

#[test]
fn without_columns_of_times_the_host_does_it_alone() {
    let run = run::<UpdateOnly>(&[("times", "")], &events(), &[event(1, 5, "never")]).unwrap();
    assert!(!run.applied);
    assert_eq!(times(&run), [(Value::Int(5), "never".into())]);
}

#[test]
fn with_a_schema_every_column_is_copied() {
    let table = TableBuilder::new("typed")
        .key("id", Kind::Int)
        .column("created_at", Kind::Timestamp)
        .column("expires_at", Kind::Int)
        .build();
    let change = Change::update([1.into(), Value::Timestamp(7), 8.into()]);
    let run = run::<UpdateOnly>(&[], &table, &[change]).unwrap();
    assert!(!run.applied);
    let values =
        [("id", 1.into()), ("created_at", Value::Timestamp(7)), ("expires_at", 8.into()), ("op", "u".into())];
    assert_eq!(run.rows[0].values, values.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn columns_of_other_kinds_are_no_times() {
    let kinds = [Kind::Boolean, Kind::Float, Kind::Decimal, Kind::Json];
    let table =
        kinds.iter().enumerate().fold(TableBuilder::new("t").without_schema(), |table, (at, &kind)| {
            table.column(&format!("c{at}_at"), kind)
        });
    let run = run::<UpdateOnly>(&[], &table.build(), &[]).unwrap();
    assert!(run.plan.reads.is_empty());
}

#[test]
fn a_name_that_is_taken_is_given_another() {
    let names = [
        "op",
        "ts",
        "_topic",
        "_partition",
        "_offset",
        "_seq",
        "_transform",
        "_version",
        "_is_deleted",
        "source_ts",
        "Op",
    ];
    let table =
        names.iter().fold(TableBuilder::new("t"), |table, name| table.column(name, Kind::Int)).build();
    let run = run::<UpdateOnly>(&[], &table, &[]).unwrap();
    let columns: Vec<_> = run.plan.outputs[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        [
            "source_op",
            "source_source_ts",
            "source__topic",
            "source__partition",
            "source__offset",
            "source__seq",
            "source__transform",
            "source__version",
            "source__is_deleted",
            "source_ts",
            "Op",
            "op"
        ]
    );
}

#[test]
fn a_parameter_that_is_not_understood_is_refused() {
    let reason = |name, value| run::<UpdateOnly>(&[(name, value)], &events(), &[]).unwrap_err();
    assert_eq!(reason("units", "s"), "unknown parameter `units`: there are `times`, `unit`, `subsecond`");
    assert!(reason("unit", "").starts_with("parameter `unit` is ``: it must be"));
    assert!(reason("times", ",").starts_with("parameter `times` is `,`"));
}
