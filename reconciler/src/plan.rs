//! A plan: the actions of an apply, with reasons field by field.
//!
//! It holds all facts that text and JSON show.

mod class;
mod compare;
mod consent;
mod cost;
mod group;
mod json_diff;
mod order;
mod pool;
mod reason;
mod rename;
mod saved;
mod stream;
mod text_diff;
mod workload;
mod workload_version;

use dcp_model::primitive::Fingerprint;
use serde::{Deserialize, Serialize};

pub use class::Class;
pub use compare::{Comparison, Context, Inclusion, UnreadableBody, compare};
pub use consent::Allowed;
pub use saved::SavedError;
pub use workload_version::FieldLocator;

use crate::state::{Action, Applied, Base, Scope};

/// A plan: workloads in the order in which they are applied, and the state that it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub scope: Scope,
    pub base: Base,
    /// The commit that produced the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The commit of the repository that the manifests were read from, with `-dirty` where files differ from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Producers before consumers; deletions last, in reverse.
    pub workloads: Vec<Workload>,
    /// The number of unchanged workloads.
    pub unchanged: u64,
    /// The number of workloads that the caller left out.
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
    /// Returns whether the plan changes nothing.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }
}

/// The action for a workload, with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    pub domain: String,
    pub name: String,
    /// `sql`, `pyspark`, `jar` or `stream`; `group` for the DAG of several workloads; `pool` for a pool.
    pub job: String,
    /// `schedule`, `onAssets`, `manual`, `continuous` or `service`; `group` for a task in the DAG of one; `pool` for a pool.
    pub run: String,
    /// The most expensive action of its steps.
    pub action: Action,
    /// The most expensive first.
    pub reasons: Vec<Reason>,
    pub consent: Consent,
    pub live: Live,
    /// The name before or after a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<Renamed>,
    /// The changes of its addresses.
    pub steps: Vec<Step>,
}

impl Workload {
    /// Returns whether a pool is created, changed or deleted.
    pub fn changes_pool(&self) -> bool {
        self.steps.iter().any(|step| step.address.starts_with("Pool/"))
    }

    pub fn id(&self) -> String {
        format!("{}/{}", self.domain, self.name)
    }
}

/// The change of an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    pub address: String,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Fingerprint>,
    /// The canonical text to apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A difference, its cost, and the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reason {
    /// The field of the manifest, relative to `spec` if it is below it.
    pub field: String,
    /// The part of the field, such as `grouping keys` of a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// A diff of text with several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    pub class: Class,
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<SourceLocation>,
}

/// A place in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceLocation {
    pub path: String,
    pub line: usize,
    pub column: usize,
}

/// The consent that the action of a workload needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Consent {
    NotNeeded,
    /// The manifest consents: `upgrade.reset: allow`.
    GivenByManifest,
    /// `--allow-reset`
    Reset,
    /// `--allow-delete`
    Delete,
    /// `lifecycle.preventDestroy` forbids the action.
    Refused,
}

/// The observed state of a continuous job or a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Live {
    /// The workload is neither continuous nor a pool.
    NotContinuous,
    /// The state could not be read.
    Unknown,
    /// The state at the time of the plan.
    #[serde(rename_all = "camelCase")]
    Seen {
        /// The condition: `healthy`, `paused`, `degraded`…
        condition: String,
        /// The revision that runs, if any does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        /// Recent input rows per second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_rate: Option<f64>,
        /// The change that scaling made to the manifest's number of executors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaled: Option<String>,
        /// Rows in the state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state_rows: Option<u64>,
    },
    /// The drivers and sessions of a pool at the time of the plan.
    Pool {
        /// The state: `ready`, `starting`, `failing` or `idle`.
        state: String,
        drivers: u64,
        sessions: u64,
        /// The number of users of the sessions.
        users: u64,
    },
}

/// A rename without a change of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Renamed {
    From(String),
    To(String),
}
