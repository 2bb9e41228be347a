//! Applied state as data: scopes, revisions and commits. Plans compare it; registries store it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use dcp_model::manifest::Name;
use dcp_model::primitive::{Address, Fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A change of an address. Ordered by cost: the most expensive of several is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// No change.
    None,
    /// Creates the address.
    Create,
    /// Changes the address in place, without a restart.
    Update,
    /// Restarts the job, which continues from its checkpoint.
    Redeploy,
    /// Restarts the job with a new checkpoint, as the old one can't be used.
    Reset,
    /// Deletes the address.
    Delete,
}

impl Action {
    pub const ALL: [Action; 6] =
        [Action::None, Action::Create, Action::Update, Action::Redeploy, Action::Reset, Action::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Create => "create",
            Action::Update => "update",
            Action::Redeploy => "redeploy",
            Action::Reset => "reset",
            Action::Delete => "delete",
        }
    }
}

/// The name of a state: `project`, or `project/target`.
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

/// Reads a scope of untrusted input. Its parts are names, as in a project file.
impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let (project, target) =
            text.split_once('/').map_or((text, None), |(project, target)| (project, Some(target)));
        let invalid = [Some(project), target].into_iter().flatten().any(|name| Name::parse(name).is_err());
        match invalid {
            true => Err(InvalidScope(text.chars().take(80).flat_map(char::escape_debug).collect())),
            false => Ok(Self(text.to_owned())),
        }
    }
}

/// A text that is not a scope, escaped and cut for messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: write `project` or `project/target`")]
pub struct InvalidScope(String);

/// The position of a scope. A scope without a commit is at serial 0 and has no lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// The random id of the first commit. It distinguishes two states that happen to have the same serial.
    pub lineage: Option<String>,
    pub serial: u64,
}

/// A stored commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub serial: u64,
    /// The id of the commit.
    pub id: String,
    pub by: String,
    pub at: Timestamp,
    /// The commit of the repository that the manifests were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The number of workloads per action.
    pub counts: BTreeMap<Action, u64>,
}

/// The applied primitive of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub fingerprint: Fingerprint,
    /// The number of the change of this address, from 1. It continues after a deletion.
    pub revision: u64,
    /// The serial of the commit that applied it.
    pub serial: u64,
}

/// The state of a scope, without bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub base: Base,
    pub applied: Option<Applied>,
    pub entries: BTreeMap<Address, Entry>,
    /// The serials of commits whose DAG files are not known to be in place.
    pub unpublished: Vec<u64>,
    /// The domains that the caller may read; none for all. Entries of other domains are left out.
    pub visible: Option<BTreeSet<String>>,
}

impl State {
    /// Returns true if the caller may read a domain.
    pub fn shows(&self, domain: &str) -> bool {
        self.visible.as_ref().is_none_or(|visible| visible.contains(domain))
    }
}

/// One revision of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub revision: u64,
    pub serial: u64,
    /// The planned action. A `reset` was consented to.
    pub action: Action,
    /// None if the address was deleted.
    pub fingerprint: Option<Fingerprint>,
}

/// A commit to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// A random id of the caller: letters, digits, `-` and `_`. A commit whose response was lost can be repeated: if
    /// this id was applied, the response is the head that it produced, even if the head has moved since.
    pub id: String,
    /// The head that the commit was planned against.
    pub base: Base,
    /// The name of the author. A control plane sets the holder of the token, and its own time below.
    pub by: String,
    pub at: Timestamp,
    pub commit: Option<String>,
    pub changes: Vec<Change>,
}

impl Commit {
    /// Returns the size of all bodies.
    pub fn bytes(&self) -> usize {
        self.changes.iter().filter_map(|change| Some(change.body.as_ref()?.text.len())).sum()
    }

    /// Returns the head that the commit produces.
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
                // A workload with created and deleted addresses counts as changed.
                _ => actions.iter().rev().find(change).copied().unwrap_or(Action::Update),
            };
            *counts.entry(action).or_default() += 1;
        }
        counts
    }
}

/// The change of an address. Only a missing address can be created, and only an existing one changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub address: Address,
    /// Any action except `None`.
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

/// A head, and the commit that produced it.
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
