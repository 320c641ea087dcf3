//! Rowgate's host: Debezium changes in, a user's WebAssembly transform in the middle, ClickHouse rows out.
//!
//! ```text
//!  Kafka ──poll──▶ fill ──▶ decode ──▶ columns ──▶ transform ──▶ encode ──▶ seal ──▶ insert ──▶ commit
//!  or file         batch    Debezium   only what   wasm, once    Native      Kafka    ClickHouse  next seal
//!                  (bytes)  spans      the plan    per table     checked     commit   + token     or idle
//!                                      reads       of a batch    types
//! ```
//!
//! The modules stand in the order in which a record passes them; [`pipeline`] is the only one that knows
//! them all. The words (record, change, shape, plan, batch, seal, row, dead letter) are those of
//! `docs/architecture.md`.

pub mod source;
pub mod batch;
pub mod debezium;
pub mod columns;
pub mod origin;
pub mod oci;
pub mod transform;
pub mod clickhouse;
pub mod dead_letter;
pub mod commit;
pub mod epochs;
pub mod pins;
pub mod delivery;
pub mod output;

pub mod pipeline;
pub mod supervisor;
pub mod tenant;

pub mod admin;
pub mod chaos;
pub mod cli;
pub mod config;
pub mod error;
mod folder;
mod heap;
mod http;
mod locked;
pub mod metrics;
mod pause;
mod random;
pub mod signal;
pub mod telemetry;
#[cfg(test)]
mod types_doc;
