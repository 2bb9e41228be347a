//! Pools and sessions, as one caller may read them. gRPC and REST use it alike.
//!
//! | call | role |
//! | --- | --- |
//! | `pools` | `viewer` of the pool's domain in its scope |
//! | `sessions` of the caller | any |
//! | `sessions` of others | `operator` of the domain in the scope of the driver's pool |

use std::collections::{BTreeMap, HashMap, HashSet};

use dcp_model::manifest::Memory;
use dcp_runner::execution::Execution;
use dcp_server::policy::{Resource, Role};
use dcp_server::{Caller, ServiceError};
use jiff::Timestamp;
use serde::Serialize;
use tonic::Code;
use utoipa::ToSchema;

use crate::proxy::resource;
use crate::session::{
    Driver, DriverState, Pool, PoolFailure, PoolKey, SessionKey, Size, StoredDriver, StoredSession,
};
use crate::store::members::Member;
use crate::store::{Error, Store};

/// The domain of errors.
pub(crate) const DOMAIN: &str = "dcp.connect.v1";

/// A pool, with the numbers of its drivers and sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SparkPool)]
pub struct PoolStatus {
    /// The scope to which its manifest is applied; empty for drivers that dcp does not start.
    #[schema(example = "shop/prod")]
    pub scope: String,
    pub domain: String,
    pub name: String,
    /// The version of Spark.
    #[schema(example = "4.1")]
    pub engine: String,
    /// `private`: a driver serves one user at a time. `domain`: all users of the domain share drivers.
    #[schema(example = "domain")]
    pub share: String,
    /// The cores of a driver: of all its executors, at their maximum. Missing if they are not known, or its drivers differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 16)]
    pub cores: Option<u64>,
    /// Their memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, example = "64g")]
    pub memory: Option<Memory>,
    /// The revision of its manifest that the status is of; 0 for drivers that dcp does not start.
    pub revision: u64,
    /// The minimum number of drivers that are ready.
    pub min_idle: u64,
    pub state: PoolState,
    pub drivers: DriverCounts,
    /// The number of sessions that have not ended.
    pub sessions: u64,
    /// The number of their users.
    pub users: u64,
    /// The last failure, if the last driver that was started has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub failure: Option<Failure>,
}

/// The state of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SparkPoolState)]
pub enum PoolState {
    /// A driver runs.
    Ready,
    /// The first driver is starting.
    Starting,
    /// The last driver that was started has failed.
    Failing,
    /// No driver runs. One is started for the first session.
    Idle,
}

impl PoolState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Failing => "failing",
            Self::Idle => "idle",
        }
    }

    /// Returns the state of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ready, Self::Starting, Self::Failing, Self::Idle].into_iter().find(|it| it.name() == name)
    }
}

/// The failure of a driver before it served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SparkPoolFailure)]
pub struct Failure {
    /// The number of failures in a row.
    pub attempts: u64,
    pub at: Timestamp,
    /// The name of the cause, as that of an execution.
    #[schema(example = "oom")]
    pub cause: String,
    /// One sentence.
    pub message: String,
    /// The execution whose log to read; none if the Runner rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub execution: Option<String>,
}

/// The numbers of drivers by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverCounts {
    /// They take new sessions, unless they are full.
    pub ready: u64,
    /// They are submitted, and have not answered yet.
    pub starting: u64,
    /// They take no new sessions, and end after their last one.
    pub draining: u64,
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SparkSession)]
pub struct SessionStatus {
    pub domain: String,
    pub user: String,
    /// The UUID that the client chose.
    pub session_id: String,
    /// The driver that has the session, for as long as it lives.
    pub driver: String,
    /// The pool of the driver.
    pub pool: String,
    pub begun: Timestamp,
    /// The last use, up to half a minute late.
    pub used: Timestamp,
}

impl SessionStatus {
    pub(crate) fn of(key: SessionKey, stored: StoredSession, driver: &Driver) -> Self {
        Self {
            domain: key.domain,
            user: key.user,
            session_id: key.session,
            driver: stored.driver,
            pool: driver.pool.name.clone(),
            begun: stored.bound,
            used: stored.used,
        }
    }
}

/// The pools and sessions as a caller may read them.
#[derive(Debug)]
pub(crate) struct Overview<'a> {
    pub(crate) store: &'a Store,
    pub(crate) caller: &'a Caller,
}

impl Overview<'_> {
    /// Returns the pools, of one domain or of all.
    pub(crate) async fn pools(&self, domain: Option<&str>) -> Result<Vec<PoolStatus>, ServiceError> {
        self.require_role()?;
        let mut all = statuses(self.store).await.map_err(|error| failed(&error))?;
        all.retain(|key, _| {
            domain.is_none_or(|domain| domain == key.domain)
                && self.caller.check(Role::Viewer, resource(key)).is_ok()
        });
        Ok(all.into_values().collect())
    }

    /// Returns the sessions, of one domain or of all. With `all`, those of other users too.
    pub(crate) async fn sessions(
        &self,
        domain: Option<&str>,
        all: bool,
    ) -> Result<Vec<SessionStatus>, ServiceError> {
        self.require_role()?;
        let user = (!all).then_some(&*self.caller.name);
        let sessions = self.store.sessions(domain, user).await.map_err(|error| failed(&error))?;
        let drivers = self.store.drivers().await.map_err(|error| failed(&error))?;
        let drivers: HashMap<_, _> =
            drivers.into_iter().map(|it| (it.driver.id.clone(), it.driver)).collect();
        if let (Some(domain), true) = (domain, all) {
            self.require_operator(domain, drivers.values().map(|driver| &driver.pool))?;
        }
        let mut found = Vec::new();
        for (key, stored) in sessions {
            // The sessions of a driver that is gone have ended with it.
            let Some(driver) = drivers.get(&stored.driver) else { continue };
            let is_own = *key.user == *self.caller.name;
            if is_own || self.caller.check(Role::Operator, resource(&driver.pool)).is_ok() {
                found.push(SessionStatus::of(key, stored, driver));
            }
        }
        Ok(found)
    }

    /// Checks that the caller may read sessions of others in a domain, in some scope of its pools.
    fn require_operator<'p>(
        &self,
        domain: &str,
        pools: impl Iterator<Item = &'p PoolKey>,
    ) -> Result<(), ServiceError> {
        let everywhere = Resource::of(None, domain);
        let Err(denied) = self.caller.check(Role::Operator, everywhere) else { return Ok(()) };
        let mut pools = pools.filter(|key| key.domain == domain);
        if pools.any(|key| self.caller.check(Role::Operator, resource(key)).is_ok()) {
            return Ok(());
        }
        Err(denied_error(denied.message(self.caller, Role::Operator, everywhere)))
    }

    fn require_role(&self) -> Result<(), ServiceError> {
        self.caller.require_role().map_err(denied_error)
    }
}

pub(crate) fn denied_error(message: String) -> ServiceError {
    ServiceError::new(Code::PermissionDenied, DOMAIN, "DENIED", message)
}

/// Returns the error of a call whose database can't be used.
pub(crate) fn failed(error: &Error) -> ServiceError {
    let (code, reason) = match error {
        Error::Unavailable(_) => (Code::Unavailable, "UNAVAILABLE"),
        _ => (Code::Internal, "FAILED"),
    };
    ServiceError::new(code, DOMAIN, reason, error.to_string())
}

/// Returns the pools of all domains.
pub async fn pool_statuses(store: &Store) -> Result<Vec<PoolStatus>, Error> {
    Ok(statuses(store).await?.into_values().collect())
}

async fn statuses(store: &Store) -> Result<BTreeMap<PoolKey, PoolStatus>, Error> {
    let drivers = store.drivers().await?;
    let mut all = counted(store.pools().await?, &drivers);
    add_submitted(&mut all, &store.members().await?, &drivers);
    for (key, users) in store.users().await? {
        if let Some(status) = all.get_mut(&key) {
            status.users = users;
        }
    }
    add_states(&mut all, store.failures().await?, &drivers);
    Ok(all)
}

/// Counts the drivers and sessions of pools. Drivers of a pool that is no longer declared are counted too.
fn counted(pools: Vec<Pool>, drivers: &[StoredDriver]) -> BTreeMap<PoolKey, PoolStatus> {
    let mut all: BTreeMap<PoolKey, PoolStatus> = BTreeMap::new();
    for pool in pools {
        let Pool { key, engine, share, size, starts: _, min_idle, revision } = pool;
        let status = status(key.clone(), engine, share.name(), size);
        all.insert(key, PoolStatus { revision, min_idle, ..status });
    }
    let declared: HashSet<PoolKey> = all.keys().cloned().collect();
    for stored in drivers {
        let driver = &stored.driver;
        let of = all.entry(driver.pool.clone());
        let of = of.or_insert_with(|| {
            status(driver.pool.clone(), driver.engine.clone(), driver.share.name(), driver.size)
        });
        if !declared.contains(&driver.pool) {
            let (cores, memory) = amounts(driver.size);
            of.cores = of.cores.filter(|it| Some(*it) == cores);
            of.memory = of.memory.filter(|it| Some(*it) == memory);
        }
        if of.engine.is_empty() {
            of.engine.clone_from(&driver.engine);
        }
        match stored.state {
            DriverState::Open => of.drivers.ready += 1,
            DriverState::Starting => of.drivers.starting += 1,
            DriverState::Draining => of.drivers.draining += 1,
            DriverState::Gone => continue,
        }
        of.sessions += stored.live;
    }
    all
}

/// Counts the drivers that have no address yet.
fn add_submitted(all: &mut BTreeMap<PoolKey, PoolStatus>, members: &[Member], drivers: &[StoredDriver]) {
    let execution =
        |it: &StoredDriver| Execution::parse_name(&it.driver.id).map(|(id, _)| id.as_str().to_owned());
    let running: HashSet<String> = drivers.iter().filter_map(execution).collect();
    for member in members.iter().filter(|it| !it.is_ending) {
        let has_address = member.execution.as_ref().is_some_and(|id| running.contains(id));
        if let Some(of) = all.get_mut(&member.pool).filter(|_| !has_address) {
            of.drivers.starting += 1;
        }
    }
}

/// Sets the states of pools, and their failures.
fn add_states(all: &mut BTreeMap<PoolKey, PoolStatus>, failures: Vec<PoolFailure>, drivers: &[StoredDriver]) {
    for status in all.values_mut() {
        status.state = match status.drivers {
            DriverCounts { ready: 1.., .. } => PoolState::Ready,
            DriverCounts { starting: 1.., .. } => PoolState::Starting,
            _ => PoolState::Idle,
        };
    }
    for failure in failures.into_iter().filter(|failure| failure.is_current(drivers.iter())) {
        let Some(status) = all.get_mut(&failure.pool) else { continue };
        let PoolFailure { attempts, at, cause, message, execution, .. } = failure;
        status.state = PoolState::Failing;
        status.failure = Some(Failure { attempts, at, cause, message, execution });
    }
}

fn status(key: PoolKey, engine: String, share: &str, size: Size) -> PoolStatus {
    let (cores, memory) = amounts(size);
    PoolStatus {
        scope: key.scope,
        domain: key.domain,
        name: key.name,
        engine,
        share: share.to_owned(),
        cores,
        memory,
        revision: 0,
        min_idle: 0,
        state: PoolState::Idle,
        drivers: DriverCounts::default(),
        sessions: 0,
        users: 0,
        failure: None,
    }
}

fn amounts(size: Size) -> (Option<u64>, Option<Memory>) {
    (size.cores, size.memory.and_then(Memory::from_bytes))
}

#[cfg(test)]
mod tests;
