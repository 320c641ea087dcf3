//! Writing down which life of a topic is read, before anything of it is written.

use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::Stop;
use super::targets::patiently;
use crate::clickhouse::client::Client;
use crate::clickhouse::response::Failure;
use crate::clickhouse::topics;
use crate::config::{Settings, Sink, Source};
use crate::epochs::{Epochs, Incarnation};
use crate::error::Classify;

/// The server does not let the user do this.
const ACCESS_DENIED: u32 = 497;

/// The table of topics, as one pipeline uses it.
pub(super) struct Ledger {
    client: Client,
    database: String,
    pipeline: String,
    dry_run: bool,
    /// What stands in it, as far as it is known.
    pub(super) epochs: Arc<Epochs>,
    /// Whether the user may not use the table: then there are no epochs.
    refused: bool,
}

impl Ledger {
    /// Reads what was written down before. None: the pipeline needs no epochs, since it writes to no tables or reads
    /// from no topics.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn open(client: Option<&Client>, settings: &Settings) -> Result<Option<Self>> {
        let (Some(client), Source::Kafka(_), Sink::ClickHouse(sink)) =
            (client, &settings.source, &settings.sink)
        else {
            return Ok(None);
        };
        let epochs = Arc::new(Epochs::default());
        let refused = match topics::read(client, &sink.database, &settings.name) {
            Ok(lines) => {
                epochs.add(lines);
                false
            }
            Err(failure) if failure.code == Some(ACCESS_DENIED) => {
                not_kept(&failure);
                true
            }
            Err(failure) => {
                let error = anyhow!("{failure}").context(format!("reading the table {}", topics::TABLE));
                return Err(error).environment();
            }
        };
        Ok(Some(Ledger {
            client: client.clone(),
            database: sink.database.clone(),
            pipeline: settings.name.clone(),
            dry_run: settings.dry_run,
            epochs,
            refused,
        }))
    }

    /// Writes down what `topic` is, unless that was done. None: given up while waiting for the server.
    ///
    /// # Errors
    /// Another host has written down something else since this one took over its partitions.
    pub(super) fn record(&mut self, topic: &str, is: &Incarnation, stop: &Stop) -> Result<Option<()>> {
        let Some(line) = is.line(topic) else { return Ok(Some(())) };
        if self.refused || self.epochs.has(&line) {
            return Ok(Some(()));
        }
        let read = || topics::read(&self.client, &self.database, &self.pipeline);
        let Some(lines) = patiently(stop, read)? else { return Ok(None) };
        self.epochs.add(lines);
        let now = self.epochs.incarnation(topic, is.topic_id.as_deref(), is.partitions)?;
        if now.epoch != is.epoch {
            let what = format!(
                "another host reads the topic {topic} as epoch {}, and this one has begun to as epoch {}",
                now.epoch, is.epoch
            );
            return Err(anyhow!(what)).environment().help("nothing of it was written: start again");
        }
        if !self.dry_run && !self.epochs.has(&line) {
            let allowed = |done: Result<(), Failure>| match done {
                // What stands there must be right; where nothing stands, it is as with brokers without ids.
                Err(failure) if failure.code == Some(ACCESS_DENIED) && self.epochs.is_empty() => {
                    Ok(Some(failure))
                }
                done => done.map(|()| None),
            };
            let write = || allowed(topics::write(&self.client, &self.database, &self.pipeline, &line));
            let Some(refusal) = patiently(stop, write)? else { return Ok(None) };
            if let Some(failure) = refusal {
                not_kept(&failure);
                self.refused = true;
                return Ok(Some(()));
            }
        }
        tracing::debug!(
            topic,
            epoch = line.epoch,
            partitions = line.partitions,
            id = line.topic_id,
            "wrote down"
        );
        self.epochs.add([line]);
        Ok(Some(()))
    }
}

fn not_kept(failure: &Failure) {
    tracing::warn!(
        table = topics::TABLE,
        "which topics these are is not kept, so one that is deleted and made anew would not be noticed: {failure}"
    );
}
