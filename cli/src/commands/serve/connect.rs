//! `dcp serve connect`

use std::path::Path;

use dcp_connect::proxy::Proxy;
use dcp_connect::store::Store;
use dcp_server::{Services, Workers};
use jiff::Timestamp;

use super::{Sockets, TcpAccess};
use crate::args::ServeConnect;
use crate::drivers::DriversFile;
use crate::failure::{Failure, Verdict};
use crate::out::Console;

pub(super) fn run(args: &ServeConnect, console: &mut Console) -> Result<Verdict, Failure> {
    let ServeConnect { listen, database, policy, drivers, connect_key, max_connections, served } = args;
    let mut options = super::options(served, console);
    options.limits.connections = usize::try_from(*max_connections).unwrap_or(usize::MAX);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Workers::start(threads);
    let workers = workers.map_err(|error| Failure::new(format!("no threads can be started: {error}")))?;
    options.workers = Some(workers.clone());
    let ended = super::block_on(async {
        let access = TcpAccess { listen: *listen, policy: policy.as_deref(), served };
        let credentials = access.apply(&mut options, database, Path::new("."), console).await?;
        let store = open_sessions(database).await?;
        let key = super::connect_key(connect_key.as_deref())?;
        let file = DriversFile::open(drivers.as_deref(), store.clone(), console).await?;
        let proxy = Proxy::start(store.clone(), file.tokens(key), Timestamp::now).await;
        let proxy = proxy.map_err(|error| Failure::new(error.to_string()))?;
        let services = Services::new(dcp_proto::DESCRIPTORS).with_proxy(proxy.clone());
        let expiring = tokio::spawn(dcp_connect::expiry::run(proxy.clone()));
        let services = dcp_connect::service::add(services, proxy.clone());
        let api = dcp_connect::rest::api(proxy.clone()).merge(dcp_identity::rest::api());
        let services = with_database(services.rest(api.into_router()), store.clone());
        let sockets = Sockets::tcp(*listen, credentials);
        let served = super::host(sockets, services, options, "the proxy for Spark Connect", console).await;
        expiring.abort();
        proxy.flush().await;
        store.close().await;
        served
    });
    // The store has connections that calls have opened, so that the threads end after it is closed.
    drop(workers);
    ended
}

/// Opens the sessions of a database.
pub(super) async fn open_sessions(database: &str) -> Result<Store, Failure> {
    let opened = match super::is_postgres(database)? {
        true => Store::postgres(database).await,
        false => Store::sqlite(Path::new(database)).await,
    };
    opened.map_err(|error| Failure::new(error.to_string()))
}

/// Makes the services ready while the database of sessions responds.
fn with_database(services: Services, store: Store) -> Services {
    services.ready("database", move || {
        let store = store.clone();
        async move { store.answers().await }
    })
}
