//! An execution: one run of a job, with all of its attempts.

use std::collections::BTreeMap;
use std::fmt;

use dcp_gateway::{Addresses, End};
use dcp_model::manifest::{Backend, Cause};
use dcp_model::primitive::CoreEtlJob;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::streaming::Streaming;

/// Identifier of an execution. It has only letters and digits, so that it can be a part of any name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Creates an id from a time and a random number. Ids sort by their times.
    pub fn new(at: Timestamp, random: u128) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let millis = u128::try_from(at.as_millisecond()).unwrap_or_default();
        let number = (millis << 80) | (random & ((1 << 80) - 1));
        let digit = |position: u32| {
            let index = usize::try_from((number >> (5 * position)) & 31).unwrap_or_default();
            char::from(DIGITS.get(index).copied().unwrap_or(b'0'))
        };
        Self((0..26).rev().map(digit).collect())
    }

    /// Parses lower-case letters and digits, few enough for names that also contain the attempt.
    pub fn parse(text: &str) -> Option<Self> {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=40).contains(&text.len()) && text.bytes().all(inside);
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Progress of an execution towards its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// The execution is stored, and no attempt was started.
    Queued,
    /// An attempt is being created at a backend and may exist there already.
    Submitting,
    /// The backend has the attempt, and the driver does not run yet.
    Pending,
    Running,
    /// An attempt has failed and is gone; the next one starts later.
    Retrying,
    /// The execution was requested to stop, and may still run.
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

impl Phase {
    pub const ALL: [Phase; 9] = [
        Phase::Queued,
        Phase::Submitting,
        Phase::Pending,
        Phase::Running,
        Phase::Retrying,
        Phase::Cancelling,
        Phase::Succeeded,
        Phase::Failed,
        Phase::Cancelled,
    ];

    /// Returns the name that is stored and shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Queued => "QUEUED",
            Phase::Submitting => "SUBMITTING",
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Retrying => "RETRYING",
            Phase::Cancelling => "CANCELLING",
            Phase::Succeeded => "SUCCEEDED",
            Phase::Failed => "FAILED",
            Phase::Cancelled => "CANCELLED",
        }
    }

    /// Returns whether the execution has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Cancelled)
    }

    /// Returns whether an attempt may be alive.
    pub fn may_be_alive(self) -> bool {
        matches!(self, Phase::Submitting | Phase::Pending | Phase::Running | Phase::Cancelling)
    }
}

/// The reason for which an attempt is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// A user or program requested the stop.
    Cancelled { by: String },
    /// A later run of the same schedule replaces it.
    Replaced { by: Id },
    /// The driver did not run before the start timeout.
    StartTimeout,
    /// The driver ran longer than the run timeout.
    RunTimeout,
}

/// The cause of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The class for `retry.causes` in a manifest; none if no further attempt can help, or the cause is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Cause>,
    /// The name of the cause, from a closed list.
    pub cause: String,
    /// One sentence.
    pub summary: String,
    /// The log lines that prove the cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// One start of a job at a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// The backend that runs the attempt.
    pub backend: Backend,
    /// Time of the decision to start the attempt, before anything was started.
    pub begun: Timestamp,
    /// Time at which the driver was first seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Timestamp>,
    /// The wait of the driver in a queue.
    #[serde(default, skip_serializing_if = "Wait::is_none")]
    pub queued: Wait,
    #[serde(default)]
    pub addresses: Addresses,
    /// The name of its cluster, if the backend has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// Settings that differ from the job's own, with the reason for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adjusted: BTreeMap<String, Adjustment>,
}

/// The wait of a driver in a queue, which does not count as time that it needs to start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    #[default]
    None,
    /// It is in the queue.
    Waits,
    /// It left the queue at this time.
    Until(Timestamp),
}

impl Wait {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns the wait after a status.
    pub(crate) fn after(self, is_queued: bool, now: Timestamp) -> Self {
        match (self, is_queued) {
            (_, true) => Self::Waits,
            (Self::Waits, false) => Self::Until(now),
            (other, false) => other,
        }
    }
}

/// A setting that sizing or a remedy chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adjustment {
    pub value: String,
    pub why: String,
}

/// A change from one phase to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub at: Timestamp,
    pub from: Phase,
    pub to: Phase,
    pub attempt: u32,
    /// One sentence.
    pub why: String,
}

/// Retries and timeouts of an execution, taken from its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub attempts: u32,
    pub remedies: u32,
    pub backoff_seconds: u64,
    pub max_backoff_seconds: u64,
    /// Causes that are retried. If it is empty, every failure is retried that a further attempt can fix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    pub start_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<u64>,
    pub stop_seconds: u64,
    /// Seconds for which a backend keeps its data of the execution after the end.
    pub ttl_seconds: u64,
}

impl Policy {
    /// Returns the policy of a job. A continuous stream has no run timeout, and its own grace period.
    pub fn of(job: &CoreEtlJob, streaming: Option<&Streaming>) -> Self {
        let (retry, timeouts) = (&job.retry, &job.timeouts);
        let seconds = |duration: dcp_model::manifest::Duration| duration.millis().div_ceil(1000);
        Self {
            attempts: retry.attempts,
            remedies: retry.remedies,
            backoff_seconds: seconds(retry.backoff),
            max_backoff_seconds: seconds(retry.max_backoff),
            causes: retry.causes.clone(),
            start_seconds: seconds(timeouts.start),
            run_seconds: timeouts.run.filter(|_| streaming.is_none()).map(seconds),
            stop_seconds: seconds(streaming.and_then(|it| it.grace).unwrap_or(timeouts.stop)),
            ttl_seconds: seconds(job.ttl),
        }
    }
}

/// The state that decides the next step of an execution. The request is stored apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: Id,
    pub phase: Phase,
    pub policy: Policy,
    /// The backend of the next attempt.
    pub backend: Backend,
    pub created: Timestamp,
    /// The oldest first; the last one is the current one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<StopReason>,
    /// Time before which no action is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The reason why the execution can't proceed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Set until the preparation before the first attempt is done. While it is set, the preparation may be running at
    /// any time, and must not be started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprepared: bool,
    /// Set while the execution waits for the exclusive key of the one that it replaces. It has no attempt until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_key: bool,
    /// Number of attempts that were given other resources than the one before.
    #[serde(default)]
    pub remedies: u32,
    /// Settings of the next attempt that differ from the job's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adjusted: BTreeMap<String, Adjustment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

impl Execution {
    pub fn new(id: Id, policy: Policy, backend: Backend, created: Timestamp) -> Self {
        Self {
            id,
            phase: Phase::Queued,
            policy,
            backend,
            created,
            attempts: Vec::new(),
            stopping: None,
            not_before: None,
            waiting: None,
            unprepared: false,
            awaits_key: false,
            remedies: 0,
            adjusted: BTreeMap::new(),
            ended: None,
        }
    }

    /// Returns the number of the current attempt; 0 if there is none.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }

    /// Returns the name of an attempt at every backend.
    pub fn name_of(&self, attempt: u32) -> String {
        format!("dcp-{}-{attempt}", self.id)
    }

    /// Returns the execution and the attempt that a name is of.
    pub fn parse_name(name: &str) -> Option<(Id, u32)> {
        let (id, attempt) = name.strip_prefix("dcp-")?.rsplit_once('-')?;
        Some((Id::parse(id)?, attempt.parse().ok()?))
    }

    /// Returns the name of the current attempt.
    pub fn name(&self) -> String {
        self.name_of(self.attempt())
    }
}
