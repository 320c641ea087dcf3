//! Many pipelines in one process: each on threads of its own, so that one which fails stops alone.
//!
//! A pipeline has a thread for its whole life, which runs it, waits where it is paused or has failed, and
//! runs it again. What it is at and what is wished of it stands in one place, which everything else looks at:
//!
//! ```text
//!  ──▶ Starting ──▶ Running ──pause──▶ Draining ──▶ Paused
//!         ▲           ├──its bound───▶ Ended          │
//!         │           └──an error────▶ Failed         │
//!         └────resume, or a wait after an error───────┘
//! ```

mod backoff;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Handle;

use self::backoff::Backoff;
pub use self::state::{Failed, PipelineId, State, Status};
use self::state::{Now, Wish};
use crate::cli::summary::Summary;
use crate::config::Settings;
use crate::error::{self, Exit};
use crate::locked::locked;
use crate::pipeline::{self, control::Control};
use crate::signal::Shutdown;
use crate::telemetry::ring;

/// What says in the log that something is about the pipeline with these settings, as long as it is not dropped.
pub fn span(settings: &Settings) -> tracing::span::EnteredSpan {
    span_of(&PipelineId::of(settings))
}

/// The same for the pipeline of this name, and for no other that is at work here.
pub fn span_of(id: &PipelineId) -> tracing::span::EnteredSpan {
    tracing::error_span!(parent: None, ring::SPAN, id = id.as_str()).entered()
}

/// Runs one pipeline to its end. The last argument is to be called when everything is open.
pub(crate) type Run = dyn Fn(&Control, Shutdown, &dyn Fn()) -> Result<Summary> + Send + Sync;

/// All pipelines of a process. Cheap to clone; all clones are of the same ones.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    controls: BTreeMap<PipelineId, Control>,
    /// Whether the process is there for its one pipeline, and ends with it.
    alone: bool,
    pipelines: Mutex<BTreeMap<PipelineId, Now>>,
    /// Something in `pipelines` has changed.
    changed: Condvar,
    run: Box<Run>,
}

impl Supervisor {
    /// For these pipelines, whose names differ. Nothing runs before [`Supervisor::run`].
    pub fn new(pipelines: Vec<Control>) -> Self {
        let run = |control: &Control, shutdown, started: &dyn Fn()| {
            pipeline::run(control, shutdown, &mut io::sink(), started)
        };
        Self::with(pipelines, false, Box::new(run))
    }

    /// For one pipeline that the process is there for: where it fails, [`Supervisor::run`] ends with its error. `run`
    /// runs it.
    pub fn alone(pipeline: Control, run: Box<Run>) -> Self {
        Self::with(vec![pipeline], true, run)
    }

    pub(crate) fn with(pipelines: Vec<Control>, alone: bool, run: Box<Run>) -> Self {
        let controls: BTreeMap<_, _> =
            pipelines.into_iter().map(|control| (PipelineId::of(control.settings()), control)).collect();
        let now = controls.keys().map(|id| (id.clone(), Now::new())).collect();
        let shared = Shared { controls, alone, pipelines: Mutex::new(now), changed: Condvar::new(), run };
        Supervisor { shared: Arc::new(shared) }
    }

    /// All pipelines, by their names.
    pub fn pipelines(&self) -> Vec<Status> {
        self.shared.lock().iter().map(|(id, now)| now.status(id)).collect()
    }

    /// What a pipeline is at; none where there is no such pipeline.
    pub fn status(&self, id: &PipelineId) -> Option<Status> {
        self.shared.lock().get(id).map(|now| now.status(id))
    }

    /// The handle to what runs in a pipeline; none where there is no such pipeline.
    pub fn control(&self, id: &PipelineId) -> Option<&Control> {
        self.shared.controls.get(id)
    }

    /// The handles of all pipelines, by their names.
    pub fn controls(&self) -> impl Iterator<Item = &Control> {
        self.shared.controls.values()
    }

    /// Lets a pipeline drain and leave its group, until it is resumed; returns what it is at now. One that has
    /// failed is not started again by itself. None: there is no such pipeline.
    pub fn pause(&self, id: &PipelineId) -> Option<Status> {
        self.wish(id, Wish::Pause)
    }

    /// Starts a pipeline again that is paused, or has failed or ended; returns what it is at now. One that
    /// drains is started when it has done so. None: there is no such pipeline.
    pub fn resume(&self, id: &PipelineId) -> Option<Status> {
        self.wish(id, Wish::Run)
    }

    fn wish(&self, id: &PipelineId, wish: Wish) -> Option<Status> {
        let mut pipelines = self.shared.lock();
        let now = pipelines.get_mut(id)?;
        now.wish(wish);
        let status = now.status(id);
        self.shared.changed.notify_all();
        Some(status)
    }

    /// Runs all pipelines until `shutdown` is requested and they have drained, or, where each has a bound, until
    /// each has ended or failed. Returns what each counted in its last run that ended well, and whether some have
    /// failed at the end: why, each has said in the log, and the error's class is that for which a restart of the
    /// process helps most.
    ///
    /// Must be called with a runtime entered, from a thread that is not the runtime's.
    pub fn run(&self, shutdown: &Shutdown) -> (Vec<(PipelineId, Summary)>, Result<()>) {
        let runtime = Handle::current();
        let stopping = runtime.spawn({
            let (supervisor, shutdown) = (self.clone(), shutdown.clone());
            async move {
                shutdown.requested().await;
                supervisor.leave();
            }
        });
        let mut threads = Vec::new();
        for (id, control) in &self.shared.controls {
            let (shared, runtime) = (self.shared.clone(), runtime.clone());
            let (of, control) = (id.clone(), control.clone());
            let builder = thread::Builder::new().name("pipeline".to_owned());
            let thread = builder.spawn(move || {
                let _context = runtime.enter();
                let _span = span(control.settings());
                let counted = shared.live(&of, &control);
                counted.map(|counted| (of, counted))
            });
            match thread.context("starting a thread") {
                Ok(thread) => threads.push(thread),
                Err(error) => self.shared.failed(id, &error, Duration::ZERO),
            }
        }
        let counted = threads.into_iter().filter_map(|thread| thread.join().ok()?).collect();
        stopping.abort();
        (counted, self.shared.outcome())
    }

    /// Lets all pipelines drain, for good.
    fn leave(&self) {
        self.shared.lock().values_mut().for_each(|now| now.wish(Wish::Leave));
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// A panic elsewhere leaves it as good as it was.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PipelineId, Now>> {
        locked(&self.pipelines)
    }

    fn change<T>(&self, id: &PipelineId, change: impl FnOnce(&mut Now) -> T) -> Option<T> {
        let changed = self.lock().get_mut(id).map(change);
        self.changed.notify_all();
        changed
    }

    /// A pipeline's life. Returns what its last run counted, if that ended well.
    fn live(&self, id: &PipelineId, control: &Control) -> Option<Summary> {
        let mut backoff = Backoff::default();
        let mut counted = None;
        while let Some(shutdown) = self.until_it_is_to_run(id) {
            let begin = Instant::now();
            let started = || _ = self.change(id, Now::started);
            let run = AssertUnwindSafe(|| (self.run)(control, shutdown, &started));
            let end = catch_unwind(run)
                .unwrap_or_else(|_| Err(anyhow!("the pipeline panicked: this is a fault of the host")));
            match end.and_then(|summary| summary.check().map(|()| summary)) {
                Ok(summary) => {
                    counted = Some(summary);
                    backoff = Backoff::default();
                    self.change(id, |now| now.ended(None));
                }
                Err(error) => self.failed(id, &error, backoff.after(begin.elapsed())),
            }
        }
        counted
    }

    /// Notes that a pipeline has failed, and says why, once for each reason. `wait`: until it is started again, where
    /// that helps.
    fn failed(&self, id: &PipelineId, error: &anyhow::Error, wait: Duration) {
        if self.alone {
            // The process ends with it, and says why itself.
            _ = self.change(id, |now| now.ended(Some(Failed::of(error, None))));
            return;
        }
        let is_bounded = self.controls.get(id).is_none_or(|control| control.settings().is_bounded());
        let restarts = error::exit_of(error) == Exit::Environment && !is_bounded;
        let failed = Failed::of(error, restarts.then(|| Instant::now() + wait));
        let what = if restarts { "is tried again" } else { "waits to be resumed" };
        let (exit, help) = (failed.exit as u8, failed.help.as_deref().unwrap_or_default());
        match self.change(id, |now| now.say(&failed.error)) {
            Some(true) => tracing::error!(exit, help, "the pipeline failed and {what}: {}", failed.error),
            _ => tracing::debug!(exit, help, "the pipeline failed again and {what}: {}", failed.error),
        }
        self.change(id, |now| now.ended(Some(failed)));
    }

    /// Waits until a pipeline is to run; none: never again.
    fn until_it_is_to_run(&self, id: &PipelineId) -> Option<Shutdown> {
        let mut pipelines = self.lock();
        loop {
            let is_over = self.is_over(&pipelines);
            let now = pipelines.get_mut(id)?;
            if is_over || now.wish == Wish::Leave {
                return None;
            }
            let changed = &self.changed;
            pipelines = match now.due() {
                Some(wait) if wait.is_zero() => return Some(now.start()),
                Some(wait) => changed.wait_timeout(pipelines, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => changed.wait(pipelines).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Whether nothing will run any more by itself: each pipeline has a bound, and is at its end.
    fn is_over(&self, pipelines: &BTreeMap<PipelineId, Now>) -> bool {
        (self.alone || self.controls.values().all(|control| control.settings().is_bounded()))
            && pipelines.values().all(|now| matches!(now.state, State::Ended | State::Failed(_)))
    }

    fn outcome(&self) -> Result<()> {
        let pipelines = self.lock();
        if let (true, Some(State::Failed(failed))) =
            (self.alone, pipelines.values().next().map(|now| &now.state))
        {
            return Err(error::of_class(anyhow!("{}", failed.error), failed.exit, failed.help.clone()));
        }
        let failed: Vec<(&PipelineId, Exit)> = pipelines
            .iter()
            .filter_map(|(id, now)| match &now.state {
                State::Failed(failed) => Some((id, failed.exit)),
                _ => None,
            })
            .collect();
        let Some(exit) = failed.iter().map(|(_, exit)| *exit).min_by_key(|exit| state::hopelessness(*exit))
        else {
            return Ok(());
        };
        let names: Vec<String> =
            failed.iter().map(|(id, exit)| format!("{id} (exit {})", *exit as u8)).collect();
        let failed =
            anyhow!("{} of {} pipelines failed: {}", failed.len(), pipelines.len(), names.join(", "));
        Err(error::of_class(failed, exit, Some("each has said why in the log".to_owned())))
    }
}

#[cfg(test)]
mod tests;
