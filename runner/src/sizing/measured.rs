//! What a run was given and what it did with it: plain numbers, small enough to be kept for every run.

use serde::{Deserialize, Serialize};

/// What one run did. A number that the log does not tell is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measured {
    /// Whether the log goes on to the application's end. Without it the sums are too small.
    pub complete: bool,
    /// Lines that were too long or damaged, and were passed over.
    pub skipped_lines: u64,
    pub given: Given,
    pub wall_millis: u64,
    /// Executors that were seen, one after the other or at once; the driver, where it is one.
    pub executors: u64,
    /// Their cores.
    pub cores: u64,
    /// Tasks that succeeded.
    pub tasks: u64,
    /// Tasks that failed of themselves: not those that were killed, or lost with a machine.
    pub failed_tasks: u64,
    /// How long all tasks together ran.
    pub task_millis: u64,
    pub longest_task_millis: u64,
    /// How long tasks waited for the garbage collector.
    pub gc_millis: u64,
    /// The most heap that one process with tasks had in use, garbage included.
    pub heap_bytes: u64,
    /// The most that one process held for execution and storage together.
    pub unified_bytes: u64,
    /// The most of it that was storage.
    pub storage_bytes: u64,
    /// The most execution memory that one task had.
    pub task_memory_bytes: u64,
    /// The most heap that the driver had in use, where it is a process of its own.
    pub driver_heap_bytes: u64,
    pub driver_gc_millis: u64,
    /// What was spilled, as it was in memory.
    pub memory_spilled_bytes: u64,
    /// What was spilled, as it was written.
    pub disk_spilled_bytes: u64,
    /// What the task spilled that spilled most, as it was in memory.
    pub task_spilled_bytes: u64,
    pub input_bytes: u64,
    pub input_records: u64,
    pub shuffle_read_bytes: u64,
    pub shuffle_write_bytes: u64,
    pub output_bytes: u64,
    /// What the stage read from shuffles that read most.
    pub largest_shuffle_bytes: u64,
    /// The tasks of that stage: the partitions that were left after adaptive execution.
    pub largest_shuffle_tasks: u64,
    /// The longest task of a stage in hundredths of its median task, where that was worst; 0 where no stage had tasks
    /// enough.
    pub time_skew_percent: u64,
    /// The same of the bytes that tasks read.
    pub bytes_skew_percent: u64,
}

/// What a run was given, by its own settings: what it used says nothing without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Given {
    /// Whether tasks ran in the driver, as they do on one machine.
    pub one_process: bool,
    /// How many executors were asked for; 0 where Spark chose their number.
    pub executors: u64,
    pub executor_cores: u64,
    pub executor_memory_mib: u64,
    pub driver_memory_mib: u64,
    /// How many tasks one process ran at once, at most.
    pub tasks_at_once: u64,
    /// Spark's share of the heap for execution and storage, in hundredths.
    pub memory_percent: u64,
    pub shuffle_partitions: u64,
}

impl Given {
    /// The heap of a process that has tasks.
    pub fn heap_mib(&self) -> u64 {
        self.executor_memory_mib.saturating_add(self.beside_mib())
    }

    /// What of that heap is not an executor's: where there is one process only, it has the driver's as well.
    pub fn beside_mib(&self) -> u64 {
        if self.one_process { self.driver_memory_mib } else { 0 }
    }
}
