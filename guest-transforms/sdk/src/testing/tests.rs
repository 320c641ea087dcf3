use super::*;
use crate::{Cell, Params, Rule};

fn people() -> Table {
    TableBuilder::new("people").key("id", Kind::Int).column("name", Kind::Text).build()
}

fn person(id: i64, name: &str) -> [Value; 2] {
    [id.into(), name.into()]
}

/// Defines a transform by its rule for the table `people`.
macro_rules! transform {
    ($name:ident, $rule:expr) => {
        struct $name;

        impl Transform for $name {
            fn configure(params: &Params) -> Result<Self, String> {
                params.allow(&[])?;
                Ok($name)
            }

            fn prepare(&self, _: &Table) -> Result<Rule, String> {
                Ok($rule)
            }
        }
    };
}

transform!(Copies, {
    let mut rule = Rule::on(Ops::UPDATE | Ops::DELETE);
    rule.copy("id", Input::Latest(0));
    rule.copy("op", Input::Op);
    rule.copy("lsn", Input::Detail("lsn".to_owned()));
    rule.constant("from", "app");
    rule
});

#[test]
fn a_rule_without_a_closure_is_carried_out_without_the_transform() {
    let changes = [
        Change::create(person(1, "a")),
        Change::update(person(2, "b")).detail("lsn", "77"),
        Change::delete(person(3, "c")),
    ];
    let run = run::<Copies>(&[], &people(), &changes).unwrap();
    assert!(!run.applied);
    assert_eq!(run.rows.iter().map(|row| row.change).collect::<Vec<_>>(), [1, 2]);
    let expected = [("id", 2.into()), ("op", "u".into()), ("lsn", "77".into()), ("from", "app".into())];
    assert_eq!(run.rows[0].values, expected.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
    assert_eq!(run.rows[1].get("op"), Some(&"d".into()));
    assert_eq!(run.rows[1].get("lsn"), Some(&Value::Null));
}

transform!(Greets, {
    let mut rule = Rule::on(Ops::CREATE | Ops::UPDATE);
    let (id, name) = (rule.read(Input::After(0)), rule.read(Input::After(1)));
    rule.copy("id", Input::After(0));
    let greeting = rule.compute("greeting", Kind::Text);
    let double = rule.compute("double", Kind::Int);
    rule.each(move |row, out| {
        let Some(id) = row.get(id).as_int() else { return Err("id: not an integer".to_owned()) };
        if id == 13 {
            out.keep();
            return Err("id: unlucky".to_owned());
        }
        match row.get(name) {
            Cell::Text("") => return Ok(()),
            Cell::Text(name) => out.set(greeting, &format!("Hello {name}")),
            other => out.set(greeting, other),
        }
        out.set(double, 2 * id);
        out.keep();
        Ok(())
    })
});

#[test]
fn the_closure_keeps_filters_and_rejects() {
    let changes = [
        Change::update(person(1, "Ann")),
        Change::update(person(2, "")),
        Change::update(person(13, "Eve")),
        Change::update([4.into(), Value::Null]),
        Change::update([5.into(), Value::Unavailable]),
        Change::update(person(6, "Zoë")),
    ];
    let run = run::<Greets>(&[], &people(), &changes).unwrap();
    assert!(run.applied);
    assert_eq!(run.rejects, [(2, "id: unlucky".to_owned())]);
    let rows: Vec<_> = run
        .rows
        .iter()
        .map(|row| (row.change, row.get("greeting").unwrap().clone(), row.get("double").unwrap().clone()))
        .collect();
    assert_eq!(
        rows,
        [
            (0, "Hello Ann".into(), 2.into()),
            (3, Value::Null, 8.into()),
            (4, Value::Unavailable, 10.into()),
            (5, "Hello Zoë".into(), 12.into()),
        ]
    );
}

transform!(Twice, {
    let mut rule = Rule::on(Ops::UPDATE);
    let name = rule.read(Input::After(1));
    let copy = rule.compute("copy", Kind::Text);
    let number = rule.compute("number", Kind::Int);
    rule.each(move |row, out| {
        out.set(copy, row.get(name));
        out.set(number, 1);
        out.keep();
        out.set(number, 2);
        out.keep();
        out.set(copy, "third");
        out.keep();
        Ok(())
    })
});

#[test]
fn what_is_set_holds_for_each_row_kept_after_it() {
    let changes = [Change::update(person(1, "a")), Change::update([2.into(), Value::Null])];
    let run = run::<Twice>(&[], &people(), &changes).unwrap();
    let rows: Vec<_> = run.rows.iter().map(|row| (row.change, row.get("copy").unwrap().clone())).collect();
    let text = Value::from;
    assert_eq!(
        rows,
        [
            (0, text("a")),
            (0, text("a")),
            (0, text("third")),
            (1, Value::Null),
            (1, Value::Null),
            (1, text("third"))
        ]
    );
    let numbers: Vec<_> = run.rows.iter().map(|row| row.get("number").unwrap().clone()).collect();
    assert_eq!(numbers, [1, 2, 2, 1, 2, 2].map(Value::Int));
}

transform!(Drops, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("id", Input::After(0));
    rule.each(|_, _| Ok(()))
});

#[test]
fn a_closure_that_sees_nothing_still_decides() {
    let run = run::<Drops>(&[], &people(), &[Change::update(person(1, "a"))]).unwrap();
    assert!(run.applied && run.rows.is_empty() && run.rejects.is_empty());
}

transform!(Keyed, {
    let mut rule = Rule::on(Ops::UPDATE | Ops::DELETE);
    let name = rule.read(Input::Latest(1));
    rule.copy("id", Input::Latest(0));
    rule.key(&["id"]);
    let people = rule.this_output();
    let audit = rule.next_output("audit");
    rule.copy("op", Input::Op);
    rule.each(move |row, out| {
        out.keep_in(audit);
        if row.get(name) == Cell::Text("gone") {
            out.remove_in(people)
        } else {
            out.keep_in(people)
        }
        Ok(())
    })
});

#[test]
fn a_row_leaves_a_keyed_output_on_delete_or_on_demand() {
    let rows = |changes: &[Change]| -> Vec<(Option<String>, usize, bool)> {
        let run = run::<Keyed>(&[], &people(), changes).unwrap();
        run.rows.into_iter().map(|row| (row.target, row.change, row.removed)).collect()
    };
    let audit = || Some("audit".to_owned());
    let changes =
        [Change::update(person(1, "a")), Change::delete(person(2, "b")), Change::update(person(3, "gone"))];
    assert_eq!(
        rows(&changes),
        [
            (None, 0, false),
            (None, 1, true),
            (None, 2, true),
            (audit(), 0, false),
            (audit(), 1, false),
            (audit(), 2, false)
        ]
    );
    assert_eq!(rows(&changes[1..2]), [(None, 0, true), (audit(), 0, false)]);
}

transform!(RemovesFromLog, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("id", Input::After(0));
    rule.each(move |_, out| {
        out.remove();
        Ok(())
    })
});

transform!(Active, {
    let mut rule = Rule::on(Ops::UPDATE | Ops::DELETE);
    let name = rule.read(Input::Latest(1));
    rule.copy("id", Input::Latest(0));
    rule.key(&["id"]);
    rule.next_output("names");
    rule.copy("id", Input::Latest(0));
    let upper = rule.compute("upper", Kind::Text);
    rule.key(&["id"]);
    rule.each(move |row, out| {
        match row.get(name) {
            Cell::Text("gone") => out.remove(),
            name => {
                out.set(upper, name.as_str().map(str::to_uppercase).as_deref());
                out.keep();
            }
        }
        Ok(())
    })
});

#[test]
fn a_change_can_leave_every_keyed_output() {
    let changes =
        [Change::update(person(1, "a")), Change::update(person(2, "gone")), Change::delete(person(3, "b"))];
    let run = run::<Active>(&[], &people(), &changes).unwrap();
    let removed: Vec<_> = run.rows.iter().map(|row| (row.change, row.removed)).collect();
    assert_eq!(removed, [(0, false), (1, true), (2, true), (0, false), (1, true), (2, true)]);
    assert_eq!(run.rows[3].get("upper"), Some(&"A".into()));
    assert_eq!(run.rows[4].get("upper"), Some(&Value::Null));
}

#[test]
fn a_log_has_nothing_to_remove() {
    let run = run::<RemovesFromLog>(&[], &people(), &[Change::update(person(1, "a"))]).unwrap();
    assert_eq!(run.rejects, [(0, "the rule removes a row from an output without a key".to_owned())]);
}

transform!(Careless, {
    let mut rule = Rule::on(Ops::UPDATE);
    let id = rule.read(Input::After(0));
    let needed = rule.compute_required("needed", Kind::Timestamp);
    rule.typed(needed, "DateTime64(6, 'UTC')");
    rule.each(move |row, out| {
        match row.get(id) {
            Cell::Int(1) => out.set(needed, Cell::Timestamp(5)),
            Cell::Int(2) => out.set(needed, "soon"),
            Cell::Int(3) => out.set(needed, Cell::Null),
            _ => {}
        }
        out.keep();
        Ok(())
    })
});

#[test]
fn a_wrong_or_missing_value_rejects_its_change_alone() {
    let changes = [1, 2, 3, 4, 1].map(|id| Change::update(person(id, "")));
    let run = run::<Careless>(&[], &people(), &changes).unwrap();
    let missing = "needed: no value for a column that needs one".to_owned();
    let wrong = "needed: text given for a column of kind timestamp".to_owned();
    assert_eq!(run.rejects, [(1, wrong), (2, missing.clone()), (3, missing)]);
    assert_eq!(run.rows.iter().map(|row| row.change).collect::<Vec<_>>(), [0, 4]);
    let Origin::Computed(computed) = &run.plan.outputs[0].columns[0].origin else { panic!("not computed") };
    assert_eq!(computed.target_type.as_deref(), Some("DateTime64(6, 'UTC')"));
}

transform!(LeftOut, Rule::leave_out());

#[test]
fn a_table_can_be_left_out() {
    let run = run::<LeftOut>(&[], &people(), &[Change::update(person(1, "a"))]).unwrap();
    assert!(run.plan.outputs.is_empty() && run.rows.is_empty() && !run.applied);
}

transform!(OutOfRange, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("x", Input::Before(2));
    rule
});

transform!(NoClosure, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.compute("x", Kind::Int);
    rule
});

transform!(SameName, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("x", Input::After(0));
    rule.copy("x", Input::After(1));
    rule
});

transform!(NoColumns, Rule::on(Ops::UPDATE));

transform!(HostsName, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("_version", Input::After(0));
    rule
});

transform!(KeyTwice, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("id", Input::After(0));
    rule.key(&["id", "id"]);
    rule
});

transform!(NoSuchKey, {
    let mut rule = Rule::on(Ops::UPDATE);
    rule.copy("id", Input::After(0));
    rule.key(&["uid"]);
    rule
});

#[test]
fn an_output_that_the_host_would_refuse_is_refused() {
    let reason = |result: Result<Run, String>| result.unwrap_err();
    assert_eq!(reason(run::<NoColumns>(&[], &people(), &[])), "an output has no columns");
    assert_eq!(
        reason(run::<HostsName>(&[], &people(), &[])),
        "an output has the column `_version`, which the host writes itself"
    );
    assert_eq!(reason(run::<KeyTwice>(&[], &people(), &[])), "an output has the key `id` twice");
    assert_eq!(
        reason(run::<NoSuchKey>(&[], &people(), &[])),
        "an output has the key `uid`, which is no column of it"
    );
}

#[test]
fn a_rule_that_cannot_be_carried_out_is_refused() {
    let reason = |result: Result<Run, String>| result.unwrap_err();
    assert_eq!(
        reason(run::<OutOfRange>(&[], &people(), &[])),
        "the rule refers to field 2 of table `people`, which has 2"
    );
    assert_eq!(
        reason(run::<NoClosure>(&[], &people(), &[])),
        "column `x` is computed, but the rule has no closure"
    );
    assert_eq!(reason(run::<SameName>(&[], &people(), &[])), "an output has the column `x` twice");
    assert_eq!(
        reason(run::<LeftOut>(&[("a", "b")], &people(), &[])),
        "unknown parameter `a`: this transform has none"
    );
}

#[test]
fn an_instance_refuses_what_it_does_not_know() {
    let mut instance = Instance::<Copies>::new();
    assert_eq!(instance.prepare(&people()), Err("the transform is not configured".to_owned()));
    instance.configure(Vec::new()).unwrap();
    let batch = crate::Batch { table: 9, rows: 0, columns: Vec::new() };
    assert_eq!(
        instance.apply(&batch),
        Err("the host sent a batch of table 9, which is not prepared".to_owned())
    );
}

transform!(EveryKind, {
    let kinds = [
        Kind::Boolean,
        Kind::Int,
        Kind::Float,
        Kind::Decimal,
        Kind::Text,
        Kind::Json,
        Kind::Bytes,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
    ];
    let mut rule = Rule::on(Ops::UPDATE);
    let pairs: Vec<_> = kinds
        .into_iter()
        .zip(0..)
        .map(|(kind, at)| (rule.read(Input::After(at)), rule.compute(&format!("c{at}"), kind)))
        .collect();
    rule.each(move |row, out| {
        for &(from, to) in &pairs {
            out.set(to, row.get(from));
        }
        out.keep();
        Ok(())
    })
});

#[test]
fn every_kind_passes_unchanged() {
    let values = vec![
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Float(-0.5),
        Value::Decimal("-12.50".to_owned()),
        Value::Text("ünï".to_owned()),
        Value::Json("[1]".to_owned()),
        Value::Bytes(vec![0, 255, 128]),
        Value::Date(-1),
        Value::Time(86_399_999_999),
        Value::Timestamp(i64::MAX),
    ];
    let kinds = [
        Kind::Boolean,
        Kind::Int,
        Kind::Float,
        Kind::Decimal,
        Kind::Text,
        Kind::Json,
        Kind::Bytes,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
    ];
    let table = kinds
        .iter()
        .enumerate()
        .fold(TableBuilder::new("all"), |table, (at, &kind)| table.column(&format!("c{at}"), kind));
    let table = table.build();
    let nulls = vec![Value::Null; kinds.len()];
    let changes =
        [Change::update(values.clone()), Change::update(nulls.clone()), Change::update(values.clone())];
    let run = run::<EveryKind>(&[], &table, &changes).unwrap();
    let rows: Vec<Vec<Value>> =
        run.rows.into_iter().map(|row| row.values.into_iter().map(|(_, value)| value).collect()).collect();
    assert_eq!(rows, [values.clone(), nulls, values]);
}
