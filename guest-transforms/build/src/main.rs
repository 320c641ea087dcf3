//! Builds the transforms of this repository into WebAssembly components.
//!
//! ```text
//! build-guests [--out DIR] [--package NAME | --module NAME] [--no-install]
//! ```
//!
//! The shipped transforms go into DIR, those of the tests and of the bench into `DIR/tests`. The transform that
//! is built into the host is replaced where its source has changed since. With `--package` only that package
//! of the workspace is built, into DIR; with `--module` the same, and it stays a module.

mod cargo;
mod component;
mod guest;
mod source;
mod toolchain;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;

use anyhow::{Context, Result, bail};

use cargo::Cargo;
use guest::{Form, GUESTS, Guest};
use toolchain::Toolchain;

const USAGE: &str = "usage: build-guests [--out DIR] [--package NAME | --module NAME] [--no-install]";

/// The transform that the host runs where none is named, as a path from the workspace's root.
const BUILTIN: &str = "host/builtin/update_only.wasm";

struct Arguments {
    out: Option<PathBuf>,
    package: Option<(String, Form)>,
    may_install: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = arguments(env::args().skip(1))?;
    let root = root()?;
    let out = arguments.out.unwrap_or_else(|| root.join("guest-transforms/dist"));
    let toolchain = Toolchain::find(arguments.may_install)?;
    eprintln!("building with {toolchain}");
    let cargo = Cargo::new(&root, toolchain);
    let package = arguments.package.map(|(name, form)| Guest::of_package(&name, form));
    for guest in package.as_ref().map_or(GUESTS, slice::from_ref) {
        let bytes = build(&cargo, &root, guest)?;
        let path = out.join(guest.file());
        write(&path, &bytes)?;
        println!("{:28} {:>8} bytes  sha256 {}", guest.file(), bytes.len(), source::sha256(&bytes));
        if guest.is_builtin && refresh(&root.join(BUILTIN), &bytes)? {
            println!("{BUILTIN} is replaced: its source has changed");
        }
    }
    println!("written to {}", out.display());
    Ok(())
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut arguments = Arguments { out: None, package: None, may_install: true };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--out" => arguments.out = Some(given.next().context(USAGE)?.into()),
            "--package" => arguments.package = Some((given.next().context(USAGE)?, Form::Transform)),
            "--module" => arguments.package = Some((given.next().context(USAGE)?, Form::Module)),
            "--no-install" => arguments.may_install = false,
            _ => bail!("unknown argument `{argument}`; {USAGE}"),
        }
    }
    Ok(arguments)
}

/// The root of the workspace that this is started in.
fn root() -> Result<PathBuf> {
    let here = env::current_dir()?;
    let root = here.ancestors().find(|folder| folder.join("wit/transform.wit").is_file());
    root.map(Path::to_owned).context("this is not started in a folder of the workspace")
}

fn build(cargo: &Cargo, root: &Path, guest: &Guest) -> Result<Vec<u8>> {
    let failed = || format!("`{}` could not be built", guest.name);
    let path = cargo.build(guest).with_context(failed)?;
    let module = fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
    if guest.form == Form::Module {
        return Ok(module);
    }
    let mut bytes = component::from_module(&module).with_context(failed)?;
    if guest.form == Form::Transform {
        component::check(&bytes).with_context(failed)?;
    }
    if !guest.sources.is_empty() {
        let digest = source::digest(root, guest.sources)?;
        component::append_section(&mut bytes, source::SECTION, digest.as_bytes());
    }
    Ok(bytes)
}

/// Replaces a component whose source is another. One of the same source stays, though another toolchain
/// would give other bytes.
fn refresh(path: &Path, bytes: &[u8]) -> Result<bool> {
    let same = fs::read(path).is_ok_and(|old| {
        let digest = component::section(&old, source::SECTION);
        digest.is_some() && digest == component::section(bytes, source::SECTION)
    });
    if !same {
        write(path, bytes)?;
    }
    Ok(!same)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("{} could not be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, bytes).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_transform_is_of_this_source() {
        let root = root().unwrap();
        let builtin = GUESTS.iter().find(|guest| guest.is_builtin).unwrap();
        let bytes = fs::read(root.join(BUILTIN)).unwrap();
        let built_from = component::section(&bytes, source::SECTION).map(String::from_utf8_lossy);
        let source = source::digest(&root, builtin.sources).unwrap();
        assert_eq!(
            built_from.as_deref(),
            Some(source.as_str()),
            "{BUILTIN} was built from another source; `make guests` builds it anew"
        );
    }

    #[test]
    fn the_built_in_transform_is_a_transform() {
        let bytes = fs::read(root().unwrap().join(BUILTIN)).unwrap();
        component::check(&bytes).unwrap();
    }

    #[test]
    fn a_component_of_the_same_source_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/x.wasm");
        let component = |content: u8, digest: &str| {
            let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
            component::append_section(&mut bytes, "content", &[content]);
            component::append_section(&mut bytes, source::SECTION, digest.as_bytes());
            bytes
        };
        assert!(refresh(&path, &component(1, "a")).unwrap());
        assert!(!refresh(&path, &component(2, "a")).unwrap());
        assert_eq!(fs::read(&path).unwrap(), component(1, "a"));
        assert!(refresh(&path, &component(3, "b")).unwrap());
        assert_eq!(fs::read(&path).unwrap(), component(3, "b"));
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        let parse = |given: &[&str]| arguments(given.iter().map(ToString::to_string));
        let none = parse(&[]).unwrap();
        assert!(none.out.is_none() && none.package.is_none() && none.may_install);
        let all = parse(&["--out", "x", "--no-install", "--package", "y"]).unwrap();
        assert_eq!(
            (all.out, all.package, all.may_install),
            (Some("x".into()), Some(("y".to_owned(), Form::Transform)), false)
        );
        assert_eq!(parse(&["--module", "z"]).unwrap().package, Some(("z".to_owned(), Form::Module)));
        assert!(parse(&["--out"]).is_err());
        assert!(parse(&["x"]).is_err());
    }
}
