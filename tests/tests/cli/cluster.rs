//! Jobs of a project on a real cluster, with real Spark: manifest, apply, run, remedy, logs.

mod bucket;
mod discovery;
mod gateway;
mod gateways;
mod jobs;
mod kills;
mod pools;
mod pyspark;
mod secrets;
mod streams;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use dcp_tests::cluster::{SPARK_IMAGE, SharedCluster, TestCluster, parsed, pod_names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::gateway::waits_for;
use crate::harness::{CommandOutput, DCP, Sandbox};

/// Succeeds only if the driver's container has more memory than the first attempt gives it.
const HUNGRY: &str = "\
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
block = bytearray(1250 << 20)
for at in range(0, len(block), 4096):
    block[at] = 1
print('rows:', spark.range(10).count(), len(block))
";

const FAILING: &str = "\
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.read.parquet('/absent/orders').show()
";

const SQL: &str =
    "sql: {query: \"SELECT assert_true(sum(id) = 499500) FROM range(1000)\", returnResult: false}";

/// A project whose jobs run on the cluster.
struct Project {
    sandbox: Sandbox,
    /// Further options and variables of `dcp up`.
    options: Vec<String>,
    environment: Vec<(String, String)>,
    /// `dcp up`, if it runs.
    up: Option<Child>,
    namespace: String,
    cluster: SharedCluster,
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Some(up) = &mut self.up {
            let _ = up.kill();
            let _ = up.wait();
        }
    }
}

impl Project {
    /// Starts `dcp up` with the clusters.
    async fn start(test: &str, manifests: &[(&str, &str)]) -> Self {
        let mut project = Self::prepare(test, manifests).await;
        project.start_up();
        project
    }

    /// Does the same with an operator.
    async fn start_with_operator(test: &str, manifests: &[(&str, &str)], operator: &str) -> Self {
        let mut project = Self::prepare(test, manifests).await;
        project.cluster.control(&["operator"]);
        project.sandbox.edit(
            "clusters.yaml",
            "kind: kubernetes\n",
            &format!("kind: kubernetes\n    operator: {operator}\n"),
        );
        project.start_up();
        project
    }

    async fn prepare(test: &str, manifests: &[(&str, &str)]) -> Self {
        // One Spark at a time, as each needs a core.
        let cluster = TestCluster::exclusive().await;
        let namespace = format!("{test}-{}", std::process::id());
        cluster.backend(&namespace).await;
        let programs: Api<ConfigMap> = Api::namespaced(cluster.client().await, &namespace);
        let files = json!({"hungry.py": HUNGRY, "failing.py": FAILING, "secrets.py": secrets::PROGRAM});
        let programs = programs
            .create(&PostParams::default(), &parsed(json!({"metadata": {"name": "programs"}, "data": files})))
            .await;
        programs.expect("the config map can be created");
        let sandbox = Sandbox::new();
        sandbox.write("dcp.yaml", "project: shop\nmanifests: [manifests]\n");
        for (name, job) in manifests {
            sandbox.write(&format!("manifests/{name}.yaml"), manifest(name, job));
        }
        sandbox.write("clusters.yaml", clusters_file(&cluster, &namespace));
        Self { sandbox, options: Vec::new(), environment: Vec::new(), up: None, namespace, cluster }
    }

    /// Starts `dcp up`, and returns the address at which it listens: that of `--listen`, if the options have it.
    fn start_up(&mut self) -> String {
        let mut up = self.sandbox.command(&DCP);
        up.envs(self.environment.iter().cloned());
        up.args(["up", "--clusters", "clusters.yaml"]).args(&self.options);
        up.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut up = up.spawn().expect("the program can be run");
        let out = up.stdout.take().expect("it is piped");
        let is_tcp = self.options.iter().any(|option| option == "--listen");
        let listens = if is_tcp { "listens at http" } else { "listens at" };
        let line = BufReader::new(out).lines().map_while(Result::ok).find(|line| line.contains(listens));
        self.up = Some(up);
        let line = line.expect("`dcp up` starts");
        line.rsplit(' ').next().expect("a line has an end").to_owned()
    }

    /// Kills `dcp up`, and starts it again.
    fn restart(&mut self) {
        let mut killed = self.up.take().expect("it was started");
        killed.kill().expect("it runs");
        killed.wait().expect("it was killed");
        self.start_up();
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        self.sandbox.run(args)
    }

    /// Returns the description of the only execution of a workload.
    fn execution(&self, workload: &str) -> CommandOutput {
        let runs = self.run(&["runs", workload]).exits_with(0);
        let last = runs.stdout.lines().last().and_then(|line| line.split_whitespace().nth(1));
        self.run(&["runs", last.expect("the list has the execution")]).exits_with(0)
    }
}

/// Returns a `clusters.yaml` with the cluster, one namespace for all domains.
fn clusters_file(cluster: &TestCluster, namespace: &str) -> String {
    format!(
        "clusters:\n  test:\n    kind: kubernetes\n    credentials: {{kubeconfig: {}}}\n    \
         namespaces: {{default: {namespace}}}\n    \
         settings:\n      spark.kubernetes.driver.master: \"https://10.96.0.1:443\"\n",
        cluster.kubeconfig().display()
    )
}

fn manifest(name: &str, job: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{domain: sales, name: {name}, owner: a@example.com}}\nspec:\n  \
         engine: {{version: \"4.1\", image: \"{SPARK_IMAGE}\"}}\n  placement: {{backends: [kubernetes]}}\n  \
         pods: {{imagePullPolicy: Never, driver: {{configMaps: [{{name: programs, path: /opt/programs}}]}}}}\n  \
         retry: {{attempts: 3, backoff: 1s}}\n  run: {{manual: {{}}}}\n  \
         resources:\n    driver: {{memory: 1g, cpuRequest: 200m}}\n    \
         executors: {{memory: 512m, instances: 1, cpuRequest: 200m}}\n  job:\n    {job}\n"
    )
}

#[tokio::test]
async fn a_job_runs_through_the_operator_of_the_cluster() {
    let sql = "sql: {query: \"SELECT assert_true(sum(id) = 499500) FROM range(1000)\", returnResult: false}";
    let project = Project::start_with_operator("cli-operator", &[("numbers", sql)], "kubeflow").await;
    project.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    project.run(&["run", "sales/numbers", "--wait"]).exits_with(0).prints("succeeded");
    project
        .run(&["logs", "--all", "sales/numbers"])
        .exits_with(0)
        .prints("Successfully stopped SparkContext");
    let pods = pod_names(&project.cluster.client().await, &project.namespace).await;
    assert!(pods.iter().any(|pod| pod.ends_with("-1-driver")), "{pods:?}");
}

#[tokio::test]
async fn a_driver_that_exceeds_its_memory_gets_more_and_succeeds() {
    let job = "pyspark: {main: \"local:///opt/programs/hungry.py\"}";
    let project = Project::start("cli-memory", &[("hungry", job)]).await;
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project.run(&["run", "sales/hungry", "--wait"]).exits_with(0).prints("succeeded");
    let execution = project.execution("sales/hungry");
    execution
        .prints("the driver was killed for the memory of its container")
        .prints("spark.driver.memoryOverhead");
    project.run(&["logs", "sales/hungry"]).exits_with(0).prints("rows: 10 1310720000");
}

#[tokio::test]
async fn a_program_that_fails_is_diagnosed_by_its_log() {
    let job = "pyspark: {main: \"local:///opt/programs/failing.py\"}";
    let project = Project::start("cli-failure", &[("failing", job)]).await;
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project.run(&["run", "sales/failing", "--wait"]).exits_with(1).prints("/absent/orders");
    project.execution("sales/failing").prints("does not exist").prints("FAILED");
}

#[tokio::test]
async fn a_killed_runner_is_followed_by_one_that_starts_no_second_driver() {
    let sql = "sql: {query: \"SELECT count(*) FROM range(10)\", returnResult: false}";
    let mut project = Project::start("cli-killed", &[("counted", sql)]).await;
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    let id = project.run(&["run", "sales/counted"]).exits_with(0).stdout.trim().to_owned();
    // Before and after the driver has started.
    project.restart();
    waits_for(&project.sandbox, &id, "RUNNING");
    project.restart();
    waits_for(&project.sandbox, &id, "SUCCEEDED");
    project.execution("sales/counted").prints("attempt 1 on kubernetes");
    let pods = pod_names(&project.cluster.client().await, &project.namespace).await;
    let drivers = pods.iter().filter(|name| name.ends_with("-driver")).count();
    assert_eq!(drivers, 1, "{pods:?}");
}
