//! Pools of warm drivers that serve Spark Connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiVersion, Dependencies, Duration, Engine, Lifecycle, Metadata, Placement, Pods, Resources, SparkConf,
    Spec,
};

/// Spark's setting of the time after which an unused session ends, which `sessions.idleTimeout` sets.
pub const SESSION_TIMEOUT: &str = "spark.connect.session.manager.defaultSessionTimeout";

/// A pool of Spark Connect drivers that are kept ready for interactive sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolManifest {
    pub api_version: ApiVersion,
    pub kind: PoolKind,
    pub metadata: Metadata,
    pub spec: PoolSpec,
}

/// The kind of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolKind {
    /// A pool of Spark Connect drivers.
    Pool,
}

/// The definition of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolSpec {
    /// The version of Spark of all drivers, at least 4.0.
    pub engine: Engine,
    /// Resources of each driver and its executors.
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub share: Share,
    #[serde(default)]
    pub drivers: PoolDrivers,
    #[serde(default)]
    pub sessions: Sessions,
    #[serde(default)]
    pub recycle: Recycle,
    #[serde(default, skip_serializing_if = "Dependencies::is_empty")]
    pub dependencies: Dependencies,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default, skip_serializing_if = "SparkConf::is_empty")]
    pub spark: SparkConf,
    #[serde(default, skip_serializing_if = "Pods::is_empty")]
    pub pods: Pods,
    /// Retention of the pods, applications and logs that an ended driver leaves on the cluster.
    #[serde(default = "Spec::default_ttl")]
    pub ttl: Duration,
    #[serde(default)]
    pub lifecycle: Lifecycle,
}

/// The users who share a driver of the pool. Drivers are never shared across domains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Share {
    /// All users of the domain.
    #[default]
    Domain,
    /// One user at a time.
    Private,
}

/// The number of drivers of the pool. A driver is idle if it has no session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolDrivers {
    /// Minimum number of drivers that are ready for a new session: those with fewer than `sessions.perDriver`, or, in a
    /// private pool, idle ones. With 0, the first session waits until a driver has started.
    #[serde(default = "PoolDrivers::default_min_idle")]
    #[schemars(range(max = 1000))]
    pub min_idle: u32,
    /// Maximum number of idle drivers. If there are more for two minutes, they are stopped. Default: `minIdle` and one more, at most
    /// `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub max_idle: Option<u32>,
    /// Maximum number of drivers, with or without sessions.
    #[serde(default = "PoolDrivers::default_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
}

impl PoolDrivers {
    fn default_min_idle() -> u32 {
        1
    }

    fn default_max() -> u32 {
        10
    }

    /// Returns the maximum number of idle drivers, or its default.
    pub fn max_idle(&self) -> u32 {
        self.max_idle.unwrap_or_else(|| self.min_idle.saturating_add(1).min(self.max))
    }
}

impl Default for PoolDrivers {
    fn default() -> Self {
        Self { min_idle: Self::default_min_idle(), max_idle: None, max: Self::default_max() }
    }
}

/// The limits of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// Maximum number of sessions of a driver at the same time.
    #[serde(default = "Sessions::default_per_driver")]
    #[schemars(range(min = 1, max = 10_000))]
    pub per_driver: u32,
    /// Time after which an unused session ends, at least `1s`.
    #[serde(default = "Sessions::default_idle_timeout")]
    pub idle_timeout: Duration,
}

impl Sessions {
    fn default_per_driver() -> u32 {
        20
    }

    fn default_idle_timeout() -> Duration {
        Duration::from_secs(3600)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { per_driver: Self::default_per_driver(), idle_timeout: Self::default_idle_timeout() }
    }
}

/// The replacement of old drivers, because the memory of a driver grows with its sessions. A driver that reaches a
/// limit takes no new sessions, and is stopped after its last session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recycle {
    /// Maximum age of a driver that takes new sessions, at least `1s`.
    #[serde(default = "Recycle::default_after_age")]
    pub after_age: Duration,
    /// Maximum number of sessions that a driver takes in total.
    #[serde(default = "Recycle::default_after_sessions")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub after_sessions: u32,
}

impl Recycle {
    fn default_after_age() -> Duration {
        Duration::from_secs(24 * 3600)
    }

    fn default_after_sessions() -> u32 {
        500
    }
}

impl Default for Recycle {
    fn default() -> Self {
        Self { after_age: Self::default_after_age(), after_sessions: Self::default_after_sessions() }
    }
}

/// The settings of a pool that are not those of its drivers' job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolSettings {
    pub share: Share,
    pub drivers: PoolDrivers,
    pub sessions: Sessions,
    pub recycle: Recycle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_of_max_idle_is_between_min_idle_and_max() {
        for (min_idle, max, expected) in [(0, 10, 1), (1, 10, 2), (1, 1, 1), (10, 10, 10)] {
            let drivers = PoolDrivers { min_idle, max_idle: None, max };
            assert_eq!(drivers.max_idle(), expected, "{min_idle} of {max}");
        }
        assert_eq!(PoolDrivers { min_idle: 0, max_idle: Some(0), max: 3 }.max_idle(), 0);
    }
}
