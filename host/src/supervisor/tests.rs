//! Pipelines whose runs do what a test says.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::config::layer::Layer;
use crate::config::{Request, Surroundings};
use crate::error::Classify;
use crate::locked::locked;
use crate::metrics::Metrics;
use crate::transform::compile::Compiling;
use crate::transform::sandbox::Sandbox;

/// Far above what anything here takes.
const BOUND: Duration = Duration::from_secs(60);

/// How a run ends, and how all of them.
type End = Result<Summary>;
type Ended = (Vec<(PipelineId, Summary)>, Result<()>);

/// Pipelines of which each run waits until the test ends it, or it is asked to drain.
struct Stage {
    supervisor: Supervisor,
    shutdown: Shutdown,
    /// The ends of the runs to come, by pipeline.
    ends: BTreeMap<PipelineId, Sender<End>>,
    over: Receiver<Ended>,
    runtime: tokio::runtime::Runtime,
}

fn settings(name: &str, bound: Option<Duration>) -> Settings {
    let request = Request { flags: Layer::default(), ..Request::default() };
    let mut settings = crate::config::load_one(&request, &Surroundings::default()).unwrap().settings;
    name.clone_into(&mut settings.name);
    settings.bounds.for_ = bound;
    settings
}

fn stage(names: &[&str], bound: Option<Duration>) -> Stage {
    staged(names, bound, false)
}

fn staged(names: &[&str], bound: Option<Duration>, alone: bool) -> Stage {
    let mut ends = BTreeMap::new();
    let mut told = BTreeMap::new();
    for name in names {
        let (end, ended) = channel::<End>();
        ends.insert(PipelineId::from(*name), end);
        told.insert(PipelineId::from(*name), Mutex::new(ended));
    }
    let run = move |control: &Control, shutdown: Shutdown, started: &dyn Fn()| {
        started();
        let ended = locked(&told[&PipelineId::of(control.settings())]);
        loop {
            match ended.recv_timeout(Duration::from_millis(5)) {
                Ok(end) => return end,
                Err(_) if shutdown.is_requested() => return Ok(Summary::default()),
                Err(_) => {}
            }
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sandbox = Sandbox::alone(Compiling::default()).unwrap();
    let control = |name: &&str| {
        Control::new(settings(name, bound), sandbox.clone(), runtime.handle().clone(), &Metrics::default())
    };
    let pipelines = names.iter().map(control).collect();
    let supervisor = Supervisor::with(pipelines, alone, Box::new(run));
    let (shutdown, (is_over, over)) = (Shutdown::new(), channel());
    let (of, until, handle) = (supervisor.clone(), shutdown.clone(), runtime.handle().clone());
    thread::spawn(move || {
        let _context = handle.enter();
        is_over.send(of.run(&until))
    });
    Stage { supervisor, shutdown, ends, over, runtime }
}

impl Stage {
    fn wait_until(&self, name: &str, wanted: impl Fn(&State) -> bool) -> Status {
        let id = PipelineId::from(name);
        let shared = &self.supervisor.shared;
        let is_not = |all: &mut BTreeMap<PipelineId, Now>| !wanted(&all[&id].state);
        let (all, timeout) = shared.changed.wait_timeout_while(shared.lock(), BOUND, is_not).unwrap();
        assert!(!timeout.timed_out(), "{name} is {}", all[&id].state.word());
        all[&id].status(&id)
    }

    fn is(&self, name: &str, word: &str) -> Status {
        self.wait_until(name, |state| state.word() == word)
    }

    fn end(&self, name: &str, end: End) {
        self.ends[&PipelineId::from(name)].send(end).unwrap();
    }

    fn over(&self) -> Ended {
        self.over.recv_timeout(BOUND).unwrap()
    }
}

#[test]
fn a_pipeline_that_fails_stops_alone_says_why_and_runs_again_when_it_is_resumed() {
    let stage = stage(&["a.one", "a.two"], None);
    stage.is("a.one", "running");
    stage.end("a.one", Err(anyhow!("no such column")).usage().help("name another"));
    let failed = stage.is("a.one", "failed");
    let State::Failed(failed) = failed.state else { panic!("{failed:?}") };
    assert_eq!((failed.error.as_str(), failed.help.as_deref()), ("no such column", Some("name another")));
    assert_eq!((failed.exit, failed.restarts_at), (Exit::Usage, None));
    stage.is("a.two", "running");
    assert!(stage.supervisor.resume(&"a.one".into()).is_some());
    assert_eq!(stage.is("a.one", "running").starts, 2);
    stage.shutdown.request();
    let (counted, end) = stage.over();
    assert!(counted.len() == 2 && end.is_ok(), "both drained");
}

#[test]
fn a_paused_pipeline_drains_and_stays_so_until_it_is_resumed() {
    let stage = stage(&["a", "b"], None);
    let (a, unknown) = (PipelineId::from("a"), PipelineId::from("c"));
    stage.is("a", "running");
    assert_eq!(stage.supervisor.pause(&a).unwrap().state, State::Draining);
    stage.is("a", "paused");
    // Again changes nothing.
    assert_eq!(stage.supervisor.pause(&a).unwrap().state, State::Paused);
    assert_eq!(stage.supervisor.resume(&a).unwrap().state, State::Starting);
    stage.is("a", "running");
    // One that is resumed while it drains is started when it has done so.
    stage.supervisor.pause(&a);
    stage.supervisor.resume(&a);
    assert_eq!(stage.wait_until("a", |state| *state == State::Running).starts, 3);
    assert!(stage.supervisor.pause(&unknown).is_none() && stage.supervisor.status(&unknown).is_none());
    assert_eq!(stage.supervisor.pipelines().len(), 2);
    stage.shutdown.request();
    stage.over().1.unwrap();
}

#[test]
fn what_surrounds_a_pipeline_is_tried_again_unless_it_is_paused() {
    let stage = stage(&["a", "b"], None);
    stage.end("a", Err(anyhow!("connection refused")).environment());
    stage.wait_until("a", |state| matches!(state, State::Failed(failed) if failed.restarts_at.is_some()));
    assert_eq!(stage.wait_until("a", |state| *state == State::Running).starts, 2);
    // A pause takes back that it is tried again.
    stage.end("a", Err(anyhow!("connection refused")).environment());
    stage.is("a", "failed");
    stage.supervisor.pause(&"a".into());
    stage.is("a", "paused");
    stage.shutdown.request();
    stage.over().1.unwrap();
}

#[test]
fn a_process_of_bounded_pipelines_ends_when_all_have_and_with_the_code_for_which_a_restart_helps_most() {
    let stage = stage(&["a", "b", "c"], Some(BOUND));
    stage.end("a", Ok(Summary::default()));
    stage.is("a", "ended");
    stage.end("b", Err(anyhow!("no such file")).usage());
    stage.end("c", Err(anyhow!("refused")).environment());
    let error = stage.over().1.unwrap_err();
    assert_eq!(error.to_string(), "2 of 3 pipelines failed: b (exit 2), c (exit 3)");
    assert_eq!(error::exit_of(&error), Exit::Environment);
    drop(stage.runtime);
}

#[test]
fn a_process_that_is_there_for_one_pipeline_ends_with_its_error_and_not_by_a_pause() {
    let stage = staged(&["a"], None, true);
    stage.is("a", "running");
    stage.supervisor.pause(&"a".into());
    stage.is("a", "paused");
    stage.supervisor.resume(&"a".into());
    stage.is("a", "running");
    stage.end("a", Err(anyhow!("connection refused")).environment().help("start it"));
    let error = stage.over().1.unwrap_err();
    assert_eq!(
        (error::exit_of(&error), error.to_string().as_str(), error::help_of(&error)),
        (Exit::Environment, "connection refused", Some("start it"))
    );
}
