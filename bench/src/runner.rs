//! What a Runner achieves: how many submits and checks a second, beside what this machine's disk and databases achieve
//! by themselves; what a million executions cost that are kept; and how long it takes until spark-submit runs.

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

/// Whatever went wrong: a benchmark that can't measure says so, and ends.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many submit at once.
const CLIENTS: usize = 64;

/// What is measured, and how long.
#[derive(Debug)]
pub struct Options {
    /// The `dcp` that supervises what is started.
    pub dcp: PathBuf,
    pub rounds: usize,
    /// How long each thing is done in each round.
    pub time: Duration,
    /// How many finished executions are kept.
    pub kept: u32,
    /// How many are started one after the other.
    pub starts: usize,
    pub postgres: bool,
}

/// All that there is, as JSON. Temporary folders have to be on the disk that is measured.
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

/// A database for each purpose, so that none holds what another one left.
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

/// Lists of what each round gave. What is compared takes turns, so that what disturbs one disturbs all.
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

/// A database with all that is measured of it.
struct Contender<'a> {
    name: &'a str,
    load: Arc<Load>,
    store: Store,
    bare: bare::Bare,
    /// Held for as long as it is to answer.
    _server: Server,
    clients: Arc<Vec<Remote>>,
    /// Those who ask for nothing that anybody would have to look up.
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

    /// What one client waits for, with nobody beside it.
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
