//! Transforms for the bench alone. Each is a library, to be called natively too, and an example, which is the component.

mod all_columns;
mod raw;

pub use all_columns::AllColumns;
pub use raw::RawUpdateOnly;
