//! The run of `make hostile`, in small.

use std::process::Command;

#[test]
fn no_component_crashes_the_host_takes_its_memory_or_holds_up_a_neighbour() {
    let ran = Command::new(env!("CARGO_BIN_EXE_attacks"))
        .args(["--count", "60", "--window-ms", "200"])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    // It would not end well with a crash; this is that it did try.
    for text in ["host crashes            0", "random ", "mutated ", "lifted ", "worst neighbour p99 "] {
        assert!(said.contains(text), "no {text:?} in: {said}");
    }
}
