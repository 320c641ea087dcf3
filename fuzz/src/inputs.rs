//! What stands in files: lines of records, and the configuration.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crossbeam_channel::bounded;
use host::batch::HeaderNames;
use host::config::{self, BatchLimits, Bounds, Request, Surroundings};
use host::signal::Shutdown;
use host::source::lines as source;

/// A file with these bytes, in memory where the system has such a place.
fn file(bytes: &[u8]) -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        folder.join(format!("rowgate-fuzz-{}", std::process::id()))
    });
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.clone()
}

/// Lines as `--input` reads them: each that is not empty becomes one record of a batch of ascending offsets.
pub(crate) fn lines(bytes: &[u8]) {
    let limits = BatchLimits { rows: 3, bytes: 1 << 10, linger_ms: 60_000 };
    // There cannot be more batches than lines.
    let room = bytes.iter().filter(|byte| **byte == b'\n').count() + 2;
    let (sender, batches) = bounded(room);
    let path = file(bytes);
    let read = source::run(
        Some(&path),
        (&limits, &HeaderNames::default()),
        sender,
        &Bounds::default(),
        &Shutdown::new(),
        || false,
        || panic!("there is no end of time"),
    );
    assert!(read.is_ok(), "{read:?}");
    let mut records = 0;
    for batch in batches.iter().map(|batch| batch.batch) {
        assert!(!batch.records.is_empty() && batch.records.len() <= 3);
        assert!(batch.records.is_sorted_by(|one, next| one.offset < next.offset));
        assert_eq!(batch.records.first().map(|record| record.offset), Some(batch.first));
        assert_eq!(batch.records.last().map(|record| record.offset), Some(batch.last));
        records += batch.records.len();
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let expected = lines.filter(|line| !line.is_empty()).count();
    // A last line may end in a carriage return without a line's end, which then belongs to it.
    assert!(records == expected || (records == expected + 1 && bytes.ends_with(b"\r")), "{records} records");
}

/// A configuration file: it is understood, or its mistakes are shown.
pub(crate) fn config(bytes: &[u8]) {
    let request = Request { config: Some(file(bytes)), ..Request::default() };
    match config::load(&request, &Surroundings::default()) {
        Ok(configured) => assert!(configured.pipelines().iter().all(|loaded| !loaded.resolved.is_empty())),
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
}
