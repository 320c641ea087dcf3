//! One target, named by the variable `FUZZ_TARGET`, under libFuzzer, whose options the arguments are. With
//! `FUZZ_TARGET=list` it prints the targets' names.

#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|(name, _)| println!("{name}"));
        std::process::exit(0);
    }
    let Some(target) = target(&name) else {
        eprintln!("error: FUZZ_TARGET is `{name}`, which is no target; `list` lists them");
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target);
}

fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
});
