//! Automatic remediation (AR): finds the cause of a failed attempt, and the settings that the next attempt needs.
//!
//! Causes are a closed list, rules are data (`failure/rules.rs`), and a remedy changes at most one setting. A driver's
//! log is split into Spark's events and the program's own output, because only Spark's events prove anything about a
//! cluster.

mod cause;
mod error;
mod events;
mod remedy;
mod rules;

use dcp_gateway::{End, Reason, Source};
use dcp_model::primitive::CoreEtlJob;
use dcp_model::secrets;

pub use cause::{Cause, Remedy};

use crate::driver_log::{Level, Log, as_text, is_frame};
use crate::execution::{Attempt, Diagnosis};
use crate::machine::Verdict;
use error::{Error, Exception, Language};
use events::Finding;

/// The evidence that a failed attempt left.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub end: &'a End,
    /// The driver's log; only its end if it is long.
    pub log: &'a str,
}

/// Maximum number of lines of evidence that are stored.
const MAX_EVIDENCE_LINES: usize = 16;
/// Maximum width of a line, for readability.
const MAX_LINE_WIDTH: usize = 400;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// Exit codes by which a shell, a container and spark-submit report these signals.
const SIGKILL_EXIT_CODE: i32 = 128 + SIGKILL;
const SIGTERM_EXIT_CODE: i32 = 128 + SIGTERM;
/// Spark's own exit code for a full heap.
const FULL_HEAP_EXIT_CODE: i32 = 52;
/// The exit code of a JVM with `-XX:+ExitOnOutOfMemoryError`, and the beginning of the line that it prints.
const OUT_OF_MEMORY_EXIT_CODE: i32 = 3;
const OUT_OF_MEMORY_LINE: &str = "Terminating due to java.lang.OutOfMemoryError: ";
/// The messages of a full heap.
const FULL_HEAP: [&str; 2] = ["Java heap space", "GC overhead limit exceeded"];

/// Returns the cause of a failure, with the lines that prove it.
///
/// The end of the driver's process decides first, then the error that ended the program, then Spark's own events. The
/// program's output never proves a failure of a node, an executor, a container or the cluster.
pub fn diagnose(evidence: Evidence<'_>) -> (Cause, Diagnosis) {
    let Evidence { end, log } = evidence;
    // A private key has several lines, so secrets are hidden before lines are chosen.
    let log = as_text(log);
    let log = secrets::redact(&log);
    let log = Log::read(&log);
    let error = Error::last(&log.program);
    let found = cause_of_end(end).or_else(|| out_of_memory_of_ended_jvm(end, &log));
    let found = found.or_else(|| cause_of_log(end, &log, error.as_ref()));
    let found = cause_of_executors(end, found.as_ref(), &log).or(found);
    let (cause, lines) = found.unwrap_or_else(|| (Cause::Unknown, last_lines(&log)));
    let detail = match cause {
        Cause::UserCodePython | Cause::UserCodeJvm => error
            .as_ref()
            .and_then(Error::most_specific)
            .map(|exception| exception.head)
            .or(lines.last().copied()),
        Cause::Backend | Cause::DriverKilled => lines.first().copied(),
        Cause::ClusterRights => lines.last().copied().map(missing_right),
        cause if cause.is_detailed_by_last_line() => lines.last().copied(),
        _ => None,
    };
    let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    let summary = match detail.map(str::trim) {
        Some(detail) => {
            format!("{}: {}", cause.description(), truncated(&without_pyspark_modules(detail), 200))
        }
        None if lines.is_empty() || cause == Cause::Unknown => {
            format!("{}{}", cause.description(), exit_description(end))
        }
        None => cause.description().to_owned(),
    };
    let evidence =
        lines.iter().take(MAX_EVIDENCE_LINES).map(|line| truncated(line, MAX_LINE_WIDTH)).collect();
    (cause, Diagnosis { class: cause.class(), cause: cause.name().to_owned(), summary, evidence })
}

/// Returns the part of a message of Kubernetes that names the account and the right that it lacks.
fn missing_right(line: &str) -> &str {
    let (_, right) = line.split_once(rules::FORBIDDEN).unwrap_or(("", line));
    right.split(". Received status").next().unwrap_or(right)
}

/// Returns the cause by the end of the driver's process, and by its backend's reason for it.
fn cause_of_end(end: &End) -> Option<Finding<'_>> {
    let cause = match end.reason {
        Reason::Exited => match (end.exit_code, end.signal) {
            (Some(SIGKILL_EXIT_CODE | SIGTERM_EXIT_CODE), _) | (_, Some(SIGKILL | SIGTERM)) => {
                Cause::DriverKilled
            }
            _ => return None,
        },
        Reason::Preparation => Cause::Dependencies,
        Reason::OutOfMemory => Cause::DriverContainer,
        Reason::ImageUnavailable => Cause::ImagePull,
        Reason::Unschedulable | Reason::Queued | Reason::QuotaExceeded => Cause::Scheduling,
        Reason::Forbidden => Cause::ClusterRights,
        Reason::Evicted | Reason::NodeLost | Reason::Deleted => Cause::NodeLost,
        Reason::NotStarted | Reason::Ending | Reason::BackendFailed => Cause::Backend,
    };
    let lines = end.evidence.iter().flat_map(|evidence| evidence.text.lines());
    Some((cause, lines.filter(|line| !line.trim().is_empty()).collect()))
}

/// Returns the cause if the backend saw an executor exceed its memory, and the log does not have a better one. Spark does
/// not learn of it if only a Python worker in the container was killed.
fn cause_of_executors<'a>(end: &'a End, found: Option<&Finding<'a>>, log: &Log<'a>) -> Option<Finding<'a>> {
    let is_lost_executor = |line: &str| {
        ["ExecutorLostFailure", "Python worker exited unexpectedly", "Max number of executor failures"]
            .iter()
            .any(|text| line.contains(text))
    };
    let has_lost_executor = || {
        let of_events = log.events.iter().flat_map(|event| &event.lines);
        log.program.iter().chain(of_events).any(|line| is_lost_executor(line))
    };
    match found {
        Some((Cause::ExecutorLost | Cause::ShuffleLost | Cause::NodeLost | Cause::Unknown, _)) | None => {}
        // A program can print what looks like the end of an exception that Spark has logged.
        Some((Cause::UserCodePython | Cause::UserCodeJvm | Cause::ExecutorHeap, _))
            if has_lost_executor() => {}
        Some(_) => return None,
    }
    let killed = end.evidence.iter().filter(|evidence| {
        evidence.source == Source::Executor && evidence.reason == Some(Reason::OutOfMemory)
    });
    let lines: Vec<&str> = killed.map(|evidence| evidence.text.as_str()).collect();
    (!lines.is_empty()).then_some((Cause::ExecutorContainer, lines))
}

/// Detects the full heap of a JVM that stopped responding to Python. The error in Python has no cause then, and the JVM
/// itself wrote which exception ended its thread.
fn full_heap_of_silent_jvm<'a>(log: &Log<'a>, error: &Error<'a>) -> Option<Finding<'a>> {
    const UNCAUGHT: &str = "Exception in thread \"";
    let is_silent = |exception: &Exception<'_>| {
        // The JVM may write its line in the middle of Python's traceback.
        exception.head.starts_with(UNCAUGHT)
            || matches!(exception.class(), "py4j.protocol.Py4JError" | "py4j.protocol.Py4JNetworkError")
    };
    let is_full = |line: &&&str| {
        line.starts_with(UNCAUGHT)
            && FULL_HEAP.iter().any(|it| line.contains(&format!("\" java.lang.OutOfMemoryError: {it}")))
    };
    let is_python = matches!(error.language, Language::Python);
    let line = log
        .program
        .iter()
        .rev()
        .find(is_full)
        .filter(|_| is_python && error.exceptions.iter().all(is_silent))?;
    Some((Cause::DriverHeap, vec![line]))
}

/// Detects a JVM that ended because it was out of memory. An error in Python is only a consequence of it.
fn out_of_memory_of_ended_jvm<'a>(end: &End, log: &Log<'a>) -> Option<Finding<'a>> {
    let line = log.program.iter().rev().find(|line| line.starts_with(OUT_OF_MEMORY_LINE));
    let line = line.filter(|_| end.exit_code == Some(OUT_OF_MEMORY_EXIT_CODE))?;
    let is_heap = FULL_HEAP.iter().any(|it| line[OUT_OF_MEMORY_LINE.len()..].starts_with(it));
    Some((if is_heap { Cause::DriverHeap } else { Cause::UserCodeJvm }, vec![line]))
}

/// Returns the cause by the error that ended the program, or by Spark's events if the error is a consequence of them.
fn cause_of_log<'a>(end: &End, log: &Log<'a>, error: Option<&Error<'a>>) -> Option<Finding<'a>> {
    let Some(error) = error else {
        let cannot_open = |line: &&&str| line.contains("can't open file") && line.contains("[Errno 2]");
        if let Some(line) = log.program.last().filter(cannot_open).filter(|_| end.exit_code == Some(2)) {
            return Some((Cause::MissingData, vec![line]));
        }
        let found = events::has_given_up(&log.events).then(|| events::newest_cause(&log.events)).flatten();
        return found.or_else(|| {
            (end.exit_code == Some(FULL_HEAP_EXIT_CODE)).then_some((Cause::DriverHeap, Vec::new()))
        });
    };
    if let Some(found) = full_heap_of_silent_jvm(log, error) {
        return Some(found);
    }
    let aborted = error.exceptions.iter().any(Exception::is_job_abort);
    let named = error
        .exceptions
        .iter()
        .find_map(|exception| Some((rules::cause_of_exception(exception)?, exception.head)));
    match named {
        // The exception may come from a task of the job, on an executor.
        Some((Cause::DriverHeap, _)) if aborted => {}
        Some((cause, head)) => return Some((cause, error.lines_ending_with(head))),
        None => {}
    }
    let program = || match error.language {
        Language::Python => Cause::UserCodePython,
        Language::Jvm => Cause::UserCodeJvm,
    };
    if !aborted || error.exceptions.iter().skip(1).any(|exception| !exception.is_from_spark) {
        return Some((program(), error.lines()));
    }
    match events::newest_cause(&log.events) {
        Some((Cause::UserCodePython | Cause::UserCodeJvm, _)) => Some((program(), error.lines())),
        Some(found) => Some(found),
        // Spark did not log the reason, so only the program's output mentions it.
        None if error.exceptions.iter().any(|exception| is_loss(exception.head)) => {
            Some((Cause::Unknown, error.lines()))
        }
        None => Some((program(), error.lines())),
    }
}

fn is_loss(head: &str) -> bool {
    ["ExecutorLostFailure", "FetchFailed", "OutOfMemoryError", "SparkContext was shut down"]
        .iter()
        .any(|it| head.contains(it))
}

/// Returns the cause of a failure, and the settings of the next attempt.
pub fn judge(evidence: Evidence<'_>, job: &CoreEtlJob, attempt: &Attempt) -> Verdict {
    let (cause, diagnosis) = diagnose(evidence);
    match remedy::remedy(cause, job, attempt) {
        Ok(remedy) => Verdict { diagnosis, remedy, no_retry_reason: None },
        Err(why) => {
            Verdict { diagnosis, remedy: std::collections::BTreeMap::new(), no_retry_reason: Some(why) }
        }
    }
}

fn exit_description(end: &End) -> String {
    match (end.exit_code, end.signal) {
        (Some(code), _) => format!(", with exit code {code}"),
        (None, Some(signal)) => format!(", by signal {signal}"),
        (None, None) => String::new(),
    }
}

/// Returns the last meaningful lines: errors that Spark logged, and lines of the program.
fn last_lines<'a>(log: &Log<'a>) -> Vec<&'a str> {
    let errors =
        log.events.iter().filter(|event| event.header.level >= Level::Error).map(|event| event.lines[0]);
    let program = log.program.iter().copied().filter(|line| !line.trim().is_empty() && !is_frame(line));
    let newest =
        |lines: Vec<&'a str>| lines.into_iter().rev().take(MAX_EVIDENCE_LINES / 2).collect::<Vec<_>>();
    let errors = newest(errors.collect());
    let program = newest(program.collect());
    errors.into_iter().rev().chain(program.into_iter().rev()).collect()
}

/// Returns an exception without PySpark's modules in front of it.
fn without_pyspark_modules(head: &str) -> String {
    let rest = head.strip_prefix("pyspark.errors.exceptions.");
    rest.and_then(|rest| rest.split_once('.')).map_or(head, |(_, rest)| rest).to_owned()
}

fn truncated(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
