//! Responses about jobs. They hold no token of a submit.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::types::{Backend, Cause, Fence, Phase, Streaming};
use crate::api::{self, Record};
use crate::{execution, progress, request};

/// One run of a job, with all of its attempts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Execution {
    #[schema(example = "01kah2v3q4c7t8w9x0y1z2a3b4")]
    id: String,
    /// Scope to which the job was applied; none if it was submitted inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    domain: String,
    name: String,
    /// Fingerprint of the job that runs.
    job: String,
    /// Set if the caller requested this revision, and not the one that was applied at that time.
    pinned: bool,
    parameters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<Streaming>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclusive: Option<String>,
    /// Order among the jobs with the same key: a higher one replaces a lower one.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<Fence>,
    /// The caller that submitted the job.
    by: String,
    phase: Phase,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    /// The reason why the job can't proceed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// Time before which no action is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    policy: Policy,
    /// The backend of the next attempt.
    backend: Backend,
    /// Sorted from the oldest to the newest.
    attempts: Vec<Attempt>,
    /// Number of attempts that were given other resources than the one before.
    remedies: u32,
    /// Settings of the next attempt that differ from the job's own.
    adjusted: BTreeMap<String, Adjustment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopping: Option<StopReason>,
    /// All transitions between phases, the oldest first.
    history: Vec<Step>,
    /// Recent status of a stream's queries; none if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

impl From<Record> for Execution {
    fn from(record: Record) -> Self {
        let Record { request, execution, history, version: _, owner: _, progress } = record;
        let request::Request { token: _, scope, domain, name, job, pinned, parameters, .. } = request;
        let request::Request { streaming, exclusive, order, fence, by, .. } = request;
        let execution::Execution { id, phase, policy, backend, created, attempts, stopping, .. } = execution;
        let execution::Execution { not_before, waiting, remedies, adjusted, ended, .. } = execution;
        Self {
            id: id.to_string(),
            scope,
            domain,
            name,
            job: job.as_str().to_owned(),
            pinned,
            parameters,
            streaming: streaming.map(Into::into),
            exclusive,
            order,
            fence: fence.map(Into::into),
            by,
            phase: phase.into(),
            created,
            ended,
            waiting,
            not_before,
            policy: policy.into(),
            backend: backend.into(),
            attempts: attempts.into_iter().map(Into::into).collect(),
            remedies,
            adjusted: settings(adjusted),
            stopping: stopping.map(Into::into),
            history: (0..).zip(history).map(|(number, step)| Step::of(number, step)).collect(),
            progress: progress.map(Into::into),
        }
    }
}

/// The status of a stream's queries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Number of running queries.
    queries: u32,
    /// Each query has a time of its last batch or idle trigger; this is the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<Timestamp>,
    /// Batches finished and rows read since the driver started.
    batches: u64,
    rows: u64,
    /// Recent input rate and processing rate, in rows per second.
    input_rate: f64,
    processing_rate: f64,
    /// Recent batch duration of the slowest query.
    batch_millis: u64,
    /// Lag: records of topics that were not read yet; none if no source reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<Timestamp>,
    /// Rows of state, and the memory that they use.
    state_rows: u64,
    state_bytes: u64,
}

impl From<progress::Progress> for Progress {
    fn from(it: progress::Progress) -> Self {
        Self {
            queries: it.queries,
            last_activity: it.last_activity,
            batches: it.batches,
            rows: it.rows,
            input_rate: it.input_rate,
            processing_rate: it.processing_rate,
            batch_millis: it.batch_millis,
            lag: it.lag,
            watermark: it.watermark,
            state_rows: it.state_rows,
            state_bytes: it.state_bytes,
        }
    }
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// Sorted from the newest to the oldest.
    pub(super) jobs: Vec<Execution>,
    /// The `page` of the next query; none on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page: Option<String>,
}

/// Retries and timeouts of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Policy {
    attempts: u32,
    remedies: u32,
    backoff_seconds: u64,
    max_backoff_seconds: u64,
    /// Causes that are retried. If it is empty, every failure is retried that a further attempt can fix.
    causes: Vec<Cause>,
    start_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_seconds: Option<u64>,
    stop_seconds: u64,
    /// Seconds for which a backend keeps its data of the job after the end.
    ttl_seconds: u64,
}

impl From<execution::Policy> for Policy {
    fn from(policy: execution::Policy) -> Self {
        let execution::Policy { attempts, remedies, backoff_seconds, max_backoff_seconds, causes, .. } =
            policy;
        let execution::Policy { start_seconds, run_seconds, stop_seconds, ttl_seconds, .. } = policy;
        let causes = causes.into_iter().map(Into::into).collect();
        Self {
            attempts,
            remedies,
            backoff_seconds,
            max_backoff_seconds,
            causes,
            start_seconds,
            run_seconds,
            stop_seconds,
            ttl_seconds,
        }
    }
}

/// One start of a job at a backend.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    /// Counts from 1.
    number: u32,
    backend: Backend,
    /// Time of the decision to start the attempt, before anything was started.
    begun: Timestamp,
    /// Time at which the driver was first seen running.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Timestamp>,
    addresses: Addresses,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// Settings that differ from the job's own, with the reason for each.
    adjusted: BTreeMap<String, Adjustment>,
}

impl From<execution::Attempt> for Attempt {
    fn from(attempt: execution::Attempt) -> Self {
        let execution::Attempt { number, backend, begun, running, addresses, end, diagnosis, adjusted } =
            attempt;
        let dcp_gateway::Addresses { ui, connect, event_log } = addresses;
        Self {
            number,
            backend: backend.into(),
            begun,
            running,
            addresses: Addresses { ui, connect, event_log },
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
    /// No node has room for a pod, or satisfies its constraints.
    Unschedulable,
    QuotaExceeded,
    /// The account of the backend or of the application lacks a permission.
    Forbidden,
    /// A pod was evicted or preempted.
    Evicted,
    NodeLost,
    /// Another user deleted the application or its pods.
    Deleted,
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
            Of::Unschedulable => Self::Unschedulable,
            Of::QuotaExceeded => Self::QuotaExceeded,
            Of::Forbidden => Self::Forbidden,
            Of::Evicted => Self::Evicted,
            Of::NodeLost => Self::NodeLost,
            Of::Deleted => Self::Deleted,
            Of::BackendFailed => Self::BackendFailed,
        }
    }
}

/// A fact that supports a reason.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Evidence {
    source: Source,
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
    /// The status of a container.
    Container,
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
            Of::Pod => Source::Pod,
            Of::Event => Source::Event,
        };
        Self { source, text: evidence.text }
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
struct Adjustment {
    value: String,
    why: String,
}

fn settings(adjusted: BTreeMap<String, execution::Adjustment>) -> BTreeMap<String, Adjustment> {
    let one = |(key, execution::Adjustment { value, why })| (key, Adjustment { value, why });
    adjusted.into_iter().map(one).collect()
}

/// The reason for which an attempt is being stopped.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum StopReason {
    /// A user or program requested the stop.
    Cancelled { by: String },
    /// A later run of the same schedule replaces it.
    Replaced { by: String },
    /// The driver did not run before the start timeout.
    StartTimeout,
    /// The driver ran longer than the run timeout.
    RunTimeout,
}

impl From<execution::StopReason> for StopReason {
    fn from(stopping: execution::StopReason) -> Self {
        match stopping {
            execution::StopReason::Cancelled { by } => Self::Cancelled { by },
            execution::StopReason::Replaced { by } => Self::Replaced { by: by.to_string() },
            execution::StopReason::StartTimeout => Self::StartTimeout,
            execution::StopReason::RunTimeout => Self::RunTimeout,
        }
    }
}

/// A transition from one phase to another.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// Counts from 0. A client that has read up to here continues with the next number.
    number: u64,
    at: Timestamp,
    from: Phase,
    to: Phase,
    attempt: u32,
    /// One sentence.
    why: String,
}

impl Step {
    pub(super) fn of(number: u64, step: execution::Transition) -> Self {
        let execution::Transition { at, from, to, attempt, why } = step;
        Self { number, at, from: from.into(), to: to.into(), attempt, why }
    }
}

/// A row of a result, by the names of its columns.
#[derive(ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "rows are streamed as they are read, and never held")]
pub(super) struct Row(serde_json::Value);

/// A part of a log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogLine {
    attempt: u32,
    /// The position after this part, for the parameter `cursor`.
    cursor: String,
    /// The bytes in base64, as a part may begin or end within a character.
    data: String,
}

impl From<api::LogPart> for LogLine {
    fn from(part: api::LogPart) -> Self {
        let api::LogPart { attempt, next, bytes } = part;
        Self { attempt, cursor: next.as_str().to_owned(), data: BASE64_STANDARD.encode(bytes) }
    }
}
