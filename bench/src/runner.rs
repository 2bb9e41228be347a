//! Measures a Runner: submits and checks per second beside the limits of the disk and the databases, the cost of a
//! million stored executions, and the time from a submit until spark-submit runs.

mod calls;
mod disk;
mod history;
mod load;
mod plain_inserts;
mod server;
mod start;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Filter, Runner as _, Submitted};
use dcp_runner::execution::Id;
use dcp_runner::remote::Remote;
use dcp_runner::store::Store;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub use server::serve;

pub(crate) use calls::Times;
pub(crate) use load::Load;
pub(crate) use server::{memory_of, runner_without_capacity};

use calls::rate;
use server::Server;

/// The result of a measurement. Any error ends the benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The number of concurrent clients.
const CLIENTS: usize = 64;

/// Size and duration of the measurement.
#[derive(Debug)]
pub struct Options {
    /// The `dcp` binary that supervises executions.
    pub dcp: PathBuf,
    pub rounds: usize,
    /// Duration of each measurement in each round.
    pub time: Duration,
    /// Number of stored executions that have ended.
    pub stored: u32,
    /// Number of executions to start one after the other.
    pub starts: usize,
    pub postgres: bool,
}

/// Runs all measurements, and returns them as JSON. The folder for temporary files must be on the disk to measure.
pub async fn measure(options: &Options) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let mut databases = vec![("sqlite", Databases::sqlite(folder.path()))];
    if options.postgres {
        databases.push(("postgres", Databases::postgres()));
    }
    let rates = rates(options, folder.path(), &databases).await?;
    let mut history = Map::new();
    for (name, databases) in &databases {
        history.insert(
            (*name).to_owned(),
            history::measure(&databases.history, options.stored, options.time).await?,
        );
    }
    let start = start::measure(&options.dcp, options.starts).await?;
    Ok(json!({ "clients": CLIENTS, "rates": rates, "history": history, "start": start }))
}

/// Databases by purpose, so that no measurement sees the rows of another.
struct Databases {
    store: String,
    server: String,
    plain_inserts: String,
    history: String,
}

impl Databases {
    fn sqlite(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).join("runs.db").to_string_lossy().into_owned();
        Self {
            store: path("store"),
            server: path("server"),
            plain_inserts: path("plain_inserts"),
            history: path("history"),
        }
    }

    fn postgres() -> Self {
        let new = dcp_tests::postgres::durable_database;
        Self { store: new(), server: new(), plain_inserts: new(), history: new() }
    }
}

async fn open(database: &str) -> Result<Store> {
    Ok(match database.starts_with("postgres") {
        true => Store::postgres(database).await?,
        false => Store::sqlite(Path::new(database)).await?,
    })
}

/// Returns the list of values of each rate. Databases take turns within a round, so that a disturbance affects all of
/// them.
async fn rates(options: &Options, folder: &Path, databases: &[(&str, Databases)]) -> Result<Value> {
    let load = Arc::new(Load::new());
    let mut benches = Vec::new();
    for (name, databases) in databases {
        benches.push(DatabaseBench::new(name, databases, Arc::clone(&load)).await?);
    }
    let mut found = Map::new();
    let mut add_values = |name: &str, values: Vec<(&str, f64)>| {
        let of = found.entry(name).or_insert_with(|| json!({}));
        for (metric, value) in values {
            match of[metric].as_array_mut() {
                Some(values) => values.push(value.into()),
                None => of[metric] = json!([value]),
            }
        }
    };
    for _ in 0..options.rounds {
        add_values("disk", disk::flushes(&folder.join("flushed"), options.time)?.metrics("flushes"));
        for bench in &mut benches {
            let values = bench.measure_round(options.time).await?;
            add_values(bench.name, values);
        }
    }
    Ok(found.into())
}

/// A database, and the clients that measure it.
struct DatabaseBench<'a> {
    name: &'a str,
    load: Arc<Load>,
    store: Store,
    plain_inserts: plain_inserts::PlainInserts,
    /// The server stops when this is dropped.
    _server: Server,
    clients: Arc<Vec<Remote>>,
    /// Clients of the health service, whose calls need no database.
    health_clients: Arc<Vec<HealthClient<Channel>>>,
}

impl<'a> DatabaseBench<'a> {
    async fn new(name: &'a str, databases: &Databases, load: Arc<Load>) -> Result<Self> {
        let store = open(&databases.store).await?;
        store.register(load::OWNER).await?;
        let plain_inserts = plain_inserts::PlainInserts::open(&databases.plain_inserts, &load).await?;
        let server = Server::start(&databases.server)?;
        let clients = (0..CLIENTS).map(|_| server.client()).collect::<Result<_>>()?;
        let health_clients = (0..CLIENTS).map(|_| server.health()).collect::<Result<_>>()?;
        let (clients, health_clients) = (Arc::new(clients), Arc::new(health_clients));
        Ok(Self { name, load, store, plain_inserts, _server: server, clients, health_clients })
    }

    async fn measure_round(&mut self, time: Duration) -> Result<Vec<(&'static str, f64)>> {
        let mut found = vec![("plain_inserts", self.plain_inserts.rate(&self.load, CLIENTS, time).await?)];
        let (store, load) = (self.store.clone(), Arc::clone(&self.load));
        let submit = move |_| {
            let (store, new) = (store.clone(), load.new_execution());
            async move { expect_new(&store.submit(new).await?) }
        };
        found.push(("store", rate(CLIENTS, time, submit).await?));
        let (clients, load) = (Arc::clone(&self.clients), Arc::clone(&self.load));
        let submit = move |client: usize| {
            let (clients, submit) = (Arc::clone(&clients), load.submit());
            async move { expect_new(&clients[client].submit(submit).await?) }
        };
        found.push(("submits", rate(CLIENTS, time, submit).await?));
        let health_clients = Arc::clone(&self.health_clients);
        let call = move |client: usize| {
            let mut client = health_clients[client].clone();
            async move {
                client.check(HealthCheckRequest::default()).await?;
                Ok(())
            }
        };
        found.push(("empty", rate(CLIENTS, time, call).await?));
        let ids = self.clients[0].list(&Filter::default(), None, 1_000).await?;
        let ids: Arc<Vec<_>> = Arc::new(ids.iter().map(|record| record.id().clone()).collect());
        let (clients, all) = (Arc::clone(&self.clients), Arc::clone(&ids));
        let check = move |client: usize| {
            let (clients, ids) = (Arc::clone(&clients), Arc::clone(&all));
            async move {
                clients[client].check(load::random_element(&ids)).await?;
                Ok(())
            }
        };
        found.push(("checks", rate(CLIENTS, time, check).await?));
        found.extend(self.measure_single_client(&ids, time).await?);
        Ok(found)
    }

    /// Measures the latency of a single client without concurrent calls.
    async fn measure_single_client(&self, ids: &[Id], time: Duration) -> Result<Vec<(&'static str, f64)>> {
        let client = &self.clients[0];
        let submits = Times::measure(time, async || expect_new(&client.submit(self.load.submit()).await?));
        let mut found = submits.await?.metrics("one_submit");
        let checks = Times::measure(time, async || {
            client.check(load::random_element(ids)).await?;
            Ok(())
        });
        found.extend(checks.await?.metrics("one_check"));
        let mut health_client = self.health_clients[0].clone();
        let calls = Times::measure(time, async || {
            health_client.check(HealthCheckRequest::default()).await?;
            Ok(())
        });
        found.extend(calls.await?.metrics("one_empty"));
        Ok(found)
    }
}

fn expect_new(submitted: &Submitted) -> Result<()> {
    if submitted.fresh { Ok(()) } else { Err("a submit returned an existing execution".into()) }
}

fn now() -> Timestamp {
    Timestamp::now()
}
