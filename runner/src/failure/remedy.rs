//! Chooses the settings of the next attempt: more memory of the kind that ran out, within the manifest's bounds.

use std::collections::BTreeMap;

use dcp_model::manifest;
use dcp_model::primitive::CoreEtlJob;

use super::Cause;
use super::cause::{Memory, Remedy};
use crate::execution::{Adjustment, Attempt};

/// Returns the settings to change, none for an unchanged attempt, or the reason why there is no further attempt.
pub(super) fn remedy(
    cause: Cause,
    job: &CoreEtlJob,
    attempt: &Attempt,
) -> Result<BTreeMap<String, Adjustment>, String> {
    let memory = match cause.remedy() {
        Remedy::Retry => return Ok(BTreeMap::new()),
        Remedy::NoRetry(why) => return Err(why.to_owned()),
        Remedy::MoreMemory(memory) => memory,
    };
    let had = mib(memory, job, attempt);
    let (most, limit) = bounds(memory, job, attempt);
    let next = (had + had.div_ceil(2)).min(most).min(limit);
    if next <= had {
        let role = match memory {
            Memory::DriverHeap | Memory::DriverOverhead => "driver",
            Memory::ExecutorHeap | Memory::ExecutorOverhead => "executors",
        };
        return Err(match memory {
            _ if limit < most => {
                format!("`resources.{role}.memoryLimit` lets it have no more than {had} MiB")
            }
            Memory::DriverHeap | Memory::ExecutorHeap => {
                format!("`resources.{role}.maxMemory` lets it have no more than {had} MiB")
            }
            Memory::DriverOverhead | Memory::ExecutorOverhead => {
                format!("it has {had} MiB beside its heap, as much as the heap itself")
            }
        });
    }
    let why = format!("{}, at {had} MiB", cause.description());
    let adjustment = Adjustment { value: format!("{next}m"), why };
    Ok(BTreeMap::from([(memory.setting().to_owned(), adjustment)]))
}

/// Returns the memory that the attempt had.
fn mib(memory: Memory, job: &CoreEtlJob, attempt: &Attempt) -> u64 {
    let adjusted = attempt.adjusted.get(memory.setting());
    if let Some(mib) = adjusted.and_then(|it| manifest::Memory::parse(&it.value).ok()) {
        return mib.mib();
    }
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    let share = |heap: Memory| manifest::default_overhead(mib(heap, job, attempt), &job.job);
    match memory {
        Memory::DriverHeap => driver.memory.mib(),
        Memory::ExecutorHeap => executors.memory.mib(),
        Memory::DriverOverhead => {
            driver.memory_overhead.map_or_else(|| share(Memory::DriverHeap), manifest::Memory::mib)
        }
        Memory::ExecutorOverhead => {
            executors.memory_overhead.map_or_else(|| share(Memory::ExecutorHeap), manifest::Memory::mib)
        }
    }
}

/// Returns two upper bounds: the manifest's maximum of this kind of memory, and the container's limit less the other
/// kind. Memory beside the heap has no maximum of its own, and never grows beyond the heap.
fn bounds(memory: Memory, job: &CoreEtlJob, attempt: &Attempt) -> (u64, u64) {
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    let (limit, other) = match memory {
        Memory::DriverHeap => (driver.memory_limit, Memory::DriverOverhead),
        Memory::DriverOverhead => (driver.memory_limit, Memory::DriverHeap),
        Memory::ExecutorHeap => (executors.memory_limit, Memory::ExecutorOverhead),
        Memory::ExecutorOverhead => (executors.memory_limit, Memory::ExecutorHeap),
    };
    let other = mib(other, job, attempt);
    let most = match memory {
        Memory::DriverHeap => driver.max_memory.unwrap_or(driver.memory).mib(),
        Memory::ExecutorHeap => executors.max_memory.unwrap_or(executors.memory).mib(),
        Memory::DriverOverhead | Memory::ExecutorOverhead => other,
    };
    (most, limit.map_or(u64::MAX, |limit| limit.mib().saturating_sub(other)))
}
