//! Outputs with a key: which keys leave, so that the newest row of a key is all that is left of it.
//!
//! A source that changes the key of a row sends a delete and a create, and nothing more is needed. Where the
//! key of an output has columns that are no key at the source, an update may move a row from one key to another;
//! the key that it had must leave then, or its last row would stay for ever.

use std::collections::HashMap;

use super::plan::{Origin, Output};
use super::run::ShapeRows;
use crate::batch::Batch;
use crate::columns::{self, Input};
use crate::debezium::shape::Shape;
use crate::debezium::value::Value;
use crate::debezium::{Change, Decoded, Op};

/// What becomes of the key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The row is the newest of its key.
    Lives,
    /// The row's key leaves the output; the key is that of the newest row that the change has.
    Leaves,
    /// As `Leaves`, but the key is the one that the row had before the change.
    Left,
}

/// What [`complete`] found.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// Changes of which not all keys that they touch are known, and why; each once. They have no rows.
    pub refused: Vec<(u32, String)>,
}

/// Adds the rows of keys that updates moved away from, and takes out rows without a key. `rows_of` counts the
/// rows of each change, by which the new ones get their place.
pub(super) fn complete(
    batch: &Batch,
    decoded: &Decoded,
    all: &mut [ShapeRows],
    rows_of: &mut [u16],
) -> Completed {
    let mut refused: HashMap<u32, String> = HashMap::new();
    for rows in all.iter_mut().filter(|rows| rows.is_keyed()) {
        let keys = Keys::new(batch, decoded, &rows.shape, &rows.plan.outputs[rows.output]);
        let mut which = Vec::with_capacity(rows.changes.len());
        let mut left = Vec::new();
        for (row, index) in rows.changes.iter().enumerate() {
            let change = &decoded.changes[*index as usize];
            // Neither has a row, and so no key.
            if matches!(change.op, Op::Truncate | Op::Message) {
                continue;
            }
            let first = row == 0 || rows.changes[row - 1] != *index;
            match keys.moved(change) {
                Ok(true) if first => {
                    left.push((which.len(), *index));
                    which.push(row);
                }
                Ok(_) => {}
                Err(reason) => _ = refused.entry(*index).or_insert(reason),
            }
            which.push(row);
        }
        if which.len() != rows.changes.len() || !left.is_empty() {
            rows.pick(&which);
        }
        // Before the rows of its change, so that a row that takes the key again comes after it.
        for (at, change) in left {
            let seq = &mut rows_of[change as usize];
            rows.standings[at] = Standing::Left;
            rows.seqs[at] = *seq;
            *seq = seq.saturating_add(1);
        }
    }
    if !refused.is_empty() {
        all.iter_mut().for_each(|rows| rows.retain(|change| !refused.contains_key(&change)));
    }
    Completed { refused: refused.into_iter().collect() }
}

/// The columns of a key that the source may change without a delete and a create.
struct Keys<'a> {
    batch: &'a Batch,
    decoded: &'a Decoded,
    shape: &'a Shape,
    /// Fields that the key copies and that are no key at the source.
    fields: Vec<u32>,
    /// The first computed column of the key.
    computed: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn new(batch: &'a Batch, decoded: &'a Decoded, shape: &'a Shape, output: &'a Output) -> Self {
        let of_key = || output.columns.iter().filter(|column| output.key.contains(&column.name));
        let fields = of_key().filter_map(|column| match column.origin {
            Origin::Copy(Input::After(field) | Input::Latest(field)) => Some(field),
            _ => None,
        });
        let is_key = |field: &u32| shape.fields.get(*field as usize).is_some_and(|field| field.key);
        let fields = fields.filter(|field| !is_key(field)).collect();
        let is_computed = |origin: &Origin| matches!(origin, Origin::Computed { .. });
        let computed = of_key().find(|column| is_computed(&column.origin)).map(|column| column.name.as_str());
        Keys { batch, decoded, shape, fields, computed }
    }

    /// Whether the row had another key before the change.
    ///
    /// # Errors
    /// Says what the change lacks to know that, or to know the key that leaves.
    fn moved(&self, change: &Change) -> Result<bool, String> {
        if self.fields.is_empty() {
            return Ok(false);
        }
        // A delete that the transform keeps as a row has the key from `before`, too.
        if !matches!(change.op, Op::Update | Op::Delete) {
            return Ok(false);
        }
        let mut moved = false;
        for field in &self.fields {
            let before = Input::Before(*field);
            let json = columns::json(self.batch, self.decoded, change, &before);
            let after = columns::json(self.batch, self.decoded, change, &Input::After(*field));
            if change.op == Op::Update && json.is_some() && json == after {
                continue;
            }
            let known = match columns::value(self.batch, self.decoded, self.shape, change, &before)? {
                Value::Null | Value::Unavailable => false,
                _ => !(json.is_some_and(is_blank) && self.only_the_key_was_sent(change)),
            };
            if !known {
                return Err(self.unknown(*field, change.op));
            }
            moved = change.op == Op::Update;
        }
        match self.computed {
            Some(name) if moved => Err(format!(
                "the change moves its row to another key, of which the transform computes {name:?}: nothing says \
                 what it was before; compute all columns of the key and remove the old one, or copy them all"
            )),
            _ => Ok(moved),
        }
    }

    /// Where a source sends no more than its own key, the other columns of `before` are null or, where they
    /// cannot be null, blank.
    fn only_the_key_was_sent(&self, change: &Change) -> bool {
        let fields = (0..).zip(&self.shape.fields).filter(|(_, field)| !field.key);
        fields
            .map(|(index, _)| columns::json(self.batch, self.decoded, change, &Input::Before(index)))
            .all(|json| json.is_none_or(is_blank))
    }

    fn unknown(&self, field: u32, op: Op) -> String {
        let name = self.shape.fields.get(field as usize).map_or("?", |field| &field.name);
        let what = if op == Op::Delete { "delete" } else { "update" };
        let remedy = match self.shape.connector.as_str() {
            "postgresql" => "set REPLICA IDENTITY FULL on the source table",
            "mysql" | "mariadb" => "set binlog_row_image = FULL at the source",
            "mongodb" => "let the source keep pre-images (changeStreamPreAndPostImages)",
            "oracle" => "add supplemental logging of all columns to the source table",
            _ => "let the source send the whole row as it was before (in PostgreSQL: REPLICA IDENTITY FULL)",
        };
        format!(
            "column `{name}` is in the key of the output and not in the key of the source table, and this {what} does \
             not say what it was before: {remedy}"
        )
    }
}

/// Whether JSON is null, or what a converter writes for a column that cannot be null and was not sent: zero, or
/// nothing, in the column's type.
fn is_blank(json: &[u8]) -> bool {
    const BLANK: [&[u8]; 8] = [b"", b"null", b"\"\"", b"false", b"[]", b"{}", b"\"{}\"", b"\"AA==\""];
    let zero = json.starts_with(b"0") && json.iter().all(|byte| matches!(byte, b'0' | b'.' | b'e' | b'E'));
    zero || BLANK.contains(&json)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::plan::{Ops, OutputColumn, Plan};
    use super::*;
    use crate::debezium::fixture;

    /// A row for each change of events of a table `t` whose rows have a text `k`, by a key of `k`.
    fn completed(events: &[&str]) -> (Vec<ShapeRows>, Completed, Vec<u16>) {
        let run = fixture::Run::of_values(events);
        let (batch, decoded) = &run.batches[0];
        let shape = run.decoder.shape(decoded.changes[0].shape).clone();
        let at = (0..).zip(&shape.fields).find(|(_, field)| field.name == "k").map_or(0, |(at, _)| at);
        let column = OutputColumn { name: "k".into(), origin: Origin::Copy(Input::Latest(at)) };
        let output = Output { target: None, columns: vec![column], key: vec!["k".into()] };
        let plan = Plan { ops: Ops::ALL_FOR_TESTS, reads: vec![], outputs: vec![output] };
        let count = decoded.changes.len();
        let leaves = |change: &Change| match change.op {
            Op::Delete => Standing::Leaves,
            _ => Standing::Lives,
        };
        let mut rows = vec![ShapeRows {
            shape,
            plan: Arc::new(plan),
            output: 0,
            changes: (0..count as u32).collect(),
            seqs: vec![0; count],
            standings: decoded.changes.iter().map(leaves).collect(),
            computed: vec![],
        }];
        let mut rows_of = vec![1; count];
        let completed = complete(batch, decoded, &mut rows, &mut rows_of);
        (rows, completed, rows_of)
    }

    fn event(op: &str, before: &str, after: &str) -> String {
        format!(
            r#"{{"op":"{op}","before":{before},"after":{after},"source":{{"connector":"postgresql","table":"t"}}}}"#
        )
    }

    #[test]
    fn a_moved_key_leaves_in_front_of_the_row_that_moved_it() {
        let events = [
            event("c", "null", r#"{"k":"a","n":1}"#),
            event("u", r#"{"k":"a","n":1}"#, r#"{"k":"b","n":1}"#),
            event("u", r#"{"k":"b","n":1}"#, r#"{"k":"b","n":2}"#),
            event("d", r#"{"k":"b","n":2}"#, "null"),
        ];
        let (rows, completed, rows_of) = completed(&events.each_ref().map(String::as_str));
        assert!(completed.refused.is_empty(), "{completed:?}");
        assert_eq!(rows[0].changes, [0, 1, 1, 2, 3]);
        use Standing::{Leaves, Left, Lives};
        assert_eq!(rows[0].standings, [Lives, Left, Lives, Lives, Leaves]);
        assert_eq!(rows[0].seqs, [0, 1, 0, 0, 0]);
        assert_eq!(rows_of, [1, 2, 1, 1]);
    }

    #[test]
    fn a_key_that_is_not_known_refuses_its_change_and_no_other() {
        let events = [
            event("c", "null", r#"{"k":"a","n":1}"#),
            event("u", "null", r#"{"k":"b","n":1}"#),
            event("d", r#"{"k":"","n":0}"#, "null"),
            event("d", r#"{"k":"a","n":0}"#, "null"),
        ];
        let (rows, completed, _) = completed(&events.each_ref().map(String::as_str));
        let mut refused: Vec<u32> = completed.refused.iter().map(|(change, _)| *change).collect();
        refused.sort_unstable();
        assert_eq!(refused, [1, 2]);
        for (_, reason) in completed.refused {
            assert!(reason.contains("column `k`") && reason.contains("REPLICA IDENTITY FULL"), "{reason}");
        }
        assert_eq!(rows[0].changes, [0, 3]);
    }

    #[test]
    fn changes_without_a_row_make_none_in_an_output_with_a_key() {
        assert!(is_blank(b"0.00") && is_blank(b"null") && !is_blank(b"0.5") && !is_blank(b"\"0\""));
        let events = [event("c", "null", r#"{"k":"a"}"#), event("t", "null", "null")];
        let (rows, completed, _) = completed(&events.each_ref().map(String::as_str));
        assert!(completed.refused.is_empty());
        assert_eq!(rows[0].changes, [0]);
    }
}
