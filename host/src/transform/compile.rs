//! From a component to native code: compiled where a component that is made to be costly hurts nobody, and kept
//! so that the next start need not compile it again (promise S9 of `docs/invariants.md`).

mod child;
mod code;
mod shared;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use wasmtime::component::Component;

pub(super) use self::code::Code;
pub(super) use self::shared::Shared;
pub use super::cache::Cache;
use super::cache::Identity;
use super::engine::Engine;
use crate::error::Classify;
use crate::locked::locked;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompileLimits {
    /// Address space of the compiling process, MiB.
    pub memory_mib: u64,
    /// Its computing time, seconds.
    pub cpu_s: u64,
    /// The native code that comes of it, MiB. The host has it in memory as long as the component runs.
    pub code_mib: u64,
}

impl CompileLimits {
    /// For components of Rust and C: those that were seen take 26 MiB and a second, and have 0.4 MiB of native code.
    pub(super) const SMALL: CompileLimits = CompileLimits { memory_mib: 768, cpu_s: 20, code_mib: 8 };
    /// For those that bring an interpreter: JavaScript and Python were seen to take 430 MiB and 30 seconds, and two
    /// thirds of this native code.
    pub(super) const RUNTIME: CompileLimits = CompileLimits { memory_mib: 1536, cpu_s: 120, code_mib: 64 };

    /// Bytes of native code at most.
    pub(crate) fn code_bytes(self) -> u64 {
        self.code_mib << 20
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
    /// A component, ready to be instantiated: one that is in use, from the cache, else compiled.
    ///
    /// # Errors
    /// A component that does not compile, or is too expensive to (exit 2): another attempt ends the same. A
    /// compiler that could not be started, or did not end in time (exit 3).
    pub(super) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        limits: CompileLimits,
    ) -> Result<Arc<Component>> {
        let identity = Identity::of(engine, bytes);
        if let Some(component) = self.known(engine, &identity, limits) {
            return Ok(component);
        }
        let (_turn, waited) = turn();
        // Pipelines that start together may have the same transform: who was before has compiled it.
        if let Some(component) = waited.then(|| self.known(engine, &identity, limits)).flatten() {
            return Ok(component);
        }
        let begin = Instant::now();
        let code = self.compiler.compile(engine, bytes, limits)?;
        tracing::debug!(ms = begin.elapsed().as_millis(), bytes = code.bytes(), "component compiled");
        self.cache.save(&identity, &code);
        let component = code.load(engine).context("the compiled component cannot be loaded")?;
        Ok(engine.shared.share(&identity, limits, component))
    }

    /// What is in use, or in the cache and can be used.
    fn known(&self, engine: &Engine, identity: &Identity, limits: CompileLimits) -> Option<Arc<Component>> {
        if let Some(component) = engine.shared.get(identity, limits) {
            return Some(component);
        }
        let loaded = self.cache.load(identity, limits.code_bytes())?.load(engine);
        let loaded = loaded.inspect_err(|error| {
            tracing::warn!("native code in the cache cannot be used, compiling: {error:#}")
        });
        Some(engine.shared.share(identity, limits, loaded.ok()?))
    }
}

impl Compiler {
    fn compile(self, engine: &Engine, component: &[u8], limits: CompileLimits) -> Result<Code> {
        match self {
            Compiler::ThisProcess => {
                let code = precompile(&engine.inner, component).usage()?;
                Code::copied(&*code).context("native code").environment()
            }
            Compiler::ChildProcess => child::compile(component, limits),
        }
    }
}

/// Compiles in this process.
///
/// # Errors
/// Where the component is none, or uses what the engine does not have.
pub(crate) fn precompile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Vec<u8>> {
    engine.precompile_component(component).map_err(|e| anyhow!("the component does not compile: {e:#}"))
}
