//! One watch of all clusters.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Cluster, Inner};
use crate::WatchEvent;
use crate::error::{Error, Result};
use crate::event_task::{self, Sender};

/// Wait before a broken watch of a cluster is begun again.
const RETRY: Duration = Duration::from_secs(2);

/// Returns the events of all clusters. It fails when the clusters change. A cluster that does not respond delays no event
/// of the others; its watch is begun again.
pub(super) fn events(inner: &Arc<Inner>) -> BoxStream<'static, Result<WatchEvent>> {
    let inner = Arc::clone(inner);
    event_task::stream(|sender| run(inner, sender))
}

async fn run(inner: Arc<Inner>, sender: Sender) -> Result<()> {
    let changed = inner.changed.notified();
    let clusters: Vec<(String, Arc<Cluster>)> =
        inner.clusters().iter().map(|(name, cluster)| (name.clone(), Arc::clone(cluster))).collect();
    let (listed, mut lists) = mpsc::channel(clusters.len().max(1));
    let count = clusters.len();
    // The watches end with this set.
    let mut watches = JoinSet::new();
    for (name, cluster) in clusters {
        watches.spawn(watch(name, cluster, sender.clone(), listed.clone()));
    }
    let all_listed = async {
        for _ in 0..count {
            lists.recv().await;
        }
        let _ = sender.send(Ok(WatchEvent::Listed)).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = changed => Err(Error::Unavailable("the clusters have changed".to_owned())),
        () = all_listed => Ok(()),
    }
}

/// Watches one cluster. `listed` gets one message: after its first list, or its first failure.
async fn watch(name: String, cluster: Arc<Cluster>, sender: Sender, listed: mpsc::Sender<()>) {
    let mut listed = Some(listed);
    let mut report_list = async || {
        if let Some(listed) = listed.take() {
            let _ = listed.send(()).await;
        }
    };
    loop {
        let mut events = cluster.member.compute.watch();
        while let Some(Ok(event)) = events.next().await {
            match event {
                WatchEvent::Listed => report_list().await,
                WatchEvent::Changed(mut change) => {
                    cluster.note(&change.name, change.status.as_ref());
                    if let Some(status) = &mut change.status {
                        status.cluster = Some(name.clone());
                    }
                    if sender.send(Ok(WatchEvent::Changed(change))).await.is_err() {
                        return;
                    }
                }
            }
        }
        report_list().await;
        tokio::time::sleep(RETRY).await;
    }
}
