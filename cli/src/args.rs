//! What can be asked of the binary.

mod apply;
mod assets;
mod jobs;
mod manifests;
mod run;
mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use apply::*;
pub(crate) use assets::*;
pub(crate) use jobs::*;
pub(crate) use manifests::*;
pub(crate) use run::*;
pub(crate) use serve::*;

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
  dcp up                      keep continuous jobs running; `dcp status` tells how they are
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
    /// Tell how continuous jobs are
    #[command(after_help = STATUS)]
    Status(Status),
    /// Stop a continuous job, and keep it so
    #[command(after_help = PAUSE)]
    Pause(Asked),
    /// Have a paused job go on where it was
    #[command(after_help = RESUME)]
    Resume(Asked),
    /// Start a continuous job anew, on its checkpoint
    #[command(after_help = RESTART)]
    Restart(Asked),
    /// List what was decided about a continuous job, and why
    #[command(after_help = EVENTS)]
    Events(Events),
    /// Tell which assets are complete, what they are made of, and what is made of them
    #[command(after_help = ASSETS)]
    Assets(Assets),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
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
