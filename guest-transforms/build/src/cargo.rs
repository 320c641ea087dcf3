//! Cargo, called so that a guest comes out small, fast, and the same each time.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guest::{Guest, Target};
use crate::source::sha256;
use crate::toolchain::{Std, TARGET, Toolchain};

/// The compiler's flags. The host gives each batch a new instance, and memory that is not there need not be
/// made ready: a small stack, and to begin with as much memory as a usual batch takes.
pub(crate) const RECIPE: [&str; 2] = ["-Clink-arg=-zstack-size=65536", "-Clink-arg=--initial-memory=1048576"];

/// The profile, as cargo takes it from the environment.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
];

/// What the cargo that started this program set for it, and what would change what comes out.
const UNSET: [&str; 7] = [
    "CARGO",
    "LD_LIBRARY_PATH",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CARGO_BUILD_TARGET",
];

/// How guests of a workspace are built.
pub(crate) struct Cargo {
    root: PathBuf,
    /// Apart from the host's, whose lock would otherwise be waited for.
    folder: PathBuf,
    toolchain: Toolchain,
}

impl Cargo {
    pub(crate) fn new(root: &Path, toolchain: Toolchain) -> Self {
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
        // Copies of the workspace may share a target directory, and cargo may take one's files for the other's.
        let id = sha256(root.as_os_str().as_encoded_bytes());
        let folder = target.join("guests").join(id.get(..8).unwrap_or_default());
        Self { root: root.to_owned(), folder, toolchain }
    }

    /// Builds a guest; gives the file of its module.
    pub(crate) fn build(&self, guest: &Guest) -> Result<PathBuf> {
        let mut command = Command::new(self.toolchain.cargo());
        command.current_dir(&self.root).args(["rustc", "--quiet", "--release", "--locked"]);
        command.args(["--target", TARGET, "--package", &guest.package]);
        match guest.target {
            // Not in the manifest, where it would make each crate that depends on this one link it.
            Target::Shipped => command.args(["--lib", "--crate-type", "cdylib", "--features", "component"]),
            Target::Library => command.args(["--lib", "--crate-type", "cdylib"]),
            Target::Example => command.args(["--example", &guest.name]),
        };
        command.env("CARGO_TARGET_DIR", &self.folder).env("RUSTC", self.toolchain.rustc());
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\u{1f}")).envs(PROFILE);
        for name in UNSET {
            command.env_remove(name);
        }
        if let Std::Source(_) = self.toolchain.std {
            // The standard library is built with stable compilers by the same switch that builds them.
            command.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
        }
        let status = command.status().with_context(|| format!("{command:?} could not be started"))?;
        if !status.success() {
            bail!("cargo failed ({status})");
        }
        let folder = self.folder.join(TARGET).join("release");
        let folder = if guest.target == Target::Example { folder.join("examples") } else { folder };
        Ok(folder.join(&*guest.name).with_extension("wasm"))
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = RECIPE.map(str::to_owned).to_vec();
        if let Some(linker) = &self.toolchain.linker {
            flags.push(format!("-Clinker={}", linker.display()));
        }
        // Where things stand on this machine is no part of the outcome.
        let mut places = vec![(self.root.clone(), "/rowgate"), (self.toolchain.sysroot.clone(), "/rust")];
        if let Std::Source(folder) = &self.toolchain.std {
            places.push((folder.clone(), "/rust/library"));
        }
        places.extend(cargo_home().map(|folder| (folder, "/cargo")));
        // The last one that fits is the one that counts.
        flags.extend(places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
        flags
    }
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}
