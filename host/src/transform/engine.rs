//! The one wasmtime engine of a process, and the clock that ends calls which run too long.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
};

/// How often the epoch advances; the grain of `call_time_ms`.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// A compiled component's home. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: wasmtime::Engine,
    _ticker: Arc<Ticker>,
}

/// Ends the thread that advances the epoch when the last engine goes.
struct Ticker {
    _alive: Arc<()>,
}

impl Engine {
    /// An engine with the settings that were measured to let a fresh instance per batch cost 4 to 7 %:
    /// concurrency off (half a microsecond a call), a pool that keeps 2 MiB of each slot resident, and the
    /// 4 GiB reservation as it is (a smaller one turns on explicit bounds checks).
    ///
    /// `memory_mib` is the largest memory that any instance may have.
    pub fn new(memory_mib: usize) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10)
            .pagemap_scan(Enabled::Auto)
            .max_memory_size(memory_mib << 20)
            .total_component_instances(16)
            // A component from Python brings 108 core instances.
            .total_core_instances(512)
            .total_memories(64)
            .total_tables(128)
            .total_stacks(1);
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let inner = engine(&config)?;
        let alive = Arc::new(());
        start_ticker(inner.weak(), Arc::downgrade(&alive))?;
        Ok(Engine { inner, _ticker: Arc::new(Ticker { _alive: alive }) })
    }
}

/// What decides how native code looks: the same for those that compile and those that run it.
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
        .wasm_memory64(false);
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
