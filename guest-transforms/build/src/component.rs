//! Components: made from modules, checked, and with sections of our own.

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm, decode};

/// What a transform must export.
const HANDLER: &str = "rowgate:transform/handler@0.1.0";

/// What it may import: a function to log with, and types, which cost nothing.
const IMPORTS: [&str; 2] = ["rowgate:transform/log@0.1.0", "rowgate:transform/types@0.1.0"];

/// A section's number where it is a custom one.
const CUSTOM: u8 = 0;

/// The bytes before a component's first section.
const PREAMBLE: usize = 8;

/// Makes a component of a module that carries its world.
pub(crate) fn from_module(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().module(module)?.validate(true).encode()
}

/// Checks that a component exports the contract, and imports nothing that the host does not give.
pub(crate) fn check(component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = decode(component)? else { bail!("it is no component") };
    let world = resolve.worlds.get(world).context("the component has no world")?;
    for import in world.imports.keys() {
        let name = resolve.name_world_key(import);
        if !IMPORTS.contains(&name.as_str()) {
            bail!("it imports `{name}`, which the host does not give");
        }
    }
    if !world.exports.keys().any(|export| resolve.name_world_key(export) == HANDLER) {
        bail!("it does not export `{HANDLER}`");
    }
    Ok(())
}

/// Adds a custom section to a component or module.
pub(crate) fn append_section(component: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::new();
    write_length(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(content);
    component.push(CUSTOM);
    write_length(component, section.len());
    component.extend_from_slice(&section);
}

/// The content of a custom section of the component itself, not of what is nested in it.
pub(crate) fn section<'a>(component: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = component.get(PREAMBLE..)?;
    loop {
        let (number, after) = rest.split_first()?;
        let (length, after) = read_length(after)?;
        let (section, after) = after.split_at_checked(length)?;
        if *number == CUSTOM {
            let (length, content) = read_length(section)?;
            let (found, content) = content.split_at_checked(length)?;
            if found == name.as_bytes() {
                return Some(content);
            }
        }
        rest = after;
    }
}

/// LEB128, as all lengths in WebAssembly.
fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    // A length has 32 bits, and so at most five bytes.
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_by_its_name() {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        assert_eq!(section(&bytes, "a"), None);
        append_section(&mut bytes, "long", &[7; 300]);
        append_section(&mut bytes, "a", b"content");
        append_section(&mut bytes, "empty", b"");
        assert_eq!(section(&bytes, "long"), Some([7; 300].as_slice()));
        assert_eq!(section(&bytes, "a"), Some(b"content".as_slice()));
        assert_eq!(section(&bytes, "empty"), Some(b"".as_slice()));
        assert_eq!(section(&bytes, "b"), None);
    }

    #[test]
    fn what_is_cut_short_has_no_section() {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        append_section(&mut bytes, "a", b"content");
        for length in 0..bytes.len() {
            assert_eq!(section(&bytes[..length], "a"), None, "{length}");
        }
    }

    #[test]
    fn what_is_no_transform_is_refused() {
        assert!(check(b"").is_err());
        assert!(check(b"\0asm\x01\0\0\0").is_err());
        let empty = check(b"\0asm\x0d\0\x01\0").unwrap_err().to_string();
        assert_eq!(empty, "it does not export `rowgate:transform/handler@0.1.0`");
    }
}
