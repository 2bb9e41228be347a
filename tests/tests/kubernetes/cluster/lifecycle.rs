//! The life of an application on a cluster.

use std::time::Duration;

use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::{Change, Compute as _, Cursor, Error, Name, Phase, Reason, Status, WatchEvent};
use dcp_tests::cluster::{TestCluster, pod_names};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;

use super::{LONG_TIMEOUT, application, name, set, unique, wait_for_end, wait_until, wait_until_running};

#[tokio::test]
async fn a_driver_runs_to_its_end_and_is_forgotten() {
    let test = unique("lifecycle-end");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let (mut events, name) = (backend.watch(), name(&format!("{test}-1")));
    // The second line is one of the second half of a second.
    let script =
        "echo first; sleep 1; until [ ${EPOCHREALTIME: -6:1} -ge 5 ]; do sleep 0.01; done; echo second";
    let of = application(name.as_str(), script);
    backend.accepts(&of).expect("the application is valid");
    assert_eq!(backend.get(&name).await, Ok(None));
    backend.create(&of).await.expect("the application is created");
    let seen = phases_until_end(&mut events, &name);
    let (phases, last) = tokio::time::timeout(LONG_TIMEOUT, seen).await.expect("the end is reported");
    assert_eq!(backend.get(&name).await, Ok(Some(last.clone())), "the watch and `get` report the same");
    assert_eq!(phases, [Phase::Pending, Phase::Running, Phase::Ended]);
    let end = last.end.expect("it has ended");
    assert!(end.succeeded && end.exit_code == Some(0) && last.started.is_some(), "{end:?}");

    assert_eq!(log_in_parts(&backend, &name).await, "first\nsecond\n");
    assert_eq!(backend.tail(&name, 7).await, Ok(b"second\n".to_vec()));

    backend.forget(&name).await.expect("it has ended");
    assert_eq!(backend.get(&name).await, Ok(None));
    let client = cluster.client().await;
    let gone = async {
        while !pod_names(&client, &test).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("the pod is deleted");
}

/// Returns the phases of an application that a watch reports, and the last status.
async fn phases_until_end(
    events: &mut BoxStream<'static, dcp_gateway::Result<WatchEvent>>,
    name: &Name,
) -> (Vec<Phase>, Status) {
    let mut phases = Vec::new();
    loop {
        let event = events.next().await.expect("the watch does not end").expect("the watch does not fail");
        if let WatchEvent::Changed(Change { name: of, status: Some(status) }) = event
            && of == *name
        {
            phases.push(status.phase);
            if status.phase == Phase::Ended {
                phases.dedup();
                return (phases, status);
            }
        }
    }
}

/// Reads the log of a driver in parts of at most eight bytes.
async fn log_in_parts(backend: &Kubernetes, name: &Name) -> String {
    let (mut text, mut cursor) = (Vec::new(), Cursor::default());
    for _ in 0..4 {
        let part = backend.logs(name, &cursor, 8).await.expect("the log can be read");
        assert!(part.bytes.len() <= 8);
        text.extend(part.bytes);
        cursor = part.next;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn an_exit_code_is_reported() {
    let cluster = TestCluster::shared().await;
    let test = unique("lifecycle-code");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), "exit 3")).await.expect("the application is created");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.succeeded, end.exit_code, end.reason), (false, Some(3), Reason::Exited));
    assert_eq!(end.evidence[0].text, "driver: container `spark` ended with exit code 3, Error");
}

#[tokio::test]
async fn a_repeated_create_starts_nothing_and_another_application_of_the_name_is_rejected() {
    let test = unique("lifecycle-repeat");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let of = application(name.as_str(), "exit 0");
    let creates = (0..8).map(|_| backend.create(&of));
    for created in futures_util::future::join_all(creates).await {
        created.expect("each call succeeds");
    }
    wait_for_end(&backend, &name).await;
    backend.create(&of).await.expect("the application exists");
    assert_eq!(pod_names(&cluster.client().await, &test).await, [format!("{test}-1-driver")]);
    let other = backend.create(&application(name.as_str(), "exit 1")).await;
    assert!(
        matches!(&other, Err(Error::Conflict(why)) if why.contains("is another application")),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_stopped_driver_gets_a_signal_and_its_grace_period() {
    let cluster = TestCluster::shared().await;
    let test = unique("lifecycle-stop");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let script = "trap 'echo stopping; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    backend.create(&application(name.as_str(), script)).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    while backend.tail(&name, 100).await != Ok(b"up\n".to_vec()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut events = backend.watch();
    while events.next().await.expect("the watch does not end") != Ok(WatchEvent::Listed) {}
    tokio::spawn(async move { while events.next().await.is_some() {} });
    backend.delete(&name, Duration::from_secs(20)).await.expect("it can be stopped");
    backend.delete(&name, Duration::from_secs(20)).await.expect("a second call is safe");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.succeeded, end.stopped, end.exit_code), (false, true, Some(7)), "{end:?}");
}

#[tokio::test]
async fn a_driver_that_watches_for_the_stop_request_finishes_its_work() {
    let cluster = TestCluster::shared().await;
    let test = unique("lifecycle-drain");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    // The program of a stream does the same: it announces that it watches for the file.
    let script = "trap 'exit 9' TERM; touch $DCP_STOP_FILE.watched; echo up; until [ -e $DCP_STOP_FILE ]; do sleep 0.1; done; \
                  sleep 1; exit 0";
    backend.create(&application(name.as_str(), script)).await.expect("the application is created");
    let mut events = backend.watch();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    wait_until_running(&backend, &name).await;
    while backend.tail(&name, 100).await != Ok(b"up\n".to_vec()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    backend.delete(&name, Duration::from_secs(30)).await.expect("it can be stopped");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.succeeded, end.stopped, end.exit_code), (true, true, Some(0)), "{end:?}");
}

#[tokio::test]
async fn an_application_that_was_stopped_before_never_starts() {
    let test = unique("lifecycle-before");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.delete(&name, Duration::from_secs(1)).await.expect("an unknown application can be stopped");
    backend.create(&application(name.as_str(), "exit 0")).await.expect("the call succeeds");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.stopped, end.reason), (true, Reason::NotStarted));
    assert!(pod_names(&cluster.client().await, &test).await.is_empty());
}

#[tokio::test]
async fn a_running_driver_has_the_address_of_its_web_interface() {
    let cluster = TestCluster::shared().await;
    let test = unique("lifecycle-address");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "exec sleep 1000");
    set(&mut of, "spark.plugins", "org.apache.spark.sql.connect.SparkConnectPlugin");
    backend.create(&of).await.expect("the application is created");
    let status = wait_until(&backend, &name, |status| status.phase == Phase::Running).await;
    let host = format!("{name}-driver-svc.{test}.svc");
    assert_eq!(status.addresses.ui, Some(format!("http://{host}:4040")));
    let client = cluster.client().await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &test);
    let pod = pods.get(&format!("{name}-driver")).await.expect("the driver exists");
    let ip = pod.status.and_then(|it| it.pod_ip).expect("it runs");
    assert_eq!(status.addresses.connect, Some(format!("{ip}:15002")));
    let services: Api<Service> = Api::namespaced(client, &test);
    let service = services.get(&format!("{name}-driver-svc")).await.expect("the service exists");
    assert_eq!(service.spec.and_then(|spec| spec.cluster_ip).as_deref(), Some("None"));
    backend.delete(&name, Duration::from_secs(1)).await.expect("it can be stopped");
    let status = wait_until(&backend, &name, |status| status.phase == Phase::Ended).await;
    assert_eq!((status.addresses.ui, status.addresses.connect), (None, None));
}
