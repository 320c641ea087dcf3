//! Files of the repository, and the folder of this run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cleanup;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// A transform as `make guests` builds it: `update_only`, `all_changes`, or `tests/...`.
pub fn transform(name: &str) -> String {
    let path = root().join("guest-transforms/dist").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `make guests`", path.display());
    path.to_str().expect("paths are UTF-8").to_owned()
}

/// The bytes of one.
pub fn component(name: &str) -> Vec<u8> {
    fs::read(transform(name)).expect("it can be read")
}

/// The same transform with another digest: a section that says nothing is added.
pub fn variant(component: &[u8], number: u64) -> Vec<u8> {
    let name = format!("variant {number}");
    let length = |bytes: usize| u8::try_from(bytes).expect("less than 128 bytes");
    let section = [&[0, length(name.len() + 1), length(name.len())], name.as_bytes()].concat();
    [component, &section].concat()
}

/// Recorded change events: of PostgreSQL, or of the folder that `file` names.
pub fn fixture(file: &str) -> PathBuf {
    let folder = if file.contains('/') { "" } else { "debezium-postgres" };
    root().join("tests/fixtures").join(folder).join(file)
}

/// The folder of this run; it goes when the process ends.
pub fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("rowgate-it-{}", std::process::id()));
        // A process of this number that was killed long ago may have left one.
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        cleanup::remove_at_end(&folder);
        folder
    })
}

/// A new empty folder in that of the run.
pub fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = run_folder().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir(&folder).expect("a folder for temporary files");
    folder
}

/// A file with this text, in a folder of its own.
pub fn file(name: &str, text: impl AsRef<[u8]>) -> String {
    let path = new_folder().join(name);
    fs::write(&path, text).expect("a temporary file");
    path.to_str().expect("paths are UTF-8").to_owned()
}
