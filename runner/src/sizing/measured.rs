//! Measurements of a run: its resources and their usage, small enough to be stored for every run.

use serde::{Deserialize, Serialize};

/// Measurements of one run. A number that is missing in the log is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measured {
    /// Set if the log is complete. The sums of an incomplete log are too small.
    pub complete: bool,
    /// Number of lines that were skipped, because they were too long or damaged.
    pub skipped_lines: u64,
    pub given: RunResources,
    pub wall_millis: u64,
    /// Number of all executors, concurrent or not; includes the driver if it runs tasks.
    pub executors: u64,
    /// Number of their cores.
    pub cores: u64,
    /// Number of tasks that succeeded.
    pub tasks: u64,
    /// Number of tasks that failed by themselves, without those that were killed or lost with a machine.
    pub failed_tasks: u64,
    /// Total duration of all tasks.
    pub task_millis: u64,
    pub longest_task_millis: u64,
    /// Total time that tasks waited for the garbage collector.
    pub gc_millis: u64,
    /// Peak heap in use of one process with tasks, garbage included.
    pub heap_bytes: u64,
    /// Peak memory of one process for execution and storage together.
    pub unified_bytes: u64,
    /// Peak part of it for storage.
    pub storage_bytes: u64,
    /// Peak execution memory of one task.
    pub task_memory_bytes: u64,
    /// Peak heap in use of the driver, if it is a process of its own.
    pub driver_heap_bytes: u64,
    pub driver_gc_millis: u64,
    /// Size in memory of all spilled data.
    pub memory_spilled_bytes: u64,
    /// Size on disk of all spilled data.
    pub disk_spilled_bytes: u64,
    /// Size in memory of the data that one task spilled, at most.
    pub task_spilled_bytes: u64,
    pub input_bytes: u64,
    pub input_records: u64,
    pub shuffle_read_bytes: u64,
    pub shuffle_write_bytes: u64,
    pub output_bytes: u64,
    /// Bytes that one stage read from shuffles, at most.
    pub largest_shuffle_bytes: u64,
    /// Number of tasks of that stage: the partitions after adaptive execution.
    pub largest_shuffle_tasks: u64,
    /// Longest task of a stage in percent of its median task, for the worst stage; 0 if no stage had enough tasks.
    pub time_skew_percent: u64,
    /// The same for the bytes that tasks read.
    pub bytes_skew_percent: u64,
}

/// Resources of a run by its settings. Its usage is meaningless without them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunResources {
    /// Set if tasks ran in the driver, as on one machine.
    pub one_process: bool,
    /// Requested number of executors; 0 if Spark chose it.
    pub executors: u64,
    pub executor_cores: u64,
    pub executor_memory_mib: u64,
    pub driver_memory_mib: u64,
    /// Maximum number of concurrent tasks in one process.
    pub tasks_at_once: u64,
    /// Spark's share of the heap for execution and storage, in percent.
    pub memory_percent: u64,
    pub shuffle_partitions: u64,
}

impl RunResources {
    /// Returns the heap of a process with tasks.
    pub fn heap_mib(&self) -> u64 {
        self.executor_memory_mib.saturating_add(self.driver_share_mib())
    }

    /// Returns the part of that heap beside the executor's: the driver's, if there is only one process.
    pub fn driver_share_mib(&self) -> u64 {
        if self.one_process { self.driver_memory_mib } else { 0 }
    }
}
