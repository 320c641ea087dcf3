//! The known attacks, each with how it must end. `number` is that of `docs/security.md`.

use crate::forge::{Forge, escaped, with_instances};

/// A component that is meant to do harm.
pub struct Attack {
    /// The kind of attack.
    pub number: u8,
    /// Its name, unique.
    pub name: &'static str,
    /// Where the component comes from.
    pub source: Source,
    /// How it must end.
    pub end: Must,
}

/// Where a component comes from.
#[derive(Clone, Copy)]
pub enum Source {
    /// `tests/guests`, in the mode of the attack's name.
    Mode,
    /// An example of `tests/guests` of the attack's name.
    Example,
    /// It is put together here.
    Forged(fn() -> Vec<u8>),
}

/// How an attack must end.
#[derive(Debug, Clone, Copy)]
pub enum Must {
    /// The component is not taken, for this reason.
    Refused(&'static str),
    /// Each change is a dead letter, for this reason.
    Fail(&'static str),
    /// It does no harm: no change is a dead letter of the stage `transform`.
    Pass,
}

use Must::{Fail, Pass, Refused};
use Source::{Example, Forged, Mode};

const fn attack(number: u8, name: &'static str, source: Source, end: Must) -> Attack {
    Attack { number, name, source, end }
}

/// Modes of `tests/guests` that attack nothing: other tests use them.
pub const PEACEFUL: [&str; 8] =
    ["honest", "reject_odd", "fan_out", "keyed", "keyed_name", "keyed_twice", "keyed_leaves", "route"];

/// All known attacks.
pub const ATTACKS: &[Attack] = &[
    // Computing without end, wherever the component's code runs.
    attack(1, "spin", Mode, Fail("apply used up its fuel")),
    attack(1, "spin_prepare", Mode, Fail("prepare used up its fuel")),
    attack(1, "spin_configure", Mode, Refused("configure used up its fuel")),
    attack(1, "spin_start", Example, Refused("starting used up its fuel")),
    attack(1, "spin_core_start", Forged(spin_core_start), Refused("starting used up its fuel")),
    attack(1, "spin_realloc", Forged(spin_realloc), Refused("configure used up its fuel")),
    attack(1, "spin_post_return", Forged(spin_post_return), Fail("apply used up its fuel")),
    attack(1, "spin_fill", Forged(spin_fill), Fail("apply used up its fuel")),
    // Taking memory and tables.
    attack(2, "grow", Mode, Fail("apply needs more than 64 MiB of memory")),
    attack(2, "grow_configure", Mode, Refused("configure needs more than 64 MiB of memory")),
    attack(2, "grow_by_pages", Forged(grow_by_pages), Pass),
    attack(2, "grow_beyond_its_type", Forged(grow_beyond_its_type), Pass),
    attack(2, "grow_tables", Forged(grow_tables), Pass),
    attack(2, "start_with_1_gib", Forged(start_with_1_gib), Refused("starts with 1024 MiB of memory")),
    attack(2, "fifty_memories", Forged(fifty_memories), Refused("instances of modules")),
    attack(2, "ten_memories", Forged(ten_memories), Refused("has 11 memories")),
    attack(2, "ten_tables", Forged(ten_tables), Refused("has 10 tables")),
    attack(2, "ten_thousand_tables", Forged(ten_thousand_tables), Refused("broken WebAssembly: ")),
    // The third is in `tests/budgets.rs`: it takes several transforms at once.
    attack(4, "recurse", Mode, Fail("apply trapped")),
    attack(4, "recurse_deep", Forged(recurse_deep), Fail("apply used up its stack")),
    attack(5, "log_flood", Mode, Pass),
    attack(5, "log_out_of_memory", Forged(log_out_of_memory), Fail("apply ")),
    attack(5, "huge_reason", Mode, Fail("\u{1b}[31m")),
    attack(5, "huge_error", Mode, Fail("the transform failed: \\u{1b}[31m")),
    // Answers that cost the host.
    attack(6, "huge_fan_out", Mode, Fail("100000 rows from 1 changes")),
    attack(6, "huge_cell", Mode, Pass),
    attack(6, "empty_texts", Forged(empty_texts), Fail("prepare ")),
    attack(6, "overlapping_texts", Forged(overlapping_texts), Fail("prepare ")),
    attack(6, "rows_out_of_memory", Forged(|| bad_answer(&[0, 0xffff_fff0, 4, 0, 0])), Fail("apply ")),
    attack(6, "unaligned_answer", Forged(unaligned_answer), Fail("apply ")),
    attack(6, "answer_of_no_kind", Forged(|| bad_answer(&[7, 0, 0, 0, 0])), Fail("apply ")),
    attack(6, "reason_that_is_not_utf_8", Forged(reason_that_is_not_utf_8), Fail("apply ")),
    attack(6, "place_for_nothing", Forged(place_for_nothing), Refused("configure ")),
    attack(6, "liar_row_range", Mode, Fail("rows names change 1 of a batch of 1")),
    attack(6, "liar_unsorted", Mode, Pass),
    attack(6, "liar_short", Mode, Fail("column \"word\": 0 cells for 1 rows")),
    attack(6, "liar_long", Mode, Fail("column \"word\": 2 cells for 1 rows")),
    attack(6, "liar_offsets", Mode, Fail("column \"word\": the offsets do not begin at 0")),
    attack(6, "liar_offsets_start", Mode, Fail("column \"word\": the offsets do not begin at 0")),
    attack(6, "liar_offsets_range", Mode, Fail("column \"word\": the offsets do not begin at 0")),
    attack(6, "liar_utf8", Mode, Fail("column \"word\": text that is not UTF-8")),
    attack(6, "liar_utf8_split", Mode, Pass),
    attack(6, "liar_parts", Mode, Fail("2 parts for 1 outputs")),
    attack(6, "liar_no_parts", Mode, Fail("0 parts for 1 outputs")),
    attack(6, "liar_columns", Mode, Fail("2 computed columns, the plan has 1")),
    attack(6, "liar_no_columns", Mode, Fail("0 computed columns, the plan has 1")),
    attack(6, "liar_states_length", Mode, Fail("column \"word\": 2 states for 1 rows")),
    attack(6, "liar_state", Mode, Fail("column \"word\": a cell's state is 9")),
    attack(6, "liar_removed", Mode, Fail("`removed` is filled in")),
    attack(6, "liar_reject_kept", Mode, Fail("change 0 is in rows and in rejects")),
    attack(6, "liar_reject_twice", Mode, Fail("the rejects are not ascending")),
    attack(6, "liar_reject_unsorted", Mode, Fail("as told")),
    attack(6, "liar_reject_range", Mode, Fail("rejects names change 1 of a batch of 1")),
    // Names, types and plans.
    attack(7, "liar_kind", Mode, Fail("its cells are stored in a way that does not go with Text")),
    attack(7, "liar_null", Mode, Fail("a null in a column that the plan says has none")),
    attack(7, "liar_boolean", Mode, Fail("a boolean is neither 0 nor 1")),
    attack(7, "plan_field_range", Mode, Fail("the plan names field 3 of a table that has 3")),
    attack(7, "plan_read_range", Mode, Fail("the plan names field 3 of a table that has 3")),
    attack(7, "plan_duplicate_columns", Mode, Fail("column \"op\" stands twice")),
    attack(7, "plan_empty_name", Mode, Fail("a column name is empty")),
    attack(7, "plan_odd_names", Mode, Fail("control characters")),
    attack(7, "plan_no_columns", Mode, Fail("an output has no columns")),
    attack(7, "plan_many_columns", Mode, Pass),
    attack(7, "plan_key", Mode, Fail("\"id_that_is_not_there\", which is none of the output's columns")),
    attack(7, "plan_type", Mode, Fail("Nothing(of")),
    attack(7, "plan_target", Mode, Fail("DROP TABLE x")),
    attack(7, "plan_huge", Mode, Fail("a constant has 16777216 bytes")),
    // Values at the edges; what becomes of them in a table is in `it/hostile`.
    attack(8, "extreme_floats", Mode, Pass),
    attack(8, "extreme_decimal", Mode, Pass),
    attack(8, "extreme_times", Mode, Pass),
    attack(9, "deep_json", Mode, Pass),
    attack(10, "fan_out_of_one", Mode, Fail("10001 rows from 1 changes")),
    attack(12, "plan_counts", Mode, Fail("prepare gave another plan for the same table")),
    attack(13, "log_in_post_return", Forged(log_in_post_return), Fail("apply ")),
    attack(13, "trap", Mode, Pass),
    attack(
        13,
        "trap_always",
        Mode,
        Fail("apply trapped: wasm trap: wasm `unreachable` instruction executed"),
    ),
    attack(13, "trap_configure", Mode, Refused("configure trapped")),
    attack(13, "trap_prepare", Mode, Fail("prepare trapped")),
    attack(13, "fail_configure", Mode, Refused("parameter `mode` is at fault, as told")),
    attack(13, "fail_prepare", Mode, Fail("table `my_table` is refused, as told")),
    attack(13, "fail_apply", Mode, Fail("the batch is refused, as told")),
    attack(15, "secret_error", Mode, Fail("the transform failed: password")),
    attack(16, "slow", Mode, Pass),
    // The seventeenth is a family of its own, `bombs`.
    attack(18, "core_module", Example, Refused("a core module, not a component")),
    attack(18, "version_two", Example, Refused("built for rowgate:transform@0.2.0")),
    attack(18, "other_world", Example, Refused("exports greet, not rowgate:transform/handler@0.1.0")),
    attack(18, "other_import", Example, Refused("imports acme:clocked/clock@1.0.0")),
    attack(18, "changed_types", Example, Refused("its functions have other types")),
    attack(18, "empty", Forged(Vec::new), Refused("it is empty")),
    attack(18, "cut_off", Forged(cut_off), Refused("broken WebAssembly: ")),
    attack(18, "too_large", Forged(too_large), Refused("bytes, and the profile `small` allows 4194304")),
    attack(18, "shared_memory", Forged(|| with("(memory 1 1 shared)")), Refused("uses threads")),
    attack(18, "memory_of_64_bits", Forged(|| with("(memory i64 1)")), Refused("uses 64-bit memories")),
    attack(
        18,
        "several_memories",
        Forged(|| with("(memory 1) (memory 1)")),
        Refused("uses several memories"),
    ),
    attack(18, "exceptions", Forged(|| with("(tag)")), Refused("uses exceptions")),
    attack(
        18,
        "collected",
        Forged(|| with("(type (struct (field i32)))")),
        Refused("uses garbage collection"),
    ),
    attack(18, "many_functions", Forged(many_functions), Refused("has 10001 functions")),
    attack(
        18,
        "large_function",
        Forged(large_function),
        Refused("bytes, and the profile `small` allows 65536"),
    ),
    attack(18, "deep_function", Forged(deep_function), Refused("has 257 blocks within each other")),
    attack(18, "many_locals", Forged(many_locals), Refused("has 1001 locals")),
];

/// An answer without rows, whose bytes begin with these words.
fn bad_answer(words: &[u32]) -> Vec<u8> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let late = format!("(data (i32.const 3072) \"{}\")", escaped(&bytes));
    Forge { apply: "(i32.const 3072)", late: &late, ..Forge::default() }.component()
}

/// A good component with one more module in it.
fn with(module: &str) -> Vec<u8> {
    with_instances(Forge::default().component(), &format!("(module {module})"), 1)
}

const FOREVER: &str = "(loop $again (br $again)) (unreachable)";

fn spin_core_start() -> Vec<u8> {
    let more = "(func $forever (loop $again (br $again))) (start $forever)";
    Forge { more, ..Forge::default() }.component()
}

fn spin_realloc() -> Vec<u8> {
    Forge { realloc: FOREVER, ..Forge::default() }.component()
}

fn spin_post_return() -> Vec<u8> {
    Forge { post_return: "(loop $again (br $again))", ..Forge::default() }.component()
}

/// An instruction that does much, for what it costs.
fn spin_fill() -> Vec<u8> {
    let apply = "(drop (memory.grow (i32.const 500)))
        (loop $again
            (memory.fill (i32.const 65536) (i32.const 7) (i32.const 32768000))
            (br $again))
        (unreachable)";
    Forge { apply, ..Forge::default() }.component()
}

/// Takes all that it gets, and goes on when there is no more.
fn grow_by_pages() -> Vec<u8> {
    let apply =
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const 2048)";
    Forge { apply, ..Forge::default() }.component()
}

/// A memory of 32 bits has 65,536 pages at most; one with a maximum has that.
fn grow_beyond_its_type() -> Vec<u8> {
    let apply = "(local $tries i32)
        (drop (memory.grow (i32.const 1)))
        (loop $again
            (if (i32.ne (memory.grow (i32.const 65536)) (i32.const -1)) (then (unreachable)))
            (if (i32.ne (memory.grow (i32.const 900)) (i32.const -1)) (then (unreachable)))
            (local.set $tries (i32.add (local.get $tries) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $tries) (i32.const 1000))))
        (i32.const 2048)";
    Forge { memory: "2 64", apply, ..Forge::default() }.component()
}

fn grow_tables() -> Vec<u8> {
    let apply = "(loop $again
            (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))))
        (i32.const 2048)";
    Forge { more: "(table $t 0 funcref)", apply, ..Forge::default() }.component()
}

fn start_with_1_gib() -> Vec<u8> {
    Forge { memory: "16384", ..Forge::default() }.component()
}

fn fifty_memories() -> Vec<u8> {
    with_instances(Forge::default().component(), "(module (memory 256))", 50)
}

fn ten_memories() -> Vec<u8> {
    with_instances(Forge::default().component(), "(module (memory 256))", 10)
}

fn ten_tables() -> Vec<u8> {
    with_instances(Forge::default().component(), "(module (table 20000 funcref))", 10)
}

fn ten_thousand_tables() -> Vec<u8> {
    with(&"(table 1 funcref)".repeat(10_000))
}

fn recurse_deep() -> Vec<u8> {
    let more = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (local.get 0)))";
    Forge { more, apply: "(call $deep (i32.const 0))", ..Forge::default() }.component()
}

const LOG: &str = r#"(import "rowgate:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// A line of 1 GiB, of which the memory has a part.
fn log_out_of_memory() -> Vec<u8> {
    let apply = "(call $log (i32.const 1) (i32.const 0) (i32.const 0x40000000)) (i32.const 2048)";
    Forge { imports: LOG, apply, ..Forge::default() }.component()
}

fn log_in_post_return() -> Vec<u8> {
    let post_return = "(call $log (i32.const 1) (i32.const 0) (i32.const 4))";
    Forge { imports: LOG, post_return, ..Forge::default() }.component()
}

/// A plan whose output has a key of four million names without a letter.
fn empty_texts() -> Vec<u8> {
    let prepare = "(drop (memory.grow (i32.const 512)))
        (i32.store (i32.const 1132) (i32.const 65536))
        (i32.store (i32.const 1136) (i32.const 4000000))
        (i32.const 1024)";
    Forge { prepare, ..Forge::default() }.component()
}

/// A plan whose output has a key of 120 names, each the same MiB.
fn overlapping_texts() -> Vec<u8> {
    let prepare = "(local $at i32)
        (drop (memory.grow (i32.const 32)))
        (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1048576))
        (local.set $at (i32.const 65536))
        (loop $again
            (i32.store (local.get $at) (i32.const 131072))
            (i32.store offset=4 (local.get $at) (i32.const 1048576))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 66496))))
        (i32.store (i32.const 1132) (i32.const 65536))
        (i32.store (i32.const 1136) (i32.const 120))
        (i32.const 1024)";
    Forge { prepare, ..Forge::default() }.component()
}

fn unaligned_answer() -> Vec<u8> {
    Forge { apply: "(i32.const 2049)", ..Forge::default() }.component()
}

fn reason_that_is_not_utf_8() -> Vec<u8> {
    let more =
        r#"(data (i32.const 3072) "\01\00\00\00\00\10\00\00\02\00\00\00") (data (i32.const 4096) "\ff\fe")"#;
    Forge { apply: "(i32.const 3072)", more, ..Forge::default() }.component()
}

/// Has the host write what it hands over to the end of memory.
fn place_for_nothing() -> Vec<u8> {
    Forge { realloc: "(i32.const -4)", ..Forge::default() }.component()
}

fn cut_off() -> Vec<u8> {
    let mut component = Forge::default().component();
    component.truncate(component.len() / 2);
    component
}

fn too_large() -> Vec<u8> {
    with(&format!("(memory 100) (data (i32.const 0) \"{}\")", "x".repeat(4 << 20)))
}

fn many_functions() -> Vec<u8> {
    // The forged module has four functions of its own, and one for what follows a return.
    with(&"(func)".repeat(10_001 - 5))
}

fn large_function() -> Vec<u8> {
    with(&format!("(func {})", "(drop (i32.const 7))".repeat(22_000)))
}

fn deep_function() -> Vec<u8> {
    with(&format!("(func {} {})", "(block ".repeat(257), ")".repeat(257)))
}

fn many_locals() -> Vec<u8> {
    with(&format!("(func (local {}))", "i64 ".repeat(1_001)))
}
