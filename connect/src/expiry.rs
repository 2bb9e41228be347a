//! Removes sandboxes that have expired.
//!
//! A removal needs a driver. No driver is started for it: while the pool of a sandbox has none that takes a session of the owner,
//! the sandbox stays, and the next pass tries again.

use std::time::Duration;

use dcp_server::{Caller, Credential};
use tokio::time::sleep;

use crate::client::Wanted;
use crate::proxy::Proxy;
use crate::sandboxes::{REMOVAL_TIMEOUT, Sandboxes};
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
    let wanted = Wanted {
        domain: Some(stored.key.domain.clone()),
        pool: stored.pool.clone(),
        engine: stored.engine.clone(),
    };
    proxy.has_driver(&wanted, &stored.key.user)
}
