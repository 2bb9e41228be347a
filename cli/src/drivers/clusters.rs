//! The watches of the clusters of a file of drivers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_connect::discovery::{Discovery, Source};
use dcp_connect::session::{Pool, PoolKey};
use dcp_connect::store::Store;
use dcp_gateway::kubernetes::{self, Credentials};
use dcp_model::drivers::{ClusterDrivers, DriversFile};
use dcp_model::manifest::KubernetesName;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::{log, share_of, signed, size_of};
use crate::clusters::credentials;
use crate::failure::Failure;

/// The watches, by the names of their entries. They end when this is dropped.
pub(super) struct Watches {
    /// The folder of the file.
    folder: PathBuf,
    store: Store,
    tasks: BTreeMap<KubernetesName, Watch>,
    /// The pools that were stored last.
    listed: Option<Vec<Pool>>,
}

struct Watch {
    declared: ClusterDrivers,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watches {
    /// Creates no watch yet. `path` is the path of the file.
    pub(super) fn new(path: &Path, store: Store) -> Self {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        Self { folder, store, tasks: BTreeMap::new(), listed: None }
    }

    /// Watches what a file declares. Entries that have not changed are watched on.
    pub(super) async fn follow(&mut self, file: &DriversFile) -> Result<(), Failure> {
        self.tasks.retain(|name, watch| file.clusters.get(name) == Some(&watch.declared));
        for (name, declared) in &file.clusters {
            if !self.tasks.contains_key(name) {
                let task = self.start(name, declared).await?;
                self.tasks.insert(name.clone(), Watch { declared: declared.clone(), task });
            }
        }
        self.list(file).await
    }

    /// Stores the pools of the clusters, if they have changed. Several entries may have the same one.
    async fn list(&mut self, file: &DriversFile) -> Result<(), Failure> {
        let pools = file.clusters.iter().map(|(name, declared)| source(name, declared).pool());
        let by_key: BTreeMap<PoolKey, Pool> = pools.map(|pool| (pool.key.clone(), pool)).collect();
        let listed: Vec<Pool> = by_key.into_values().collect();
        if self.listed.as_ref() != Some(&listed) {
            let stored = self.store.set_pools(false, &listed).await;
            stored.map_err(|error| Failure::new(error.to_string()))?;
            self.listed = Some(listed);
        }
        Ok(())
    }

    async fn start(
        &self,
        name: &KubernetesName,
        declared: &ClusterDrivers,
    ) -> Result<JoinHandle<()>, Failure> {
        let of_file = declared.credentials.as_ref().map(|declared| credentials(declared, &self.folder));
        let client = kubernetes::connect(&of_file.unwrap_or(Credentials::Inferred)).await;
        let client =
            client.map_err(|error| Failure::new(format!("the entry `{name}` of `clusters`: {error}")))?;
        let discovery = Discovery {
            source: source(name, declared),
            client,
            store: self.store.clone(),
            clock: Timestamp::now,
            log: Arc::new(log),
        };
        Ok(tokio::spawn(discovery.run()))
    }
}

fn source(name: &KubernetesName, declared: &ClusterDrivers) -> Source {
    let labels = declared.selector.iter();
    Source {
        name: name.to_string(),
        namespace: declared.namespace.to_string(),
        labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        domain: declared.domain.to_string(),
        pool: declared.pool.as_ref().map_or(name.as_str(), |pool| pool.as_str()).to_owned(),
        engine: declared.engine.as_ref().map(ToString::to_string),
        share: share_of(declared.share),
        size: size_of(declared.cores, declared.memory),
        max_sessions: u64::from(declared.max_sessions),
        idle_timeout: signed(declared.idle_timeout),
    }
}
