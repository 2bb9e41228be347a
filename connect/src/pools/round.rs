//! One round of the loop: observe, decide, store, act.

use std::collections::{BTreeMap, HashMap};

use dcp_runner::api::{Error, Record};
use dcp_runner::execution::Phase;
use dcp_runner::request::Fence;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::declared::{DeclaredPool, DeclaredPools};
use super::size::{self, State};
use super::step::{Failure, StepResult, with_timeout};
use super::{Pools, failing};
use crate::discovery;
use crate::session::{Driver, DriverState, Pool, PoolFailure, PoolKey, Share, StoredDriver};
use crate::store::Demand;
use crate::store::members::Member;

/// The name of the loop at the Runner.
pub(super) const CALLER: &str = "the pool loop";
/// Time for which ended sessions and drivers are stored.
pub(super) const RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Time for which a session counts as waiting after its last call. Its client repeats the call before.
const DEMAND_TIME: SignedDuration = SignedDuration::from_secs(20);
const MAX_PARALLEL: usize = 16;
/// The error of a loop that is no leader any more.
const LOST: &str = "another loop acts";

/// The state that one round passes on to the next. A new leader begins without it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pools: BTreeMap<PoolKey, PoolMemory>,
    /// The pools that were stored last.
    listed: Option<Vec<Pool>>,
}

#[derive(Debug, Default)]
pub(super) struct PoolMemory {
    surplus_since: Option<Timestamp>,
    /// The last failure, as it is stored.
    pub(super) failure: Option<PoolFailure>,
    /// The problem that was logged last.
    problem: Option<String>,
}

impl PoolMemory {
    /// Returns whether a failure delays the next start.
    pub(super) fn is_delayed(&self, now: Timestamp) -> bool {
        self.failure.as_ref().is_some_and(|failure| now < failing::not_before(failure))
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
    failure: Option<PoolFailure>,
}

impl Round<'_> {
    /// Performs the round for all pools. Fails if another loop acts, or the database can't be used.
    pub(super) async fn run(&self, memory: &mut Memory) -> Result<(), String> {
        let mut stored = self.stored().await.map_err(|error| error.to_string())?;
        for key in self.declared.pools.keys() {
            stored.entry(key.clone()).or_default();
        }
        let mut remembered = std::mem::take(&mut memory.pools);
        let pools = stored.into_iter().map(|(key, stored)| {
            let mut memory = remembered.remove(&key).unwrap_or_default();
            memory.failure.clone_from(&stored.failure);
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
        // A revision is shown once drivers of earlier ones are drained, so that they do not count as its own.
        let listed = if is_lost { Err(Failure::Lost) } else { self.list(memory).await };
        listed.map_err(|failure| match failure {
            Failure::Lost => LOST.to_owned(),
            Failure::Pool(why) => why,
        })
    }

    /// Reads members, drivers, demand and failures of all pools of the control plane.
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
        for failure in self.pools.store.failures().await? {
            let key = failure.pool.clone();
            all.entry(key).or_default().failure = Some(failure);
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
        let Stored { members, mut drivers, demand, failure: _ } = stored;
        let has_members = !members.is_empty();
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
            // The end of a member that the Runner rejects has to wait, too.
            return if has_members { Ok(()) } else { self.clear_failure(key, memory).await };
        };
        let now = self.now();
        let is_over = |failure: &PoolFailure| {
            let mut drivers = live.iter().filter_map(|it| it.driver.as_ref());
            failure.job != declared.job || drivers.any(|driver| failing::is_over(failure, driver, now))
        };
        if memory.failure.as_ref().is_some_and(is_over) {
            self.clear_failure(key, memory).await?;
        }
        for observed in &live {
            self.advance(observed, declared, memory).await?;
        }
        self.size(key, declared, &live, demand, memory).await
    }

    /// Reports a driver to proxies, or requests its end.
    async fn advance(
        &self,
        observed: &Observed,
        declared: &DeclaredPool,
        memory: &mut PoolMemory,
    ) -> StepResult {
        let Observed { member, record, driver } = observed;
        // A request to end may have been lost.
        if member.is_ending {
            self.end(observed, false).await
        } else if failing::is_silent(record, driver.as_ref(), self.now()) {
            self.give_up(observed, memory).await
        } else {
            self.report(member, record, declared).await
        }
    }

    /// Ends a driver that does not answer. The failure is stored first: once its end is requested, the driver does not count as
    /// failed.
    async fn give_up(&self, observed: &Observed, memory: &mut PoolMemory) -> StepResult {
        let Observed { member, record, .. } = observed;
        if let Some(failure) = failing::of_silence(member, record, memory.failure.as_ref(), self.now()) {
            self.fail(failure, memory).await?;
        }
        self.end(observed, false).await
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.pools.clock)()
    }

    /// Fails once the lease is not certainly held any more, before anything is done.
    pub(super) fn require_lease(&self) -> StepResult {
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
            size: declared.resources,
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
        let mut taken: Vec<i64> = observed.iter().map(|it| it.member.slot).collect();
        for _ in 0..decision.start {
            let slots = 0..=i64::try_from(taken.len()).unwrap_or(i64::MAX);
            let free = slots.into_iter().find(|slot| !taken.contains(slot));
            let Some(slot) = free.filter(|_| !memory.is_delayed(now)) else { break };
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
