//! A stream of watch events that a task sends.

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::mpsc;

use crate::WatchEvent;
use crate::error::Result;

/// Maximum number of events that the receiver has not read.
const BUFFERED: usize = 1024;

pub(crate) type Sender = mpsc::Sender<Result<WatchEvent>>;

/// Spawns a task that sends events, and returns their stream. An error of the task is the last item. The task is
/// stopped when the stream is dropped.
pub(crate) fn stream<F>(work: impl FnOnce(Sender) -> F) -> BoxStream<'static, Result<WatchEvent>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let work = work(sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            biased;
            result = work => if let Err(error) = result {
                let _ = sender.send(Err(error)).await;
            },
            () = sender.closed() => {}
        }
    });
    unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) })
        .boxed()
}
