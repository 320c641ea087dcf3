//! Which topic a name means now: its id, which a topic that is deleted and made anew does not keep, and the
//! number of its partitions.
//!
//! librdkafka asks for both (`DescribeTopics`), the crate above it does not. This is the only place that calls
//! librdkafka itself. What each call relies on:
//! * the client outlives the question: [`Question`] holds the consumer that it asks through;
//! * a queue, options, a collection and an event are freed once, by the guard that was made right after them;
//! * what an event's result points to lives as long as the event, and is copied before that is freed.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::metadata::MetadataBroker;

/// What a topic is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id, in base64. None: the brokers do not tell ids.
    pub id: Option<String>,
    /// How many partitions it has.
    pub partitions: u32,
}

/// What is known of topics by their names. Those that do not exist are not in it.
pub type Descriptions = HashMap<String, Description>;

/// Asks what topics are now, and waits for the answer at most `wait`, which is at least a millisecond.
///
/// # Errors
/// The brokers do not say, or not in time.
pub fn describe<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    wait: Duration,
) -> Result<Descriptions> {
    // Any broker knows; without one named, librdkafka waits for the controller, and some clusters tell none.
    let metadata = consumer.fetch_metadata(topics.first().copied(), wait)?;
    // Another one each time, since one may be away.
    let brokers = metadata.brokers();
    let broker = brokers.get(fastrand::usize(..brokers.len().max(1))).map(MetadataBroker::id);
    let queue = ask(consumer, topics, broker, wait)?;
    // The brokers' own time limit is `wait`, too, and its error tells more.
    match queue.answer(wait + Duration::from_secs(1)) {
        Some(answer) => answer,
        None => Err(anyhow!("the brokers do not say what topics are within {} ms", wait.as_millis())),
    }
}

/// The same, asked without waiting: the thread that polls goes on, and looks for the answer now and then.
pub struct Question<C: ConsumerContext> {
    queue: Queue,
    /// Freed after the queue, which is its.
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Question<C> {
    /// Asks; the answer, or an error, is there within `wait`.
    ///
    /// # Errors
    /// A name that no topic can have.
    pub fn ask(consumer: &Arc<BaseConsumer<C>>, topics: &[&str], wait: Duration) -> Result<Self> {
        let queue = ask(consumer, topics, None, wait)?;
        Ok(Question { queue, _consumer: consumer.clone() })
    }

    /// The answer, if it is there.
    pub fn answer(&self) -> Option<Result<Descriptions>> {
        self.queue.answer(Duration::ZERO)
    }
}

/// A queue of one answer.
struct Queue(*mut ffi::rd_kafka_queue_t);

// SAFETY: librdkafka's queues are locked, and may be polled and freed on any thread. `&Queue` is not shared:
// without `Sync`, one thread at a time polls.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_new`, and nothing else frees it.
        unsafe { ffi::rd_kafka_queue_destroy(self.0) }
    }
}

struct Options(*mut ffi::rd_kafka_AdminOptions_t);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_AdminOptions_new`, and nothing else frees it.
        unsafe { ffi::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

struct Names(*mut ffi::rd_kafka_TopicCollection_t);

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_TopicCollection_of_topic_names`, and nothing else frees it.
        unsafe { ffi::rd_kafka_TopicCollection_destroy(self.0) }
    }
}

struct Event(*mut ffi::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_poll`, and nothing else frees it.
        unsafe { ffi::rd_kafka_event_destroy(self.0) }
    }
}

fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    broker: Option<i32>,
    wait: Duration,
) -> Result<Queue> {
    let names: Vec<CString> = topics
        .iter()
        .map(|name| CString::new(*name))
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("a topic's name has a zero byte"))?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let client = consumer.client().native_ptr();
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: `client` is alive while `consumer` is borrowed. The names are alive until the end of this function,
    // and the collection copies them; so does the request with the collection and the options. A request that
    // cannot be sent answers with an error, by the queue as well. The message of a setting that is refused (an absurd
    // wait, a negative number of a broker) is not asked for (null); the setting stays as it was.
    unsafe {
        let queue = Queue(ffi::rd_kafka_queue_new(client));
        let options = Options(ffi::rd_kafka_AdminOptions_new(
            client,
            ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        ));
        ffi::rd_kafka_AdminOptions_set_request_timeout(options.0, wait_ms, ptr::null_mut(), 0);
        if let Some(broker) = broker {
            ffi::rd_kafka_AdminOptions_set_broker(options.0, broker, ptr::null_mut(), 0);
        }
        let names =
            Names(ffi::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()));
        ffi::rd_kafka_DescribeTopics(client, names.0, options.0, queue.0);
        Ok(queue)
    }
}

impl Queue {
    fn answer(&self, wait: Duration) -> Option<Result<Descriptions>> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive. A null event says that none came in time.
        let event = unsafe {
            let event = ffi::rd_kafka_queue_poll(self.0, wait_ms);
            if event.is_null() {
                return None;
            }
            Event(event)
        };
        Some(read(&event))
    }
}

/// Copies what an event says.
fn read(event: &Event) -> Result<Descriptions> {
    let mut found = HashMap::new();
    // SAFETY: the event is alive, and with it all that is asked of it. The result is null for other events than
    // DescribeTopics'. Its topics are `count` pointers, none of them null; a description's name is a string that
    // ends in zero; its error may be null, whose code is "no error"; its id is never null, and keeps its own text.
    unsafe {
        if ffi::rd_kafka_event_error(event.0) != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(anyhow!("{}", text(ffi::rd_kafka_event_error_string(event.0))));
        }
        let result = ffi::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(anyhow!("librdkafka answers another question"));
        }
        let mut count = 0;
        let topics = ffi::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for index in 0..count {
            let topic = *topics.add(index);
            let name = text(ffi::rd_kafka_TopicDescription_name(topic));
            let error = ffi::rd_kafka_TopicDescription_error(topic);
            match ffi::rd_kafka_error_code(error) {
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => continue,
                _ => return Err(anyhow!("topic {name}: {}", text(ffi::rd_kafka_error_string(error)))),
            }
            let mut partitions = 0;
            ffi::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
            let id = ffi::rd_kafka_TopicDescription_topic_id(topic);
            let bits =
                ffi::rd_kafka_Uuid_most_significant_bits(id) | ffi::rd_kafka_Uuid_least_significant_bits(id);
            let id = (bits != 0).then(|| text(ffi::rd_kafka_Uuid_base64str(id)));
            found.insert(name, Description { id, partitions });
        }
    }
    Ok(found)
}

/// Copies a string of librdkafka's.
///
/// # Safety
/// `text` is null or a string that ends in zero, alive during the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::DefaultConsumerContext;
    use rdkafka::mocking::MockCluster;

    use super::*;

    fn consumer(brokers: &str) -> BaseConsumer<DefaultConsumerContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "g");
        config.create_with_context(DefaultConsumerContext).unwrap()
    }

    /// Against librdkafka's mock cluster: what a topic is, and what is no topic.
    #[test]
    fn a_topic_has_an_id_and_partitions_and_what_is_no_topic_has_none() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("one", 3, 1).unwrap();
        let consumer = consumer(&cluster.bootstrap_servers());
        let wait = Duration::from_secs(30);
        let found = describe(&consumer, &["one"], wait).unwrap();
        assert_eq!(found["one"].partitions, 3);
        // It is the same each time.
        assert_eq!(describe(&consumer, &["one"], wait).unwrap(), found);
        assert!(found["one"].id.as_ref().is_some_and(|id| !id.is_empty()));
        assert!(!describe(&consumer, &["none"], wait).unwrap().contains_key("none"));
    }

    #[test]
    fn brokers_that_are_away_are_waited_for_no_longer_than_asked() {
        let begin = std::time::Instant::now();
        let error = describe(&consumer("127.0.0.1:1"), &["one"], Duration::from_millis(50)).unwrap_err();
        assert!(!error.to_string().is_empty());
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn no_name_with_a_zero_byte_goes_to_librdkafka() {
        assert!(describe(&consumer("127.0.0.1:1"), &["a\0b"], Duration::from_millis(1)).is_err());
    }
}
