//! DAGs of Airflow as data, which the compiler renders as files.

mod asset;
mod pairs;
mod run_value;
mod value;

use serde::{Deserialize, Serialize};

use crate::manifest::{ConcurrencyPolicy, Duration};

pub use asset::{Asset, MAX_ASSET};
pub use run_value::RunValue;
pub use value::Value;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dag {
    pub dag_id: String,
    /// Where what the tasks run is applied: `project`, or `project/target`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Whether it is of several workloads, and not of one that is called as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    pub description: String,
    /// Markdown.
    pub doc: String,
    /// Where tasks have owners of their own, all of these.
    pub owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    pub schedule: Schedule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Date>,
    /// An IANA name. The cron expression and the start date are read in it.
    pub timezone: String,
    pub catchup: bool,
    pub max_active_runs: u32,
    #[serde(default, skip_serializing_if = "ConcurrencyPolicy::is_queue")]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Set if no run starts by time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// How long after it was queued a run should be done. A run that is late is reported, not stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    pub tasks: Vec<Task>,
}

impl Dag {
    /// Returns whether a run cancels an earlier one that has not ended.
    pub fn replaces(&self) -> bool {
        self.concurrency_policy == ConcurrencyPolicy::Replace
    }

    /// Returns whether runs are started by time, or would be if the DAG were not suspended.
    pub fn is_timed(&self) -> bool {
        matches!(self.schedule, Schedule::Cron(_) | Schedule::Every(_))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Schedule {
    /// Five fields, or one of Airflow's presets such as `@daily`, but neither `@once` nor `@continuous`. Each run
    /// is for the interval that ends when it is due.
    Cron(String),
    /// Data intervals of this length, counted from midnight of the start date, or of [`EPOCH`] without one. Each run is
    /// for the interval that ends when it is due.
    Every(Duration),
    /// Each may be completed by a task of this Airflow, or by whatever else tells the control plane of it.
    Assets {
        mode: AssetMode,
        assets: Vec<Asset>,
    },
    Manual,
}

/// The day from whose midnight intervals are counted where a schedule has no start date.
pub const EPOCH: Date = Date { year: 1970, month: 1, day: 1 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssetMode {
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub task_id: String,
    /// Whose it is, where that is not whose the DAG is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The address of the job to run, such as `CoreEtlJob/logistics/orders-daily`.
    pub job: String,
    pub fingerprint: String,
    /// Passed on as they are: Airflow does not take them for templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "pairs")]
    pub parameters: Vec<(String, Value)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "pairs")]
    pub run_parameters: Vec<(String, RunValue)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<Asset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout_seconds: Option<u64>,
    /// Ids of tasks in the same DAG.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
}
