//! One round of the loop: observe, decide, store, act.

use std::collections::{BTreeMap, HashMap};

use dcp_model::primitive::Fingerprint;
use dcp_runner::api::{Error, Record};
use dcp_runner::execution::{Id, Phase};
use dcp_runner::request::{Definition, Fence, Reference, Submit};
use dcp_runner::streaming::Streaming;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::Pools;
use super::declared::{DeclaredPool, DeclaredPools};
use super::size::{self, State};
use super::step::{Failure, StepResult, with_timeout};
use crate::discovery;
use crate::session::{Driver, DriverState, Pool, PoolKey, Share, StoredDriver};
use crate::store::Demand;
use crate::store::members::Member;

/// The name of the loop at the Runner.
const CALLER: &str = "the pool loop";
/// Time for which ended sessions and drivers are stored.
pub(super) const RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Time for which a session counts as waiting after its last call. Its client repeats the call before.
const DEMAND_TIME: SignedDuration = SignedDuration::from_secs(20);
/// Grace period of a driver without sessions.
const GRACE: u64 = 5;
const MAX_PARALLEL: usize = 16;
/// The error of a loop that is no leader any more.
const LOST: &str = "another loop acts";
/// Pauses after drivers that ended before they served: the first, and the longest.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(5);
const MAX_BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// The state that one round passes on to the next. A new leader begins without it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pools: BTreeMap<PoolKey, PoolMemory>,
    /// The pools that were stored last.
    listed: Option<Vec<Pool>>,
}

#[derive(Debug, Default)]
struct PoolMemory {
    surplus_since: Option<Timestamp>,
    /// Drivers in a row that have ended before they served.
    failures: u32,
    not_before: Option<Timestamp>,
    /// The problem that was logged last.
    problem: Option<String>,
}

impl PoolMemory {
    /// Delays the next start after a failure.
    fn back_off(&mut self, now: Timestamp) {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.checked_add(doubled.min(MAX_BACKOFF)).ok();
    }
}

pub(super) struct Round<'a> {
    pub(super) pools: &'a Pools,
    pub(super) declared: &'a DeclaredPools,
    pub(super) fence: &'a Fence,
    pub(super) is_leading: &'a (dyn Fn() -> bool + Sync),
}

/// A member, its execution and its driver.
struct Observed {
    member: Member,
    record: Record,
    driver: Option<StoredDriver>,
}

/// A pool, as it is stored.
#[derive(Default)]
struct Stored {
    members: Vec<Member>,
    drivers: HashMap<String, StoredDriver>,
    demand: Demand,
}

impl Round<'_> {
    /// Performs the round for all pools. Fails if another loop acts, or the database can't be used.
    pub(super) async fn run(&self, memory: &mut Memory) -> Result<(), String> {
        match self.list(memory).await {
            Ok(()) => {}
            Err(Failure::Lost) => return Err(LOST.to_owned()),
            Err(Failure::Pool(why)) => return Err(why),
        }
        let mut stored = self.stored().await.map_err(|error| error.to_string())?;
        for key in self.declared.pools.keys() {
            stored.entry(key.clone()).or_default();
        }
        let mut remembered = std::mem::take(&mut memory.pools);
        let pools = stored.into_iter().map(|(key, stored)| {
            let memory = remembered.remove(&key).unwrap_or_default();
            (key, stored, memory)
        });
        let pools: Vec<_> = pools.collect();
        let done = stream::iter(pools).map(|(key, stored, mut memory)| async move {
            let done = self.keep(&key, stored, &mut memory).await;
            (key, done, memory)
        });
        let mut done = done.buffer_unordered(MAX_PARALLEL);
        let mut is_lost = false;
        while let Some((key, done, mut of_pool)) = done.next().await {
            let problem = match done {
                Ok(()) => None,
                Err(Failure::Lost) => {
                    is_lost = true;
                    None
                }
                Err(Failure::Pool(why)) => Some(why),
            };
            // A repeated problem is reported once.
            if let Some(why) = problem.as_ref().filter(|_| problem != of_pool.problem) {
                (self.pools.log)(&format!("the pool `{key}` can't be kept: {why}"));
            }
            of_pool.problem = problem;
            memory.pools.insert(key, of_pool);
        }
        if is_lost { Err(LOST.to_owned()) } else { Ok(()) }
    }

    /// Reads members, drivers and demand of all pools of the control plane.
    async fn stored(&self) -> dcp_database::Result<BTreeMap<PoolKey, Stored>> {
        let mut all: BTreeMap<PoolKey, Stored> = BTreeMap::new();
        for member in self.pools.store.members().await? {
            all.entry(member.pool.clone()).or_default().members.push(member);
        }
        for stored in self.pools.store.drivers().await? {
            // Others report the drivers that dcp did not start.
            if !stored.driver.pool.scope.is_empty() {
                let of_pool = all.entry(stored.driver.pool.clone()).or_default();
                of_pool.drivers.insert(stored.driver.id.clone(), stored);
            }
        }
        for (key, demand) in self.pools.store.demand(self.now() - DEMAND_TIME).await? {
            if let Some(stored) = all.get_mut(&key) {
                stored.demand = demand;
            } else if self.declared.pools.contains_key(&key) {
                all.insert(key, Stored { demand, ..Stored::default() });
            }
        }
        Ok(all)
    }

    /// Keeps one pool.
    async fn keep(&self, key: &PoolKey, stored: Stored, memory: &mut PoolMemory) -> StepResult {
        let Stored { members, mut drivers, demand } = stored;
        let mut live = Vec::new();
        for member in members {
            let Some(record) = self.observe(&member, memory).await? else { continue };
            let driver = drivers.remove(&record.execution.name());
            if record.execution.phase.is_final() {
                self.settle_end(&member, &record, driver.as_ref(), memory).await?;
            } else {
                live.push(Observed { member, record, driver });
            }
        }
        // Their executions have ended.
        for id in drivers.keys() {
            self.require_lease()?;
            self.pools.store.set_gone(id).await?;
        }
        let Some(declared) = self.declared.pools.get(key) else {
            for observed in &live {
                self.end(observed, true).await?;
            }
            return Ok(());
        };
        for observed in &live {
            match observed.member.is_ending {
                false => self.report(&observed.member, &observed.record, declared).await?,
                // The request may have been lost.
                true => self.end(observed, false).await?,
            }
        }
        self.size(key, declared, &live, demand, memory).await
    }

    fn now(&self) -> Timestamp {
        (self.pools.clock)()
    }

    /// Fails once the lease is not certainly held any more, before anything is done.
    fn require_lease(&self) -> StepResult {
        if (self.is_leading)() { Ok(()) } else { Err(Failure::Lost) }
    }

    /// Stores the pools for proxies, if they have changed.
    async fn list(&self, memory: &mut Memory) -> StepResult {
        let listed = self.declared.listed();
        if memory.listed.as_ref() != Some(&listed) {
            self.require_lease()?;
            self.pools.store.set_pools(true, &listed).await?;
            memory.listed = Some(listed);
        }
        Ok(())
    }

    /// Returns the execution of a member; none if there is none any more. A submit whose response is not known is repeated.
    async fn observe(&self, member: &Member, memory: &mut PoolMemory) -> StepResult<Option<Record>> {
        let Some(execution) = &member.execution else { return self.submit(member, memory).await };
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
    async fn submit(&self, member: &Member, memory: &mut PoolMemory) -> StepResult<Option<Record>> {
        self.require_lease()?;
        let submit = self.submit_of(member)?;
        match with_timeout(self.pools.runner.submit(submit)).await {
            Ok(submitted) => {
                let record = submitted.record;
                self.pools.store.set_execution(member, record.id().as_str()).await?;
                Ok(Some(record))
            }
            Err(error @ (Error::Invalid { .. } | Error::NotFound(_))) => {
                // The Runner has stored nothing.
                self.remove(member).await?;
                memory.back_off(self.now());
                Err(error.into())
            }
            Err(error) => Err(error.into()),
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
    async fn settle_end(
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
        let has_served = driver.is_some_and(|stored| stored.state != DriverState::Starting);
        if has_served {
            (memory.failures, memory.not_before) = (0, None);
        } else if !member.is_ending {
            memory.back_off(self.now());
            (self.pools.log)(&format!(
                "a driver of the pool `{}` has ended before it served: see `dcp logs {}`",
                member.pool,
                record.id()
            ));
        }
        self.remove(member).await
    }

    /// Stores the address of a driver that runs.
    async fn report(&self, member: &Member, record: &Record, declared: &DeclaredPool) -> StepResult {
        let Some(attempt) = record.execution.attempts.last() else { return Ok(()) };
        let is_running = record.execution.phase == Phase::Running;
        let Some(address) = attempt.addresses.connect.clone().filter(|_| is_running) else { return Ok(()) };
        let driver = Driver {
            id: record.execution.name(),
            pool: member.pool.clone(),
            address,
            engine: declared.engine.clone(),
            share: declared.size.share,
            max_sessions: declared.size.sessions_per_driver,
            started: attempt.running.unwrap_or(attempt.begun),
        };
        Ok(discovery::report(&self.pools.store, &driver, declared.idle_timeout, self.now()).await?)
    }

    /// Decides about a pool, and performs the decision.
    async fn size(
        &self,
        key: &PoolKey,
        declared: &DeclaredPool,
        observed: &[Observed],
        demand: Demand,
        memory: &mut PoolMemory,
    ) -> StepResult {
        let members: Vec<size::Member> = observed.iter().map(|it| sized(it, declared)).collect();
        let now = self.now();
        let decision = size::decide(&declared.size, &members, demand, memory.surplus_since, now);
        memory.surplus_since = decision.surplus_since;
        let of = |slot: &u64| observed.iter().find(move |it| it.member.slot == signed(*slot));
        for (slots, if_unused) in [(&decision.drain, false), (&decision.drain_unused, true)] {
            for stored in slots.iter().filter_map(of).filter_map(|it| it.driver.as_ref()) {
                self.require_lease()?;
                self.pools.store.drain(&stored.driver.id, if_unused).await?;
            }
        }
        for observed in decision.end.iter().filter_map(of) {
            self.end(observed, false).await?;
        }
        if memory.not_before.is_some_and(|at| now < at) {
            return Ok(());
        }
        let mut taken: Vec<i64> = observed.iter().map(|it| it.member.slot).collect();
        for _ in 0..decision.start {
            let slots = 0..=i64::try_from(taken.len()).unwrap_or(i64::MAX);
            let Some(slot) = slots.into_iter().find(|slot| !taken.contains(slot)) else { break };
            taken.push(slot);
            self.start(key, declared, slot, memory).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        key: &PoolKey,
        declared: &DeclaredPool,
        slot: i64,
        memory: &mut PoolMemory,
    ) -> StepResult {
        self.require_lease()?;
        let member = Member {
            pool: key.clone(),
            slot,
            nonce: format!("{:032x}", rand::random::<u128>()),
            job: declared.job.clone(),
            build: declared.build,
            execution: None,
            is_ending: false,
            begun: self.now(),
        };
        if self.pools.store.add_member(&member).await? {
            self.submit(&member, memory).await?;
        }
        Ok(())
    }

    /// Ends a driver. It takes no new session from before its end is requested, and with `has_sessions` its sessions end with it.
    async fn end(&self, observed: &Observed, has_sessions: bool) -> StepResult {
        let Observed { member, record, .. } = observed;
        self.require_lease()?;
        // It may have been reported in this round.
        let id = record.execution.name();
        if !self.pools.store.drain(&id, !has_sessions).await? && self.pools.store.driver(&id).await?.is_some()
        {
            return Ok(());
        }
        self.pools.store.set_ending(member).await?;
        if record.execution.phase == Phase::Cancelling {
            return Ok(());
        }
        match with_timeout(self.pools.runner.cancel(record.id(), CALLER)).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns a member as the decision sees it.
fn sized(observed: &Observed, declared: &DeclaredPool) -> size::Member {
    let Observed { member, driver, .. } = observed;
    let state = match driver.as_ref().map(|stored| stored.state) {
        _ if member.is_ending => State::Ending,
        None | Some(DriverState::Starting) => State::Starting,
        Some(DriverState::Open) => State::Open,
        Some(DriverState::Draining | DriverState::Gone) => State::Draining,
    };
    // The manifest now says that a driver serves one user.
    let is_shared_too_widely = driver
        .as_ref()
        .is_some_and(|it| it.driver.share == Share::Domain && declared.size.share == Share::Private);
    size::Member {
        slot: u64::try_from(member.slot).unwrap_or_default(),
        state,
        started: driver.as_ref().map(|stored| stored.driver.started),
        live: driver.as_ref().map_or(0, |stored| stored.live),
        total: driver.as_ref().map_or(0, |stored| stored.total),
        is_current: member.build >= declared.build && !is_shared_too_widely,
        is_owned: driver.as_ref().is_some_and(|stored| stored.owner.is_some()),
    }
}

fn signed(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}
