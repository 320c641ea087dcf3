//! What librdkafka calls back: assignments, revocations, its errors and logs.
//!
//! An assignment is answered with explicit positions: the group's commits, or, for a partition that has
//! none, the start policy. `auto.offset.reset=error` makes everything else an error, so that records which
//! retention removed are never skipped silently (promise D6 of `docs/invariants.md`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::ownership::{Ownership, Partition};
use crate::commit::Position;
use crate::error::Classify;

/// How long one request for positions may take, and how often it is asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_ATTEMPTS: u32 = 6;
/// How often it is said that Kafka is away.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long an insert that is under way may hold up a revocation.
const REVOKE_WAIT: Duration = Duration::from_secs(10);

/// A partition that came, and where it goes on.
pub(super) struct Assigned {
    pub partition: Partition,
    pub assignment: u64,
    pub position: Position,
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
    assignments: AtomicU64,
    events: Mutex<Vec<Event>>,
    said_down: Mutex<Option<Instant>>,
}

impl HostContext {
    pub(super) fn new(ownership: Arc<Ownership>, earliest: bool, dry_run: bool) -> Self {
        HostContext {
            ownership,
            earliest,
            dry_run,
            assignments: AtomicU64::new(0),
            events: Mutex::default(),
            said_down: Mutex::default(),
        }
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> Result<()> {
        let committed = retried(|| consumer.committed_offsets(list.clone(), REQUEST_TIMEOUT))
            .context("asking for the group's committed positions")
            .environment()?;
        let mut starts = Vec::new();
        for element in committed.elements() {
            let partition: Partition = (element.topic().into(), element.partition());
            let position = match element.offset() {
                Offset::Offset(offset) => Position::of_commit(offset, element.metadata())
                    .map_err(|e| anyhow!("{e}: give this pipeline a group of its own with --group"))
                    .usage()?,
                _ => Position::first(self.first_position(consumer, &partition)?),
            };
            starts.push((partition, position));
        }
        for ((topic, partition), position) in &starts {
            list.set_partition_offset(topic, *partition, Offset::Offset(position.start))?;
        }
        for (partition, position) in starts {
            let assignment = self.assignments.fetch_add(1, Ordering::Relaxed) + 1;
            let done = (position.is_new && !self.dry_run).then_some(position.start);
            self.ownership.assign(partition.clone(), assignment, done);
            self.push(Event::Assigned(Assigned { partition, assignment, position }));
        }
        Ok(())
    }

    /// Where a partition begins that has no committed position.
    fn first_position(&self, consumer: &BaseConsumer<Self>, (topic, partition): &Partition) -> Result<i64> {
        let (low, high) = retried(|| consumer.fetch_watermarks(topic, *partition, REQUEST_TIMEOUT))
            .with_context(|| format!("asking for the first and last offset of {topic}/{partition}"))
            .environment()?;
        Ok(if self.earliest { low } else { high })
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions: Vec<Partition> =
            list.elements().iter().map(|element| (element.topic().into(), element.partition())).collect();
        let done = self.ownership.revoke(&partitions, REVOKE_WAIT);
        if !done.is_empty() && !consumer.assignment_lost() {
            let positions: Vec<_> =
                done.into_iter().map(|(partition, offset)| (partition, offset, String::new())).collect();
            if let Err(error) = super::commit(consumer, &positions) {
                // Harmless: the next owner repeats the last ranges, and finds their rows.
                tracing::warn!("the last positions of revoked partitions were not committed: {error:#}");
            }
        }
        self.push(Event::Revoked(partitions));
    }
}

fn retried<T>(mut request: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let mut attempt = 1;
    loop {
        match request() {
            Err(error) if attempt < REQUEST_ATTEMPTS => {
                tracing::warn!("kafka: {error}: asking again");
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
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

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                // librdkafka says it at each attempt to connect.
                let mut said = self.said_down.lock().unwrap_or_else(PoisonError::into_inner);
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
                Ok(()) if cooperative => consumer.incremental_assign(list),
                Ok(()) => consumer.assign(list),
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
