//! Signals to stop: Ctrl-C and SIGTERM.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Set once a command handles signals itself.
static HANDLED: AtomicBool = AtomicBool::new(false);

/// The exit code of shells for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Cleans up and exits on the next signal, unless the command handles signals itself.
pub(crate) fn clean_up_before_end(clean_up: impl Fn() + Send + 'static) {
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Interrupts::unhandled()?;
            loop {
                signals.next().await;
                if !HANDLED.load(Ordering::SeqCst) {
                    clean_up();
                    std::process::exit(INTERRUPTED);
                }
            }
        })
    };
    // Without a thread, signals keep their default action.
    _ = std::thread::Builder::new().spawn(move || -> io::Result<()> { wait() });
}

/// The signals that end a prompt: SIGTERM, and SIGHUP once the terminal is gone. Once it is created, they no longer end the process.
#[derive(Debug)]
pub(crate) struct Terminations {
    terminate: Signal,
    hang_up: Signal,
}

impl Terminations {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, hang_up: signal(SignalKind::hangup())? })
    }

    /// Returns the name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

/// The signals to stop. Once it is created, they no longer end the process.
#[derive(Debug)]
pub(crate) struct Interrupts(Vec<Signal>);

impl Interrupts {
    pub(crate) fn new() -> io::Result<Self> {
        HANDLED.store(true, Ordering::SeqCst);
        Self::unhandled()
    }

    /// Returns the signals that stop a statement of a prompt: also SIGHUP, once the terminal is gone.
    pub(crate) fn at_prompt() -> io::Result<Self> {
        let mut interrupts = Self::new()?;
        interrupts.0.push(signal(SignalKind::hangup())?);
        Ok(interrupts)
    }

    fn unhandled() -> io::Result<Self> {
        Ok(Self(vec![signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    pub(crate) async fn next(&mut self) {
        poll_fn(|context| if self.received(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Waits for a time; returns true if a signal came.
    pub(crate) async fn interrupted_within(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = self.next() => true,
        }
    }

    /// Returns true if a signal came; otherwise the next one wakes the context.
    fn received(&mut self, context: &mut Context<'_>) -> bool {
        self.0.iter_mut().any(|it| matches!(it.poll_recv(context), Poll::Ready(Some(()))))
    }

    /// Runs work to its end, or returns nothing if it is interrupted. The first signal stops it once `may_stop`
    /// returns true, which is checked whenever the work is polled; the second one stops it at once.
    pub(crate) async fn run_until_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut may_stop: impl FnMut() -> bool,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut signals = 0;
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            while self.received(context) {
                signals += 1;
            }
            if signals > 1 || (signals == 1 && may_stop()) { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}
