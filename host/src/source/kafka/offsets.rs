//! A group's positions, for people who look at them and move them while no host of the group runs.
//!
//! What a move leaves out or reads again is worked out here, apart from asking the brokers, so that it can be
//! shown before it is done, and recorded.

use anyhow::{Context as _, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, REQUEST_TIMEOUT};
use crate::commit::{self, Committed, Seal};
use crate::config::{Kafka, TopicPattern};
use crate::error::Classify;

/// Where a group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset; none where the group has no position.
    pub committed: Option<i64>,
    /// The commit's metadata.
    pub metadata: String,
    /// The offset of the first record that there is.
    pub low: i64,
    /// The offset that the next record will have.
    pub high: i64,
}

/// What there is to say of a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The next record is there, or will come.
    Ok,
    /// A range was sealed and is not done.
    Pending,
    /// Records that were not read are gone, or the position is beyond the end: the topic was made anew.
    Gone,
    /// The group has no position.
    None,
    /// Another program commits with this group.
    Foreign,
}

impl State {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Pending => "pending",
            State::Gone => "GONE",
            State::None => "none",
            State::Foreign => "foreign",
        }
    }
}

impl Place {
    /// What there is to say of it. What is gone counts before what is pending.
    pub fn state(&self) -> State {
        let Some(committed) = self.committed else { return State::None };
        match Seal::parse(&self.metadata) {
            Err(_) => State::Foreign,
            Ok(_) if committed < self.low || committed > self.high => State::Gone,
            Ok(Some(_)) => State::Pending,
            Ok(None) => State::Ok,
        }
    }

    /// The range that was sealed and is not done.
    pub fn pending(&self) -> Option<Seal> {
        Seal::parse(&self.metadata).ok().flatten()
    }

    /// Records that are there and not read; none where the group has no position.
    pub fn lag(&self) -> Option<i64> {
        self.committed.map(|committed| (self.high - committed.max(self.low)).max(0))
    }

    fn named(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    /// What moving the position to `to` means.
    ///
    /// # Errors
    /// An offset that the partition does not have, or a position that is not ours.
    pub fn set(&self, to: To) -> Result<Move> {
        let Place { low, high, .. } = *self;
        let to = match to {
            To::Earliest => low,
            To::Latest => high,
            To::Offset(offset) => offset,
        };
        if !(low..=high).contains(&to) {
            let what = format!("{} has offsets {low} to {high}, and not {to}", self.named());
            return Err(anyhow!(what)).usage().help("`earliest` and `latest` are its ends");
        }
        let Committed { seal, written_to, .. } = Committed::parse(&self.metadata)
            .map_err(|error| anyhow!("{}: {error}: give this pipeline a group of its own", self.named()))
            .usage()?;
        // Beyond the end, the topic was made anew: rows of the old one say nothing about the new one's records.
        let is_anew = self.committed.is_some_and(|committed| committed > high);
        let reached = [self.committed, seal.as_ref().map(|seal| seal.last + 1), written_to];
        let reached = reached.into_iter().flatten().max().filter(|reached| !is_anew && to < *reached);
        let from = self.committed.filter(|_| !is_anew).unwrap_or(low);
        Ok(Move {
            topic: self.topic.clone(),
            partition: self.partition,
            from: self.committed,
            to,
            skipped: (from < to).then(|| (from, to - 1)),
            again: reached.map(|reached| (to, reached - 1)),
            is_anew,
            pending: seal,
            metadata: commit::moved(&self.metadata, reached),
        })
    }

    /// The same for leaving out what holds the pipeline up: records that are gone, or else the pending range.
    ///
    /// # Errors
    /// Nothing holds it up, or it is not clear what to leave out.
    pub fn skip(&self) -> Result<Move> {
        match (self.state(), self.pending()) {
            (State::Gone, _) if self.committed.is_some_and(|committed| committed > self.high) => {
                let what = format!(
                    "{} is at offset {}, beyond its end {}: the topic was made anew",
                    self.named(),
                    self.committed.unwrap_or_default(),
                    self.high
                );
                Err(anyhow!(what)).usage().help("decide where its new records begin: `host offsets set`")
            }
            (State::Gone, _) => self.set(To::Earliest),
            (State::Pending, Some(seal)) => self.set(To::Offset(seal.last + 1)),
            (state, _) => {
                let what = format!("nothing holds up {} (state {})", self.named(), state.name());
                Err(anyhow!(what)).usage().help("`host offsets set` moves a position anywhere")
            }
        }
    }
}

/// Where a position is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// At this offset.
    Offset(i64),
    /// At the first record that there is.
    Earliest,
    /// After the last one.
    Latest,
}

impl To {
    /// Reads `earliest`, `latest` or an offset.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(To::Earliest),
            "latest" => Ok(To::Latest),
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(To::Offset(offset)),
                _ => Err("write an offset, earliest or latest".to_owned()),
            },
        }
    }
}

/// A position that is to be moved, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The position before; none where there was none.
    pub from: Option<i64>,
    /// The position after.
    pub to: i64,
    /// The offsets that are never read, first and last.
    pub skipped: Option<(i64, i64)>,
    /// The offsets that are read again, first and last: rows of theirs are looked up before they are inserted.
    pub again: Option<(i64, i64)>,
    /// The topic was made anew since the position was committed.
    pub is_anew: bool,
    /// The sealed range that is given up with the move.
    pub pending: Option<Seal>,
    metadata: String,
}

impl Move {
    /// Whether anything changes.
    pub fn changes(&self) -> bool {
        self.from != Some(self.to) || self.pending.is_some()
    }
}

/// A group that is looked at from outside.
pub struct Group {
    consumer: BaseConsumer,
    /// Its name.
    pub name: String,
    topics: Vec<String>,
}

impl Group {
    /// Does not join the group.
    ///
    /// # Errors
    /// No broker answers, or the client refuses its settings.
    pub fn open(source: &Kafka) -> Result<Self> {
        let mut config = client::settings(source);
        // It commits as nobody: the broker takes that only while the group has no member.
        config.remove("group.instance.id");
        config.remove("group.protocol");
        let consumer: BaseConsumer =
            config.create().context("the Kafka client refuses its settings").usage()?;
        client::check_brokers(&consumer, source)?;
        let named = source.topics.iter().filter_map(|topic| match topic {
            TopicPattern::Name(name) => Some(name.clone()),
            TopicPattern::Regex(_) => None,
        });
        Ok(Group { name: source.group.clone(), topics: named.collect(), consumer })
    }

    /// The partitions of the topics that are named in the configuration, and of all others in which the group
    /// has a position; of `only`, where that is given.
    ///
    /// # Errors
    /// The brokers do not say.
    pub fn places(&self, only: Option<&str>) -> Result<Vec<Place>> {
        let asking = || format!("asking for the positions of group {}", self.name);
        let metadata =
            self.consumer.fetch_metadata(only, REQUEST_TIMEOUT).with_context(asking).environment()?;
        let mut list = TopicPartitionList::new();
        for topic in metadata.topics().iter().filter(|topic| only.is_none_or(|only| only == topic.name())) {
            for partition in topic.partitions() {
                list.add_partition(topic.name(), partition.id());
            }
        }
        if list.count() == 0 {
            return Ok(vec![]);
        }
        let committed = self.committed(list).with_context(asking).environment()?;
        let mut places = Vec::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let committed = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let is_asked = only.is_some() || self.topics.iter().any(|named| named == topic);
            if committed.is_none() && !is_asked {
                continue;
            }
            let ends = self.consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
            let (low, high) = ends.with_context(asking).environment()?;
            let metadata = element.metadata().to_owned();
            places.push(Place { topic: topic.to_owned(), partition, committed, metadata, low, high });
        }
        places.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(places)
    }

    fn committed(&self, list: TopicPartitionList) -> Result<TopicPartitionList, KafkaError> {
        let committed = self.consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
        committed.elements().iter().try_for_each(|element| element.error())?;
        Ok(committed)
    }

    /// Who is in the group: client and address of each. Members of a group whose partitions the brokers share
    /// out are not listed by this request; [`Self::commit`] notices them all the same.
    ///
    /// # Errors
    /// The brokers do not say.
    pub fn members(&self) -> Result<Vec<String>> {
        let list = self
            .consumer
            .fetch_group_list(Some(&self.name), REQUEST_TIMEOUT)
            .with_context(|| format!("asking who is in group {}", self.name))
            .environment()?;
        let members = list.groups().iter().filter(|group| group.name() == self.name);
        let members = members.flat_map(|group| group.members());
        Ok(members.map(|member| format!("{} at {}", member.client_id(), member.client_host())).collect())
    }

    /// Moves the positions, and checks that they stand where they should.
    ///
    /// # Errors
    /// The group has members, or the brokers refuse otherwise; nothing, or not everything, was moved.
    pub fn commit(&self, moves: &[Move]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(moves.len());
        for change in moves {
            let mut element = list.add_partition(&change.topic, change.partition);
            element.set_offset(Offset::Offset(change.to))?;
            element.set_metadata(&change.metadata);
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(|error| self.not_moved(&error))?;
        let committed = self.committed(list).context("reading the positions back").environment()?;
        for (element, change) in committed.elements().iter().zip(moves) {
            if (element.offset(), element.metadata()) != (Offset::Offset(change.to), &*change.metadata) {
                let what = format!("the position of {}/{} was not moved", change.topic, change.partition);
                return Err(anyhow!(what)).environment().help("see `host offsets show`");
            }
        }
        Ok(())
    }

    fn not_moved(&self, error: &KafkaError) -> anyhow::Error {
        let member = [
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::IllegalGeneration,
            RDKafkaErrorCode::StaleMemberEpoch,
            RDKafkaErrorCode::RebalanceInProgress,
        ];
        match error.rdkafka_error_code().is_some_and(|code| member.contains(&code)) {
            true => has_members(&self.name, "they are not listed"),
            false => {
                let what = anyhow!("{error}").context("moving the positions");
                Err::<(), _>(what).environment().expect_err("made from an error")
            }
        }
    }
}

/// The error of a change while hosts of the group run.
pub fn has_members(group: &str, who: &str) -> anyhow::Error {
    let error = anyhow!("group {group} has live members ({who}), which would not notice the change");
    let error = Err::<(), _>(error).environment();
    error
        .help("stop all hosts of the group first; one that crashed counts until its session is over")
        .expect_err("made from an error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, exit_of};

    /// At `committed` of a partition with the offsets 10 to 20.
    fn place(committed: Option<i64>, metadata: &str) -> Place {
        let metadata = metadata.to_owned();
        Place { topic: "t".to_owned(), partition: 0, committed, metadata, low: 10, high: 20 }
    }

    const SEALED: &str = "v1;e=17;r=abc;a=0";

    #[test]
    fn each_state_is_told_from_the_others() {
        for (committed, metadata, state, lag) in [
            (Some(10), "", State::Ok, Some(10)),
            (Some(20), "", State::Ok, Some(0)),
            (Some(15), "v1;u=18", State::Ok, Some(5)),
            (Some(15), SEALED, State::Pending, Some(5)),
            (Some(9), SEALED, State::Gone, Some(10)),
            (Some(21), "", State::Gone, Some(0)),
            (None, "", State::None, None),
            (Some(15), "else", State::Foreign, Some(5)),
        ] {
            let place = place(committed, metadata);
            assert_eq!((place.state(), place.lag()), (state, lag), "{place:?}");
        }
    }

    /// First and last offset.
    type Offsets = Option<(i64, i64)>;

    fn moved(place: &Place, to: To) -> (i64, Offsets, Offsets, String) {
        let moved = place.set(to).unwrap();
        (moved.to, moved.skipped, moved.again, moved.metadata)
    }

    #[test]
    fn going_on_says_what_is_left_out_and_going_back_what_is_read_again() {
        let at = place(Some(15), "");
        assert_eq!(moved(&at, To::Offset(18)), (18, Some((15, 17)), None, String::new()));
        assert_eq!(moved(&at, To::Latest), (20, Some((15, 19)), None, String::new()));
        assert_eq!(moved(&at, To::Earliest), (10, None, Some((10, 14)), "v1;u=15".to_owned()));
        assert_eq!(moved(&place(None, ""), To::Offset(12)), (12, Some((10, 11)), None, String::new()));
        assert!(!at.set(To::Offset(15)).unwrap().changes());
        for to in [9, 21] {
            assert_eq!(exit_of(&at.set(To::Offset(to)).unwrap_err()), Exit::Usage);
        }
    }

    #[test]
    fn rows_of_a_range_that_was_pending_are_looked_up_if_it_is_read_again_in_another_cut() {
        let at = place(Some(15), SEALED);
        assert_eq!(moved(&at, To::Offset(15)), (15, None, Some((15, 17)), "v1;u=18".to_owned()));
        assert_eq!(moved(&at, To::Offset(16)), (16, Some((15, 15)), Some((16, 17)), "v1;u=18".to_owned()));
        assert_eq!(moved(&at, To::Offset(18)), (18, Some((15, 17)), None, String::new()));
        // Set back further while it was still being caught up.
        let back = place(Some(12), "v1;u=18");
        assert_eq!(moved(&back, To::Earliest), (10, None, Some((10, 17)), "v1;u=18".to_owned()));
    }

    #[test]
    fn skipping_leaves_out_what_holds_it_up_and_no_more() {
        let skip = |committed, metadata: &str| {
            let moved = place(Some(committed), metadata).skip().unwrap();
            (moved.to, moved.skipped, moved.again)
        };
        assert_eq!(skip(15, SEALED), (18, Some((15, 17)), None));
        assert_eq!(skip(4, ""), (10, Some((4, 9)), None));
        // Retention passed a part of the pending range: the rest of it is still there.
        assert_eq!(skip(4, SEALED), (10, Some((4, 9)), Some((10, 17))));
        assert_eq!(skip(4, "v1;e=6;r=abc;a=0"), (10, Some((4, 9)), None));
        for (committed, metadata) in [(Some(15), ""), (None, ""), (Some(15), "else"), (Some(21), SEALED)] {
            assert_eq!(exit_of(&place(committed, metadata).skip().unwrap_err()), Exit::Usage);
        }
    }

    #[test]
    fn rows_of_a_topic_that_is_no_more_are_not_taken_for_those_of_its_successor() {
        let moved = place(Some(21), "v1;e=30;r=abc;a=0").set(To::Earliest).unwrap();
        assert_eq!((moved.again, moved.skipped, moved.is_anew), (None, None, true));
        assert_eq!(moved.metadata, "");
    }

    #[test]
    fn a_position_is_an_offset_or_an_end() {
        assert_eq!(To::parse("5"), Ok(To::Offset(5)));
        assert_eq!((To::parse("earliest"), To::parse("latest")), (Ok(To::Earliest), Ok(To::Latest)));
        assert!(["-1", "", "end", "1.5"].iter().all(|text| To::parse(text).is_err()));
    }
}
