//! Looking whether the topics that are read are still the ones that were assigned.
//!
//! librdkafka goes on at the same offset in a topic that was deleted and made anew between two of its fetches, if
//! that offset is there by then: it would be read from the middle, and taken for the one before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rdkafka::consumer::Consumer;

use super::client::REQUEST_TIMEOUT;
use super::context::HostContext;
use super::topic_id::{self, Descriptions, Question};
use super::{KafkaInput, Partition, Reading};
use crate::error::Classify;

/// How often it is asked.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The question that is under way.
#[derive(Default)]
pub(super) struct Watch {
    asked: Option<Instant>,
    question: Option<Question<HostContext>>,
}

impl KafkaInput {
    /// Asks now and then, without waiting.
    ///
    /// # Errors
    /// A topic was made anew while it was read.
    pub(super) fn look_at_topics(&mut self) -> Result<()> {
        if let Some(question) = &self.watch.question {
            let Some(answer) = question.answer() else { return Ok(()) };
            self.watch.question = None;
            return self.compare(answer);
        }
        if self.watch.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return Ok(());
        }
        let topics = topics_with_id(&self.partitions);
        if !topics.is_empty() {
            self.watch.asked = Some(Instant::now());
            self.watch.question = Some(Question::ask(&self.consumer, &topics, REQUEST_TIMEOUT)?);
        }
        Ok(())
    }

    /// Asks now, and waits for the answer: something is wrong with a position.
    ///
    /// # Errors
    /// A topic was made anew while it was read.
    pub(super) fn check_topics(&self) -> Result<()> {
        let topics = topics_with_id(&self.partitions);
        match topics.is_empty() {
            true => Ok(()),
            false => self.compare(topic_id::describe(&self.consumer, &topics, REQUEST_TIMEOUT)),
        }
    }

    fn compare(&self, answer: Result<Descriptions>) -> Result<()> {
        let now = match answer {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!("kafka: {error}: asking again what the topics are");
                return Ok(());
            }
        };
        let Some(topic) = made_anew(&self.partitions, &now) else { return Ok(()) };
        // A position of the one before must not be committed for this one.
        self.consumer.context().ownership().forget(&topic);
        Err(anyhow!("the topic {topic} was deleted and made anew while it was read"))
            .environment()
            .help("start again: the next start goes on with the new topic, as an epoch of its own")
    }
}

fn topics_with_id(partitions: &HashMap<Partition, Reading>) -> Vec<&str> {
    let with_id = partitions.iter().filter(|(_, reading)| reading.incarnation().topic_id.is_some());
    with_id.map(|((topic, _), _)| &**topic).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A topic that has another id than the one that was assigned. One that does not exist may still come back so.
fn made_anew(partitions: &HashMap<Partition, Reading>, now: &Descriptions) -> Option<String> {
    let differs = |(topic, reading): (&Arc<str>, &Reading)| {
        let now = now.get(&**topic)?.id.as_ref()?;
        let was = reading.incarnation().topic_id.as_ref()?;
        (was != now).then(|| topic.to_string())
    };
    partitions.iter().find_map(|((topic, _), reading)| differs((topic, reading)))
}
