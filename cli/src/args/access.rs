//! Arguments of `dcp policy`, `dcp token` and `dcp audit`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::Format;

pub(super) const POLICY: &str = "\
A policy gives roles to users and groups, for domains in scopes. Services read it with `--policy`, and read it again \
when it changes; a policy with an error, or with a test that fails, never takes effect.

Examples:
  dcp policy test                                   check policy.yaml, and run its tests
  dcp policy test /etc/dcp/policy.yaml
  dcp policy role --user ada --group company:data --scope shop/prod --domain sales";

#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy, and run its tests
    Test(PolicyTestArgs),
    /// Show the role of a caller, and the binding that gives it
    Role(PolicyRoleArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PolicyTestArgs {
    /// The policy file
    #[arg(value_name = "FILE", default_value = "policy.yaml", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PolicyRoleArgs {
    /// The policy file
    #[arg(value_name = "FILE", default_value = "policy.yaml", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The name of the caller
    #[arg(long, value_name = "NAME")]
    pub(crate) user: String,
    /// A group of the caller; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// The scope, `project` or `project/target` [default: all scopes, as for jobs that are not applied]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// The domain [default: all domains]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
}

pub(super) const TOKEN: &str = "\
A token identifies a program, such as Airflow or another service of dcp. Its name has the roles that the policy gives to \
it. The database has only salted hashes of tokens; the text of a token is printed once, when it is created.

Examples:
  dcp token create airflow --database postgres://dcp@db/dcp
  dcp token create nightly --group ci --expires 30d > token
  dcp token list
  dcp token revoke 3f2a9c01d4e8";

#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token, and print it
    Create(CreateToken),
    /// List tokens: their holders, and when they were used and expire
    List(ListTokens),
    /// Revoke a token; services reject it within 10 seconds
    Revoke(RevokeToken),
}

/// The database of tokens and of the audit log.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenDatabase {
    /// Database of the service: `postgres://…`, or the path of a SQLite file [default: that of `dcp up` in the project];
    /// better set by the environment, as it may contain a password
    #[arg(long, value_name = "URL", env = "DCP_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateToken {
    /// The name of the holder
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A group of the holder; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// Time until the token expires, such as `90d` or `12h`, or `never`
    #[arg(long, value_name = "TIME", default_value = "90d")]
    pub(crate) expires: String,
    #[command(flatten)]
    pub(crate) database: TokenDatabase,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListTokens {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) database: TokenDatabase,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeToken {
    /// The id of the token, as `dcp token list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) database: TokenDatabase,
}

pub(super) const AUDIT: &str = "\
The audit log has each decision of a service with `--policy` about a call that changes something, and each refused call: \
who called, by which credential and from where, and the binding that allowed it. Entries are stored before anything \
changes.

Examples:
  dcp audit --since 24h                      the last day, the newest at the end
  dcp audit --refused --user ada
  dcp audit --domain sales --action submit
  dcp audit --limit 100000 --output json     a line of JSON for each entry";

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Only entries of this time until now, such as `24h` or `30d`
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only calls of this caller
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only this action: submit, cancel, commit, pause, resume, restart, complete; or a refused one that reads, such as
    /// logs
    #[arg(long, value_name = "NAME")]
    pub(crate) action: Option<String>,
    /// Only calls about this scope
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// Only calls about this domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// Only refused calls
    #[arg(long)]
    pub(crate) refused: bool,
    /// Maximum number of entries, the newest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) limit: u32,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) database: TokenDatabase,
}
