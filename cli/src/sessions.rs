//! Sessions of commands at the proxy for Spark Connect.

use std::path::Path;
use std::time::Duration;

use dcp_connect::client::{Session, Wanted};
use dcp_connect::remote::SERVICE;
use dcp_server::client::{CallError, Client, Options};
use dcp_workspace::project::Workspace;
use tonic::{Code, Status};

use crate::args::{ConnectServer, DriverChoice, DriverSize};
use crate::failure::Failure;
use crate::socket;

/// Timeout of the beginning of a response. A statement may be analyzed for long before it has one.
pub(crate) const DEADLINE: Duration = Duration::from_hours(24);

/// A proxy, and the driver that is asked for.
#[derive(Debug)]
pub(crate) struct Sessions {
    client: Client,
    wanted: Wanted,
}

impl Sessions {
    /// Connects to the proxy of a choice: its server, that of the target, or the project's `dcp up`.
    pub(crate) async fn open(
        project: Option<&Path>,
        choice: &DriverChoice,
        size: DriverSize,
    ) -> Result<Self, Failure> {
        let options = options(project, &choice.server).await?;
        let options = Options { deadline: DEADLINE, ..options };
        let client = Client::new(options, SERVICE).map_err(|error| failed(&error))?;
        let DriverChoice { domain, pool, engine, server: _ } = choice.clone();
        let DriverSize { cores, memory } = size;
        Ok(Self { client, wanted: Wanted { domain, pool, engine, cores, memory } })
    }

    /// Returns a new session. The first statement begins it.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        self.client.renew().await.map_err(|error| failed(&error))?;
        Session::new(self.client.channel(), &self.wanted).map_err(Failure::usage)
    }

    /// Renews the token of a session that lives longer.
    pub(crate) async fn renew(&self) -> Result<(), Failure> {
        self.client.renew().await.map_err(|error| failed(&error))
    }

    /// Returns the name of the prompt.
    pub(crate) fn name(&self) -> &str {
        let Wanted { domain, pool, .. } = &self.wanted;
        domain.as_deref().or(pool.as_deref()).unwrap_or("sql")
    }
}

/// Returns the options for a proxy: the named one, that of the target, or the project's `dcp up`.
pub(crate) async fn options(project: Option<&Path>, choice: &ConnectServer) -> Result<Options, Failure> {
    if let Some(server) = &choice.server {
        let home = Workspace::find(project, &[]).ok();
        return crate::control::remote_options(server, home.as_ref().map(|home| home.root.as_path()));
    }
    let home = Workspace::find(project, &[])?;
    let target = home.target(choice.target.as_deref())?;
    if let Some(server) = target.connect() {
        return crate::control::remote_options(server, Some(&home.root));
    }
    match socket::url(&home.root).await {
        Some(url) => Ok(Options::new(url, "")),
        None => Err(Failure::new("no proxy for Spark Connect runs here")
            .help("start `dcp up`, name a target with a `server`, or give `--server https://HOST:7423`")),
    }
}

/// Returns the failure of a call.
pub(crate) fn failed(error: &CallError) -> Failure {
    match error {
        CallError::Rejected(error) => Failure::new(error.message.clone()),
        CallError::Invalid(why) | CallError::Denied(why) | CallError::Unavailable(why) => Failure::new(why),
    }
}

/// Returns the failure of a statement.
pub(crate) fn statement_failed(status: &Status) -> Failure {
    let failure = Failure::new(status.message());
    match status.code() {
        Code::Unauthenticated => failure.help("log in with `dcp login`, or give a token in DCP_TOKEN"),
        Code::PermissionDenied => {
            failure.help("`dcp whoami` shows your roles; choose another `--domain` or `--pool`")
        }
        _ => failure,
    }
}
