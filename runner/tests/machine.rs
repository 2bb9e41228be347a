//! Simulates the state machine in a world that loses replies, crashes between any two lines and fails in every way, for
//! thousands of seeds. `DCP_SEED=N` repeats a single one.

use std::collections::BTreeMap;
use std::time::Duration;

use dcp_gateway::{End, Evidence, Obstacle, Phase as At, Reason, Source, Status};
use dcp_model::manifest::Backend;
use dcp_runner::execution::{Adjustment, Diagnosis, Execution, Id, Phase, Policy, StopReason, Transition};
use dcp_runner::machine::{Effect, Event, Verdict, apply_event, next_effect};
use jiff::{SignedDuration, Timestamp};

/// A small generator of random numbers that depend only on the seed.
struct SeededRng(u64);

impl SeededRng {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A simulated backend.
#[derive(Default)]
struct SimulatedBackend {
    applications: BTreeMap<String, Application>,
    /// Number of drivers that were started by each name, and whether one succeeded. Unlike the applications, these are
    /// never forgotten.
    starts: BTreeMap<String, u32>,
    succeeded: bool,
}

struct Application {
    status: Status,
    /// Its outcome, if it is left alone.
    outcome: Outcome,
    /// Number of polls until it proceeds.
    polls_left: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Succeeds,
    Fails,
    Hangs,
}

impl SimulatedBackend {
    fn alive(&self) -> usize {
        self.applications.values().filter(|it| it.status.phase != At::Ended).count()
    }

    fn create(&mut self, name: String, rng: &mut SeededRng, now: Timestamp) {
        // A backend starts no second application with a name that it knows.
        if self.applications.contains_key(&name) {
            return;
        }
        *self.starts.entry(name.clone()).or_default() += 1;
        let application = Application {
            status: Status { started: Some(now), ..Status::new(At::Pending) },
            outcome: [Outcome::Succeeds, Outcome::Fails, Outcome::Hangs]
                [usize::try_from(rng.roll(3)).expect("small")],
            polls_left: rng.roll(4),
        };
        self.applications.insert(name, application);
    }

    /// Removes applications whose end is stored. From then on, the backend would start them again.
    fn forget(&mut self, execution: &Execution) {
        let alive = execution.name();
        let is_over = execution.phase == Phase::Retrying || execution.phase.is_final();
        self.applications.retain(|name, it| it.status.phase != At::Ended || (*name == alive && !is_over));
    }

    fn end(application: &mut Application, succeeded: bool, stopped: bool, now: Timestamp) {
        let exit_code = Some(i32::from(!succeeded));
        let end = End { succeeded, stopped, ..End::exited(now, exit_code, None) };
        application.status =
            Status { started: application.status.started, end: Some(end), ..Status::new(At::Ended) };
    }

    fn poll(&mut self, name: &str, now: Timestamp) -> Option<Status> {
        let Self { applications, succeeded, .. } = self;
        let application = applications.get_mut(name)?;
        if application.status.phase != At::Ended {
            match (application.polls_left, application.outcome) {
                (0, Outcome::Succeeds) => Self::end(application, true, false, now),
                (0, Outcome::Fails) => Self::end(application, false, false, now),
                (0, Outcome::Hangs) | (1, _) => application.status.phase = At::Running,
                _ => {}
            }
            application.polls_left = application.polls_left.saturating_sub(1);
            *succeeded |= application.status.end.as_ref().is_some_and(|end| end.succeeded);
        }
        Some(application.status.clone())
    }

    fn delete(&mut self, name: &str, rng: &mut SeededRng, now: Timestamp) {
        if let Some(application) = self.applications.get_mut(name)
            && application.status.phase != At::Ended
            && rng.once_in(2)
        {
            Self::end(application, false, true, now);
        }
    }
}

fn policy(rng: &mut SeededRng) -> Policy {
    Policy {
        attempts: 1 + u32::try_from(rng.roll(4)).expect("small"),
        remedies: u32::try_from(rng.roll(3)).expect("small"),
        backoff_seconds: rng.roll(60),
        max_backoff_seconds: 30 + rng.roll(60),
        causes: Vec::new(),
        start_seconds: 60 + rng.roll(600),
        run_seconds: rng.once_in(2).then(|| 60 + rng.roll(600)),
        stop_seconds: rng.roll(60),
        ttl_seconds: 3600,
    }
}

fn verdict(rng: &mut SeededRng) -> Option<Verdict> {
    let diagnosis = Diagnosis {
        class: Some(dcp_model::manifest::Cause::OutOfMemory),
        cause: "driverHeap".to_owned(),
        summary: "the driver's heap was full".to_owned(),
        evidence: vec!["java.lang.OutOfMemoryError".to_owned()],
    };
    let more = Adjustment { value: "2g".to_owned(), why: "it was full".to_owned() };
    let remedy = BTreeMap::from([("spark.driver.memory".to_owned(), more)]);
    match rng.roll(3) {
        0 => None,
        1 => Some(Verdict { diagnosis, remedy, no_retry_reason: None }),
        _ => Some(Verdict {
            diagnosis,
            remedy: BTreeMap::new(),
            no_retry_reason: rng.once_in(3).then(|| "no attempt can succeed".to_owned()),
        }),
    }
}

/// Performs an action like a Runner, in a world that loses replies.
fn perform(
    effect: &Effect,
    name: &str,
    backend: &mut SimulatedBackend,
    rng: &mut SeededRng,
    now: Timestamp,
) -> Event {
    match effect {
        Effect::Nothing | Effect::Wait(_) | Effect::Step => Event::Stepped,
        Effect::Claim => {
            assert!(backend.applications.is_empty(), "there is a driver already");
            claim(rng)
        }
        Effect::Prepare => {
            assert!(!backend.applications.contains_key(name), "there is a driver already");
            match rng.roll(3) {
                0 => Event::Unavailable("it can't be moved".to_owned()),
                1 => Event::Prepared(vec!["it was moved".to_owned()]),
                _ => Event::Prepared(Vec::new()),
            }
        }
        Effect::Create => create(name, backend, rng, now),
        Effect::Poll => {
            if rng.once_in(8) {
                return Event::Unavailable("it is down".to_owned());
            }
            Event::Polled(backend.poll(name, now), verdict(rng))
        }
        Effect::Delete { .. } => {
            if rng.once_in(8) {
                return Event::Unavailable("it is down".to_owned());
            }
            backend.delete(name, rng, now);
            Event::Polled(backend.poll(name, now), None)
        }
    }
}

fn claim(rng: &mut SeededRng) -> Event {
    let by = Id::parse("b2").expect("the value is valid");
    match rng.roll(12) {
        0 => Event::Replaced { by },
        1 => Event::Unavailable("the store is down".to_owned()),
        2..6 => Event::Held { by },
        _ => Event::Claimed,
    }
}

fn create(name: &str, backend: &mut SimulatedBackend, rng: &mut SeededRng, now: Timestamp) -> Event {
    match rng.roll(10) {
        // The request or its reply was lost.
        0 => Event::Unavailable("it is down".to_owned()),
        1 => {
            backend.create(name.to_owned(), rng, now);
            Event::Unavailable("it did not answer".to_owned())
        }
        2 if !backend.applications.contains_key(name) => Event::Rejected("it can't run here".to_owned()),
        _ => {
            backend.create(name.to_owned(), rng, now);
            Event::Created
        }
    }
}

/// Returns a new execution, which may need a checkpoint or a key.
fn execution(rng: &mut SeededRng, now: Timestamp) -> Execution {
    let policy = policy(rng);
    let mut execution =
        Execution::new(Id::parse("a1").expect("the value is valid"), policy, Backend::Local, now);
    execution.unprepared = rng.once_in(3);
    execution.awaits_key = rng.once_in(3);
    execution
}

/// Applies an event, and stores its outcome.
fn store(stored: &mut Execution, history: &mut Vec<Transition>, event: Event, now: Timestamp) {
    let mut changed = stored.clone();
    history.extend(apply_event(&mut changed, event, now));
    *stored = changed;
}

/// Simulates one execution to its end. Returns an error if an invariant is violated.
fn simulate(seed: u64) -> Result<Vec<Transition>, String> {
    let mut rng = SeededRng(seed);
    let mut now = Timestamp::UNIX_EPOCH;
    let mut backend = SimulatedBackend::default();
    let mut stored = execution(&mut rng, now);
    let mut history: Vec<Transition> = Vec::new();
    // An execution without a run timeout may hang, so it is cancelled.
    let cancel_after = stored.policy.run_seconds.is_none().then_some(2_000);
    let cancelled_at = rng.once_in(3).then(|| rng.roll(40)).or(cancel_after);
    for cycle in 0..10_000 {
        now = now
            .checked_add(SignedDuration::from_millis(i64::try_from(rng.roll(5_000)).expect("small")))
            .expect("soon");
        if cancelled_at == Some(cycle) {
            store(&mut stored, &mut history, Event::Cancel { by: "somebody".to_owned() }, now);
        }
        let effect = next_effect(&stored, now);
        if effect == Effect::Nothing {
            return check(&stored, &history, &backend).map(|()| history);
        }
        if let Effect::Wait(at) = effect {
            now = now.max(at);
            continue;
        }
        if rng.once_in(3) {
            backend.forget(&stored);
        }
        // A crash before the action, or before its outcome is stored. The next cycle continues from the stored state.
        if rng.once_in(6) {
            continue;
        }
        let name = stored.name();
        let event = perform(&effect, &name, &mut backend, &mut rng, now);
        if backend.alive() > 1 {
            return Err(format!("two attempts are alive: {:?}", backend.applications.keys()));
        }
        if rng.once_in(6) {
            continue;
        }
        store(&mut stored, &mut history, event, now);
    }
    Err(format!("it never ended: {stored:?}"))
}

fn check(execution: &Execution, history: &[Transition], backend: &SimulatedBackend) -> Result<(), String> {
    let say = |what: &str| Err(format!("{what}: {execution:?}\n{history:#?}"));
    if backend.alive() > 0 {
        return say("something is left alive");
    }
    if let Some((name, starts)) = backend.starts.iter().find(|(_, starts)| **starts != 1) {
        return say(&format!("{name} was started {starts} times"));
    }
    if backend.starts.len() > execution.attempts.len() {
        return say("more was started than there were attempts");
    }
    if execution.attempts.len() > execution.policy.attempts as usize {
        return say("there were too many attempts");
    }
    if execution.remedies > execution.policy.remedies {
        return say("there were too many remedies");
    }
    if !execution.attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number) {
        return say("the attempts are not counted");
    }
    let mut phase = Phase::Queued;
    for (transition, at) in history.iter().zip(0..) {
        if transition.from != phase || (at > 0 && transition.from.is_final()) || transition.why.is_empty() {
            return say("the history has a gap");
        }
        phase = transition.to;
    }
    if phase != execution.phase || !phase.is_final() || backend.succeeded != (phase == Phase::Succeeded) {
        return say("the end is not what happened");
    }
    Ok(())
}

#[test]
fn every_execution_ends_correctly_after_lost_replies_and_crashes() {
    let seeds = match std::env::var("DCP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..20_000u64,
    };
    let mut ends: BTreeMap<Phase, u32> = BTreeMap::new();
    for seed in seeds.clone() {
        match simulate(seed) {
            Ok(history) => *ends.entry(history.last().expect("it ended").to).or_default() += 1,
            Err(violation) => panic!("DCP_SEED={seed}: {violation}"),
        }
    }
    if seeds.end - seeds.start > 1 {
        assert!(Phase::ALL.iter().filter(|it| it.is_final()).all(|it| ends.contains_key(it)), "{ends:?}");
    }
}

#[test]
fn backoff_grows_and_is_bounded() {
    let policy = Policy {
        attempts: 6,
        remedies: 0,
        backoff_seconds: 10,
        max_backoff_seconds: 60,
        causes: Vec::new(),
        start_seconds: 900,
        run_seconds: None,
        stop_seconds: 60,
        ttl_seconds: 3600,
    };
    let mut now = Timestamp::UNIX_EPOCH;
    let mut execution =
        Execution::new(Id::parse("a1").expect("the value is valid"), policy, Backend::Local, now);
    let mut waits = Vec::new();
    while !execution.phase.is_final() {
        apply_event(&mut execution, Event::Stepped, now);
        apply_event(&mut execution, Event::Created, now);
        apply_event(&mut execution, Event::Polled(None, None), now);
        if let Effect::Wait(at) = next_effect(&execution, now) {
            waits.push(at.duration_since(now).as_secs());
            now = at;
        }
    }
    assert_eq!(waits, [10, 20, 40, 60, 60]);
    assert_eq!(execution.phase, Phase::Failed);
}

#[test]
fn unknown_attempt_is_not_gone_while_it_is_being_created() {
    let now = Timestamp::UNIX_EPOCH;
    let mut execution = Execution::new(
        Id::parse("a1").expect("the value is valid"),
        policy(&mut SeededRng(1)),
        Backend::Local,
        now,
    );
    apply_event(&mut execution, Event::Stepped, now);
    assert_eq!(apply_event(&mut execution, Event::Polled(None, None), now), None);
    assert_eq!((execution.phase, next_effect(&execution, now)), (Phase::Submitting, Effect::Create));
}

#[test]
fn an_obstacle_to_the_start_is_the_reason_of_the_wait() {
    let now = Timestamp::UNIX_EPOCH;
    let id = Id::parse("a1").expect("the id is valid");
    let mut execution = Execution::new(id, policy(&mut SeededRng(1)), Backend::Local, now);
    apply_event(&mut execution, Event::Stepped, now);
    apply_event(&mut execution, Event::Created, now);
    let text = "0/12 nodes are available: 12 Insufficient memory.".to_owned();
    let evidence = vec![Evidence { source: Source::Event, reason: None, text }];
    let obstacle = Some(Obstacle { reason: Reason::Unschedulable, evidence });
    let pending = Status { obstacle, ..Status::new(At::Pending) };
    assert_eq!(apply_event(&mut execution, Event::Polled(Some(pending), None), now), None);
    let expected = "no node has the resources for a pod: 0/12 nodes are available: 12 Insufficient memory.";
    assert_eq!(execution.waiting.as_deref(), Some(expected));
    let running = Event::Polled(Some(Status::new(At::Running)), None);
    apply_event(&mut execution, running, now);
    assert_eq!((execution.phase, execution.waiting), (Phase::Running, None));
}

#[test]
fn the_wait_in_a_queue_is_no_part_of_the_time_to_start() {
    let begin = Timestamp::UNIX_EPOCH;
    let at = |seconds: i64| begin + SignedDuration::from_secs(seconds);
    let id = Id::parse("a1").expect("the id is valid");
    let policy = Policy { start_seconds: 60, ..policy(&mut SeededRng(1)) };
    let mut execution = Execution::new(id, policy, Backend::Kubernetes, begin);
    apply_event(&mut execution, Event::Stepped, begin);
    apply_event(&mut execution, Event::Created, begin);
    let obstacle = Some(Obstacle { reason: Reason::Queued, evidence: Vec::new() });
    let queued =
        || Event::Polled(Some(Status { obstacle: obstacle.clone(), ..Status::new(At::Pending) }), None);
    let admitted = || Event::Polled(Some(Status::new(At::Pending)), None);
    apply_event(&mut execution, queued(), at(10));
    for seconds in [100, 100_000] {
        apply_event(&mut execution, Event::Stepped, at(seconds));
        assert_eq!(execution.stopping, None, "after {seconds} s");
    }
    apply_event(&mut execution, admitted(), at(100_000));
    apply_event(&mut execution, admitted(), at(100_050));
    apply_event(&mut execution, Event::Stepped, at(100_059));
    assert_eq!(execution.stopping, None);
    apply_event(&mut execution, Event::Stepped, at(100_060));
    assert_eq!(execution.stopping, Some(StopReason::StartTimeout));
}

#[test]
fn timed_out_attempt_ends_before_the_next_one_starts() {
    let policy = Policy {
        attempts: 2,
        remedies: 0,
        backoff_seconds: 0,
        max_backoff_seconds: 0,
        causes: Vec::new(),
        start_seconds: 60,
        run_seconds: Some(60),
        stop_seconds: 5,
        ttl_seconds: 3600,
    };
    let mut now = Timestamp::UNIX_EPOCH;
    let mut execution =
        Execution::new(Id::parse("a1").expect("the value is valid"), policy, Backend::Local, now);
    apply_event(&mut execution, Event::Stepped, now);
    apply_event(&mut execution, Event::Created, now);
    let running = Status::new(At::Running);
    apply_event(&mut execution, Event::Polled(Some(running.clone()), None), now);
    now = now.checked_add(SignedDuration::from_secs(61)).expect("soon");
    assert_eq!(next_effect(&execution, now), Effect::Step);
    apply_event(&mut execution, Event::Stepped, now);
    assert_eq!(next_effect(&execution, now), Effect::Delete { grace: Duration::from_secs(5) });
    assert_eq!(apply_event(&mut execution, Event::Polled(Some(running), None), now), None);
    assert_eq!(next_effect(&execution, now), Effect::Delete { grace: Duration::from_secs(5) });
    let end = End { stopped: true, ..End::exited(now, Some(143), None) };
    let ended = Status { end: Some(end), ..Status::new(At::Ended) };
    let transition =
        apply_event(&mut execution, Event::Polled(Some(ended), None), now).expect("it is a step");
    assert_eq!((transition.to, execution.attempt()), (Phase::Retrying, 1));
    assert!(transition.why.contains("more than 60 s"), "{}", transition.why);
}
