//! Accepts connections up to a limit, and closes unused ones.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::process::geteuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::server::TlsStream;

use crate::caller::{Caller, Credential};
use crate::certificate::{Holder, UserField};
use crate::steps::{Authentication, Origin, Stack};
use crate::tls::Tls;
use crate::usage::{Peers, Usage};
use crate::workers::Workers;
use crate::{Limits, Listeners, Options};

/// Limits of one connection: concurrent calls, and bytes of a request's head.
const MAX_CONCURRENT_STREAMS: u32 = 64;
const MAX_HEAD_BYTES: u32 = 16 << 10;
/// Interval and timeout of HTTP/2 keep-alive pings.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between GOAWAY and the end of the connection, for calls that were sent before it arrived.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// Pause of accepting after the system had no resources for a connection.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The context that each connection gets.
#[derive(Clone)]
pub(crate) struct ConnectionHandler {
    pub(crate) stack: Stack,
    pub(crate) tls: Option<Tls>,
    /// The part of client certificates that names their users, if they are accepted.
    pub(crate) certificates: Option<UserField>,
    /// Maximum time until the first admitted call, and for the head of each request.
    pub(crate) head: Duration,
    /// Maximum time without an admitted call.
    pub(crate) idle: Duration,
    /// Changes once, when the server is to stop.
    pub(crate) stopped: watch::Receiver<()>,
}

/// Accepts connections until it is dropped.
pub(crate) async fn accept(
    listeners: &Listeners,
    handler: &ConnectionHandler,
    options: &Options,
    connections: &mut JoinSet<()>,
) {
    let Options { limits, workers, .. } = options;
    let (tcp, unix) = (ConnectionPermits::new(limits), ConnectionPermits::new(limits));
    let peers = Peers::new(limits);
    loop {
        // Connections beyond the limit wait in the system's queue, where they cost nothing. Each listener has
        // permits of its own, so that strangers can't lock out the owner.
        let (permit, accepted) = tokio::select! {
            accepted = tcp.accept(listeners.tcp.as_ref(), tokio::net::TcpListener::accept) => match accepted {
                // A peer at its limit is disconnected at once, so that other peers do not wait for it.
                (permit, Ok((stream, address))) => {
                    let Some(peer_permit) = peers.take(address.ip()) else { continue };
                    ((permit, Some(peer_permit)), Ok(Accepted::Tcp(stream)))
                }
                (permit, Err(error)) => ((permit, None), Err(error)),
            },
            (permit, accepted) = unix.accept(listeners.unix.as_ref(), |it| it.listener.accept()) => {
                ((permit, None), accepted.map(|(stream, _)| Accepted::Unix(stream)))
            }
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(accepted) => {
                let (handler, name) = (handler.clone(), listeners.unix.as_ref().map(|it| it.name.clone()));
                let worker = workers.as_ref().and_then(Workers::next);
                let is_moved = worker.is_some();
                let serving = async move {
                    let accepted = if is_moved { accepted.moved() } else { Ok(accepted) };
                    // The error of one connection needs no action.
                    if let Ok(accepted) = accepted {
                        handler.serve(accepted, name.unwrap_or_default()).await;
                    }
                    drop(permit);
                };
                connections.spawn_on(serving, &worker.unwrap_or_else(Handle::current));
            }
            // The peer closed the connection before it was accepted.
            Err(error) if is_peer_disconnect(&error) => {}
            Err(_) => sleep(ACCEPT_RETRY_PAUSE).await,
        }
    }
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Accepted {
    /// Moves the connection to the runtime of the current task.
    fn moved(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream.into_std()?)?),
            Self::Unix(stream) => Self::Unix(UnixStream::from_std(stream.into_std()?)?),
        })
    }
}

/// Permits for the connections of one listener.
struct ConnectionPermits(Arc<Semaphore>);

impl ConnectionPermits {
    fn new(limits: &Limits) -> Self {
        Self(Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Accepts a connection once there is a permit; never without a listener. Dropping it loses no connection.
    async fn accept<'l, L, F: Future>(
        &self,
        listener: Option<&'l L>,
        accept: impl FnOnce(&'l L) -> F,
    ) -> (OwnedSemaphorePermit, F::Output) {
        match (listener, Arc::clone(&self.0).acquire_owned().await) {
            (Some(listener), Ok(permit)) => (permit, accept(listener).await),
            // The semaphore is never closed.
            (None, _) | (_, Err(_)) => std::future::pending().await,
        }
    }
}

fn is_peer_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl ConnectionHandler {
    /// Serves a connection until it ends. Callers at the Unix socket have the name `owner`.
    async fn serve(self, accepted: Accepted, owner: String) {
        match accepted {
            Accepted::Tcp(stream) => self.serve_tcp(stream).await,
            Accepted::Unix(stream) => self.serve_unix(stream, owner).await,
        }
    }

    async fn serve_tcp(self, stream: TcpStream) {
        // Without `TCP_NODELAY`, small responses are delayed. If it can't be set, they still arrive.
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let deadline = Instant::now() + self.head;
        let Some(tls) = self.tls.clone() else {
            let authentication = Authentication::Remote { peer, certificate: None };
            return self.serve_http(stream, authentication, None, deadline).await;
        };
        let Ok(Ok(stream)) = timeout_at(deadline, tls.acceptor().accept(stream)).await else { return };
        let certificate = self.certificates.and_then(|field| holder(&stream, field));
        // A certificate may be one that a new configuration does not accept.
        let ends_with = certificate.is_some().then_some(tls);
        let authentication = Authentication::Remote { peer, certificate };
        self.serve_http(stream, authentication, ends_with, deadline).await;
    }

    /// Serves a process of this user or of root. The socket's mode restricts access to these; this checks it
    /// again.
    async fn serve_unix(self, stream: UnixStream, name: String) {
        let is_owner = |peer: UCred| peer.uid() == 0 || peer.uid() == geteuid().as_raw();
        if stream.peer_cred().is_ok_and(is_owner) {
            let deadline = Instant::now() + self.head;
            let caller = Caller::unrestricted(&name, Credential::Process);
            self.serve_http(stream, Authentication::PeerCredentials(caller), None, deadline).await;
        }
    }

    /// Answers calls until the peer closes the connection, the server stops, no call was admitted in time, or the TLS
    /// configuration `ends_with` changes.
    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authentication: Authentication,
        mut ends_with: Option<Tls>,
        deadline: Instant,
    ) {
        let Self { stack, head, idle, mut stopped, .. } = self;
        let usage = Usage::new(deadline);
        let origin = Origin { authentication, usage: usage.clone() };
        let service = service_fn(move |request: Request<Incoming>| {
            stack.clone().answer(origin.clone(), request.map(Body::new)).map(Ok::<_, Infallible>)
        });
        let builder = http_builder(head);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut idle_timer = std::pin::pin!(sleep_until(deadline));
        let (mut closing, mut stopping) = (false, false);
        loop {
            tokio::select! {
                // The error of one connection needs no action.
                _ = connection.as_mut() => return,
                () = idle_timer.as_mut() => match usage.expires_at(idle) {
                    None => idle_timer.as_mut().reset(Instant::now() + idle),
                    Some(at) if at > Instant::now() => idle_timer.as_mut().reset(at),
                    // Pings and rejected calls do not count as use.
                    Some(_) if closing => return,
                    Some(_) => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        idle_timer.as_mut().reset(Instant::now() + CLOSE_GRACE);
                    }
                },
                () = tls_changed(&mut ends_with), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // A dropped sender means stop, too.
                _ = stopped.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Returns the holder of the client certificate of a connection, if there is one.
fn holder(stream: &TlsStream<TcpStream>, field: UserField) -> Option<Arc<Result<Holder, String>>> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    Some(Arc::new(Holder::of(certificate, field)))
}

async fn tls_changed(tls: &mut Option<Tls>) {
    match tls {
        Some(tls) => tls.changed().await,
        None => std::future::pending().await,
    }
}

/// Returns the limits of HTTP/1 and HTTP/2 connections.
fn http_builder(head: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MAX_HEAD_BYTES as usize);
    builder
}
