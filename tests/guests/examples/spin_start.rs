//! A transform that never comes to life: its start function does not return.

use rowgate_transform::bindings::exports::rowgate::transform::handler::Guest;
use rowgate_transform::{Answer, Batch, Plan, Table};

/// Runs while the component is instantiated.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    loop {
        std::hint::black_box(());
    }
}

/// Never called.
pub struct SpinStart;

impl Guest for SpinStart {
    fn configure(_: Vec<(String, String)>) -> Result<(), String> {
        Ok(())
    }

    fn prepare(_: Table) -> Result<Plan, String> {
        Err("there is nothing to prepare".to_owned())
    }

    fn apply(_: Batch) -> Result<Answer, String> {
        Err("there is nothing to apply".to_owned())
    }
}

#[cfg(target_arch = "wasm32")]
rowgate_transform::bindings::export!(SpinStart with_types_in rowgate_transform::bindings);
