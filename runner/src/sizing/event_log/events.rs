//! The relevant events of Spark's log, with only the fields that are read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct EventName<'a> {
    #[serde(rename = "Event", borrow)]
    pub(super) event: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Timestamped {
    #[serde(rename = "Timestamp")]
    pub(super) at: u64,
}

#[derive(Deserialize)]
pub(super) struct Environment {
    #[serde(rename = "Spark Properties")]
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct ExecutorAdded {
    #[serde(rename = "Executor ID")]
    pub(super) executor: String,
    #[serde(rename = "Executor Info")]
    pub(super) info: ExecutorInfo,
}

#[derive(Deserialize)]
pub(super) struct ExecutorInfo {
    #[serde(rename = "Total Cores")]
    pub(super) cores: u64,
}

#[derive(Deserialize)]
pub(super) struct StageMetrics {
    #[serde(rename = "Executor ID")]
    pub(super) executor: String,
    #[serde(rename = "Executor Metrics")]
    pub(super) metrics: Metrics,
}

/// Peak memory of a process. Spark writes zeros if it never polled.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Metrics {
    #[serde(rename = "JVMHeapMemory")]
    pub(super) heap: u64,
    #[serde(rename = "OnHeapUnifiedMemory")]
    pub(super) unified: u64,
    #[serde(rename = "OnHeapStorageMemory")]
    pub(super) storage: u64,
    #[serde(rename = "TotalGCTime")]
    pub(super) gc_millis: u64,
}

#[derive(Deserialize)]
pub(super) struct StageCompleted {
    #[serde(rename = "Stage Info")]
    pub(super) stage: Stage,
}

#[derive(Deserialize)]
pub(super) struct Stage {
    #[serde(rename = "Stage ID")]
    pub(super) id: i64,
    #[serde(rename = "Stage Attempt ID", default)]
    pub(super) attempt: i64,
}

#[derive(Deserialize)]
pub(super) struct TaskEnd {
    #[serde(rename = "Stage ID")]
    pub(super) stage: i64,
    #[serde(rename = "Stage Attempt ID", default)]
    pub(super) stage_attempt: i64,
    #[serde(rename = "Task End Reason")]
    pub(super) why: EndReason,
    #[serde(rename = "Task Info")]
    pub(super) info: TaskInfo,
    #[serde(rename = "Task Metrics")]
    pub(super) metrics: Option<TaskMetrics>,
    #[serde(rename = "Task Executor Metrics")]
    pub(super) executor_metrics: Option<Metrics>,
}

#[derive(Deserialize)]
pub(super) struct EndReason {
    #[serde(rename = "Reason")]
    pub(super) reason: String,
    #[serde(rename = "Exit Caused By App")]
    pub(super) caused_by_app: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct TaskInfo {
    #[serde(rename = "Executor ID")]
    pub(super) executor: String,
    #[serde(rename = "Finish Time", default)]
    pub(super) finished: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskMetrics {
    #[serde(rename = "Executor Run Time")]
    pub(super) run_millis: u64,
    #[serde(rename = "JVM GC Time")]
    pub(super) gc_millis: u64,
    /// Set by Spark 3.
    #[serde(rename = "Peak Execution Memory")]
    pub(super) peak_execution: u64,
    /// Set by Spark 4, which leaves the field of Spark 3 at 0.
    #[serde(rename = "Peak On Heap Execution Memory")]
    pub(super) peak_on_heap_execution: u64,
    #[serde(rename = "Memory Bytes Spilled")]
    pub(super) memory_spilled: u64,
    #[serde(rename = "Disk Bytes Spilled")]
    pub(super) disk_spilled: u64,
    #[serde(rename = "Input Metrics")]
    pub(super) input: Option<Input>,
    #[serde(rename = "Output Metrics")]
    pub(super) output: Option<Output>,
    #[serde(rename = "Shuffle Read Metrics")]
    pub(super) shuffle_read: Option<ShuffleRead>,
    #[serde(rename = "Shuffle Write Metrics")]
    pub(super) shuffle_write: Option<ShuffleWrite>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Input {
    #[serde(rename = "Bytes Read")]
    pub(super) bytes: u64,
    #[serde(rename = "Records Read")]
    pub(super) records: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Output {
    #[serde(rename = "Bytes Written")]
    pub(super) bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ShuffleRead {
    #[serde(rename = "Remote Bytes Read")]
    pub(super) remote: u64,
    #[serde(rename = "Local Bytes Read")]
    pub(super) local: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ShuffleWrite {
    #[serde(rename = "Shuffle Bytes Written")]
    pub(super) bytes: u64,
}
