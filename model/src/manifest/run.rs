//! When a workload runs, and what happens when a run does not go well.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::{Cron, DataRef, Date, Duration, Location, TimeZone};

/// When the workload runs: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Run {
    /// At certain times.
    Schedule(Schedule),
    /// When what it reads is complete.
    OnAssets(AssetTrigger),
    /// Only when somebody starts it.
    Manual(Manual),
    /// Always: it is started, watched, and started again.
    Continuous(Box<Continuous>),
    /// Always, as a server without a checkpoint: it is started again whenever it ends.
    Service(Box<Service>),
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
}

impl RunKind {
    /// Returns the field of the manifest.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Schedule => "schedule",
            RunKind::OnAssets => "onAssets",
            RunKind::Manual => "manual",
            RunKind::Continuous => "continuous",
            RunKind::Service => "service",
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
        }
    }
}

/// Only when somebody starts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manual {}

/// At certain times. Each run is for the data interval that ends when the run is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["cron", "every"]))]
pub struct Schedule {
    /// The times at which runs are due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,
    /// The length of the data intervals, in whole seconds and at least `1m`. The first interval starts at midnight of
    /// `startDate`, or of 1970-01-01 without one; each further one starts where the one before ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// The time zone of the cron expression, of `startDate` and of the dates that runs are given.
    #[serde(default = "Schedule::default_zone")]
    pub timezone: TimeZone,
    /// The first day that runs are for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Date>,
    /// Whether runs that were missed since the start date are made up for.
    #[serde(default)]
    pub catchup: bool,
    /// How many runs may be under way at once.
    #[serde(default = "Schedule::default_active")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_active_runs: u32,
    /// The policy for a run that is due while an earlier one has not ended.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Set to `true` to start no runs by time. The workload stays applied, and can be run by hand. Runs that were missed
    /// meanwhile start when it is resumed if `catchup` is set; otherwise only the last of them does.
    #[serde(default)]
    pub suspended: bool,
    /// How long after its time a run should be done; later than that, the owner is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// The policy for a run that is due while an earlier one has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConcurrencyPolicy {
    /// The new run waits while `maxActiveRuns` are under way.
    #[default]
    Queue,
    /// The earlier run is cancelled, and the new one starts once it has ended.
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

/// When what it reads is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum AssetTrigger {
    /// When all of these are complete.
    All(#[schemars(length(min = 1))] Vec<DataRef>),
    /// When any of these is complete.
    Any(#[schemars(length(min = 1))] Vec<DataRef>),
}

impl AssetTrigger {
    pub fn assets(&self) -> &[DataRef] {
        match self {
            AssetTrigger::All(assets) | AssetTrigger::Any(assets) => assets,
        }
    }
}

/// Always: it is started, watched, and started again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Continuous {
    #[serde(default)]
    pub trigger: Trigger,
    /// Where the stream keeps its progress and state. Nothing else may use the same.
    pub checkpoint: Location,
    /// For a stream that is a program: a number to be raised with every change that the old checkpoint can't take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_version: Option<u32>,
    #[serde(default)]
    pub upgrade: Upgrade,
    #[serde(default)]
    pub health: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// When what the stream writes is told to be complete, so that workloads that wait for it are started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completes: Option<Completes>,
    /// Whether the stream is stopped, and kept so.
    #[serde(default)]
    pub paused: bool,
}

/// A program that serves: it is kept running, has no checkpoint, and is started again whenever it ends, whatever its exit
/// code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[serde(default)]
    pub upgrade: ServiceUpgrade,
    #[serde(default)]
    pub health: ServiceHealth,
    /// Set to `true` to stop the service.
    #[serde(default)]
    pub paused: bool,
}

/// The replacement of a running service by its next revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceUpgrade {
    /// What happens when a new revision does not become healthy.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
    /// The time that the driver has to end after SIGTERM, before it is killed.
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

/// When a service counts as healthy: while its driver runs, once it has run for `stableAfter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceHealth {
    /// How long a start may take until the driver runs.
    #[serde(default = "ServiceHealth::default_start")]
    pub start_within: Duration,
    /// The time that the driver must have run to count as healthy. A service that ends sooner has failed to start.
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

/// When what a stream writes is told to be complete: whenever its watermark has passed the end of a stretch of time. The
/// partition that is complete then is `to=` and that end, such as `to=2026-11-20T14:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Completes {
    /// How long a stretch is, counted from midnight in UTC: `1h` is each full hour, `1d` each day.
    pub every: Duration,
}

/// When a stream begins its next batch: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Trigger {
    /// As soon as the last one is done.
    Asap(Asap),
    /// This long after the last one began.
    Every(Duration),
    /// Without batches, with a checkpoint this often. Experimental in Spark, and for map-like queries only.
    Continuous(Duration),
}

impl Default for Trigger {
    fn default() -> Self {
        Trigger::Asap(Asap {})
    }
}

/// As soon as the last batch is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asap {}

/// How a running stream gives way to its next revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// What happens when a new revision does not become healthy.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
    /// Whether a change that the checkpoint can't take may be applied without asking.
    #[serde(default)]
    pub reset: Reset,
    /// How long the running batch may take to finish before the stream is killed.
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

/// What happens when a new revision does not become healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnUnhealthy {
    /// The last revision that was healthy takes its place again.
    #[default]
    Rollback,
    /// It is kept, and tried again.
    Keep,
    /// It is stopped.
    Pause,
}

/// Whether a checkpoint may be given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// Only with `--allow-reset`.
    #[default]
    Ask,
    /// Whenever a change needs it. The old checkpoint is kept aside.
    Allow,
}

/// What a stream must do to count as healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// How long a start may take until the first batch is done.
    #[serde(default = "Health::default_start")]
    pub start_within: Duration,
    /// How long the stream may go without finishing a batch while there is something to read.
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

/// How the number of executors follows the load, between the bounds of `resources.executors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// How busy the stream should be, in percent of the time between two batches.
    #[serde(default = "Scaling::default_target")]
    #[schemars(range(min = 10, max = 95))]
    pub target_utilization: u32,
    /// How long nothing changes after a change.
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

/// The number of attempts of a run, and the failures after which it is tried again. Nothing else retries a job: a retry of
/// Airflow's task finds the execution of the try before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How many attempts a run has, the first one counted.
    #[serde(default = "Retry::default_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// How long to wait before the second attempt; each further one waits twice as long.
    #[serde(default = "Retry::default_backoff")]
    pub backoff: Duration,
    /// The longest wait.
    #[serde(default = "Retry::default_max_backoff")]
    pub max_backoff: Duration,
    /// How often a run may be given other resources after a failure that calls for them.
    #[serde(default = "Retry::default_remedies")]
    #[schemars(range(max = 10))]
    pub remedies: u32,
    /// The failures that are tried again; without it, all that a further attempt can mend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

impl Retry {
    fn default_attempts() -> u32 {
        3
    }

    fn default_backoff() -> Duration {
        Duration::from_secs(30)
    }

    fn default_max_backoff() -> Duration {
        Duration::from_secs(600)
    }

    fn default_remedies() -> u32 {
        3
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: Self::default_attempts(),
            backoff: Self::default_backoff(),
            max_backoff: Self::default_max_backoff(),
            remedies: Self::default_remedies(),
            causes: Vec::new(),
        }
    }
}

/// A class of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Out of memory, on the heap or beside it.
    OutOfMemory,
    /// A node or pod was lost, drained or reclaimed.
    NodeLost,
    /// Shuffle data was lost.
    ShuffleLost,
    /// No room on the cluster, or a quota used up.
    Scheduling,
    /// The image or a dependency could not be fetched.
    Dependencies,
    /// The backend did not answer.
    Backend,
    /// The run took too long.
    Timeout,
    /// The program itself failed.
    UserCode,
}

/// How long the steps of a run may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From being submitted until the driver runs.
    #[serde(default = "Timeouts::default_start")]
    pub start: Duration,
    /// From the driver's start until it is done. Streams have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Duration>,
    /// From being asked to stop until it is killed.
    #[serde(default = "Timeouts::default_stop")]
    pub stop: Duration,
}

impl Timeouts {
    fn default_start() -> Duration {
        Duration::from_secs(900)
    }

    fn default_stop() -> Duration {
        Duration::from_secs(60)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { start: Self::default_start(), run: None, stop: Self::default_stop() }
    }
}
