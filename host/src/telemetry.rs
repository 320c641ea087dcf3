//! Logs: to standard error, as text or as one JSON object a line.
//!
//! `-v` and `-q` set the level; without them `RUST_LOG` does; without that the host says what it does
//! (`info`) and its libraries only what is wrong (`warn`). The last lines of each pipeline are kept besides, whatever
//! is shown ([`ring`]).

pub mod ring;

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::Context;
use serde_json::json;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub use self::ring::Logs;
use crate::config::LogFormat;
use crate::error::{self, Classify};

/// The form that logging was started with.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts logging for the rest of the process. `verbosity` is the count of `-v` less that of `-q`; none
/// where neither was given. `rust_log` is the variable of that name. Returns the lines of each pipeline, as they
/// come.
///
/// # Errors
/// When `rust_log` is used and is no filter, or logging was started before.
pub fn install(format: LogFormat, verbosity: Option<i8>, rust_log: Option<&str>) -> anyhow::Result<Logs> {
    let filter = match (verbosity, rust_log) {
        (Some(steps), _) => EnvFilter::new(level(steps)),
        (None, Some(text)) if !text.is_empty() => EnvFilter::try_new(text)
            .with_context(|| format!("RUST_LOG: `{text}` is not a filter"))
            .usage()
            .help("write a level such as `debug`, or `host=debug,warn`")?,
        (None, _) => EnvFilter::new(level(0)),
    };
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let shown = fmt::layer().with_writer(std::io::stderr);
    let shown = match format {
        LogFormat::Json => shown.json().flatten_event(true).boxed(),
        LogFormat::Text => shown.with_ansi(colour).boxed(),
    };
    let logs = Logs::default();
    tracing_subscriber::registry()
        .with(shown.with_filter(filter))
        .with(logs.clone().with_filter(ring::kept()))
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    _ = FORMAT.set(format);
    Ok(logs)
}

/// Says on standard error, in the form of the logs, why the process ends.
pub fn last_words(error: &anyhow::Error) {
    eprintln!("{}", worded(FORMAT.get().copied().unwrap_or_default(), error));
}

fn worded(format: LogFormat, error: &anyhow::Error) -> String {
    match format {
        LogFormat::Text => error::report(error),
        LogFormat::Json => json!({
            "timestamp": jiff::Timestamp::now().to_string(),
            "level": "ERROR",
            "message": format!("{error:#}"),
            "help": error::help_of(error),
            "exit": error::exit_of(error) as u8,
            "target": "host",
        })
        .to_string(),
    }
}

/// The filter for a count of `-v` (above 0) or `-q` (below).
fn level(steps: i8) -> &'static str {
    match steps {
        ..=-3 => "off",
        -2 => "error",
        -1 => "warn",
        0 => "warn,host=info",
        1 => "warn,host=debug",
        2 => "info,host=trace",
        3.. => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_of_v_and_q_gives_a_filter() {
        for steps in i8::MIN..=i8::MAX {
            EnvFilter::try_new(level(steps)).unwrap();
        }
    }

    #[test]
    fn a_rust_log_that_is_no_filter_is_a_usage_error() {
        let error = install(LogFormat::Text, None, Some("host=loud")).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), crate::error::Exit::Usage);
        assert!(error.to_string().starts_with("RUST_LOG: `host=loud` is not a filter"), "{error}");
    }

    #[test]
    fn the_last_words_have_the_form_of_the_logs() {
        let error = Err::<(), _>(anyhow::anyhow!("refused")).environment().help("start it").unwrap_err();
        assert_eq!(worded(LogFormat::Text, &error), "error: refused\nhelp: start it");
        let json: serde_json::Value = serde_json::from_str(&worded(LogFormat::Json, &error)).unwrap();
        assert_eq!(
            (&json["message"], &json["help"], &json["exit"]),
            (&"refused".into(), &"start it".into(), &3.into())
        );
    }
}
