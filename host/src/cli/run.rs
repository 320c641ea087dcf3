//! `host run`: consume, transform, write, until a bound or a signal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;

use crate::clickhouse::client::Client;
use crate::config::{Loaded, Sink};
use crate::error::Classify;
use crate::pipeline::control::Control;
use crate::pipeline::watch;
use crate::signal::Hangups;
use crate::{output, pipeline, signal, telemetry};

/// How long what still runs in the background may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the pipeline, and shows its counters at the end.
///
/// # Errors
/// What ended the pipeline, or counters that do not add up.
pub fn run(loaded: Loaded, verbosity: Option<i8>) -> anyhow::Result<()> {
    let Loaded { settings, warnings, .. } = loaded;
    let rust_log = std::env::var("RUST_LOG").ok();
    telemetry::install(settings.log_format, verbosity, rust_log.as_deref())?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

    let shutdown = signal::install().context("cannot listen for signals").environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")
        .environment()?;
    // Where standard output carries rows, nothing else may stand between them.
    let rows_on_stdout = settings.rows_on_stdout();
    let mut out: Box<dyn Write + Send> =
        if rows_on_stdout { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let show_last = settings.show_last;
    let sink = settings.sink.clone();
    let (summary, last) = {
        let _context = runtime.enter();
        let watched = settings.watch;
        let control = Control::new(settings, runtime.handle().clone());
        if watched {
            let hangups = Hangups::install().context("cannot listen for SIGHUP").environment()?;
            watch::start(&control, &hangups, &shutdown)?;
        }
        let summary = pipeline::run(&control, shutdown, &mut *out)?;
        (summary, last_rows(&sink, show_last)?)
    };
    runtime.shutdown_timeout(GRACE);
    write!(out, "{last}{summary}")
        .and_then(|()| out.flush())
        .context("cannot write the summary")
        .environment()?;
    summary.check()
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
