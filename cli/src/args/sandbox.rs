//! Arguments of `dcp sandbox`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::{ConnectServer, DriverChoice, DriverSize, Format, RowFormat};

pub(super) const SANDBOX: &str = "\
A sandbox is a Spark Connect session with a schema of its own. It belongs to you and to a Git branch, and expires: then its \
schema is dropped with all its tables. `dcp sandbox sql` is the way into it; there is no shell on the driver.

Examples:
  dcp sandbox create                         one for the branch that is checked out
  dcp sandbox create big --cores 16 --memory 64g --ttl 2h
  dcp sandbox sql main 'SHOW TABLES'
  dcp run manifests/orders.yaml --sandbox    run a job of the branch, with its outputs in the sandbox
  dcp sandbox list
  dcp sandbox delete main";

#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    #[command(subcommand)]
    pub(crate) command: SandboxCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Create a sandbox, or extend one that exists
    Create(SandboxCreate),
    /// List your sandboxes
    List(SandboxList),
    /// Drop the schema of a sandbox with all its tables, and end its session
    Delete(SandboxDelete),
    /// Execute SQL in the session and the schema of a sandbox: a statement, a file, or a prompt
    Sql(SandboxSql),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SandboxCreate {
    /// Name of the sandbox [default: from the Git branch]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) driver: DriverChoice,
    #[command(flatten)]
    pub(crate) size: DriverSize,
    /// Time after which it expires, such as 30m, 8h or 2d
    #[arg(long, value_name = "TIME", default_value = "8h")]
    pub(crate) ttl: String,
    /// Catalog of the schema [default: `spark_catalog`]
    #[arg(long, value_name = "NAME")]
    pub(crate) catalog: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SandboxList {
    #[command(flatten)]
    pub(crate) server: ConnectServer,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SandboxDelete {
    /// Name of the sandbox
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Domain of the sandbox, if you have one of this name in several
    #[arg(short, long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Keep the schema with its tables, as when the pool of the sandbox no longer exists
    #[arg(long)]
    pub(crate) keep_schema: bool,
    #[command(flatten)]
    pub(crate) server: ConnectServer,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SandboxSql {
    /// Name of the sandbox
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Statements, separated by `;` [default: standard input, or a prompt on a terminal]
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// File with statements
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Domain of the sandbox, if you have one of this name in several
    #[arg(short, long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    #[command(flatten)]
    pub(crate) server: ConnectServer,
    /// Format of the rows [default: table on a terminal, else json]
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<RowFormat>,
    /// Maximum number of rows of each statement [default: all; 1,000 at the prompt]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}
