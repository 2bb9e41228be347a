//! Removes sandboxes that have expired.
//!
//! A removal needs a driver. No driver is started for it: while the pool of a sandbox has none that takes a session of the owner,
//! the sandbox stays, and the next pass tries again.

use std::time::Duration;

use dcp_server::{Caller, Credential};
use tokio::time::sleep;

use crate::proxy::Proxy;
use crate::sandboxes::{REMOVAL_TIMEOUT, Sandbox, Sandboxes};
use crate::store::sandboxes::StoredSandbox;

/// Interval between two passes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Removes sandboxes that have expired, until the task is stopped.
pub async fn run(proxy: Proxy) {
    loop {
        sleep(INTERVAL).await;
        remove_expired(&proxy).await;
    }
}

/// Removes the sandboxes that have expired, and whose drivers run. One of several proxies removes each.
async fn remove_expired(proxy: &Proxy) {
    let now = proxy.now();
    let begun_before = now - REMOVAL_TIMEOUT;
    // If the database can't be used, the next pass tries again.
    let Ok(expired) = proxy.store().expired_sandboxes(now, begun_before).await else { return };
    for stored in expired {
        if !has_driver(proxy, &stored) {
            continue;
        }
        if let Ok(true) = proxy.store().end_sandbox(&stored.key, now, begun_before, true).await {
            // The statement is dcp's own, and names the recorded schema only.
            let owner = Caller::unrestricted(&stored.key.user, Credential::Process);
            // If this fails, the removal is repeated after its timeout.
            let _ = Sandboxes { proxy, caller: &owner }.remove(stored).await;
        }
    }
}

/// Returns whether a session of the owner gets a driver at once.
fn has_driver(proxy: &Proxy, stored: &StoredSandbox) -> bool {
    proxy.has_driver(&Sandbox::from(stored.clone()).driver(), &stored.key.user)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::store::Store;
    use crate::store::sandboxes::SandboxKey;

    #[tokio::test]
    async fn expired_sandbox_stays_while_no_driver_runs() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
        let proxy = Proxy::start(store.clone(), Arc::new(|_| None), dcp_server::clock).await.unwrap();
        let (domain, user, name) = ("logistics".to_owned(), "ada".to_owned(), "main".to_owned());
        let key = SandboxKey { domain, user, name };
        let expired = StoredSandbox {
            key: key.clone(),
            branch: String::new(),
            pool: None,
            engine: None,
            cores: None,
            memory: None,
            catalog: "spark_catalog".to_owned(),
            schema: "sandbox_ada_main".to_owned(),
            session: "1".to_owned(),
            opened: None,
            created: Timestamp::UNIX_EPOCH,
            expires: Timestamp::UNIX_EPOCH,
            ending: None,
        };
        assert!(store.add_sandbox(&expired).await.unwrap());
        remove_expired(&proxy).await;
        assert_eq!(store.sandbox(&key).await.unwrap(), Some(expired));
    }
}
