//! Statuses of continuous jobs and requests of users, from a database or a control plane.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Kind};
use jiff::Timestamp;

use super::declared::read_declared;
use super::status::{Executions, Overview, StoredStatus};
use super::store::{Event, Key, Store};
use super::{JobState, Leader, Requested};
use crate::registry::sql::Sql;
use crate::registry::{Error, Registry as _, Result};
use crate::state::Scope;

/// A request of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Pause,
    Resume,
    Restart,
}

/// Access to continuous jobs. Both implementations pass the suite in `tests/tests/reconcile`.
#[async_trait]
pub trait ContinuousJobs: fmt::Debug + Send + Sync {
    /// Returns the reconciler that holds the lease, if any ever did.
    async fn leader(&self) -> Result<Option<Leader>>;

    /// Returns the jobs of a scope, or the one of an address: declared jobs, and deleted ones that still run.
    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Overview>;

    /// Records a request. The leader performs it.
    async fn request(
        &self,
        scope: &Scope,
        address: &Address,
        request: Request,
        by: &str,
        at: Timestamp,
    ) -> Result<()>;

    /// Returns the last decisions about a job, newest first.
    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>>;
}

/// Continuous jobs in a database.
#[derive(Debug, Clone)]
pub struct LocalJobs {
    pub registry: Sql,
    pub store: Store,
    pub executions: Executions,
    pub clock: fn() -> Timestamp,
}

fn key(scope: &Scope, address: &Address) -> Key {
    Key { scope: scope.to_string(), address: address.to_string() }
}

pub(crate) fn not_applied(scope: &Scope, address: &Address) -> Error {
    let Address { domain, name, .. } = address;
    Error::NotFound(format!("no continuous job `{domain}/{name}` is applied to `{scope}`"))
}

#[async_trait]
impl ContinuousJobs for LocalJobs {
    async fn leader(&self) -> Result<Option<Leader>> {
        Ok(self.store.leader(super::lease::LEASE_NAME).await?)
    }

    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Overview> {
        let (_, all) = read_declared(&self.registry, scope, 0).await?;
        let mut requests: HashMap<Key, Requested> =
            self.store.requests(0).await?.into_iter().map(|(key, requested, _)| (key, requested)).collect();
        let mut state: HashMap<Key, JobState> =
            self.store.jobs().await?.into_iter().map(|(key, stored)| (key, stored.state)).collect();
        let mut jobs = Vec::new();
        for (at, declared) in all.into_iter().filter(|(at, _)| address.is_none_or(|wanted| wanted == at)) {
            let key = key(scope, &at);
            let desired = declared.map_err(|why| Error::Corrupt(format!("`{at}` can't be read: {why}")))?;
            let (requested, state) = (requests.remove(&key), state.remove(&key));
            let (requested, state) = (requested.unwrap_or_default(), state.unwrap_or_default());
            if desired.is_some() || state.run.is_some() {
                jobs.push(StoredStatus { address: at, desired, requested, state });
            }
        }
        Ok(self.executions.overview(jobs, address.is_some(), (self.clock)()).await)
    }

    async fn request(
        &self,
        scope: &Scope,
        address: &Address,
        request: Request,
        by: &str,
        at: Timestamp,
    ) -> Result<()> {
        let is_declared =
            self.registry.revisions(scope, address).await?.first().is_some_and(|it| it.fingerprint.is_some());
        if address.kind != Kind::ContinuousJob || !is_declared {
            return Err(not_applied(scope, address));
        }
        let key = key(scope, address);
        match request {
            Request::Pause => self.store.pause(&key, true, by, at).await?,
            Request::Resume => self.store.pause(&key, false, by, at).await?,
            Request::Restart => self.store.restart(&key, by, at).await?,
        }
        Ok(())
    }

    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>> {
        Ok(self.store.events(&key(scope, address), limit).await?)
    }
}
