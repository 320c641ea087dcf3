//! The default transform without the kit.

#[cfg(target_arch = "wasm32")]
use bench_guests::RawUpdateOnly;

#[cfg(target_arch = "wasm32")]
rowgate_transform::bindings::export!(RawUpdateOnly with_types_in rowgate_transform::bindings);
