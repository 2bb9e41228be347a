//! What an apply would do, as a value: which workload gets which action, and why, field by field.
//!
//! A plan explains itself: whoever prints it, as text or as JSON, adds nothing.

mod class;
mod compare;
mod consent;
mod diff;
mod difference;
mod group;
mod order;
mod reason;
mod rename;
mod saved;
mod side;
mod stream;
mod workload;

use dcp_model::primitive::Fingerprint;
use serde::{Deserialize, Serialize};

pub use class::Class;
pub use compare::{Comparison, Concern, Context, Unreadable, compare};
pub use consent::Allowed;
pub use saved::SavedError;
pub use side::PlaceOf;

use crate::state::{Action, Applied, Base, Scope};

/// A plan: what is to be applied, in that order, against the state that it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub scope: Scope,
    pub base: Base,
    /// The commit that brought the base about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The commit of the repository that the manifests were read from, with `-dirty` where files differ from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Producers before consumers; deletions last, in reverse.
    pub workloads: Vec<Workload>,
    /// How many workloads stay as they are.
    pub unchanged: u64,
    /// How many were left out, as they were not asked for.
    pub left_out: u64,
    /// Continuous jobs whose applied revision was given up, whether the plan changes them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
}

/// A revision of a continuous job that was not healthy and does not run, though it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenUp {
    pub domain: String,
    pub name: String,
    pub revision: u64,
    /// The revision that runs in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Why it was given up.
    pub why: String,
}

impl Plan {
    /// Whether applying this does nothing.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }
}

/// What becomes of a workload, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    pub domain: String,
    pub name: String,
    /// `sql`, `pyspark`, `jar` or `stream`; `group` for the DAG of several workloads.
    pub job: String,
    /// `schedule`, `onAssets`, `manual`, `continuous` or `service`; `group` for a task in the DAG of one.
    pub run: String,
    /// The dearest of its steps' actions.
    pub action: Action,
    /// The dearest first.
    pub reasons: Vec<Reason>,
    pub consent: Consent,
    pub live: Live,
    /// The name that it had, or gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<Renamed>,
    /// What is done to its addresses.
    pub steps: Vec<Step>,
}

impl Workload {
    pub fn id(&self) -> String {
        format!("{}/{}", self.domain, self.name)
    }
}

/// What is done to an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    pub address: String,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Fingerprint>,
    /// The canonical text of what is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// One thing that differs, what that costs, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reason {
    /// The manifest's field, below `spec` where it stands there.
    pub field: String,
    /// What of the field it is about, such as `grouping keys` of a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// For text of several lines: what was taken out and put in, with a few lines around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    pub class: Class,
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// Where a manifest says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    pub path: String,
    pub line: usize,
    pub column: usize,
}

/// Whether a workload's action needs an explicit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Consent {
    NotNeeded,
    /// The manifest gives it: `upgrade.reset: allow`.
    GivenByManifest,
    /// `--allow-reset`
    Reset,
    /// `--allow-delete`
    Delete,
    /// Nothing helps: `lifecycle.preventDestroy`.
    Refused,
}

/// What is known of what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Live {
    /// Nothing runs of it all the time.
    NotContinuous,
    /// Nobody could be asked.
    Unknown,
    /// How it was when it was planned.
    #[serde(rename_all = "camelCase")]
    Seen {
        /// In a word: `healthy`, `paused`, `degraded`…
        condition: String,
        /// The revision that runs, if any does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        /// Rows that came in a second, as of late.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_rate: Option<f64>,
        /// What scaling has changed since the manifest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaled: Option<String>,
        /// Rows that are kept as state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state_rows: Option<u64>,
    },
}

/// The same content under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Renamed {
    From(String),
    To(String),
}
