//! Ends sessions on request. gRPC and REST use it alike.
//!
//! The role `operator` is needed in the scope and domain of the driver's pool. The driver ends the session first, in the name of its
//! user, and then its row is ended, so that a session that counts as ended runs nothing.

use std::time::Duration;

use dcp_server::policy::Role;
use dcp_server::{Act, Caller, Denied, ServiceError};
use tokio::time::timeout;
use tonic::Code;

use crate::failure::is_lost;
use crate::overview::{DOMAIN, SessionStatus, denied_error, failed};
use crate::proxy::{Proxy, resource};
use crate::session::{SessionKey, StoredDriver, StoredSession};

/// Maximum time of a driver for ending a session.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A session to end. Two users, or two domains, may have sessions of the same id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) id: &'a str,
    pub(crate) domain: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
}

/// A session that has not ended.
struct Found {
    key: SessionKey,
    stored: StoredSession,
    driver: StoredDriver,
}

/// Ends sessions for one caller.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) caller: &'a Caller,
}

impl Ending<'_> {
    /// Ends a session, and returns it.
    pub(crate) async fn end(&self, named: Named<'_>) -> Result<SessionStatus, ServiceError> {
        let found = self.find(named).await?;
        self.authorize(&found).await?;
        let Found { key, stored, driver } = found;
        match timeout(TIMEOUT, self.proxy.release(&driver, &key)).await {
            Ok(Ok(())) => {}
            Ok(Err(status)) if is_lost(&status) => {}
            Ok(Err(status)) => return Err(unreleased(&driver, status.message())),
            Err(_) => {
                let why = format!("it did not respond within {} s", TIMEOUT.as_secs());
                return Err(unreleased(&driver, &why));
            }
        }
        self.proxy.end(&key).await.map_err(|error| failed(&error))?;
        Ok(SessionStatus::of(key, stored, &driver.driver))
    }

    /// Returns the session of a name that the caller may see.
    async fn find(&self, named: Named<'_>) -> Result<Found, ServiceError> {
        let store = self.proxy.store();
        let sessions = store.sessions_of(named.id).await.map_err(|error| failed(&error))?;
        let mut visible = Vec::new();
        for (key, stored) in sessions {
            let is_named = named.domain.is_none_or(|domain| domain == key.domain)
                && named.user.is_none_or(|user| user == key.user);
            let driver = store.driver(&stored.driver).await.map_err(|error| failed(&error))?;
            let Some(driver) = driver.filter(|it| is_named && !it.is_gone()) else { continue };
            let is_own = key.user == *self.caller.name;
            if is_own || self.caller.check(Role::Viewer, resource(&driver.driver.pool)).is_ok() {
                visible.push(Found { key, stored, driver });
            }
        }
        match (visible.pop(), visible.pop()) {
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => {
                let message = format!(
                    "several sessions have this id: one of `{}` in the domain `{}`, and one of `{}` in `{}`; name the user and the domain",
                    one.key.user, one.key.domain, other.key.user, other.key.domain
                );
                Err(ServiceError::invalid(DOMAIN, "user", message))
            }
            (None, _) => {
                let id = named.id.escape_debug();
                let message =
                    format!("there is no session `{id}`; `dcp pools --sessions --all` lists sessions");
                Err(ServiceError::new(Code::NotFound, DOMAIN, "NOT_FOUND", message))
            }
        }
    }

    async fn authorize(&self, found: &Found) -> Result<(), ServiceError> {
        let resource = resource(&found.driver.driver.pool);
        let subject = format!("{} of {}", found.key.session, found.key.user);
        let act = Act { resource, subject: Some(&subject), ..Act::new("endSession", Role::Operator) };
        self.caller.authorize(act).await.map_err(|denied| match denied {
            Denied::Unavailable(why) => ServiceError::new(Code::Unavailable, DOMAIN, "UNAVAILABLE", why),
            denied => denied_error(denied.message(self.caller, Role::Operator, resource)),
        })
    }
}

fn unreleased(driver: &StoredDriver, why: &str) -> ServiceError {
    let id = &driver.driver.id;
    let message = format!(
        "the driver `{id}` did not end the session: {why}; try again, or end the driver with its sessions"
    );
    ServiceError::new(Code::Unavailable, DOMAIN, "UNAVAILABLE", message)
}
