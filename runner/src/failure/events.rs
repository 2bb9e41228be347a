//! Finds the cause of a failure in Spark's events: the newest event that names a cause decides.

use super::error::{Error, Link};
use super::{Cause, rules};
use crate::driver_log::{Event, Level};

/// A cause with the lines that prove it.
pub(super) type Found<'a> = (Cause, Vec<&'a str>);

/// Loggers that report why an executor was lost.
const LOSS: [&str; 8] = [
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
pub(super) fn cause<'a>(events: &[Event<'a>]) -> Option<Found<'a>> {
    let mut consequence: Option<Found<'a>> = None;
    for event in events.iter().rev().filter(|it| it.header.level >= Level::Warn) {
        let found = match &consequence {
            None => of_event(event),
            Some(_) => lost_executor(event),
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

fn of_event<'a>(event: &Event<'a>) -> Option<Found<'a>> {
    let message = event.header.message;
    match event.header.logger {
        "TaskSetManager" => of_task(event),
        "SparkUncaughtExceptionHandler" | "Executor" | "SparkContext" | "MicroBatchExecution" => {
            of_links(event, &links(event))
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
        _ => lost_executor(event),
    }
}

/// Returns the cause of a lost task.
fn of_task<'a>(event: &Event<'a>) -> Option<Found<'a>> {
    let message = event.header.message;
    if message.contains("bigger than spark.driver.maxResultSize") {
        return Some((Cause::ResultTooLarge, vec![event.lines[0]]));
    }
    // `Lost task 0.3 in stage 2.0 (TID 5) (10.0.0.1 executor 0): reason`
    let (place, reason) = message.strip_prefix("Lost task ")?.split_once("): ")?;
    if reason.starts_with("TaskKilled") {
        return None;
    }
    if reason.starts_with("ExecutorLostFailure") {
        let cause = reason.split_once("Reason: ").and_then(|(_, reason)| rules::of_executor(reason));
        return Some((cause.unwrap_or(Cause::ExecutorLost), vec![event.lines[0]]));
    }
    if reason.starts_with("FetchFailed") {
        return Some((Cause::ShuffleLost, containing(event, "FetchFailed")));
    }
    let chain = links(event);
    let on_driver = place.ends_with("executor driver");
    match of_links(event, &chain) {
        Some((Cause::DriverHeap, lines)) if !on_driver => Some((Cause::ExecutorHeap, lines)),
        None if chain.iter().any(|link| !link.of_spark) => Some((Cause::UserCodePython, heads(&chain))),
        None if !chain.is_empty() => Some((Cause::UserCodeJvm, heads(&chain))),
        found => found,
    }
}

fn lost_executor<'a>(event: &Event<'a>) -> Option<Found<'a>> {
    let message = event.header.message;
    let is_loss = LOSS.contains(&event.header.logger)
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
    let cause = rules::of_executor(&[&[message], &below[..]].concat().join("\n"))?;
    let says = |line: &&str| line.contains("exited with") || line.contains("reason:");
    Some((cause, [event.lines[0]].into_iter().chain(below.into_iter().filter(says).take(3)).collect()))
}

fn links<'a>(event: &Event<'a>) -> Vec<Link<'a>> {
    Error::of_event(event.header.message, &event.lines[1..])
}

fn of_links<'a>(event: &Event<'a>, links: &[Link<'a>]) -> Option<Found<'a>> {
    let found = links.iter().find_map(|link| Some((rules::of_exception(link)?, link.head)));
    found.map(|(cause, head)| {
        let first = event.lines[0];
        (cause, if first.contains(head) { vec![first] } else { vec![first, head] })
    })
}

fn heads<'a>(links: &[Link<'a>]) -> Vec<&'a str> {
    links.iter().flat_map(|link| link.own.iter().copied().chain([link.head])).collect()
}

fn containing<'a>(event: &Event<'a>, text: &str) -> Vec<&'a str> {
    event.lines.iter().copied().filter(|line| line.contains(text)).take(2).collect()
}
