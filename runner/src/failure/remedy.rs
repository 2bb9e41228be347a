//! What another attempt is given: more memory of the one kind that ran out, within the manifest's bounds.

use std::collections::BTreeMap;

use dcp_compiler::model;
use dcp_compiler::primitive::CoreEtlJob;

use super::Cause;
use super::cause::{Memory, Mend};
use crate::execution::{Adjustment, Attempt};

/// Spark's own share of the heap, and the least that it takes, in MiB.
const SHARE: u64 = 10;
const LEAST: u64 = 384;

/// The settings to change, none where the attempt is to be as it was; or why there is to be no other.
pub(super) fn remedy(
    cause: Cause,
    job: &CoreEtlJob,
    attempt: &Attempt,
) -> Result<BTreeMap<String, Adjustment>, String> {
    let memory = match cause.mend() {
        Mend::Again => return Ok(BTreeMap::new()),
        Mend::Nothing(why) => return Err(why.to_owned()),
        Mend::More(memory) => memory,
    };
    let had = mib(memory, job, attempt);
    let most = bound(memory, job, attempt);
    let next = (had + had.div_ceil(2)).min(most);
    if next <= had {
        return Err(match memory {
            Memory::DriverHeap => {
                format!("`resources.driver.maxMemory` lets it have no more than {had} MiB")
            }
            Memory::ExecutorHeap => {
                format!("`resources.executors.maxMemory` lets it have no more than {had} MiB")
            }
            Memory::DriverOverhead | Memory::ExecutorOverhead => {
                format!("it has {had} MiB beside its heap, as much as the heap itself")
            }
        });
    }
    let why = format!("{}, at {had} MiB", cause.says());
    let adjustment = Adjustment { value: format!("{next}m"), why };
    Ok(BTreeMap::from([(memory.setting().to_owned(), adjustment)]))
}

/// How much the attempt had.
fn mib(memory: Memory, job: &CoreEtlJob, attempt: &Attempt) -> u64 {
    let adjusted = attempt.adjusted.get(memory.setting());
    if let Some(mib) = adjusted.and_then(|it| model::Memory::parse(&it.value).ok()) {
        return mib.mib();
    }
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    let share = |heap: Memory| (mib(heap, job, attempt) / SHARE).max(LEAST);
    match memory {
        Memory::DriverHeap => driver.memory.mib(),
        Memory::ExecutorHeap => executors.memory.mib(),
        Memory::DriverOverhead => {
            driver.memory_overhead.map_or_else(|| share(Memory::DriverHeap), model::Memory::mib)
        }
        Memory::ExecutorOverhead => {
            executors.memory_overhead.map_or_else(|| share(Memory::ExecutorHeap), model::Memory::mib)
        }
    }
}

/// How much it may have. Nobody is given more than the manifest says without its leave; what lies beside the heap has
/// no bound of its own there, and is never more than the heap.
fn bound(memory: Memory, job: &CoreEtlJob, attempt: &Attempt) -> u64 {
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    match memory {
        Memory::DriverHeap => driver.max_memory.unwrap_or(driver.memory).mib(),
        Memory::ExecutorHeap => executors.max_memory.unwrap_or(executors.memory).mib(),
        Memory::DriverOverhead => mib(Memory::DriverHeap, job, attempt),
        Memory::ExecutorOverhead => mib(Memory::ExecutorHeap, job, attempt),
    }
}
