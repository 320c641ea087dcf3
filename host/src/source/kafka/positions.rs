//! How far a group is, asked from outside of it: nothing is joined, read or committed.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::client;
use super::ownership::Partition;
use crate::commit::Seal;
use crate::config::Kafka;
use crate::error::Classify;

/// What librdkafka says besides is for those who look for it: the request's own error tells what is wrong.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", "{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka: {error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// The positions of a group, as far as they were asked for.
pub struct Positions {
    consumer: BaseConsumer<Quiet>,
    brokers: String,
    group: String,
    known: HashMap<Partition, Option<(i64, Option<Seal>)>>,
}

impl Positions {
    /// # Errors
    /// Settings that the client refuses.
    pub fn open(source: &Kafka) -> Result<Self> {
        let consumer: BaseConsumer<Quiet> = client::settings(source)
            .create_with_context(Quiet)
            .context("the Kafka client refuses its settings")
            .usage()?;
        let (brokers, group) = (source.brokers.join(","), source.group.clone());
        Ok(Positions { consumer, brokers, group, known: HashMap::new() })
    }

    /// Why a record may still be written by the group's hosts: its offset is not before the committed position. None
    /// where it is, and where the group has no position there.
    ///
    /// # Errors
    /// The brokers do not answer, or the commit is not the host's.
    pub fn pending(&mut self, partition: &Partition, offset: i64) -> Result<Option<String>> {
        // A position only moves on: what it was is enough for offsets before it.
        if let Some(Some((position, _))) = self.known.get(partition)
            && offset < *position
        {
            return Ok(None);
        }
        let now = self.ask(partition)?;
        self.known.insert(partition.clone(), now.clone());
        let Some((position, seal)) = now.filter(|(position, _)| offset >= *position) else { return Ok(None) };
        let group = &self.group;
        Ok(Some(match seal {
            Some(seal) if offset <= seal.last => format!(
                "its range {position} to {} is sealed and not done (group {group}): let the host finish it first",
                seal.last
            ),
            _ => format!(
                "the group {group} is at offset {position} and has not done it yet: the host will read it again"
            ),
        }))
    }

    fn ask(&self, (topic, partition): &Partition) -> Result<Option<(i64, Option<Seal>)>> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *partition);
        let committed = self
            .consumer
            .committed_offsets(list, client::REQUEST_TIMEOUT)
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("asking Kafka at {} how far the group {} is", self.brokers, self.group))
            .environment()
            .help("check --brokers; letters of a file need no Kafka: say --input FILE, as for the run")?;
        for element in committed.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let seal = Seal::parse(element.metadata()).map_err(|what| anyhow!(what)).usage()?;
                return Ok(Some((offset, seal)));
            }
        }
        Ok(None)
    }
}
