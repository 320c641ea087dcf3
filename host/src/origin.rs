//! Where a component comes from: whether it is the one that the configuration names, and who signed it as what.
//! Checked before anything reads the component (promise S11 of `docs/invariants.md`).
//!
//! A signature is a detached one of minisign. Its trusted comment says which transform it is and of which version:
//! `minisign -Sm rule.wasm -t 'name:orders version:1.4'`.

pub mod accepted;
pub mod version;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use minisign_verify::{PublicKey, Signature};

use self::version::Version;
use crate::error::Classify;
use crate::transform::digest;

/// What a digest is written after.
pub(crate) const SHA256: &str = "sha256:";
/// A signature's text at most, bytes; minisign's own bound for its comments is 8 KiB.
const MAX_SIGNATURE_BYTES: u64 = 32 << 10;

/// What a component must be to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Its SHA-256, in hexadecimal; none: any.
    pub digest: Option<String>,
    /// Keys of which one must have signed it; none: it need not be signed.
    pub keys: Vec<Key>,
    /// What it must be signed as; none: any name.
    pub name: Option<String>,
    /// The version that it must have at least, by its signature.
    pub at_least: Option<Version>,
}

/// Whose components are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(PublicKey);

impl Key {
    /// A public key of minisign, as in the second line of its file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = PublicKey::from_base64(text.trim());
        key.map(Key).map_err(|_| {
            format!("`{text}` is no public key of minisign, such as the second line of minisign.pub")
        })
    }
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
    /// By what signature; none: the policy asks for none.
    pub signed: Option<Signed>,
}

/// What a signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key's id, as minisign shows it.
    pub key: String,
    /// The transform's name.
    pub name: String,
    /// Its version.
    pub version: Version,
}

/// Checks a component against what it must be. Nothing of the component is read but its bytes' digest.
///
/// `signature` is the text of its detached signature, if there is one.
///
/// # Errors
/// What it is instead (exit 2).
pub fn verify(component: &[u8], signature: Option<&str>, policy: &Policy) -> Result<Origin> {
    let digest = digest(component);
    check_digest(&digest, policy).usage()?;
    let signed = match policy.keys.as_slice() {
        [] => None,
        keys => {
            let signed =
                signature.context("it is not signed").and_then(|text| check_signature(component, text, keys));
            Some(signed.and_then(|signed| admit(signed, policy)).usage()?)
        }
    };
    Ok(Origin { digest, signed })
}

/// A digest as the configuration writes it: in hexadecimal, without what stands before it.
///
/// # Errors
/// What would be right.
pub fn parse_digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(SHA256).unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err(format!(
        "`{text}` is no digest: write {SHA256} and 64 hexadecimal digits, as `host inspect` shows them"
    ))
}

/// The beginning of a digest as a person gives it, in the form in which digests are kept.
pub fn beginning_of(text: &str) -> String {
    text.strip_prefix(SHA256).unwrap_or(text).to_ascii_lowercase()
}

/// Whether a component of this digest is the one that is pinned, where one is.
///
/// # Errors
/// It is another one.
pub fn check_digest(digest: &str, policy: &Policy) -> Result<()> {
    match &policy.digest {
        Some(expected) if expected != digest => {
            bail!("it is {SHA256}{digest}, and `transform_digest` says {SHA256}{expected}")
        }
        _ => Ok(()),
    }
}

/// Which of `keys` has signed the component as what.
///
/// # Errors
/// A signature by none of them, or of something else.
pub fn check_signature(component: &[u8], text: &str, keys: &[Key]) -> Result<Signed> {
    let signature = read(text)?;
    let signed = told(text)?;
    // Ids tell which key is meant, and prove nothing.
    let outcomes = keys.iter().map(|key| key.0.verify(component, &signature, false));
    for outcome in outcomes {
        match outcome {
            Ok(()) => return Ok(signed),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(minisign_verify::Error::UnexpectedAlgorithm) => {
                bail!("its signature is of minisign's old form: sign it again with minisign 0.10 or newer")
            }
            Err(_) => bail!(
                "its signature by key {} is wrong: the component, the signature or its comment was changed",
                signed.key
            ),
        }
    }
    bail!("it is signed by key {}, which is none of `transform_key`", signed.key)
}

/// What a signature says, whether it is right or not.
///
/// # Errors
/// A text that is no signature, or does not say what of.
pub fn told(text: &str) -> Result<Signed> {
    let signature = read(text)?;
    let comment = signature.trusted_comment();
    let member = |name: &str| {
        let mut values =
            comment.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(anyhow!("the comment of its signature has no `{name}:`")),
            (Some(_), Some(_)) => Err(anyhow!("the comment of its signature has two `{name}:`")),
        }
    };
    let advice = "sign it with a comment such as -t 'name:orders version:1.4'";
    let (name, version) = member("name").and_then(|name| Ok((name, member("version")?))).help(advice)?;
    let version =
        Version::parse(version).map_err(|why| anyhow!("the comment of its signature: {why}")).help(advice)?;
    Ok(Signed { key: key_id(text).unwrap_or_default(), name: name.to_owned(), version })
}

fn read(text: &str) -> Result<Signature> {
    Signature::decode(text).map_err(|_| anyhow!("its signature is none of minisign"))
}

/// The id of the key that a signature names: the 8 bytes after the algorithm, shown as minisign shows them.
fn key_id(text: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(text.lines().nth(1)?.trim()).ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

fn admit(signed: Signed, policy: &Policy) -> Result<Signed> {
    if let Some(name) = policy.name.as_ref().filter(|name| **name != signed.name) {
        return Err(anyhow!("it is signed as transform `{}`, and this pipeline runs `{name}`", signed.name))
            .help("set `transform_name` if that is meant");
    }
    if let Some(at_least) = policy.at_least.filter(|at_least| signed.version < *at_least) {
        return Err(anyhow!("it is of version {}, and this pipeline has run {at_least}", signed.version))
            .help("sign what is to run with a higher version");
    }
    Ok(signed)
}

/// The text of the signature beside a component's file; none: there is none.
///
/// # Errors
/// Where it cannot be read, or is no text of such a size (exit 2).
pub fn beside(component: &Path) -> Result<Option<String>> {
    let path = signature_path(component);
    let mut text = String::new();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()).usage(),
    };
    let read = file.take(MAX_SIGNATURE_BYTES).read_to_string(&mut text);
    read.with_context(|| path.display().to_string()).usage()?;
    Ok(Some(text))
}

/// The file of a component's signature: `FILE.minisig`.
pub fn signature_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".minisig");
    path.into()
}

#[cfg(test)]
mod tests;
