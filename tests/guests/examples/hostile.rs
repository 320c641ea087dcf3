//! The transform that misbehaves as its parameter `mode` says.

#[cfg(target_arch = "wasm32")]
rowgate_transform::bindings::export!(Hostile with_types_in rowgate_transform::bindings);

#[cfg(target_arch = "wasm32")]
use hostile::Hostile;
