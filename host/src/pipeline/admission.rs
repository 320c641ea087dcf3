//! Which components may run in a pipeline by where they come from (promise S11 of `docs/invariants.md`).

use anyhow::Result;

use crate::config::Settings;
use crate::origin::accepted::Accepted;
use crate::origin::{self, Origin};

/// Where a component comes from that `settings` let run.
///
/// # Errors
/// What is wrong with it (exit 2); it cannot be known which versions have run (exit 3).
pub(super) fn admit(settings: &Settings, component: &[u8], signature: Option<&str>) -> Result<Origin> {
    let mut policy = settings.origin.clone();
    if let (false, Some(name)) = (policy.keys.is_empty(), &policy.name) {
        policy.at_least = accepted(settings)?.highest(name)?;
    }
    origin::verify(component, signature, &policy)
}

/// Notes that a component of this origin runs, so that no older one takes its place.
///
/// # Errors
/// It cannot be kept (exit 3).
pub(super) fn note(settings: &Settings, origin: &Origin) -> Result<()> {
    match &origin.signed {
        Some(signed) if !settings.dry_run => accepted(settings)?.note(signed),
        _ => Ok(()),
    }
}

/// Whether the configuration lets a component of this digest run, whoever signed it.
pub(super) fn is_pinned_or_free(settings: &Settings, digest: &str) -> bool {
    settings.origin.digest.as_deref().is_none_or(|pinned| pinned == digest)
}

fn accepted(settings: &Settings) -> Result<Accepted> {
    Accepted::new(settings.state_dir.as_deref(), &settings.name)
}
