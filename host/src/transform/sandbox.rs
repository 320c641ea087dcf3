//! What the transforms of a pipeline share among themselves and with those of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use super::compile::Compiling;
use super::engine::Engine;
use super::log::LogRate;
use super::memory::MemoryBudget;
use crate::tenant::{Budget, Share, Turns};

/// Instances that the only pipeline of a process may need at once: those of four batches, of a transform that is tried, of
/// one that runs beside it, and some more.
const INSTANCES: u32 = 8;
/// Instances for each further pipeline: that of its batch, and one more. Few compute several batches, or try a transform, at
/// the same time.
const MORE_INSTANCES: u32 = 2;
/// Instances at most: their 53 TB are a good third of the address space. What finds no place waits for one.
const MAX_INSTANCES: u32 = 4096;

/// The place where the transforms of one pipeline run: the process's engine, who compiles for it, the memory that they
/// may have together with others, what they may log, and the tenant's share. Cheap to clone; all clones are one sandbox.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) compiling: Compiling,
    pub(super) memory: MemoryBudget,
    pub(super) log: Arc<LogRate>,
    pub(super) share: Share,
}

impl Sandbox {
    /// For a pipeline among others, whose transforms take memory from `memory`, and compute by `share`.
    pub fn new(engine: &Engine, compiling: Compiling, memory: MemoryBudget, share: Share) -> Self {
        Sandbox { engine: engine.clone(), compiling, memory, log: Arc::new(LogRate::new()), share }
    }

    /// For the only pipeline of a process, without a budget.
    ///
    /// # Errors
    /// Where the system gives no address space or no thread.
    pub fn alone(compiling: Compiling) -> Result<Self> {
        Ok(Sandboxes::new(1)?.sandbox(None, &Budget::default(), compiling))
    }

    /// What the pipeline has together with the others of its tenant.
    pub fn share(&self) -> &Share {
        &self.share
    }
}

/// What all pipelines of a process have together: one engine, one budget of memory, turns at computing.
pub struct Sandboxes {
    engine: Engine,
    memory: MemoryBudget,
    turns: Turns,
    /// By tenant; none where there are no tenants.
    tenants: BTreeMap<Option<String>, Part>,
}

/// What the pipelines of a tenant have together.
struct Part {
    share: Share,
    memory: MemoryBudget,
}

impl Part {
    fn new(tenant: Option<&str>, budget: &Budget, turns: &Turns, host: &MemoryBudget) -> Self {
        let name = tenant.map_or("the pipeline".to_owned(), |tenant| format!("the tenant {tenant}"));
        let memory = match budget.memory_mib {
            None => host.clone(),
            Some(mib) => host.part(&name, (mib as usize) << 20),
        };
        Part { share: Share::new(budget, turns), memory }
    }
}

impl Sandboxes {
    /// For so many pipelines.
    ///
    /// # Errors
    /// Where the system gives no address space or no thread.
    pub fn new(pipelines: usize) -> Result<Self> {
        let others = u32::try_from(pipelines.saturating_sub(1)).unwrap_or(u32::MAX);
        let instances = MORE_INSTANCES.saturating_mul(others).saturating_add(INSTANCES);
        let engine = Engine::new(instances.min(MAX_INSTANCES))?;
        let (memory, turns) = (MemoryBudget::of_machine(), Turns::of_machine());
        Ok(Sandboxes { engine, memory, turns, tenants: BTreeMap::new() })
    }

    /// For one of them, which is this tenant's; all pipelines of a tenant have one budget, that of its first.
    pub fn sandbox(&mut self, tenant: Option<&str>, budget: &Budget, compiling: Compiling) -> Sandbox {
        let part = || Part::new(tenant, budget, &self.turns, &self.memory);
        let Part { share, memory } = self.tenants.entry(tenant.map(str::to_owned)).or_insert_with(part);
        Sandbox::new(&self.engine, compiling, memory.clone(), share.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_of_a_tenant_have_one_budget_of_memory_and_all_have_that_of_the_host() {
        const MIB: usize = 1 << 20;
        let mut all = Sandboxes::new(4).unwrap();
        let budget = |memory_mib| Budget { memory_mib, ..Budget::default() };
        let mut of = |tenant, mib| all.sandbox(Some(tenant), &budget(mib), Compiling::default()).memory;
        let (one, another) = (of("a", Some(64)), of("a", Some(64)));
        let (other, without) = (of("b", Some(64)), of("c", None));
        one.take(40 * MIB).unwrap();
        let why = another.take(40 * MIB).unwrap_err();
        assert!(why.contains("the tenant a have all of its 64 MiB"), "{why}");
        other.take(40 * MIB).unwrap();
        without.take(80 * MIB).unwrap();
        assert_eq!((another.used_bytes(), without.used_bytes()), (40 * MIB, 160 * MIB));
    }
}
