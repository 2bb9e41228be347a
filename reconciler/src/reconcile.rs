//! Continuous jobs, kept as declared.
//!
//! [`decide`] is a pure function: from the declared settings, the requests, the stored state and the observed status of
//! a job, it decides the next step. The new [`JobState`] is saved before its effect is performed, and all effects can
//! be repeated, so a reconciler that finds a job after a crash decides as if there had been none. A [`Reconciler`]
//! performs the decisions.

mod backoff;
mod complete;
mod decide;
mod declared;
mod job;
mod jobs;
pub mod lease;
mod observe;
mod reconciler;
mod remote;
mod scale;
mod status;
pub mod store;
mod version;
mod worker;

use dcp_model::manifest::{OnUnhealthy, Trigger};
use dcp_model::primitive::Fingerprint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use decide::{Condition, Decision, Effect, decide};
pub(crate) use jobs::not_applied;
pub use jobs::{ContinuousJobs, LocalJobs, Request};

pub use lease::Log;
pub use reconciler::Reconciler;
pub use scale::{Pressure, Scale, Scaling};
pub use status::{Convergence, Executions, JobStatus, Overview};
pub use version::{desired, version};

/// A version that can run: a revision of a continuous job with its start settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub revision: u64,
    /// The newest revision, up to this one, that required a restart. Versions with the same build differ in place.
    pub build: u64,
    /// The newest revision, up to this one, that could not use the state of earlier ones. A run finds the state of that
    /// revision at its checkpoint, or none: the Runner moves another state aside before, while no run uses it.
    pub state: u64,
    /// The fingerprint of the job's definition.
    pub job: Fingerprint,
    /// The trigger of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The location of a stream's progress and state. A service has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Grace period of the running batch when the job is stopped, in seconds.
    pub grace: u64,
}

impl Version {
    /// Returns whether the job is a service, which reports no progress.
    pub fn is_service(&self) -> bool {
        self.checkpoint.is_none()
    }
}

/// Returns the exclusive key of a service, by the address of its continuous job.
pub fn service_key(scope: &str, address: &str) -> String {
    format!("service:{scope}/{address}")
}

/// The declared settings of a continuous job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    pub version: Version,
    pub paused: bool,
    pub on_unhealthy: OnUnhealthy,
    /// Maximum time of a start, in seconds.
    pub start_within: u64,
    /// Maximum time between two finished batches of a stream.
    #[serde(default)]
    pub progress_within: u64,
    /// Time in seconds after which the running driver of a service counts as healthy.
    #[serde(default)]
    pub stable_after: u64,
    /// The scaling settings, if executors follow the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The partitions of its outputs that are reported as complete, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes: Option<Completes>,
    /// The author of the newest revision, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// The partitions of a stream's outputs that are reported as complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completes {
    /// The length of a partition, in seconds.
    pub every: u64,
    /// Names in the form `kind:name`.
    pub outputs: Vec<String>,
}

impl Completes {
    /// Returns the end of the last complete partition.
    fn up_to(&self, watermark: Timestamp) -> Option<Timestamp> {
        let every = i64::try_from(self.every).ok().filter(|every| *every > 0)?;
        let second = watermark.as_second();
        Timestamp::from_second(second - second.rem_euclid(every)).ok()
    }
}

/// Requests of users beside the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    #[serde(default)]
    pub paused: bool,
    /// The number of requested restarts.
    #[serde(default)]
    pub restarts: u64,
}

/// The stored state of a continuous job, complete enough to continue after any crash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// The last start, unless it is known to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The number of starts. It is part of the token of each start, so no two starts have the same token.
    #[serde(default)]
    pub starts: u64,
    /// The trial of the current build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The last healthy version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<Version>,
    /// The build that was given up, which does not run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// The number of executors that scaling chose; `pressure` precedes the next choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// Failures since the job was last healthy.
    #[serde(default)]
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The reason of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The number of requested restarts that were performed.
    #[serde(default)]
    pub restarts: u64,
}

/// The reconciler that holds the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub epoch: u64,
    /// The last heartbeat, or none if it released the lease.
    pub heartbeat: Option<Timestamp>,
}

/// A start of a continuous job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub number: u64,
    pub version: Version,
    pub begun: Timestamp,
    /// The number of executors, if they follow the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
    /// The id of its execution, once the Runner has returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// The reason of the requested stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
}

/// The reason to stop a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopping {
    /// Another version replaces it.
    Replaced,
    Paused,
    Deleted,
    /// A user requested a restart.
    Restarted,
    /// The number of executors changes.
    Resized,
    /// The run is unhealthy.
    Unhealthy,
}

/// A build that has to become healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub build: u64,
    pub since: Timestamp,
    pub passed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    pub build: u64,
    pub at: Timestamp,
    pub why: String,
}

/// The executions of a job at the Runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The status of its run.
    pub run: RunStatus,
    /// A live execution of the job that is not its run: its submit was accepted after the reconciler stopped waiting
    /// for it.
    pub orphan: Option<String>,
}

/// The observed status of a job's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    /// The Runner does not answer.
    Unknown,
    /// There is no run, or the Runner did not answer its submit yet.
    Nothing,
    /// The Runner rejected the submit, and will reject it again.
    Rejected {
        why: String,
        retryable: bool,
    },
    /// Another execution holds the checkpoint, so the submit was not accepted.
    Held {
        by: String,
    },
    Alive {
        health: Health,
    },
    /// The run has ended, and none of its processes is left.
    Ended {
        succeeded: bool,
        why: String,
        retryable: bool,
    },
}

/// The health of a run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It waits for its Runner to start it, such as when the limit of its domain is reached.
    Queued,
    /// Its driver has not started.
    Pending,
    /// Its driver runs, and the backend reports no progress of its queries.
    Silent { since: Timestamp },
    /// Its driver runs, and no query has made progress.
    Starting,
    /// The time of the last finished batch, or of the last check without new data; and the recent duration of a batch.
    Progressing { last: Timestamp, batch_millis: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_complete_up_to_the_last_full_interval() {
        let up_to = |every, at: &str| {
            let completes = Completes { every, outputs: Vec::new() };
            completes.up_to(at.parse().unwrap()).map(|it| it.to_string())
        };
        for (every, at, complete) in [
            (3600, "2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            (3600, "2026-11-20T14:59:59.999Z", "2026-11-20T14:00:00Z"),
            (86_400, "2026-11-20T14:59:59Z", "2026-11-20T00:00:00Z"),
            (3600, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z"),
        ] {
            assert_eq!(up_to(every, at).as_deref(), Some(complete));
        }
        for every in [0, u64::MAX] {
            assert_eq!(up_to(every, "2026-11-20T14:00:00Z"), None);
        }
    }
}
