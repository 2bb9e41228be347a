//! The Kubeflow operator on the same cluster: the time from the create of a custom resource until the driver's pod exists.

use std::time::{Duration, Instant};

use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;

use super::drivers::Drivers;
use super::{NAMESPACE, SPARK_IMAGE, rate};
use crate::runner::{Result, Times};

/// The label of a driver's pod. The Runner ignores pods without its own label.
const LABEL: &str = "benchmark/application";

pub(super) struct Figures {
    /// Seconds until the driver's pod exists, for one application after the other.
    pub(super) times: Times,
    /// Drivers per second, for many applications at once.
    pub(super) rate: f64,
}

/// Creates `count` applications one after the other, and then `count` at once.
pub(super) async fn measure(client: &Client, count: usize) -> Result<Figures> {
    let drivers = Drivers::watch(client, LABEL);
    let mut times = Vec::new();
    for number in 0..count {
        times.push(create(client, &drivers, format!("one-{number}")).await?.as_secs_f64());
    }
    let begun = Instant::now();
    let all = (0..count).map(|number| create(client, &drivers, format!("many-{number}")));
    futures_util::future::try_join_all(all).await?;
    Ok(Figures { times: Times::new(times)?, rate: rate(count, begun.elapsed()) })
}

/// Creates an application, and returns the time until the pod of its driver exists.
async fn create(client: &Client, drivers: &Drivers, name: String) -> Result<Duration> {
    let kind = GroupVersionKind::gvk("sparkoperator.k8s.io", "v1beta2", "SparkApplication");
    let kind = ApiResource::from_gvk_with_plural(&kind, "sparkapplications");
    // As for the applications of dcp, the scheduler of the pods does not exist.
    let pod = json!({"metadata": {"labels": {LABEL: name}}, "spec": {"schedulerName": "none", "containers": [{"name": "spark"}]}});
    let spec = json!({
        "type": "Python", "mode": "cluster", "sparkVersion": "4.1.1", "image": SPARK_IMAGE,
        "mainApplicationFile": "local:///opt/main.py", "restartPolicy": {"type": "Never"},
        "driver": {"cores": 1, "memory": "1g", "serviceAccount": "spark", "template": pod},
        "executor": {"cores": 1, "instances": 1, "memory": "1g"},
    });
    let application = DynamicObject::new(&name, &kind).data(json!({ "spec": spec }));
    let applications: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let begun = Instant::now();
    applications.create(&PostParams::default(), &application).await?;
    let at = drivers.wait_until_created(&name).await?;
    Ok(at.saturating_duration_since(begun))
}
