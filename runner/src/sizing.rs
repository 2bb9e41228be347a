//! APS: from the manifest's bounds and what earlier runs did to what the next run is given.
//!
//! [`event_log`] measures a run; [`size`] decides, and is pure. What a run is found to need is said in numbers that do
//! not depend on what it was given (the heap in use, the bytes of a shuffle, how long its tasks took), so that a size
//! that was chosen by them is chosen again. Growth is at once where memory was short; anything shrinks only where the
//! last runs agree that much of it is not needed, and never to where it was short before.

mod band;
pub mod event_log;
mod heap;
mod measured;
mod number;
mod said;

use std::collections::BTreeMap;

use dcp_model::manifest::{Job, Sizing};
use dcp_model::primitive::CoreEtlJob;

use crate::execution::Adjustment;
use band::Bounds;
pub use measured::{Given, Measured};

/// So many runs have to agree before anything shrinks.
const AGREE: usize = 3;
/// So many runs are looked at; of those before them only what [`kept`] keeps.
const RECENT: usize = 20;

/// Settings that [`size`] gives a value.
const INSTANCES: &str = "spark.executor.instances";
const CORES: &str = "spark.executor.cores";
const EXECUTOR_MEMORY: &str = "spark.executor.memory";
const DRIVER_MEMORY: &str = "spark.driver.memory";
const PARTITIONS: &str = "spark.sql.shuffle.partitions";

/// What the next run is given, with the reason for each: nothing, unless the manifest leaves it to the platform.
///
/// `earlier` are runs of this workload, the newest first, as [`kept`] keeps them. Of a run that failed or was stopped
/// nothing is to be learnt, so the caller leaves it out; a run that has no log is left out as well. What a remedy gave a
/// run that then succeeded needs no mention: it stands among what the run was given.
pub fn size(job: &CoreEtlJob, earlier: &[Measured]) -> BTreeMap<String, Adjustment> {
    if job.resources.sizing != Some(Sizing::Auto) {
        return BTreeMap::new();
    }
    let runs = Runs::of(job, earlier);
    let Some(last) = runs.all.first() else { return start(job) };
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

/// What is worth keeping of all runs, the newest first: the last ones, and of those before them the ones that show which
/// memory is too small, without which it would be tried again.
pub fn kept(job: &CoreEtlJob, earlier: &[Measured]) -> Vec<Measured> {
    let (recent, old) = earlier.split_at(earlier.len().min(RECENT));
    let mut largest: BTreeMap<u64, &Measured> = BTreeMap::new();
    for run in old.iter().filter(|run| teaches(run) && heap::pressure(job, run).is_some()) {
        let there = largest.entry(run.given.executor_cores).or_insert(run);
        if run.given.heap_mib() > there.given.heap_mib() {
            *there = run;
        }
    }
    // Cores are halved from the manifest's on, so that there are few kinds; whatever else there is can be forgotten.
    let old: Vec<&Measured> = largest.into_values().rev().take(8).collect();
    let old = earlier.iter().skip(RECENT).filter(|run| old.iter().any(|it| std::ptr::eq(*it, *run)));
    recent.iter().chain(old).cloned().collect()
}

/// The size of one thing, and why.
struct Size {
    value: u64,
    grew: bool,
    why: String,
}

/// What is known of earlier runs.
struct Runs<'a> {
    job: &'a CoreEtlJob,
    /// The newest first.
    all: Vec<&'a Measured>,
    /// Whether enough of the last runs are alike for anything to shrink.
    settled: bool,
}

impl<'a> Runs<'a> {
    fn of(job: &'a CoreEtlJob, earlier: &'a [Measured]) -> Self {
        let all: Vec<&Measured> = earlier.iter().filter(|run| teaches(run)).collect();
        // What has little to do at night has much to do in the morning.
        let most = all.iter().take(AGREE).map(|run| run.volume()).max().unwrap_or(0);
        let quiet = all.iter().take(RECENT).all(|run| run.volume() / 2 <= most);
        let settled = quiet && all.len() >= AGREE;
        Self { job, all, settled }
    }

    /// The runs that have to agree.
    fn last(&self) -> &[&'a Measured] {
        self.all.get(..AGREE).unwrap_or(&self.all)
    }
}

impl Measured {
    /// How much it had to do.
    fn volume(&self) -> u64 {
        self.input_bytes.saturating_add(self.shuffle_write_bytes)
    }
}

/// A log without its end has sums that are too small, and a run without tasks had nothing to do.
fn teaches(run: &Measured) -> bool {
    run.complete && run.tasks > 0
}

/// The first run: what the manifest says.
fn start(job: &CoreEtlJob) -> BTreeMap<String, Adjustment> {
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

/// Whether the number of a job's shuffle partitions is anybody's to choose. A stream keeps the number that its state
/// was begun with, and a manifest that gives one means it.
fn partitions_are_free(job: &CoreEtlJob) -> bool {
    let theirs = [PARTITIONS, "spark.sql.adaptive.coalescePartitions.initialPartitionNum"];
    !matches!(job.job, Job::Stream(_)) && !theirs.iter().any(|key| job.spark.conf.contains_key(*key))
}

/// So many tasks' cores one task takes; a number that is not one is Spark's to refuse.
fn cores_of_a_task(job: &CoreEtlJob) -> u64 {
    let given = job.spark.conf.get("spark.task.cpus").and_then(|value| value.as_str().parse().ok());
    given.unwrap_or(1).max(1)
}

/// What a manifest's number of cores leaves to choose: fewer than it says, where memory has no more to give.
fn core_bounds(job: &CoreEtlJob) -> Bounds {
    Bounds::new(cores_of_a_task(job), u64::from(job.resources.executors.cores))
}
