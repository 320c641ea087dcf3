//! What was fetched from registries, kept from one start to the next under its digest. Whatever stands there, it counts
//! only if it has that digest.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, ensure};

use crate::folder::{self, Folder};
use crate::transform::digest;

/// What the names of the files end with.
const ENDING: &str = ".blob";
/// All files together, bytes: ten components of Python's, which are the largest, or thousands of Rust's.
const MAX_KEPT_BYTES: u64 = 256 << 20;

/// The folder of what was fetched.
pub(super) struct Blobs {
    /// None: nothing is kept.
    path: Option<PathBuf>,
}

impl Blobs {
    /// In the folder `components` of `state_dir`; none: nowhere.
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        Blobs { path: state_dir.map(|dir| dir.join("components")) }
    }

    /// What has this digest and at most so many bytes; none where it is not kept. What is there and does not count is
    /// said.
    pub(super) fn load(&self, digest: &str, max_bytes: u64) -> Option<Vec<u8>> {
        let path = self.path.as_deref()?;
        read(path, digest, max_bytes).unwrap_or_else(|why| {
            let file = path.join(file(digest));
            tracing::warn!(
                "{} is not used, and fetched again: {why:#}; has someone changed it?",
                file.display()
            );
            None
        })
    }

    /// Keeps what has these digests, and removes what was not used for longest where all are too large together. That it
    /// cannot be kept is said, and is no error.
    pub(super) fn save(&self, blobs: &[(&str, &[u8])]) {
        let Some(path) = self.path.as_deref() else { return };
        if let Err(why) = write(path, blobs) {
            tracing::warn!(
                "what was fetched is not kept in {}, so that the next start needs the registry again: {why:#}",
                path.display()
            );
        }
    }
}

fn file(digest: &str) -> String {
    format!("{digest}{ENDING}")
}

fn read(path: &Path, expected: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let Some(folder) = Folder::open(path)? else { return Ok(None) };
    let Some(mut file) = folder.open_file(&file(expected))? else { return Ok(None) };
    let bytes = folder::contents(&mut file, max_bytes)?;
    ensure!(digest(&bytes) == expected, "it is damaged");
    // What is used last is removed last.
    file.set_modified(SystemTime::now())?;
    Ok(Some(bytes))
}

fn write(path: &Path, blobs: &[(&str, &[u8])]) -> Result<()> {
    let folder = Folder::create(path)?;
    for (digest, bytes) in blobs {
        folder.replace(&file(digest), *bytes)?;
    }
    folder.prune(ENDING, MAX_KEPT_BYTES)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_digest_and_no_byte_of_it_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(Some(folder.path()));
        let (bytes, name) = (b"component".as_slice(), digest(b"component"));
        assert_eq!(blobs.load(&name, 9), None);
        blobs.save(&[(&name, bytes)]);
        assert_eq!(blobs.load(&name, 9).as_deref(), Some(bytes));
        assert_eq!(blobs.load(&name, 8), None, "it is larger than it may be");
        let path = folder.path().join("components").join(file(&name));
        fs::write(&path, b"Component").unwrap();
        assert_eq!(blobs.load(&name, 9), None);
        blobs.save(&[(&name, bytes)]);
        assert_eq!(blobs.load(&name, 9).as_deref(), Some(bytes));
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is_found_and_nothing_fails() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for blobs in [Blobs::new(None), Blobs::new(Some(&folder.path().join("file")))] {
            blobs.save(&[(&digest(b"x"), b"x")]);
            assert_eq!(blobs.load(&digest(b"x"), 1), None);
        }
    }
}
