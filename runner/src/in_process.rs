//! The Runner of this process: it stores what is submitted, and drives every execution to its end.
//!
//! Several Runners may share a store. Each drives the executions that it owns, in one task per execution (`drive`).
//! [`membership`] decides which Runner owns an execution, so that another Runner takes over from one that is gone.

mod buckets;
mod drive;
mod limits;
mod lines;
mod maintenance;
mod measure;
pub mod membership;
mod observe;
mod queue;
mod slots;
mod stream;
mod submit;
mod supervise;
mod task;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use dcp_gateway::Compute;
use dcp_model::manifest;
use dcp_model::primitive::{CoreEtlJob, Fingerprint};
use dcp_server::policy::Policy;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{RwLock, watch};

use crate::api::{Error, Filter, Holder, LogPart, LogRequest, Record, Result, Runner, Submitted};
use crate::cache::Cache;
use crate::execution::{Id, Phase, Transition};
use crate::machine::{Event, apply_event};
use crate::request::{CanonicalJob, Reference, Submit};
use crate::results::{Format, Results};
use crate::store::{SaveExtras, Store};
use buckets::Buckets;
use lines::Lines;
use membership::Membership;
use observe::Watches;
use queue::{QueuePermit, Queues};
use slots::{Slot, Slots};
use task::Task;

/// The registry of applied jobs.
#[async_trait]
pub trait Jobs: fmt::Debug + Send + Sync {
    /// Returns the current revision of a job, if it is applied.
    async fn current(&self, of: &Reference) -> Result<Option<Fingerprint>>;

    /// Returns whether the job is continuous, so that a reconciler runs it.
    async fn is_continuous(&self, of: &Reference) -> Result<bool>;

    /// Returns the job at a revision, if that revision was ever applied.
    async fn job(&self, of: &Reference, revision: &Fingerprint) -> Result<Option<CoreEtlJob>>;
}

/// A backend, and how much this Runner may run on it.
#[derive(Debug, Clone)]
pub struct Backend {
    pub compute: Arc<dyn Compute>,
    /// Maximum number of this Runner's attempts that are alive there at once.
    pub slots: Option<usize>,
}

/// Default maximum number of executions of a domain that wait to be started.
pub const MAX_QUEUED: usize = 10_000;

/// Options of a Runner.
#[derive(Debug, Clone)]
pub struct Options {
    /// The backends; jobs that name none run on the first.
    pub backends: Vec<(manifest::Backend, Backend)>,
    pub jobs: Option<Arc<dyn Jobs>>,
    /// Storage of results.
    pub results: Option<Results>,
    /// Identifier of the location of its backends, in letters and digits. A Runner takes over only from Runners of the
    /// same location, because it can't learn the state of attempts elsewhere.
    pub location_id: String,
    /// Folder of the Runners' lock files, if the store is a file on this machine.
    pub lock_folder: Option<PathBuf>,
    /// Minimum retention of an execution after its end; a longer `ttl` of its own prevails. Until then, its token
    /// returns the same execution.
    pub retention: Duration,
    /// Maximum number of executions of a domain that wait to be started, if the policy has no such limit for it.
    pub max_queued: usize,
    /// The policy with the limits of domains.
    pub policy: Option<watch::Receiver<Arc<Policy>>>,
    /// Interval at which the status of an attempt is polled while its backend can't be watched.
    pub poll_interval: Duration,
    /// Time without a heartbeat after which other Runners take over.
    pub lease: Duration,
    /// Returns the time at the start of the Runner. A monotonic clock adds the rest, so that setting the system clock
    /// moves no timeout.
    pub clock: fn() -> Timestamp,
}

impl Options {
    pub fn new(backends: Vec<(manifest::Backend, Backend)>, clock: fn() -> Timestamp) -> Self {
        Self {
            backends,
            jobs: None,
            results: None,
            location_id: "anywhere".to_owned(),
            lock_folder: None,
            retention: Duration::from_hours(30 * 24),
            max_queued: MAX_QUEUED,
            policy: None,
            poll_interval: Duration::from_millis(500),
            lease: Duration::from_secs(15),
            clock,
        }
    }
}

/// The Runner of this process. Clones share one Runner.
#[derive(Debug, Clone)]
pub struct InProcessRunner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    options: Options,
    started: (Timestamp, Instant),
    membership: Membership,
    slots: BTreeMap<manifest::Backend, Arc<Slots>>,
    queues: Arc<Queues>,
    lines: Arc<Lines>,
    buckets: Mutex<Buckets>,
    watches: Watches,
    tasks: Mutex<HashMap<Id, Arc<Task>>>,
    /// Caches of jobs by their revisions: those that ran, and those that the registry returned.
    jobs: Cache<Fingerprint, Arc<CanonicalJob>>,
    applied_jobs: Cache<Reference, Arc<CanonicalJob>>,
    /// Time at which a backend last accepted a job.
    accepted: Cache<Fingerprint, Instant>,
    stopping: watch::Sender<bool>,
    /// Read-locked while a checkpoint's state is moved.
    checkpoint_moves: Arc<RwLock<()>>,
}

/// Capacity of the caches: bytes of job text, and number of jobs that were accepted.
const JOB_CACHE_BYTES: usize = 8 << 20;
const ACCEPTED_CACHE_ENTRIES: usize = 4096;
/// Maximum time to wait for the status of an execution after the start, and for moves of checkpoints on stop.
const START_STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl InProcessRunner {
    /// Starts to drive the executions that are submitted to this Runner or taken over from others.
    pub async fn start(store: Store, options: Options) -> Result<Self> {
        let membership = Membership::start(&store, &options).await?;
        let slots =
            options.backends.iter().filter_map(|(name, backend)| Some((*name, Slots::new(backend.slots?))));
        let slots = slots.collect();
        let (stopping, _) = watch::channel(false);
        let started = ((options.clock)(), Instant::now());
        let queues = Queues::new(options.max_queued);
        let watches = Watches::new(options.backends.iter().map(|(name, _)| *name));
        let inner = Arc::new(Inner {
            store,
            queues,
            lines: Arc::default(),
            buckets: Mutex::default(),
            options,
            started,
            membership,
            slots,
            watches,
            tasks: Mutex::default(),
            jobs: Cache::new(JOB_CACHE_BYTES),
            applied_jobs: Cache::new(JOB_CACHE_BYTES),
            accepted: Cache::new(ACCEPTED_CACHE_ENTRIES),
            stopping,
            checkpoint_moves: Arc::default(),
        });
        inner.membership.take_over(&inner.store).await?;
        inner.drive_owned().await?;
        for (name, backend) in &inner.options.backends {
            tokio::spawn(observe::run(Arc::clone(&inner), *name, Arc::clone(&backend.compute)));
        }
        tokio::spawn(maintenance::run(Arc::clone(&inner)));
        Ok(Self(inner))
    }

    /// Stops driving executions. Their attempts keep running, and another Runner takes them over.
    pub async fn stop(&self) -> Result<()> {
        self.0.stopping.send_replace(true);
        // Others take over at once after `leave`, so this Runner must not move a checkpoint beside them. A move that
        // takes longer ends with this process, and others detect that the process is gone.
        match tokio::time::timeout(START_STOP_TIMEOUT, self.0.checkpoint_moves.write()).await {
            Ok(_nothing_moves) => self.0.membership.leave(&self.0.store).await,
            Err(_) => Ok(()),
        }
    }

    /// Waits until the status of every execution that was taken over is known, with a timeout for each.
    pub async fn wait_for_statuses(&self) {
        let tasks: Vec<Arc<Task>> = self.0.tasks().values().cloned().collect();
        for task in tasks {
            let mut status_known = task.status_known.subscribe();
            // A task also sets it when it ends. A timeout is no error.
            let _ = tokio::time::timeout(START_STOP_TIMEOUT, status_known.wait_for(|it| *it)).await;
        }
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        later(self.started.0, self.started.1.elapsed())
    }

    fn compute(&self, backend: manifest::Backend) -> Option<&Arc<dyn Compute>> {
        let found = self.options.backends.iter().find(|(name, _)| *name == backend);
        found.map(|(_, backend)| &backend.compute)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task that drives an execution, or wakes its task if the version is newer. A `known` record saves
    /// reading it.
    fn start_or_wake(
        self: &Arc<Self>,
        id: &Id,
        version: u64,
        known: Option<Record>,
        permit: Option<QueuePermit>,
    ) {
        let task = {
            let mut tasks = self.tasks();
            if let Some(task) = tasks.get(id) {
                if *task.version.borrow() < version {
                    task.wake.notify_one();
                }
                return;
            }
            let task = Arc::new(Task::new(version));
            tasks.insert(id.clone(), Arc::clone(&task));
            task
        };
        let slot = known.as_ref().and_then(|record| self.occupy(record));
        tokio::spawn(drive::drive(Arc::clone(self), id.clone(), task, known, (slot, permit)));
    }

    /// Takes the slot of an execution whose attempt may be alive, if it is one that needs a slot.
    fn occupy(&self, record: &Record) -> Option<Slot> {
        let slots = self.slots_of(record)?;
        record.execution.phase.may_be_alive().then(|| slots.occupy())
    }

    /// Returns the slots of an execution's backend. A stream needs no slot, as it would never free it.
    fn slots_of(&self, record: &Record) -> Option<&Arc<Slots>> {
        let is_batch = record.request.streaming.is_none();
        self.slots.get(&record.execution.backend).filter(|_| is_batch)
    }

    /// Returns the job of a stored execution.
    async fn job(&self, fingerprint: &Fingerprint) -> Result<Arc<CanonicalJob>> {
        if let Some(known) = self.jobs.get(fingerprint) {
            return Ok(known);
        }
        let canonical = Arc::new(self.store.job(fingerprint).await?);
        self.jobs.put(fingerprint.clone(), Arc::clone(&canonical), canonical.text().len());
        Ok(canonical)
    }

    /// Adds to a stored record the reason of a wait and the progress, which its task has in memory.
    async fn with_live_state(&self, mut record: Record) -> Result<Record> {
        let task = self.tasks().get(record.id()).cloned();
        if matches!(record.execution.phase, Phase::Queued | Phase::Retrying)
            && let Some(message) = task.as_ref().and_then(|it| it.waiting().message(&record.request.domain))
        {
            record.execution.waiting = Some(message);
        }
        if record.request.streaming.is_some() {
            record.progress = match task {
                Some(task) => task.progress().0.clone(),
                None => self.store.progress(record.id()).await?,
            };
        }
        Ok(record)
    }

    /// Stops an execution for a reason, also if another Runner owns it.
    async fn stop_execution(&self, id: &Id, reason: &Event) -> Result<Record> {
        loop {
            let mut record = self.store.get(id).await?.ok_or_else(|| Error::unknown(id))?;
            if record.execution.phase.is_final() {
                return Ok(record);
            }
            let now = self.now();
            let Some(transition) = apply_event(&mut record.execution, reason.clone(), now) else {
                return Ok(record);
            };
            record.history.push(transition);
            let extras = SaveExtras { clean_at: clean_at(&record), ..SaveExtras::default() };
            if self.store.save(&mut record, extras).await? {
                if let Some(task) = self.tasks().get(id) {
                    task.wake.notify_one();
                }
                return Ok(record);
            }
        }
    }
}

/// Returns the time at which the backends' data of an execution is removed.
fn clean_at(record: &Record) -> Option<Timestamp> {
    let ttl = Duration::from_secs(record.execution.policy.ttl_seconds);
    record.execution.ended.map(|ended| later(ended, ttl))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl Runner for InProcessRunner {
    async fn submit(&self, submit: Submit) -> Result<Submitted> {
        self.0.submit(submit).await
    }

    async fn check(&self, id: &Id) -> Result<Record> {
        let record = self.0.store.get(id).await?.ok_or_else(|| Error::unknown(id))?;
        self.0.with_live_state(record).await
    }

    async fn cancel(&self, id: &Id, by: &str) -> Result<Record> {
        self.0.stop_execution(id, &Event::Cancel { by: by.to_owned() }).await
    }

    async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>> {
        let found = self.0.store.list(filter, before, limit).await?;
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            records.push(self.0.with_live_state(record).await?);
        }
        Ok(records)
    }

    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        let mut found = self.0.store.holders(after, limit).await?;
        let tasks = self.0.tasks();
        for holder in &mut found {
            if let Some(task) = tasks.get(&holder.id) {
                holder.progress.clone_from(&task.progress().0);
            }
        }
        Ok(found)
    }

    fn watch(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>> {
        stream::watch(Arc::clone(&self.0), id.clone(), from)
    }

    fn logs(&self, id: &Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>> {
        stream::logs(Arc::clone(&self.0), id.clone(), request)
    }

    fn result(&self, id: &Id, format: Format) -> BoxStream<'static, Result<Bytes>> {
        stream::result(Arc::clone(&self.0), id.clone(), format)
    }
}
