//! The control plane as a gRPC service, `dcp.control.v1`, over any registry.
//!
//! Whoever calls it may be hostile until a token says otherwise, and careless even then: everything that comes in has
//! a limit.

mod auth;
mod commit;
mod control;
mod log;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dcp_proto::control::v1::control_server::ControlServer;
use futures_util::future::{self, Either};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub use auth::{Token, Tokens};
pub use log::{Call, Log};

use crate::registry::Registry;
use control::Control;
use log::Logged;

/// How a control plane is served.
#[derive(Debug, Clone)]
pub struct Options {
    pub tokens: Tokens,
    /// Without it, whoever sees the traffic sees the tokens.
    pub tls: Option<Tls>,
    pub limits: Limits,
    /// The time of a commit is the server's.
    pub clock: fn() -> Timestamp,
    /// Who is told of every call, once it has ended.
    pub log: Option<Log>,
}

impl Options {
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, tls: None, limits: Limits::default(), clock, log: None }
    }
}

/// A certificate with its chain, and its key, as PEM.
#[derive(Clone)]
pub struct Tls {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// What a call may cost, and all of them together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls at once; those beyond are told to try again.
    pub calls: usize,
    /// Changes in one commit.
    pub changes: u64,
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies of one commit.
    pub commit: usize,
    /// How long a call may take until it is answered, a commit's own stream included.
    pub time: Duration,
    /// How long calls that are under way may take to end once the server is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 256,
            changes: 500_000,
            body: 4 << 20,
            commit: 512 << 20,
            time: Duration::from_mins(2),
            grace: Duration::from_secs(20),
        }
    }
}

/// Why a control plane can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Tokens(String),
    #[error("the TLS certificate or its key can't be used: {0}; both must be PEM, and belong together")]
    Tls(#[source] tonic::transport::Error),
    #[error("the reflection service can't be made: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server stopped: {0}")]
    Transport(#[source] tonic::transport::Error),
}

/// Beside the largest body, what else a message may hold.
const MESSAGE_OVERHEAD: usize = 256 << 10;

/// Serves until `stop` is ready, then ends what is under way.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<dyn Registry>,
    options: Options,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let Options { tokens, tls, limits, clock, log } = options;
    let Limits { calls, time, grace, body, .. } = limits;
    let mut server = Server::builder()
        .timeout(time)
        .concurrency_limit_per_connection(64)
        .max_concurrent_streams(64)
        .http2_max_header_list_size(16 << 10)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)));
    if let Some(Tls { certificate, key }) = tls {
        let identity = Identity::from_pem(certificate, key);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(Error::Tls)?;
    }

    let control = ControlServer::new(Control { registry, limits, clock });
    let control = control.max_decoding_message_size(body + MESSAGE_OVERHEAD);
    let inner = InterceptedService::new(control, auth::Guard::new(tokens));
    // More permits than a semaphore can have are as good as none.
    let room = Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)));
    let control = Logged { inner, room, log, clock };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ControlServer<Control>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(dcp_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;

    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        reporter.set_not_serving::<ControlServer<Control>>().await;
        // Nobody hears it only where the server has ended already.
        let _ = stopping.send(());
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = server.add_service(control).add_service(health).add_service(reflection);
    let server = server.serve_with_incoming_shutdown(incoming, stop);
    let patience = async move {
        match stopped.await {
            Ok(()) => tokio::time::sleep(grace).await,
            Err(_) => future::pending().await,
        }
    };
    match future::select(std::pin::pin!(server), std::pin::pin!(patience)).await {
        Either::Left((ended, _)) => ended.map_err(Error::Transport),
        Either::Right(((), _)) => Ok(()),
    }
}

/// The system's clock; where it stands before 1970 or after 9999, the beginning of time.
fn clock() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
