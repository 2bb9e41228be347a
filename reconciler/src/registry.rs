//! Registries of applied primitives, by address and serial, with their history.
//!
//! A registry holds independent scopes: each target of a project is one. Each scope has a head, which moves only by a commit
//! against that head. There are no locks that a crash could leave behind.

mod check;
pub mod memory;
pub mod remote;
pub mod sql;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};

use crate::state::{Applied, Commit, Head, InvalidScope, Revision, Scope, State};

/// Why a registry did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else applied meanwhile; this is what they left.
    #[error("the state moved on: {0}")]
    Moved(Box<Head>),
    /// The request is invalid, whatever the state.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing by this name.
    #[error("{0}")]
    NotFound(String),
    /// The one who asks may not.
    #[error("{0}")]
    Denied(String),
    /// It can't be reached, or can't write. To try again is safe.
    #[error("{0}")]
    Unavailable(String),
    /// The stored data is damaged, or a newer dcp wrote it.
    #[error("{0}")]
    Corrupt(String),
}

impl From<InvalidScope> for Error {
    fn from(error: InvalidScope) -> Self {
        Self::Invalid(error.to_string())
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// The registry of what is applied. All of its forms pass the same suite, in `tests/tests/registry`.
#[async_trait]
pub trait Registry: std::fmt::Debug + Send + Sync {
    /// All that is applied now.
    async fn state(&self, scope: &Scope) -> Result<State>;

    /// All that was applied at an earlier serial. `unpublished` is empty.
    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State>;

    /// The texts of bodies by their fingerprints, in the order asked for.
    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>>;

    /// Every revision of an address, the newest first; empty where there never was one.
    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>>;

    /// Commits with serials below `before`, the newest first.
    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>>;

    /// Applies all of a commit or nothing of it. The new head is the old one's serial and one.
    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head>;

    /// Notes that the DAG files of these commits are in place. Serials that are not waited for are ignored.
    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()>;
}
