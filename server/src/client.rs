//! Clients of dcp's services: connection, retries and errors.
//!
//! Calls are retried while the service can't be reached, so each call has to be idempotent.

mod bearer;
mod renewal;
mod tls;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, TimeoutExpired};

pub use bearer::{Bearer, TokenSource};
pub use renewal::Renewal;
pub use tls::{Identity, TlsFiles};

use crate::error::{ServiceError, retry_delay};

/// Address, credentials and timeouts of a client.
#[derive(Clone)]
pub struct Options {
    /// `https://dcp.example.com:7420`; `http://` on a trusted network; `unix:///path` for a Unix socket.
    pub url: String,
    pub token: TokenSource,
    /// Returns newer tokens, for clients that may live longer than the first one.
    pub renewal: Option<Renewal>,
    pub tls: TlsFiles,
    /// Time to retry while the server can't be reached; zero for a single attempt.
    pub retry_for: Duration,
    /// Timeout of one attempt.
    pub deadline: Duration,
}

impl Options {
    pub fn new(url: impl Into<String>, token: impl Into<TokenSource>) -> Self {
        let (retry_for, deadline) = (Duration::from_secs(10), Duration::from_mins(2));
        let (renewal, tls) = (None, TlsFiles::default());
        Self { url: url.into(), token: token.into(), renewal, tls, retry_for, deadline }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The service that a client calls.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its name in messages, such as `control plane`.
    pub name: &'static str,
    /// The protocol's package, such as `dcp.control.v1`.
    pub domain: &'static str,
}

/// The failure of a call.
#[derive(Debug)]
pub enum CallError {
    /// The service rejected the request, with a reason.
    Rejected(Box<ServiceError>),
    /// The URL can't be an address of such a service, or another service answers there.
    Invalid(String),
    Denied(String),
    /// The service can't be reached, or does not answer. A retry is safe.
    Unavailable(String),
}

/// A channel on which each call carries the token.
pub type AuthenticatedChannel = InterceptedService<Channel, Bearer>;

/// A client of one service. It connects at the first call.
#[derive(Debug, Clone)]
pub struct Client {
    channel: AuthenticatedChannel,
    bearer: Bearer,
    renewal: Option<Renewal>,
    service: Service,
    url: Arc<str>,
    retry_for: Duration,
    deadline: Duration,
}

/// The prefix of the URL of a Unix socket, before its absolute path.
const UNIX: &str = "unix:///";

/// Timeout of a connection, if calls are not retried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

impl Client {
    pub fn new(options: Options, service: Service) -> Result<Self, CallError> {
        let Options { url, token, renewal, tls, retry_for, deadline } = options;
        let name = service.name;
        let unusable =
            |why: String| CallError::Invalid(format!("`{url}` can't be the address of a {name}: {why}"));
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| unusable(error.to_string()))?;
        let endpoint = endpoint
            .connect_timeout(if retry_for.is_zero() { CONNECT_TIMEOUT } else { retry_for })
            .timeout(deadline)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let channel = match endpoint.uri().scheme_str() {
            // A Unix socket needs no TLS: only this machine can use it, and a certificate can't name a path.
            _ if url.starts_with(UNIX) => endpoint.connect_lazy(),
            _ if url.starts_with("unix:") => return Err(unusable("write `unix:///path`".to_owned())),
            Some("https") => {
                // The files are read for each connection. This finds an error before the first call.
                tls.config().map_err(|error| CallError::Invalid(error.to_string()))?;
                endpoint.connect_with_connector_lazy(tls::Connector::new(tls))
            }
            Some("http") => endpoint.connect_lazy(),
            _ => return Err(unusable("write `https://host:port`".to_owned())),
        };
        let bearer = Bearer::new(token)?;
        let channel = InterceptedService::new(channel, bearer.clone());
        Ok(Self { channel, bearer, renewal, service, url: url.into(), retry_for, deadline })
    }

    /// Returns the channel for the calls.
    pub fn channel(&self) -> AuthenticatedChannel {
        self.channel.clone()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the message for a response that can't be parsed.
    pub fn unreadable(&self, what: impl fmt::Display) -> String {
        let url = &self.url;
        format!("`{url}` answered what this dcp can't read ({what}): see that both are of one version")
    }

    /// Sets a newer token for the calls of [`channel`](Self::channel), if there is one.
    pub async fn renew(&self) -> Result<(), CallError> {
        let Some(renewal) = &self.renewal else { return Ok(()) };
        self.bearer.set(&renewal.token().await?)
    }

    /// Makes a call. While the service can't be reached, or asks to wait, retries for at most [`Options::retry_for`].
    pub async fn call<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let end = Instant::now() + self.retry_for;
        let mut pause = FIRST_BACKOFF;
        loop {
            self.renew().await?;
            // The channel's own deadline ends with the first bytes of a response. This timeout covers the rest.
            let Ok(answer) = timeout(self.deadline, call()).await else {
                return Err(self.timeout_error());
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(status) if is_transient(&status) && Instant::now() + pause < end => sleep(pause).await,
                Err(status) => match retry_delay(&status).map(|delay| delay.max(pause)) {
                    Some(delay) if delay < end.saturating_duration_since(Instant::now()) => {
                        sleep(delay).await;
                    }
                    _ => return Err(self.call_error(&status)),
                },
            }
            pause = (pause * 2).min(MAX_BACKOFF);
        }
    }

    fn timeout_error(&self) -> CallError {
        let (url, deadline) = (&self.url, self.deadline);
        CallError::Unavailable(format!("`{url}` did not answer within {deadline:?}; to try again is safe"))
    }

    /// Maps a status to a failure with a message for the caller.
    pub fn call_error(&self, status: &Status) -> CallError {
        let Service { name, domain } = self.service;
        let url = &self.url;
        if let Some(error) = ServiceError::read(status, domain) {
            let why = &error.message;
            return match error.reason.as_ref() {
                "DENIED" => CallError::Denied(format!("`{url}` refuses the call: {why}")),
                "UNAUTHENTICATED" => CallError::Denied(format!(
                    "`{url}` refuses the call: {why}; log in with `dcp login`, or give a token that it knows, in DCP_TOKEN"
                )),
                "UNAVAILABLE" => CallError::Unavailable(format!("`{url}` can't do it now: {why}")),
                _ => CallError::Rejected(Box::new(error)),
            };
        }
        let why = if status.source().is_some() { root_cause(status) } else { status.message().to_owned() };
        match status.code() {
            Code::DeadlineExceeded => self.timeout_error(),
            // tonic's message when its own deadline has passed, at either end.
            Code::Cancelled if why == TimeoutExpired(()).to_string() => self.timeout_error(),
            Code::Unavailable => CallError::Unavailable(format!(
                "`{url}` can't be reached: {why}; see that the address is right and that the {name} runs"
            )),
            Code::Unimplemented => CallError::Invalid(format!(
                "`{url}` answers, but does not speak {domain} as this dcp does ({why}): it is no {name}, or one of \
                 another version; see the address, or use the dcp that it is of"
            )),
            Code::Unauthenticated | Code::PermissionDenied => {
                CallError::Denied(format!("`{url}`, or a proxy before it, refuses the call: {why}"))
            }
            _ => CallError::Unavailable(format!(
                "`{url}` answers, but not as a {name} does: {why}; see that the address is right"
            )),
        }
    }
}

/// Returns true if the same call may succeed on a retry.
fn is_transient(status: &Status) -> bool {
    // `InvalidData` means another protocol or a wrong certificate, which a retry does not change.
    let io = causes(status).find_map(|cause| cause.downcast_ref::<io::Error>());
    let is_permanent = io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    (status.code() == Code::Unavailable || io.is_some()) && !is_permanent
}

/// Returns the message of the root cause. The errors above it say only that something failed.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| StdError::source(*error))
}
