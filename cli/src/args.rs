//! The command line.

mod access;
mod apply;
mod assets;
mod clusters;
mod jobs;
mod login;
mod manifests;
mod run;
mod sandbox;
mod secrets;
mod serve;
mod sessions;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use access::*;
pub(crate) use apply::*;
pub(crate) use assets::*;
pub(crate) use clusters::*;
pub(crate) use jobs::*;
pub(crate) use login::*;
pub(crate) use manifests::*;
pub(crate) use run::*;
pub(crate) use sandbox::*;
pub(crate) use secrets::*;
pub(crate) use serve::*;
pub(crate) use sessions::*;

const ABOUT: &str = "\
A data control plane for Spark.

Describe a Spark workload in a YAML manifest: a SQL job, a program, a declarative stream. dcp checks manifests, all \
of them together, and compiles them into primitives and Airflow DAGs.";

const EXAMPLES: &str = "\
To begin:
  dcp init shop               create a small project in the folder `shop`
  dcp validate                check all manifests of the project
  dcp graph                   show which workloads produce and consume which data
  dcp plan                    show what would change, why, and what it costs a running stream
  dcp apply                   apply the plan
  dcp run FILE                run a job on this machine; `dcp doctor` checks the requirements
  dcp up                      run continuous jobs; `dcp status` shows their status
  dcp explain DCP0107         explain a diagnostic

Environment:
  DCP_TOKEN           token for a `server`, unless you use `dcp login`; over TLS or to this machine
  DCP_TOKEN_FILE      file with the token instead, read again when it changes
  DCP_CERTIFICATE_AUTHORITY  file (PEM) of the only authorities that may sign certificates of servers
  DCP_CLIENT_CERTIFICATE, DCP_CLIENT_KEY  files (PEM) of a certificate that identifies the caller
  DCP_ALLOW_HTTP=1    send the token to `http://` servers too, on trusted networks
  DCP_USER            name of the user in the history of a target without a `server`

Exit codes: 0 success, 1 errors, 2 invalid arguments.";

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
    /// Use of colour; `NO_COLOR` and `CLICOLOR` are respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Print only errors and warnings: no notes, and no summary of success
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
    /// Check manifests and report all problems
    #[command(after_help = VALIDATE)]
    Validate(Validate),
    /// Write the primitives and Airflow DAGs of manifests
    #[command(after_help = COMPILE)]
    Compile(Compile),
    /// Show what an apply would change, why, and what it costs a running stream
    #[command(after_help = PLAN)]
    Plan(Plan),
    /// Apply the plan of the manifests, or a saved plan
    #[command(after_help = APPLY)]
    Apply(Apply),
    /// Remove what is applied
    #[command(after_help = DESTROY)]
    Destroy(Destroy),
    /// Restore what was applied at an earlier serial
    #[command(after_help = ROLLBACK)]
    Rollback(Rollback),
    /// List what was applied, by whom and when
    #[command(after_help = HISTORY)]
    History(History),
    /// Print the current or an earlier revision of an address
    #[command(after_help = SHOW)]
    Show(Show),
    /// Compare the DAG folder with what is applied
    #[command(after_help = DRIFT)]
    Drift(Drift),
    /// Run a job, and show its progress
    #[command(after_help = RUN)]
    Run(Run),
    /// List executions, or show all details of one
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
    Result(ResultArgs),
    /// Execute SQL on a driver of a pool: a statement, a file, or a prompt
    #[command(after_help = SQL)]
    Sql(SqlArgs),
    /// Print the address for Spark Connect clients, with a program to begin with
    #[command(after_help = CONNECT)]
    Connect(ConnectArgs),
    /// List the pools of Spark Connect drivers, or the sessions on them
    #[command(after_help = POOLS)]
    Pools(PoolsArgs),
    /// Create and use sandboxes: a session and a schema of your own, for a branch
    #[command(after_help = SANDBOX)]
    Sandbox(SandboxArgs),
    /// Show the status of continuous jobs
    #[command(after_help = STATUS)]
    Status(Status),
    /// Pause a continuous job until it is resumed
    #[command(after_help = PAUSE)]
    Pause(JobRequest),
    /// Resume a paused continuous job
    #[command(after_help = RESUME)]
    Resume(JobRequest),
    /// Restart a continuous job
    #[command(after_help = RESTART)]
    Restart(JobRequest),
    /// List the decisions about a continuous job, and their reasons
    #[command(after_help = EVENTS)]
    Events(Events),
    /// Show the completions and the lineage of assets
    #[command(after_help = ASSETS)]
    Assets(Assets),
    /// Show the clusters that jobs run on, and the reasons for the choice of a cluster
    #[command(after_help = CLUSTERS)]
    Clusters(ClustersArgs),
    /// Check the secrets that manifests refer to
    #[command(after_help = SECRETS)]
    Secrets(Secrets),
    /// Check whether this machine or a cluster can run jobs, and what is missing
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    #[command(hide = true)]
    Supervise(Supervise),
    /// Run all parts of dcp in one process, on this machine
    #[command(after_help = UP)]
    Up(Up),
    /// Run a part of dcp as a service
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Log in to a server, by the provider that its policy names
    #[command(after_help = LOGIN)]
    Login(LoginArgs),
    /// Remove the login to a server
    #[command(after_help = LOGOUT)]
    Logout(LogoutArgs),
    /// Show the name, the groups and the roles that a server knows the caller by
    #[command(after_help = WHOAMI)]
    Whoami(WhoamiArgs),
    /// Test a policy, which gives callers of a service their roles
    #[command(after_help = POLICY)]
    Policy(PolicyArgs),
    /// List decisions about the calls of a service, and refused calls
    #[command(after_help = AUDIT)]
    Audit(AuditArgs),
    /// Create, list and revoke tokens for callers of a service
    #[command(after_help = TOKEN)]
    Token(TokenArgs),
    /// Show which datasets the workloads read, write and wait for
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
    /// Create a small valid project
    #[command(after_help = INIT)]
    Init(Init),
    /// Print a script that completes commands in a shell
    #[command(after_help = COMPLETIONS)]
    Completions(Completions),
}

/// The manifests and the target of a command.
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
    /// Text for people
    Text,
    /// JSON for programs
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
