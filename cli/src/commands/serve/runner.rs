//! `dcp serve runner`

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dcp_gateway::Compute as _;
use dcp_gateway::remote::Remote as RemoteGateway;
use dcp_gateway::service::ClusterSource;
use dcp_model::primitive::{CoreEtlJob, Fingerprint};
use dcp_reconciler::registry::remote::Remote;
use dcp_runner::api::{self, Runner};
use dcp_runner::in_process::{self, InProcessRunner, Jobs};
use dcp_runner::request::Reference;
use dcp_runner::store::Store;
use dcp_server::Services;

use super::{Sockets, TcpAccess, WRITES_EXECUTIONS};
use crate::args::ServeRunner;
use crate::cluster::Choice;
use crate::clusters;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::providers;
use crate::runs;
use crate::service_log;

pub(super) fn run(args: &ServeRunner, console: &mut Console) -> Result<Verdict, Failure> {
    let ServeRunner { listen, database, policy, folder, served, .. } = args;
    super::is_postgres(database)?;
    let root = folder.canonicalize().map_err(|error| Failure::at(folder, "used", &error))?;
    let mut options = super::options(served, console);
    super::block_on(async {
        let access = TcpAccess { listen: *listen, policy: policy.as_deref(), served };
        let credentials = access.apply(&mut options, database, &root, console).await?;
        let policy = options.access.as_ref().and_then(|access| access.policy().cloned());
        let store = super::open_executions(database).await?;
        let (mut runner_options, clusters) = runner_options(args, &root, &store, console).await?;
        runner_options.policy = policy;
        let in_process_runner =
            InProcessRunner::start(store, runner_options).await.map_err(|error| runs::failed(&error))?;
        let services = services(&in_process_runner, clusters);
        let served =
            super::host(Sockets::tcp(*listen, credentials), services, options, "the Runner", console);
        let writer_died = in_process_runner.store().writer_died();
        let served = super::serve_until_writer_dies(served, writer_died, WRITES_EXECUTIONS).await;
        // If this fails, the next Runner detects the dead one itself.
        let _ = in_process_runner.stop().await;
        in_process_runner.store().close().await;
        served
    })
}

/// Returns the options of the Runner, and the clusters that it describes.
async fn runner_options(
    args: &ServeRunner,
    root: &Path,
    store: &Store,
    console: &mut Console,
) -> Result<(in_process::Options, ClusterSource), Failure> {
    let ServeRunner { control, keep, queues, max_log, clusters, gateway, secrets, results, .. } = args;
    let secrets = providers::open(root, secrets.as_deref(), Some(&mut *console))?;
    let connect_key = super::connect_key(args.connect_key.as_deref())?;
    let mut options = runs::options(root, u64::from(*max_log) << 20, secrets, connect_key.clone())?;
    options.retention = Duration::from_hours(24 * u64::from(*keep));
    options.max_queued = queues.limit();
    runs::set_results(&mut options, results.as_deref())?;
    let clusters = match (clusters, gateway) {
        (Some(path), _) => {
            let choice = Choice::All(path.clone());
            runs::add_clusters(&mut options, &choice, store, connect_key, console).await?
        }
        (None, Some(url)) => {
            let control_plane = clusters::identity(store).await?;
            let gateway = runs::add_gateway(&mut options, url, root, &control_plane)?;
            tokio::spawn(report_unusable(gateway.clone()));
            ClusterSource::Remote(Box::new(gateway))
        }
        (None, None) => ClusterSource::None,
    };
    if let Some(url) = control {
        options.jobs = Some(Arc::new(RegistryJobs(crate::control::connect_service(url, Some(root))?)));
    }
    Ok((options, clusters))
}

fn services(in_process_runner: &InProcessRunner, clusters: ClusterSource) -> Services {
    let runner: Arc<dyn Runner> = Arc::new(in_process_runner.clone());
    let services = dcp_runner::service::add(Services::new(dcp_proto::DESCRIPTORS), Arc::clone(&runner))
        .rest(dcp_runner::rest::api(runner).merge(dcp_identity::rest::api()).into_router());
    let store = in_process_runner.store().clone();
    dcp_gateway::service::add_clusters(services, clusters).ready("database", move || {
        let store = store.clone();
        async move { store.answers().await }
    })
}

/// Logs why the Gateway can't be used, if it can't. Executions wait for it meanwhile.
async fn report_unusable(gateway: RemoteGateway) {
    if let Err(error) = gateway.check().await {
        service_log::write("the Gateway can't be used, and executions wait for it", &error.to_string());
    }
}

/// The jobs of the registry of a control plane.
#[derive(Debug)]
struct RegistryJobs(Remote);

#[async_trait]
impl Jobs for RegistryJobs {
    async fn current(&self, of: &Reference) -> api::Result<Option<Fingerprint>> {
        runs::current(&self.0, of).await
    }

    async fn is_continuous(&self, of: &Reference) -> api::Result<bool> {
        runs::is_continuous(&self.0, of).await
    }

    async fn job(&self, of: &Reference, revision: &Fingerprint) -> api::Result<Option<CoreEtlJob>> {
        runs::job(&self.0, of, revision).await
    }
}
