//! What transforms may log (promise S6 of `docs/invariants.md`).

use crate::locked::locked;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::bindings::rowgate::transform::log as wit;
use super::limits::SandboxLimits;

/// The lines that the transforms of one pipeline may log: so many a second, and as many at once.
#[derive(Debug)]
pub(super) struct LogRate {
    left: Mutex<Left>,
    /// Lines that were dropped, of all batches.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Left {
    /// None before the first line: the allowance is full then.
    lines: Option<f64>,
    since: Instant,
}

impl LogRate {
    pub(super) fn new() -> Self {
        let left = Left { lines: None, since: Instant::now() };
        LogRate { left: Mutex::new(left), dropped: AtomicU64::new(0) }
    }

    /// Whether one more line may be written `now`.
    fn takes(&self, per_second: u32, now: Instant) -> bool {
        let most = f64::from(per_second);
        let mut left = locked(&self.left);
        let grown = now.saturating_duration_since(left.since).as_secs_f64() * most;
        let lines = left.lines.map_or(most, |lines| (lines + grown).min(most));
        left.since = now;
        left.lines = Some(if lines >= 1.0 { lines - 1.0 } else { lines });
        lines >= 1.0
    }
}

/// What one batch may still log, whichever of its instances does.
#[derive(Debug)]
pub(super) struct BatchLog {
    rate: Arc<LogRate>,
    limits: SandboxLimits,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    lines: u32,
    bytes: usize,
    dropped: u64,
}

impl BatchLog {
    pub(super) fn new(rate: &Arc<LogRate>, limits: SandboxLimits) -> Arc<Self> {
        Arc::new(BatchLog { rate: rate.clone(), limits, used: Mutex::default() })
    }

    /// The line to write; none where it is one too many, which is counted.
    fn line(&self, message: &str, now: Instant) -> Option<String> {
        let SandboxLimits { log_lines, log_bytes, log_line_bytes, log_lines_per_second, .. } = self.limits;
        let mut used = locked(&self.used);
        let left = log_bytes.saturating_sub(used.bytes).min(log_line_bytes);
        if used.lines >= log_lines || left == 0 || !self.rate.takes(log_lines_per_second, now) {
            used.dropped += 1;
            return None;
        }
        let line = sanitized(message, left);
        used.lines += 1;
        used.bytes += line.len();
        Some(line)
    }

    pub(super) fn write(&self, level: wit::Level, message: &str) {
        let Some(line) = self.line(message, Instant::now()) else { return };
        match level {
            wit::Level::Debug => tracing::debug!(target: "transform", "{line}"),
            wit::Level::Info => tracing::info!(target: "transform", "{line}"),
            wit::Level::Warn => tracing::warn!(target: "transform", "{line}"),
            wit::Level::Error => tracing::error!(target: "transform", "{line}"),
        }
    }
}

impl Drop for BatchLog {
    fn drop(&mut self) {
        let dropped = self.used.get_mut().unwrap_or_else(PoisonError::into_inner).dropped;
        if dropped > 0 {
            let in_all = self.rate.dropped.fetch_add(dropped, Ordering::Relaxed) + dropped;
            tracing::warn!(
                dropped,
                in_all,
                "the transform logs more than it may: lines of a batch were dropped"
            );
        }
    }
}

/// `text` cut to `most` bytes and a mark, with characters escaped that would forge a line, drive a terminal, or
/// turn the order of what stands around them.
pub(super) fn sanitized(text: &str, most: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let before = safe.len();
        match c {
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => safe.extend(c.escape_unicode()),
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
        if safe.len() > most {
            safe.truncate(before);
            safe.push('…');
            break;
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_log_line_cannot_forge_another_or_drive_a_terminal() {
        assert_eq!(sanitized("a\nb\u{1b}[2Jc\u{202e}\u{2028}", 99), "a\\nb\\u{1b}[2Jc\\u{202e}\\u{2028}");
        assert_eq!(sanitized("{\"level\":\"ERROR\"}\r", 99), "{\"level\":\"ERROR\"}\\r");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character_and_marked() {
        assert_eq!(sanitized("ééé", 5), "éé…");
        assert_eq!(sanitized("abc", 3), "abc");
        // An escape is whole, or not there.
        assert_eq!(sanitized("ab\u{1b}", 4), "ab…");
        assert!(sanitized(&"x".repeat(1 << 20), 4096).len() <= 4096 + '…'.len_utf8());
    }

    #[test]
    fn a_batch_has_so_many_lines_and_bytes_whichever_comes_first() {
        let rate = Arc::new(LogRate::new());
        let limits = SandboxLimits { log_lines: 3, log_bytes: 10, ..SandboxLimits::default() };
        let now = Instant::now();
        let written = |batch: &BatchLog, lines: &[&str]| {
            lines.iter().filter(|line| batch.line(line, now).is_some()).count()
        };
        let batch = BatchLog::new(&rate, limits);
        assert_eq!(written(&batch, &["a", "b", "c", "d"]), 3);
        let batch = BatchLog::new(&rate, limits);
        assert_eq!(written(&batch, &["0123456789", "b"]), 1);
        let batch = BatchLog::new(&rate, limits);
        assert_eq!(batch.line("0123456", now).unwrap(), "0123456");
        assert_eq!(batch.line("789abc", now).unwrap(), "789…");
    }

    #[test]
    fn a_pipeline_has_so_many_lines_a_second_and_those_that_are_dropped_are_counted() {
        let rate = Arc::new(LogRate::new());
        let limits = SandboxLimits { log_lines: 1, log_lines_per_second: 10, ..SandboxLimits::default() };
        let start = Instant::now();
        let written =
            |now| (0..100).filter(|_| BatchLog::new(&rate, limits).line("x", now).is_some()).count();
        assert_eq!(written(start), 10);
        assert_eq!(written(start + Duration::from_millis(500)), 5);
        assert_eq!(written(start + Duration::from_secs(60)), 10);
        assert_eq!(rate.dropped.load(Ordering::Relaxed), 275);
    }
}
