//! Connections to drivers.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::outgoing::Outgoing;

/// Maximum time of the start of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a call may receive before its client has read them. The window of the connection is as large as can be, so that
/// a slow reader stops itself only.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const MAX_FRAME: u32 = 256 << 10;
const MAX_HEADERS: u32 = 1 << 20;
/// Bytes of a request that wait for the driver.
const SEND_BUFFER: usize = 1 << 20;

/// One connection of each runtime to each driver, shared by its sessions. The tasks of a call run on the runtime of its client's
/// connection.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Mutex<HashMap<String, HashMap<Id, Arc<Slot>>>>);

type Slot = tokio::sync::Mutex<Option<SendRequest<Bytes>>>;

impl Upstreams {
    /// Returns the connection to a driver. Starts one if there is none, or the last one is broken and `may_connect`.
    pub(crate) async fn get(&self, id: &str, address: &str, may_connect: bool) -> Result<Connection, String> {
        let slot = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let of_driver = all.entry(id.to_owned()).or_default();
            Arc::clone(of_driver.entry(Handle::current().id()).or_default())
        };
        let mut slot = slot.lock().await;
        // A clone waits for nothing: it is ready, or its connection is broken.
        if let Some(Some(Ok(ready))) = slot.as_ref().map(|last| last.clone().ready().now_or_never()) {
            return Ok(Connection(ready));
        }
        if !may_connect {
            return Err("nobody has seen it recently".to_owned());
        }
        let connection = timeout(CONNECT_TIMEOUT, connect(address)).await;
        let late = || format!("it did not respond within {} s", CONNECT_TIMEOUT.as_secs());
        let connection = connection.unwrap_or_else(|_| Err(late()))?;
        *slot = Some(connection.clone());
        Ok(Connection(connection))
    }

    /// Forgets the drivers that `is_known` does not know. Their calls go on until their connections break.
    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| is_known(id));
    }
}

/// A connection to a driver, for one request.
pub(crate) struct Connection(SendRequest<Bytes>);

impl Connection {
    /// Sends a request, and returns the driver's response. Dropping either gives the call up at the driver.
    pub(crate) async fn send(mut self, request: Request<Outgoing>) -> Result<Response<Received>, h2::Error> {
        let (head, mut body) = request.into_parts();
        let (response, mut sender) = self.0.send_request(Request::from_parts(head, ()), false)?;
        let first = body.take_first().unwrap_or_default();
        let is_all = body.is_end_stream();
        sender.send_data(first, is_all)?;
        let rest = (!is_all).then(|| AbortOnDropHandle::new(tokio::spawn(send_rest(sender, body))));
        let response = response.await?;
        Ok(response.map(|stream| Received { stream, has_trailers_left: true, _rest: rest }))
    }
}

/// Sends the further messages of a request, as fast as the driver takes them.
async fn send_rest(mut sender: SendStream<Bytes>, mut body: Outgoing) {
    while poll_fn(|context| poll_capacity(&mut sender, context)).await {
        let next = poll_fn(|context| match sender.poll_reset(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut body).poll_frame(context),
        });
        let sent = match next.await {
            Some(Ok(frame)) => sender.send_data(frame.into_data().unwrap_or_default(), body.is_end_stream()),
            Some(Err(_)) => return sender.send_reset(Reason::CANCEL),
            None => sender.send_data(Bytes::new(), true),
        };
        if sent.is_err() || body.is_end_stream() {
            return;
        }
    }
}

/// Waits until the driver takes more of a request. Returns false if it does not want the rest.
fn poll_capacity(sender: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<bool> {
    sender.reserve_capacity(1);
    while sender.capacity() == 0 {
        match ready!(sender.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}

/// The body of a driver's response.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    has_trailers_left: bool,
    _rest: Option<AbortOnDropHandle<()>>,
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.stream.poll_data(context)) {
            let taken = data.and_then(|data| {
                self.stream.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            });
            return Poll::Ready(Some(taken));
        }
        if !self.has_trailers_left {
            return Poll::Ready(None);
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        self.has_trailers_left = false;
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

async fn connect(address: &str) -> Result<SendRequest<Bytes>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    // Without `TCP_NODELAY`, small requests are delayed. If it can't be set, they still arrive.
    let _ = stream.set_nodelay(true);
    // Spark's server closes connections that send pings, so the system has to detect a machine that is gone.
    let _ = detect_dead_peer(&stream);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buffer_size(SEND_BUFFER);
    let (requests, connection) = builder.handshake(stream).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Each call of a broken connection reports the error.
        let _ = connection.await;
    });
    Ok(requests)
}

/// Configures the system to close a connection whose peer does not respond.
fn detect_dead_peer(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, 60_000)
}

#[cfg(test)]
mod tests;
