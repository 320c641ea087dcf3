//! Native code of components, kept from one start to the next.
//!
//! Whoever can plant native code runs as the host. So a file counts only if it is this user's alone and has a MAC
//! under a key that only this user can read (promise S10 of `docs/invariants.md`). Anything else is said, compiled again, and replaced.
//! Hosts of one user may share the folder.

use std::fs::File;
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::compile::Code;
use super::digest;
use super::engine::Engine;
use crate::folder::{self, Folder};
use crate::random::random;

/// What a file of native code begins with.
const MARK: &str = "rowgate code";
/// To be raised when what stands in a file changes, or how the host compiles and no setting of the engine says it.
const FORM: u32 = 1;
/// What the names of the files end with.
const ENDING: &str = ".cwasm";
/// The file of the key. It makes MACs for this folder and nothing else.
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
/// Bytes of a MAC by HMAC-SHA256.
const MAC_BYTES: usize = 32;
/// All files together, bytes: a dozen of Python's, which are the largest, or 500 of Rust's.
const MAX_CACHE_BYTES: u64 = 512 << 20;

/// Where native code is kept.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// None: nowhere.
    path: Option<PathBuf>,
}

/// What native code is made of: the component, and everything that makes the same component other code.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    header: String,
    file: String,
}

impl Identity {
    pub(super) fn of(engine: &Engine, component: &[u8]) -> Self {
        // The engine's version is in it.
        let mut settings = Hashed(Sha256::new());
        engine.inner.precompile_compatibility_hash().hash(&mut settings);
        let settings = super::hexadecimal(&settings.0.finalize());
        let header = json!([MARK, FORM, settings, digest(component)]).to_string();
        let file = format!("{}{ENDING}", digest(header.as_bytes()));
        Identity { header, file }
    }
}

/// All that a value hashes, where the standard hashers keep 64 bits of it.
struct Hashed(Sha256);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Cache {
    /// In the folder `compiled` of `state_dir`; none: nowhere.
    pub fn new(state_dir: Option<&Path>) -> Self {
        Cache { path: state_dir.map(|dir| dir.join("compiled")) }
    }

    /// What is kept for `identity`, which is noted as used. What is there and does not count, or has more than
    /// `max_bytes` of native code, is said.
    pub(super) fn load(&self, identity: &Identity, max_bytes: u64) -> Option<Code> {
        let path = self.path.as_deref()?;
        match read(path, identity, max_bytes) {
            Ok(code) => code,
            Err(why) => {
                let file = path.join(&identity.file);
                tracing::warn!(
                    "native code in {} is not used, and compiled again: {why:#}; has someone changed it?",
                    file.display()
                );
                None
            }
        }
    }

    /// Keeps `code`, and removes what was not used for longest where all are too large together. That it cannot
    /// be kept is said, and is no error.
    pub(super) fn save(&self, identity: &Identity, code: &Code) {
        let Some(path) = self.path.as_deref() else { return };
        if let Err(why) = write(path, identity, code) {
            tracing::warn!(
                "native code is not kept in {}, so that the next start compiles it again: {why:#}",
                path.display()
            );
        }
    }
}

/// None: there is nothing.
fn read(path: &Path, identity: &Identity, max_bytes: u64) -> Result<Option<Code>> {
    let Some(folder) = Folder::open(path)? else { return Ok(None) };
    let Some(mut file) = folder.open_file(&identity.file)? else { return Ok(None) };
    let key = key(&folder).context("the key")?.context("there is no key that it could have a MAC by")?;
    let code = authenticated(&key, identity, &mut file, max_bytes)?;
    // What is used last is removed last.
    file.set_modified(SystemTime::now())?;
    Ok(Some(code))
}

fn write(path: &Path, identity: &Identity, code: &Code) -> Result<()> {
    let folder = Folder::create(path)?;
    let key = key_or_new(&folder).context("the key")?;
    let mac = mac(&key, identity, code)?;
    let head = [identity.header.as_bytes(), b"\n", &mac].concat();
    folder.replace(&identity.file, head.chain(code.reader()?))?;
    folder.prune(ENDING, MAX_CACHE_BYTES)
}

/// A file is a line of JSON, the MAC of that and of the code, and the code.
fn authenticated(
    key: &[u8; KEY_BYTES],
    identity: &Identity,
    file: &mut File,
    max_bytes: u64,
) -> Result<Code> {
    let line = identity.header.len() + 1;
    let mut head = Vec::new();
    file.take((line + MAC_BYTES) as u64).read_to_end(&mut head)?;
    ensure!(
        head.strip_prefix(identity.header.as_bytes()).is_some_and(|rest| rest.starts_with(b"\n"))
            && head.len() == line + MAC_BYTES,
        "it is no file of this host for this component"
    );
    let bytes = file.metadata()?.len().saturating_sub(head.len() as u64);
    ensure!(bytes <= max_bytes, "its {bytes} bytes of native code are for another profile only");
    // What is authenticated is the copy: whoever may write to the file may do so meanwhile.
    let code = Code::copied(file.take(bytes))?;
    let expected = mac(key, identity, &code)?;
    ensure!(expected.len() == MAC_BYTES && memcmp::eq(&expected, &head[line..]), "its MAC is wrong");
    Ok(code)
}

fn mac(key: &[u8; KEY_BYTES], identity: &Identity, code: &Code) -> Result<Vec<u8>> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(identity.header.as_bytes())?;
    signer.update(b"\n")?;
    io::copy(&mut code.reader()?, &mut signer)?;
    Ok(signer.sign_to_vec()?)
}

/// The key of the folder; none: it has none yet.
fn key(folder: &Folder) -> Result<Option<[u8; KEY_BYTES]>> {
    let Some(mut file) = folder.open_file(KEY_FILE)? else { return Ok(None) };
    let bytes = folder::contents(&mut file, KEY_BYTES as u64)?;
    Ok(Some(bytes.try_into().ok().context("it is cut off")?))
}

/// The key of the folder, made where there is none that counts: one that others could read may be known.
fn key_or_new(folder: &Folder) -> Result<[u8; KEY_BYTES]> {
    if let Ok(Some(key)) = key(folder) {
        return Ok(key);
    }
    folder.remove(KEY_FILE)?;
    let fresh = random::<KEY_BYTES>()?;
    // Another host may have been faster: then its key counts.
    folder.add(KEY_FILE, &fresh[..])?;
    key(folder)?.context("it is gone as soon as it was made")
}

#[cfg(test)]
mod tests;
