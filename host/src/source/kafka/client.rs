//! The Kafka client: its settings, its first contact with the brokers, and which of its errors pass.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::ownership::Partition;
use crate::commit::Seal;
use crate::config::{GroupProtocol, Kafka};
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
        // the bound on the queue above is looked at before that. A record that is larger comes all the same. One partition
        // may have all of it: nothing else is on its way from a broker until it is there.
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.max.bytes", "4194304")
        // A broker that comes back is found within seconds, and a request that it lost is not waited for.
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.timeout.ms", "10000")
        .set("fetch.queue.backoff.ms", "50")
        .set("allow.auto.create.topics", "false")
        .set("check.crcs", "true");
    match source.protocol {
        // A host that died is noticed, and its partitions move, within this time. With the other protocol the
        // brokers say it.
        GroupProtocol::Classic => config.set("session.timeout.ms", "15000"),
        GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
    };
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
pub(super) fn tolerate<C: ConsumerContext>(consumer: &BaseConsumer<C>, error: &KafkaError) -> Result<()> {
    if let Some((code, _)) = consumer.client().fatal_error() {
        return Err(fatal(code));
    }
    refused(error)?;
    match error.rdkafka_error_code() {
        // Said by the context, once for all brokers.
        Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {}
        _ => tracing::warn!("kafka: {error}: waiting"),
    }
    Ok(())
}

/// An error where `error` does not pass by itself.
pub(super) fn refused(error: &KafkaError) -> Result<()> {
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
        _ => Ok(()),
    }
}

/// What librdkafka does not recover from: this member may neither read nor commit any more.
fn fatal(code: RDKafkaErrorCode) -> anyhow::Error {
    let (what, help) = match code {
        RDKafkaErrorCode::FencedInstanceId => (
            "another member joined the group with this host's group.instance.id, and took its place",
            "nothing is lost: if there is another one, it goes on, and each host needs a group.instance.id of its own; if not, \
             the brokers lost sight of this one while they were away: start it again",
        ),
        RDKafkaErrorCode::UnreleasedInstanceId => (
            "another member is in the group with this host's group.instance.id, and its session is not over",
            "give each host a group.instance.id of its own; after a crash, start again when the session is over",
        ),
        _ => ("the group's membership is lost for good", "nothing is lost: start again"),
    };
    let error = anyhow!("{code}").context(what);
    Err::<(), _>(error).environment().help(help).expect_err("made from an error")
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
/// one that has died did, and its partitions come to this one when the group notices. A partition without a
/// position was never handed out: an empty one, too, is waited for, since the next start at the latest would leave
/// out what comes until then. Where nothing is committed (`dry_run`), it is at its end when it is empty.
pub(super) fn others_are_at_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    own: impl Fn(&Partition) -> bool,
    dry_run: bool,
) -> Result<bool, KafkaError> {
    // One request whatever their number, since each waits behind a fetch.
    let only = match topics {
        [topic] => Some(*topic),
        _ => None,
    };
    let metadata = consumer.fetch_metadata(only, REQUEST_TIMEOUT)?;
    let mut list = TopicPartitionList::new();
    let mut there = 0;
    for topic in metadata.topics().iter().filter(|topic| topics.contains(&topic.name())) {
        there += usize::from(!topic.partitions().is_empty());
        for partition in topic.partitions() {
            if !own(&(topic.name().into(), partition.id())) {
                list.add_partition(topic.name(), partition.id());
            }
        }
    }
    if there < topics.len() {
        return Ok(false); // it is waited for, and that has been said
    }
    if list.count() == 0 {
        return Ok(true);
    }
    for element in consumer.committed_offsets(list, REQUEST_TIMEOUT)?.elements() {
        let (low, high) = consumer.fetch_watermarks(element.topic(), element.partition(), REQUEST_TIMEOUT)?;
        let at_end = match element.offset() {
            Offset::Offset(offset) => offset >= high && Seal::parse(element.metadata()) == Ok(None),
            _ => dry_run && low == high,
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
        "what is gone cannot be read; decide where to go on: `host offsets skip TOPIC/PARTITION` goes to the first \
         record that is still there, `host offsets set` anywhere else, and both record what was left out",
    );
    error.expect_err("made from an error")
}
