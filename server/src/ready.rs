//! Readiness of a server.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

type Check = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// Time that a result is cached: anybody can request it.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// Timeout of a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A check of something that a server needs. Clones share the cached result.
#[derive(Clone)]
pub(crate) struct ReadinessCheck {
    dependency: &'static str,
    check: Arc<Check>,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl fmt::Debug for ReadinessCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessCheck").field("dependency", &self.dependency).finish_non_exhaustive()
    }
}

impl ReadinessCheck {
    pub(crate) fn new<F>(dependency: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { dependency, check: Arc::new(move || Box::pin(check())), last: Arc::default() }
    }

    /// Returns why the server is not ready, if it is not.
    pub(crate) async fn problem(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        let is_ready = match *last {
            Some((at, is_ready)) if at.elapsed() < CACHE_TTL => is_ready,
            _ => {
                let is_ready = timeout(CHECK_TIMEOUT, (self.check)()).await.unwrap_or(false);
                *last = Some((Instant::now(), is_ready));
                is_ready
            }
        };
        (!is_ready).then(|| format!("the {} does not answer", self.dependency))
    }
}
