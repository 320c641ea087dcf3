//! What a component was made of, as a digest that the component carries.
//!
//! Toolchains give different bytes for one source, so that a component that is kept in the repository cannot
//! be compared with a new one; the digests of their sources can.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cargo::RECIPE;

/// The section of a component that holds the digest of its source.
pub(crate) const SECTION: &str = "rowgate:source";

/// The digest of files and of all files in folders, given as paths from `root`, together with what else
/// decides what is made of them: the compiler's flags and the dependency that is not in the workspace.
pub(crate) fn digest(root: &Path, sources: &[&str]) -> Result<String> {
    let mut files = BTreeMap::new();
    for source in sources {
        collect(root, source, &mut files)?;
    }
    let manifest = read(root, "Cargo.toml")?;
    let dependency = manifest.lines().find(|line| line.starts_with("wit-bindgen "));
    let dependency = dependency.context("the workspace's Cargo.toml does not have `wit-bindgen`")?;

    let mut hasher = Sha256::new();
    for text in RECIPE.iter().copied().chain([dependency]) {
        add(&mut hasher, text);
    }
    for (path, text) in &files {
        add(&mut hasher, path);
        add(&mut hasher, text);
    }
    Ok(hex(&hasher.finalize()))
}

/// The digest of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Adds a text with its length, so that no two lists of texts are alike.
fn add(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

fn collect(root: &Path, path: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    let full = root.join(path);
    if !full.is_dir() {
        files.insert(path.to_owned(), read(root, path)?);
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| format!("{path} could not be listed"))? {
        let name = entry?.file_name();
        let name = name.to_str().with_context(|| format!("{path} holds a name that is not UTF-8"))?;
        collect(root, &format!("{path}/{name}"), files)?;
    }
    Ok(())
}

/// A file's text, with the ends of lines as in the repository.
fn read(root: &Path, path: &str) -> Result<String> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("{path} could not be read"))?;
    Ok(text.replace("\r\n", "\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn digest_of(files: &[(&str, &str)]) -> String {
        digest(tree(files).path(), &["src"]).unwrap()
    }

    const MANIFEST: (&str, &str) = ("Cargo.toml", "a = 1\nwit-bindgen = 2\n");

    #[test]
    fn the_digest_depends_on_names_texts_and_the_dependency() {
        let base = digest_of(&[MANIFEST, ("src/a", "1\n"), ("src/b/c", "2")]);
        assert_eq!(base.len(), 64);
        for other in [
            [MANIFEST, ("src/a", "1\n"), ("src/b/c", "3")],
            [MANIFEST, ("src/a", "1\n"), ("src/b/d", "2")],
            [MANIFEST, ("src/a", "1"), ("src/b/c", "\n2")],
            [("Cargo.toml", "wit-bindgen = 3"), ("src/a", "1\n"), ("src/b/c", "2")],
        ] {
            assert_ne!(digest_of(&other), base);
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_other_files_or_ends_of_lines() {
        let base = digest_of(&[MANIFEST, ("src/a", "1\n2\n")]);
        let manifest = ("Cargo.toml", "a = 7\r\nwit-bindgen = 2\r\nb = 3");
        assert_eq!(digest_of(&[manifest, ("src/a", "1\r\n2\r\n"), ("other", "x")]), base);
    }
}
