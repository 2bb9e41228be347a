//! Sandboxes: a session and a schema that belong to one user, for a time.
//!
//! A sandbox is stored before its schema is created, and its row is deleted after its schema is dropped. Each step can be
//! repeated, so that a step that is interrupted anywhere is completed by the next one. Schemas are created and dropped on a driver
//! of the sandbox's pool, in a session of the owner, so that no user gets rights of another one.

pub mod name;

use std::fmt;
use std::time::Duration;

use dcp_model::manifest::Memory;
use dcp_server::{Caller, ServiceError};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::client::{Session, Wanted};
use crate::failure::is_lost;
use crate::overview::{DOMAIN, failed};
use crate::proxy::{CallerProxy, Proxy};
use crate::rest::statement_failed;
use crate::session::SessionKey;
use crate::store::sandboxes::{SandboxKey, StoredSandbox};
use crate::wire::request::random_uuid;

/// The catalog of sandboxes that name no other one.
pub const DEFAULT_CATALOG: &str = "spark_catalog";
/// Maximum time after which a sandbox expires.
pub const MAX_TTL: Duration = Duration::from_hours(30 * 24);
/// Maximum number of sandboxes of a user.
const MAX_SANDBOXES: usize = 50;
/// Maximum length of a branch's name.
const MAX_BRANCH: usize = 255;
/// Maximum time of one attempt to create or drop a schema. A driver may have to be started first.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which a caller tries again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Time after which another process completes a removal.
pub(crate) const REMOVAL_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// The reason of an error that a retry solves, once a driver has started.
pub const STARTING: &str = "STARTING";

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    pub domain: String,
    pub name: String,
    /// The branch of the repository; empty if it was created outside of one.
    pub branch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The requested minimum of cores and of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    pub catalog: String,
    pub schema: String,
    pub session_id: String,
    pub created: Timestamp,
    pub expires: Timestamp,
}

impl From<StoredSandbox> for Sandbox {
    fn from(stored: StoredSandbox) -> Self {
        Self {
            domain: stored.key.domain,
            name: stored.key.name,
            branch: stored.branch,
            pool: stored.pool,
            engine: stored.engine,
            cores: stored.cores,
            memory: stored.memory,
            catalog: stored.catalog,
            schema: stored.schema,
            session_id: stored.session,
            created: stored.created,
            expires: stored.expires,
        }
    }
}

impl Sandbox {
    /// Returns the driver that its sessions ask for.
    pub fn driver(self) -> Wanted {
        let Self { domain, pool, engine, cores, memory, .. } = self;
        Wanted { domain: Some(domain), pool, engine, cores, memory }
    }
}

/// A sandbox to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSandbox {
    pub name: String,
    pub branch: String,
    pub driver: Wanted,
    /// The catalog of the schema; [`DEFAULT_CATALOG`] if it is not given.
    pub catalog: Option<String>,
    pub ttl: Duration,
}

/// A sandbox whose schema exists, and is the current one of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub sandbox: Sandbox,
    /// Whether the session is a new one, as the one that was opened last has ended.
    pub is_new_session: bool,
}

/// The sandboxes of one caller.
#[derive(Debug)]
pub(crate) struct Sandboxes<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) caller: &'a Caller,
}

impl Sandboxes<'_> {
    /// Returns the caller's sandboxes.
    pub(crate) async fn list(&self) -> Result<Vec<Sandbox>, ServiceError> {
        let stored = self.proxy.store().sandboxes(&self.caller.name).await.map_err(|error| failed(&error))?;
        Ok(stored.into_iter().map(Sandbox::from).collect())
    }

    /// Creates a sandbox. One that exists gets the new expiry, and is returned.
    pub(crate) async fn create(&self, new: NewSandbox) -> Result<Opened, ServiceError> {
        check(&new)?;
        let NewSandbox { name, branch, driver, catalog, ttl } = new;
        let domain =
            self.proxy.domain(self.caller, &driver).await.map_err(|status| statement_failed(&status))?;
        let store = self.proxy.store();
        let key = SandboxKey { domain, user: self.caller.name.to_string(), name };
        let now = self.proxy.now();
        let expires = now.saturating_add(ttl).unwrap_or(now);
        let existing = store.sandbox(&key).await.map_err(|error| failed(&error))?;
        if let Some(existing) = existing {
            check_same(&existing, &driver, catalog.as_deref())?;
            if !store.extend_sandbox(&key, expires).await.map_err(|error| failed(&error))? {
                return Err(ending(&key));
            }
        } else {
            let sandbox = StoredSandbox {
                key: key.clone(),
                branch,
                pool: driver.pool,
                engine: driver.engine,
                cores: driver.cores,
                memory: driver.memory,
                catalog: catalog.unwrap_or_else(|| DEFAULT_CATALOG.to_owned()),
                schema: String::new(),
                session: random_uuid(),
                opened: None,
                created: now,
                expires,
                ending: None,
            };
            self.add(sandbox).await?;
        }
        self.open(&key.domain, &key.name).await
    }

    /// Stores a new sandbox with the first schema that no other one has.
    async fn add(&self, mut sandbox: StoredSandbox) -> Result<(), ServiceError> {
        let (store, key) = (self.proxy.store(), sandbox.key.clone());
        let owned = store.sandboxes(&key.user).await.map_err(|error| failed(&error))?.len();
        if owned >= MAX_SANDBOXES {
            let message =
                format!("you have {owned} sandboxes, and {MAX_SANDBOXES} are the limit; delete one");
            return Err(ServiceError::new(Code::ResourceExhausted, DOMAIN, "EXHAUSTED", message));
        }
        for schema in name::schemas(&key.domain, &key.user, &key.name) {
            sandbox.schema = schema;
            if store.add_sandbox(&sandbox).await.map_err(|error| failed(&error))? {
                break;
            }
        }
        Ok(())
    }

    /// Creates the schema of a sandbox, if it is missing, and makes it the current one of its session. If the session has ended,
    /// the sandbox gets a new one.
    pub(crate) async fn open(&self, domain: &str, name: &str) -> Result<Opened, ServiceError> {
        let mut stored = self.find(domain, name).await?;
        if stored.ending.is_some() {
            return Err(ending(&stored.key));
        }
        if stored.expires <= self.proxy.now() {
            let message = format!("the sandbox `{name}` has expired; `dcp sandbox create {name}` extends it");
            return Err(ServiceError::new(Code::FailedPrecondition, DOMAIN, "EXPIRED", message));
        }
        let schema = qualified(&stored);
        let statements = [format!("CREATE SCHEMA IF NOT EXISTS {schema}"), format!("USE {schema}")];
        let key = SessionKey {
            domain: stored.key.domain.clone(),
            user: stored.key.user.clone(),
            session: stored.session.clone(),
        };
        let is_stored = self.proxy.store().session(&key).await.map_err(|error| failed(&error))?.is_some();
        if !is_stored && stored.opened.as_ref() == Some(&stored.session) {
            // The session ended so long ago that it was forgotten.
            stored = self.renew(stored).await?;
        }
        let stored = self.execute(stored, &statements).await?;
        if stored.opened.as_ref() != Some(&stored.session) {
            let opened = self.proxy.store().set_opened_session(&stored.key, &stored.session);
            opened.await.map_err(|error| failed(&error))?;
        }
        Ok(Opened { is_new_session: stored.has_new_session(), sandbox: stored.into() })
    }

    /// Drops the schema of a sandbox, ends its session, and deletes it. With `keep_schema`, only the sandbox is deleted.
    pub(crate) async fn delete(
        &self,
        domain: &str,
        name: &str,
        keep_schema: bool,
    ) -> Result<(), ServiceError> {
        let stored = self.find(domain, name).await?;
        let now = self.proxy.now();
        // The owner may complete each removal.
        let begun = self.proxy.store().end_sandbox(&stored.key, now, now, false).await;
        begun.map_err(|error| failed(&error))?;
        if keep_schema {
            return self.proxy.store().remove_sandbox(&stored.key).await.map_err(|error| failed(&error));
        }
        self.remove(stored).await
    }

    /// Completes a removal that was begun.
    pub(crate) async fn remove(&self, stored: StoredSandbox) -> Result<(), ServiceError> {
        if !name::is_schema(&stored.schema) {
            let message = format!("`{}` is no schema of a sandbox, and is not dropped", stored.schema);
            return Err(ServiceError::new(Code::Internal, DOMAIN, "FAILED", message));
        }
        let statement = format!("DROP SCHEMA IF EXISTS {} CASCADE", qualified(&stored));
        let stored = self.execute(stored, &[statement]).await?;
        // If this fails, the session ends with its idle timeout.
        if let Ok(session) = self.session(&stored) {
            let _ = timeout(STATEMENT_TIMEOUT, session.release()).await;
        }
        self.proxy.store().remove_sandbox(&stored.key).await.map_err(|error| failed(&error))
    }

    /// Executes statements in the session of a sandbox, or in a new one if it has ended. Returns the sandbox with its session.
    async fn execute(
        &self,
        mut stored: StoredSandbox,
        statements: &[String],
    ) -> Result<StoredSandbox, ServiceError> {
        let mut is_renewed = false;
        let mut next = statements.iter().peekable();
        while let Some(statement) = next.peek() {
            let session = self.session(&stored)?;
            let executed = timeout(STATEMENT_TIMEOUT, run(&session, statement)).await;
            match executed {
                Ok(Ok(())) => {
                    next.next();
                }
                Ok(Err(status)) if is_lost(&status) && !is_renewed => {
                    is_renewed = true;
                    stored = self.renew(stored).await?;
                    next = statements.iter().peekable();
                }
                Ok(Err(status)) if status.code() == Code::Unavailable => {
                    return Err(starting(status.message()));
                }
                Ok(Err(status)) => return Err(statement_failed(&status)),
                Err(_) => return Err(starting("a driver is starting")),
            }
        }
        Ok(stored)
    }

    /// Gives a sandbox a new session, or the one that another caller has given it.
    async fn renew(&self, stored: StoredSandbox) -> Result<StoredSandbox, ServiceError> {
        let (store, new) = (self.proxy.store(), random_uuid());
        store
            .set_sandbox_session(&stored.key, &stored.session, &new)
            .await
            .map_err(|error| failed(&error))?;
        self.find(&stored.key.domain, &stored.key.name).await
    }

    fn session(&self, stored: &StoredSandbox) -> Result<Session, ServiceError> {
        let wanted = Sandbox::from(stored.clone()).driver();
        let proxy = CallerProxy::new(self.proxy.clone(), self.caller.clone());
        let session = Session::new(proxy, &wanted);
        let session = session.map_err(|why| ServiceError::invalid(DOMAIN, "pool", why))?;
        Ok(session.with_id(stored.session.clone()))
    }

    /// Returns a sandbox of the caller; without a domain, the only one of this name.
    async fn find(&self, domain: &str, name: &str) -> Result<StoredSandbox, ServiceError> {
        let all = self.proxy.store().sandboxes(&self.caller.name).await.map_err(|error| failed(&error))?;
        let named =
            |it: &StoredSandbox| it.key.name == name && (domain.is_empty() || it.key.domain == domain);
        let mut found = all.into_iter().filter(named);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => {
                let message = format!(
                    "you have a sandbox `{name}` in several domains (`{}`, `{}` …); add `--domain NAME`",
                    one.key.domain, other.key.domain
                );
                Err(ServiceError::invalid(DOMAIN, "domain", message))
            }
            (None, _) => {
                let name = name.escape_debug();
                let message =
                    format!("you have no sandbox `{name}`; create it with `dcp sandbox create {name}`");
                Err(ServiceError::new(Code::NotFound, DOMAIN, "NOT_FOUND", message))
            }
        }
    }
}

fn check(new: &NewSandbox) -> Result<(), ServiceError> {
    let invalid = |field: &str, why: String| Err(ServiceError::invalid(DOMAIN, field, why));
    if let Err(why) = name::check(&new.name) {
        return invalid("name", why);
    }
    if let Some(Err(why)) = new.catalog.as_deref().map(name::check_catalog) {
        return invalid("catalog", why);
    }
    if new.branch.len() > MAX_BRANCH || new.branch.chars().any(char::is_control) {
        return invalid("branch", format!("the branch has to be a name of at most {MAX_BRANCH} bytes"));
    }
    if new.ttl.is_zero() || new.ttl > MAX_TTL {
        let days = MAX_TTL.as_secs() / 86_400;
        return invalid("ttl", format!("a sandbox lives for more than 0 s and at most {days} days"));
    }
    Ok(())
}

async fn run(session: &Session, statement: &str) -> Result<(), Status> {
    let mut batches = session.execute(statement, None).await?;
    while batches.next().await?.is_some() {}
    Ok(())
}

/// Checks that a sandbox that exists has what is requested.
fn check_same(existing: &StoredSandbox, driver: &Wanted, catalog: Option<&str>) -> Result<(), ServiceError> {
    let cores = |cores: Option<u32>| cores.map(|cores| cores.to_string());
    let memory = |memory: Option<Memory>| memory.map(|memory| memory.to_string());
    let fields = [
        ("pool", driver.pool.clone(), existing.pool.clone()),
        ("engine", driver.engine.clone(), existing.engine.clone()),
        ("cores", cores(driver.cores), cores(existing.cores)),
        ("memory", memory(driver.memory), memory(existing.memory)),
        ("catalog", catalog.map(str::to_owned), Some(existing.catalog.clone())),
    ];
    for (field, wanted, has) in fields {
        if let Some(wanted) = wanted.filter(|wanted| has.as_ref() != Some(wanted)) {
            let (name, has) = (&existing.key.name, has.as_deref().unwrap_or("any"));
            let message = format!(
                "the sandbox `{name}` exists with the {field} `{has}`, and `{wanted}` is requested; choose another name, or delete it"
            );
            return Err(
                ServiceError::new(Code::AlreadyExists, DOMAIN, "EXISTS", message).with("field", field)
            );
        }
    }
    Ok(())
}

/// Returns the quoted name of a sandbox's schema. Both parts are words.
fn qualified(stored: &StoredSandbox) -> String {
    format!("`{}`.`{}`", stored.catalog, stored.schema)
}

fn starting(message: impl fmt::Display) -> ServiceError {
    let message = format!("{message}; try again");
    ServiceError::new(Code::Unavailable, DOMAIN, STARTING, message).with_retry_after(Some(RETRY_DELAY))
}

fn ending(key: &SandboxKey) -> ServiceError {
    let name = &key.name;
    let message = format!("the sandbox `{name}` is being removed; `dcp sandbox delete {name}` completes it");
    ServiceError::new(Code::FailedPrecondition, DOMAIN, "ENDING", message)
}

#[cfg(test)]
mod tests;
