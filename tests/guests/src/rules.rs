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
            "keyed" => keyed(table, &source_key(table)),
            "keyed_name" => keyed(table, &["name"]),
            "keyed_twice" => keyed_twice(table),
            "keyed_leaves" => keyed_leaves(table),
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

fn source_key(table: &Table) -> Vec<&str> {
    table.fields.iter().filter(|field| field.key).map(|field| field.name.as_str()).collect()
}

/// A mirror of the table: each row as the source has it.
fn keyed(table: &Table, key: &[&str]) -> Rule {
    if table.fields.is_empty() {
        return Rule::leave_out();
    }
    let mut rule = all_changes(table);
    rule.key(key);
    rule
}

fn keyed_twice(table: &Table) -> Rule {
    let mut rule = keyed(table, &source_key(table));
    let copy = rule.compute_required("copy", Kind::Int);
    rule.each(move |_, out| {
        for number in 0..2 {
            out.set(copy, number);
            out.keep();
        }
        Ok(())
    })
}

/// A mirror of the rows that are not named `gone`.
fn keyed_leaves(table: &Table) -> Rule {
    let Some(name) = table.fields.iter().position(|field| field.name == "name") else {
        return Rule::leave_out();
    };
    let mut rule = keyed(table, &source_key(table));
    let name = rule.read(Input::After(name as u32));
    let output = rule.this_output();
    rule.each(move |row, out| {
        match row.get(name) {
            Cell::Text("gone") => out.remove_in(output),
            _ => out.keep(),
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
