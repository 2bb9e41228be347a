//! The status of a custom resource, as far as the Gateway uses it.

use jiff::Timestamp;
use serde_json::Value;

use super::super::facts::shortened;
use crate::{End, Evidence, Obstacle, Phase, Reason, Source, Status};

/// The report of an operator about an application. The application's pods decide whether it runs or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) enum Hint {
    /// The operator has not created the driver's pod yet.
    Submitting,
    /// The operator has created the driver's pod, and has not seen its end.
    DriverRequested,
    /// A queue or a user has suspended the application.
    Suspended,
    /// The operator failed to create the driver's pod, or failed to see that it has created the pod before.
    SubmissionFailed { message: String },
    /// The operator regards the application as ended. A driver may still run.
    Ended {
        /// The result, if the operator reports one.
        succeeded: Option<bool>,
        message: Option<String>,
    },
}

/// The message of Kubeflow's operator after it was restarted while it submitted.
const POD_EXISTS: &str = "driver pod already exist";

impl Hint {
    /// Adds the operator's obstacle to the status of an application whose driver has not started, unless its pods show
    /// one.
    pub(in crate::kubernetes) fn explain(&self, mut status: Status) -> Status {
        if status.phase == Phase::Pending && status.obstacle.is_none() {
            status.obstacle = self.obstacle();
        }
        status
    }

    /// Returns the obstacle to the start of a driver.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        let (reason, text) = match self {
            Hint::Submitting | Hint::DriverRequested => return None,
            Hint::Suspended => {
                (Reason::QuotaExceeded, "a queue or a user of the cluster has suspended the application")
            }
            Hint::SubmissionFailed { message } => (reason(message), message.as_str()),
            Hint::Ended { message: Some(message), .. } => (Reason::BackendFailed, message.as_str()),
            Hint::Ended { message: None, .. } => {
                (Reason::BackendFailed, "the operator regards the application as ended")
            }
        };
        Some(Obstacle { reason, evidence: vec![evidence(text)] })
    }

    /// Returns the end of an application that has no driver pod and gets none any more. The caller has listed the pods
    /// after it read this status, and neither the list nor the application's record has a driver.
    pub(in crate::kubernetes) fn end_without_driver(&self, at: Timestamp) -> Option<End> {
        let (reason, text) = match self {
            Hint::Submitting | Hint::Suspended => return None,
            Hint::SubmissionFailed { message } if !message.contains(POD_EXISTS) => {
                (reason(message), message.as_str())
            }
            Hint::SubmissionFailed { message } | Hint::Ended { message: Some(message), .. } => {
                (Reason::Deleted, message.as_str())
            }
            Hint::DriverRequested | Hint::Ended { message: None, .. } => {
                (Reason::Deleted, "the driver's pod was deleted before it started")
            }
        };
        Some(End { reason, evidence: vec![evidence(text)], ..End::exited(at, None, None) })
    }
}

fn evidence(text: &str) -> Evidence {
    Evidence { source: Source::Backend, reason: None, text: format!("operator: {text}") }
}

/// Returns the reason for which a submission failed.
fn reason(message: &str) -> Reason {
    let message = message.to_ascii_lowercase();
    if message.contains("exceeded quota") {
        Reason::QuotaExceeded
    } else if message.contains("forbidden") || message.contains("unauthorized") {
        Reason::Forbidden
    } else {
        Reason::BackendFailed
    }
}

/// Returns the message of a field, from its first exception on if it is the output of Spark's submitter.
pub(super) fn message(field: &Value) -> Option<String> {
    let text = field.as_str().map(str::trim).filter(|text| !text.is_empty())?;
    let mut lines = text.split_inclusive('\n');
    let at = lines.clone().position(|line| line.starts_with("Exception in thread")).unwrap_or(0);
    if at > 0 {
        lines.nth(at - 1);
    }
    Some(shortened(&lines.collect::<String>()))
}
