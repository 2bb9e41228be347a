//! Responses about jobs. They hold no token of a submit.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::attempt::{Adjustment, Attempt, settings};
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
    /// The person for whom `by` submitted, if `by` reported one.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
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
        let request::Request { streaming, exclusive, order, fence, by, on_behalf_of, .. } = request;
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
            on_behalf_of,
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
