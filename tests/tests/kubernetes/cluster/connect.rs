//! Drivers of Spark Connect pools.

use std::time::Duration;

use dcp_gateway::application::CONNECT;
use dcp_gateway::kubernetes::{Kubernetes, Settings};
use dcp_gateway::{Compute as _, ConnectKey, Phase, SparkApplication};
use dcp_tests::cluster::{TestCluster, objects_as_text, settings};
use dcp_tests::connect::{probe, server};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use tonic::Code;

use super::{LONG_TIMEOUT, name, set, unique, wait_for_end, wait_until, wait_until_gone};

/// Returns the driver of a pool with one executor.
fn driver(name: &str) -> SparkApplication {
    let mut driver = server(name);
    set(&mut driver, CONNECT, "true");
    driver
}

/// Waits until a server responds, and returns its response.
async fn response(address: &str, token: Option<&str>) -> Result<(), tonic::Status> {
    let waiting = async {
        loop {
            match probe(address, token).await {
                Err(status) if status.code() == Code::Unavailable || status.code() == Code::Unknown => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                response => return response,
            }
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("the server responds")
}

/// Checks that a server rejects calls without the right token.
async fn calls_need_a_token(address: &str, token: &str) {
    response(address, Some(token)).await.expect("the token is right");
    for wrong in [None, Some("0")] {
        let status = response(address, wrong).await.expect_err("the token is wrong");
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
}

#[tokio::test]
async fn a_driver_of_a_pool_serves_only_calls_with_its_token_and_leaves_nothing() {
    let cluster = TestCluster::shared().await;
    let test = unique("connect");
    cluster.backend(&test).await;
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let key = ConnectKey::load_or_create(&folder.path().join("key")).expect("the folder is writable");
    let settings = Settings { connect_key: Some(key.clone()), ..settings(&test) };
    let client = cluster.client().await;
    let backend = Kubernetes::new(client.clone(), settings, jiff::Timestamp::now);
    let name = name(&format!("{test}-1"));
    let token = key.token(&name);
    let of = driver(name.as_str());
    backend.create(&of).await.expect("the application is created");
    backend.create(&of).await.expect("a repeated call finds the objects");
    let status = wait_until(&backend, &name, |status| status.phase == Phase::Running).await;
    // The machine of the tests is the node, and reaches the pods.
    let address = status.addresses.connect.expect("a running driver has an address");
    let pods: Api<Pod> = Api::namespaced(client.clone(), &test);
    calls_need_a_token(&address, token.expose()).await;
    wait_until_executor_runs(&pods).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &test);
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &test);
    let object = format!("{name}-connect");
    let secret = secrets.get(&object).await.expect("the secret exists").data.expect("it has the token");
    assert_eq!(secret["token"].0, token.expose().as_bytes());
    let policy = policies.get(&object).await.expect("the policy exists").spec.expect("it has rules");
    assert_eq!(policy.ingress.map(|rules| rules.len()), Some(2));
    let others = objects_as_text(&client, &test).await;
    assert!(others.contains(name.as_str()) && !others.contains(token.expose()), "{others}");
    let log = backend.tail(&name, 1 << 20).await.expect("the log can be read");
    assert!(!String::from_utf8_lossy(&log).contains(token.expose()));

    backend.delete(&name, Duration::from_secs(20)).await.expect("it can be stopped");
    assert!(wait_for_end(&backend, &name).await.stopped);
    backend.forget(&name).await.expect("it has ended");
    wait_until_gone(&pods, &format!("{name}-driver")).await;
    wait_until_objects_are_gone(&secrets, &policies, &object).await;
}

/// Waits until the secret and the policy of a driver do not exist any more.
async fn wait_until_objects_are_gone(secrets: &Api<Secret>, policies: &Api<NetworkPolicy>, name: &str) {
    let gone = async {
        while secrets.get_opt(name).await.expect("the API server responds").is_some()
            || policies.get_opt(name).await.expect("the API server responds").is_some()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("the objects go with the driver");
}

/// Waits until an executor runs.
async fn wait_until_executor_runs(pods: &Api<Pod>) {
    let params = kube::api::ListParams::default().labels("spark-role=executor");
    let is_running = |pod: &Pod| {
        let status = pod.status.as_ref();
        status.and_then(|it| it.phase.as_deref()) == Some("Running")
    };
    let waiting = async {
        while !pods.list(&params).await.expect("the API server responds").items.iter().any(is_running) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("an executor runs");
}
