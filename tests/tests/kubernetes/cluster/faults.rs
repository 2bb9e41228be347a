//! Lost records, stopped processes and a cluster that does not respond.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dcp_gateway::clusters::{Binding, Bindings as _, ClusterStatus, Clusters, Member, Orphans, Properties};
use dcp_gateway::kubernetes::{Kubernetes, Settings, connect};
use dcp_gateway::routing::Health;
use dcp_gateway::{Compute as _, Error, Phase, Reason, WatchEvent};
use dcp_runner::store::Store;
use dcp_tests::cluster::{RECORDS, TestCluster, kubeconfig, kubeconfig_of_nobody, pod_names};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::DeleteParams;

use super::{LONG_TIMEOUT, application, name, unique, wait_for_end, wait_until_gone, wait_until_running};

#[tokio::test]
async fn an_application_whose_record_is_deleted_is_ended_before_it_is_unknown() {
    let test = unique("faults-record");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), "exec sleep 1000")).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    let records: Api<ConfigMap> = Api::namespaced(cluster.client().await, RECORDS);
    records.delete(name.as_str(), &DeleteParams::default()).await.expect("the record exists");
    let unknown = async {
        loop {
            match backend.get(&name).await.expect("the cluster responds") {
                Some(status) => assert_eq!(status.phase, Phase::Running, "a second attempt must not start"),
                None => return,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, unknown).await.expect("the pod is ended");
    // None of its containers runs. The object of the pod vanishes a moment later.
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &test);
    wait_until_gone(&pods, &format!("{name}-driver")).await;
}

#[tokio::test]
async fn an_unreachable_cluster_is_reported_and_nothing_is_concluded() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let client = connect(&kubeconfig(kubeconfig_of_nobody(folder.path()))).await.expect("the file is valid");
    let backend = Kubernetes::new(client, Settings::new("north"), jiff::Timestamp::now);
    let Err(Error::Unavailable(message)) = backend.get(&name("a-1")).await else {
        panic!("nothing is known")
    };
    assert!(message.starts_with("cluster `north` does not respond: Connection refused"), "{message}");
    let created = backend.create(&application("a-1", "exit 0")).await;
    assert!(matches!(created, Err(Error::Unavailable(_))), "{created:?}");
}

#[tokio::test]
async fn an_application_survives_the_api_server_and_its_end_is_reported_afterwards() {
    let cluster = TestCluster::exclusive().await;
    let test = unique("faults-server");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), "sleep 8; exit 4")).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    let mut events = backend.watch();
    while events.next().await.expect("the watch does not end") != Ok(WatchEvent::Listed) {}
    cluster.control(&["kill", "apiserver"]);
    let failed = async { while let Some(Ok(_)) = events.next().await {} };
    tokio::time::timeout(LONG_TIMEOUT, failed).await.expect("the watch fails");
    assert!(matches!(backend.get(&name).await, Err(Error::Unavailable(_))), "nothing is concluded");
    cluster.control(&["revive", "apiserver"]);
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.exit_code, end.reason), (Some(4), Reason::Exited), "{end:?}");
}

#[tokio::test]
async fn a_cut_network_is_noticed_and_changes_are_reported_once_it_is_joined() {
    let cluster = TestCluster::exclusive().await;
    let test = unique("faults-network");
    let backend = cluster.backend(&test).await;
    let name = name(&format!("{test}-1"));
    backend.create(&application(name.as_str(), "sleep 5; exit 0")).await.expect("the application is created");
    wait_until_running(&backend, &name).await;
    cluster.control(&["cut"]);
    assert!(matches!(backend.get(&name).await, Err(Error::Unavailable(_))), "nothing is concluded");
    cluster.control(&["join"]);
    let end = wait_for_end(&backend, &name).await;
    assert!(end.succeeded, "{end:?}");
}

#[expect(clippy::too_many_lines, reason = "one scenario: each step needs the state of the one before")]
#[tokio::test]
async fn new_work_goes_to_the_cluster_that_responds_and_nothing_moves() {
    let cluster = TestCluster::shared().await;
    let test = unique("faults-two");
    let south = cluster.backend(&test).await;
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let client = connect(&kubeconfig(kubeconfig_of_nobody(folder.path()))).await.expect("the file is valid");
    let north = Kubernetes::new(client, Settings::new("north"), jiff::Timestamp::now);
    let member = |compute: Kubernetes| Member {
        kind: "kubernetes",
        properties: Properties { weight: 1, ..Properties::default() },
        orphans: Orphans::default(),
        compute: Arc::new(compute),
    };
    let members = BTreeMap::from([("north".to_owned(), member(north)), ("south".to_owned(), member(south))]);
    let bindings = Arc::new(Store::sqlite(&folder.path().join("runs.db")).await.expect("the store opens"));
    let stuck = name(&format!("{test}-9"));
    bindings.bind(&stuck, Binding::Cluster("north".to_owned())).await.expect("it is not bound");
    let clusters = Clusters::new(members, bindings, jiff::Timestamp::now, |_| {});
    let is_unreachable = |status: &ClusterStatus| matches!(status.health, Health::Unreachable { .. });
    let noticed = async {
        while !clusters.statuses().iter().any(is_unreachable) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, noticed).await.expect("the failure is noticed");
    for number in 1..=4 {
        let of = application(&format!("{test}-{number}"), "exit 0");
        let decision = clusters.route(&of);
        assert_eq!(decision.chosen.as_deref(), Some("south"), "{decision}");
        assert!(decision.to_string().contains("`north` has been unreachable since"), "{decision}");
        clusters.accepts(&of).expect("a cluster accepts it");
        clusters.create(&of).await.expect("the application is created");
    }
    let mut events = clusters.watch();
    let mut ended = HashSet::new();
    while ended.len() < 4 {
        let event = tokio::time::timeout(LONG_TIMEOUT, events.next()).await.expect("the ends are reported");
        if let WatchEvent::Changed(change) = event.expect("the watch does not end").expect("it does not fail")
            && change.status.is_some_and(|status| status.end.is_some_and(|end| end.succeeded))
        {
            ended.insert(change.name);
        }
    }
    // An application that may run on the other cluster is not started here.
    clusters.create(&application(stuck.as_str(), "exit 0")).await.expect_err("its cluster does not respond");
    assert!(matches!(clusters.get(&stuck).await, Err(Error::Unavailable(_))), "nothing is concluded");
    assert!(!pod_names(&cluster.client().await, &test).await.contains(&format!("{stuck}-driver")));
}
