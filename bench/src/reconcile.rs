//! Measures the cost of reconciling many continuous jobs against a Runner that responds at once: starting all jobs, the
//! steady state, restarting some, and recovery from the death of a reconciler or an execution.

mod instant_runner;
mod process;
mod streams;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_reconciler::reconcile::Reconciler;
use dcp_reconciler::reconcile::store::{Key, Store, StoredJob};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use streams::{Streams, apply_streams};

use crate::runner::Result;
use instant_runner::InstantRunner;

/// Leases to measure: the default of `dcp serve reconciler`, and a short one.
const LEASES: [(&str, Duration); 2] =
    [("failover_15", Duration::from_secs(15)), ("failover_5", Duration::from_secs(5))];
/// The number of executions that are made to fail.
pub const FAILURES: usize = 20;
/// Time between two failures. It is no multiple of the poll interval, so that failures fall at any point between polls.
const FAILURE_INTERVAL: Duration = Duration::from_millis(137);
/// Timeout of each wait.
const WAIT_TIMEOUT: Duration = Duration::from_mins(10);

/// Size and duration of the measurement.
#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    pub jobs: usize,
    /// Duration of the measurement in the steady state.
    pub steady: Duration,
    pub postgres: bool,
}

/// Runs all measurements, and returns a JSON object with the list of values of each.
///
/// Measure one database per process, because memory is never returned to the system. The folder for temporary files
/// must be on the disk to measure.
pub async fn measure(options: &Options) -> Result<Value> {
    let mut found: HashMap<&str, Vec<f64>> = HashMap::new();
    for number in 0..options.rounds {
        let folder = tempfile::tempdir()?;
        let database = match options.postgres {
            false => folder.path().join("state.db").to_string_lossy().into_owned(),
            true => dcp_tests::postgres::durable_database(),
        };
        let mut round = Round::new(database, options).await?;
        round.run(number == 0).await?;
        for (metric, value) in round.found {
            found.entry(metric).or_default().push(value);
        }
    }
    Ok(json!({ "jobs": options.jobs, "failures": FAILURES, "found": found }))
}

/// A round of measurements, on a new database.
struct Round<'a> {
    options: &'a Options,
    database: String,
    runner: Arc<InstantRunner>,
    store: Store,
    generation: u64,
    found: Vec<(&'static str, f64)>,
}

impl<'a> Round<'a> {
    async fn new(database: String, options: &'a Options) -> Result<Self> {
        let (runner, store) = (Arc::new(InstantRunner::new()), streams::store(&database).await?);
        Ok(Self { options, database, runner, store, generation: 0, found: Vec::new() })
    }

    /// Runs all measurements of a round; slow ones with little variance (steady state, failover) only if `with_all` is
    /// set.
    async fn run(&mut self, with_all: bool) -> Result<()> {
        let jobs = self.options.jobs;
        self.apply(jobs).await?;
        let begun = Timestamp::now();
        let mut reconciler = self.start_reconciler(LEASES[0].1).await?;
        let took = self.wait_for_starts(jobs, begun).await?;
        self.record("start", took);
        self.wait_until_quiet().await?;
        if with_all {
            self.measure_steady_state().await?;
        }
        for (metric, count) in [("drift_1", jobs.div_ceil(100)), ("drift_10", jobs.div_ceil(10))] {
            let before = self.runner.count();
            let begun = self.apply(count).await?;
            let took = self.wait_for_starts(before + count, begun).await?;
            self.record(metric, took);
            self.wait_until_quiet().await?;
        }
        reconciler.stop().await?;
        self.apply(1).await?;
        let (before, begun) = (self.runner.count(), Timestamp::now());
        reconciler = self.start_reconciler(LEASES[0].1).await?;
        let took = self.wait_for_starts(before + 1, begun).await?;
        self.record("restart", took);
        self.measure_failures().await?;
        self.wait_until_quiet().await?;
        reconciler.stop().await?;
        if with_all {
            for (metric, lease) in LEASES {
                self.measure_failover(metric, lease).await?;
            }
        }
        self.check_jobs().await
    }

    fn record(&mut self, metric: &'static str, value: f64) {
        self.found.push((metric, value));
    }

    /// Applies a new generation of the first `count` jobs, and returns the time at which the commit began.
    async fn apply(&mut self, count: usize) -> Result<Timestamp> {
        self.generation += 1;
        streams::apply_in_subprocess(&self.database, Streams { count, generation: self.generation }).await
    }

    /// Starts a reconciler with its own connections, as in a separate process.
    async fn start_reconciler(&self, lease: Duration) -> Result<RunningReconciler> {
        let reconciler = Reconciler {
            registry: streams::registry(&self.database).await?,
            store: streams::store(&self.database).await?,
            runner: self.runner.clone(),
            lease,
            clock: Timestamp::now,
            log: Arc::new(|said| {
                let _ = writeln!(std::io::stderr(), "the reconciler: {said}");
            }),
        };
        let (stop, stopped) = watch::channel(false);
        Ok(RunningReconciler { stop, task: tokio::spawn(reconciler.run(stopped)) })
    }

    /// Waits until `count` executions were ever created, and returns the seconds from `since` to the start of the
    /// latest.
    async fn wait_for_starts(&self, count: usize, since: Timestamp) -> Result<f64> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while self.runner.count() < count {
            if Instant::now() > deadline {
                return Err(format!("{} of {count} were started", self.runner.count()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.runner.last_start().ok_or("no execution is live")?.duration_since(since).as_secs_f64())
    }

    async fn versions(&self) -> Result<u64> {
        Ok(self.store.jobs().await?.iter().map(|(_, stored)| stored.version).sum())
    }

    /// Waits until no job state was stored for three seconds.
    async fn wait_until_quiet(&self) -> Result<()> {
        let mut before = self.versions().await?;
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let now = self.versions().await?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }

    async fn measure_steady_state(&mut self) -> Result<()> {
        let (written, busy, begun) = (self.versions().await?, process::cpu_time()?, Instant::now());
        tokio::time::sleep(self.options.steady).await;
        let (busy, took) = (process::cpu_time()?.saturating_sub(busy), begun.elapsed());
        self.record("steady_memory", process::resident_memory()?);
        self.record("steady_seconds", took.as_secs_f64());
        self.record("steady_core", busy.as_secs_f64() / took.as_secs_f64());
        let written = self.versions().await?.saturating_sub(written);
        self.record("steady_writes", f64::from(u32::try_from(written)?));
        Ok(())
    }

    /// Fails executions one by one, of jobs that were not changed before. Measures the time until the reconciler
    /// notices the failure, the backoff of its policy, and the delay of the restart after the backoff.
    async fn measure_failures(&mut self) -> Result<()> {
        let jobs = self.options.jobs;
        let before = self.runner.count();
        let chosen = jobs / 2..jobs.min(jobs / 2 + FAILURES);
        let mut failed = Vec::new();
        for number in chosen {
            let at = self.runner.fail(&streams::checkpoint(number)).ok_or("the job has no live execution")?;
            failed.push((number, at));
            tokio::time::sleep(FAILURE_INTERVAL).await;
        }
        self.wait_for_starts(before + failed.len(), Timestamp::now()).await?;
        for (number, at) in failed {
            let record =
                self.runner.holder(&streams::checkpoint(number)).ok_or("the job has no live execution")?;
            let restarted = record.execution.created;
            let key = streams::key(number);
            let backoff_end =
                self.store.job(&key).await?.state.not_before.ok_or("the failed job has no backoff")?;
            let events = self.store.events(&key, 10).await?;
            let detected = events
                .iter()
                .find(|it| it.message.contains("failed"))
                .ok_or("the failure was not detected")?
                .at;
            let seconds = |it: SignedDuration| it.as_secs_f64();
            self.record("failure_restart", seconds(restarted.duration_since(at)));
            self.record("failure_detected", seconds(detected.duration_since(at)));
            self.record("failure_backoff", seconds(backoff_end.duration_since(detected)));
            self.record("failure_delay", seconds(restarted.duration_since(backoff_end)));
        }
        Ok(())
    }

    /// Ends one of two reconcilers abruptly, then changes a job.
    async fn measure_failover(&mut self, metric: &'static str, lease: Duration) -> Result<()> {
        let first = self.start_reconciler(lease).await?;
        let (before, begun) = (self.runner.count(), self.apply(1).await?);
        self.wait_for_starts(before + 1, begun).await?;
        let second = self.start_reconciler(lease).await?;
        // The second reconciler must have read the first one's heartbeat by now, as in production.
        tokio::time::sleep(lease / 2).await;
        let failed = Timestamp::now();
        first.abort().await;
        self.apply(1).await?;
        let took = self.wait_for_starts(before + 2, failed).await?;
        self.record(metric, took);
        self.wait_until_quiet().await?;
        second.stop().await
    }

    /// Checks that the stored state of all jobs matches their live executions; otherwise the measurements are void.
    async fn check_jobs(&self) -> Result<()> {
        let all: HashMap<Key, StoredJob> = self.store.jobs().await?.into_iter().collect();
        for number in 0..self.options.jobs {
            let alive = self.runner.holder(&streams::checkpoint(number)).ok_or("a job does not run")?;
            let stored = all.get(&streams::key(number)).ok_or("a job has no stored state")?;
            let run = stored.state.run.as_ref().ok_or("a job has no run")?;
            let is_same = run.execution.as_deref() == Some(alive.id().as_str());
            if !is_same || run.version.job != alive.request.job || run.stopping.is_some() {
                return Err(format!("the live execution of stream {number} is not the stored one").into());
            }
        }
        Ok(())
    }
}

/// A running reconciler.
struct RunningReconciler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningReconciler {
    /// Aborts the reconciler at an arbitrary point.
    async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}
