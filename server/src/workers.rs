//! Threads that serve connections. All tasks of a connection run on one thread, so that a call wakes no other thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads for the connections of a server. They end with the last clone, and all that runs on them: what their calls have opened,
/// such as connections to a database, is of no use afterwards.
#[derive(Debug, Clone)]
pub struct Workers(Arc<All>);

#[derive(Debug)]
struct All {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// The thread ends when this is dropped.
    _running: oneshot::Sender<()>,
}

impl Workers {
    /// Starts a number of threads.
    pub fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count).map(|_| Worker::start()).collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(All { workers, next: AtomicUsize::new(0) })))
    }

    /// Returns the thread for the next connection: each in turn.
    pub(crate) fn next(&self) -> Option<Handle> {
        let All { workers, next } = &*self.0;
        let at = next.fetch_add(1, Ordering::Relaxed).checked_rem(workers.len())?;
        workers.get(at).map(|worker| worker.handle.clone())
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("connections".to_owned()).spawn(move || {
            // Nothing is sent: this ends when the sender is dropped.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _running: running })
    }
}
