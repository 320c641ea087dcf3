//! Answers, most of which break the contract.

use rowgate_transform::Answer;
use rowgate_transform::bindings::rowgate::transform::types::{Blobs, Cells, Column, Part, Reject};

const WORD: &str = "ok";

/// The answer of a mode to a batch of so many changes; an honest one where the mode says nothing of
/// answers.
pub(crate) fn answer(mode: &str, rows: u32) -> Answer {
    let mut answer = honest(rows);
    match mode {
        "huge_fan_out" => return fan_out(rows, 100_000),
        "fan_out_of_one" => return fan_out(rows, 10_001),
        "huge_reason" => return reject_all(rows, &"\u{1b}[31m\n\"\0".repeat(1 << 17)),
        "log_flood" => flood(),
        "slow" => slow(),
        "liar_parts" => answer.parts.push(Part { rows: vec![0], removed: Vec::new(), computed: Vec::new() }),
        "liar_no_parts" => answer.parts.clear(),
        mode if mode.starts_with("liar_reject") => lie_about_rejects(mode, rows, &mut answer),
        mode => lie_about_part(mode, rows, &mut answer.parts[0]),
    }
    answer
}

/// Keeps every change.
fn honest(rows: u32) -> Answer {
    let part = Part { rows: (0..rows).collect(), removed: Vec::new(), computed: vec![words(rows)] };
    Answer { parts: vec![part], rejects: Vec::new() }
}

fn words(rows: u32) -> Column {
    texts(rows, WORD)
}

/// The same text in each row.
fn texts(rows: u32, text: &str) -> Column {
    let length = text.len() as u32;
    let blobs = Blobs {
        offsets: (0..=rows).map(|at| at * length).collect(),
        bytes: text.repeat(rows as usize).into_bytes(),
    };
    Column { states: Vec::new(), cells: Cells::Blobs(blobs) }
}

fn lie_about_part(mode: &str, rows: u32, part: &mut Part) {
    let word = &mut part.computed[0];
    match mode {
        "liar_row_range" => {
            part.rows.pop();
            part.rows.push(rows);
        }
        "liar_unsorted" => part.rows.reverse(),
        "liar_removed" => part.removed = vec![0; rows as usize],
        "liar_columns" => part.computed.push(words(rows)),
        "liar_no_columns" => part.computed.clear(),
        "liar_short" => *word = words(rows.saturating_sub(1)),
        "liar_long" => *word = words(rows + 1),
        "liar_kind" => word.cells = Cells::Ints(vec![7; rows as usize]),
        "extreme_floats" => {
            let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
            word.cells = Cells::Floats(values.into_iter().cycle().take(rows as usize).collect());
        }
        "extreme_times" => {
            word.cells = Cells::Ints([i64::MIN, i64::MAX].into_iter().cycle().take(rows as usize).collect());
        }
        "extreme_decimal" => *word = texts(rows, &"9".repeat(10_000)),
        "deep_json" => *word = texts(rows, &"[".repeat(100_000)),
        "liar_boolean" => word.cells = Cells::Small(vec![2; rows as usize]),
        "liar_states_length" => word.states = vec![0; rows as usize + 1],
        "liar_state" => word.states = vec![9; rows as usize],
        "liar_null" => word.states = vec![1; rows as usize],
        mode => {
            if let Cells::Blobs(blobs) = &mut word.cells {
                lie_about_text(mode, blobs);
            }
        }
    }
}

fn lie_about_text(mode: &str, blobs: &mut Blobs) {
    let last = blobs.offsets.len() - 1;
    match mode {
        "liar_offsets" => {
            // Before the last cell stands an offset behind its end.
            blobs.offsets[last - 1] = blobs.offsets[last] + 1;
            blobs.bytes.extend_from_slice(b"more");
        }
        "liar_offsets_start" => blobs.offsets[0] = 1,
        "liar_offsets_range" => blobs.offsets[last] = u32::MAX,
        "liar_utf8" => blobs.bytes.fill(0xff),
        // Two bytes of one character, one cell each.
        "liar_utf8_split" if last >= 2 => {
            blobs.bytes = "é".repeat(last.div_ceil(2)).into_bytes();
            blobs.offsets = (0..=last as u32).collect();
            blobs.bytes.truncate(last);
        }
        "huge_cell" => {
            blobs.bytes.resize(32 << 20, b'x');
            blobs.offsets[last] = blobs.bytes.len() as u32;
        }
        _ => {}
    }
}

fn lie_about_rejects(mode: &str, rows: u32, answer: &mut Answer) {
    let reject = |row| Reject { row, reason: "as told".to_owned() };
    match mode {
        "liar_reject_kept" => answer.rejects.push(reject(0)),
        "liar_reject_range" => answer.rejects.push(reject(rows)),
        "liar_reject_twice" => {
            *answer = reject_all(rows, "as told");
            answer.rejects.push(reject(rows.saturating_sub(1)));
        }
        _ => {
            *answer = reject_all(rows, "as told");
            answer.rejects.reverse();
        }
    }
}

fn reject_all(rows: u32, reason: &str) -> Answer {
    let mut answer = honest(0);
    answer.rejects = (0..rows).map(|row| Reject { row, reason: reason.to_owned() }).collect();
    answer
}

fn fan_out(rows: u32, times: u32) -> Answer {
    let mut answer = honest(rows * times);
    answer.parts[0].rows = (0..rows).flat_map(|row| (0..times).map(move |_| row)).collect();
    answer
}

/// A good part of what a call may compute.
fn slow() {
    for round in 0..30_000_000_u32 {
        std::hint::black_box(round);
    }
}

fn flood() {
    for line in 0..20_000 {
        rowgate_transform::info(&format!("line {line}"));
    }
    rowgate_transform::warn(&"x".repeat(1 << 20));
    rowgate_transform::error(
        "\u{1b}[2J\r\n{\"level\":\"error\",\"message\":\"not from the host\"}\0\u{202e}",
    );
}
