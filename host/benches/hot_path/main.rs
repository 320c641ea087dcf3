//! The hot path, from records' bytes to a `Native` block, next to the same work written natively.
//!
//! All designs run in one process on one thread, in interleaved rounds, and must give the same bytes. What
//! counts is the host's speed as a ratio to another design's in the same round; `docs/performance.md` says
//! what each design does. Ends with 1 where a floor is missed.
//!
//! `--quick` runs too little to judge by, and proves that the bytes are the same; `--only=NAME` runs one
//! design of the first part, for a profiler; `--languages` runs nothing but the transforms in JavaScript and in Python,
//! which otherwise are the last part where they are built; `--count=WAY` runs the twin once for a counter of
//! instructions, and nothing else; `--long=RECORDS` runs the host over so many records, and shows whether it grows or
//! slows down; `--servers` compares the host as a process with what the servers that the environment names do alone, on
//! so many processors as `--cores=` says.

mod consumer;
mod corpus;
mod languages;
mod native;
mod pipeline;
#[cfg(target_arch = "x86_64")]
mod raw;
mod servers;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench_guests::AllColumns;
use cpu_time::ThreadTime;
use fastrand::Rng;
use host::debezium::scan::Lanes;
use update_only::UpdateOnly;

use consumer::Consumer;
use corpus::{Corpus, Form, Record};
use languages::Languages;

/// What the host's speed is to be as a ratio to that of the design with this name, for batches of 1,000; and below
/// which the bench fails, in each size of batch.
const TARGETS: [(&str, f64, f64); 7] = [
    ("twin", 0.92, 0.50),
    ("raw slices", 0.85, 0.10),
    ("typed sonic-rs", 2.0, 1.0),
    ("serde_json::Value", 8.0, 3.0),
    ("reused instance", 0.95, 0.60),
    ("raw contract", 0.95, 0.60),
    ("twin, all columns", 0.60, 0.40),
];
/// The last is about what a batch of the default size holds of these events.
const BATCH_ROWS: [usize; 3] = [1_000, 4_000, 16_000];
/// Columns that nothing reads, beside the ten.
const WIDE: [usize; 4] = [0, 40, 90, 190];
/// Digits of a transform's digest in `_transform`.
const TRANSFORM_DIGITS: usize = host::commit::DIGEST_DIGITS;

/// A way from records to a block.
pub trait Design {
    /// How it is called in the table.
    fn name(&self) -> &'static str;

    /// The rows of the updates among `records` as a block; the first record has the offset `first`.
    fn block(&mut self, first: i64, records: &[Record<'_>]) -> Vec<u8>;
}

type Designs = Vec<Box<dyn Design>>;

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
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all floors are met that count.
fn run(arguments: &[String]) -> Result<bool> {
    let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    if let Some(way) = value("--count=") {
        count(way)?;
        return Ok(true);
    }
    if let Some(records) = value("--long=") {
        long(records.parse().context("--long takes a number of records")?);
        return Ok(true);
    }
    if arguments.iter().any(|argument| argument == "--servers") {
        let number = |name: &str, usual: usize| match value(name) {
            Some(text) => text.parse().with_context(|| format!("{name}{text} is no number")),
            None => Ok(usual),
        };
        let (events, rounds) = (number("--events=", 1_000_000)?, number("--rounds=", 9)?);
        let (partitions, cores) = (number("--partitions=", 2)?, number("--cores=", usize::MAX)?);
        servers::run(events, rounds, partitions as i32, cores)?;
        return Ok(true);
    }
    let settings = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    println!(
        "{} rounds, one thread's CPU time, load {}; ratios: the host's speed to the design's, median [least .. most] \
         of the rounds",
        settings.rounds,
        load()
    );
    let mut met = true;
    let corpus = Corpus::new(settings.events, Form::Plain);
    if arguments.iter().any(|argument| argument == "--languages") {
        languages(&settings, &corpus)?;
        return Ok(true);
    }
    for rows in BATCH_ROWS {
        let mut designs = designs()?;
        designs.retain(|design| value("--only=").is_none_or(|only| design.name() == only));
        let times = rounds(&mut designs, &corpus, rows, settings.rounds);
        met &= report(&format!("batches of {rows}"), &designs, &times, &corpus);
    }
    if value("--only=").is_none() {
        met &= all_columns(&settings, &corpus)?;
        others(&settings, &corpus);
        if languages::are_built() {
            languages(&settings, &corpus)?;
        }
    }
    if !met && !settings.strict {
        println!("a floor is missed; this was too short a run to fail for it");
    }
    Ok(met || !settings.strict)
}

/// A transform that reads all columns and gives them back, in wasm and compiled in.
fn all_columns(settings: &Settings, corpus: &Corpus) -> Result<bool> {
    let mut designs: Designs = vec![
        Box::new(pipeline::guest("host", "tests/all_columns.wasm")?),
        Box::new(pipeline::twin::<AllColumns>("twin, all columns")),
    ];
    let times = rounds(&mut designs, corpus, BATCH_ROWS[0], settings.rounds);
    Ok(report("all columns read", &designs, &times, corpus))
}

/// The host alone: in each way to look at bytes, with schemas, with more columns.
fn others(settings: &Settings, corpus: &Corpus) {
    let mut ways: Designs = vec![Box::new(pipeline::host())];
    ways.extend(
        Lanes::all()
            .into_iter()
            .map(|lanes| -> Box<dyn Design> { Box::new(pipeline::host().with(lanes.name(), lanes)) }),
    );
    let times = rounds(&mut ways, corpus, BATCH_ROWS[0], settings.rounds);
    report("ways to look at bytes", &ways, &times, corpus);
    let forms = [("with schemas".to_owned(), Form::WithSchema)].into_iter();
    let wide = WIDE.map(|more| (format!("{} columns", 10 + more), Form::Wide(more)));
    for (title, form) in forms.chain(wide) {
        let corpus = Corpus::new(settings.events / 4, form);
        let mut designs: Designs =
            vec![Box::new(pipeline::host()), Box::new(pipeline::twin::<UpdateOnly>("twin"))];
        if form == Form::WithSchema {
            designs.pop();
        }
        let times = rounds(&mut designs, &corpus, BATCH_ROWS[0], settings.rounds);
        report(&title, &designs, &times, &corpus);
    }
}

/// The transforms in JavaScript and in Python.
fn languages(settings: &Settings, corpus: &Corpus) -> Result<()> {
    let languages = Languages::load()?;
    for rows in BATCH_ROWS {
        let mut designs = languages.designs();
        let times = rounds(&mut designs, corpus, rows, settings.rounds);
        report(&format!("languages, {rows} a batch"), &designs, &times, corpus);
        languages::report_instances(&times, corpus.batches(rows).count());
    }
    Ok(())
}

/// The host over so many records, with what one takes and what the process holds after each power of ten.
fn long(records: usize) {
    let corpus = Corpus::new(FULL.events, Form::Plain);
    let batches: Vec<_> = corpus.batches(BATCH_ROWS[0]).collect();
    let mut host = pipeline::host();
    println!("{:>12}{:>10}{:>10}", "records", "ns/event", "RSS MiB");
    let (mut done, mut until) = (0, 100_000);
    while done < records {
        let (before, start) = (done, ThreadTime::now());
        for (_, records) in batches.iter().cycle() {
            black_box(host.block(done as i64, records));
            done += records.len();
            if done >= until {
                break;
            }
        }
        let ns = start.elapsed().as_nanos() as f64 / (done - before) as f64;
        println!("{done:>12}{ns:>10.0}{:>10.1}", resident_kib() as f64 / 1024.0);
        until *= 10;
    }
}

/// KiB of memory that the process has now.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// Processes that were ready to run over the last minute, on how many processors.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} on {processors} processors", text.split(' ').next().unwrap_or("unknown"))
}

/// The host first.
fn designs() -> Result<Designs> {
    let digest = pipeline::digest();
    let mut designs: Designs = vec![
        Box::new(pipeline::host()),
        Box::new(pipeline::twin::<UpdateOnly>("twin")),
        Box::new(pipeline::reused()),
        Box::new(pipeline::guest("raw contract", "tests/raw_update_only.wasm")?),
    ];
    #[cfg(target_arch = "x86_64")]
    designs.extend(raw::Raw::new(&digest).map(|raw| Box::new(raw) as Box<dyn Design>));
    designs.extend(Consumer::all(&digest).map(|consumer| Box::new(consumer) as Box<dyn Design>));
    Ok(designs)
}

/// The events that are counted, and those before them, which bring buffers and memories to their size.
const COUNTED: usize = 4_000;

/// Runs the twin, whose instructions are those of the host without the transform's instance.
fn count(way: &str) -> Result<()> {
    let lanes = Lanes::named(way).with_context(|| format!("this processor does not have `{way}`"))?;
    let corpus = Corpus::new(2 * COUNTED, Form::Plain);
    let mut twin = pipeline::twin::<UpdateOnly>("twin").with("twin", lanes);
    let batches: Vec<_> = corpus.batches(BATCH_ROWS[0]).collect();
    let (before, counted) = batches.split_at(batches.len() / 2);
    before.iter().for_each(|(first, records)| drop(black_box(twin.block(*first, records))));
    counted_blocks(&mut twin, counted);
    println!("{COUNTED} events counted");
    Ok(())
}

/// What the counter of instructions is told to count.
#[inline(never)]
fn counted_blocks(design: &mut dyn Design, batches: &[(i64, Vec<Record<'_>>)]) {
    for (first, records) in batches {
        black_box(design.block(*first, records));
    }
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

/// Checks that all designs give the same bytes, then measures them.
fn rounds(designs: &mut Designs, corpus: &Corpus, rows: usize, rounds: usize) -> Vec<Vec<Duration>> {
    assert_same_blocks(designs, corpus, rows);
    measure(designs, corpus, rows, rounds)
}

/// For each round the time of each design. They run one after the other with each batch, so that all of them meet the
/// machine in the same state, in an order by chance: whoever is first finds the records out of cache, and whoever comes
/// after a design with other code or with much memory finds its own gone.
fn measure(
    designs: &mut [Box<dyn Design>],
    corpus: &Corpus,
    rows: usize,
    rounds: usize,
) -> Vec<Vec<Duration>> {
    let batches: Vec<_> = corpus.batches(rows).collect();
    let mut rng = Rng::with_seed(1);
    let mut order: Vec<usize> = (0..designs.len()).collect();
    let mut round = || {
        let mut times = vec![Duration::ZERO; designs.len()];
        for (first, records) in &batches {
            rng.shuffle(&mut order);
            for &at in &order {
                let start = ThreadTime::now();
                black_box(designs[at].block(*first, records));
                times[at] += start.elapsed();
            }
        }
        times
    };
    (0..rounds).map(|_| round()).collect()
}

/// Prints a table; whether all floors are met.
fn report(title: &str, designs: &Designs, times: &[Vec<Duration>], corpus: &Corpus) -> bool {
    let (events, bytes) = (corpus.len() as f64, corpus.value_bytes() as f64);
    let size = format!("{title}, {:.0} bytes", bytes / events);
    println!("\n{size:<36}{:>12}{:>10}{:>8}   ratio", "events/s", "ns/event", "MB/s");
    let mut met = true;
    for (at, design) in designs.iter().enumerate() {
        let seconds = median(times.iter().map(|round| round[at].as_secs_f64()));
        let (events_per_s, ns, mb_per_s) = (events / seconds, seconds / events * 1e9, bytes / seconds / 1e6);
        let name = design.name();
        print!("{name:<36}{events_per_s:>12.0}{ns:>10.0}{mb_per_s:>8.0}");
        if at == 0 {
            println!();
            continue;
        }
        let ratios = times.iter().map(|round| round[at].as_secs_f64() / round[0].as_secs_f64());
        let (least, most) = ratios
            .clone()
            .fold((f64::MAX, 0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
        let ratio = median(ratios);
        print!("   {ratio:.2} [{least:.2} .. {most:.2}]");
        if let Some((_, target, floor)) = TARGETS.iter().find(|(of, ..)| *of == name) {
            let met_or_missed = if ratio >= *target { "met" } else { "missed" };
            print!("  target {target:.2}: {met_or_missed}");
            if ratio < *floor {
                print!(", and so is the floor of {floor:.2}");
                met = false;
            }
        }
        if let Some(target) = languages::target(name) {
            let met_or_missed = if events_per_s >= target { "met" } else { "missed" };
            print!("  target {target:.0} events/s: {met_or_missed}");
        }
        println!();
    }
    met
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
