//! What is applied: primitives by address under one serial, and everything that ever was.
//!
//! A registry holds scopes, which know nothing of each other: a project's target is one. Each has a head, which only
//! a commit against that very head moves on. Nothing is locked, so that nothing can be left locked.

mod check;
pub mod memory;
pub mod remote;
pub mod sql;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};
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

/// For a scope that came from elsewhere: it is made of names, as those in a project file are.
impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check::scope(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// Where a scope stands. A scope that nobody has applied to is at serial 0 and has no lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// The id of the first commit, which is random: two states that only happen to have the same serial are told
    /// apart by it.
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
    /// How many workloads had which action.
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
    /// Made by the one who commits, at random: letters, digits, `-` and `_`. A commit whose answer was lost can be made
    /// again: where this very id was applied, the head that it brought about is the answer, though others may have
    /// gone on since.
    pub id: String,
    /// The head that this was planned against.
    pub base: Base,
    /// A name to show, never empty. A control plane puts its token's holder here, and its own clock's time below.
    pub by: String,
    pub at: Timestamp,
    pub commit: Option<String>,
    pub changes: Vec<Change>,
}

impl Commit {
    /// The bytes of all of its bodies.
    pub fn bytes(&self) -> usize {
        self.changes.iter().filter_map(|change| Some(change.body.as_ref()?.text.len())).sum()
    }

    /// The head that it brings about.
    pub fn head(&self) -> Head {
        let serial = self.base.serial.saturating_add(1);
        let lineage = self.base.lineage.clone().unwrap_or_else(|| self.id.clone());
        let counts = self.counts();
        let Self { id, by, at, commit, .. } = self;
        let applied =
            Applied { serial, id: id.clone(), by: by.clone(), at: *at, commit: commit.clone(), counts };
        Head { base: Base { lineage: Some(lineage), serial }, applied: Some(applied) }
    }

    /// Counts workloads by their actions, as a plan does.
    fn counts(&self) -> BTreeMap<Action, u64> {
        let mut workloads: BTreeMap<(&str, &str), BTreeSet<Action>> = BTreeMap::new();
        for Change { address, action, .. } in &self.changes {
            workloads.entry((&address.domain, &address.name)).or_default().insert(*action);
        }
        let mut counts = BTreeMap::new();
        for actions in workloads.values() {
            let change = |action: &&Action| !matches!(action, Action::Create | Action::Delete);
            let action = match actions.first() {
                Some(only) if actions.len() == 1 => *only,
                // A workload of which parts come and go is changed.
                _ => actions.iter().rev().find(change).copied().unwrap_or(Action::Update),
            };
            *counts.entry(action).or_default() += 1;
        }
        counts
    }
}

/// What becomes of an address: something is created where nothing is, and only what is there becomes anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub address: Address,
    /// Any but `None`.
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
    #[error("the state moved on: {0}")]
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

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is at serial {}", self.base.serial)?;
        match &self.applied {
            Some(Applied { by, at, .. }) => write!(f, ", applied by {by} at {at:.0}"),
            None => Ok(()),
        }
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
