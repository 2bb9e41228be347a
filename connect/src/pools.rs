//! Keeps the drivers of pools as declared.
//!
//! One of several loops acts at a time, by a lease. Each round reads the declared pools, the drivers and the sessions that wait,
//! decides by [`size::decide`], and performs the decision. A driver is an execution of the Runner: its row is stored before its
//! submit, whose token is made of the row, so that a round that is interrupted anywhere is completed by the next one.

mod declared;
mod executions;
mod failing;
mod round;
mod size;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dcp_reconciler::reconcile::lease::{Acts, Candidate, LeaseHandle, Log};
use dcp_reconciler::registry::sql::Sql;
use dcp_runner::api::Runner;
use dcp_runner::request::Fence;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::Store;

use declared::DeclaredPools;
use round::{Memory, Round};

/// The name of the lease for which the loops of one database compete.
const LEASE_NAME: &str = "pools";
/// Interval between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of rounds between two removals of old rows.
const FORGET_ROUNDS: u64 = 600;

/// The loop that keeps the drivers of all pools of a control plane.
pub struct Pools {
    pub registry: Sql,
    /// The store of continuous jobs, which has the lease.
    pub jobs: dcp_reconciler::reconcile::store::Store,
    pub store: Store,
    pub runner: Arc<dyn Runner>,
    /// Time without a heartbeat after which another loop takes over.
    pub lease: Duration,
    pub clock: fn() -> Timestamp,
    pub log: Log,
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Pools {
    /// Runs until `stop`.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let candidate = Candidate {
            store: &self.jobs,
            name: LEASE_NAME,
            duration: self.lease,
            clock: self.clock,
            log: &self.log,
        };
        candidate.lead(stop, &self).await;
    }
}

impl Acts for Pools {
    async fn act(&self, epoch: u64, handle: LeaseHandle) -> Result<(), String> {
        let fence = Fence { lease: format!("{LEASE_NAME}-{}", self.jobs.id()), epoch };
        let mut declared = DeclaredPools::default();
        let mut memory = Memory::default();
        let mut rounds = 0;
        loop {
            declared.update(&self.registry).await.map_err(|error| error.to_string())?;
            let is_leading = || handle.epoch() == Some(epoch);
            let round = Round { pools: self, declared: &declared, fence: &fence, is_leading: &is_leading };
            round.run(&mut memory).await?;
            if rounds % FORGET_ROUNDS == 0 {
                let before = (self.clock)() - round::RETENTION;
                self.store.forget(before).await.map_err(|error| error.to_string())?;
            }
            rounds += 1;
            sleep(INTERVAL).await;
        }
    }
}
