//! Scheduling gates of other programs, such as Kueue, and disruption budgets.

use std::time::Duration;

use dcp_gateway::kubernetes::{Kubernetes, Queue, QueueKind};
use dcp_gateway::{Compute as _, Phase, Reason};
use dcp_tests::cluster::{TestCluster, settings};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{EvictParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::{
    LONG_TIMEOUT, application, name, set, unique, wait_for_end, wait_for_obstacle, wait_until_gone,
    wait_until_running, with_template,
};

/// The gate that Kueue puts on pods.
const ADMISSION: &str = "kueue.x-k8s.io/admission";

#[tokio::test]
async fn a_driver_waits_for_its_queue_and_keeps_the_gate_of_the_queue() {
    let cluster = TestCluster::shared().await;
    let test = unique("queues-gate");
    cluster.backend(&test).await;
    let client = cluster.client().await;
    let mut settings = settings(&test);
    settings.queue = Some(Queue { kind: QueueKind::Kueue, name: "{domain}-jobs".to_owned() });
    let backend = Kubernetes::new(client.clone(), settings, jiff::Timestamp::now);
    let name = name(&format!("{test}-1"));
    // Kueue's webhook adds the gate when the pod is created.
    let container = json!({"name": "spark", "command": ["bash", "-c", "exit 0"]});
    let template = json!({"spec": {"schedulingGates": [{"name": ADMISSION}], "containers": [container]}});
    backend.create(&with_template(name.as_str(), &template)).await.expect("the application is created");
    let (phase, obstacle) = wait_for_obstacle(&backend, &name, Reason::Queued).await;
    assert_eq!(phase, Phase::Pending);
    let shown = "a pod waits for its queue: the queue `sales-jobs` has not admitted it (scheduling gate \
                 `kueue.x-k8s.io/admission`)";
    assert_eq!(obstacle.to_string(), shown);

    let pods: Api<Pod> = Api::namespaced(client, &test);
    let pod = pods.get(&format!("{name}-driver")).await.expect("the pod exists");
    let gates = pod.spec.and_then(|spec| spec.scheduling_gates).unwrap_or_default();
    assert_eq!(gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), [ADMISSION]);
    let admitted = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    pods.patch(&format!("{name}-driver"), &PatchParams::default(), &admitted).await.expect("it is admitted");
    let end = wait_for_end(&backend, &name).await;
    assert!(end.succeeded, "{end:?}");
}

#[tokio::test]
async fn a_driver_with_a_disruption_budget_is_not_evicted_while_it_runs() {
    let cluster = TestCluster::shared().await;
    let test = unique("queues-budget");
    let backend = cluster.backend(&test).await;
    let client = cluster.client().await;
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "sleep 1000");
    set(&mut of, "spark.dcp.driver.disruptionBudget", "true");
    backend.create(&of).await.expect("the application is created");
    backend.create(&of).await.expect("a repeated call finds the objects");
    wait_until_running(&backend, &name).await;
    let (pods, pod) = (Api::<Pod>::namespaced(client.clone(), &test), format!("{name}-driver"));
    // Until the controller has counted the pod, evictions are rejected as well.
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client, &test);
    let counted = async {
        loop {
            let budget = budgets.get(&pod).await.expect("the budget exists");
            if budget.status.is_some_and(|status| status.current_healthy == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, counted).await.expect("the budget counts the driver");
    // The client tries again for minutes, as `kubectl drain` does.
    let evicting = EvictParams::default();
    let evicted = tokio::time::timeout(Duration::from_secs(2), pods.evict(&pod, &evicting)).await;
    assert!(!matches!(evicted, Ok(Ok(_))), "{evicted:?}");
    let running = pods.get(&pod).await.expect("the pod exists");
    assert_eq!(running.metadata.deletion_timestamp, None);

    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    assert!(wait_for_end(&backend, &name).await.stopped);
    backend.forget(&name).await.expect("it has ended");
    wait_until_gone(&pods, &pod).await;
    let gone = async {
        while !budgets.list(&ListParams::default()).await.expect("the server responds").items.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("the budget is deleted with the driver");
}
