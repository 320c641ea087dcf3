//! The commands that ask a running host: `ls`, `ready`, `deploy`, `rollback`, `pause`, `resume`, `logs`. Each is one or two
//! requests to its admin interface.

mod args;
mod client;
mod deploy;
mod logs;
mod ls;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use reqwest::{Method, Url};

pub use self::args::{commands, parse};
use self::client::Client;
use self::deploy::Purpose;
use crate::admin::health::Ready;
use crate::admin::pipelines::{NO_TENANT, Pipeline, Pipelines};
use crate::cli::last_rows::render;
use crate::config::secret::Secret;
use crate::error::Classify;

/// What is asked of which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub verb: Verb,
    /// The address of the host's admin interface.
    pub admin: Url,
    /// Who asks; none where the host wants no token.
    pub token: Option<Secret>,
    /// As JSON.
    pub json: bool,
}

/// What is asked. Pipelines are given by `NAME` or `TENANT/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Which pipelines there are, and what they are at.
    Ls,
    /// Whether the host is ready.
    Ready,
    /// Gives one another transform.
    Deploy {
        /// Which pipeline.
        pipeline: String,
        /// The component.
        file: PathBuf,
        /// What to do with it.
        purpose: Purpose,
    },
    /// Goes back to a transform that ran before.
    Rollback {
        /// Which pipeline.
        pipeline: String,
        /// The beginning of its digest; none: the one before.
        to: Option<String>,
    },
    /// Lets one drain, and stop.
    Pause(String),
    /// Starts one again.
    Resume(String),
    /// What one said last.
    Logs {
        /// Which pipeline.
        pipeline: String,
        /// From when on.
        since: Option<Timestamp>,
        /// And what it says next, until the command is ended.
        follow: bool,
    },
}

/// Asks, and shows the answer.
///
/// # Errors
/// A host that is not reached (exit 3), or refuses (exit 2).
pub fn run(command: &Command) -> Result<()> {
    let client = Client::new(&command.admin, command.token.as_ref())?;
    match &command.verb {
        Verb::Ls => ls::ls(&client, command.json),
        Verb::Ready => ready(&client, command.json),
        Verb::Deploy { pipeline, file, purpose } => {
            deploy::deploy(&client, pipeline, file, *purpose, command.json)
        }
        Verb::Rollback { pipeline, to } => deploy::rollback(&client, pipeline, to.as_deref(), command.json),
        Verb::Pause(pipeline) => change(&client, pipeline, "pause", command.json),
        Verb::Resume(pipeline) => change(&client, pipeline, "resume", command.json),
        Verb::Logs { pipeline, since, follow } => {
            logs::logs(&client, pipeline, *since, *follow, command.json)
        }
    }
}

/// Tells whether the host is ready.
fn ready(client: &Client, json: bool) -> Result<()> {
    let (status, answer) = client.answer(Method::GET, &["readyz"])?;
    let ready: Ready = client::read(&answer)?;
    let Ready { status: what, pipelines, failed, .. } = &ready;
    crate::cli::show(&match json {
        true => format!("{}\n", answer.trim_end()),
        false => format!("{what}: {pipelines} pipelines, {failed} of them failed\n"),
    })?;
    match status.is_success() {
        true => Ok(()),
        false => Err(anyhow!("the host is not ready: {what}")).environment(),
    }
}

/// Pauses or resumes, and shows what the pipeline is at then.
fn change(client: &Client, pipeline: &str, verb: &str, json: bool) -> Result<()> {
    let found = find(client, pipeline)?;
    let answer = client.ask(Method::POST, &path(&found, &[verb]), &[])?;
    if json {
        return crate::cli::show(&format!("{}\n", answer.trim_end()));
    }
    let now: Pipeline = client::read(&answer)?;
    table(&["pipeline", "state"], &[vec![full_name(&now), now.state]])
}

/// The pipeline that somebody calls `wanted`.
fn find(client: &Client, wanted: &str) -> Result<Pipeline> {
    let all: Pipelines = client::read(&client.ask(Method::GET, &["v1", "pipelines"], &[])?)?;
    let mut names: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for pipeline in all.pipelines {
        let full = full_name(&pipeline);
        if full == wanted {
            return Ok(pipeline);
        }
        if pipeline.name == wanted || full.replacen('/', ".", 1) == wanted {
            found.push(pipeline);
        }
        names.push(full);
    }
    let help = match names.is_empty() {
        true => "the token lets you see none".to_owned(),
        false => format!("there are: {}", names.join(", ")),
    };
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => {
            let what = anyhow!("several pipelines are called `{wanted}`");
            Err(what).usage().help("name one as TENANT/NAME")
        }
        (None, _) => Err(anyhow!("there is no pipeline `{wanted}`")).usage().help(help),
    }
}

/// Where a pipeline is asked: its path, and what comes behind it.
fn path<'a>(pipeline: &'a Pipeline, rest: &[&'a str]) -> Vec<&'a str> {
    [&["v1", "pipelines", pipeline.tenant.as_str(), pipeline.name.as_str()], rest].concat()
}

/// As people write it.
fn full_name(pipeline: &Pipeline) -> String {
    match pipeline.tenant.as_str() {
        NO_TENANT => pipeline.name.clone(),
        tenant => format!("{tenant}/{}", pipeline.name),
    }
}

fn table(columns: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    crate::cli::show(&render(&columns, rows, std::io::stdout().is_terminal()))
}
