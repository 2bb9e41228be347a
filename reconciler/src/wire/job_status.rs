//! Messages about the status of continuous jobs.

use dcp_model::manifest::OnUnhealthy;
use dcp_proto::control::v1 as proto;
use dcp_runner::wire::{progress, read_progress, read_trigger, trigger};
use jiff::Timestamp;

use super::{Result, read_fingerprint, read_time, time};
use crate::reconcile::{
    Completes, Condition, Convergence, Desired, GivenUp, JobState, JobStatus, Pressure, Requested, Run,
    Scale, Scaling, Stopping, Trial, Version,
};

const ON_UNHEALTHY: [(OnUnhealthy, &str); 3] =
    [(OnUnhealthy::Rollback, "rollback"), (OnUnhealthy::Keep, "keep"), (OnUnhealthy::Pause, "pause")];

const STOPPING: [(Stopping, proto::Stopping); 6] = [
    (Stopping::Replaced, proto::Stopping::Replaced),
    (Stopping::Paused, proto::Stopping::Paused),
    (Stopping::Deleted, proto::Stopping::Deleted),
    (Stopping::Restarted, proto::Stopping::Restarted),
    (Stopping::Resized, proto::Stopping::Resized),
    (Stopping::Unhealthy, proto::Stopping::Unhealthy),
];

const CONVERGENCE: [(Convergence, proto::Convergence); 3] = [
    (Convergence::Converged, proto::Convergence::Converged),
    (Convergence::InTransition, proto::Convergence::InTransition),
    (Convergence::Failed, proto::Convergence::Failed),
];

const SIMPLE: [(Condition, proto::SimpleCondition); 6] = [
    (Condition::Deleted, proto::SimpleCondition::Deleted),
    (Condition::Paused, proto::SimpleCondition::Paused),
    (Condition::Unknown, proto::SimpleCondition::Unknown),
    (Condition::Starting, proto::SimpleCondition::Starting),
    (Condition::Healthy, proto::SimpleCondition::Healthy),
    (Condition::Silent, proto::SimpleCondition::Silent),
];

/// Returns what a table has for a value.
fn to<A: PartialEq, B: Copy>(table: &[(A, B)], value: &A, otherwise: B) -> B {
    table.iter().find(|(ours, _)| ours == value).map_or(otherwise, |(_, theirs)| *theirs)
}

/// Returns the value that a table has for a number of an enum.
fn from<A: Clone, B: Copy + Into<i32>>(table: &[(A, B)], what: &str, number: i32) -> Result<A> {
    let row = table.iter().find(|(_, theirs)| (*theirs).into() == number);
    row.map(|(ours, _)| ours.clone()).ok_or_else(|| format!("`{what}` {number} is not known to this dcp"))
}

fn required<T>(what: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| format!("`{what}` is missing"))
}

fn required_time(what: &str, at: Option<prost_types::Timestamp>) -> Result<Timestamp> {
    read_time(required(what, at)?)
}

pub(crate) fn status(status: &JobStatus) -> proto::JobStatus {
    let JobStatus { address, desired, requested, state, condition, convergence, runs, progress: of } = status;
    let Requested { paused, restarts } = *requested;
    proto::JobStatus {
        address: address.to_string(),
        desired: desired.as_ref().map(self::desired),
        requested: Some(proto::Requested { paused, restarts }),
        state: Some(self::state(state)),
        condition: Some(self::condition(condition)),
        convergence: to(&CONVERGENCE, convergence, proto::Convergence::Unspecified).into(),
        runs: *runs,
        progress: of.as_ref().map(progress),
    }
}

pub(crate) fn read_status(status: proto::JobStatus) -> Result<JobStatus> {
    let proto::JobStatus { address, desired, requested, state, condition, convergence, runs, progress } =
        status;
    let proto::Requested { paused, restarts } = requested.unwrap_or_default();
    Ok(JobStatus {
        address: address.parse()?,
        desired: desired.map(read_desired).transpose()?,
        requested: Requested { paused, restarts },
        state: read_state(required("state", state)?)?,
        condition: read_condition(required("condition", condition)?)?,
        convergence: from(&CONVERGENCE, "convergence", convergence)?,
        runs,
        progress: progress.map(read_progress).transpose()?,
    })
}

fn condition(condition: &Condition) -> proto::Condition {
    use proto::condition::Kind;
    let kind = match condition {
        Condition::Held { by } => Kind::HeldBy(by.clone()),
        Condition::Stopping(reason) => Kind::Stopping(stopping(*reason)),
        Condition::BackingOff { until } => Kind::BackingOffUntil(time(*until)),
        simple => Kind::Simple(to(&SIMPLE, simple, proto::SimpleCondition::Unspecified).into()),
    };
    proto::Condition { kind: Some(kind) }
}

fn read_condition(condition: proto::Condition) -> Result<Condition> {
    use proto::condition::Kind;
    Ok(match required("condition", condition.kind)? {
        Kind::HeldBy(by) => Condition::Held { by },
        Kind::Stopping(reason) => Condition::Stopping(read_stopping(reason)?),
        Kind::BackingOffUntil(until) => Condition::BackingOff { until: read_time(until)? },
        Kind::Simple(number) => from(&SIMPLE, "condition", number)?,
    })
}

fn stopping(stopping: Stopping) -> i32 {
    to(&STOPPING, &stopping, proto::Stopping::Unspecified).into()
}

fn read_stopping(number: i32) -> Result<Stopping> {
    from(&STOPPING, "stopping", number)
}

fn version(version: &Version) -> proto::Version {
    let Version { revision, build, state, job, trigger: of, checkpoint, grace } = version;
    proto::Version {
        revision: *revision,
        build: *build,
        state: *state,
        job: job.as_str().to_owned(),
        trigger: of.as_ref().map(trigger),
        checkpoint: checkpoint.clone(),
        grace_seconds: *grace,
    }
}

fn read_version(version: proto::Version) -> Result<Version> {
    let proto::Version { revision, build, state, job, trigger, checkpoint, grace_seconds } = version;
    Ok(Version {
        revision,
        build,
        state,
        job: read_fingerprint(&job)?,
        trigger: trigger.map(read_trigger).transpose()?,
        checkpoint,
        grace: grace_seconds,
    })
}

fn desired(desired: &Desired) -> proto::Desired {
    let Desired { version, paused, on_unhealthy, start_within, progress_within, stable_after, .. } = desired;
    let scaling = desired.scaling.as_ref().map(|it| {
        let Scaling { target, cool_down, least, most, first, every_millis } = *it;
        proto::Scaling { target, cool_down_seconds: cool_down, least, most, first, every_millis }
    });
    let completes = desired.completes.as_ref().map(|it| {
        let Completes { every, outputs } = it.clone();
        proto::Completes { every_seconds: every, outputs }
    });
    proto::Desired {
        version: Some(self::version(version)),
        paused: *paused,
        on_unhealthy: to(&ON_UNHEALTHY, on_unhealthy, "").to_owned(),
        start_within_seconds: *start_within,
        progress_within_seconds: *progress_within,
        stable_after_seconds: *stable_after,
        scaling,
        completes,
    }
}

fn read_desired(desired: proto::Desired) -> Result<Desired> {
    let proto::Desired { version, paused, on_unhealthy, scaling, completes, .. } = desired;
    let scaling = scaling.map(|it| {
        let proto::Scaling { target, cool_down_seconds, least, most, first, every_millis } = it;
        Scaling { target, cool_down: cool_down_seconds, least, most, first, every_millis }
    });
    let completes = completes.map(|it| {
        let proto::Completes { every_seconds, outputs } = it;
        Completes { every: every_seconds, outputs }
    });
    let known = ON_UNHEALTHY.iter().find(|(_, name)| *name == on_unhealthy);
    let known = known.ok_or_else(|| format!("`{on_unhealthy}` is not known to this dcp"))?;
    Ok(Desired {
        version: read_version(required("version", version)?)?,
        paused,
        on_unhealthy: known.0,
        start_within: desired.start_within_seconds,
        progress_within: desired.progress_within_seconds,
        stable_after: desired.stable_after_seconds,
        scaling,
        completes,
        author: None,
    })
}

fn state(state: &JobState) -> proto::JobState {
    let JobState { run, starts, trial, healthy, given_up, scale, pressure, .. } = state;
    let JobState { failures, not_before, failure, restarts, .. } = state;
    proto::JobState {
        run: run.as_ref().map(self::run),
        starts: *starts,
        trial: trial.as_ref().map(|it| {
            let Trial { build, since, passed } = *it;
            proto::Trial { build, since: Some(time(since)), passed }
        }),
        healthy: healthy.as_ref().map(version),
        given_up: given_up.as_ref().map(|it| {
            let GivenUp { build, at, why } = it.clone();
            proto::GivenUp { build, at: Some(time(at)), why }
        }),
        scale: scale.as_ref().map(|it| {
            let Scale { executors, since, why } = it.clone();
            proto::Scale { executors, since: Some(time(since)), why }
        }),
        pressure: pressure.as_ref().map(|it| {
            let Pressure { more, since } = *it;
            proto::Pressure { more, since: Some(time(since)) }
        }),
        failures: *failures,
        not_before: not_before.map(time),
        failure: failure.clone(),
        restarts: *restarts,
    }
}

fn read_state(state: proto::JobState) -> Result<JobState> {
    let proto::JobState { run, starts, trial, healthy, given_up, scale, pressure, .. } = state;
    let trial = trial.map(|proto::Trial { build, since, passed }| {
        Ok::<_, String>(Trial { build, since: required_time("trial.since", since)?, passed })
    });
    let given_up = given_up.map(|proto::GivenUp { build, at, why }| {
        Ok::<_, String>(GivenUp { build, at: required_time("givenUp.at", at)?, why })
    });
    let scale = scale.map(|proto::Scale { executors, since, why }| {
        Ok::<_, String>(Scale { executors, since: required_time("scale.since", since)?, why })
    });
    let pressure = pressure.map(|proto::Pressure { more, since }| {
        Ok::<_, String>(Pressure { more, since: required_time("pressure.since", since)? })
    });
    Ok(JobState {
        run: run.map(read_run).transpose()?,
        starts,
        trial: trial.transpose()?,
        healthy: healthy.map(read_version).transpose()?,
        given_up: given_up.transpose()?,
        scale: scale.transpose()?,
        pressure: pressure.transpose()?,
        failures: state.failures,
        not_before: state.not_before.map(read_time).transpose()?,
        failure: state.failure,
        restarts: state.restarts,
    })
}

fn run(run: &Run) -> proto::Run {
    let Run { number, version, begun, executors, execution, stopping } = run;
    proto::Run {
        number: *number,
        version: Some(self::version(version)),
        begun: Some(time(*begun)),
        executors: *executors,
        execution: execution.clone(),
        stopping: stopping.map(self::stopping),
    }
}

fn read_run(run: proto::Run) -> Result<Run> {
    let proto::Run { number, version, begun, executors, execution, stopping } = run;
    Ok(Run {
        number,
        version: read_version(required("version", version)?)?,
        begun: required_time("run.begun", begun)?,
        executors,
        execution,
        stopping: stopping.map(read_stopping).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a version with a value in each field.
    fn of(revision: u64, trigger: &serde_json::Value) -> serde_json::Value {
        json!({
            "revision": revision, "build": 2, "state": 1, "job": "a".repeat(64), "trigger": trigger,
            "checkpoint": "s3://b/c", "grace": 60,
        })
    }

    #[test]
    fn every_field_of_a_status_is_the_same_after_the_transport() {
        let (at, version) = ("2026-01-31T02:00:00.5Z", of(3, &json!({"every": "10s"})));
        let desired = json!({
            "version": version, "paused": true, "onUnhealthy": "keep", "startWithin": 600, "progressWithin": 300,
            "stableAfter": 30, "completes": {"every": 3600, "outputs": ["table:a.b"]},
            "scaling": {"target": 70, "coolDown": 60, "least": 1, "most": 8, "first": 2, "everyMillis": 10_000},
        });
        let run = json!({
            "number": 7, "version": of(2, &json!({"continuous": "1s"})), "begun": at, "executors": 3,
            "execution": "01a", "stopping": "resized",
        });
        let state = json!({
            "run": run, "starts": 7, "trial": {"build": 2, "since": at, "passed": true},
            "healthy": of(1, &json!({"asap": {}})), "givenUp": {"build": 3, "at": at, "why": "no"},
            "scale": {"executors": 3, "since": at, "why": "busy"}, "pressure": {"more": true, "since": at},
            "failures": 4, "notBefore": at, "failure": "it failed", "restarts": 5,
        });
        let progress = json!({"queries": 1, "rows": 2, "inputRate": 0.5, "lag": 3, "watermark": at});
        let until = at.parse().unwrap();
        let others = [
            Condition::Held { by: "01b".to_owned() },
            Condition::Stopping(Stopping::Unhealthy),
            Condition::BackingOff { until },
        ];
        for condition in SIMPLE.iter().map(|(condition, _)| condition.clone()).chain(others) {
            let before = JobStatus {
                address: "ContinuousJob/shop/orders".parse().unwrap(),
                desired: Some(serde_json::from_value(desired.clone()).unwrap()),
                requested: Requested { paused: true, restarts: 6 },
                state: serde_json::from_value(state.clone()).unwrap(),
                condition,
                convergence: Convergence::Failed,
                runs: true,
                progress: Some(serde_json::from_value(progress.clone()).unwrap()),
            };
            assert_eq!(read_status(status(&before)).unwrap(), before);
        }
        for number in [0, 99] {
            assert!(read_stopping(number).is_err());
        }
    }
}
