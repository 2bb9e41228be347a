//! `dcp serve gateway`

use std::path::Path;
use std::sync::Arc;

use dcp_gateway::service::{self, ClusterSource};
use dcp_runner::store::Store;
use dcp_server::Services;
use tokio::sync::watch;

use super::{Sockets, TcpAccess};
use crate::args::ServeGateway;
use crate::clusters::{self, ClustersFile};
use crate::failure::{Failure, Verdict};
use crate::out::Console;

pub(super) fn run(args: &ServeGateway, console: &mut Console) -> Result<Verdict, Failure> {
    let ServeGateway { listen, clusters, database, policy, connect_key, served } = args;
    super::is_postgres(database)?;
    let mut options = super::options(served, console);
    super::block_on(async {
        let access = TcpAccess { listen: *listen, policy: policy.as_deref(), served };
        let credentials = access.apply(&mut options, database, Path::new("."), console).await?;
        let store = super::open_executions(database).await?;
        let bindings = Arc::new(store.clone());
        let connect_key = super::connect_key(connect_key.as_deref())?;
        let (file, of_file) = ClustersFile::open(clusters, None, bindings, connect_key, console).await?;
        tokio::spawn(file.follow(of_file.clone()));
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(async move {
            super::stop_signal().await;
            stop.send_replace(true);
        });
        let control_plane = Some(clusters::identity(&store).await?);
        let services = Services::new(dcp_proto::DESCRIPTORS);
        let services = service::add_guarded(services, Arc::new(of_file.clone()), stopping, control_plane);
        let services = service::add_clusters(services, ClusterSource::InProcess(of_file));
        let services = with_database(services, store.clone());
        let served =
            super::host(Sockets::tcp(*listen, credentials), services, options, "the Gateway", console).await;
        store.close().await;
        served
    })
}

/// Makes the services ready while the database of bindings responds.
fn with_database(services: Services, store: Store) -> Services {
    services.ready("database", move || {
        let store = store.clone();
        async move { store.answers().await }
    })
}
