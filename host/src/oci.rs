//! Transforms from an OCI registry, by digest (promise S15 of `docs/invariants.md`).
//!
//! A reference names the digest of a manifest, and that names the component's: what is fetched is that or nothing,
//! whoever serves it. What has been fetched once is kept, so that a host starts though its registry is down.

mod blobs;
pub mod challenge;
mod client;
pub mod manifest;
pub mod reference;

use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::Url;
use tokio::runtime::Builder;

use self::blobs::Blobs;
use self::client::{Fetched, TIMES};
use self::manifest::{Layer, MAX_MANIFEST_BYTES};
use self::reference::Reference;
use crate::config::Credentials;
use crate::error::Classify;
use crate::transform::limits::SandboxLimits;

/// A component in a registry, and how to reach that.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// Which component.
    pub reference: Reference,
    /// The root of the registry's API: https, or http where it is on this machine or that was asked for.
    pub root: Url,
    /// Who the host is to the registry: nobody in particular, or a user with a password.
    pub credentials: Credentials,
    /// Certificates in PEM, besides those of the system, that the registry's may be signed with.
    pub ca: Option<String>,
}

/// The component that `remote` names: as it is kept in `state_dir`, or else from the registry. Blocks, for two minutes
/// at most.
///
/// # Errors
/// There is no such thing in the registry, or it is no component, or larger than `limits` allow (exit 2); the registry
/// is not reached, refuses, or does not serve what it was asked for (exit 3).
pub fn component(remote: &Remote, limits: &SandboxLimits, state_dir: Option<&Path>) -> Result<Vec<u8>> {
    let blobs = Blobs::new(state_dir);
    if let Some(component) = at_hand(&blobs, remote, limits)? {
        return Ok(component);
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the HTTP client").environment()?;
    let fetched = runtime.block_on(client::fetch(remote, limits, &TIMES));
    // It would wait for a name that is still being looked up.
    runtime.shutdown_background();
    let Fetched { manifest, layer, component } = fetched?;
    tracing::info!(reference = %remote.reference, bytes = component.len(), "transform fetched from its registry");
    blobs.save(&[(&remote.reference.digest, &manifest), (&layer.digest, &component)]);
    Ok(component)
}

/// The component, where both it and its manifest are kept.
fn at_hand(blobs: &Blobs, remote: &Remote, limits: &SandboxLimits) -> Result<Option<Vec<u8>>> {
    let Some(manifest) = blobs.load(&remote.reference.digest, MAX_MANIFEST_BYTES) else { return Ok(None) };
    let layer = Layer::of_manifest(&manifest, limits)?;
    Ok(blobs.load(&layer.digest, layer.bytes))
}
