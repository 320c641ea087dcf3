//! A pipeline that does its work while others attack: how long its batches take with and without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use host::config::SandboxLimits;
use host::transform::BUILT_IN;
use host::transform::sandbox::Sandbox;

use crate::trial::{Changes, load};

/// Changes in each of its batches.
const CHANGES: usize = 200;
/// How long it rests between two, as one whose records come now and then.
const REST: Duration = Duration::from_millis(2);

/// What goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Nothing that is measured.
    Between,
    /// Nobody attacks.
    Quiet,
    /// An attack runs.
    Attack,
    /// It is over.
    End,
}

/// The neighbour, at work.
pub struct Neighbour {
    phase: Arc<AtomicUsize>,
    thread: JoinHandle<[Vec<Duration>; 2]>,
}

/// How long batches took, for 99 of 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// Without an attack.
    pub quiet: Duration,
    /// With one.
    pub attack: Duration,
    /// Batches of the lesser of both.
    pub batches: usize,
}

impl Delay {
    /// How many times as long with an attack as without.
    pub fn ratio(&self) -> f64 {
        self.attack.as_secs_f64() / self.quiet.as_secs_f64().max(1e-9)
    }
}

impl Neighbour {
    /// Starts it, in a sandbox of the same engine as the attacks'.
    pub fn start(sandbox: &Sandbox) -> Self {
        let transform = load(sandbox, BUILT_IN, None, SandboxLimits::default());
        let transform = transform.expect("the built-in transform");
        let phase = Arc::new(AtomicUsize::new(Phase::Between as usize));
        let seen = phase.clone();
        let thread = thread::spawn(move || {
            let changes = Changes::new(CHANGES);
            let mut took = [Vec::new(), Vec::new()];
            loop {
                let before = seen.load(Ordering::Relaxed);
                if before == Phase::End as usize {
                    return took;
                }
                let begin = Instant::now();
                changes.through(&transform);
                let time = begin.elapsed();
                let whole = seen.load(Ordering::Relaxed) == before;
                if let (true, Some(times)) = (whole, before.checked_sub(1).and_then(|at| took.get_mut(at))) {
                    times.push(time);
                }
                thread::sleep(REST);
            }
        });
        Neighbour { phase, thread }
    }

    /// Says what goes on from now on.
    pub fn say(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Ends it.
    pub fn end(self) -> Delay {
        self.say(Phase::End);
        let [mut quiet, mut attack] = self.thread.join().expect("the neighbour lives");
        let batches = quiet.len().min(attack.len());
        Delay { quiet: p99(&mut quiet), attack: p99(&mut attack), batches }
    }
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}
