//! `host compile-worker`: the child process in which the host compiles a component. Not for people.

use std::io::{self, Read, Write};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::error::Classify;
use crate::transform::compile::{self, CompileLimits};
use crate::transform::engine;

/// Files that it may have open: standard input, output and error, and a few for the C library.
const MAX_FILES: u64 = 16;
/// How much lower its priority is than the host's.
const NICE: i32 = 10;

/// Compiles what comes by standard input, and writes native code to standard output.
///
/// # Errors
/// A component that does not compile (exit 2); a process that cannot be confined (exit 3). Beyond a limit the
/// process does not get that far: a signal ends it.
pub fn compile_worker(limits: CompileLimits) -> anyhow::Result<()> {
    confine(limits).context("the compiler cannot be confined").environment()?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).context("reading the component").environment()?;
    let engine = engine::for_compiling()?;
    let code = compile::precompile(&engine, &component).usage()?;
    let mut out = io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).context("writing native code").environment()
}

/// Takes from this process what compiling does not need, before it reads anything.
fn confine(limits: CompileLimits) -> io::Result<()> {
    // Where memory runs out, the kernel is to choose this process and not the host. Not every system has it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::nice(NICE)?;
    let memory = limits.memory_mib << 20;
    for (resource, soft, hard) in [
        (Resource::As, memory, memory),
        // The soft limit's signal tells that it was this limit; the hard one's could be anyone's.
        (Resource::Cpu, limits.cpu_s, limits.cpu_s + 1),
        (Resource::Fsize, limits.code_bytes(), limits.code_bytes()),
        (Resource::Nofile, MAX_FILES, MAX_FILES),
        (Resource::Core, 0, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}
