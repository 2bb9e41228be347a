//! Arguments of the commands about continuous jobs.

use super::Format;

pub(super) const STATUS: &str = "\
A continuous job is state as it is declared by a reconciler: `dcp up`, or `dcp serve reconciler`.

Examples:
  dcp status                         all continuous jobs
  dcp status logistics/clicks        all of one, with what was decided last
  dcp status --watch
  dcp apply && dcp status --wait     apply, and learn whether what was applied runs";

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The continuous job, `domain/name` [default: all]
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
    /// Update the output when something changes, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Wait until all jobs are as declared and healthy, or have failed; exit with code 1 if a revision failed or
    /// was given up
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
Its running batch is finished, within `upgrade.grace`; then it stays stopped, whatever is applied, until `dcp resume`.

Examples:
  dcp pause logistics/clicks
  dcp pause logistics/clicks --wait  until nothing of it runs any more";

pub(super) const RESUME: &str = "\
It goes on where it was. One that is paused by its manifest (`paused: true`) stays so.

Examples:
  dcp resume logistics/clicks --wait until it is healthy";

pub(super) const RESTART: &str = "\
Its running batch is finished, within `upgrade.grace`, and it goes on from there; one that failed and is left alone for a \
while is started at once.

Examples:
  dcp restart logistics/clicks --wait";

#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
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
