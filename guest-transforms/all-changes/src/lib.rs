//! Keeps every change of a row: inserts, updates, deletes and what a snapshot reads, each as a row of a log
//! with the operation in the column `op`. The row of a delete is the one that was deleted, as far as the
//! source says.
//!
//! The parameters and the rules for times are those of [`Changes`].

use rowgate_transform::{Input, Ops, Params, Rule, Table, Transform};
use update_only::Changes;

/// Keeps changes with `op` `c`, `u`, `d` or `r`.
pub struct AllChanges(Changes);

impl Transform for AllChanges {
    fn configure(params: &Params) -> Result<Self, String> {
        let ops = Ops::CREATE | Ops::UPDATE | Ops::DELETE | Ops::READ;
        Changes::configure(params, ops, Input::Latest).map(Self)
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        Ok(self.0.rule(table))
    }
}

#[cfg(feature = "component")]
rowgate_transform::export!(AllChanges);

#[cfg(test)]
mod tests {
    use rowgate_transform::testing::{Change, TableBuilder, Value, run};
    use rowgate_transform::{Kind, Op};

    use super::*;

    fn orders() -> TableBuilder {
        TableBuilder::new("orders").without_schema().column("id", Kind::Int).column("paid_at", Kind::Int)
    }

    fn order(id: i64, paid_at: i64) -> [Value; 2] {
        [id.into(), paid_at.into()]
    }

    #[test]
    fn changes_of_rows_are_kept_and_others_are_not() {
        let mut truncate = Change::delete(order(0, 0));
        truncate.op = Op::Truncate;
        truncate.before = None;
        let changes = [
            Change::create(order(1, 10)),
            Change::update(order(2, 20)).before(order(2, 19)),
            truncate,
            Change::delete(order(3, 30)),
            Change::read(order(4, 40)),
        ];
        let run = run::<AllChanges>(&[("unit", "us")], &orders().build(), &changes).unwrap();
        let rows: Vec<_> = run.rows.into_iter().map(|row| (row.change, row.values)).collect();
        let expected = [(0, 1, 10, "c"), (1, 2, 20, "u"), (3, 3, 30, "d"), (4, 4, 40, "r")];
        let expected = expected.map(|(change, id, paid_at, op)| {
            let values = [("id", id.into()), ("paid_at", Value::Timestamp(paid_at)), ("op", op.into())];
            (change, values.map(|(name, value)| (name.to_owned(), value)).to_vec())
        });
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_bad_time_in_a_deleted_row_rejects_the_change() {
        let table = orders().column("sent_at", Kind::Text).build();
        let change = Change::delete([1.into(), 0.into(), "?".into()]);
        let run = run::<AllChanges>(&[], &table, &[change]).unwrap();
        assert_eq!(run.rejects, [(0, "sent_at: not a time: text that is not as ISO 8601 has it".to_owned())]);
    }
}
