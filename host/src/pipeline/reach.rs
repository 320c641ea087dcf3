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

pub(super) struct Reach {
    /// The pipeline's name.
    pub pipeline: String,
    /// The beginning of the transform's digest.
    pub transform: String,
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
        let (first, last) = (batch.first, batch.last);
        let mut text = format!(
            "{}\0{}\0{}\0{first}\0{last}\0{table}\0{part}",
            self.pipeline, batch.topic, batch.partition
        );
        if !self.lasting {
            text += &digest(&batch.arena);
        }
        digest(text.as_bytes())[..TOKEN_DIGITS].to_owned()
    }
}
