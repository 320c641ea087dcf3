//! Kafka: the consumer's thread, which fills batches and keeps polling whatever happens downstream.
//!
//! Everything that must not be interrupted by a slow insert is here: group membership (polling at least
//! once a second), rebalances, and flow control by pausing partitions.

mod client;
mod context;
pub mod look;
pub mod offsets;
pub mod ownership;
mod pace;
pub mod positions;
pub mod topic_id;
mod watch;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{SendTimeoutError, Sender};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

use self::context::{Assigned, Event, HostContext};
use self::ownership::{Ownership, Partition};
use self::pace::Pace;
use self::watch::Watch;
use super::SourceBatch;
use super::reading::Reading;
use crate::batch::{HeaderNames, Incoming, IncomingHeader};
use crate::chaos;
use crate::commit::{self, Seal};
use crate::config::{BatchLimits, Bounds, Kafka, Settings, Start};
use crate::delivery::Log;
use crate::epochs::Epochs;
use crate::error::Classify;
use crate::metrics::Recorder;
use crate::signal::Shutdown;

/// The longest wait of one poll: group membership, signals and ages are looked at in between.
const POLL: Duration = Duration::from_millis(50);
/// How long the group may take until that is said.
const SAY_WAITING: Duration = Duration::from_secs(4);
/// How long a host that is to end waits for what the group gives it: a group of the newer protocol does not say that
/// it is nothing. Longer than a session, so that partitions of a member that died have come.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is recorded where the partitions stand, by what librdkafka knows of them.
const POSITIONS_EVERY_MS: &str = "5000";
/// How long a broker may wait for records before it answers that there are none, where a run ends then: that there is
/// nothing more is known by such an answer, and what is asked of the broker next waits behind another one.
const CAUGHT_UP_FETCH_WAIT_MS: &str = "50";
const FETCH_WAIT: &str = "fetch.wait.max.ms";
/// How often the group's progress is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Records taken at most before ages and flow control are looked at.
const POLLS: u64 = 1000;
/// How long nothing is polled where closed batches wait for room, until partitions are paused: librdkafka drops what
/// it has fetched of a paused partition, and fetches it again. Membership and rebalances can wait that long.
const HOLD: Duration = Duration::from_secs(1);
/// Bytes of closed batches that wait for the transform before nothing more is taken, and until paused partitions are
/// resumed.
const MAX_READY_BYTES: usize = 32 << 20;
const RESUME_READY_BYTES: usize = 8 << 20;
/// Closed batches that wait, whatever their size.
const MAX_READY_BATCHES: usize = 1000;
/// Bytes that all open batches may hold together; beyond, all are closed.
const MAX_OPEN_BYTES: usize = 64 << 20;

type HostConsumer = BaseConsumer<HostContext>;

/// A consumer that has joined its group.
pub struct KafkaInput {
    consumer: Arc<HostConsumer>,
    limits: BatchLimits,
    headers: HeaderNames,
    partitions: HashMap<Partition, Reading>,
    /// That of the last record: nearly always that of the next one, too.
    last: Option<Partition>,
    ready: VecDeque<SourceBatch>,
    paused: bool,
    /// Since when nothing is polled, for want of room.
    held: Option<Instant>,
    open_bytes: usize,
    /// When the next open batch is to be closed for its age.
    due: Option<Instant>,
    taken: u64,
    /// The topics that are subscribed to by name.
    topics: Vec<String>,
    /// When the group's progress was asked for last.
    asked: Option<Instant>,
    /// Numbers of partitions of which one is at its end, and when that was last looked at.
    ended: BTreeSet<i32>,
    asked_ends: Option<Instant>,
    /// How long batches wait that are not full.
    pace: Pace,
    opened: Instant,
    /// Since when it has waited for its first partition, until that is said.
    joining: Option<Instant>,
    /// Whether the topics are still those that were assigned.
    watch: Watch,
}

/// Writes seals and positions into the group's commits.
#[derive(Clone)]
pub struct Commits {
    consumer: Arc<HostConsumer>,
    ownership: Arc<Ownership>,
}

/// Asks whether the host is to stop, from whichever thread.
pub type Leave = Box<dyn Fn() -> bool + Send + Sync>;

/// Checks that the brokers answer, then joins the group. Batches keep the records' `headers` of these names.
/// A dry `run` commits nothing. Without `epochs`, topics that are made anew are not told from those before. What waits
/// for the brokers asks `leave` whether to go on. Where the partitions stand is recorded, if there is a recorder.
pub fn open(
    source: &Kafka,
    run: &Settings,
    headers: HeaderNames,
    epochs: Option<Arc<Epochs>>,
    leave: Leave,
    recorder: Option<Arc<Recorder>>,
) -> Result<(KafkaInput, Commits)> {
    let ownership = Arc::new(Ownership::default());
    let earliest = source.start == Start::Earliest;
    let mut settings = client::settings(source);
    if run.bounds.until_caught_up && settings.get(FETCH_WAIT).is_none() {
        settings.set(FETCH_WAIT, CAUGHT_UP_FETCH_WAIT_MS);
    }
    if recorder.is_some() {
        settings.set("statistics.interval.ms", POSITIONS_EVERY_MS);
    }
    let context = HostContext::new(ownership.clone(), earliest, run.dry_run, epochs, leave, recorder);
    let consumer: HostConsumer =
        settings.create_with_context(context).context("the Kafka client refuses its settings").usage()?;
    let topics: Vec<&str> = source.topics.iter().map(|topic| topic.as_str()).collect();
    client::check_brokers(&consumer, source)?;
    consumer.subscribe(&topics).with_context(|| format!("subscribing to {topics:?}")).usage()?;
    let consumer = Arc::new(consumer);
    let input = KafkaInput {
        consumer: consumer.clone(),
        limits: run.batch,
        headers,
        partitions: HashMap::new(),
        last: None,
        ready: VecDeque::new(),
        paused: false,
        held: None,
        open_bytes: 0,
        due: None,
        taken: 0,
        topics: topics
            .iter()
            .filter(|topic| !topic.starts_with('^'))
            .map(|topic| (*topic).to_owned())
            .collect(),
        asked: None,
        ended: BTreeSet::new(),
        asked_ends: None,
        pace: Pace::new(run.batch.linger_ms, source.inserts_per_second),
        opened: Instant::now(),
        joining: Some(Instant::now()),
        watch: Watch::default(),
    };
    Ok((input, Commits { consumer, ownership }))
}

impl KafkaInput {
    /// Reads until a bound, a signal, or `stop`; hands closed batches to `batches`. After that it keeps
    /// polling, so that the group stays joined, until `delivered` says that all of them are done.
    /// `time_is_up` is called where the time of a bounded run has passed.
    pub fn run(
        mut self,
        batches: Sender<SourceBatch>,
        bounds: &Bounds,
        shutdown: &Shutdown,
        stop: impl Fn() -> bool,
        time_is_up: impl Fn(),
        delivered: impl Fn() -> bool,
    ) -> Result<()> {
        let end = bounds.for_.map(|duration| Instant::now() + duration);
        self.consumer.context().ends_at(end);
        loop {
            if stop() || shutdown.is_requested() {
                break;
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                time_is_up();
                break;
            }
            if bounds.max_records.is_some_and(|max| self.taken >= max) {
                break;
            }
            if bounds.until_caught_up && self.is_caught_up() {
                break;
            }
            if self.hold(&batches) {
                continue;
            }
            let left = bounds.max_records.map_or(POLLS, |max| POLLS.min(max.saturating_sub(self.taken)));
            let mut wait = self.until_due();
            let mut idle = false;
            for _ in 0..left {
                if !self.poll(wait)? {
                    idle = true;
                    break;
                }
                wait = Duration::ZERO;
            }
            self.look_at_topics()?;
            self.look_at_ends(idle, bounds);
            self.close_due(Instant::now());
            self.hand_over(&batches);
            self.say_that_it_waits();
        }
        self.close_all();
        while !stop() && !self.ready.is_empty() {
            self.hand_over(&batches);
            self.poll_for_membership()?;
        }
        drop(batches);
        while !stop() && !delivered() {
            self.poll_for_membership()?;
        }
        Ok(())
    }

    /// Once, when the group has given no partition for a while.
    fn say_that_it_waits(&mut self) {
        if self.partitions.is_empty() && self.joining.is_some_and(|since| since.elapsed() >= SAY_WAITING) {
            tracing::info!(
                "waiting for the group to hand out partitions; those of a member that died come when its session ends"
            );
        } else if self.partitions.is_empty() {
            return;
        }
        self.joining = None;
    }

    /// Whether there was something, so that more may be there.
    fn poll(&mut self, wait: Duration) -> Result<bool> {
        let consumer = self.consumer.clone();
        let polled = consumer.poll(wait);
        self.take_rebalances()?;
        match polled {
            Some(Ok(message)) => {
                self.take(&message)?;
                return Ok(true);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.ended.insert(partition);
                return Ok(true);
            }
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.check_topics()?;
                let positions =
                    self.partitions.iter().map(|(partition, reading)| (partition, reading.next()));
                return Err(client::position_is_gone(&self.consumer, positions));
            }
            Some(Err(error)) => client::tolerate(&self.consumer, &error)?,
            None => {}
        }
        Ok(false)
    }

    /// Polls without taking records: everything is paused.
    fn poll_for_membership(&mut self) -> Result<()> {
        self.set_paused(true);
        let consumer = self.consumer.clone();
        match consumer.poll(POLL) {
            Some(Err(KafkaError::PartitionEOF(_))) | Some(Ok(_)) | None => {}
            Some(Err(error)) => client::tolerate(&self.consumer, &error)?,
        }
        self.take_rebalances()
    }

    fn take_rebalances(&mut self) -> Result<()> {
        for event in self.consumer.context().take_events() {
            match event {
                Event::Assigned(assigned) => self.assigned(assigned),
                Event::Revoked(partitions) => self.revoked(&partitions),
                Event::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn assigned(&mut self, assigned: Assigned) {
        chaos::point("assigned");
        let Assigned { partition, assignment, position, incarnation } = assigned;
        let (topic, number, first) = (&*partition.0, partition.1, position.start);
        match &position.seal {
            Some(seal) => tracing::info!(
                topic,
                partition = number,
                first,
                last = seal.last,
                "partition assigned; a range was being inserted when the last owner stopped: it is checked first"
            ),
            None => tracing::info!(topic, partition = number, offset = first, "partition assigned"),
        }
        if let Some(written_to) = position.written_to {
            tracing::info!(
                topic,
                partition = number,
                "the position was set back: rows of offsets before {written_to} are looked up before they are inserted"
            );
        }
        let reading = Reading::new(partition.clone(), assignment, position, incarnation, Instant::now());
        self.partitions.insert(partition, reading);
        self.pace.assignment_changed();
        if self.paused {
            // A new assignment begins unpaused.
            self.paused = false;
            self.set_paused(true);
        }
    }

    fn revoked(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(reading) = self.partitions.remove(partition) {
                self.open_bytes -= reading.bytes();
            }
            tracing::info!(topic = &*partition.0, partition = partition.1, "partition revoked");
        }
        self.pace.assignment_changed();
        self.ready.retain(|ready| {
            !partitions.iter().any(|(topic, p)| *topic == ready.batch.topic && *p == ready.batch.partition)
        });
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        let (topic, partition) = (message.topic(), message.partition());
        let last = self.last.take().filter(|last| *last.0 == *topic && last.1 == partition);
        let last = self.last.insert(last.unwrap_or_else(|| (topic.into(), partition)));
        let Some(reading) = self.partitions.get_mut(last) else {
            return Ok(()); // fetched before its partition was revoked
        };
        let headers = kept_headers(message, &self.headers);
        let record = Incoming {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: &headers,
        };
        let before = reading.bytes();
        let closed = match reading.take(&record, &self.limits, Instant::now()) {
            Ok(closed) => closed,
            Err(what) => {
                self.check_topics().with_context(|| what.to_string())?;
                return Err(what);
            }
        };
        self.open_bytes = self.open_bytes + reading.bytes() - before;
        self.ready.extend(closed);
        self.taken += 1;
        Ok(())
    }

    /// Marks the partitions that are read to their ends. librdkafka tells the number of such a partition only; of
    /// which topic it is, is found by asking for the ends. One request asks for all, since each waits behind
    /// a fetch: when nothing else is to be read, or a while after the last one.
    fn look_at_ends(&mut self, idle: bool, bounds: &Bounds) {
        let is_due = idle || self.asked_ends.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        if self.ended.is_empty() || !is_due {
            return;
        }
        let ended = std::mem::take(&mut self.ended);
        let wanted = |reading: &Reading| bounds.until_caught_up || reading.is_sealed();
        let mut doubtful = Vec::new();
        for number in ended {
            let alike = self.partitions.keys().filter(|(_, partition)| *partition == number).count();
            for (partition, reading) in &mut self.partitions {
                if partition.1 != number || reading.at_end || !wanted(reading) {
                    continue;
                }
                reading.at_end = alike == 1;
                if !reading.at_end {
                    doubtful.push(partition.clone());
                }
            }
        }
        if doubtful.is_empty() {
            return;
        }
        self.asked_ends = Some(Instant::now());
        match client::ends(&self.consumer, &doubtful) {
            Ok(ends) => {
                for (partition, end) in ends {
                    if let Some(reading) = self.partitions.get_mut(&partition) {
                        reading.at_end = reading.next() >= end;
                    }
                }
            }
            Err(error) => {
                tracing::warn!("kafka: {error}: asking again where the partitions end");
                self.ended.extend(doubtful.into_iter().map(|(_, number)| number));
            }
        }
    }

    /// Whether the group has read all partitions to their ends. The others' are asked for once a second. A position
    /// alone does not tell it, since it may be of a topic that was made anew: that is found out by whoever gets the
    /// partition, so that no host ends before it knows what it gets.
    fn is_caught_up(&mut self) -> bool {
        let knows_its_own = self.consumer.context().has_joined() || self.opened.elapsed() >= JOIN_PATIENCE;
        if !knows_its_own
            || !self.partitions.values().all(|reading| reading.at_end)
            || self.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN)
        {
            return false;
        }
        self.asked = Some(Instant::now());
        let mut topics: Vec<&str> = self.partitions.keys().map(|(topic, _)| &**topic).collect();
        topics.extend(self.topics.iter().map(String::as_str));
        topics.sort_unstable();
        topics.dedup();
        let own = |partition: &Partition| self.partitions.contains_key(partition);
        let dry_run = self.consumer.context().is_dry_run();
        !topics.is_empty()
            && client::others_are_at_end(&self.consumer, &topics, own, dry_run).unwrap_or_else(|error| {
                tracing::warn!("kafka: {error}: asking again how far the group is");
                false
            })
    }

    fn close_due(&mut self, now: Instant) {
        let all = self.open_bytes > MAX_OPEN_BYTES;
        self.pace.refresh(self.consumer.context().feeds(), self.partitions.keys());
        self.due = None;
        for (partition, reading) in &mut self.partitions {
            let limits = BatchLimits { linger_ms: self.pace.linger_ms(partition), ..self.limits };
            let before = reading.bytes();
            self.ready.extend(reading.close_due(&limits, now, all));
            self.open_bytes = self.open_bytes + reading.bytes() - before;
            self.due = self.due.into_iter().chain(reading.ages_out(&limits)).min();
        }
    }

    /// How long a poll may wait: until a batch is to be closed, whatever comes.
    fn until_due(&self) -> Duration {
        let Some(due) = self.due else { return POLL };
        // librdkafka takes whole milliseconds, and what it cuts off would be one more turn.
        (due.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).min(POLL)
    }

    /// A sealed range that is not complete yet is left: its seal stays in the commit.
    fn close_all(&mut self) {
        for reading in self.partitions.values_mut() {
            let before = reading.bytes();
            self.ready.extend(reading.close_unsealed(Instant::now()));
            self.open_bytes = self.open_bytes + reading.bytes() - before;
        }
    }

    /// Hands closed batches on while there is room for them.
    fn hand_over(&mut self, batches: &Sender<SourceBatch>) {
        while self.send_first(batches, Duration::ZERO) {}
        if self.ready_bytes() <= RESUME_READY_BYTES && self.ready.len() <= MAX_READY_BATCHES / 4 {
            self.set_paused(false);
        }
    }

    /// Where closed batches are at their bound, waits a moment for room instead of polling; partitions are paused when
    /// that has taken too long. False: there is room, or they are paused.
    fn hold(&mut self, batches: &Sender<SourceBatch>) -> bool {
        let is_full = self.ready_bytes() >= MAX_READY_BYTES || self.ready.len() >= MAX_READY_BATCHES;
        if self.paused || !is_full {
            self.held = None;
            return false;
        }
        if self.held.get_or_insert_with(Instant::now).elapsed() >= HOLD {
            self.set_paused(true);
            return false;
        }
        self.send_first(batches, POLL);
        true
    }

    /// Hands on the first of the closed batches, if there is room within `wait`.
    fn send_first(&mut self, batches: &Sender<SourceBatch>, wait: Duration) -> bool {
        let Some(batch) = self.ready.pop_front() else { return false };
        match batches.send_timeout(batch, wait) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(batch)) => self.ready.push_front(batch),
            // The pipeline has failed and says why itself.
            Err(SendTimeoutError::Disconnected(_)) => self.ready.clear(),
        }
        false
    }

    fn ready_bytes(&self) -> usize {
        self.ready.iter().map(|ready| ready.batch.arena.len()).sum()
    }

    fn set_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        let Ok(assignment) = self.consumer.assignment() else { return };
        let done = if paused { self.consumer.pause(&assignment) } else { self.consumer.resume(&assignment) };
        match done {
            Ok(()) => self.paused = paused,
            Err(error) => tracing::warn!(paused, "partitions could not be paused or resumed: {error}"),
        }
    }
}

impl Drop for KafkaInput {
    fn drop(&mut self) {
        self.consumer.context().close();
    }
}

/// The headers of `message` that have one of `names`. librdkafka reads headers only when it is asked for them.
fn kept_headers<'m>(message: &'m impl Message, names: &'m HeaderNames) -> Vec<IncomingHeader<'m>> {
    if names.is_empty() {
        return Vec::new();
    }
    let all = message.headers().into_iter().flat_map(|headers| headers.iter());
    all.filter_map(|Header { key, value }| Some((names.find(key)?, value))).collect()
}

impl Commits {
    /// Notes that rows of `partition` go to `table`: the more partitions do, the longer their batches wait.
    pub fn feeds(&self, table: &str, partition: &Partition) {
        self.consumer.context().feeds().note(table, partition);
    }

    /// How many partitions a topic has by now.
    ///
    /// # Errors
    /// The brokers do not say.
    pub fn partitions(&self, topic: &str) -> Result<usize> {
        let metadata = self.consumer.fetch_metadata(Some(topic), client::REQUEST_TIMEOUT);
        let metadata = metadata.with_context(|| format!("asking how many partitions topic {topic} has"))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |topic| topic.partitions().len()))
    }

    /// The seals of all ranges that are pending in the group, whichever member has their partitions.
    ///
    /// # Errors
    /// The brokers do not say, or a commit is not of this program.
    pub fn pending(&self) -> Result<Vec<Seal>> {
        let metadata =
            self.consumer.fetch_metadata(None, client::REQUEST_TIMEOUT).context("asking for topics")?;
        let mut list = TopicPartitionList::new();
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                list.add_partition(topic.name(), partition.id());
            }
        }
        let committed = self.consumer.committed_offsets(list, client::REQUEST_TIMEOUT);
        let committed = committed.context("asking for the group's commits")?;
        let seals = committed.elements().into_iter().map(|element| Seal::parse(element.metadata()));
        seals.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(|reason| anyhow!(reason))
    }
}

impl Log for Commits {
    fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    fn commit(&self, partition: &Partition, offset: i64, seal: Option<&Seal>) -> Result<()> {
        let written_to = self.consumer.context().written_to(partition, offset);
        let metadata = commit::metadata(seal, self.ownership.epoch(partition), written_to);
        commit(&self.consumer, &[(partition.clone(), offset, metadata)])
            .with_context(|| format!("committing offset {offset} of {}/{}", partition.0, partition.1))
    }
}

fn commit(consumer: &HostConsumer, positions: &[(Partition, i64, String)]) -> Result<()> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for ((topic, partition), offset, metadata) in positions {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        element.set_metadata(metadata);
    }
    consumer.commit(&list, CommitMode::Sync)?;
    for element in list.elements() {
        element.error()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{OwnedHeaders, OwnedMessage};

    use super::*;

    #[test]
    fn of_a_messages_headers_those_are_kept_that_are_asked_for() {
        let header = |key, value| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("__op", Some("c")))
            .insert(header("other", Some("x")))
            .insert(header("id", None::<&str>))
            .insert(header("__op", Some("u")));
        let message =
            |headers| OwnedMessage::new(None, None, "t".into(), Timestamp::NotAvailable, 0, 0, headers);
        let mut names = HeaderNames::default();
        let with = message(Some(headers));
        assert!(kept_headers(&with, &names).is_empty());
        names.add(["__op", "id"]);
        let kept = kept_headers(&with, &names);
        let kept: Vec<_> = kept.iter().map(|(name, value)| (&***name, *value)).collect();
        assert_eq!(kept, [("__op", Some(&b"c"[..])), ("id", None), ("__op", Some(&b"u"[..]))]);
        assert!(kept_headers(&message(None), &names).is_empty());
    }
}
