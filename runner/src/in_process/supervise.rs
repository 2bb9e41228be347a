//! Restarts work that has panicked.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The waits before work that has panicked is restarted; each is twice as long as the one before.
#[derive(Debug)]
pub(super) struct Restarts {
    wait: Duration,
}

impl Restarts {
    pub(super) fn new() -> Self {
        Self { wait: MIN_WAIT }
    }

    /// Runs work. Returns false once it has ended. If it panics, waits and returns true, so that the caller restarts
    /// it. The panic hook of the process reports the panic itself.
    ///
    /// The work must not rely on its state in memory after a restart, because a panic may leave that inconsistent.
    pub(super) async fn panicked(&mut self, work: impl Future<Output = ()>) -> bool {
        let started = Instant::now();
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return false;
        }
        if started.elapsed() > MAX_WAIT {
            self.wait = MIN_WAIT;
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(MAX_WAIT);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panicking_work_is_restarted_until_it_ends() {
        let (started, mut times, mut restarts) = (Instant::now(), 0, Restarts::new());
        while restarts
            .panicked(async {
                times += 1;
                assert!(times > 3, "it fails {times} times");
            })
            .await
        {}
        assert_eq!((times, started.elapsed().as_secs()), (4, 1 + 2 + 4));
    }
}
