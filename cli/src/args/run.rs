//! Arguments of the commands about executions.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

use super::Format;

pub(super) const RUN: &str = "\
The job of a file runs on this machine, without a server and without an apply. An applied job is run by its address. \
Failures that another attempt can fix are retried according to the manifest's `retry`. If the target has a server, its \
Runner retries, and `--wait` shows the progress; otherwise this command retries until the run ends. Ctrl-C stops \
waiting, not the run.

Examples:
  dcp run manifests/orders.yaml --param day=2026-11-20
  dcp run logistics/orders-daily --wait          an applied job
  dcp run jobs.yaml --select logistics/orders    one of several jobs of a file
  dcp run orders.yaml --sandbox                  in the sandbox of the branch; see `dcp sandbox`

Exit codes: 0 succeeded, or submitted without --wait; 1 failed, cancelled, or interrupted while waiting.";

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Path of a manifest, or `domain/name` of an applied job
    #[arg(value_name = "FILE|ADDRESS", value_hint = ValueHint::AnyPath)]
    pub(crate) what: String,
    /// A parameter of the job, `name=value`; can be given several times
    #[arg(short, long, value_name = "NAME=VALUE", num_args = 1)]
    pub(crate) param: Vec<String>,
    /// Wait for the end, and print each step; always so without a server
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Workload of the file, `domain/name`, if the file has several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) select: Option<String>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Run the SQL of a file's job in a sandbox: its outputs go to the sandbox's schema [default NAME: from the Git branch]
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["token", "wait"]
    )]
    pub(crate) sandbox: Option<String>,
    /// Name for this run: another run with the same name returns the same execution
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

pub(super) const RUNS: &str = "\
Examples:
  dcp runs                             the last 20
  dcp runs --live                      executions that have not ended
  dcp runs logistics/orders-daily      executions of one workload
  dcp runs 01k9z…                      one execution: attempts, causes, evidence, all steps
  dcp runs --phase failed --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// An execution's id, or `domain/name` of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: Option<String>,
    /// Only executions that have not ended
    #[arg(long)]
    pub(crate) live: bool,
    /// Only executions in this phase; can be given several times
    #[arg(long, value_name = "PHASE", num_args = 1)]
    pub(crate) phase: Vec<String>,
    /// Maximum number of executions to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: u32,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

pub(super) const LOGS: &str = "\
Shows the output of the program, and the errors that Spark logged. `--all` adds Spark's other log lines.

Examples:
  dcp logs 01k9z…                    log of the last attempt
  dcp logs -f logistics/orders       follow the newest execution of a workload
  dcp logs 01k9z… --attempt 1
  dcp logs 01k9z… --all              with Spark's own log";

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// An execution's id, or `domain/name` for the newest one of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: String,
    /// Follow the log while the execution runs, through all further attempts
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show everything in the driver's log, Spark's own lines too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Number of the attempt [default: the last one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

pub(super) const CANCEL: &str = "\
Requests the driver to stop, and kills it after `timeouts.stop`.

Examples:
  dcp cancel 01k9z…
  dcp cancel logistics/clicks        the newest execution of a workload";

#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    /// Ids of executions, or `domain/name` for the newest one of a workload
    #[arg(value_name = "EXECUTION", required = true)]
    pub(crate) executions: Vec<String>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

pub(super) const RESULT: &str = "\
Examples:
  dcp result logistics/orders                       the rows of the newest execution
  dcp result 01k9z… --output csv > rows.csv
  dcp result 01k9z… --output avro --out rows.avro";

#[derive(Debug, clap::Args)]
pub(crate) struct ResultArgs {
    /// An execution's id, or `domain/name` for the newest one of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: String,
    /// Format of the rows [default: table on a terminal, else json]
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<ResultFormat>,
    /// File to write the rows to
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// Columns cut to the width of the terminal
    Table,
    /// An array with a record on each line
    Json,
    /// A header and a line for each row; a null is empty, an empty text is `""`
    Csv,
    /// An object container file
    Avro,
}

pub(super) const DOCTOR: &str = "\
Without a cluster, it checks Java, Spark, Python and the project's folder. With one, it checks the API server, the \
permissions of dcp, the namespaces, and the service accounts of drivers; it changes nothing on the cluster.

A cluster is one of `--clusters FILE`, or else of the project's `clusters.yaml`, or, without such a file, a context of \
your kubeconfig.

Examples:
  dcp doctor
  dcp doctor --cluster main --domain sales
  dcp doctor --cluster main --domain sales --manifest | kubectl apply -f -";

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Check a Kubernetes cluster instead of this machine
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// File of clusters that has the cluster [default: clusters.yaml of the project]
    #[arg(long, value_name = "FILE", requires = "cluster", value_hint = ValueHint::FilePath)]
    pub(crate) clusters: Option<PathBuf>,
    /// A domain whose namespace is checked too, in addition to those that the file lists; can be repeated
    #[arg(long = "domain", value_name = "NAME", requires = "cluster")]
    pub(crate) domains: Vec<String>,
    /// Print the namespaces, accounts, roles and bindings that the cluster needs, as YAML, instead of checks
    #[arg(long, requires = "cluster")]
    pub(crate) manifest: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Supervise {
    pub(crate) folder: PathBuf,
}
