//! Simulates reconciling a job with a Runner that loses responses, a clock that jumps, a reconciler that dies at any
//! point, and jobs that fail in every way.
//!
//! The simulation runs with tens of thousands of seeds. `DCP_SEED=N` repeats a single one.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::manifest::{OnUnhealthy, Trigger};
use dcp_model::primitive::Fingerprint;
use dcp_reconciler::reconcile::{
    Condition, Decision, Desired, Effect, Health, JobState, Observed, Requested, Run, RunStatus, Stopping,
    Version, decide,
};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Random numbers that depend on the seed alone.
struct Dice(StdRng);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0.random_range(0..sides)
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Behaviour of the executions of a build.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behavior {
    Good,
    /// Fails at once; another attempt may succeed if it is retryable.
    Fails {
        retryable: bool,
    },
    /// Ends by itself, successfully.
    Ends,
    /// Runs without any progress.
    Hangs,
}

#[derive(Debug, Clone)]
struct Execution {
    token: (u64, u64),
    version: Version,
    begun: Timestamp,
    end: Option<End>,
    /// The number of steps until it stops; set once a stop is requested.
    stopping: Option<u64>,
    /// Set if someone started it by hand.
    foreign: bool,
}

#[derive(Debug, Clone)]
struct End {
    succeeded: bool,
    why: &'static str,
    retryable: bool,
}

/// The Runner, and the state that last wrote to each checkpoint.
#[derive(Default)]
struct SimulatedRunner {
    executions: Vec<Execution>,
    checkpoints: BTreeMap<Option<String>, u64>,
    behaviors: BTreeMap<u64, Behavior>,
    /// Submits that have not reached the Runner yet, though their sender has stopped waiting.
    late: Vec<Run>,
    resets: usize,
    orphans_seen: usize,
    /// The number of runs of services that were started.
    services: usize,
}

impl SimulatedRunner {
    fn alive(&self) -> impl Iterator<Item = (usize, &Execution)> {
        self.executions.iter().enumerate().filter(|(_, it)| it.end.is_none())
    }

    fn submit(&mut self, run: &Run, now: Timestamp) -> Result<usize, RunStatus> {
        let token = (run.version.revision, run.number);
        if let Some(at) = self.executions.iter().position(|it| it.token.1 == token.1) {
            assert_eq!(self.executions[at].version.build, run.version.build, "one token, one request");
            return Ok(at);
        }
        let holder = self.alive().find(|(_, it)| it.version.checkpoint == run.version.checkpoint);
        if let Some((by, _)) = holder {
            return Err(RunStatus::Held { by: by.to_string() });
        }
        self.services += usize::from(run.version.is_service());
        // The Runner moves a checkpoint of another state away, once the execution holds the checkpoint exclusively.
        if !run.version.is_service() {
            let before = self.checkpoints.insert(run.version.checkpoint.clone(), run.version.state);
            self.resets += usize::from(before.is_some_and(|before| before != run.version.state));
        }
        let version = run.version.clone();
        let (end, stopping, foreign) = (None, None, false);
        self.executions.push(Execution { token, version, begun: now, end, stopping, foreign });
        Ok(self.executions.len() - 1)
    }

    fn stop(&mut self, id: &str, dice: &mut Dice) {
        let at: usize = id.parse().expect("it is one of these");
        let steps_left = dice.roll(3);
        self.executions[at].stopping.get_or_insert(steps_left);
    }

    /// Starts a continuous job by hand if nothing runs.
    fn start_by_hand(&mut self, version: Version, now: Timestamp) {
        if self.alive().next().is_none() {
            let token = (0, u64::MAX - self.executions.len() as u64);
            let (end, stopping, foreign) = (None, Some(20), true);
            self.executions.push(Execution { token, version, begun: now, end, stopping, foreign });
        }
    }

    /// Advances live executions, and may deliver a late submit.
    fn advance(&mut self, now: Timestamp, dice: &mut Dice, faults: bool) {
        if !self.late.is_empty() && (!faults || dice.once_in(8)) {
            let run = self.late.remove(0);
            let _ = self.submit(&run, now);
        }
        for it in self.executions.iter_mut().filter(|it| it.end.is_none()) {
            let behavior = self.behaviors.get(&it.version.build).copied().unwrap_or(Behavior::Good);
            let end = |succeeded, why, retryable| Some(End { succeeded, why, retryable });
            if let Some(steps_left) = &mut it.stopping {
                match steps_left {
                    0 => it.end = end(true, "it was asked to stop", true),
                    _ => *steps_left -= 1,
                }
            } else if let Behavior::Fails { retryable } = behavior {
                it.end = end(false, "it always fails", retryable);
            } else if behavior == Behavior::Ends {
                it.end = end(true, "it is done", true);
            } else if faults && dice.once_in(30) {
                it.end = end(dice.once_in(4), "it was killed", true);
            }
        }
    }

    /// Returns a live execution of the job that is not its current run and was not started by hand.
    fn orphan(&mut self, run: Option<&Run>) -> Option<String> {
        let number = run.map(|run| run.number);
        let found = self.alive().find(|(_, it)| !it.foreign && Some(it.token.1) != number)?.0;
        self.orphans_seen += 1;
        Some(found.to_string())
    }

    fn seen(&self, run: Option<&Run>, now: Timestamp) -> RunStatus {
        let Some(id) = run.and_then(|run| run.execution.as_ref()) else { return RunStatus::Nothing };
        let it = &self.executions[id.parse::<usize>().expect("it is one of these")];
        if let Some(End { succeeded, why, retryable }) = &it.end {
            return RunStatus::Ended { succeeded: *succeeded, why: (*why).to_owned(), retryable: *retryable };
        }
        let age = now.duration_since(it.begun);
        let health = match self.behaviors.get(&it.version.build) {
            _ if age < SignedDuration::from_secs(2) => Health::Pending,
            _ if it.version.is_service() => Health::Silent { since: it.begun + SignedDuration::from_secs(2) },
            Some(Behavior::Hangs) => Health::Starting,
            _ => Health::Progressing { last: now, batch_millis: 100 },
        };
        RunStatus::Alive { health }
    }
}

const START_WITHIN: u64 = 60;
const STABLE_AFTER: u64 = 20;

/// Decides for a job without orphans.
fn decide_of(
    desired: Option<&Desired>,
    requested: &Requested,
    state: &JobState,
    seen: &RunStatus,
    now: Timestamp,
) -> Decision {
    decide(desired, requested, state, &Observed { run: seen.clone(), orphan: None }, now, 0)
}

fn start_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("there is such a time")
}

fn version(revision: u64, build: u64, state: u64) -> Version {
    Version {
        revision,
        build,
        state,
        job: Fingerprint::of(&build.to_string()),
        trigger: Some(Trigger::default()),
        checkpoint: Some("s3://lake/clicks/".to_owned()),
        grace: 120,
    }
}

fn service(revision: u64, build: u64) -> Version {
    Version { trigger: None, checkpoint: None, ..version(revision, build, 1) }
}

fn desired(version: Version) -> Desired {
    let stable_after = if version.is_service() { STABLE_AFTER } else { 0 };
    Desired {
        version,
        paused: false,
        on_unhealthy: OnUnhealthy::Rollback,
        start_within: START_WITHIN,
        progress_within: 60,
        stable_after,
        scaling: None,
        completes: None,
    }
}

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
            let behavior = match dice.roll(7) {
                0 => Behavior::Fails { retryable: true },
                1 => Behavior::Fails { retryable: false },
                2 => Behavior::Ends,
                3 if !self.service => Behavior::Hangs,
                _ => Behavior::Good,
            };
            runner.behaviors.insert(build, behavior);
        }
        self.last = (build, state);
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
        self.current = Some(new);
    }
}

/// Checks that at most one execution is alive at each checkpoint.
fn assert_exclusive(runner: &SimulatedRunner) {
    let alive: Vec<_> = runner.alive().collect();
    let keys: BTreeSet<_> = alive.iter().map(|(_, it)| &it.version.checkpoint).collect();
    assert_eq!(alive.len(), keys.len(), "{alive:#?}");
}

fn simulate(seed: u64) -> (SimulatedRunner, Reconciler) {
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let (mut runner, mut now) = (SimulatedRunner::default(), start_time());
    let mut reconciler = Reconciler { state: JobState::default(), answer: None };
    let (requested, service) = (Requested::default(), false);
    let mut user = User { revision: 0, current: None, last: (0, 0), service, requested, changes: 0 };
    for _ in 0..dice.roll(120) {
        if dice.once_in(12) {
            user.change(&mut runner, &mut dice);
        }
        if let Some(current) = user.current.as_ref().filter(|_| dice.once_in(20)) {
            runner.start_by_hand(current.version.clone(), now);
        }
        let asked = (&user.current.clone(), &user.requested.clone());
        reconciler.step(&mut runner, asked, now, &mut dice, true);
        runner.advance(now, &mut dice, true);
        assert_exclusive(&runner);
        let jump = if dice.once_in(10) { dice.roll(400) } else { dice.roll(8) };
        now += SignedDuration::from_secs(i64::try_from(jump).expect("it is small"));
    }
    // From here on, there are no faults and no changes.
    let asked = (&user.current.clone(), &user.requested.clone());
    let behavior = user.current.as_ref().and_then(|it| runner.behaviors.get(&it.version.build));
    let bad = behavior.is_some_and(|it| *it != Behavior::Good);
    let (mut last, failed_before) = (None, reconciler.state.failures);
    for _ in 0..3_000 {
        let decision = reconciler.step(&mut runner, asked, now, &mut dice, false);
        runner.advance(now, &mut dice, false);
        assert_exclusive(&runner);
        // The decision must set a wake time if it needs one; otherwise the next cycle is an hour later.
        let next = decision.wake.unwrap_or(now + SignedDuration::from_secs(3_600));
        let busy = decision.effect.is_some() || reconciler.answer.is_some();
        now = if busy {
            now + SignedDuration::from_secs(1)
        } else {
            next.max(now + SignedDuration::from_secs(1))
        };
        let settled = decision.effect.is_none() && last.as_ref() == Some(&decision.condition);
        last = Some(decision.condition.clone());
        let waits = matches!(
            decision.condition,
            Condition::Starting | Condition::BackingOff { .. } | Condition::Held { .. }
        ) || !runner.late.is_empty()
            || runner.orphan(reconciler.state.run.as_ref()).is_some();
        let backs_off = matches!(decision.condition, Condition::BackingOff { .. });
        // The policy may have changed after earlier failures. The new policy applies at the next failure.
        let hopeless = bad && reconciler.state.failures > failed_before.max(6) && backs_off;
        if hopeless || (settled && !waits) {
            break;
        }
    }
    assert_converged(&runner, &reconciler, &user, last.expect("it was decided"));
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

/// Returns the state of a job whose run is healthy.
fn healthy() -> (JobState, Timestamp) {
    let now = start_time();
    let started = decide_of(
        Some(&desired(version(1, 1, 1))),
        &Requested::default(),
        &JobState::default(),
        &RunStatus::Nothing,
        now,
    );
    let mut state = started.state;
    state.run.as_mut().expect("it is started").execution = Some("one".to_owned());
    let seen = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let decision = decide_of(Some(&desired(version(1, 1, 1))), &Requested::default(), &state, &seen, now);
    assert_eq!((decision.effect, decision.condition), (None, Condition::Healthy));
    (decision.state, now)
}

#[test]
fn service_is_healthy_once_its_driver_has_run_and_restarts_whenever_it_ends() {
    let (one, requested, begun) = (desired(service(1, 1)), Requested::default(), start_time());
    let mut state = decide_of(Some(&one), &requested, &JobState::default(), &RunStatus::Nothing, begun).state;
    state.run.as_mut().unwrap().execution = Some("one".to_owned());
    let after = |seconds: u64| begun + SignedDuration::from_secs(i64::try_from(seconds).unwrap());
    let running = RunStatus::Alive { health: Health::Silent { since: after(5) } };
    let early = decide_of(Some(&one), &requested, &state, &running, after(6));
    assert_eq!((early.condition, early.wake), (Condition::Starting, Some(after(5 + STABLE_AFTER))));
    assert_eq!(early.state.healthy, None);
    let stable = decide_of(Some(&one), &requested, &state, &running, after(5 + STABLE_AFTER));
    assert_eq!((stable.effect, stable.condition), (None, Condition::Healthy));
    assert_eq!(stable.state.healthy, Some(service(1, 1)));
    // A service has no progress to check: it stays healthy as long as its driver runs.
    let later = decide_of(Some(&one), &requested, &stable.state, &running, after(100_000));
    assert_eq!((later.effect, later.wake, later.condition), (None, None, Condition::Healthy));
    for (succeeded, why) in [(true, "it ended by itself"), (false, "exit code 3")] {
        let ended = RunStatus::Ended { succeeded, why: why.to_owned(), retryable: false };
        let failed = decide_of(Some(&one), &requested, &stable.state, &ended, after(200_000));
        let Condition::BackingOff { until } = failed.condition else { panic!("{:?}", failed.condition) };
        assert_eq!((failed.state.failure.as_deref(), &failed.state.given_up), (Some(why), &None));
        let again = decide_of(Some(&one), &requested, &failed.state, &RunStatus::Nothing, until);
        assert!(matches!(&again.effect, Some(Effect::Start(run)) if run.number == 2), "{again:?}");
    }
    // A driver that is not running in time is stopped, like that of a stream.
    let pending = RunStatus::Alive { health: Health::Pending };
    let late = decide_of(Some(&one), &requested, &state, &pending, after(START_WITHIN));
    assert_eq!(late.condition, Condition::Stopping(Stopping::Unhealthy));
}

#[test]
fn service_that_keeps_ending_is_rolled_back() {
    let (state, now) = healthy();
    let (two, requested) = (desired(service(2, 2)), Requested::default());
    let moving = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let stopping = decide_of(Some(&two), &requested, &state, &moving, now).state;
    let drained = RunStatus::Ended { succeeded: true, why: String::new(), retryable: true };
    let mut state = decide_of(Some(&two), &requested, &stopping, &drained, now).state;
    let ended = RunStatus::Ended { succeeded: true, why: String::new(), retryable: true };
    let mut at = now;
    for _ in 0..10 {
        state.run.as_mut().unwrap().execution = Some("any".to_owned());
        let failed = decide_of(Some(&two), &requested, &state, &ended, at);
        if failed.state.given_up.is_some() {
            assert_eq!(failed.state.run.unwrap().version.build, 1);
            assert!(at >= now + SignedDuration::from_secs(80), "it had its time: {at}");
            return;
        }
        at = failed.wake.unwrap();
        state = decide_of(Some(&two), &requested, &failed.state, &RunStatus::Nothing, at).state;
    }
    panic!("it is never given up");
}

#[test]
fn an_unchanged_build_is_not_restarted() {
    let (state, now) = healthy();
    let seen = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    // Only the revision differs, as after an edit that changes no build.
    let decision = decide_of(Some(&desired(version(2, 1, 1))), &Requested::default(), &state, &seen, now);
    assert_eq!((decision.effect, decision.events), (None, vec![]));
    assert_eq!(decision.state.run.unwrap().version.revision, 2);
    let again = decide_of(Some(&desired(version(1, 1, 1))), &Requested::default(), &state, &seen, now);
    assert_eq!((again.state == state, again.effect), (true, None), "in the steady state nothing is written");
}

#[test]
fn a_run_that_never_starts_is_stopped_at_the_start_timeout() {
    let (requested, now) = (Requested::default(), start_time());
    let desired = desired(version(1, 1, 1));
    let started = decide_of(Some(&desired), &requested, &JobState::default(), &RunStatus::Nothing, now);
    let late = now + SignedDuration::from_secs(60);
    // Nothing else wakes the reconciler while the Runner reports the same phase, so the decision must set the timeout.
    assert_eq!((started.effect.is_some(), started.wake), (true, Some(late)));
    // The response was lost until after the timeout.
    let asked = decide_of(Some(&desired), &requested, &started.state, &RunStatus::Nothing, late);
    assert_eq!((asked.effect, asked.wake), (started.effect, Some(late + SignedDuration::from_secs(1))));
    let mut state = started.state;
    state.run.as_mut().expect("it is started").execution = Some("one".to_owned());
    let seen = RunStatus::Alive { health: Health::Pending };
    let decision = decide_of(Some(&desired), &requested, &state, &seen, late);
    assert_eq!(decision.effect, Some(Effect::Stop { execution: "one".to_owned() }));
}

#[test]
fn each_reason_to_stop_is_reported() {
    let (state, now) = healthy();
    let seen = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let one = desired(version(1, 1, 1));
    let paused = Desired { paused: true, ..one.clone() };
    let requests = |paused, restarts| Requested { paused, restarts };
    let cases = [
        (Some(desired(version(2, 2, 1))), requests(false, 0), Stopping::Replaced),
        (Some(paused), requests(false, 0), Stopping::Paused),
        (Some(one.clone()), requests(true, 0), Stopping::Paused),
        (Some(one.clone()), requests(false, 1), Stopping::Restarted),
        (None, requests(false, 0), Stopping::Deleted),
    ];
    for (desired, requested, why) in cases {
        let decision = decide_of(desired.as_ref(), &requested, &state, &seen, now);
        assert_eq!(decision.effect, Some(Effect::Stop { execution: "one".to_owned() }), "{why:?}");
        assert_eq!(decision.condition, Condition::Stopping(why));
        assert_eq!(decision.events.len(), 1);
    }
    let late = now + SignedDuration::from_secs(61);
    let decision = decide_of(Some(&one), &Requested::default(), &state, &seen, late);
    assert_eq!(decision.condition, Condition::Stopping(Stopping::Unhealthy));
    assert_eq!(decision.events, ["run 1 of revision 1 is not healthy: it finished no batch for 60 s"]);
}

#[test]
fn a_failure_backs_off_and_a_new_revision_starts_at_once() {
    let (state, now) = healthy();
    let ended = RunStatus::Ended { succeeded: false, why: "out of memory".to_owned(), retryable: true };
    let failed = decide_of(Some(&desired(version(1, 1, 1))), &Requested::default(), &state, &ended, now);
    let Condition::BackingOff { until } = failed.condition else { panic!("{:?}", failed.condition) };
    assert_eq!((failed.effect, failed.wake, failed.state.failures), (None, Some(until), 1));
    assert_eq!(failed.events, ["run 1 of revision 1 failed: out of memory"]);
    let restart = Requested { restarts: 1, paused: false };
    for (desired, requested) in
        [(desired(version(2, 2, 1)), Requested::default()), (desired(version(1, 1, 1)), restart)]
    {
        let next = decide_of(Some(&desired), &requested, &failed.state, &RunStatus::Nothing, now);
        assert!(matches!(&next.effect, Some(Effect::Start(run)) if run.number == 2), "{next:?}");
    }
}

/// Replaces a healthy run by a new build whose run fails, and returns the decision about the failure.
fn replaced_by_one_that_fails(retryable: bool) -> Decision {
    let (state, now) = healthy();
    let (new, requested) = (desired(version(2, 2, 1)), Requested::default());
    let moving = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let stopping = decide_of(Some(&new), &requested, &state, &moving, now).state;
    let drained = RunStatus::Ended { succeeded: true, why: String::new(), retryable: true };
    let started = decide_of(Some(&new), &requested, &stopping, &drained, now);
    assert_eq!(
        started.events,
        ["run 1 has stopped: another revision takes its place", "run 2 of revision 2 is started"]
    );
    let mut state = started.state;
    state.run.as_mut().expect("it is started").execution = Some("two".to_owned());
    let ended = RunStatus::Ended { succeeded: false, why: "no such table".to_owned(), retryable };
    decide_of(Some(&new), &requested, &state, &ended, now)
}

#[test]
fn only_permanent_failures_are_rolled_back_at_once() {
    let back = replaced_by_one_that_fails(false);
    assert_eq!(
        back.events,
        [
            "run 2 of revision 2 failed: no such table",
            "revision 2 is given up, revision 1 takes its place again: no such table",
            "run 3 of revision 1 is started",
        ]
    );
    assert!(matches!(&back.effect, Some(Effect::Start(run)) if run.version.build == 1), "{back:?}");
    // The next revision replaces the run of the fallback revision, and clears the given-up one.
    let (next, now) = (desired(version(3, 3, 1)), start_time());
    let mut state = back.state;
    state.run.as_mut().expect("it is started").execution = Some("three".to_owned());
    let alive = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let replaced = decide_of(Some(&next), &Requested::default(), &state, &alive, now);
    assert_eq!(replaced.condition, Condition::Stopping(Stopping::Replaced));
    assert_eq!(replaced.state.given_up, None);

    let again = replaced_by_one_that_fails(true);
    assert!(matches!(again.condition, Condition::BackingOff { .. }), "{again:?}");
    assert_eq!(again.state.given_up, None);
}

#[test]
fn an_unhealthy_run_counts_as_failed_even_if_paused() {
    let (state, now) = healthy();
    let late = now + SignedDuration::from_secs(61);
    let silent = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 100 } };
    let ill = decide_of(Some(&desired(version(1, 1, 1))), &Requested::default(), &state, &silent, late).state;
    let paused = Desired { paused: true, ..desired(version(1, 1, 1)) };
    let stopping = decide_of(Some(&paused), &Requested::default(), &ill, &silent, late);
    assert_eq!(stopping.condition, Condition::Stopping(Stopping::Unhealthy));
    let ended = RunStatus::Ended { succeeded: true, why: String::new(), retryable: true };
    let rests = decide_of(Some(&paused), &Requested::default(), &stopping.state, &ended, late);
    assert_eq!((rests.condition, rests.state.failures), (Condition::Paused, 1));
    assert_eq!(rests.state.failure.as_deref(), Some("it finished no batch for 60 s"));
}

#[test]
fn a_resize_restarts_on_the_checkpoint_and_is_kept() {
    let scaling = dcp_reconciler::reconcile::Scaling {
        target: 50,
        cool_down: 300,
        least: 1,
        most: 8,
        first: 2,
        every_millis: Some(10_000),
    };
    let scaled = |version| Desired { scaling: Some(scaling.clone()), ..desired(version) };
    let one = scaled(version(1, 1, 1));
    let requested = Requested::default();
    let begun = start_time();
    let mut state = decide_of(Some(&one), &requested, &JobState::default(), &RunStatus::Nothing, begun).state;
    state.run.as_mut().unwrap().execution = Some("one".to_owned());
    assert_eq!(state.run.as_ref().unwrap().executors, Some(2));
    // The stream is twice as busy as its target from the beginning.
    let mut stopped = None;
    for second in (0..=600).step_by(15) {
        let now = begun + SignedDuration::from_secs(second);
        let seen = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 10_000 } };
        let decision = decide_of(Some(&one), &requested, &state, &seen, now);
        assert!(decision.wake.is_some_and(|at| at <= now + SignedDuration::from_secs(15)));
        state = decision.state;
        if decision.effect.is_some() {
            assert_eq!(decision.condition, Condition::Stopping(Stopping::Resized));
            stopped = Some((second, decision.events));
            break;
        }
    }
    let (second, events) = stopped.expect("it is resized");
    assert_eq!(second, 300, "not before it has cooled down");
    assert_eq!(
        events,
        [
            "it gets 4 executors instead of 2: it was busy for 100 % of its time with 2, and is to be for 50 %",
            "run 1 is stopped: it gets another number of executors"
        ]
    );
    let now = begun + SignedDuration::from_secs(302);
    let ended =
        RunStatus::Ended { succeeded: false, why: "it was asked to stop".to_owned(), retryable: true };
    let again = decide_of(Some(&one), &requested, &state, &ended, now);
    let Some(Effect::Start(run)) = &again.effect else { panic!("{again:?}") };
    assert_eq!((run.executors, &run.version, again.state.failures), (Some(4), &version(1, 1, 1), 0));
    // Another revision starts with the determined number of executors, within the bounds of its own manifest.
    let mut state = again.state;
    state.run = None;
    let two = decide_of(Some(&scaled(version(2, 2, 1))), &requested, &state, &RunStatus::Nothing, now);
    assert_eq!(two.state.run.unwrap().executors, Some(4));
    let mut narrow = scaled(version(2, 2, 1));
    narrow.scaling.as_mut().unwrap().most = 3;
    let three = decide_of(Some(&narrow), &requested, &state, &RunStatus::Nothing, now);
    assert_eq!(three.state.run.unwrap().executors, Some(3));
}
