//! Binds sessions to drivers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dcp_server::{Act, Caller, Denied};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use super::method::Method;
use super::sessions::{Named, Session};
use super::{Inner, ROLE, resource};
use crate::directory::Snapshot;
use crate::failure::{Handle, invalid_handle, retry_after, unavailable};
use crate::route::{self, DOMAIN, Route, route};
use crate::session::{Pool, PoolFailure, PoolKey, SessionKey, StoredDriver, StoredSession};
use crate::store::Bound;

/// Time for which a call waits for a driver, before its client is asked to try again.
const HOLD: Duration = Duration::from_secs(10);
/// Time after which a client tries again.
const COLD_DELAY: Duration = Duration::from_secs(1);
const FULL_DELAY: Duration = Duration::from_secs(5);

impl Inner {
    /// Returns the session of a call that is not cached. Returns none if the call releases a session that does not exist.
    pub(super) async fn find_or_bind(
        &self,
        caller: &Caller,
        asked: &route::Request,
        named: Named,
        method: Method,
    ) -> Result<Option<Arc<Session>>, Status> {
        let found = self.store.find(named.domain.as_deref(), &named.user, &named.session).await;
        let found = found.map_err(|error| unavailable(error.to_string()))?;
        if let Some((key, stored)) = found {
            return Ok(Some(self.bound(named, key, stored)));
        }
        if method == Method::ReleaseSession {
            return Ok(None);
        }
        if !method.begins_session() {
            return Err(invalid_handle(&named.session, Handle::NotFound));
        }
        let domain = self.usable_domain(caller, asked).await?;
        let key = SessionKey { domain, user: named.user.clone(), session: named.session.clone() };
        let stored = self.bind(caller, asked, &key).await?;
        Ok(Some(self.bound(named, key, stored)))
    }

    fn bound(&self, named: Named, key: SessionKey, stored: StoredSession) -> Arc<Session> {
        let session = self.sessions.insert(named, key, stored.driver);
        if stored.ended.is_some() {
            session.set_ended();
        }
        session
    }

    /// Returns the domain of a new session: the requested one, or the only one with pools that the caller may use.
    fn domain(&self, caller: &Caller, asked: &route::Request) -> Result<String, Status> {
        if let Some(domain) = &asked.domain {
            return Ok(domain.clone());
        }
        let snapshot = self.directory.snapshot();
        let usable = Usable { caller, snapshot: &snapshot };
        let of_drivers = usable.drivers().map(|it| &it.driver.pool);
        let domains: BTreeSet<&str> =
            usable.pools().map(|pool| &pool.key).chain(of_drivers).map(|key| key.domain.as_str()).collect();
        let mut names = domains.into_iter();
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            (None, _) => Err(Status::permission_denied(no_pool(caller))),
            (Some(one), Some(other)) => Err(Status::invalid_argument(format!(
                "`{}` may use pools of several domains (`{one}`, `{other}` …); add `;{DOMAIN}=NAME` to the URL",
                caller.name
            ))),
        }
    }

    /// Returns the domain of a new session. Fails if the caller may use no such pool of it.
    pub(super) async fn usable_domain(
        &self,
        caller: &Caller,
        asked: &route::Request,
    ) -> Result<String, Status> {
        let mut directory = self.directory.clone();
        // A pool that was just applied is in the second snapshot from now.
        for _ in 0..2 {
            if let Ok(domain) = self.known_domain(caller, asked) {
                return Ok(domain);
            }
            directory.changed().await;
        }
        self.known_domain(caller, asked)
    }

    fn known_domain(&self, caller: &Caller, asked: &route::Request) -> Result<String, Status> {
        let domain = self.domain(caller, asked)?;
        let snapshot = self.directory.snapshot();
        let key =
            SessionKey { domain: domain.clone(), user: caller.name.to_string(), session: String::new() };
        match (Usable { caller, snapshot: &snapshot }).route(asked, &key) {
            Some(_) => Ok(domain),
            None => Err(Status::permission_denied(no_such_pool(asked, &domain))),
        }
    }

    /// Binds a new session to a driver. Waits a little for one that has to be started.
    async fn bind(
        &self,
        caller: &Caller,
        asked: &route::Request,
        key: &SessionKey,
    ) -> Result<StoredSession, Status> {
        let deadline = Instant::now() + HOLD;
        let mut directory = self.directory.clone();
        let mut decision = None;
        loop {
            let snapshot = directory.snapshot();
            let found = Usable { caller, snapshot: &snapshot }.route(asked, key);
            let found = found.ok_or_else(|| Status::permission_denied(no_such_pool(asked, &key.domain)))?;
            let pool = found.pool(&snapshot);
            if let Some(pool) = pool.filter(|pool| decision.as_ref() != Some(*pool)) {
                self.authorize(caller, pool).await?;
                decision = Some(pool.clone());
            }
            if let Some(stored) = self.try_bind(key, &found.drivers).await? {
                return Ok(stored);
            }
            if let Some(pool) = &found.waits_for {
                let wanted = self.store.want(key, pool, (self.clock)()).await;
                wanted.map_err(|error| unavailable(error.to_string()))?;
            } else if !found.is_starting {
                let message =
                    format!("every driver for the domain `{}` has its maximum of sessions", key.domain);
                return Err(retry_after(Code::ResourceExhausted, FULL_DELAY, message));
            }
            if timeout_at(deadline, directory.changed()).await.is_err() {
                let failure = found.waits_for.as_ref().and_then(|pool| snapshot.failure(pool));
                let message = failure.map_or_else(|| starting(&key.domain), failing);
                return Err(retry_after(Code::Unavailable, COLD_DELAY, message));
            }
        }
    }

    /// Binds a session to the first driver that takes it.
    async fn try_bind(&self, key: &SessionKey, drivers: &[String]) -> Result<Option<StoredSession>, Status> {
        for driver in drivers {
            let at = (self.clock)();
            let bound = self.store.bind(key, driver, at).await;
            match bound.map_err(|error| unavailable(error.to_string()))? {
                Bound::New => {
                    return Ok(Some(StoredSession {
                        driver: driver.clone(),
                        bound: at,
                        used: at,
                        ended: None,
                    }));
                }
                Bound::Existing(stored) => return Ok(Some(stored)),
                Bound::Refused => {}
            }
        }
        Ok(None)
    }

    /// Records that a caller begins a session.
    async fn authorize(&self, caller: &Caller, pool: &PoolKey) -> Result<(), Status> {
        let resource = resource(pool);
        let act = Act { resource, subject: Some(pool.name.as_str()), ..Act::new("session", ROLE) };
        caller.authorize(act).await.map_err(|denied| match denied {
            Denied::Unavailable(why) => unavailable(why),
            denied => Status::permission_denied(denied.message(caller, ROLE, resource)),
        })
    }
}

/// The pools and drivers that a caller may use.
struct Usable<'a> {
    caller: &'a Caller,
    snapshot: &'a Snapshot,
}

impl<'a> Usable<'a> {
    fn pools(&self) -> impl Iterator<Item = &'a Pool> {
        self.snapshot.pools.iter().filter(|pool| self.caller.check(ROLE, resource(&pool.key)).is_ok())
    }

    fn drivers(&self) -> impl Iterator<Item = &'a StoredDriver> {
        let may = |it: &&StoredDriver| self.caller.check(ROLE, resource(&it.driver.pool)).is_ok();
        self.snapshot.drivers().filter(may)
    }

    fn route(&self, asked: &route::Request, key: &SessionKey) -> Option<Route> {
        let of = (key.domain.as_str(), key.user.as_str(), key.session.as_str());
        route(asked, of, self.pools(), self.drivers())
    }
}

impl Route {
    /// Returns the pool of the best driver, or the one that starts a driver.
    fn pool<'a>(&'a self, snapshot: &'a Snapshot) -> Option<&'a PoolKey> {
        let best = self.drivers.first().and_then(|id| snapshot.driver(id));
        best.map(|stored| &stored.driver.pool).or(self.waits_for.as_ref())
    }
}

fn starting(domain: &str) -> String {
    format!("a driver for the domain `{domain}` is starting; try again")
}

fn failing(failure: &PoolFailure) -> String {
    let PoolFailure { pool, attempts, message, execution, .. } = failure;
    let logs = execution.as_ref().map(|id| format!("; see `dcp logs {id}`")).unwrap_or_default();
    format!("drivers of the pool `{pool}` fail ({attempts} in a row): {message}{logs}; it is tried again")
}

fn no_pool(caller: &Caller) -> String {
    format!(
        "`{}` may use no pool; ask for the role `{}` in a domain that has one",
        caller.name,
        ROLE.as_str()
    )
}

fn no_such_pool(asked: &route::Request, domain: &str) -> String {
    let named = [("named", &asked.pool), ("of the engine", &asked.engine)];
    let named = named.into_iter().filter_map(|(what, name)| Some(format!(" {what} `{}`", name.as_ref()?)));
    let cores = asked.size.cores.map(|cores| format!(" with at least {cores} cores"));
    let memory = asked.size.memory.map(|memory| format!(" with at least {} MiB of memory", memory >> 20));
    let wanted: String = named.chain(cores).chain(memory).collect();
    format!(
        "the domain `{domain}` has no pool{wanted} that you may use; the role `{}` is needed, and `dcp pools` lists the pools",
        ROLE.as_str()
    )
}
