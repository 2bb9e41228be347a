//! Arguments of the commands that run until they are stopped.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::Format;

pub(super) const UP: &str = "\
Runs all parts in one process: the registry of applied workloads, a Runner with the Spark of this machine, and a \
reconciler for continuous jobs. The state is in the project's `.dcp`, which the other commands use too: `dcp up` \
continues from the state of an earlier one.

Commands of the project connect through a Unix socket, which only this user can use. `--listen` adds gRPC and REST \
over TCP, for callers with a token: the one in `.dcp/token`, or with `--policy` those of `dcp token create`.

Examples:
  dcp up                             then, in another terminal: dcp run logistics/orders
  dcp up --listen 127.0.0.1:7420     also for Airflow, REST and browsers
  dcp up --clusters clusters.yaml    also with the Spark of Kubernetes clusters
  dcp up --cluster main              also with one cluster: of clusters.yaml, or a context of your kubeconfig";

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Address to listen on, in addition to the project's Unix socket
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Policy file with the roles of callers, who send tokens of `dcp token create`; read again when it changes [default
    /// at a loopback address: the token in .dcp/token may do everything]
    #[arg(long, value_name = "FILE", env = "DCP_POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// File of Kubernetes clusters to run jobs on, see docs/clusters.md. Jobs that name no backend run there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) clusters: Option<PathBuf>,
    /// Only cluster to run jobs on: one of `--clusters`, or else of the project's clusters.yaml, or, without such a
    /// file, a context of your kubeconfig. `dcp doctor --cluster NAME` checks it
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// File of Spark Connect servers that dcp did not start, see docs/connect.md; read again when it changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) drivers: Option<PathBuf>,
    /// File of providers of secrets for the Spark of this machine, see docs/secrets.md. Without it: variables `DCP_SECRET_…`,
    /// and .dcp/secrets
    #[arg(long, value_name = "FILE", env = "DCP_SECRETS_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secrets: Option<PathBuf>,
    /// URL of a bucket for the rows of SQL jobs, which drivers write, such as `s3a://lake/results`; without it, rows are
    /// in .dcp/results, where drivers on clusters can't write
    #[arg(long, value_name = "URL")]
    pub(crate) results: Option<String>,
    #[command(flatten)]
    pub(crate) queues: Queues,
    #[command(flatten)]
    pub(crate) served: Served,
}

/// Limits of a Runner's queue.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Queues {
    /// Maximum number of queued executions of one domain, unless the policy has a limit `queued` for it; further submits
    /// are rejected
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_queued_per_domain: u32,
}

impl Queues {
    pub(crate) fn limit(self) -> usize {
        usize::try_from(self.max_queued_per_domain).unwrap_or(usize::MAX)
    }
}

/// Options of a service.
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
    /// Days for which entries of the audit log stay in the database; they exist with `--policy`
    #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_audit: u32,
    /// File to which each entry of the audit log is also appended, as a line of JSON
    #[arg(long, value_name = "FILE", requires = "policy", value_hint = ValueHint::FilePath)]
    pub(crate) audit_log: Option<PathBuf>,
    /// Format of the log on stderr: a line for each call, with --quiet only for failed ones
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
}

pub(super) const SERVE: &str = "\
Examples:
  dcp serve control --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml
  dcp serve reconciler --database postgres://dcp@db/dcp --runner https://dcp.example.com:7421
  dcp serve runner --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml --control https://dcp.example.com:7420
  dcp serve gateway --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml --clusters clusters.yaml";

const GATEWAY: &str = "\
The Gateway is the only part with access to the clusters. Runners call it with `dcp serve runner --gateway URL`. \
Without a Gateway of its own, a Runner reads the clusters itself: `dcp serve runner --clusters FILE`.

The database has the cluster of each application. It is the database of the Runners, so that a Runner can change from \
`--clusters` to `--gateway` and back while applications run. Several Gateways may share it, if their files have the \
same clusters.

Example:
  dcp serve gateway --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml --clusters clusters.yaml
  dcp serve runner --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml --gateway https://gateway.example.com:7422";

const CONNECT: &str = "\
Clients need nothing but Spark's own library, and connect to one address:
  SparkSession.builder.remote(\"sc://connect.example.com:7423/;token=…;dcp-domain=shop;dcp-pool=small\").getOrCreate()

The proxy binds each session to one driver: of a pool (`kind: Pool`), or of `--drivers`. Sessions are in the database of \
the control plane. Several proxies may share it, and each may be restarted at any time: clients go on.

Examples:
  dcp serve connect --database postgres://dcp@db/dcp --policy /etc/dcp/policy.yaml --certificate tls.crt --key tls.key
  dcp serve connect --database connect.db --drivers drivers.yaml      in front of Spark Connect servers that you run";

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(subcommand)]
    pub(crate) part: Part,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// The control plane: the registry of applied workloads (gRPC, `dcp.control.v1`)
    Control(ServeControl),
    /// A reconciler: runs continuous jobs as they are declared. One of several is the leader, the others stand by
    Reconciler(ServeReconciler),
    /// A Runner: submits, checks and cancels executions (gRPC, `dcp.runner.v1`)
    Runner(ServeRunner),
    /// The proxy for Spark Connect: interactive sessions on the drivers of pools
    #[command(after_help = CONNECT)]
    Connect(ServeConnect),
    /// A Gateway: runs the applications of Runners on Kubernetes clusters (gRPC, `dcp.gateway.v1`)
    #[command(after_help = GATEWAY)]
    Gateway(ServeGateway),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeControl {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    pub(crate) listen: std::net::SocketAddr,
    /// Database of the control plane: `postgres://…`, or the path of a SQLite file; better set by the environment,
    /// as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// Policy file with the roles of callers, who send tokens of `dcp token create`; read again when it changes [default
    /// at a loopback address: the token in .dcp/token may do everything]
    #[arg(long, value_name = "FILE", env = "DCP_POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// URL of the Runner that has the executions of continuous jobs, with the token of the environment; without it,
    /// REST does not know the conditions of jobs, and commands ask the Runner of their project
    #[arg(long, value_name = "URL")]
    pub(crate) runner: Option<String>,
    #[command(flatten)]
    pub(crate) served: Served,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeReconciler {
    /// Database of the control plane: `postgres://…`, or the path of a SQLite file; better set by the environment,
    /// as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// URL of the Runner for the jobs, with the token of the environment
    #[arg(long, value_name = "URL")]
    pub(crate) runner: String,
    /// Seconds without a heartbeat of the leader before another reconciler takes over
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) lease: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeRunner {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7421")]
    pub(crate) listen: std::net::SocketAddr,
    /// Database of executions: `postgres://…`, which several Runners may share, or the path of a SQLite file;
    /// better set by the environment, as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// Policy file with the roles of callers, who send tokens of `dcp token create`; read again when it changes [default
    /// at a loopback address: the token in .dcp/token may do everything]
    #[arg(long, value_name = "FILE", env = "DCP_POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// URL of the control plane with the registry of jobs, with the token of the environment; without it, each
    /// submit has to include its job
    #[arg(long, value_name = "URL")]
    pub(crate) control: Option<String>,
    /// Folder for the files of local executions, and base of the relative paths of jobs
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Days for which an ended execution is stored; until then, its token returns the same execution
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    /// Maximum size in MiB of a driver's log, of which the beginning and the newest part are kept
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..))]
    pub(crate) max_log: u32,
    /// File of Kubernetes clusters to run jobs on, see docs/clusters.md. Jobs that name no backend run there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) clusters: Option<PathBuf>,
    /// URL of a Gateway with the clusters, with the token of the environment; instead of `--clusters`. While it does not
    /// respond, executions wait
    #[arg(long, value_name = "URL", conflicts_with = "clusters")]
    pub(crate) gateway: Option<String>,
    /// File of providers of secrets for the Spark of this machine, see docs/secrets.md. Without it: variables `DCP_SECRET_…`,
    /// and .dcp/secrets
    #[arg(long, value_name = "FILE", env = "DCP_SECRETS_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secrets: Option<PathBuf>,
    /// URL of a bucket for the rows of SQL jobs, which drivers write, such as `s3a://lake/results`; without it, rows are
    /// in .dcp/results, where drivers on clusters can't write
    #[arg(long, value_name = "URL")]
    pub(crate) results: Option<String>,
    /// File with the key for the tokens of Spark Connect drivers: 64 hexadecimal digits, readable by this user alone. All
    /// parts of dcp have the same key. Without it, Spark Connect pools are rejected
    #[arg(long, value_name = "FILE", env = "DCP_CONNECT_KEY", value_hint = ValueHint::FilePath)]
    pub(crate) connect_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) queues: Queues,
    #[command(flatten)]
    pub(crate) served: Served,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeGateway {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7422")]
    pub(crate) listen: std::net::SocketAddr,
    /// File of Kubernetes clusters to run applications on, see docs/clusters.md; read again when it changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) clusters: PathBuf,
    /// Database of the Runners, with the cluster of each application: `postgres://…`, or the path of a SQLite file;
    /// better set by the environment, as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// Policy file with the roles of callers, who send tokens of `dcp token create`; read again when it changes [default
    /// at a loopback address: the token in .dcp/token may do everything]
    #[arg(long, value_name = "FILE", env = "DCP_POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// File with the key for the tokens of Spark Connect drivers: 64 hexadecimal digits, readable by this user alone. All
    /// parts of dcp have the same key. Without it, Spark Connect pools are rejected
    #[arg(long, value_name = "FILE", env = "DCP_CONNECT_KEY", value_hint = ValueHint::FilePath)]
    pub(crate) connect_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) served: Served,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeConnect {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7423")]
    pub(crate) listen: std::net::SocketAddr,
    /// Database of the control plane, with the pools and the sessions: `postgres://…`, or the path of a SQLite file; better
    /// set by the environment, as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: String,
    /// Policy file with the roles of callers, who send tokens of `dcp token create`; read again when it changes [default
    /// at a loopback address: the token in .dcp/token may do everything]
    #[arg(long, value_name = "FILE", env = "DCP_POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// File of Spark Connect servers that dcp did not start, see docs/connect.md; read again when it changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) drivers: Option<PathBuf>,
    /// File with the key of the tokens of pools' drivers: the one of `dcp serve runner` and `dcp serve gateway`
    #[arg(long, value_name = "FILE", env = "DCP_CONNECT_KEY", value_hint = ValueHint::FilePath)]
    pub(crate) connect_key: Option<PathBuf>,
    /// Maximum number of connections, of all addresses together
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    #[command(flatten)]
    pub(crate) served: Served,
}
