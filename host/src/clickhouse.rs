//! ClickHouse: what may be written to which column, the blocks that carry it, and what the server answers.
//!
//! Everything here but the client is pure. A table's own column types rule the encoding: [`convert`] checks
//! each value against them, and [`native`] writes a block that the server has nothing to convert in.

pub mod types;
pub mod profile;
pub mod convert;
pub mod policy;
pub mod native;
pub mod rows;
pub mod names;
pub mod ddl;
pub mod request;
pub mod response;
pub mod client;
pub mod keyed;
pub mod level;
pub mod views;
pub mod table;
pub mod evolve;
pub mod block;
pub mod insert;
pub mod session;
pub mod target;
pub mod topics;
pub mod transforms;
