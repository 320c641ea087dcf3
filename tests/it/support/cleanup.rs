//! Leaves nothing behind, however the tests end: well, by a panic, or by a signal that nobody can catch.
//!
//! A process of its own reads from a pipe that only this process can write to. When this one is gone the pipe
//! ends, and the other ends what is left: hosts, servers, files. It keeps standard error open meanwhile, so
//! that whoever reads the tests' output to its end has also waited for this.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::places;

/// Reads `pid NUMBER`, `stack FOLDER` and `remove FOLDER`. A process is ended only while it runs a file in the
/// folder of this run, for its number may have gone to another.
const JANITOR: &str = r#"
pids=() stacks=() folders=()
while read -r kind what; do
  case $kind in pid) pids+=("$what") ;; stack) stacks+=("$what") ;; remove) folders+=("$what") ;; esac
done
for pid in "${pids[@]}"; do
  for folder in "${folders[@]}"; do
    case $(readlink "/proc/$pid/exe") in "$folder"/*) kill -KILL "$pid" ;; esac
  done
done
for dir in "${stacks[@]}"; do STACK_DIR=$dir "$0" wipe >/dev/null & done
wait
rm -rf "${folders[@]}"
"#;

fn say(line: &str) {
    static JANITOR_INPUT: OnceLock<Mutex<(ChildStdin, Child)>> = OnceLock::new();
    let janitor = JANITOR_INPUT.get_or_init(|| {
        let mut child = Command::new("bash")
            .arg("-c")
            .arg(JANITOR)
            .arg(places::root().join("tests/stack/stack"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is for the tests; what they leave is cleaned up after it.
            .process_group(0)
            .spawn()
            .expect("bash runs");
        Mutex::new((child.stdin.take().expect("it is piped"), child))
    });
    let mut input = janitor.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(input.0, "{line}").expect("the process that cleans up lives");
}

/// Removes a folder when this process ends.
pub fn remove_at_end(folder: &Path) {
    say(&format!("remove {}", folder.display()));
}

/// Stops the servers of a stack when this process ends.
pub fn stop_at_end(stack: &Path) {
    say(&format!("stack {}", stack.display()));
}

/// Kills a process when this one ends.
pub fn kill_at_end(pid: u32) {
    say(&format!("pid {pid}"));
}
