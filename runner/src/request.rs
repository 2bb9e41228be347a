//! What somebody asks a Runner for, and what can't be right about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcp_model::primitive::{Body, CoreEtlJob, Fingerprint};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::streaming::Streaming;

/// That a job is to be run once.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Whoever submits with the same token again gets the same execution.
    pub token: String,
    pub job: Definition,
    pub parameters: BTreeMap<String, String>,
    /// For a stream that is kept running.
    pub streaming: Option<Streaming>,
    /// At most one live execution holds a key, whoever asks.
    pub exclusive: Option<String>,
    /// The place among the executions with the same key, of which a higher one replaces a lower one.
    pub order: Option<i64>,
    pub fence: Option<Fence>,
    /// Who asks.
    pub by: String,
}

/// Which job.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    Inline(Arc<Defined>),
    Applied(Reference),
}

/// A job with its canonical text, which is costly to make, and by which jobs are told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Defined {
    job: CoreEtlJob,
    text: Arc<str>,
    fingerprint: Fingerprint,
}

impl Defined {
    pub fn new(job: CoreEtlJob) -> Self {
        let body = Body::CoreEtlJob(Box::new(job));
        let text = body.canonical();
        let Body::CoreEtlJob(job) = body else { unreachable!("it was made one") };
        Self { job: *job, fingerprint: Fingerprint::of(&text), text: text.into() }
    }

    /// Reads a job's text, canonical or not.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self::new)
    }

    pub fn job(&self) -> &CoreEtlJob {
        &self.job
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl From<CoreEtlJob> for Definition {
    fn from(job: CoreEtlJob) -> Self {
        Self::Inline(Arc::new(Defined::new(job)))
    }
}

/// A job that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// `project` or `project/target`.
    pub scope: String,
    pub domain: String,
    pub name: String,
    /// The one that is applied now, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// The lease that the caller holds. Once a younger epoch of it was seen, older ones are refused. Only the caller who used
/// it first may use it, and an epoch may rise by 1,000,000 at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    pub lease: String,
    pub epoch: u64,
}

/// What was asked for, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub token: String,
    /// Where the job was applied; none where it came along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub domain: String,
    pub name: String,
    /// The job that is run.
    pub job: Fingerprint,
    /// Whether this very job was asked for, and not the one that was applied just then.
    pub pinned: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<Streaming>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    pub by: String,
}

const TOKEN: usize = 128;
const NAME: usize = 256;
/// What an exclusive key has at most, in bytes.
pub(crate) const KEY: usize = 1024;
const PARAMETERS: usize = 256;
const EXECUTORS: u32 = 10_000;
/// The greatest epoch, 2^53: far from what a database can hold, so that there is always a younger one.
const EPOCH: u64 = 1 << 53;
const VALUES: usize = 256 << 10;

impl Submit {
    /// What can't be right, whatever the job.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field: &str, why: &str| {
            Err(Error::Invalid { field: field.to_owned(), message: format!("`{field}` {why}") })
        };
        let visible = self.token.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=TOKEN).contains(&self.token.len()) || !visible {
            return invalid("token", &format!("has to be 1 to {TOKEN} visible ASCII characters"));
        }
        let plain = |text: &str, most: usize| text.len() <= most && !text.contains(char::is_control);
        if self.by.is_empty() || !plain(&self.by, NAME) {
            return invalid("by", &format!("has to be 1 to {NAME} bytes without control characters"));
        }
        if self.exclusive.as_ref().is_some_and(|key| key.is_empty() || !plain(key, KEY)) {
            return invalid("exclusive", &format!("has to be 1 to {KEY} bytes without control characters"));
        }
        if self.order.is_some() && (self.exclusive.is_none() || self.streaming.is_some()) {
            return invalid("order", "needs `exclusive`, and is not for a stream that is kept running");
        }
        if self.fence.as_ref().is_some_and(|fence| fence.lease.is_empty() || !plain(&fence.lease, NAME)) {
            return invalid(
                "fence.lease",
                &format!("has to be 1 to {NAME} bytes without control characters"),
            );
        }
        if self.fence.as_ref().is_some_and(|fence| fence.epoch > EPOCH) {
            return invalid("fence.epoch", &format!("has to be {EPOCH} at most"));
        }
        if self.streaming.as_ref().and_then(|it| it.executors).is_some_and(|it| it > EXECUTORS) {
            return invalid("streaming.executors", &format!("has to be {EXECUTORS} at most"));
        }
        if let Some(streaming) = self.streaming.as_ref().filter(|it| it.state.is_some())
            && (streaming.checkpoint.is_none() || self.exclusive != streaming.checkpoint)
        {
            // What lies there is moved: nobody else may use it meanwhile.
            return invalid(
                "exclusive",
                "has to be the checkpoint, where `streaming` says which state is to lie there",
            );
        }
        let length = |(key, value): (&String, &String)| key.len() + value.len();
        if self.parameters.len() > PARAMETERS || self.parameters.iter().map(length).sum::<usize>() > VALUES {
            let most = format!("are at most {PARAMETERS}, of {} KiB together", VALUES >> 10);
            return invalid("parameters", &most);
        }
        if self.parameters.values().any(|value| value.contains('\0')) {
            return invalid("parameters", "must not hold the character NUL");
        }
        if let Definition::Applied(Reference { scope, domain, name, .. }) = &self.job {
            for (field, text) in [("scope", scope), ("domain", domain), ("name", name)] {
                if text.is_empty() || !plain(text, NAME) {
                    let rule = format!("has to be 1 to {NAME} bytes without control characters");
                    return invalid(&format!("job.{field}"), &rule);
                }
            }
        }
        Ok(())
    }

    /// What is kept of it, once its job is known.
    pub fn request(&self, job: Fingerprint) -> Request {
        let (scope, domain, name, pinned) = match &self.job {
            Definition::Inline(defined) => {
                let metadata = &defined.job.metadata;
                (None, metadata.domain.as_str(), metadata.name.as_str(), true)
            }
            Definition::Applied(Reference { scope, domain, name, fingerprint }) => {
                (Some(scope.clone()), domain.as_str(), name.as_str(), fingerprint.is_some())
            }
        };
        Request {
            token: self.token.clone(),
            scope,
            domain: domain.to_owned(),
            name: name.to_owned(),
            job,
            pinned,
            parameters: self.parameters.clone(),
            streaming: self.streaming.clone(),
            exclusive: self.exclusive.clone(),
            order: self.order,
            fence: self.fence.clone(),
            by: self.by.clone(),
        }
    }
}

impl Request {
    /// What another one by the same token asks for that this one did not. Who asks, and by which epoch of a lease, may
    /// differ: that is how a caller that was replaced goes on.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, was: String, is: String| {
            if was != is {
                found.push(format!("{what} was {was}, and is {is}"));
            }
        };
        let job = |it: &Self| {
            let scope = it.scope.as_deref().unwrap_or("no project");
            format!("`{}/{}` of {scope}", it.domain, it.name)
        };
        compare("the job", job(self), job(other));
        let which = |it: &Self| match it.pinned {
            true => format!("revision {}", it.job.short()),
            false => "the one that is applied".to_owned(),
        };
        compare("its definition", which(self), which(other));
        let text =
            |value: Option<&String>| value.map_or("not given".to_owned(), |value| format!("{value:?}"));
        let names: std::collections::BTreeSet<&String> =
            self.parameters.keys().chain(other.parameters.keys()).collect();
        for name in names {
            let (was, is) = (self.parameters.get(name), other.parameters.get(name));
            compare(&format!("the parameter `{name}`"), text(was), text(is));
        }
        compare("the exclusive key", text(self.exclusive.as_ref()), text(other.exclusive.as_ref()));
        let order = |it: &Self| it.order.map_or("not given".to_owned(), |order| order.to_string());
        compare("the order", order(self), order(other));
        if self.streaming != other.streaming {
            found.push("the stream's trigger or checkpoint is another one".to_owned());
        }
        found
    }
}
