//! Compiling in a child process. Neither time nor memory of a compiler is bounded by what it compiles, and an
//! allocation that fails ends its process: 8 KB of values that change in nested loops take 450 MiB, 34 KB over 768.
//!
//! The child is `host compile-worker`. It gets the component as its standard input and writes native code to its
//! standard output; both are files without a name, so that nothing of what it writes is in this process before it has
//! ended well, and nobody waits for the other. Then nobody can change the native code any more, and it is mapped.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::Signal;

use super::CompileLimits;
use super::code::{Code, unnamed};
use crate::error::{Classify, Exit};
use crate::transform::log::sanitized;

/// This executable, also after its file was replaced: what another version compiles could not be loaded.
const THIS_EXECUTABLE: &str = "/proc/self/exe";
/// The wall time that a child may take for each second of computing: it has a low priority, and the machine may
/// be busy.
const WALL_PER_CPU: u32 = 5;
/// The pause between two looks at whether a child has ended.
const LOOK: Duration = Duration::from_millis(5);
/// What is read of a child's last words, bytes.
const MAX_WORDS_BYTES: u64 = 4096;

/// Native code of `component`.
///
/// # Errors
/// See [`super::Compiling::component`].
pub(super) fn compile(component: &[u8], limits: CompileLimits) -> Result<Code> {
    let mut command = Command::new(THIS_EXECUTABLE);
    command.arg("compile-worker");
    let CompileLimits { memory_mib, cpu_s, code_mib } = limits;
    for (name, limit) in [("--memory-mib", memory_mib), ("--cpu-s", cpu_s), ("--code-mib", code_mib)] {
        command.args([name, &limit.to_string()]);
    }
    run(command, component, limits)
}

fn run(mut command: Command, component: &[u8], limits: CompileLimits) -> Result<Code> {
    let (ended, code, mut words) =
        outcome(&mut command, component, limits).context("compiling in a child process").environment()?;
    let Some(status) = ended else {
        return Err(anyhow!("compiling has not ended after {} s", wall(limits).as_secs()))
            .environment()
            .help("the machine may be too busy; a component that is too expensive ends by its own limits");
    };
    let words = last_words(&mut words);
    if let Some(signal) = status.signal() {
        return too_expensive(&reason(signal, &words, limits));
    }
    match status.code() {
        Some(0) => {
            let code = Code::frozen(code).environment()?;
            if code.bytes() > limits.code_bytes() { too_expensive(&too_much_code(limits)) } else { Ok(code) }
        }
        Some(code) if code == Exit::Usage as i32 && !words.contains("Cannot allocate memory") => {
            Err(anyhow!("{}", words.strip_prefix("error: ").unwrap_or(&words))).usage()
        }
        Some(code) if code == Exit::Usage as i32 => too_expensive(&too_much_memory(limits)),
        _ => Err(anyhow!("compiling failed ({status}): {words}")).usage(),
    }
}

/// How the child ended, what it wrote, and what it said; no end: its time was up.
fn outcome(
    command: &mut Command,
    component: &[u8],
    limits: CompileLimits,
) -> Result<(Option<ExitStatus>, File, File)> {
    let mut input = unnamed("component")?;
    input.write_all(component)?;
    input.rewind()?;
    let (code, words) = (unnamed("code")?, unnamed("words")?);
    // Secrets may be in the environment. Where libraries are is all that it needs of it.
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "LD_LIBRARY_PATH"));
    command.stdin(input).stdout(code.try_clone()?).stderr(words.try_clone()?);
    // Ctrl-C is for the host, which then ends the child.
    command.process_group(0);
    let mut child = command.spawn().context("cannot be started")?;
    Ok((wait(&mut child, wall(limits))?, code, words))
}

fn wall(limits: CompileLimits) -> Duration {
    Duration::from_secs(limits.cpu_s) * WALL_PER_CPU
}

/// Waits for the end of `child`; none: it was killed, for its time was up.
fn wait(child: &mut Child, wall: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() >= wall {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn too_expensive(why: &str) -> Result<Code> {
    Err(anyhow!("it is too expensive to compile: {why}")).usage()
}

/// Which limit a child met that a signal ended.
fn reason(signal: i32, words: &str, limits: CompileLimits) -> String {
    match Signal::from_named_raw(signal) {
        Some(Signal::XCPU) => format!("it needs more than {} s of computing", limits.cpu_s),
        Some(Signal::XFSZ) => too_much_code(limits),
        Some(Signal::ABORT) if words.contains("memory allocation of") => too_much_memory(limits),
        Some(Signal::ABORT) if words.contains("overflowed its stack") => {
            "it nests too deeply for the compiler's stack".to_owned()
        }
        _ => format!("the compiler was ended by signal {signal}: {words}"),
    }
}

fn too_much_memory(limits: CompileLimits) -> String {
    format!("it needs more than {} MiB of memory", limits.memory_mib)
}

fn too_much_code(limits: CompileLimits) -> String {
    format!("its native code has more than {} MiB", limits.code_mib)
}

fn last_words(words: &mut File) -> String {
    let mut bytes = Vec::new();
    // A child that said nothing is told by its end alone.
    let _ = words.rewind().and_then(|()| words.take(MAX_WORDS_BYTES).read_to_end(&mut bytes));
    sanitized(String::from_utf8_lossy(&bytes).trim(), MAX_WORDS_BYTES as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_of;

    const LIMITS: CompileLimits = CompileLimits { memory_mib: 7, cpu_s: 60, code_mib: 3 };

    /// How a child that does this ends.
    fn shell(script: &str, limits: CompileLimits) -> Result<Vec<u8>> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut code = Vec::new();
        run(command, b"component", limits)?.reader()?.read_to_end(&mut code)?;
        Ok(code)
    }

    fn refusal(script: &str) -> String {
        let error = shell(script, LIMITS).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage, "{error:#}");
        format!("{error:#}")
    }

    #[test]
    fn a_child_gets_the_component_and_its_output_is_the_code_up_to_the_limit() {
        assert_eq!(shell("cat", LIMITS).unwrap(), b"component");
        assert_eq!(shell("head -c 3145728 /dev/zero", LIMITS).unwrap().len(), 3 << 20);
    }

    #[test]
    fn code_beyond_the_limit_does_not_count_even_if_a_child_could_write_it() {
        assert_eq!(
            refusal("head -c 3145729 /dev/zero"),
            "it is too expensive to compile: its native code has more than 3 MiB"
        );
    }

    #[test]
    fn a_limit_that_ended_a_child_is_named() {
        let too_expensive = |script: &str| {
            let refusal = refusal(script);
            refusal
                .strip_prefix("it is too expensive to compile: ")
                .unwrap_or_else(|| panic!("{refusal}"))
                .to_owned()
        };
        assert_eq!(too_expensive("kill -XCPU $$"), "it needs more than 60 s of computing");
        assert_eq!(too_expensive("kill -XFSZ $$"), "its native code has more than 3 MiB");
        let memory = "it needs more than 7 MiB of memory";
        assert_eq!(too_expensive("echo memory allocation of 8 bytes failed >&2; kill -ABRT $$"), memory);
        assert_eq!(too_expensive("echo 'error: Cannot allocate memory (os error 12)' >&2; exit 2"), memory);
        let stack = "echo \"thread 'main' has overflowed its stack\" >&2; kill -ABRT $$";
        assert_eq!(too_expensive(stack), "it nests too deeply for the compiler's stack");
        assert_eq!(too_expensive("echo why >&2; kill -SEGV $$"), "the compiler was ended by signal 11: why");
    }

    #[test]
    fn what_a_child_says_is_the_reason_and_drives_no_terminal() {
        assert_eq!(
            refusal("echo 'error: the component does not compile: why' >&2; exit 2"),
            "the component does not compile: why"
        );
        assert!(refusal("printf 'a\\033[2J' >&2; exit 101").ends_with("a\\u{1b}[2J"));
    }

    #[test]
    fn a_child_that_does_not_end_is_killed_and_the_machine_may_be_at_fault() {
        let error = shell("exec sleep 600", CompileLimits { cpu_s: 0, ..LIMITS }).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Environment, "{error:#}");
        assert!(format!("{error:#}").contains("has not ended after 0 s"), "{error:#}");
    }

    #[test]
    fn a_child_knows_nothing_of_the_hosts_environment() {
        // Cargo sets it for tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(shell("echo $CARGO_MANIFEST_DIR", LIMITS).unwrap(), b"\n");
    }
}
