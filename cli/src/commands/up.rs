//! `dcp up`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcp_reconciler::reconcile::{Executions, LocalJobs, store};
use dcp_reconciler::registry::sql::Sql;
use dcp_runner::api::Runner;
use dcp_server::Services;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;
use tokio::sync::watch;

use super::serve::{self, Sockets};
use crate::args;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::runs;
use crate::socket::Socket;

/// Time without a heartbeat before another reconciler takes over, usually a restarted `dcp up`.
const LEASE: Duration = Duration::from_secs(5);

pub(super) fn run(
    args: &args::Up,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Up { listen, tokens, queues, served } = args;
    let home = Workspace::find(project, &[])?;
    home.require_project_or_manifest()?;
    let mut options = serve::options(served, console)?;
    let mut sockets = Sockets::default();
    match listen {
        Some(listen) => {
            let (access, login) = serve::access(*listen, tokens.as_deref(), &home.root)?;
            options.access = Some(access);
            sockets = Sockets { listen: Some(*listen), login, socket: None };
        }
        None if tokens.is_some() || options.tls.is_some() => {
            let message = "tokens and certificates are for callers over TCP, and no address is given";
            return Err(Failure::usage(message).help("add `--listen 127.0.0.1:7420`, or take them away"));
        }
        None => {}
    }
    serve::block_on(async {
        sockets.socket = Some(Socket::listen(&home.root).await?);
        let state = home.root.join(FOLDER).join("state.db");
        let registry = Sql::sqlite(&state).await.map_err(|error| Failure::new(error.to_string()))?;
        let in_process_runner = runs::in_process_runner(&home, queues.limit()).await?;
        if !console.quiet {
            writeln!(
                console.out,
                "what is applied and what is run is kept in {}",
                home.root.join(FOLDER).display()
            )?;
        }
        let store = store::Store::sqlite(&state).await.map_err(|error| Failure::new(error.to_string()))?;
        let job_store = store.clone();
        let runner: Arc<dyn Runner> = Arc::new(in_process_runner.clone());
        let executions = Executions::Runner(Arc::clone(&runner));
        let local_jobs = LocalJobs { registry: registry.clone(), store, executions, clock: Timestamp::now };
        let services = Services::new(dcp_proto::DESCRIPTORS);
        let (services, control) = serve::add_control_plane(services, local_jobs.clone());
        let reconciler = serve::new_reconciler(local_jobs, Arc::clone(&runner), LEASE);
        let (stop, stopping) = watch::channel(false);
        let reconciling = tokio::spawn(reconciler.run(stopping));
        let services = dcp_runner::service::add(services, Arc::clone(&runner));
        let services = services.rest(dcp_runner::rest::api(runner).merge(control).into_router());
        let (applied, runs) = (registry.clone(), in_process_runner.store().clone());
        let services = services.ready("database", move || {
            let (applied, runs) = (applied.clone(), runs.clone());
            async move { applied.answers().await && runs.answers().await }
        });
        let served = serve::host(sockets, services, options, "dcp", console);
        let served = serve::serve_until_writer_dies(
            served,
            in_process_runner.store().writer_died(),
            serve::WRITES_EXECUTIONS,
        );
        let served =
            serve::serve_until_writer_dies(served, job_store.writer_died(), serve::WRITES_JOBS).await;
        stop.send_replace(true);
        let _ = reconciling.await;
        // If this fails, the next Runner detects the dead one itself.
        let _ = in_process_runner.stop().await;
        in_process_runner.store().close().await;
        registry.close().await;
        served
    })
}
