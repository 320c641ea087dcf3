//! One history: hosts, the world, and the steps that can come next.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::host::{Answer, Effect, Host, Records};
use super::world::{Kind, Level, Straggler, World, failure};
use crate::clickhouse::response::Class;
use crate::clickhouse::session;

/// How a call to the outside ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Good,
    /// It never arrived, or was refused; the caller hears of a failure.
    Failed,
    /// It was done; the caller hears of a failure.
    AnswerLost,
    /// The caller gives up waiting, and the insert may still be done: it runs, or is on its way.
    Late {
        runs: bool,
    },
    /// The server dies: the token is logged, the rows are lost.
    ServerKilled,
    /// The server refuses it for now.
    Busy,
    /// The host dies, before the call does anything or after. It comes back, and gets its partitions back or not.
    Crash {
        after: bool,
        back: bool,
    },
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A host's delivery goes on.
    Go(usize, Outcome),
    /// A straggler is applied.
    Apply(usize),
    /// A host takes a record in.
    Fetch(usize, usize),
    /// A host's open batch gets old.
    Linger(usize, usize),
    /// The group moves a partition to another host.
    Move(usize, usize),
    /// A host's session ends while it lives: its partitions go to another.
    Lose(usize),
    /// A host that lost its session notices.
    Notice(usize),
    /// A host ends a revocation of a partition; or dies right after its last commit.
    Gone(usize, usize, bool),
    /// A host is to stop and gives its deliveries up.
    GiveUp(usize),
}

/// What is tried.
#[derive(Debug, Clone)]
pub struct Plan {
    pub level: Level,
    pub kinds: Vec<Vec<Kind>>,
    pub hosts: usize,
    /// How many records a batch has, of the first process, the second, …
    pub cuts: Vec<u32>,
    /// Whether hosts run in any order, and take records in one by one. Otherwise what is independent of each
    /// other happens in one order.
    pub is_random: bool,
}

impl Plan {
    /// 2 partitions of 4 records each, with every kind, and 2 hosts.
    pub fn small(level: Level) -> Plan {
        let (one, two) = (Kind::Rows(1), Kind::Rows(2));
        Plan {
            level,
            kinds: vec![vec![one, two, Kind::Refused, one], vec![one, Kind::Rejected, Kind::Nothing, one]],
            hosts: 2,
            cuts: vec![2, 3, 1],
            is_random: false,
        }
    }
}

pub struct Run {
    pub plan: Plan,
    records: Records,
    pub world: World,
    pub hosts: Vec<Host>,
    clock: Rc<Cell<Instant>>,
    started: usize,
}

impl Run {
    pub fn new(plan: &Plan) -> Self {
        let records: Records = Rc::new(plan.kinds.clone());
        let world = World::new(plan.level, plan.kinds.clone(), plan.hosts);
        let clock = Rc::new(Cell::new(Instant::now()));
        let mut run = Run { plan: plan.clone(), records, world, hosts: vec![], clock, started: 0 };
        for _ in 0..plan.hosts {
            let host = run.start();
            run.hosts.push(host);
        }
        for partition in 0..plan.kinds.len() {
            run.assign(run.world.owners[partition], partition);
        }
        run
    }

    fn start(&mut self) -> Host {
        let rows = self.plan.cuts[self.started % self.plan.cuts.len()];
        self.started += 1;
        Host::start(self.plan.level, &self.records, &self.clock, rows)
    }

    fn assign(&mut self, host: usize, partition: usize) {
        self.world.owners[partition] = host;
        self.hosts[host].assign(&self.world, partition);
        if !self.plan.is_random {
            while self.is_unread(host, partition) {
                self.hosts[host].fetch(partition);
            }
            self.hosts[host].linger(partition, true);
        }
    }

    fn is_unread(&self, host: usize, partition: usize) -> bool {
        let reading = self.hosts[host].readings.get(&partition);
        reading.is_some_and(|reading| reading.next() < self.records[partition].len() as i64)
    }

    /// Whether everything is delivered and committed, and nothing is on its way.
    pub fn is_done(&self) -> bool {
        self.world.is_committed() && self.world.stragglers.is_empty() && !self.hosts.iter().any(Host::is_busy)
    }

    /// Checks each record, at the end.
    pub fn check(&mut self) {
        for partition in 0..self.records.len() {
            for offset in 0..self.records[partition].len() as i64 {
                if let Err(why) = self.world.is_done(partition, offset, false) {
                    self.world.fail(why);
                }
            }
        }
    }

    /// What can happen without a fault; the first is what happens if nobody says otherwise. None: stuck.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut ends = Vec::new();
        for (at, host) in self.hosts.iter().enumerate() {
            for partition in host.leaving.keys() {
                if !host.ownership.is_busy(&Host::name(*partition)) {
                    ends.push(Step::Gone(at, *partition, false));
                }
            }
            if host.is_lost && host.leaving.is_empty() {
                let waits = matches!(host.pending, None | Some(Effect::Next | Effect::Pause(_)));
                if waits { ends.insert(0, Step::Notice(at)) } else { steps.push(Step::Notice(at)) }
            }
            if self.plan.is_random {
                for partition in
                    host.readings.keys().filter(|partition| !host.leaving.contains_key(partition))
                {
                    if self.is_unread(at, *partition) {
                        steps.push(Step::Fetch(at, *partition));
                    }
                    steps.push(Step::Linger(at, *partition));
                }
            }
        }
        let late = (0..self.world.stragglers.len()).map(Step::Apply);
        // Who waits, or has nothing to do, polls: it notices before it goes on.
        let polls = |host: &Host| matches!(host.pending, Some(Effect::Next | Effect::Pause(_)));
        let goes = |host: &Host| host.is_busy() && !(host.is_lost && host.leaving.is_empty() && polls(host));
        let busy = self.hosts.iter().enumerate().filter(|(_, host)| goes(host));
        let mut busy: Vec<Step> = busy.map(|(at, _)| Step::Go(at, Outcome::Good)).collect();
        if !self.plan.is_random && !self.is_contended() {
            busy.truncate(1);
        }
        ends.into_iter().chain(busy).chain(late).chain(steps).collect()
    }

    /// Whether two hosts may write the same partition.
    fn is_contended(&self) -> bool {
        self.hosts.iter().enumerate().any(|(at, host)| {
            let held = host.readings.keys().chain(&host.delivering);
            host.is_lost || held.into_iter().any(|partition| self.world.owners[*partition] != at)
        })
    }

    /// The faults that can come now.
    pub fn faults(&self) -> Vec<Step> {
        let mut faults = Vec::new();
        let mut busy: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].is_busy()).collect();
        if !self.plan.is_random && !self.is_contended() {
            busy.truncate(1);
        }
        for at in busy {
            let host = &self.hosts[at];
            let more: &[Outcome] = match &host.pending {
                None => continue,
                Some(Effect::Next | Effect::Pause(_)) => &[],
                Some(Effect::Commit { .. }) => &[Outcome::Failed, Outcome::AnswerLost],
                Some(Effect::Insert(_)) => &[
                    Outcome::Failed,
                    Outcome::AnswerLost,
                    Outcome::ServerKilled,
                    Outcome::Busy,
                    Outcome::Late { runs: true },
                    Outcome::Late { runs: false },
                ],
                Some(Effect::Look { .. } | Effect::End(_)) => &[Outcome::Failed],
                Some(Effect::Open | Effect::Close(_)) => &[Outcome::Failed, Outcome::AnswerLost],
            };
            let crash = |(after, back)| Outcome::Crash { after, back };
            let crashes = [(false, false), (false, true), (true, false), (true, true)].map(crash);
            let outcomes = more.iter().copied().chain(crashes);
            faults.extend(outcomes.map(|outcome| Step::Go(at, outcome)));
            if !host.give_up.get() {
                faults.push(Step::GiveUp(at));
            }
            if !host.is_lost && host.leaving.is_empty() {
                faults.push(Step::Lose(at));
            }
        }
        for (at, host) in self.hosts.iter().enumerate() {
            for partition in host.leaving.keys() {
                let name = Host::name(*partition);
                if !host.ownership.is_busy(&name) {
                    faults.push(Step::Gone(at, *partition, true));
                } else if !host.ownership.is_committing(&name) {
                    // The delivery takes longer than a revocation waits.
                    faults.push(Step::Gone(at, *partition, false));
                }
            }
            if host.is_lost || !host.leaving.is_empty() {
                continue;
            }
            for partition in host.readings.keys().filter(|partition| self.world.owners[**partition] == at) {
                let others = (0..self.hosts.len()).filter(|to| *to != at && !self.hosts[*to].is_lost);
                faults.extend(others.map(|to| Step::Move(*partition, to)));
            }
        }
        faults
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Go(at, Outcome::Crash { after, back }) => {
                if after {
                    let _ = self.perform(at, Outcome::Good);
                }
                self.crash(at, back);
            }
            Step::Go(at, outcome) => {
                let answer = self.perform(at, outcome);
                self.resume(at, answer);
            }
            Step::Apply(at) => {
                let Straggler { request, runs } = self.world.stragglers.remove(at);
                if runs || self.world.begins(&request) {
                    let _ = self.world.apply(&request);
                }
            }
            Step::Fetch(at, partition) => self.hosts[at].fetch(partition),
            Step::Linger(at, partition) => {
                let at_end = !self.is_unread(at, partition);
                self.hosts[at].linger(partition, at_end);
            }
            Step::Move(partition, to) => {
                let from = self.world.owners[partition];
                self.hosts[from].leave(partition, Some(to));
            }
            Step::Lose(at) => {
                self.hosts[at].is_lost = true;
                self.world.members[at] = None;
                self.rebalance();
                self.hand_over(at, false);
            }
            Step::Notice(at) => {
                let partitions: Vec<usize> = self.hosts[at].readings.keys().copied().collect();
                for partition in partitions {
                    self.hosts[at].leave(partition, None);
                }
                self.join_again(at);
            }
            Step::Gone(at, partition, crashes) => self.gone(at, partition, crashes),
            Step::GiveUp(at) => self.hosts[at].give_up.set(true),
        }
    }

    /// Lets the outside do what a host's pending call asks for.
    fn perform(&mut self, at: usize, outcome: Outcome) -> Answer {
        let Some(effect) = self.hosts[at].pending.clone() else { return Answer::Idle };
        let is_done = matches!(outcome, Outcome::Good | Outcome::AnswerLost);
        let unknown = Answer::Failed(failure(Class::Unknown, None));
        match effect {
            Effect::Next => match self.hosts[at].queue.pop_front() {
                Some(source) => Answer::Batch(Box::new(source)),
                None => Answer::Idle,
            },
            Effect::Pause(wait) => {
                let wait = if self.plan.is_random { wait } else { Duration::from_millis(1) };
                self.clock.set(self.clock.get() + wait);
                Answer::Done
            }
            Effect::Commit { partition, offset, seal } => {
                let taken = is_done && self.world.commit(at, partition, offset, &seal);
                if taken && outcome == Outcome::Good { Answer::Done } else { Answer::Refused }
            }
            Effect::Insert(request) if !self.world.begins(&request) => match outcome {
                Outcome::Good => Answer::Failed(failure(Class::Unknown, Some(session::NOT_FOUND))),
                _ => unknown,
            },
            Effect::Insert(request) => {
                let applied = if is_done { self.world.apply(&request) } else { Ok(()) };
                match outcome {
                    Outcome::Good => return applied.map_or_else(Answer::Failed, |()| Answer::Done),
                    Outcome::Late { runs } => self.world.stragglers.push(Straggler { request, runs }),
                    Outcome::ServerKilled => self.world.kill_server(&request),
                    Outcome::Busy => return Answer::Failed(failure(Class::Retry, Some(252))),
                    _ => {}
                }
                unknown
            }
            Effect::Look { table, partition, range } if is_done => {
                Answer::Rows(self.world.look(table, partition, range))
            }
            Effect::End(token) if is_done => {
                let prefix = format!("{token}-");
                let ends = |late: &Straggler| late.runs && late.request.query_id.starts_with(&prefix);
                self.world.stragglers.retain(|late| !ends(late));
                Answer::Done
            }
            Effect::Open if is_done => {
                let name = self.world.open();
                if outcome == Outcome::Good { Answer::Session(name) } else { unknown }
            }
            Effect::Close(session) if is_done => {
                let ends = |late: &Straggler| late.runs && late.request.session.as_ref() == Some(&session);
                self.world.stragglers.retain(|late| !ends(late));
                self.world.sessions.remove(&session);
                if outcome == Outcome::Good { Answer::Done } else { unknown }
            }
            Effect::Look { .. } | Effect::End(_) | Effect::Open | Effect::Close(_) => unknown,
        }
    }

    fn resume(&mut self, at: usize, answer: Answer) {
        if let Err(error) = self.hosts[at].resume(answer) {
            self.world.fail(format!("host {at} stops: {error:#}"));
        }
        if self.hosts[at].pending.is_none() {
            // It leaves the group in order.
            for partition in self.hosts[at].readings.keys().copied().collect::<Vec<_>>() {
                if let Some(offset) = self.hosts[at].gone(partition) {
                    self.world.commit(at, partition, offset, "");
                }
            }
            self.crash(at, true);
        }
    }

    /// The host dies, and a new one is started in its place.
    fn crash(&mut self, at: usize, back: bool) {
        self.hosts[at] = self.start();
        self.rebalance();
        self.world.members[at] = Some(self.world.generation);
        self.hand_over(at, back);
    }

    /// Everyone who is still a member takes part in the next generation.
    fn rebalance(&mut self) {
        let before = self.world.generation;
        self.world.generation += 1;
        for member in self.world.members.iter_mut().filter(|member| **member == Some(before)) {
            *member = Some(before + 1);
        }
    }

    /// Gives a host's partitions to another, or back to itself.
    fn hand_over(&mut self, at: usize, back: bool) {
        let other = (0..self.hosts.len()).find(|to| *to != at && !self.hosts[*to].is_lost);
        let to = other.filter(|_| !back).unwrap_or(at);
        if self.hosts[to].is_lost {
            self.hosts[to].is_lost = false;
            self.world.members[to] = Some(self.world.generation);
        }
        let of_host = (0..self.records.len()).filter(|partition| self.world.owners[*partition] == at);
        for partition in of_host.collect::<Vec<_>>() {
            self.assign(to, partition);
        }
        // What was on its way to it goes elsewhere.
        for host in &mut self.hosts {
            for leaving in host.leaving.values_mut().filter(|leaving| leaving.to == Some(at)) {
                leaving.to = Some(to);
            }
        }
    }

    fn gone(&mut self, at: usize, partition: usize, crashes: bool) {
        let to = self.hosts[at].leaving.get(&partition).and_then(|leaving| leaving.to);
        if let Some(offset) = self.hosts[at].gone(partition).filter(|_| to.is_some()) {
            self.world.commit(at, partition, offset, "");
        }
        if crashes {
            return self.crash(at, true);
        }
        if let Some(to) = to {
            self.rebalance();
            self.assign(to, partition);
        }
        self.join_again(at);
    }

    fn join_again(&mut self, at: usize) {
        if self.hosts[at].is_lost && self.hosts[at].leaving.is_empty() {
            self.hosts[at].is_lost = false;
            self.rebalance();
            self.world.members[at] = Some(self.world.generation);
        }
    }

    pub fn fingerprint(&self) -> u64 {
        let mut state = rustc_hash::FxHasher::default();
        let world = &self.world;
        (&world.commits, &world.owners, &world.rows, &world.tokens, &world.stragglers).hash(&mut state);
        world.sessions.hash(&mut state);
        for at in 0..self.hosts.len() {
            world.is_member(at).hash(&mut state);
            self.hosts[at].fingerprint(&mut state);
        }
        (self.started % self.plan.cuts.len()).hash(&mut state);
        state.finish()
    }
}
