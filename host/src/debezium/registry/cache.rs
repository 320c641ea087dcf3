//! What is remembered of a registry's schemas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::{Codec, SchemaId};

/// How many schemas are kept from batch to batch; and how many bytes of their texts.
const MAX_KEPT: usize = 1_000;
const MAX_KEPT_BYTES: usize = 64 << 20;
/// How long what a registry does not know is not asked for again.
const NOT_AGAIN: Duration = Duration::from_secs(60);

/// A schema, or why there is none.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) codec: Result<Arc<Codec>, String>,
    bytes: usize,
    /// The batch that it was used in last.
    used: u64,
    until: Option<Instant>,
}

impl Known {
    /// A schema of so many bytes.
    pub(super) fn good(codec: Codec, bytes: usize) -> Self {
        Known { codec: Ok(Arc::new(codec)), bytes, used: 0, until: None }
    }

    /// There is none.
    pub(super) fn bad(why: String) -> Self {
        let bytes = why.len();
        Known { codec: Err(why), bytes, used: 0, until: Instant::now().checked_add(NOT_AGAIN) }
    }
}

/// Schemas by their ids. What a batch uses stays until the next one.
#[derive(Debug, Default)]
pub(super) struct Cache {
    known: FxHashMap<SchemaId, Known>,
    batch: u64,
}

impl Cache {
    /// Begins a batch: what is too old, or too much, is forgotten.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.known.retain(|_, known| known.until.is_none_or(|until| until > now));
        self.batch += 1;
        let bytes: usize = self.known.values().map(|known| known.bytes).sum();
        if self.known.len() <= MAX_KEPT && bytes <= MAX_KEPT_BYTES {
            return;
        }
        let mut all: Vec<_> = self.known.iter().map(|(id, known)| (known.used, *id, known.bytes)).collect();
        all.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut total = 0;
        for (index, (_, id, bytes)) in all.into_iter().enumerate() {
            total += bytes;
            if index >= MAX_KEPT || total > MAX_KEPT_BYTES {
                self.known.remove(&id);
            }
        }
    }

    /// Whether it is known; then this batch uses it.
    pub(super) fn use_again(&mut self, id: SchemaId) -> bool {
        match self.known.get_mut(&id) {
            Some(known) => {
                known.used = self.batch;
                true
            }
            None => false,
        }
    }

    /// Remembers it; this batch uses it.
    pub(super) fn insert(&mut self, id: SchemaId, known: Known) {
        self.known.insert(id, Known { used: self.batch, ..known });
    }

    pub(super) fn get(&self, id: SchemaId) -> Option<&Known> {
        self.known.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_that_were_used_last_are_kept() {
        let mut cache = Cache::default();
        cache.begin();
        for id in 0..MAX_KEPT as u32 {
            cache.insert(SchemaId::Number(id), Known::bad(String::new()));
        }
        cache.begin();
        assert!(cache.use_again(SchemaId::Number(7)));
        for id in 0..10 {
            cache.insert(SchemaId::Number(5_000 + id), Known::bad(String::new()));
        }
        // Within a batch nothing that it uses goes.
        assert_eq!(cache.known.len(), MAX_KEPT + 10);
        cache.begin();
        assert_eq!(cache.known.len(), MAX_KEPT);
        assert!(cache.use_again(SchemaId::Number(7)));
        assert!((0..10).all(|id| cache.use_again(SchemaId::Number(5_000 + id))));
    }

    #[test]
    fn large_schemas_are_fewer() {
        let mut cache = Cache::default();
        cache.begin();
        for id in 0..5 {
            cache.insert(
                SchemaId::Number(id),
                Known { bytes: MAX_KEPT_BYTES / 2, ..Known::bad(String::new()) },
            );
        }
        cache.begin();
        assert_eq!(cache.known.len(), 2);
    }

    #[test]
    fn what_there_was_not_is_asked_for_again_after_a_while() {
        let mut cache = Cache::default();
        cache.begin();
        cache.insert(SchemaId::Number(1), Known { until: Some(Instant::now()), ..Known::bad(String::new()) });
        cache.insert(SchemaId::Number(2), Known::bad(String::new()));
        cache.begin();
        assert!(!cache.use_again(SchemaId::Number(1)));
        assert!(cache.use_again(SchemaId::Number(2)));
    }
}
