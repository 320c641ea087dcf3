//! What is fuzzed: each target takes bytes, hands them to a parser of the host, and checks what must hold
//! whatever the bytes are. It panics where that does not hold.
//!
//! `make fuzz` runs them all; see `CONTRIBUTING.md`.

mod answers;
mod columns;
mod inputs;
mod json;
mod names;
mod records;
mod times;
mod types;
mod values;

/// Something that takes bytes and panics where a parser fails.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 15] = [
    ("json", json::scan),
    ("records", records::decode),
    ("schema", records::schema),
    ("values", values::decode),
    ("decimal_bytes", values::unscaled),
    ("decimal_text", values::number),
    ("types", types::parse),
    ("native", columns::read_block),
    ("names", names::quote),
    ("times", times::host),
    ("sdk_times", times::sdk),
    ("lines", inputs::lines),
    ("config", inputs::config),
    ("seal", answers::seal),
    ("http", answers::http),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
