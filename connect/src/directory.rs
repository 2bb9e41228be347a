//! The pools and drivers, as a proxy read them last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dcp_database::Result;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::session::{Pool, PoolFailure, PoolKey, StoredDriver};
use crate::store::Store;

/// Interval between two reads.
const INTERVAL: Duration = Duration::from_millis(500);

/// All pools, and all drivers that are not gone.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) pools: Vec<Pool>,
    drivers: HashMap<String, Arc<StoredDriver>>,
    failures: HashMap<PoolKey, PoolFailure>,
}

impl Snapshot {
    pub(crate) async fn read(store: &Store) -> Result<Self> {
        let (pools, drivers) = (store.pools().await?, store.drivers().await?);
        let drivers = drivers.into_iter().map(|it| (it.driver.id.clone(), Arc::new(it))).collect();
        let failures = store.failures().await?.into_iter().map(|it| (it.pool.clone(), it)).collect();
        Ok(Self { pools, drivers, failures })
    }

    pub(crate) fn drivers(&self) -> impl Iterator<Item = &StoredDriver> {
        self.drivers.values().map(Arc::as_ref)
    }

    pub(crate) fn driver(&self, id: &str) -> Option<&Arc<StoredDriver>> {
        self.drivers.get(id)
    }

    /// Returns the last failure of a pool, unless a driver has answered since.
    pub(crate) fn failure(&self, pool: &PoolKey) -> Option<&PoolFailure> {
        self.failures.get(pool).filter(|failure| failure.is_current(self.drivers()))
    }
}

/// Follows the pools and drivers. Clones share one task, which ends with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Directory(watch::Receiver<Arc<Snapshot>>);

impl Directory {
    /// Reads the database, and follows it. While it can't be read, the last state stays.
    pub(crate) async fn start(store: Store) -> Result<Self> {
        let (sender, receiver) = watch::channel(Arc::new(Snapshot::read(&store).await?));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = sleep(INTERVAL) => {}
                }
                if let Ok(snapshot) = Snapshot::read(&store).await {
                    sender.send_replace(Arc::new(snapshot));
                }
            }
        });
        Ok(Self(receiver))
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for the next read.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The task has ended with its runtime.
            sleep(INTERVAL).await;
        }
    }
}
