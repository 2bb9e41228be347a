//! Two Runners share a database and a cluster, and are killed and suspended at random.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::api::{Error, Record, Runner as _};
use dcp_runner::execution::{Id, Phase};
use dcp_runner::remote::{Options, Remote};
use dcp_runner::request::{Definition, Submit};
use dcp_tests::cluster::{SPARK_IMAGE, TestCluster};
use dcp_tests::fake_spark::send_signal;
use dcp_tests::{TOKEN, postgres};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use rustix::process::Signal;

use super::clusters_file;
use crate::harness::{DCP, Sandbox};

const EXECUTIONS: usize = 10;
const DISTURBANCES: usize = 8;
/// A Runner that is suspended for longer than this loses its executions to the other one.
const LEASE: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_mins(4);

const CLUSTERS: &[&str] = &["--clusters", "clusters.yaml"];
/// A driver that runs for some seconds.
pub(super) const SCRIPT: &str = "sleep $((RANDOM % 8))";

/// A process of `dcp serve runner`.
pub(super) struct Runner {
    child: Child,
    pub(super) client: Remote,
}

impl Runner {
    /// Starts one with the clusters or the Gateway that options name.
    pub(super) fn start(sandbox: &Sandbox, database: &str, clusters: &[&str]) -> Self {
        let mut command = sandbox.command(&DCP);
        command
            .args(["serve", "runner", "--listen", "127.0.0.1:0"])
            .args(clusters)
            .arg("--quiet")
            .env("DCP_DATABASE", database)
            .env("DCP_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("the program can be run");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("the output is text");
        let url = line.split_whitespace().last().expect("the line ends with the address").to_owned();
        let mut options = Options::new(url, TOKEN);
        options.retry_for = Duration::from_millis(200);
        Self { child, client: Remote::new(options).expect("the address is valid") }
    }

    fn signal(&self, signal: Signal) {
        send_signal(&self.child.id().to_string(), signal);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a job whose driver is a shell script.
fn job(script: &str) -> CoreEtlJob {
    let spec = "  job: {pyspark: {main: \"local:///opt/main.py\"}}\n  retry: {attempts: 1}\n  \
         placement: {backends: [kubernetes]}\n  resources: {driver: {memory: 512m, cpuRequest: 20m}}\n  \
         pods: {imagePullPolicy: Never, driver: {template: {spec: {containers: [{name: spark, \
         command: [bash, -c, \"SCRIPT\"]}]}}}}\n";
    let mut job = dcp_tests::job(&spec.replace("SCRIPT", script));
    SPARK_IMAGE.clone_into(&mut job.engine.image);
    job
}

fn submit(number: usize, script: &str) -> Submit {
    Submit {
        token: format!("t-{number}"),
        job: Definition::from(job(script)),
        parameters: BTreeMap::new(),
        streaming: None,
        exclusive: None,
        order: None,
        fence: None,
        by: "tester".to_owned(),
        on_behalf_of: None,
    }
}

/// The driver pods that ever had a node, by application.
pub(super) type Started = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// Watches the pods of a namespace until the returned task is dropped.
pub(super) fn watch_starts(client: &Client, namespace: &str) -> (Started, tokio::task::JoinHandle<()>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let started = Started::default();
    let seen = Arc::clone(&started);
    let task = tokio::spawn(async move {
        let mut events =
            watcher(pods, watcher::Config::default()).default_backoff().touched_objects().boxed();
        while let Some(event) = events.next().await {
            let Ok(Pod { metadata, spec: Some(spec), .. }) = event else { continue };
            let application = metadata.labels.and_then(|mut labels| labels.remove("dcp/application"));
            if let (Some(application), Some(uid), Some(_)) = (application, metadata.uid, spec.node_name) {
                seen.lock().expect("no holder panics").entry(application).or_default().insert(uid);
            }
        }
    });
    (started, task)
}

/// Submits a driver with the Runner that responds first, again and again until one has accepted.
pub(super) async fn submit_to_any(runners: &[Runner], number: usize, script: &str) -> Id {
    let deadline = Instant::now() + TIMEOUT;
    for runner in runners.iter().cycle() {
        match runner.client.submit(submit(number, script)).await {
            Ok(submitted) => return submitted.record.id().clone(),
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => unreachable!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "no Runner accepts the submit {number}");
    }
    unreachable!("there are Runners")
}

pub(super) async fn wait_for_end(runners: &[Runner], id: &Id) -> Record {
    let deadline = Instant::now() + TIMEOUT;
    for runner in runners.iter().cycle() {
        let record = runner.client.check(id).await;
        if let Ok(record) = &record
            && record.execution.phase.is_final()
        {
            return record.clone();
        }
        assert!(Instant::now() < deadline, "{id} does not end: {record:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("there are Runners")
}

/// Kills a Runner and starts it again, or suspends it, which may be longer than its lease.
async fn disturb(runner: &mut Runner, sandbox: &Sandbox, database: &str, random: u64) {
    tokio::time::sleep(Duration::from_millis(random % 1500)).await;
    match random % 4 {
        0 => {
            runner.signal(Signal::STOP);
            tokio::time::sleep(LEASE + Duration::from_secs(3)).await;
            runner.signal(Signal::CONT);
        }
        1 => {
            runner.signal(Signal::STOP);
            tokio::time::sleep(Duration::from_secs(1)).await;
            runner.signal(Signal::CONT);
        }
        _ => {
            runner.child.kill().expect("it runs");
            runner.child.wait().expect("it was killed");
            *runner = Runner::start(sandbox, database, CLUSTERS);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_suspended_runners_start_each_driver_once() {
    let cluster = TestCluster::exclusive().await;
    let namespace = format!("cli-kills-{}", std::process::id());
    cluster.backend(&namespace).await;
    let (started, _watch) = watch_starts(&cluster.client().await, &namespace);
    let sandbox = Sandbox::new();
    sandbox.write("clusters.yaml", clusters_file(&cluster, &namespace));
    sandbox.write_token(TOKEN);
    let database = postgres::database();
    let mut runners = [0; 2].map(|_| Runner::start(&sandbox, &database, CLUSTERS));
    let mut ids = Vec::new();
    // The first disturbances are a pause beyond the lease and a kill, whatever the seed is.
    let mut randoms = vec![0, 2];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    while randoms.len() < DISTURBANCES {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // One long pause is enough.
        randoms.push(if seed.is_multiple_of(4) { seed + 1 } else { seed });
    }
    for (index, random) in randoms.into_iter().enumerate() {
        ids.push(submit_to_any(&runners, ids.len(), SCRIPT).await);
        disturb(&mut runners[index % 2], &sandbox, &database, random).await;
    }
    while ids.len() < EXECUTIONS {
        ids.push(submit_to_any(&runners, ids.len(), SCRIPT).await);
    }
    for id in &ids {
        let record = wait_for_end(&runners, id).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    }
    let started = started.lock().expect("no holder panics").clone();
    assert_eq!(started.len(), EXECUTIONS, "each execution has one attempt: {started:?}");
    assert!(started.values().all(|drivers| drivers.len() == 1), "a driver started twice: {started:?}");
}
