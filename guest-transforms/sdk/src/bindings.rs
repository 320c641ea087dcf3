//! The contract as it stands in `wit/transform.wit`, for a transform that does without rows.
//!
//! Implement [`exports::rowgate::transform::handler::Guest`] and name the type in this module's `export!`.
//! The functions of the contract exist in WebAssembly only; its types exist everywhere.

// The text is the contract's, and the code is made for the canonical ABI.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    world: "transform",
    path: "../../wit",
    additional_derives: [PartialEq],
    generate_unused_types: true,
    pub_export_macro: true,
});
