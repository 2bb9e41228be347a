//! The continuous jobs of a target: their declaration, job state and execution.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_compiler::project::Project;
use dcp_model::primitive::{Address, Kind};
use dcp_reconciler::plan::{GivenUp, Live, Plan, Workload};
use dcp_reconciler::reconcile::{
    Condition, ContinuousJobs, JobStatus, Leader, Observed, RunStatus, decide, live_status, run_status,
};
use dcp_reconciler::registry::remote::Options;
use dcp_reconciler::registry::{self};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::Scope;
use dcp_runner::api::{self, Holder, Record, Runner as _};
use dcp_runner::execution::Id;
use dcp_runner::progress::Progress;
use dcp_runner::remote::Remote;
use dcp_runner::store::Store;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::{SignedDuration, Timestamp};

use crate::control::Control;
use crate::failure::Failure;
use crate::render;
use crate::runs::RunnerClient;
use crate::socket;

/// Adds to a plan the live state of the continuous jobs that it changes, and the revisions that were given up. It
/// only reads, and unreadable state stays unknown.
pub(crate) fn add_live_state(plan: &mut Plan, control: &Control, home: &Workspace, project: &Project<'_>) {
    let Ok(continuous_jobs) = control.continuous_jobs() else { return };
    let Ok(status) = control.run(continuous_jobs.jobs(&control.scope, None)) else { return };
    plan.given_up = status.iter().filter_map(given_up).collect();
    let concerned = |it: &&mut Workload| it.live == Live::Unknown && it.action != Action::Create;
    let concerned: Vec<&mut Workload> = plan.workloads.iter_mut().filter(concerned).collect();
    if concerned.is_empty() {
        return;
    }
    let found = control.run(async {
        let mut status: HashMap<String, JobStatus> =
            status.into_iter().map(|it| (format!("{}/{}", it.address.domain, it.address.name), it)).collect();
        let reader = Reader::of(home, project).await?;
        let mut found = HashMap::new();
        for workload in &concerned {
            let Some(status) = status.remove(&workload.id()) else { continue };
            match reader.job(status).await {
                Ok(job) => drop(job.map(|job| found.insert(workload.id(), job))),
                // The other requests would fail too.
                Err(Unreachable) => break,
            }
        }
        Some(found)
    });
    for workload in concerned {
        let Some(job) = found.as_ref().and_then(|found| found.get(&workload.id())) else { continue };
        let run = job.status.state.run.as_ref();
        workload.live = Live::Seen {
            condition: render::jobs::condition_label(job).0.to_owned(),
            revision: run.map(|run| run.version.revision),
            input_rate: job.progress.as_ref().map(|it| it.input_rate),
            scaled: render::jobs::describe_resize(job),
            state_rows: job.progress.as_ref().map(|it| it.state_rows),
        };
    }
}

/// Returns the applied revision of a job, if it was given up.
fn given_up(status: &JobStatus) -> Option<GivenUp> {
    let build = status.desired.as_ref()?.version.build;
    let given_up = status.state.given_up.as_ref().filter(|it| it.build == build)?;
    Some(GivenUp {
        domain: status.address.domain.clone(),
        name: status.address.name.clone(),
        revision: status.desired.as_ref()?.version.revision,
        running: status.state.run.as_ref().map(|run| run.version.revision),
        why: given_up.why.clone(),
    })
}

/// Reads the state of executions without running a Runner.
enum Reader {
    Store(Option<Store>),
    Remote(Box<Remote>),
}

impl Reader {
    async fn of(home: &Workspace, project: &Project<'_>) -> Option<Self> {
        let options = match project.runner() {
            Some(runner) => Some(crate::control::remote_options(runner, Some(&home.root)).ok()?),
            None => socket::url(&home.root).await.map(|url| Options::new(url, "")),
        };
        if let Some(options) = options {
            return Some(Self::Remote(Box::new(Remote::new(options).ok()?)));
        }
        let path = home.root.join(FOLDER).join("runs.db");
        // Without a database, nothing was ever run.
        if !path.exists() {
            return Some(Self::Store(None));
        }
        Some(Self::Store(Some(Store::sqlite(&path).await.ok()?)))
    }

    /// Returns none if the execution of a job is not stored any more, because it ended and its retention has
    /// passed.
    async fn job(&self, status: JobStatus) -> Result<Option<Job>, Unreachable> {
        let execution = status.state.run.as_ref().and_then(|run| run.execution.as_deref());
        let of = |run, progress| Some(Job::of(status.clone(), run, progress, Timestamp::now()));
        let found = match (execution.and_then(Id::parse), self) {
            (None, _) | (_, Self::Store(None)) => return Ok(of(RunStatus::Nothing, None)),
            (Some(id), Self::Remote(remote)) => remote.check(&id).await,
            (Some(id), Self::Store(Some(store))) => stored(store, &id).await,
        };
        match found {
            Ok(record) => Ok(of(run_status(&record), record.progress)),
            Err(api::Error::NotFound(_)) => Ok(None),
            Err(_) => Err(Unreachable),
        }
    }
}

/// The Runner or its store does not answer.
struct Unreachable;

async fn stored(store: &Store, id: &Id) -> api::Result<Record> {
    let unknown = || api::Error::NotFound(format!("there is no execution {id}"));
    let mut record = store.get(id).await?.ok_or_else(unknown)?;
    record.progress = store.progress(id).await?;
    Ok(record)
}

/// Age of the last heartbeat after which a reconciler counts as gone.
const HEARTBEAT_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// The continuous jobs of a target, with the control plane and the Runner that know their state.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) reconciler: Arc<dyn ContinuousJobs>,
    pub(crate) control: Control,
    pub(crate) runs: RunnerClient,
}

/// A continuous job, and its condition.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) status: JobStatus,
    pub(crate) condition: Condition,
    pub(crate) progress: Option<Progress>,
}

/// The progress of a job towards its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Convergence {
    /// The job is as declared.
    Converged,
    InTransition,
    /// The declared revision was given up, or is in backoff after a failure.
    Failed,
}

/// Maximum age of a running execution's first progress report, if it reports any.
const FIRST_REPORT_TIMEOUT: SignedDuration = SignedDuration::from_secs(20);

impl Job {
    /// Returns true if the job runs, as far as is known.
    pub(crate) fn runs(&self, now: Timestamp) -> bool {
        // A run that has just started may not have reported anything.
        let is_old = self
            .status
            .state
            .run
            .as_ref()
            .is_some_and(|run| now.duration_since(run.begun) > FIRST_REPORT_TIMEOUT);
        self.condition == Condition::Healthy || (self.condition == Condition::Silent && is_old)
    }

    pub(crate) fn convergence(&self, now: Timestamp) -> Convergence {
        let JobStatus { desired, state, .. } = &self.status;
        let build = desired.as_ref().map(|it| it.version.build);
        if state.given_up.as_ref().is_some_and(|it| Some(it.build) == build) {
            return Convergence::Failed;
        }
        let runs_declared_revision = state.run.as_ref().map(|run| run.version.build) == build;
        match self.condition {
            Condition::Paused | Condition::Deleted => Convergence::Converged,
            Condition::BackingOff { .. } => Convergence::Failed,
            _ if runs_declared_revision && self.runs(now) => Convergence::Converged,
            _ => Convergence::InTransition,
        }
    }

    /// Returns whether the job is deleted and its run has ended, also before the reconciler has recorded that.
    fn is_gone(&self) -> bool {
        self.condition == Condition::Deleted
    }

    fn of(status: JobStatus, run: RunStatus, progress: Option<Progress>, now: Timestamp) -> Self {
        let observed = Observed { run, orphan: None };
        let decided = decide(status.desired.as_ref(), &status.requested, &status.state, &observed, now, 0);
        // A failure is visible here before the reconciler has stored it.
        let mut status = status;
        (status.state.failures, status.state.failure) = (decided.state.failures, decided.state.failure);
        Self { status, condition: decided.condition, progress }
    }
}

/// The data of one status report.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) jobs: Vec<Job>,
    pub(crate) leader: Option<Leader>,
    /// The error of the Runner, if it could not be reached.
    pub(crate) runner_error: Option<String>,
    pub(crate) now: Timestamp,
}

fn has_no_reconciler(leader: Option<&Leader>, now: Timestamp) -> bool {
    let heartbeat = leader.and_then(|it| it.heartbeat);
    heartbeat.is_none_or(|heartbeat| now.duration_since(heartbeat) > HEARTBEAT_TIMEOUT)
}

/// Returns true if a reconciler runs, or none if that is unknown.
pub(crate) fn has_reconciler(control: &Control) -> Option<bool> {
    let continuous_jobs = control.continuous_jobs().ok()?;
    let leader = control.run(continuous_jobs.leader()).ok()?;
    Some(!has_no_reconciler(leader.as_ref(), Timestamp::now()))
}

/// Maximum time to wait for a reconciler to appear.
const RECONCILER_TIMEOUT: Duration = Duration::from_secs(5);

impl Overview {
    /// Stops waiting if no reconciler has appeared since the wait began.
    pub(crate) fn check_reconciler(&self, begun: Instant) -> Result<(), Failure> {
        if self.has_no_reconciler() && begun.elapsed() > RECONCILER_TIMEOUT {
            return Err(Failure::new(render::jobs::NO_RECONCILER));
        }
        Ok(())
    }

    /// Returns true if no reconciler is running.
    pub(crate) fn has_no_reconciler(&self) -> bool {
        has_no_reconciler(self.leader.as_ref(), self.now)
    }
}

impl Jobs {
    pub(crate) fn of(project: Option<&Path>, target: Option<&str>) -> Result<Self, Failure> {
        let home = Workspace::find(project, &[])?;
        let project = home.target(target)?;
        let control = Control::open(&home, &project)?;
        let up = if project.server().is_none() { control.run(socket::url(&home.root)) } else { None };
        let reconciler: Arc<dyn ContinuousJobs> = match up {
            Some(url) => {
                let remote = control.run(async { registry::remote::Remote::new(Options::new(url, "")) });
                Arc::new(remote.map_err(|error| control.failed(&error))?)
            }
            None => control.continuous_jobs()?,
        };
        let runs = RunnerClient::open(&home, &project)?;
        Ok(Self { reconciler, control, runs })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.control.scope
    }

    /// Returns the address of a workload's continuous job.
    pub(crate) fn address(workload: &str) -> Result<Address, Failure> {
        let address = format!("{}/{workload}", Kind::ContinuousJob.name()).parse();
        address.map_err(|_| {
            Failure::usage(format!("`{workload}` is no workload"))
                .help("give it as `domain/name`; `dcp status` lists them")
        })
    }

    pub(crate) fn overview(&self, of: Option<&Address>) -> Result<Overview, Failure> {
        let response = self.control.run(async {
            let jobs = self.reconciler.jobs(self.scope(), of).await?;
            Ok((jobs, self.reconciler.leader().await?))
        });
        let (status, leader) = response.map_err(|error| self.control.failed(&error))?;
        let now = Timestamp::now();
        let (found, runner_error) = match self.runs.run(self.runs(&status, of.is_some())) {
            Ok(found) => (found, None),
            Err(error) => (HashMap::new(), Some(error.to_string())),
        };
        let job = |status: JobStatus| {
            let execution = status.state.run.as_ref().and_then(|run| run.execution.as_deref());
            let (run, progress) = match execution {
                None => (RunStatus::Nothing, None),
                Some(id) => found.get(id).cloned().unwrap_or((RunStatus::Unknown, None)),
            };
            Job::of(status, run, progress, now)
        };
        let jobs = status.into_iter().map(job).filter(|job| !job.is_gone()).collect();
        Ok(Overview { jobs, leader, runner_error, now })
    }

    /// Returns the status of runs, by their executions.
    async fn runs(
        &self,
        status: &[JobStatus],
        is_one: bool,
    ) -> Result<HashMap<String, (RunStatus, Option<Progress>)>, api::Error> {
        let mut found = HashMap::new();
        let wanted = || status.iter().filter_map(|it| it.state.run.as_ref());
        if !is_one && wanted().next().is_some() {
            let holders = api::all_holders(&*self.runs.runner).await?;
            let holders: HashMap<&str, &Holder> = holders.iter().map(|it| (it.id.as_str(), it)).collect();
            for run in wanted() {
                // The start of a service's driver is in its execution, which is read below.
                let Some(id) = run.execution.as_ref().filter(|_| !run.version.is_service()) else { continue };
                if let Some(holder) = holders.get(id.as_str()) {
                    found.insert(
                        id.clone(),
                        (live_status(holder, &run.version, run.begun), holder.progress.clone()),
                    );
                }
            }
        }
        for id in wanted().filter_map(|run| run.execution.as_deref()) {
            let Some(named) = Id::parse(id).filter(|_| !found.contains_key(id)) else { continue };
            match self.runs.runner.check(&named).await {
                Ok(record) => {
                    let progress = record.progress.clone().filter(|_| !record.execution.phase.is_final());
                    found.insert(id.to_owned(), (run_status(&record), progress));
                }
                Err(api::Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use dcp_reconciler::reconcile::{Health, JobState, Requested};
    use serde_json::json;

    use super::*;

    #[test]
    fn deleted_job_is_gone_once_its_run_has_ended() {
        let now = Timestamp::UNIX_EPOCH;
        let version = json!({"revision": 1, "build": 1, "state": 1, "job": "0".repeat(64), "checkpoint": "/c", "grace": 60});
        let run =
            json!({"number": 1, "version": version, "begun": now, "execution": "01a", "stopping": "deleted"});
        let state: JobState =
            serde_json::from_value(json!({"run": run, "starts": 1})).expect("it is a state");
        let address =
            Address { domain: "shop".to_owned(), name: "orders".to_owned(), kind: Kind::ContinuousJob };
        let status = JobStatus { address, desired: None, requested: Requested::default(), state };
        let alive = RunStatus::Alive { health: Health::Starting };
        let ended = RunStatus::Ended { succeeded: true, why: String::new(), retryable: false };
        assert!(!Job::of(status.clone(), alive, None, now).is_gone());
        assert!(Job::of(status, ended, None, now).is_gone());
    }
}
