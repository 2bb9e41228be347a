//! The executions of a pool's members: their submits, and their ends.

use std::collections::BTreeMap;

use dcp_model::primitive::Fingerprint;
use dcp_runner::api::{Error, Record};
use dcp_runner::execution::Id;
use dcp_runner::request::{Definition, Reference, Submit};
use dcp_runner::streaming::Streaming;

use super::failing;
use super::round::{CALLER, PoolMemory, Round};
use super::step::{Failure, StepResult, with_timeout};
use crate::session::{PoolFailure, PoolKey, StoredDriver};
use crate::store::members::Member;

/// Grace period of a driver without sessions.
const GRACE: u64 = 5;

impl Round<'_> {
    pub(super) async fn clear_failure(&self, key: &PoolKey, memory: &mut PoolMemory) -> StepResult {
        if memory.failure.take().is_some() {
            self.require_lease()?;
            self.pools.store.clear_failure(key).await?;
        }
        Ok(())
    }

    /// Records a failure, which delays the next start.
    pub(super) async fn fail(&self, failure: PoolFailure, memory: &mut PoolMemory) -> StepResult {
        self.require_lease()?;
        self.pools.store.set_failure(&failure).await?;
        let PoolFailure { pool, attempts, message, execution, .. } = &failure;
        let logs = execution.as_ref().map(|id| format!(" (`dcp logs {id}`)")).unwrap_or_default();
        (self.pools.log)(&format!(
            "a driver of the pool `{pool}` has failed, {attempts} in a row: {message}{logs}"
        ));
        memory.failure = Some(failure);
        Ok(())
    }

    /// Returns the execution of a member; none if there is none any more, or not yet. A submit whose response is not known is
    /// repeated.
    pub(super) async fn observe(
        &self,
        member: &Member,
        memory: &mut PoolMemory,
    ) -> StepResult<Option<Record>> {
        let Some(execution) = &member.execution else {
            // The Runner may have rejected it for now.
            return if memory.is_delayed(self.now()) { Ok(None) } else { self.submit(member, memory).await };
        };
        let id = Id::parse(execution);
        let id = id.ok_or_else(|| Failure::Pool(format!("`{execution}` is no id of an execution")))?;
        match with_timeout(self.pools.runner.check(&id)).await {
            Ok(record) => Ok(Some(record)),
            // It ended so long ago that the Runner has forgotten it.
            Err(Error::NotFound(_)) => {
                self.remove(member).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, member: &Member) -> StepResult {
        self.require_lease()?;
        Ok(self.pools.store.remove_member(member).await?)
    }

    /// Submits the execution of a member; none if the Runner rejects it.
    pub(super) async fn submit(
        &self,
        member: &Member,
        memory: &mut PoolMemory,
    ) -> StepResult<Option<Record>> {
        self.require_lease()?;
        let submit = self.submit_of(member)?;
        match with_timeout(self.pools.runner.submit(submit)).await {
            Ok(submitted) => {
                let record = submitted.record;
                self.pools.store.set_execution(member, record.id().as_str()).await?;
                Ok(Some(record))
            }
            Err(error) => {
                match error {
                    // The Runner has stored nothing.
                    Error::Invalid { .. } | Error::NotFound(_) => self.remove(member).await?,
                    // It may accept the same submit later.
                    Error::Denied(_) | Error::Exhausted { .. } => {}
                    error => return Err(error.into()),
                }
                let failure = failing::of_rejection(member, &error, memory.failure.as_ref(), self.now());
                self.fail(failure, memory).await?;
                Ok(None)
            }
        }
    }

    /// Returns the submit of a member, which is the same each time.
    fn submit_of(&self, member: &Member) -> StepResult<Submit> {
        let job = Fingerprint::parse(&member.job);
        let job = job.ok_or_else(|| Failure::Pool(format!("`{}` is no job", member.job)))?;
        let PoolKey { scope, domain, name } = &member.pool;
        let reference = Reference {
            scope: scope.clone(),
            domain: domain.clone(),
            name: name.clone(),
            fingerprint: Some(job),
        };
        let author = self.declared.pools.get(&member.pool).map(|declared| declared.author.clone());
        let grace = Some(dcp_model::manifest::Duration::from_secs(GRACE));
        Ok(Submit {
            token: format!("{}:{}", self.fence.lease, member.nonce),
            job: Definition::Applied(reference),
            parameters: BTreeMap::new(),
            streaming: Some(Streaming {
                trigger: None,
                checkpoint: None,
                state: None,
                grace,
                executors: None,
            }),
            exclusive: Some(format!("pool:{scope}/{domain}/{name}#{}", member.slot)),
            order: None,
            fence: Some(self.fence.clone()),
            by: CALLER.to_owned(),
            on_behalf_of: author,
        })
    }

    /// Records that a member has ended. The next start waits if it ended before it served.
    pub(super) async fn settle_end(
        &self,
        member: &Member,
        record: &Record,
        driver: Option<&StoredDriver>,
        memory: &mut PoolMemory,
    ) -> StepResult {
        self.require_lease()?;
        if let Some(stored) = driver {
            self.pools.store.set_gone(&stored.driver.id).await?;
        }
        let now = self.now();
        let is_expected = member.is_ending || driver.is_some_and(|stored| failing::has_served(stored, now));
        let failure = failing::of_execution(member, record, memory.failure.as_ref(), now);
        if let Some(failure) = failure.filter(|_| !is_expected) {
            self.fail(failure, memory).await?;
        }
        self.remove(member).await
    }
}
