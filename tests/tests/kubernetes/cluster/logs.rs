//! Logs of drivers that outlive their pods.

use std::time::Duration;

use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::{Compute as _, Cursor, Name};
use dcp_tests::cluster::{RECORDS, TestCluster};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::DeleteParams;
use tempfile::TempDir;

use super::{LONG_TIMEOUT, application, name, unique, wait_for_end, wait_until_gone, wait_until_running};

/// A driver that writes a last line when it is stopped.
const SCRIPT: &str = "trap 'for i in {1..300}; do echo last $i; done; exit 0' TERM; \
                      for i in {1..300}; do echo first $i; done; echo up; while :; do sleep 0.1; done";

fn expected() -> String {
    let lines = |word: &'static str| (1..=300).map(move |i| format!("{word} {i}\n"));
    lines("first").chain(["up\n".to_owned()]).chain(lines("last")).collect()
}

/// Reads a log from a position on, in parts, until a text has arrived.
async fn read_until(backend: &Kubernetes, name: &Name, from: &Cursor, last: &str) -> (String, Cursor) {
    let (mut text, mut cursor) = (String::new(), from.clone());
    let reading = async {
        while !text.ends_with(last) {
            let log = backend.logs(name, &cursor, 100).await.expect("the log can be read");
            if log.bytes.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            text.push_str(&String::from_utf8(log.bytes).expect("it is text"));
            cursor = log.next;
        }
    };
    let is_read = tokio::time::timeout(LONG_TIMEOUT, reading).await.is_ok();
    assert!(is_read, "`{last}` does not arrive; the text is {text}");
    (text, cursor)
}

#[tokio::test]
async fn the_log_of_a_stopped_driver_outlives_its_pod() {
    let test = unique("logs-stop");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let url = format!("file://{}/logs", folder.path().display());
    let backend = cluster.backend_with_logs(&test, &url).await;
    let name = name(&format!("{test}-1"));
    let mut events = backend.watch();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    backend.create(&application(name.as_str(), SCRIPT)).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    let (first, cursor) = read_until(&backend, &name, &Cursor::default(), "up\n").await;
    backend.delete(&name, Duration::from_secs(30)).await.expect("it can be stopped");
    wait_for_end(&backend, &name).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    wait_until_gone(&pods, &format!("{name}-driver")).await;
    // The cursor is one of the pod.
    let (rest, _) = read_until(&backend, &name, &cursor, "last 300\n").await;
    assert_eq!(first + &rest, expected());
    assert_eq!(backend.tail(&name, 18).await, Ok(b"last 299\nlast 300\n".to_vec()));

    backend.forget(&name).await.expect("it has ended");
    let other = cluster.backend_with_logs(&test, &url).await;
    for backend in [&backend, &other] {
        let (whole, _) = read_until(backend, &name, &Cursor::default(), "last 300\n").await;
        assert_eq!(whole, expected());
    }
    let kept = other.kept_log(&name, &Cursor::default(), 8).await.expect("the log is stored");
    assert_eq!(kept.bytes, b"first 1\n");
}

#[tokio::test]
async fn the_log_of_a_driver_that_another_user_deletes_outlives_its_pod() {
    let test = unique("logs-deleted");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let backend = cluster.backend_with_logs(&test, &format!("file://{}", folder.path().display())).await;
    let name = name(&format!("{test}-1"));
    let mut events = backend.watch();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let script =
        SCRIPT.replace("for i in {1..300}; do echo last", "sleep 5; for i in {1..300}; do echo last");
    backend.create(&application(name.as_str(), &script)).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    read_until(&backend, &name, &Cursor::default(), "up\n").await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    pods.delete(&format!("{name}-driver"), &DeleteParams::default()).await.expect("the pod exists");
    wait_until_gone(&pods, &format!("{name}-driver")).await;
    let (whole, _) = read_until(&backend, &name, &Cursor::default(), "last 300\n").await;
    assert_eq!(whole, expected());
}

#[tokio::test]
async fn the_log_of_a_driver_that_ends_by_itself_is_stored_before_its_pod_is_deleted() {
    let test = unique("logs-end");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let backend = cluster.backend_with_logs(&test, &format!("file://{}", folder.path().display())).await;
    let name = name(&format!("{test}-1"));
    // containerd on a busy node loses the last kilobytes of some programs that end right after they wrote much.
    let script = r"for i in {1..20000}; do echo line $i; done; printf '\xff\xfe end'; sleep 2";
    backend.create(&application(name.as_str(), script)).await.expect("the application is created");
    wait_for_end(&backend, &name).await;
    backend.forget(&name).await.expect("it has ended");
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    wait_until_gone(&pods, &format!("{name}-driver")).await;
    let (mut bytes, mut cursor) = (Vec::new(), Cursor::default());
    loop {
        let log = backend.logs(&name, &cursor, 64 << 10).await.expect("the log is stored");
        if log.bytes.is_empty() {
            break;
        }
        bytes.extend(log.bytes);
        cursor = log.next;
    }
    let lines = (1..=20000).map(|i| format!("line {i}\n")).collect::<Vec<_>>().concat();
    assert!(bytes == [lines.as_bytes(), b"\xff\xfe end"].concat(), "{} bytes", bytes.len());
}

#[tokio::test]
async fn the_log_of_a_driver_whose_record_is_deleted_outlives_its_pod() {
    let test = unique("logs-record");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let backend = cluster.backend_with_logs(&test, &format!("file://{}", folder.path().display())).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), SCRIPT)).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    read_until(&backend, &name, &Cursor::default(), "up\n").await;
    let records: Api<ConfigMap> = Api::namespaced(cluster.client().await, RECORDS);
    records.delete(name.as_str(), &DeleteParams::default()).await.expect("the record exists");
    // No watch follows the log.
    let unknown = async {
        while backend.get(&name).await.expect("the cluster responds").is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, unknown).await.expect("the application is ended");
    let stored = async {
        loop {
            let log = backend.kept_log(&name, &Cursor::default(), 64 << 10).await.expect("it can be read");
            if log.bytes == expected().as_bytes() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, stored).await.expect("the whole log is stored");
}
