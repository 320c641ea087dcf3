//! The highest version that each pipeline has run of each transform, so that an older one is not put in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::Signed;
use super::version::Version;
use crate::error::Classify;
use crate::folder::{self, Folder};

/// The file at most, bytes: some thousand transforms of one pipeline.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What one pipeline has run: in the folder `versions` of `state_dir`, a file of JSON, `{"name":"version"}`.
#[derive(Debug, Clone)]
pub struct Accepted {
    path: PathBuf,
    pipeline: String,
}

impl Accepted {
    /// For the pipeline of this name.
    ///
    /// # Errors
    /// Where nothing says where to keep it (exit 2): a signature's version would mean nothing.
    pub fn new(state_dir: Option<&Path>, pipeline: &str) -> Result<Self> {
        let state_dir = state_dir
            .context("neither `state_dir` nor HOME says where the versions are kept that have run")
            .usage()?;
        Ok(Accepted { path: state_dir.join("versions"), pipeline: pipeline.to_owned() })
    }

    fn file(&self) -> String {
        // A pipeline's name may be a dot or two.
        format!("{}.json", self.pipeline)
    }

    /// The highest version of the transform `name` that has run; none: it never has.
    ///
    /// # Errors
    /// Where that cannot be known (exit 3).
    pub fn highest(&self, name: &str) -> Result<Option<Version>> {
        let all = self.read().with_context(|| self.shown()).environment().help(
            "whether an older version is put in the place of a newer one is not known: make it readable, or \
             remove it to take any version",
        )?;
        Ok(all.get(name).copied())
    }

    /// Notes that a transform runs.
    ///
    /// # Errors
    /// Where it cannot be kept (exit 3).
    pub fn note(&self, signed: &Signed) -> Result<()> {
        let written = self.raise(signed).with_context(|| self.shown());
        written.environment().help("set `state_dir` to a folder that the host may write to")
    }

    fn raise(&self, signed: &Signed) -> Result<()> {
        let mut all = self.read()?;
        if all.get(&signed.name).is_some_and(|version| *version >= signed.version) {
            return Ok(());
        }
        all.insert(signed.name.clone(), signed.version);
        let texts: BTreeMap<_, _> = all.iter().map(|(name, version)| (name, version.to_string())).collect();
        let folder = Folder::create(&self.path)?;
        Ok(folder.replace(&self.file(), &*serde_json::to_vec(&texts)?)?)
    }

    fn read(&self) -> Result<BTreeMap<String, Version>> {
        let Some(folder) = Folder::open(&self.path)? else { return Ok(BTreeMap::new()) };
        let Some(mut file) = folder.open_file(&self.file())? else { return Ok(BTreeMap::new()) };
        let bytes = folder::contents(&mut file, MAX_FILE_BYTES)?;
        let texts: BTreeMap<String, String> = serde_json::from_slice(&bytes).context("it is damaged")?;
        let version =
            |(name, text): (String, String)| Ok((name, Version::parse(&text).map_err(|why| anyhow!(why))?));
        texts.into_iter().map(version).collect()
    }

    fn shown(&self) -> String {
        format!("the versions that have run, {}", self.path.join(self.file()).display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::{Exit, exit_of};

    fn signed(name: &str, version: &str) -> Signed {
        Signed { key: String::new(), name: name.to_owned(), version: Version::parse(version).unwrap() }
    }

    #[test]
    fn the_highest_version_of_each_transform_of_each_pipeline_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let accepted = |pipeline: &str| Accepted::new(Some(&state), pipeline).unwrap();
        let highest = |pipeline: &str, name: &str| {
            accepted(pipeline).highest(name).unwrap().map(|version| version.to_string())
        };
        assert_eq!(highest("..", "a"), None);
        for (name, version) in [("a", "1.2"), ("a", "1.10"), ("a", "1.3"), ("b", "7")] {
            accepted("..").note(&signed(name, version)).unwrap();
        }
        assert_eq!((highest("..", "a").as_deref(), highest("..", "b").as_deref()), (Some("1.10"), Some("7")));
        assert_eq!(highest("p", "a"), None);
    }

    #[test]
    fn where_it_cannot_be_known_what_has_run_nothing_runs() {
        assert_eq!(exit_of(&Accepted::new(None, "p").unwrap_err()), Exit::Usage);
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(Some(dir.path()), "p").unwrap();
        accepted.note(&signed("a", "2")).unwrap();
        let file = dir.path().join("versions/p.json");
        for damaged in ["", "{", "[]", r#"{"a":"x"}"#, r#"{"a":1}"#] {
            fs::write(&file, damaged).unwrap();
            let error = accepted.highest("a").unwrap_err();
            assert_eq!(exit_of(&error), Exit::Environment, "{error:#}");
            assert!(format!("{error:#}").contains("versions/p.json"), "{error:#}");
            assert!(accepted.note(&signed("a", "3")).is_err());
        }
        fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &file).unwrap();
        assert!(accepted.highest("a").is_err());
    }
}
