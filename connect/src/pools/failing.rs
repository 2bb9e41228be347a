//! The failures of a pool whose drivers end before they serve, or never answer: their description, and the delay of the next start.

use std::borrow::Cow;

use dcp_model::secrets::redact;
use dcp_runner::api::Record;
use dcp_runner::execution::{Phase, StopReason};
use jiff::{SignedDuration, Timestamp};

use crate::session::{PoolFailure, StoredDriver};
use crate::store::members::Member;

/// Pauses after drivers that ended before they served: the first, and the longest.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(5);
const MAX_BACKOFF: SignedDuration = SignedDuration::from_mins(5);
/// Time after which a driver that answers has served. One that ends earlier has failed.
const SERVED: SignedDuration = SignedDuration::from_mins(1);
/// Maximum time from the start of a driver until it answers a proxy. One that takes longer has failed, and is ended.
const RESPONSE_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// Maximum number of characters of a message.
const MAX_MESSAGE: usize = 300;

/// Returns the time before which no driver starts.
pub(super) fn not_before(failure: &PoolFailure) -> Timestamp {
    let doublings = failure.attempts.saturating_sub(1).min(10);
    let pause = FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF);
    failure.at.saturating_add(pause).unwrap_or(failure.at)
}

/// Returns whether a driver has answered for long enough.
pub(super) fn has_served(driver: &StoredDriver, now: Timestamp) -> bool {
    driver.opened.is_some_and(|opened| now.duration_since(opened) >= SERVED)
}

/// Returns whether a driver that started after a failure has served.
pub(super) fn is_over(failure: &PoolFailure, driver: &StoredDriver, now: Timestamp) -> bool {
    driver.opened.is_some_and(|opened| opened > failure.at) && has_served(driver, now)
}

/// Returns the failure of a driver that has ended, unless it is the last one already.
pub(super) fn of_execution(
    member: &Member,
    record: &Record,
    last: Option<&PoolFailure>,
    now: Timestamp,
) -> Option<PoolFailure> {
    let execution = &record.execution;
    let id = execution.id.as_str();
    if is_recorded(last, id) {
        return None;
    }
    let diagnosis = execution.attempts.last().and_then(|attempt| attempt.diagnosis.as_ref());
    let (cause, message): (&str, Cow<'_, str>) = match (&execution.stopping, diagnosis) {
        (Some(StopReason::Cancelled { by }), _) => {
            ("cancelled", format!("the driver was cancelled by {by}").into())
        }
        (_, Some(diagnosis)) => (&diagnosis.cause, diagnosis.summary.as_str().into()),
        _ if execution.phase == Phase::Succeeded => ("ended", "the driver has ended without an error".into()),
        _ => {
            let last = record.history.last().map_or("the driver has ended", |it| it.why.as_str());
            ("unknown", last.into())
        }
    };
    Some(PoolFailure { execution: Some(id.to_owned()), ..failure(member, cause, &message, last, now) })
}

/// Returns whether a driver runs, and has not answered a proxy in time.
pub(super) fn is_silent(record: &Record, driver: Option<&StoredDriver>, now: Timestamp) -> bool {
    let has_answered = driver.is_some_and(|stored| stored.opened.is_some());
    let Some(attempt) = record.execution.attempts.last() else { return false };
    let running = attempt.running.unwrap_or(attempt.begun);
    let is_late = now.duration_since(running) >= RESPONSE_TIMEOUT;
    record.execution.phase == Phase::Running && !has_answered && is_late
}

/// Returns the failure of a driver that has not answered in time, unless it is the last one already.
pub(super) fn of_silence(
    member: &Member,
    record: &Record,
    last: Option<&PoolFailure>,
    now: Timestamp,
) -> Option<PoolFailure> {
    let id = record.id().as_str();
    if is_recorded(last, id) {
        return None;
    }
    let message = format!(
        "the driver did not respond to a proxy within {} minutes, and is ended",
        RESPONSE_TIMEOUT.as_mins()
    );
    let failure = failure(member, "unresponsive", &message, last, now);
    Some(PoolFailure { execution: Some(id.to_owned()), ..failure })
}

fn is_recorded(last: Option<&PoolFailure>, execution: &str) -> bool {
    last.is_some_and(|last| last.execution.as_deref() == Some(execution))
}

/// Returns the failure of a submit that the Runner rejects.
pub(super) fn of_rejection(
    member: &Member,
    error: &dcp_runner::api::Error,
    last: Option<&PoolFailure>,
    now: Timestamp,
) -> PoolFailure {
    let message = format!("the Runner rejects the driver: {error}");
    failure(member, "rejected", &message, last, now)
}

fn failure(
    member: &Member,
    cause: &str,
    message: &str,
    last: Option<&PoolFailure>,
    now: Timestamp,
) -> PoolFailure {
    // A new definition may have solved the earlier failures.
    let before = last.filter(|last| last.job == member.job).map_or(0, |last| last.attempts);
    let redacted = redact(message);
    let shown = redacted.chars().map(|c| if c.is_control() { ' ' } else { c });
    PoolFailure {
        pool: member.pool.clone(),
        job: member.job.clone(),
        attempts: before + 1,
        at: now,
        cause: cause.to_owned(),
        message: shown.take(MAX_MESSAGE).collect(),
        execution: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::PoolKey;

    fn member(job: &str) -> Member {
        Member {
            pool: PoolKey {
                scope: "shop".to_owned(),
                domain: "logistics".to_owned(),
                name: "small".to_owned(),
            },
            slot: 0,
            nonce: "1".to_owned(),
            job: job.to_owned(),
            build: 1,
            execution: None,
            is_ending: false,
            begun: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn pause_grows_to_its_maximum_and_starts_again_with_a_new_definition() {
        let error = dcp_runner::api::Error::Denied("no".to_owned());
        let (mut last, mut pauses) = (None, Vec::new());
        for _ in 0..100 {
            let failure = of_rejection(&member("a"), &error, last.as_ref(), Timestamp::UNIX_EPOCH);
            pauses.push(not_before(&failure).as_second());
            last = Some(failure);
        }
        assert_eq!(pauses[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pauses[99], 300);
        let other = of_rejection(&member("b"), &error, last.as_ref(), Timestamp::UNIX_EPOCH);
        assert_eq!(other.attempts, 1);
    }

    #[test]
    fn message_is_bounded_and_has_no_secret() {
        let secret = "postgres://dcp:hunter2hunter2@db/dcp";
        let error = dcp_runner::api::Error::Denied(format!("{secret}\n{}", "x".repeat(100_000)));
        let failure = of_rejection(&member("a"), &error, None, Timestamp::UNIX_EPOCH);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        assert_eq!(failure.message.chars().count(), MAX_MESSAGE);
        assert!(!failure.message.contains('\n'));
    }
}
