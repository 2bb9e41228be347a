//! Measures the cost of reconciling many continuous jobs against a Runner that responds at once: starting all jobs, the
//! steady state, restarting some, and recovery from the death of a reconciler or an execution.

mod at_once;
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
use at_once::AtOnce;

/// Leases to measure: the default of `dcp serve reconciler`, and a short one.
const LEASES: [(&str, Duration); 2] =
    [("failover_15", Duration::from_secs(15)), ("failover_5", Duration::from_secs(5))];
/// The number of executions that are made to fail.
pub const DEATHS: usize = 20;
/// Time between two failures. It is no multiple of the poll interval, so that failures fall at any point between polls.
const APART: Duration = Duration::from_millis(137);
/// Timeout of each wait.
const PATIENCE: Duration = Duration::from_mins(10);

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
        round.go(number == 0).await?;
        for (what, value) in round.found {
            found.entry(what).or_default().push(value);
        }
    }
    Ok(json!({ "jobs": options.jobs, "deaths": DEATHS, "found": found }))
}

/// A round of measurements, on a new database.
struct Round<'a> {
    options: &'a Options,
    database: String,
    runner: Arc<AtOnce>,
    store: Store,
    generation: u64,
    found: Vec<(&'static str, f64)>,
}

impl<'a> Round<'a> {
    async fn new(database: String, options: &'a Options) -> Result<Self> {
        let (runner, store) = (Arc::new(AtOnce::new()), streams::store(&database).await?);
        Ok(Self { options, database, runner, store, generation: 0, found: Vec::new() })
    }

    /// Runs all measurements of a round; slow ones with little variance (steady state, failover) only if `with_all` is
    /// set.
    async fn go(&mut self, with_all: bool) -> Result<()> {
        let jobs = self.options.jobs;
        self.apply(jobs).await?;
        let begun = Timestamp::now();
        let mut keeping = self.keeper(LEASES[0].1).await?;
        let took = self.started(jobs, begun).await?;
        self.note("start", took);
        self.rests().await?;
        if with_all {
            self.steady().await?;
        }
        for (what, count) in [("drift_1", jobs.div_ceil(100)), ("drift_10", jobs.div_ceil(10))] {
            let before = self.runner.count();
            let begun = self.apply(count).await?;
            let took = self.started(before + count, begun).await?;
            self.note(what, took);
            self.rests().await?;
        }
        keeping.leave().await?;
        self.apply(1).await?;
        let (before, begun) = (self.runner.count(), Timestamp::now());
        keeping = self.keeper(LEASES[0].1).await?;
        let took = self.started(before + 1, begun).await?;
        self.note("restart", took);
        self.deaths().await?;
        self.rests().await?;
        keeping.leave().await?;
        if with_all {
            for (what, lease) in LEASES {
                self.failover(what, lease).await?;
            }
        }
        self.all_run().await
    }

    fn note(&mut self, what: &'static str, value: f64) {
        self.found.push((what, value));
    }

    /// Applies a new generation of the first `count` jobs, and returns the time at which the commit began.
    async fn apply(&mut self, count: usize) -> Result<Timestamp> {
        self.generation += 1;
        streams::applied(&self.database, Streams { count, generation: self.generation }).await
    }

    /// Starts a reconciler with its own connections, as in a separate process.
    async fn keeper(&self, lease: Duration) -> Result<Keeping> {
        let keeper = Reconciler {
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
        Ok(Keeping { stop, task: tokio::spawn(keeper.run(stopped)) })
    }

    /// Waits until `count` executions were ever created, and returns the seconds from `since` to the start of the
    /// latest.
    async fn started(&self, count: usize, since: Timestamp) -> Result<f64> {
        let deadline = Instant::now() + PATIENCE;
        while self.runner.count() < count {
            if Instant::now() > deadline {
                return Err(format!("{} of {count} were started", self.runner.count()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.runner.last_start().ok_or("none is alive")?.duration_since(since).as_secs_f64())
    }

    async fn versions(&self) -> Result<u64> {
        Ok(self.store.jobs().await?.iter().map(|(_, memory)| memory.version).sum())
    }

    /// Waits until no job state was stored for three seconds.
    async fn rests(&self) -> Result<()> {
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

    async fn steady(&mut self) -> Result<()> {
        let (written, busy, begun) = (self.versions().await?, process::busy()?, Instant::now());
        tokio::time::sleep(self.options.steady).await;
        let (busy, took) = (process::busy()?.saturating_sub(busy), begun.elapsed());
        self.note("steady_memory", process::memory()?);
        self.note("steady_seconds", took.as_secs_f64());
        self.note("steady_core", busy.as_secs_f64() / took.as_secs_f64());
        let written = self.versions().await?.saturating_sub(written);
        self.note("steady_writes", f64::from(u32::try_from(written)?));
        Ok(())
    }

    /// Fails executions one by one, of jobs that were not changed before. Measures the time until the reconciler
    /// notices the failure, the backoff of its policy, and the delay of the restart after the backoff.
    async fn deaths(&mut self) -> Result<()> {
        let jobs = self.options.jobs;
        let before = self.runner.count();
        let chosen = jobs / 2..jobs.min(jobs / 2 + DEATHS);
        let mut died = Vec::new();
        for number in chosen {
            let at = self.runner.fail(&streams::checkpoint(number)).ok_or("it is not alive")?;
            died.push((number, at));
            tokio::time::sleep(APART).await;
        }
        self.started(before + died.len(), Timestamp::now()).await?;
        for (number, at) in died {
            let record = self.runner.holder(&streams::checkpoint(number)).ok_or("it is not alive")?;
            let back = record.execution.created;
            let key = streams::key(number);
            let until = self.store.job(&key).await?.state.not_before.ok_or("it was not left alone")?;
            let events = self.store.events(&key, 10).await?;
            let noticed =
                events.iter().find(|it| it.message.contains("failed")).ok_or("it was not noticed")?.at;
            let seconds = |it: SignedDuration| it.as_secs_f64();
            self.note("death", seconds(back.duration_since(at)));
            self.note("death_noticed", seconds(noticed.duration_since(at)));
            self.note("death_left_alone", seconds(until.duration_since(noticed)));
            self.note("death_late", seconds(back.duration_since(until)));
        }
        Ok(())
    }

    /// Ends one of two reconcilers abruptly, then changes a job.
    async fn failover(&mut self, what: &'static str, lease: Duration) -> Result<()> {
        let first = self.keeper(lease).await?;
        let (before, begun) = (self.runner.count(), self.apply(1).await?);
        self.started(before + 1, begun).await?;
        let second = self.keeper(lease).await?;
        // The second reconciler must have read the first one's heartbeat by now, as in production.
        tokio::time::sleep(lease / 2).await;
        let died = Timestamp::now();
        first.die().await;
        self.apply(1).await?;
        let took = self.started(before + 2, died).await?;
        self.note(what, took);
        self.rests().await?;
        second.leave().await
    }

    /// Checks that the stored state of all jobs matches their live executions; otherwise the measurements are void.
    async fn all_run(&self) -> Result<()> {
        let all: HashMap<Key, StoredJob> = self.store.jobs().await?.into_iter().collect();
        for number in 0..self.options.jobs {
            let alive = self.runner.holder(&streams::checkpoint(number)).ok_or("a job does not run")?;
            let stored = all.get(&streams::key(number)).ok_or("a job has no stored state")?;
            let run = stored.state.run.as_ref().ok_or("a job has no run")?;
            let is_it = run.execution.as_deref() == Some(alive.id().as_str());
            if !is_it || run.version.job != alive.request.job || run.stopping.is_some() {
                return Err(format!("stream {number} is not as it is remembered").into());
            }
        }
        Ok(())
    }
}

/// A running reconciler.
struct Keeping {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Aborts the reconciler at an arbitrary point.
    async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn leave(self) -> Result<()> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}
