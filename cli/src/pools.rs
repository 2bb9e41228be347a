//! The pools of a target, as its database or its proxy for Spark Connect reports them.

use std::path::PathBuf;
use std::time::Duration;

use dcp_compiler::project::Project;
use dcp_connect::remote::Remote;
use dcp_connect::store::Store;
use dcp_connect::{DriverCounts, PoolState, PoolStatus};
use dcp_model::primitive::Kind;
use dcp_reconciler::plan::{Live, Plan, Workload};
use dcp_reconciler::reconcile::Convergence;
use dcp_reconciler::registry::remote::Options;
use dcp_reconciler::state::Action;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;

use crate::control::Control;
use crate::failure::Failure;
use crate::sessions;

/// Timeout of a proxy. Commands are of use without it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A pool that is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppliedPool {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
}

impl AppliedPool {
    /// Returns the applied pools of a target.
    pub(crate) fn all(control: &Control) -> Result<Vec<Self>, Failure> {
        let entries = control.state()?.entries.into_iter();
        let pools = entries.filter(|(address, _)| address.kind == Kind::Pool).map(|(address, entry)| Self {
            domain: address.domain,
            name: address.name,
            revision: entry.revision,
        });
        Ok(pools.collect())
    }

    /// Returns the progress of the pool towards its declaration: the minimum of drivers that are ready.
    pub(crate) fn convergence(&self, pools: &[PoolStatus]) -> Convergence {
        let is_read = |it: &&PoolStatus| {
            it.domain == self.domain && it.name == self.name && it.revision >= self.revision
        };
        match pools.iter().find(is_read) {
            Some(pool) if pool.drivers.ready >= pool.min_idle => Convergence::Converged,
            Some(pool) if pool.state == PoolState::Failing => Convergence::Failed,
            _ => Convergence::InTransition,
        }
    }
}

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

    /// Returns the pools of a target; none if none is applied.
    pub(crate) fn pools(
        &self,
        control: &Control,
        applied: &[AppliedPool],
    ) -> Result<Vec<PoolStatus>, Failure> {
        if applied.is_empty() {
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
    let pools = AppliedPool::all(control).and_then(|applied| source.pools(control, &applied));
    let Ok(pools) = pools else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(revision: u64, ready: u64, state: PoolState) -> PoolStatus {
        PoolStatus {
            scope: "shop".to_owned(),
            domain: "logistics".to_owned(),
            name: "small".to_owned(),
            engine: "4.1".to_owned(),
            share: "domain".to_owned(),
            cores: None,
            memory: None,
            revision,
            min_idle: 2,
            state,
            drivers: DriverCounts { ready, ..DriverCounts::default() },
            sessions: 0,
            users: 0,
            failure: None,
        }
    }

    #[test]
    fn pool_is_as_declared_once_its_newest_revision_has_enough_drivers() {
        let applied = AppliedPool { domain: "logistics".to_owned(), name: "small".to_owned(), revision: 3 };
        assert_eq!(applied.convergence(&[]), Convergence::InTransition);
        let other = PoolStatus { name: "large".to_owned(), ..status(3, 2, PoolState::Ready) };
        assert_eq!(applied.convergence(&[other]), Convergence::InTransition);
        for (revision, ready, state, expected) in [
            (2, 2, PoolState::Ready, Convergence::InTransition),
            (2, 0, PoolState::Failing, Convergence::InTransition),
            (3, 1, PoolState::Ready, Convergence::InTransition),
            (3, 1, PoolState::Failing, Convergence::Failed),
            (3, 2, PoolState::Failing, Convergence::Converged),
            (3, 2, PoolState::Ready, Convergence::Converged),
        ] {
            let found = applied.convergence(&[status(revision, ready, state)]);
            assert_eq!(found, expected, "{revision} {ready} {state:?}");
        }
    }
}
