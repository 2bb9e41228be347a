//! The Runner of a command: in this process, or a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dcp_compiler::project::Project;
use dcp_gateway::local::installation::Installations;
use dcp_gateway::local::{LOG_LIMIT, Local};
use dcp_gateway::secrets::Providers;
use dcp_gateway::service::ClusterSource;
use dcp_gateway::{Compute, ConnectKey, clusters, remote as gateway};
use dcp_model::manifest;
use dcp_model::policy::Policy;
use dcp_model::primitive::{Address, Body, CoreEtlJob, Fingerprint, Kind};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{self, Registry};
use dcp_reconciler::state::Scope;
use dcp_runner::api::{self, Filter, Record, Runner};
use dcp_runner::execution::Id;
use dcp_runner::in_process::{Backend, InProcessRunner, Jobs, MAX_QUEUED, Options};
use dcp_runner::remote::{self, Remote};
use dcp_runner::request::Reference;
use dcp_runner::results::Results;
use dcp_runner::store::Store;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, watch};

use crate::cluster::{self, Choice};
use crate::clusters::ClustersFile;
use crate::failure::Failure;
use crate::out::Console;
use crate::providers;
use crate::socket;

/// A Runner with the runtime for its calls.
#[derive(Debug)]
pub(crate) struct RunnerClient {
    pub(crate) runner: Arc<dyn Runner>,
    runtime: Runtime,
    /// The Runner, if it is in this process.
    in_process_runner: Option<InProcessRunner>,
}

impl RunnerClient {
    /// Opens the Runner for a target of the project around a folder.
    pub(crate) fn of(project: Option<&Path>, target: Option<&str>) -> Result<Self, Failure> {
        let home = Workspace::find(project, &[])?;
        let target = home.target(target)?;
        Self::open(&home, &target)
    }

    /// Opens the Runner of a target: its server, or the project's `dcp up`, or else one in this process. A Runner
    /// in this process takes over the executions of an earlier one; this waits briefly until their state is known.
    pub(crate) fn open(home: &Workspace, project: &Project<'_>) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("no threads can be started: {error}")))?;
        if let Some(options) = runtime.block_on(address(home, project))? {
            let remote = runtime.block_on(async { Remote::new(options) }).map_err(|error| failed(&error))?;
            return Ok(Self { runner: Arc::new(remote), runtime, in_process_runner: None });
        }
        let in_process_runner = runtime.block_on(async {
            let providers = providers::open(&home.root, providers::file_of_environment().as_deref(), None)?;
            let (in_process_runner, _) =
                in_process_runner(home, (MAX_QUEUED, None), None, (providers, None), None).await?;
            in_process_runner.wait_for_statuses().await;
            Ok::<_, Failure>(in_process_runner)
        })?;
        Ok(Self {
            runner: Arc::new(in_process_runner.clone()),
            runtime,
            in_process_runner: Some(in_process_runner),
        })
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Returns true if another process runs executions to their end.
    pub(crate) fn is_remote(&self) -> bool {
        self.in_process_runner.is_none()
    }

    /// Returns an execution by its id, or the newest one of a workload by `domain/name`.
    pub(crate) fn find(&self, named: &str) -> Result<Record, Failure> {
        if let Some((domain, name)) = named.split_once('/') {
            let (domain, name) = (Some(domain.to_owned()), Some(name.to_owned()));
            let filter = Filter { domain, name, ..Filter::default() };
            let found = self.run(self.runner.list(&filter, None, 1)).map_err(|error| failed(&error))?;
            let none =
                || Failure::new(format!("`{named}` was never run")).help("`dcp runs` lists what was run");
            return found.into_iter().next().ok_or_else(none);
        }
        let id = Id::parse(named).ok_or_else(|| {
            Failure::usage(format!("`{named}` is no execution"))
                .help("give an id that `dcp runs` lists, or `domain/name` for the newest one of a workload")
        })?;
        self.run(self.runner.check(&id)).map_err(|error| failed(&error))
    }

    /// Closes the Runner. Executions continue.
    pub(crate) fn close(self) {
        if let Some(in_process_runner) = self.in_process_runner {
            // If this fails, the next Runner detects the dead one itself.
            let _ = self.runtime.block_on(in_process_runner.stop());
        }
        self.runtime.shutdown_background();
    }
}

/// Returns the address of a target's Runner: its server, or the project's `dcp up`; none if neither runs.
pub(crate) async fn address(
    home: &Workspace,
    project: &Project<'_>,
) -> Result<Option<remote::Options>, Failure> {
    match project.runner() {
        Some(runner) => crate::control::remote_options(runner, Some(&home.root)).map(Some),
        None => Ok(socket::url(&home.root).await.map(|url| remote::Options::new(url, ""))),
    }
}

/// Starts the Runner of this process for a project, with a limit of queued executions and those of a policy. Returns it
/// with its clusters.
pub(crate) async fn in_process_runner(
    home: &Workspace,
    (max_queued, policy): (usize, Option<watch::Receiver<Arc<Policy>>>),
    results: Option<&str>,
    (secrets, connect_key): (Providers, Option<ConnectKey>),
    clusters: Option<(&Choice, &mut Console)>,
) -> Result<(InProcessRunner, ClusterSource), Failure> {
    home.require_project_or_manifest()?;
    let folder = home.root.join(FOLDER);
    dcp_workspace::private::dcp_folder(&home.root)
        .map_err(|error| Failure::at(&folder, "made a folder", &error))?;
    let store = Store::sqlite(&folder.join("runs.db")).await.map_err(|error| failed(&error))?;
    let mut options = options(&home.root, LOG_LIMIT, secrets, connect_key.clone())?;
    options.max_queued = max_queued;
    options.policy = policy;
    set_results(&mut options, results)?;
    let clusters = match clusters {
        Some((choice, console)) => add_clusters(&mut options, choice, &store, connect_key, console).await?,
        None => ClusterSource::None,
    };
    options.jobs = Some(Arc::new(Applied { state: folder.join("state.db"), registry: OnceCell::new() }));
    let runner = InProcessRunner::start(store, options).await.map_err(|error| failed(&error))?;
    Ok((runner, clusters))
}

/// Sets the location of results, if one is given.
pub(crate) fn set_results(options: &mut Options, url: Option<&str>) -> Result<(), Failure> {
    if let Some(url) = url {
        let results = Results::open(url).map_err(|error| Failure::new(format!("--results: {error}")))?;
        options.results = Some(results);
    }
    Ok(())
}

/// Adds clusters to a Runner, before its other backends.
pub(crate) async fn add_clusters(
    options: &mut Options,
    choice: &Choice,
    store: &Store,
    connect_key: Option<ConnectKey>,
    console: &mut Console,
) -> Result<ClusterSource, Failure> {
    let bindings = Arc::new(store.clone());
    let of_file = |(file, clusters)| (Some(file), clusters);
    let opened = match choice {
        Choice::All(path) => {
            ClustersFile::open(path, None, bindings, connect_key, console).await.map(of_file)?
        }
        Choice::One { file, name } => {
            ClustersFile::open(file, Some(name), bindings, connect_key, console).await.map(of_file)?
        }
        Choice::Context(name) => (None, cluster::of_context(name, bindings, connect_key).await?),
    };
    let (file, clusters) = opened;
    if let Some(file) = file {
        tokio::spawn(file.follow(clusters.clone()));
    }
    add_backend(options, Arc::new(clusters.clone()));
    Ok(ClusterSource::InProcess(clusters))
}

/// Maximum time of a call of a Gateway.
const GATEWAY_DEADLINE: Duration = Duration::from_secs(30);

/// Adds the clusters of a Gateway to a Runner, before its other backends.
pub(crate) fn add_gateway(
    options: &mut Options,
    url: &str,
    root: &Path,
    control_plane: &str,
) -> Result<gateway::Remote, Failure> {
    let connection = crate::control::service_options(url, Some(root))?;
    let connection = remote::Options { deadline: GATEWAY_DEADLINE, ..connection };
    let gateway = gateway::Remote::new(connection, clusters::CAPABILITIES)
        .and_then(|gateway| gateway.with_control_plane(control_plane))
        .map_err(|error| Failure::usage(error.to_string()))?;
    add_backend(options, Arc::new(gateway.clone()));
    Ok(gateway)
}

fn add_backend(options: &mut Options, compute: Arc<dyn Compute>) {
    options.backends.insert(0, (manifest::Backend::Kubernetes, Backend { compute, slots: None }));
}

/// Returns the options of a Runner with the Spark of this machine, whose files are below a folder. `log_limit` is
/// the maximum number of bytes of a driver's log. Without a key, drivers of Spark Connect pools are rejected.
pub(crate) fn options(
    root: &Path,
    log_limit: u64,
    secrets: Providers,
    connect_key: Option<ConnectKey>,
) -> Result<Options, Failure> {
    let dcp = std::env::current_exe()
        .map_err(|error| Failure::new(format!("dcp does not know where it is: {error}")))?;
    let supervisor = vec![dcp.to_string_lossy().into_owned(), "supervise".to_owned()];
    let installations = Installations::find(|name| std::env::var_os(name));
    let said = |error: dcp_gateway::Error| Failure::new(error.to_string());
    let folder = root.join(FOLDER);
    let made = dcp_workspace::private::dcp_folder(root);
    let made = made.and_then(|_| {
        ["runs", "results"].iter().try_for_each(|it| dcp_workspace::private::create_folder(&folder.join(it)))
    });
    made.map_err(|error| Failure::at(&folder, "made a folder", &error))?;
    let compute = Local::new(&folder.join("runs"), root, installations, supervisor).map_err(said)?;
    let compute = compute.with_log_limit(log_limit).with_secrets(secrets).with_connect_key(connect_key);
    let place = compute.location_id().map_err(said)?;
    // One driver per core, as each needs a core to make progress.
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let local = Backend { compute: Arc::new(compute), slots: Some(slots) };
    let mut options = Options::new(vec![(manifest::Backend::Local, local)], Timestamp::now);
    let results = folder.join("results");
    let results =
        Results::open(&results.to_string_lossy()).map_err(|error| Failure::new(error.to_string()))?;
    options.results = Some(results);
    options.location_id = place;
    options.lock_folder = Some(folder.join("locks"));
    Ok(options)
}

/// The applied jobs of the local registry, which exists once something was applied.
#[derive(Debug)]
struct Applied {
    state: PathBuf,
    registry: OnceCell<Sql>,
}

impl Applied {
    async fn registry(&self) -> api::Result<Option<&Sql>> {
        if self.registry.get().is_none() && !self.state.exists() {
            return Ok(None);
        }
        let opened = self.registry.get_or_try_init(|| Sql::sqlite(&self.state)).await;
        opened.map(Some).map_err(unreachable_registry)
    }
}

#[async_trait]
impl Jobs for Applied {
    async fn current(&self, of: &Reference) -> api::Result<Option<Fingerprint>> {
        match self.registry().await? {
            Some(registry) => current(registry, of).await,
            None => Ok(None),
        }
    }

    async fn is_continuous(&self, of: &Reference) -> api::Result<bool> {
        match self.registry().await? {
            Some(registry) => is_continuous(registry, of).await,
            None => Ok(false),
        }
    }

    async fn job(&self, of: &Reference, revision: &Fingerprint) -> api::Result<Option<CoreEtlJob>> {
        match self.registry().await? {
            Some(registry) => job(registry, of, revision).await,
            None => Ok(None),
        }
    }
}

/// Returns the scope and address of a job.
fn place(of: &Reference) -> (Scope, Address) {
    let Reference { scope, domain, name, .. } = of;
    let (project, target) = match scope.split_once('/') {
        Some((project, target)) => (project, Some(target)),
        None => (scope.as_str(), None),
    };
    let address = Address { domain: domain.clone(), name: name.clone(), kind: Kind::CoreEtlJob };
    (Scope::new(project, target), address)
}

/// Returns the current revision of a job in a registry.
pub(crate) async fn current(registry: &dyn Registry, of: &Reference) -> api::Result<Option<Fingerprint>> {
    let (scope, address) = place(of);
    newest(registry, &scope, &address).await
}

/// Returns true if a registry has a continuous job at the address of a job.
pub(crate) async fn is_continuous(registry: &dyn Registry, of: &Reference) -> api::Result<bool> {
    let (scope, address) = place(of);
    let address = Address { kind: Kind::ContinuousJob, ..address };
    Ok(newest(registry, &scope, &address).await?.is_some())
}

async fn newest(
    registry: &dyn Registry,
    scope: &Scope,
    address: &Address,
) -> api::Result<Option<Fingerprint>> {
    let revisions = registry.revisions(scope, address).await.map_err(unreachable_registry)?;
    Ok(revisions.into_iter().next().and_then(|newest| newest.fingerprint))
}

/// Returns a job of a registry at a revision.
pub(crate) async fn job(
    registry: &dyn Registry,
    of: &Reference,
    revision: &Fingerprint,
) -> api::Result<Option<CoreEtlJob>> {
    let (scope, address) = place(of);
    let texts = match registry.bodies(&scope, std::slice::from_ref(revision)).await {
        Err(registry::Error::NotFound(_)) => return Ok(None),
        other => other.map_err(unreachable_registry)?,
    };
    let Some(text) = texts.first() else { return Ok(None) };
    match Body::parse(Kind::CoreEtlJob, text) {
        Ok(Body::CoreEtlJob(job))
            if job.metadata.domain.as_str() == address.domain
                && job.metadata.name.as_str() == address.name =>
        {
            Ok(Some(*job))
        }
        Ok(_) => Ok(None),
        Err(error) => {
            let Address { domain, name, .. } = &address;
            let message = format!("the job `{domain}/{name}` in the registry can't be read: {error}");
            Err(api::Error::Corrupt(message))
        }
    }
}

fn unreachable_registry(error: registry::Error) -> api::Error {
    match error {
        registry::Error::Corrupt(said) => api::Error::Corrupt(said),
        registry::Error::Denied(said) => api::Error::Denied(said),
        other => api::Error::Unavailable(format!("the registry can't be asked: {other}")),
    }
}

pub(crate) fn failed(error: &api::Error) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        api::Error::Held { by, .. } => failure.help(format!("to cancel it: dcp cancel {by}")),
        api::Error::Invalid { field, .. } if field == "server" => {
            failure.help("a Runner with an address of its own is named in `dcp.yaml`: `runner:` beside the target's `server:`")
        }
        api::Error::Invalid { field, .. } if field.starts_with("parameters.") => {
            let names = field.trim_start_matches("parameters.").split(',');
            let options: Vec<String> = names.map(|name| format!("--param {name}=…")).collect();
            failure.help(format!("parameters are given by {}", options.join(" ")))
        }
        _ => failure,
    }
}
