//! Chooses the number of executors and of shuffle partitions.
//!
//! Both follow from the work, which is about the same for any resources: the total duration of all tasks, and the bytes
//! of the largest shuffle.

use dcp_model::primitive::CoreEtlJob;

use super::bounds::{Bounds, round_up, scaled, well_above, well_below};
use super::{Measured, Runs, Size, format, may_choose_partitions};

/// Work for one core, in milliseconds. With less, executors take longer to start than to work.
const MILLIS_PER_CORE: u64 = 4 * 60_000;
/// Parts of a core.
const PARTS_PER_CORE: u64 = 1000;
/// Data that one task of a shuffle reads: the target, and the limit above which it is too much. It takes several times
/// more in memory, because it is compressed here.
const TARGET_PARTITION_BYTES: u64 = 32 << 20;
const MAX_PARTITION_BYTES: u64 = 128 << 20;
/// Minimum size of partitions that are only made to occupy idle cores.
const MIN_PARTITION_BYTES: u64 = 1 << 20;
/// Spark's default, and the number above which partitions are a load themselves.
const DEFAULT_PARTITIONS: u64 = 200;
const MAX_PARTITIONS: u64 = 10_000;

pub(super) fn instance_bounds(job: &CoreEtlJob) -> Option<Bounds> {
    let executors = &job.resources.executors;
    let most = executors.max?;
    Some(Bounds::new(u64::from(executors.min.unwrap_or(0)), u64::from(most)))
}

/// Chooses the number of executors; none if the manifest gives it. While memory is being `relieved`, the tasks' future
/// duration is unknown, so the number does not grow.
pub(super) fn instances(runs: &Runs<'_>, cores: u64, relieved: bool) -> Option<Size> {
    let bounds = instance_bounds(runs.job)?;
    let last = runs.all.first()?;
    let had = match last.given.executors {
        0 if last.given.one_process => 1,
        0 => last.executors,
        given => given,
    };
    let now = bounds.clamp(had);
    let mut recent_runs: Vec<&Measured> = runs.last().to_vec();
    recent_runs.sort_by_key(|run| usable_cores(run));
    // One slow run is no reason to grow; two of three are.
    let median = recent_runs.get(recent_runs.len().saturating_sub(1) / 2)?;
    let most = recent_runs.last()?;
    let target = |run: &Measured| {
        bounds.clamp(round_up(usable_cores(run).div_ceil(PARTS_PER_CORE.saturating_mul(cores.max(1))), 1))
    };
    // Compared in parts of a core, because one executor more or less is much if there are few.
    let busy = now.saturating_mul(cores).saturating_mul(PARTS_PER_CORE);
    let more = target(median) > now && well_above(usable_cores(median), busy);
    let fewer = target(most) < now && well_below(usable_cores(most), busy);
    let size = |value, grew, why| Some(Size { value, grew, why });
    let of = |value: u64| format!("{} of {}", format::count(value, "executor"), format::count(cores, "core"));
    if more && relieved {
        let why = format!("it stays at {now} until it is known how long tasks take with more memory");
        return size(now, false, why);
    }
    if more {
        let (value, work) = (target(median), work(median));
        let why = format!("a run had {work} and {}: {value} have done it sooner", of(now));
        return size(value, true, why);
    }
    let (count, work) = (format::last_runs(recent_runs.len()), work(most));
    if runs.settled && fewer {
        let value = target(most);
        let why = format!("{count} had at most {work}: that is work for {}, and not for {now}", of(value));
        return size(value, false, why);
    }
    size(now, false, format!("{count} had at most {work}: it stays at {}", of(now)))
}

/// Describes the work of a run.
fn work(run: &Measured) -> String {
    let all = format!("tasks of {} in all", format::millis(run.task_millis));
    let longest = format::millis(run.longest_task_millis);
    if by_work(run) > by_longest(run) { format!("{all}, the longest of {longest}") } else { all }
}

/// Returns the number of cores that have enough work, and that can work until the longest task ends; in parts of a
/// core.
fn usable_cores(run: &Measured) -> u64 {
    by_work(run).min(by_longest(run))
}

fn by_work(run: &Measured) -> u64 {
    scaled(run.task_millis, PARTS_PER_CORE, MILLIS_PER_CORE)
}

fn by_longest(run: &Measured) -> u64 {
    scaled(run.task_millis, PARTS_PER_CORE, run.longest_task_millis.max(1))
}

/// Returns whether the partitions of the largest shuffle were too large, and their number may grow.
pub(super) fn has_large_partitions(job: &CoreEtlJob, run: &Measured) -> bool {
    let partitions = run.given.shuffle_partitions.clamp(1, MAX_PARTITIONS);
    partitions < MAX_PARTITIONS
        && run.largest_shuffle_bytes > partitions.saturating_mul(MAX_PARTITION_BYTES)
        && may_choose_partitions(job)
}

/// Limits a number of partitions to those that occupy the cores.
fn for_cores(partitions: u64, cores: u64) -> u64 {
    partitions.min(cores.saturating_mul(2))
}

/// Returns the number of partitions for a shuffle of some bytes.
fn target_partitions(bytes: u64, cores: u64) -> u64 {
    let for_cores = for_cores(bytes.div_ceil(MIN_PARTITION_BYTES), cores);
    round_up(bytes.div_ceil(TARGET_PARTITION_BYTES).max(for_cores), 1).clamp(1, MAX_PARTITIONS)
}

/// Chooses the number of shuffle partitions for the cores; none if it is not dcp's choice, or no data was shuffled.
pub(super) fn partitions(runs: &Runs<'_>, cores: u64) -> Option<Size> {
    let last = runs.all.first().filter(|_| may_choose_partitions(runs.job))?;
    let now = last.given.shuffle_partitions.clamp(1, MAX_PARTITIONS);
    let any = runs.last().iter().any(|run| run.largest_shuffle_bytes > 0);
    if !any && now == DEFAULT_PARTITIONS {
        return None;
    }
    let bytes = last.largest_shuffle_bytes;
    let most = runs.last().iter().map(|run| run.largest_shuffle_bytes).max().unwrap_or(0);
    let each = format::bytes(bytes / now);
    let value = target_partitions(bytes, cores);
    let size = |value, grew, why| Some(Size { value, grew, why });
    if has_large_partitions(runs.job, last) {
        let why =
            format!("the largest shuffle moved {}, {each} for each of {now}: {value}", format::bytes(bytes));
        return size(value, true, why + " have a size that fits in memory");
    }
    if well_above(for_cores(bytes / MIN_PARTITION_BYTES, cores).min(MAX_PARTITIONS), now) {
        let why =
            format!("{} have work with {value} partitions, and not with {now}", format::count(cores, "core"));
        return size(value, true, why);
    }
    let spilled = runs.last().iter().any(|run| run.disk_spilled_bytes > 0);
    let count = format::last_runs(runs.last().len());
    let value = target_partitions(most, cores);
    if runs.settled && any && !spilled && well_below(value, now) {
        let moved = format::bytes(most);
        let why =
            format!("the largest shuffle of {count} moved at most {moved}: {value} are enough, not {now}");
        return size(value, false, why);
    }
    size(
        now,
        false,
        format!("the largest shuffle moved {}, {each} for each of {now}: it stays", format::bytes(bytes)),
    )
}
