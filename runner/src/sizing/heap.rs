//! Chooses the heaps of the driver and the executors, and the number of tasks that share one.
//!
//! Garbage makes the heap in use a bad measure of the need, because a JVM lets it grow up to the limit. The heap in use
//! therefore shows only a sufficient size. Spilled data and the time that tasks wait for the garbage collector show
//! that memory was short.

use dcp_model::manifest::Memory;
use dcp_model::primitive::CoreEtlJob;

use super::bounds::{Bounds, percent, round_up, scaled, well_below};
use super::{Measured, Runs, Size, core_bounds, format, number};

const MIB: u64 = 1 << 20;
/// Minimum step of a heap, in MiB.
const STEP_MIB: u64 = 64;
/// Target share of the heap in use, in percent.
const TARGET_FILL_PERCENT: u64 = 65;
/// Usable part of Spark's memory for execution and storage, in percent.
const USABLE_PERCENT: u64 = 90;
/// Memory of a heap that Spark reserves, in MiB.
const RESERVED_MIB: u64 = 300;
/// Minimum data spilled to disk that justifies more memory.
const MIN_SPILL_BYTES: u64 = 32 * MIB;
/// Share of the tasks' time in garbage collection, in percent, above which memory is short. Below half of it, memory is
/// sufficient.
const GC_LIMIT_PERCENT: u64 = 10;
/// Share of a heap in use, in percent, above which it is full if the collector is busy as well.
const FULL_PERCENT: u64 = 95;
/// Minimum time, in milliseconds, of which a share is meaningful.
const MIN_MEASURED_MILLIS: u64 = 10_000;

/// The evidence of a run that memory was short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    Spilled(u64),
    Collecting(u64),
    Full { filled: u64, collecting: u64 },
}

pub(super) struct Executors {
    pub(super) memory: Size,
    pub(super) cores: Size,
}

/// The measurements of a run for one kind of heap.
struct HeapUsage {
    /// The setting, and the other heap in the same process, in MiB.
    setting: u64,
    other_heap: u64,
    used: u64,
    pressure: Option<Pressure>,
    /// Set if nothing indicates that memory is short.
    is_sufficient: bool,
    /// The need of the process, in MiB.
    needed_mib: u64,
}

/// A heap and its bounds in the manifest.
struct Heap {
    /// The name of the section below `resources`.
    role: &'static str,
    first: u64,
    bounds: Bounds,
}

impl Heap {
    fn new(role: &'static str, memory: Memory, least: Option<Memory>, most: Option<Memory>) -> Self {
        let bounds = Bounds::new(least.unwrap_or(memory).mib(), most.unwrap_or(memory).mib());
        Self { role, first: memory.mib(), bounds }
    }

    /// Returns the current size: the last run's, within the manifest's bounds.
    fn now(&self, last: &HeapUsage) -> u64 {
        self.bounds.clamp(if last.setting == 0 { self.first } else { last.setting })
    }
}

/// Chooses the executors' heaps, and the number of cores that share each.
pub(super) fn executors(runs: &Runs<'_>) -> Executors {
    let resources = &runs.job.resources.executors;
    let heap = Heap::new("executors", resources.memory, resources.min_memory, resources.max_memory);
    let usages: Vec<HeapUsage> = runs.last().iter().map(|run| task_heap_usage(runs.job, run)).collect();
    let all_cores = core_bounds(runs.job);
    let had = runs.all.first().map_or(0, |last| last.given.executor_cores);
    let cores = all_cores.clamp(if had == 0 { all_cores.most } else { had });
    // A heap that was too small for this many cores, or for fewer, is too small.
    let too_small = short_runs(runs).filter(|run| run.given.executor_cores <= cores);
    let too_small = too_small.map(|run| run.given.executor_memory_mib).max().unwrap_or(0);
    // Memory does not shrink while the cores are reduced for lack of it.
    let settled = runs.settled && cores == all_cores.most;
    let memory = choose_heap(&heap, &usages, settled, too_small);
    let cores = self::cores(runs, &heap, &usages, (cores, memory.value));
    Executors { memory, cores }
}

/// Chooses the driver's heap, unless tasks run in it.
pub(super) fn driver(runs: &Runs<'_>) -> Option<Size> {
    let resources = &runs.job.resources.driver;
    let last = runs.all.first().filter(|last| !last.given.one_process)?;
    let heap = Heap::new("driver", resources.memory, resources.min_memory, resources.max_memory);
    let usages: Vec<HeapUsage> = runs.last().iter().map(|run| driver_heap_usage(run)).collect();
    let comparable = runs.all.iter().filter(|run| run.volume() / 2 <= last.volume());
    let too_small = comparable.filter(|run| driver_heap_usage(run).pressure.is_some());
    let too_small = too_small.map(|run| run.given.driver_memory_mib).max().unwrap_or(0);
    Some(choose_heap(&heap, &usages, runs.settled, too_small))
}

/// Returns the evidence that the memory of a run's tasks was short.
pub(super) fn pressure(job: &CoreEtlJob, run: &Measured) -> Option<Pressure> {
    // If partitions are too large, there have to be more of them before memory can be judged.
    if run.disk_spilled_bytes >= MIN_SPILL_BYTES && !number::has_large_partitions(job, run) {
        return Some(Pressure::Spilled(run.disk_spilled_bytes));
    }
    let filled = percent(run.heap_bytes, run.given.heap_mib().saturating_mul(MIB));
    gc_pressure(filled, run.gc_millis, run.task_millis)
}

fn gc_pressure(filled: u64, gc_millis: u64, of_millis: u64) -> Option<Pressure> {
    let collecting = gc_percent(gc_millis, of_millis);
    match () {
        () if collecting >= GC_LIMIT_PERCENT => Some(Pressure::Collecting(collecting)),
        () if filled >= FULL_PERCENT && collecting >= GC_LIMIT_PERCENT / 2 => {
            Some(Pressure::Full { filled, collecting })
        }
        () => None,
    }
}

/// Returns the collector's share of a time; 0 if the time is too short.
fn gc_percent(gc_millis: u64, of_millis: u64) -> u64 {
    if of_millis < MIN_MEASURED_MILLIS { 0 } else { percent(gc_millis, of_millis) }
}

/// Returns the runs in which memory was short, without those that had much more work than the last one.
fn short_runs<'a>(runs: &Runs<'a>) -> impl Iterator<Item = &'a Measured> {
    let volume = runs.all.first().map_or(0, |last| last.volume());
    let comparable = runs.all.iter().copied().filter(move |run| run.volume() / 2 <= volume);
    comparable.filter(|run| pressure(runs.job, run).is_some())
}

fn task_heap_usage(job: &CoreEtlJob, run: &Measured) -> HeapUsage {
    let given = &run.given;
    let pressure = pressure(job, run);
    let quiet = run.disk_spilled_bytes == 0 && run.failed_tasks == 0;
    let collecting = gc_percent(run.gc_millis, run.task_millis);
    let per_task = run.task_memory_bytes.saturating_add(run.task_spilled_bytes);
    let needed_bytes = per_task.saturating_mul(given.tasks_at_once).saturating_add(run.storage_bytes);
    let shared = scaled(
        needed_bytes.max(run.unified_bytes),
        10_000,
        given.memory_percent.clamp(1, 100) * USABLE_PERCENT,
    );
    HeapUsage {
        setting: given.executor_memory_mib,
        other_heap: given.driver_share_mib(),
        used: run.heap_bytes,
        pressure,
        is_sufficient: pressure.is_none() && quiet && run.heap_bytes > 0 && collecting < GC_LIMIT_PERCENT / 2,
        needed_mib: sufficient_mib(run.heap_bytes).max(shared.div_ceil(MIB).saturating_add(RESERVED_MIB)),
    }
}

fn driver_heap_usage(run: &Measured) -> HeapUsage {
    let setting = run.given.driver_memory_mib;
    let filled = percent(run.driver_heap_bytes, setting.saturating_mul(MIB));
    let pressure = gc_pressure(filled, run.driver_gc_millis, run.wall_millis);
    let collecting = gc_percent(run.driver_gc_millis, run.wall_millis);
    HeapUsage {
        setting,
        other_heap: 0,
        used: run.driver_heap_bytes,
        pressure,
        is_sufficient: pressure.is_none() && run.driver_heap_bytes > 0 && collecting < GC_LIMIT_PERCENT / 2,
        needed_mib: sufficient_mib(run.driver_heap_bytes),
    }
}

/// Returns a heap in MiB for which the memory in use is the target share.
fn sufficient_mib(used: u64) -> u64 {
    scaled(used, 100, TARGET_FILL_PERCENT).div_ceil(MIB)
}

/// Chooses a heap by the last runs, the newest first. `too_small` is the largest heap that was too small.
fn choose_heap(heap: &Heap, usages: &[HeapUsage], settled: bool, too_small: u64) -> Size {
    let Some(last) = usages.first() else {
        return Size { value: heap.first, grew: false, why: "nothing is known of it".to_owned() };
    };
    let now = heap.now(last);
    let had = describe_heap(last);
    if let Some(pressure) = last.pressure {
        let short = pressure.describe(&had);
        let target = last.needed_mib.saturating_sub(last.other_heap);
        let target = target.clamp(now.saturating_add(now.div_ceil(2)), now.saturating_mul(2));
        let value = heap.bounds.clamp(round_up(target, STEP_MIB));
        let why = if value > now {
            format!("the last run {short}: it gets {}", format::mib(value))
        } else {
            let role = heap.role;
            format!("the last run {short}, and `resources.{role}.maxMemory` lets it have no more")
        };
        return Size { value, grew: value > now, why };
    }
    let used = usages.iter().map(|usage| usage.used).max().unwrap_or(0);
    let target =
        usages.iter().map(|usage| usage.needed_mib.saturating_sub(usage.other_heap)).max().unwrap_or(0);
    let target = target.max(too_small.saturating_add(too_small.div_ceil(2)));
    let value = heap.bounds.clamp(round_up(target, STEP_MIB));
    if settled && usages.iter().all(|usage| usage.is_sufficient) && well_below(value, now) {
        let runs = format::last_runs(usages.len());
        let other_heap = if last.other_heap == 0 { "" } else { " beside that" };
        let (used, enough) = (format::bytes(used), format::mib(value));
        let why = format!("{runs} used at most {used} of {had}: {enough}{other_heap} is enough");
        return Size { value, grew: false, why };
    }
    let why = match last.used {
        0 => "how much of it the last run used was not measured: it stays as it was".to_owned(),
        used => format!("the last run used {} of {had}: it stays", format::bytes(used)),
    };
    Size { value: now, grew: false, why }
}

/// Describes the heap that a figure is a part of.
fn describe_heap(usage: &HeapUsage) -> String {
    let heap = format::mib(usage.setting.saturating_add(usage.other_heap));
    if usage.other_heap == 0 {
        format!("a heap of {heap}")
    } else {
        format!("a heap of {heap}, of which {} is the driver's", format::mib(usage.other_heap))
    }
}

impl Pressure {
    fn describe(self, heap: &str) -> String {
        match self {
            Self::Spilled(bytes) => format!("spilled {} to disk with {heap}", format::bytes(bytes)),
            Self::Collecting(share) => format!("spent {share}% of its time on the garbage of {heap}"),
            Self::Full { filled, collecting } => {
                format!("spent {collecting}% of its time on the garbage, and filled {filled}% of {heap}")
            }
        }
    }
}

/// Chooses the number of tasks that share a heap: fewer than the manifest's if more memory is not allowed.
fn cores(runs: &Runs<'_>, heap: &Heap, usages: &[HeapUsage], (now, memory): (u64, u64)) -> Size {
    let bounds = core_bounds(runs.job);
    let unchanged = |why: String| Size { value: now, grew: false, why };
    let Some(last) = usages.first() else { return unchanged("nothing is known of it".to_owned()) };
    let at_most = heap.now(last) >= heap.bounds.most;
    if let Some(pressure) = last.pressure.filter(|_| at_most) {
        let short = pressure.describe(&describe_heap(last));
        let value = bounds.clamp(now / 2);
        if value == now {
            return unchanged(format!("the last run {short}, and there is no executor of fewer cores"));
        }
        let why = format!(
            "the last run {short}, and `resources.executors.maxMemory` lets it have no more: {} at once instead of \
             {now} have more each",
            format::count(value, "task")
        );
        return Size { value, grew: false, why };
    }
    if now == bounds.most {
        return unchanged(format!(
            "`resources.executors.cores` says {now}, and there is memory for as many tasks at once"
        ));
    }
    let value = bounds.clamp(now.saturating_mul(2));
    let fits = |usage: &HeapUsage| {
        scaled(usage.needed_mib, value, now) <= heap.bounds.most.saturating_add(usage.other_heap)
    };
    let was_short = short_runs(runs)
        .any(|run| run.given.executor_cores <= value && run.given.executor_memory_mib >= memory);
    if runs.settled && !was_short && usages.iter().all(|usage| usage.is_sufficient && fits(usage)) {
        let runs = format::last_runs(usages.len());
        let why = format!("{runs} had memory to spare: {} at once again", format::count(value, "task"));
        return Size { value, grew: true, why };
    }
    unchanged(format!(
        "fewer than the {} of `resources.executors.cores`: memory was short for more",
        bounds.most
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_heap_has_the_target_fill() {
        let value = sufficient_mib(650 * MIB);
        assert_eq!((value, percent(650, value)), (1000, 65));
    }
}
