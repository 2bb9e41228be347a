//! The pods of drivers, as a watch sees them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{NAMESPACE, TIMEOUT};
use crate::runner::Result;

#[derive(Default)]
struct Seen {
    /// The time at which the watch reported the pod of each application.
    created: HashMap<String, Instant>,
    /// Applications whose pods have no scheduling gate any more.
    startable: HashSet<String>,
}

/// The drivers that a watch has seen so far.
pub(super) struct Drivers {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Drivers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drivers {
    /// Watches the pods that have a label, whose value is the name of their application.
    pub(super) fn watch(client: &Client, label: &'static str) -> Self {
        let (seen, changed) = (Arc::<Mutex<Seen>>::default(), Arc::<Notify>::default());
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let config = watcher::Config::default().labels(label);
        let (of_task, notify) = (Arc::clone(&seen), Arc::clone(&changed));
        let task = tokio::spawn(async move {
            let mut pods = watcher(pods, config).default_backoff().applied_objects().boxed();
            while let Some(pod) = pods.next().await {
                let Ok(Pod { metadata, spec: Some(spec), .. }) = pod else { continue };
                let application = metadata.labels.and_then(|mut labels| labels.remove(label));
                let Some(application) = application else { continue };
                let mut seen = lock(&of_task);
                if spec.scheduling_gates.is_none_or(|gates| gates.is_empty()) {
                    seen.startable.insert(application.clone());
                }
                seen.created.entry(application).or_insert_with(Instant::now);
                drop(seen);
                notify.notify_waiters();
            }
        });
        Self { seen, changed, task }
    }

    pub(super) fn startable(&self) -> usize {
        lock(&self.seen).startable.len()
    }

    /// Returns the applications whose pods may start.
    pub(super) fn names(&self) -> Vec<String> {
        lock(&self.seen).startable.iter().cloned().collect()
    }

    /// Waits until the pod of an application exists, and returns the time at which the watch reported it.
    pub(super) async fn wait_until_created(&self, application: &str) -> Result<Instant> {
        self.wait_for(|seen| seen.created.get(application).copied()).await
    }

    pub(super) async fn wait_until_startable(&self, count: usize) -> Result<()> {
        self.wait_for(|seen| (seen.startable.len() >= count).then_some(())).await
    }

    async fn wait_for<T>(&self, found: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                let value = found(&lock(&self.seen));
                match value {
                    Some(value) => return value,
                    None => changed.await,
                }
            }
        };
        Ok(tokio::time::timeout(TIMEOUT, waiting).await.map_err(|_| "the drivers do not appear")?)
    }
}
