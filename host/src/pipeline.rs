//! The pipeline: the only place that knows all stages.
//!
//! ```text
//!  source ──2 batches──▶ assign ──────▶ prepare ──1 batch──▶ deliver
//!  thread                thread         by partition: up to four threads of each
//!  polls, cuts           which          decode, transform,   seal, insert, dead letters, commit
//!                        transform      encode
//! ```
//!
//! All channels are bounded, and so are the bytes of all batches: a slow ClickHouse fills them, the source pauses its partitions, and keeps
//! polling. A stage that fails sets [`Stop`], the others end, and the first error is the pipeline's.

mod admission;
mod audit;
mod candidate;
mod chosen;
pub mod control;
mod deliver;
mod epochs;
mod handover;
mod letters;
mod pinned;
mod prepare;
mod reach;
pub mod retry;
mod schema;
mod seen;
pub mod shadow;
mod targets;
pub mod trial;
pub mod watch;
mod workers;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::runtime::Handle;
use tracing::Span;

use self::audit::Book;
pub use self::audit::TABLE as AUDIT_TABLE;
use self::control::Control;
use self::deliver::{Deliverer, Rows};
use self::epochs::Ledger;
use self::handover::Handovers;
use self::letters::Letters;
use self::pinned::Pinned;
use self::prepare::Prepared;
use self::reach::Reach;
use self::workers::Workers;
use crate::batch::HeaderNames;
use crate::cli::summary::Summary;
use crate::clickhouse::client::Client;
use crate::commit::DIGEST_DIGITS;
use crate::config::{Settings, Sink, Source};
use crate::debezium::value;
use crate::delivery::Delivered;
use crate::error::Classify;
use crate::locked::locked;
use crate::signal::Shutdown;
use crate::source::kafka::{self, KafkaInput};
use crate::source::{SourceBatch, lines};
use crate::transform::Transform;
use crate::transform::sandbox::Sandbox;

/// Closed batches between the source and the transform.
const BATCHES: usize = 2;
/// How long the last batches may take after a signal or the end of a bounded time, until they are given up.
const DRAIN: Duration = Duration::from_secs(20);
/// How long nothing must come until finished positions are committed without a next batch.
const IDLE: Duration = Duration::from_millis(500);

/// Runs the pipeline of `control` until a bound, a signal, or a failure. `out` takes what a person asked to see;
/// `started` is called once everything is open, before the first record.
///
/// Must be called with a runtime entered, from a thread that is not the runtime's.
///
/// # Errors
/// What ended the pipeline, with the class of exit that it calls for.
pub fn run(
    control: &Control,
    shutdown: Shutdown,
    out: &mut (dyn Write + Send),
    started: impl FnOnce(),
) -> Result<Summary> {
    let settings = control.settings();
    value::show_in_errors(settings.log_values);
    let stop = Stop::new(shutdown);
    let stages = Stages::open(control, &stop, out).inspect_err(|_| control.detach())?;
    started();
    let (summary, failed) = stages.run(settings, &stop);
    control.detach();
    match failed {
        Some(error) => Err(error),
        None => Ok(summary),
    }
}

/// When the stages are to end.
pub(crate) struct Stop {
    shutdown: Shutdown,
    failed: Arc<AtomicBool>,
    delivered: AtomicBool,
    /// Since when the last batches have a time limit: a signal, or the end of a bounded time.
    draining: OnceLock<Instant>,
}

impl Stop {
    fn new(shutdown: Shutdown) -> Self {
        Stop {
            shutdown,
            failed: Arc::default(),
            delivered: AtomicBool::new(false),
            draining: OnceLock::new(),
        }
    }

    /// For what is to be done soon or not at all: as at the end of a run.
    fn soon() -> Self {
        let stop = Stop::new(Shutdown::new());
        stop.draining.get_or_init(Instant::now);
        stop
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Asks the same of a thread that nobody waits for: whether nothing more is to be taken in.
    fn leave(&self) -> kafka::Leave {
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        Box::new(move || shutdown.is_requested() || failed.load(Ordering::Relaxed))
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether what is not done by now is to be left for the next start.
    pub(crate) fn give_up(&self) -> bool {
        if self.shutdown.is_requested() {
            self.draining.get_or_init(Instant::now);
        }
        self.failed() || self.draining.get().is_some_and(|since| since.elapsed() > DRAIN)
    }
}

/// All stages, ready to run.
struct Stages<'a> {
    input: Input,
    pinned: Pinned,
    deliverer: Deliverer<'a>,
}

enum Input {
    Kafka(Box<KafkaInput>),
    Lines,
}

impl<'a> Stages<'a> {
    /// Opens everything in the order in which a mistake is cheapest to find: the transform, then the target,
    /// then Kafka.
    fn open(control: &Control, stop: &Stop, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let settings = control.settings();
        let begun = control.begin()?;
        tracing::info!(
            transform = %settings.transform,
            digest = &begun.transform.digest()[..DIGEST_DIGITS],
            "transform loaded"
        );
        let client = match &settings.sink {
            Sink::ClickHouse(sink) => Some(Client::connect(sink, Handle::current())?),
            Sink::Lines { .. } => None,
        };
        let ledger = Ledger::open(client.as_ref(), settings)?;
        let epochs = ledger.as_ref().map(|ledger| ledger.epochs.clone());
        let pinned = Pinned::open(control, begun, client.clone(), ledger)?;
        let (input, commits) = match &settings.source {
            Source::Kafka(source) => {
                let headers = header_names(settings);
                // Nobody else asks where partitions stand, and librdkafka says it as JSON of everything.
                let recorder = settings.admin.as_ref().map(|_| control.recorder().clone());
                let (input, commits) =
                    kafka::open(source, settings, headers, epochs, stop.leave(), recorder)?;
                pinned.prune(&commits);
                (Input::Kafka(Box::new(input)), Some(commits))
            }
            Source::Lines { .. } => (Input::Lines, None),
        };
        control.attach(pinned.targets(), commits.clone());
        let rows = match &settings.sink {
            _ if settings.dry_run => Rows::Nowhere,
            Sink::ClickHouse(_) => Rows::ClickHouse,
            Sink::Lines { path } => {
                let resumes = matches!(settings.source, Source::Kafka(_));
                Rows::Lines(open_output(path.as_deref(), resumes)?)
            }
        };
        let handovers = Handovers::open(control, settings, client.as_ref())?;
        let reach = Reach {
            pipeline: settings.name.clone(),
            lasting: matches!(settings.source, Source::Kafka(_)),
            client,
            targets: pinned.targets(),
            commits: commits.filter(|_| !settings.dry_run),
        };
        let print = settings.print.then_some(out);
        let (letters, book) = (Letters::open(settings)?, Book::open(settings));
        let deliverer =
            Deliverer::new(reach, rows, letters, book, handovers, control.recorder().clone(), print);
        Ok(Stages { input, pinned, deliverer })
    }

    /// Runs the stages to their end; the error is the first that one of them met.
    fn run(self, settings: &Settings, stop: &Stop) -> (Summary, Option<anyhow::Error>) {
        let Stages { input, pinned, mut deliverer } = self;
        let (batches_in, batches) = bounded(BATCHES);
        // What the stages log is this pipeline's.
        let (of_source, of_prepare) = (Span::current(), Span::current());
        thread::scope(|scope| {
            let (mut workers, prepared) = match Workers::new(scope, stop, &pinned, &deliverer) {
                Ok(workers) => workers,
                Err(error) => return (deliverer.summary(), Some(error)),
            };
            let source = thread::Builder::new().name("source".into()).spawn_scoped(scope, move || {
                let _in = of_source.entered();
                read(input, settings, batches_in, stop).inspect_err(|_| stop.fail())
            });
            let preparing = thread::Builder::new().name("prepare".into()).spawn_scoped(scope, move || {
                let _in = of_prepare.entered();
                let end = prepare(pinned, batches, &mut workers, stop).inspect_err(|_| stop.fail());
                Ok((end, workers.end()))
            });
            let delivering = deliver(&mut deliverer, &prepared, stop).inspect_err(|_| stop.fail());
            drop(prepared);
            // The deliveries' own errors tell most, then the one that is nearer to them.
            let mut ends = vec![delivering];
            match join(preparing) {
                Ok((end, others)) => {
                    ends.extend(others.into_iter().map(|thread| join(Ok(thread))));
                    ends.push(end);
                }
                Err(panicked) => ends.push(Err(panicked)),
            }
            stop.delivered.store(true, Ordering::Relaxed);
            ends.push(join(source));
            (deliverer.summary(), ends.into_iter().find_map(Result::err))
        })
    }
}

fn join<T>(thread: std::io::Result<ScopedJoinHandle<'_, Result<T>>>) -> Result<T> {
    match thread.context("starting a thread")?.join() {
        Ok(end) => end,
        Err(_) => Err(anyhow!("a stage of the pipeline panicked: this is a fault of the host")),
    }
}

fn read(input: Input, settings: &Settings, batches: Sender<SourceBatch>, stop: &Stop) -> Result<()> {
    let failed = || stop.failed();
    match (input, &settings.source) {
        (Input::Kafka(input), _) => {
            let delivered = || stop.delivered.load(Ordering::Relaxed);
            let time_is_up = || _ = stop.draining.get_or_init(Instant::now);
            input.run(batches, &settings.bounds, &stop.shutdown, failed, time_is_up, delivered)
        }
        (Input::Lines, Source::Lines { path }) => {
            let time_is_up = || _ = stop.draining.get_or_init(Instant::now);
            lines::run(
                path.as_deref(),
                (&settings.batch, &header_names(settings)),
                batches,
                &settings.bounds,
                &stop.shutdown,
                failed,
                time_is_up,
            )
        }
        (Input::Lines, Source::Kafka(_)) => Ok(()),
    }
}

/// The record headers that decoding looks at. Without any the sources do not look at headers.
fn header_names(settings: &Settings) -> HeaderNames {
    let mut names = HeaderNames::default();
    names.add(settings.records.headers().iter().map(String::as_str));
    if let Some(registry) = &settings.registry {
        names.add(registry.framing.headers());
    }
    names
}

fn prepare(
    mut pinned: Pinned,
    batches: Receiver<SourceBatch>,
    workers: &mut Workers<'_, '_>,
    stop: &Stop,
) -> Result<()> {
    for batch in batches {
        let is_left = !pinned.wait_for_budget(stop);
        if stop.give_up() {
            return given_up(stop);
        }
        if is_left {
            tracing::warn!(
                "the last batches would wait for the tenant's budget and are left: the next start finishes them"
            );
            break; // what is prepared lands
        }
        let Some(job) = pinned.assign(batch, stop)? else { return given_up(stop) };
        if !workers.take(job)? {
            break;
        }
    }
    Ok(())
}

fn deliver(deliverer: &mut Deliverer<'_>, prepared: &Receiver<Prepared>, stop: &Stop) -> Result<()> {
    loop {
        match prepared.recv_timeout(IDLE) {
            Ok(prepared) => match deliverer.deliver(prepared, stop)? {
                Delivered::Done | Delivered::Void => {}
                Delivered::GivenUp => return given_up(stop),
            },
            Err(RecvTimeoutError::Timeout) => deliverer.commit_finished(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    deliverer.commit_finished();
    Ok(())
}

/// How a run ends whose last batches did not land: well if a signal ended it, since nothing is lost.
fn given_up(stop: &Stop) -> Result<()> {
    let quiet = stop.failed();
    stop.fail();
    if quiet {
        return Ok(()); // another stage has failed and says why itself
    }
    if stop.shutdown.is_requested() {
        tracing::warn!("the last batches are given up: they are not lost, the next start finishes them");
        return Ok(());
    }
    Err(anyhow!("the last batches did not land within {} s of the end", DRAIN.as_secs()))
        .environment()
        .help("nothing is lost: the next start finishes them")
}

/// Reads, compiles and starts the transform that `settings` name, and gives it its parameters.
///
/// # Errors
/// A component that cannot be read or does not fit, parameters that it refuses (exit 2); a registry that does not give
/// it, a compiler that cannot do its work (exit 3).
pub fn load_transform(settings: &Settings) -> Result<Transform> {
    let (kept, _) = chosen::configured(settings)?;
    chosen::load(settings, &kept, &Sandbox::alone(settings.compiling()).environment()?)
}

/// Compiles and starts a component, and gives it the parameters of `settings`.
fn start(component: &[u8], settings: &Settings, sandbox: &Sandbox) -> Result<Transform> {
    Transform::load(sandbox, component, settings.params.0.clone(), settings.limits)
}

/// A run that goes on where the last one stopped adds to what that one wrote; any other starts anew.
fn open_output(path: Option<&Path>, resumes: bool) -> Result<Box<dyn Write + Send>> {
    Ok(match path {
        None => Box::new(BufWriter::new(std::io::stdout())),
        Some(path) => {
            let mut options = File::options();
            options.create(true).write(true).append(resumes).truncate(!resumes);
            let file = options.open(path).with_context(|| format!("opening the output {}", path.display()));
            Box::new(BufWriter::new(file.usage()?))
        }
    })
}
