//! `dcp serve`

mod connect;
mod gateway;
mod runner;
mod tcp_access;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcp_connect::pools::Pools;
use dcp_gateway::ConnectKey;
use dcp_reconciler::reconcile::{Executions, LocalJobs, Reconciler, store};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::rest::ControlPlane;
use dcp_reconciler::service;
use dcp_runner::api::Runner;
use dcp_runner::store::Store;
use dcp_server::rest::Api;
use dcp_server::{Call, Listeners, Log, Options, Services, Unix};
use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::args::{self, Format, Part, ServeControl, ServeReconciler, Served};
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::render::sanitize;
use crate::runs;
use crate::service_log;
use crate::socket::Socket;

use tcp_access::CredentialSources;
pub(super) use tcp_access::TcpAccess;

pub(super) fn run(args: &args::Serve, console: &mut Console) -> Result<Verdict, Failure> {
    match &args.part {
        Part::Control(args) => control(args, console),
        Part::Reconciler(args) => reconciler(args, console),
        Part::Runner(args) => runner::run(args, console),
        Part::Gateway(args) => gateway::run(args, console),
        Part::Connect(args) => connect::run(args, console),
    }
}

fn control(args: &ServeControl, console: &mut Console) -> Result<Verdict, Failure> {
    let ServeControl { listen, database, policy, runner, served } = args;
    let mut options = options(served, console);
    block_on(async {
        let access = TcpAccess { listen: *listen, policy: policy.as_deref(), served };
        let credentials = access.apply(&mut options, database, Path::new("."), console).await?;
        let executions = match runner {
            Some(url) => Executions::Runner(Arc::new(remote_runner(url)?)),
            None => Executions::Unreachable("the control plane was started without `--runner`".to_owned()),
        };
        let local_jobs = open_stores(database, executions).await?;
        let registry = local_jobs.registry.clone();
        let (services, api) = add_control_plane(Services::new(dcp_proto::DESCRIPTORS), local_jobs);
        let services = services.rest(api.merge(dcp_identity::rest::api()).into_router());
        let applied = registry.clone();
        let services = services.ready("database", move || {
            let applied = applied.clone();
            async move { applied.answers().await }
        });
        let served =
            host(Sockets::tcp(*listen, credentials), services, options, "the control plane", console).await;
        registry.close().await;
        served
    })
}

fn remote_runner(url: &str) -> Result<dcp_runner::remote::Remote, Failure> {
    let remote = dcp_runner::remote::Remote::new(crate::control::service_options(url, None)?);
    remote.map_err(|error| runs::failed(&error))
}

/// Adds the services of a control plane, and returns its REST interface.
pub(super) fn add_control_plane(services: Services, local_jobs: LocalJobs) -> (Services, Api) {
    let (registry, clock) = (local_jobs.registry.clone(), Timestamp::now);
    let plane = ControlPlane {
        registry: Arc::new(registry.clone()),
        jobs: Arc::new(local_jobs),
        assets: Arc::new(registry),
        clock,
    };
    let services = service::add(services, Arc::clone(&plane.registry), service::Options::default());
    let services = service::add_assets(services, Arc::clone(&plane.assets), clock);
    let services = service::add_jobs(services, Arc::clone(&plane.jobs), clock);
    (services, dcp_reconciler::rest::api(plane))
}

/// Opens the stores of a control plane: the registry, and the state of continuous jobs.
async fn open_stores(database: &str, executions: Executions) -> Result<LocalJobs, Failure> {
    let said = |error: String| Failure::new(error);
    let path = Path::new(database);
    let (registry, store) = if is_postgres(database)? {
        (Sql::postgres(database).await, store::Store::postgres(database).await)
    } else {
        (Sql::sqlite(path).await, store::Store::sqlite(path).await)
    };
    let registry = registry.map_err(|error| said(error.to_string()))?;
    let store = store.map_err(|error| said(error.to_string()))?;
    Ok(LocalJobs { registry, store, executions, clock: Timestamp::now })
}

fn reconciler(args: &ServeReconciler, console: &mut Console) -> Result<Verdict, Failure> {
    let ServeReconciler { database, runner, lease } = args;
    block_on(async {
        let at: Arc<dyn Runner> = Arc::new(remote_runner(runner)?);
        let local_jobs = open_stores(database, Executions::Runner(Arc::clone(&at))).await?;
        if !console.quiet {
            writeln!(
                console.out,
                "the reconciler keeps continuous jobs and pools by the Runner at {runner}"
            )?;
            console.flush()?;
        }
        let lease = Duration::from_secs(u64::from(*lease));
        let sessions = connect::open_sessions(database).await?;
        let pools = new_pools(&local_jobs, sessions, Arc::clone(&at), lease);
        let reconciler = new_reconciler(local_jobs, at, lease);
        let (stop, stopping) = watch::channel(false);
        let keeping = tokio::spawn(pools.run(stopping.clone()));
        let store = reconciler.store.clone();
        let reconciling = tokio::spawn(reconciler.run(stopping));
        let until_stopped = async {
            stop_signal().await;
            Ok(Verdict::Success)
        };
        let served = serve_until_writer_dies(until_stopped, store.writer_died(), WRITES_JOBS).await;
        stop.send_replace(true);
        let _ = reconciling.await;
        let _ = keeping.await;
        served
    })
}

pub(super) const WRITES_EXECUTIONS: &str = "executions";
pub(super) const WRITES_JOBS: &str = "the state of continuous jobs";

/// Serves until the task that writes to a store has died.
pub(super) async fn serve_until_writer_dies(
    served: impl Future<Output = Result<Verdict, Failure>>,
    writer_died: impl Future<Output = ()>,
    what: &str,
) -> Result<Verdict, Failure> {
    tokio::select! {
        served = served => served,
        () = writer_died => {
            Err(Failure::new(format!("the task that writes {what} has died, so that nothing can be written any more"))
                .help("start it again: it goes on where it was; please report the panic above"))
        }
    }
}

/// Creates a reconciler that logs to stderr.
pub(super) fn new_reconciler(local_jobs: LocalJobs, runner: Arc<dyn Runner>, lease: Duration) -> Reconciler {
    let LocalJobs { registry, store, .. } = local_jobs;
    let log = Arc::new(|text: &str| service_log::write("the reconciler", text));
    Reconciler { registry, store, runner, lease, clock: Timestamp::now, log }
}

/// Creates the loop that keeps the drivers of pools, which logs to stderr.
pub(super) fn new_pools(
    local_jobs: &LocalJobs,
    store: dcp_connect::store::Store,
    runner: Arc<dyn Runner>,
    lease: Duration,
) -> Pools {
    let LocalJobs { registry, store: jobs, .. } = local_jobs.clone();
    let log = Arc::new(|text: &str| service_log::write("the pool loop", text));
    Pools { registry, jobs, store, runner, lease, clock: Timestamp::now, log }
}

/// Opens the store of executions.
async fn open_executions(database: &str) -> Result<Store, Failure> {
    let opened = match is_postgres(database)? {
        true => Store::postgres(database).await,
        false => Store::sqlite(Path::new(database)).await,
    };
    opened.map_err(|error| runs::failed(&error))
}

/// Runs a service until it ends.
pub(super) fn block_on<T>(service: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no threads can be started: {error}")))?;
    let ended = runtime.block_on(service);
    // All calls have ended, or their grace period has passed: threads that still work for one must not keep the
    // process alive.
    runtime.shutdown_timeout(SHUTDOWN);
    ended
}

/// Grace period of threads that still work for cancelled calls.
const SHUTDOWN: Duration = Duration::from_secs(5);

fn is_postgres(database: &str) -> Result<bool, Failure> {
    let scheme = database.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        None => Ok(false),
        Some("postgres" | "postgresql") => Ok(true),
        Some(scheme) => {
            let message = format!("`{scheme}://` is no database that dcp knows");
            Err(Failure::usage(message).help("give `postgres://…`, or the path of a SQLite file"))
        }
    }
}

pub(super) fn failed(error: &dcp_server::Error) -> Failure {
    Failure::new(error.to_string())
}

/// Reads the key for drivers of Spark Connect pools, if a file is given.
fn connect_key(path: Option<&Path>) -> Result<Option<ConnectKey>, Failure> {
    path.map(ConnectKey::load).transpose().map_err(|error| Failure::new(error.to_string()))
}

/// Opens the tokens of a database.
pub(super) async fn open_tokens(database: &str) -> Result<dcp_identity::tokens::Store, Failure> {
    let opened = match is_postgres(database)? {
        true => dcp_identity::tokens::Store::postgres(database).await,
        false => dcp_identity::tokens::Store::sqlite(Path::new(database)).await,
    };
    opened.map_err(|error| Failure::new(error.to_string()))
}

/// Opens the audit log of a database.
pub(super) async fn open_audit(database: &str) -> Result<dcp_identity::audit::Store, Failure> {
    let opened = match is_postgres(database)? {
        true => dcp_identity::audit::Store::postgres(database).await,
        false => dcp_identity::audit::Store::sqlite(Path::new(database)).await,
    };
    opened.map_err(|error| Failure::new(error.to_string()))
}

/// Returns the options of a service, without access and TLS.
pub(super) fn options(served: &Served, console: &Console) -> Options {
    let Served { max_calls, max_connections_per_peer, log_format, .. } = served;
    let mut options = Options::without_tcp();
    options.limits.calls = usize::from(*max_calls);
    options.limits.connections_per_peer = usize::from(*max_connections_per_peer);
    options.log = Some(log(*log_format, console.quiet));
    options
}

/// The sockets of a service.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) listen: Option<SocketAddr>,
    pub(super) credentials: CredentialSources,
    pub(super) socket: Option<(Socket, UnixListener)>,
}

impl Sockets {
    fn tcp(listen: SocketAddr, credentials: CredentialSources) -> Self {
        Self { listen: Some(listen), credentials, socket: None }
    }
}

/// Serves until the process receives a signal to stop. Every part of dcp also serves the identity of callers.
pub(super) async fn host(
    sockets: Sockets,
    services: Services,
    options: Options,
    what: &str,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let Sockets { listen, credentials: CredentialSources { code, providers }, socket } = sockets;
    let services = dcp_identity::service::add(services, providers);
    let mut listeners = Listeners::default();
    if let Some(listen) = listen {
        listeners.tcp = Some(bind(listen, code.as_deref(), &options, what, console).await?);
    }
    let mut held = None;
    if let Some((socket, listener)) = socket {
        if listen.is_none() {
            writeln!(console.out, "{what} listens at unix://{}", socket.path.display())?;
        }
        listeners.unix = Some(Unix { listener, name: crate::control::user_name() });
        held = Some(socket);
    }
    console.flush()?;
    let stop = async {
        stop_signal().await;
        // The next process may take the socket while this one ends its calls.
        drop(held);
    };
    dcp_server::serve(listeners, services, options, stop).await.map_err(|error| failed(&error))?;
    Ok(Verdict::Success)
}

async fn bind(
    listen: SocketAddr,
    login: Option<&str>,
    options: &Options,
    what: &str,
    console: &mut Console,
) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::new(format!("nothing can listen at {listen}: {}", dcp_workspace::error::reason(&error)))
            .help("name another address: --listen HOST:PORT")
    })?;
    let address = listener.local_addr()?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    writeln!(console.out, "{what} listens at {scheme}://{address}")?;
    if let Some(code) = login.filter(|_| !console.quiet) {
        writeln!(
            console.out,
            "to sign a browser in, once, within 10 minutes: {scheme}://{address}/login?code={code}"
        )?;
    }
    if options.tls.is_none() && !address.ip().is_loopback() {
        let warning = "without TLS, others can read tokens on the way here; a proxy in front has to end TLS";
        writeln!(console.err, "{} {warning}", console.err.look.paint(crate::out::WARNING, "warning:"))?;
    }
    Ok(listener)
}

/// Returns a log with a line for each call.
fn log(format: Format, quiet: bool) -> Log {
    Log::new(move |call| {
        if !quiet || !call.is_success {
            // One write per line, so that lines do not mix. If it fails, the service continues.
            let _ = io::stderr().write_all(line(call, format).as_bytes());
        }
    })
}

fn line(call: &Call, format: Format) -> String {
    let Call { at, service: _, method, by, subject, code, is_success: _, took } = call;
    let (by, scope) = (by.as_deref(), subject.as_deref());
    let milliseconds = (took.as_secs_f64() * 10_000.0).round() / 10.0;
    match format {
        Format::Json => {
            let at = format!("{at:.3}");
            let line = serde_json::json!({
                "at": at, "method": method, "by": by, "scope": scope, "code": code, "ms": milliseconds,
            });
            format!("{line}\n")
        }
        Format::Text => {
            let (by, scope) = (by.unwrap_or("-"), scope.unwrap_or("-"));
            format!("{at:.3} {method} {code} by {} in {scope}, {milliseconds} ms\n", sanitize(by))
        }
    }
}

/// Waits for a signal to stop.
async fn stop_signal() {
    match Interrupts::new() {
        Ok(mut interrupts) => interrupts.next().await,
        // If signals can't be handled, the service runs until it is killed.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn service_ends_with_an_error_once_its_writer_has_died() {
        let ended = tokio::time::timeout(
            Duration::from_secs(10),
            serve_until_writer_dies(pending(), ready(()), WRITES_EXECUTIONS),
        );
        let failed = ended.await.expect("it ends");
        assert!(
            failed.is_err_and(|it| format!("{it:?}").contains("the task that writes executions has died"))
        );
        let served = serve_until_writer_dies(ready(Ok(Verdict::Success)), pending(), WRITES_JOBS).await;
        assert!(served.is_ok_and(|verdict| verdict == Verdict::Success));
    }
}
