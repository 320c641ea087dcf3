//! From which record on which transform makes a partition's rows: told to whoever asks, and written into a table where
//! it changes.
//!
//! A line is written before the first range of another transform is sealed: what is killed in between writes it again,
//! which says nothing more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};

use super::Stop;
use super::control::Control;
use super::prepare::Prepared;
use super::targets::patiently;
use crate::clickhouse::client::Client;
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::transforms::{self, Hand, Line, TABLE};
use crate::config::{Settings, Sink};
use crate::error::Classify;
use crate::locked::locked;
use crate::source::kafka::ownership::Partition;

/// Who made the last rows of each partition. Clones are the same.
#[derive(Clone)]
pub(super) struct Handovers {
    control: Control,
    pipeline: String,
    /// Where it is written down; none where there is no server, or nothing is to be written.
    table: Option<(Client, String)>,
    last: Arc<Mutex<HashMap<Partition, Hand>>>,
}

impl Handovers {
    /// Reads who made the last rows of which partition, as far as that is written down.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn open(control: &Control, settings: &Settings, client: Option<&Client>) -> Result<Self> {
        let table = match (&settings.sink, client) {
            (Sink::ClickHouse(sink), Some(client)) if super::chosen::seals(settings) && !settings.dry_run => {
                Some((client.clone(), sink.database.clone()))
            }
            _ => None,
        };
        let handovers = Handovers {
            control: control.clone(),
            pipeline: settings.name.clone(),
            table,
            last: Arc::default(),
        };
        if let Some((client, database)) = &handovers.table {
            match transforms::read(client, database, &handovers.pipeline) {
                Ok(last) => *locked(&handovers.last) = last,
                // Whoever may not read it may not write it, either, which is said when there is something to write.
                Err(failure) if !matches!(failure.class, Class::Retry | Class::Unknown) => {
                    tracing::debug!(table = TABLE, "who made the rows so far is not known: {failure}");
                }
                Err(failure) => {
                    return Err(anyhow!("{failure}").context(format!("reading the table {TABLE}")))
                        .environment();
                }
            }
        }
        Ok(handovers)
    }

    /// Writes down that a range, which is next, is made by another transform than the one before it, where it is. None:
    /// given up.
    pub(super) fn record(&self, prepared: &Prepared, stop: &Stop) -> Result<Option<()>> {
        let (batch, maker) = (&prepared.source.batch, &prepared.maker);
        let last = locked(&self.last).get(&prepared.partition()).cloned();
        let Some(before) = last.filter(|last| last.pin != maker.pin) else { return Ok(Some(())) };
        tracing::info!(
            topic = &*batch.topic,
            partition = batch.partition,
            offset = batch.first,
            was = before.transform,
            now = maker.digest,
            "another transform makes the rows from here on"
        );
        let Some((client, database)) = &self.table else { return Ok(Some(())) };
        let now = Hand { transform: maker.digest.clone(), pin: maker.pin.clone() };
        let line = Line { pipeline: &self.pipeline, batch, now: &now, before: &before };
        let refused = |failure: Failure| match failure.class {
            Class::Retry | Class::Unknown => Err(failure),
            _ => {
                not_kept(&failure);
                Ok(())
            }
        };
        patiently(stop, || transforms::write(client, database, &line).or_else(refused))
    }

    /// A range is done.
    pub(super) fn done(&self, prepared: &Prepared) {
        let (partition, maker) = (prepared.partition(), &prepared.maker);
        self.control.made(&partition, maker, prepared.source.batch.first);
        let mut last = locked(&self.last);
        let is_known = last.get(&partition).is_some_and(|last| last.pin == maker.pin);
        if !is_known {
            let hand = Hand { transform: maker.digest.clone(), pin: maker.pin.clone() };
            last.insert(partition, hand);
        }
    }
}

fn not_kept(failure: &Failure) {
    tracing::warn!(
        table = TABLE,
        "from where on which transform made the rows is in the log only: {failure}"
    );
}
