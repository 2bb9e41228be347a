//! Spark Connect servers on a cluster that are no drivers of pools: the proxy finds them by their pods.

use std::time::{Duration, Instant};

use dcp_gateway::Compute as _;
use dcp_gateway::kubernetes::Kubernetes;
use dcp_tests::TOKEN;
use dcp_tests::cluster::{SPARK_IMAGE, SharedCluster, TestCluster, parsed};
use dcp_tests::connect::server;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;

use super::pyspark::PySpark;
use crate::gateway::{self, Server};
use crate::harness::Sandbox;

const TIMEOUT: Duration = Duration::from_mins(3);

/// Replaces a script of Spark's distribution, which the image does not have.
const START: &str = "\
#!/bin/bash
exec \"$SPARK_HOME/bin/spark-submit\" --class org.apache.spark.sql.connect.service.SparkConnectServer \"$@\" spark-internal
";

/// A proxy for the servers in a namespace, which is created.
struct Site {
    proxy: Server,
    client: Client,
    namespace: String,
    backend: Kubernetes,
    sandbox: Sandbox,
    cluster: SharedCluster,
}

impl Site {
    async fn start(test: &str) -> Self {
        // One Spark at a time, as each needs a core.
        let cluster = TestCluster::exclusive().await;
        let namespace = format!("{test}-{}", std::process::id());
        let backend = cluster.backend(&namespace).await;
        let sandbox = Sandbox::new();
        sandbox.write_token(TOKEN);
        let credentials = format!("{{kubeconfig: {}}}", cluster.kubeconfig().display());
        let entry = format!("{{credentials: {credentials}, namespace: {namespace}, domain: sales}}");
        sandbox.write("drivers.yaml", format!("clusters: {{team: {entry}}}\n"));
        let serve = ["serve", "connect", "--listen", "127.0.0.1:0", "--database", "connect.db"];
        let proxy =
            Server::start(&sandbox, "connect", &[&serve[..], &["--drivers", "drivers.yaml"]].concat());
        let client = cluster.client().await;
        Self { proxy, client, namespace, backend, sandbox, cluster }
    }

    /// Executes a query with a real client.
    async fn connect(&self) -> PySpark {
        let port = self.proxy.url.rsplit(':').next().expect("an address has a port");
        let url = format!("sc://localhost:{port}/;token={TOKEN};dcp-domain=sales;dcp-pool=team");
        tokio::task::spawn_blocking(move || PySpark::connect(&url)).await.expect("it connects")
    }

    async fn delete_pod(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.delete(name, &DeleteParams::default().grace_period(0)).await.expect("it is deleted");
    }

    /// Waits until this number of drivers takes sessions.
    async fn wait_for_drivers(&self, number: u64) {
        let server = ["--server", &self.proxy.url, "--output", "json"];
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let pools = gateway::run(&self.sandbox, &[&["pools"], &server[..]].concat()).exits_with(0).json();
            if pools["pools"][0]["drivers"]["ready"] == number {
                return;
            }
            assert!(Instant::now() < deadline, "{pools:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Waits until a client has another driver.
async fn finds_another_driver(client: PySpark) {
    tokio::task::spawn_blocking(move || client.finds_another_driver()).await.expect("it goes on");
}

/// Returns a `SparkConnect` resource of the Kubeflow operator.
fn resource() -> serde_json::Value {
    let start = json!({
        "name": "start", "mountPath": "/opt/spark/sbin/start-connect-server.sh", "subPath": "start-connect-server.sh",
    });
    let container = json!({
        "name": "spark-kubernetes-driver", "imagePullPolicy": "Never", "volumeMounts": [start],
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
    });
    let volume = json!({"name": "start", "configMap": {"name": "start", "defaultMode": 0o755}});
    let template = json!({"metadata": {}, "spec": {
        "serviceAccountName": "spark", "containers": [container], "volumes": [volume],
    }});
    json!({
        "apiVersion": "sparkoperator.k8s.io/v1alpha1", "kind": "SparkConnect", "metadata": {"name": "team"},
        "spec": {
            "sparkVersion": "4.1.1",
            "image": SPARK_IMAGE,
            "sparkConf": {
                "spark.kubernetes.container.image.pullPolicy": "Never",
                "spark.kubernetes.executor.request.cores": "100m",
            },
            "server": {"cores": 1, "memory": "1g", "template": template},
            "executor": {"instances": 1, "cores": 1, "memory": "512m"},
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_of_a_spark_connect_resource_is_found_and_followed_by_its_successor() {
    let site = Site::start("cli-found").await;
    site.cluster.control(&["operator"]);
    let maps: Api<ConfigMap> = Api::namespaced(site.client.clone(), &site.namespace);
    let map = json!({"metadata": {"name": "start"}, "data": {"start-connect-server.sh": START}});
    maps.create(&PostParams::default(), &parsed(map)).await.expect("the config map is created");
    let kind = GroupVersionKind::gvk("sparkoperator.k8s.io", "v1alpha1", "SparkConnect");
    let kind = ApiResource::from_gvk_with_plural(&kind, "sparkconnects");
    let resources: Api<DynamicObject> = Api::namespaced_with(site.client.clone(), &site.namespace, &kind);
    resources.create(&PostParams::default(), &parsed(resource())).await.expect("the resource is created");
    // It waits for the first driver.
    let client = site.connect().await;
    // The operator creates a pod of the same name.
    site.delete_pod("team-server").await;
    finds_another_driver(client).await;
    resources.delete("team", &DeleteParams::default()).await.expect("it is deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_spark_applications_are_found_and_their_ends_noticed() {
    let site = Site::start("cli-server").await;
    let name = |number: u32| format!("{}-{number}", site.namespace);
    site.backend.create(&server(&name(1))).await.expect("the application is created");
    let client = site.connect().await;
    site.backend.create(&server(&name(2))).await.expect("the application is created");
    site.wait_for_drivers(2).await;
    site.delete_pod(&format!("{}-driver", name(1))).await;
    finds_another_driver(client).await;
    site.delete_pod(&format!("{}-driver", name(2))).await;
    site.wait_for_drivers(0).await;
}
