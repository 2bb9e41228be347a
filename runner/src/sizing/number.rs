//! Chooses the number of executors and of shuffle partitions.
//!
//! Both follow from the work, which is about the same for any resources: the total duration of all tasks, and the bytes
//! of the largest shuffle.

use dcp_model::primitive::CoreEtlJob;

use super::band::{Bounds, scaled, up, well_above, well_below};
use super::{Measured, Runs, Size, partitions_are_free, said};

/// Work for one core, in milliseconds. With less, executors take longer to start than to work.
const PER_CORE: u64 = 4 * 60_000;
/// Parts of a core.
const PARTS: u64 = 1000;
/// Data that one task of a shuffle reads: the target, and the limit above which it is too much. It takes several times
/// more in memory, because it is compressed here.
const PER_PARTITION: u64 = 32 << 20;
const CROWDED: u64 = 128 << 20;
/// Minimum size of partitions that are only made to occupy idle cores.
const SMALL: u64 = 1 << 20;
/// Spark's default, and the number above which partitions are a load themselves.
const DEFAULT: u64 = 200;
const MOST: u64 = 10_000;

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
    let mut works: Vec<&Measured> = runs.last().to_vec();
    works.sort_by_key(|run| slots(run));
    // One slow run is no reason to grow; two of three are.
    let usual = works.get(works.len().saturating_sub(1) / 2)?;
    let most = works.last()?;
    let work = |run: &Measured| {
        let all = format!("tasks of {} in all", said::millis(run.task_millis));
        let longest = said::millis(run.longest_task_millis);
        if by_work(run) > by_longest(run) { format!("{all}, the longest of {longest}") } else { all }
    };
    let wish = |run: &Measured| bounds.clamp(up(slots(run).div_ceil(PARTS.saturating_mul(cores.max(1))), 1));
    // Compared in parts of a core, because one executor more or less is much if there are few.
    let busy = now.saturating_mul(cores).saturating_mul(PARTS);
    let more = wish(usual) > now && well_above(slots(usual), busy);
    let fewer = wish(most) < now && well_below(slots(most), busy);
    let size = |value, grew, why| Some(Size { value, grew, why });
    let of = |value: u64| format!("{} of {}", said::count(value, "executor"), said::count(cores, "core"));
    if more && relieved {
        let why = format!("it stays at {now} until it is known how long tasks take with more memory");
        return size(now, false, why);
    }
    if more {
        let (value, work) = (wish(usual), work(usual));
        let why = format!("a run had {work} and {}: {value} have done it sooner", of(now));
        return size(value, true, why);
    }
    let (count, work) = (said::last_runs(works.len()), work(most));
    if runs.settled && fewer {
        let value = wish(most);
        let why = format!("{count} had at most {work}: that is work for {}, and not for {now}", of(value));
        return size(value, false, why);
    }
    size(now, false, format!("{count} had at most {work}: it stays at {}", of(now)))
}

/// Returns the number of cores that have enough work, and that can work until the longest task ends; in parts of a
/// core.
fn slots(run: &Measured) -> u64 {
    by_work(run).min(by_longest(run))
}

fn by_work(run: &Measured) -> u64 {
    scaled(run.task_millis, PARTS, PER_CORE)
}

fn by_longest(run: &Measured) -> u64 {
    scaled(run.task_millis, PARTS, run.longest_task_millis.max(1))
}

/// Returns whether the partitions of the largest shuffle were too large, and their number may grow.
pub(super) fn crowded(job: &CoreEtlJob, run: &Measured) -> bool {
    let partitions = run.given.shuffle_partitions.clamp(1, MOST);
    partitions < MOST
        && run.largest_shuffle_bytes > partitions.saturating_mul(CROWDED)
        && partitions_are_free(job)
}

/// Chooses the number of shuffle partitions for the cores; none if it is not dcp's choice, or no data was shuffled.
pub(super) fn partitions(runs: &Runs<'_>, cores: u64) -> Option<Size> {
    let last = runs.all.first().filter(|_| partitions_are_free(runs.job))?;
    let now = last.given.shuffle_partitions.clamp(1, MOST);
    let any = runs.last().iter().any(|run| run.largest_shuffle_bytes > 0);
    if !any && now == DEFAULT {
        return None;
    }
    let for_cores = |pieces: u64| pieces.min(cores.saturating_mul(2));
    let wish = |bytes: u64| {
        up(bytes.div_ceil(PER_PARTITION).max(for_cores(bytes.div_ceil(SMALL))), 1).clamp(1, MOST)
    };
    let bytes = last.largest_shuffle_bytes;
    let most = runs.last().iter().map(|run| run.largest_shuffle_bytes).max().unwrap_or(0);
    let each = said::bytes(bytes / now);
    let value = wish(bytes);
    let size = |value, grew, why| Some(Size { value, grew, why });
    if crowded(runs.job, last) {
        let why =
            format!("the largest shuffle moved {}, {each} for each of {now}: {value}", said::bytes(bytes));
        return size(value, true, why + " have a size that fits in memory");
    }
    if well_above(for_cores(bytes / SMALL).min(MOST), now) {
        let why =
            format!("{} have work with {value} partitions, and not with {now}", said::count(cores, "core"));
        return size(value, true, why);
    }
    let spilled = runs.last().iter().any(|run| run.disk_spilled_bytes > 0);
    let count = said::last_runs(runs.last().len());
    if runs.settled && any && !spilled && well_below(wish(most), now) {
        let value = wish(most);
        let moved = said::bytes(most);
        let why =
            format!("the largest shuffle of {count} moved at most {moved}: {value} are enough, not {now}");
        return size(value, false, why);
    }
    size(
        now,
        false,
        format!("the largest shuffle moved {}, {each} for each of {now}: it stays", said::bytes(bytes)),
    )
}
