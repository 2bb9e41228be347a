//! Requests to run a job, and their validation.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcp_model::primitive::{Body, CoreEtlJob, Fingerprint};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::streaming::Streaming;

/// A request to run a job once.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Idempotency token: a repeated submit with the same token returns the same execution.
    pub token: String,
    pub job: Definition,
    pub parameters: BTreeMap<String, String>,
    /// Settings of a continuous job.
    pub streaming: Option<Streaming>,
    /// Exclusive key of the job's domain. At most one live execution of the domain holds it, of any caller.
    pub exclusive: Option<String>,
    /// Order among the executions with the same key: a higher one replaces a lower one.
    pub order: Option<i64>,
    pub fence: Option<Fence>,
    /// The caller.
    pub by: String,
    /// The person for whom the caller, a service, submits. It gives no right.
    pub on_behalf_of: Option<String>,
}

/// The job to run.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    Inline(Arc<CanonicalJob>),
    Applied(Reference),
}

/// A job with its canonical text, which is costly to make, and its fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct CanonicalJob {
    job: CoreEtlJob,
    text: Arc<str>,
    fingerprint: Fingerprint,
}

impl CanonicalJob {
    pub fn new(job: CoreEtlJob) -> Self {
        let body = Body::CoreEtlJob(Box::new(job));
        let text = body.canonical();
        let Body::CoreEtlJob(job) = body else { unreachable!("it was made one") };
        Self { job: *job, fingerprint: Fingerprint::of(&text), text: text.into() }
    }

    /// Parses a job from its text, canonical or not.
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
        Self::Inline(Arc::new(CanonicalJob::new(job)))
    }
}

/// A reference to an applied job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// `project` or `project/target`.
    pub scope: String,
    pub domain: String,
    pub name: String,
    /// The revision; the applied one if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

impl Reference {
    /// Returns the error of a reference to nothing.
    pub(crate) fn not_applied(&self) -> Error {
        let Self { scope, domain, name, fingerprint } = self;
        let which = fingerprint.as_ref().map(|it| format!(" of revision {}", it.short()));
        let which = which.unwrap_or_default();
        Error::NotFound(format!(
            "no job `{domain}/{name}`{which} is applied to `{scope}`: see `dcp history`, or apply it first"
        ))
    }
}

/// The lease that the caller holds. Once a newer epoch was seen, older ones are rejected. Only the caller who used the
/// lease first may use it, and an epoch may rise by at most 1,000,000 at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    pub lease: String,
    pub epoch: u64,
}

/// A request as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub token: String,
    /// Scope to which the job was applied; none if the job was submitted inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub domain: String,
    pub name: String,
    /// Fingerprint of the job that runs.
    pub job: Fingerprint,
    /// Set if the caller requested this revision, and not the one that was applied at that time.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

const MAX_TOKEN_BYTES: usize = 128;
/// Maximum length of a name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;
/// The prefix of the exclusive keys of the drivers of pools.
pub const POOL_KEY: &str = "pool:";

/// Maximum length of an exclusive key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 1024;
const MAX_PARAMETERS: usize = 256;
const MAX_EXECUTORS: u32 = 10_000;
/// Maximum epoch, 2^53. It is far below the limit of a database, so that a newer epoch always fits.
const MAX_EPOCH: u64 = 1 << 53;
const MAX_PARAMETER_BYTES: usize = 256 << 10;

fn invalid(field: &str, why: &str) -> Result<(), Error> {
    Err(Error::Invalid { field: field.to_owned(), message: format!("`{field}` {why}") })
}

/// Validates a name or a key: it has a length, and no control characters.
fn check_name(field: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.is_empty() || text.len() > most || text.contains(char::is_control) {
        return invalid(field, &format!("has to be 1 to {most} bytes without control characters"));
    }
    Ok(())
}

impl Submit {
    /// Validates everything that does not depend on the job.
    pub fn check(&self) -> Result<(), Error> {
        let visible = self.token.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=MAX_TOKEN_BYTES).contains(&self.token.len()) || !visible {
            return invalid("token", &format!("has to be 1 to {MAX_TOKEN_BYTES} visible ASCII characters"));
        }
        check_name("by", &self.by, MAX_NAME_BYTES)?;
        if let Some(person) = &self.on_behalf_of {
            check_name("onBehalfOf", person, MAX_NAME_BYTES)?;
        }
        self.check_key()?;
        self.check_fence()?;
        self.check_streaming()?;
        self.check_parameters()?;
        if let Definition::Applied(Reference { scope, domain, name, .. }) = &self.job {
            check_name("job.scope", scope, MAX_NAME_BYTES)?;
            check_name("job.domain", domain, MAX_NAME_BYTES)?;
            check_name("job.name", name, MAX_NAME_BYTES)?;
        }
        Ok(())
    }

    fn check_key(&self) -> Result<(), Error> {
        if let Some(key) = &self.exclusive {
            check_name("exclusive", key, MAX_KEY_BYTES)?;
        }
        if self.order.is_some() && (self.exclusive.is_none() || self.streaming.is_some()) {
            return invalid("order", "needs `exclusive`, and is not for a stream that is kept running");
        }
        Ok(())
    }

    fn check_fence(&self) -> Result<(), Error> {
        let Some(Fence { lease, epoch }) = &self.fence else { return Ok(()) };
        check_name("fence.lease", lease, MAX_NAME_BYTES)?;
        if *epoch > MAX_EPOCH {
            return invalid("fence.epoch", &format!("has to be {MAX_EPOCH} at most"));
        }
        Ok(())
    }

    fn check_streaming(&self) -> Result<(), Error> {
        let Some(streaming) = &self.streaming else { return Ok(()) };
        if streaming.executors.is_some_and(|executors| executors > MAX_EXECUTORS) {
            return invalid("streaming.executors", &format!("has to be {MAX_EXECUTORS} at most"));
        }
        let has_checkpoint = streaming.checkpoint.is_some();
        if (has_checkpoint || streaming.state.is_some())
            && (!has_checkpoint || self.exclusive != streaming.checkpoint)
        {
            // No two runs may write to a checkpoint, or move its state, at the same time.
            return invalid("exclusive", "has to be the checkpoint of `streaming`");
        }
        Ok(())
    }

    fn check_parameters(&self) -> Result<(), Error> {
        let length = |(key, value): (&String, &String)| key.len() + value.len();
        if self.parameters.len() > MAX_PARAMETERS
            || self.parameters.iter().map(length).sum::<usize>() > MAX_PARAMETER_BYTES
        {
            let most = format!("are at most {MAX_PARAMETERS}, of {} KiB together", MAX_PARAMETER_BYTES >> 10);
            return invalid("parameters", &most);
        }
        if self.parameters.values().any(|value| value.contains('\0')) {
            return invalid("parameters", "must not hold the character NUL");
        }
        Ok(())
    }

    /// Returns the domain of the job.
    pub fn domain(&self) -> &str {
        match &self.job {
            Definition::Inline(canonical) => canonical.job.metadata.domain.as_str(),
            Definition::Applied(reference) => &reference.domain,
        }
    }

    /// Returns the request to store, once its job is known.
    pub fn request(&self, job: Fingerprint) -> Request {
        let (scope, domain, name, pinned) = match &self.job {
            Definition::Inline(canonical) => {
                let metadata = &canonical.job.metadata;
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
            on_behalf_of: self.on_behalf_of.clone(),
        }
    }
}

impl Request {
    /// Returns the location of the progress and state of a stream.
    pub fn checkpoint(&self) -> Option<&str> {
        self.streaming.as_ref()?.checkpoint.as_deref()
    }

    /// Returns the differences to another request with the same token. The caller and the epoch of its lease may
    /// differ, so that the successor of a caller can repeat a request.
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
