//! `host run`: consume, transform, write, until a bound or a signal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Handle, Runtime};

use crate::cli::summary::Summary;
use crate::clickhouse::client::Client;
use crate::config::{Admin, Loaded, LogFormat, Settings, Sink};
use crate::error::Classify;
use crate::metrics::Metrics;
use crate::pipeline::control::Control;
use crate::pipeline::watch;
use crate::signal::{Hangups, Shutdown};
use crate::supervisor::{PipelineId, Supervisor};
use crate::telemetry::Logs;
use crate::transform::sandbox::{Sandbox, Sandboxes};
use crate::{admin, output, pipeline, signal, supervisor, telemetry};

/// How long what still runs in the background may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the pipeline, and shows its counters at the end.
///
/// # Errors
/// What ended the pipeline, or counters that do not add up.
pub fn run(loaded: Loaded, verbosity: Option<i8>) -> anyhow::Result<()> {
    let Loaded { settings, warnings, .. } = loaded;
    let Started { shutdown, runtime, logs } = start(settings.log_format, &warnings, verbosity)?;
    let mut out = out(&settings);
    let (summary, last) = {
        let _context = runtime.enter();
        let sandbox = sandbox(&mut Sandboxes::new(1).environment()?, &settings);
        let metrics = Metrics::default();
        let control = Control::new(settings, sandbox, runtime.handle().clone(), &metrics);
        watch_over([&control], &shutdown)?;
        let settings = control.settings();
        let summary = match &settings.admin {
            None => pipeline::run(&control, shutdown, &mut *out, || {})?,
            Some(admin) => {
                let run = |control: &Control, shutdown, started: &dyn Fn()| {
                    pipeline::run(control, shutdown, &mut *self::out(control.settings()), started)
                };
                let supervisor = Supervisor::alone(control.clone(), Box::new(run));
                let (counted, end) = asked(Some(admin), &supervisor, metrics, logs, &shutdown, &runtime)?;
                end?;
                counted.into_iter().next().map(|(_, summary)| summary).unwrap_or_default()
            }
        };
        (summary, last_rows(&settings.sink, settings.show_last)?)
    };
    runtime.shutdown_timeout(GRACE);
    write!(out, "{last}{summary}")
        .and_then(|()| out.flush())
        .context("cannot write the summary")
        .environment()?;
    summary.check()
}

/// Runs the pipelines of all tenants, and shows the counters of each at the end.
///
/// # Errors
/// Pipelines that have failed at the end.
pub fn run_all(all: Vec<Loaded>, warnings: &[String], verbosity: Option<i8>) -> anyhow::Result<()> {
    let log_format = all.first().map(|loaded| loaded.settings.log_format).unwrap_or_default();
    let admin = all.first().and_then(|loaded| loaded.settings.admin.clone());
    let Started { shutdown, runtime, logs } = start(log_format, warnings, verbosity)?;
    let metrics = Metrics::default();
    let mut sandboxes = Sandboxes::new(all.len()).environment()?;
    let controls = all.into_iter().map(|Loaded { settings, .. }| {
        let sandbox = sandbox(&mut sandboxes, &settings);
        Control::new(settings, sandbox, runtime.handle().clone(), &metrics)
    });
    let supervisor = Supervisor::new(controls.collect());
    let ended = {
        let _context = runtime.enter();
        watch_over(supervisor.controls(), &shutdown)?;
        asked(admin.as_ref(), &supervisor, metrics, logs, &shutdown, &runtime)
    };
    runtime.shutdown_timeout(GRACE);
    let (counted, end) = ended?;
    let text = counted.iter().map(|(id, summary)| format!("pipeline      {id}\n{summary}"));
    super::show(&text.collect::<Vec<_>>().join("\n"))?;
    end
}

/// Where the transforms of a pipeline run.
fn sandbox(sandboxes: &mut Sandboxes, settings: &Settings) -> Sandbox {
    sandboxes.sandbox(settings.tenant.as_deref(), &settings.budget, settings.compiling())
}

/// What pipelines counted, and how they ended.
type Ended = (Vec<(PipelineId, Summary)>, anyhow::Result<()>);

/// Runs the pipelines of `supervisor`, and answers the admin interface meanwhile, if there is one.
///
/// # Errors
/// The interface cannot listen where it is to; then nothing has run.
fn asked(
    admin: Option<&Admin>,
    supervisor: &Supervisor,
    metrics: Metrics,
    logs: Logs,
    shutdown: &Shutdown,
    runtime: &Runtime,
) -> anyhow::Result<Ended> {
    let start = |settings| admin::start(settings, supervisor.clone(), metrics, logs, shutdown.clone());
    let serving = admin.map(|settings| runtime.block_on(start(settings))).transpose()?;
    let ended = supervisor.run(shutdown);
    if let Some(serving) = serving {
        runtime.block_on(serving.end());
    }
    Ok(ended)
}

/// Where to write what a person asked to see. Where standard output carries rows, nothing else may stand between them.
fn out(settings: &Settings) -> Box<dyn Write + Send> {
    if settings.rows_on_stdout() { Box::new(io::stderr()) } else { Box::new(io::stdout()) }
}

/// What a run stands on.
struct Started {
    shutdown: Shutdown,
    runtime: Runtime,
    logs: Logs,
}

/// Starts logging, listening for signals, and the worker threads.
fn start(log_format: LogFormat, warnings: &[String], verbosity: Option<i8>) -> anyhow::Result<Started> {
    let rust_log = std::env::var("RUST_LOG").ok();
    let logs = telemetry::install(log_format, verbosity, rust_log.as_deref())?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let shutdown = signal::install().context("cannot listen for signals").environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")
        .environment()?;
    Ok(Started { shutdown, runtime, logs })
}

/// Watches the transforms' files of those pipelines that say so.
fn watch_over<'a>(
    controls: impl IntoIterator<Item = &'a Control>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let watched: Vec<&Control> = controls.into_iter().filter(|control| control.settings().watch).collect();
    if watched.is_empty() {
        return Ok(());
    }
    let hangups = Hangups::install().context("cannot listen for SIGHUP").environment()?;
    watched.into_iter().try_for_each(|control| {
        let _span = supervisor::span(control.settings());
        watch::start(control, &hangups, shutdown)
    })
}

/// The last rows of the table that the configuration names, if they are asked for.
fn last_rows(sink: &Sink, count: u64) -> anyhow::Result<String> {
    let Sink::ClickHouse(sink) = sink else { return Ok(String::new()) };
    let Some(table) = sink.table.as_ref().filter(|_| count > 0) else { return Ok(String::new()) };
    let client = Client::connect(sink, Handle::current())?;
    let (columns, rows) = output::last_rows(&client, &sink.database, table, count)?;
    if rows.is_empty() {
        return Ok(format!("{table} has no rows\n"));
    }
    Ok(super::last_rows::render(&columns, &rows, io::stdout().is_terminal()))
}
