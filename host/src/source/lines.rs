//! JSON lines from a file or standard input: bare Debezium values, or records as `kcat -J` prints them.
//!
//! A line is a record if it is an object with a text member `topic` and a member `payload` or `value`; else
//! the line itself is the value of a record of the topic `input`. Where a line names no offset, its number
//! (from 0) is the offset.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::SourceBatch;
use crate::batch::{HeaderNames, Incoming, IncomingHeader, OpenBatch};
use crate::config::{BatchLimits, Bounds};
use crate::error::Classify;
use crate::signal::Shutdown;

/// The topic of a line that names none.
const TOPIC: &str = "input";
/// A line's length at most; a record of 16 MiB, escaped, is no longer.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Lines that are read ahead.
const LINES: usize = 1000;
/// The longest wait for a line: signals and ages are looked at in between.
const POLL: Duration = Duration::from_millis(50);

/// A record as `kcat -J` prints it; `value` is taken for `payload`.
#[derive(Deserialize)]
struct Line<'a> {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    ts: Option<i64>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, alias = "value", default, deserialize_with = "present")]
    payload: Option<Option<&'a RawValue>>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

/// Tells a member that is null from one that is not there.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<&'de RawValue>>, D::Error> {
    Option::<&RawValue>::deserialize(d).map(Some)
}

/// Reads all lines and hands the batches over, until the end, a bound, a signal, or `stop`. `time_is_up` is
/// called where the time of a bounded run has passed.
/// Standard input where `path` is none.
pub fn run(
    path: Option<&Path>,
    (limits, headers): (&BatchLimits, &HeaderNames),
    batches: Sender<SourceBatch>,
    bounds: &Bounds,
    shutdown: &Shutdown,
    stop: impl Fn() -> bool,
    time_is_up: impl Fn(),
) -> Result<()> {
    let lines = read(path)?;
    let end = bounds.for_.map(|duration| Instant::now() + duration);
    let mut open: Open = HashMap::new();
    let (mut number, mut taken) = (0, 0);
    let mut send = |batch: OpenBatch| {
        // A closed channel: the pipeline has failed and says why itself.
        let (batch, incarnation) = (batch.close(), Arc::default());
        let (recovered, written_before) = (None, false);
        let batch = SourceBatch { batch, assignment: 0, recovered, incarnation, written_before };
        let _ = batches.send(batch);
    };
    while !stop() && !shutdown.is_requested() {
        if end.is_some_and(|end| Instant::now() >= end) {
            time_is_up();
            break;
        }
        if bounds.max_records.is_some_and(|max| taken >= max) {
            break;
        }
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                let line = line?;
                if !line.is_empty() {
                    take(&line, number, (limits, headers), &mut open, &mut send);
                    taken += 1;
                }
                number += 1;
            }
            // A pipe that pauses: what it has sent so far does not wait for it.
            Err(RecvTimeoutError::Timeout) => close_due(&mut open, limits, &mut send),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let mut rest: Vec<_> = open.into_iter().collect();
    rest.sort_by(|a, b| a.0.cmp(&b.0));
    rest.into_iter().for_each(|(_, batch)| send(batch));
    Ok(())
}

/// The batches that are being filled.
type Open = HashMap<(Arc<str>, i32), OpenBatch>;

fn close_due(open: &mut Open, limits: &BatchLimits, send: &mut impl FnMut(OpenBatch)) {
    let now = Instant::now();
    let due = open.extract_if(|_, batch| batch.is_due(limits, now));
    due.for_each(|(_, batch)| send(batch));
}

/// The input's lines without their ends. They are read on a thread of its own, since nothing can interrupt
/// the wait for a pipe.
fn read(path: Option<&Path>) -> Result<Receiver<Result<Vec<u8>>>> {
    let mut reader: Box<dyn BufRead + Send> = match path {
        None => Box::new(BufReader::new(std::io::stdin())),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("opening the input {}", path.display()));
            Box::new(BufReader::with_capacity(1 << 20, file.usage()?))
        }
    };
    let (sender, lines) = bounded(LINES);
    let run = move || {
        for number in 1_u64.. {
            let line = read_line(&mut *reader, number).transpose();
            let Some(line) = line else { break };
            let failed = line.is_err();
            if sender.send(line).is_err() || failed {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("lines".into())
        .spawn(run)
        .context("starting the thread that reads the input")?;
    Ok(lines)
}

/// A line without its end; none at the end of the input.
fn read_line(reader: &mut dyn BufRead, number: u64) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader
        .take(MAX_LINE_BYTES + 1)
        .read_until(b'\n', &mut line)
        .context("reading the input")
        .environment()?;
    if read as u64 > MAX_LINE_BYTES {
        return Err(anyhow!("line {number} of the input is longer than {} MiB", MAX_LINE_BYTES >> 20))
            .usage();
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok((read > 0).then_some(line))
}

fn take(
    line: &[u8],
    number: i64,
    (limits, names): (&BatchLimits, &HeaderNames),
    open: &mut Open,
    send: &mut impl FnMut(OpenBatch),
) {
    let parsed = serde_json::from_slice::<Line<'_>>(line).ok();
    let mut kept = Vec::new();
    let (topic, partition, offset, timestamp_ms, key, value) = match parsed {
        Some(Line { topic: Some(topic), partition, offset, ts, key, payload: Some(payload), headers }) => {
            let offset = offset.filter(|offset| *offset >= 0).unwrap_or(number);
            if !names.is_empty() {
                kept = headers.map(|headers| self::headers(headers, names)).unwrap_or_default();
            }
            (topic, partition.unwrap_or(0), offset, ts, bytes(key), bytes(payload))
        }
        _ => (TOPIC.to_owned(), 0, number, None, None, Some(line.to_vec())),
    };
    let headers: Vec<IncomingHeader<'_>> =
        kept.iter().map(|(name, value)| (*name, value.as_deref())).collect();
    let (key, value, headers) = (key.as_deref(), value.as_deref(), headers.as_slice());
    let record = Incoming { offset, timestamp_ms, key, value, headers };
    let now = Instant::now();
    let place: (Arc<str>, i32) = (topic.into(), partition);
    if let Some(batch) = open.remove(&place) {
        // Offsets ascend within a batch; several dumps in one file may start again.
        if batch.takes(&record, limits) && batch.last().is_none_or(|last| last < offset) {
            open.insert(place.clone(), batch);
        } else {
            send(batch);
        }
    }
    open.entry(place)
        .or_insert_with_key(|(topic, partition)| OpenBatch::new(topic.clone(), *partition, offset, None, now))
        .push(&record);
}

/// The headers to keep, of a list of names and values in turn (as `kcat -J` prints it) or of an object.
fn headers<'n>(json: &RawValue, names: &'n HeaderNames) -> Vec<(&'n Arc<str>, Option<Vec<u8>>)> {
    let text = json.get();
    if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let (pairs, _) = list.as_chunks::<2>();
        let pair = |[name, value]: &[&RawValue; 2]| {
            let name: String = serde_json::from_str(name.get()).ok()?;
            Some((names.find(&name)?, bytes(Some(value))))
        };
        return pairs.iter().filter_map(pair).collect();
    }
    let map: HashMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    map.iter().filter_map(|(name, value)| Some((names.find(name)?, bytes(Some(value))))).collect()
}

/// A key's or value's bytes: a JSON string's text, or JSON that stands there unquoted, as it is.
fn bytes(value: Option<&RawValue>) -> Option<Vec<u8>> {
    let raw = value?.get();
    match raw.as_bytes().first() {
        Some(b'n') => None,
        // Text that is no Unicode (a lone surrogate) stays as it stands, to fail where records are checked.
        Some(b'"') => {
            Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()).into_bytes())
        }
        _ => Some(raw.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Span};
    use std::io::Write;

    fn read(lines: &str) -> Vec<Batch> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let (sender, receiver) = bounded(100);
        let limits = BatchLimits { rows: 2, bytes: 1 << 20, linger_ms: 1 };
        let mut names = HeaderNames::default();
        names.add(["__op", "id"]);
        let (bounds, shutdown) = (Bounds::default(), Shutdown::default());
        run(Some(file.path()), (&limits, &names), sender, &bounds, &shutdown, || false, || ()).unwrap();
        receiver.iter().map(|batch| batch.batch).collect()
    }

    fn text(batch: &Batch, span: Option<Span>) -> Option<&str> {
        span.map(|span| std::str::from_utf8(span.of(&batch.arena)).unwrap())
    }

    #[test]
    fn records_of_kcat_keep_their_coordinates_and_bare_values_get_line_numbers() {
        let batches = read(concat!(
            r#"{"topic":"a","partition":3,"offset":17,"ts":5,"key":"{\"id\":1}","payload":"{\"x\":\"\\n\"}"}"#,
            "\n\n",
            r#"{"op":"u"}"#,
            "\r\n",
            r#"{"topic":"a","key":null,"value":null}"#,
        ));
        assert_eq!(batches.len(), 3);
        let of = |topic: &str, partition| {
            batches.iter().find(|b| &*b.topic == topic && b.partition == partition).unwrap()
        };
        let kcat = of("a", 3);
        assert_eq!((kcat.first, kcat.records[0].timestamp_ms), (17, Some(5)));
        assert_eq!(text(kcat, kcat.records[0].value), Some(r#"{"x":"\n"}"#));
        assert_eq!(text(kcat, kcat.records[0].key), Some(r#"{"id":1}"#));
        let bare = of("input", 0);
        assert_eq!((bare.first, text(bare, bare.records[0].value)), (2, Some(r#"{"op":"u"}"#)));
        let tombstone = of("a", 0);
        assert_eq!((tombstone.first, tombstone.records[0].value, tombstone.records[0].key), (3, None, None));
    }

    #[test]
    fn offsets_that_start_again_start_a_new_batch() {
        let line = |offset| format!("{{\"topic\":\"a\",\"offset\":{offset},\"payload\":\"x\"}}\n");
        let batches = read(&[5, 6, 7, 5].map(line).concat());
        let ranges: Vec<_> = batches.iter().map(|batch| (batch.first, batch.last)).collect();
        assert_eq!(ranges, [(5, 6), (7, 7), (5, 5)]);
    }

    #[test]
    fn what_a_pausing_pipe_has_sent_does_not_wait_for_it() {
        let mut open = Open::new();
        let limits = BatchLimits { rows: 100, bytes: 1 << 20, linger_ms: 1 };
        let mut sent = 0;
        take(b"{}", 0, (&limits, &HeaderNames::default()), &mut open, &mut |_| sent += 1);
        while !open.is_empty() {
            close_due(&mut open, &limits, &mut |_| sent += 1);
        }
        assert_eq!(sent, 1);
    }

    #[test]
    fn a_line_that_is_no_json_is_kept_as_a_record() {
        let batches = read("not json\n");
        assert_eq!(text(&batches[0], batches[0].records[0].value), Some("not json"));
    }

    #[test]
    fn the_headers_that_are_asked_for_are_kept_however_they_are_written() {
        for headers in [
            r#"["other","1","__op","c","id","\u0000a","nothing"]"#,
            r#"{"other":"1","__op":"c","id":"\u0000a"}"#,
        ] {
            let line = format!(r#"{{"topic":"a","headers":{headers},"payload":"x"}}"#);
            let batches = read(&line);
            let batch = &batches[0];
            assert_eq!(batch.header(0, "__op"), Some(&b"c"[..]), "{headers}");
            assert_eq!(batch.header(0, "id"), Some(&b"\0a"[..]), "{headers}");
            assert_eq!((batch.header(0, "other"), batch.headers.len()), (None, 2));
        }
        assert!(read(r#"{"topic":"a","headers":7,"payload":"x"}"#)[0].headers.is_empty());
    }
}
