//! Reasons and evidence: what keeps a driver from its start, and what ended it.

use std::time::Duration;

use dcp_gateway::{
    Change, Compute as _, Error, Evidence, Phase, Reason, Source, SparkApplication, Status, WatchEvent,
};
use dcp_tests::cluster::{TestCluster, parsed};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, EvictParams, PostParams};
use serde_json::json;

use super::{
    LONG_TIMEOUT, application, name, set, unique, wait_for_end, wait_for_obstacle, wait_until,
    wait_until_gone, wait_until_running, with_template,
};

#[tokio::test]
async fn a_driver_that_exceeds_its_memory_is_reported() {
    let cluster = TestCluster::shared().await;
    let test = unique("obstacles-memory");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "exec python3 -c 'x = bytearray(1 << 30); print(len(x))'");
    set(&mut of, "spark.driver.memoryOverhead", "32m");
    backend.create(&of).await.expect("the application is created");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.reason, end.exit_code), (Reason::OutOfMemory, Some(137)), "{end:?}");
    assert_eq!(end.evidence[0].source, Source::Container);
    assert!(end.evidence[0].text.ends_with("exit code 137, OOMKilled"), "{end:?}");
}

#[tokio::test]
async fn a_missing_image_is_an_obstacle() {
    let cluster = TestCluster::shared().await;
    let test = unique("obstacles-image");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "exit 0");
    set(&mut of, "spark.kubernetes.container.image", "localhost/absent:1");
    backend.create(&of).await.expect("the application is created");
    let (phase, obstacle) = wait_for_obstacle(&backend, &name, Reason::ImageUnavailable).await;
    assert_eq!(phase, Phase::Pending);
    assert!(
        obstacle.to_string().starts_with("an image can't be pulled: `spark`: ErrImageNeverPull"),
        "{obstacle}"
    );
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    let end = wait_for_end(&backend, &name).await;
    assert!(end.stopped && !end.succeeded, "{end:?}");
}

/// Returns an application whose driver mounts a config map.
fn with_config_map(name: &str, config_map: &str) -> SparkApplication {
    let container = json!({
        "name": "spark", "command": ["bash", "-c", "cat /opt/v/key"],
        "volumeMounts": [{"name": "v", "mountPath": "/opt/v"}],
    });
    let volume = json!({"name": "v", "configMap": {"name": config_map}});
    with_template(name, &json!({"spec": {"containers": [container], "volumes": [volume]}}))
}

#[tokio::test]
async fn a_missing_config_map_is_an_obstacle_until_it_exists() {
    let test = unique("obstacles-volume");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut events = backend.watch();
    backend.create(&with_config_map(name.as_str(), "late")).await.expect("the application is created");
    let reported = async {
        loop {
            let event =
                events.next().await.expect("the watch does not end").expect("the watch does not fail");
            if let WatchEvent::Changed(Change { name: of, status: Some(status) }) = event
                && of == name
                && let Some(obstacle) = status.obstacle
                && obstacle.to_string().contains("late")
            {
                return obstacle;
            }
        }
    };
    let obstacle = tokio::time::timeout(LONG_TIMEOUT, reported).await.expect("the watch reports it");
    let expected =
        "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found".to_owned();
    let evidence = Evidence { source: Source::Event, reason: None, text: expected };
    assert_eq!((obstacle.reason, obstacle.evidence), (Reason::Preparation, vec![evidence]));
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, &test);
    let config_map: ConfigMap = parsed(json!({"metadata": {"name": "late"}, "data": {"key": "value"}}));
    config_maps.create(&PostParams::default(), &config_map).await.expect("it can be created");
    let status = wait_until(&backend, &name, |status| status.phase == Phase::Ended).await;
    assert_eq!((status.obstacle, status.end.map(|end| end.succeeded)), (None, Some(true)));
}

#[tokio::test]
async fn the_end_of_a_driver_that_never_started_has_the_events_of_its_pod() {
    let test = unique("obstacles-events");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&with_config_map(name.as_str(), "absent")).await.expect("the application is created");
    let is_reported =
        |status: &Status| status.obstacle.as_ref().is_some_and(|it| it.to_string().contains("absent"));
    wait_until(&backend, &name, is_reported).await;
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    let end = wait_for_end(&backend, &name).await;
    let is_event =
        |text: &str| text.starts_with("driver: FailedMount: ") && text.contains("\"absent\" not found");
    assert!(end.evidence.iter().any(|it| it.source == Source::Event && is_event(&it.text)), "{end:?}");
}

#[tokio::test]
async fn an_exceeded_quota_is_reported_with_its_numbers() {
    let test = unique("obstacles-quota");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(cluster.client().await, &test);
    let quota: ResourceQuota =
        parsed(json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}}));
    quotas.create(&PostParams::default(), &quota).await.expect("it can be created");
    let is_counted = |quota: &ResourceQuota| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.is_some_and(|used| used.contains_key("pods"))
    };
    while !is_counted(&quotas.get("small").await.expect("it exists")) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let of = application(&format!("{test}-1"), "exit 0");
    let expected = format!(
        "cluster `test`: the quota of the namespace `{test}` is exceeded: small, requested: pods=1, used: pods=0, \
         limited: pods=0"
    );
    assert_eq!(backend.create(&of).await, Err(Error::Unavailable(expected)));
    quotas.delete("small", &DeleteParams::default()).await.expect("it exists");
    // The API server knows quotas by a watch.
    while backend.create(&of).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(wait_for_end(&backend, &name(&format!("{test}-1"))).await.succeeded);
}

#[tokio::test]
async fn a_pod_that_fits_no_node_is_an_obstacle() {
    let cluster = TestCluster::shared().await;
    let test = unique("obstacles-size");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "exit 0");
    set(&mut of, "spark.driver.memory", "900g");
    backend.create(&of).await.expect("the application is created");
    let (_, obstacle) = wait_for_obstacle(&backend, &name, Reason::Unschedulable).await;
    assert!(obstacle.to_string().contains("Insufficient memory"), "{obstacle}");
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    wait_for_end(&backend, &name).await;
}

#[tokio::test]
async fn a_pod_that_another_user_deletes_ends_the_application() {
    let test = unique("obstacles-deleted");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), "exec sleep 1000")).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    let mut events = backend.watch();
    while events.next().await.expect("the watch does not end") != Ok(WatchEvent::Listed) {}
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    let params = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() };
    pods.delete(&format!("{test}-1-driver"), &params).await.expect("the pod exists");
    let end = loop {
        let event = events.next().await.expect("the watch does not end").expect("the watch does not fail");
        if let WatchEvent::Changed(Change { name: of, status: Some(status) }) = event
            && of == name
            && status.phase == Phase::Ended
        {
            break status.end.expect("it has ended");
        }
    };
    assert_eq!((end.reason, end.succeeded), (Reason::Deleted, false), "{end:?}");
    // A second create does not start it again.
    backend.create(&application(name.as_str(), "exec sleep 1000")).await.expect("the call succeeds");
    assert_eq!(wait_for_end(&backend, &name).await, end);
    wait_until_gone(&pods, &format!("{test}-1-driver")).await;
}

#[tokio::test]
async fn an_evicted_driver_is_reported_as_evicted() {
    let test = unique("obstacles-evicted");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut events = backend.watch();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    backend.create(&application(name.as_str(), "exec sleep 1000")).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    let params = EvictParams {
        delete_options: Some(DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() }),
        ..EvictParams::default()
    };
    pods.evict(&format!("{test}-1-driver"), &params).await.expect("the pod can be evicted");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.reason, end.stopped), (Reason::Evicted, false), "{end:?}");
    assert!(end.evidence[0].text.starts_with("driver: EvictionByEvictionAPI"), "{end:?}");
}

#[tokio::test]
async fn an_application_ends_only_when_no_executor_is_left() {
    let test = unique("obstacles-executor");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend
        .create(&application(name.as_str(), "sleep 2; exit 11"))
        .await
        .expect("the application is created");
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    let executor: Pod = parsed(json!({
        "metadata": {
            "name": "executor",
            "labels": {"dcp/application": name, "spark-role": "executor", "spark-exec-id": "1"},
            "annotations": {"dcp/container": "main"},
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "main", "image": "localhost/spark:4.1.1", "imagePullPolicy": "Never",
                "command": ["bash", "-c", "trap 'sleep 1; exit 5' TERM; while :; do sleep 0.1; done"],
            }],
        },
    }));
    pods.create(&PostParams::default(), &executor).await.expect("the pod can be created");
    let (phase, _) = wait_for_obstacle(&backend, &name, Reason::Ending).await;
    assert_eq!(phase, Phase::Running, "an executor is left");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!(end.exit_code, Some(11));
    wait_until_gone(&pods, "executor").await;
}
