//! What `wit/transform.wit` is in Rust; generated, and wrapped by the rest of [`crate::transform`].

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: true },
});
