//! Settings of runs that are kept running.

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
    /// The revision whose state is to lie at the checkpoint before it starts; where it is not said, whatever lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u64>,
    /// How long its running batch may take to finish when it is stopped, where that is not as long as the job says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// How many executors it has, where that is not as the job says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
}

impl Streaming {
    /// Returns how a continuous job is run with whatever state its checkpoint has.
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

    /// Returns whether nothing is known of it but whether its driver runs.
    pub fn is_service(&self) -> bool {
        self.checkpoint.is_none()
    }
}
