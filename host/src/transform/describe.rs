//! What a component says of itself, and whether it fits, before anything is compiled.
//!
//! The engine would find the same faults later, but says them in its own words; here each gets one message
//! that names what to do.

use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};
use wasmparser::{ComponentExternName, ComponentTypeRef, KnownCustom, Parser, Payload};

use crate::error::Classify;

/// The contract's package.
pub const PACKAGE: &str = "rowgate:transform";
/// The contract's versions that this host runs, as people write them.
pub const VERSIONS: &str = "0.1.x";
/// The interface that a transform exports.
pub const HANDLER: &str = "rowgate:transform/handler@0.1.0";

/// Interfaces of the contract that a component may import.
const GRANTED: [&str; 2] = ["log", "types"];
/// Components of interpreted languages have some 20 MB.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// What kind of WebAssembly it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A component, as transforms are.
    Component,
    /// A module as compilers make it; it has to be wrapped.
    CoreModule,
}

/// What a file of WebAssembly says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its kind.
    pub form: Form,
    /// The contract it was built for, with the world where it exports what the world asks for.
    pub contract: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest, in lower-case hexadecimal.
    pub sha256: String,
    /// Names of its imports; a core module's are `module.name`.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// Languages and tools that made it, with versions.
    pub producers: Vec<String>,
}

/// Reads the file at `path` and tells what it is, whether it fits or not; and gives its bytes.
///
/// # Errors
/// When it cannot be read, or is no WebAssembly (exit 2).
pub fn read(path: &Path) -> anyhow::Result<(Description, Vec<u8>)> {
    let bytes = bytes(path)?;
    let description = describe(&bytes).map_err(anyhow::Error::msg).with_context(|| shown(path)).usage()?;
    Ok((description, bytes))
}

/// Reads a component's file.
///
/// # Errors
/// When it cannot be read or is larger than any transform (exit 2).
pub fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let facts = std::fs::metadata(path).with_context(|| format!("cannot read {}", shown(path))).usage()?;
    if facts.len() > FILE_BYTES_MAX {
        let error = anyhow::anyhow!(
            "{}: has {} bytes, and no transform has over {FILE_BYTES_MAX}",
            shown(path),
            facts.len()
        );
        return Err(error).usage();
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", shown(path))).usage()
}

fn shown(path: &Path) -> String {
    format!("transform `{}`", path.display())
}

/// Describes `bytes` if they are a transform that this host runs.
///
/// # Errors
/// One message that says what they are instead, or what they lack, and what to do.
pub fn fit(bytes: &[u8]) -> Result<Description, String> {
    let description = describe(bytes)?;
    description.fit()?;
    Ok(description)
}

/// Describes `bytes`.
///
/// # Errors
/// When they are no WebAssembly, or broken.
pub fn describe(bytes: &[u8]) -> Result<Description, String> {
    let form = form(bytes)?;
    let mut description = Description {
        form,
        contract: None,
        size_bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        imports: Vec::new(),
        exports: Vec::new(),
        producers: Vec::new(),
    };
    // Modules and components nest; only what stands outermost is what the host has to give.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(broken)?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        description.read(payload, depth == 0).map_err(broken)?;
    }
    description.contract = description.contract();
    Ok(description)
}

fn form(bytes: &[u8]) -> Result<Form, String> {
    if bytes.is_empty() {
        return Err("it is empty: was it built?".to_owned());
    }
    if Parser::is_component(bytes) {
        return Ok(Form::Component);
    }
    if Parser::is_core_wasm(bytes) {
        return Ok(Form::CoreModule);
    }
    let text = String::from_utf8_lossy(bytes.get(..256).unwrap_or(bytes)).trim_start().to_owned();
    Err(if text.starts_with("(component") || text.starts_with("(module") {
        "WebAssembly as text: turn it into a binary with `wasm-tools parse`"
    } else if bytes.starts_with(b"\x7fELF") {
        "native or precompiled code, not WebAssembly: give the component (.wasm) that it was made from"
    } else if b"\0asm".starts_with(bytes) || bytes.starts_with(b"\0asm") {
        "broken WebAssembly: its header is cut off or of an unknown version"
    } else {
        "not WebAssembly: a transform is a component, a binary that starts with `\\0asm`"
    }
    .to_owned())
}

fn broken(error: wasmparser::BinaryReaderError) -> String {
    format!("broken WebAssembly: {} at byte {}: is the file cut off?", error.message(), error.offset())
}

impl Description {
    fn read(&mut self, payload: Payload, outermost: bool) -> wasmparser::Result<()> {
        match payload {
            Payload::ComponentImportSection(imports) if outermost => {
                for import in imports {
                    let import = import?;
                    // A type needs nothing from the host.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.imports.push(full_name(&import.name));
                    }
                }
            }
            Payload::ComponentExportSection(exports) if outermost => {
                for export in exports {
                    self.exports.push(full_name(&export?.name));
                }
            }
            Payload::ImportSection(imports) if outermost => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) if outermost => {
                for export in exports {
                    self.exports.push(export?.name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(producers) = section.as_known() {
                    self.read_producers(producers);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A section that is only told; what is broken in it is left out.
    fn read_producers(&mut self, producers: wasmparser::ProducersSectionReader) {
        for field in producers.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let producer = format!("{} {}", value.name, value.version).trim_end().to_owned();
                if !self.producers.contains(&producer) {
                    self.producers.push(producer);
                }
            }
        }
    }

    /// The first interface of the contract's package that is exported, else imported: its name and version.
    fn of_contract(&self) -> Option<(&str, &str)> {
        self.exports.iter().chain(&self.imports).find_map(|name| of_package(name))
    }

    fn contract(&self) -> Option<String> {
        let (_, version) = self.of_contract()?;
        let whole = self
            .exports
            .iter()
            .any(|name| of_package(name).is_some_and(|(interface, _)| interface == "handler"));
        Some(format!("{PACKAGE}@{version}{}", if whole { ", world transform" } else { "" }))
    }

    /// Whether this host can run it.
    ///
    /// # Errors
    /// One message that says what it lacks or asks for too much, and what to do.
    pub fn fit(&self) -> Result<(), String> {
        if self.form == Form::CoreModule {
            return Err("a core module, not a component: wrap it with `wasm-tools component new`".to_owned());
        }
        let other = self.exports.iter().chain(&self.imports).filter_map(|name| of_package(name));
        if let Some((_, version)) = other.clone().find(|(_, version)| !runs(version)) {
            return Err(format!(
                "built for {PACKAGE}@{version}, and this host runs {VERSIONS}: rebuild it against the contract of \
                 this host, or run a host of that version"
            ));
        }
        if !self
            .exports
            .iter()
            .any(|name| of_package(name).is_some_and(|(interface, _)| interface == "handler"))
        {
            return Err(format!(
                "exports {}, not {HANDLER}: build it for the world `transform` of {PACKAGE}",
                listed(&self.exports)
            ));
        }
        let granted =
            |name: &str| of_package(name).is_some_and(|(interface, _)| GRANTED.contains(&interface));
        let foreign: Vec<String> = self.imports.iter().filter(|name| !granted(name)).cloned().collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let advice = if foreign.iter().all(|name| name.starts_with("wasi:")) {
            "build it without WASI (Rust: target wasm32-unknown-unknown; JavaScript: disable all features; Python: \
             --stub-wasi)"
        } else {
            "a transform gets a log and nothing else"
        };
        Err(format!("imports {}, which the host does not give: {advice}", listed(&foreign)))
    }
}

/// The interface and version of a name such as `rowgate:transform/log@0.1.0`, if it is of our package.
fn of_package(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    Some((interface, version))
}

/// Whether a component built for `version` of the contract runs here: 0.1 and any patch of it.
fn runs(version: &str) -> bool {
    version.strip_prefix("0.1.").is_some_and(|patch| patch.parse::<u32>().is_ok())
}

fn full_name(name: &ComponentExternName) -> String {
    format!("{}{}", name.name, name.version_suffix.unwrap_or_default())
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

/// Small components for tests, put together by hand.
#[cfg(test)]
pub mod samples {
    use super::HANDLER;

    /// A core module without anything in it.
    pub fn core_module() -> Vec<u8> {
        b"\0asm\x01\0\0\0".to_vec()
    }

    /// A component with instances of these names as imports and exports.
    pub fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        // One type: an instance with nothing in it.
        section(&mut bytes, 7, 1, &[0x42, 0]);
        let name = |name: &str| {
            let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
            bytes.extend(name.as_bytes());
            bytes
        };
        let imported: Vec<u8> =
            imports.iter().flat_map(|import| [name(import), vec![5, 0]].concat()).collect();
        section(&mut bytes, 10, imports.len(), &imported);
        // One instance, made of no exports.
        section(&mut bytes, 5, 1, &[1, 0]);
        let index = u8::try_from(imports.len()).unwrap();
        let exported: Vec<u8> =
            exports.iter().flat_map(|export| [name(export), vec![5, index, 0]].concat()).collect();
        section(&mut bytes, 11, exports.len(), &exported);
        bytes
    }

    /// A component that fits.
    pub fn transform() -> Vec<u8> {
        component(&["rowgate:transform/log@0.1.0"], &[HANDLER])
    }

    fn section(bytes: &mut Vec<u8>, id: u8, count: usize, content: &[u8]) {
        bytes.push(id);
        let mut size = content.len() + 1;
        while size >= 0x80 {
            bytes.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes.push(u8::try_from(count).unwrap());
        bytes.extend(content);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{component, core_module, transform};
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        fit(bytes).unwrap_err()
    }

    #[test]
    fn a_transform_fits_and_tells_its_contract() {
        let description = fit(&transform()).unwrap();
        assert_eq!(description.form, Form::Component);
        assert_eq!(description.contract.as_deref(), Some("rowgate:transform@0.1.0, world transform"));
        assert_eq!(description.imports, ["rowgate:transform/log@0.1.0"]);
        assert_eq!(description.exports, [HANDLER]);
        assert_eq!(description.sha256.len(), 64);
    }

    #[test]
    fn a_patch_of_the_contract_and_more_exports_fit() {
        let imports = ["rowgate:transform/types@0.1.7", "rowgate:transform/log@0.1.7"];
        fit(&component(&imports, &["rowgate:transform/handler@0.1.7", "exports"])).unwrap();
        fit(&component(&[], &["rowgate:transform/types@0.1.0", HANDLER])).unwrap();
    }

    #[test]
    fn a_core_module_is_to_be_wrapped() {
        assert_eq!(
            refusal(&core_module()),
            "a core module, not a component: wrap it with `wasm-tools component new`"
        );
    }

    #[test]
    fn another_version_is_named() {
        for version in ["0.2.0", "1.0.0", "0.1.0-rc.1", "0.10.0"] {
            let export = format!("rowgate:transform/handler@{version}");
            assert_eq!(
                refusal(&component(&[], &[&export])),
                format!(
                    "built for rowgate:transform@{version}, and this host runs 0.1.x: rebuild it against the contract \
                     of this host, or run a host of that version"
                )
            );
        }
    }

    #[test]
    fn another_world_is_named_by_its_exports() {
        assert_eq!(
            refusal(&component(&[], &["wasi:cli/run@0.2.0"])),
            "exports wasi:cli/run@0.2.0, not rowgate:transform/handler@0.1.0: build it for the world `transform` of \
             rowgate:transform"
        );
        assert!(
            refusal(&component(&[], &[])).starts_with("exports nothing, not rowgate:transform/handler@0.1.0")
        );
        assert!(refusal(&component(&[], &["a", "b", "c", "d"])).starts_with("exports a, b and 2 more, not "));
    }

    #[test]
    fn imports_that_are_not_given_are_named() {
        let bytes = component(&["rowgate:transform/log@0.1.0", "wasi:clocks/wall-clock@0.2.0"], &[HANDLER]);
        assert_eq!(
            refusal(&bytes),
            "imports wasi:clocks/wall-clock@0.2.0, which the host does not give: build it without WASI (Rust: target \
             wasm32-unknown-unknown; JavaScript: disable all features; Python: --stub-wasi)"
        );
        let bytes = component(&["shop:prices/lookup", "wasi:io/streams@0.2.0"], &[HANDLER]);
        assert_eq!(
            refusal(&bytes),
            "imports shop:prices/lookup and wasi:io/streams@0.2.0, which the host does not give: a transform gets a \
             log and nothing else"
        );
    }

    #[test]
    fn what_is_not_wasm_is_told_by_its_start() {
        for (bytes, message) in [
            (&b""[..], "it is empty: was it built?"),
            (b"\0as", "broken WebAssembly: its header is cut off or of an unknown version"),
            (b"\0asm\x0d\0\x02\0", "broken WebAssembly: its header is cut off or of an unknown version"),
            (b"  (component)", "WebAssembly as text: turn it into a binary with `wasm-tools parse`"),
            (
                b"\x7fELF\x02",
                "native or precompiled code, not WebAssembly: give the component (.wasm) that it was made from",
            ),
            (b"#!/bin/sh", "not WebAssembly: a transform is a component, a binary that starts with `\\0asm`"),
        ] {
            assert_eq!(refusal(bytes), message);
        }
    }

    #[test]
    fn only_the_outermost_names_count() {
        let inner = component(&["wasi:io/streams@0.2.0"], &["run"]);
        let mut bytes = transform();
        bytes.extend([4, u8::try_from(inner.len()).unwrap()]);
        bytes.extend(inner);
        let module = core_module();
        bytes.extend([1, u8::try_from(module.len()).unwrap()]);
        bytes.extend(module);
        let description = fit(&bytes).unwrap();
        assert_eq!(description.exports, [HANDLER]);
    }

    #[test]
    fn a_missing_file_is_the_users_mistake() {
        let error = bytes(Path::new("no/such.wasm")).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), crate::error::Exit::Usage);
        assert!(format!("{error:#}").starts_with("cannot read transform `no/such.wasm`: "), "{error:#}");
    }

    proptest! {
        #[test]
        fn a_file_that_is_cut_off_never_fits_unless_at_a_section(cut in 0_usize..120) {
            let whole = transform();
            let bytes = &whole[..cut.min(whole.len())];
            if let Ok(description) = fit(bytes) {
                prop_assert_eq!(description.exports, [HANDLER]);
                prop_assert_eq!(bytes.len(), whole.len());
            }
        }

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), component: bool) {
            if component && bytes.len() > 8 {
                bytes[..8].copy_from_slice(b"\0asm\x0d\0\x01\0");
            }
            let _ = fit(&bytes);
        }
    }
}
