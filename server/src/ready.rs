//! Readiness of a server.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

type Check = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// Time that a result is cached: anybody can request it.
const KEPT: Duration = Duration::from_secs(1);
/// Timeout of a check.
const CHECK: Duration = Duration::from_secs(3);

/// A check of something that a server needs. Clones share the cached result.
#[derive(Clone)]
pub(crate) struct Ready {
    what: &'static str,
    check: Arc<Check>,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Ready {
    pub(crate) fn new<F>(what: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { what, check: Arc::new(move || Box::pin(check())), last: Arc::default() }
    }

    /// Returns why the server is not ready, if it is not.
    pub(crate) async fn problem(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        let is_ready = match *last {
            Some((at, is_ready)) if at.elapsed() < KEPT => is_ready,
            _ => {
                let is_ready = timeout(CHECK, (self.check)()).await.unwrap_or(false);
                *last = Some((Instant::now(), is_ready));
                is_ready
            }
        };
        (!is_ready).then(|| format!("the {} does not answer", self.what))
    }
}
