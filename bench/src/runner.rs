//! Measures a Runner: submits and checks per second beside the limits of the disk and the databases, the cost of a
//! million stored executions, and the time from a submit until spark-submit runs.

mod bare;
mod calls;
mod disk;
mod kept;
mod load;
mod served;
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

pub use served::serve;

use calls::{Times, rate};
use load::Load;
use served::Server;

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
    pub kept: u32,
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
    let mut kept = Map::new();
    for (name, databases) in &databases {
        kept.insert((*name).to_owned(), kept::measure(&databases.kept, options.kept, options.time).await?);
    }
    let start = start::measure(&options.dcp, options.starts).await?;
    Ok(json!({ "clients": CLIENTS, "rates": rates, "kept": kept, "start": start }))
}

/// Databases by purpose, so that no measurement sees the rows of another.
struct Databases {
    store: String,
    served: String,
    bare: String,
    kept: String,
}

impl Databases {
    fn sqlite(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).join("runs.db").to_string_lossy().into_owned();
        Self { store: path("store"), served: path("served"), bare: path("bare"), kept: path("kept") }
    }

    fn postgres() -> Self {
        let new = dcp_tests::postgres::durable_database;
        Self { store: new(), served: new(), bare: new(), kept: new() }
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
    let mut contenders = Vec::new();
    for (name, databases) in databases {
        contenders.push(Contender::new(name, databases, Arc::clone(&load)).await?);
    }
    let mut found = Map::new();
    let mut note = |name: &str, values: Vec<(&str, f64)>| {
        let of = found.entry(name).or_insert_with(|| json!({}));
        for (what, value) in values {
            match of[what].as_array_mut() {
                Some(values) => values.push(value.into()),
                None => of[what] = json!([value]),
            }
        }
    };
    for _ in 0..options.rounds {
        note("disk", disk::flushes(&folder.join("flushed"), options.time)?.named("flushes"));
        for contender in &mut contenders {
            let values = contender.round(options.time).await?;
            note(contender.name, values);
        }
    }
    Ok(found.into())
}

/// A database, and the clients that measure it.
struct Contender<'a> {
    name: &'a str,
    load: Arc<Load>,
    store: Store,
    bare: bare::Bare,
    /// The server stops when this is dropped.
    _server: Server,
    clients: Arc<Vec<Remote>>,
    /// Clients of the health service, whose calls need no database.
    empty: Arc<Vec<HealthClient<Channel>>>,
}

impl<'a> Contender<'a> {
    async fn new(name: &'a str, databases: &Databases, load: Arc<Load>) -> Result<Self> {
        let store = open(&databases.store).await?;
        store.register(load::OWNER).await?;
        let bare = bare::Bare::open(&databases.bare, &load).await?;
        let server = Server::start(&databases.served)?;
        let clients = (0..CLIENTS).map(|_| server.client()).collect::<Result<_>>()?;
        let empty = (0..CLIENTS).map(|_| server.health()).collect::<Result<_>>()?;
        let (clients, empty) = (Arc::new(clients), Arc::new(empty));
        Ok(Self { name, load, store, bare, _server: server, clients, empty })
    }

    async fn round(&mut self, time: Duration) -> Result<Vec<(&'static str, f64)>> {
        let mut found = vec![("bare", self.bare.rate(&self.load, CLIENTS, time).await?)];
        let (store, load) = (self.store.clone(), Arc::clone(&self.load));
        let submit = move |_| {
            let (store, new) = (store.clone(), load.new_execution());
            async move { fresh(&store.submit(new).await?) }
        };
        found.push(("store", rate(CLIENTS, time, submit).await?));
        let (clients, load) = (Arc::clone(&self.clients), Arc::clone(&self.load));
        let submit = move |client: usize| {
            let (clients, submit) = (Arc::clone(&clients), load.submit());
            async move { fresh(&clients[client].submit(submit).await?) }
        };
        found.push(("submits", rate(CLIENTS, time, submit).await?));
        let empty = Arc::clone(&self.empty);
        let call = move |client: usize| {
            let mut client = empty[client].clone();
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
                clients[client].check(load::any(&ids)).await?;
                Ok(())
            }
        };
        found.push(("checks", rate(CLIENTS, time, check).await?));
        found.extend(self.alone(&ids, time).await?);
        Ok(found)
    }

    /// Measures the latency of a single client without concurrent calls.
    async fn alone(&self, ids: &[Id], time: Duration) -> Result<Vec<(&'static str, f64)>> {
        let client = &self.clients[0];
        let submits = Times::of(time, async || fresh(&client.submit(self.load.submit()).await?));
        let mut found = submits.await?.named("one_submit");
        let checks = Times::of(time, async || {
            client.check(load::any(ids)).await?;
            Ok(())
        });
        found.extend(checks.await?.named("one_check"));
        let mut empty = self.empty[0].clone();
        let calls = Times::of(time, async || {
            empty.check(HealthCheckRequest::default()).await?;
            Ok(())
        });
        found.extend(calls.await?.named("one_empty"));
        Ok(found)
    }
}

fn fresh(submitted: &Submitted) -> Result<()> {
    if submitted.fresh { Ok(()) } else { Err("a submit was taken for another one".into()) }
}

fn now() -> Timestamp {
    Timestamp::now()
}
