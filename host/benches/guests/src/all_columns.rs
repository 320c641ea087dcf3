//! Every value goes into the transform and comes back.

use rowgate_transform::{Input, Ops, Params, Rule, Table, Transform};

/// Keeps updates. Each column is read, and computed as it was read.
pub struct AllColumns;

impl Transform for AllColumns {
    fn configure(_: &Params) -> Result<Self, String> {
        Ok(AllColumns)
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        let mut rule = Rule::on(Ops::UPDATE);
        let columns = table.fields.iter().zip(0..);
        let columns: Vec<_> = columns
            .map(|(field, at)| (rule.read(Input::After(at)), rule.compute(&field.name, field.kind)))
            .collect();
        Ok(rule.each(move |row, out| {
            for (from, to) in &columns {
                out.set(*to, row.get(*from));
            }
            out.keep();
            Ok(())
        }))
    }
}
