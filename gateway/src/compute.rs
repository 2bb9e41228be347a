//! What every backend can do.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SparkApplication;

/// The name of an application: it derives from an execution and an attempt, so that whoever asks again after a crash
/// asks for the same one. It is a Kubernetes name, so it is no path.
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

/// How far an application has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It was taken, and its driver is not up yet.
    Pending,
    Running,
    /// It is over, and none of its processes is left anywhere.
    Ended,
}

/// What is known of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub at: Timestamp,
    pub succeeded: bool,
    /// It was asked to stop.
    #[serde(default)]
    pub stopped: bool,
    /// The driver's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the backend says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A part of a driver's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where this part begins, and where the next one does.
    pub from: u64,
    pub next: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It can't be run here, however often it is tried.
    #[error("{0}")]
    Invalid(String),
    /// There is another application by this name.
    #[error("{0}")]
    Conflict(String),
    /// The backend can't be reached, or can't do it now. To try again is safe.
    #[error("{0}")]
    Unavailable(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// A backend that runs Spark. Everything is by name, and doing a thing twice is doing it once.
#[async_trait]
pub trait Compute: fmt::Debug + Send + Sync {
    /// Finds what is wrong with an application before it is created, as far as that can be told without doing it.
    fn accepts(&self, application: &SparkApplication) -> Result<()>;

    /// Starts an application, unless one of this name ever was. Once this has returned, [`get`](Self::get) knows it;
    /// where it fails, or nobody learns what came of it, it can be called again.
    async fn create(&self, application: &SparkApplication) -> Result<()>;

    /// What is known of an application; nothing where there never was one, or it is forgotten.
    async fn get(&self, name: &Name) -> Result<Option<Status>>;

    /// Asks an application to stop, and kills it once the grace is over. Returns before that has happened: it is over
    /// when [`get`](Self::get) says that it has [ended](Phase::Ended). One that was never created never will be.
    async fn delete(&self, name: &Name, grace: Duration) -> Result<()>;

    /// What the driver wrote, from a place on; at most `limit` bytes of it.
    async fn logs(&self, name: &Name, from: u64, limit: usize) -> Result<Log>;

    /// The last of what the driver wrote, at most `limit` bytes of it.
    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>>;

    /// Where Spark wrote its event log, if it is on this machine.
    fn events(&self, name: &Name) -> Option<PathBuf>;

    /// Removes all that is kept of an application that has ended. It is for those that nobody asks for any more: a
    /// backend need not know afterwards that there ever was one of this name.
    async fn forget(&self, name: &Name) -> Result<()>;
}
