//! What can be asked of the binary.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};

const ABOUT: &str = "\
A data control plane for Spark.

Describe a Spark workload in a YAML manifest: a SQL job, a program, a declarative stream. dcp checks manifests, all \
of them together, and compiles them into primitives and Airflow DAGs.";

const EXAMPLES: &str = "\
To begin:
  dcp init shop               make a small project in the folder `shop`
  dcp validate                check all manifests of the project around you
  dcp graph                   see who produces and who consumes what
  dcp plan                    see what would change, why, and what it costs a running stream
  dcp apply                   do exactly that
  dcp run FILE                run a job on this machine; `dcp doctor` says whether it can
  dcp explain DCP0107         read about a diagnostic

Environment:
  DCP_TOKEN           the token for a target that has a `server`; sent over TLS, or to this machine
  DCP_ALLOW_HTTP=1    send it to any `http://` server, where the network is trusted
  DCP_USER            who applies, in the history of a target without a `server`

Exit codes: 0 all is well, 1 there are errors, 2 the command was called wrongly.";

#[derive(Debug, Parser)]
#[command(name = "dcp", version, about = "A data control plane for Spark", long_about = ABOUT)]
#[command(after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The project's folder [default: the nearest one upwards that has a `dcp.yaml`, else the current one]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// When to use colour; `NO_COLOR` and `CLICOLOR` are respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Say only what is wrong: no notes, no summary of what went well
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check manifests and say everything that is wrong with them
    #[command(after_help = VALIDATE)]
    Validate(Validate),
    /// Write the primitives and Airflow DAGs that manifests are decomposed into
    #[command(after_help = COMPILE)]
    Compile(Compile),
    /// Show what an apply would change, why, and what it costs a running stream
    #[command(after_help = PLAN)]
    Plan(Plan),
    /// Do what a plan says: the manifests' one, or one that was saved
    #[command(after_help = APPLY)]
    Apply(Apply),
    /// Take away what is applied
    #[command(after_help = DESTROY)]
    Destroy(Destroy),
    /// Go back to what was applied at an earlier serial
    #[command(after_help = ROLLBACK)]
    Rollback(Rollback),
    /// List what was applied, by whom and when
    #[command(after_help = HISTORY)]
    History(History),
    /// Print what is applied at an address, or was
    #[command(after_help = SHOW)]
    Show(Show),
    /// Compare what is applied with what is there: the folder of DAG files
    #[command(after_help = DRIFT)]
    Drift(Drift),
    /// Run a job, and tell how it goes
    #[command(after_help = RUN)]
    Run(Run),
    /// List what was run and what is running, or tell all of one execution
    #[command(after_help = RUNS)]
    Runs(Runs),
    /// Print what the driver of an execution writes
    #[command(after_help = LOGS)]
    Logs(Logs),
    /// Stop executions
    #[command(after_help = CANCEL)]
    Cancel(Cancel),
    /// Print the rows that a job of SQL with `returnResult: true` returned
    #[command(after_help = RESULT)]
    Result(Rows),
    /// Say whether jobs can be run on this machine, and what is missing
    Doctor(Doctor),
    #[command(hide = true)]
    Supervise(Supervise),
    /// Run all parts of dcp in one process, on this machine
    #[command(after_help = UP)]
    Up(Up),
    /// Run a part of dcp as a service
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Show which workloads read and write what, and who waits for whom
    #[command(after_help = GRAPH)]
    Graph(Graph),
    /// Print the JSON Schema of manifests or of the project file
    #[command(after_help = SCHEMA)]
    Schema(Schema),
    /// Format manifests, comments included
    #[command(after_help = FMT)]
    Fmt(Fmt),
    /// Explain a diagnostic, or list all of them
    #[command(after_help = EXPLAIN)]
    Explain(Explain),
    /// Make a small project that is valid, to begin with
    #[command(after_help = INIT)]
    Init(Init),
    /// Print a script that completes commands in a shell
    #[command(after_help = COMPLETIONS)]
    Completions(Completions),
}

/// Which manifests, and for which target.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Manifests, and folders to search for them [default: what `dcp.yaml` names]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// The target of `dcp.yaml` whose variables and overlays apply [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

const VALIDATE: &str = "\
Every problem is told in one run, with the place where it is. Files that git ignores are left out.

Examples:
  dcp validate                          all manifests of the project
  dcp validate manifests/clicks.yaml    one of them
  dcp validate --target prod            as they are for the target `prod`
  dcp validate --output github          as annotations on a pull request
  dcp validate --output sarif > dcp.sarif";

#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How to write what was found
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
    /// End with exit code 1 if there are warnings
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// Tell on stderr what took how long
    #[arg(long)]
    pub(crate) timings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For code scanning: SARIF 2.1.0
    Sarif,
    /// For a job of GitHub Actions: annotations
    Github,
}

const COMPILE: &str = "\
Nothing is written if there are errors. What has not changed is left alone, and what an earlier compile wrote into the \
folder and is no longer there in the manifests is removed. Other files in it are never touched.

Examples:
  dcp compile --out build                   build/<kind>/<domain>/<name>.json and build/dags/*.py
  dcp compile --out build --target prod     for the target `prod`";

#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The folder to write to: a new or empty one, or that of an earlier compile
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Write nothing and end with exit code 1 if there are warnings
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

const PLAN: &str = "\
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
    /// Only what the changes since this git revision can affect
    #[arg(long, value_name = "REV")]
    pub(crate) since: Option<String>,
    /// Save the plan in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: PlanFormat,
    /// End with exit code 2 if there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people
    Text,
    /// For programs; a file of it can be applied
    Json,
    /// For the comment of a pull request
    Markdown,
    /// For a job of GitHub Actions: annotations of what is dangerous
    Github,
}

/// What an apply is allowed to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Consent {
    /// Don't ask; without a terminal, nothing is applied unless this is given
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Give up the checkpoint of this workload (`domain/name`, or `all`), where the plan says so; can be given several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_reset: Vec<String>,
    /// Stop and take away this continuous workload (`domain/name`, or `all`); can be given several times
    #[arg(long, value_name = "WORKLOAD", num_args = 1)]
    pub(crate) allow_delete: Vec<String>,
    /// How to write what was done
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

const APPLY: &str = "\
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

const DESTROY: &str = "\
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

const ROLLBACK: &str = "\
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

const HISTORY: &str = "\
Examples:
  dcp history                   the last 20
  dcp history --limit 100 --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// How many to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: u32,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

const SHOW: &str = "\
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
    /// An earlier revision of it
    #[arg(long, value_name = "NUMBER", conflicts_with = "revisions")]
    pub(crate) revision: Option<u64>,
    /// List the revisions instead
    #[arg(long)]
    pub(crate) revisions: bool,
}

const DRIFT: &str = "\
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
    /// Make the DAG folder what the registry says
    #[arg(long)]
    pub(crate) repair: bool,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    /// End with exit code 2 if something is not as applied
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

const RUN: &str = "\
A file's job runs on this machine, with no server and nothing applied. What is applied is run by its address. Failures \
that another attempt can mend are tried again, as the manifest's `retry` says. Where the target has a server, its Runner \
sees to that, and `--wait` tells how it goes; else this command does, until the end. Ctrl-C stops waiting, not the run.

Examples:
  dcp run manifests/orders.yaml --param day=2026-11-20
  dcp run logistics/orders-daily --wait          what is applied
  dcp run jobs.yaml --select logistics/orders    one of several in a file

Exit codes: 0 it succeeded, 1 it failed or was cancelled, or nobody waited for its end.";

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A manifest's path, or `domain/name` of what is applied
    #[arg(value_name = "FILE|ADDRESS", value_hint = ValueHint::AnyPath)]
    pub(crate) what: String,
    /// A parameter of the job, `name=value`; can be given several times
    #[arg(short, long, value_name = "NAME=VALUE", num_args = 1)]
    pub(crate) param: Vec<String>,
    /// Wait for its end, and tell each step; without a server, this is always so
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Which workload of the file, where it has several: `domain/name`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) select: Option<String>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// A name for this run: running again with the same one gives the same execution
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

const RUNS: &str = "\
Examples:
  dcp runs                             the last 20
  dcp runs --live                      what has not ended
  dcp runs logistics/orders-daily      those of one workload
  dcp runs 01k9z…                      all of one: attempts, causes, evidence, every step
  dcp runs --phase failed --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// An execution's id, or `domain/name` of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: Option<String>,
    /// Only what has not ended
    #[arg(long)]
    pub(crate) live: bool,
    /// Only those in this phase; can be given several times
    #[arg(long, value_name = "PHASE", num_args = 1)]
    pub(crate) phase: Vec<String>,
    /// How many to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: u32,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

const LOGS: &str = "\
Examples:
  dcp logs 01k9z…                    of its last attempt
  dcp logs -f logistics/orders       of the newest execution of a workload, for as long as it runs
  dcp logs 01k9z… --attempt 1";

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// An execution's id, or `domain/name` for the newest one of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: String,
    /// Go on for as long as it runs, through all further attempts
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of this attempt [default: the last one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

const CANCEL: &str = "\
Asks the driver to stop, and kills it once its `timeouts.stop` is over.

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

const RESULT: &str = "\
Examples:
  dcp result logistics/orders                       the rows of the newest execution, as JSON
  dcp result 01k9z… --output avro --out rows.avro";

#[derive(Debug, clap::Args)]
pub(crate) struct Rows {
    /// An execution's id, or `domain/name` for the newest one of a workload
    #[arg(value_name = "EXECUTION")]
    pub(crate) execution: String,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub(crate) output: ResultFormat,
    /// Write it to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// An array with a record on each line
    Json,
    /// An object container file
    Avro,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

#[derive(Debug, clap::Args)]
pub(crate) struct Supervise {
    pub(crate) folder: PathBuf,
}

const UP: &str = "\
All parts in one process: what is applied, and a Runner with the Spark of this machine. What it knows is below the \
project's `.dcp`, where every other command looks too: it takes up what an earlier one left.

Examples:
  dcp up                             then, in another terminal: dcp run logistics/orders
  dcp up --listen 127.0.0.1:0        at a port that is free";

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    pub(crate) listen: std::net::SocketAddr,
    /// A file with a line `name token` for each who may call [default: whoever is on this machine]
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) served: Served,
}

/// How a service is served.
#[derive(Debug, clap::Args)]
pub(crate) struct Served {
    /// A certificate (PEM), for TLS
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub(crate) certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// How many calls may be under way at once; who calls beyond that is told to try again
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_calls: u16,
    /// How to write the log: a line on stderr for each call, with --quiet for those that failed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
}

const SERVE: &str = "\
Examples:
  dcp serve control --database postgres://dcp@db/dcp --tokens /etc/dcp/tokens
  dcp serve runner --database postgres://dcp@db/dcp --tokens /etc/dcp/tokens --control https://dcp.example.com:7420";

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(subcommand)]
    pub(crate) part: Part,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// The control plane: what is applied, for all who apply (gRPC, `dcp.control.v1`)
    Control(ServeControl),
    /// A Runner: submits, checks and cancels executions (gRPC, `dcp.runner.v1`)
    Runner(ServeRunner),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeControl {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where it is kept: `postgres://…`, or the path of a SQLite file; better given in the environment, as it may hold
    /// a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// A file with a line `name token` for each who may apply
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: PathBuf,
    #[command(flatten)]
    pub(crate) served: Served,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeRunner {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7421")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where executions are kept: `postgres://…`, which several Runners may share, or the path of a SQLite file; better
    /// given in the environment, as it may hold a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// A file with a line `name token` for each who may submit
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: PathBuf,
    /// The control plane that jobs are looked up in, with the token of the environment; without it, every job has to come
    /// along with its submit
    #[arg(long, value_name = "URL")]
    pub(crate) control: Option<String>,
    /// Where what runs on this machine has its folders, and where the relative paths of jobs begin
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// For how many days an execution is kept after it has ended; for as long, its token gives the same execution
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    #[command(flatten)]
    pub(crate) served: Served,
}

const GRAPH: &str = "\
Examples:
  dcp graph                                  workloads in the order in which data flows
  dcp graph --output dot | dot -Tsvg > graph.svg
  dcp graph --output mermaid                 for Markdown";

#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: GraphFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For people
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// For programs
    Json,
}

const SCHEMA: &str = "\
Examples:
  dcp schema > manifest.schema.json            then, as the first line of a manifest:
                                               # yaml-language-server: $schema=manifest.schema.json
  dcp schema project > project.schema.json     the same for dcp.yaml";

#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Of what
    #[arg(default_value = "manifest", value_name = "WHICH")]
    pub(crate) which: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A manifest
    Manifest,
    /// The project file, dcp.yaml
    Project,
}

const FMT: &str = "\
Examples:
  dcp fmt                  all manifests of the project, and its dcp.yaml
  dcp fmt --check          change nothing; list what would change
  dcp fmt - < in > out     from stdin to stdout, as editors want it";

#[derive(Debug, clap::Args)]
pub(crate) struct Fmt {
    /// Manifests, and folders to search for them; `-` is stdin [default: all of the project]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Change nothing; list the files that would change, and end with exit code 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,
}

const EXPLAIN: &str = "\
Examples:
  dcp explain DCP0107     or dcp0107, or 107
  dcp explain             all codes, with what they mean";

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The code of a diagnostic
    pub(crate) code: Option<String>,
}

const INIT: &str = "\
Examples:
  dcp init                      in the current folder
  dcp init shop                 in the folder `shop`, which is made if need be
  dcp init . --name webshop     under another name than the folder's";

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// The project's name [default: that of the folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

const COMPLETIONS: &str = "\
Examples:
  dcp completions bash > ~/.local/share/bash-completion/completions/dcp
  dcp completions zsh > ~/.zfunc/_dcp
  dcp completions fish > ~/.config/fish/completions/dcp.fish";

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Args;

    #[test]
    fn the_arguments_are_well_formed() {
        Args::command().debug_assert();
    }
}
