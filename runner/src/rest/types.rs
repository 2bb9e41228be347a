//! Types that requests and responses share.

use dcp_model::manifest::{self, Duration, Trigger};
use dcp_server::rest::{MAX_EXACT_INTEGER, Within};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{execution, request, streaming};

/// Defines an enum with the values of an enum of another module.
macro_rules! mirror {
    ($(#[doc = $doc:literal])* as $case:tt $name:ident of $other:ty: $($value:ident),+ $(,)?) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = $case)]
        pub(super) enum $name {
            $($value),+
        }

        impl From<$other> for $name {
            fn from(value: $other) -> Self {
                match value {
                    $(<$other>::$value => Self::$value),+
                }
            }
        }
    };
}

mirror! {
    /// The phase of a job. `SUCCEEDED`, `FAILED` and `CANCELLED` are final.
    as "SCREAMING_SNAKE_CASE" Phase of execution::Phase:
    Queued, Submitting, Pending, Running, Retrying, Cancelling, Succeeded, Failed, Cancelled,
}

impl From<Phase> for execution::Phase {
    fn from(phase: Phase) -> Self {
        let same = |other: &Self| Phase::from(*other) == phase;
        // Each value mirrors exactly one other value.
        Self::ALL.into_iter().find(same).unwrap_or(Self::Queued)
    }
}

mirror! {
    /// A backend that runs jobs.
    as "camelCase" Backend of manifest::Backend: Kubernetes, Emr, Databricks, Local,
}

mirror! {
    /// A class of failures, as in a manifest's `retry.causes`.
    as "camelCase" Cause of manifest::Cause:
    OutOfMemory, NodeLost, ShuffleLost, Scheduling, Dependencies, Backend, Timeout, UserCode,
}

/// Settings of a continuous job: a stream, or a service, which has neither trigger nor checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Streaming {
    /// The trigger in the format of manifests: exactly one of `asap: {}`, `every: 10s` and `continuous: 1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"every": "10s"}))]
    trigger: Option<Trigger>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "s3://bucket/checkpoints/orders")]
    checkpoint: Option<String>,
    /// The revision whose state is put at the checkpoint before the start; state of another revision is set aside. By
    /// default, the job starts with whatever state is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    state: Option<Within<0, { MAX_EXACT_INTEGER }>>,
    /// Grace period in which the running batch may finish on stop; the job's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2m")]
    grace: Option<Duration>,
    /// Number of executors; the job's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 10_000)]
    executors: Option<u32>,
}

/// The lease that the caller holds. Once a newer epoch was seen, older ones are rejected. Only the caller who used the
/// lease first may use it, and an epoch may rise by at most 1,000,000 at once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fence {
    #[schema(min_length = 1, max_length = 256)]
    pub(super) lease: String,
    #[schema(minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    pub(super) epoch: u64,
}

impl From<streaming::Streaming> for Streaming {
    fn from(
        streaming::Streaming { trigger, checkpoint, state, grace, executors }: streaming::Streaming,
    ) -> Self {
        Self { trigger, checkpoint, state: state.map(Within), grace, executors }
    }
}

impl From<Streaming> for streaming::Streaming {
    fn from(Streaming { trigger, checkpoint, state, grace, executors }: Streaming) -> Self {
        Self { trigger, checkpoint, state: state.map(|Within(revision)| revision), grace, executors }
    }
}

impl From<request::Fence> for Fence {
    fn from(request::Fence { lease, epoch }: request::Fence) -> Self {
        Self { lease, epoch }
    }
}
