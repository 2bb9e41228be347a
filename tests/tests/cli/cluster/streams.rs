//! A stream whose driver, checkpoint, data and event log are in a cluster and a bucket: it is changed, and its node is
//! drained, and every row is in the sink once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{EvictParams, ListParams};
use serde_json::Value;

use super::bucket::BucketProject;

const COPY: &str = "  \
    job:
    stream:
      sources:
        orders: {files: {path: \"s3a://${var.bucket}/in\", format: json, schema: {id: bigint}}}
      query: SELECT id FROM orders WHERE id >= 0
      sink: {files: {path: \"s3a://${var.bucket}/out\", format: json}}
      outputMode: append
  run:
    continuous:
      checkpoint: \"s3a://${var.bucket}/checkpoints/copy\"
      trigger: {every: 1s}
      upgrade: {grace: 2m}
      health: {startWithin: 4m, progressWithin: 1m}
  retry: {attempts: 4, backoff: 1s, maxBackoff: 2s}
  resources: {executors: {instances: 1}}
";

const TIMEOUT: Duration = Duration::from_mins(4);

impl BucketProject {
    /// Writes ten rows, as one file, which the stream reads.
    fn write_rows(&self, from: u64) {
        let lines: Vec<String> = (from..from + 10).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        self.moto.put(&self.bucket, &format!("in/{from}.json"), lines.concat().as_bytes());
    }

    /// Returns the rows of the sink by its own metadata, because killed tasks leave other files behind.
    fn rows(&self) -> Vec<i64> {
        let metadata = self.keys("out/_spark_metadata/");
        let entries: Vec<String> = metadata.iter().map(|key| self.moto.get(&self.bucket, key)).collect();
        let entries = entries
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| json(line)["path"].as_str().map(str::to_owned));
        let prefix = format!("s3a://{}/", self.bucket);
        let files: BTreeSet<String> =
            entries.map(|path| path.trim_start_matches(&prefix).to_owned()).collect();
        let texts: Vec<String> = files.iter().map(|key| self.moto.get(&self.bucket, key)).collect();
        let mut rows: Vec<i64> =
            texts.iter().flat_map(|text| text.lines()).filter_map(|line| json(line)["id"].as_i64()).collect();
        rows.sort_unstable();
        rows
    }

    fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let status = self.project.run(&["status", "--output", "json"]).exits_with(0).json();
            let job = &status["jobs"][0];
            if is(job) {
                return;
            }
            let describe = || {
                let run = |args: &[&str]| self.project.run(args).transcript();
                run(&["events", "sales/copy"]) + &run(&["logs", "sales/copy"])
            };
            assert!(Instant::now() < deadline, "{what}: {job:#}\n{}", describe());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until a revision is healthy, has read new rows, and they are in the sink.
    fn wait_for_rows(&self, revision: u64, count: i64) {
        self.wait_for("it does not copy the rows", |job| {
            job["state"]["run"]["version"]["revision"] == revision
                && job["condition"] == "healthy"
                && self.rows().len() >= usize::try_from(count).expect("it is positive")
        });
        assert_eq!(self.rows(), (0..count).collect::<Vec<_>>());
    }

    async fn drivers(&self) -> Vec<Pod> {
        let drivers = ListParams::default().labels("spark-role=driver");
        self.pods().await.list(&drivers).await.expect("the API server responds").items
    }

    /// Evicts all pods while the node takes no other ones, as `kubectl drain` does, and waits for the next driver.
    async fn drain_node(&self) {
        let nodes: Api<Node> = Api::all(self.project.cluster.client().await);
        let node = nodes.list(&ListParams::default()).await.expect("it responds").items.remove(0);
        let node = node.metadata.name.expect("it has a name");
        nodes.cordon(&node).await.expect("the node exists");
        let pods = self.pods().await;
        let running = pods.list(&ListParams::default()).await.expect("it responds").items;
        let names: BTreeSet<String> = running.into_iter().filter_map(|pod| pod.metadata.name).collect();
        for name in &names {
            let _ = pods.evict(name, &EvictParams::default()).await;
        }
        let deadline = Instant::now() + TIMEOUT;
        let mut waits = false;
        while !waits && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let drivers = self.drivers().await;
            waits = !drivers.is_empty()
                && drivers.iter().all(|it| {
                    is_unschedulable(it) && !names.contains(it.metadata.name.as_deref().unwrap_or_default())
                });
        }
        // Other tests need the node, too.
        nodes.uncordon(&node).await.expect("the node exists");
        assert!(waits, "no other driver waits for a node: {:#?}", self.drivers().await);
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}

fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.reason.as_deref() == Some("Unschedulable"))
}

#[tokio::test]
async fn a_stream_copies_every_row_once_despite_a_redeploy_and_a_drained_node() {
    let of = BucketProject::start("cli-stream", &[("copy", COPY)]).await;
    of.write_rows(0);
    of.project.run(&["apply", "--auto-approve"]).exits_with(0);
    of.wait_for_rows(1, 10);

    of.project.sandbox.edit("manifests/copy.yaml", "id >= 0", "id > -1");
    of.project.run(&["apply", "--auto-approve"]).exits_with(0);
    of.write_rows(10);
    of.wait_for_rows(2, 20);

    of.drain_node().await;
    of.write_rows(20);
    of.wait_for_rows(2, 30);
    let events = of.project.run(&["events", "sales/copy"]).exits_with(0);
    let events = events.prints("run 1 has stopped: another revision takes its place");
    assert!(!events.stdout.contains("failed") && !events.stdout.contains("run 3"), "{}", events.stdout);
    let runs = of.project.run(&["runs", "sales/copy", "--limit", "1"]).exits_with(0).stdout;
    let id = runs.lines().last().and_then(|line| line.split_whitespace().nth(1)).expect("it runs");
    of.project.run(&["runs", id]).exits_with(0).prints("attempt 2 on kubernetes");
    of.project.run(&["pause", "sales/copy"]).exits_with(0);
    of.wait_for("it is not paused", |job| job["condition"] == "paused");
}
