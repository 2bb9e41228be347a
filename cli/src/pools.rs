//! The pools of a target, as its database or its proxy for Spark Connect reports them.

use std::path::PathBuf;
use std::time::Duration;

use dcp_compiler::project::Project;
use dcp_connect::remote::Remote;
use dcp_connect::store::Store;
use dcp_connect::{DriverCounts, PoolState, PoolStatus};
use dcp_model::primitive::Kind;
use dcp_reconciler::plan::{Live, Plan, Workload};
use dcp_reconciler::registry::remote::Options;
use dcp_reconciler::state::Action;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;

use crate::control::Control;
use crate::failure::Failure;
use crate::sessions;

/// Timeout of a proxy. Commands are of use without it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The place that knows the pools of a target.
#[derive(Debug)]
pub(crate) struct PoolSource {
    /// The proxy; none for the project's own database.
    server: Option<String>,
    root: PathBuf,
}

impl PoolSource {
    pub(crate) fn of(home: &Workspace, project: &Project<'_>) -> Self {
        Self { server: project.connect().map(str::to_owned), root: home.root.clone() }
    }

    /// Returns the applied pools of a target; none if it has none.
    pub(crate) fn pools(&self, control: &Control) -> Result<Vec<PoolStatus>, Failure> {
        let state = control.state()?;
        if !state.entries.keys().any(|address| address.kind == Kind::Pool) {
            return Ok(Vec::new());
        }
        let mut pools = control.run(self.all())?;
        pools.retain(|pool| pool.scope == control.scope.as_str());
        Ok(pools)
    }

    async fn all(&self) -> Result<Vec<PoolStatus>, Failure> {
        let Some(server) = &self.server else {
            let path = self.root.join(FOLDER).join("state.db");
            let pools = async {
                let store = Store::sqlite(&path).await?;
                let pools = dcp_connect::pool_statuses(&store).await;
                store.close().await;
                pools
            };
            return pools.await.map_err(|error| Failure::new(error.to_string()));
        };
        let options = crate::control::remote_options(server, Some(&self.root))?;
        let remote = Remote::new(Options { retry_for: Duration::ZERO, deadline: TIMEOUT, ..options });
        let remote = remote.map_err(|error| sessions::failed(&error))?;
        remote.pools(None).await.map_err(|error| sessions::failed(&error))
    }
}

/// Adds to a plan the drivers and sessions of the pools that it changes. It only reads, and what can't be read stays unknown.
pub(crate) fn add_live_state(plan: &mut Plan, control: &Control, home: &Workspace, project: &Project<'_>) {
    let is_affected =
        |it: &Workload| it.live == Live::Unknown && it.action != Action::Create && it.changes_pool();
    if !plan.workloads.iter().any(is_affected) {
        return;
    }
    let source = PoolSource::of(home, project);
    let Ok(pools) = source.pools(control) else { return };
    for workload in plan.workloads.iter_mut().filter(|it| is_affected(it)) {
        match pools.iter().find(|it| it.domain == workload.domain && it.name == workload.name) {
            Some(pool) => workload.live = live(pool.state, pool.drivers, pool.sessions, pool.users),
            // No reconciler has read it yet.
            None if source.server.is_none() => {
                workload.live = live(PoolState::Idle, DriverCounts::default(), 0, 0);
            }
            None => {}
        }
    }
}

fn live(state: PoolState, drivers: DriverCounts, sessions: u64, users: u64) -> Live {
    let DriverCounts { ready, starting, draining } = drivers;
    Live::Pool { state: state.name().to_owned(), drivers: ready + starting + draining, sessions, users }
}
