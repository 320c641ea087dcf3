//! The default transform written in languages that bring an interpreter along, beside the host with the one in Rust.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use host::config::{SandboxLimits, SandboxProfile};
use host::transform::Transform;
use host::transform::compile::{Cache, Compiler, Compiling};
use host::transform::sandbox::Sandbox;

use crate::{Designs, median, pipeline};

/// The components that `make guests-runtime` builds.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-transforms/dist");
/// Where their native code is kept: compiling one takes half a minute.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

struct Language {
    /// What its design is called, with a fresh instance for each batch, as the host runs transforms.
    name: &'static str,
    /// And with one instance for all batches.
    reused: &'static str,
    component: &'static str,
    /// What it is to reach.
    events_per_s: f64,
}

const LANGUAGES: [Language; 2] = [
    Language {
        name: "JavaScript",
        reused: "JavaScript, reused instance",
        component: "update_only_js.wasm",
        events_per_s: 100_000.0,
    },
    Language {
        name: "Python",
        reused: "Python, reused instance",
        component: "update_only_py.wasm",
        events_per_s: 180_000.0,
    },
];

/// How many events a second the design of this name is to reach, where that is said.
pub fn target(name: &str) -> Option<f64> {
    LANGUAGES.iter().find(|language| language.name == name).map(|language| language.events_per_s)
}

/// Whether all components are there.
pub fn are_built() -> bool {
    LANGUAGES.iter().all(|language| Path::new(FOLDER).join(language.component).exists())
}

/// The transforms of all languages.
pub struct Languages(Vec<Transform>);

impl Languages {
    /// # Errors
    /// A component that is not there, or that the host refuses.
    pub fn load() -> Result<Self> {
        LANGUAGES.iter().map(load).collect::<Result<_>>().map(Languages)
    }

    /// The host first, then each language twice.
    pub fn designs(&self) -> Designs {
        let mut designs: Designs = vec![Box::new(pipeline::host())];
        for (language, transform) in LANGUAGES.iter().zip(&self.0) {
            designs.push(Box::new(pipeline::wasm(language.name, transform.clone())));
            designs.push(Box::new(pipeline::kept(language.reused, transform)));
        }
        designs
    }
}

fn load(language: &Language) -> Result<Transform> {
    let file = Path::new(FOLDER).join(language.component);
    let bytes = std::fs::read(&file)
        .with_context(|| format!("cannot read {}: run `make guests-runtime`", file.display()))?;
    let compiling = Compiling { compiler: Compiler::ThisProcess, cache: Cache::new(Some(Path::new(CACHE))) };
    let limits = SandboxLimits::of(SandboxProfile::Runtime);
    Transform::load(&Sandbox::alone(compiling)?, &bytes, vec![], limits).context(language.component)
}

/// Prints what a fresh instance for each of so many batches costs, by the times of the designs of [`Languages`].
pub fn report_instances(times: &[Vec<Duration>], batches: usize) {
    for (at, language) in LANGUAGES.iter().enumerate() {
        let [fresh, reused] = [2 * at + 1, 2 * at + 2];
        let more = times.iter().map(|round| round[fresh].as_secs_f64() - round[reused].as_secs_f64());
        let us = median(more) / batches as f64 * 1e6;
        println!("{}: a fresh instance costs {us:.0} us a batch", language.name);
    }
}
