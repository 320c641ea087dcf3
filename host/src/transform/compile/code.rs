//! Native code in a file in memory that nobody can change: what was made or authenticated is what is mapped, and
//! only what is used of it becomes memory of this process.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, anyhow};
use rustix::fs::{MemfdFlags, SealFlags};
use wasmtime::component::Component;

use crate::transform::engine::Engine;

/// Native code that this host has made of a component, or whose MAC says that it has.
pub(in crate::transform) struct Code {
    file: File,
    bytes: u64,
}

impl Code {
    /// Takes a file of [`unnamed`], which from now on nobody can write to, whoever has it open.
    ///
    /// # Errors
    /// Where somebody has mapped it so that they could still change it.
    pub(super) fn frozen(file: File) -> Result<Self> {
        rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)
            .context("native code cannot be kept from changes")?;
        let bytes = file.metadata()?.len();
        Ok(Code { file, bytes })
    }

    /// A copy of all of `code`.
    ///
    /// # Errors
    /// Where it cannot be read, or there is no memory for it.
    pub(in crate::transform) fn copied(mut code: impl Read) -> Result<Self> {
        let mut file = unnamed("code")?;
        io::copy(&mut code, &mut file)?;
        Self::frozen(file)
    }

    /// How many bytes it has.
    pub(in crate::transform) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it, from its beginning.
    pub(in crate::transform) fn reader(&self) -> io::Result<File> {
        // With a place of its own: others may have the file open, too, and move theirs.
        File::open(self.path())
    }

    pub(super) fn load(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: the file must have what `precompile_component` returned, and must not change as long as the
        // component lives, which has it mapped. A `Code` is made in two places: by `Compiler::compile`, which has called
        // that, here or in a child process of this same executable; and by `cache::read`, of bytes whose MAC is right
        // under a key that only this user can read, and that `Cache::save` gives to nothing but a `Code`. Both have it
        // from `frozen`: the kernel lets nobody change it. Wasmtime itself refuses code of another version or other
        // settings.
        unsafe { Component::deserialize_file(&engine.inner, self.path()) }.map_err(|e| anyhow!("{e:#}"))
    }

    /// Where it can be opened once more.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

/// A file in memory, which a process's limit for files bounds like any other.
pub(super) fn unnamed(name: &str) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(name, flags).context("a file in memory")?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::transform::BUILT_IN;
    use crate::transform::compile::precompile;

    #[test]
    fn native_code_cannot_be_changed_by_whoever_has_its_file_open() {
        let file = unnamed("code").unwrap();
        let mut before = file.try_clone().unwrap();
        before.write_all(b"as it was").unwrap();
        let code = Code::frozen(file).unwrap();
        // With the rights of a compiler that has not ended, and of whoever opens it anew.
        let anew = File::options().write(true).open(code.path());
        for mut file in [before].into_iter().chain(anew) {
            assert!(file.write_all(b"more").is_err());
            assert!(std::os::unix::fs::FileExt::write_at(&file, b"other", 0).is_err());
            assert!(file.set_len(3).is_err() && file.set_len(100).is_err());
        }
        let mut bytes = Vec::new();
        code.reader().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), code.bytes()), (&b"as it was"[..], 9));
    }

    #[test]
    fn what_runs_is_the_file_itself_and_outlives_who_loaded_it() {
        let engine = Engine::new(1).unwrap();
        let code = Code::copied(&*precompile(&engine.inner, BUILT_IN).unwrap()).unwrap();
        let component = code.load(&engine).unwrap();
        drop(code);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let range = component.image_range();
        let start = format!("{:x}-", range.start.addr());
        let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(line.ends_with("/memfd:code (deleted)"), "{line}");
    }
}
