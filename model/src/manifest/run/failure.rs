//! The handling of failures: retries and timeouts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::Duration;

/// The number of attempts of a run, and the failures that are retried. Jobs are retried by the Runner only: a retry
/// of the Airflow task attaches to the existing execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Maximum number of attempts of a run, including the first.
    #[serde(default = "Retry::default_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// Backoff before the second attempt. It doubles with each further attempt.
    #[serde(default = "Retry::default_backoff")]
    pub backoff: Duration,
    /// Maximum backoff.
    #[serde(default = "Retry::default_max_backoff")]
    pub max_backoff: Duration,
    /// Maximum number of remedies of a run. A remedy changes the resources of the next attempt after a failure that
    /// this can fix.
    #[serde(default = "Retry::default_remedies")]
    #[schemars(range(max = 10))]
    pub remedies: u32,
    /// The causes of failure that are retried. Default: all causes that another attempt can fix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

impl Retry {
    fn default_attempts() -> u32 {
        3
    }

    fn default_backoff() -> Duration {
        Duration::from_secs(30)
    }

    fn default_max_backoff() -> Duration {
        Duration::from_secs(600)
    }

    fn default_remedies() -> u32 {
        3
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: Self::default_attempts(),
            backoff: Self::default_backoff(),
            max_backoff: Self::default_max_backoff(),
            remedies: Self::default_remedies(),
            causes: Vec::new(),
        }
    }
}

/// A cause of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Out of memory, in the heap or outside it.
    OutOfMemory,
    /// A node or pod was lost, drained or reclaimed.
    NodeLost,
    /// Shuffle data was lost.
    ShuffleLost,
    /// Insufficient capacity of the cluster, or an exhausted quota.
    Scheduling,
    /// The image or a dependency could not be downloaded.
    Dependencies,
    /// The backend did not respond.
    Backend,
    /// The run exceeded a timeout.
    Timeout,
    /// The program itself failed.
    UserCode,
}

/// Timeouts of the phases of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Maximum time from submission until the driver runs.
    #[serde(default = "Timeouts::default_start")]
    pub start: Duration,
    /// Maximum time that a run may take, from the start of the driver. Streams have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Duration>,
    /// Grace period from the request to stop until the run is killed.
    #[serde(default = "Timeouts::default_stop")]
    pub stop: Duration,
}

impl Timeouts {
    fn default_start() -> Duration {
        Duration::from_secs(900)
    }

    fn default_stop() -> Duration {
        Duration::from_secs(60)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { start: Self::default_start(), run: None, stop: Self::default_stop() }
    }
}
