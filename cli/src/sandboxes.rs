//! Sandboxes of the caller: names, and calls that wait for a driver.

pub(crate) mod rewrite;

use std::path::Path;
use std::time::{Duration, Instant};

use dcp_connect::client::Session;
use dcp_connect::remote::{Remote, SERVICE};
use dcp_connect::sandboxes::{NewSandbox, Opened, STARTING, Sandbox, name};
use dcp_server::client::{CallError, Client};
use dcp_workspace::git;
use dcp_workspace::project::Workspace;

use crate::args::ConnectServer;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::progress;
use crate::sessions::{DEADLINE, failed, options};

/// Time before it is shown that a command waits.
const WAITING_DELAY: Duration = Duration::from_millis(1_500);
/// Pause between two calls while a driver starts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Maximum time to wait for a driver.
const MAX_WAIT: Duration = Duration::from_mins(10);

/// The sandboxes of the caller at a server.
#[derive(Debug)]
pub(crate) struct SandboxClient {
    remote: Remote,
    sessions: Client,
}

impl SandboxClient {
    pub(crate) async fn open(project: Option<&Path>, server: &ConnectServer) -> Result<Self, Failure> {
        let of_calls = options(project, server).await?;
        let of_sessions = dcp_server::client::Options { deadline: DEADLINE, ..of_calls.clone() };
        let remote = Remote::new(of_calls).map_err(|error| failed(&error))?;
        Ok(Self { remote, sessions: Client::new(of_sessions, SERVICE).map_err(|error| failed(&error))? })
    }

    pub(crate) async fn list(&self) -> Result<Vec<Sandbox>, Failure> {
        self.remote.sandboxes().await.map_err(|error| failed(&error))
    }

    pub(crate) async fn create(&self, new: &NewSandbox, console: &Console) -> Result<Sandbox, Failure> {
        wait(console, || self.remote.create_sandbox(new)).await
    }

    pub(crate) async fn delete(
        &self,
        domain: Option<&str>,
        name: &str,
        keep_schema: bool,
        console: &Console,
    ) -> Result<(), Failure> {
        wait(console, || self.remote.delete_sandbox(domain, name, keep_schema)).await
    }

    /// Makes a sandbox's schema the current one of its session.
    pub(crate) async fn enter(
        &self,
        domain: Option<&str>,
        name: &str,
        console: &Console,
    ) -> Result<Opened, Failure> {
        wait(console, || self.remote.open_sandbox(domain, name)).await
    }

    /// Returns the session of a sandbox.
    pub(crate) async fn session(&self, sandbox: &Sandbox) -> Result<Session, Failure> {
        self.renew().await?;
        let session =
            Session::new(self.sessions.channel(), &sandbox.clone().driver()).map_err(Failure::usage)?;
        Ok(session.with_id(sandbox.session_id.clone()))
    }

    /// Renews the token of a session that lives longer.
    pub(crate) async fn renew(&self) -> Result<(), Failure> {
        self.sessions.renew().await.map_err(|error| failed(&error))
    }
}

/// Repeats a call while a driver starts.
async fn wait<T, F>(console: &Console, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, CallError>>,
{
    let _waiting = progress::Waiting::new(console, "waiting for a driver", WAITING_DELAY);
    let mut interrupts = Interrupts::new()?;
    let deadline = Instant::now() + MAX_WAIT;
    let repeated = async {
        loop {
            match call().await {
                Err(CallError::Rejected(error)) if error.reason == STARTING && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                ended => return ended.map_err(|error| failed(&error)),
            }
        }
    };
    tokio::select! {
        ended = repeated => ended,
        () = interrupts.next() => {
            Err(Failure::new("interrupted while waiting for a driver").help("to go on, repeat the command"))
        }
    }
}

/// The sandbox that a command names, or that of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// The branch that is checked out; empty if there is none.
    pub(crate) branch: String,
    pub(crate) is_default: bool,
}

impl Chosen {
    pub(crate) fn new(project: Option<&Path>, name: Option<&str>) -> Result<Self, Failure> {
        let root = Workspace::find(project, &[]).map(|home| home.root);
        let root = root.unwrap_or_else(|_| Path::new(".").to_owned());
        let branch = git::branch(&root).unwrap_or_default();
        match (name, name::of_branch(&branch)) {
            (Some(name), _) => Ok(Self { name: name.to_owned(), branch, is_default: false }),
            (None, Some(name)) => Ok(Self { name, branch, is_default: true }),
            (None, None) => {
                let message = "no Git branch is checked out here, which a sandbox would have its name from";
                Err(Failure::usage(message).help("name the sandbox: dcp sandbox create NAME"))
            }
        }
    }

    /// Checks that a sandbox whose name comes from the branch is one of this branch: two branches can have the same name.
    pub(crate) fn check(&self, sandbox: &Sandbox) -> Result<(), Failure> {
        if !self.is_default || sandbox.branch == self.branch {
            return Ok(());
        }
        let message = format!(
            "the sandbox `{}` belongs to the branch `{}`, and `{}` is checked out",
            sandbox.name, sandbox.branch, self.branch
        );
        Err(Failure::new(message).help("give the branch another sandbox: dcp sandbox create NAME"))
    }
}
