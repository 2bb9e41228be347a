//! Responses about the status of continuous jobs.

use dcp_runner::rest::Progress;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::reconcile::{self, JobStatus};

/// Continuous jobs of a scope.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContinuousJobs {
    pub(super) jobs: Vec<ContinuousJob>,
    /// The reason why the status of runs is unknown; none if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runner_error: Option<String>,
}

/// A continuous job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContinuousJob {
    address: String,
    condition: Condition,
    /// The execution that has its checkpoint, if the condition is `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    /// The time of the next start, if the condition is `backingOff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_off_until: Option<Timestamp>,
    convergence: Convergence,
    /// The declared revision; none if the job was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// The revision that was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up: Option<GivenUp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    /// Number of starts.
    starts: u64,
    /// Failures since the job was last healthy, and the reason of the last one.
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Paused by its manifest.
    paused: bool,
    /// Paused by a request.
    pause_requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

/// The condition of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Condition {
    Deleted,
    Paused,
    /// The Runner does not answer.
    Unknown,
    Starting,
    /// Another execution has its checkpoint.
    Held,
    Healthy,
    /// The job runs without reporting progress.
    Silent,
    Stopping,
    /// The job has failed, and is started again later.
    BackingOff,
}

/// The progress of a job towards its declaration.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Convergence {
    /// The job is as declared.
    Converged,
    InTransition,
    /// The declared revision was given up, or is in backoff after a failure.
    Failed,
}

/// A revision that does not run again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GivenUp {
    revision: u64,
    at: Timestamp,
    why: String,
}

/// The last start of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Run {
    number: u64,
    revision: u64,
    begun: Timestamp,
    /// The id of its execution, once the Runner has returned it.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
    /// Number of executors, if they follow the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    executors: Option<u32>,
}

impl From<&reconcile::Condition> for Condition {
    fn from(condition: &reconcile::Condition) -> Self {
        use reconcile::Condition as Of;
        match condition {
            Of::Deleted => Self::Deleted,
            Of::Paused => Self::Paused,
            Of::Unknown => Self::Unknown,
            Of::Starting => Self::Starting,
            Of::Held { .. } => Self::Held,
            Of::Healthy => Self::Healthy,
            Of::Silent => Self::Silent,
            Of::Stopping(_) => Self::Stopping,
            Of::BackingOff { .. } => Self::BackingOff,
        }
    }
}

impl From<JobStatus> for ContinuousJob {
    fn from(status: JobStatus) -> Self {
        let JobStatus { address, desired, requested, state, condition, convergence, progress, .. } = status;
        let (held_by, backing_off_until) = match &condition {
            reconcile::Condition::Held { by } => (Some(by.clone()), None),
            reconcile::Condition::BackingOff { until } => (None, Some(*until)),
            _ => (None, None),
        };
        Self {
            address: address.to_string(),
            condition: (&condition).into(),
            held_by,
            backing_off_until,
            convergence: match convergence {
                reconcile::Convergence::Converged => Convergence::Converged,
                reconcile::Convergence::InTransition => Convergence::InTransition,
                reconcile::Convergence::Failed => Convergence::Failed,
            },
            revision: desired.as_ref().map(|it| it.version.revision),
            given_up: state.given_up.map(|it| GivenUp { revision: it.build, at: it.at, why: it.why }),
            run: state.run.map(|it| Run {
                number: it.number,
                revision: it.version.revision,
                begun: it.begun,
                execution: it.execution,
                executors: it.executors,
            }),
            starts: state.starts,
            failures: state.failures,
            failure: state.failure,
            paused: desired.is_some_and(|it| it.paused),
            pause_requested: requested.paused,
            progress: progress.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reconcile::{JobState, Requested};

    #[test]
    fn a_status_has_what_clients_need() {
        let at = "2026-01-31T02:00:00Z";
        let version = json!({"revision": 3, "build": 2, "state": 1, "job": "a".repeat(64), "grace": 60});
        let desired =
            json!({"version": version, "paused": false, "onUnhealthy": "rollback", "startWithin": 600});
        let run = json!({"number": 7, "version": version, "begun": at, "execution": "01a"});
        let state = json!({"run": run, "starts": 7, "failures": 2, "failure": "it failed"});
        let state: JobState = serde_json::from_value(state).unwrap();
        let status = JobStatus {
            address: "ContinuousJob/shop/orders".parse().unwrap(),
            desired: Some(serde_json::from_value(desired).unwrap()),
            requested: Requested { paused: true, restarts: 0 },
            state,
            condition: reconcile::Condition::BackingOff { until: at.parse().unwrap() },
            convergence: reconcile::Convergence::Failed,
            runs: false,
            progress: None,
        };
        let job = serde_json::to_value(ContinuousJob::from(status)).unwrap();
        let run = json!({"number": 7, "revision": 3, "begun": at, "execution": "01a"});
        let expected = json!({
            "address": "ContinuousJob/shop/orders", "condition": "backingOff", "backingOffUntil": at,
            "convergence": "failed", "revision": 3, "run": run, "starts": 7, "failures": 2,
            "failure": "it failed", "paused": false, "pauseRequested": true,
        });
        assert_eq!(job, expected);
    }
}
