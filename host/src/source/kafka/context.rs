//! What librdkafka calls back: assignments, revocations, its errors and logs.
//!
//! An assignment is answered with explicit positions: the group's commits, or, for a partition that has
//! none, the start policy. `auto.offset.reset=error` makes everything else an error, so that records which
//! retention removed are never skipped silently (promise D6 of `docs/invariants.md`).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::ownership::{Ownership, Partition};
use super::pace::Feeds;
use super::{Leave, client, topic_id};
use crate::clickhouse::topics;
use crate::commit::{self, Committed, Position};
use crate::epochs::{Epochs, Incarnation, Owner};
use crate::error::Classify;
use crate::locked::locked;
use crate::metrics::{self, Recorder};
use crate::pause::pause;

/// How long one request for positions may take, and the waits between two attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often it is said that Kafka is away.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long an insert that is under way may hold up a revocation.
const REVOKE_WAIT: Duration = Duration::from_secs(10);

/// A partition that came, and where it goes on.
pub(super) struct Assigned {
    pub partition: Partition,
    pub assignment: u64,
    pub position: Position,
    pub incarnation: Arc<Incarnation>,
}

/// What happened inside a poll.
pub(super) enum Event {
    Assigned(Assigned),
    Revoked(Vec<Partition>),
    Failed(anyhow::Error),
}

pub(super) struct HostContext {
    ownership: Arc<Ownership>,
    earliest: bool,
    dry_run: bool,
    /// None: no epochs are kept.
    epochs: Option<Arc<Epochs>>,
    assignments: AtomicU64,
    events: Mutex<Vec<Event>>,
    said_down: Mutex<Option<Instant>>,
    leave: Leave,
    /// When a bounded run ends.
    end: OnceLock<Instant>,
    /// The group has said which partitions this host has, if only that it has none.
    joined: AtomicBool,
    /// Nothing is read any more, and the group is being left.
    closed: AtomicBool,
    /// See [`Position::written_to`]; it stays in the commits until it is passed.
    written_to: Mutex<HashMap<Partition, i64>>,
    feeds: Feeds,
    recorder: Option<Arc<Recorder>>,
}

impl HostContext {
    pub(super) fn new(
        ownership: Arc<Ownership>,
        earliest: bool,
        dry_run: bool,
        epochs: Option<Arc<Epochs>>,
        leave: Leave,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        HostContext {
            ownership,
            earliest,
            dry_run,
            epochs,
            assignments: AtomicU64::new(0),
            events: Mutex::default(),
            said_down: Mutex::default(),
            leave,
            end: OnceLock::new(),
            joined: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            written_to: Mutex::default(),
            feeds: Feeds::default(),
            recorder,
        }
    }

    pub(super) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *locked(&self.events))
    }

    fn push(&self, event: Event) {
        locked(&self.events).push(event);
    }

    /// When the run ends by itself, whatever is waited for.
    pub(super) fn ends_at(&self, end: Option<Instant>) {
        if let Some(end) = end {
            _ = self.end.set(end);
        }
    }

    /// No partition is taken over from now on. A client that closes still serves a rebalance that was under way, and
    /// refuses each request of it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Which partitions feed which table.
    pub(super) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// The offset before which rows may stand already, if that is beyond the position `offset`.
    pub(super) fn written_to(&self, partition: &Partition, offset: i64) -> Option<i64> {
        let lock = locked(&self.written_to);
        lock.get(partition).copied().filter(|to| *to > offset)
    }

    fn is_leaving(&self) -> bool {
        (self.leave)() || self.end.get().is_some_and(|end| Instant::now() >= *end)
    }

    /// Finds out where the partitions of `list` go on, and puts that into it. False: the host is to stop.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> Result<bool> {
        self.joined.store(true, Ordering::Release);
        if list.count() == 0 {
            return Ok(true);
        }
        if self.closed.load(Ordering::Acquire) {
            return Ok(false);
        }
        let asked = self.patiently("the group's committed positions", || committed(consumer, list));
        let Some(committed) = asked? else { return Ok(false) };
        let Some(incarnations) = self.incarnations(consumer, list)? else { return Ok(false) };
        let mut starts = Vec::new();
        for element in committed.elements() {
            let partition: Partition = (element.topic().into(), element.partition());
            let incarnation = incarnations.get(element.topic()).cloned().unwrap_or_default();
            let committed = match element.offset() {
                Offset::Offset(offset) => {
                    committed_position(&partition, offset, element.metadata(), &incarnation)?
                }
                _ => None,
            };
            let position = match committed {
                Some(position) => position,
                None => match self.first_position(consumer, &partition, &incarnation)? {
                    Some(start) => Position::first(start),
                    None => return Ok(false),
                },
            };
            starts.push((partition, position, incarnation));
        }
        for ((topic, partition), position, _) in &starts {
            list.set_partition_offset(topic, *partition, Offset::Offset(position.start))?;
        }
        for (partition, position, incarnation) in starts {
            let assignment = self.assignments.fetch_add(1, Ordering::Relaxed) + 1;
            let done = (position.is_new && !self.dry_run).then_some(position.start);
            self.ownership.assign(partition.clone(), assignment, done);
            self.ownership.set_epoch(&partition, incarnation.epoch);
            let mut lock = locked(&self.written_to);
            match position.written_to {
                Some(offset) => _ = lock.insert(partition.clone(), offset),
                None => _ = lock.remove(&partition),
            }
            drop(lock);
            self.push(Event::Assigned(Assigned { partition, assignment, position, incarnation }));
        }
        Ok(true)
    }

    /// What the topics of `list` are to the pipeline, where that is kept. None: the host is to stop.
    fn incarnations(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> Result<Option<HashMap<String, Arc<Incarnation>>>> {
        let mut found = HashMap::new();
        let elements = list.elements();
        let topics: BTreeSet<&str> = elements.iter().map(|element| element.topic()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let Some(epochs) = self.epochs.as_ref().filter(|_| !topics.is_empty()) else {
            return Ok(Some(found));
        };
        let described =
            self.patiently("the topics' ids", || topic_id::describe(consumer, &topics, REQUEST_TIMEOUT))?;
        let Some(described) = described else { return Ok(None) };
        for topic in topics {
            let gone = || anyhow!("the topic {topic} was deleted while its partitions were handed out");
            let description = described.get(topic).ok_or_else(gone).environment()?;
            let incarnation = epochs.incarnation(topic, description.id.as_deref(), description.partitions)?;
            if incarnation.is_new {
                tracing::warn!(
                    topic,
                    epoch = incarnation.epoch,
                    "the topic was deleted and made anew: it is read from its first record on, as an epoch of its own; \
                     what was not read of the one before is gone with it"
                );
            }
            found.insert(topic.to_owned(), Arc::new(incarnation));
        }
        Ok(Some(found))
    }

    /// Where a partition begins that has no committed position. None: the host is to stop.
    fn first_position(
        &self,
        consumer: &BaseConsumer<Self>,
        (topic, partition): &Partition,
        incarnation: &Incarnation,
    ) -> Result<Option<i64>> {
        let what = format!("the first and last offset of {topic}/{partition}");
        let ends = self.patiently(&what, || consumer.fetch_watermarks(topic, *partition, REQUEST_TIMEOUT))?;
        let first = self.earliest || incarnation.begins_at_first(*partition);
        Ok(ends.map(|(low, high)| if first { low } else { high }))
    }

    /// Asks until the brokers answer. Where that takes longer than the group allows, it takes the partitions away
    /// by a revocation that comes after this. None: the host is to stop.
    fn patiently<T, E: Into<anyhow::Error>>(
        &self,
        what: &str,
        mut request: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<T>> {
        let mut wait = REQUEST_WAITS.0;
        loop {
            match request() {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => {
                    let error: anyhow::Error = error.into();
                    if let Some(error) = error.downcast_ref::<KafkaError>() {
                        client::refused(error).with_context(|| format!("asking for {what}"))?;
                    }
                    tracing::warn!("kafka: {error:#}: asking again for {what}");
                }
            }
            if !pause(wait, || self.is_leaving()) {
                return Ok(None);
            }
            wait = (wait * 2).min(REQUEST_WAITS.1);
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions: Vec<Partition> =
            list.elements().iter().map(|element| (element.topic().into(), element.partition())).collect();
        let epochs: HashMap<Partition, u16> =
            partitions.iter().map(|partition| (partition.clone(), self.ownership.epoch(partition))).collect();
        let done = self.ownership.revoke(&partitions, REVOKE_WAIT);
        if !done.is_empty() && !consumer.assignment_lost() {
            let position = |(partition, offset): (Partition, i64)| {
                let epoch = epochs.get(&partition).copied().unwrap_or_default();
                let metadata = commit::metadata(None, epoch, self.written_to(&partition, offset));
                (partition, offset, metadata)
            };
            let positions: Vec<_> = done.into_iter().map(position).collect();
            if let Err(error) = super::commit(consumer, &positions) {
                // Harmless: the next owner repeats the last ranges, and finds their rows.
                tracing::warn!("the last positions of revoked partitions were not committed: {error:#}");
            }
        }
        self.push(Event::Revoked(partitions));
    }
}

/// The position that a commit says, and what is pending there. None: it is of an earlier life of the topic, and
/// says nothing about this one.
fn committed_position(
    (topic, number): &Partition,
    offset: i64,
    metadata: &str,
    incarnation: &Incarnation,
) -> Result<Option<Position>> {
    let Committed { epoch, seal, written_to } = Committed::parse(metadata)
        .map_err(|e| anyhow!("{e}: give this pipeline a group of its own with --group"))
        .usage()?;
    let now = incarnation.epoch;
    match incarnation.owner(epoch, !metadata.is_empty()) {
        Owner::This => Ok(Some(Position { start: offset, seal, written_to, is_new: false })),
        Owner::Earlier => {
            tracing::warn!(
                topic = &**topic,
                partition = *number,
                offset,
                "the committed position is of the topic before it was made anew, and is left"
            );
            Ok(None)
        }
        Owner::Doubtful => Err(anyhow!(
            "the topic {topic} was made anew (it is epoch {now} of it), and the group's position {offset} of {topic}/{number} \
             may still be that of the one before"
        ))
        .environment()
        .help(format!(
            "delete the group's positions of this topic (kafka-consumer-groups.sh --delete-offsets --topic {topic}) and \
             start again: it is then read from its first record on"
        )),
        Owner::Later => Err(anyhow!(
            "the group's position {offset} of {topic}/{number} is of epoch {epoch} of the topic, and {} knows {now} as the \
             last",
            topics::TABLE
        ))
        .environment()
        .help(
            "if another host has just begun it, start again; if lines of that table were removed, restore them, or give \
             the pipeline another name and other tables",
        ),
    }
}

/// The group's positions. One that cannot be told is an error for all: none means that there is none.
fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
) -> Result<TopicPartitionList, KafkaError> {
    let committed = consumer.committed_offsets(list.clone(), REQUEST_TIMEOUT)?;
    committed.elements().iter().try_for_each(|element| element.error())?;
    Ok(committed)
}

impl ClientContext for HostContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", "{facility}: {message}");
            }
            // Lost connections are logged as errors by each broker thread, again and again; the host says
            // once what it waits for, in `error`.
            _ => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    /// Where the partitions stand that are read here. What is below 0 is not known.
    fn stats(&self, statistics: Statistics) {
        let Some(recorder) = &self.recorder else { return };
        let mut positions = Vec::new();
        for (topic, facts) in &statistics.topics {
            let topic: Arc<str> = topic.as_str().into();
            let read = facts.partitions.values().filter(|partition| partition.fetch_state == "active");
            positions.extend(read.map(|partition| {
                let known = |offset: i64| Some(offset).filter(|offset| *offset >= 0);
                let (committed, end) = (known(partition.committed_offset), known(partition.ls_offset));
                (topic.clone(), partition.partition, metrics::Position { committed, end })
            }));
        }
        recorder.positions_are(positions);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                // librdkafka says it at each attempt to connect.
                let mut said = locked(&self.said_down);
                if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                    *said = Some(Instant::now());
                    tracing::warn!("kafka: no broker can be reached: waiting until one is back");
                }
            }
            _ => tracing::debug!("kafka: {error}: {reason}"),
        }
    }
}

impl ConsumerContext for HostContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => match self.assign(consumer, list) {
                Ok(true) if cooperative => consumer.incremental_assign(list),
                Ok(true) => consumer.assign(list),
                // Nothing is read of what cannot be begun: the host ends, whatever comes of this.
                Ok(false) => consumer.unassign().or(Ok(())),
                Err(error) => {
                    self.push(Event::Failed(error));
                    consumer.unassign()
                }
            },
            _ => {
                self.revoke(consumer, list);
                if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
            }
        };
        if let Err(error) = done {
            self.push(Event::Failed(
                anyhow!("{error}").context("taking over a new assignment of partitions"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn an_assignment_that_comes_while_the_group_is_left_is_not_begun_and_holds_nothing_up() {
        let leave: Leave = Box::new(|| false);
        let context = HostContext::new(Arc::default(), true, true, None, leave, None);
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "left");
        let consumer: BaseConsumer<HostContext> = settings.create_with_context(context).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition("changes", 0);
        let begin = Instant::now();
        consumer.context().close();
        assert!(!consumer.context().assign(&consumer, &mut list).unwrap());
        assert!(begin.elapsed() < REQUEST_TIMEOUT, "the brokers were asked");
        assert!(consumer.context().take_events().is_empty());
    }
}
