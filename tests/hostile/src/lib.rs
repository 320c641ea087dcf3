//! Components that attack the host, put through all that the host does with a component.
//!
//! The known ones are in [`table`]; each must end as it says there, and the host must live. `tests/it/hostile.rs` runs
//! them through the host's own binary, the program of this crate measures what they cost the host and a neighbour.

pub mod bombs;
pub mod code;
pub mod forge;
pub mod grown;
pub mod meter;
pub mod neighbour;
pub mod report;
pub mod table;
pub mod trial;
pub mod worker;

use std::path::{Path, PathBuf};

use table::{Attack, Source};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("it lies two folders deep")
}

/// The file of a component as `make guests` builds it: `update_only`, `tests/hostile`.
pub fn guest(name: &str) -> PathBuf {
    root().join("guest-transforms/dist").join(format!("{name}.wasm"))
}

impl Attack {
    /// Its component. Where it comes from `tests/guests`, `make guests` must have been run.
    pub fn component(&self) -> Vec<u8> {
        let read = |name: &str| {
            let path = guest(&format!("tests/{name}"));
            std::fs::read(&path)
                .unwrap_or_else(|error| panic!("{}: {error}: run `make guests`", path.display()))
        };
        match self.source {
            Source::Mode => read("hostile"),
            Source::Example => read(self.name),
            Source::Forged(forge) => forge(),
        }
    }
}
