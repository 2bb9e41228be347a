//! Submits: each is checked completely before it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_gateway::SparkApplication;
use dcp_model::manifest::{self, Metadata};
use dcp_model::primitive::CoreEtlJob;
use dcp_server::offload;
use dcp_server::policy::Quota;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Inner, QueuePermit, observe};
use crate::api::{Error, Record, Result, Submitted};
use crate::execution::{Execution, Id, Policy};
use crate::lower::{self, lower};
use crate::machine::{Event, apply_event};
use crate::parameters;
use crate::request::{CanonicalJob, Definition, POOL_KEY, Reference, Request, Submit};
use crate::store::NewExecution;

/// Time for which a check by a backend stays valid. It is short, because the backend's answer may change.
const ACCEPTED_TTL: Duration = Duration::from_secs(10);
/// Maximum time that a submit waits for the validation by another process.
const VALIDATE_TIMEOUT: Duration = Duration::from_secs(5);

impl Inner {
    /// Stores an execution, and starts to drive it.
    pub(super) async fn submit(self: &Arc<Self>, submit: Submit) -> Result<Submitted> {
        submit.check()?;
        let quota = self.quota(submit.domain());
        let counted = self.count_submit(submit.domain(), quota);
        let is_counted = counted.is_ok();
        let admitted = match counted {
            Ok(()) => self.admit(&submit, quota).await,
            Err(error) => Err(error),
        };
        let submitted = match admitted {
            Ok((new, permit)) => {
                let submitted = self.store.submit(new).await?;
                if submitted.fresh {
                    let record = &submitted.record;
                    self.start_or_wake(record.id(), record.version, Some(record.clone()), Some(permit));
                }
                submitted
            }
            // A repeated submit succeeds even if the job has changed since, or a limit is reached.
            Err(error) => match self.store.by_token(&submit.token).await? {
                Some(record) => repeated_submit(&submit, record)?,
                None => return Err(error),
            },
        };
        if is_counted && !submitted.fresh {
            self.uncount_submit(submit.domain(), quota);
        }
        Ok(submitted)
    }

    /// Checks a request completely, and the limits of its domain.
    async fn admit(self: &Arc<Self>, submit: &Submit, quota: Quota) -> Result<(NewExecution, QueuePermit)> {
        let new = self.prepare(submit).await?;
        let domain = &new.record.request.domain;
        self.check_results(new.job.job(), domain, quota).await?;
        let permit = self.queues.acquire(domain, quota.queued)?;
        Ok((new, permit))
    }

    /// Chooses the backend for a job.
    fn choose_backend(&self, job: &CoreEtlJob) -> Result<manifest::Backend> {
        let mine = || self.options.backends.iter().map(|(name, _)| *name);
        let wanted = &job.placement.backends;
        let chosen = match wanted.as_slice() {
            [] => mine().next(),
            wanted => wanted.iter().copied().find(|name| mine().any(|it| it == *name)),
        };
        chosen.ok_or_else(|| {
            let list = |all: &mut dyn Iterator<Item = manifest::Backend>| {
                let names: Vec<_> = all.map(manifest::Backend::name).collect();
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            };
            let (wanted, mine) = (list(&mut wanted.iter().copied()), list(&mut mine()));
            let field = "job.placement.backends".to_owned();
            let message = format!(
                "the job may run on {wanted}, and this Runner has {mine}: change `placement.backends`, or submit it \
                 to another Runner"
            );
            Error::Invalid { field, message }
        })
    }

    /// Returns the application of an execution's current attempt.
    pub(super) fn application(&self, job: &CoreEtlJob, record: &Record) -> Result<SparkApplication> {
        let values = values(job, &record.request)?;
        let execution = &record.execution;
        let results =
            self.options.results.as_ref().map(|results| results.location(&execution.id, execution.attempt()));
        let results = reachable_results(job, &record.execution, results)?;
        let input = lower::Input {
            job,
            execution: &record.execution,
            values: &values,
            streaming: record.request.streaming.as_ref(),
            results: results.as_deref(),
        };
        lower(&input)
            .map_err(|lower::Unsupported(message)| Error::Invalid { field: "job".to_owned(), message })
    }

    /// Checks a request completely before it is stored.
    async fn prepare(self: &Arc<Self>, submit: &Submit) -> Result<NewExecution> {
        let canonical = match &submit.job {
            Definition::Inline(canonical) => Arc::clone(canonical),
            Definition::Applied(reference) => {
                let canonical = self.applied_job(reference).await?;
                if submit.streaming.is_none() {
                    self.reject_continuous(reference).await?;
                }
                canonical
            }
        };
        let job = canonical.job();
        reject_pool(job, submit)?;
        let now = self.now();
        let policy = Policy::of(job, submit.streaming.as_ref());
        let mut execution =
            Execution::new(Id::new(now, rand::random()), policy, self.choose_backend(job)?, now);
        execution.awaits_key = submit.order.is_some();
        execution.unprepared = submit.streaming.as_ref().is_some_and(|it| it.state.is_some());
        let record = Record {
            request: submit.request(canonical.fingerprint().clone()),
            execution,
            history: Vec::new(),
            version: 1,
            owner: self.membership.id(),
            progress: None,
        };
        let (inner, checked) = (Arc::clone(self), Arc::clone(&canonical));
        let check = move || inner.check_accepted(&checked, &record, now).map(|unchecked| (record, unchecked));
        let (record, unchecked) = offload(canonical.text().len(), check).await?;
        if let Some(application) = unchecked {
            self.validate(&canonical, &record, &application).await?;
        }
        self.jobs.put(canonical.fingerprint().clone(), Arc::clone(&canonical), canonical.text().len());
        Ok(NewExecution { record, job: canonical })
    }

    /// Checks that the backend accepts the job with the parameters of this run. Returns the application that the process
    /// of the backend still has to validate, unless the same job was validated recently.
    fn check_accepted(
        &self,
        canonical: &CanonicalJob,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<SparkApplication>> {
        let is_batch = record.request.streaming.is_none();
        let known = self.accepted.get(canonical.fingerprint());
        if is_batch && known.is_some_and(|since| since.elapsed() < ACCEPTED_TTL) {
            // Only the parameters differ between the runs of a job.
            return values(canonical.job(), &record.request).map(|_| None);
        }
        // The first attempt, without the adjustments by sizing.
        let mut first = record.clone();
        first.execution.awaits_key = false;
        apply_event(&mut first.execution, Event::Stepped, now);
        let application = self.application(canonical.job(), &first)?;
        if let Some(compute) = self.compute(first.execution.backend) {
            compute.accepts(&application).map_err(rejected)?;
        }
        Ok(Some(application))
    }

    /// Validates an application by the process of its backend.
    async fn validate(
        &self,
        canonical: &CanonicalJob,
        record: &Record,
        application: &SparkApplication,
    ) -> Result<()> {
        if let Some(compute) = self.compute(record.execution.backend) {
            match timeout(VALIDATE_TIMEOUT, compute.validate(application)).await {
                Ok(Ok(())) => {}
                // The attempt waits for the backend, which then rejects it if it has to.
                Ok(Err(dcp_gateway::Error::Unavailable(_))) | Err(_) => return Ok(()),
                Ok(Err(error)) => return Err(rejected(error)),
            }
        }
        if record.request.streaming.is_none() {
            self.accepted.put(canonical.fingerprint().clone(), Instant::now(), 1);
        }
        Ok(())
    }

    /// Rejects a run of an applied continuous job, because its reconciler runs it already.
    async fn reject_continuous(&self, reference: &Reference) -> Result<()> {
        let Some(jobs) = &self.options.jobs else { return Ok(()) };
        if !jobs.is_continuous(reference).await? {
            return Ok(());
        }
        let id = format!("{}/{}", reference.domain, reference.name);
        Err(Error::NotNow(format!(
            "`{id}` is a continuous job, which its reconciler keeps running: see `dcp status {id}`; to start it again, \
             `dcp restart {id}`"
        )))
    }

    /// Returns an applied job, at the requested or the current revision.
    async fn applied_job(&self, reference: &Reference) -> Result<Arc<CanonicalJob>> {
        let Some(jobs) = &self.options.jobs else {
            let message = "this Runner has no registry to look jobs up in: submit the job itself";
            return Err(Error::Invalid { field: "job".to_owned(), message: message.to_owned() });
        };
        let none = || reference.not_applied();
        // An earlier revision may run only while the job is still applied.
        let current = jobs.current(reference).await?.ok_or_else(none)?;
        let revision = reference.fingerprint.clone().unwrap_or(current);
        // A revision never changes, so that it can be cached.
        let pinned = Reference { fingerprint: Some(revision.clone()), ..reference.clone() };
        if let Some(known) = self.applied_jobs.get(&pinned) {
            return Ok(known);
        }
        let job = jobs.job(reference, &revision).await?.ok_or_else(none)?;
        // The size of the job is unknown before its text is rendered, so it is always offloaded.
        let canonical = Arc::new(offload(usize::MAX, || CanonicalJob::new(job)).await);
        self.applied_jobs.put(pinned, Arc::clone(&canonical), canonical.text().len());
        Ok(canonical)
    }
}

/// Rejects a run of a pool's job that is not a driver of the pool: nothing would route sessions to it.
fn reject_pool(job: &CoreEtlJob, submit: &Submit) -> Result<()> {
    let is_driver = submit.exclusive.as_ref().is_some_and(|key| key.starts_with(POOL_KEY));
    if !job.connect || is_driver {
        return Ok(());
    }
    let Metadata { domain, name, .. } = &job.metadata;
    Err(Error::NotNow(format!(
        "`{domain}/{name}` is a pool, whose drivers are started by its reconciler: to run queries in it, use `dcp sql`, \
         or a Spark Connect client with the URL of `dcp connect`"
    )))
}

/// Returns the error of a submit whose application the backend rejects.
fn rejected(error: dcp_gateway::Error) -> Error {
    match error {
        dcp_gateway::Error::Unavailable(message) => Error::Unavailable(message),
        dcp_gateway::Error::Field { field, reason } => {
            Error::Invalid { field: format!("job.{field}"), message: reason }
        }
        dcp_gateway::Error::Invalid(message) | dcp_gateway::Error::Conflict(message) => {
            Error::Invalid { field: "job".to_owned(), message }
        }
    }
}

/// Returns the parameter values of a run.
fn values(job: &CoreEtlJob, request: &Request) -> Result<BTreeMap<String, parameters::Value>> {
    parameters::values(job, &request.parameters, &request.token).map_err(|problems| {
        let parameters: Vec<_> = problems.iter().map(|it| it.parameter.as_str()).collect();
        let messages: Vec<_> = problems.iter().map(|it| it.message.as_str()).collect();
        let field = format!("parameters.{}", parameters.join(","));
        Error::Invalid { field, message: messages.join("; ") }
    })
}

/// Returns the response to a submit whose token is known already.
fn repeated_submit(submit: &Submit, record: Record) -> Result<Submitted> {
    let job = match &submit.job {
        Definition::Inline(canonical) => canonical.fingerprint().clone(),
        Definition::Applied(reference) => {
            reference.fingerprint.clone().unwrap_or_else(|| record.request.job.clone())
        }
    };
    let differences = record.request.differences(&submit.request(job));
    if differences.is_empty() {
        return Ok(Submitted { record, fresh: false });
    }
    Err(Error::TokenReused { id: record.id().clone(), differences })
}

/// Returns the location of a job's result. A driver on a cluster can't write to a folder of this machine.
fn reachable_results(
    job: &CoreEtlJob,
    execution: &Execution,
    location: Option<String>,
) -> Result<Option<String>> {
    let is_here = observe::backend(execution) == manifest::Backend::Local;
    let is_remote = location.as_deref().is_none_or(|it| it.contains("://") && !it.starts_with("file:"));
    if is_here || is_remote {
        return Ok(location);
    }
    match &job.job {
        manifest::Job::Sql(sql) if sql.return_result => {
            let message = "the results of this Runner are in a folder of its machine, where a cluster can't write: \
                           start the Runner with `--results` and the URL of a bucket, or set `returnResult: false` and \
                           write the rows to a table";
            Err(Error::Invalid { field: "job.sql.returnResult".to_owned(), message: message.to_owned() })
        }
        _ => Ok(None),
    }
}
