//! Reconciles one job: saves each decision, then performs it.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Error, Record, Runner};
use dcp_runner::execution::Id;
use dcp_runner::request::{Definition, Fence, Reference, Submit};
use dcp_runner::streaming::Streaming;
use jiff::Timestamp;

use super::job::Job;
use super::observe;
use super::store::{Key, Store, StoredJob};
use super::{Effect, JobState, Run, RunStatus, Version, decide, service_key};

/// The caller's name at the Runner.
pub(super) const CALLER: &str = "the reconciler";
/// Timeout of calls to the Runner.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum number of decisions about a job before others have their turn.
const MAX_DECISIONS: usize = 8;

/// Saves and performs the decisions about a job.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) fence: Fence,
    pub(super) clock: fn() -> Timestamp,
}

/// The outcome of reconciling a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The effect was performed, or runs.
    Done,
    /// The effect failed, and can be retried.
    Retry,
    /// Another reconciler holds the lease.
    Lost,
}

impl Worker {
    /// Decides about a job and performs the decisions, until nothing is left to do at once.
    pub(super) async fn reconcile(&self, job: &mut Job) -> Outcome {
        job.wake = None;
        for _ in 0..MAX_DECISIONS {
            if job.unreadable.is_some() {
                return Outcome::Done;
            }
            if self.refresh(job).await.is_err() {
                return Outcome::Retry;
            }
            let now = (self.clock)();
            let jitter = jitter(&job.key);
            let decision =
                decide(job.desired.as_ref(), &job.requested, &job.stored.state, &job.observed, now, jitter);
            (job.wake, job.condition) = (decision.wake, decision.condition);
            if decision.state != job.stored.state || !decision.events.is_empty() {
                match self.save(job, decision.state, &decision.events, now).await {
                    Ok(true) => {}
                    Ok(false) => return Outcome::Lost,
                    Err(_) => return Outcome::Retry,
                }
            }
            match self.perform(job, decision.effect).await {
                Ok(true) => {}
                Ok(false) => return Outcome::Done,
                Err(Error::Fenced { .. }) => return Outcome::Lost,
                Err(_) => {
                    job.observed.run = RunStatus::Unknown;
                    return Outcome::Retry;
                }
            }
        }
        Outcome::Retry
    }

    /// Performs the effect of a decision. Returns whether to decide again at once.
    async fn perform(&self, job: &mut Job, effect: Option<Effect>) -> Result<bool, Error> {
        match effect {
            None => Ok(false),
            // The submit is repeated once the holder of the checkpoint has ended.
            Some(Effect::Start(_)) if matches!(job.observed.run, RunStatus::Held { .. }) => Ok(false),
            Some(Effect::Start(run)) => self.start(job, &run).await,
            Some(Effect::Stop { execution }) => self.stop(job, &execution).await,
        }
    }

    /// Saves the state. Returns false if another writer came first.
    async fn save(
        &self,
        job: &mut Job,
        state: JobState,
        events: &[String],
        now: Timestamp,
    ) -> dcp_database::Result<bool> {
        let mut stored = StoredJob { state, version: job.stored.version };
        let saved = self.store.save(&job.key, &mut stored, events, now).await?;
        if saved {
            let number = |state: &JobState| state.run.as_ref().map(|run| run.number);
            if number(&stored.state) != number(&job.stored.state) {
                job.observed.run = RunStatus::Nothing;
            }
            job.stored = stored;
        }
        Ok(saved)
    }

    /// Asks the Runner for unknown statuses.
    async fn refresh(&self, job: &mut Job) -> Result<(), Error> {
        if let Some(suspect) = &job.suspect {
            match with_timeout(self.runner.check(suspect)).await {
                Ok(record) if record.execution.phase.is_final() => {}
                Ok(record) if self.is_ours(job, &record) => job.observed.orphan = Some(suspect.to_string()),
                Ok(_) => job.foreign = Some(suspect.to_string()),
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            job.suspect = None;
        }
        if job.observed.run != RunStatus::Unknown {
            return Ok(());
        }
        let Some(execution) = job.execution() else {
            // The submit is repeated with the same token.
            job.observed.run = RunStatus::Nothing;
            return Ok(());
        };
        job.observed.run = match with_timeout(self.runner.check(&id(execution)?)).await {
            Ok(record) => observe::run_status(&record),
            Err(error) => ended_if_not_found(error)?,
        };
        Ok(())
    }

    /// Returns whether to decide again at once.
    async fn start(&self, job: &mut Job, run: &Run) -> Result<bool, Error> {
        match with_timeout(self.runner.submit(self.submit(job, run))).await {
            Ok(submitted) => {
                let mut state = job.stored.state.clone();
                let Some(mine) = state.run.as_mut().filter(|it| it.number == run.number) else {
                    return Ok(false);
                };
                mine.execution = Some(submitted.record.id().to_string());
                // If this write is lost, the repeated submit has the same response.
                if !self.save(job, state, &[], (self.clock)()).await? {
                    return Err(Error::Unavailable("somebody else wrote meanwhile".to_owned()));
                }
                job.observed.run = observe::run_status(&submitted.record);
                // The execution may have ended long ago, and a run that should stop was submitted only to find it.
                Ok(submitted.record.execution.phase.is_final() || run.stopping.is_some())
            }
            Err(Error::Held { by, .. }) => {
                let holder = with_timeout(self.runner.check(&by)).await?;
                let is_ours = self.is_ours(job, &holder);
                job.observed.orphan = is_ours.then(|| by.to_string());
                job.observed.run = RunStatus::Held { by: by.to_string() };
                Ok(is_ours || run.stopping.is_some())
            }
            Err(Error::Fenced { lease, epoch, newest }) => Err(Error::Fenced { lease, epoch, newest }),
            Err(error @ (Error::Unavailable(_) | Error::Exhausted { .. } | Error::Denied(_))) => Err(error),
            Err(error) => {
                // Invalid requests are not retried; missing definitions may appear later.
                let retryable = !matches!(error, Error::Invalid { .. });
                job.observed.run = RunStatus::Rejected { why: error.to_string(), retryable };
                Ok(true)
            }
        }
    }

    /// Returns whether to decide again at once.
    async fn stop(&self, job: &mut Job, execution: &str) -> Result<bool, Error> {
        let seen = match with_timeout(self.runner.cancel(&id(execution)?, CALLER)).await {
            Ok(record) if record.execution.phase.is_final() => observe::run_status(&record),
            Ok(_) => return Ok(false),
            Err(error) => ended_if_not_found(error)?,
        };
        if job.observed.orphan.as_deref() == Some(execution) {
            job.observed.orphan = None;
            // The submit that it blocked can be repeated.
            if matches!(job.observed.run, RunStatus::Held { .. }) {
                job.observed.run = RunStatus::Nothing;
            }
        } else {
            job.observed.run = seen;
        }
        Ok(true)
    }

    /// Returns whether an execution belongs to this lease and this job.
    pub(super) fn is_ours(&self, job: &Job, record: &Record) -> bool {
        let request = &record.request;
        request.fence.as_ref().is_some_and(|fence| fence.lease == self.fence.lease)
            && request.scope.as_ref() == Some(&job.key.scope)
            && (&request.domain, &request.name) == (&job.domain, &job.name)
    }

    /// Returns the submit of a run, which is the same each time.
    fn submit(&self, job: &Job, run: &Run) -> Submit {
        let version = &run.version;
        let reference = Reference {
            scope: job.key.scope.clone(),
            domain: job.domain.clone(),
            name: job.name.clone(),
            fingerprint: Some(version.job.clone()),
        };
        Submit {
            token: format!("{}:{:016x}:{}:{}", self.fence.lease, jitter(&job.key), version.build, run.number),
            job: Definition::Applied(reference),
            parameters: std::collections::BTreeMap::new(),
            streaming: Some(Streaming {
                trigger: version.trigger.clone(),
                checkpoint: version.checkpoint.clone(),
                state: version.checkpoint.as_ref().map(|_| version.state),
                grace: Some(dcp_model::manifest::Duration::from_secs(version.grace)),
                executors: run.executors,
            }),
            exclusive: Some(exclusive(&job.key, version)),
            order: None,
            fence: Some(self.fence.clone()),
            by: CALLER.to_owned(),
            on_behalf_of: job.desired.as_ref().and_then(|desired| desired.author.clone()),
        }
    }
}

/// Returns the exclusive key of a run: its checkpoint, or the address of a service.
pub(super) fn exclusive(key: &Key, version: &Version) -> String {
    version.checkpoint.clone().unwrap_or_else(|| service_key(&key.scope, &key.address))
}

fn id(text: &str) -> Result<Id, Error> {
    Id::parse(text).ok_or_else(|| Error::Corrupt(format!("`{text}` is no id of an execution")))
}

/// Maps the error of an unknown execution to an ended run.
fn ended_if_not_found(error: Error) -> Result<RunStatus, Error> {
    match error {
        Error::NotFound(why) => Ok(RunStatus::Ended { succeeded: false, why, retryable: true }),
        error => Err(error),
    }
}

async fn with_timeout<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::Unavailable(format!("the Runner did not answer within {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or_else(|_| Err(late()))
}

/// Returns a number that differs between jobs.
pub(super) fn jitter(key: &Key) -> u64 {
    use sha2::{Digest as _, Sha256};
    let Key { scope, address } = key;
    let hash = Sha256::new().chain_update(scope).chain_update("\n").chain_update(address).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
