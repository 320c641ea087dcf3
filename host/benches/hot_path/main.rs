//! The hot path, from records' bytes to a `Native` block, next to the same work written natively.
//!
//! All designs run in one process on one thread, in interleaved rounds, and must give the same bytes. What
//! counts is the host's speed as a ratio to another design's in the same round; `docs/performance.md` says
//! what each design does. Ends with 1 where a floor is missed.
//!
//! `--quick` runs too little to judge by, and proves that the bytes are the same; `--only=NAME` runs one
//! design, for a profiler.

mod consumer;
mod corpus;
mod native;
mod pipeline;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use cpu_time::ThreadTime;

use consumer::Consumer;
use corpus::{Corpus, Record};

/// What the host's speed must be, as a ratio to that of the design with this name, in each size of batch.
const FLOORS: [(&str, f64); 2] = [("twin", 0.40), ("typed sonic-rs", 1.0)];
const BATCH_ROWS: [usize; 2] = [1_000, 4_000];
/// Digits of a transform's digest in `_transform`.
const TRANSFORM_DIGITS: usize = host::commit::DIGEST_DIGITS;

/// A way from records to a block.
pub trait Design {
    /// How it is called in the table.
    fn name(&self) -> &'static str;

    /// The rows of the updates among `records` as a block; the first record has the offset `first`.
    fn block(&mut self, first: i64, records: &[Record<'_>]) -> Vec<u8>;
}

struct Settings {
    events: usize,
    rounds: usize,
    /// Whether a missed floor is a failure.
    strict: bool,
}

const FULL: Settings = Settings { events: 40_000, rounds: 15, strict: true };
/// Proves that all designs give the same bytes; too short to hold anyone to its numbers.
const QUICK: Settings = Settings { events: 8_000, rounds: 3, strict: false };

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let corpus = Corpus::new(settings.events);
    let bytes = corpus.value_bytes();
    println!(
        "{} events of {} bytes, {} rounds, one thread's CPU time; ratios: the host's speed to the design's, \
         median [least .. most] of the rounds",
        corpus.len(),
        bytes / corpus.len(),
        settings.rounds
    );
    let mut met = true;
    for rows in BATCH_ROWS {
        let mut designs = designs();
        designs.retain(|design| only.is_none_or(|only| design.name() == only));
        assert_same_blocks(&mut designs, &corpus, rows);
        let times = measure(&mut designs, &corpus, rows, settings.rounds);
        met &= report(&designs, &times, rows, &corpus);
    }
    match (met, settings.strict) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::FAILURE,
        (false, false) => {
            println!("a floor is missed; this was too short a run to fail for it");
            ExitCode::SUCCESS
        }
    }
}

/// The host first.
fn designs() -> Vec<Box<dyn Design>> {
    let (host, twin) = pipeline::designs();
    let consumers = Consumer::all(host.digest());
    let mut designs: Vec<Box<dyn Design>> = vec![Box::new(host), Box::new(twin)];
    designs.extend(consumers.into_iter().map(|consumer| Box::new(consumer) as Box<dyn Design>));
    designs
}

fn assert_same_blocks(designs: &mut [Box<dyn Design>], corpus: &Corpus, rows: usize) {
    for (first, records) in corpus.batches(rows) {
        let mut blocks = designs.iter_mut().map(|design| (design.block(first, &records), design.name()));
        let (expected, host) = blocks.next().expect("there is a design");
        for (block, name) in blocks {
            assert!(block == expected, "{name} and {host} differ in the batch from offset {first} on");
        }
    }
}

/// For each round the time of each design. They take turns with each batch, so that all of them meet the
/// machine in the same state, and each is first, with the records still out of cache, as often as the others.
fn measure(
    designs: &mut [Box<dyn Design>],
    corpus: &Corpus,
    rows: usize,
    rounds: usize,
) -> Vec<Vec<Duration>> {
    let batches: Vec<_> = corpus.batches(rows).collect();
    let mut round = |round: usize| {
        let mut times = vec![Duration::ZERO; designs.len()];
        for (batch, (first, records)) in batches.iter().enumerate() {
            for turn in 0..designs.len() {
                let at = (round + batch + turn) % designs.len();
                let start = ThreadTime::now();
                black_box(designs[at].block(*first, records));
                times[at] += start.elapsed();
            }
        }
        times
    };
    (0..rounds).map(&mut round).collect()
}

/// Prints the table; whether all floors are met.
fn report(designs: &[Box<dyn Design>], times: &[Vec<Duration>], rows: usize, corpus: &Corpus) -> bool {
    println!(
        "\n{:<24}{:>12}{:>10}{:>8}   ratio",
        format!("batches of {rows}"),
        "events/s",
        "ns/event",
        "MB/s"
    );
    let mut met = true;
    for (at, design) in designs.iter().enumerate() {
        let seconds = median(times.iter().map(|round| round[at].as_secs_f64()));
        let (events, bytes) = (corpus.len() as f64, corpus.value_bytes() as f64);
        let speed = format!(
            "{:>12.0}{:>10.0}{:>8.0}",
            events / seconds,
            seconds / events * 1e9,
            bytes / seconds / 1e6
        );
        let name = design.name();
        if at == 0 {
            println!("{name:<24}{speed}");
            continue;
        }
        let ratios = times.iter().map(|round| round[at].as_secs_f64() / round[0].as_secs_f64());
        let (least, most) = ratios
            .clone()
            .fold((f64::MAX, 0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
        let ratio = median(ratios);
        let floor = FLOORS.iter().find(|(floor, _)| *floor == name).map(|(_, floor)| *floor);
        let verdict = match floor {
            Some(floor) if ratio < floor => format!("  missed: {floor:.2}"),
            Some(floor) => format!("  floor {floor:.2}"),
            None => String::new(),
        };
        met &= floor.is_none_or(|floor| ratio >= floor);
        println!("{name:<24}{speed}   {ratio:.2} [{least:.2} .. {most:.2}]{verdict}");
    }
    met
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
