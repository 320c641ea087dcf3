//! The default transform: keeps updates, with every column of the row after them, times in UTC, and a
//! column `op`.
//!
//! The parameters and the rules for times are those of [`Changes`].

mod changes;
mod times;

pub use changes::Changes;

use rowgate_transform::{Input, Ops, Params, Rule, Table, Transform};

/// Keeps changes with `op = u`.
pub struct UpdateOnly(Changes);

impl Transform for UpdateOnly {
    fn configure(params: &Params) -> Result<Self, String> {
        Changes::configure(params, Ops::UPDATE, Input::After).map(Self)
    }

    fn prepare(&self, table: &Table) -> Result<Rule, String> {
        Ok(self.0.rule(table))
    }
}

#[cfg(feature = "component")]
rowgate_transform::export!(UpdateOnly);

#[cfg(test)]
mod tests;
