//! The reconcile loop: keeps all continuous jobs of a control plane as declared, while it holds the lease.
//!
//! The loop compares states, not events: it polls applied jobs, requests, stored states and live executions. It decides
//! about a job if any of these changed or the job's wake-up time has come, so it writes nothing while nothing changes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_model::primitive::Kind;
use dcp_runner::api::{Holder, Runner, all_holders};
use dcp_runner::pace;
use dcp_runner::request::Fence;
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::complete;
use super::declared::read_declared;
use super::job::{Job, UpTo};
use super::lease::{Acts, Candidate, LEASE_NAME, LeaseHandle, Log};
use super::store::{Key, Store};
use super::worker::{self, CALLER, Outcome, Worker};
use super::{Condition, Health, JobState, Requested, RunStatus, observe};
use crate::assets::{Assets as _, NewCompletions};
use crate::registry::sql::Sql;
use crate::state::Scope;

/// Interval between polls of the registry and of requests.
const POLL: Duration = Duration::from_millis(500);
/// Shortest interval between scans of all live executions.
const SCAN: Duration = Duration::from_secs(1);
/// Interval after which all requests are read again.
const RESYNC: Duration = Duration::from_mins(1);
/// Pauses before the next check: of a run that stops, and after a failed step.
const STOPPING_POLL: SignedDuration = SignedDuration::from_millis(400);
const RETRY_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The maximum number of reports between two polls.
const MAX_REPORTS: usize = 256;
/// The number of jobs reconciled in parallel.
const MAX_PARALLEL: usize = 64;
/// Timeout of a scan.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Keeps continuous jobs as declared while it holds the lease.
pub struct Reconciler {
    pub registry: Sql,
    pub store: Store,
    pub runner: Arc<dyn Runner>,
    /// Time without a heartbeat after which another reconciler takes over.
    pub lease: Duration,
    pub clock: fn() -> Timestamp,
    pub log: Log,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Reconciler {
    /// Runs until `stop`. Reconciles jobs while it holds the lease.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let candidate = Candidate {
            store: &self.store,
            name: LEASE_NAME,
            duration: self.lease,
            clock: self.clock,
            log: &self.log,
        };
        candidate.lead(stop, &self).await;
    }
}

impl Acts for Reconciler {
    async fn act(&self, epoch: u64, handle: LeaseHandle) -> StepResult {
        let fence = Fence { lease: format!("{LEASE_NAME}-{}", self.store.id()), epoch };
        let (store, runner) = (self.store.clone(), Arc::clone(&self.runner));
        let worker = Worker { store, runner, fence, clock: self.clock };
        let mut term = Term {
            reconciler: self,
            worker,
            jobs: HashMap::new(),
            scopes: HashMap::new(),
            requests_read: 0,
            due: HashSet::new(),
            completed: Vec::new(),
            problem: None,
        };
        term.run(|| handle.epoch() == Some(epoch)).await
    }
}

/// The knowledge of one term of the lease.
struct Term<'a> {
    reconciler: &'a Reconciler,
    worker: Worker,
    jobs: HashMap<Key, Job>,
    /// The last known serial of each scope.
    scopes: HashMap<Scope, u64>,
    /// The change of the last known request.
    requests_read: u64,
    /// Jobs to decide about.
    due: HashSet<Key>,
    /// Reports to make, with the time up to which each is complete.
    completed: Vec<(Key, UpTo, NewCompletions)>,
    /// The problem that was reported last.
    problem: Option<String>,
}

type StepResult<T = ()> = Result<T, String>;

impl Term<'_> {
    async fn run(&mut self, is_leading: impl Fn() -> bool) -> StepResult {
        for (key, stored) in self.worker.store.jobs().await.map_err(text)? {
            self.jobs.extend(Job::new(key.clone(), stored).map(|job| (key, job)));
        }
        let begun = Instant::now();
        let (mut scan, mut poll, mut resync) = (begun, begun, begun);
        let mut reached = false;
        while is_leading() {
            if Instant::now() >= poll {
                if Instant::now() >= resync {
                    self.requests_read = 0;
                    resync = Instant::now() + RESYNC;
                }
                self.read_changes().await?;
                poll = Instant::now() + POLL;
            }
            self.complete().await?;
            if Instant::now() >= scan {
                let begun = Instant::now();
                let scanned = self.scan().await;
                let most = self.reconciler.lease.max(SCAN);
                scan = Instant::now() + pace::pause(&scanned, begun.elapsed(), SCAN..=most);
                reached = scanned.is_ok();
                self.log_problem(scanned.err());
            }
            // Without the Runner there is nothing to do.
            if reached {
                self.reconcile(&is_leading).await?;
            }
            let next_wake = if reached { self.next_wake() } else { None };
            let next = next_wake.map_or(poll, |at| poll.min(at)).min(scan);
            tokio::time::sleep_until(next.into()).await;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        (self.reconciler.clock)()
    }

    /// Logs a new problem, and the end of a problem.
    fn log_problem(&mut self, problem: Option<String>) {
        if problem != self.problem {
            let log = &self.reconciler.log;
            match &problem {
                Some(why) => log(&format!("the Runner can't be asked, so nothing is done: {why}")),
                None => log("the Runner answers again"),
            }
            self.problem = problem;
        }
    }

    /// Returns the next wake-up time.
    fn next_wake(&self) -> Option<Instant> {
        let first = self.jobs.values().filter_map(|job| job.wake).min()?;
        let left = first.duration_since(self.now()).unsigned_abs();
        let left = if first <= self.now() { Duration::ZERO } else { left };
        // A failing job must not cause a busy loop.
        Some(Instant::now() + left.max(Duration::from_millis(20)))
    }

    /// Reads new commits and new requests.
    async fn read_changes(&mut self) -> StepResult {
        for (scope, serial) in self.reconciler.registry.scopes().await.map_err(text)? {
            let known = self.scopes.get(&scope).copied().unwrap_or_default();
            if serial < known {
                return Err(format!("`{scope}` is at serial {serial}, and was at {known}"));
            }
            if serial > known {
                self.update_declared(scope, known).await?;
            }
        }
        for (key, requested, change) in self.worker.store.requests(self.requests_read).await.map_err(text)? {
            self.requests_read = self.requests_read.max(change);
            self.requested(key, requested);
        }
        Ok(())
    }

    async fn update_declared(&mut self, scope: Scope, since: u64) -> StepResult {
        let (serial, all) = read_declared(&self.reconciler.registry, &scope, since).await.map_err(text)?;
        for (address, declared) in all {
            let key = Key { scope: scope.as_str().to_owned(), address: address.to_string() };
            let Some(job) = self.job_mut(&key) else { continue };
            match declared {
                Ok(now) => (job.desired, job.unreadable) = (now, None),
                Err(why) => job.unreadable = Some(why),
            }
            self.due.insert(key);
        }
        self.scopes.insert(scope, serial);
        Ok(())
    }

    fn requested(&mut self, key: Key, requested: Requested) {
        if let Some(job) = self.job_mut(&key)
            && job.requested != requested
        {
            job.requested = requested;
            self.due.insert(key);
        }
    }

    fn job_mut(&mut self, key: &Key) -> Option<&mut Job> {
        if !self.jobs.contains_key(key) {
            let stored = super::store::StoredJob { state: JobState::default(), version: 0 };
            self.jobs.insert(key.clone(), Job::new(key.clone(), stored)?);
        }
        self.jobs.get_mut(key)
    }

    /// Lists the live executions, and marks jobs whose status changed.
    async fn scan(&mut self) -> StepResult {
        let holders = tokio::time::timeout(TIMEOUT, all_holders(&*self.worker.runner)).await;
        let late = |_| format!("it did not answer within {} s", TIMEOUT.as_secs());
        let holders = holders.map_err(late)?.map_err(text)?;
        let now = self.now();
        let by_key: HashMap<(&str, &str), &Holder> =
            holders.iter().map(|it| ((it.domain.as_str(), it.key.as_str()), it)).collect();
        let by_id: HashMap<&str, &Holder> = holders.iter().map(|it| (it.id.as_str(), it)).collect();
        self.completed.clear();
        for (key, job) in &mut self.jobs {
            let Some(run) = &job.stored.state.run else { continue };
            let seen = match (&run.execution, &job.observed.run) {
                (Some(execution), _) => match by_id.get(execution.as_str()) {
                    Some(holder) => {
                        let due = complete::due_report(job, holder);
                        self.completed.extend(due.map(|(up_to, new)| (key.clone(), up_to, new)));
                        observe::live_status(holder, &run.version, *job.silent_since.get_or_insert(now))
                    }
                    // It has ended, or had not started: the worker checks it.
                    None => RunStatus::Unknown,
                },
                (None, RunStatus::Held { by }) => {
                    match by_key.get(&(job.domain.as_str(), worker::exclusive(key, &run.version).as_str())) {
                        Some(holder) if holder.id.as_str() == by => RunStatus::Held { by: by.clone() },
                        _ => RunStatus::Nothing,
                    }
                }
                (None, _) => RunStatus::Nothing,
            };
            if !matches!(seen, RunStatus::Alive { health: Health::Silent { .. } }) {
                job.silent_since = None;
            }
            if seen == RunStatus::Unknown || !needs_no_decision(&seen, &job.observed.run) {
                self.due.insert(key.clone());
            }
            job.observed.run = seen;
        }
        self.find_suspects(&holders);
        Ok(())
    }

    /// Reports some of the completions; the rest waits for the next round.
    async fn complete(&mut self) -> StepResult {
        let from = self.completed.len().saturating_sub(MAX_REPORTS);
        for (key, up_to, new) in self.completed.split_off(from) {
            let Ok(scope) = key.scope.parse::<Scope>() else { continue };
            self.reconciler.registry.complete(&scope, &new, CALLER, self.now()).await.map_err(text)?;
            if let Some(job) = self.jobs.get_mut(&key) {
                job.completed_up_to = Some(up_to);
            }
        }
        Ok(())
    }

    /// Finds live executions of a job that are not its run.
    fn find_suspects(&mut self, holders: &[Holder]) {
        for holder in holders {
            let Some(scope) = &holder.scope else { continue };
            let address = format!("{}/{}/{}", Kind::ContinuousJob.name(), holder.domain, holder.name);
            let key = Key { scope: scope.clone(), address };
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let id = holder.id.as_str();
            let is_known = job.execution() == Some(id) || job.foreign.as_deref() == Some(id);
            // This may be a run whose submit response was lost; the repeated submit will show it.
            let is_awaited = job.stored.state.run.as_ref().is_some_and(|it| it.execution.is_none());
            if !is_known && !is_awaited {
                job.suspect = Some(holder.id.clone());
                self.due.insert(key);
            }
        }
    }

    /// Reconciles all jobs that are due.
    async fn reconcile(&mut self, is_leading: &impl Fn() -> bool) -> StepResult {
        let now = self.now();
        let woken = self.jobs.values().filter(|job| job.wake.is_some_and(|at| at <= now));
        self.due.extend(woken.map(|job| job.key.clone()));
        let due: Vec<Job> = self.due.drain().filter_map(|key| self.jobs.remove(&key)).collect();
        let worker = &self.worker;
        let mut reconciled = stream::iter(due)
            .map(|mut job| async move {
                // Nothing begins after the lease is lost.
                let outcome = if is_leading() { worker.reconcile(&mut job).await } else { Outcome::Lost };
                (job, outcome)
            })
            .buffer_unordered(MAX_PARALLEL);
        let mut lost = false;
        while let Some((mut job, outcome)) = reconciled.next().await {
            let now = (self.reconciler.clock)();
            let again = match outcome {
                Outcome::Done => matches!(job.condition, Condition::Stopping(_)).then_some(STOPPING_POLL),
                Outcome::Retry => Some(RETRY_PAUSE),
                Outcome::Lost => {
                    lost = true;
                    None
                }
            };
            if let Some(again) = again.and_then(|pause| now.checked_add(pause).ok()) {
                job.wake = Some(job.wake.map_or(again, |at| at.min(again)));
            }
            self.jobs.insert(job.key.clone(), job);
        }
        if lost { Err("somebody else acts".to_owned()) } else { Ok(()) }
    }
}

/// Returns whether a change from one status to the other needs no decision.
fn needs_no_decision(one: &RunStatus, other: &RunStatus) -> bool {
    match (one, other) {
        (RunStatus::Alive { health: one }, RunStatus::Alive { health: other }) => {
            std::mem::discriminant(one) == std::mem::discriminant(other)
        }
        (one, other) => one == other,
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
