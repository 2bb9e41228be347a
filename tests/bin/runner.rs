//! A Runner that kills itself at a given step, for tests of crashes and of the environment of a Runner.
//!
//!     dcp-test-runner FOLDER DATABASE SUPERVISOR LEASE_MILLIS DIE_AT [EVENT_LOG]
//!
//! Prints its address to standard output. The start and the end of each call to its backend are steps. At step `N`, the
//! process kills itself; with `panic:N`, the task of the call panics instead. With 0, nothing happens. The backend reports
//! the URL `EVENT_LOG` as the address of each event log, like a backend whose drivers write into a bucket.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dcp_gateway::{Capabilities, Compute, Cursor, Log, Name, Result, SparkApplication, Status, WatchEvent};
use dcp_model::manifest;
use dcp_runner::in_process::{Backend, InProcessRunner, Options};
use dcp_runner::store::Store;
use dcp_server::Services;
use dcp_tests::fake_spark::local_backend;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, database, supervisor, lease, die_at, event_log @ ..] = args.as_slice() else {
        return Err("see the top of bin/runner.rs".into());
    };
    let folder = Path::new(folder);
    let local = local_backend(folder, supervisor);
    let place = local.location_id()?;
    let (panics, die_at) = match die_at.strip_prefix("panic:") {
        Some(step) => (true, step),
        None => (false, die_at.as_str()),
    };
    let compute = Arc::new(CrashingCompute {
        inner: local,
        steps_left: Arc::new(AtomicI64::new(die_at.parse()?)),
        panics,
        event_log: event_log.first().cloned(),
    });
    let backend = Backend { compute, slots: None };
    let mut options = Options::new(vec![(manifest::Backend::Local, backend)], Timestamp::now);
    options.poll_interval = Duration::from_millis(100);
    options.lease = Duration::from_millis(lease.parse()?);
    options.lock_folder = Some(folder.join("locks"));
    options.location_id = place;
    let store = match database.starts_with("postgres") {
        true => Store::postgres(database).await?,
        false => Store::sqlite(Path::new(database)).await?,
    };
    let runner = InProcessRunner::start(store, options).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let services = dcp_runner::service::add(Services::new(dcp_proto::DESCRIPTORS), Arc::new(runner));
    let options = dcp_tests::server_options("tester");
    dcp_server::serve(listener, services, options, std::future::pending()).await?;
    Ok(())
}

/// A backend that kills the process, or panics, after a number of steps.
#[derive(Debug, Clone)]
struct CrashingCompute<C> {
    inner: C,
    steps_left: Arc<AtomicI64>,
    panics: bool,
    /// The URL of the event logs, if it is another one than the backend's own.
    event_log: Option<String>,
}

impl<C> CrashingCompute<C> {
    fn step(&self) {
        if self.steps_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            assert!(!self.panics, "a test asked for a panic at this step");
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    /// Replaces the address of the event log in a status.
    fn readdress(&self, status: &mut Option<Status>) {
        if let (Some(status), Some(url)) = (status, &self.event_log) {
            status.addresses.event_log = Some(url.clone());
        }
    }
}

#[async_trait]
impl<C: Compute + Clone + 'static> Compute for CrashingCompute<C> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        self.inner.accepts(application)
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        self.step();
        let done = self.inner.create(application).await;
        self.step();
        done
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        self.step();
        let mut found = self.inner.get(name).await;
        self.step();
        if let Ok(status) = &mut found {
            self.readdress(status);
        }
        found
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        let this = self.clone();
        let events = self.inner.watch().map(move |mut event| {
            // The process has to live until it has printed its address, so that the list of applications is no step.
            if let Ok(WatchEvent::Changed(change)) = &mut event {
                this.step();
                this.readdress(&mut change.status);
            }
            event
        });
        events.boxed()
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        self.step();
        let done = self.inner.delete(name, grace).await;
        self.step();
        done
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        self.inner.logs(name, after, limit).await
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        self.inner.tail(name, limit).await
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        self.step();
        let done = self.inner.forget(name).await;
        self.step();
        done
    }
}
