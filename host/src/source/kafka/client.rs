//! The Kafka client: its settings, its first contact with the brokers, and which of its errors pass.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::ownership::Partition;
use crate::config::Kafka;
use crate::error::Classify;

/// How long one request to the brokers may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The user's settings first, then those that delivery depends on.
pub(super) fn settings(source: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "rowgate")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "32768")
        // What is asked for at once comes as producers compressed it, and takes many times that where it is unpacked;
        // the bound on the queue above is looked at before that. A record that is larger comes all the same.
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "8388608")
        // A broker that comes back is found within seconds, and a request that it lost is not waited for.
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.timeout.ms", "10000")
        // A host that died is noticed, and its partitions move, within this time.
        .set("session.timeout.ms", "15000")
        .set("fetch.queue.backoff.ms", "50")
        .set("allow.auto.create.topics", "false")
        .set("check.crcs", "true");
    for (key, value) in &source.properties.0 {
        config.set(key, value);
    }
    config
        .set("bootstrap.servers", source.brokers.join(","))
        .set("group.id", &source.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A missing position is never filled in by a guess: see `context`.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    config
}

/// Checks that the brokers answer, and says which topics are not there yet.
pub(super) fn check_brokers<C: ConsumerContext>(consumer: &BaseConsumer<C>, source: &Kafka) -> Result<()> {
    let metadata = consumer
        .fetch_metadata(None, REQUEST_TIMEOUT)
        .map_err(|error| anyhow!(error.to_string()))
        .with_context(|| {
            let seconds = REQUEST_TIMEOUT.as_secs();
            format!("no Kafka broker at {} answered within {seconds} s", source.brokers.join(","))
        })
        .environment()
        .help("check --brokers, and that Kafka runs there")?;
    for topic in source.topics.iter().map(|topic| topic.as_str()).filter(|topic| !topic.starts_with('^')) {
        if !metadata.topics().iter().any(|known| known.name() == topic) {
            tracing::warn!(topic, "the topic does not exist yet: waiting for it");
        }
    }
    Ok(())
}

/// Errors of polling: those that pass are said and waited out, the others end the pipeline.
pub(super) fn tolerate(error: &KafkaError) -> Result<()> {
    let Some(code) = error.rdkafka_error_code() else {
        return Err(anyhow!("{error}")).context("polling Kafka").environment();
    };
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::Fatal => Err(anyhow!("{error}")).context("Kafka refuses").environment(),
        // Said by the context, once for all brokers.
        RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure => Ok(()),
        _ => {
            tracing::warn!("kafka: {error}: waiting");
            Ok(())
        }
    }
}

/// The ends of partitions: the offsets that their next records will have. One request for all of them.
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<Vec<(Partition, i64)>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        // In the place of a timestamp, it asks for the end.
        list.add_partition_offset(topic, *partition, Offset::End)?;
    }
    let mut ends = Vec::new();
    for element in consumer.offsets_for_times(list, REQUEST_TIMEOUT)?.elements() {
        element.error()?;
        if let Offset::Offset(end) = element.offset() {
            ends.push(((element.topic().into(), element.partition()), end));
        }
    }
    Ok(ends)
}

/// Whether the group has read to the end all partitions of `topics` but those in `own`: other members do, or
/// one that has died did, and its partitions come to this one when the group notices.
pub(super) fn others_are_at_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    own: impl Fn(&Partition) -> bool,
) -> Result<bool, KafkaError> {
    // One request whatever their number, since each waits behind a fetch.
    let only = match topics {
        [topic] => Some(*topic),
        _ => None,
    };
    let metadata = consumer.fetch_metadata(only, REQUEST_TIMEOUT)?;
    let mut list = TopicPartitionList::new();
    for topic in metadata.topics().iter().filter(|topic| topics.contains(&topic.name())) {
        for partition in topic.partitions() {
            if !own(&(topic.name().into(), partition.id())) {
                list.add_partition(topic.name(), partition.id());
            }
        }
    }
    if list.count() == 0 {
        return Ok(true);
    }
    for element in consumer.committed_offsets(list, REQUEST_TIMEOUT)?.elements() {
        let (low, high) = consumer.fetch_watermarks(element.topic(), element.partition(), REQUEST_TIMEOUT)?;
        let at_end = match element.offset() {
            Offset::Offset(offset) => offset >= high && element.metadata().is_empty(),
            _ => low == high,
        };
        if !at_end {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What librdkafka calls a reset: the position of one of `positions` (partition, next offset) has no record any
/// more. The error names those.
pub(super) fn position_is_gone<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    positions: impl Iterator<Item = (&'a Partition, i64)>,
) -> anyhow::Error {
    let mut gone = Vec::new();
    for ((topic, partition), next) in positions {
        match consumer.fetch_watermarks(topic, *partition, REQUEST_TIMEOUT) {
            Ok((low, high)) if next < low || next > high => {
                gone.push(format!("{topic}/{partition} is at offset {next}, and has {low} to {high}"));
            }
            _ => {}
        }
    }
    gone.sort();
    let error = anyhow!(
        "records that were not read yet are gone, by retention or because the topic was made anew: {}",
        gone.join("; ")
    );
    let error = Err::<(), _>(error).environment().help(
        "what is gone cannot be read; decide where to go on, and set the group's offsets there \
         (kafka-consumer-groups.sh --reset-offsets)",
    );
    error.expect_err("made from an error")
}
