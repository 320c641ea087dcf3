//! What the brokers say of a pipeline's topics and of its group, without joining it or changing anything.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, REQUEST_TIMEOUT};
use super::ownership::Partition;
use crate::commit::Seal;
use crate::config::{Kafka, TopicPattern};
use crate::error::Classify;

/// Topics with such names are of Kafka's own.
const INTERNAL: &str = "__";

/// What there is.
#[derive(Debug, Default)]
pub struct Look {
    /// Brokers of the cluster.
    pub brokers: usize,
    /// The topics that are named and there, and those of which the group has a position.
    pub topics: Vec<String>,
    /// The topics that are named and not there.
    pub missing: Vec<String>,
    /// The partitions of `topics`.
    pub partitions: Vec<Position>,
    /// The group's state, and how many members it has; none: there is no such group yet.
    pub group: Option<(String, usize)>,
    /// All topics of the cluster but Kafka's own.
    pub all: Vec<String>,
}

/// Where a partition is, and where the group is in it.
#[derive(Debug)]
pub struct Position {
    /// Which.
    pub partition: Partition,
    /// Its first offset.
    pub first: i64,
    /// The offset that its next record will have.
    pub end: i64,
    /// The group's position and what its metadata says; none: it has none.
    pub committed: Option<(i64, Result<Option<Seal>, String>)>,
}

/// Looks.
///
/// # Errors
/// No broker that answers, settings that the client refuses, or a question that the brokers do not answer.
pub fn look(source: &Kafka) -> Result<Look> {
    let consumer: BaseConsumer =
        client::settings(source).create().context("the Kafka client refuses its settings").usage()?;
    client::check_brokers(&consumer, source)?;
    asked(&consumer, source).map_err(|error| anyhow!("{error}")).context("asking Kafka").environment()
}

fn asked(consumer: &BaseConsumer, source: &Kafka) -> Result<Look, KafkaError> {
    let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT)?;
    let mut numbers: HashMap<&str, Vec<i32>> = HashMap::new();
    for topic in metadata.topics().iter().filter(|topic| !topic.name().starts_with(INTERNAL)) {
        numbers.insert(topic.name(), topic.partitions().iter().map(|partition| partition.id()).collect());
    }
    let mut found = Look { brokers: metadata.brokers().len(), ..Look::default() };
    found.all = numbers.keys().map(|name| (*name).to_owned()).collect();
    found.all.sort();
    let by_name = source.topics.iter().filter_map(|topic| match topic {
        TopicPattern::Name(name) => Some(name),
        TopicPattern::Regex(_) => None,
    });
    let (there, missing) = by_name.cloned().partition(|name| numbers.contains_key(name.as_str()));
    (found.topics, found.missing) = (there, missing);
    // Which topics a pattern finds is known to the brokers' client alone; where the group has been is known here.
    let by_pattern = source.topics.iter().any(|topic| matches!(topic, TopicPattern::Regex(_)));
    let candidates = if by_pattern { &found.all } else { &found.topics };
    let partitions: Vec<Partition> = candidates
        .iter()
        .flat_map(|name| numbers[name.as_str()].iter().map(|number| (name.as_str().into(), *number)))
        .collect();
    let committed = committed(consumer, &partitions)?;
    if by_pattern {
        let more = found.all.iter().filter(|name| committed.keys().any(|(topic, _)| **topic == ***name));
        found.topics.extend(more.cloned());
        found.topics.sort();
        found.topics.dedup();
    }
    let wanted: Vec<Partition> = partitions
        .into_iter()
        .filter(|(topic, _)| found.topics.iter().any(|name| **name == **topic))
        .collect();
    found.partitions = positions(consumer, wanted, committed)?;
    let groups = consumer.fetch_group_list(Some(&source.group), REQUEST_TIMEOUT)?;
    let group = groups.groups().iter().find(|group| group.name() == source.group);
    found.group = group
        .filter(|group| group.state() != "Dead")
        .map(|group| (group.state().to_owned(), group.members().len()));
    Ok(found)
}

type Committed = HashMap<Partition, (i64, Result<Option<Seal>, String>)>;

fn committed(consumer: &BaseConsumer, partitions: &[Partition]) -> Result<Committed, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    if list.count() == 0 {
        return Ok(HashMap::new());
    }
    let mut found = HashMap::new();
    for element in consumer.committed_offsets(list, REQUEST_TIMEOUT)?.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let partition = (element.topic().into(), element.partition());
            found.insert(partition, (offset, Seal::parse(element.metadata())));
        }
    }
    Ok(found)
}

fn positions(
    consumer: &BaseConsumer,
    partitions: Vec<Partition>,
    mut committed: Committed,
) -> Result<Vec<Position>, KafkaError> {
    let first = offsets(consumer, &partitions, Offset::Beginning)?;
    let end = offsets(consumer, &partitions, Offset::End)?;
    let position = |partition: Partition| Position {
        first: first.get(&partition).copied().unwrap_or(0),
        end: end.get(&partition).copied().unwrap_or(0),
        committed: committed.remove(&partition),
        partition,
    };
    Ok(partitions.into_iter().map(position).collect())
}

/// The offsets at the beginning or the end of partitions. One request for all of them.
fn offsets(
    consumer: &BaseConsumer,
    partitions: &[Partition],
    at: Offset,
) -> Result<HashMap<Partition, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        // In the place of a timestamp, it asks for the beginning or the end.
        list.add_partition_offset(topic, *partition, at)?;
    }
    if list.count() == 0 {
        return Ok(HashMap::new());
    }
    let mut found = HashMap::new();
    for element in consumer.offsets_for_times(list, REQUEST_TIMEOUT)?.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            found.insert((element.topic().into(), element.partition()), offset);
        }
    }
    Ok(found)
}
