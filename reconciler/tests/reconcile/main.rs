//! Decisions about continuous jobs: single ones, and a simulation with random faults and changes.

mod runner;
mod simulation;

use dcp_model::manifest::{OnUnhealthy, Trigger};
use dcp_model::primitive::Fingerprint;
use dcp_reconciler::reconcile::{
    Condition, Decision, Desired, Effect, Health, JobState, Observed, Requested, RunStatus, Scaling,
    Stopping, Version, decide,
};
use jiff::{SignedDuration, Timestamp};

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
        author: None,
    }
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
fn a_run_in_the_queue_of_its_runner_keeps_its_time_to_start() {
    let (requested, now) = (Requested::default(), start_time());
    let desired = desired(version(1, 1, 1));
    let mut state =
        decide_of(Some(&desired), &requested, &JobState::default(), &RunStatus::Nothing, now).state;
    state.run.as_mut().expect("it is started").execution = Some("one".to_owned());
    let (queued, mut at) = (RunStatus::Alive { health: Health::Queued }, now);
    for _ in 0..100 {
        let decision = decide_of(Some(&desired), &requested, &state, &queued, at);
        assert_eq!((decision.effect, &decision.events), (None, &vec![]), "{at}");
        let again = decide_of(Some(&desired), &requested, &decision.state, &queued, at);
        assert!(again.state == decision.state, "nothing is written twice");
        state = decision.state;
        at = decision.wake.expect("it is checked again");
    }
    // Once it is started, at least half of its time is left.
    let pending = RunStatus::Alive { health: Health::Pending };
    let started = decide_of(Some(&desired), &requested, &state, &pending, at);
    assert_eq!(started.effect, None);
    let left = started.wake.expect("it is checked again").duration_since(at);
    assert!(left >= SignedDuration::from_secs(30), "{left}");
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

fn scaled(version: Version) -> Desired {
    let (target, cool_down, every_millis) = (50, 300, Some(10_000));
    let scaling = Scaling { target, cool_down, least: 1, most: 8, first: 2, every_millis };
    Desired { scaling: Some(scaling), ..desired(version) }
}

/// Decides about a stream that is twice as busy as its target from the beginning. Returns the second in which it is
/// resized, and the decision, or none if it is not resized.
fn busy_until_resized(desired: &Desired, mut state: JobState, begun: Timestamp) -> Option<(i64, Decision)> {
    for second in (0..=600).step_by(15) {
        let now = begun + SignedDuration::from_secs(second);
        let seen = RunStatus::Alive { health: Health::Progressing { last: now, batch_millis: 10_000 } };
        let decision = decide_of(Some(desired), &Requested::default(), &state, &seen, now);
        assert!(decision.wake.is_some_and(|at| at <= now + SignedDuration::from_secs(15)));
        if decision.effect.is_some() {
            assert_eq!(decision.condition, Condition::Stopping(Stopping::Resized));
            return Some((second, decision));
        }
        state = decision.state;
    }
    None
}

#[test]
fn a_resize_restarts_on_the_checkpoint_and_is_kept() {
    let one = scaled(version(1, 1, 1));
    let requested = Requested::default();
    let begun = start_time();
    let mut state = decide_of(Some(&one), &requested, &JobState::default(), &RunStatus::Nothing, begun).state;
    state.run.as_mut().unwrap().execution = Some("one".to_owned());
    assert_eq!(state.run.as_ref().unwrap().executors, Some(2));
    let (second, decision) = busy_until_resized(&one, state, begun).expect("it is resized");
    let Decision { state, events, .. } = decision;
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
