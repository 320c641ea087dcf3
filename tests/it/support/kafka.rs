//! Topics, records in them, and the positions of groups.

use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::events::Record;
use super::{BOUND, Stack, wait_until};

/// A topic of one test.
pub struct Topic {
    /// The brokers that have it.
    pub brokers: String,
    /// Its name.
    pub name: String,
}

/// A record as a consumer sees it.
pub struct Consumed {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

/// Writes into one topic.
pub struct Writer<'t> {
    producer: BaseProducer,
    topic: &'t str,
}

impl Writer<'_> {
    /// As [`Topic::produce`], but does not wait for the broker.
    pub fn write(&self, partitions: i32, records: &[Record]) {
        for (number, record) in (0..partitions).cycle().zip(records) {
            let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(self.topic).partition(number);
            message.key = record.key.as_deref().map(str::as_bytes);
            message.payload = record.value.as_deref().map(str::as_bytes);
            self.producer.send(message).map_err(|(error, _)| error).expect("it is queued");
            self.producer.poll(Duration::ZERO);
        }
    }
}

impl Topic {
    /// A new topic in the shared stack.
    pub fn new(name: &str, partitions: i32) -> Self {
        Topic::on(Stack::shared(), name, partitions)
    }

    /// A new topic.
    pub fn on(stack: &Stack, name: &str, partitions: i32) -> Self {
        let topic = Topic { brokers: stack.brokers().to_owned(), name: name.to_owned() };
        topic.make(partitions).expect("the topic is made");
        topic
    }

    fn make(&self, partitions: i32) -> Result<(), RDKafkaErrorCode> {
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let made = runtime().block_on(self.admin().create_topics([&new], &AdminOptions::new()));
        made.expect("the broker answers")
            .into_iter()
            .try_for_each(|made| made.map(drop).map_err(|(_, code)| code))
    }

    /// Deletes it, and with it the positions of groups.
    pub fn delete(&self) {
        let deleted = runtime().block_on(self.admin().delete_topics(&[&self.name], &AdminOptions::new()));
        deleted.expect("the broker answers").into_iter().for_each(|gone| _ = gone.expect("it is deleted"));
    }

    /// Makes it again after it was deleted, with nothing in it.
    pub fn make_again(&self, partitions: i32) {
        // The broker takes its time to delete.
        wait_until("the topic to be made again", || match self.make(partitions) {
            Ok(()) => true,
            Err(RDKafkaErrorCode::TopicAlreadyExists) => false,
            Err(code) => panic!("{code}"),
        });
    }

    /// A topic of a mock cluster, which made it.
    pub fn of_mock(brokers: &str, name: &str) -> Self {
        Topic { brokers: brokers.to_owned(), name: name.to_owned() }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        AdminClient::from_config(&self.client()).expect("a client")
    }

    /// Gives it so many partitions.
    pub fn grow(&self, partitions: usize) {
        let more = NewPartitions::new(&self.name, partitions);
        let made = runtime().block_on(self.admin().create_partitions([&more], &AdminOptions::new()));
        made.expect("the broker answers").into_iter().for_each(|made| _ = made.expect("partitions are made"));
    }

    /// Writes records, the n-th to the partition `n % partitions`; returns when the broker has them.
    pub fn produce(&self, partitions: i32, records: &[Record]) {
        let writer = self.writer();
        writer.write(partitions, records);
        writer.producer.flush(BOUND).expect("the broker takes the records");
    }

    /// For a test that writes again and again: each new producer, and each wait for the broker, costs a tenth of a second.
    pub fn writer(&self) -> Writer<'_> {
        let producer = self
            .client()
            .set("linger.ms", "5")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("a producer");
        Writer { producer, topic: &self.name }
    }

    /// All records that the topic has now, partition by partition.
    pub fn records(&self) -> Vec<Consumed> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a client");
        let mut records = Vec::new();
        for (partition, end) in self.ends() {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.name, partition, Offset::Beginning).expect("a position");
            consumer.assign(&list).expect("an assignment");
            let mut next = 0;
            while next < end {
                let message = consumer.poll(BOUND).expect("a record").expect("a record");
                next = message.offset() + 1;
                records.push(Consumed::from(&message));
            }
        }
        records
    }

    fn ends(&self) -> Vec<(i32, i64)> {
        let consumer: BaseConsumer = self.client().set("group.id", "reader").create().expect("a client");
        let metadata = consumer.fetch_metadata(Some(&self.name), BOUND).expect("the broker answers");
        let partitions = metadata.topics()[0].partitions().iter().map(|partition| partition.id());
        let end = |partition| {
            consumer.fetch_watermarks(&self.name, partition, BOUND).expect("the broker answers").1
        };
        partitions.map(|partition| (partition, end(partition))).collect()
    }

    /// What `group` has committed: offset and metadata by partition, for those that have a position.
    pub fn committed(&self, group: &str) -> Vec<(i32, i64, String)> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().expect("a client");
        let mut list = TopicPartitionList::new();
        for (partition, _) in self.ends() {
            list.add_partition(&self.name, partition);
        }
        let committed = consumer.committed_offsets(list, BOUND).expect("the broker answers");
        let elements = committed.elements();
        let with_position = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset, element.metadata().to_owned())),
            _ => None,
        });
        with_position.collect()
    }

    /// Commits a position for `group`, as another program would.
    pub fn commit(&self, group: &str, partition: i32, offset: i64, metadata: &str) {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().expect("a client");
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&self.name, partition);
        element.set_offset(Offset::Offset(offset)).expect("a position");
        element.set_metadata(metadata);
        consumer.commit(&list, CommitMode::Sync).expect("the broker takes it");
    }

    /// Removes the records before `offset`, as retention does.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("a position");
        let deleted = runtime().block_on(self.admin().delete_records(&list, &AdminOptions::new()));
        deleted.expect("the broker answers");
    }

    /// Whether `group` has everything, and nothing is pending.
    pub fn is_done(&self, group: &str) -> bool {
        let ends: Vec<_> =
            self.ends().into_iter().map(|(number, end)| (number, end, String::new())).collect();
        self.committed(group) == ends
    }
}

impl From<&BorrowedMessage<'_>> for Consumed {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        Consumed {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        }
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}
