//! `dcp up`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcp_connect::proxy::Proxy;
use dcp_gateway::ConnectKey;
use dcp_gateway::service::ClusterSource;
use dcp_model::policy::Policy;
use dcp_reconciler::reconcile::{Executions, LocalJobs, store};
use dcp_reconciler::registry::sql::Sql;
use dcp_runner::api::Runner;
use dcp_runner::in_process::InProcessRunner;
use dcp_runner::store::Store;
use dcp_server::{Options, Services};
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;
use tokio::sync::watch;

use super::serve::{self, Sockets, TcpAccess};
use crate::args;
use crate::cluster::{self, Choice};
use crate::drivers::DriversFile;
use crate::failure::{Failure, Verdict};
use crate::out::{Console, WARNING};
use crate::providers;
use crate::render::{sanitize, titled};
use crate::runs;
use crate::socket::Socket;

/// The file in the project's `.dcp` with the key for drivers of Spark Connect pools.
const CONNECT_KEY: &str = "connect.key";

/// Time without a heartbeat before another reconciler takes over, usually a restarted `dcp up`.
const LEASE: Duration = Duration::from_secs(5);

pub(super) fn run(
    args: &args::Up,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let home = Workspace::find(project, &[])?;
    home.require_project_or_manifest()?;
    let mut options = serve::options(&args.served, console);
    serve::block_on(async {
        let sockets = sockets(args, &home, &mut options, console).await?;
        serve(&home, args, sockets, options, console).await
    })
}

/// Returns the sockets except that of this machine, and sets the access to them.
async fn sockets(
    args: &args::Up,
    home: &Workspace,
    options: &mut Options,
    console: &mut Console,
) -> Result<Sockets, Failure> {
    let args::Up { listen, policy, .. } = args;
    match listen {
        Some(listen) => {
            let database = home.root.join(FOLDER).join("state.db").display().to_string();
            let access = TcpAccess { listen: *listen, policy: policy.as_deref(), served: &args.served };
            let credentials = access.apply(options, &database, &home.root, console).await?;
            Ok(Sockets { listen: Some(*listen), credentials, socket: None })
        }
        None if policy.is_some() || args.served.certificate.is_some() => {
            let message = "a policy and certificates are for callers over TCP, and no address is given";
            Err(Failure::usage(message).help("add `--listen 127.0.0.1:7420`, or take them away"))
        }
        None => Ok(Sockets::default()),
    }
}

/// Runs the Runner, the control plane and the reconciler until the process receives a signal to stop.
async fn serve(
    home: &Workspace,
    args: &args::Up,
    mut sockets: Sockets,
    options: Options,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    sockets.socket = Some(Socket::listen(&home.root).await?);
    let choice = Choice::new(home, args.clusters.as_deref(), args.cluster.as_deref());
    introduce(choice.as_ref(), console).await?;
    let state = home.root.join(FOLDER).join("state.db");
    let registry = Sql::sqlite(&state).await.map_err(|error| Failure::new(error.to_string()))?;
    let policy = options.access.as_ref().and_then(|access| access.policy().cloned());
    let (in_process_runner, clusters) = start_runner(home, args, policy, choice.as_ref(), console).await?;
    print_folder(home, console)?;
    let store = store::Store::sqlite(&state).await.map_err(|error| Failure::new(error.to_string()))?;
    let job_store = store.clone();
    let runner: Arc<dyn Runner> = Arc::new(in_process_runner.clone());
    let executions = Executions::Runner(Arc::clone(&runner));
    let local_jobs = LocalJobs { registry: registry.clone(), store, executions, clock: Timestamp::now };
    let connect = Connect::start(home, args.drivers.as_deref(), console).await?;
    let pools = serve::new_pools(&local_jobs, connect.sessions.clone(), Arc::clone(&runner), LEASE);
    let runs = in_process_runner.store().clone();
    let services = services(local_jobs.clone(), Arc::clone(&runner), runs, connect.proxy.clone());
    let services = dcp_gateway::service::add_clusters(services, clusters);
    let reconciler = serve::new_reconciler(local_jobs, runner, LEASE);
    let (stop, stopping) = watch::channel(false);
    let keeping = tokio::spawn(pools.run(stopping.clone()));
    let reconciling = tokio::spawn(reconciler.run(stopping));
    let served = serve::host(sockets, services, options, "dcp", console);
    let served = serve::serve_until_writer_dies(
        served,
        in_process_runner.store().writer_died(),
        serve::WRITES_EXECUTIONS,
    );
    let served = serve::serve_until_writer_dies(served, job_store.writer_died(), serve::WRITES_JOBS).await;
    stop.send_replace(true);
    let _ = reconciling.await;
    let _ = keeping.await;
    connect.close().await;
    // If this fails, the next Runner detects the dead one itself.
    let _ = in_process_runner.stop().await;
    in_process_runner.store().close().await;
    registry.close().await;
    served
}

/// Returns the key of the project's Spark Connect drivers.
fn connect_key(home: &Workspace) -> Result<ConnectKey, Failure> {
    let path = home.root.join(FOLDER).join(CONNECT_KEY);
    ConnectKey::load_or_create(&path).map_err(|error| Failure::new(error.to_string()))
}

/// Prints the folder of the project's state.
fn print_folder(home: &Workspace, console: &mut Console) -> Result<(), Failure> {
    if !console.quiet {
        let folder = home.root.join(FOLDER);
        writeln!(console.out, "what is applied and what is run is kept in {}", folder.display())?;
    }
    Ok(())
}

/// The proxy for Spark Connect, its sessions, and the task that removes expired sandboxes.
struct Connect {
    sessions: dcp_connect::store::Store,
    proxy: Proxy,
    expiring: tokio::task::JoinHandle<()>,
}

impl Connect {
    async fn start(home: &Workspace, drivers: Option<&Path>, console: &mut Console) -> Result<Self, Failure> {
        let failed = |error: dcp_connect::store::Error| Failure::new(error.to_string());
        let state = home.root.join(FOLDER).join("state.db");
        let sessions = dcp_connect::store::Store::sqlite(&state).await.map_err(failed)?;
        let file = DriversFile::open(drivers, sessions.clone(), console).await?;
        let tokens = file.tokens(Some(connect_key(home)?));
        let proxy = Proxy::start(sessions.clone(), tokens, Timestamp::now).await.map_err(failed)?;
        let expiring = tokio::spawn(dcp_connect::expiry::run(proxy.clone()));
        Ok(Self { sessions, proxy, expiring })
    }

    async fn close(self) {
        self.expiring.abort();
        self.proxy.flush().await;
        self.sessions.close().await;
    }
}

/// Starts the Runner. Returns it with its clusters.
async fn start_runner(
    home: &Workspace,
    args: &args::Up,
    policy: Option<watch::Receiver<Arc<Policy>>>,
    choice: Option<&Choice>,
    console: &mut Console,
) -> Result<(InProcessRunner, ClusterSource), Failure> {
    let args::Up { secrets, queues, results, .. } = args;
    let secrets = providers::open(&home.root, secrets.as_deref(), Some(&mut *console))?;
    let clusters = choice.map(|choice| (choice, &mut *console));
    let limits = (queues.limit(), policy);
    let keys = (secrets, Some(connect_key(home)?));
    runs::in_process_runner(home, limits, results.as_deref(), keys, clusters).await
}

/// Checks the only cluster of a choice, and prints what it is. Fails if it does not respond.
async fn introduce(choice: Option<&Choice>, console: &mut Console) -> Result<(), Failure> {
    let Some(choice) = choice else { return Ok(()) };
    let Some(opened) = cluster::open(choice, console).await? else { return Ok(()) };
    let (line, warning) = cluster::introduce(&opened).await?;
    if !console.quiet {
        writeln!(console.out, "{}", sanitize(&line))?;
    }
    if let Some(warning) = warning {
        let look = console.err.look;
        writeln!(console.err, "{}", titled(0, "warning:", WARNING, &sanitize(&warning), look))?;
    }
    Ok(())
}

/// Returns the services of the control plane and of the Runner.
fn services(local_jobs: LocalJobs, runner: Arc<dyn Runner>, runs: Store, proxy: Proxy) -> Services {
    let applied = local_jobs.registry.clone();
    let services = Services::new(dcp_proto::DESCRIPTORS);
    let (services, control) = serve::add_control_plane(services, local_jobs);
    let services = dcp_runner::service::add(services, Arc::clone(&runner));
    let services = dcp_connect::service::add(services.with_proxy(proxy.clone()), proxy.clone());
    let api = dcp_runner::rest::api(runner).merge(control).merge(dcp_identity::rest::api());
    let api = api.merge(dcp_connect::rest::api(proxy));
    let services = services.rest(api.into_router());
    services.ready("database", move || {
        let (applied, runs) = (applied.clone(), runs.clone());
        async move { applied.answers().await && runs.answers().await }
    })
}
