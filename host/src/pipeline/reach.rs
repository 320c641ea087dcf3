//! What rows and dead letters alike need to be written once: the server, the partition's ownership, and
//! names for their inserts.

use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::targets::Targets;
use crate::batch::Batch;
use crate::clickhouse::client::Client;
use crate::source::kafka::Commits;
use crate::transform::digest;

/// Digits of a token: 128 bits.
const TOKEN_DIGITS: usize = 32;

#[derive(Clone)]
pub(super) struct Reach {
    /// The pipeline's name.
    pub pipeline: String,
    /// Whether records have lasting coordinates. Lines have none: their rows cannot be told from those of
    /// another file.
    pub lasting: bool,
    pub client: Option<Client>,
    pub targets: Arc<Targets>,
    /// None: there is nothing to commit to, or nothing is to be committed.
    pub commits: Option<Commits>,
}

impl Reach {
    pub(super) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| anyhow!("rows for ClickHouse, and no server to write them to"))
    }

    /// Names one insert of a range: the same in each attempt, by whichever host.
    pub(super) fn token(&self, batch: &Batch, table: &str, part: &str) -> String {
        let mut text = named(&self.pipeline, batch, table, part);
        if !self.lasting {
            text += &digest(&batch.arena);
        }
        digest(text.as_bytes())[..TOKEN_DIGITS].to_owned()
    }
}

/// What a token is the digest of.
fn named(pipeline: &str, batch: &Batch, table: &str, part: &str) -> String {
    let Batch { topic, partition, first, last, epoch, .. } = batch;
    let text = format!("{pipeline}\0{topic}\0{partition}\0{first}\0{last}\0{table}\0{part}");
    if *epoch > 0 { format!("{text}\0epoch {epoch}") } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::batch::OpenBatch;

    #[test]
    fn a_batch_has_another_token_in_each_epoch_and_none_of_it_in_the_first() {
        let named = |epoch: u16| {
            let mut batch = OpenBatch::new("t".into(), 3, 5, Some(9), Instant::now()).close();
            batch.epoch = epoch;
            named("p", &batch, "table", "0")
        };
        assert_eq!(named(0), "p\x00t\x003\x005\x009\x00table\x000");
        assert_ne!(named(0), named(1));
        assert_ne!(named(1), named(2));
    }
}
