//! Epochs: which life of a topic its records are of.
//!
//! A topic that is deleted and made anew under its name begins at offset 0 again. Its id tells it from the
//! one before: each id that a pipeline meets under a name is an epoch of its own, from 0 on. Offsets of two
//! epochs are never compared, matched or deduplicated (promise D13 of `docs/invariants.md`). Which ids there were
//! is kept in the target database; this is the part that decides, apart from reading and writing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Result, anyhow};

use crate::chaos::{self, Bug};
use crate::error::Classify;
use crate::locked::locked;

/// The most epochs that a topic can have: a version has 16 bits for them.
const LAST_EPOCH: u16 = u16::MAX;

/// What was written down when an id was first seen, or when its topic had got more partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The topic's name.
    pub topic: String,
    /// Its id.
    pub topic_id: String,
    /// The epoch that this id is.
    pub epoch: u16,
    /// How many partitions it had.
    pub partitions: u32,
}

/// What a topic is to a pipeline, as an assignment finds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Incarnation {
    /// Its id. None: the brokers tell none, or nobody keeps them.
    pub topic_id: Option<String>,
    /// Which life of the topic this is; as long as its id is not written down, what it will be.
    pub epoch: u16,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many it had when that was written down last, if those were fewer.
    pub grown_from: Option<u32>,
    /// Whether the topic is known, but not this life of it.
    pub is_new: bool,
    /// Whether epochs are kept at all.
    pub is_kept: bool,
}

/// Whose a committed position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Of the topic as it is.
    This,
    /// Of an earlier life of the topic: it says nothing about this one.
    Earlier,
    /// It does not say, and may be of an earlier life of the topic.
    Doubtful,
    /// Of a later one, of which nothing is known.
    Later,
}

impl Incarnation {
    /// Whose a commit is that says `epoch`; one without metadata says 0, which other programs write, too.
    pub fn owner(&self, epoch: u16, has_metadata: bool) -> Owner {
        match epoch.cmp(&self.epoch) {
            _ if !self.is_kept => Owner::This,
            std::cmp::Ordering::Equal => Owner::This,
            std::cmp::Ordering::Greater => Owner::Later,
            std::cmp::Ordering::Less if has_metadata => Owner::Earlier,
            std::cmp::Ordering::Less => Owner::Doubtful,
        }
    }

    /// Whether a partition without a position begins at its first record, whatever the start policy says: all
    /// of its records came after the pipeline had begun.
    pub fn begins_at_first(&self, partition: i32) -> bool {
        let is_added = |known: u32| u32::try_from(partition).is_ok_and(|partition| partition >= known);
        self.epoch > 0 || self.grown_from.is_some_and(is_added)
    }

    /// What is to be written down of it, where that is not done yet.
    pub fn line(&self, topic: &str) -> Option<Line> {
        let (epoch, partitions) = (self.epoch, self.partitions);
        let topic_id = self.topic_id.clone().filter(|_| self.is_kept)?;
        Some(Line { topic: topic.to_owned(), topic_id, epoch, partitions })
    }
}

/// What a pipeline knows of the lives of its topics. Shared between the thread that takes over partitions and the
/// one that writes down.
#[derive(Debug, Default)]
pub struct Epochs(Mutex<HashMap<String, Vec<Line>>>);

impl Epochs {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Line>>> {
        // No code panics while it holds the lock, and the map is whole between statements.
        locked(&self.0)
    }

    /// Adds what was written down, by this host or another. Of lines of one id the greatest epoch and number of
    /// partitions count.
    pub fn add(&self, lines: impl IntoIterator<Item = Line>) {
        let mut known = self.lock();
        for line in lines {
            let of_topic = known.entry(line.topic.clone()).or_default();
            match of_topic.iter_mut().find(|known| known.topic_id == line.topic_id) {
                Some(known) => {
                    known.epoch = known.epoch.max(line.epoch);
                    known.partitions = known.partitions.max(line.partitions);
                }
                None => of_topic.push(line),
            }
        }
    }

    /// Whether nothing is known of any topic.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether this is written down.
    pub fn has(&self, line: &Line) -> bool {
        let known = self.lock();
        let same = |known: &Line| {
            (&known.topic_id, known.epoch) == (&line.topic_id, line.epoch)
                && known.partitions >= line.partitions
        };
        known.get(&line.topic).is_some_and(|of_topic| of_topic.iter().any(same))
    }

    /// What a topic of this id and number of partitions is. Without an id it is what it was last.
    ///
    /// # Errors
    /// More epochs than there are numbers for.
    pub fn incarnation(&self, topic: &str, topic_id: Option<&str>, partitions: u32) -> Result<Incarnation> {
        if chaos::has(Bug::EpochsIgnored) {
            return Ok(Incarnation::default());
        }
        let known = self.lock();
        let of_topic = known.get(topic).map(Vec::as_slice).unwrap_or_default();
        let last = of_topic.iter().map(|line| line.epoch).max();
        let mut found = Incarnation {
            topic_id: topic_id.map(str::to_owned),
            partitions,
            is_kept: true,
            ..Incarnation::default()
        };
        match (topic_id, last) {
            (_, None) => {}
            (None, Some(last)) => found.epoch = last,
            (Some(id), Some(last)) => match of_topic.iter().find(|line| line.topic_id == id) {
                Some(line) => {
                    found.epoch = line.epoch;
                    found.grown_from = (line.partitions < partitions).then_some(line.partitions);
                }
                None if last == LAST_EPOCH => {
                    return Err(anyhow!("the topic {topic} was made anew more than {last} times"))
                        .usage()
                        .help("give the pipeline another name and other tables");
                }
                None => {
                    found.epoch = last + 1;
                    found.is_new = true;
                }
            },
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(topic: &str, id: &str, epoch: u16, partitions: u32) -> Line {
        Line { topic: topic.into(), topic_id: id.into(), epoch, partitions }
    }

    fn known(lines: &[Line]) -> Epochs {
        let epochs = Epochs::default();
        epochs.add(lines.iter().cloned());
        epochs
    }

    fn epoch(epochs: &Epochs, id: Option<&str>) -> (u16, bool) {
        let found = epochs.incarnation("t", id, 1).unwrap();
        (found.epoch, found.is_new)
    }

    #[test]
    fn each_id_of_a_topic_is_an_epoch_of_its_own_and_keeps_it() {
        let epochs = known(&[]);
        assert_eq!(epoch(&epochs, Some("a")), (0, false), "the first is nothing new");
        epochs.add([line("other", "x", 7, 1), line("t", "a", 0, 1)]);
        assert_eq!(epoch(&epochs, Some("a")), (0, false));
        assert_eq!(epoch(&epochs, Some("b")), (1, true));
        epochs.add([line("t", "b", 1, 1)]);
        assert_eq!(epoch(&epochs, Some("b")), (1, false));
        assert_eq!(epoch(&epochs, Some("a")), (0, false));
        assert_eq!(epoch(&epochs, Some("c")), (2, true));
    }

    #[test]
    fn brokers_without_ids_have_no_epochs_and_go_on_in_the_last_one() {
        assert_eq!(epoch(&known(&[]), None), (0, false));
        assert_eq!(epoch(&known(&[line("t", "a", 0, 1), line("t", "b", 1, 1)]), None), (1, false));
        assert_eq!(known(&[]).incarnation("t", None, 1).unwrap().line("t"), None);
    }

    #[test]
    fn of_what_two_hosts_wrote_of_one_id_the_greatest_counts() {
        let epochs = known(&[line("t", "a", 0, 3), line("t", "a", 1, 2), line("t", "a", 0, 1)]);
        assert_eq!(epoch(&epochs, Some("a")), (1, false));
        assert!(epochs.has(&line("t", "a", 1, 3)));
        assert!(!epochs.has(&line("t", "a", 1, 4)));
        assert!(!epochs.has(&line("t", "a", 0, 1)), "the other epoch");
        assert!(!epochs.has(&line("u", "a", 1, 3)));
    }

    #[test]
    fn epochs_end_where_their_bits_do() {
        let epochs = known(&[line("t", "a", u16::MAX, 1)]);
        assert_eq!(epoch(&epochs, Some("a")), (u16::MAX, false));
        assert!(epochs.incarnation("t", Some("b"), 1).is_err());
    }

    #[test]
    fn growth_is_seen_once_it_is_more_than_was_written_down() {
        let epochs = known(&[line("t", "a", 0, 3)]);
        let grown = |partitions| epochs.incarnation("t", Some("a"), partitions).unwrap().grown_from;
        assert_eq!((grown(2), grown(3), grown(4)), (None, None, Some(3)));
        assert_eq!(epochs.incarnation("t", Some("b"), 9).unwrap().grown_from, None, "another topic");
    }

    #[test]
    fn partitions_that_came_later_begin_at_their_first_record() {
        let epochs = known(&[line("t", "a", 0, 3)]);
        let begins = |id, partitions, partition| {
            epochs.incarnation("t", Some(id), partitions).unwrap().begins_at_first(partition)
        };
        assert!(!begins("a", 3, 2));
        assert!(!begins("a", 4, 2));
        assert!(begins("a", 4, 3));
        assert!(begins("b", 1, 0), "of a topic that was made anew, all do");
        assert!(!known(&[]).incarnation("t", Some("a"), 4).unwrap().begins_at_first(3));
    }

    #[test]
    fn a_commit_counts_only_in_the_epoch_that_it_is_of() {
        let epochs = known(&[line("t", "a", 0, 1), line("t", "b", 1, 1)]);
        let of = |id: &str| epochs.incarnation("t", Some(id), 1).unwrap();
        assert_eq!(of("a").owner(0, false), Owner::This);
        assert_eq!(of("a").owner(0, true), Owner::This);
        assert_eq!(of("b").owner(1, true), Owner::This);
        assert_eq!(of("b").owner(0, true), Owner::Earlier);
        assert_eq!(of("c").owner(1, true), Owner::Earlier);
        // Other programs write positions without metadata; so does a host in epoch 0.
        assert_eq!(of("b").owner(0, false), Owner::Doubtful);
        assert_eq!(of("a").owner(1, true), Owner::Later);
        // A new id, and another host of the group was faster.
        assert_eq!(of("c").owner(2, true), Owner::This);
        assert_eq!(Incarnation::default().owner(3, true), Owner::This, "nobody keeps epochs");
    }
}
