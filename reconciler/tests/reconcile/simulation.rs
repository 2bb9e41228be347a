//! Simulates reconciling a job with a Runner that loses responses, a clock that jumps, a reconciler that dies at any
//! point, and jobs that fail in every way.
//!
//! The simulation runs with tens of thousands of seeds. `DCP_SEED=N` repeats a single one.

use std::collections::BTreeSet;

use dcp_model::manifest::OnUnhealthy;
use dcp_reconciler::reconcile::{
    Condition, Decision, Desired, Effect, JobState, Observed, Requested, RunStatus, Version, decide,
};
use jiff::{SignedDuration, Timestamp};

use crate::runner::{Behavior, Dice, Execution, SimulatedRunner};
use crate::{desired, service, start_time, version};

/// A reconciler: its stored job state, and the Runner's latest rejection of a submit.
struct Reconciler {
    state: JobState,
    answer: Option<RunStatus>,
}

impl Reconciler {
    /// Observes, decides, stores and acts once. With faults, it may die in between, and responses may be lost.
    fn step(
        &mut self,
        runner: &mut SimulatedRunner,
        asked: (&Option<Desired>, &Requested),
        now: Timestamp,
        dice: &mut Dice,
        faults: bool,
    ) -> Decision {
        let actual = runner.seen(self.state.run.as_ref(), now);
        let unknown = faults && dice.once_in(15);
        let seen = match self.answer.take() {
            _ if unknown => RunStatus::Unknown,
            Some(answer) if actual == RunStatus::Nothing && self.state.run.is_some() => answer,
            _ => actual,
        };
        let orphan = runner.orphan(self.state.run.as_ref());
        let observed = Observed { run: seen, orphan: orphan.filter(|_| !unknown) };
        let decision = decide(asked.0.as_ref(), asked.1, &self.state, &observed, now, 7);
        let mut dies = || faults && dice.once_in(12);
        if dies() {
            return decision;
        }
        self.state = decision.state.clone();
        if dies() {
            return decision;
        }
        let lost = dies();
        match &decision.effect {
            None => {}
            Some(Effect::Start(run)) if faults && dice.once_in(10) => runner.late.push(run.clone()),
            Some(Effect::Start(run)) => {
                let answer = runner.submit(run, now);
                if !lost {
                    match answer {
                        Ok(id) => {
                            self.state.run.as_mut().expect("it was written down").execution =
                                Some(id.to_string());
                        }
                        Err(seen) => self.answer = Some(seen),
                    }
                }
            }
            Some(Effect::Stop { execution }) => runner.stop(execution, dice),
        }
        decision
    }
}

/// A user who changes the job at random.
struct User {
    revision: u64,
    current: Option<Desired>,
    last: (u64, u64),
    /// Set if the job is a service in its newest revision.
    service: bool,
    requested: Requested,
    changes: usize,
}

impl User {
    fn change(&mut self, runner: &mut SimulatedRunner, dice: &mut Dice) {
        self.changes += 1;
        self.revision += 1;
        let (mut build, mut state) = self.last;
        match (dice.roll(9), self.current.is_some()) {
            (0..=2, _) | (_, false) => build = self.revision,
            (3, true) => (build, state) = (self.revision, self.revision),
            (4, true) => {}
            (5, true) => {
                self.current = None;
                return;
            }
            (6, true) => self.requested.paused = !self.requested.paused,
            (7, true) => self.requested.restarts += 1,
            (_, true) => {
                let it = self.current.as_mut().expect("it exists");
                it.paused = !it.paused;
                return;
            }
        }
        if state == 0 {
            state = build;
        }
        if build == self.revision {
            self.service = dice.once_in(3);
            runner.behaviors.insert(build, self.behavior(dice));
        }
        self.last = (build, state);
        self.current = Some(self.declaration(build, state, dice));
    }

    /// Returns a random behavior of a new build.
    fn behavior(&self, dice: &mut Dice) -> Behavior {
        match dice.roll(7) {
            0 => Behavior::Fails { retryable: true },
            1 => Behavior::Fails { retryable: false },
            2 => Behavior::Ends,
            3 if !self.service => Behavior::Hangs,
            _ => Behavior::Good,
        }
    }

    /// Returns the declaration of the newest revision, with a random policy.
    fn declaration(&self, build: u64, state: u64, dice: &mut Dice) -> Desired {
        let mut new = desired(match self.service {
            true => Version { state, ..service(self.revision, build) },
            false => version(self.revision, build, state),
        });
        new.on_unhealthy = match dice.roll(4) {
            0 => OnUnhealthy::Keep,
            1 => OnUnhealthy::Pause,
            _ => OnUnhealthy::Rollback,
        };
        new.paused = self.current.as_ref().is_some_and(|it| it.paused);
        new
    }
}

/// Checks that at most one execution is alive at each checkpoint.
fn assert_exclusive(runner: &SimulatedRunner) {
    let alive: Vec<_> = runner.alive().collect();
    let keys: BTreeSet<_> = alive.iter().map(|(_, it)| &it.version.checkpoint).collect();
    assert_eq!(alive.len(), keys.len(), "{alive:#?}");
}

/// A job with its user, its reconciler and its Runner.
struct Simulation {
    dice: Dice,
    user: User,
    reconciler: Reconciler,
    runner: SimulatedRunner,
    now: Timestamp,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (requested, service) = (Requested::default(), false);
        Self {
            dice: Dice::of_seed(seed),
            user: User { revision: 0, current: None, last: (0, 0), service, requested, changes: 0 },
            reconciler: Reconciler { state: JobState::default(), answer: None },
            runner: SimulatedRunner::default(),
            now: start_time(),
        }
    }

    /// Reconciles once, and advances the executions.
    fn step(&mut self, faults: bool) -> Decision {
        let Self { dice, user, reconciler, runner, now } = self;
        let decision = reconciler.step(runner, (&user.current, &user.requested), *now, dice, faults);
        runner.advance(*now, dice, faults);
        assert_exclusive(runner);
        decision
    }

    /// Reconciles with random changes and faults.
    fn disturb(&mut self) {
        for _ in 0..self.dice.roll(120) {
            if self.dice.once_in(12) {
                self.user.change(&mut self.runner, &mut self.dice);
            }
            if let Some(current) = self.user.current.as_ref().filter(|_| self.dice.once_in(20)) {
                self.runner.start_by_hand(current.version.clone(), self.now);
            }
            self.step(true);
            let jump = if self.dice.once_in(10) { self.dice.roll(400) } else { self.dice.roll(8) };
            self.now += SignedDuration::from_secs(i64::try_from(jump).expect("it is small"));
        }
    }

    /// Reconciles without changes and faults until the job has settled, and returns its condition.
    fn settle(&mut self) -> Condition {
        let build = self.user.current.as_ref().map(|it| it.version.build);
        let behavior = build.and_then(|build| self.runner.behaviors.get(&build));
        let bad = behavior.is_some_and(|it| *it != Behavior::Good);
        let (mut last, failed_before) = (None, self.reconciler.state.failures);
        for _ in 0..3_000 {
            let decision = self.step(false);
            // The decision must set a wake time if it needs one; otherwise the next cycle is an hour later.
            let next = decision.wake.unwrap_or(self.now + SignedDuration::from_secs(3_600));
            let busy = decision.effect.is_some() || self.reconciler.answer.is_some();
            let soon = self.now + SignedDuration::from_secs(1);
            self.now = if busy { soon } else { next.max(soon) };
            let settled = decision.effect.is_none() && last.as_ref() == Some(&decision.condition);
            let waits = self.waits(&decision.condition);
            let backs_off = matches!(decision.condition, Condition::BackingOff { .. });
            last = Some(decision.condition);
            // The policy may have changed after earlier failures. The new policy applies at the next failure.
            let hopeless = bad && self.reconciler.state.failures > failed_before.max(6) && backs_off;
            if hopeless || (settled && !waits) {
                break;
            }
        }
        last.expect("it was decided")
    }

    /// Returns whether the job waits for something that happens without a decision.
    fn waits(&mut self, condition: &Condition) -> bool {
        matches!(condition, Condition::Starting | Condition::BackingOff { .. } | Condition::Held { .. })
            || !self.runner.late.is_empty()
            || self.runner.orphan(self.reconciler.state.run.as_ref()).is_some()
    }
}

fn simulate(seed: u64) -> (SimulatedRunner, Reconciler) {
    let mut simulation = Simulation::new(seed);
    simulation.disturb();
    let condition = simulation.settle();
    let Simulation { user, reconciler, runner, .. } = simulation;
    assert_converged(&runner, &reconciler, &user, condition);
    (runner, reconciler)
}

fn assert_converged(runner: &SimulatedRunner, reconciler: &Reconciler, user: &User, condition: Condition) {
    let alive: Vec<&Execution> = runner.alive().map(|(_, it)| it).filter(|it| !it.foreign).collect();
    let Some(current) = user.current.as_ref().filter(|it| !it.paused && !user.requested.paused) else {
        assert_eq!(alive.len(), 0, "nothing is to run");
        let gone = if user.current.is_some() { Condition::Paused } else { Condition::Deleted };
        assert_eq!(condition, gone);
        return;
    };
    let behavior = runner.behaviors.get(&current.version.build).copied().unwrap_or(Behavior::Good);
    if behavior == Behavior::Good && reconciler.state.given_up.is_none() {
        assert_eq!(condition, Condition::Healthy, "{:#?}", reconciler.state);
        assert_eq!((alive.len(), alive[0].version.build), (1, current.version.build));
        return;
    }
    match (&reconciler.state.given_up, current.on_unhealthy) {
        (Some(_), OnUnhealthy::Rollback) => {
            assert_eq!(condition, Condition::Healthy, "{:#?}", reconciler.state);
            assert_ne!(alive[0].version.build, current.version.build);
        }
        (Some(_), OnUnhealthy::Pause) => assert_eq!((alive.len(), condition), (0, Condition::Paused)),
        (Some(_), OnUnhealthy::Keep) => unreachable!("the policy keeps the build"),
        // The job is restarted with growing backoff, and its failure is reported.
        (None, policy) => {
            let none_healthy =
                reconciler.state.healthy.as_ref().is_none_or(|it| it.build == current.version.build);
            assert!(policy == OnUnhealthy::Keep || none_healthy, "{:#?}", reconciler.state);
            assert!(
                reconciler.state.failures > 1 && reconciler.state.failure.is_some(),
                "{:#?}",
                reconciler.state
            );
        }
    }
}

#[test]
fn a_job_converges_after_random_faults_and_changes() {
    if let Some(seed) = std::env::var("DCP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        simulate(seed);
        return;
    }
    let mut sums = [0; 5];
    for seed in 0..50_000 {
        let outcome = std::panic::catch_unwind(|| {
            let (runner, reconciler) = simulate(seed);
            let given_up = usize::from(reconciler.state.given_up.is_some());
            [runner.executions.len(), runner.resets, given_up, runner.orphans_seen, runner.services]
        });
        let Ok(counts) = outcome else { panic!("the seed {seed} fails: DCP_SEED={seed}") };
        sums = std::array::from_fn(|at| sums[at] + counts[at]);
    }
    let [starts, resets, given_up, orphans_seen, services] = sums;
    println!(
        "50000 seeds: {starts} starts, {orphans_seen} observations of orphans, {resets} checkpoints set aside,"
    );
    println!("{services} starts of services, {given_up} revisions given up at the end");
    let enough =
        starts > 150_000 && resets > 8_000 && given_up > 5_000 && orphans_seen > 100 && services > 30_000;
    assert!(enough, "{sums:?}: too little happens");
}
