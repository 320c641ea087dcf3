//! What a pipeline is at, and what is wished of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::error::{self, Exit};
use crate::signal::Shutdown;

/// A pipeline's full name, which is its own in a process: `tenant.name`, or the name alone where there are no
/// tenants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineId(Arc<str>);

impl PipelineId {
    /// That of the pipeline with these settings.
    pub fn of(settings: &Settings) -> Self {
        PipelineId(settings.name.as_str().into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PipelineId {
    fn from(full_name: &str) -> Self {
        PipelineId(full_name.into())
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a pipeline is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It loads its transform, and reaches its servers.
    Starting,
    /// It takes records.
    Running,
    /// It takes no more, and finishes what it has.
    Draining,
    /// It has drained and left its group, until it is resumed.
    Paused,
    /// It has stopped by an error.
    Failed(Failed),
    /// It has reached its bound.
    Ended,
}

impl State {
    /// The word for it, in lower case.
    pub fn word(&self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
            State::Paused => "paused",
            State::Failed(_) => "failed",
            State::Ended => "ended",
        }
    }
}

/// Why a pipeline has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The error with its causes.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    /// What the process would end with if it ran this pipeline alone.
    pub exit: Exit,
    /// When it is started again by itself; none: it waits to be resumed.
    pub restarts_at: Option<Instant>,
}

impl Failed {
    pub(super) fn of(error: &anyhow::Error, restarts_at: Option<Instant>) -> Self {
        Failed {
            error: format!("{error:#}"),
            help: error::help_of(error).map(str::to_owned),
            exit: error::exit_of(error),
            restarts_at,
        }
    }
}

/// How little a restart of the process helps against a failure: it ends with the code of the least hopeless.
pub(super) fn hopelessness(exit: Exit) -> u8 {
    match exit {
        Exit::Environment => 0,
        Exit::Internal => 1,
        Exit::TransformFailed => 2,
        Exit::Usage => 3,
    }
}

/// What there is to say of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub id: PipelineId,
    /// What it is at.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// How often it was started, the first time included.
    pub starts: u64,
}

/// What is wished of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    Pause,
    /// To end for good.
    Leave,
}

/// A pipeline as it is now.
pub(super) struct Now {
    pub state: State,
    pub wish: Wish,
    since: Instant,
    starts: u64,
    /// Ends the run that is under way; none: there is none.
    run: Option<Shutdown>,
    /// The reason that was said last.
    said: Option<String>,
}

impl Now {
    /// One that is to be started.
    pub fn new() -> Self {
        Now {
            state: State::Starting,
            wish: Wish::Run,
            since: Instant::now(),
            starts: 0,
            run: None,
            said: None,
        }
    }

    pub fn status(&self, id: &PipelineId) -> Status {
        Status { id: id.clone(), state: self.state.clone(), since: self.since, starts: self.starts }
    }

    fn set(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    /// Takes a wish; that to leave is the last one.
    pub fn wish(&mut self, wish: Wish) {
        if self.wish == Wish::Leave {
            return;
        }
        self.wish = wish;
        match (wish, &self.run) {
            (Wish::Run, None) => self.set(State::Starting),
            // It drains, and is started when it has done so.
            (Wish::Run, Some(_)) => {}
            (_, Some(run)) => {
                run.request();
                self.set(State::Draining);
            }
            (Wish::Pause, None) if !matches!(self.state, State::Ended) => self.set(State::Paused),
            (_, None) => {}
        }
    }

    /// How long until it is to be started; none: not by itself, or it runs.
    pub fn due(&self) -> Option<Duration> {
        match &self.state {
            _ if self.run.is_some() || self.wish != Wish::Run => None,
            State::Starting => Some(Duration::ZERO),
            State::Failed(failed) => {
                failed.restarts_at.map(|at| at.saturating_duration_since(Instant::now()))
            }
            _ => None,
        }
    }

    /// A run begins; what is returned ends it.
    pub fn start(&mut self) -> Shutdown {
        self.set(State::Starting);
        self.starts += 1;
        self.run.insert(Shutdown::new()).clone()
    }

    /// Everything is open.
    pub fn started(&mut self) {
        self.said = None;
        if self.state == State::Starting {
            self.set(State::Running);
        }
    }

    /// The run is over.
    pub fn ended(&mut self, failed: Option<Failed>) {
        let asked = self.run.take().is_some_and(|run| run.is_requested());
        self.set(match failed {
            Some(failed) => State::Failed(failed),
            // Where nobody asked for it, its bound has ended it.
            None if !asked => State::Ended,
            None if self.wish == Wish::Run => State::Starting,
            None => State::Paused,
        });
    }

    /// Whether `reason` is another than the last that was said, which it is from now on.
    pub fn say(&mut self, reason: &str) -> bool {
        let is_new = self.said.as_deref() != Some(reason);
        self.said = Some(reason.to_owned());
        is_new
    }
}
