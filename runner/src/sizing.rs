//! Automatic parameter selection (APS): chooses the resources of the next run from the manifest's bounds and earlier
//! runs.
//!
//! [`event_log`] measures a run; [`size`] decides, and is pure. The needs of a run are measured in numbers that do not
//! depend on its resources (the heap in use, the bytes of a shuffle, the duration of its tasks), so that a size chosen
//! by them is chosen again. Resources grow at once if memory was short. They shrink only if the last runs agree that
//! they are not needed, and never to a size that was too small before.

mod bounds;
pub mod event_log;
mod format;
mod heap;
mod measured;
mod number;

use std::collections::BTreeMap;

use dcp_model::manifest::{Job, Sizing};
use dcp_model::primitive::CoreEtlJob;

use crate::execution::Adjustment;
use bounds::Bounds;
pub use measured::{Measured, RunResources};

/// Number of runs that have to agree before anything shrinks.
const AGREEING_RUNS: usize = 3;
/// Number of runs that are considered; [`relevant_runs`] selects a few of the older ones.
const RECENT_RUNS: usize = 20;

/// Settings that [`size`] chooses.
const INSTANCES: &str = "spark.executor.instances";
const CORES: &str = "spark.executor.cores";
const EXECUTOR_MEMORY: &str = "spark.executor.memory";
const DRIVER_MEMORY: &str = "spark.driver.memory";
const PARTITIONS: &str = "spark.sql.shuffle.partitions";

/// Returns the settings of the next run, with the reason for each; none unless the manifest leaves them to dcp.
///
/// `earlier` are runs of this workload, the newest first, as [`relevant_runs`] returns them. The caller leaves out
/// runs that failed, were stopped or have no log, because they show nothing. Settings that a remedy changed in a
/// successful run are among what the run was given.
pub fn size(job: &CoreEtlJob, earlier: &[Measured]) -> BTreeMap<String, Adjustment> {
    if job.resources.sizing != Some(Sizing::Auto) {
        return BTreeMap::new();
    }
    let runs = Runs::of(job, earlier);
    let Some(last) = runs.all.first() else { return initial_sizes(job) };
    let mut sizes = BTreeMap::new();
    let mut set = |key: &str, value: String, why: String| {
        sizes.insert(key.to_owned(), Adjustment { value, why });
    };
    let executors = heap::executors(&runs);
    set(EXECUTOR_MEMORY, format!("{}m", executors.memory.value), executors.memory.why);
    let relieved = executors.memory.grew || executors.cores.value < last.given.executor_cores;
    let instances = number::instances(&runs, executors.cores.value, relieved);
    let slots = instances.as_ref().map_or(1, |it| it.value).saturating_mul(executors.cores.value);
    set(CORES, executors.cores.value.to_string(), executors.cores.why);
    if let Some(instances) = instances {
        set(INSTANCES, instances.value.to_string(), instances.why);
    }
    if let Some(driver) = heap::driver(&runs) {
        set(DRIVER_MEMORY, format!("{}m", driver.value), driver.why);
    }
    if let Some(partitions) = number::partitions(&runs, slots) {
        set(PARTITIONS, partitions.value.to_string(), partitions.why);
    }
    sizes
}

/// Selects the runs that sizing needs, the newest first: the recent ones, and older ones that show which memory is too
/// small, so that it is not tried again.
pub fn relevant_runs(job: &CoreEtlJob, earlier: &[Measured]) -> Vec<Measured> {
    let (recent, old) = earlier.split_at(earlier.len().min(RECENT_RUNS));
    let mut largest: BTreeMap<u64, &Measured> = BTreeMap::new();
    for run in old.iter().filter(|run| is_usable(run) && heap::pressure(job, run).is_some()) {
        let current = largest.entry(run.given.executor_cores).or_insert(run);
        if run.given.heap_mib() > current.given.heap_mib() {
            *current = run;
        }
    }
    // Cores are halved starting from the manifest's number, so that few distinct numbers occur.
    let old: Vec<&Measured> = largest.into_values().rev().take(8).collect();
    let old = earlier.iter().skip(RECENT_RUNS).filter(|run| old.iter().any(|it| std::ptr::eq(*it, *run)));
    recent.iter().chain(old).cloned().collect()
}

/// The size of one resource, and its reason.
struct Size {
    value: u64,
    grew: bool,
    why: String,
}

/// The earlier runs of a job.
struct Runs<'a> {
    job: &'a CoreEtlJob,
    /// Sorted from the newest to the oldest.
    all: Vec<&'a Measured>,
    /// Set if enough of the last runs are alike for anything to shrink.
    settled: bool,
}

impl<'a> Runs<'a> {
    fn of(job: &'a CoreEtlJob, earlier: &'a [Measured]) -> Self {
        let all: Vec<&Measured> = earlier.iter().filter(|run| is_usable(run)).collect();
        // A workload with little input at night may have much in the morning.
        let most = all.iter().take(AGREEING_RUNS).map(|run| run.volume()).max().unwrap_or(0);
        let quiet = all.iter().take(RECENT_RUNS).all(|run| run.volume() / 2 <= most);
        let settled = quiet && all.len() >= AGREEING_RUNS;
        Self { job, all, settled }
    }

    /// Returns the runs that have to agree.
    fn last(&self) -> &[&'a Measured] {
        self.all.get(..AGREEING_RUNS).unwrap_or(&self.all)
    }
}

impl Measured {
    /// Returns the bytes that the run read and shuffled.
    fn volume(&self) -> u64 {
        self.input_bytes.saturating_add(self.shuffle_write_bytes)
    }
}

/// Returns whether a run can be used. Sums of an incomplete log are too small, and a run without tasks had no work.
fn is_usable(run: &Measured) -> bool {
    run.complete && run.tasks > 0
}

/// Returns the settings of the first run, as in the manifest.
fn initial_sizes(job: &CoreEtlJob) -> BTreeMap<String, Adjustment> {
    let executors = &job.resources.executors;
    let why = |field: &str| format!("no earlier run was measured: it begins with `resources.{field}`");
    let mut sizes = BTreeMap::from([(
        EXECUTOR_MEMORY.to_owned(),
        Adjustment { value: executors.memory.to_string(), why: why("executors.memory") },
    )]);
    if let Some(bounds) = number::instance_bounds(job) {
        let (field, first) = match executors.initial {
            Some(initial) => ("executors.initial", u64::from(initial)),
            None => ("executors.min", 1),
        };
        let value = bounds.clamp(first).to_string();
        sizes.insert(INSTANCES.to_owned(), Adjustment { value, why: why(field) });
    }
    sizes
}

/// Returns whether dcp may choose the number of a job's shuffle partitions. A stream keeps the number that its state
/// was created with, and a manifest's own number prevails.
fn may_choose_partitions(job: &CoreEtlJob) -> bool {
    let keys = [PARTITIONS, "spark.sql.adaptive.coalescePartitions.initialPartitionNum"];
    !matches!(job.job, Job::Stream(_)) && !keys.iter().any(|key| job.spark.conf.contains_key(*key))
}

/// Returns the number of cores that one task takes. Spark itself rejects an invalid number.
fn cores_per_task(job: &CoreEtlJob) -> u64 {
    let given = job.spark.conf.get("spark.task.cpus").and_then(|value| value.as_str().parse().ok());
    given.unwrap_or(1).max(1)
}

/// Returns the bounds of the cores of an executor. Sizing may reduce the manifest's number if more memory is not
/// allowed.
fn core_bounds(job: &CoreEtlJob) -> Bounds {
    Bounds::new(cores_per_task(job), u64::from(job.resources.executors.cores))
}
