//! Which transform makes the rows of a batch: the one that runs now, or, for a range that was sealed, the one
//! that sealed it (promise D12 of `docs/invariants.md`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;

use super::candidate::Ready;
use super::control::{Begun, Control};
use super::epochs::Ledger;
use super::prepare::{Maker, Preparer, SaidGrown};
use super::targets::Targets;
use super::workers::Job;
use super::{Stop, chosen, header_names, start};
use crate::chaos::{self, Bug};
use crate::clickhouse::client::Client;
use crate::commit::Seal;
use crate::config::{Pin, Settings};
use crate::debezium::Decoder;
use crate::debezium::registry::{self, Registry};
use crate::debezium::shape::Shapes;
use crate::error::Classify;
use crate::pins::Kept;
use crate::pins::store::Store;
use crate::source::SourceBatch;
use crate::source::kafka::Commits;
use crate::tenant::Share;
use crate::transform::Transform;

/// How often it is noted at most that the transform is in use, for hosts that prune what is kept.
const NOTE_USE: Duration = Duration::from_secs(60);

/// The transform of now, and the one that sealed the last range which others had begun.
pub(super) struct Pinned {
    now: Arc<Maker>,
    then: Option<Then>,
    settings: Settings,
    client: Option<Client>,
    /// Where it is written down which life of a topic is read.
    ledger: Option<Ledger>,
    store: Store,
    /// The transform of now, where ranges are sealed and it can be kept; and when its use was noted last.
    kept: Option<(Kept, Instant)>,
    /// Where another transform comes from.
    control: Control,
}

/// A transform that is brought back, with the settings that it sealed its ranges under.
#[derive(Clone)]
pub(super) struct Then {
    pub maker: Arc<Maker>,
    pub settings: Arc<Settings>,
    /// By whose ids the maker knows its tables.
    pub shapes: Arc<Shapes>,
    pub said_grown: SaidGrown,
}

/// Who makes the rows of a batch.
#[derive(Clone)]
pub(super) enum Choice {
    /// The transform of now.
    Now(Arc<Maker>),
    /// The one that sealed the range.
    Then(Then),
    /// The transform of now, for the one that sealed the range is gone.
    NowInItsPlace(Arc<Maker>),
}

impl Choice {
    /// That one.
    pub(super) fn maker(&self) -> &Arc<Maker> {
        match self {
            Choice::Now(maker) | Choice::NowInItsPlace(maker) => maker,
            Choice::Then(then) => &then.maker,
        }
    }
}

impl Pinned {
    /// Keeps the transform where it will seal ranges. That it cannot be kept is said, and is no error.
    pub(super) fn open(
        control: &Control,
        begun: Begun,
        client: Option<Client>,
        ledger: Option<Ledger>,
    ) -> Result<Self> {
        let Begun { settings, transform, kept } = begun;
        let settings = &settings;
        let now = Arc::new(maker(settings, transform, kept.pin(), client.as_ref()));
        let store = Store::new(settings.state_dir.as_deref(), &settings.name);
        let kept = is_kept(settings, &store, &kept).then(|| (kept, Instant::now()));
        let (settings, control) = (settings.clone(), control.clone());
        Ok(Pinned { now, then: None, settings, client, ledger, store, kept, control })
    }

    /// The tables, as the transform of now knows them.
    pub(super) fn targets(&self) -> Arc<Targets> {
        self.now.targets.clone()
    }

    /// The transform of now.
    pub(super) fn now(&self) -> Arc<Maker> {
        self.now.clone()
    }

    /// Whose it is: its settings, and where another transform comes from.
    pub(super) fn of(&self) -> (Settings, Control) {
        (self.settings.clone(), self.control.clone())
    }

    /// Waits until the tenant has come back to its budget, or the run is to end: a batch that would wait then is left,
    /// since the budget may take longer to come back than a run may take to end. False: it is left.
    pub(super) fn wait_for_budget(&self, stop: &Stop) -> bool {
        let ends = || stop.shutdown.is_requested() || stop.give_up();
        let Some(waited) = self.share().wait_for_budget(&ends) else { return true };
        self.control.recorder().waited_for_budget(waited);
        !ends()
    }

    /// What the pipeline has together with the others of its tenant.
    fn share(&self) -> &Share {
        self.now.transform.sandbox().share()
    }

    /// Removes transforms that no range of the group needs any more. What fails is tried at the next start.
    pub(super) fn prune(&self, commits: &Commits) {
        if self.kept.is_some() {
            chosen::prune(&self.store, commits);
        }
    }

    /// Says who makes the rows of a batch. None: given up while waiting for the target.
    ///
    /// # Errors
    /// A range whose transform is gone, where the configuration says strict; a topic that another host reads as another.
    pub(super) fn assign(&mut self, source: SourceBatch, stop: &Stop) -> Result<Option<Job>> {
        if let Some(ledger) = &mut self.ledger
            && ledger.record(&source.batch.topic, &source.incarnation, stop)?.is_none()
        {
            return Ok(None);
        }
        if let Some(next) = self.control.next() {
            self.swap(next);
        }
        self.note_use();
        self.control.capture(&source.batch);
        let batch = &source.batch;
        self.control.recorder().received(batch.records.len() as u64, batch.arena.len() as u64);
        let choice = self.choose(&source)?;
        Ok(Some(Job { source, choice }))
    }

    /// Has another transform make the rows from here on. It was tried, so nothing here can fail or wait; what it has
    /// begun before, the one that is taken out is brought back for.
    fn swap(&mut self, next: Ready) {
        let began = Instant::now();
        let Ready { transform, kept, targets } = next;
        let targets = Arc::new(targets.unwrap_or_else(|| self.now.targets.beside(false)));
        let maker = Arc::new(self.now.replaced(transform, kept.pin().to_owned(), targets.clone()));
        let before = std::mem::replace(&mut self.now, maker);
        self.control.retarget(targets);
        self.kept = self.kept.is_some().then(|| (kept, Instant::now()));
        let pause = self.control.swapped(before.transform.clone(), began);
        let (was, now) = (&before.digest, &self.now.digest);
        tracing::info!(was, now, pause_us = pause.as_micros(), "transform swapped");
    }

    fn choose(&mut self, source: &SourceBatch) -> Result<Choice> {
        let now = self.now.clone();
        let Some(seal) = &source.recovered else { return Ok(Choice::Now(now)) };
        if now.has_sealed(seal) || chaos::has(Bug::PinIgnored) {
            return Ok(Choice::Now(now));
        }
        let batch = &source.batch;
        let sealed_by = seal.pin.as_ref().map_or(String::new(), |pin| format!(" (pin {pin})"));
        let sealed_by = format!("this range was sealed by transform {}{sealed_by}", seal.transform);
        let place = format!("{}/{}, offsets {} to {}", batch.topic, batch.partition, batch.first, batch.last);
        match self.bring_back(seal) {
            Ok(then) => {
                tracing::info!(range = place, "{sealed_by}, which finishes it");
                Ok(Choice::Then(then))
            }
            Err(why) if self.settings.pin == Pin::Strict => {
                Err(anyhow!("{sealed_by}, and that is gone: {why} ({place})")).environment().help(
                    "start with that transform again, with its parameters and settings; or let this one finish the range \
                     with --pin prefer, and rows that landed stay as they are",
                )
            }
            Err(why) => {
                tracing::warn!(
                    range = place,
                    "{sealed_by} and is finished by {} (pin {}): {why}",
                    now.digest,
                    now.pin
                );
                Ok(Choice::NowInItsPlace(now))
            }
        }
    }

    /// The transform of `seal`. The error says why it cannot be had.
    fn bring_back(&mut self, seal: &Seal) -> Result<Then, String> {
        let pin = seal.pin.as_ref().ok_or("the host that sealed it kept none")?;
        if let Some(then) = self.then.as_ref().filter(|then| then.maker.pin == *pin) {
            return Ok(then.clone());
        }
        let kept = self.store.load(pin)?;
        let settings = self.settings.as_sealed(&kept.deciding).map_err(|mistakes| mistakes.to_string())?;
        if !header_names(&self.settings).has_all(&header_names(&settings)) {
            return Err("it needs headers of records that are not read any more".to_owned());
        }
        let sandbox = self.now.transform.sandbox();
        let transform = start(&kept.component, &settings, sandbox).map_err(|error| format!("{error:#}"))?;
        let maker = Arc::new(maker(&settings, transform, pin, self.client.as_ref()));
        let (settings, shapes, said_grown) = (Arc::new(settings), Arc::default(), SaidGrown::default());
        Ok(self.then.insert(Then { maker, settings, shapes, said_grown }).clone())
    }

    /// Keeps what runs from being pruned by others, and writes it again should it be gone.
    fn note_use(&mut self) {
        let Some((kept, noted)) = self.kept.as_mut().filter(|(_, noted)| noted.elapsed() >= NOTE_USE) else {
            return;
        };
        *noted = Instant::now();
        if !self.store.touch(kept.pin()) {
            keep(&self.store, kept);
        }
    }
}

/// Whether ranges are sealed by it, and it is kept for them.
fn is_kept(settings: &Settings, store: &Store, kept: &Kept) -> bool {
    chosen::seals(settings) && !settings.dry_run && keep(store, kept)
}

/// False: it could not be kept, which was said.
fn keep(store: &Store, kept: &Kept) -> bool {
    match store.save(kept) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "the transform is not kept: {error:#}; when another takes its place, it cannot finish the ranges that it \
                 began: set `state_dir` to a folder that the host may write to"
            );
            false
        }
    }
}

/// A transform with tables of its own, by these settings.
pub(super) fn maker(settings: &Settings, transform: Transform, pin: &str, client: Option<&Client>) -> Maker {
    let targets = Arc::new(Targets::new(client.cloned(), settings, transform.sandbox().share().clone()));
    Maker::new(transform, pin.to_owned(), targets, settings.truncate)
}

/// The stages that compute, by these settings. `shapes` and `said_grown` are those of all that have the maker in common: the
/// tables are known by the shapes' ids.
pub(super) fn preparer(
    settings: &Settings,
    maker: Arc<Maker>,
    (shapes, said_grown): (Shapes, SaidGrown),
    runtime: &Handle,
) -> Result<Preparer> {
    let mut decoder = Decoder::with(settings.records.clone()).with_shapes(shapes);
    if let Some(registry) = &settings.registry {
        let client = registry::client::Client::new(registry, runtime.clone())?;
        decoder = decoder.with_registry(Registry::new(Box::new(client), registry.framing));
    }
    Ok(Preparer::new(maker, decoder, said_grown))
}

/// The same for a few batches of their own.
pub(super) fn lone(settings: &Settings, maker: Maker, runtime: &Handle) -> Result<Preparer> {
    preparer(settings, Arc::new(maker), (Shapes::default(), SaidGrown::default()), runtime)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::keys::key;
    use crate::config::layer::{Item, Layer, Origin};
    use crate::config::secret::Named;
    use crate::config::{Request, Surroundings};
    use crate::debezium::fixture;
    use crate::metrics::Metrics;
    use crate::pins::deployed::By;
    use crate::pipeline::control::Candidate;
    use crate::pipeline::workers::Seed;
    use crate::signal::Shutdown;
    use crate::transform::BUILT_IN;
    use crate::transform::sandbox::Sandbox;

    const EVENT: &str = r#"{"before":null,"after":{"id":1,"made_at":1704067200000000},"op":"u",
        "source":{"connector":"postgresql","db":"d","schema":"s","table":"t"}}"#;

    /// A host that reads times in `unit`.
    fn host(unit: &str, state_dir: Option<&Path>, pin: &str) -> Pinned {
        let mut flags = Layer::default();
        let mut set = |name: &str, member: Option<&str>, text: &str| {
            let item = Item { name: member.map(Into::into), text: text.into(), origin: Origin::Default };
            flags.push(key(name).unwrap(), item);
        };
        set("params", Some("unit"), unit);
        set("pin", None, pin);
        if let Some(dir) = state_dir {
            set("state_dir", None, dir.to_str().unwrap());
        }
        let request = Request { flags, ..Request::default() };
        let settings = crate::config::load_one(&request, &Surroundings::default()).unwrap().settings;
        let sandbox = Sandbox::alone(settings.compiling()).unwrap();
        let control = Control::new(settings, sandbox, Handle::current(), &Metrics::default());
        let begun = control.begin().unwrap();
        Pinned::open(&control, begun, None, None).unwrap()
    }

    fn range(sealed_by: Option<&Pinned>) -> SourceBatch {
        let seal = |host: &Pinned| Seal {
            last: 0,
            transform: host.now.digest.clone(),
            pin: Some(host.now.pin.clone()),
            series: Default::default(),
            epoch: 0,
            session: None,
        };
        let batch = fixture::batch("d.s.t", &[(None::<&str>, Some(EVENT))]);
        let incarnation = Arc::default();
        let recovered = sealed_by.map(seal);
        SourceBatch { batch, assignment: 1, recovered, incarnation, written_before: false }
    }

    /// The rows of a range, as they are sent; the pin of its seal; whether another transform made them.
    fn made(host: &mut Pinned, range: SourceBatch) -> Result<(Vec<u8>, String, bool)> {
        let stop = Stop::new(Shutdown::new());
        let job = host.assign(range, &stop)?.unwrap();
        let prepared = Seed::of(host).worker(host.now())?.prepare(job, &stop)?.unwrap();
        assert_eq!(prepared.parts.len(), 1, "it makes rows");
        Ok((prepared.parts[0].body.clone(), prepared.maker.pin.clone(), prepared.by_another))
    }

    /// Whether a range that one host sealed has that one's rows when the next host has finished it, and the next
    /// range the next one's.
    fn is_finished_as_it_was_begun() -> bool {
        let folder = tempfile::tempdir().unwrap();
        let mut first = host("ns", Some(folder.path()), "strict");
        let mut next = host("us", Some(folder.path()), "strict");
        let begun = made(&mut first, range(None)).unwrap();
        let finished = made(&mut next, range(Some(&first))).unwrap();
        let own = made(&mut next, range(None)).unwrap();
        assert!(own.0 != begun.0 && own.1 != begun.1, "the two make different rows");
        let own_sealed = range(Some(&next));
        assert_eq!(made(&mut next, own_sealed).unwrap(), own);
        finished == begun
    }

    #[test]
    fn a_range_is_finished_by_the_transform_that_sealed_it_and_a_host_that_ignores_it_is_found_out() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        assert!(chaos::with(None, is_finished_as_it_was_begun));
        assert!(!chaos::with(Some(Bug::PinIgnored), is_finished_as_it_was_begun));
    }

    #[test]
    fn another_transform_takes_over_between_two_ranges_and_what_was_sealed_before_is_the_old_ones() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let mut host = host("ns", Some(folder.path()), "strict");
        let control = host.control.clone();
        control.attach(host.targets(), None);
        let before = made(&mut host, range(None)).unwrap();
        let sealed = range(Some(&host));
        let params = Some(Named(vec![("unit".to_owned(), "us".to_owned())]));
        let candidate = Candidate { component: BUILT_IN.to_vec(), signature: None, params };
        let deployed = control.deploy(candidate, By::Deploy).unwrap();
        assert!(deployed.changed && control.status().waiting);
        let after = made(&mut host, range(None)).unwrap();
        assert!(after.0 != before.0 && after.1 == deployed.version.pin, "it makes other rows");
        assert!(!control.status().waiting && control.status().swaps == 1);
        assert_eq!(made(&mut host, sealed).unwrap(), before);
        assert_eq!(made(&mut host, range(None)).unwrap(), after);
        // What refuses its parameters does not take over.
        let params = Some(Named(vec![("none".to_owned(), "such".to_owned())]));
        let candidate = Candidate { component: BUILT_IN.to_vec(), signature: None, params };
        control.deploy(candidate, By::Deploy).unwrap_err();
        assert_eq!(made(&mut host, range(None)).unwrap(), after);
    }

    #[test]
    fn where_the_transform_is_gone_the_next_one_says_so_or_stops() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let first = host("ns", None, "prefer");
        let mut prefers = host("us", Some(folder.path()), "prefer");
        let (rows, pin, by_another) = made(&mut prefers, range(Some(&first))).unwrap();
        assert_eq!(
            (&rows, &pin, by_another),
            (&made(&mut prefers, range(None)).unwrap().0, &prefers.now.pin, true)
        );
        let error = made(&mut host("us", Some(folder.path()), "strict"), range(Some(&first))).unwrap_err();
        assert!(format!("{error:#}").contains("it is not kept in"), "{error:#}");
        // A seal of a host that wrote no pins is known by the component alone.
        let mut old = range(Some(&first));
        old.recovered.as_mut().unwrap().pin = None;
        assert!(!made(&mut host("us", None, "strict"), old).unwrap().2);
    }

    #[test]
    fn what_is_in_use_is_written_again_when_it_is_gone() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let mut host = host("ns", Some(folder.path()), "prefer");
        let kept = folder.path().join("transforms");
        std::fs::remove_dir_all(&kept).unwrap();
        host.note_use();
        assert!(!kept.exists(), "it is looked at once in a while");
        host.kept.as_mut().unwrap().1 -= NOTE_USE;
        host.note_use();
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    }
}
