//! An execution: one run of a job, with all of its attempts.

use std::collections::BTreeMap;
use std::fmt;

use dcp_gateway::End;
use dcp_model::manifest::{Backend, Cause};
use dcp_model::primitive::CoreEtlJob;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::streaming::Streaming;

/// What an execution is known by: letters and digits, so that it can be a part of any name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Of a time and of chance, so that ids are in the order of their times.
    pub fn new(at: Timestamp, chance: u128) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let millis = u128::try_from(at.as_millisecond()).unwrap_or_default();
        let number = (millis << 80) | (chance & ((1 << 80) - 1));
        let digit = |place: u32| {
            let index = usize::try_from((number >> (5 * place)) & 31).unwrap_or_default();
            char::from(DIGITS.get(index).copied().unwrap_or(b'0'))
        };
        Self((0..26).rev().map(digit).collect())
    }

    /// Of lower-case letters and digits, as many as fit a name with an attempt behind it.
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

/// How far an execution has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// It is kept, and nothing was started.
    Queued,
    /// An attempt is being handed to a backend: from here on it may be there.
    Submitting,
    /// The backend has it, and the driver does not run yet.
    Pending,
    Running,
    /// An attempt has failed and is gone; another one is waited for.
    Retrying,
    /// It was asked to stop, and may still run.
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

    /// As it is written.
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

    /// Whether nothing will ever happen to it again.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Cancelled)
    }

    /// Whether an attempt may be alive.
    pub fn may_be_alive(self) -> bool {
        matches!(self, Phase::Submitting | Phase::Pending | Phase::Running | Phase::Cancelling)
    }
}

/// Why an attempt is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopping {
    /// Somebody asked for it.
    Cancelled { by: String },
    /// A later run of the same schedule takes its place.
    Replaced { by: Id },
    /// The driver did not run in time.
    StartTimeout,
    /// The driver ran for too long.
    RunTimeout,
}

/// What a failed attempt failed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The class that a manifest's `retry.causes` speaks of; none where no further attempt can mend it, or nothing is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Cause>,
    /// The name of the cause, of a closed list.
    pub cause: String,
    /// In a sentence.
    pub summary: String,
    /// The lines that say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// One start of a job at a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// From 1 on.
    pub number: u32,
    /// Where it is started.
    pub backend: Backend,
    /// When it was decided upon: before anything was started.
    pub begun: Timestamp,
    /// When its driver was first seen to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// Settings that differ from what the job says, with the reason for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adjusted: BTreeMap<String, Adjustment>,
}

/// A setting that sizing or a remedy chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adjustment {
    pub value: String,
    pub why: String,
}

/// A step from one phase to another, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub at: Timestamp,
    pub from: Phase,
    pub to: Phase,
    pub attempt: u32,
    /// In a sentence.
    pub why: String,
}

/// How an execution is to be tried and how long it may take, out of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub attempts: u32,
    pub remedies: u32,
    pub backoff_seconds: u64,
    pub max_backoff_seconds: u64,
    /// Empty where every failure is tried again that a further attempt can mend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    pub start_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<u64>,
    pub stop_seconds: u64,
    /// How long what a backend keeps of it is kept after it has ended.
    pub ttl_seconds: u64,
}

impl Policy {
    /// What a job says of it. A stream that is kept running runs for as long as it likes, and has a grace of its own.
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

/// All that decides how an execution goes on. What is asked of it is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: Id,
    pub phase: Phase,
    pub policy: Policy,
    /// Where the next attempt is started.
    pub backend: Backend,
    pub created: Timestamp,
    /// The oldest first; the last one is the present one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// Nothing is done before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What it waits for, where it can't go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Whether something is to be made ready before the first attempt is started. Then it may be under way at any time, and
    /// nobody else may begin with the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprepared: bool,
    /// Set while it waits for the exclusive key of the execution that it replaces. It has no attempt before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_key: bool,
    /// How many attempts were given other resources than the one before.
    #[serde(default)]
    pub remedies: u32,
    /// What the next attempt is given that the job does not say.
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

    /// The number of the present attempt; 0 where there was none.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }

    /// What an attempt is called at every backend.
    pub fn name_of(&self, attempt: u32) -> String {
        format!("dcp-{}-{attempt}", self.id)
    }

    /// What the present attempt is called.
    pub fn name(&self) -> String {
        self.name_of(self.attempt())
    }
}
