//! A transform that misbehaves in the way that its parameter `mode` says; see [`MODES`].
//!
//! Unless its mode says otherwise, it keeps changes of rows and makes two columns of each: `op`, copied, and
//! `word`, computed, which is `ok`. In the modes `trap` and `trap_always` it passes all other parameters on to
//! the default transform.

mod lies;
mod plans;
mod rules;

use std::cell::RefCell;
use std::hint::black_box;

use rowgate_transform::bindings::exports::rowgate::transform::handler::Guest;
use rowgate_transform::bindings::rowgate::transform::types::{Cells, Column};
use rowgate_transform::{Answer, Batch, Input, Instance, Plan, Table};
use update_only::UpdateOnly;

use rules::Rules;

/// Every mode, with what it does.
pub const MODES: &[(&str, &str)] = &[
    ("honest", "keeps to the contract"),
    ("spin", "apply never returns"),
    ("spin_configure", "configure never returns"),
    ("spin_prepare", "prepare never returns"),
    ("grow", "apply takes memory without end"),
    ("grow_configure", "configure takes memory without end"),
    ("recurse", "apply calls itself without end"),
    ("trap", "the default transform, but panics where the text column `name` is `boom`"),
    ("trap_always", "the default transform, but panics in each apply"),
    ("trap_configure", "panics in configure"),
    ("trap_prepare", "panics in prepare"),
    ("fail_configure", "configure returns an error"),
    ("fail_prepare", "prepare returns an error"),
    ("fail_apply", "apply returns an error"),
    ("liar_row_range", "keeps a change that is not in the batch"),
    ("liar_unsorted", "keeps changes in descending order; needs two changes"),
    ("liar_short", "computes one cell too few"),
    ("liar_long", "computes one cell too many"),
    ("liar_offsets", "offsets descend"),
    ("liar_offsets_start", "the first offset is not 0"),
    ("liar_offsets_range", "the last offset lies behind the bytes"),
    ("liar_utf8", "a text is not UTF-8"),
    ("liar_utf8_split", "the texts are UTF-8 taken together, but each by itself is not; needs two changes"),
    ("liar_kind", "integers for a column of text"),
    ("liar_states_length", "one state too many"),
    ("liar_state", "a state that does not exist"),
    ("liar_null", "null in a column that is not nullable"),
    ("liar_boolean", "2 in a column of booleans"),
    ("liar_parts", "one part too many"),
    ("liar_no_parts", "no part at all"),
    ("liar_columns", "one computed column too many"),
    ("liar_no_columns", "no computed column"),
    ("liar_removed", "says what is removed from an output without a key"),
    ("liar_reject_kept", "rejects a change that it keeps"),
    ("liar_reject_twice", "rejects a change twice"),
    ("liar_reject_unsorted", "rejects changes in descending order; needs two changes"),
    ("liar_reject_range", "rejects a change that is not in the batch"),
    ("huge_cell", "computes one text of 32 MiB"),
    ("huge_fan_out", "makes 100,000 rows of each change"),
    ("huge_reason", "rejects each change with a reason of 1 MiB, full of control characters"),
    ("huge_error", "apply returns an error of 32 MiB, full of control characters"),
    ("secret_error", "apply returns an error that looks like a secret"),
    ("fan_out_of_one", "makes 10,001 rows of each change"),
    ("extreme_floats", "computes not a number, the infinities and -0, one after the other"),
    ("extreme_decimal", "computes a decimal of 10,000 digits"),
    ("extreme_times", "computes the first and the last timestamp that there is, one after the other"),
    ("deep_json", "computes JSON of 100,000 arrays within each other"),
    ("slow", "computes much of what it may, and keeps to the contract"),
    ("log_flood", "writes 20,000 lines, one of 1 MiB and one with control characters to the log"),
    ("plan_counts", "another plan each time that prepare is called"),
    ("plan_field_range", "copies a field that the table does not have"),
    ("plan_read_range", "reads a field that the table does not have"),
    ("plan_duplicate_columns", "two columns of one name"),
    ("plan_empty_name", "a column without a name"),
    ("plan_odd_names", "columns whose names hold quotes, backslashes, a line's end and a null byte"),
    ("plan_no_columns", "an output without columns"),
    ("plan_many_columns", "5,000 columns"),
    ("plan_key", "a key that is no column"),
    ("plan_type", "a target type that is none"),
    ("plan_target", "a target table with a path and quotes in its name"),
    ("plan_huge", "a constant of 16 MiB"),
    ("reject_odd", "rejects changes at odd offsets"),
    ("fan_out", "makes two rows of each change, with the computed column `copy` 0 and 1"),
    ("keyed", "a mirror of the table, by its key"),
    ("keyed_name", "a mirror of the table, by its column `name`"),
    ("keyed_twice", "a mirror that makes two rows of each change, with `copy` 0 and 1"),
    ("keyed_leaves", "a mirror of the rows that are not named `gone`"),
    ("route", "changes at even offsets go to the table `even`, others to the table `odd`"),
];

/// The component.
pub struct Hostile;

struct State {
    mode: String,
    /// How often `prepare` was called.
    prepared: u32,
    update_only: Instance<UpdateOnly>,
    rules: Instance<Rules>,
}

std::thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State { mode: String::new(), prepared: 0, update_only: Instance::new(), rules: Instance::new() })
    };
}

impl Guest for Hostile {
    fn configure(mut params: Vec<(String, String)>) -> Result<(), String> {
        let at = params.iter().position(|(name, _)| name == "mode").ok_or("parameter `mode` is missing")?;
        let (_, mode) = params.remove(at);
        if !MODES.iter().any(|(name, _)| *name == mode) {
            let modes: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
            return Err(format!("parameter `mode` is `{mode}`: it must be one of {}", modes.join(", ")));
        }
        match mode.as_str() {
            "spin_configure" => spin(),
            "grow_configure" => grow(),
            "trap_configure" => panic!("as told"),
            "fail_configure" => return Err("parameter `mode` is at fault, as told".to_owned()),
            _ => {}
        }
        STATE.with_borrow_mut(|state| {
            if mode.starts_with("trap") {
                state.update_only.configure(params)?;
            }
            state.rules.configure(vec![("mode".to_owned(), mode.clone())])?;
            state.mode = mode;
            Ok(())
        })
    }

    fn prepare(table: Table) -> Result<Plan, String> {
        STATE.with_borrow_mut(|state| match state.mode.as_str() {
            "spin_prepare" => spin(),
            "trap_prepare" => panic!("as told"),
            "fail_prepare" => Err(format!("table `{}` is refused, as told", table.name)),
            "trap" | "trap_always" => {
                let mut plan = state.update_only.prepare(&table)?;
                plan.reads.push(watched(&table));
                Ok(plan)
            }
            "reject_odd" | "fan_out" | "route" => state.rules.prepare(&table),
            mode if mode.starts_with("keyed") => state.rules.prepare(&table),
            mode => {
                let plan = plans::plan(mode, &table, state.prepared);
                state.prepared += 1;
                Ok(plan)
            }
        })
    }

    fn apply(mut batch: Batch) -> Result<Answer, String> {
        STATE.with_borrow_mut(|state| match state.mode.as_str() {
            "spin" => spin(),
            "grow" => grow(),
            "recurse" => Err(format!("came back from {}", recurse(0))),
            "trap_always" => panic!("as told"),
            "trap" => {
                if batch.columns.pop().is_some_and(|column| has_boom(&column)) {
                    panic!("boom");
                }
                state.update_only.apply(&batch)
            }
            "huge_error" => Err("\u{1b}[31m\n\"\0".repeat(1 << 22)),
            "secret_error" => Err("password=hunter2".to_owned()),
            "fail_apply" => Err("the batch is refused, as told".to_owned()),
            "reject_odd" | "fan_out" | "route" => state.rules.apply(&batch),
            mode if mode.starts_with("keyed") => state.rules.apply(&batch),
            mode => Ok(lies::answer(mode, batch.rows)),
        })
    }
}

/// The text column `name` after the change; without one, something without a `boom` in it.
fn watched(table: &Table) -> Input {
    let name = table.fields.iter().position(|field| field.name == "name");
    name.map_or(Input::Op, |at| Input::After(at as u32))
}

fn has_boom(column: &Column) -> bool {
    let Cells::Blobs(blobs) = &column.cells else { return false };
    blobs.offsets.windows(2).any(|pair| blobs.bytes.get(pair[0] as usize..pair[1] as usize) == Some(b"boom"))
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn grow() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        black_box(&all);
    }
}

#[expect(unconditional_recursion, reason = "it is what the mode is for")]
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 16]);
    black_box(recurse(depth + 1)) + here[0]
}
