//! Registries of applied primitives, by address and serial, with their history.
//!
//! A registry holds independent scopes: each target of a project is one. Each scope has a head, which moves only by a
//! commit against that head. There are no locks that a crash could leave behind.

pub(crate) mod check;
pub mod memory;
pub mod remote;
pub mod sql;

use std::collections::BTreeSet;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};

use crate::state::{Applied, Commit, Head, InvalidScope, Revision, Scope, State};

/// The error of a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another apply moved the head, to this one.
    #[error("the state moved on: {0}")]
    Moved(Box<Head>),
    /// The request is invalid, whatever the state.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing with this name.
    #[error("{0}")]
    NotFound(String),
    /// The caller has no permission.
    #[error("{0}")]
    Denied(String),
    /// The registry can't be reached, or can't write. A retry is safe.
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

/// A registry of applied primitives. All implementations pass the suite in `tests/tests/registry`.
#[async_trait]
pub trait Registry: std::fmt::Debug + Send + Sync {
    /// Returns the current state.
    async fn state(&self, scope: &Scope) -> Result<State>;

    /// Returns the state at an earlier serial. `unpublished` is empty.
    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State>;

    /// Returns the texts of bodies, in the order of the fingerprints.
    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>>;

    /// Returns the domains of the addresses that ever had a body, for each fingerprint. A control plane decides by them
    /// who may read a body. A client does not need them.
    async fn domains(&self, _: &Scope, _: &[Fingerprint]) -> Result<Vec<BTreeSet<String>>> {
        Err(Error::Denied("only a control plane knows the domains of bodies".to_owned()))
    }

    /// Returns all revisions of an address, newest first.
    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>>;

    /// Returns commits with serials below `before`, newest first.
    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>>;

    /// Applies a commit as a whole, and returns the new head, whose serial is the next one.
    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head>;

    /// Records that the DAG files of commits are in place. Published serials are ignored.
    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()>;
}
