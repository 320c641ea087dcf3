//! What a transform may be, use, and hand back.
//!
//! Keeps promise S1 of `docs/invariants.md`: whatever a component does, it costs its own batch only.

use super::compile::CompileLimits;

/// A set of limits for one kind of component; the later one allows more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SandboxProfile {
    /// Compiled languages, such as Rust and C.
    #[default]
    Small,
    /// Components that bring a language's runtime along, such as those of JavaScript and Python.
    Runtime,
}

impl SandboxProfile {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            SandboxProfile::Small => "small",
            SandboxProfile::Runtime => "runtime",
        }
    }
}

/// All limits of a transform: [`SandboxLimits::of`] a profile, and what settings say otherwise.
///
/// The first eight are looked at before a component is compiled: an engine does not bound compiling. A component of
/// 136 KiB with blocks in blocks took 2 GiB, and one of 1.2 MiB with 200,000 functions 18 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxLimits {
    /// What the limits of the component were taken from.
    pub profile: SandboxProfile,

    /// Bytes of the component. The shipped ones have 70 to 150 KB, JavaScript's 13 MB, Python's 19 MB.
    pub component_bytes: u64,
    /// Functions in all its modules. Rust's have some 600, JavaScript's 12,800, Python's 13,600.
    pub functions: u32,
    /// Bytes of one function. Rust's largest has 10 KB, JavaScript's 172 KB, Python's 427 KB.
    pub function_bytes: u32,
    /// Blocks within each other in one function. Rust's have 51, JavaScript's 456, Python's 781.
    pub depth: u32,
    /// Locals of one function, without its parameters. Rust's have 44, JavaScript's 118, Python's 271.
    pub locals: u32,
    /// Modules in it. Rust's and JavaScript's have 3, Python's 38.
    pub modules: u32,
    /// Components in it.
    pub components: u32,
    /// Instances of modules. Rust's and JavaScript's have 5, Python's 108.
    pub core_instances: u32,
    /// What compiling it may take.
    pub compile: CompileLimits,

    /// MiB of all memories and tables of one instance together; 1 to 4,096.
    pub memory_mib: u32,
    /// Memories of one instance. One is what compilers make.
    pub memories: u32,
    /// Tables of one instance. Two is what compilers make.
    pub tables: u32,
    /// Elements of one table.
    pub table_elements: u32,

    /// Fuel (about one wasm instruction each) for starting, for `configure`, and for each `prepare`. Python's start
    /// is the largest seen, a tenth of it.
    pub start_fuel: u64,
    /// Fuel of each `apply`, before that for its changes: enough to fill the memory that it may have.
    pub apply_fuel: u64,
    /// Fuel of an `apply`, for each change that it carries.
    pub fuel_per_change: u64,
    /// Fuel of a call at most: some seconds of computing. A transform that loops is found by halving its batch,
    /// and each half costs as much.
    pub call_fuel: u64,
    /// Milliseconds that a call may compute, for what fuel does not count; 1 to 600,000. It is the thread's own
    /// time: what others compute meanwhile does not count.
    pub time_ms: u32,

    /// Bytes that one call may hand back: the host allocates them.
    pub answer_bytes: usize,
    /// Bytes that all calls of a batch may hand back together: what a batch makes is kept until it is written.
    pub batch_answer_bytes: usize,
    /// Rows that a batch may make for each of its changes, on average.
    pub rows_per_change: usize,
    /// Rows that one change may make; below 65,535, since `_seq` counts them with 16 bits.
    pub rows_of_change: u16,

    /// Lines that a batch may log.
    pub log_lines: u32,
    /// Bytes that a batch may log.
    pub log_bytes: usize,
    /// Bytes of a logged line; longer ones are cut.
    pub log_line_bytes: usize,
    /// Lines that a pipeline may log in a second.
    pub log_lines_per_second: u32,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        SandboxLimits::of(SandboxProfile::default())
    }
}

impl SandboxLimits {
    /// The limits of a profile, unless settings say otherwise.
    pub const fn of(profile: SandboxProfile) -> Self {
        let small = SandboxLimits {
            profile: SandboxProfile::Small,
            component_bytes: 4 << 20,
            functions: 10_000,
            function_bytes: 64 << 10,
            depth: 256,
            locals: 1_000,
            modules: 8,
            components: 4,
            core_instances: 16,
            compile: CompileLimits::SMALL,
            memory_mib: 64,
            memories: 3,
            tables: 4,
            table_elements: 20_000,
            start_fuel: 200_000_000,
            apply_fuel: 400_000_000,
            fuel_per_change: 5_000_000,
            call_fuel: 5_000_000_000,
            time_ms: 10_000,
            answer_bytes: 64 << 20,
            batch_answer_bytes: 512 << 20,
            rows_per_change: 100,
            rows_of_change: 10_000,
            log_lines: 16,
            log_bytes: 16 << 10,
            log_line_bytes: 4 << 10,
            log_lines_per_second: 100,
        };
        match profile {
            SandboxProfile::Small => small,
            SandboxProfile::Runtime => SandboxLimits {
                profile: SandboxProfile::Runtime,
                component_bytes: 24 << 20,
                functions: 50_000,
                function_bytes: 768 << 10,
                depth: 1_500,
                locals: 2_000,
                modules: 64,
                components: 8,
                core_instances: 200,
                compile: CompileLimits::RUNTIME,
                ..small
            },
        }
    }

    /// The fuel of an `apply` of so many changes.
    pub(super) fn fuel_of_apply(&self, changes: usize) -> u64 {
        let for_changes = self.fuel_per_change.saturating_mul(changes as u64);
        self.apply_fuel.saturating_add(for_changes).min(self.call_fuel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_grows_with_the_changes_up_to_a_bound() {
        let small = SandboxLimits::default();
        assert_eq!(small.fuel_of_apply(2), 410_000_000);
        assert_eq!(small.fuel_of_apply(usize::MAX), 5_000_000_000);
    }
}
