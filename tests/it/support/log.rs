//! The lines that a process writes, as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Lines of one stream, collected by a thread.
pub struct Log {
    lines: Arc<(Mutex<Lines>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Begins to read.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let lines: Arc<(Mutex<Lines>, Condvar)> = Arc::default();
        let shared = lines.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                locked(&shared.0).lines.push(String::from_utf8_lossy(&line).into_owned());
                shared.1.notify_all();
            }
            locked(&shared.0).ended = true;
            shared.1.notify_all();
        });
        Log { lines, reader: Some(reader) }
    }

    /// How many lines there are so far.
    pub fn len(&self) -> usize {
        locked(&self.lines.0).lines.len()
    }

    /// Waits for a line with `text` among those from number `from` on. None: the stream ended, or `bound`
    /// passed, without one.
    pub fn wait_for(&self, text: &str, from: usize, bound: Duration) -> Option<String> {
        let end = Instant::now() + bound;
        let mut lines = locked(&self.lines.0);
        let mut next = from;
        loop {
            let found = lines.lines.iter().skip(next).find(|line| line.contains(text));
            if found.is_some() {
                return found.cloned();
            }
            next = lines.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self.lines.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What was written so far.
    pub fn text(&self) -> String {
        let lines = locked(&self.lines.0);
        lines.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// All that was written; for a process that has ended.
    pub fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        self.text()
    }
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
