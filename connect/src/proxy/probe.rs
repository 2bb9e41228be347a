//! Finds out which drivers that start are ready.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{Inner, forward};
use crate::session::{DriverState, StoredDriver};

/// Maximum time of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_PARALLEL: usize = 16;

impl Inner {
    /// Probes the drivers that start, and records those that answer.
    pub(super) async fn probe_starting(&self) {
        let snapshot = self.directory.snapshot();
        let starting = snapshot.drivers.values().filter(|it| it.state == DriverState::Starting);
        stream::iter(starting).for_each_concurrent(MAX_PARALLEL, |stored| self.probe(stored)).await;
    }

    async fn probe(&self, stored: &StoredDriver) {
        let id = stored.driver.id.as_str();
        if let Ok(true) = timeout(TIMEOUT, self.answers(stored)).await {
            // If this fails, the next probe records it.
            let _ = self.store.set_open(id).await;
        }
    }

    /// Returns whether a driver accepts a call.
    async fn answers(&self, stored: &StoredDriver) -> bool {
        let token = (self.tokens)(&stored.driver.id);
        let token = token.as_ref().map(|token| token.expose());
        let Ok(request) = forward::probe(&stored.driver.address, token) else { return false };
        let Ok(response) = self.send(stored, request).await else { return false };
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return false };
        let status =
            body.trailers().and_then(|it| it.get("grpc-status")).or(parts.headers.get("grpc-status"));
        status.is_some_and(|status| status.as_bytes() == b"0")
    }
}
