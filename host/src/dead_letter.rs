//! Dead letters: records that cannot be processed, kept with their bytes, coordinates, and the reason.
//!
//! What cannot even be kept here stops its pipeline (promise D7 of `docs/invariants.md`). What becomes of kept ones
//! is in the modules below: which are meant ([`filter`]), reading them ([`store`]), and the marks that say what was
//! done about each ([`marks`]).

pub mod filter;
pub mod marks;
pub mod read;
pub mod store;
pub mod text;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, message::Header, message::OwnedHeaders};
use serde_json::json;

use crate::clickhouse::convert::Profile;
use crate::clickhouse::ddl;
use crate::clickhouse::native::{Block, Encoding};
use crate::config;
use crate::debezium::value::{self, Value};
use crate::error::Classify;
use crate::locked::locked;

/// How long the broker may take to acknowledge a batch's dead letters.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is no Debezium event that the host knows.
    Decode,
    /// The transform rejected it, or failed on it.
    Transform,
    /// Its values do not fit the table's columns.
    Encode,
    /// ClickHouse refuses it.
    Insert,
}

impl Stage {
    /// As it stands in the dead letter.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Transform => "transform",
            Stage::Encode => "encode",
            Stage::Insert => "insert",
        }
    }
}

/// A record that cannot be processed.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// When the record was written, milliseconds since 1970 in UTC.
    pub timestamp_ms: Option<i64>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value.
    pub value: Option<&'a [u8]>,
    /// Where it failed.
    pub stage: Stage,
    /// Why.
    pub reason: &'a str,
    /// Digest of the transform that ran.
    pub transform: &'a str,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// Those of the record's headers that decoding looks at, in their order.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// A column's name and type.
type Column = (&'static str, &'static str);

/// The columns of a table of dead letters that are written. A table of an earlier version has none for `headers`.
pub fn columns(headers: bool) -> &'static [Column] {
    let all = &ddl::DEAD_LETTER_COLUMNS;
    if headers { all } else { &all[..all.len() - 1] }
}

/// Encodes the letters of these indices as a `Native` block of `columns`, in types that the server has, and with the
/// epoch of their topic after them where the table has a column for it.
pub fn encode(
    letters: &[DeadLetter<'_>],
    which: &[usize],
    columns: &[Column],
    epoch: Option<u16>,
    profile: &Profile,
) -> Vec<u8> {
    let encoding = Encoding { profile, decode: value::decode };
    let mut block = Block::new(encoding, columns.len() + usize::from(epoch.is_some()), which.len());
    for (name, ty) in columns {
        let ty = ddl::own_type(ty, profile);
        block.column(name, &ty, which.iter().map(|at| Ok(letters[*at].cell(name))));
    }
    if let Some(epoch) = epoch {
        let (name, ty) = ddl::DEAD_LETTER_EPOCH;
        block.column(name, &ddl::own_type(ty, profile), which.iter().map(|_| Ok(Value::Int(epoch.into()))));
    }
    block.finish().0
}

impl<'a> DeadLetter<'a> {
    /// Its value for one of [`columns`].
    fn cell(&self, column: &str) -> Value<'a> {
        let bytes = |bytes: Option<&'a [u8]>| bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.into()));
        match column {
            "pipeline" => Value::Text(self.pipeline.into()),
            "topic" => Value::Text(self.topic.into()),
            "partition" => Value::Int(self.partition.into()),
            "offset" => Value::Int(self.offset),
            "timestamp" => self.timestamp_ms.map_or(Value::Null, |ms| Value::Timestamp {
                seconds: ms.div_euclid(1000),
                nanos: ms.rem_euclid(1000) as u32 * 1_000_000,
            }),
            "key" => bytes(self.key),
            "value" => bytes(self.value),
            "stage" => Value::Text(self.stage.name().into()),
            "reason" => Value::Text(self.reason.into()),
            "headers" => Value::Text(text::headers_to_json(&self.headers).into()),
            _ => Value::Text(self.transform.into()),
        }
    }
}

/// What the brokers said of the dead letters: the first failure since it was asked for.
#[derive(Default)]
pub struct Reports(Mutex<Option<KafkaError>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            locked(&self.0).get_or_insert(error.clone());
        }
    }
}

/// Where dead letters go, other than a ClickHouse table.
pub enum Keeper {
    /// A Kafka topic; the letter's bytes with the rest as headers.
    Topic(Box<BaseProducer<Reports>>, String),
    /// A file of JSON lines, made at the first one.
    File(PathBuf, Option<File>),
    /// Nowhere: the pipeline stops.
    Stop,
}

impl Keeper {
    /// A producer for dead letters, at the source's brokers with the source's properties.
    pub fn topic(name: &str, kafka: &config::Kafka) -> Result<Self> {
        let mut client = ClientConfig::new();
        let common = ["security.", "sasl.", "ssl.", "socket.", "enable.ssl", "broker."];
        for (key, value) in &kafka.properties.0 {
            if common.iter().any(|prefix| key.starts_with(prefix)) {
                client.set(key, value);
            }
        }
        let producer: BaseProducer<Reports> = client
            .set("bootstrap.servers", kafka.brokers.join(","))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", "20000000")
            .create_with_context(Reports::default())
            .context("setting up the producer of dead letters")
            .usage()?;
        Ok(Keeper::Topic(Box::new(producer), name.to_owned()))
    }

    /// Keeps `letters`; when it returns they are where they can be found.
    pub fn keep(&mut self, letters: &[DeadLetter<'_>]) -> Result<()> {
        match self {
            Keeper::Topic(producer, topic) => produce(producer, topic, letters),
            Keeper::File(path, file) => append(path, file, letters)
                .with_context(|| format!("writing dead letters to {}", path.display()))
                .environment(),
            Keeper::Stop => {
                let Some(letter) = letters.first() else { return Ok(()) };
                Err(anyhow::anyhow!(
                    "{}/{} offset {} cannot be processed ({}): {}",
                    letter.topic, letter.partition, letter.offset, letter.stage.name(), letter.reason
                ))
                .transform_failed()
                .help("with --dead-letters table:NAME, topic:NAME or file:PATH such records are kept and the rest goes on")
            }
        }
    }
}

fn produce(producer: &BaseProducer<Reports>, topic: &str, letters: &[DeadLetter<'_>]) -> Result<()> {
    for letter in letters {
        let coordinates = format!("{}/{}@{}", letter.topic, letter.partition, letter.offset);
        let header =
            |headers: OwnedHeaders, key, value: &str| headers.insert(Header { key, value: Some(value) });
        let mut headers = OwnedHeaders::new();
        for (key, value) in &letter.headers {
            headers = headers.insert(Header { key, value: *value });
        }
        for (key, value) in [
            ("rowgate.record", coordinates.as_str()),
            ("rowgate.stage", letter.stage.name()),
            ("rowgate.reason", letter.reason),
            ("rowgate.transform", letter.transform),
            ("rowgate.pipeline", letter.pipeline),
        ] {
            headers = header(headers, key, value);
        }
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).headers(headers);
        record.key = letter.key;
        record.payload = letter.value;
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                return Err(error).context(format!("writing a dead letter to topic {topic}")).environment();
            }
            producer.poll(Duration::from_millis(100));
            record = back;
        }
    }
    let place = || format!("writing dead letters to topic {topic}");
    producer.flush(FLUSH_TIMEOUT).with_context(place).environment()?;
    match locked(&producer.context().0).take() {
        None => Ok(()),
        Some(error) => Err(error)
            .with_context(place)
            .environment()
            .help("nothing is lost: see that the topic exists and takes them, and start again"),
    }
}

fn append(path: &Path, file: &mut Option<File>, letters: &[DeadLetter<'_>]) -> Result<()> {
    let file = match file {
        Some(file) => file,
        none => {
            tracing::warn!(path = %path.display(), "dead letters go to this file");
            none.insert(OpenOptions::new().create(true).append(true).open(path)?)
        }
    };
    let mut lines = Vec::new();
    for letter in letters {
        let mut line = json!({
                "pipeline": letter.pipeline, "topic": letter.topic, "partition": letter.partition,
                "offset": letter.offset, "ts": letter.timestamp_ms, "stage": letter.stage.name(),
                "reason": letter.reason, "transform": letter.transform,
                "key": text::as_json(letter.key), "payload": text::as_json(letter.value),
        });
        if !letter.headers.is_empty() {
            line["headers"] = text::headers_as_json(&letter.headers);
        }
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_data()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter<'static> {
        DeadLetter {
            topic: "t",
            partition: 1,
            offset: 2,
            timestamp_ms: Some(3),
            key: None,
            value: Some(b"\xffx"),
            stage: Stage::Decode,
            reason: "no JSON",
            transform: "abc",
            pipeline: "default",
            headers: vec![("__op", Some(b"c"))],
        }
    }

    #[test]
    fn a_file_keeps_all_of_a_record_even_bytes_that_are_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.ndjson");
        let mut keeper = Keeper::File(path.clone(), None);
        keeper.keep(&[letter()]).unwrap();
        keeper.keep(&[letter()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["payload"]["base64"], "/3g=");
        assert_eq!(lines[0]["headers"], json!({"__op": "c"}));
        assert_eq!((&lines[0]["offset"], &lines[0]["stage"]), (&json!(2), &json!("decode")));
    }

    #[test]
    fn stop_stops_with_the_coordinates_and_the_reason() {
        let error = format!("{:#}", Keeper::Stop.keep(&[letter()]).unwrap_err());
        assert!(error.contains("t/1 offset 2") && error.contains("no JSON"), "{error}");
        assert!(Keeper::Stop.keep(&[]).is_ok());
    }
}
