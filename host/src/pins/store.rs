//! The directory where transforms are kept: a file for each pin of each pipeline.
//!
//! Hosts and pipelines may share it: files are written whole or not at all, are never changed, and each pipeline
//! prunes its own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use super::Kept;
use super::deployed::Deployed;
use crate::error::Classify;

/// The transforms that are kept for a pipeline whether a range needs them or not: those that were used last. One is
/// used where a host runs it, and where a range is finished that it sealed.
const MAX_KEPT: usize = 8;
/// A file that is kept has at most so many bytes; no component has as many.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// After this time an unfinished file is of a host that died while it wrote it.
const UNFINISHED: Duration = Duration::from_secs(3600);
/// What was deployed has at most so many bytes.
const MAX_DEPLOYED_BYTES: u64 = 1 << 16;
/// What is not there, or not this user's.
const NOT_OURS: [ErrorKind; 3] = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::PermissionDenied];
/// Why nothing is kept.
const NOWHERE: &str = "neither `state_dir` nor HOME says where";
/// Between a pipeline's name, which cannot have it, and a pin.
const BETWEEN: char = '@';

/// Where a pipeline's transforms are kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// None: nowhere.
    folder: Option<PathBuf>,
    /// Where it is written down what was deployed.
    deployed: Option<PathBuf>,
    pipeline: String,
}

impl Store {
    /// In the folder `transforms` of `state_dir`, for the pipeline of this name.
    pub fn new(state_dir: Option<&Path>, pipeline: &str) -> Self {
        let deployed = state_dir.map(|dir| dir.join("deployed").join(format!("{pipeline}.json")));
        Store { folder: state_dir.map(|dir| dir.join("transforms")), deployed, pipeline: pipeline.to_owned() }
    }

    /// What was deployed to the pipeline; none where nothing ever was.
    ///
    /// # Errors
    /// What is written down cannot be read: then nobody knows what is to run.
    pub fn deployed(&self) -> Result<Option<Deployed>> {
        let Some(path) = &self.deployed else { return Ok(None) };
        let bytes = match read(path, MAX_DEPLOYED_BYTES) {
            // Where this user cannot write, no host of this user has written either.
            Err(error) if NOT_OURS.contains(&error.kind()) => return Ok(None),
            read => read.map_err(anyhow::Error::new),
        };
        bytes
            .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
            .with_context(|| format!("which transform was deployed last is not known: {}", path.display()))
            .environment()
            .help("remove that file to run the transform that the configuration names")
            .map(Some)
    }

    /// Writes down what was deployed.
    ///
    /// # Errors
    /// Where it cannot be written to the disk.
    pub fn record(&self, deployed: &Deployed) -> Result<()> {
        let path = self.deployed.as_ref().context(NOWHERE)?;
        let folder = path.parent().context(NOWHERE)?;
        let bytes = serde_json::to_vec_pretty(deployed)?;
        write_whole(folder, path, &bytes).with_context(|| path.display().to_string())
    }

    fn path(&self, folder: &Path, pin: &str) -> PathBuf {
        folder.join(format!("{}{BETWEEN}{pin}", self.pipeline))
    }

    /// Keeps a transform, and notes that it is used. Readable by this user only, since parameters may be secrets.
    ///
    /// # Errors
    /// Where it cannot be written to the disk.
    pub fn save(&self, kept: &Kept) -> Result<()> {
        let folder = self.folder.as_ref().context(NOWHERE)?;
        let path = self.path(folder, kept.pin());
        if self.load(kept.pin()).is_ok() && touch(&path).is_ok() {
            return Ok(());
        }
        write_whole(folder, &path, &kept.to_bytes()).with_context(|| path.display().to_string())
    }

    /// What is kept under `pin`, which is noted as used.
    ///
    /// # Errors
    /// Why there is nothing that could be used.
    pub fn load(&self, pin: &str) -> Result<Kept, String> {
        let Some(folder) = &self.folder else { return Err("there is no folder to keep it in".to_owned()) };
        // A pin comes from a commit, and is no path.
        if !pin.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("no host of this program writes such a pin".to_owned());
        }
        let path = self.path(folder, pin);
        let bytes = match read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!("it is not kept in {}", folder.display()));
            }
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let kept = Kept::from_bytes(pin, &bytes)
            .map_err(|why| format!("what is kept in {} cannot be used: {why}", path.display()))?;
        // In a folder that only others may write to, they prune.
        let _ = touch(&path);
        Ok(kept)
    }

    /// Notes that a transform is used. False: it is not kept (any more).
    pub fn touch(&self, pin: &str) -> bool {
        self.folder.as_ref().is_some_and(|folder| touch(&self.path(folder, pin)).is_ok())
    }

    /// Removes the pipeline's files but for those that were used last, those that were deployed last, and the pins that
    /// `pending` says ranges have; none where that is not known now, and nothing is removed. It is asked only where
    /// there is something to remove. What cannot be removed stays.
    pub fn prune(&self, pending: impl FnOnce() -> Option<Vec<String>>) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        let mut own = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let used = entry.metadata().and_then(|facts| facts.modified());
            let (Some(name), Ok(used)) = (name.to_str(), used) else { continue };
            if name.starts_with('.') {
                let age = SystemTime::now().duration_since(used).unwrap_or_default();
                if name.ends_with(".tmp") && age > UNFINISHED {
                    let _ = fs::remove_file(entry.path());
                }
            } else if let Some((_, pin)) =
                name.rsplit_once(BETWEEN).filter(|(pipeline, _)| *pipeline == self.pipeline)
            {
                own.push((used, pin.to_owned(), entry.path()));
            }
        }
        let beyond = own.len().saturating_sub(MAX_KEPT);
        let Some(deployed) = (beyond > 0).then(|| self.deployed().ok()).flatten() else { return };
        let deployed: Vec<String> =
            deployed.iter().flat_map(Deployed::versions).map(|version| version.pin.clone()).collect();
        own.sort();
        let beyond: Vec<_> = own.drain(..beyond).filter(|(_, pin, _)| !deployed.contains(pin)).collect();
        let Some(pending) = (!beyond.is_empty()).then(pending).flatten() else { return };
        let needed = |pin: &String| pending.contains(pin);
        for (_, pin, path) in beyond.into_iter().filter(|(_, pin, _)| !needed(pin)) {
            tracing::debug!(pin, "a transform that no range needs and that was not used for long is removed");
            let _ = fs::remove_file(path);
        }
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn touch(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.set_modified(SystemTime::now())
}

/// Whoever looks at `path` sees all of it or none, also after a loss of power.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".{:016x}.tmp", fastrand::u64(..)));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Deciding;
    use crate::pins::deployed::By;

    fn kept(component: &str) -> Kept {
        Kept::new(component.as_bytes().to_vec(), Deciding::default())
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder.join("transforms")).unwrap().count()
    }

    #[test]
    fn what_is_kept_is_found_by_its_pin_and_by_this_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        let store = Store::new(Some(&state), "..");
        store.save(&kept("a")).unwrap();
        store.save(&kept("b")).unwrap();
        assert!(store.load(kept("a").pin()) == Ok(kept("a")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("transforms"))), (0o700, 0o700));
        assert_eq!(mode(&store.path(&state.join("transforms"), kept("a").pin())), 0o600);
        assert_eq!(files(&state), 2);
        // Another pipeline does not have it.
        let other = Store::new(Some(&state), "other").load(kept("a").pin());
        assert!(other.is_err_and(|why| why.contains("it is not kept in")));
    }

    #[test]
    fn a_damaged_file_counts_as_gone_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Some(folder.path()), "p");
        store.save(&kept("a")).unwrap();
        let path = store.path(&folder.path().join("transforms"), kept("a").pin());
        fs::write(&path, "half").unwrap();
        let why = store.load(kept("a").pin()).err().unwrap();
        assert!(why.contains("damaged") && why.contains(&*path.to_string_lossy()), "{why}");
        store.save(&kept("a")).unwrap();
        assert!(store.load(kept("a").pin()).is_ok());
    }

    #[test]
    fn transforms_that_ranges_need_or_that_were_used_last_are_kept_and_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (Store::new(Some(folder.path()), "p"), Store::new(Some(folder.path()), "p@x"));
        other.save(&kept("other")).unwrap();
        let component = |number: usize| kept(&format!("component {number}"));
        let transforms = folder.path().join("transforms");
        let used_ago = |number: usize, seconds: u64| {
            let file = File::options().append(true).open(store.path(&transforms, component(number).pin()));
            file.unwrap().set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for number in 0..MAX_KEPT + 3 {
            store.save(&component(number)).unwrap();
            used_ago(number, 1000 - number as u64);
        }
        // A pending range is found of the oldest, and the next one is running.
        assert!(store.load(component(0).pin()).is_ok() && store.touch(component(1).pin()));
        let unfinished = transforms.join(".1.tmp");
        let file = File::create(&unfinished).unwrap();
        store.prune(|| None);
        assert!(unfinished.exists(), "another host may be writing it");
        file.set_modified(SystemTime::now() - 2 * UNFINISHED).unwrap();
        assert_eq!(files(folder.path()), MAX_KEPT + 5, "what is pending is not known");
        store.prune(|| Some(vec![component(3).pin().to_owned()]));
        assert!(!unfinished.exists());
        let path = |number: usize| store.path(&transforms, component(number).pin());
        assert_eq!((0..MAX_KEPT + 3).filter(|number| !path(*number).exists()).collect::<Vec<_>>(), [2, 4]);
        // Nothing refers to it any more.
        store.prune(|| Some(vec![]));
        assert_eq!((0..MAX_KEPT + 3).filter(|number| !path(*number).exists()).collect::<Vec<_>>(), [2, 3, 4]);
        store.prune(|| panic!("nothing is to be removed"));
        assert!(other.load(kept("other").pin()).is_ok());
        assert!(!store.touch(component(2).pin()));
    }

    #[test]
    fn what_was_deployed_last_is_written_down_and_its_transforms_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Some(folder.path()), "p");
        assert_eq!(store.deployed().unwrap(), None);
        let mut deployed = Deployed::new("c".to_owned());
        for number in 0..3 * MAX_KEPT as u64 {
            let kept = kept(&format!("component {number}"));
            store.save(&kept).unwrap();
            let path = store.path(&folder.path().join("transforms"), kept.pin());
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number)).unwrap();
            // The oldest of all was deployed, too.
            if number < 2 || number == 20 {
                deployed.put(&kept, By::Deploy, number);
            }
        }
        store.record(&deployed).unwrap();
        assert_eq!(store.deployed().unwrap(), Some(deployed.clone()));
        store.prune(|| Some(vec![]));
        assert_eq!(files(folder.path()), MAX_KEPT + 2);
        assert!(deployed.versions().iter().all(|version| store.load(&version.pin).is_ok()));
        // What cannot be read might name any of them.
        fs::write(folder.path().join("deployed/p.json"), "{").unwrap();
        let error = store.deployed().unwrap_err();
        assert!(format!("{error:#}").contains("p.json"), "{error:#}");
        store.save(&kept("one more")).unwrap();
        store.prune(|| panic!("nothing is to be removed"));
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::new(Some(&file), "p").save(&kept("a")).unwrap_err();
        assert!(format!("{error:#}").contains("file/transforms"), "{error:#}");
        assert_eq!(Store::new(Some(&file), "p").deployed().unwrap(), None);
        let error = Store::new(None, "p").save(&kept("a")).unwrap_err();
        assert!(format!("{error:#}").contains("state_dir"), "{error:#}");
        let commit = Store::new(Some(folder.path()), "p").load("../p");
        assert!(commit.is_err_and(|why| why.contains("no host of this program")));
    }
}
