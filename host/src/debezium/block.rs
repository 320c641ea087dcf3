//! A `source` block for events that carry its members elsewhere.

use super::envelope::{Source, micros};
use crate::batch::Span;

/// A block that is being made, and used again for the next event.
#[derive(Debug, Default)]
pub struct Block {
    text: String,
    /// Where the values of [`Source::names`] stand in the text.
    names: [Span; 4],
    /// The times in microseconds, nanoseconds, milliseconds.
    times: [Option<i64>; 3],
    /// Where the last one stands in the batch's arena.
    placed: Option<u32>,
}

impl Block {
    /// To be called before each batch.
    pub fn begin_batch(&mut self) {
        self.placed = None;
    }

    /// To be called before each event.
    pub fn begin(&mut self) {
        self.text.clear();
        self.text.push('{');
        self.names = [Span::default(); 4];
        self.times = [None; 3];
    }

    /// Whether the block names the table.
    pub fn has_table(&self) -> bool {
        !self.names[3].is_empty()
    }

    /// Adds a member of this name, which needs no escapes, with its JSON; the first of a name stays.
    ///
    /// # Errors
    /// A time that is none.
    pub fn member(&mut self, name: &str, json: &str) -> Result<(), String> {
        // In a text inside the block the first quote would be escaped.
        if self.text.contains(&format!("\"{name}\":")) {
            return Ok(());
        }
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.extend(["\"", name, "\":"]);
        let start = self.text.len() as u32;
        self.text.push_str(json);
        let value = Span { start, end: self.text.len() as u32 };
        match name {
            "connector" => self.names[0] = value,
            "db" => self.names[1] = value,
            "schema" => self.names[2] = value,
            "table" => self.names[3] = value,
            "collection" if !self.has_table() => self.names[3] = value,
            "ts_us" => self.times[0] = time(name, json)?,
            "ts_ns" => self.times[1] = time(name, json)?,
            "ts_ms" => self.times[2] = time(name, json)?,
            _ => {}
        }
        Ok(())
    }

    /// Appends the block to `arena`, where the one of the last event was not the same.
    ///
    /// # Errors
    /// A time that is out of range; an arena that is full.
    pub fn place(&mut self, arena: &mut Vec<u8>) -> Result<Source, String> {
        let committed_at_us = micros(self.times).map_err(|reason| format!("in the source, {reason}"))?;
        self.text.push('}');
        let text = self.text.as_bytes();
        let same = |at: &u32| arena.get(*at as usize..*at as usize + text.len()) == Some(text);
        let start = match self.placed.filter(same) {
            Some(start) => start,
            None => append(arena, text)?.start,
        };
        self.placed = Some(start);
        let moved = |span: Span| match span.is_empty() {
            true => Span::default(),
            false => Span { start: start + span.start, end: start + span.end },
        };
        let span = Span { start, end: start + text.len() as u32 };
        Ok(Source { names: self.names.map(moved), committed_at_us, span })
    }
}

fn time(name: &str, json: &str) -> Result<Option<i64>, String> {
    let text = json.trim_matches('"');
    if text == "null" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("`{name}` is not a 64-bit integer"))
}

/// Appends what an event holds in another form to the batch's arena.
///
/// # Errors
/// The arena is full.
pub fn append(arena: &mut Vec<u8>, bytes: &[u8]) -> Result<Span, String> {
    match (u32::try_from(arena.len()), u32::try_from(arena.len() + bytes.len())) {
        (Ok(start), Ok(end)) => {
            arena.extend_from_slice(bytes);
            Ok(Span { start, end })
        }
        _ => Err("the batch has more than 4 GiB".into()),
    }
}
