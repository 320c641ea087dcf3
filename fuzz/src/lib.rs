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
mod registry;
mod settings;
mod times;
mod types;
mod values;

/// Something that takes bytes and panics where a parser fails.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 27] = [
    ("json", json::scan),
    ("records", records::decode),
    ("forms", records::forms),
    ("schema", records::schema),
    ("framing", registry::framing),
    ("avro", registry::avro),
    ("protobuf", registry::protobuf),
    ("json_schema", registry::json_schema),
    ("values", values::decode),
    ("structured", values::structured),
    ("policies", values::policies),
    ("decimal_bytes", values::unscaled),
    ("decimal_text", values::number),
    ("types", types::parse),
    ("evolve", types::widen),
    ("native", columns::read_block),
    ("names", names::quote),
    ("times", times::host),
    ("sdk_times", times::sdk),
    ("lines", inputs::lines),
    ("config", inputs::config),
    ("hints", settings::hints),
    ("placeholder", settings::placeholder),
    ("seal", answers::seal),
    ("http", answers::http),
    ("profile", answers::profile),
    ("oci", answers::oci),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
