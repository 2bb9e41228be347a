//! Those who call a service of ours: how it is reached, and what it means where it does not answer.
//!
//! Calls are made again where the service could not be reached. So each has to be one that can be repeated.

mod bearer;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

pub use bearer::Bearer;

/// How a service is reached.
#[derive(Clone)]
pub struct Options {
    /// `https://dcp.example.com:7420`; `http://` where nobody else can listen; `unix:///path` for a Unix socket.
    pub url: String,
    /// Empty where the service asks for none.
    pub token: String,
    /// PEM of a certificate authority that the machine does not know.
    pub ca: Option<Vec<u8>>,
    /// How long to try again where the server can't be reached.
    pub patience: Duration,
    /// How long one attempt may take.
    pub deadline: Duration,
}

impl Options {
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        let (patience, deadline) = (Duration::from_secs(10), Duration::from_mins(2));
        Self { url: url.into(), token: token.into(), ca: None, patience, deadline }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// For people, such as `control plane`.
    pub what: &'static str,
    /// The protocol's package, such as `dcp.control.v1`.
    pub domain: &'static str,
}

/// What a call came to, where it is no answer.
#[derive(Debug)]
pub enum Fault {
    /// The service's own refusal, with its reason.
    Refused(Box<Status>),
    /// There can't be such a service there.
    Invalid(String),
    Denied(String),
    /// It can't be reached, or does not answer. To try again is safe.
    Unavailable(String),
}

/// A channel on which each call carries the token.
pub type Way = InterceptedService<Channel, Bearer>;

/// A service. Nothing is sent before the first call.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    service: Service,
    url: Arc<str>,
    patience: Duration,
    deadline: Duration,
}

/// What the URL of a Unix socket begins with, before its absolute path.
const UNIX: &str = "unix:///";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Client {
    pub fn new(options: Options, service: Service) -> Result<Self, Fault> {
        let Options { url, token, ca, patience, deadline } = options;
        let what = service.what;
        let unusable =
            |why: String| Fault::Invalid(format!("`{url}` can't be the address of a {what}: {why}"));
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| unusable(error.to_string()))?;
        let mut endpoint = endpoint
            .connect_timeout(patience)
            .timeout(deadline)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        match endpoint.uri().scheme_str() {
            // Nobody else can listen there, and no path is an address that TLS could prove.
            _ if url.starts_with(UNIX) => {}
            _ if url.starts_with("unix:") => return Err(unusable("write `unix:///path`".to_owned())),
            Some("https") => {
                let tls = ClientTlsConfig::new().with_native_roots();
                let tls = ca.iter().fold(tls, |tls, ca| tls.ca_certificate(Certificate::from_pem(ca)));
                endpoint = endpoint.tls_config(tls).map_err(|error| unusable(root(&error)))?;
            }
            Some("http") => {}
            _ => return Err(unusable("write `https://host:port`".to_owned())),
        }
        let way = InterceptedService::new(endpoint.connect_lazy(), Bearer::new(&token)?);
        Ok(Self { way, service, url: url.into(), patience, deadline })
    }

    /// What the calls go by.
    pub fn way(&self) -> Way {
        self.way.clone()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// An answer that makes no sense.
    pub fn unreadable(&self, what: impl fmt::Display) -> String {
        let url = &self.url;
        format!("`{url}` answered what this dcp can't read ({what}): see that both are of one version")
    }

    /// Calls until there is an answer, or the patience is at its end.
    pub async fn call<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let end = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            // A server that takes a call and says nothing more would be waited for: the channel's own deadline
            // ends with the first word of the answer.
            let Ok(answer) = timeout(self.deadline, call()).await else {
                return Err(self.silent());
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(status) if is_transient(&status) && Instant::now() + pause < end => sleep(pause).await,
                Err(status) => return Err(self.fault(&status)),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn silent(&self) -> Fault {
        let (url, deadline) = (&self.url, self.deadline);
        Fault::Unavailable(format!("`{url}` did not answer within {deadline:?}; to try again is safe"))
    }

    /// What a status means to whoever called.
    pub fn fault(&self, status: &Status) -> Fault {
        let Service { what, domain } = self.service;
        let url = &self.url;
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == domain) {
            let why = status.message();
            return match info.reason.as_str() {
                "DENIED" | "UNAUTHENTICATED" => Fault::Denied(format!(
                    "`{url}` refuses the call: {why}; see that the token is one of its own"
                )),
                "UNAVAILABLE" => Fault::Unavailable(format!("`{url}` can't do it now: {why}")),
                _ => Fault::Refused(Box::new(status.clone())),
            };
        }
        let why = if status.source().is_some() { root(status) } else { status.message().to_owned() };
        match status.code() {
            Code::DeadlineExceeded => self.silent(),
            // What tonic says where its own deadline, here or there, has passed.
            Code::Cancelled if why == TimeoutExpired(()).to_string() => self.silent(),
            Code::Unavailable => Fault::Unavailable(format!(
                "`{url}` can't be reached: {why}; see that the address is right and that the {what} runs"
            )),
            Code::Unimplemented => Fault::Invalid(format!(
                "`{url}` answers, but does not speak {domain} as this dcp does ({why}): it is no {what}, or one of \
                 another version; see the address, or use the dcp that it is of"
            )),
            Code::Unauthenticated | Code::PermissionDenied => {
                Fault::Denied(format!("`{url}`, or a proxy before it, refuses the call: {why}"))
            }
            _ => Fault::Unavailable(format!(
                "`{url}` answers, but not as a {what} does: {why}; see that the address is right"
            )),
        }
    }
}

/// Whether the same call may well succeed a little later.
fn is_transient(status: &Status) -> bool {
    // A server that is there and speaks something else, or has a wrong certificate, will tomorrow too.
    let io = causes(status).find_map(|cause| cause.downcast_ref::<io::Error>());
    let hopeless = io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    (status.code() == Code::Unavailable || io.is_some()) && !hopeless
}

/// What is at the root of an error: what stands above it says only that something went wrong.
fn root(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| StdError::source(*error))
}
