//! What runs until it is stopped.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::Format;

pub(super) const UP: &str = "\
All parts in one process: what is applied, a Runner with the Spark of this machine, and a reconciler that keeps \
continuous jobs as they are declared. What it knows is below the \
project's `.dcp`, where every other command looks too: it takes up what an earlier one left.

The commands of the project reach it by a Unix socket, which only this user can connect to. `--listen` adds gRPC and \
REST over TCP, for which a token is needed: those in `--tokens`, or else the one in `.dcp/token`.

Examples:
  dcp up                             then, in another terminal: dcp run logistics/orders
  dcp up --listen 127.0.0.1:7420     for Airflow, REST and a browser, too";

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Address to listen on, in addition to the project's Unix socket
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// File with a line `name token` for each caller over TCP [default: one token, made in .dcp/token]
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) queues: Queues,
    #[command(flatten)]
    pub(crate) served: Served,
}

/// How much a Runner keeps that is not started yet.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Queues {
    /// Number of executions of one domain that may wait to be started; further submits are refused
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_queued_per_domain: u32,
}

impl Queues {
    pub(crate) fn limit(self) -> usize {
        usize::try_from(self.max_queued_per_domain).unwrap_or(usize::MAX)
    }
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
    /// Maximum number of concurrent calls; those beyond are rejected as UNAVAILABLE
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_calls: u16,
    /// Maximum number of connections of one address, except this machine's own; raise it behind a proxy
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_connections_per_peer: u16,
    /// How to write the log: a line on stderr for each call, with --quiet for those that failed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
}

pub(super) const SERVE: &str = "\
Examples:
  dcp serve control --database postgres://dcp@db/dcp --tokens /etc/dcp/tokens
  dcp serve reconciler --database postgres://dcp@db/dcp --runner https://dcp.example.com:7421
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
    /// A reconciler: keeps continuous jobs as they are declared. Of several, one acts, and the others wait
    Reconciler(ServeReconciler),
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
    /// File with a line `name token` for each who may apply [default at a loopback address: one token, made in .dcp/token]
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) served: Served,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeReconciler {
    /// Where the control plane keeps what is applied: `postgres://…`, or the path of a SQLite file; better given in the
    /// environment, as it may hold a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// The Runner that runs them, with the token of the environment
    #[arg(long, value_name = "URL")]
    pub(crate) runner: String,
    /// For how many seconds nothing may be heard of the reconciler that acts before another one does
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) lease: u16,
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
    /// File with a line `name token` for each who may submit [default at a loopback address: one token, made in .dcp/token]
    #[arg(long, value_name = "FILE", env = "DCP_TOKENS", value_hint = ValueHint::FilePath)]
    pub(crate) tokens: Option<PathBuf>,
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
    /// Number of MiB that are kept of each driver's log: its beginning and its newest part
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..))]
    pub(crate) max_log: u32,
    #[command(flatten)]
    pub(crate) queues: Queues,
    #[command(flatten)]
    pub(crate) served: Served,
}
