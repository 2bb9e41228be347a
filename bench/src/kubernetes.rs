//! Measures a Runner with a real cluster: applications created per second beside a bare client that creates the same
//! objects, the time from a submit until the driver's pod exists, beside the Kubeflow operator, and the delay of status changes
//! with many applications.
//!
//! No pod gets a node, because its scheduler does not exist. So only the control planes work, and the benchmark itself
//! reports the start of a container, as a kubelet would.

mod bare;
mod delay;
mod drivers;
mod kubeflow;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::api::Runner as _;
use dcp_runner::execution::Id;
use dcp_runner::request::{CanonicalJob, Definition, Submit};
use dcp_tests::cluster::{SPARK_IMAGE, TestCluster};
use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::runner::{Result, Times};
use drivers::Drivers;
use process::Process;

/// The number of concurrent clients.
const CLIENTS: usize = 16;
/// The namespace of the drivers.
const NAMESPACE: &str = "bench";
/// Maximum time of a step that waits for the cluster.
const TIMEOUT: Duration = Duration::from_mins(15);

/// Size of the measurement.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The `dcp` binary that serves the Runner.
    #[arg(long)]
    pub dcp: PathBuf,
    #[arg(long, default_value_t = 5)]
    pub repeat: usize,
    /// Number of applications that are created in each round.
    #[arg(long, default_value_t = 500)]
    pub creates: usize,
    /// Number of submits, one after the other, whose time is measured.
    #[arg(long, default_value_t = 100)]
    pub submits: usize,
    /// Number of applications of the Kubeflow operator: one after the other, and again at once.
    #[arg(long, default_value_t = 20)]
    pub kubeflow: usize,
    /// Number of applications during the measurement of delays.
    #[arg(long, default_value_t = 10_000)]
    pub applications: usize,
    /// Number of delays.
    #[arg(long, default_value_t = 300)]
    pub delays: usize,
}

/// Runs all measurements on a cluster of their own, and returns them as JSON.
pub async fn measure(options: &Options) -> Result<Value> {
    let bench = Bench::start(options).await?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    let objects = bare::Objects::read(&bench.client, &bench.submit_one().await?.1).await?;
    for round in 0..options.repeat {
        bare.push(objects.rate(&bench.client, round, options.creates).await?);
        own.push(bench.create_rate(options.creates).await?);
    }
    let mut times = Vec::new();
    for _ in 0..options.submits {
        times.push(bench.submit_one().await?.0.as_secs_f64());
    }
    let times = Times::new(times)?;
    bench.cluster.control(&["operator"]);
    let kubeflow = kubeflow::measure(&bench.client, options.kubeflow).await?;
    bench.cluster.control(&["kill", "kubeflow-operator"]);
    let missing = options.applications.saturating_sub(bench.submitted());
    bench.create_rate(missing).await?;
    let delays = delay::measure(&bench, options.delays).await?;
    Ok(json!({
        "clients": CLIENTS, "creates": options.creates, "own": own, "bare": bare,
        "submits": options.submits, "submit_median": times.percentile(50), "submit_p99": times.percentile(99),
        "applications": bench.submitted(), "delays": options.delays,
        "delay_median": delays.percentile(50), "delay_p99": delays.percentile(99), "memory": bench.process.memory()?,
        "kubeflow": options.kubeflow, "kubeflow_median": kubeflow.times.percentile(50), "kubeflow_rate": kubeflow.rate,
    }))
}

/// A cluster, and a Runner in a separate process whose executions run there.
struct Bench {
    process: Process,
    client: Client,
    drivers: Drivers,
    job: Arc<CanonicalJob>,
    next: AtomicUsize,
    cluster: TestCluster,
}

impl Bench {
    async fn start(options: &Options) -> Result<Self> {
        let cluster = TestCluster::start();
        cluster.backend(NAMESPACE).await;
        let client = cluster.client().await;
        let drivers = Drivers::watch(&client, "dcp/application");
        let process = Process::start(&options.dcp, &cluster.kubeconfig())?;
        let job = Arc::new(CanonicalJob::new(job()));
        Ok(Self { process, client, drivers, job, next: AtomicUsize::new(0), cluster })
    }

    fn submitted(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    fn next_submit(&self) -> Submit {
        Submit {
            token: format!("bench-{}", self.next.fetch_add(1, Ordering::Relaxed)),
            job: Definition::Inline(Arc::clone(&self.job)),
            parameters: BTreeMap::new(),
            streaming: None,
            exclusive: None,
            order: None,
            fence: None,
            by: "benchmark".to_owned(),
            on_behalf_of: None,
        }
    }

    /// Submits an execution, and returns the time until its driver's pod exists.
    async fn submit_one(&self) -> Result<(Duration, Id)> {
        let begun = Instant::now();
        let submitted = self.process.client.submit(self.next_submit()).await?;
        let id = submitted.record.id().clone();
        let name = submitted.record.execution.name_of(1);
        let at = self.drivers.wait_until_created(&name).await?;
        Ok((at.saturating_duration_since(begun), id))
    }

    /// Returns the executions per second whose drivers may start, from the first submit to the last such driver.
    async fn create_rate(&self, count: usize) -> Result<f64> {
        let target = self.drivers.startable() + count;
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let submits: Vec<Submit> = (client..count).step_by(CLIENTS).map(|_| self.next_submit()).collect();
            let remote = self.process.client.clone();
            clients.spawn(async move {
                for submit in submits {
                    remote.submit(submit).await?;
                }
                Ok::<_, dcp_runner::api::Error>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        self.drivers.wait_until_startable(target).await?;
        Ok(rate(count, begun.elapsed()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "the counts are small")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn job() -> CoreEtlJob {
    let mut job = dcp_tests::job(
        "  job: {pyspark: {main: \"local:///opt/main.py\"}}\n  retry: {attempts: 1}\n  timeouts: {start: 24h}\n  \
         placement: {backends: [kubernetes]}\n  pods: {driver: {template: {spec: {schedulerName: none}}}}\n",
    );
    SPARK_IMAGE.clone_into(&mut job.engine.image);
    job
}
