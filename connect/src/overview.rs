//! Pools and sessions, as one caller may read them. gRPC and REST use it alike.
//!
//! | call | role |
//! | --- | --- |
//! | `pools` | `viewer` of the pool's domain in its scope |
//! | `sessions` of the caller | any |
//! | `sessions` of others | `operator` of the domain in the scope of the driver's pool |

use std::collections::{BTreeMap, HashMap, HashSet};

use dcp_runner::execution::Execution;
use dcp_server::policy::{Resource, Role};
use dcp_server::{Caller, ServiceError};
use jiff::Timestamp;
use serde::Serialize;
use tonic::Code;
use utoipa::ToSchema;

use crate::proxy::resource;
use crate::session::{
    Driver, DriverState, Pool, PoolFailure, PoolKey, SessionKey, StoredDriver, StoredSession,
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
        all.insert(pool.key.clone(), status(pool.key, pool.engine, pool.share.name()));
    }
    for stored in drivers {
        let driver = &stored.driver;
        let of = all.entry(driver.pool.clone());
        let of =
            of.or_insert_with(|| status(driver.pool.clone(), driver.engine.clone(), driver.share.name()));
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

fn status(key: PoolKey, engine: String, share: &str) -> PoolStatus {
    let PoolKey { scope, domain, name } = key;
    let (share, drivers) = (share.to_owned(), DriverCounts::default());
    let state = PoolState::Idle;
    PoolStatus { scope, domain, name, engine, share, state, drivers, sessions: 0, users: 0, failure: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use dcp_server::Credential;
    use dcp_server::policy::{Area, Names, Policy, Rule};

    use super::*;
    use crate::session::{Share, Size};
    use crate::store::Bound;

    fn key(scope: &str, domain: &str) -> PoolKey {
        PoolKey { scope: scope.to_owned(), domain: domain.to_owned(), name: "small".to_owned() }
    }

    async fn add_driver(store: &Store, id: &str, pool: &PoolKey, is_open: bool) {
        let driver = Driver {
            id: id.to_owned(),
            pool: pool.clone(),
            address: "127.0.0.1:1".to_owned(),
            engine: "4.1".to_owned(),
            share: Share::Domain,
            size: Size::default(),
            max_sessions: 9,
            started: Timestamp::UNIX_EPOCH,
        };
        store.report(&driver, Timestamp::UNIX_EPOCH).await.unwrap();
        if is_open {
            store.set_open(id, Timestamp::UNIX_EPOCH).await.unwrap();
        }
    }

    async fn add_session(store: &Store, user: &str, domain: &str, driver: &str) {
        let key = SessionKey {
            domain: domain.to_owned(),
            user: user.to_owned(),
            session: format!("session of {user}"),
        };
        let bound = store.bind(&key, driver, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(bound, Bound::New);
    }

    /// Returns a store with a driver and a session of `ada` and of `bob` in each of two domains.
    async fn store(folder: &std::path::Path) -> Store {
        let store = Store::sqlite(&folder.join("state.db")).await.unwrap();
        let pool = |domain: &str| Pool {
            key: key("shop", domain),
            engine: "4.1".to_owned(),
            share: Share::Domain,
            size: Size::default(),
            starts: true,
        };
        store.set_pools(true, &["finance", "logistics"].map(pool)).await.unwrap();
        for domain in ["finance", "logistics"] {
            add_driver(&store, domain, &key("shop", domain), true).await;
            for user in ["ada", "bob"] {
                add_session(&store, user, domain, domain).await;
            }
        }
        store
    }

    /// Returns `ada` with roles in domains.
    fn ada(roles: &[(Role, &str)]) -> Caller {
        let rule = |&(role, domain): &(Role, &str)| Rule {
            role,
            users: BTreeSet::from(["ada".to_owned()]),
            groups: BTreeSet::new(),
            area: Area {
                scopes: Names::Only(BTreeSet::from(["shop".to_owned()])),
                domains: Names::Only(BTreeSet::from([domain.to_owned()])),
            },
        };
        let policy = Policy { rules: roles.iter().map(rule).collect(), ..Policy::default() };
        Caller::new("ada", Vec::new(), Credential::Session).with_policy(&Arc::new(policy))
    }

    #[tokio::test]
    async fn pools_are_those_of_visible_domains_with_their_drivers_and_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        add_driver(&store, "cold", &key("shop", "logistics"), false).await;
        add_driver(&store, "old", &key("shop", "logistics"), true).await;
        store.drain("old", false).await.unwrap();
        let caller = ada(&[(Role::Viewer, "logistics")]);
        let overview = Overview { store: &store, caller: &caller };
        let pools = overview.pools(None).await.unwrap();
        let drivers = DriverCounts { ready: 1, starting: 1, draining: 1 };
        let expected = PoolStatus {
            state: PoolState::Ready,
            drivers,
            sessions: 2,
            users: 2,
            ..status(key("shop", "logistics"), "4.1".to_owned(), "domain")
        };
        assert_eq!(pools, [expected]);
        assert_eq!(overview.pools(Some("finance")).await.unwrap(), []);
        let stranger = ada(&[]);
        let denied = Overview { store: &store, caller: &stranger }.pools(None).await.unwrap_err();
        assert_eq!(denied.code, Code::PermissionDenied);
    }

    #[tokio::test]
    async fn sessions_of_others_are_for_operators_of_their_domain() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let found = async |roles: &[(Role, &str)], domain: Option<&str>, all: bool| {
            let caller = ada(roles);
            let found = Overview { store: &store, caller: &caller }.sessions(domain, all).await;
            found.map(|found| {
                found.into_iter().map(|it| format!("{} {}", it.domain, it.user)).collect::<Vec<_>>()
            })
        };
        let viewer = [(Role::Viewer, "logistics")];
        assert_eq!(found(&viewer, None, false).await.unwrap(), ["finance ada", "logistics ada"]);
        assert_eq!(found(&viewer, Some("logistics"), false).await.unwrap(), ["logistics ada"]);
        assert_eq!(found(&viewer, Some("logistics"), true).await.unwrap_err().code, Code::PermissionDenied);
        let operator = [(Role::Operator, "logistics")];
        let all = found(&operator, None, true).await.unwrap();
        assert_eq!(all, ["finance ada", "logistics ada", "logistics bob"]);
        assert_eq!(found(&operator, Some("finance"), true).await.unwrap_err().code, Code::PermissionDenied);
        store.set_gone("logistics").await.unwrap();
        assert_eq!(found(&operator, None, true).await.unwrap(), ["finance ada"]);
    }
}
