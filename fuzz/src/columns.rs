//! Blocks of the Native format.

use host::clickhouse::rows;

/// Bytes that may be a block: what is read can be shown.
pub(crate) fn read_block(bytes: &[u8]) {
    if let Ok(rows) = rows::read_block(bytes) {
        for line in rows.lines() {
            assert!(!line.contains('\n'), "a row of several lines");
        }
    }
}
