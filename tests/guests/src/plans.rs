//! Plans, most of which cannot be carried out.

use rowgate_transform::bindings::rowgate::transform::types::{Computed, Origin, Output, OutputColumn};
use rowgate_transform::{Input, Kind, Ops, Plan, Table};

/// The plan of a mode; an honest one where the mode says nothing of plans. `before` is how many there were.
pub(crate) fn plan(mode: &str, table: &Table, before: u32) -> Plan {
    let beyond = table.fields.len() as u32;
    let mut plan = honest(mode);
    let output = &mut plan.outputs[0];
    match mode {
        "plan_counts" => output.columns.push(copy(&format!("column_{before}"), Input::Topic)),
        "plan_field_range" => output.columns.push(copy("beyond", Input::After(beyond))),
        "plan_read_range" => plan.reads.push(Input::Before(beyond)),
        "plan_duplicate_columns" => output.columns.push(copy("op", Input::Topic)),
        "plan_empty_name" => output.columns.push(copy("", Input::Topic)),
        "plan_odd_names" => {
            for name in ["a`b", "a\"b", "a'b", "ends with \\", "two\nlines", "null\0byte", "a; DROP TABLE b"]
            {
                output.columns.push(copy(name, Input::Topic));
            }
        }
        "plan_no_columns" => output.columns.clear(),
        "plan_many_columns" => {
            output.columns.extend((0..5_000).map(|at| copy(&format!("column_{at}"), Input::Topic)));
        }
        "plan_key" => output.key = vec!["id_that_is_not_there".to_owned()],
        "plan_type" => {
            let target_type = Some("Nullable(Nothing(of, the' kind".to_owned());
            output.columns[1].origin = computed(Kind::Text, true, target_type);
        }
        "plan_target" => output.target = Some("../../other`; DROP TABLE x".to_owned()),
        "plan_huge" => {
            let origin = Origin::Constant("x".repeat(16 << 20));
            output.columns.push(OutputColumn { name: "huge".to_owned(), origin });
        }
        _ => {}
    }
    plan
}

/// `op`, copied, and `word`, computed.
fn honest(mode: &str) -> Plan {
    let kind = match mode {
        "liar_boolean" => Kind::Boolean,
        "extreme_floats" => Kind::Float,
        "extreme_decimal" => Kind::Decimal,
        "extreme_times" => Kind::Timestamp,
        "deep_json" => Kind::Json,
        _ => Kind::Text,
    };
    let word = OutputColumn { name: "word".to_owned(), origin: computed(kind, mode != "liar_null", None) };
    Plan {
        ops: Ops::CREATE | Ops::UPDATE | Ops::DELETE | Ops::READ,
        reads: vec![Input::Op],
        outputs: vec![Output { target: None, columns: vec![copy("op", Input::Op), word], key: Vec::new() }],
    }
}

fn copy(name: &str, input: Input) -> OutputColumn {
    OutputColumn { name: name.to_owned(), origin: Origin::Copy(input) }
}

fn computed(kind: Kind, nullable: bool, target_type: Option<String>) -> Origin {
    Origin::Computed(Computed { kind, nullable, target_type })
}
