//! From a component to native code: compiled where a component that is made to be costly hurts nobody, and kept
//! so that the next start need not compile it again (promise S9 of `docs/invariants.md`).

mod child;

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use wasmtime::component::Component;

pub use super::cache::Cache;
use super::cache::Identity;
use super::engine::Engine;
use crate::error::Classify;
use crate::locked::locked;

/// A component as native code, in bytes, at most: the largest seen, of JavaScript, has two thirds of it.
pub(crate) const MAX_CODE_BYTES: u64 = 64 << 20;

/// Who compiles. Whoever starts a host says so, since only that one knows what its executable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compiler {
    /// This process: for what is no host, such as tests of parts and benches. A component can make it take
    /// gigabytes, and an allocation that fails ends it.
    #[default]
    ThisProcess,
    /// A child process of this executable, the host's, under [`CompileLimits`].
    ChildProcess,
}

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the compiling process, MiB.
    pub memory_mib: u64,
    /// Its computing time, seconds.
    pub cpu_s: u64,
}

impl CompileLimits {
    /// For components of Rust and C: those that were seen take 26 MiB and a second.
    pub(super) const SMALL: CompileLimits = CompileLimits { memory_mib: 768, cpu_s: 20 };
    /// For those that bring an interpreter: JavaScript and Python were seen to take 430 MiB and 30 seconds.
    pub(super) const RUNTIME: CompileLimits = CompileLimits { memory_mib: 1536, cpu_s: 120 };
}

/// Native code that this host has made of a component, or whose MAC says that it has.
pub(super) struct Code(Vec<u8>);

impl Code {
    /// Takes over what [`Cache`] has authenticated.
    pub(super) fn authenticated(bytes: Vec<u8>) -> Self {
        Code(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn load(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: the bytes must be what `precompile_component` returned. A `Code` is made in two places:
        // `Compiler::compile`, which has called it, here or in a child process of this same executable; and
        // `Cache::load`, of bytes whose MAC is right under a key that only this user can read, and that `Cache::save`
        // gives to nothing but a `Code`. Wasmtime itself refuses those of another version or other settings.
        unsafe { Component::deserialize(&engine.inner, &self.0) }.map_err(|e| anyhow!("{e:#}"))
    }
}

/// Held by who compiles: it is one at a time in a process.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for the turn to compile, and says whether somebody else had it.
pub(super) fn turn() -> (MutexGuard<'static, ()>, bool) {
    match TURN.try_lock() {
        Ok(turn) => (turn, false),
        Err(TryLockError::Poisoned(poisoned)) => (poisoned.into_inner(), false),
        Err(TryLockError::WouldBlock) => (locked(&TURN), true),
    }
}

/// Who compiles, and where the outcome is kept.
#[derive(Debug, Clone, Default)]
pub struct Compiling {
    /// Who compiles.
    pub compiler: Compiler,
    /// Where native code is kept.
    pub cache: Cache,
}

impl Compiling {
    /// A component, ready to be instantiated: from the cache, else compiled.
    ///
    /// # Errors
    /// A component that does not compile, or is too expensive to (exit 2): another attempt ends the same. A
    /// compiler that could not be started, or did not end in time (exit 3).
    pub(super) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        limits: CompileLimits,
    ) -> Result<Component> {
        let identity = Identity::of(engine, bytes);
        if let Some(component) = self.kept(engine, &identity) {
            return Ok(component);
        }
        let (_turn, waited) = turn();
        // Pipelines that start together may have the same transform: who was before has compiled it.
        if let Some(component) = waited.then(|| self.kept(engine, &identity)).flatten() {
            return Ok(component);
        }
        let begin = Instant::now();
        let code = self.compiler.compile(engine, bytes, limits)?;
        tracing::debug!(ms = begin.elapsed().as_millis(), bytes = code.0.len(), "component compiled");
        self.cache.save(&identity, &code);
        code.load(engine).context("the compiled component cannot be loaded")
    }

    /// What is in the cache and can be used.
    fn kept(&self, engine: &Engine, identity: &Identity) -> Option<Component> {
        let loaded = self.cache.load(identity)?.load(engine);
        loaded
            .inspect_err(|error| {
                tracing::warn!("native code in the cache cannot be used, compiling: {error:#}")
            })
            .ok()
    }
}

impl Compiler {
    fn compile(self, engine: &Engine, component: &[u8], limits: CompileLimits) -> Result<Code> {
        match self {
            Compiler::ThisProcess => precompile(&engine.inner, component).usage(),
            Compiler::ChildProcess => child::compile(component, limits),
        }
        .map(Code)
    }
}

/// Compiles in this process.
///
/// # Errors
/// Where the component is none, or uses what the engine does not have.
pub(crate) fn precompile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Vec<u8>> {
    engine.precompile_component(component).map_err(|e| anyhow!("the component does not compile: {e:#}"))
}
