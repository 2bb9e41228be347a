//! Applications of the Apache operator: its real CRD on a real API server, and a double of the operator.
//!
//! The operator itself has no artifact that tests can download. The double creates the driver's pod from the custom
//! resource as the operator 1.0.0 does, and replays the statuses that it wrote in a recorded case
//! (`tests/golden/kubernetes/recorded/README.md`).

use std::time::Duration;

use dcp_gateway::kubernetes::{Kubernetes, Operator};
use dcp_gateway::{Compute as _, Name, Phase, Reason};
use dcp_tests::cluster::{SharedCluster, TestCluster, parsed, pod_names};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{
    LONG_TIMEOUT, application, name, resources, unique, wait_for_end, wait_for_object, wait_for_obstacle,
    wait_until_running,
};

const FINALIZER: &str = "sparkapplications.spark.apache.org/finalizer";

/// A double of the operator for one application.
struct Double {
    resources: Api<DynamicObject>,
    pods: Api<Pod>,
    maps: Api<ConfigMap>,
    name: String,
    /// The statuses of the recorded case, in order.
    statuses: Vec<Value>,
}

impl Double {
    fn new(client: &Client, namespace: &str, name: &Name, case: &str) -> Self {
        let path = format!("tests/golden/kubernetes/recorded/apache/{case}.jsonl");
        let text = std::fs::read_to_string(dcp_tests::workspace().join(path)).expect("the case can be read");
        let versions = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("it is a version"));
        let of_application = versions.filter(|it| it["kind"] == "SparkApplication");
        let mut statuses: Vec<Value> = of_application.map(|mut it| it["object"]["status"].take()).collect();
        statuses.retain(|status| !status.is_null());
        statuses.dedup();
        Self {
            resources: resources(client.clone(), "spark.apache.org", "v1", namespace),
            pods: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client.clone(), namespace),
            name: name.to_string(),
            statuses,
        }
    }

    fn driver(&self) -> String {
        format!("{}-0-driver", self.name)
    }

    async fn patch(&self, patch: Value) {
        let patch = Patch::Merge(patch);
        let patched = self.resources.patch(&self.name, &PatchParams::default(), &patch).await;
        patched.expect("the custom resource can be patched");
    }

    /// Writes the next statuses of the case, up to the one with a summary.
    async fn report(&mut self, last: &str) {
        loop {
            let status = self.statuses.remove(0);
            let summary = status["currentState"]["currentStateSummary"].clone();
            let patch = Patch::Merge(json!({"status": status}));
            let patched = self.resources.patch_status(&self.name, &PatchParams::default(), &patch).await;
            patched.expect("the status is one of the type");
            if summary == last {
                return;
            }
        }
    }

    /// Creates the driver's pod with its config map. Accepts only what the operator would run as dcp expects.
    async fn submit(&mut self) {
        wait_for_object(&self.resources, &self.name, true).await;
        let resource = self.resources.get(&self.name).await.expect("the custom resource exists");
        self.patch(json!({"metadata": {"finalizers": [FINALIZER]}})).await;
        let spec = &resource.data["spec"];
        let tolerations = &spec["applicationTolerations"];
        assert_eq!(
            (&spec["deploymentMode"], &tolerations["restartConfig"]["restartPolicy"]),
            (&json!("ClusterMode"), &json!("Never"))
        );
        assert_eq!(tolerations["resourceRetainPolicy"], "Always");
        assert_eq!(spec["mainClass"], "org.apache.spark.deploy.PythonRunner");
        let driver = self.pods.create(&PostParams::default(), &parsed(self.pod(&resource))).await;
        let driver = driver.expect("the pod can be created");
        let owner = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": self.driver(), "uid": driver.metadata.uid, "controller": true,
        }]);
        let map = json!({
            "metadata": {"name": format!("{}-conf", self.driver()), "ownerReferences": owner},
            "data": {"spark.properties": "spark.app.id=x"},
        });
        self.maps.create(&PostParams::default(), &parsed(map)).await.expect("the config map can be created");
        self.report("DriverRequested").await;
    }

    /// Returns the driver's pod, as Spark's builder makes it of the template and the settings.
    fn pod(&self, resource: &DynamicObject) -> Value {
        let spec = &resource.data["spec"];
        let conf = |key: &str| spec["sparkConf"][key].clone();
        let mut pod = spec["driverSpec"]["podTemplateSpec"].clone();
        let metadata = &mut pod["metadata"];
        metadata["name"] = json!(self.driver());
        metadata["labels"]["spark-role"] = json!("driver");
        metadata["labels"]["spark-app-selector"] = json!(format!("{}-0", self.name));
        metadata["labels"]["spark.operator/spark-app-name"] = json!(self.name);
        metadata["ownerReferences"] = json!([{
            "apiVersion": "spark.apache.org/v1", "kind": "SparkApplication", "name": self.name,
            "uid": resource.metadata.uid, "controller": true,
        }]);
        let container_name = conf("spark.kubernetes.driver.podTemplateContainerName");
        let pod_spec = &mut pod["spec"];
        let containers = pod_spec["containers"].as_array_mut().expect("the template has containers");
        let container = containers.iter_mut().find(|it| it["name"] == container_name);
        let container = container.expect("the settings name a container of the template");
        container["image"] = conf("spark.kubernetes.container.image");
        container["imagePullPolicy"] = conf("spark.kubernetes.container.image.pullPolicy");
        let volume = json!({"name": "spark-conf", "configMap": {"name": format!("{}-conf", self.driver())}});
        pod_spec["volumes"].as_array_mut().expect("the template has volumes").push(volume);
        pod_spec["serviceAccountName"] = conf("spark.kubernetes.authenticate.driver.serviceAccountName");
        pod
    }

    /// Lets the custom resource go, as the operator does once it has released everything.
    async fn release(&self) {
        self.patch(json!({"metadata": {"finalizers": null}})).await;
    }
}

async fn setup(test: &str, case: &str) -> (SharedCluster, Kubernetes, Name, Double) {
    let cluster = TestCluster::shared().await;
    let namespace = unique(&format!("apache-{test}"));
    let backend = cluster.backend_with_operator(&namespace, Operator::Apache).await;
    let name = name(&format!("{namespace}-1"));
    let double = Double::new(&cluster.client().await, &namespace, &name, case);
    (cluster, backend, name, double)
}

#[tokio::test]
async fn a_driver_runs_to_its_end_and_is_forgotten() {
    let (cluster, backend, name, mut double) = setup("end", "01-success").await;
    backend
        .create(&application(name.as_str(), "echo up; sleep 2"))
        .await
        .expect("the application is created");
    let status = backend.get(&name).await.expect("the cluster responds").expect("it exists");
    assert_eq!((status.phase, status.obstacle), (Phase::Pending, None));
    double.submit().await;
    wait_until_running(&backend, &name).await;
    double.report("RunningHealthy").await;
    let end = wait_for_end(&backend, &name).await;
    assert!(end.succeeded && end.exit_code == Some(0), "{end:?}");
    double.report("TerminatedWithoutReleaseResources").await;
    assert_eq!(backend.tail(&name, 100).await, Ok(b"up\n".to_vec()), "the log is that of the operator's pod");
    assert_eq!(backend.get(&name).await.expect("the cluster responds").and_then(|it| it.end), Some(end));
    // The operator is slow to agree.
    backend.forget(&name).await.expect("it has ended");
    assert_eq!(backend.get(&name).await, Ok(None));
    double.release().await;
    wait_for_object(&double.resources, name.as_str(), false).await;
    let client = cluster.client().await;
    let gone = async {
        while !pod_names(&client, name.as_str().strip_suffix("-1").expect("it has a number")).await.is_empty()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("the pod is deleted");
}

#[tokio::test]
async fn the_exit_code_of_a_driver_is_reported_also_where_the_operator_has_no_result() {
    let (_cluster, backend, name, mut double) = setup("code", "03-exit-3").await;
    backend.create(&application(name.as_str(), "exit 3")).await.expect("the application is created");
    double.submit().await;
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.exit_code, end.reason), (Some(3), Reason::Exited), "{end:?}");
    double.report("TerminatedWithoutReleaseResources").await;
    double.release().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_operator_that_is_down() {
    let (_cluster, backend, name, mut double) = setup("stop", "14-deleted-while-operator-down").await;
    let script = "trap 'exit 7' TERM; while :; do sleep 0.1; done";
    backend.create(&application(name.as_str(), script)).await.expect("the application is created");
    double.submit().await;
    wait_until_running(&backend, &name).await;
    double.report("RunningHealthy").await;
    backend.delete(&name, Duration::from_secs(5)).await.expect("it can be stopped");
    let end = wait_for_end(&backend, &name).await;
    assert!(end.stopped, "{end:?}");
    backend.get(&name).await.expect("the cluster responds");
    let resource = double.resources.get(name.as_str()).await.expect("the finalizer holds it");
    assert!(resource.metadata.deletion_timestamp.is_some(), "its deletion was requested");
    backend.forget(&name).await.expect("it has ended");
    assert_eq!(backend.get(&name).await, Ok(None));
    double.release().await;
    wait_for_object(&double.resources, name.as_str(), false).await;
}

#[tokio::test]
async fn an_application_that_was_stopped_before_its_driver_appears_never_starts() {
    let (_cluster, backend, name, mut double) = setup("before", "01-success").await;
    backend.create(&application(name.as_str(), "sleep 1000")).await.expect("the application is created");
    // The operator has read the custom resource, and is slow.
    double.patch(json!({"metadata": {"finalizers": [FINALIZER]}})).await;
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    double.submit().await;
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.stopped, end.reason), (true, Reason::NotStarted), "{end:?}");
    let driver = double.driver();
    let gone = async {
        while double.pods.get_opt(&driver).await.expect("the API server responds").is_some() {
            backend.get(&name).await.expect("the cluster responds");
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("its pod is deleted");
    double.release().await;
}

#[tokio::test]
async fn a_missing_image_is_an_obstacle_that_the_operator_does_not_report() {
    let (_cluster, backend, name, mut double) = setup("image", "07b-image-absent-start-timeout-30s").await;
    let mut of = application(name.as_str(), "exit 0");
    super::set(&mut of, "spark.kubernetes.container.image", "localhost/absent:1");
    backend.create(&of).await.expect("the application is created");
    double.submit().await;
    wait_for_obstacle(&backend, &name, Reason::ImageUnavailable).await;
    // The operator gives up, and its pod may still start.
    double.report("TerminatedWithoutReleaseResources").await;
    let status = backend.get(&name).await.expect("the cluster responds").expect("it exists");
    assert_eq!(status.phase, Phase::Pending);
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    assert!(wait_for_end(&backend, &name).await.stopped);
    double.release().await;
}
