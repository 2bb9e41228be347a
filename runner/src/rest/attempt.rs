//! Responses about the attempts of a job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::types::{Backend, Cause};
use crate::execution;

/// One start of a job at a backend.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    /// Counts from 1.
    number: u32,
    backend: Backend,
    /// Time of the decision to start the attempt, before anything was started.
    begun: Timestamp,
    /// Time at which the driver was first seen running.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Timestamp>,
    addresses: Addresses,
    /// The name of its cluster, on the backend `kubernetes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// Settings that differ from the job's own, with the reason for each.
    adjusted: BTreeMap<String, Adjustment>,
}

impl From<execution::Attempt> for Attempt {
    fn from(attempt: execution::Attempt) -> Self {
        let execution::Attempt {
            number,
            backend,
            begun,
            running,
            queued: _,
            addresses,
            cluster,
            end,
            diagnosis,
            adjusted,
        } = attempt;
        let dcp_gateway::Addresses { ui, connect, event_log } = addresses;
        Self {
            number,
            backend: backend.into(),
            begun,
            running,
            addresses: Addresses { ui, connect, event_log },
            cluster,
            end: end.map(Into::into),
            diagnosis: diagnosis.map(Into::into),
            adjusted: settings(adjusted),
        }
    }
}

/// The addresses of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Addresses {
    /// URL of Spark's web interface, while the driver runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    ui: Option<String>,
    /// Spark Connect's `host:port`, while the driver runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<String>,
    /// URL of the folder in which Spark writes its event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_log: Option<String>,
}

/// The end of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct End {
    at: Timestamp,
    succeeded: bool,
    /// The attempt was requested to stop.
    stopped: bool,
    /// The driver's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    reason: Reason,
    /// The facts that support the reason.
    evidence: Vec<Evidence>,
}

/// The reason for the end of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Reason {
    /// The driver's process ended; its exit code or signal says how.
    Exited,
    /// The attempt was stopped before its driver started.
    NotStarted,
    /// A step before the driver's start failed, such as fetching packages.
    Preparation,
    /// The driver's container exceeded its memory limit.
    OutOfMemory,
    ImageUnavailable,
    /// No node has the resources for a pod, or satisfies its constraints.
    Unschedulable,
    QuotaExceeded,
    /// The account of the backend or of the application lacks a permission.
    Forbidden,
    /// A pod was evicted or preempted.
    Evicted,
    NodeLost,
    /// Another user deleted the application or its pods.
    Deleted,
    /// The driver has ended, and other processes of the application have not ended yet.
    Ending,
    /// The backend failed to run the application.
    BackendFailed,
}

impl From<dcp_gateway::Reason> for Reason {
    fn from(reason: dcp_gateway::Reason) -> Self {
        use dcp_gateway::Reason as Of;
        match reason {
            Of::Exited => Self::Exited,
            Of::NotStarted => Self::NotStarted,
            Of::Preparation => Self::Preparation,
            Of::OutOfMemory => Self::OutOfMemory,
            Of::ImageUnavailable => Self::ImageUnavailable,
            // An obstacle only: no attempt ends with it.
            Of::Unschedulable | Of::Queued => Self::Unschedulable,
            Of::QuotaExceeded => Self::QuotaExceeded,
            Of::Forbidden => Self::Forbidden,
            Of::Evicted => Self::Evicted,
            Of::NodeLost => Self::NodeLost,
            Of::Deleted => Self::Deleted,
            Of::Ending => Self::Ending,
            Of::BackendFailed => Self::BackendFailed,
        }
    }
}

/// A fact that supports a reason.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Evidence {
    source: Source,
    /// The reason that it shows, if the backend knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// One or more lines, in the words of the source.
    text: String,
}

/// The source of evidence.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Source {
    /// The backend itself, such as a supervisor or an operator.
    Backend,
    /// The operating system.
    System,
    /// The output of a command that ran before the driver.
    Command,
    /// The status of the driver's container.
    Container,
    /// The status of an executor's container.
    Executor,
    /// The status of a pod.
    Pod,
    /// An event of Kubernetes.
    Event,
}

impl From<dcp_gateway::Evidence> for Evidence {
    fn from(evidence: dcp_gateway::Evidence) -> Self {
        use dcp_gateway::Source as Of;
        let source = match evidence.source {
            Of::Backend => Source::Backend,
            Of::System => Source::System,
            Of::Command => Source::Command,
            Of::Container => Source::Container,
            Of::Executor => Source::Executor,
            Of::Pod => Source::Pod,
            Of::Event => Source::Event,
        };
        Self { source, reason: evidence.reason.map(Reason::from), text: evidence.text }
    }
}

impl From<dcp_gateway::End> for End {
    fn from(end: dcp_gateway::End) -> Self {
        let dcp_gateway::End { at, succeeded, stopped, exit_code, signal, reason, evidence } = end;
        let (reason, evidence) = (reason.into(), evidence.into_iter().map(Into::into).collect());
        Self { at, succeeded, stopped, exit_code, signal, reason, evidence }
    }
}

/// The cause of a failed attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Diagnosis {
    /// None if no further attempt can help, or the cause is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Cause>,
    /// The name of the cause, from a closed list.
    cause: String,
    /// One sentence.
    summary: String,
    /// The log lines that prove the cause.
    evidence: Vec<String>,
}

impl From<execution::Diagnosis> for Diagnosis {
    fn from(diagnosis: execution::Diagnosis) -> Self {
        let execution::Diagnosis { class, cause, summary, evidence } = diagnosis;
        Self { class: class.map(Into::into), cause, summary, evidence }
    }
}

/// A setting that sizing or a remedy chose.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Adjustment {
    value: String,
    why: String,
}

pub(super) fn settings(adjusted: BTreeMap<String, execution::Adjustment>) -> BTreeMap<String, Adjustment> {
    let one = |(key, execution::Adjustment { value, why })| (key, Adjustment { value, why });
    adjusted.into_iter().map(one).collect()
}
