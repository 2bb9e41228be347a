//! Sessions, pools and drivers.

use std::fmt;

use jiff::Timestamp;

/// The identity of a session. Two users, or two domains, never share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    pub domain: String,
    pub user: String,
    /// The UUID that the client chose.
    pub session: String,
}

/// The identity of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    /// The scope to which its manifest is applied; empty for drivers that dcp does not start.
    pub scope: String,
    pub domain: String,
    pub name: String,
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.name)
    }
}

/// The callers who may share a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// One user.
    Private,
    /// The users of the domain.
    Domain,
}

impl Share {
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Domain => "domain",
        }
    }
}

/// The cores and the memory of a driver with its executors, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub cores: Option<u64>,
    /// The heaps, in bytes.
    pub memory: Option<u64>,
}

/// A pool of drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub key: PoolKey,
    /// The version of Spark; empty if only its drivers tell.
    pub engine: String,
    pub share: Share,
    pub size: Size,
    /// Whether drivers are started if sessions wait for one.
    pub starts: bool,
    /// The minimum number of drivers that are ready; 0 if dcp does not start them.
    pub min_idle: u64,
    /// The revision that declares it; 0 if none does.
    pub revision: u64,
}

/// The last failure of a pool whose drivers end before they serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFailure {
    pub pool: PoolKey,
    /// The fingerprint of the drivers' job.
    pub job: String,
    /// The number of failures in a row.
    pub attempts: u64,
    pub at: Timestamp,
    /// The name of the cause.
    pub cause: String,
    /// One sentence.
    pub message: String,
    /// The execution of the driver; none if the Runner rejected it.
    pub execution: Option<String>,
}

impl PoolFailure {
    /// Returns whether no driver of the pool has answered since.
    pub(crate) fn is_current<'a>(&self, mut drivers: impl Iterator<Item = &'a StoredDriver>) -> bool {
        !drivers.any(|it| it.driver.pool == self.pool && it.opened.is_some_and(|opened| opened > self.at))
    }
}

/// A driver that serves Spark Connect, as its source reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The name of its application, or of its entry in a file. It is never used for another driver.
    pub id: String,
    pub pool: PoolKey,
    /// `host:port`
    pub address: String,
    pub engine: String,
    pub share: Share,
    pub size: Size,
    pub max_sessions: u64,
    pub started: Timestamp,
}

/// A driver and its sessions, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDriver {
    pub driver: Driver,
    /// The time at which its source reported it last.
    pub seen: Timestamp,
    pub state: DriverState,
    /// The time at which it answered a proxy first.
    pub opened: Option<Timestamp>,
    /// The user of a private driver, once it has one.
    pub owner: Option<String>,
    /// The number of sessions that have not ended.
    pub live: u64,
    /// The number of all sessions.
    pub total: u64,
}

impl StoredDriver {
    pub(crate) fn is_gone(&self) -> bool {
        self.state == DriverState::Gone
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverState {
    /// It has not answered a proxy yet.
    Starting,
    Open,
    /// It takes no new session.
    Draining,
    /// It has ended, and its sessions with it.
    Gone,
}

impl DriverState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Open => "open",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pub driver: String,
    pub bound: Timestamp,
    pub used: Timestamp,
    pub ended: Option<Timestamp>,
}
