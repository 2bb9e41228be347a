//! Responses about jobs. They hold no token of a submit.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::types::{Backend, Cause, Fence, Phase, Streaming};
use crate::api::Record;
use crate::{execution, progress, request};

/// Returns a JSON response.
pub(super) fn json(value: &impl Serialize) -> Response {
    // JSON can't represent maps with keys other than text, and responses have none.
    let text = serde_json::to_string(value).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

/// One run of a job, with all of its attempts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Execution {
    #[schema(example = "01kah2v3q4c7t8w9x0y1z2a3b4")]
    id: String,
    /// Where the job was applied; none where it came along.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    domain: String,
    name: String,
    /// The fingerprint of the job that is run.
    job: String,
    /// Whether this very job was asked for, and not the one that was applied just then.
    pinned: bool,
    parameters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<Streaming>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclusive: Option<String>,
    /// The place among the jobs with the same key, of which a higher one replaces a lower one.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<Fence>,
    /// Who has asked for it.
    by: String,
    phase: Phase,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    /// What it waits for, where it can't go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// Nothing is done before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    policy: Policy,
    /// Where the next attempt is started.
    backend: Backend,
    /// The oldest first.
    attempts: Vec<Attempt>,
    /// How many attempts were given other resources than the one before.
    remedies: u32,
    /// What the next attempt is given that the job does not say.
    adjusted: BTreeMap<String, Adjustment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopping: Option<Stopping>,
    /// Every step from one phase to another, the first one first.
    history: Vec<Step>,
    /// How the queries of a stream are, as of late; none where that is not told.
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

/// How the queries of a stream are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// Those that run.
    queries: u32,
    /// When the last of them to do so has last finished a batch, or found nothing to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
    /// The batches that were finished since the driver started, and the rows that were read.
    batches: u64,
    rows: u64,
    /// Rows that came in a second, and those that can be taken in one, as of late.
    input_rate: f64,
    rate: f64,
    /// How long a batch takes, as of late.
    batch_millis: u64,
    /// The records of topics that are there and not read; none where no source tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<Timestamp>,
    /// The rows that are kept as state, and the memory that they take.
    state_rows: u64,
    state_bytes: u64,
}

impl From<progress::Progress> for Progress {
    fn from(it: progress::Progress) -> Self {
        Self {
            queries: it.queries,
            last: it.last,
            batches: it.batches,
            rows: it.rows,
            input_rate: it.input_rate,
            rate: it.rate,
            batch_millis: it.batch_millis,
            behind: it.behind,
            watermark: it.watermark,
            state_rows: it.state_rows,
            state_bytes: it.state_bytes,
        }
    }
}

/// Jobs, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// The newest first.
    pub(super) jobs: Vec<Execution>,
    /// The `page` of the next query; none where there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page: Option<String>,
}

/// How a job is to be tried, and how long it may take.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Policy {
    attempts: u32,
    remedies: u32,
    backoff_seconds: u64,
    max_backoff_seconds: u64,
    /// Empty where every failure is tried again that a further attempt can mend.
    causes: Vec<Cause>,
    start_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_seconds: Option<u64>,
    stop_seconds: u64,
    /// How long what a backend keeps of it is kept after it has ended.
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
    /// From 1 on.
    number: u32,
    backend: Backend,
    /// When it was decided upon: before anything was started.
    begun: Timestamp,
    /// When its driver was first seen to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// Settings that differ from what the job says, with the reason for each.
    adjusted: BTreeMap<String, Adjustment>,
}

impl From<execution::Attempt> for Attempt {
    fn from(attempt: execution::Attempt) -> Self {
        let execution::Attempt { number, backend, begun, running, end, diagnosis, adjusted } = attempt;
        Self {
            number,
            backend: backend.into(),
            begun,
            running,
            end: end.map(Into::into),
            diagnosis: diagnosis.map(Into::into),
            adjusted: settings(adjusted),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct End {
    at: Timestamp,
    succeeded: bool,
    /// It was asked to stop.
    stopped: bool,
    /// The driver's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    /// What the backend says of it.
    message: String,
}

impl From<dcp_gateway::End> for End {
    fn from(end: dcp_gateway::End) -> Self {
        let dcp_gateway::End { at, succeeded, stopped, exit_code, signal, message } = end;
        Self { at, succeeded, stopped, exit_code, signal, message }
    }
}

/// What a failed attempt failed of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Diagnosis {
    /// None where no further attempt can mend it, or nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Cause>,
    /// The name of the cause, of a closed list.
    cause: String,
    /// In a sentence.
    summary: String,
    /// The lines that say so.
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

/// Why an attempt is being stopped.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Stopping {
    /// Somebody asked for it.
    Cancelled { by: String },
    /// A later run of the same schedule takes its place.
    Replaced { by: String },
    /// The driver did not run in time.
    StartTimeout,
    /// The driver ran for too long.
    RunTimeout,
}

impl From<execution::Stopping> for Stopping {
    fn from(stopping: execution::Stopping) -> Self {
        match stopping {
            execution::Stopping::Cancelled { by } => Self::Cancelled { by },
            execution::Stopping::Replaced { by } => Self::Replaced { by: by.to_string() },
            execution::Stopping::StartTimeout => Self::StartTimeout,
            execution::Stopping::RunTimeout => Self::RunTimeout,
        }
    }
}

/// A step from one phase to another.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// From 0 on: who has read up to here goes on from the next one.
    number: u64,
    at: Timestamp,
    from: Phase,
    to: Phase,
    attempt: u32,
    /// In a sentence.
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
#[expect(dead_code, reason = "rows are told as they are read, and never held")]
pub(super) struct Row(serde_json::Value);
