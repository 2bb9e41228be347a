//! Event logs, results and logs of drivers in a bucket, which moto serves to pods and to this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use dcp_tests::cluster::{SPARK_IMAGE, parsed};
use dcp_tests::fake_spark::wait_until;
use dcp_tests::kafka::jars;
use dcp_tests::moto::Moto;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::{Project, pod_names, waits_for};

/// A project with a bucket for its event logs, results and logs.
pub(super) struct BucketProject {
    pub(super) project: Project,
    pub(super) moto: Moto,
    pub(super) bucket: String,
}

impl BucketProject {
    /// Starts `dcp up`.
    pub(super) async fn start(test: &str, manifests: &[(&str, &str)]) -> Self {
        let mut project = Project::prepare(test, &[]).await;
        let jars = jars("tests/s3");
        let moto = Moto::start(&project.cluster.address_of_machine().to_string());
        let bucket = moto.bucket();
        // Spark writes event logs to an existing folder only.
        moto.put(&bucket, "events/", b"");
        for (name, spec) in manifests {
            project.sandbox.write(&format!("manifests/{name}.yaml"), manifest(name, spec));
        }
        project.sandbox.write("dcp.yaml", project_file(&jars, &bucket));
        let clusters = project.sandbox.read("clusters.yaml");
        project.sandbox.write("clusters.yaml", clusters + &of_cluster(&moto, &bucket, &jars));
        create_secret(&project, &moto).await;
        project.options = vec!["--results".to_owned(), format!("s3a://{bucket}/results")];
        let environment = moto.environment();
        project.environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        project.start_up();
        Self { project, moto, bucket }
    }

    pub(super) async fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.project.cluster.client().await, &self.project.namespace)
    }

    /// Returns the keys of the objects in a folder of the bucket.
    pub(super) fn keys(&self, folder: &str) -> Vec<String> {
        let mut keys = self.moto.keys(&self.bucket);
        keys.retain(|key| key.strip_prefix(folder).is_some_and(|rest| !rest.trim_matches('/').is_empty()));
        keys
    }
}

/// Returns a manifest as its owner writes it. The target has what depends on the cluster.
fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{domain: sales, name: {name}, owner: a@example.com}}\nspec:\n  \
         engine: {{version: \"4.1\"}}\n{spec}"
    )
}

/// Returns a project file whose target has the image, the keys of the bucket and its file system for all pods.
fn project_file(jars: &Path, bucket: &str) -> String {
    let pod = format!(
        "{{envFrom: [{{secret: bucket}}], volumes: [{{name: s3, path: /opt/s3, readOnly: true, \
         source: {{hostPath: {{path: {}}}}}}}]}}",
        jars.display()
    );
    format!(
        "project: shop\nmanifests: [manifests]\nvariables: {{bucket: {bucket}}}\ntargets:\n  main:\n    \
         default: true\n    overlays:\n      - set:\n          spec:\n            \
         engine: {{image: \"{SPARK_IMAGE}\"}}\n            \
         pods:\n              imagePullPolicy: Never\n              driver: {pod}\n              executors: {pod}\n            \
         resources: {{driver: {{memory: 1g, cpuRequest: 200m}}, executors: {{memory: 512m, cpuRequest: 200m}}}}\n"
    )
}

/// Returns the lines of `clusters.yaml` after `settings`. They have no keys: pods get those from a secret.
fn of_cluster(moto: &Moto, bucket: &str, jars: &Path) -> String {
    format!(
        "      spark.driver.extraClassPath: /opt/s3/*\n      spark.executor.extraClassPath: /opt/s3/*\n      \
         spark.hadoop.fs.s3a.endpoint: \"{}\"\n      spark.hadoop.fs.s3a.endpoint.region: us-east-1\n      \
         spark.hadoop.fs.s3a.path.style.access: \"true\"\n    \
         eventLogs: s3a://{bucket}/events\n    logs: s3://{bucket}/logs\n    allow: {{hostPaths: [\"{}\"]}}\n",
        moto.endpoint(),
        jars.display()
    )
}

/// Creates a secret with the keys of the bucket, as the variables that the file system reads.
async fn create_secret(project: &Project, moto: &Moto) {
    let keys: serde_json::Map<_, _> = moto
        .environment()
        .into_iter()
        .filter(|(name, _)| ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let secrets: Api<Secret> = Api::namespaced(project.cluster.client().await, &project.namespace);
    let secret = json!({"metadata": {"name": "bucket"}, "stringData": keys});
    secrets.create(&PostParams::default(), &parsed(secret)).await.expect("the secret can be created");
}

const ROWS: &str = "  \
    job: {sql: {query: \"SELECT id, 2 * id AS twice FROM range(0, 3, 1, 1)\", returnResult: true}}
  run: {manual: {}}
  retry: {attempts: 1}
  resources: {sizing: auto, executors: {maxMemory: 1g, min: 1, max: 2}}
";

#[tokio::test]
async fn rows_event_log_and_log_of_a_job_are_in_a_bucket() {
    let of = BucketProject::start("cli-bucket", &[("rows", ROWS)]).await;
    let project = &of.project;
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    let run = project.run(&["run", "sales/rows", "--wait"]);
    let log = project.run(&["logs", "--all", "sales/rows"]);
    assert!(run.stdout.contains("succeeded"), "{}\n{}\n{}", run.stdout, run.stderr, log.stdout);
    let csv = project.run(&["result", "sales/rows", "--output", "csv"]).exits_with(0);
    assert_eq!(csv.stdout, "id,twice\n0,0\n1,2\n2,4\n");
    assert!(of.keys("results").iter().any(|key| key.contains("/part-")), "{:?}", of.moto.keys(&of.bucket));

    // The log outlives the pod.
    wait_until(|| (!of.keys("logs").is_empty()).then_some(()));
    let pods = of.pods().await;
    let names = pod_names(&project.cluster.client().await, &project.namespace).await;
    let driver = names.iter().find(|name| name.ends_with("-driver")).expect("the driver has a pod");
    pods.delete(driver, &DeleteParams::default()).await.expect("the pod exists");
    let deadline = Instant::now() + Duration::from_mins(1);
    while pods.get_opt(driver).await.expect("the API server responds").is_some() {
        assert!(Instant::now() < deadline, "`{driver}` is not deleted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stored = project.run(&["logs", "--all", "sales/rows"]).exits_with(0);
    assert_eq!(stored.stdout, log.stdout);
    stored.prints("Successfully stopped SparkContext");

    // The next run is sized by the event log of this one.
    let next = project.run(&["run", "sales/rows"]).exits_with(0).stdout.trim().to_owned();
    waits_for(&project.sandbox, &next, "spark.executor.memory = 512m: the last run used");
    project.run(&["cancel", &next]).exits_with(0);
    waits_for(&project.sandbox, &next, "CANCELLED");
}
