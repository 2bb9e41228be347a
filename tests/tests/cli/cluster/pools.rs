//! A pool of Spark Connect drivers on a cluster, with a real client.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use dcp_tests::cluster::{SPARK_IMAGE, pod_names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::Project;
use super::pyspark::{self, PySpark};

const TIMEOUT: Duration = Duration::from_mins(2);

/// Returns the address of a pool at a proxy, for a client that is the machine's own user.
fn address(project: &Project, proxy: &str, pool: &str) -> String {
    let port = proxy.rsplit(':').next().expect("an address has a port");
    format!("sc://localhost:{port}/;token={};dcp-pool={pool}", project.sandbox.read(".dcp/token").trim())
}

/// Waits until the pool loop has stored the pool for proxies. Before that, there is none for clients.
async fn wait_for_pool(project: &Project) {
    let waiting = async {
        while project.run(&["pools", "--output", "json"]).exits_with(0).json()["pools"][0]["name"] != "small"
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.expect("the pool is stored");
}

/// Returns the names of all objects of a type.
async fn names<K>(client: &Client, namespace: &str) -> BTreeSet<String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await.expect("the API server responds").items;
    list.into_iter().map(|object| object.meta().name.clone().expect("objects have names")).collect()
}

/// Returns the objects of a namespace that belong to applications.
async fn objects(client: &Client, namespace: &str) -> BTreeSet<String> {
    let mut all = names::<Pod>(client, namespace).await;
    all.extend(names::<ConfigMap>(client, namespace).await);
    all.extend(names::<Service>(client, namespace).await);
    all.extend(names::<Secret>(client, namespace).await);
    all.extend(names::<NetworkPolicy>(client, namespace).await);
    all.retain(|name| !["kube-root-ca.crt", "programs"].contains(&name.as_str()));
    all
}

async fn wait_until_no_object_is_left(client: &Client, namespace: &str) {
    let waiting = async {
        while !objects(client, namespace).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let is_in_time = tokio::time::timeout(TIMEOUT, waiting).await.is_ok();
    assert!(is_in_time, "{:?}", objects(client, namespace).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_pool_pass_their_tests_and_get_another_driver_after_theirs_was_deleted() {
    let mut project = Project::prepare("cli-pool", &[]).await;
    project.sandbox.write("manifests/small.yaml", format!(
        "apiVersion: dcp/v1\nkind: Pool\nmetadata: {{domain: sales, name: small, owner: a@example.com}}\nspec:\n  \
         engine: {{version: \"4.1\", image: \"{SPARK_IMAGE}\"}}\n  placement: {{backends: [kubernetes]}}\n  \
         pods: {{imagePullPolicy: Never}}\n  drivers: {{minIdle: 1, maxIdle: 1, max: 1}}\n  \
         # Clients of 4.2 can't read the default of this limit in 4.1, `3221225472b`.\n  \
         spark: {{conf: {{spark.sql.session.localRelationSizeLimit: \"3221225472\"}}}}\n  resources:\n    \
         driver: {{memory: 1g, cpuRequest: 200m}}\n    \
         executors: {{memory: 512m, instances: 1, cpuRequest: 200m}}\n"
    ));
    project.options = ["--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let proxy = project.start_up();
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    wait_for_pool(&project).await;
    let url = address(&project, &proxy, "small");
    let client = tokio::task::spawn_blocking(move || {
        pyspark::run_tests(&url);
        PySpark::connect(&url)
    });
    let client = client.await.expect("it connects");

    let (cluster, namespace) = (project.cluster.client().await, project.namespace.clone());
    let drivers = pod_names(&cluster, &namespace).await.into_iter().filter(|name| name.ends_with("-driver"));
    let [driver] = &drivers.collect::<Vec<_>>()[..] else { unreachable!("the pool has one driver") };
    let pods: Api<Pod> = Api::namespaced(cluster.clone(), &namespace);
    pods.delete(driver, &DeleteParams::default().grace_period(0)).await.expect("it is deleted");
    tokio::task::spawn_blocking(move || client.finds_another_driver()).await.expect("it goes on");

    project.run(&["destroy", "--auto-approve", "--allow-delete", "sales/small"]).exits_with(0);
    wait_until_no_object_is_left(&cluster, &namespace).await;
}
