//! The one wasmtime engine of a process, and the clock that ends calls which run too long.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
};

use super::compile::Shared;
use super::limits::{SandboxLimits, SandboxProfile};

/// How often the epoch advances; the grain of `limits.time_ms`.
const TICK: Duration = Duration::from_millis(10);

/// Memories whose first pages stay in place between batches, 2 MiB of each: those of the pipelines that ran last.
const WARM_MEMORIES: u32 = 32;

/// What a component may use of WebAssembly: all that compilers use by themselves, and is deterministic. The rest only
/// adds ways to attack the host.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// A compiled component's home. Cheap to clone; all clones are one engine. A process has one: types of two engines
/// have been mixed up before (GHSA-hgjw-h833-99q9).
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: wasmtime::Engine,
    /// What it has loaded.
    pub(super) shared: Arc<Shared>,
    _ticker: Arc<Ticker>,
}

/// Ends the thread that advances the epoch when the last engine goes.
struct Ticker {
    _alive: Arc<()>,
}

impl Engine {
    /// An engine that runs `instances` transforms at once; each takes some 13 GB of address space, and no memory.
    ///
    /// # Errors
    /// Where the system gives no address space or no thread.
    pub fn new(instances: u32) -> Result<Self> {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
        let inner = engine(&config)?;
        let alive = Arc::new(());
        start_ticker(inner.weak(), Arc::downgrade(&alive))?;
        Ok(Engine { inner, shared: Arc::default(), _ticker: Arc::new(Ticker { _alive: alive }) })
    }
}

/// What decides how native code looks: the same for those that compile and those that run it. Concurrency is off: it costs
/// half a microsecond a call.
fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        // The same changes must give the same rows on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_features(FEATURES.complement(), false);
    config
}

fn engine(config: &Config) -> Result<wasmtime::Engine> {
    wasmtime::Engine::new(config).map_err(|e| anyhow!("setting up the WebAssembly engine: {e:#}"))
}

/// An engine that compiles for [`Engine`] and runs nothing: without a pool, of which the address space alone is more
/// than a compiling process may have, and without threads, so that its time is bounded.
pub(crate) fn for_compiling() -> Result<wasmtime::Engine> {
    engine(config().parallel_compilation(false))
}

/// Slots for so many instances. A fresh instance per batch was measured to cost 4 to 7 % with 2 MiB of each slot
/// kept resident, and the 4 GiB reservation as it is (a smaller one turns on explicit bounds checks). What each
/// instance may have of its slot, the limiter says.
fn pool(instances: u32) -> PoolingAllocationConfig {
    const LARGEST: SandboxLimits = SandboxLimits::of(SandboxProfile::Runtime);
    let mut pool = PoolingAllocationConfig::default();
    pool.linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(WARM_MEMORIES)
        .table_elements(LARGEST.table_elements as usize)
        .total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(LARGEST.core_instances))
        .total_memories(instances.saturating_mul(LARGEST.memories))
        .total_tables(instances.saturating_mul(LARGEST.tables))
        .total_stacks(1);
    pool
}

fn start_ticker(engine: wasmtime::EngineWeak, alive: Weak<()>) -> Result<()> {
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while alive.strong_count() > 0 {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .context("starting the thread that bounds a transform's time")?;
    Ok(())
}
