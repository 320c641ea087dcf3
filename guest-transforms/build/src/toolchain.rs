//! Finds a Rust compiler that can make WebAssembly.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// WebAssembly without an operating system, and so without imports.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages of a recent compiler, with the source of its standard library.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The oldest compiler that this workspace can be built with.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler, and how it comes by a standard library for [`TARGET`].
#[derive(Debug, PartialEq)]
pub(crate) struct Toolchain {
    pub(crate) sysroot: PathBuf,
    pub(crate) version: String,
    pub(crate) std: Std,
    /// The linker, where the compiler would not find it.
    pub(crate) linker: Option<PathBuf>,
}

/// The standard library.
#[derive(Debug, PartialEq)]
pub(crate) enum Std {
    /// It is installed.
    Installed,
    /// Its source is in this folder, and it is built with the guest.
    Source(PathBuf),
}

impl Toolchain {
    /// The active toolchain where it will do, and otherwise the system's, which is installed first where
    /// that is allowed and possible.
    pub(crate) fn find(may_install: bool) -> Result<Self> {
        let mut reasons = Vec::new();
        if let Some(toolchain) = search(&mut reasons) {
            return Ok(toolchain);
        }
        if may_install && install()? {
            reasons.clear();
            if let Some(toolchain) = search(&mut reasons) {
                return Ok(toolchain);
            }
        }
        bail!(
            "there is no Rust compiler that can make WebAssembly:\n  {}\ninstall one of\n  \
             rustup target add {TARGET}\n  apt-get install {}    (Debian)",
            reasons.join("\n  "),
            PACKAGES.join(" ")
        )
    }

    pub(crate) fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// Looks at one compiler.
    ///
    /// # Errors
    /// Why it will not do.
    fn of(rustc: &Path) -> Result<Self> {
        let sysroot = PathBuf::from(ask(rustc, &["--print", "sysroot"])?);
        let version = ask(rustc, &["--version"])?;
        if !is_recent(&version) {
            bail!("{version} is older than {OLDEST}");
        }
        let found =
            |std| Self { sysroot: sysroot.clone(), version: version.clone(), std, linker: linker(&sysroot) };
        let rustlib = sysroot.join("lib/rustlib");
        let installed = rustlib.join(TARGET).join("lib");
        if has_file(&installed, |name| name.starts_with("libstd-")) {
            return Ok(found(Std::Installed));
        }
        // The folder is a link in Debian; the compiler names files by what it links to.
        match fs::canonicalize(rustlib.join("src/rust/library")) {
            Ok(source) if source.join("Cargo.lock").is_file() => Ok(found(Std::Source(source))),
            _ => bail!("{version} has neither the target {TARGET} nor the source of the standard library"),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let std = match self.std {
            Std::Installed => "the target is installed",
            Std::Source(_) => "the standard library is built too",
        };
        write!(f, "{} ({std})", self.version)
    }
}

/// The first compiler that will do. Says of each other why not.
fn search(reasons: &mut Vec<String>) -> Option<Toolchain> {
    for rustc in ["rustc", "/usr/bin/rustc"] {
        match Toolchain::of(Path::new(rustc)) {
            Ok(toolchain) => return Some(toolchain),
            Err(reason) => reasons.push(format!("{rustc}: {reason:#}")),
        }
    }
    None
}

/// Installs Debian's packages where this is Debian and the user may. Whether it did.
fn install() -> Result<bool> {
    let is_root = ask(Path::new("id"), &["-u"]).is_ok_and(|user| user == "0");
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return Ok(false);
    }
    eprintln!("no Rust compiler here can make WebAssembly: installing {}", PACKAGES.join(" "));
    for arguments in [["update", "--quiet"].as_slice(), &["install", "--yes", "--quiet"]] {
        let packages = PACKAGES.iter().filter(|_| arguments.contains(&"install"));
        let mut command = Command::new("/usr/bin/apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).args(packages);
        let status = command.status().with_context(|| format!("{command:?} could not be started"))?;
        if !status.success() {
            eprintln!("{command:?} failed ({status})");
            return Ok(false);
        }
    }
    Ok(true)
}

/// A linker for WebAssembly, where the compiler has none of its own and there is none on the path.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    const NAME: &str = "rust-lld";
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).any(|folder| folder.join(NAME).is_file());
    if on_path || own_linker(sysroot).is_some() {
        return None;
    }
    let active = ask(Path::new("rustc"), &["--print", "sysroot"]).ok()?;
    own_linker(Path::new(&active))
}

/// The linker that comes with a compiler.
fn own_linker(sysroot: &Path) -> Option<PathBuf> {
    let targets = fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    targets.flatten().map(|target| target.path().join("bin/rust-lld")).find(|linker| linker.is_file())
}

fn has_file(folder: &Path, is_it: impl Fn(&str) -> bool) -> bool {
    fs::read_dir(folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_str().is_some_and(&is_it)))
    })
}

/// What a program answers, without the end of the line.
fn ask(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().context("it could not be started")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether what `rustc --version` says is not older than [`OLDEST`].
fn is_recent(version: &str) -> bool {
    let number = version.split_whitespace().nth(1).unwrap_or_default();
    numbers(number) >= numbers(OLDEST)
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_compiler_is_told_from_a_recent_one() {
        for recent in
            ["rustc 1.95.0 (59807616e 2026-04-14)", "rustc 1.100.0-nightly (x 2026-01-01)", "rustc 2.0.0"]
        {
            assert!(is_recent(recent), "{recent}");
        }
        for old in ["rustc 1.85.0 (x 2025-01-01)", "rustc", "", "rustc one.two"] {
            assert!(!is_recent(old), "{old}");
        }
    }

    #[test]
    fn what_is_no_compiler_is_not_one() {
        assert!(Toolchain::of(Path::new("/nowhere/rustc")).is_err());
        assert!(Toolchain::of(Path::new("false")).is_err());
    }
}
