//! How much a workload is given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cpu, Memory};

/// What the driver and the executors are given, and who decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    #[serde(default)]
    pub driver: Driver,
    #[serde(default)]
    pub executors: Executors,
    /// Who decides. Without it: the manifest where `min` and `max` are not given; otherwise Spark for a batch job, and the platform for a continuous one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
}

/// The driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// How many cores the driver has.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 128))]
    pub cores: u32,
    /// The CPU that is asked of Kubernetes, where it is not the number of cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cpu>,
    /// The CPU that Kubernetes allows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// The heap.
    #[serde(default = "one_gib")]
    pub memory: Memory,
    /// The memory beside the heap. Without it, Spark's own share of the heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_overhead: Option<Memory>,
    /// The memory that the container may use at most; without it, the heap and the memory beside it. Sizing and remedies
    /// stay within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Memory>,
    /// The smallest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<Memory>,
    /// The largest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Memory>,
}

/// The executors. Either `instances`, or `min` and `max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Executors {
    /// How many cores each of them has: so many tasks run in it at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 128))]
    pub cores: u32,
    /// The CPU that is asked of Kubernetes, where it is not the number of cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cpu>,
    /// The CPU that Kubernetes allows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// The heap.
    #[serde(default = "one_gib")]
    pub memory: Memory,
    /// The memory beside the heap. Without it, Spark's own share of the heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_overhead: Option<Memory>,
    /// The memory that the container may use at most; without it, the heap and the memory beside it. Sizing and remedies
    /// stay within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Memory>,
    /// The smallest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<Memory>,
    /// The largest heap that sizing and remedies may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Memory>,
    /// How many there are, where their number is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub instances: Option<u32>,
    /// How many there are at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub min: Option<u32>,
    /// How many there are at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max: Option<u32>,
    /// How many there are at first.
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

/// Spark's own share of the heap for the memory beside it, as a divisor, and the least that it takes, in MiB.
const OVERHEAD_SHARE: u64 = 10;
const LEAST_OVERHEAD: u64 = 384;

/// Returns how much memory beside a heap Spark takes by itself. All in MiB.
pub fn default_overhead(heap: u64) -> u64 {
    (heap / OVERHEAD_SHARE).max(LEAST_OVERHEAD)
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

/// Who decides how much a run is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sizing {
    /// The manifest.
    Fixed,
    /// Spark, by dynamic allocation between `min` and `max`.
    Dynamic,
    /// The platform, from earlier runs, between the manifest's bounds.
    Auto,
}
