//! The last log lines of each pipeline, the host's and its transform's, for those who ask while it runs.
//!
//! What is logged inside of the span [`SPAN`] is that pipeline's: the span names it, and whoever runs a stage of
//! a pipeline on a thread of its own enters the span there.

use crate::locked::locked;
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The name of the span that a pipeline's log lines stand in; its field `id` is the pipeline's full name.
pub const SPAN: &str = "pipeline";

/// Lines that are kept of a pipeline.
const MAX_LINES: usize = 1000;
/// Bytes of their texts, whichever is reached first: with a hundred pipelines 25 MiB at the very most.
const MAX_BYTES: usize = 256 << 10;
/// Bytes of one line; what a transform writes is cut before.
const MAX_LINE_BYTES: usize = 8 << 10;
/// The host's own lines and a transform's are kept up to this level.
const MOST: Level = Level::INFO;
/// Pipelines of which lines are kept. More than one host runs: only a fault would reach it.
const MAX_PIPELINES: usize = 10_000;

/// A log line.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Line {
    /// Counts the lines of the pipeline: what lacks between two numbers is not kept any more.
    pub number: u64,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// `ERROR`, `WARN`, `INFO`, ...
    pub level: String,
    /// Who says it: a module of the host, or `transform`.
    pub target: String,
    /// What, with its fields behind it.
    pub message: String,
}

/// The last lines of all pipelines. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    rings: Arc<Mutex<HashMap<String, Arc<Ring>>>>,
}

#[derive(Debug, Default)]
struct Ring(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    written: u64,
    bytes: usize,
    lines: VecDeque<Line>,
}

impl Logs {
    /// The lines of a pipeline that are kept, oldest first: those after the line of this number, and not before
    /// `since`.
    pub fn lines(&self, id: &str, after: u64, since: Option<Timestamp>) -> Vec<Line> {
        let Some(ring) = locked(&self.rings).get(id).cloned() else { return Vec::new() };
        let lines = locked(&ring.0);
        let wanted = |line: &&Line| line.number > after && since.is_none_or(|since| line.at >= since);
        lines.lines.iter().filter(wanted).cloned().collect()
    }

    fn ring(&self, id: String) -> Option<Arc<Ring>> {
        let mut rings = locked(&self.rings);
        if rings.len() >= MAX_PIPELINES && !rings.contains_key(&id) {
            return None;
        }
        Some(rings.entry(id).or_default().clone())
    }
}

impl Ring {
    fn push(&self, metadata: &Metadata<'_>, message: String) {
        let mut lines = locked(&self.0);
        lines.written += 1;
        lines.bytes += message.len();
        let line = Line {
            number: lines.written,
            at: Timestamp::now(),
            level: metadata.level().to_string(),
            target: metadata.target().to_owned(),
            message,
        };
        lines.lines.push_back(line);
        while lines.lines.len() > MAX_LINES || lines.bytes > MAX_BYTES {
            let Some(oldest) = lines.lines.pop_front() else { break };
            lines.bytes -= oldest.message.len();
        }
    }
}

/// What is kept: the same whatever the log on standard error shows.
///
/// It is asked anew each time. What is remembered of a place that logs as always kept is not asked for any more, and gets
/// what the thread's last question was answered: behind a library's question whether a line would be wanted, the host's next
/// line was lost ([tracing#2519](https://github.com/tokio-rs/tracing/issues/2519)).
pub fn kept<S: Subscriber>() -> impl Filter<S> {
    let of_place = |metadata: &'static Metadata<'static>| match is_kept(metadata) {
        true => Interest::sometimes(),
        false => Interest::never(),
    };
    // With the most that it can be, lines that nobody wants are not made: librdkafka's client has two for each record.
    let kept = dynamic_filter_fn(|metadata, _: &Context<'_, S>| is_kept(metadata));
    kept.with_callsite_filter(of_place).with_max_level_hint(MOST)
}

fn is_kept(metadata: &Metadata<'_>) -> bool {
    let spoken = ["host", "transform"].iter().any(|name| {
        metadata.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    *metadata.level() <= if spoken { MOST } else { Level::WARN }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Logs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut named = Named::default();
        attributes.record(&mut named);
        if let (Some(span), Some(ring)) = (context.span(id), named.0.and_then(|id| self.ring(id))) {
            span.extensions_mut().insert(ring);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(mut spans) = context.event_scope(event) else { return };
        let Some(ring) = spans.find_map(|span| span.extensions().get::<Arc<Ring>>().cloned()) else { return };
        let mut text = Text::default();
        event.record(&mut text);
        ring.push(event.metadata(), text.line());
    }
}

/// The span's field `id`.
#[derive(Default)]
struct Named(Option<String>);

impl Visit for Named {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "id" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// An event as text: the message, and its fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn line(mut self) -> String {
        self.message.push_str(&self.fields);
        let mut end = MAX_LINE_BYTES.min(self.message.len());
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        self.message.truncate(end);
        // One line is one line, whoever wrote it.
        self.message.replace(['\n', '\r'], " ")
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a text does not fail.
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    fn logged(what: impl FnOnce()) -> Logs {
        let logs = Logs::default();
        let subscriber = tracing_subscriber::registry().with(logs.clone().with_filter(kept()));
        tracing::subscriber::with_default(subscriber, what);
        logs
    }

    fn messages(logs: &Logs, id: &str) -> Vec<String> {
        let lines = logs.lines(id, 0, None);
        lines.into_iter().map(|line| format!("{} {} {}", line.level, line.target, line.message)).collect()
    }

    #[test]
    fn a_line_goes_to_the_pipeline_that_it_was_written_for_and_to_no_other() {
        let logs = logged(|| {
            let orders = tracing::error_span!(SPAN, id = "shop.orders");
            let stock = tracing::error_span!(SPAN, id = %"shop.stock");
            orders.in_scope(|| {
                tracing::info!(target: "host::pipeline", rows = 3, table = "t", "landed");
                tracing::info!(target: "transform", "hello");
                tracing::info!(target: "hyper", "too much");
                tracing::debug!(target: "host", "too much");
                stock.in_scope(|| tracing::warn!(target: "host", "slow\nnews"));
            });
            tracing::error!(target: "host", "nobody's");
        });
        assert_eq!(
            messages(&logs, "shop.orders"),
            ["INFO host::pipeline landed rows=3 table=\"t\"", "INFO transform hello"]
        );
        assert_eq!(messages(&logs, "shop.stock"), ["WARN host slow news"]);
        assert_eq!(logs.lines("shop.other", 0, None), []);
    }

    #[test]
    fn no_line_is_lost_behind_a_librarys_question_whether_one_would_be_kept() {
        // The only test that sets it.
        tracing_log::LogTracer::init().unwrap();
        let logs = logged(|| {
            let _span = tracing::error_span!(SPAN, id = "a").entered();
            for n in 0..3 {
                // The answer is yes, since one filter of several may want it.
                _ = log::log_enabled!(target: "librdkafka", log::Level::Info);
                tracing::info!(target: "host", "{n}");
            }
        });
        assert_eq!(messages(&logs, "a"), ["INFO host 0", "INFO host 1", "INFO host 2"]);
    }

    #[test]
    fn the_lines_after_a_number_or_a_time_are_found() {
        let logs = logged(|| {
            let _span = tracing::error_span!(SPAN, id = "a").entered();
            (0..3).for_each(|n| tracing::info!(target: "host", "{n}"));
        });
        let numbers = |after, since| -> Vec<u64> {
            logs.lines("a", after, since).iter().map(|line| line.number).collect()
        };
        assert_eq!(numbers(0, None), [1, 2, 3]);
        assert_eq!(numbers(2, None), [3]);
        assert_eq!(numbers(0, Some(Timestamp::MAX)), [0; 0]);
        assert_eq!(numbers(0, Some(Timestamp::UNIX_EPOCH)), [1, 2, 3]);
    }

    #[test]
    fn a_flood_pushes_out_the_oldest_lines_and_takes_no_more_memory() {
        let logs = logged(|| {
            let _span = tracing::error_span!(SPAN, id = "a").entered();
            let long = "ä".repeat(MAX_LINE_BYTES);
            (0..100).for_each(|_| tracing::info!(target: "transform", "{long}"));
            (0..2 * MAX_LINES).for_each(|n| tracing::info!(target: "transform", "{n}"));
        });
        let lines = logs.lines("a", 0, None);
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines.last().unwrap().number, 100 + 2 * MAX_LINES as u64);
        let logs = logged(|| {
            let _span = tracing::error_span!(SPAN, id = "a").entered();
            let long = "ä".repeat(MAX_LINE_BYTES);
            (0..100).for_each(|_| tracing::info!(target: "transform", "{long}"));
        });
        let bytes: usize = logs.lines("a", 0, None).iter().map(|line| line.message.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES - 2 * MAX_LINE_BYTES, "{bytes}");
    }
}
