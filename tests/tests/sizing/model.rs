//! Simulated runs of a job.

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::sizing::{Measured, RunResources};
use proptest::prelude::*;

use crate::{CORES, DRIVER, EXECUTOR, INSTANCES, MIB, PARTITIONS, Sizes, number};

/// A simple model of a job with the difficulties of sizing: garbage fills any heap, data beyond the available memory is
/// spilled, garbage collection takes longer the fuller the heap is, and both slow tasks down.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) work_millis: u64,
    longest_part: u64,
    input_mib: u64,
    pub(crate) shuffle_mib: u64,
    /// Factor by which a partition grows in memory.
    memory_factor: u64,
    pub(crate) task_mib: u64,
    cached_mib: u64,
    pub(crate) kept_mib: u64,
    garbage_percent: u64,
    allocation: u64,
    one_process: bool,
    driver_mib: u64,
}

pub(crate) fn model() -> impl Strategy<Value = Model> {
    let work = (1u64..40_000_000, 2u64..400, 0u64..2_000_000, prop_oneof![Just(0), 1u64..200_000]);
    let memory = (1u64..20, 1u64..2_000, 0u64..3_000, 50u64..4_000);
    let rest = (0u64..95, 0u64..60, any::<bool>(), 50u64..6_000);
    (work, memory, rest).prop_map(
        |(
            (work_millis, longest_part, input_mib, shuffle_mib),
            (memory_factor, task_mib, cached_mib, kept_mib),
            (garbage_percent, allocation, one_process, driver_mib),
        )| Model {
            work_millis,
            longest_part,
            input_mib,
            shuffle_mib,
            memory_factor,
            task_mib,
            cached_mib,
            kept_mib,
            garbage_percent,
            allocation,
            one_process,
            driver_mib,
        },
    )
}

impl Model {
    /// Returns the resources of a run with these sizes.
    fn given(&self, job: &CoreEtlJob, sizes: &Sizes) -> RunResources {
        let (driver, executors) = (&job.resources.driver, &job.resources.executors);
        RunResources {
            one_process: self.one_process,
            executors: number(sizes, INSTANCES).unwrap_or(1),
            executor_cores: number(sizes, CORES).unwrap_or(u64::from(executors.cores)),
            executor_memory_mib: number(sizes, EXECUTOR).unwrap_or(executors.memory.mib()),
            driver_memory_mib: number(sizes, DRIVER).unwrap_or(driver.memory.mib()),
            tasks_at_once: number(sizes, CORES).unwrap_or(u64::from(executors.cores)),
            memory_percent: 60,
            shuffle_partitions: number(sizes, PARTITIONS).unwrap_or(200),
        }
    }

    /// Returns the live memory of a separate driver, and the percentage of its time in garbage collection.
    fn driver(&self, given: &RunResources) -> (u64, u64) {
        if self.one_process {
            return (0, 0);
        }
        let live = self.driver_mib.min(given.driver_memory_mib);
        (live, (self.allocation * live / (given.driver_memory_mib - live + 1)).min(60))
    }

    /// Returns the measurement of a run with these sizes.
    pub(crate) fn run(&self, job: &CoreEtlJob, sizes: &Sizes) -> Measured {
        let given = self.given(job, sizes);
        let heap = given.heap_mib();
        let pool = heap.saturating_sub(300) * 6 / 10;
        let cached = self.cached_mib.min(pool / 2);
        let share = ((pool - cached) / given.tasks_at_once).max(1);
        let wanted = self.task_mib + self.memory_factor * self.shuffle_mib / given.shuffle_partitions;
        let (held, spilled) = (wanted.min(share), wanted.saturating_sub(share));
        let live = (cached + given.tasks_at_once * held + self.kept_mib).min(heap);
        let used = live + (heap - live) * self.garbage_percent / 100;
        let gc = (self.allocation * live / (heap - live + 1)).min(80);
        let millis = self.work_millis + self.work_millis * gc / 100 + spilled * 20;
        let wall = millis / (given.executors * given.executor_cores) + 30_000;
        let (driver_mib, driver_gc) = self.driver(&given);
        Measured {
            complete: true,
            wall_millis: wall,
            executors: given.executors,
            cores: given.executors * given.executor_cores,
            tasks: 100,
            task_millis: millis,
            longest_task_millis: millis / self.longest_part,
            gc_millis: millis * gc / (100 + gc),
            heap_bytes: used * MIB,
            unified_bytes: (cached + given.tasks_at_once * held) * MIB,
            storage_bytes: cached * MIB,
            task_memory_bytes: held * MIB,
            driver_heap_bytes: driver_mib * MIB,
            driver_gc_millis: wall * driver_gc / 100,
            memory_spilled_bytes: spilled * 100 * MIB,
            disk_spilled_bytes: spilled * 30 * MIB,
            task_spilled_bytes: spilled * MIB,
            input_bytes: self.input_mib * MIB,
            input_records: self.input_mib * 1000,
            shuffle_read_bytes: self.shuffle_mib * MIB,
            shuffle_write_bytes: self.shuffle_mib * MIB,
            largest_shuffle_bytes: self.shuffle_mib * MIB,
            largest_shuffle_tasks: given.shuffle_partitions,
            given,
            ..Measured::default()
        }
    }
}
