//! Which histories are taken.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use rustc_hash::FxHashMap;

use super::host::Effect;
use super::run::{Outcome, Plan, Run, Step};
use super::world::{Kind, Level};

/// Steps after which a history must have come to its end.
const MAX_STEPS: usize = 3000;
/// Faults in a random history at most.
const MAX_FAULTS: usize = 6;

/// What was explored.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub histories: u64,
    pub states: u64,
    pub steps: u64,
    pub faults: u64,
    /// The places at which a host can die.
    pub points: usize,
    /// Those at which one died.
    pub covered: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { histories, states, steps, faults, points, covered } = self;
        write!(f, "{histories} histories, {states} states, {steps} steps, {faults} faults; ")?;
        write!(f, "crash points covered: {covered} of {points}")
    }
}

/// A promise that broke.
#[derive(Debug)]
pub struct Failed {
    pub why: String,
    pub history: u64,
    seed: Option<u64>,
    steps: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.why)?;
        if let Some(seed) = self.seed {
            writeln!(f, "in history {} of ROWGATE_SEED={seed}", self.history)?;
        }
        writeln!(f, "{}", self.steps.join("\n"))
    }
}

/// A place in the code at which a host can die: its call, and what it is about, before or after.
type Point = (String, bool);

#[derive(Default)]
struct Points {
    seen: BTreeSet<Point>,
    covered: BTreeSet<Point>,
}

impl Points {
    fn note(&mut self, run: &Run, faults: &[Step], taken: Option<Step>) {
        for step in faults.iter().copied().chain(taken) {
            let Step::Go(at, Outcome::Crash { after, .. }) = step else { continue };
            let Some(effect) = &run.hosts[at].pending else { continue };
            let what = match effect {
                Effect::Next => format!(
                    "next {:?}",
                    run.hosts[at].queue.front().map(|one| (
                        one.batch.partition,
                        one.batch.first,
                        one.batch.last
                    ))
                ),
                Effect::Commit { partition, offset, seal } => format!("commit {partition} {offset} {seal}"),
                Effect::Insert(request) => format!("insert {} {:?}", request.table, request.rows),
                Effect::Look { table, partition, range } => format!("look {table} {partition} {range:?}"),
                Effect::End(token) => format!("end {token}"),
                Effect::Open => "open".to_owned(),
                Effect::Close(_) => "close".to_owned(),
                Effect::Pause(_) => "pause".to_owned(),
            };
            match taken == Some(step) {
                true => self.covered.insert((what, after)),
                false => self.seen.insert((what, after)),
            };
        }
    }
}

/// Takes a step, and tells in words what it was if somebody listens.
fn told(run: &Run, step: Step) -> String {
    match step {
        Step::Go(at, _) => format!("  {step:?}: {:?}", run.hosts[at].pending),
        _ => format!("  {step:?}"),
    }
}

/// Runs the same steps again, for their words.
fn words(plan: &Plan, steps: &[Step]) -> Vec<String> {
    let mut run = Run::new(plan);
    let word = |step: &Step| {
        let word = told(&run, *step);
        run.take(*step);
        word
    };
    steps.iter().map(word).collect()
}

/// Every history of at most so many faults, those of fewer first. Histories that come to a state that was there
/// before go no further.
pub fn breadth_first(plan: &Plan, max_faults: u32) -> Result<Figures, Failed> {
    let mut figures = Figures::default();
    let mut points = Points::default();
    let mut known: FxHashMap<u64, u32> = FxHashMap::default();
    let mut todo: Vec<VecDeque<Vec<Step>>> = vec![VecDeque::new(); max_faults as usize + 1];
    todo[0].push_back(vec![]);
    for faults in 0..=max_faults {
        while let Some(mut steps) = todo[faults as usize].pop_front() {
            let mut run = Run::new(plan);
            let (last, before) =
                steps.split_last().map_or((None, &[][..]), |(last, before)| (Some(*last), before));
            before.iter().for_each(|step| run.take(*step));
            if let Some(last) = last {
                points.note(&run, &[], Some(last));
                run.take(last);
            }
            loop {
                let is_done = run.is_done();
                if is_done {
                    run.check();
                }
                if run.world.broken.is_none() && steps.len() > MAX_STEPS {
                    run.world.fail("it does not come to an end".to_owned());
                }
                if let Some(why) = run.world.broken.take() {
                    let steps = words(plan, &steps);
                    return Err(Failed { why, history: figures.histories, seed: None, steps });
                }
                if is_done {
                    figures.histories += 1;
                    break;
                }
                if known.get(&run.fingerprint()).is_some_and(|before| *before <= faults) {
                    break;
                }
                known.insert(run.fingerprint(), faults);
                figures.states += 1;
                let next = run.steps();
                let Some(first) = next.first().copied() else {
                    run.world.fail("nothing goes on".to_owned());
                    continue;
                };
                let with = |step: &Step| [&steps[..], &[*step]].concat();
                todo[faults as usize].extend(next[1..].iter().map(with));
                if faults < max_faults {
                    let bad = run.faults();
                    points.note(&run, &bad, None);
                    figures.faults += bad.len() as u64;
                    todo[faults as usize + 1].extend(bad.iter().map(with));
                }
                run.take(first);
                steps.push(first);
                figures.steps += 1;
            }
        }
    }
    (figures.points, figures.covered) =
        (points.seen.len(), points.covered.intersection(&points.seen).count());
    Ok(figures)
}

/// So many histories drawn from a seed.
pub fn random(level: Level, seed: u64, histories: u64) -> Result<Figures, Failed> {
    let mut figures = Figures::default();
    let mut points = Points::default();
    for history in 0..histories {
        let mut dice = fastrand::Rng::with_seed(seed ^ history.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The waits between attempts are drawn, too.
        fastrand::seed(dice.u64(..));
        let plan = drawn(&mut dice, level);
        let mut steps = Vec::new();
        if let Err(why) = one(&plan, &mut dice, &mut steps, &mut figures, &mut points) {
            let mut words = words(&plan, &steps);
            words.insert(0, format!("  {plan:?}"));
            return Err(Failed { why, history, seed: Some(seed), steps: words });
        }
        figures.histories += 1;
    }
    (figures.points, figures.covered) =
        (points.seen.len(), points.covered.intersection(&points.seen).count());
    Ok(figures)
}

fn drawn(dice: &mut fastrand::Rng, level: Level) -> Plan {
    let kinds = [Kind::Rows(1), Kind::Rows(1), Kind::Rows(2), Kind::Refused, Kind::Rejected, Kind::Nothing];
    let partition = |dice: &mut fastrand::Rng| -> Vec<Kind> {
        (0..dice.usize(3..=9)).map(|_| kinds[dice.usize(..kinds.len())]).collect()
    };
    let hosts = dice.usize(2..=3);
    Plan {
        level,
        kinds: (0..2).map(|_| partition(dice)).collect(),
        hosts,
        cuts: (0..5).map(|_| dice.u32(1..=6)).collect(),
        is_random: true,
    }
}

fn one(
    plan: &Plan,
    dice: &mut fastrand::Rng,
    steps: &mut Vec<Step>,
    figures: &mut Figures,
    points: &mut Points,
) -> Result<(), String> {
    let mut run = Run::new(plan);
    let mut faults = dice.usize(0..=MAX_FAULTS);
    loop {
        if run.is_done() {
            run.check();
        }
        if let Some(why) = run.world.broken.take() {
            return Err(why);
        }
        if run.is_done() {
            return Ok(());
        }
        if steps.len() > MAX_STEPS {
            return Err("it does not come to an end".to_owned());
        }
        let bad = if faults > 0 && dice.u32(..8) == 0 { run.faults() } else { vec![] };
        let step = match dice.choice(&bad) {
            Some(step) => {
                faults -= 1;
                figures.faults += 1;
                points.note(&run, &bad, None);
                points.note(&run, &[], Some(*step));
                *step
            }
            None => {
                let next = run.steps();
                *dice.choice(&next).ok_or("nothing goes on")?
            }
        };
        steps.push(step);
        run.take(step);
        figures.steps += 1;
    }
}
