//! Serves a Runner over gRPC in a separate process. Its backend accepts every application and has no capacity, so that
//! executions stay queued and only the Runner is measured.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dcp_gateway::local::fields::FIELDS;
use dcp_gateway::{Capabilities, Compute, Cursor, Log, Name, SparkApplication, Status, WatchEvent};
use dcp_model::manifest;
use dcp_runner::in_process::{Backend, InProcessRunner, Options};
use dcp_runner::remote::Remote;
use dcp_server::{Services, Token, Tokens};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;

use super::{Result, now, open};

const TOKEN: &str = "0123456789abcdef-benchmark";

/// Starts a Runner whose executions stay queued.
pub(crate) async fn runner_without_capacity(database: &str) -> Result<InProcessRunner> {
    let backend = Backend { compute: Arc::new(FullBackend), slots: Some(0) };
    let mut options = Options::new(vec![(manifest::Backend::Local, backend)], now);
    // Executions stay queued here, so that their number must not be limited.
    options.max_queued = usize::MAX;
    // Only a SQLite store uses the locks; the Runner ignores the folder for PostgreSQL.
    options.lock_folder = Path::new(database).parent().map(|folder| folder.join("locks"));
    Ok(InProcessRunner::start(open(database).await?, options).await?)
}

/// Serves a Runner until standard input ends. Prints its address first.
pub async fn serve(database: &str) -> Result<()> {
    let runner = runner_without_capacity(database).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    out.flush()?;
    let services = dcp_runner::service::add(Services::new(dcp_proto::DESCRIPTORS), Arc::new(runner));
    let token = Token { name: "benchmark".to_owned(), token: TOKEN.to_owned() };
    let options = dcp_server::Options::new(Tokens::new(&[token])?);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let stop = async { drop(ended.await) };
    Ok(dcp_server::serve(listener, services, options, stop).await?)
}

/// A Runner process that this process has started.
pub(super) struct Server {
    child: Child,
    url: String,
}

impl Server {
    pub(super) fn start(database: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-runner", database]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut url = String::new();
        let out = child.stdout.take().ok_or("the Runner process has no output")?;
        BufReader::new(out).read_line(&mut url)?;
        let server = Self { child, url: url.trim().to_owned() };
        if server.url.is_empty() { Err("the Runner did not start".into()) } else { Ok(server) }
    }

    pub(super) fn client(&self) -> Result<Remote> {
        Ok(Remote::new(dcp_runner::remote::Options::new(self.url.clone(), TOKEN))?)
    }

    /// Returns a client of the health service.
    pub(super) fn health(&self) -> Result<HealthClient<Channel>> {
        Ok(HealthClient::new(Endpoint::from_shared(self.url.clone())?.connect_lazy()))
    }

    /// Returns the resident memory in MiB.
    pub(super) fn memory(&self) -> Result<f64> {
        memory_of(self.child.id())
    }
}

/// Returns the resident memory of a process in MiB.
pub(crate) fn memory_of(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the process has ended")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A backend without capacity.
#[derive(Debug)]
struct FullBackend;

fn unavailable<T>() -> dcp_gateway::Result<T> {
    Err(dcp_gateway::Error::Unavailable("the backend has no capacity".to_owned()))
}

#[async_trait]
impl Compute for FullBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities { fields: &FIELDS, abilities: &[] }
    }

    fn accepts(&self, _application: &SparkApplication) -> dcp_gateway::Result<()> {
        Ok(())
    }

    async fn create(&self, _application: &SparkApplication) -> dcp_gateway::Result<()> {
        unavailable()
    }

    async fn get(&self, _name: &Name) -> dcp_gateway::Result<Option<Status>> {
        unavailable()
    }

    fn watch(&self) -> BoxStream<'static, dcp_gateway::Result<WatchEvent>> {
        stream::pending().boxed()
    }

    async fn delete(&self, _name: &Name, _grace: Duration) -> dcp_gateway::Result<()> {
        unavailable()
    }

    async fn logs(&self, _name: &Name, _after: &Cursor, _limit: usize) -> dcp_gateway::Result<Log> {
        unavailable()
    }

    async fn tail(&self, _name: &Name, _limit: usize) -> dcp_gateway::Result<Vec<u8>> {
        unavailable()
    }

    async fn forget(&self, _name: &Name) -> dcp_gateway::Result<()> {
        unavailable()
    }
}
