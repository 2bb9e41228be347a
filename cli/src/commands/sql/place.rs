//! The sessions of a command: new ones, or that of a sandbox.

use std::io::Write as _;

use dcp_connect::client::Session;
use dcp_connect::sandboxes::{Opened, Sandbox};

use crate::failure::Failure;
use crate::out::Console;
use crate::sandboxes::SandboxClient;
use crate::sessions::Sessions;

/// Where sessions come from.
pub(in crate::commands) enum Place {
    /// Each session is a new one, and ends with the command.
    Sessions(Sessions),
    /// The session outlives the command.
    Sandbox(SandboxClient, Box<Sandbox>),
}

impl Place {
    /// Makes the schema of a sandbox the current one of its session.
    pub(in crate::commands) async fn sandbox(
        client: SandboxClient,
        domain: Option<&str>,
        name: &str,
        console: &mut Console,
    ) -> Result<Self, Failure> {
        let Opened { sandbox, is_new_session } = client.enter(domain, name, console).await?;
        if is_new_session {
            note_new_session(console)?;
        }
        Ok(Self::Sandbox(client, Box::new(sandbox)))
    }

    /// Returns the session. After the end of a sandbox's session, it gets a new one by [`Self::renewed`].
    pub(super) async fn session(&self) -> Result<Session, Failure> {
        match self {
            Self::Sessions(sessions) => sessions.session().await,
            Self::Sandbox(client, sandbox) => client.session(sandbox).await,
        }
    }

    /// Returns a new session, after the last one was lost.
    pub(super) async fn renewed(&mut self, console: &mut Console) -> Result<Session, Failure> {
        if let Self::Sandbox(client, sandbox) = self {
            let opened = client.enter(Some(&sandbox.domain), &sandbox.name, console).await?;
            **sandbox = opened.sandbox;
        }
        self.session().await
    }

    /// Renews the token of a session that lives longer.
    pub(super) async fn renew_token(&self) -> Result<(), Failure> {
        match self {
            Self::Sessions(sessions) => sessions.renew().await,
            Self::Sandbox(client, _) => client.renew().await,
        }
    }

    /// Returns the name of the prompt.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Sessions(sessions) => sessions.name(),
            Self::Sandbox(_, sandbox) => &sandbox.name,
        }
    }

    pub(super) fn ends_with_the_command(&self) -> bool {
        matches!(self, Self::Sessions(_))
    }
}

/// Prints that the session of a sandbox is a new one.
pub(in crate::commands) fn note_new_session(console: &mut Console) -> Result<(), Failure> {
    if !console.quiet {
        writeln!(
            console.err,
            "note: the last session of the sandbox has ended, and its temporary views and settings with it; this is a new one"
        )?;
    }
    Ok(())
}
