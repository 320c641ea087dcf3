//! `host run`: consume, transform, write, until a bound or a signal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Handle, Runtime};

use crate::clickhouse::client::Client;
use crate::config::{Loaded, LogFormat, Sink};
use crate::error::Classify;
use crate::pipeline::control::Control;
use crate::pipeline::watch;
use crate::signal::{Hangups, Shutdown};
use crate::supervisor::Supervisor;
use crate::transform::sandbox::{Sandbox, Sandboxes};
use crate::{output, pipeline, signal, supervisor, telemetry};

/// How long what still runs in the background may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the pipeline, and shows its counters at the end.
///
/// # Errors
/// What ended the pipeline, or counters that do not add up.
pub fn run(loaded: Loaded, verbosity: Option<i8>) -> anyhow::Result<()> {
    let Loaded { settings, warnings, .. } = loaded;
    let (shutdown, runtime) = start(settings.log_format, &warnings, verbosity)?;
    // Where standard output carries rows, nothing else may stand between them.
    let rows_on_stdout = settings.rows_on_stdout();
    let mut out: Box<dyn Write + Send> =
        if rows_on_stdout { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let (summary, last) = {
        let _context = runtime.enter();
        let sandbox = Sandbox::alone(settings.compiling()).environment()?;
        let control = Control::new(settings, sandbox, runtime.handle().clone());
        watch_over([&control], &shutdown)?;
        let summary = pipeline::run(&control, shutdown, &mut *out, || {})?;
        let settings = control.settings();
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
    let (shutdown, runtime) = start(log_format, warnings, verbosity)?;
    let sandboxes = Sandboxes::new(all.len()).environment()?;
    let controls = all.into_iter().map(|Loaded { settings, .. }| {
        let sandbox = sandboxes.sandbox(settings.compiling());
        Control::new(settings, sandbox, runtime.handle().clone())
    });
    let supervisor = Supervisor::new(controls.collect());
    let ended = {
        let _context = runtime.enter();
        watch_over(supervisor.controls(), &shutdown)?;
        supervisor.run(&shutdown)
    };
    runtime.shutdown_timeout(GRACE);
    let (counted, end) = ended;
    let text = counted.iter().map(|(id, summary)| format!("pipeline      {id}\n{summary}"));
    super::show(&text.collect::<Vec<_>>().join("\n"))?;
    end
}

/// Starts logging, listening for signals, and the worker threads.
fn start(
    log_format: LogFormat,
    warnings: &[String],
    verbosity: Option<i8>,
) -> anyhow::Result<(Shutdown, Runtime)> {
    let rust_log = std::env::var("RUST_LOG").ok();
    telemetry::install(log_format, verbosity, rust_log.as_deref())?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let shutdown = signal::install().context("cannot listen for signals").environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")
        .environment()?;
    Ok((shutdown, runtime))
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
