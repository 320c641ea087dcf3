//! What runs in a pipeline, and changing it while it runs.
//!
//! A [`Control`] outlives the runs of its pipeline. Deploying does all that can fail on the caller's thread: the
//! candidate is compiled, started, and asked for the plans of every table that the pipeline has met, and their tables
//! are made ready. Only then it is handed to the run, which takes it between two batches (promise D15 of
//! `docs/invariants.md`). Whatever goes wrong before, the transform that runs goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;

use super::admission;
use super::candidate::{self, Now, Ready};
use super::chosen::{self, Chosen, Configured, prune, seals};
use super::prepare::{Maker, Prepared};
use super::seen::Seen;
use super::shadow::{Report, Shadow};
use super::targets::Targets;
use super::trial::{self, Trial};
use super::{locked, pinned};
use crate::batch::Batch;
use crate::commit::DIGEST_DIGITS;
use crate::config::Settings;
use crate::config::secret::Named;
use crate::debezium::shape::Shapes;
use crate::error::Classify;
use crate::metrics::{Metrics, Recorder, Swap};
use crate::origin::{self, Origin};
use crate::pins::Kept;
use crate::pins::deployed::{By, Deployed, Version, now_ms};
use crate::pins::store::Store;
use crate::source::kafka::Commits;
use crate::source::kafka::ownership::Partition;
use crate::transform::sandbox::Sandbox;
use crate::transform::{Transform, digest};

/// A component that is to run.
#[derive(Clone)]
pub struct Candidate {
    /// Its bytes.
    pub component: Vec<u8>,
    /// The text of its detached signature, if it has one.
    pub signature: Option<String>,
    /// Its parameters; none for those of the transform that runs.
    pub params: Option<Named>,
}

/// What a deployment came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// The transform that runs from the next batch on.
    pub version: Version,
    /// Whether another one ran before.
    pub changed: bool,
    /// Whether it runs after a restart, too; if not, the log says why.
    pub kept: bool,
}

/// Who makes a partition's rows, and since which record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The beginning of the component's digest, as in the column `_transform`.
    pub transform: String,
    /// The pin.
    pub pin: String,
    /// The first offset of the first range that it made here, as far as this process knows.
    pub from_offset: i64,
}

/// What runs in a pipeline, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// The pipeline's name.
    pub pipeline: String,
    /// The digest of the component that the configuration names; none where that was not read yet.
    pub configured: Option<String>,
    /// The transform that runs; none before the first run.
    pub current: Option<Version>,
    /// Whether it was deployed and no batch has come since.
    pub waiting: bool,
    /// The transforms that can be gone back to, the one that runs last.
    pub versions: Vec<Version>,
    /// How often the transform was swapped in this process.
    pub swaps: u64,
    /// How long the last swap kept a batch waiting, microseconds.
    pub last_pause_us: Option<u64>,
    /// Who makes the rows of which partition, and since when.
    pub places: Vec<Place>,
    /// What the transform beside came to so far, where there is one.
    pub shadow: Option<Report>,
}

/// A handle to what runs in one pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    sandbox: Sandbox,
    store: Store,
    runtime: Handle,
    recorder: Arc<Recorder>,
    /// Held by whoever changes what runs.
    changing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the configuration names; none where that was not read yet.
    configured: Option<Configured>,
    deployed: Deployed,
    /// What runs from the next batch on.
    current: Option<Kept>,
    /// The same, ready to run.
    transform: Option<Transform>,
    /// The same with its tables, where a run has not taken it yet.
    next: Option<Ready>,
    /// What the last swap took out. It goes with the next deployment: that takes longer than a swap may.
    retired: Option<Transform>,
    /// The run, while there is one.
    run: Option<Run>,
    seen: Seen,
    shadow: Option<Arc<Shadow>>,
    places: BTreeMap<Partition, Place>,
    swaps: u64,
    last_pause: Option<Duration>,
}

/// What a run lends to those who try transforms for it.
struct Run {
    targets: Arc<Targets>,
    commits: Option<Commits>,
}

/// The transform that a run begins with.
pub(super) struct Begun {
    /// The settings, with its parameters.
    pub settings: Settings,
    pub transform: Transform,
    pub kept: Kept,
}

impl Control {
    /// For the pipeline of these settings, whose transforms run in `sandbox`. What it does in the background runs on
    /// `runtime`; what it did is part of `metrics`.
    pub fn new(settings: Settings, sandbox: Sandbox, runtime: Handle, metrics: &Metrics) -> Self {
        let tenant = settings.tenant.as_deref().unwrap_or_default();
        let recorder = metrics.recorder(tenant, settings.name_in_tenant());
        let store = Store::new(settings.state_dir.as_deref(), &settings.name);
        let (changing, state) = (Mutex::default(), Mutex::default());
        Control { inner: Arc::new(Inner { settings, sandbox, store, runtime, recorder, changing, state }) }
    }

    /// The pipeline's settings, as they are configured.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What the pipeline did since the process started, over all its runs.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.inner.recorder
    }

    /// Has the candidate make the rows from the next batch on. Returns once nothing can fail any more.
    ///
    /// # Errors
    /// Why it cannot run here; then the transform that runs goes on.
    pub fn deploy(&self, candidate: Candidate, by: By) -> Result<Deployment> {
        let _alone = locked(&self.inner.changing);
        self.counted(self.deployed(candidate, by))
    }

    fn deployed(&self, candidate: Candidate, by: By) -> Result<Deployment> {
        self.know_configuration()?;
        let origin = self.admit(&candidate)?;
        let (settings, kept) = self.settled(candidate);
        self.install(&settings, kept, by, Some(&origin))
    }

    /// Goes back to a transform that ran before, with the parameters that it had: the last one whose digest or pin
    /// begins like this; none for the one that ran last.
    ///
    /// # Errors
    /// None that is kept is meant, or it cannot run here any more; then the transform that runs goes on.
    pub fn rollback(&self, digest: Option<&str>) -> Result<Deployment> {
        let _alone = locked(&self.inner.changing);
        self.counted(self.gone_back(digest))
    }

    fn gone_back(&self, digest: Option<&str>) -> Result<Deployment> {
        self.know_configuration()?;
        let Inner { settings, store, .. } = &*self.inner;
        let version = {
            let state = locked(&self.inner.state);
            digest.map_or_else(|| state.deployed.before(), |digest| state.deployed.find(digest)).cloned()
        };
        let version = version.map_err(|why| anyhow!(why)).usage()?;
        let runs = locked(&self.inner.state).current.clone().filter(|kept| kept.pin() == version.pin);
        let kept = runs.map_or_else(|| store.load(&version.pin), Ok).map_err(|why| anyhow!(why));
        // What is not kept by now is not kept at another attempt either.
        let kept = kept.with_context(|| format!("the transform {} is gone", version.short())).usage()?;
        // Who signed it was looked at when it was deployed, and to go back is what the version would forbid.
        origin::check_digest(&version.digest, &settings.origin).usage()?;
        let settings = settings.with_params(kept.deciding.params());
        self.install(&settings, Kept::new(kept.component, settings.deciding.clone()), By::Rollback, None)
    }

    /// Counts how a change of the transform ended.
    fn counted(&self, change: Result<Deployment>) -> Result<Deployment> {
        let swap = match &change {
            Ok(deployment) => deployment.changed.then_some(Swap::Done),
            Err(_) => Some(Swap::Refused),
        };
        swap.into_iter().for_each(|swap| self.inner.recorder.swapped(swap));
        change
    }

    /// Whether a candidate could be deployed, as far as that shows without making tables. Nothing changes.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub fn check(&self, candidate: Candidate) -> Result<()> {
        self.wait_for_configuration()?;
        self.admit(&candidate)?;
        let (settings, kept) = self.settled(candidate);
        candidate::fits(&settings, &kept, &self.now())
    }

    /// What a candidate would make of the last records that the pipeline has had. None: it has had none yet. Nothing is
    /// written, and what runs goes on.
    ///
    /// # Errors
    /// Why it cannot run here, as far as that shows without the target's tables.
    pub fn trial(&self, candidate: Candidate) -> Result<Option<Trial>> {
        self.wait_for_configuration()?;
        let captured = locked(&self.inner.state).seen.captured();
        let Some(captured) = captured else { return Ok(None) };
        self.admit(&candidate)?;
        let (settings, kept) = self.settled(candidate);
        let transform = super::start(&kept.component, &settings, &self.inner.sandbox)?;
        trial::trial(&settings, transform, kept.pin(), &captured, &self.inner.runtime).map(Some)
    }

    /// Has a candidate run beside the transform that runs, in place of the one that does so by now; none for no one any
    /// more. Its rows are compared, and not written. Returns what the one before came to.
    ///
    /// # Errors
    /// Why it cannot run here; then the one before goes on. The pipeline must be running.
    pub fn shadow(&self, candidate: Option<Candidate>) -> Result<Option<Report>> {
        let shadow = candidate.map(|candidate| self.shadow_of(candidate)).transpose()?;
        let before = std::mem::replace(&mut locked(&self.inner.state).shadow, shadow);
        Ok(before.map(|before| before.report()))
    }

    fn shadow_of(&self, candidate: Candidate) -> Result<Arc<Shadow>> {
        self.admit(&candidate)?;
        let (settings, kept) = self.settled(candidate);
        let now = self.now();
        let targets = now.targets.as_ref().map(|targets| Arc::new(targets.beside(true)));
        let targets = targets.ok_or_else(|| anyhow!("the pipeline does not run")).usage()?;
        let transform = candidate::asked(&settings, &kept, &now)?;
        let maker = Maker::new(transform, kept.pin().to_owned(), targets, settings.truncate);
        let preparer = pinned::lone(&settings, maker, &self.inner.runtime)?;
        let shadow = Shadow::start(preparer, digest(&kept.component), settings.log_values)?;
        tracing::info!(
            digest = &digest(&kept.component)[..DIGEST_DIGITS],
            pin = kept.pin(),
            "a shadow runs beside"
        );
        Ok(Arc::new(shadow))
    }

    /// Whether a candidate may run here, by where it comes from.
    fn admit(&self, candidate: &Candidate) -> Result<Origin> {
        admission::admit(&self.inner.settings, &candidate.component, candidate.signature.as_deref())
    }

    /// The settings with a candidate's parameters, and what is kept of it.
    fn settled(&self, candidate: Candidate) -> (Settings, Kept) {
        let Candidate { component, params, .. } = candidate;
        let running = || locked(&self.inner.state).current.as_ref().map(|kept| kept.deciding.params());
        let params = params.or_else(running).unwrap_or_default();
        let settings = self.inner.settings.with_params(params);
        let kept = Kept::new(component, settings.deciding.clone());
        (settings, kept)
    }

    /// What runs now.
    pub fn status(&self) -> Status {
        let state = locked(&self.inner.state);
        let pause_us = |pause: Duration| u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        Status {
            pipeline: self.inner.settings.name.clone(),
            configured: state.configured.as_ref().map(|configured| configured.digest.clone()),
            current: state.deployed.current().cloned(),
            waiting: state.next.is_some(),
            versions: state.deployed.versions().to_vec(),
            swaps: state.swaps,
            last_pause_us: state.last_pause.map(pause_us),
            places: state.places.values().cloned().collect(),
            shadow: state.shadow.as_ref().map(|shadow| shadow.report()),
        }
    }

    /// Tries a transform and, where it is another one than runs, hands it to the run. `origin`: where it comes from,
    /// which is noted; none where it ran before.
    fn install(
        &self,
        settings: &Settings,
        kept: Kept,
        by: By,
        origin: Option<&Origin>,
    ) -> Result<Deployment> {
        let Inner { store, state, .. } = &*self.inner;
        drop(locked(state).retired.take());
        let before = locked(state).current.clone();
        let changed = before.as_ref().is_none_or(|before| before.pin() != kept.pin());
        let ready = match changed {
            true => Some(candidate::ready(settings, &kept, &self.now())?),
            false => None,
        };
        // The last that can fail.
        origin.map_or(Ok(()), |origin| admission::note(settings, origin))?;
        let mut deployed = locked(state).deployed.clone();
        deployed.put(&kept, by, now_ms());
        // Only the configuration's own file is what the configuration names.
        let configured = (by == By::Watch).then(|| Configured::by(&kept));
        if let Some(configured) = &configured {
            deployed.configure(configured.names.clone());
        }
        // The one before, too: a pipeline that nothing was deployed to has written down nothing.
        let recorded = self.record(before.iter().chain([&kept]), &deployed);
        let version = deployed.current().cloned().context("what was deployed has no version")?;
        {
            let mut state = locked(state);
            state.configured = configured.or(state.configured.take());
            state.deployed = deployed;
            state.current = Some(kept);
            if let Some(ready) = ready {
                state.transform = Some(ready.transform.clone());
                state.next = Some(ready);
            }
        }
        let commits = locked(state).run.as_ref().and_then(|run| run.commits.clone());
        if let Some(commits) = commits {
            prune(store, &commits);
        }
        let (digest, pin) = (version.short(), &version.pin);
        match changed {
            true => tracing::info!(digest, pin, by = by.as_str(), "transform deployed"),
            false => tracing::info!(digest, pin, "this transform runs already"),
        }
        Ok(Deployment { version, changed, kept: recorded })
    }

    /// What a transform is tried for.
    fn now(&self) -> Now {
        let state = locked(&self.inner.state);
        let targets = state.run.as_ref().map(|run| run.targets.clone());
        let sandbox = self.inner.sandbox.clone();
        Now { sandbox, transform: state.transform.clone(), targets, shapes: state.seen.shapes() }
    }

    /// Writes down what was deployed, with what it names. False: a restart does not know it, which was said.
    fn record<'k>(&self, mut kept: impl Iterator<Item = &'k Kept>, deployed: &Deployed) -> bool {
        let Inner { settings, store, .. } = &*self.inner;
        if !seals(settings) || settings.dry_run {
            tracing::info!(
                "a restart does not know it: only a pipeline from Kafka to ClickHouse keeps what was deployed"
            );
            return false;
        }
        let written = kept.try_for_each(|kept| store.save(kept)).and_then(|()| store.record(deployed));
        if let Err(error) = &written {
            tracing::warn!("what was deployed is not kept, and a restart does not know it: {error:#}");
        }
        written.is_ok()
    }

    /// Reads what the configuration names and what was deployed, unless that was done. For who holds `changing`.
    fn know_configuration(&self) -> Result<()> {
        let known = locked(&self.inner.state).configured.is_some();
        if !known {
            let chosen = self.choose()?;
            self.adopt(&chosen);
        }
        Ok(())
    }

    /// The same for who does not hold `changing`.
    fn wait_for_configuration(&self) -> Result<()> {
        let known = locked(&self.inner.state).configured.is_some();
        if !known {
            let _alone = locked(&self.inner.changing);
            self.know_configuration()?;
        }
        Ok(())
    }

    /// Decides what is to run.
    fn choose(&self) -> Result<Chosen> {
        let Inner { settings, store, state, .. } = &*self.inner;
        let (known, current) = {
            let state = locked(state);
            (state.configured.is_some().then(|| state.deployed.clone()), state.current.clone())
        };
        chosen::choose(settings, store, known, current)
    }

    /// Has what was chosen as what runs.
    fn adopt(&self, chosen: &Chosen) {
        if chosen.is_news {
            self.record([&chosen.kept].into_iter(), &chosen.deployed);
        }
        let mut state = locked(&self.inner.state);
        state.configured = Some(chosen.configured.clone());
        state.deployed = chosen.deployed.clone();
        (state.current, state.next) = (Some(chosen.kept.clone()), None);
    }

    /// What a run begins with.
    ///
    /// # Errors
    /// A component that cannot be read or does not fit, parameters that it refuses.
    pub(super) fn begin(&self) -> Result<Begun> {
        let _alone = locked(&self.inner.changing);
        let chosen = self.choose()?;
        let transform = chosen::load(&chosen.settings, &chosen.kept, &self.inner.sandbox)?;
        if let Some(origin) = &chosen.origin {
            admission::note(&chosen.settings, origin)?;
        }
        self.adopt(&chosen);
        locked(&self.inner.state).transform = Some(transform.clone());
        Ok(Begun { settings: chosen.settings, transform, kept: chosen.kept })
    }

    /// From now on what is deployed is tried against these tables, and handed to this run.
    pub(super) fn attach(&self, targets: Arc<Targets>, commits: Option<Commits>) {
        let mut state = locked(&self.inner.state);
        state.seen.begin();
        state.run = Some(Run { targets, commits });
    }

    /// The run knows the tables anew, with another transform.
    pub(super) fn retarget(&self, targets: Arc<Targets>) {
        if let Some(run) = &mut locked(&self.inner.state).run {
            run.targets = targets;
        }
    }

    /// The run has ended; what it did not take any more, the next one begins with.
    pub(super) fn detach(&self) {
        locked(&self.inner.state).run = None;
    }

    /// The transform that makes the rows from here on, where it is another one.
    pub(super) fn next(&self) -> Option<Ready> {
        locked(&self.inner.state).next.take()
    }

    /// The run has swapped its transform for the next one, and a batch waited for that so long.
    pub(super) fn swapped(&self, retired: Transform, began: Instant) -> Duration {
        let pause = began.elapsed();
        let mut state = locked(&self.inner.state);
        (state.retired, state.last_pause) = (Some(retired), Some(pause));
        state.swaps += 1;
        pause
    }

    /// The run has met these shapes, of which some may be new.
    pub(super) fn saw(&self, shapes: &Shapes) {
        locked(&self.inner.state).seen.add(shapes);
    }

    /// The run has got a batch.
    pub(super) fn capture(&self, batch: &Batch) {
        locked(&self.inner.state).seen.capture(batch);
    }

    /// A batch's rows are made.
    pub(super) fn shade(&self, prepared: &Prepared) {
        let shadow = locked(&self.inner.state).shadow.clone();
        if let Some(shadow) = shadow {
            shadow.offer(prepared);
        }
    }

    /// A range of a partition, from this offset on, is done.
    pub(super) fn made(&self, partition: &Partition, maker: &Maker, from_offset: i64) {
        let mut state = locked(&self.inner.state);
        if state.places.get(partition).is_some_and(|place| place.pin == maker.pin) {
            return;
        }
        let place = Place {
            topic: partition.0.to_string(),
            partition: partition.1,
            transform: maker.digest.clone(),
            pin: maker.pin.clone(),
            from_offset,
        };
        state.places.insert(partition.clone(), place);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::keys::key;
    use crate::config::layer::{Item, Layer, Origin};
    use crate::config::{Request, Surroundings};
    use crate::debezium::fixture;
    use crate::error::{Exit, exit_of};
    use crate::transform;

    fn control(state_dir: Option<&Path>, settings: &[(&str, Option<&str>, &str)]) -> Control {
        let mut flags = Layer::default();
        let state_dir = state_dir.map(|dir| ("state_dir", None, dir.to_str().unwrap()));
        for (name, member, text) in settings.iter().copied().chain(state_dir) {
            let (member, origin) = (member.map(Into::into), Origin::Flag(format!("--{name}")));
            flags.push(key(name).unwrap(), Item { name: member, text: text.into(), origin });
        }
        let request = Request { flags, ..Request::default() };
        let settings = crate::config::load_one(&request, &Surroundings::default()).unwrap().settings;
        let sandbox = Sandbox::alone(settings.compiling()).unwrap();
        Control::new(settings, sandbox, Handle::current(), &Metrics::default())
    }

    /// The built-in transform with another digest.
    fn other(component: &[u8], name: u8) -> Vec<u8> {
        [component, &[0, 2, 1, name]].concat()
    }

    fn candidate(component: Vec<u8>) -> Candidate {
        Candidate { component, signature: None, params: None }
    }

    #[test]
    fn what_was_deployed_last_runs_again_until_the_configuration_names_another() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let begun = |settings: &[_]| control(Some(folder.path()), settings).begin().unwrap().kept;
        let own = begun(&[]);
        assert!(!folder.path().join("deployed").exists(), "nothing was deployed");
        let first = control(Some(folder.path()), &[]);
        let deployed = first.deploy(candidate(other(transform::BUILT_IN, b'a')), By::Deploy).unwrap();
        assert!(deployed.changed && deployed.kept && first.status().waiting);
        let again = first.deploy(candidate(other(transform::BUILT_IN, b'a')), By::Deploy).unwrap();
        assert!(!again.changed && again.version == deployed.version);
        assert_eq!(begun(&[]).pin(), deployed.version.pin);
        // Other settings that decide rows are the configuration's, whatever runs.
        let elsewhere = begun(&[("table", None, "elsewhere")]);
        assert_eq!(digest(&elsewhere.component), deployed.version.digest);
        assert_ne!(elsewhere.pin(), deployed.version.pin);
        // Parameters are what the configuration names, too; and from then on what was deployed before counts no more.
        assert_eq!(begun(&[("params", Some("unit"), "us")]).component, own.component);
        assert!(begun(&[]) == own);
        // Back to it, by hand.
        let last = control(Some(folder.path()), &[]);
        let back = last.rollback(Some(&deployed.version.digest[..12])).unwrap();
        assert_eq!((back.version.by, &back.version.digest), (By::Rollback, &deployed.version.digest));
        assert_eq!(digest(&begun(&[]).component), deployed.version.digest);
        assert_eq!(exit_of(&last.rollback(Some("0123")).unwrap_err()), Exit::Usage);
    }

    #[test]
    fn what_is_no_transform_or_refuses_its_parameters_changes_nothing() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let control = control(Some(folder.path()), &[]);
        let begun = control.begin().unwrap();
        let before = control.status();
        let wrong = crate::config::secret::Named(vec![("unit".to_owned(), "fortnight".to_owned())]);
        let built_in = transform::BUILT_IN.to_vec();
        for candidate in [
            candidate(b"no transform".to_vec()),
            candidate(built_in[..built_in.len() / 2].to_vec()),
            Candidate { component: built_in, signature: None, params: Some(wrong) },
        ] {
            let error = control.deploy(candidate, By::Deploy).unwrap_err();
            assert_eq!(exit_of(&error), Exit::Usage, "{error:#}");
            assert_eq!(control.status(), before);
        }
        assert!(control.next().is_none() && !folder.path().join("deployed").exists());
        assert!(control.begin().unwrap().kept == begun.kept);
    }

    #[test]
    fn what_is_kept_nowhere_is_not_gone_back_to_unless_it_runs_already() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let control = control(None, &[]);
        control.begin().unwrap();
        let deployed = control.deploy(candidate(other(transform::BUILT_IN, b'a')), By::Deploy).unwrap();
        assert!(!deployed.kept);
        let error = control.rollback(None).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage, "{error:#}");
        assert!(!control.rollback(Some(&deployed.version.digest)).unwrap().changed);
        assert_eq!(control.status().current, Some(deployed.version));
    }

    #[test]
    fn a_start_stops_where_it_is_not_known_what_was_deployed_or_that_is_gone() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let first = control(Some(folder.path()), &[]);
        first.deploy(candidate(other(transform::BUILT_IN, b'a')), By::Deploy).unwrap();
        let fails = || {
            let error = control(Some(folder.path()), &[]).begin().err().unwrap();
            assert_eq!(exit_of(&error), Exit::Environment);
            format!("{error:#}")
        };
        fs::remove_dir_all(folder.path().join("transforms")).unwrap();
        assert!(fails().contains("was deployed last"), "{}", fails());
        fs::write(folder.path().join("deployed/default.json"), "{").unwrap();
        assert!(fails().contains("default.json"), "{}", fails());
        // What only reads a file does not ask.
        control(Some(folder.path()), &[("input", None, "-"), ("output", None, "-")]).begin().unwrap();
    }

    #[test]
    fn a_trial_says_what_a_transform_makes_of_the_last_records_and_deploys_nothing() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let control = control(None, &[]);
        control.begin().unwrap();
        assert_eq!(
            control.trial(candidate(transform::BUILT_IN.to_vec())).unwrap(),
            None,
            "there are no records yet"
        );
        let event = |op: &str| {
            format!(
                r#"{{"before":null,"after":{{"id":1}},"op":"{op}",
                    "source":{{"connector":"postgresql","db":"d","schema":"s","table":"t"}}}}"#
            )
        };
        let (update, insert) = (event("u"), event("c"));
        let values = [Some(update.as_str()), Some("no JSON"), Some(insert.as_str())];
        control.capture(&fixture::batch("d.s.t", &values.map(|value| (None::<&str>, value))));
        let before = control.status();
        let trial = control.trial(candidate(other(transform::BUILT_IN, b'a'))).unwrap().unwrap();
        assert_eq!((trial.records, trial.kept, trial.filtered), (3, 1, 1));
        assert!(
            trial.rows.len() == 1 && trial.rows[0].starts_with(r#"{"_table":"t","id":1"#),
            "{:?}",
            trial.rows
        );
        assert_eq!(
            (trial.rejected.len(), trial.rejected[0].offset, trial.rejected[0].stage),
            (1, 1, "decode")
        );
        assert_eq!(control.status(), before);
    }
}
