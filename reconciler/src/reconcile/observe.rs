//! Maps executions of a Runner to statuses of runs.

use dcp_runner::api::{Holder, Record};
use dcp_runner::execution::{Execution, Phase, StopReason};
use dcp_runner::failure::Cause;
use dcp_runner::progress::Progress;
use dcp_runner::streaming::Streaming;
use jiff::Timestamp;

use super::{Health, RunStatus, Version};

/// Returns the status of a run from the record of its execution.
pub(super) fn run_status(record: &Record) -> RunStatus {
    let execution = &record.execution;
    if execution.phase.is_final() {
        return ended(execution, record.history.last().map(|it| it.why.as_str()));
    }
    let running = execution.attempts.last().and_then(|attempt| attempt.running);
    let since = running.unwrap_or(execution.created);
    let is_service = record.request.streaming.as_ref().is_some_and(Streaming::is_service);
    let progress = record.progress.as_ref().filter(|_| !is_service);
    RunStatus::Alive { health: health(execution.phase, progress, since) }
}

/// Returns the observation of a live run. `since` is the time since when it reported no progress.
pub(super) fn live_status(holder: &Holder, version: &Version, since: Timestamp) -> RunStatus {
    // Queries within a service say nothing about its health.
    let progress = holder.progress.as_ref().filter(|_| !version.is_service());
    RunStatus::Alive { health: health(holder.phase, progress, since) }
}

fn health(phase: Phase, progress: Option<&Progress>, since: Timestamp) -> Health {
    match (phase, progress) {
        (
            Phase::Running | Phase::Cancelling,
            Some(Progress { last_activity: Some(last), batch_millis, .. }),
        ) => Health::Progressing { last: *last, batch_millis: *batch_millis },
        (Phase::Running, Some(_)) => Health::Starting,
        (Phase::Running, None) => Health::Silent { since },
        (Phase::Queued, _) => Health::Queued,
        _ => Health::Pending,
    }
}

fn ended(execution: &Execution, last: Option<&str>) -> RunStatus {
    let diagnosis = execution.attempts.last().and_then(|attempt| attempt.diagnosis.as_ref());
    let (why, cause) = match (&execution.stopping, diagnosis) {
        (Some(StopReason::Cancelled { by }), _) => {
            (format!("it was cancelled by {by}; to have it stay so, pause it"), None)
        }
        (_, Some(diagnosis)) => (diagnosis.summary.clone(), Cause::from_name(&diagnosis.cause)),
        (_, None) => (last.unwrap_or("nothing is known of why").to_owned(), None),
    };
    RunStatus::Ended {
        succeeded: execution.phase == Phase::Succeeded,
        why,
        retryable: cause.is_none_or(|cause| !cause.is_permanent()),
    }
}
