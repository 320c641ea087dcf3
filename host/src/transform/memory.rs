//! Memory that transforms take: counted for an instance, for a tenant, and for the host (promise S1 of
//! `docs/invariants.md`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::limits::SandboxLimits;

/// Bytes of a table's element in the host.
const TABLE_ELEMENT_BYTES: usize = 8;
/// How the engine says that a memory cannot have that size whatever the machine has.
const BEYOND_TYPE: &str = "memory growth exceeds memory type's limits";

/// What the instances of several pipelines may take together. Cheap to clone; all clones are one budget.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    name: String,
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    parent: Option<MemoryBudget>,
}

impl MemoryBudget {
    /// A budget of its own; `name` stands in messages, such as `the host`.
    pub fn new(name: &str, limit_bytes: usize) -> Self {
        MemoryBudget::with_parent(name, limit_bytes, None)
    }

    /// Three quarters of what the process may have: of the machine's memory, or of its control group's where that is
    /// less. The rest is for records, rows, and the program.
    pub fn of_machine() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let machine = machine_bytes(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max"));
        MemoryBudget::new("the host", machine / 4 * 3)
    }

    /// A part of this one: what is taken from it is taken from both.
    pub fn part(&self, name: &str, limit_bytes: usize) -> Self {
        MemoryBudget::with_parent(name, limit_bytes, Some(self.clone()))
    }

    fn with_parent(name: &str, limit_bytes: usize, parent: Option<MemoryBudget>) -> Self {
        let used_bytes = AtomicUsize::new(0);
        MemoryBudget(Arc::new(Account { name: name.to_owned(), limit_bytes, used_bytes, parent }))
    }

    /// What is taken now, bytes.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// What there is, bytes.
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }

    /// Takes `bytes` of it and of all that it is a part of, or nothing.
    ///
    /// # Errors
    /// Which budget has not got so much left.
    pub(super) fn take(&self, bytes: usize) -> Result<(), String> {
        let Account { name, limit_bytes, used_bytes, parent } = &*self.0;
        let more = |used: usize| used.checked_add(bytes).filter(|used| used <= limit_bytes);
        used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| {
            format!("the transforms of {name} have all of its {} MiB of memory", limit_bytes >> 20)
        })?;
        let parents = parent.as_ref().map_or(Ok(()), |parent| parent.take(bytes));
        if parents.is_err() {
            used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        parents
    }

    /// Whether it has so many bytes where nobody else takes any.
    ///
    /// # Errors
    /// What has less: no waiting helps.
    fn holds(&self, bytes: usize) -> Result<(), String> {
        let Account { name, limit_bytes, parent, .. } = &*self.0;
        if bytes > *limit_bytes {
            let (needed, most) = (bytes.div_ceil(1 << 20), limit_bytes >> 20);
            return Err(format!("{needed} MiB, and the transforms of {name} may have {most} MiB together"));
        }
        parent.as_ref().map_or(Ok(()), |parent| parent.holds(bytes))
    }

    fn give_back(&self, bytes: usize) {
        self.0.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.give_back(bytes);
        }
    }
}

/// The bytes of memory that the process may have, by the texts of `/proc/meminfo` and of the control group's
/// `memory.max`. Where neither says: 1 GiB.
fn machine_bytes(meminfo: &str, group: &str) -> usize {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let total = total.and_then(|kib| kib.parse::<usize>().ok()?.checked_mul(1024));
    let group = group.trim().parse::<usize>().ok();
    total.into_iter().chain(group).min().unwrap_or(1 << 30)
}

/// Why an instance got no more memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has all that one instance may have: the same on every machine.
    Own,
    /// The tenant, the host or the machine has none left: perhaps another time.
    Shared(String),
    /// The tenant or the host never has so much, even where nobody else takes any.
    Never(String),
}

/// Counts what a store's memories and tables take together; wasmtime's own limiter looks at each alone, so that
/// fifty memories under a limit of 16 MiB got 800 MiB.
///
/// What was granted stays counted until the store goes, also where the growth then failed: the engine reports
/// growth that it refused and growth that failed alike.
#[derive(Debug)]
pub(super) struct StoreLimiter {
    limits: SandboxLimits,
    budget: MemoryBudget,
    taken_bytes: usize,
    /// A growth was refused: the reason for the trap that most likely follows.
    pub(super) refusal: Option<Refusal>,
}

impl StoreLimiter {
    pub(super) fn new(limits: SandboxLimits, budget: MemoryBudget) -> Self {
        StoreLimiter { limits, budget, taken_bytes: 0, refusal: None }
    }

    /// Whether there are so many more bytes.
    ///
    /// # Errors
    /// Where only this machine at this time has not: the call ends then, for what a transform makes must not
    /// depend on that.
    fn take(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        let most = (self.limits.memory_mib as usize) << 20;
        let taken = self.taken_bytes.checked_add(bytes).filter(|taken| *taken <= most);
        let Some(taken) = taken else {
            self.refusal = Some(Refusal::Own);
            return Ok(false);
        };
        self.budget.holds(taken).map_err(|why| self.hinder(Refusal::Never(why.clone()), why))?;
        self.budget.take(bytes).map_err(|why| self.hinder(Refusal::Shared(why.clone()), why))?;
        self.taken_bytes += bytes;
        Ok(true)
    }

    fn hinder(&mut self, refusal: Refusal, why: String) -> wasmtime::Error {
        self.refusal = Some(refusal);
        wasmtime::Error::msg(why)
    }
}

impl Drop for StoreLimiter {
    fn drop(&mut self) {
        self.budget.give_back(self.taken_bytes);
    }
}

impl wasmtime::ResourceLimiter for StoreLimiter {
    fn memory_growing(&mut self, now: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond what the memory itself says it will have: no growth, and nothing to count.
        if max.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        self.take(desired.saturating_sub(now))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let why = error.to_string();
        if why == BEYOND_TYPE {
            Ok(())
        } else {
            let why = format!("the machine gives no memory: {why}");
            Err(self.hinder(Refusal::Shared(why.clone()), why))
        }
    }

    fn table_growing(&mut self, now: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        if max.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        if desired > self.limits.table_elements as usize {
            self.refusal = Some(Refusal::Own);
            return Ok(false);
        }
        self.take(desired.saturating_sub(now).saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn memories(&self) -> usize {
        self.limits.memories as usize
    }

    fn tables(&self) -> usize {
        self.limits.tables as usize
    }

    fn instances(&self) -> usize {
        self.limits.core_instances as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::ResourceLimiter;

    const MIB: usize = 1 << 20;

    fn limiter(memory_mib: u32, budget: &MemoryBudget) -> StoreLimiter {
        StoreLimiter::new(SandboxLimits { memory_mib, ..SandboxLimits::default() }, budget.clone())
    }

    #[test]
    fn memories_are_summed_not_limited_one_by_one() {
        let mut limiter = limiter(16, &MemoryBudget::new("the host", 100 * MIB));
        assert!(limiter.memory_growing(0, 10 * MIB, None).unwrap());
        assert!(!limiter.memory_growing(0, 10 * MIB, None).unwrap());
        assert_eq!(limiter.refusal, Some(Refusal::Own));
    }

    #[test]
    fn a_tenant_and_the_host_have_budgets_and_what_was_taken_comes_back_with_the_store() {
        let host = MemoryBudget::new("the host", 30 * MIB);
        let (one, other) = (host.part("tenant a", 20 * MIB), host.part("tenant b", 20 * MIB));
        let mut first = limiter(64, &one);
        let mut second = limiter(64, &other);
        assert!(first.memory_growing(0, 15 * MIB, None).unwrap());
        let error = limiter(64, &one).memory_growing(0, 10 * MIB, None).unwrap_err();
        assert!(error.to_string().contains("tenant a have all of its 20 MiB"), "{error}");
        assert!(second.memory_growing(0, 10 * MIB, None).unwrap());
        let error = second.memory_growing(10 * MIB, 20 * MIB, None).unwrap_err();
        assert!(error.to_string().contains("the host have all of its 30 MiB"), "{error}");
        assert!(matches!(&second.refusal, Some(Refusal::Shared(why)) if why.contains("the host")));
        assert_eq!((one.used_bytes(), other.used_bytes(), host.used_bytes()), (15 * MIB, 10 * MIB, 25 * MIB));
        drop(first);
        assert!(second.memory_growing(10 * MIB, 20 * MIB, None).unwrap());
        drop(second);
        assert_eq!((one.used_bytes(), other.used_bytes(), host.used_bytes()), (0, 0, 0));
    }

    #[test]
    fn what_one_instance_needs_beyond_the_whole_budget_no_waiting_gives() {
        let host = MemoryBudget::new("the host", 30 * MIB);
        let tenant = host.part("tenant a", 40 * MIB);
        let mut limiter = limiter(64, &tenant);
        assert!(limiter.memory_growing(0, 20 * MIB, None).unwrap());
        let error = limiter.memory_growing(20 * MIB, 30 * MIB + 1, None).unwrap_err().to_string();
        assert_eq!(error, "31 MiB, and the transforms of the host may have 30 MiB together");
        assert_eq!(limiter.refusal, Some(Refusal::Never(error)));
        assert_eq!(host.used_bytes(), 20 * MIB);
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_costs_nothing() {
        let host = MemoryBudget::new("the host", 30 * MIB);
        let mut limiter = limiter(16, &host);
        for _ in 0..100 {
            assert!(!limiter.memory_growing(0, 10 * MIB, Some(MIB)).unwrap());
        }
        assert_eq!((host.used_bytes(), &limiter.refusal), (0, &None));
    }

    #[test]
    fn a_table_may_have_so_many_elements() {
        let mut limiter = limiter(16, &MemoryBudget::new("the host", MIB));
        assert!(limiter.table_growing(0, 20_000, None).unwrap());
        assert!(!limiter.table_growing(20_000, 20_001, None).unwrap());
        assert_eq!(limiter.refusal, Some(Refusal::Own));
    }

    #[test]
    fn the_machine_is_what_it_has_or_what_the_control_group_lets_the_process_have() {
        let meminfo = "MemTotal:       16314520 kB\nMemFree: 1 kB\n";
        assert_eq!(machine_bytes(meminfo, "max\n"), 16_314_520 * 1024);
        assert_eq!(machine_bytes(meminfo, "1073741824\n"), 1 << 30);
        assert_eq!(machine_bytes("", ""), 1 << 30);
    }
}
