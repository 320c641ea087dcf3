//! What is done with each change of one table.

use rowgate_transform::{Cell, Computed, Input, Kind, Op, Ops, Out, Read, Row, Rule, Table};

use crate::text;

/// Rows that the host lets a change have, where each change of a batch has as many.
const MAX_ROWS: usize = 100;

/// A column that is watched.
struct Listed {
    name: String,
    before: Read,
    after: Read,
    /// Whether a delete has its value for certain.
    in_deletes: bool,
}

/// The columns of the output that are filled in here.
struct Filled {
    key: Computed,
    column: Computed,
    old: Computed,
    new: Computed,
    old_known: Computed,
}

/// What one change says of one column.
struct Difference<'a> {
    old: Cell<'a>,
    new: Cell<'a>,
    old_known: bool,
}

/// The rule for a table: fields are indices into `table.fields`.
pub(crate) fn of(table: &Table, target: &str, key: &[u32], listed: &[u32], has_full_rows: bool) -> Rule {
    let mut rule = Rule::on(Ops::CREATE | Ops::UPDATE | Ops::DELETE);
    rule.target(target);
    let filled = columns(&mut rule, table);

    let op = rule.read(Input::Op);
    let witnesses = witnesses(&mut rule, table);
    let named = |at: u32| table.fields.get(at as usize).map(|field| (field, at));
    let mut listed_of = Vec::new();
    for (field, at) in listed.iter().filter_map(|&at| named(at)) {
        let (before, after) = (rule.read(Input::Before(at)), rule.read(Input::After(at)));
        let in_deletes = has_full_rows || field.key;
        listed_of.push(Listed { name: field.name.clone(), before, after, in_deletes });
    }
    let key = key.iter().filter_map(|&at| named(at));
    let key: Vec<(String, Read)> =
        key.map(|(field, at)| (field.name.clone(), rule.read(Input::Latest(at)))).collect();

    rule.each(move |row, out| {
        let op = row.get(op);
        let has_before = witnesses.iter().any(|&read| !row.get(read).is_null());
        out.set(filled.key, key_text(row, &key).as_deref());
        let mut rows = 0;
        for column in &listed_of {
            let Some(difference) = difference(row, column, op, has_before) else { continue };
            rows += 1;
            if rows > MAX_ROWS {
                return Err(format!(
                    "{}: more than {MAX_ROWS} columns changed, and a change can have no more rows: leave some out",
                    column.name
                ));
            }
            keep(out, &filled, &column.name, &difference);
        }
        Ok(())
    })
}

/// The columns of the output.
fn columns(rule: &mut Rule, table: &Table) -> Filled {
    rule.constant("table_schema", if table.schema.is_empty() { &table.database } else { &table.schema });
    rule.constant("table_name", &table.name);
    let key = rule.compute("key", Kind::Text);
    let column = rule.compute_required("column", Kind::Text);
    let old = rule.compute("old", Kind::Text);
    let new = rule.compute("new", Kind::Text);
    let old_known = rule.compute_required("old_known", Kind::Boolean);
    rule.copy("op", Input::Op);
    rule.copy("committed_at", Input::CommittedAt);
    Filled { key, column, old, new, old_known }
}

/// Values of the row before the change, of which one at least is not null if there is such a row: a column that
/// cannot be null, or else all. So a row of nulls alone counts as not sent.
fn witnesses(rule: &mut Rule, table: &Table) -> Vec<Read> {
    let fields = || table.fields.iter().zip(0..);
    match fields().find(|(field, _)| field.key || !field.nullable) {
        Some((_, at)) => vec![rule.read(Input::Before(at))],
        None => fields().map(|(_, at)| rule.read(Input::Before(at))).collect(),
    }
}

/// What a change did to a column; none where nothing that is known of.
fn difference<'a>(row: &Row<'a>, column: &Listed, op: Cell<'_>, has_before: bool) -> Option<Difference<'a>> {
    let (old, new) = (row.get(column.before), row.get(column.after));
    let was_sent = has_before && old != Cell::Unavailable;
    match op {
        Cell::Op(Op::Create) => Some(Difference { old: Cell::Null, new, old_known: true }),
        Cell::Op(Op::Delete) => {
            Some(Difference { old, new: Cell::Null, old_known: was_sent && column.in_deletes })
        }
        _ if new == Cell::Unavailable => None,
        _ if was_sent => (!is_same(old, new)).then_some(Difference { old, new, old_known: true }),
        _ => Some(Difference { old: Cell::Null, new, old_known: false }),
    }
}

/// Whether two values of a column are the same; here NaN is.
fn is_same(old: Cell<'_>, new: Cell<'_>) -> bool {
    match (old, new) {
        (Cell::Float(old), Cell::Float(new)) => old == new || (old.is_nan() && new.is_nan()),
        _ => old == new,
    }
}

fn keep(out: &mut Out<'_>, filled: &Filled, column: &str, difference: &Difference<'_>) {
    out.set(filled.column, column);
    out.set(filled.old, text::of(difference.old).as_deref());
    out.set(filled.new, text::of(difference.new).as_deref());
    out.set(filled.old_known, difference.old_known);
    out.keep();
}

/// The key as a JSON object; none where the table has none.
fn key_text(row: &Row<'_>, key: &[(String, Read)]) -> Option<String> {
    let mut json = String::new();
    for (name, read) in key {
        json.push(if json.is_empty() { '{' } else { ',' });
        text::push_string(&mut json, name);
        json.push(':');
        text::push_json(&mut json, row.get(*read));
    }
    (!json.is_empty()).then(|| json + "}")
}
