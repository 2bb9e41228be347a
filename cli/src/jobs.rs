//! The continuous jobs of a target: their declaration, job state and execution.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_compiler::project::Project;
use dcp_connect::PoolStatus;
use dcp_model::primitive::{Address, Kind};
use dcp_reconciler::plan::{GivenUp, Live, Plan};
use dcp_reconciler::reconcile::{self, Condition, ContinuousJobs, Executions, JobStatus, Leader};
use dcp_reconciler::registry::remote::Options;
use dcp_reconciler::registry::{self};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::Scope;
use dcp_runner::remote::Remote;
use dcp_runner::store::Store;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::{SignedDuration, Timestamp};

use crate::control::Control;
use crate::failure::Failure;
use crate::pools::{AppliedPool, PoolSource};
use crate::render;
use crate::runs::RunnerClient;
use crate::socket;

/// Adds to a plan the live state of the continuous jobs that it changes, and the revisions that were given up. It
/// only reads, and unreadable state stays unknown.
pub(crate) fn add_live_state(plan: &mut Plan, control: &Control, home: &Workspace, project: &Project<'_>) {
    let executions = control.run(stored_executions(home, project));
    let Ok(continuous_jobs) = control.continuous_jobs(executions) else { return };
    let Ok(overview) = control.run(continuous_jobs.jobs(&control.scope, None)) else { return };
    plan.given_up = overview.jobs.iter().filter_map(given_up).collect();
    let mut status: HashMap<String, JobStatus> = overview
        .jobs
        .into_iter()
        .map(|it| (format!("{}/{}", it.address.domain, it.address.name), it))
        .collect();
    for workload in &mut plan.workloads {
        if workload.live != Live::Unknown || workload.action == Action::Create {
            continue;
        }
        let Some(job) = status.remove(&workload.id()).filter(|job| job.condition != Condition::Unknown)
        else {
            continue;
        };
        workload.live = Live::Seen {
            condition: render::jobs::condition_label(&job).0.to_owned(),
            revision: job.state.run.as_ref().map(|run| run.version.revision),
            input_rate: job.progress.as_ref().map(|it| it.input_rate),
            scaled: render::jobs::describe_resize(&job),
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

/// Returns access to the executions of a project without running a Runner.
async fn stored_executions(home: &Workspace, project: &Project<'_>) -> Executions {
    let options = match project.runner() {
        Some(runner) => crate::control::remote_options(runner, Some(&home.root)).map(Some),
        None => Ok(socket::url(&home.root).await.map(|url| Options::new(url, ""))),
    };
    let unreachable = |reason: String| Executions::Unreachable(reason);
    match options {
        Ok(Some(options)) => match Remote::new(options) {
            Ok(remote) => Executions::Runner(Arc::new(remote)),
            Err(error) => unreachable(error.to_string()),
        },
        Ok(None) => {
            let path = home.root.join(FOLDER).join("runs.db");
            // Without a database, nothing was ever run.
            if !path.exists() {
                return Executions::None;
            }
            match Store::sqlite(&path).await {
                Ok(store) => Executions::Store(store),
                Err(error) => unreachable(error.to_string()),
            }
        }
        Err(failure) => unreachable(failure.message().to_owned()),
    }
}

/// Age of the last heartbeat after which a reconciler counts as gone.
const HEARTBEAT_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// The continuous jobs of a target, with the control plane and the Runner that know their state.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) reconciler: Arc<dyn ContinuousJobs>,
    pub(crate) control: Control,
    pub(crate) runs: RunnerClient,
    pools: PoolSource,
}

/// The data of one status report.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) jobs: Vec<JobStatus>,
    pub(crate) leader: Option<Leader>,
    /// The error of the Runner, if it could not be reached.
    pub(crate) runner_error: Option<String>,
    pub(crate) pools: Vec<PoolStatus>,
    /// The pools that are applied, also those that no reconciler has read.
    pub(crate) applied_pools: Vec<AppliedPool>,
    /// The error of the proxy for Spark Connect, if it could not be reached.
    pub(crate) pools_error: Option<String>,
    pub(crate) now: Timestamp,
}

fn has_no_reconciler(leader: Option<&Leader>, now: Timestamp) -> bool {
    let heartbeat = leader.and_then(|it| it.heartbeat);
    heartbeat.is_none_or(|heartbeat| now.duration_since(heartbeat) > HEARTBEAT_TIMEOUT)
}

/// Returns true if a reconciler runs, or none if that is unknown.
pub(crate) fn has_reconciler(control: &Control) -> Option<bool> {
    let continuous_jobs = control.continuous_jobs(Executions::None).ok()?;
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
        let runs = RunnerClient::open(&home, &project)?;
        let up = if project.server().is_none() { control.run(socket::url(&home.root)) } else { None };
        let reconciler: Arc<dyn ContinuousJobs> = match up {
            Some(url) => {
                let remote = control.run(async { registry::remote::Remote::new(Options::new(url, "")) });
                Arc::new(remote.map_err(|error| crate::control::registry_failed(&error))?)
            }
            None => control.continuous_jobs(Executions::Runner(Arc::clone(&runs.runner)))?,
        };
        Ok(Self { reconciler, control, runs, pools: PoolSource::of(&home, &project) })
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
            let overview = self.reconciler.jobs(self.scope(), of).await?;
            Ok((overview, self.reconciler.leader().await?))
        });
        let (mut overview, leader) = response.map_err(|error| crate::control::registry_failed(&error))?;
        let now = Timestamp::now();
        // A control plane without a Runner does not know the status of runs.
        if overview.runner_error.is_some() {
            let executions = Executions::Runner(Arc::clone(&self.runs.runner));
            overview = self.runs.run(executions.refresh(overview, of.is_some(), now));
        }
        let reconcile::Overview { jobs, runner_error } = overview;
        let selects = |domain: &str, name: &str| of.is_none_or(|it| it.domain == domain && it.name == name);
        let mut applied_pools = AppliedPool::all(&self.control)?;
        let (mut pools, pools_error) = match self.pools.pools(&self.control, &applied_pools) {
            Ok(pools) => (pools, None),
            Err(failure) => (Vec::new(), Some(failure.message().to_owned())),
        };
        pools.retain(|pool| selects(&pool.domain, &pool.name));
        applied_pools.retain(|pool| selects(&pool.domain, &pool.name));
        Ok(Overview { jobs, leader, runner_error, pools, applied_pools, pools_error, now })
    }
}
