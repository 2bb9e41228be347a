//! Moves CPU-bound work off the threads that answer calls.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Below this number of bytes, work takes less time than switching threads.
const MIN_OFFLOAD_BYTES: usize = 16 << 10;

/// One permit per core: heavy work queues, and the other threads keep their share of the CPU.
static CORE_PERMITS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))));

/// Runs work whose CPU time grows with a number of bytes: on the caller's thread if they are few, otherwise on a
/// blocking thread. At most one such thread per core is busy.
///
/// If the caller is cancelled, queued work never runs. Running work keeps its permit until it ends, so that
/// cancelled callers can't pile up work.
pub async fn offload<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < MIN_OFFLOAD_BYTES { work() } else { queue(Arc::clone(&CORE_PERMITS), work).await }
}

async fn queue<T: Send + 'static>(cores: Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let permit = cores.acquire_owned().await.expect("the semaphore is never closed");
    let done = spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match done.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down and polls no more tasks.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn heavy_work_leaves_the_async_thread_free_and_queues() {
        let cores = Arc::new(Semaphore::new(1));
        let ran = Arc::new(AtomicUsize::new(0));
        let (finish, wait) = mpsc::channel::<()>();
        let (begin, running) = oneshot::channel();
        let first = move || begin.send(()).is_ok() && wait.recv().is_ok();
        let first = tokio::spawn(queue(Arc::clone(&cores), first));
        // Only a free async thread can reach this line.
        timeout(LONG, running).await.expect("it begins").expect("it begins");
        assert_eq!(cores.available_permits(), 0);
        let others: Vec<_> = (0..100)
            .map(|_| {
                let ran = Arc::clone(&ran);
                tokio::spawn(queue(Arc::clone(&cores), move || ran.fetch_add(1, Ordering::SeqCst)))
            })
            .collect();
        tokio::task::yield_now().await;
        // All but one of them are cancelled while they wait.
        others[1..].iter().for_each(tokio::task::JoinHandle::abort);
        // The running work keeps its permit although its caller is gone.
        first.abort();
        tokio::task::yield_now().await;
        assert_eq!((cores.available_permits(), ran.load(Ordering::SeqCst)), (0, 0));
        finish.send(()).unwrap();
        for task in others {
            let _ = timeout(LONG, task).await.expect("it ends");
        }
        assert_eq!(ran.load(Ordering::SeqCst), 1, "cancelled work that had not begun never runs");
    }

    #[tokio::test]
    async fn small_work_stays_on_its_thread_and_large_work_leaves_it() {
        let here = std::thread::current().id();
        assert_eq!(offload(MIN_OFFLOAD_BYTES - 1, || std::thread::current().id()).await, here);
        assert_ne!(offload(MIN_OFFLOAD_BYTES, || std::thread::current().id()).await, here);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let task = tokio::spawn(offload(MIN_OFFLOAD_BYTES, || panic!("as asked")));
        assert!(timeout(LONG, task).await.unwrap().unwrap_err().is_panic());
    }
}
