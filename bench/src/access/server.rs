//! Serves one Runner at two addresses in a separate process: for a caller who may do everything, and for callers with
//! the roles of a policy.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use dcp_identity::{audit, tokens};
use dcp_model::policy::{Area, Names, Policy, Role, Rule};
use dcp_runner::api::Runner;
use dcp_runner::remote::Remote;
use dcp_server::{Access, Services, Token, Tokens};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::runner::{Result, runner_without_capacity};

const OPEN_TOKEN: &str = "0123456789abcdef-benchmark";
/// Number of bindings of the policy. The last one is for the caller.
pub(super) const BINDINGS: usize = 100;

/// The addresses of a server, and the token of its guarded one.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    open: String,
    guarded: String,
    token: String,
}

/// Serves until standard input ends. Prints the addresses first.
pub async fn serve(database: &Path) -> Result<()> {
    let runner: Arc<dyn Runner> = Arc::new(runner_without_capacity(&database.to_string_lossy()).await?);
    let identities = database.with_extension("identities.db");
    let store = tokens::Store::sqlite(&identities).await?;
    let new = tokens::NewToken {
        name: "ada".to_owned(),
        groups: vec!["data".to_owned()],
        created_by: "benchmark".to_owned(),
        expires: None,
    };
    let (_, text) = store.create(&new, Timestamp::now()).await?;
    let (_sender, policy) = watch::channel(Arc::new(policy()));
    let verifier = tokens::StoredTokens::new(store, Timestamp::now);
    let guarded = Access::new(vec![Arc::new(verifier)])
        .with_policy(policy)
        .with_audit_log(Arc::new(audit::Store::sqlite(&identities).await?));
    let open = Tokens::new(&[Token { name: "benchmark".to_owned(), token: OPEN_TOKEN.to_owned() }])?;
    let (at_open, at_guarded) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let started = Started {
        open: format!("http://{}", at_open.local_addr()?),
        guarded: format!("http://{}", at_guarded.local_addr()?),
        token: text.expose().clone(),
    };
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&started)?)?;
    out.flush()?;
    let services = || dcp_runner::service::add(Services::new(dcp_proto::DESCRIPTORS), Arc::clone(&runner));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let (open, guarded) = (dcp_server::Options::new(open), dcp_server::Options::new(guarded));
    tokio::select! {
        served = dcp_server::serve(at_open, services(), open, std::future::pending()) => served?,
        served = dcp_server::serve(at_guarded, services(), guarded, std::future::pending()) => served?,
        _ = ended => {}
    }
    Ok(())
}

fn policy() -> Policy {
    let rule = |number: usize| Rule {
        role: Role::Developer,
        users: [format!("user-{number}")].into(),
        groups: [if number + 1 == BINDINGS { "data".to_owned() } else { format!("group-{number}") }].into(),
        area: Area {
            scopes: Names::All,
            domains: Names::Only((0..10).map(|it| format!("domain-{it}")).collect()),
        },
    };
    Policy { rules: (0..BINDINGS).map(rule).collect(), ..Policy::default() }
}

/// A process that serves a Runner at two addresses.
pub(super) struct Server {
    child: Child,
    started: Started,
    pub(super) guarded_url: String,
}

impl Server {
    pub(super) fn start(database: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve-guarded").arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let started: Started = serde_json::from_str(&line)?;
        Ok(Self { child, guarded_url: started.guarded.clone(), started })
    }

    pub(super) fn open_client(&self) -> Result<Remote> {
        Ok(Remote::new(dcp_runner::remote::Options::new(self.started.open.clone(), OPEN_TOKEN))?)
    }

    pub(super) fn guarded_client(&self) -> Result<Remote> {
        let Started { guarded, token, .. } = &self.started;
        Ok(Remote::new(dcp_runner::remote::Options::new(guarded.clone(), token.as_str()))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
