//! Arguments of the commands that plan, apply and inspect applied state.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

use super::{Format, Selection};

pub(super) const PLAN: &str = "\
Compares the manifests with the applied state, and changes nothing. For each workload, the plan shows the action: \
create, update (nothing restarts), redeploy (restarts and keeps the checkpoint), reset (restarts without the \
checkpoint), delete.

Examples:
  dcp plan                               plan all workloads
  dcp plan --target prod --out p.json    save the plan; `dcp apply p.json` applies it
  dcp plan manifests/clicks.yaml         only workloads of this file; nothing is deleted
  dcp plan --select logistics/clicks     only this workload
  dcp plan --since origin/main           only workloads that changed since a git revision
  dcp plan --output markdown             format as a comment on a pull request
  dcp plan --output github               annotate dangerous changes on a pull request

With --detailed-exitcode: 0 no changes, 1 error, 2 changes.";

#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Only these workloads: `domain/name`, `domain/*`, or an address; can be given several times
    #[arg(long, value_name = "ADDRESS", num_args = 1)]
    pub(crate) select: Vec<String>,
    /// Only workloads that the changes since this git revision can affect
    #[arg(long, value_name = "REV")]
    pub(crate) since: Option<String>,
    /// File to save the plan in
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: PlanFormat,
    /// Exit with code 2 if there are changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Text for people
    Text,
    /// JSON for programs, which can be saved and applied
    Json,
    /// Markdown for a comment on a pull request
    Markdown,
    /// Annotations of dangerous changes for GitHub Actions
    Github,
}

/// Consent to the changes of a plan.
#[derive(Debug, clap::Args)]
pub(crate) struct Consent {
    /// Apply without confirmation; required if there is no terminal
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Workload whose checkpoint may be reset (`domain/name`, or `all`), if the plan needs it; can be given
    /// several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_reset: Vec<String>,
    /// Continuous workload or pool that may be stopped and deleted (`domain/name`, or `all`), if the plan needs it; can be
    /// given several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_delete: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

pub(super) const APPLY: &str = "\
Shows the plan, asks for confirmation, and applies all of it or nothing. Applying it again changes nothing. If an \
apply is interrupted, even by a crash, the next apply repairs the state.

Examples:
  dcp apply                                     plan, confirm, apply
  dcp apply plan.json                           apply a saved plan; fails if the state has changed
  dcp apply --auto-approve                      apply without confirmation, as in CI
  dcp apply --allow-reset payments/scores       allow a reset of this stream's checkpoint";

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// A saved plan (`….json`); or manifests, and folders to search for them [default: what `dcp.yaml` names]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// The target of `dcp.yaml` to apply to [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Only these workloads: `domain/name`, `domain/*`, or an address; can be given several times
    #[arg(long, value_name = "ADDRESS", num_args = 1)]
    pub(crate) select: Vec<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

pub(super) const DESTROY: &str = "\
Deletes all applied workloads of a target, or the selected ones. Manifests are not changed: the next apply creates the \
workloads again.

Examples:
  dcp destroy --target dev --allow-delete all
  dcp destroy --select logistics/orders-daily";

#[derive(Debug, clap::Args)]
pub(crate) struct Destroy {
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Only these workloads: `domain/name`, `domain/*`, or an address; can be given several times
    #[arg(long, value_name = "ADDRESS", num_args = 1)]
    pub(crate) select: Vec<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

pub(super) const ROLLBACK: &str = "\
Plans the changes back to an earlier serial, and applies this plan like any other: it shows the effect on running \
streams, and asks for confirmation. Manifests are not changed: the next apply applies them again.

Examples:
  dcp history                 list the serials
  dcp rollback 41             restore the state of serial 41
  dcp rollback 41 --select logistics/clicks";

#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The serial to go back to
    pub(crate) serial: u64,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Only these workloads: `domain/name`, `domain/*`, or an address; can be given several times
    #[arg(long, value_name = "ADDRESS", num_args = 1)]
    pub(crate) select: Vec<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

pub(super) const HISTORY: &str = "\
Examples:
  dcp history                   the last 20
  dcp history --limit 100 --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Maximum number of commits to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: u32,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

pub(super) const SHOW: &str = "\
Examples:
  dcp show logistics/clicks                           all applied parts of a workload
  dcp show CoreEtlJob/logistics/clicks                one part
  dcp show CoreEtlJob/logistics/clicks --revision 3   an earlier revision
  dcp show Orchestrator/logistics/orders --revisions  list the revisions";

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// `domain/name`, or an address
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Number of an earlier revision
    #[arg(long, value_name = "NUMBER", conflicts_with = "revisions")]
    pub(crate) revision: Option<u64>,
    /// List the revisions instead
    #[arg(long)]
    pub(crate) revisions: bool,
}

pub(super) const DRIFT: &str = "\
Finds DAG files that were changed by hand, are missing, or were created by dcp and are not applied. `dcp apply` repairs \
the leftovers of an interrupted apply; `dcp drift --repair` repairs all differences.

Examples:
  dcp drift --target prod
  dcp drift --repair

With --detailed-exitcode: 0 no drift, 1 error, 2 drift.";

#[derive(Debug, clap::Args)]
pub(crate) struct Drift {
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Correct the DAG folder
    #[arg(long)]
    pub(crate) repair: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    /// Exit with code 2 if something differs from the applied state
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}
