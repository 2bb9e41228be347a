//! Arguments of the commands for interactive sessions.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use dcp_model::manifest::Memory;

use super::Format;

pub(super) const SQL: &str = "\
Statements run on a driver of a pool (`kind: Pool`), through the proxy for Spark Connect. A session has temporary views and \
settings of its own, and ends with the command. At the prompt, a statement ends with `;`, Ctrl-C cancels it, and Ctrl-D ends \
the session.

Examples:
  dcp sql --domain logistics                                  a prompt
  dcp sql 'SELECT count(*) FROM lake.orders'
  dcp sql 'SELECT * FROM lake.orders' --output csv > orders.csv
  dcp sql --file report.sql --pool large
  dcp sql --cores 16 --memory 64g                             a pool that is large enough";

#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    /// Statements, separated by `;` [default: standard input, or a prompt on a terminal]
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// File with statements
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) driver: DriverChoice,
    #[command(flatten)]
    pub(crate) size: DriverSize,
    /// Format of the rows [default: table on a terminal, else json]
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<RowFormat>,
    /// Maximum number of rows of each statement [default: all; 1,000 at the prompt]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// The driver of a session.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DriverChoice {
    /// Domain of the pool [default: the only one whose pools you may use]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Name of the pool [default: any of the domain]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// Version of Spark, such as 4.1 [default: any]
    #[arg(long, value_name = "VERSION")]
    pub(crate) engine: Option<String>,
    #[command(flatten)]
    pub(crate) server: ConnectServer,
}

/// The minimum size of a driver with its executors.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct DriverSize {
    /// Minimum number of cores of the driver's executors [default: any]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cores: Option<u32>,
    /// Minimum memory of the driver's executors, such as 16g [default: any]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<Memory>,
}

fn memory(text: &str) -> Result<Memory, String> {
    Memory::parse(text).map_err(|_| "write a whole number and a unit, such as 16g".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Columns cut to the width of the terminal
    Table,
    /// An array with an object on each line
    Json,
    /// A header and a line for each row; a null is empty, an empty text is `""`
    Csv,
    /// A stream of Arrow
    Arrow,
}

pub(super) const CONNECT: &str = "\
The address has no token: the program reads it from DCP_TOKEN, so that it is in no file and no history.

Examples:
  dcp connect --domain logistics --pool small
  dcp connect --output url";

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) driver: DriverChoice,
    #[command(flatten)]
    pub(crate) size: DriverSize,
    /// Output: the address with a program for `PySpark` and notebooks, or the address alone
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ConnectFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConnectFormat {
    Text,
    Url,
}

pub(super) const POOLS: &str = "\
Lists the pools of Spark Connect drivers whose domain you may read. SIZE is the cores and the memory of a driver: of all \
its executors, at their maximum. READY, STARTING and DRAINING are numbers of drivers: one that drains takes no new session.

Examples:
  dcp pools
  dcp pools --sessions                           your sessions
  dcp pools --sessions --all --domain logistics  sessions of all users, for operators
  dcp pools --end-session 0199…                  end a session with its queries
  dcp pools --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct PoolsArgs {
    /// Show sessions instead of pools
    #[arg(short, long)]
    pub(crate) sessions: bool,
    /// Show sessions of other users too; it needs the role `operator`
    #[arg(long, requires = "sessions")]
    pub(crate) all: bool,
    /// End the session of this id, with its queries; it needs the role `operator`
    #[arg(long, value_name = "ID", conflicts_with = "sessions")]
    pub(crate) end_session: Option<String>,
    /// User of the session to end, if several users have one of this id
    #[arg(long, value_name = "NAME", requires = "end_session")]
    pub(crate) user: Option<String>,
    /// Only this domain [default: all]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    #[command(flatten)]
    pub(crate) server: ConnectServer,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// The server of the proxy for Spark Connect.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConnectServer {
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// URL of the proxy, instead of the target's
    #[arg(long, value_name = "URL", env = "DCP_CONNECT")]
    pub(crate) server: Option<String>,
}
