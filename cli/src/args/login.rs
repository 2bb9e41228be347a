//! Arguments of `dcp login`, `dcp logout` and `dcp whoami`.

use super::Format;

pub(super) const LOGIN: &str = "\
The policy of the server names the provider and its client: `issuers.NAME.login`. The login is stored for this server \
only, in $XDG_STATE_HOME/dcp/logins or ~/.local/state/dcp/logins, readable by this user alone. Commands use it unless \
DCP_TOKEN is set, and refresh it before it expires, if the provider allows that.

Examples:
  dcp login                                  log in to the server of the default target, in a browser
  dcp login --target prod --issuer company
  dcp login --device                         confirm the login on another device, as over SSH
  dcp login --server https://dcp.example.com:7420";

/// The server of a command: that of a target, or any other.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The target of `dcp.yaml` whose `server` is used [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// The address of the server, instead of that of a target
    #[arg(long, value_name = "URL", conflicts_with = "target")]
    pub(crate) server: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The name of the provider in the policy, if the server has several
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// Confirm the login on another device, by a code [default: if there is no terminal or no display]
    #[arg(long, conflicts_with = "browser")]
    pub(crate) device: bool,
    /// Log in by a browser of this machine, or of one that forwards the port
    #[arg(long)]
    pub(crate) browser: bool,
}

pub(super) const LOGOUT: &str = "\
Removes the stored login, and revokes its refresh token if the provider has an endpoint for that. The access token stays \
valid until it expires.

Examples:
  dcp logout
  dcp logout --server https://dcp.example.com:7420";

#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

pub(super) const WHOAMI: &str = "\
The name and the groups are those that bindings of the policy have.

Examples:
  dcp whoami
  dcp whoami --target prod --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
