//! Two real clusters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dcp_gateway::application::Placement;
use dcp_gateway::clusters::{Clusters, Member, Orphans, Properties};
use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::routing::Health;
use dcp_gateway::{Compute, Error, Name, Phase, SparkApplication};
use dcp_runner::store::Store;
use dcp_tests::cluster::{RECORDS, TestCluster, pod_names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::{LONG_TIMEOUT, application, name, unique, wait_until};

fn member(region: &str, compute: &Kubernetes) -> Member {
    let properties = Properties { region: Some(region.to_owned()), weight: 1, ..Properties::default() };
    Member { kind: "kubernetes", properties, orphans: Orphans::default(), compute: Arc::new(compute.clone()) }
}

/// Returns an application for the region of the first cluster, or else for the other.
fn preferring_first(name: &Name, script: &str) -> SparkApplication {
    let regions = vec!["first".to_owned(), "second".to_owned()];
    let placement = Placement { regions, ..Placement::default() };
    SparkApplication { placement, ..application(name.as_str(), script) }
}

async fn wait_for_health(clusters: &Clusters, is: impl Fn(&Health) -> bool) {
    let waiting = async {
        while !clusters.statuses().iter().any(|status| status.name == "first" && is(&status.health)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, waiting).await.expect("the health changes");
}

#[tokio::test]
async fn work_of_a_dead_cluster_stays_there_and_is_ended_when_the_cluster_is_back() {
    let test = unique("two");
    let own = TestCluster::start();
    let shared = TestCluster::shared().await;
    let (first, second) = (own.backend(&test).await, shared.backend(&test).await);
    let members = BTreeMap::from([
        ("first".to_owned(), member("first", &first)),
        ("second".to_owned(), member("second", &second)),
    ]);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let store = Arc::new(Store::sqlite(&folder.path().join("runs.db")).await.expect("the store opens"));
    let clusters = Clusters::new(members, store, jiff::Timestamp::now, |_| {});
    let (before, during) = (name(&format!("{test}-1")), name(&format!("{test}-2")));
    clusters.create(&preferring_first(&before, "exec sleep 1000")).await.expect("the cluster responds");
    wait_until(&first, &before, |status| status.phase == Phase::Running).await;

    own.control(&["kill", "apiserver"]);
    own.control(&["kill", "etcd"]);
    wait_for_health(&clusters, |health| matches!(health, Health::Unreachable { .. })).await;
    clusters.create(&preferring_first(&during, "exit 0")).await.expect("the other cluster responds");
    wait_until(&second, &during, |status| status.phase == Phase::Ended).await;
    // A repeated create and a stop wait for the cluster, and nothing starts on the other one.
    let repeated = clusters.create(&preferring_first(&before, "exec sleep 1000")).await;
    assert!(matches!(repeated, Err(Error::Unavailable(_))), "{repeated:?}");
    let stopped = clusters.delete(&before, Duration::ZERO).await;
    assert!(matches!(stopped, Err(Error::Unavailable(_))), "{stopped:?}");
    let there = pod_names(&shared.client().await, &test).await;
    assert_eq!(there, [format!("{during}-driver")]);

    own.control(&["revive", "etcd"]);
    own.control(&["revive", "apiserver"]);
    wait_for_health(&clusters, |health| *health == Health::Healthy).await;
    clusters.delete(&before, Duration::ZERO).await.expect("the cluster responds");
    wait_until(&first, &before, |status| status.phase == Phase::Ended).await;
    clusters.forget(&before).await.expect("it has ended");
    let client = own.client().await;
    let records: Api<ConfigMap> = Api::namespaced(client.clone(), RECORDS);
    assert!(records.get_opt(before.as_str()).await.expect("the cluster responds").is_none());
    let gone = async {
        while !pod_names(&client, &test).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("nothing is left over");
}
