//! Finds the cause of a failure in Spark's events: the newest event that names a cause decides.

use super::error::{Error, Exception};
use super::{Cause, rules};
use crate::driver_log::{Event, Level};

/// A cause with the lines that prove it.
pub(super) type Finding<'a> = (Cause, Vec<&'a str>);

/// Loggers that report why an executor was lost.
const EXECUTOR_LOSS_LOGGERS: [&str; 8] = [
    "TaskSchedulerImpl",
    "YarnScheduler",
    "YarnAllocator",
    "YarnSchedulerBackend",
    "KubernetesClusterSchedulerBackend",
    "ExecutorPodsLifecycleManager",
    "StandaloneSchedulerBackend",
    "HeartbeatReceiver",
];

/// Returns whether Spark itself gave up. Without such an event, Spark recovered from the errors that it logged.
pub(super) fn has_given_up(events: &[Event<'_>]) -> bool {
    events.iter().any(|event| {
        let message = event.header.message;
        event.header.level >= Level::Error
            && match event.header.logger {
                "TaskSetManager" => message.contains("aborting job") || message.contains("maxResultSize"),
                "DAGScheduler" => message.contains("the maximum allowable number of times"),
                "MicroBatchExecution" | "ContinuousExecution" => message.contains("terminated with error"),
                "SparkUncaughtExceptionHandler" | "SparkContext" | "SparkSubmit" | "ApplicationMaster" => {
                    true
                }
                _ => false,
            }
    })
}

/// Returns the cause that the newest event names. Lost shuffle data and lost executors are consequences: if an older
/// event names their cause, that is returned.
pub(super) fn newest_cause<'a>(events: &[Event<'a>]) -> Option<Finding<'a>> {
    let mut consequence: Option<Finding<'a>> = None;
    for event in events.iter().rev().filter(|it| it.header.level >= Level::Warn) {
        let found = match &consequence {
            None => cause_of_event(event),
            Some(_) => cause_of_lost_executor(event),
        };
        match found {
            Some((Cause::ShuffleLost | Cause::ExecutorLost, _)) if consequence.is_some() => {}
            Some(found @ (Cause::ShuffleLost | Cause::ExecutorLost, _)) => consequence = Some(found),
            Some(found) => return Some(found),
            None => {}
        }
    }
    consequence
}

fn cause_of_event<'a>(event: &Event<'a>) -> Option<Finding<'a>> {
    let message = event.header.message;
    match event.header.logger {
        "TaskSetManager" => cause_of_lost_task(event),
        "SparkUncaughtExceptionHandler" | "Executor" | "SparkContext" | "MicroBatchExecution" => {
            cause_of_exceptions(event, &exceptions(event))
        }
        "ExecutorPodsAllocator" if event.lines.iter().any(|line| line.contains("exceeded quota")) => {
            Some((Cause::Scheduling, containing(event, "exceeded quota")))
        }
        "SparkSubmit" if message.contains("Failed to load class") => {
            Some((Cause::UserCodeJvm, vec![message]))
        }
        "DAGScheduler" if message.contains("the maximum allowable number of times") => {
            Some((Cause::ShuffleLost, vec![event.lines[0]]))
        }
        _ => cause_of_lost_executor(event),
    }
}

/// Returns the cause of a lost task.
fn cause_of_lost_task<'a>(event: &Event<'a>) -> Option<Finding<'a>> {
    let message = event.header.message;
    if message.contains("bigger than spark.driver.maxResultSize") {
        return Some((Cause::ResultTooLarge, vec![event.lines[0]]));
    }
    // `Lost task 0.3 in stage 2.0 (TID 5) (10.0.0.1 executor 0): reason`
    let (location, reason) = message.strip_prefix("Lost task ")?.split_once("): ")?;
    if reason.starts_with("TaskKilled") {
        return None;
    }
    if reason.starts_with("ExecutorLostFailure") {
        let cause =
            reason.split_once("Reason: ").and_then(|(_, reason)| rules::cause_of_executor_loss(reason));
        return Some((cause.unwrap_or(Cause::ExecutorLost), vec![event.lines[0]]));
    }
    if reason.starts_with("FetchFailed") {
        return Some((Cause::ShuffleLost, containing(event, "FetchFailed")));
    }
    let chain = exceptions(event);
    let on_driver = location.ends_with("executor driver");
    match cause_of_exceptions(event, &chain) {
        Some((Cause::DriverHeap, lines)) if !on_driver => Some((Cause::ExecutorHeap, lines)),
        None if chain.iter().any(|exception| !exception.is_from_spark) => {
            Some((Cause::UserCodePython, heads(&chain)))
        }
        None if !chain.is_empty() => Some((Cause::UserCodeJvm, heads(&chain))),
        found => found,
    }
}

fn cause_of_lost_executor<'a>(event: &Event<'a>) -> Option<Finding<'a>> {
    let message = event.header.message;
    let is_loss = EXECUTOR_LOSS_LOGGERS.contains(&event.header.logger)
        && ["Lost executor", "remove executor", "Removing executor", "Container killed", "executor with id"]
            .iter()
            .any(|it| message.contains(it));
    if !is_loss {
        return None;
    }
    // If the reason has its own lines, it begins below the header, in the wording of Spark's backend for Kubernetes.
    let is_reason =
        |line: &&str| ["The executor with id ", "The API gave ", "\t"].iter().any(|it| line.starts_with(it));
    let below = event.lines[1..].iter().copied().filter(is_reason);
    let below: Vec<&str> = if message.trim_end().ends_with(':') { below.collect() } else { Vec::new() };
    let cause = rules::cause_of_executor_loss(&[&[message], &below[..]].concat().join("\n"))?;
    let says = |line: &&str| line.contains("exited with") || line.contains("reason:");
    Some((cause, [event.lines[0]].into_iter().chain(below.into_iter().filter(says).take(3)).collect()))
}

fn exceptions<'a>(event: &Event<'a>) -> Vec<Exception<'a>> {
    Error::exceptions_of_event(event.header.message, &event.lines[1..])
}

fn cause_of_exceptions<'a>(event: &Event<'a>, exceptions: &[Exception<'a>]) -> Option<Finding<'a>> {
    let found =
        exceptions.iter().find_map(|exception| Some((rules::cause_of_exception(exception)?, exception.head)));
    found.map(|(cause, head)| {
        let first = event.lines[0];
        (cause, if first.contains(head) { vec![first] } else { vec![first, head] })
    })
}

fn heads<'a>(exceptions: &[Exception<'a>]) -> Vec<&'a str> {
    exceptions
        .iter()
        .flat_map(|exception| exception.own_frame.iter().copied().chain([exception.head]))
        .collect()
}

fn containing<'a>(event: &Event<'a>, text: &str) -> Vec<&'a str> {
    event.lines.iter().copied().filter(|line| line.contains(text)).take(2).collect()
}
