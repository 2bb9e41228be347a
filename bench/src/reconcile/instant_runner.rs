//! An in-memory Runner that responds at once, so that only its client is measured.
//!
//! It runs nothing: an admitted execution is reported as running, with a batch finished just now, and a cancelled one
//! as ended. Tokens, exclusive keys and epochs work as in a real Runner.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dcp_gateway::{Addresses, End};
use dcp_model::manifest::Backend;
use dcp_runner::api::{Error, Filter, Holder, LogPart, LogRequest, Record, Result, Runner, Submitted};
use dcp_runner::execution::{Attempt, Diagnosis, Execution, Id, Phase, Policy, StopReason, Transition};
use dcp_runner::failure::Cause;
use dcp_runner::progress::Progress;
use dcp_runner::request::{Definition, Request, Submit};
use dcp_runner::results::Format;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;

#[derive(Debug)]
pub(super) struct InstantRunner {
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    executions: HashMap<Id, Record>,
    tokens: HashMap<String, Id>,
    /// Live executions by their exclusive keys.
    live_by_key: BTreeMap<String, Id>,
    /// The newest epoch seen of each lease.
    newest_epochs: HashMap<String, u64>,
}

impl InstantRunner {
    pub(super) fn new() -> Self {
        let job = dcp_tests::job("  job: {pyspark: {main: main.py}}\n");
        Self { policy: Policy::of(&job, None), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of executions ever created.
    pub(super) fn count(&self) -> usize {
        self.lock().executions.len()
    }

    /// Returns the live execution that holds a key.
    pub(super) fn holder(&self, key: &str) -> Option<Record> {
        let state = self.lock();
        state.executions.get(state.live_by_key.get(key)?).cloned()
    }

    /// Returns the creation time of the newest live execution.
    pub(super) fn last_start(&self) -> Option<Timestamp> {
        let state = self.lock();
        state.live_by_key.values().filter_map(|id| Some(state.executions.get(id)?.execution.created)).max()
    }

    /// Fails a live execution with a retryable cause, and returns the time.
    pub(super) fn fail(&self, key: &str) -> Option<Timestamp> {
        let (mut state, at, cause) = (self.lock(), Timestamp::now(), Cause::NodeLost);
        let id = state.live_by_key.get(key)?.clone();
        let diagnosis = Diagnosis {
            class: cause.class(),
            cause: cause.name().to_owned(),
            summary: cause.description().to_owned(),
            evidence: Vec::new(),
        };
        state.end(&id, Phase::Failed, None, Some(diagnosis), at)?;
        Some(at)
    }

    fn new_record(&self, request: Request, at: Timestamp) -> Record {
        let id = Id::new(at, rand::random());
        let mut execution = Execution::new(id, self.policy.clone(), Backend::Local, at);
        execution.phase = Phase::Running;
        execution.attempts.push(Attempt {
            number: 1,
            backend: Backend::Local,
            begun: at,
            running: Some(at),
            queued: dcp_runner::execution::Wait::None,
            addresses: Addresses::default(),
            cluster: None,
            end: None,
            diagnosis: None,
            adjusted: BTreeMap::new(),
        });
        let owner = "memory".to_owned();
        Record { request, execution, history: Vec::new(), version: 1, owner, progress: None }
    }
}

impl State {
    fn get(&self, id: &Id) -> Result<Record> {
        let mut record = self.executions.get(id).cloned().ok_or_else(|| not_found(id))?;
        record.progress = progress(record.execution.phase);
        Ok(record)
    }

    fn end(
        &mut self,
        id: &Id,
        phase: Phase,
        stopping: Option<StopReason>,
        diagnosis: Option<Diagnosis>,
        at: Timestamp,
    ) -> Option<()> {
        let record = self.executions.get_mut(id).filter(|it| !it.execution.phase.is_final())?;
        let execution = &mut record.execution;
        (execution.phase, execution.stopping, execution.ended) = (phase, stopping, Some(at));
        let attempt = execution.attempts.last_mut()?;
        attempt.end = Some(End { stopped: phase == Phase::Cancelled, ..End::exited(at, Some(1), None) });
        attempt.diagnosis = diagnosis;
        record.version += 1;
        if let Some(key) = &record.request.exclusive {
            self.live_by_key.remove(key);
        }
        Some(())
    }

    fn admit(&mut self, request: &Request) -> Result<Option<Submitted>> {
        if let Some(fence) = &request.fence {
            let newest = self.newest_epochs.entry(fence.lease.clone()).or_insert(fence.epoch);
            if fence.epoch < *newest {
                let (lease, epoch, newest) = (fence.lease.clone(), fence.epoch, *newest);
                return Err(Error::Fenced { lease, epoch, newest });
            }
            *newest = fence.epoch;
        }
        if let Some(id) = self.tokens.get(&request.token) {
            let record = self.get(id)?;
            let differences = record.request.differences(request);
            return match differences.is_empty() {
                true => Ok(Some(Submitted { record, fresh: false })),
                false => Err(Error::TokenReused { id: id.clone(), differences }),
            };
        }
        let key = request.exclusive.as_ref();
        match key.and_then(|key| Some((key.clone(), self.live_by_key.get(key)?.clone()))) {
            Some((key, by)) => Err(Error::Held { key, by }),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Runner for InstantRunner {
    async fn submit(&self, submit: Submit) -> Result<Submitted> {
        submit.check()?;
        let job = match &submit.job {
            Definition::Inline(defined) => defined.fingerprint().clone(),
            Definition::Applied(reference) => {
                let no_registry = || Error::NotFound("this Runner has no registry".to_owned());
                reference.fingerprint.clone().ok_or_else(no_registry)?
            }
        };
        let request = submit.request(job);
        let mut state = self.lock();
        if let Some(known) = state.admit(&request)? {
            return Ok(known);
        }
        let record = self.new_record(request, Timestamp::now());
        let id = record.id().clone();
        state.tokens.insert(record.request.token.clone(), id.clone());
        state.live_by_key.extend(record.request.exclusive.clone().map(|key| (key, id.clone())));
        // Like a real Runner, which has stored the execution and started nothing. The next poll sees it running.
        let mut response = record.clone();
        response.execution.phase = Phase::Queued;
        response.execution.attempts.clear();
        state.executions.insert(id, record);
        Ok(Submitted { record: response, fresh: true })
    }

    async fn check(&self, id: &Id) -> Result<Record> {
        self.lock().get(id)
    }

    async fn cancel(&self, id: &Id, by: &str) -> Result<Record> {
        let mut state = self.lock();
        let stopping = StopReason::Cancelled { by: by.to_owned() };
        // An execution that has ended already stays unchanged.
        let _ = state.end(id, Phase::Cancelled, Some(stopping), None, Timestamp::now());
        state.get(id)
    }

    async fn list(&self, _: &Filter, _: Option<&Id>, _: u32) -> Result<Vec<Record>> {
        Err(Error::Unavailable("this Runner does not list executions".to_owned()))
    }

    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        let state = self.lock();
        // All jobs of a benchmark are in one domain.
        let after = after.split_once('\n').map_or("", |(_, key)| key);
        let held = state.live_by_key.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let holder = |(key, id): (&String, &Id)| {
            let Record { request, execution, version, .. } = state.executions.get(id)?;
            Some(Holder {
                key: key.clone(),
                id: id.clone(),
                scope: request.scope.clone(),
                domain: request.domain.clone(),
                name: request.name.clone(),
                phase: execution.phase,
                version: *version,
                progress: progress(execution.phase),
            })
        };
        Ok(held.filter_map(holder).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    fn watch(&self, id: &Id, _: usize) -> BoxStream<'static, Result<Transition>> {
        stream::iter([Err(not_found(id))]).boxed()
    }

    fn logs(&self, id: &Id, _: LogRequest) -> BoxStream<'static, Result<LogPart>> {
        stream::iter([Err(not_found(id))]).boxed()
    }

    fn result(&self, id: &Id, _: Format) -> BoxStream<'static, Result<Bytes>> {
        stream::iter([Err(not_found(id))]).boxed()
    }
}

/// Returns the progress of a stream that finished a batch just now, for a running execution.
fn progress(phase: Phase) -> Option<Progress> {
    let now = Progress { queries: 1, last_activity: Some(Timestamp::now()), ..Progress::default() };
    (phase == Phase::Running).then_some(now)
}

fn not_found(id: &Id) -> Error {
    Error::NotFound(format!("there is no execution {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(token: &str, epoch: u64) -> Submit {
        Submit {
            token: token.to_owned(),
            job: Definition::from(dcp_tests::job("  job: {pyspark: {main: main.py}}\n")),
            parameters: BTreeMap::new(),
            streaming: None,
            exclusive: Some("s3://lake/clicks".to_owned()),
            order: None,
            fence: Some(dcp_runner::request::Fence { lease: "reconciler".to_owned(), epoch }),
            by: "tester".to_owned(),
            on_behalf_of: None,
        }
    }

    #[tokio::test]
    async fn instant_runner_enforces_tokens_keys_and_epochs() {
        let runner = InstantRunner::new();
        let one = runner.submit(submit("one", 2)).await.unwrap().record;
        assert_eq!(one.execution.phase, Phase::Queued);
        assert_eq!(runner.check(one.id()).await.unwrap().execution.phase, Phase::Running);
        assert!(!runner.submit(submit("one", 2)).await.unwrap().fresh);
        let held = runner.submit(submit("two", 2)).await.unwrap_err();
        assert!(matches!(held, Error::Held { by, .. } if by == *one.id()));
        let fenced = runner.submit(submit("one", 1)).await.unwrap_err();
        assert!(matches!(fenced, Error::Fenced { newest: 2, .. }));
        assert_eq!(runner.holders("", 10).await.unwrap().len(), 1);
        assert_eq!(runner.cancel(one.id(), "tester").await.unwrap().execution.phase, Phase::Cancelled);
        assert_eq!(runner.holders("", 10).await.unwrap(), []);
        let two = runner.submit(submit("two", 2)).await.unwrap();
        assert!(two.fresh);
        assert!(runner.fail("s3://lake/clicks").is_some());
        assert_eq!(runner.check(two.record.id()).await.unwrap().execution.phase, Phase::Failed);
        assert_eq!((runner.count(), runner.last_start()), (2, None));
    }
}
