//! The common base of dcp's services: authentication, limits, a log of calls, startup and shutdown.
//!
//! A set of gRPC services and, beside them, a REST router share one port: calls with gRPC's content type go to the
//! services, all others to the router. The same tokens, limits and log apply to both. Callers without a valid
//! token are treated as hostile, and callers with one as careless.

mod access;
mod audit;
mod caller;
mod certificate;
pub mod client;
mod connection;
mod error;
mod health;
mod log;
mod login;
mod offload;
mod pem;
mod ready;
mod rejection;
pub mod rest;
mod services;
mod steps;
mod tls;
mod tokens;
mod usage;
mod verifier;
mod workers;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use access::Access;
pub use audit::{Act, AuditEntry, AuditLog};
pub use caller::{Caller, Credential, Denied};
pub use certificate::{PREFIX as CERTIFICATE_PREFIX, UserField};
pub use dcp_model::policy;
pub use error::ServiceError;
pub use log::{Call, CallNotes, Log};
pub use login::{Login, generate_secret};
pub use offload::offload;
pub use rejection::Rejection;
pub use services::Services;
pub use tls::{Pem, Tls, TlsFiles};
pub use tokens::{Token, Tokens};
pub use verifier::{Verified, Verifier};
pub use workers::Workers;

use connection::ConnectionHandler;
use health::Health;
use steps::Stack;

/// Options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The credentials that are accepted over TCP.
    pub access: Option<Access>,
    /// TLS over TCP. Without it, tokens can be read from the traffic.
    pub tls: Option<Tls>,
    pub limits: Limits,
    /// The clock for the times in the log.
    pub clock: fn() -> Timestamp,
    /// Receives every call once it has ended.
    pub log: Option<Log>,
    /// Threads for connections. Without any, connections run on the current runtime.
    pub workers: Option<Workers>,
}

impl Options {
    pub fn new(access: impl Into<Access>) -> Self {
        Self { access: Some(access.into()), ..Self::without_tcp() }
    }

    /// Options of a server that has a Unix socket only.
    pub fn without_tcp() -> Self {
        Self { access: None, tls: None, limits: Limits::default(), clock, log: None, workers: None }
    }
}

/// The sockets on which a server accepts connections.
#[derive(Debug, Default)]
pub struct Listeners {
    pub tcp: Option<TcpListener>,
    pub unix: Option<Unix>,
}

/// A Unix socket, for processes of this user and of root.
#[derive(Debug)]
pub struct Unix {
    pub listener: UnixListener,
    /// The name that its callers get.
    pub name: String,
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self { tcp: Some(listener), unix: None }
    }
}

/// Limits of one caller, and of all callers together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of connections; further ones wait until one ends.
    pub connections: usize,
    /// Maximum number of connections of one peer address, or of one IPv6 /64 network; further ones are closed.
    /// This machine's own addresses may have seven eighths of all.
    pub connections_per_peer: usize,
    /// Maximum time from the start of a connection to its first admitted call, including TLS, and for the head of
    /// a request.
    pub head_timeout: Duration,
    /// Maximum time that a connection stays open without an admitted call; at most twice that after a long call.
    pub idle_timeout: Duration,
    /// Maximum number of concurrent calls; further ones are rejected with `UNAVAILABLE`.
    pub calls: usize,
    /// Maximum number of concurrent long-lived calls.
    pub streaming_calls: usize,
    /// Maximum number of streams of health and reflection, which need no token.
    pub public_streams: usize,
    /// Maximum time of a call until its response begins, including the time to send the request.
    pub call_timeout: Duration,
    /// Grace period of running calls after the server begins to stop.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_peer: 256,
            head_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_mins(5),
            calls: 256,
            streaming_calls: 2_048,
            public_streams: 256,
            call_timeout: Duration::from_mins(2),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

/// The reasons why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Tokens(String),
    #[error("without tokens, nobody can call at {0}: give tokens")]
    NoTokens(SocketAddr),
    #[error("the TLS certificate or its key can't be used: {0}; both have to be PEM, and belong together")]
    Tls(String),
    #[error("the reflection service can't be made: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the address of the listener is unknown: {0}")]
    Address(#[source] std::io::Error),
}

/// Serves until `stop` is ready, then ends running calls.
pub async fn serve(
    listeners: impl Into<Listeners>,
    services: Services,
    options: Options,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let listeners = listeners.into();
    let address = listeners.tcp.as_ref().map(TcpListener::local_addr).transpose().map_err(Error::Address)?;
    if let (Some(address), None) = (address, &options.access) {
        return Err(Error::NoTokens(address));
    }
    let (health, public_routes) = Health::start(&services).await?;
    let port = address.map_or(0, |address| address.port());
    let (stopping, stopped) = watch::channel(());
    let handler = ConnectionHandler {
        stack: Stack::new(services, public_routes, &options, port),
        tls: options.tls.clone(),
        certificates: options.access.as_ref().and_then(Access::certificates),
        head: options.limits.head_timeout,
        idle: options.limits.idle_timeout,
        stopped,
    };
    let mut connections = JoinSet::new();
    tokio::select! {
        () = connection::accept(&listeners, &handler, &options, &mut connections) => {}
        () = stop => {}
    }
    // New connections are rejected from now on, instead of waiting in vain.
    drop((listeners, handler));
    health.stop().await;
    // It fails only if no connection is left.
    let _ = stopping.send(());
    let ended = async { while connections.join_next().await.is_some() {} };
    // Dropping the set ends the remaining connections.
    let _ = tokio::time::timeout(options.limits.shutdown_grace, ended).await;
    Ok(())
}

/// Returns the system's time, or the epoch if the clock is before 1970 or after 9999.
pub fn clock() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
