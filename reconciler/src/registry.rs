//! What is applied: primitives by address under one serial, and everything that ever was.
//!
//! A registry holds scopes, which know nothing of each other: a project's target is one. Each has a head, which only
//! a commit against that very head moves on. Nothing is locked, so that nothing can be left locked.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use dcp_compiler::primitive::{Address, Fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::Action;

/// One of a control plane's states: `project`, or `project/target`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    pub fn new(project: &str, target: Option<&str>) -> Self {
        Self(target.map_or_else(|| project.to_owned(), |target| format!("{project}/{target}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a scope stands. A scope that nobody has applied to is at serial 0 and has no lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// Made with the first commit, at random: two states that only happen to have the same serial are told apart.
    pub lineage: Option<String>,
    pub serial: u64,
}

/// A commit, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub serial: u64,
    /// The commit's own id.
    pub id: String,
    pub by: String,
    pub at: Timestamp,
    /// The commit of the repository that the manifests were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// How many addresses had which action.
    pub counts: BTreeMap<Action, u64>,
}

/// What is applied at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub fingerprint: Fingerprint,
    /// Counts up from 1 at every change of this address, and never starts again.
    pub revision: u64,
    /// The serial of the commit that brought it.
    pub serial: u64,
}

/// All of a scope, without the bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub base: Base,
    pub applied: Option<Applied>,
    pub entries: BTreeMap<Address, Entry>,
    /// The serials of commits whose DAG files are not known to be in place.
    pub unpublished: Vec<u64>,
}

/// One revision of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub revision: u64,
    pub serial: u64,
    /// What the plan said of it; a `reset` here is one that was consented to.
    pub action: Action,
    /// None where the address was deleted.
    pub fingerprint: Option<Fingerprint>,
}

/// What is to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Made by the one who commits. A commit whose answer was lost can be made again: where the head was brought about
    /// by this very id, that head is the answer.
    pub id: String,
    /// The head that this was planned against.
    pub base: Base,
    pub by: String,
    pub at: Timestamp,
    pub commit: Option<String>,
    pub changes: Vec<Change>,
}

/// What becomes of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub address: Address,
    pub action: Action,
    /// None for a deletion.
    pub body: Option<Body>,
}

/// A primitive's canonical text, and the hash of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub fingerprint: Fingerprint,
    pub text: String,
}

/// Why a registry did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else applied meanwhile; this is what they left.
    #[error("the state moved on, to serial {}", .0.base.serial)]
    Moved(Box<Head>),
    /// What was asked for can't be right, whatever the state.
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
    /// What is stored is not what was written, or was written by a newer dcp.
    #[error("{0}")]
    Corrupt(String),
}

/// A head, and who brought it about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub base: Base,
    pub applied: Option<Applied>,
}

pub type Result<T> = std::result::Result<T, Error>;

/// The registry of what is applied. All of its forms pass the same suite, `contract`.
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
