//! A folder of files that are this user's alone. Everything is opened relative to the folder and without following
//! links, so that what was checked is what is used.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, linkat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// After this time an unfinished file is of a host that died while it wrote it.
const UNFINISHED: Duration = Duration::from_secs(3600);
/// What the names of unfinished files end with.
const UNFINISHED_ENDING: &str = ".tmp";
/// Bits of a mode: what others than the owner may do.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// A folder of this user, open.
pub(crate) struct Folder {
    fd: OwnedFd,
}

impl Folder {
    /// None: it is not there.
    ///
    /// # Errors
    /// Where it is a link, another user's, or one that others may write to.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(CWD, path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error)).context("the folder cannot be opened"),
        };
        let file = File::from(fd);
        is_ours(&file, OTHERS_WRITE).context("the folder")?;
        Ok(Some(Folder { fd: file.into() }))
    }

    /// The same, made where it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)?.context("the folder is gone as soon as it was made")
    }

    /// A file; none: it is not there.
    ///
    /// # Errors
    /// Where it is a link or no file at all, another user's, or one that others may use.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<File>> {
        // Without waiting, for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => bail!("it is a symbolic link"),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        ensure!(file.metadata()?.is_file(), "it is no file");
        is_ours(&file, OTHERS)?;
        Ok(Some(file))
    }

    /// Puts a file in the place of whatever is there. Whoever looks sees all of it or none.
    pub(crate) fn replace(&self, name: &str, content: impl Read) -> io::Result<()> {
        self.write(content, |unfinished| renameat(&self.fd, unfinished, &self.fd, name))
    }

    /// The same where nothing is there. Where something is, that stays, and nothing is said.
    pub(crate) fn add(&self, name: &str, content: impl Read) -> io::Result<()> {
        self.write(content, |unfinished| {
            let added = linkat(&self.fd, unfinished, &self.fd, name, AtFlags::empty());
            self.remove_at(unfinished)?;
            added.or_else(|error| if error == Errno::EXIST { Ok(()) } else { Err(error) })
        })
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(self.remove_at(name)?)
    }

    fn remove_at(&self, name: &str) -> rustix::io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    fn write(
        &self,
        mut content: impl Read,
        publish: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        let unfinished = format!(".{:016x}{UNFINISHED_ENDING}", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.fd, &unfinished, flags, Mode::RUSR | Mode::WUSR)?);
        let written = io::copy(&mut content, &mut file);
        let written = written.and_then(|_| file.sync_all()).and_then(|()| Ok(publish(&unfinished)?));
        if written.is_err() {
            let _ = self.remove(&unfinished);
        }
        written
    }

    /// Removes the files with this ending that were used least lately, until all that are left have `max_bytes` at most;
    /// and what a host left that died while it wrote.
    pub(crate) fn prune(&self, ending: &str, max_bytes: u64) -> Result<()> {
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            // It may be another host's, which has removed it by now.
            let Ok(facts) = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
                continue;
            }
            let used = Duration::from_secs(u64::try_from(facts.st_mtime).unwrap_or_default());
            if name.ends_with(ending) {
                files.push((used, name.to_owned(), u64::try_from(facts.st_size).unwrap_or_default()));
            } else if name.ends_with(UNFINISHED_ENDING)
                && now.duration_since(SystemTime::UNIX_EPOCH + used).unwrap_or_default() > UNFINISHED
            {
                self.remove(name)?;
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, name, size) in files {
            if bytes <= max_bytes {
                break;
            }
            tracing::debug!(name, "a file that was not used for long is removed");
            self.remove(&name)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// All of a file, which must have `max_bytes` at most.
pub(crate) fn contents(file: &mut File, max_bytes: u64) -> Result<Vec<u8>> {
    let size = file.metadata()?.len();
    ensure!(size <= max_bytes, "it has {size} bytes");
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether what is open is this user's, and others have none of these rights to it.
fn is_ours(file: &File, rights: u32) -> Result<()> {
    let facts = file.metadata()?;
    let (owner, user) = (facts.uid(), rustix::process::geteuid().as_raw());
    ensure!(owner == user, "it belongs to user {owner}, and the host runs as {user}");
    ensure!(facts.mode() & rights == 0, "others may use it (mode {:o})", facts.mode() & 0o7777);
    Ok(())
}
