//! Checks of the health of clusters.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Cluster, Inner};

/// Interval between two checks of a cluster.
const INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time of one check.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of causes that are logged.
const MAX_CAUSES: usize = 20;

/// Checks all clusters until their backend is dropped.
pub(super) async fn check_all(inner: Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        let clusters: Vec<(String, Arc<Cluster>)> =
            inner.clusters().iter().map(|(name, cluster)| (name.clone(), Arc::clone(cluster))).collect();
        join_all(clusters.iter().map(|(_, cluster)| check(cluster, &inner))).await;
        for (name, cluster) in &clusters {
            check_logs(name, cluster, &inner);
        }
        drop(inner);
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn check(cluster: &Cluster, inner: &Inner) {
    let problem = match tokio::time::timeout(TIMEOUT, cluster.member.compute.check()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it does not respond within {TIMEOUT:?}")),
    };
    let mut unreachable = cluster.unreachable();
    *unreachable = problem.map(|problem| {
        let since = unreachable.as_ref().map_or_else(|| (inner.clock)(), |(since, _)| *since);
        (since, problem)
    });
}

/// Logs each cause why the logs of drivers are not stored once, until they are stored again.
pub(super) fn check_logs(name: &str, cluster: &Cluster, inner: &Inner) {
    let mut logged = cluster.log_problems();
    match cluster.member.compute.log_problem() {
        Some(cause) if logged.len() < MAX_CAUSES && logged.insert(cause.clone()) => {
            (inner.log)(&format!("cluster `{name}`: logs of drivers are not stored: {cause}"));
        }
        None if !logged.is_empty() => {
            logged.clear();
            (inner.log)(&format!("cluster `{name}`: logs of drivers are stored again"));
        }
        _ => {}
    }
}
