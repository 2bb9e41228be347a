//! The trigger of a workload, and the handling of failures.

mod failure;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::{Cron, DataRef, Date, Duration, Location, PoolSettings, TimeZone};

pub use failure::{Cause, Retry, Timeouts};

/// The trigger of the workload: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Run {
    /// Runs at scheduled times.
    Schedule(Schedule),
    /// Runs when assets are complete, such as the inputs of the workload.
    OnAssets(AssetTrigger),
    /// Runs only on request.
    Manual(Manual),
    /// Runs permanently as a stream. The reconciler starts it, monitors it, and restarts it.
    Continuous(Box<Continuous>),
    /// Runs permanently as a server without a checkpoint. The reconciler restarts it whenever it ends.
    Service(Box<Service>),
    /// Serves the sessions of a pool, which is read as a [`PoolManifest`](super::PoolManifest).
    #[serde(skip)]
    Pool(Box<PoolSettings>),
}

/// The kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunKind {
    Schedule,
    OnAssets,
    Manual,
    Continuous,
    Service,
    Pool,
}

impl RunKind {
    /// Returns the field of the manifest, or `pool`.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Schedule => "schedule",
            RunKind::OnAssets => "onAssets",
            RunKind::Manual => "manual",
            RunKind::Continuous => "continuous",
            RunKind::Service => "service",
            RunKind::Pool => "pool",
        }
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Run {
    pub fn kind(&self) -> RunKind {
        match self {
            Run::Schedule(_) => RunKind::Schedule,
            Run::OnAssets(_) => RunKind::OnAssets,
            Run::Manual(_) => RunKind::Manual,
            Run::Continuous(_) => RunKind::Continuous,
            Run::Service(_) => RunKind::Service,
            Run::Pool(_) => RunKind::Pool,
        }
    }
}

/// Runs only on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manual {}

/// Runs at scheduled times. Each run covers the data interval that ends when the run is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["cron", "every"]))]
pub struct Schedule {
    /// The times at which runs are due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,
    /// The length of the data intervals, in whole seconds and at least `1m`. The first interval starts at midnight of
    /// `startDate`, or of 1970-01-01 if `startDate` is omitted. Each further interval starts where the previous one
    /// ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// The time zone of the cron expression, of `startDate` and of the dates that are passed to runs.
    #[serde(default = "Schedule::default_zone")]
    pub timezone: TimeZone,
    /// The first date that has a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Date>,
    /// Starts a run for each interval since `startDate` that has none.
    #[serde(default)]
    pub catchup: bool,
    /// Maximum number of active runs.
    #[serde(default = "Schedule::default_active")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_active_runs: u32,
    /// The policy for a run that is due while an earlier run is active.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Starts no scheduled runs. The workload stays applied, and can be started on request. When it is resumed, all
    /// missed runs start if `catchup` is set; otherwise only the last one does.
    #[serde(default)]
    pub suspended: bool,
    /// Maximum time from queueing a run to its end. A run that exceeds it is reported to the owner, and is not
    /// stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// The policy for a run that is due while an earlier run is active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConcurrencyPolicy {
    /// The new run waits while `maxActiveRuns` runs are active.
    #[default]
    Queue,
    /// The earlier run is cancelled. The new run starts once the earlier one has ended.
    Replace,
}

impl ConcurrencyPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_queue(&self) -> bool {
        *self == Self::Queue
    }
}

impl Schedule {
    fn default_zone() -> TimeZone {
        TimeZone::parse("UTC").expect("UTC is a time zone")
    }

    fn default_active() -> u32 {
        1
    }
}

/// Runs when assets are complete, such as the inputs of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum AssetTrigger {
    /// Runs when all of these are complete.
    All(#[schemars(length(min = 1))] Vec<DataRef>),
    /// Runs when any of these is complete.
    Any(#[schemars(length(min = 1))] Vec<DataRef>),
}

impl AssetTrigger {
    pub fn assets(&self) -> &[DataRef] {
        match self {
            AssetTrigger::All(assets) | AssetTrigger::Any(assets) => assets,
        }
    }
}

/// Runs permanently as a stream. The reconciler starts it, monitors it, and restarts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Continuous {
    #[serde(default)]
    pub trigger: Trigger,
    /// The location of the stream's checkpoint: its progress and its state. No other stream may use it.
    pub checkpoint: Location,
    /// The version of the state of a stream that is a program. Increase it with every change that is incompatible
    /// with the old checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_version: Option<u32>,
    #[serde(default)]
    pub upgrade: Upgrade,
    #[serde(default)]
    pub health: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// When the stream's output is reported as complete, so that dependent workloads start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completes: Option<Completes>,
    /// Pauses the job.
    #[serde(default)]
    pub paused: bool,
}

/// Runs permanently as a server without a checkpoint. The reconciler restarts it whenever it ends, regardless of its
/// exit code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[serde(default)]
    pub upgrade: ServiceUpgrade,
    #[serde(default)]
    pub health: ServiceHealth,
    /// Pauses the service.
    #[serde(default)]
    pub paused: bool,
}

/// The replacement of a running service by a new revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceUpgrade {
    /// The action if a new revision does not become healthy.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
    /// Grace period of the driver between SIGTERM and SIGKILL.
    #[serde(default = "ServiceUpgrade::default_grace")]
    pub grace: Duration,
}

impl ServiceUpgrade {
    fn default_grace() -> Duration {
        Duration::from_secs(30)
    }
}

impl Default for ServiceUpgrade {
    fn default() -> Self {
        Self { on_unhealthy: OnUnhealthy::default(), grace: Self::default_grace() }
    }
}

/// The conditions under which a service is healthy: its driver is running, and has run for `stableAfter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceHealth {
    /// Maximum time from a start until the driver runs.
    #[serde(default = "ServiceHealth::default_start")]
    pub start_within: Duration,
    /// Time that the driver must run before the service counts as healthy. If it ends earlier, the start has failed.
    #[serde(default = "ServiceHealth::default_stable")]
    pub stable_after: Duration,
}

impl ServiceHealth {
    fn default_start() -> Duration {
        Duration::from_secs(600)
    }

    fn default_stable() -> Duration {
        Duration::from_secs(30)
    }
}

impl Default for ServiceHealth {
    fn default() -> Self {
        Self { start_within: Self::default_start(), stable_after: Self::default_stable() }
    }
}

/// When a stream's output is reported as complete: each time the watermark passes the end of an interval. The
/// reported partition is `to=` and the end of the interval, such as `to=2026-11-20T14:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Completes {
    /// The length of the intervals, which are aligned to midnight UTC: `1h` is each full hour, `1d` each day.
    pub every: Duration,
}

/// When a stream starts its next batch: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Trigger {
    /// Starts a batch as soon as the previous one is done.
    Asap(Asap),
    /// Starts a batch this long after the previous one started.
    Every(Duration),
    /// Processes rows without batches, and writes a checkpoint at this interval. Experimental in Spark, and for
    /// map-like queries only.
    Continuous(Duration),
}

impl Default for Trigger {
    fn default() -> Self {
        Trigger::Asap(Asap {})
    }
}

/// Starts a batch as soon as the previous one is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asap {}

/// The replacement of a running stream by a new revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// The action if a new revision does not become healthy.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
    /// The policy for changes that are incompatible with the checkpoint.
    #[serde(default)]
    pub reset: Reset,
    /// Grace period in which the running batch can finish, before the stream is killed.
    #[serde(default = "Upgrade::default_grace")]
    pub grace: Duration,
}

impl Upgrade {
    fn default_grace() -> Duration {
        Duration::from_secs(120)
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { on_unhealthy: OnUnhealthy::default(), reset: Reset::default(), grace: Self::default_grace() }
    }
}

/// The action if a new revision does not become healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnUnhealthy {
    /// Rolls back to the last healthy revision.
    #[default]
    Rollback,
    /// Keeps the new revision and retries it.
    Keep,
    /// Stops the job.
    Pause,
}

/// The policy for changes that are incompatible with the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// Applies such a change only with `--allow-reset`.
    #[default]
    Ask,
    /// Applies such a change with a new checkpoint. The content of the old one is moved aside.
    Allow,
}

/// The conditions under which a stream is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Maximum time from a start until the first batch is done.
    #[serde(default = "Health::default_start")]
    pub start_within: Duration,
    /// Maximum time without a completed batch while input is available.
    #[serde(default = "Health::default_progress")]
    pub progress_within: Duration,
}

impl Health {
    fn default_start() -> Duration {
        Duration::from_secs(600)
    }

    fn default_progress() -> Duration {
        Duration::from_secs(600)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { start_within: Self::default_start(), progress_within: Self::default_progress() }
    }
}

/// Scaling of the number of executors with the load, within the bounds of `resources.executors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Target utilization: the batch duration in percent of the trigger interval.
    #[serde(default = "Scaling::default_target")]
    #[schemars(range(min = 10, max = 95))]
    pub target_utilization: u32,
    /// Minimum time between two changes.
    #[serde(default = "Scaling::default_cool_down")]
    pub cool_down: Duration,
}

impl Scaling {
    fn default_target() -> u32 {
        70
    }

    fn default_cool_down() -> Duration {
        Duration::from_secs(600)
    }
}
