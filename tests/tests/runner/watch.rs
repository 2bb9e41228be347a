//! A Runner learns of changes by the watch of its backend, and polls while the watch is broken.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dcp_gateway::local::Local;
use dcp_gateway::{Capabilities, Compute, Cursor, Log, Name, Result, SparkApplication, Status, WatchEvent};
use dcp_model::manifest;
use dcp_runner::api::Runner as _;
use dcp_runner::execution::Phase;
use dcp_runner::in_process::{Backend, InProcessRunner};
use dcp_runner::store::Store;
use dcp_tests::fake_spark::{self, FakeSpark};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::{DRIVER_SCRIPT, SUPERVISOR, options, submit, wait_for, wait_for_end};

/// The local backend. It counts the reads of a status, and its watch can be broken.
#[derive(Debug)]
struct CountingCompute {
    local: Local,
    reads: AtomicU32,
    is_broken: AtomicBool,
}

#[async_trait]
impl Compute for CountingCompute {
    fn capabilities(&self) -> Capabilities {
        self.local.capabilities()
    }

    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        self.local.accepts(application)
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        self.local.create(application).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.local.get(name).await
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        if self.is_broken.load(Ordering::SeqCst) {
            return stream::once(async { Err(dcp_gateway::Error::Unavailable("broken".to_owned())) }).boxed();
        }
        self.local.watch()
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        self.local.delete(name, grace).await
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        self.local.logs(name, after, limit).await
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        self.local.tail(name, limit).await
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        self.local.forget(name).await
    }
}

/// Starts a Runner that polls at an interval.
async fn start(
    fake_spark: &FakeSpark,
    is_broken: bool,
    interval: Duration,
) -> (InProcessRunner, Arc<CountingCompute>) {
    let local = fake_spark::local_backend(&fake_spark.path(""), SUPERVISOR);
    let counted = CountingCompute { local, reads: AtomicU32::new(0), is_broken: AtomicBool::new(is_broken) };
    let counted = Arc::new(counted);
    let mut options = options(fake_spark);
    options.backends = vec![(
        manifest::Backend::Local,
        Backend { compute: Arc::<CountingCompute>::clone(&counted), slots: None },
    )];
    options.poll_interval = interval;
    let store = Store::sqlite(&fake_spark.path("runs.db")).await.expect("the database opens");
    (InProcessRunner::start(store, options).await.expect("the Runner starts"), counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_known_without_polling() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let (runner, backend) = start(&fake_spark, false, Duration::from_hours(1)).await;
    // An execution before the watch works would wait for the first poll.
    let first = runner.submit(submit("first", "nothing")).await.expect("the submit is valid").record;
    wait_for_end(&runner, first.id()).await;
    let before = backend.reads.load(Ordering::SeqCst);
    let record = runner.submit(submit("one", "wait")).await.expect("the submit is valid").record;
    wait_for(&runner, record.id(), |it| it.execution.phase == Phase::Running).await;
    let reads = backend.reads.load(Ordering::SeqCst) - before;
    fs::write(fake_spark.path("go-wait"), "").expect("the temporary folder is writable");
    assert_eq!(wait_for_end(&runner, record.id()).await.execution.phase, Phase::Succeeded);
    assert!(reads <= 2, "the status was read {reads} times");
    assert_eq!(backend.reads.load(Ordering::SeqCst) - before, reads, "the end was reported by the watch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_whose_watch_is_broken_is_polled() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let (runner, backend) = start(&fake_spark, true, Duration::from_millis(20)).await;
    let record = runner.submit(submit("one", "wait")).await.expect("the submit is valid").record;
    wait_for(&runner, record.id(), |it| it.execution.phase == Phase::Running).await;
    let before = backend.reads.load(Ordering::SeqCst);
    fs::write(fake_spark.path("go-wait"), "").expect("the temporary folder is writable");
    assert_eq!(wait_for_end(&runner, record.id()).await.execution.phase, Phase::Succeeded);
    assert!(backend.reads.load(Ordering::SeqCst) > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_timeout_is_noticed_although_nothing_changes() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let (runner, _) = start(&fake_spark, false, Duration::from_hours(1)).await;
    let mut request = submit("one", "wait");
    request.job = dcp_tests::job(
        "  job: {pyspark: {main: main.py, args: [wait]}}\n  timeouts: {run: 2s, stop: 1s}\n  retry: {attempts: 1}\n",
    )
    .into();
    request.parameters.clear();
    let record = runner.submit(request).await.expect("the submit is valid").record;
    let record = wait_for_end(&runner, record.id()).await;
    let diagnosis = record.execution.attempts[0].diagnosis.as_ref().expect("the attempt failed");
    assert_eq!(diagnosis.cause, "timeout", "{diagnosis:?}");
}
