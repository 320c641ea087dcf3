//! What was deployed to a pipeline: which transform it runs after a restart, and which ones it ran before.
//!
//! A configuration names a transform, and a running pipeline may be given another one. What was deployed last counts,
//! until the configuration itself names another component or other parameters than it did then: then that counts
//! (promise D15 of `docs/invariants.md`).

use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kept;
use crate::commit::DIGEST_DIGITS;
use crate::config::Deciding;
use crate::origin::beginning_of;
use crate::transform::digest;

/// So many transforms that were deployed to a pipeline are kept, to go back to.
pub const MAX_VERSIONS: usize = 10;

/// Who had a transform run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The configuration, at a start.
    Configuration,
    /// The configuration's file, which changed while the pipeline ran.
    Watch,
    /// A person or a program that handed over a component.
    Deploy,
    /// A person or a program that went back to one that ran before.
    Rollback,
}

impl By {
    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Configuration => "configuration",
            By::Watch => "watch",
            By::Deploy => "deploy",
            By::Rollback => "rollback",
        }
    }
}

/// A transform that was to run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its pin: the component, its parameters and the settings that decide rows.
    pub pin: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Who had it run, the last time.
    pub by: By,
    /// Since when, the last time; milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: u64,
    /// Until when, the last time; none for the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl Version {
    /// The beginning of its component's digest, as in the column `_transform`.
    pub fn short(&self) -> &str {
        self.digest.get(..DIGEST_DIGITS).unwrap_or(&self.digest)
    }
}

/// The transforms that were deployed to a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// What the configuration named when this was written; see [`named`].
    configured: String,
    /// Each pin once, in the order in which they ran last; at most [`MAX_VERSIONS`].
    versions: Vec<Version>,
}

impl Deployed {
    /// Nothing yet, for a configuration that names this; see [`named`].
    pub fn new(configured: String) -> Self {
        Deployed { configured, versions: Vec::new() }
    }

    /// Whether what was deployed still counts where the configuration names this.
    pub fn holds(&self, configured: &str) -> bool {
        self.configured == configured
    }

    /// From now on the configuration names this.
    pub fn configure(&mut self, configured: String) {
        self.configured = configured;
    }

    /// The one that runs.
    pub fn current(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// All that are kept, the one that runs last.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Has another one run from now on, unless it does already. False: it does.
    pub fn put(&mut self, kept: &Kept, by: By, now_ms: u64) -> bool {
        if self.current().is_some_and(|current| current.pin == kept.pin()) {
            return false;
        }
        if let Some(last) = self.versions.last_mut() {
            last.until_ms = Some(now_ms);
        }
        self.versions.retain(|version| version.pin != kept.pin());
        let beyond = (self.versions.len() + 1).saturating_sub(MAX_VERSIONS);
        self.versions.drain(..beyond);
        let (pin, digest) = (kept.pin().to_owned(), digest(&kept.component));
        self.versions.push(Version { pin, digest, by, since_ms: now_ms, until_ms: None });
        true
    }

    /// The one that ran before the one that runs.
    ///
    /// # Errors
    /// None did, as far as is kept.
    pub fn before(&self) -> Result<&Version, String> {
        self.versions
            .iter()
            .rev()
            .nth(1)
            .ok_or_else(|| "no other transform ran before, as far as is kept".to_owned())
    }

    /// The one that ran last of those whose digest or pin begins like this.
    ///
    /// # Errors
    /// There is none; or several components have such a digest.
    pub fn find(&self, digest: &str) -> Result<&Version, String> {
        let digest = beginning_of(digest);
        let is_meant = |version: &&Version| {
            !digest.is_empty() && (version.digest.starts_with(&digest) || version.pin.starts_with(&digest))
        };
        let last = self.versions.iter().rev().find(is_meant);
        let last = last.ok_or_else(|| {
            let kept: Vec<&str> = self.versions.iter().rev().map(Version::short).collect();
            format!(
                "no transform that begins with `{digest}` is kept; the last ones were {}",
                kept.join(", ")
            )
        })?;
        match self.versions.iter().filter(is_meant).all(|version| version.digest == last.digest) {
            true => Ok(last),
            false => Err(format!("several transforms begin with `{digest}`: give more of its digits")),
        }
    }
}

/// What a configuration names: the component and its parameters, and nothing else of what decides rows.
pub fn named(component: &[u8], deciding: &Deciding) -> String {
    super::pin_of(&super::header(component, &deciding.of_params()))
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(component: &str, unit: &str) -> Kept {
        let params = ("params".to_owned(), Some("unit".to_owned()), unit.to_owned());
        Kept::new(component.as_bytes().to_vec(), Deciding(vec![params]))
    }

    #[test]
    fn each_transform_is_kept_once_with_when_it_ran_last_and_the_last_ten_of_them() {
        let mut deployed = Deployed::new("c".to_owned());
        assert!(deployed.put(&kept("a", "us"), By::Configuration, 1));
        assert!(!deployed.put(&kept("a", "us"), By::Deploy, 2), "it runs already");
        for now in 2..8 {
            assert!(deployed.put(&kept(if now % 2 == 0 { "b" } else { "a" }, "us"), By::Deploy, now));
        }
        let times = |deployed: &Deployed| -> Vec<_> {
            deployed.versions().iter().map(|version| (version.since_ms, version.until_ms)).collect()
        };
        assert_eq!(times(&deployed), [(6, Some(7)), (7, None)]);
        for now in 10..30 {
            deployed.put(&kept(&now.to_string(), "us"), By::Deploy, now);
        }
        assert_eq!(deployed.versions().len(), MAX_VERSIONS);
        assert_eq!(times(&deployed)[..2], [(20, Some(21)), (21, Some(22))]);
        let text = serde_json::to_string(&deployed).unwrap();
        assert_eq!(serde_json::from_str::<Deployed>(&text).unwrap(), deployed);
    }

    #[test]
    fn one_is_found_by_the_beginning_of_its_digest_or_pin_and_never_taken_for_another() {
        let mut deployed = Deployed::default();
        deployed.put(&kept("a", "us"), By::Deploy, 1);
        deployed.put(&kept("a", "ms"), By::Deploy, 2);
        deployed.put(&kept("b", "us"), By::Deploy, 3);
        let of_a = digest(b"a");
        let texts = [of_a.clone(), format!("sha256:{of_a}"), of_a[..8].to_owned(), of_a[..8].to_uppercase()];
        for text in texts {
            assert_eq!(deployed.find(&text).unwrap().since_ms, 2, "with the parameters that it had last");
        }
        assert_eq!(deployed.find(kept("a", "us").pin()).unwrap().since_ms, 1);
        assert!(deployed.find("").is_err());
        let missing = deployed.find("none").unwrap_err();
        assert!(missing.ends_with(&format!(
            "were {}, {}, {}",
            &digest(b"b")[..16],
            &of_a[..16],
            &of_a[..16]
        )));
        for version in &mut deployed.versions {
            version.digest = format!("ab{}", version.digest);
        }
        assert!(deployed.find("ab").unwrap_err().contains("several"));
    }

    #[test]
    fn a_configuration_names_a_component_with_its_parameters_and_no_other_setting() {
        let table = |name: &str| ("table".to_owned(), None, name.to_owned());
        let of =
            |kept: Kept, table| named(&kept.component, &Deciding([kept.deciding.0, vec![table]].concat()));
        assert_eq!(of(kept("a", "us"), table("x")), of(kept("a", "us"), table("y")));
        assert_ne!(of(kept("a", "us"), table("x")), of(kept("a", "ms"), table("x")));
        assert_ne!(of(kept("a", "us"), table("x")), of(kept("b", "us"), table("x")));
    }
}
