//! Settings of continuous runs.

use dcp_model::manifest::{Duration, Trigger};
use dcp_model::primitive::ContinuousJob;
use serde::{Deserialize, Serialize};

/// Settings of a continuous job that its definition does not hold. A service has neither trigger nor checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Streaming {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The revision whose state is put at the checkpoint before the start; none keeps whatever state is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u64>,
    /// Grace period in which the running batch may finish on stop; none takes the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// Number of executors; none takes the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
}

impl Streaming {
    /// Returns the settings of a continuous job, for any state at its checkpoint.
    pub fn of(job: &ContinuousJob) -> Self {
        let stream = job.continuous();
        Self {
            trigger: stream.map(|it| it.trigger.clone()),
            checkpoint: stream.map(|it| it.checkpoint.as_str().to_owned()),
            state: None,
            grace: Some(job.grace()),
            executors: None,
        }
    }

    /// Returns whether the job is a service, which reports nothing but that its driver runs.
    pub fn is_service(&self) -> bool {
        self.checkpoint.is_none()
    }
}
