//! Continuous jobs, kept as declared.
//!
//! [`decide`] says what is to be done next about one of them, from what is declared, what somebody asked for, what is
//! remembered and what is seen: pure, and for every input. What it remembers ([`JobState`]) is written down before anything
//! is done because of it, and everything that is done can be done again; so whoever finds a job after a crash decides
//! as if there had been none. A [`Reconciler`] does what is decided.

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
pub mod store;
mod version;
mod worker;

use dcp_model::manifest::{OnUnhealthy, Trigger};
use dcp_model::primitive::Fingerprint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use decide::{Condition, Decision, Effect, decide};
pub use jobs::{ContinuousJobs, JobStatus, LocalJobs, Request};
pub use observe::{alive as live_status, seen};
pub use reconciler::{Log, Reconciler};
pub use scale::{Pressure, Scale, Scaling};
pub use version::{desired, version};

/// What can run: a revision of a continuous job, and what it is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub revision: u64,
    /// The newest revision, up to this one, that what ran before had to be restarted for. Between two versions with the
    /// same one, nothing restarts.
    pub build: u64,
    /// The newest revision, up to this one, that could not go on with the state of those before it. What is started with
    /// it finds the state of that revision at its checkpoint, or none: another one is set aside before, by the Runner,
    /// which alone knows that nobody uses it.
    pub state: u64,
    /// The definition that is run.
    pub job: Fingerprint,
    /// When a stream begins its next batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The location of a stream's progress and state. A service has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// How long its running batch may take when it is stopped, in seconds.
    pub grace: u64,
}

impl Version {
    /// Returns whether it is a service, of which nothing is known but whether its driver runs.
    pub fn is_service(&self) -> bool {
        self.checkpoint.is_none()
    }
}

/// Returns the key that a run of a service holds alone, by the address of its continuous job.
pub fn service_key(scope: &str, address: &str) -> String {
    format!("service:{scope}/{address}")
}

/// What is declared of a continuous job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    pub version: Version,
    pub paused: bool,
    pub on_unhealthy: OnUnhealthy,
    /// In seconds, as manifests have them.
    pub start_within: u64,
    /// How long a stream may go without finishing a batch.
    #[serde(default)]
    pub progress_within: u64,
    /// The time that the driver of a service must have run to count as healthy.
    #[serde(default)]
    pub stable_after: u64,
    /// How its executors follow the load, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// When what it writes is told to be complete, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes: Option<Completes>,
}

/// When what a stream writes is told to be complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completes {
    /// Seconds from one time to the next one.
    pub every: u64,
    /// As `kind:name`.
    pub outputs: Vec<String>,
}

impl Completes {
    /// The last time up to which everything is there.
    fn up_to(&self, watermark: Timestamp) -> Option<Timestamp> {
        let every = i64::try_from(self.every).ok().filter(|every| *every > 0)?;
        let second = watermark.as_second();
        Timestamp::from_second(second - second.rem_euclid(every)).ok()
    }
}

/// What somebody asked for beside the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    #[serde(default)]
    pub paused: bool,
    /// Counts how often a restart was asked for.
    #[serde(default)]
    pub restarts: u64,
}

/// What is remembered of a continuous job: enough to go on after any crash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// What was started last, unless it is known to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Counts the starts, and is a part of each one's name: no two starts have the same.
    #[serde(default)]
    pub starts: u64,
    /// The build that is on trial: since when it is, and whether it has proved itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The last version that was seen to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<Version>,
    /// A build that is not to be run any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// How many executors it was found to need, and that it is about to be found so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// How often it has failed since it was last healthy.
    #[serde(default)]
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What it has failed of last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// How many of the restarts that were asked for have been seen to.
    #[serde(default)]
    pub restarts: u64,
}

/// The reconciler that acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub epoch: u64,
    /// The last heartbeat, or none if it released the lease.
    pub heartbeat: Option<Timestamp>,
}

/// A start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub number: u64,
    pub version: Version,
    pub begun: Timestamp,
    /// How many executors it has, where they follow the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
    /// Its id, once the Runner has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// Why it was asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
}

/// Why what runs is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopping {
    /// Another version takes its place.
    Replaced,
    Paused,
    Deleted,
    /// Somebody asked for a restart.
    Restarted,
    /// It is to have another number of executors.
    Resized,
    /// It runs, and is not healthy.
    Unhealthy,
}

/// A build that has to show that it gets healthy.
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

/// What there is of a job at the Runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What became of its run.
    pub run: RunStatus,
    /// An execution of its own that is alive and not its run: it was let in after it was waited for no more.
    pub orphan: Option<String>,
}

/// What became of a job's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    /// The Runner can't be asked now.
    Unknown,
    /// Nothing was asked: there is no run, or the Runner has not told of it yet.
    Nothing,
    /// The Runner has refused to start it, and never will by this name.
    Refused {
        why: String,
        retryable: bool,
    },
    /// It was not let in: another execution has the checkpoint.
    Held {
        by: String,
    },
    Alive {
        health: Health,
    },
    /// Nothing of it is left.
    Ended {
        succeeded: bool,
        why: String,
        retryable: bool,
    },
}

/// How a run is that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has no driver yet.
    Pending,
    /// Its driver runs, and its backend tells nothing of how its queries are.
    Silent { since: Timestamp },
    /// No query has done anything yet.
    Starting,
    /// When it last finished a batch, or had nothing to read; and how long a batch takes as of late.
    Moving { last: Timestamp, batch_millis: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_complete_up_to_the_last_full_stretch() {
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
