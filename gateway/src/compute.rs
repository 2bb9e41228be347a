//! The interface of every backend.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::{Name, OrphanMark, Recorded, SparkApplication, Status, WatchEvent};

/// The abilities of a backend, and its treatment of the fields of a manifest.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    pub fields: &'static Fields,
    pub abilities: &'static [Ability],
}

/// An ability that a backend may have. `tests/tests/compute/abilities.rs` names the test of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// Drivers and executors are pods, with the settings of `pods`.
    Pods,
    /// The status has the URL of the event log.
    EventLog,
    /// The status has the URL of Spark's web interface.
    Ui,
    /// `${secret.name/key}` is resolved.
    Secrets,
    /// The packages of a Python environment are installed.
    PythonPackages,
    /// A stream that is stopped finishes its running batch.
    Drain,
    /// A driver serves Spark Connect for a pool, if the process has the [`ConnectKey`](crate::ConnectKey).
    Connect,
}

/// A position in a driver's log. Only the backend that returned it can interpret it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Maximum length, as cursors come back from callers.
    pub const MAX_LENGTH: usize = 256;

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns true if it is the beginning of the log.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > Self::MAX_LENGTH {
            return Err(Error::Invalid(format!("a cursor has at most {} bytes", Self::MAX_LENGTH)));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A part of a driver's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The position after this part.
    pub next: Cursor,
    pub bytes: Vec<u8>,
}

/// A backend that runs Spark. All operations identify applications by name and are idempotent.
#[async_trait]
pub trait Compute: fmt::Debug + Send + Sync {
    fn capabilities(&self) -> Capabilities;

    /// Validates an application before it is created, as far as possible without running it and without the network.
    /// Rejects each field of the manifest that [`create`](Self::create) would ignore, by the field's name.
    fn accepts(&self, application: &SparkApplication) -> Result<()>;

    /// Validates an application, after [`accepts`](Self::accepts), by a call to the process that creates it.
    async fn validate(&self, _application: &SparkApplication) -> Result<()> {
        Ok(())
    }

    /// Checks that the backend responds.
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Starts an application, unless one of this name was ever started. After a successful return,
    /// [`get`](Self::get) finds it. After a failure or an unknown result, it can be called again.
    async fn create(&self, application: &SparkApplication) -> Result<()>;

    /// Returns the status of an application; nothing if there never was one, or it was forgotten.
    async fn get(&self, name: &Name) -> Result<Option<Status>>;

    /// Streams changes of all applications, also of those that are created later. It may repeat a status, and may skip
    /// one that was replaced by a newer one. After [`Listed`](WatchEvent::Listed), every later change is reported. It
    /// ends, or fails, if changes may have been lost; the caller then gets the applications that it needs, and watches
    /// again.
    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>>;

    /// Requests an application to stop, and kills it after the grace period. It returns at once: the application
    /// has stopped when its phase is [`Ended`](crate::Phase::Ended). An application that has not started yet never
    /// starts.
    async fn delete(&self, name: &Name, grace: Duration) -> Result<()>;

    /// Returns at most `limit` bytes of the driver's log after a position.
    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log>;

    /// Returns at most `limit` bytes of a log that is stored beyond [`forget`](Self::forget), after a position.
    async fn kept_log(&self, _: &Name, after: &Cursor, _: usize) -> Result<Log> {
        Ok(Log { next: after.clone(), bytes: Vec::new() })
    }

    /// Returns at most the last `limit` bytes of the driver's log.
    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>>;

    /// Removes everything stored of an application that has ended. It is for applications that are not needed any
    /// more: afterwards, a backend may not know that there was one of this name.
    async fn forget(&self, name: &Name) -> Result<()>;

    /// Returns the cause why logs are not stored beyond [`forget`](Self::forget), if they should be. No call reports it.
    fn log_problem(&self) -> Option<String> {
        None
    }

    /// Lists all stored applications, also those of other control planes, if other control planes may store some.
    async fn recorded(&self) -> Result<Vec<Recorded>> {
        Ok(Vec::new())
    }

    /// Stores a mark, unless the application has changed since it was listed. Returns true if it was stored.
    async fn set_mark(&self, _: &Recorded, _: OrphanMark) -> Result<bool> {
        Ok(false)
    }

    /// Requests an application to stop as [`delete`](Self::delete) does, unless it has changed since it was listed.
    /// Returns true if the request is stored, or the application has ended.
    async fn stop_recorded(&self, _: &Recorded, _grace: Duration) -> Result<bool> {
        Ok(false)
    }
}
