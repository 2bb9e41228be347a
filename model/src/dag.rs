//! Airflow DAGs as data. The compiler renders them as DAG files.

mod asset;
mod pairs;
mod template_value;
mod value;

use serde::{Deserialize, Serialize};

use crate::manifest::{ConcurrencyPolicy, Duration};

pub use asset::{Asset, MAX_ASSET_LENGTH};
pub use template_value::TemplateValue;
pub use value::Value;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dag {
    pub dag_id: String,
    /// The scope to which the jobs of the tasks are applied: `project` or `project/target`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Set for the DAG of a group of workloads, unset for the DAG of one workload.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    pub description: String,
    /// Markdown.
    pub doc: String,
    /// The owner. If tasks have different owners, all of them.
    pub owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    pub schedule: Schedule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Date>,
    /// The IANA name of the time zone of the cron expression and the start date.
    pub timezone: String,
    pub catchup: bool,
    pub max_active_runs: u32,
    #[serde(default, skip_serializing_if = "ConcurrencyPolicy::is_queue")]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Set if no run is started by time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Maximum time from queueing a run to its end. A run that exceeds it is reported, and is not stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    pub tasks: Vec<Task>,
}

impl Dag {
    /// Returns whether a run cancels an earlier one that has not ended.
    pub fn replaces_active_runs(&self) -> bool {
        self.concurrency_policy == ConcurrencyPolicy::Replace
    }

    /// Returns whether runs are started by time, regardless of whether the DAG is suspended.
    pub fn is_time_triggered(&self) -> bool {
        matches!(self.schedule, Schedule::Cron(_) | Schedule::Every(_))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Schedule {
    /// Five fields, or one of Airflow's presets such as `@daily`, except `@once` and `@continuous`. Each run covers
    /// the interval that ends when the run is due.
    Cron(String),
    /// Data intervals of this length, counted from midnight of the start date, or of [`EPOCH`] if there is none. Each
    /// run covers the interval that ends when the run is due.
    Every(Duration),
    /// Assets that are completed by tasks of this Airflow, or by reports to the control plane.
    Assets {
        mode: AssetMode,
        assets: Vec<Asset>,
    },
    Manual,
}

/// The start date of a schedule that has none.
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
    /// The owner of the task, if it differs from the owner of the DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The address of the job to run, such as `CoreEtlJob/logistics/orders-daily`.
    pub job: String,
    pub fingerprint: String,
    /// Passed on unchanged: Airflow does not render them as templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "pairs")]
    pub parameters: Vec<(String, Value)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "pairs")]
    pub run_parameters: Vec<(String, TemplateValue)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<Asset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout_seconds: Option<u64>,
    /// Ids of tasks in the same DAG.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
}
