//! Write Rowgate transforms in Rust: what to keep, which columns to see, and a closure over one row.
//!
//! A transform says once for each source table what it does with it (a [`Rule`]); the host then hands it
//! the changes of that table, many at a time. Only the columns that the rule reads come into the
//! transform, and only those that it computes go back; all others are copied by the host.
//!
//! ```
//! use rowgate_transform::{Cell, Input, Kind, Ops, Params, Rule, Table, Transform};
//!
//! /// Keeps new and updated rows that have a name, and adds how long it is.
//! struct NameLength;
//!
//! impl Transform for NameLength {
//!     fn configure(params: &Params) -> Result<Self, String> {
//!         params.allow(&[])?;
//!         Ok(NameLength)
//!     }
//!
//!     fn prepare(&self, table: &Table) -> Result<Rule, String> {
//!         let mut rule = Rule::on(Ops::CREATE | Ops::UPDATE);
//!         for (field, at) in table.fields.iter().zip(0..) {
//!             rule.copy(&field.name, Input::After(at));
//!         }
//!         let Some(name) = table.fields.iter().position(|field| field.name == "name") else {
//!             return Ok(Rule::leave_out());
//!         };
//!         let name = rule.read(Input::After(name as u32));
//!         let length = rule.compute("name_length", Kind::Int);
//!         Ok(rule.each(move |row, out| {
//!             if let Cell::Text(name) = row.get(name) {
//!                 out.set(length, name.chars().count() as i64);
//!                 out.keep();
//!             }
//!             Ok(())
//!         }))
//!     }
//! }
//!
//! rowgate_transform::export!(NameLength);
//!
//! // The same code runs natively, so that it can be tested without a WebAssembly toolchain.
//! use rowgate_transform::testing::{Change, TableBuilder, run};
//!
//! let people = TableBuilder::new("people").column("id", Kind::Int).column("name", Kind::Text).build();
//! let changes = [Change::update([7.into(), "Ada".into()]), Change::update([8.into(), None::<i64>.into()])];
//! let rows = run::<NameLength>(&[], &people, &changes).unwrap().rows;
//! assert_eq!(rows.len(), 1);
//! assert_eq!(rows[0].get("name_length"), Some(&3.into()));
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` and make a component of that; the README beside
//! this crate says how. A panic fails the batch; the host then repeats it by halves until it has found the
//! changes at fault, which is slow: return `Err` from the closure where a change cannot be processed.

#[cfg(all(feature = "allocator", any(target_arch = "wasm32", test)))]
mod allocator;
pub mod bindings;
mod cell;
mod input;
mod instance;
mod log;
mod output;
mod params;
mod rule;
pub mod select;
pub mod testing;
pub mod time;

pub use bindings::rowgate::transform::types::{Answer, Batch, Field, Input, Kind, Op, Ops, Plan, Table};
pub use cell::Cell;
pub use input::Row;
pub use instance::{Instance, Transform};
pub use log::{debug, error, info, warn};
pub use output::Out;
pub use params::Params;
pub use rule::{Computed, OutputId, Read, Rule};

/// Makes a [`Transform`] the one that the component exports. Does nothing on targets other than
/// WebAssembly, where there is no component.
#[macro_export]
macro_rules! export {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                // It ends with the memory that it is in.
                static INSTANCE: ::core::cell::RefCell<::core::mem::ManuallyDrop<$crate::Instance<$transform>>> =
                    const { ::core::cell::RefCell::new(::core::mem::ManuallyDrop::new($crate::Instance::new())) };
            }

            struct Component;

            impl $crate::bindings::exports::rowgate::transform::handler::Guest for Component {
                fn configure(
                    params: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with_borrow_mut(|instance| instance.configure(params))
                }

                fn prepare(
                    table: $crate::Table,
                ) -> ::core::result::Result<$crate::Plan, ::std::string::String> {
                    INSTANCE.with_borrow_mut(|instance| instance.prepare(&table))
                }

                fn apply(
                    batch: $crate::Batch,
                ) -> ::core::result::Result<$crate::Answer, ::std::string::String> {
                    INSTANCE.with_borrow_mut(|instance| instance.apply(&batch))
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
