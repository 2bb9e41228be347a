//! Arguments of the commands about continuous jobs.

use super::Format;

pub(super) const STATUS: &str = "\
Continuous jobs need a running reconciler: `dcp up`, or `dcp serve reconciler`.

Examples:
  dcp status                         all continuous jobs
  dcp status logistics/clicks        one job in detail, with its latest events
  dcp status --watch
  dcp apply && dcp status --wait     apply, and wait until jobs and pools are healthy";

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The continuous job, `domain/name` [default: all]
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
    /// Update the output when something changes, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Wait until all jobs are as declared and healthy, and all pools have `minIdle` drivers that are ready, or have failed;
    /// exit with code 1 if a revision failed or was given up, or a driver of such a pool has failed
    #[arg(long, conflicts_with = "watch")]
    pub(crate) wait: bool,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Output format; with --watch, a document on each line
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

pub(super) const PAUSE: &str = "\
Finishes the running batch within `upgrade.grace`, and stops the job. It stays paused until `dcp resume`, whatever is \
applied.

Examples:
  dcp pause logistics/clicks
  dcp pause logistics/clicks --wait  wait until the run has ended";

pub(super) const RESUME: &str = "\
Continues from the checkpoint. A job with `paused: true` in its manifest stays paused.

Examples:
  dcp resume logistics/clicks --wait  wait until the job is healthy";

pub(super) const RESTART: &str = "\
Finishes the running batch within `upgrade.grace`, and starts the job from its checkpoint. A job in backoff after a \
failure is started immediately.

Examples:
  dcp restart logistics/clicks --wait";

#[derive(Debug, clap::Args)]
pub(crate) struct JobRequest {
    /// The continuous job, `domain/name`
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Wait until the request is fulfilled
    #[arg(long)]
    pub(crate) wait: bool,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

pub(super) const EVENTS: &str = "\
Examples:
  dcp events logistics/clicks";

#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// The continuous job, `domain/name`
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Maximum number of events
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(crate) limit: u32,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
