//! What every service of ours has, whatever it does: who may call, how much may be asked at once, what is told of each
//! call, and how it begins and ends.
//!
//! A set of gRPC services and, beside them, a REST router share one port: a call whose content is gRPC's goes to the
//! services, every other to the router. The same tokens, limits and log hold for both. Whoever calls may be hostile
//! until a token says otherwise, and careless even then.

mod access;
mod caller;
pub mod client;
mod connection;
mod front;
mod log;
mod login;
mod offload;
mod pages;
mod ready;
mod services;
pub mod status;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic_health::ServingStatus;

pub use access::{Access, Token, Tokens};
pub use caller::Caller;
pub use connection::Tls;
pub use log::{Call, Log, Noted};
pub use login::{Login, secret};
pub use offload::offload;
pub use services::Services;

use connection::Door;
use front::Front;

/// How services are served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who may call over TCP.
    pub access: Option<Access>,
    /// For TCP. Without it, whoever sees the traffic sees the tokens.
    pub tls: Option<Tls>,
    pub limits: Limits,
    /// The time of a call, as its log tells it.
    pub clock: fn() -> Timestamp,
    /// Who is told of every call, once it has ended.
    pub log: Option<Log>,
}

impl Options {
    pub fn new(access: impl Into<Access>) -> Self {
        Self { access: Some(access.into()), ..Self::without_tcp() }
    }

    /// For a server that has a Unix socket only.
    pub fn without_tcp() -> Self {
        Self { access: None, tls: None, limits: Limits::default(), clock, log: None }
    }
}

/// Where a server accepts connections.
#[derive(Debug, Default)]
pub struct Listeners {
    pub tcp: Option<TcpListener>,
    pub unix: Option<Unix>,
}

/// A Unix socket, for processes of this user and of root.
#[derive(Debug)]
pub struct Unix {
    pub listener: UnixListener,
    /// The name of its callers.
    pub name: String,
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self { tcp: Some(listener), unix: None }
    }
}

/// What one who calls may cost, and all of them together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; those beyond wait until one ends.
    pub connections: usize,
    /// Connections at once of one peer address, or of one IPv6 network of 64 bits; those beyond are closed. This machine's
    /// own addresses may have seven eighths of all.
    pub connections_per_peer: usize,
    /// Maximum time from the begin of a connection to its first admitted call, its TLS included, and for the head of a
    /// request.
    pub head: Duration,
    /// Maximum time that a connection stays open without an admitted call; twice that, at most, after a long call.
    pub idle: Duration,
    /// Calls at once; those beyond are told to try again.
    pub calls: usize,
    /// Calls at once that follow something for as long as it lasts.
    pub lasting: usize,
    /// Streams of health and reflection at once, which need no token.
    pub open_streams: usize,
    /// How long a call may take until it is answered, what it sends included.
    pub time: Duration,
    /// How long calls that are under way may take to end once the server is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_peer: 256,
            head: Duration::from_secs(20),
            idle: Duration::from_mins(5),
            calls: 256,
            lasting: 2_048,
            open_streams: 256,
            time: Duration::from_mins(2),
            grace: Duration::from_secs(20),
        }
    }
}

/// Why services can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Tokens(String),
    #[error("without tokens, nobody can call at {0}: give tokens")]
    NoTokens(SocketAddr),
    #[error("the TLS certificate or its key can't be used: {0}; both must be PEM, and belong together")]
    Tls(String),
    #[error("the reflection service can't be made: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the address that is listened at can't be told: {0}")]
    Address(#[source] std::io::Error),
}

/// Serves until `stop` is ready, then ends what is under way.
pub async fn serve(
    listeners: impl Into<Listeners>,
    services: Services,
    options: Options,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let Options { access, tls, limits, clock, log } = options;
    let listeners = listeners.into();
    let address = listeners.tcp.as_ref().map(TcpListener::local_addr).transpose().map_err(Error::Address)?;
    if let (Some(address), None) = (address, &access) {
        return Err(Error::NoTokens(address));
    }
    let tls = tls.map(|tls| tls.config()).transpose()?.map(TlsAcceptor::from);
    let Services { grpc, rest, names, lasting, descriptors, ready } = services;
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(services::HEALTH);
    for name in &names {
        reporter.set_service_status(*name, ServingStatus::Serving).await;
        reflection = reflection.with_service_name(*name);
    }
    let open = tonic::service::Routes::new(health).add_service(reflection.build_v1()?);
    let front = Front {
        open: open.prepare(),
        open_streams: Arc::new(Semaphore::new(limits.open_streams.min(Semaphore::MAX_PERMITS))),
        grpc: grpc.prepare(),
        rest,
        names: names.clone(),
        access,
        port: address.map_or(0, |address| address.port()),
        is_tls: tls.is_some(),
        ready,
        // More permits than a semaphore can have are as good as none.
        room: Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS))),
        lasting,
        lasting_room: Arc::new(Semaphore::new(limits.lasting.min(Semaphore::MAX_PERMITS))),
        time: limits.time,
        log,
        clock,
    };
    let (stopping, stopped) = watch::channel(());
    let door = Door { front: Arc::new(front), tls, head: limits.head, idle: limits.idle, stopped };
    let mut connections = JoinSet::new();
    tokio::select! {
        () = connection::accept(&listeners, &door, &limits, &mut connections) => {}
        () = stop => {}
    }
    // Who connects from now on is refused, instead of waiting for what no longer comes.
    drop((listeners, door));
    for name in names.iter().copied().chain([""]) {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
    }
    // Nobody hears it only where no connection is left.
    let _ = stopping.send(());
    let ended = async { while connections.join_next().await.is_some() {} };
    // What has not ended by then is ended with the set.
    let _ = tokio::time::timeout(limits.grace, ended).await;
    Ok(())
}

/// The system's clock; where it stands before 1970 or after 9999, the beginning of time.
pub fn clock() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
