//! `host dlq retry`: letters processed again, each row of them once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::{counted, letters, pages, who};
use crate::cli::show as print;
use crate::config::{Settings, Source};
use crate::dead_letter::Stage;
use crate::dead_letter::filter::{Filter, Place};
use crate::dead_letter::marks::{self, How, Mark, State};
use crate::dead_letter::read::{Letter, Outline};
use crate::dead_letter::store::Store;
use crate::dead_letter::text::{json_line, line};
use crate::error::Classify;
use crate::pipeline::retry::{Earlier, Fate, Retrier, Tried};
use crate::signal;
use crate::source::kafka::ownership::Partition;
use crate::source::kafka::positions::Positions;

/// How often a table that changes under the inserts is read again, until that is an error.
const MAX_REPAIRS: u32 = 3;
/// How often it is said how far it is.
const SAY_AGAIN: Duration = Duration::from_secs(2);

pub fn retry(store: Option<Store>, filter: &Filter, settings: &Settings, json: bool) -> Result<()> {
    if filter.pipeline != settings.name {
        return Err(anyhow!(
            "letters of pipeline {} are processed by its own transform and settings",
            filter.pipeline
        ))
        .usage()
        .help(format!("give these, and --name {}", filter.pipeline));
    }
    let Some(store) = store else {
        eprintln!("there are no dead letters: none was ever kept");
        return Ok(());
    };
    let shutdown = signal::install().context("cannot listen for signals").environment()?;
    let found = store.count(filter, State::Open)?;
    let positions = match &settings.source {
        Source::Kafka(kafka) => Some(Positions::open(kafka)?),
        Source::Lines { .. } => None,
    };
    let retry = Retry {
        store: RefCell::new(store),
        retrier: Retrier::open(settings, shutdown)?,
        positions,
        batch: (settings.batch.rows as usize, u64::from(settings.batch.bytes)),
        pipeline: &filter.pipeline,
        dry_run: settings.dry_run,
        json,
        by: who(),
        counts: Counts::default(),
        of: filter.limit.map_or(found, |limit| found.min(limit)),
        said: Instant::now(),
    };
    retry.all(filter)
}

#[derive(Default)]
struct Counts {
    landed: u64,
    rows: u64,
    filtered: u64,
    failed: u64,
    held: u64,
}

impl Counts {
    fn all(&self) -> u64 {
        self.landed + self.filtered + self.failed + self.held
    }
}

struct Retry<'a> {
    store: RefCell<Store>,
    retrier: Retrier,
    positions: Option<Positions>,
    /// Letters and bytes of records that are processed at once.
    batch: (usize, u64),
    pipeline: &'a str,
    dry_run: bool,
    json: bool,
    by: String,
    counts: Counts,
    /// How many there are.
    of: u64,
    said: Instant,
}

impl Retry<'_> {
    fn all(mut self, filter: &Filter) -> Result<()> {
        let mut stopped = false;
        pages(filter.limit, |after, wanted| {
            let page = self.store.borrow().outlines(filter, State::Open, after, wanted)?;
            for outlines in batches(&page, self.batch) {
                if self.retrier.is_to_stop() || !self.batch(outlines)? {
                    stopped = true;
                    return Ok(None);
                }
                self.say_progress();
            }
            Ok(Some(page))
        })?;
        self.end(stopped)
    }

    /// Letters of one partition. False: given up.
    fn batch(&mut self, outlines: &[Outline]) -> Result<bool> {
        let Some(first) = outlines.first() else { return Ok(true) };
        let partition: Partition = (first.place.topic.as_str().into(), first.place.partition);
        let mut free = Vec::with_capacity(outlines.len());
        for outline in outlines {
            let pending = match &mut self.positions {
                Some(positions) => positions.pending(&partition, outline.place.offset)?,
                None => None,
            };
            match pending {
                Some(why) => self.report(outline, &Fate::Held(why))?,
                None => free.push(outline),
            }
        }
        let offsets: Vec<i64> = free.iter().map(|outline| outline.place.offset).collect();
        if offsets.is_empty() {
            return Ok(true);
        }
        let mut found = self.store.borrow().letters(self.pipeline, &first.place, &offsets)?;
        let begun = self.store.borrow().begun(self.pipeline, &first.place, &offsets)?;
        // A letter that was deleted just now is nobody's.
        free.retain(|outline| {
            found.binary_search_by_key(&outline.place.offset, |letter| letter.offset).is_ok()
        });
        found.retain(|letter| free.iter().any(|outline| outline.place.offset == letter.offset));
        self.process(&free, &found, &begun)
    }

    /// False: given up.
    fn process(
        &mut self,
        outlines: &[&Outline],
        letters: &[Letter],
        begun: &HashMap<(i64, String), bool>,
    ) -> Result<bool> {
        let Some(first) = outlines.first() else { return Ok(true) };
        for _ in 0..MAX_REPAIRS {
            let Some(mut tried) = self.retrier.prepare(&first.place, letters)? else { return Ok(false) };
            if tried.must_be_alone() {
                for at in 0..outlines.len() {
                    if !self.process(&outlines[at..=at], &letters[at..=at], begun)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            let earlier = |at: usize| {
                let mark = |kept: &String| begun.get(&(outlines[at].place.offset, kept.clone()));
                let marks: Vec<&bool> = outlines[at].kept.iter().filter_map(mark).collect();
                match (marks.contains(&&true), marks.is_empty()) {
                    (true, _) => Earlier::Unknown,
                    (false, false) => Earlier::Rows,
                    // Rows of the same record in other tables may have landed then.
                    _ if letters[at].stage == Stage::Insert.name() => Earlier::Rows,
                    _ => Earlier::Nothing,
                }
            };
            self.retrier.check(&mut tried, &earlier)?;
            if !self.dry_run {
                match self.land(outlines, &mut tried)? {
                    None => return Ok(false),
                    Some(true) => {}
                    Some(false) => continue,
                }
                self.mark(outlines, &tried, outcome)?;
            }
            for (outline, fate) in outlines.iter().zip(&tried.fates) {
                self.report(outline, fate)?;
            }
            return Ok(true);
        }
        Err(anyhow!("the columns of a table keep changing")).environment()
    }

    /// As [`Retrier::land`], with the letters marked as begun.
    fn land(&self, outlines: &[&Outline], tried: &mut Tried) -> Result<Option<bool>> {
        let landing: Vec<bool> = tried.fates.iter().map(|fate| matches!(fate, Fate::Lands(_))).collect();
        let landing: Vec<&Outline> =
            outlines.iter().zip(landing).filter_map(|(outline, lands)| lands.then_some(*outline)).collect();
        let Some(first) = landing.first() else { return Ok(Some(true)) };
        let offsets: Vec<i64> = landing.iter().map(|outline| outline.place.offset).collect();
        let begin = |session: Option<&str>| {
            let reason = session.map(marks::in_session).unwrap_or_default();
            let begun = vec![Some((How::Begun, reason)); landing.len()];
            self.write_marks(&landing, &begun)?;
            self.store.borrow().sessions(self.pipeline, &first.place, &offsets)
        };
        self.retrier.land(tried, &begin)
    }

    /// Marks the letters that `how` has something to say of.
    fn mark(
        &self,
        outlines: &[&Outline],
        tried: &Tried,
        how: impl Fn(&Fate) -> Option<(How, String)>,
    ) -> Result<()> {
        self.write_marks(outlines, &tried.fates.iter().map(how).collect::<Vec<_>>())
    }

    fn write_marks(&self, outlines: &[&Outline], said: &[Option<(How, String)>]) -> Result<()> {
        let transform = self.retrier.transform();
        let mut marks = Vec::new();
        for (outline, said) in outlines.iter().zip(said) {
            let Some((how, reason)) = said else { continue };
            marks.extend(outline.kept.iter().map(|letter| Mark {
                pipeline: self.pipeline,
                place: &outline.place,
                letter,
                how: *how,
                transform,
                by: &self.by,
                reason,
            }));
        }
        self.store.borrow_mut().mark(&marks)
    }

    fn report(&mut self, outline: &Outline, fate: &Fate) -> Result<()> {
        let (what, why) = match fate {
            Fate::Lands(rows) => {
                self.counts.landed += 1;
                self.counts.rows += *rows as u64;
                return Ok(());
            }
            Fate::Filtered => {
                self.counts.filtered += 1;
                return Ok(());
            }
            Fate::Fails(stage, reason) => {
                self.counts.failed += 1;
                let what = if self.dry_run { "would fail again" } else { "failed again" };
                (what, format!("{}: {reason}", stage.name()))
            }
            Fate::Held(reason) => {
                self.counts.held += 1;
                (if self.dry_run { "would be held back" } else { "held back" }, reason.clone())
            }
        };
        let Place { topic, partition, offset } = &outline.place;
        print(&match self.json {
            true => {
                let object = json!({
                    "topic": topic, "partition": partition, "offset": offset, "what": what, "reason": why,
                });
                format!("{}\n", json_line(&object))
            }
            false => format!("{what}  {}  {}\n", line(&outline.place.to_string()), line(&why)),
        })
    }

    fn say_progress(&mut self) {
        if self.said.elapsed() >= SAY_AGAIN {
            self.said = Instant::now();
            eprintln!("{} of {}", self.counts.all(), letters(self.of));
        }
    }

    fn end(self, stopped: bool) -> Result<()> {
        let Counts { landed, rows, filtered, failed, held } = self.counts;
        if self.json {
            let object = json!({
                "dry_run": self.dry_run, "landed": landed, "rows": rows, "filtered": filtered,
                "failed": failed, "held": held,
            });
            print(&format!("{}\n", json_line(&object)))?;
        } else {
            let verb = if self.dry_run { "would land" } else { "landed" };
            let mut text = format!("{} {verb}, with {}", letters(landed), counted(rows, "row"));
            for (count, what) in
                [(filtered, "now make no row"), (failed, "fail again"), (held, "are held back")]
            {
                if count > 0 {
                    text += &format!("; {count} {what}");
                }
            }
            print(&format!("{text}\n"))?;
        }
        if stopped {
            return Err(anyhow!("stopped by a signal before the end"))
                .environment()
                .help("what was done is marked: run it again for the rest");
        }
        if failed + held > 0 {
            let (stay, all) = (failed + held, landed + filtered + failed + held);
            return Err(anyhow!("{stay} of {all} letters stay"))
                .transform_failed()
                .help("they are open still: `host dlq ls`; mend the cause and retry, or discard them");
        }
        Ok(())
    }
}

/// What is to be said of a letter once its rows are written.
fn outcome(fate: &Fate) -> Option<(How, String)> {
    match fate {
        Fate::Lands(rows) => Some((How::Retried, counted(*rows as u64, "row"))),
        Fate::Filtered => Some((How::Retried, "it makes no row".to_owned())),
        Fate::Fails(stage, reason) => Some((How::Failed, format!("{}: {reason}", stage.name()))),
        Fate::Held(_) => None,
    }
}

/// The letters of a page in runs of one partition, of so many letters and bytes at most.
fn batches(page: &[Outline], (count, bytes): (usize, u64)) -> Vec<&[Outline]> {
    let mut batches = Vec::new();
    let (mut first, mut size) = (0, 0);
    for (at, outline) in page.iter().enumerate() {
        let place = |at: usize| (&page[at].place.topic, page[at].place.partition);
        let is_full = at - first >= count || size + outline.bytes > bytes;
        if at > first && (place(first) != place(at) || is_full) {
            batches.push(&page[first..at]);
            (first, size) = (at, 0);
        }
        size += outline.bytes;
    }
    if first < page.len() {
        batches.push(&page[first..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_processed_by_partitions_and_within_bounds() {
        let outline = |topic: &str, partition, offset, bytes| Outline {
            place: Place { topic: topic.into(), partition, offset },
            stage: String::new(),
            reason: String::new(),
            kept: vec![],
            bytes,
        };
        let page = [
            outline("a", 0, 1, 10),
            outline("a", 0, 2, 10),
            outline("a", 0, 3, 1),
            outline("a", 1, 1, 500),
            outline("a", 1, 2, 1),
            outline("b", 1, 3, 1),
            outline("b", 1, 4, 1),
            outline("b", 1, 5, 1),
            outline("b", 1, 6, 1),
        ];
        let lengths: Vec<usize> = batches(&page, (3, 20)).iter().map(|batch| batch.len()).collect();
        assert_eq!(lengths, [2, 1, 1, 1, 3, 1]);
        assert!(batches(&[], (3, 20)).is_empty());
    }

    #[test]
    fn a_letter_that_is_held_back_gets_no_mark_and_one_that_makes_no_row_is_done() {
        assert_eq!(outcome(&Fate::Held("x".into())), None);
        assert_eq!(outcome(&Fate::Filtered), Some((How::Retried, "it makes no row".into())));
        assert_eq!(
            outcome(&Fate::Fails(Stage::Encode, "why".into())),
            Some((How::Failed, "encode: why".into()))
        );
    }
}
