//! What a decoder is told about the records, where they do not say it themselves.

use super::flat;
use super::hints::Hints;
use super::placeholder::Placeholder;

/// How a pipeline's records are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What stands for a value that the source did not send.
    pub placeholder: Placeholder,
    /// What flattening puts before the names of the fields that it adds; never empty.
    pub flattened_prefix: String,
    /// Whether flattened records have these fields in their headers.
    pub flattened_headers: bool,
    /// What a null value with a key is.
    pub tombstones: Tombstones,
    /// How columns are written of which no schema says it.
    pub hints: Hints,
}

/// What a null value with a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tombstones {
    /// Nothing: it follows the delete.
    #[default]
    Ignore,
    /// The delete itself: flattened records have no other.
    Delete,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            placeholder: Placeholder::default(),
            flattened_prefix: "__".into(),
            flattened_headers: false,
            tombstones: Tombstones::default(),
            hints: Hints::default(),
        }
    }
}

impl Options {
    /// The names of the record headers that decoding looks at.
    pub fn headers(&self) -> Vec<String> {
        if self.flattened_headers { flat::header_names(&self.flattened_prefix) } else { Vec::new() }
    }
}
