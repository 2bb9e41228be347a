//! The state machine of an execution: two pure functions make all decisions.
//!
//! [`next_effect`] returns the action to perform; [`apply_event`] applies its outcome to the state. A state is stored
//! before the action that follows from it is performed, and every action can be repeated. A Runner that finds an
//! execution in any state after a crash therefore performs the action from [`next_effect`] and loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use dcp_gateway::{Addresses, End, Phase as At, Reason, Status};
use dcp_model::manifest::Cause;
use jiff::{SignedDuration, Timestamp};

use crate::execution::{Adjustment, Attempt, Diagnosis, Execution, Id, Phase, StopReason, Transition, Wait};

/// An action to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The execution has ended; no action follows.
    Nothing,
    /// No action before this time.
    Wait(Timestamp),
    /// Store the next state, without any other action.
    Step,
    /// Get the exclusive key from the execution that is to be replaced.
    Claim,
    /// Prepare the checkpoint of the first attempt, before a driver can use it.
    Prepare,
    /// Start the current attempt, unless it was started already.
    Create,
    /// Read the status of the current attempt.
    Poll,
    /// Stop the current attempt, then read its status.
    Delete { grace: Duration },
}

/// The outcome of an action, or an event from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an event is applied at once, and not kept")]
pub enum Event {
    /// No action was needed.
    Stepped,
    /// The current attempt exists at the backend.
    Created,
    /// The backend can never run the attempt.
    Rejected(String),
    /// The execution has its exclusive key.
    Claimed,
    /// An execution that is being replaced still holds the key.
    Held { by: Id },
    /// Another execution with the same key replaces this one.
    Replaced { by: Id },
    /// The preparation is done, with the actions that it took.
    Prepared(Vec<String>),
    /// The backend did not respond, or can't perform the action now.
    Unavailable(String),
    /// The status of the current attempt, none if the backend does not know it, and the verdict on its failure.
    Polled(Option<Status>, Option<Verdict>),
    /// A user or program requested the execution to stop.
    Cancel { by: String },
}

/// The cause of a failure, and whether and how to retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub diagnosis: Diagnosis,
    /// Settings for the next attempt; empty if the settings stay the same.
    pub remedy: BTreeMap<String, Adjustment>,
    /// The reason why no further attempt can succeed.
    pub no_retry_reason: Option<String>,
}

impl Verdict {
    /// Creates a verdict without evidence, after which the attempt is repeated with the same settings.
    fn new(class: Option<Cause>, cause: &str, summary: String) -> Self {
        let diagnosis = Diagnosis { class, cause: cause.to_owned(), summary, evidence: Vec::new() };
        Self { diagnosis, remedy: BTreeMap::new(), no_retry_reason: None }
    }
}

/// Returns the next action.
pub fn next_effect(execution: &Execution, now: Timestamp) -> Effect {
    if let Some(at) = waits_until(execution, now).filter(|_| !execution.phase.is_final()) {
        return Effect::Wait(at);
    }
    match execution.phase {
        Phase::Queued if execution.awaits_key => Effect::Claim,
        Phase::Queued | Phase::Retrying => Effect::Step,
        Phase::Submitting if may_start(execution, now) && execution.unprepared => Effect::Prepare,
        Phase::Submitting if may_start(execution, now) => Effect::Create,
        Phase::Submitting | Phase::Pending | Phase::Running | Phase::Cancelling => {
            match (&execution.stopping, exceeded_timeout(execution, now)) {
                (None, None) => Effect::Poll,
                (None, Some(_)) => Effect::Step,
                (Some(_), _) => Effect::Delete { grace: Duration::from_secs(execution.policy.stop_seconds) },
            }
        }
        Phase::Succeeded | Phase::Failed | Phase::Cancelled => Effect::Nothing,
    }
}

/// Returns true if the current attempt is not to be stopped, and its start is not overdue.
fn may_start(execution: &Execution, now: Timestamp) -> bool {
    execution.stopping.is_none() && exceeded_timeout(execution, now).is_none()
}

/// Returns the time before which no action is taken. A time later than the longest possible wait is ignored: it was
/// stored while the clock was wrong.
fn waits_until(execution: &Execution, now: Timestamp) -> Option<Timestamp> {
    let longest = UNAVAILABLE_PAUSE.max(Duration::from_secs(execution.policy.max_backoff_seconds));
    execution.not_before.filter(|at| *at > now && *at <= later(now, longest))
}

/// Applies an event to an execution. Returns the transition if the phase changed or there is something to report; other
/// fields may change without a transition.
pub fn apply_event(execution: &mut Execution, event: Event, now: Timestamp) -> Option<Transition> {
    let from = execution.phase;
    let why = change(execution, event, now)?;
    let transition = Transition { at: now, from, to: execution.phase, attempt: execution.attempt(), why };
    if execution.phase.is_final() {
        execution.ended = Some(now);
        execution.not_before = None;
    }
    Some(transition)
}

/// Applies an event, and returns the reason for a transition if there is one.
fn change(execution: &mut Execution, event: Event, now: Timestamp) -> Option<String> {
    if execution.phase.is_final() {
        return None;
    }
    execution.waiting = None;
    match event {
        Event::Cancel { by } => {
            let why = format!("cancelled by {by}");
            stop(execution, StopReason::Cancelled { by }, why)
        }
        Event::Replaced { by } => {
            let why = format!("replaced by execution {by}, which is for a later time");
            stop(execution, StopReason::Replaced { by }, why)
        }
        Event::Claimed => {
            execution.awaits_key = false;
            None
        }
        Event::Held { by } => {
            execution.waiting = Some(format!("execution {by}, which it replaces, has not ended yet"));
            None
        }
        Event::Stepped => step(execution, now),
        Event::Prepared(done) => prepared(execution, &done, now),
        Event::Created => {
            execution.not_before = None;
            (execution.phase == Phase::Submitting)
                .then(|| enter_phase(execution, Phase::Pending, "the backend has it"))
        }
        Event::Rejected(why) => {
            let verdict = Verdict::new(None, "invalid", why.clone());
            let rejected = Verdict { no_retry_reason: Some(why), ..verdict };
            // The attempt was never started, so nothing can be alive.
            (execution.phase == Phase::Submitting).then(|| attempt_failed(execution, None, rejected, now))
        }
        Event::Unavailable(why) => {
            execution.waiting = Some(why);
            execution.not_before = Some(later(now, UNAVAILABLE_PAUSE));
            None
        }
        Event::Polled(status, verdict) => polled(execution, status, verdict, now),
    }
}

/// Begins the prepared attempt. The transition is within the phase, if there is something to report.
fn prepared(execution: &mut Execution, done: &[String], now: Timestamp) -> Option<String> {
    execution.unprepared = false;
    if let Some(attempt) = execution.attempts.last_mut() {
        attempt.begun = now;
    }
    (!done.is_empty()).then(|| done.join("; "))
}

/// Wait before an unavailable backend is called again.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(5);

fn enter_phase(execution: &mut Execution, phase: Phase, why: impl Into<String>) -> String {
    execution.phase = phase;
    why.into()
}

fn stop(execution: &mut Execution, stopping: StopReason, why: String) -> Option<String> {
    if execution.phase == Phase::Cancelling {
        return None;
    }
    execution.not_before = None;
    execution.stopping = Some(stopping);
    let phase = if execution.phase.may_be_alive() { Phase::Cancelling } else { Phase::Cancelled };
    Some(enter_phase(execution, phase, why))
}

/// Applies the step that needs no action.
fn step(execution: &mut Execution, now: Timestamp) -> Option<String> {
    if waits_until(execution, now).is_some() {
        return None;
    }
    match execution.phase {
        Phase::Queued if execution.awaits_key => None,
        Phase::Queued | Phase::Retrying => {
            let number = execution.attempt() + 1;
            let adjusted = execution.adjusted.clone();
            execution.attempts.push(Attempt {
                number,
                backend: execution.backend,
                begun: now,
                running: None,
                queued: Wait::None,
                addresses: Addresses::default(),
                cluster: None,
                end: None,
                diagnosis: None,
                adjusted,
            });
            execution.not_before = None;
            Some(enter_phase(
                execution,
                Phase::Submitting,
                format!("attempt {number} of {}", execution.policy.attempts),
            ))
        }
        Phase::Submitting | Phase::Pending | Phase::Running if execution.stopping.is_none() => {
            // The attempt is stopped first; its outcome is decided once it is gone.
            execution.stopping = exceeded_timeout(execution, now);
            None
        }
        _ => None,
    }
}

/// Returns the timeout that the current attempt has exceeded.
fn exceeded_timeout(execution: &Execution, now: Timestamp) -> Option<StopReason> {
    timeout(execution).filter(|(at, _)| now >= *at).map(|(_, timeout)| timeout)
}

/// Returns the time until the current attempt exceeds a timeout, if it has one.
pub fn time_left(execution: &Execution, now: Timestamp) -> Option<Duration> {
    let (at, _) = timeout(execution).filter(|_| execution.stopping.is_none())?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// Returns the next timeout of the current attempt.
fn timeout(execution: &Execution) -> Option<(Timestamp, StopReason)> {
    let attempt = execution.attempts.last()?;
    let after = |since: Timestamp, seconds: u64| later(since, Duration::from_secs(seconds));
    match (execution.phase, attempt.running) {
        (Phase::Submitting | Phase::Pending, _) => {
            let since = match attempt.queued {
                Wait::None => attempt.begun,
                // A queue is expected to be long, and no remedy makes it shorter.
                Wait::Waits => return None,
                Wait::Until(at) => at,
            };
            Some((after(since, execution.policy.start_seconds), StopReason::StartTimeout))
        }
        (Phase::Running, Some(running)) => {
            let seconds = execution.policy.run_seconds?;
            Some((after(running, seconds), StopReason::RunTimeout))
        }
        _ => None,
    }
}

fn polled(
    execution: &mut Execution,
    status: Option<Status>,
    verdict: Option<Verdict>,
    now: Timestamp,
) -> Option<String> {
    if !execution.phase.may_be_alive() {
        return None;
    }
    execution.not_before = None;
    let Some(status) = status else {
        // The backend does not know an attempt before its creation. An attempt that was stopped before is never
        // created, so it is gone.
        if execution.phase == Phase::Submitting && execution.stopping.is_none() {
            return None;
        }
        return Some(attempt_ended(execution, None, verdict, now));
    };
    if let Some(attempt) = execution.attempts.last_mut() {
        let event_log = status.addresses.event_log.or(attempt.addresses.event_log.take());
        attempt.addresses = Addresses { event_log, ..status.addresses };
        attempt.cluster = status.cluster.or(attempt.cluster.take());
        let is_queued = status.obstacle.as_ref().is_some_and(|it| it.reason == Reason::Queued);
        attempt.queued = attempt.queued.after(is_queued, now);
    }
    execution.waiting = status.obstacle.map(|obstacle| obstacle.to_string());
    match (status.phase, status.end) {
        (At::Ended, Some(end)) => Some(attempt_ended(execution, Some(end), verdict, now)),
        (At::Running, _) if matches!(execution.phase, Phase::Submitting | Phase::Pending) => {
            if let Some(attempt) = execution.attempts.last_mut() {
                attempt.running = Some(now);
            }
            Some(enter_phase(execution, Phase::Running, "the driver runs"))
        }
        (At::Pending, _) if execution.phase == Phase::Submitting => {
            Some(enter_phase(execution, Phase::Pending, "the backend has it"))
        }
        _ => None,
    }
}

/// Handles the end of the current attempt, which is proved to be over.
fn attempt_ended(
    execution: &mut Execution,
    end: Option<End>,
    verdict: Option<Verdict>,
    now: Timestamp,
) -> String {
    let stopping = execution.stopping.take();
    // A driver that ended well because it was requested to stop has not completed its work.
    let succeeded = end.as_ref().is_some_and(|end| end.succeeded && !(end.stopped && stopping.is_some()));
    if succeeded {
        if let Some(attempt) = execution.attempts.last_mut() {
            attempt.end = end;
        }
        let why = if stopping.is_some() {
            "the driver had succeeded before it could be stopped"
        } else {
            "the driver succeeded"
        };
        return enter_phase(execution, Phase::Succeeded, why);
    }
    let timeout = |summary: String| Verdict::new(Some(Cause::Timeout), "timeout", summary);
    let verdict = match stopping {
        Some(stopping @ (StopReason::Cancelled { .. } | StopReason::Replaced { .. })) => {
            if let Some(attempt) = execution.attempts.last_mut() {
                attempt.end = end;
            }
            execution.stopping = Some(stopping);
            return enter_phase(execution, Phase::Cancelled, "nothing of it runs any more");
        }
        Some(StopReason::StartTimeout) => {
            timeout(format!("the driver did not run within {} s", execution.policy.start_seconds))
        }
        Some(StopReason::RunTimeout) => {
            let seconds = execution.policy.run_seconds.unwrap_or_default();
            timeout(format!("the driver ran for more than {seconds} s"))
        }
        None => verdict.unwrap_or_else(|| {
            let summary = match &end {
                Some(end) => format!("the driver failed{}", exit_description(end)),
                None => "the backend does not know of it any more".to_owned(),
            };
            Verdict::new(None, "unknown", summary)
        }),
    };
    attempt_failed(execution, end, verdict, now)
}

fn exit_description(end: &End) -> String {
    match (end.exit_code, end.signal) {
        (Some(code), _) => format!(" with exit code {code}"),
        (None, Some(signal)) => format!(" by signal {signal}"),
        (None, None) => String::new(),
    }
}

/// Handles a failed attempt that is gone: starts another one later, or ends the execution.
fn attempt_failed(execution: &mut Execution, end: Option<End>, verdict: Verdict, now: Timestamp) -> String {
    let Verdict { diagnosis, remedy, no_retry_reason } = verdict;
    let (class, summary) = (diagnosis.class, diagnosis.summary.clone());
    if let Some(attempt) = execution.attempts.last_mut() {
        attempt.end = end;
        attempt.diagnosis = Some(diagnosis);
    }
    let policy = &execution.policy;
    let wanted = policy.causes.is_empty() || class.is_some_and(|class| policy.causes.contains(&class));
    let attempt = execution.attempt();
    let over = match no_retry_reason {
        Some(why) if why == summary => Some(String::new()),
        Some(why) => Some(format!("; {why}")),
        None if !wanted => Some("; `retry.causes` does not have it".to_owned()),
        None if attempt >= policy.attempts => {
            let plural = if attempt == 1 { "" } else { "s" };
            Some(format!("; that was the last of {attempt} attempt{plural}"))
        }
        None if !remedy.is_empty() && execution.remedies >= policy.remedies => {
            Some(format!("; all {} remedies are used up", policy.remedies))
        }
        None => None,
    };
    if let Some(over) = over {
        return enter_phase(execution, Phase::Failed, format!("{summary}{over}"));
    }
    let wait = backoff(execution);
    execution.not_before = Some(later(now, wait));
    if !remedy.is_empty() {
        execution.remedies += 1;
        execution.adjusted.extend(remedy);
    }
    enter_phase(execution, Phase::Retrying, format!("{summary}; the next attempt is in {} s", wait.as_secs()))
}

/// Returns the wait before the next attempt, which doubles after each attempt.
fn backoff(execution: &Execution) -> Duration {
    let policy = &execution.policy;
    let doublings = execution.attempt().saturating_sub(1).min(32);
    let seconds = policy.backoff_seconds.saturating_mul(1 << doublings).min(policy.max_backoff_seconds);
    Duration::from_secs(seconds)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
