//! The interface of every backend.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SparkApplication;

/// The name of an application. It derives from an execution and an attempt, so that a request repeated after a
/// crash names the same application. It is a Kubernetes name, so it is no path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let inside = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.as_bytes().iter().all(inside)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Invalid(format!("{text:?} is no name of an application")))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The phase of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The application was accepted, and its driver has not started yet.
    Pending,
    Running,
    /// The application has ended, and none of its processes is left anywhere.
    Ended,
}

/// The status of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// The end of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub at: Timestamp,
    pub succeeded: bool,
    /// A stop was requested.
    #[serde(default)]
    pub stopped: bool,
    /// The driver's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The backend's message about the end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A part of a driver's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Positions where this part and the next one begin.
    pub from: u64,
    pub next: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The application can't run on this backend. A retry does not help.
    #[error("{0}")]
    Invalid(String),
    /// There is another application by this name.
    #[error("{0}")]
    Conflict(String),
    /// The backend can't be reached, or is temporarily unable. A retry is safe.
    #[error("{0}")]
    Unavailable(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// A backend that runs Spark. All operations identify applications by name and are idempotent.
#[async_trait]
pub trait Compute: fmt::Debug + Send + Sync {
    /// Validates an application before it is created, as far as possible without running it.
    fn accepts(&self, application: &SparkApplication) -> Result<()>;

    /// Starts an application, unless one of this name was ever started. After a successful return,
    /// [`get`](Self::get) finds it. After a failure or an unknown result, it can be called again.
    async fn create(&self, application: &SparkApplication) -> Result<()>;

    /// Returns the status of an application; nothing if there never was one, or it was forgotten.
    async fn get(&self, name: &Name) -> Result<Option<Status>>;

    /// Requests an application to stop, and kills it after the grace period. It returns at once: the application
    /// has stopped when [`get`](Self::get) returns [`Ended`](Phase::Ended). An application that has not started
    /// yet never starts.
    async fn delete(&self, name: &Name, grace: Duration) -> Result<()>;

    /// Returns at most `limit` bytes of the driver's log from a position on.
    async fn logs(&self, name: &Name, from: u64, limit: usize) -> Result<Log>;

    /// Returns at most the last `limit` bytes of the driver's log.
    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>>;

    /// Returns the path of Spark's event log, if it is on this machine.
    fn events(&self, name: &Name) -> Option<PathBuf>;

    /// Removes everything stored of an application that has ended. It is for applications that are not needed any
    /// more: afterwards, a backend may not know that there was one of this name.
    async fn forget(&self, name: &Name) -> Result<()>;
}
