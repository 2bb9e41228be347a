//! All tests of this group share one cluster.

mod apache;
mod connect;
mod faults;
mod lifecycle;
mod logs;
mod obstacles;
mod operators;
mod orphans;
mod permissions;
mod queues;
mod secrets;
mod service_accounts;
mod two;

use std::time::Duration;

use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::{Compute as _, End, Name, Obstacle, Phase, Reason, SparkApplication, Status};
use dcp_tests::cluster::{SPARK_IMAGE, parsed};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

/// Maximum time until something happens that a busy machine delays.
const LONG_TIMEOUT: Duration = Duration::from_secs(90);

/// Returns a name that no earlier run of the tests on this cluster used.
fn unique(text: &str) -> String {
    format!("{text}-{}", std::process::id())
}

fn name(text: &str) -> Name {
    text.parse().expect("the name is valid")
}

/// Returns an application whose driver is a shell script instead of Spark.
fn application(name: &str, script: &str) -> SparkApplication {
    let container = json!({"name": "spark", "command": ["bash", "-c", script]});
    with_template(name, &json!({"spec": {"containers": [container]}}))
}

fn with_template(name: &str, template: &Value) -> SparkApplication {
    let conf = json!({
        "spark.kubernetes.container.image": SPARK_IMAGE,
        "spark.kubernetes.container.image.pullPolicy": "Never",
        "spark.kubernetes.driver.request.cores": "50m",
        "spark.driver.memory": "64m",
        "spark.driver.memoryOverhead": "64m",
    });
    parsed(json!({
        "metadata": {"name": name, "namespace": "sales"},
        "spec": {
            "runtimeVersions": {"sparkVersion": "4.1.1"},
            "pyFiles": "local:///opt/dcp/job/main.py",
            "sparkConf": conf,
            "driverSpec": {"podTemplateSpec": template},
        },
    }))
}

fn set(application: &mut SparkApplication, key: &str, value: &str) {
    application.spec.spark_conf.insert(key.to_owned(), value.to_owned());
}

/// Waits until the status of an application satisfies a condition.
async fn wait_until(backend: &Kubernetes, name: &Name, is: impl Fn(&Status) -> bool) -> Status {
    let waiting = async {
        loop {
            let status = backend.get(name).await;
            if let Ok(Some(status)) = &status
                && is(status)
            {
                return status.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let Ok(status) = tokio::time::timeout(LONG_TIMEOUT, waiting).await else {
        let last = backend.get(name).await;
        unreachable!("the condition is not satisfied; the last status is {last:?}")
    };
    status
}

/// Waits until an obstacle with this reason is reported. A node can report others before it, such as `FailedMount` until the
/// certificates of a new namespace exist.
async fn wait_for_obstacle(backend: &Kubernetes, name: &Name, reason: Reason) -> (Phase, Obstacle) {
    let has = |status: &Status| status.obstacle.as_ref().is_some_and(|it| it.reason == reason);
    let status = wait_until(backend, name, has).await;
    (status.phase, status.obstacle.expect("there is an obstacle"))
}

async fn wait_for_end(backend: &Kubernetes, name: &Name) -> End {
    let status = wait_until(backend, name, |status| status.phase == Phase::Ended).await;
    status.end.expect("an ended application has an end")
}

async fn wait_until_running(backend: &Kubernetes, name: &Name) {
    wait_until(backend, name, |status| status.phase == Phase::Running).await;
}

/// Returns the custom resources of an operator in a namespace.
fn resources(client: Client, group: &str, version: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, version, "SparkApplication");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk_with_plural(&kind, "sparkapplications"))
}

/// Waits until an object of any type is found, or is not found any more.
async fn wait_for_object(resources: &Api<DynamicObject>, name: &str, exists: bool) {
    let waiting = async {
        while resources.get_opt(name).await.expect("the API server responds").is_some() != exists {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("the custom resource is created or deleted");
}

/// Waits until a pod does not exist any more.
async fn wait_until_gone(pods: &Api<Pod>, name: &str) {
    let gone = async {
        while pods.get_opt(name).await.expect("the API server responds").is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("the pod is deleted");
}
