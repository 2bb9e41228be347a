//! Applications without an owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dcp_gateway::clusters::{Bindings as _, Clusters, Member, OrphanAction, Orphans, Properties};
use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::{Compute as _, Cursor, Error, Name, Phase};
use dcp_runner::store::Store;
use dcp_tests::cluster::{TestCluster, pod_names};
use kube::Client;
use tempfile::TempDir;

use super::{LONG_TIMEOUT, application, name, unique, wait_until_running};

/// A driver that writes a last line when it is stopped.
const SCRIPT: &str = "trap 'echo last; exit 0' TERM; echo first; while :; do sleep 0.1; done";

async fn start(backend: &Kubernetes, name: &Name) {
    backend.create(&application(name.as_str(), SCRIPT)).await.expect("the application is created");
    wait_until_running(backend, name).await;
}

fn clusters(backend: &Kubernetes, store: &Store, action: OrphanAction) -> Clusters {
    let properties = Properties { weight: 1, ..Properties::default() };
    let orphans = Orphans { action, after: Duration::from_secs(3) };
    let member = Member { kind: "kubernetes", properties, orphans, compute: Arc::new(backend.clone()) };
    let members = BTreeMap::from([("test".to_owned(), member)]);
    Clusters::new(members, Arc::new(store.clone()), jiff::Timestamp::now, |_| {})
}

async fn wait_for_count(clusters: &Clusters, is: impl Fn(u32, u32, u32) -> bool) {
    let waiting = async {
        loop {
            let unowned = clusters.statuses()[0].unowned.clone();
            if is(unowned.others, unowned.orphans, unowned.removed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("the applications are counted");
}

async fn wait_for_log(backend: &Kubernetes, name: &Name, expected: &[u8]) {
    let stored = async {
        let read = async || backend.kept_log(name, &Cursor::default(), 100).await.expect("it can be read");
        while read().await.bytes != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, stored).await.expect("the whole log is stored");
}

async fn wait_for_pods(client: &Client, namespace: &str, expected: &[String]) {
    let waiting = async {
        while pod_names(client, namespace).await != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("only these pods are left");
}

#[tokio::test]
async fn an_application_without_an_owner_is_ended_with_its_log_and_no_other_is_touched() {
    let test = unique("orphans");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let store = Store::sqlite(&folder.path().join("runs.db")).await.expect("the store opens");
    let own = store.identity().await.expect("the database responds");
    let logs = format!("file://{}/logs", folder.path().display());
    let backend = cluster.backend_of(&test, &own, &logs).await;
    let other = cluster.backend_of(&test, "another", &logs).await;
    let older = cluster.backend(&test).await;
    let named = |what: &str| name(&format!("{test}-{what}"));
    let (owned, orphan) = (named("owned"), named("orphan"));

    let counting = clusters(&backend, &store, OrphanAction::Report);
    counting.create(&application(owned.as_str(), SCRIPT)).await.expect("the application is created");
    wait_until_running(&backend, &owned).await;
    start(&other, &named("other")).await;
    start(&older, &named("older")).await;
    start(&backend, &orphan).await;
    wait_for_count(&counting, |others, orphans, _| others >= 2 && orphans == 1).await;
    drop(counting);

    let sweeping = clusters(&backend, &store, OrphanAction::End);
    wait_for_count(&sweeping, |others, orphans, removed| (others >= 2, orphans, removed) == (true, 0, 1))
        .await;
    assert_eq!(backend.get(&orphan).await, Ok(None));
    wait_for_log(&backend, &orphan, b"first\nlast\n").await;
    // A creator that was paused starts nothing.
    sweeping.create(&application(orphan.as_str(), SCRIPT)).await.expect("it was stopped");
    let left = ["owned", "other", "older"].map(named);
    for name in &left {
        let status = backend.get(name).await.expect("the cluster responds").expect("it exists");
        assert_eq!((status.phase, status.end), (Phase::Running, None), "{name}");
    }
    let mut drivers = left.each_ref().map(|name| format!("{name}-driver"));
    drivers.sort();
    wait_for_pods(&cluster.client().await, &test, &drivers).await;
    for name in &left {
        backend.delete(name, Duration::ZERO).await.expect("the cluster responds");
    }
}

#[tokio::test]
async fn a_name_of_another_control_plane_is_refused() {
    let test = unique("orphans-name");
    let cluster = TestCluster::shared().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let logs = format!("file://{}/logs", folder.path().display());
    let (one, other) =
        (cluster.backend_of(&test, "p1", &logs).await, cluster.backend_of(&test, "p2", &logs).await);
    let of = application(&format!("{test}-1"), "exit 0");
    one.create(&of).await.expect("the application is created");
    one.create(&of).await.expect("a create can be repeated");
    let refused = other.create(&of).await;
    let Err(Error::Conflict(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("belongs to the control plane `p1`; this one is `p2`"), "{why}");
}
