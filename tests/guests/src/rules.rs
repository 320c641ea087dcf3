//! Rules that keep to the contract and use what the shipped transforms do not.

use rowgate_transform::{Cell, Input, Kind, Ops, Params, Rule, Table, Transform};

/// One of the rules, by the parameter `mode`.
pub(crate) struct Rules(String);

impl Transform for Rules {
    fn configure(params: &Params) -> Result<Self, String> {
        Ok(Rules(params.get("mode").unwrap_or_default().to_owned()))
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        Ok(match self.0.as_str() {
            "reject_odd" => reject_odd(table),
            "fan_out" => fan_out(table),
            "route" => route(table),
            _ => Rule::leave_out(),
        })
    }
}

fn all_changes(table: &Table) -> Rule {
    let mut rule = Rule::on(Ops::CREATE | Ops::UPDATE | Ops::DELETE | Ops::READ);
    copy_all(&mut rule, table);
    rule
}

fn copy_all(rule: &mut Rule, table: &Table) {
    for (field, at) in table.fields.iter().zip(0..) {
        rule.copy(&field.name, Input::Latest(at));
    }
}

fn reject_odd(table: &Table) -> Rule {
    let mut rule = all_changes(table);
    let offset = rule.read(Input::Offset);
    rule.each(move |row, out| match row.get(offset) {
        Cell::Int(offset) if offset % 2 != 0 => Err(format!("offset {offset} is odd")),
        _ => {
            out.keep();
            Ok(())
        }
    })
}

fn fan_out(table: &Table) -> Rule {
    let mut rule = all_changes(table);
    let copy = rule.compute_required("copy", Kind::Int);
    rule.each(move |_, out| {
        for number in 0..2 {
            out.set(copy, number);
            out.keep();
        }
        Ok(())
    })
}

fn route(table: &Table) -> Rule {
    let mut rule = all_changes(table);
    let offset = rule.read(Input::Offset);
    rule.target("even");
    let even = rule.this_output();
    let odd = rule.next_output("odd");
    copy_all(&mut rule, table);
    rule.each(move |row, out| {
        let is_odd = row.get(offset).as_int().is_some_and(|offset| offset % 2 != 0);
        out.keep_in(if is_odd { odd } else { even });
        Ok(())
    })
}
