//! The status of a continuous job: what is declared and stored, and the condition that follows from its run.
//!
//! It is computed here once, for every client. [`JobStatus::new`] is pure.

use std::collections::HashMap;
use std::sync::Arc;

use dcp_model::primitive::Address;
use dcp_runner::api::{self, Holder, Record, Runner};
use dcp_runner::execution::Id;
use dcp_runner::progress::Progress;
use dcp_runner::store::Store;
use jiff::{SignedDuration, Timestamp};

use super::observe::{live_status, run_status};
use super::{Condition, Desired, JobState, Observed, Requested, RunStatus, decide};

/// Maximum age of a run's first progress report, if it reports any.
const FIRST_REPORT_TIMEOUT: SignedDuration = SignedDuration::from_secs(20);

/// The status of a continuous job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    pub address: Address,
    /// None if the job was deleted.
    pub desired: Option<Desired>,
    pub requested: Requested,
    pub state: JobState,
    pub condition: Condition,
    pub convergence: Convergence,
    /// True if the job runs, as far as is known.
    pub runs: bool,
    pub progress: Option<Progress>,
}

/// The progress of a job towards its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convergence {
    /// The job is as declared.
    Converged,
    InTransition,
    /// The declared revision was given up, or is in backoff after a failure.
    Failed,
}

/// The jobs of a scope.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    pub jobs: Vec<JobStatus>,
    /// The reason why the status of runs is unknown, if it is.
    pub runner_error: Option<String>,
}

/// A job without the status of its run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredStatus {
    pub(super) address: Address,
    pub(super) desired: Option<Desired>,
    pub(super) requested: Requested,
    pub(super) state: JobState,
}

impl JobStatus {
    /// Combines what is stored of a job with the status of its run.
    fn new(stored: StoredStatus, run: RunStatus, progress: Option<Progress>, now: Timestamp) -> Self {
        let StoredStatus { address, desired, requested, mut state } = stored;
        let observed = Observed { run, orphan: None };
        let decision = decide(desired.as_ref(), &requested, &state, &observed, now, 0);
        // A failure is visible here before the reconciler has stored it.
        (state.failures, state.failure) = (decision.state.failures, decision.state.failure);
        let condition = decision.condition;
        let runs = runs(&state, &condition, now);
        let convergence = convergence(desired.as_ref(), &state, &condition, runs);
        Self { address, desired, requested, state, condition, convergence, runs, progress }
    }
}

fn runs(state: &JobState, condition: &Condition, now: Timestamp) -> bool {
    // A run that has just started may not have reported anything.
    let is_old = state.run.as_ref().is_some_and(|run| now.duration_since(run.begun) > FIRST_REPORT_TIMEOUT);
    *condition == Condition::Healthy || (*condition == Condition::Silent && is_old)
}

fn convergence(
    desired: Option<&Desired>,
    state: &JobState,
    condition: &Condition,
    runs: bool,
) -> Convergence {
    let build = desired.map(|it| it.version.build);
    if state.given_up.as_ref().is_some_and(|it| Some(it.build) == build) {
        return Convergence::Failed;
    }
    let runs_declared_revision = state.run.as_ref().map(|run| run.version.build) == build;
    match condition {
        Condition::Paused | Condition::Deleted => Convergence::Converged,
        Condition::BackingOff { .. } => Convergence::Failed,
        _ if runs_declared_revision && runs => Convergence::Converged,
        _ => Convergence::InTransition,
    }
}

/// Access to the executions of continuous jobs.
#[derive(Debug, Clone)]
pub enum Executions {
    Runner(Arc<dyn Runner>),
    /// The store of a Runner that need not run.
    Store(Store),
    /// None was ever stored.
    None,
    /// They can't be read, for this reason.
    Unreachable(String),
}

/// The status of a run, and its progress.
type RunOf = (RunStatus, Option<Progress>);

impl Executions {
    async fn get(&self, id: &Id) -> api::Result<Record> {
        let unknown = || api::Error::NotFound(format!("there is no execution {id}"));
        match self {
            Self::Runner(runner) => runner.check(id).await,
            Self::Store(store) => {
                let mut record = store.get(id).await?.ok_or_else(unknown)?;
                record.progress = store.progress(id).await?;
                Ok(record)
            }
            Self::None => Err(unknown()),
            Self::Unreachable(reason) => Err(api::Error::Unavailable(reason.clone())),
        }
    }

    /// Returns the live executions that hold keys; none for a store, where each run is read by its id.
    async fn holders(&self) -> api::Result<Vec<Holder>> {
        match self {
            Self::Runner(runner) => api::all_holders(&**runner).await,
            Self::Store(_) | Self::None => Ok(Vec::new()),
            Self::Unreachable(reason) => Err(api::Error::Unavailable(reason.clone())),
        }
    }

    /// Computes the conditions of jobs anew, for a control plane that can't reach the Runner.
    pub async fn refresh(&self, overview: Overview, is_one: bool, now: Timestamp) -> Overview {
        let stored = |status: JobStatus| {
            let JobStatus { address, desired, requested, state, .. } = status;
            StoredStatus { address, desired, requested, state }
        };
        self.overview(overview.jobs.into_iter().map(stored).collect(), is_one, now).await
    }

    /// Adds the status of their runs to jobs. Leaves out those that are deleted and have ended.
    pub(super) async fn overview(&self, stored: Vec<StoredStatus>, is_one: bool, now: Timestamp) -> Overview {
        let (mut found, runner_error) = match self.runs(&stored, is_one).await {
            Ok(found) => (found, None),
            Err(error) => (HashMap::new(), Some(error.to_string())),
        };
        let job = |stored: StoredStatus| {
            let execution = stored.state.run.as_ref().and_then(|run| run.execution.as_deref());
            let (run, progress) = match execution {
                None => (RunStatus::Nothing, None),
                Some(id) => found.remove(id).unwrap_or((RunStatus::Unknown, None)),
            };
            JobStatus::new(stored, run, progress, now)
        };
        let jobs = stored.into_iter().map(job).filter(|job| job.condition != Condition::Deleted).collect();
        Overview { jobs, runner_error }
    }

    /// Returns the status of runs, by their executions.
    async fn runs(&self, jobs: &[StoredStatus], is_one: bool) -> api::Result<HashMap<String, RunOf>> {
        let mut found = HashMap::new();
        let runs = || jobs.iter().filter_map(|it| it.state.run.as_ref());
        if !is_one && runs().next().is_some() {
            let holders = self.holders().await?;
            let holders: HashMap<&str, &Holder> = holders.iter().map(|it| (it.id.as_str(), it)).collect();
            for run in runs() {
                // The start of a service's driver is in its execution, which is read below.
                let Some(id) = run.execution.as_ref().filter(|_| !run.version.is_service()) else { continue };
                if let Some(holder) = holders.get(id.as_str()) {
                    let status = live_status(holder, &run.version, run.begun);
                    found.insert(id.clone(), (status, holder.progress.clone()));
                }
            }
        }
        for id in runs().filter_map(|run| run.execution.as_deref()) {
            let Some(parsed) = Id::parse(id).filter(|_| !found.contains_key(id)) else { continue };
            match self.get(&parsed).await {
                Ok(record) => {
                    let progress = record.progress.clone().filter(|_| !record.execution.phase.is_final());
                    found.insert(id.to_owned(), (run_status(&record), progress));
                }
                // The execution has ended, and its retention has passed.
                Err(api::Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use dcp_model::primitive::Kind;
    use serde_json::json;

    use super::super::Health;
    use super::*;

    #[test]
    fn a_deleted_job_is_deleted_once_its_run_has_ended() {
        let now = Timestamp::UNIX_EPOCH;
        let version = json!({"revision": 1, "build": 1, "state": 1, "job": "0".repeat(64), "checkpoint": "/c", "grace": 60});
        let run =
            json!({"number": 1, "version": version, "begun": now, "execution": "01a", "stopping": "deleted"});
        let state: JobState = serde_json::from_value(json!({"run": run, "starts": 1})).unwrap();
        let address =
            Address { domain: "shop".to_owned(), name: "orders".to_owned(), kind: Kind::ContinuousJob };
        let stored = StoredStatus { address, desired: None, requested: Requested::default(), state };
        let alive = RunStatus::Alive { health: Health::Starting };
        let ended = RunStatus::Ended { succeeded: true, why: String::new(), retryable: false };
        let condition = |run| JobStatus::new(stored.clone(), run, None, now).condition;
        assert_ne!(condition(alive), Condition::Deleted);
        assert_eq!(condition(ended), Condition::Deleted);
    }
}
