//! Does what was decided about one job: first it is written down, then done.

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

/// Who a Runner is told asks.
pub(super) const BY: &str = "the reconciler";
/// How long a Runner may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often in a row a job is decided about, before the others have their turn.
const TURNS: usize = 8;

/// What is needed to act on a job.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) fence: Fence,
    pub(super) clock: fn() -> Timestamp,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done, or under way.
    Done,
    /// It could not be done now.
    Retry,
    /// Somebody else acts now.
    Lost,
}

impl Worker {
    /// Decides about a job and does it, until there is nothing to be done at once.
    pub(super) async fn attend(&self, job: &mut Job) -> Outcome {
        job.wake = None;
        for _ in 0..TURNS {
            if job.unreadable.is_some() {
                return Outcome::Done;
            }
            if self.look(job).await.is_err() {
                return Outcome::Retry;
            }
            let now = (self.clock)();
            let chance = chance(&job.key);
            let decision =
                decide(job.desired.as_ref(), &job.requested, &job.stored.state, &job.observed, now, chance);
            (job.wake, job.condition) = (decision.wake, decision.condition);
            if decision.state != job.stored.state || !decision.events.is_empty() {
                match self.save(job, decision.state, &decision.events, now).await {
                    Ok(true) => {}
                    Ok(false) => return Outcome::Lost,
                    Err(_) => return Outcome::Retry,
                }
            }
            let done = match decision.act {
                None => return Outcome::Done,
                // It is asked for again once what holds the checkpoint is gone.
                Some(Effect::Start(_)) if matches!(job.observed.run, RunStatus::Held { .. }) => {
                    return Outcome::Done;
                }
                Some(Effect::Start(run)) => self.start(job, &run).await,
                Some(Effect::Stop { execution }) => self.stop(job, &execution).await,
            };
            match done {
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

    /// Writes what is to be remembered; false where somebody else did meanwhile.
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

    /// Asks for what is not known of a job.
    async fn look(&self, job: &mut Job) -> Result<(), Error> {
        if let Some(suspect) = &job.suspect {
            match within(self.runner.check(suspect)).await {
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
            // It is asked for once more, by its own token.
            job.observed.run = RunStatus::Nothing;
            return Ok(());
        };
        job.observed.run = match within(self.runner.check(&id(execution)?)).await {
            Ok(record) => observe::seen(&record),
            Err(error) => forgotten(error)?,
        };
        Ok(())
    }

    /// Whether there is something to be decided at once.
    async fn start(&self, job: &mut Job, run: &Run) -> Result<bool, Error> {
        match within(self.runner.submit(self.submit(job, run))).await {
            Ok(submitted) => {
                let mut state = job.stored.state.clone();
                let Some(mine) = state.run.as_mut().filter(|it| it.number == run.number) else {
                    return Ok(false);
                };
                mine.execution = Some(submitted.record.id().to_string());
                // Where this is lost, it is asked for again, and the answer is the same.
                if !self.save(job, state, &[], (self.clock)()).await? {
                    return Err(Error::Unavailable("somebody else wrote meanwhile".to_owned()));
                }
                job.observed.run = observe::seen(&submitted.record);
                // What was let in long ago may have ended, and what is to be stopped was only to be found.
                Ok(submitted.record.execution.phase.is_final() || run.stopping.is_some())
            }
            Err(Error::Held { by, .. }) => {
                let holder = within(self.runner.check(&by)).await?;
                let is_ours = self.is_ours(job, &holder);
                job.observed.orphan = is_ours.then(|| by.to_string());
                job.observed.run = RunStatus::Held { by: by.to_string() };
                Ok(is_ours || run.stopping.is_some())
            }
            Err(Error::Fenced { lease, epoch, newest }) => Err(Error::Fenced { lease, epoch, newest }),
            Err(error @ (Error::Unavailable(_) | Error::Exhausted(_) | Error::Denied(_))) => Err(error),
            Err(error) => {
                // What can't be right does not get right by being asked for again; what is not to be had may be had later.
                let retryable = !matches!(error, Error::Invalid { .. });
                job.observed.run = RunStatus::Refused { why: error.to_string(), retryable };
                Ok(true)
            }
        }
    }

    /// Whether there is something to be decided at once.
    async fn stop(&self, job: &mut Job, execution: &str) -> Result<bool, Error> {
        let seen = match within(self.runner.cancel(&id(execution)?, BY)).await {
            Ok(record) if record.execution.phase.is_final() => observe::seen(&record),
            Ok(_) => return Ok(false),
            Err(error) => forgotten(error)?,
        };
        if job.observed.orphan.as_deref() == Some(execution) {
            job.observed.orphan = None;
            // What it stood in the way of can be asked for again.
            if matches!(job.observed.run, RunStatus::Held { .. }) {
                job.observed.run = RunStatus::Nothing;
            }
        } else {
            job.observed.run = seen;
        }
        Ok(true)
    }

    /// Whether an execution was started by this one's lease, for this job.
    pub(super) fn is_ours(&self, job: &Job, record: &Record) -> bool {
        let request = &record.request;
        request.fence.as_ref().is_some_and(|fence| fence.lease == self.fence.lease)
            && request.scope.as_ref() == Some(&job.key.scope)
            && (&request.domain, &request.name) == (&job.domain, &job.name)
    }

    /// What a run is asked for by: always the same, however often.
    fn submit(&self, job: &Job, run: &Run) -> Submit {
        let version = &run.version;
        let reference = Reference {
            scope: job.key.scope.clone(),
            domain: job.domain.clone(),
            name: job.name.clone(),
            fingerprint: Some(version.job.clone()),
        };
        Submit {
            token: format!("{}:{:016x}:{}:{}", self.fence.lease, chance(&job.key), version.build, run.number),
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
            by: BY.to_owned(),
        }
    }
}

/// Returns the key that a run holds alone: its checkpoint, or, of a service, its address.
pub(super) fn exclusive(key: &Key, version: &Version) -> String {
    version.checkpoint.clone().unwrap_or_else(|| service_key(&key.scope, &key.address))
}

fn id(text: &str) -> Result<Id, Error> {
    Id::parse(text).ok_or_else(|| Error::Corrupt(format!("`{text}` is no id of an execution")))
}

/// What it means that nothing is known of an execution.
fn forgotten(error: Error) -> Result<RunStatus, Error> {
    match error {
        Error::NotFound(why) => Ok(RunStatus::Ended { succeeded: false, why, retryable: true }),
        error => Err(error),
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::Unavailable(format!("the Runner did not answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

/// A number of a job's own.
pub(super) fn chance(key: &Key) -> u64 {
    use sha2::{Digest as _, Sha256};
    let Key { scope, address } = key;
    let hash = Sha256::new().chain_update(scope).chain_update("\n").chain_update(address).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
