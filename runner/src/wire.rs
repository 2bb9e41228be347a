//! Conversions between the Runner's types and the messages of `dcp.runner.v1`, for client and server.

mod attempt;
pub(crate) mod error;

use std::collections::HashMap;
use std::sync::Arc;

use dcp_model::manifest::{Backend, Cause, Duration, Trigger};
use dcp_model::primitive::Fingerprint;
use dcp_proto::runner::v1 as proto;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{Holder, Record};
use crate::cache::Cache;
use crate::execution::{Execution, Id, Phase, Policy, Transition};
use crate::progress::Progress;
use crate::request::{CanonicalJob, Definition, Fence, Reference, Request, Submit};
use crate::streaming::Streaming;

/// The error describes an invalid message.
pub type Result<T> = std::result::Result<T, String>;

const PHASES: [(Phase, proto::Phase); 9] = [
    (Phase::Queued, proto::Phase::Queued),
    (Phase::Submitting, proto::Phase::Submitting),
    (Phase::Pending, proto::Phase::Pending),
    (Phase::Running, proto::Phase::Running),
    (Phase::Retrying, proto::Phase::Retrying),
    (Phase::Cancelling, proto::Phase::Cancelling),
    (Phase::Succeeded, proto::Phase::Succeeded),
    (Phase::Failed, proto::Phase::Failed),
    (Phase::Cancelled, proto::Phase::Cancelled),
];

pub(crate) fn phase(phase: Phase) -> i32 {
    let row = PHASES.iter().find(|(ours, _)| *ours == phase);
    row.map_or(proto::Phase::Unspecified, |(_, theirs)| *theirs).into()
}

pub(crate) fn read_phase(number: i32) -> Result<Phase> {
    let row = PHASES.iter().find(|(_, theirs)| *theirs as i32 == number);
    row.map(|(ours, _)| *ours).ok_or_else(|| format!("phase {number} is not known to this dcp"))
}

pub(crate) fn read_id(text: &str) -> Result<Id> {
    Id::parse(text).ok_or_else(|| "an id is not of lower-case letters and digits".to_owned())
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    let nanosecond = at.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanosecond.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanosecond.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

fn read_time(at: Option<prost_types::Timestamp>) -> Result<Timestamp> {
    let at = at.ok_or_else(|| "a time is missing".to_owned())?;
    Timestamp::new(at.seconds, at.nanos).map_err(|_| "a time is out of its range".to_owned())
}

fn read_optional_time(at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>> {
    at.map(|at| read_time(Some(at))).transpose()
}

/// Returns the text of an enum's value, as in manifests.
fn enum_text(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read_enum<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(text.into()).map_err(|_| format!("`{text}` is not known to this dcp"))
}

fn read_fingerprint(text: &str) -> Result<Fingerprint> {
    Fingerprint::parse(text).ok_or_else(|| "a fingerprint is not a SHA-256 in hexadecimal".to_owned())
}

fn fence(fence: &Fence) -> proto::Fence {
    let Fence { lease, epoch } = fence;
    proto::Fence { lease: lease.clone(), epoch: *epoch }
}

fn read_fence(fence: proto::Fence) -> Fence {
    let proto::Fence { lease, epoch } = fence;
    Fence { lease, epoch }
}

fn map<K: Clone + std::hash::Hash + Eq + Ord, V, W>(
    from: impl IntoIterator<Item = (K, V)>,
    with: impl Fn(V) -> W,
) -> HashMap<K, W> {
    from.into_iter().map(|(key, value)| (key, with(value))).collect()
}

pub(crate) fn submit(submit: &Submit) -> proto::SubmitRequest {
    let Submit { token, job, parameters, streaming, exclusive, order, fence, by: _, on_behalf_of } = submit;
    let job = match job {
        Definition::Inline(canonical) => proto::submit_request::Job::Definition(canonical.text().to_string()),
        Definition::Applied(Reference { scope, domain, name, fingerprint }) => {
            proto::submit_request::Job::Reference(proto::Reference {
                scope: scope.clone(),
                domain: domain.clone(),
                name: name.clone(),
                fingerprint: fingerprint.as_ref().map(|it| it.as_str().to_owned()),
            })
        }
    };
    proto::SubmitRequest {
        token: token.clone(),
        job: Some(job),
        parameters: map(parameters.clone(), |it| it),
        streaming: streaming.as_ref().map(self::streaming),
        exclusive: exclusive.clone(),
        fence: fence.as_ref().map(self::fence),
        order: *order,
        on_behalf_of: on_behalf_of.clone(),
    }
}

/// A cache of parsed definitions, because most are submitted repeatedly.
#[derive(Debug)]
pub(crate) struct DefinitionCache(Cache<String, Arc<CanonicalJob>>);

impl DefinitionCache {
    /// Creates a cache for about `most` bytes of text. It holds up to twice as much, and the parsed jobs take several
    /// times more.
    pub(crate) fn new(most: usize) -> Self {
        Self(Cache::new(most))
    }

    fn read(&self, text: String) -> Result<Arc<CanonicalJob>> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Ok(known);
        }
        let canonical = CanonicalJob::parse(&text)
            .map_err(|error| format!("`definition` is not what it has to be: {error}"))?;
        let (canonical, weight) = (Arc::new(canonical), text.len());
        self.0.put(text, Arc::clone(&canonical), weight);
        Ok(canonical)
    }
}

/// Reads a submit of a caller, whom its token identifies.
pub(crate) fn read_submit(
    request: proto::SubmitRequest,
    by: String,
    cache: &DefinitionCache,
) -> Result<Submit> {
    let proto::SubmitRequest { token, job, parameters, streaming, exclusive, fence, order, on_behalf_of } =
        request;
    let job = match job.ok_or_else(|| "there is no `definition`, and no `reference`".to_owned())? {
        proto::submit_request::Job::Definition(text) => Definition::Inline(cache.read(text)?),
        proto::submit_request::Job::Reference(reference) => {
            let proto::Reference { scope, domain, name, fingerprint } = reference;
            let fingerprint = fingerprint.as_deref().map(read_fingerprint).transpose()?;
            Definition::Applied(Reference { scope, domain, name, fingerprint })
        }
    };
    let streaming = streaming.map(read_streaming).transpose()?;
    let parameters = parameters.into_iter().collect();
    let fence = fence.map(read_fence);
    Ok(Submit { token, job, parameters, streaming, exclusive, order, fence, by, on_behalf_of })
}

pub(crate) fn holder(holder: &Holder) -> proto::Holder {
    let Holder { key, id, scope, domain, name, phase, version, progress } = holder.clone();
    let (id, phase) = (id.to_string(), self::phase(phase));
    let progress = progress.as_ref().map(self::progress);
    proto::Holder { key, id, scope, domain, name, phase, version, progress }
}

pub(crate) fn read_holder(holder: proto::Holder) -> Result<Holder> {
    let proto::Holder { key, id, scope, domain, name, phase, version, progress } = holder;
    let progress = progress.map(read_progress).transpose()?;
    Ok(Holder { key, id: read_id(&id)?, scope, domain, name, phase: read_phase(phase)?, version, progress })
}

/// Converts an execution. Its token is left out, as it is a secret of the submitter.
#[expect(clippy::too_many_lines, reason = "one row for each field")]
pub(crate) fn record(record: &Record) -> proto::Execution {
    let Record { request, execution, history, version: _, owner: _, progress } = record;
    let Request {
        token: _,
        scope,
        domain,
        name,
        job,
        pinned,
        parameters,
        streaming,
        exclusive,
        order,
        fence,
        by,
        on_behalf_of,
    } = request;
    proto::Execution {
        id: execution.id.to_string(),
        scope: scope.clone(),
        domain: domain.clone(),
        name: name.clone(),
        job: job.as_str().to_owned(),
        pinned: *pinned,
        parameters: map(parameters.clone(), |it| it),
        streaming: streaming.as_ref().map(self::streaming),
        exclusive: exclusive.clone(),
        fence: fence.as_ref().map(self::fence),
        by: by.clone(),
        phase: phase(execution.phase),
        created: Some(time(execution.created)),
        ended: execution.ended.map(time),
        waiting: execution.waiting.clone(),
        not_before: execution.not_before.map(time),
        policy: Some(policy(&execution.policy)),
        backend: enum_text(&execution.backend),
        attempts: execution.attempts.iter().map(attempt::attempt).collect(),
        remedies: execution.remedies,
        adjusted: attempt::adjusted(&execution.adjusted),
        stopping: execution.stopping.as_ref().map(attempt::stop_reason),
        history: history.iter().map(transition).collect(),
        progress: progress.as_ref().map(self::progress),
        order: *order,
        on_behalf_of: on_behalf_of.clone(),
    }
}

pub(crate) fn read_record(record: proto::Execution) -> Result<Record> {
    let execution = Execution {
        id: read_id(&record.id)?,
        phase: read_phase(record.phase)?,
        policy: read_policy(&record.policy.unwrap_or_default())?,
        backend: read_enum::<Backend>(&record.backend)?,
        created: read_time(record.created)?,
        attempts: record.attempts.into_iter().map(attempt::read_attempt).collect::<Result<_>>()?,
        stopping: record.stopping.map(attempt::read_stop_reason).transpose()?,
        not_before: read_optional_time(record.not_before)?,
        waiting: record.waiting,
        // Only the Runner that drives the execution needs these.
        unprepared: false,
        awaits_key: false,
        remedies: record.remedies,
        adjusted: attempt::read_adjusted(record.adjusted),
        ended: read_optional_time(record.ended)?,
    };
    let request = Request {
        token: String::new(),
        scope: record.scope,
        domain: record.domain,
        name: record.name,
        job: read_fingerprint(&record.job)?,
        pinned: record.pinned,
        parameters: record.parameters.into_iter().collect(),
        streaming: record.streaming.map(read_streaming).transpose()?,
        exclusive: record.exclusive,
        order: record.order,
        fence: record.fence.map(read_fence),
        by: record.by,
        on_behalf_of: record.on_behalf_of,
    };
    let history = record.history.into_iter().map(read_transition).collect::<Result<_>>()?;
    let progress = record.progress.map(read_progress).transpose()?;
    Ok(Record { request, execution, history, version: 0, owner: String::new(), progress })
}

fn streaming(streaming: &Streaming) -> proto::Streaming {
    let Streaming { trigger, checkpoint, state, grace, executors } = streaming;
    proto::Streaming {
        trigger: trigger.as_ref().map(self::trigger),
        checkpoint: checkpoint.clone(),
        state: *state,
        grace_millis: grace.map(Duration::millis),
        executors: *executors,
    }
}

fn read_streaming(streaming: proto::Streaming) -> Result<Streaming> {
    let proto::Streaming { trigger, checkpoint, state, grace_millis, executors } = streaming;
    Ok(Streaming {
        trigger: trigger.map(read_trigger).transpose()?,
        checkpoint,
        state,
        grace: grace_millis.map(Duration::from_millis),
        executors,
    })
}

pub fn trigger(trigger: &Trigger) -> proto::Trigger {
    let kind = match trigger {
        Trigger::Asap(_) => proto::trigger::Kind::Asap(true),
        Trigger::Every(interval) => proto::trigger::Kind::EveryMillis(interval.millis()),
        Trigger::Continuous(interval) => proto::trigger::Kind::ContinuousMillis(interval.millis()),
    };
    proto::Trigger { kind: Some(kind) }
}

pub fn read_trigger(trigger: proto::Trigger) -> Result<Trigger> {
    match trigger.kind {
        Some(proto::trigger::Kind::Asap(true)) => Ok(Trigger::default()),
        Some(proto::trigger::Kind::EveryMillis(millis)) => Ok(Trigger::Every(Duration::from_millis(millis))),
        Some(proto::trigger::Kind::ContinuousMillis(millis)) => {
            Ok(Trigger::Continuous(Duration::from_millis(millis)))
        }
        Some(proto::trigger::Kind::Asap(false)) | None => {
            Err("a trigger is not one that this dcp knows".to_owned())
        }
    }
}

pub fn progress(progress: &Progress) -> proto::Progress {
    let Progress { queries, last_activity, batches, rows, input_rate, processing_rate, batch_millis, .. } =
        progress.clone();
    let Progress { lag, watermark, state_rows, state_bytes, .. } = *progress;
    let (last_activity, watermark) = (last_activity.map(time), watermark.map(time));
    proto::Progress {
        queries,
        last_activity,
        batches,
        rows,
        input_rate,
        processing_rate,
        batch_millis,
        lag,
        watermark,
        state_rows,
        state_bytes,
    }
}

pub fn read_progress(progress: proto::Progress) -> Result<Progress> {
    let proto::Progress {
        queries,
        last_activity,
        batches,
        rows,
        input_rate,
        processing_rate,
        batch_millis,
        ..
    } = progress;
    let proto::Progress { lag, watermark, state_rows, state_bytes, .. } = progress;
    Ok(Progress {
        queries,
        last_activity: read_optional_time(last_activity)?,
        batches,
        rows,
        input_rate,
        processing_rate,
        batch_millis,
        lag,
        watermark: read_optional_time(watermark)?,
        state_rows,
        state_bytes,
    })
}

pub(crate) fn transition(transition: &Transition) -> proto::Transition {
    let Transition { at, from, to, attempt, why } = transition;
    proto::Transition {
        at: Some(time(*at)),
        from: phase(*from),
        to: phase(*to),
        attempt: *attempt,
        why: why.clone(),
    }
}

pub(crate) fn read_transition(transition: proto::Transition) -> Result<Transition> {
    let proto::Transition { at, from, to, attempt, why } = transition;
    Ok(Transition { at: read_time(at)?, from: read_phase(from)?, to: read_phase(to)?, attempt, why })
}

fn policy(policy: &Policy) -> proto::Policy {
    let causes = policy.causes.iter().map(enum_text).collect();
    proto::Policy {
        attempts: policy.attempts,
        remedies: policy.remedies,
        backoff_seconds: policy.backoff_seconds,
        max_backoff_seconds: policy.max_backoff_seconds,
        causes,
        start_seconds: policy.start_seconds,
        run_seconds: policy.run_seconds,
        stop_seconds: policy.stop_seconds,
        ttl_seconds: policy.ttl_seconds,
    }
}

fn read_policy(policy: &proto::Policy) -> Result<Policy> {
    let causes = policy.causes.iter().map(|text| read_enum::<Cause>(text)).collect::<Result<_>>()?;
    Ok(Policy {
        attempts: policy.attempts,
        remedies: policy.remedies,
        backoff_seconds: policy.backoff_seconds,
        max_backoff_seconds: policy.max_backoff_seconds,
        causes,
        start_seconds: policy.start_seconds,
        run_seconds: policy.run_seconds,
        stop_seconds: policy.stop_seconds,
        ttl_seconds: policy.ttl_seconds,
    })
}
