//! The status of an application, in terms that all backends share.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Name;

/// The phase of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The application was accepted, and its driver has not started yet.
    Pending,
    Running,
    /// The application has ended, and none of its processes is left anywhere.
    Ended,
}

/// The status of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The obstacle to its start, if the backend reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    #[serde(default)]
    pub addresses: Addresses,
    /// The name of its cluster, if the backend has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

impl Status {
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            started: None,
            obstacle: None,
            addresses: Addresses::default(),
            cluster: None,
            end: None,
        }
    }

    /// Returns the status of an application that was stopped before it started.
    pub(crate) fn stopped_before_start(at: Timestamp) -> Self {
        Self { end: Some(End::stopped_before_start(at)), ..Self::new(Phase::Ended) }
    }
}

/// An event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all events are changes, and none is kept")]
pub enum WatchEvent {
    Changed(Change),
    /// Every application that existed when the watch began was reported.
    Listed,
}

/// A changed status of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub name: Name,
    /// None if the backend does not know the application any more.
    pub status: Option<Status>,
}

/// An obstacle to the start of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    pub reason: Reason,
    pub evidence: Vec<Evidence>,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.description())?;
        let text = self.evidence.first().and_then(|evidence| evidence.text.lines().next());
        text.map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// The addresses of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// URL of Spark's web interface, while the driver runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui: Option<String>,
    /// Spark Connect's `host:port`, while the driver runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// URL of the folder in which Spark writes its event log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<String>,
}

/// The end of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub at: Timestamp,
    pub succeeded: bool,
    /// A stop was requested.
    #[serde(default)]
    pub stopped: bool,
    /// The driver's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

impl End {
    /// Returns the end of an application that was stopped before it started.
    pub(crate) fn stopped_before_start(at: Timestamp) -> Self {
        Self { stopped: true, reason: Reason::NotStarted, ..Self::exited(at, None, None) }
    }

    /// Returns true if the driver was evicted or lost its node, whatever its exit code.
    pub fn is_of_node(&self) -> bool {
        matches!(self.reason, Reason::Evicted | Reason::NodeLost)
    }

    /// Returns the end of a driver whose process has ended by itself.
    pub fn exited(at: Timestamp, exit_code: Option<i32>, signal: Option<i32>) -> Self {
        let (reason, evidence) = (Reason::Exited, Vec::new());
        Self { at, succeeded: exit_code == Some(0), stopped: false, exit_code, signal, reason, evidence }
    }
}

/// The reason for an end, or for an obstacle to a start. Each backend translates its own reports to this closed list,
/// so that no other part reads a backend's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The driver's process ended; its exit code or signal says how.
    Exited,
    /// The application was stopped before its driver started.
    NotStarted,
    /// A step before the driver's start failed, such as fetching packages.
    Preparation,
    /// The driver's container exceeded its memory limit.
    OutOfMemory,
    ImageUnavailable,
    /// No node has the resources for a pod, or satisfies its constraints.
    Unschedulable,
    /// A pod waits in a queue, and the scheduler does not see it yet.
    Queued,
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

impl Reason {
    /// Returns a sentence for users.
    pub fn description(self) -> &'static str {
        match self {
            Reason::Exited => "the driver ended",
            Reason::NotStarted => "the application was stopped before its driver started",
            Reason::Preparation => "a step before the driver failed",
            Reason::OutOfMemory => "the driver's container exceeded its memory limit",
            Reason::ImageUnavailable => "an image can't be pulled",
            Reason::Unschedulable => "no node has the resources for a pod",
            Reason::Queued => "a pod waits for its queue",
            Reason::QuotaExceeded => "a quota is exceeded",
            Reason::Forbidden => "a permission is missing",
            Reason::Evicted => "a pod was evicted",
            Reason::NodeLost => "a node was lost",
            Reason::Deleted => "another user deleted the application or a pod of it",
            Reason::Ending => "the driver has ended, and its executors have not",
            Reason::BackendFailed => "the backend failed to run the application",
        }
    }
}

/// A fact that supports a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    pub source: Source,
    /// The reason that it shows, if the backend knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One or more lines, in the words of the source.
    pub text: String,
}

/// The source of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
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
