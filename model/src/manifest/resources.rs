//! The CPU and the memory of the driver and the executors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cpu, Job, Memory};

/// Resources of the driver and the executors, and the policy that sizes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    #[serde(default)]
    pub driver: Driver,
    #[serde(default)]
    pub executors: Executors,
    /// The sizing policy. Default: `fixed` if `executors.max` is not set; otherwise `auto` for a continuous job and
    /// `dynamic` for other jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
}

/// Resources of the driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// Number of cores of the driver.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 128))]
    pub cores: u32,
    /// The CPU request on Kubernetes. Default: the number of cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cpu>,
    /// The CPU limit on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// The size of the heap.
    #[serde(default = "one_gib")]
    pub memory: Memory,
    /// The memory outside the heap. Default: Spark's own share of the heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_overhead: Option<Memory>,
    /// The memory limit of the container. Default: the heap and the memory outside it. Sizing and remedies stay
    /// within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Memory>,
    /// The smallest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<Memory>,
    /// The largest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Memory>,
}

/// Resources of the executors. Set either `instances`, or `min` and `max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Executors {
    /// Number of cores of an executor: the number of tasks that it runs at the same time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 128))]
    pub cores: u32,
    /// The CPU request on Kubernetes. Default: the number of cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cpu>,
    /// The CPU limit on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// The size of the heap.
    #[serde(default = "one_gib")]
    pub memory: Memory,
    /// The memory outside the heap. Default: Spark's own share of the heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_overhead: Option<Memory>,
    /// The memory limit of the container. Default: the heap and the memory outside it. Sizing and remedies stay
    /// within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Memory>,
    /// The smallest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<Memory>,
    /// The largest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Memory>,
    /// Fixed number of executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub instances: Option<u32>,
    /// Minimum number of executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub min: Option<u32>,
    /// Maximum number of executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max: Option<u32>,
    /// Initial number of executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub initial: Option<u32>,
}

fn one() -> u32 {
    1
}

fn one_gib() -> Memory {
    Memory::parse("1g").expect("1g is an amount of memory")
}

/// The minimum of Spark's default memory overhead, in MiB.
const MIN_OVERHEAD_MIB: u64 = 384;

/// Returns Spark's default memory overhead of a heap on a cluster. Both are in MiB. It is larger for Python, in which
/// dcp's own programs for SQL and streams are written too.
pub fn default_overhead(heap: u64, job: &Job) -> u64 {
    let percent = match job {
        Job::Jar(_) => 10,
        Job::Sql(_) | Job::Stream(_) | Job::Pyspark(_) => 40,
    };
    (heap.saturating_mul(percent) / 100).max(MIN_OVERHEAD_MIB)
}

impl Default for Driver {
    fn default() -> Self {
        Self {
            cores: one(),
            cpu_request: None,
            cpu_limit: None,
            memory: one_gib(),
            memory_overhead: None,
            memory_limit: None,
            min_memory: None,
            max_memory: None,
        }
    }
}

impl Default for Executors {
    fn default() -> Self {
        Self {
            cores: one(),
            cpu_request: None,
            cpu_limit: None,
            memory: one_gib(),
            memory_overhead: None,
            memory_limit: None,
            min_memory: None,
            max_memory: None,
            instances: None,
            min: None,
            max: None,
            initial: None,
        }
    }
}

/// The policy that sizes the driver and the executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sizing {
    /// The manifest sets all sizes.
    Fixed,
    /// Spark changes the number of executors between `min` and `max` (dynamic allocation).
    Dynamic,
    /// The platform sizes the run within the bounds of the manifest, based on earlier runs.
    Auto,
}
