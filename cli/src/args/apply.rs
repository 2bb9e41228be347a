//! Arguments of the commands that plan, apply and inspect applied state.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

use super::{Format, Selection};

pub(super) const PLAN: &str = "\
A plan changes nothing. It compares the manifests with what was applied last, and says for each workload what would \
happen to it: create, update (nothing restarts), redeploy (restarts, the checkpoint is kept), reset (the checkpoint \
can't be kept), delete.

Examples:
  dcp plan                               all workloads
  dcp plan --target prod --out p.json    and save it, to apply exactly this: dcp apply p.json
  dcp plan manifests/clicks.yaml         only those of one file; nothing is deleted
  dcp plan --select logistics/clicks     only this one, wherever it stands
  dcp plan --since origin/main           only what changed since a git revision
  dcp plan --output markdown             as the comment of a pull request
  dcp plan --output github               what is dangerous, as annotations on a pull request

With --detailed-exitcode: 0 nothing to do, 1 error, 2 changes.";

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
    /// Workload whose checkpoint may be given up (`domain/name`, or `all`), if the plan needs it; can be given
    /// several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_reset: Vec<String>,
    /// Continuous workload that may be stopped and deleted (`domain/name`, or `all`); can be given several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_delete: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

pub(super) const APPLY: &str = "\
Shows the plan, asks, and does it: all of it or nothing. A second run does nothing. Whatever interrupts it, even a \
crash, the next apply repairs.

Examples:
  dcp apply                                     plan, ask, apply
  dcp apply plan.json                           exactly what was planned; refused if the state moved on
  dcp apply --auto-approve                      without asking, as in CI
  dcp apply --allow-reset payments/scores       may give up the checkpoint of this stream";

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
Takes away all that is applied to a target, or what is selected of it. Manifests are not touched: the next apply brings \
it all back.

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
Plans the way back to an earlier serial, and applies it as any other plan: what it costs a running stream is shown, and \
asked for. Manifests are not touched: the next apply of them goes forward again.

Examples:
  dcp history                 which serials there were
  dcp rollback 41             back to what was applied then
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
  dcp show logistics/clicks                           every part of it, as it is applied
  dcp show CoreEtlJob/logistics/clicks                one part
  dcp show CoreEtlJob/logistics/clicks --revision 3   as it was
  dcp show Orchestrator/logistics/orders --revisions  which revisions there were";

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
Looks for DAG files that were changed by hand, are missing, or are ours and applied by nobody. `dcp apply` repairs what \
an interrupted apply left; `dcp drift --repair` repairs all of it.

Examples:
  dcp drift --target prod
  dcp drift --repair

With --detailed-exitcode: 0 all is as applied, 1 error, 2 it is not.";

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
