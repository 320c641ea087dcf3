//! What a transform may use: memory, computing, time, and what it may hand back.
//!
//! Keeps promise S1 of `docs/invariants.md`: whatever a component does, it costs its own batch only.

use crate::config::SandboxLimits;

/// Fuel (about one wasm instruction each) for starting, for `configure`, and for each `prepare`. Python's start
/// is the largest seen, a tenth of it.
pub(super) const START_FUEL: u64 = 200_000_000;
/// Fuel of each `apply`, before that for its changes: enough to fill the memory that it may have.
const APPLY_FUEL: u64 = 400_000_000;
/// Fuel of a call at most: some seconds of computing. A transform that loops is found by halving its batch,
/// and each half costs as much.
const MAX_FUEL: u64 = 5_000_000_000;
/// What one call may hand back, bytes: the host allocates it.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;
/// What all calls of a batch may hand back together, bytes: what a batch makes is kept until it is written.
pub(super) const MAX_ANSWERS_BYTES: usize = 512 << 20;
/// Rows that a batch may make for each of its changes, on average.
pub(super) const MAX_ROWS_PER_CHANGE: usize = 100;

/// The fuel of an `apply` of so many changes.
pub(super) fn apply_fuel(limits: &SandboxLimits, changes: usize) -> u64 {
    APPLY_FUEL.saturating_add(limits.fuel_per_change.saturating_mul(changes as u64)).min(MAX_FUEL)
}

/// Counts what a store's memories and tables take together; wasmtime's own limiter looks at each alone,
/// so that fifty memories under a limit of 16 MiB got 800 MiB.
#[derive(Debug)]
pub(super) struct StoreLimiter {
    left_bytes: usize,
    /// A growth was refused: the reason for the trap that most likely follows.
    pub(super) refused: bool,
}

/// Bytes of a table's element in the host.
const TABLE_ELEMENT_BYTES: usize = 8;

impl StoreLimiter {
    pub(super) fn new(limits: &SandboxLimits) -> Self {
        StoreLimiter { left_bytes: (limits.memory_mib as usize) << 20, refused: false }
    }

    fn take(&mut self, bytes: usize) -> bool {
        match self.left_bytes.checked_sub(bytes) {
            Some(left) => self.left_bytes = left,
            None => self.refused = true,
        }
        !self.refused
    }
}

impl wasmtime::ResourceLimiter for StoreLimiter {
    fn memory_growing(&mut self, now: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.take(desired.saturating_sub(now)))
    }

    fn table_growing(&mut self, now: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.take(desired.saturating_sub(now).saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn memories(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        128
    }

    fn instances(&self) -> usize {
        256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::ResourceLimiter;

    #[test]
    fn memories_are_summed_not_limited_one_by_one() {
        let limits = SandboxLimits { memory_mib: 16, fuel_per_change: 0, time_ms: 1 };
        let mut limiter = StoreLimiter::new(&limits);
        assert!(limiter.memory_growing(0, 10 << 20, None).unwrap());
        assert!(!limiter.memory_growing(0, 10 << 20, None).unwrap());
        assert!(limiter.refused);
    }
}
