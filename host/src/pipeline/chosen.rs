//! Which transform a run begins with: the one that the configuration names, or the one that was deployed last.

use anyhow::{Context as _, Result, anyhow};

use super::admission::{admit, is_pinned_or_free};
use crate::commit::DIGEST_DIGITS;
use crate::config::{Component, Settings, Sink, Source};
use crate::error::Classify;
use crate::oci;
use crate::origin::{self, Origin};
use crate::pins::Kept;
use crate::pins::deployed::{By, Deployed, Version, named, now_ms};
use crate::pins::store::Store;
use crate::source::kafka::Commits;
use crate::transform::sandbox::Sandbox;
use crate::transform::{self, Transform, describe, digest};

/// What is to run by the configuration and by what was deployed.
pub(super) struct Chosen {
    /// The settings, with its parameters.
    pub settings: Settings,
    pub kept: Kept,
    /// Where it comes from; none where it was deployed, and looked at then.
    pub origin: Option<Origin>,
    pub deployed: Deployed,
    pub configured: Configured,
    /// Whether `deployed` says more than what is written down.
    pub is_news: bool,
}

/// What a configuration names.
#[derive(Clone)]
pub(super) struct Configured {
    /// The component's digest.
    pub digest: String,
    /// The component and its parameters; see [`named`].
    pub names: String,
}

impl Configured {
    pub(super) fn by(kept: &Kept) -> Self {
        Configured { digest: digest(&kept.component), names: named(&kept.component, &kept.deciding) }
    }
}

/// Whether the pipeline seals ranges. Only such a one remembers what was deployed to it: any other, such as one that
/// reads a file, is run to try something.
pub(super) fn seals(settings: &Settings) -> bool {
    matches!((&settings.source, &settings.sink), (Source::Kafka(_), Sink::ClickHouse(_)))
}

/// Removes transforms that no range of the group needs any more, and that nobody goes back to. What fails is tried at
/// the next deployment or start.
pub(super) fn prune(store: &Store, commits: &Commits) {
    store.prune(|| match commits.pending() {
        Ok(seals) => Some(seals.into_iter().filter_map(|seal| seal.pin).collect()),
        Err(error) => {
            tracing::debug!("old transforms are not removed now: {error:#}");
            None
        }
    });
}

/// Compiles and starts what was chosen.
///
/// # Errors
/// A component that does not fit, parameters that it refuses (exit 2); a compiler that cannot do its work, or no room
/// for an instance (exit 3).
pub(super) fn load(settings: &Settings, kept: &Kept, sandbox: &Sandbox) -> Result<Transform> {
    super::start(&kept.component, settings, sandbox)
        .with_context(|| format!("transform `{}`", settings.transform))
}

/// What the configuration and what was deployed say is to run.
///
/// # Errors
/// The configuration's component cannot be read or fetched; what was deployed last is not known, or cannot be used.
pub(super) fn chosen(settings: &Settings) -> Result<Chosen> {
    let store = Store::new(settings.state_dir.as_deref(), &settings.name);
    choose(settings, &store, None, None)
}

/// `known` is what was deployed as far as this process knows, and `current` what it has of that.
pub(super) fn choose(
    settings: &Settings,
    store: &Store,
    known: Option<Deployed>,
    current: Option<Kept>,
) -> Result<Chosen> {
    let (own, origin) = configured(settings)?;
    let named = Configured::by(&own);
    let names = named.names.clone();
    let known = match known {
        None if seals(settings) => store.deployed()?,
        known => known,
    };
    let (mut deployed, was_known) = match known {
        Some(deployed) => (deployed, true),
        None => (Deployed::new(names.clone()), false),
    };
    let is_free = |version: &&Version| is_pinned_or_free(settings, &version.digest);
    let current_version = deployed.current().filter(|_| deployed.holds(&names)).filter(is_free);
    let (settings, kept, origin, by) = match current_version {
        Some(version) if version.pin != own.pin() => {
            let kept = match current.filter(|kept| kept.pin() == version.pin) {
                Some(kept) => kept,
                None => brought_back(store, version)?,
            };
            // The component and its parameters were deployed; the other settings are the configuration's.
            let settings = settings.with_params(kept.deciding.params());
            let kept = Kept::new(kept.component, settings.deciding.clone());
            tracing::info!(
                digest = version.short(),
                configured = &named.digest[..DIGEST_DIGITS],
                by = version.by.as_str(),
                "what was deployed last runs, and not what the configuration names"
            );
            (settings, kept, None, version.by)
        }
        _ => (settings.clone(), own, Some(origin), By::Configuration),
    };
    if !deployed.holds(&names) {
        tracing::info!(
            "the configuration names another transform than before: it runs, whatever was deployed"
        );
    }
    let before = deployed.clone();
    deployed.configure(names);
    deployed.put(&kept, by, now_ms());
    let is_news = was_known && deployed != before && seals(&settings) && !settings.dry_run;
    Ok(Chosen { settings, kept, origin, deployed, configured: named, is_news })
}

/// What the configuration names, and where it comes from.
///
/// # Errors
/// The component cannot be read or fetched, or may not run; see [`admit`].
pub(super) fn configured(settings: &Settings) -> Result<(Kept, Origin)> {
    let shown = || format!("transform `{}`", settings.transform);
    let (component, signature) = match &settings.transform {
        Component::BuiltIn => (transform::BUILT_IN.to_vec(), None),
        Component::File(path) => (describe::bytes(path)?, origin::beside(path)?),
        Component::Registry(remote) => {
            let component = oci::component(remote, &settings.limits, settings.state_dir.as_deref());
            (component.with_context(shown)?, None)
        }
    };
    let origin = admit(settings, &component, signature.as_deref()).with_context(shown)?;
    Ok((Kept::new(component, settings.deciding.clone()), origin))
}

/// What was deployed last.
fn brought_back(store: &Store, version: &Version) -> Result<Kept> {
    let kept = store.load(&version.pin).map_err(|why| anyhow!(why));
    kept.with_context(|| format!("the transform that was deployed last, sha256:{}, is gone", version.digest))
        .environment()
        .help(
            "remove the pipeline's file in `deployed` of `state_dir`, and what the configuration names runs",
        )
}
