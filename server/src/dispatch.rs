//! Every call passes here: callers are identified, permits taken, time limited, and calls logged.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower_service::Service as _;

use crate::access::Access;
use crate::caller::Caller;
use crate::error::ServiceError;
use crate::log::{CallGuard, Entry, GuardedBody, HTTP, Log};
use crate::pages::{self, Page};
use crate::ready::ReadinessCheck;
use crate::services;
use crate::usage::Usage;

/// Maximum length of a path or a method in the log.
const MAX_LOGGED_CHARS: usize = 200;

/// All services, behind the checks that every call has to pass.
pub(crate) struct Dispatcher {
    /// Health and reflection, which need neither a token nor a permit for calls.
    pub(crate) public_routes: Routes,
    /// Permits for streams of health and reflection.
    pub(crate) public_streams: Arc<Semaphore>,
    pub(crate) grpc: Routes,
    pub(crate) rest: Option<Router>,
    /// Names of the gRPC services.
    pub(crate) names: Vec<&'static str>,
    /// Access control of callers over TCP.
    pub(crate) access: Option<Access>,
    /// The TCP port, and whether it is served with TLS.
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    pub(crate) ready: Option<ReadinessCheck>,
    /// Permits for concurrent calls.
    pub(crate) call_permits: Arc<Semaphore>,
    /// Suffixes of the paths of long-lived calls, and permits for these.
    pub(crate) streaming_suffixes: Vec<&'static str>,
    pub(crate) streaming_permits: Arc<Semaphore>,
    pub(crate) call_timeout: Duration,
    pub(crate) log: Option<Log>,
    pub(crate) clock: fn() -> Timestamp,
}

/// The context of a connection, which all of its calls share.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) authentication: Authentication,
    pub(crate) usage: Usage,
}

/// The way in which callers are authenticated.
#[derive(Debug, Clone)]
pub(crate) enum Authentication {
    /// Callers over TCP, identified by the tokens of their calls.
    Token,
    /// Callers over the Unix socket, identified by the system as processes of a user.
    PeerCredentials(Caller),
}

/// The interface that answers a call.
enum Interface {
    Grpc(Routes),
    Rest(Router),
}

impl Dispatcher {
    pub(crate) async fn dispatch(
        &self,
        mut request: Request<Body>,
        connection: &ConnectionContext,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        let is_grpc = is_grpc(request.headers());
        if !is_grpc && let Some(page) = Page::of(request.method(), path) {
            let problem = if page == Page::Alive { None } else { self.problem().await };
            return Ok(page.render(problem.as_deref(), self.rest.is_some()));
        }
        let interface = match &self.rest {
            // A router without routes answers 404.
            rest if !is_grpc => Interface::Rest(rest.clone().unwrap_or_default()),
            _ if is_public(path) => return self.serve_public(request, &connection.usage).await,
            _ => Interface::Grpc(self.grpc.clone()),
        };
        let service = match &interface {
            Interface::Grpc(_) => {
                self.names.iter().copied().find(|name| is_call_of(path, name)).unwrap_or("unknown")
            }
            Interface::Rest(_) => HTTP,
        };
        let method = match &interface {
            Interface::Grpc(_) => path.rsplit('/').next().unwrap_or_default().to_owned(),
            Interface::Rest(_) => format!("{} {path}", request.method()),
        };
        let entry = Entry::new((self.clock)(), service, escaped(&method), self.log.clone());
        let http_method = request.method().clone();

        let login = self.access.as_ref().and_then(Access::login).filter(|_| !is_grpc);
        if let Some(page) = login.and_then(|login| pages::login(login, &request, self.port, self.is_tls)) {
            return Ok(entry.follow(page, &http_method, None));
        }
        let (Caller(name), permit) = match self.admit(&request, &connection.authentication, service) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(entry.follow(error_response(&interface, error), &http_method, None)),
        };
        let guard = CallGuard { _permit: permit, _call: connection.usage.begin_call() };
        entry.notes.by(&name);
        request.extensions_mut().insert(Caller(name));
        request.extensions_mut().insert(entry.notes.clone());
        let time = grpc_timeout(request.headers())
            .map_or(self.call_timeout, |requested| requested.min(self.call_timeout));
        let called = async {
            match &interface {
                Interface::Grpc(routes) => routes.clone().call(request).await,
                Interface::Rest(router) => {
                    let mut response = router.clone().call(request).await?.map(Body::new);
                    pages::add_security_headers(response.headers_mut());
                    Ok(response)
                }
            }
        };
        let response = match tokio::time::timeout(time, called).await {
            Ok(answer) => answer?,
            Err(_) => {
                let message = format!("the call took longer than {time:?}, which is all that it may take");
                error_response(
                    &interface,
                    ServiceError::new(Code::DeadlineExceeded, domain(service), "TOO_LATE", message),
                )
            }
        };
        Ok(entry.follow(response, &http_method, Some(guard)))
    }

    /// Returns why the server is not ready, if it is not.
    async fn problem(&self) -> Option<String> {
        match &self.ready {
            Some(ready) => ready.problem().await,
            None => None,
        }
    }

    /// Answers a call that needs no token. Streams have few permits; other calls end by themselves.
    async fn serve_public(
        &self,
        request: Request<Body>,
        usage: &Usage,
    ) -> Result<Response<Body>, Infallible> {
        let is_stream = PUBLIC_STREAM_SUFFIXES.iter().any(|end| request.uri().path().ends_with(end));
        let stream =
            || Some((usage.public_stream()?, Arc::clone(&self.public_streams).try_acquire_owned().ok()?));
        let guard = match is_stream.then(stream) {
            Some(None) => {
                let busy = "too many streams of health and reflection are open; retry later";
                return Ok(Status::resource_exhausted(busy).into_http());
            }
            guard => guard.flatten(),
        };
        match tokio::time::timeout(self.call_timeout, self.public_routes.clone().call(request)).await {
            Ok(answer) => Ok(answer?.map(|inner| Body::new(GuardedBody { inner, _guard: guard }))),
            Err(_) => Ok(Status::deadline_exceeded("the call took too long").into_http()),
        }
    }

    /// Identifies the caller and takes a permit for the call.
    fn admit<B>(
        &self,
        request: &Request<B>,
        authentication: &Authentication,
        service: &'static str,
    ) -> Result<(Caller, OwnedSemaphorePermit), ServiceError> {
        let caller = match (authentication, &self.access) {
            (Authentication::PeerCredentials(caller), _) => Ok(caller.clone()),
            (Authentication::Token, Some(access)) => access.caller(request),
            (Authentication::Token, None) => Err("this server has no tokens"),
        };
        let caller = caller.map_err(|why| {
            ServiceError::new(Code::Unauthenticated, domain(service), "UNAUTHENTICATED", why)
        })?;
        let path = request.uri().path();
        let is_long_lived = services::is_long_lived(&self.streaming_suffixes, path);
        let permits = if is_long_lived { &self.streaming_permits } else { &self.call_permits };
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| {
            let busy = "too many concurrent calls; retry, or raise --max-calls";
            ServiceError::new(Code::Unavailable, domain(service), "UNAVAILABLE", busy)
        })?;
        Ok((caller, permit))
    }
}

fn error_response(interface: &Interface, error: ServiceError) -> Response<Body> {
    match interface {
        Interface::Grpc(_) => Status::from(error).into_http(),
        Interface::Rest(_) => error.into_response().map(Body::new),
    }
}

/// Returns the protocol of a service, which defines the reasons of its errors.
fn domain(service: &'static str) -> &'static str {
    service.rsplit_once('.').map_or("dcp", |(package, _)| package)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Suffixes of the paths of streams that need no token.
const PUBLIC_STREAM_SUFFIXES: [&str; 2] = ["/Watch", "/ServerReflectionInfo"];

/// Returns true if a path belongs to a service that needs no token.
fn is_public(path: &str) -> bool {
    [services::HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection"]
        .iter()
        .any(|name| is_call_of(path, name))
}

fn is_call_of(path: &str, service: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(service))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Shortens and escapes text of a request for the log.
fn escaped(text: &str) -> String {
    text.chars()
        .take(MAX_LOGGED_CHARS)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}

/// Parses gRPC's `grpc-timeout`, the caller's timeout: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_parsed() {
        let read = |text: &str| {
            grpc_timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!((read("7u"), read("7n")), (Some(Duration::from_micros(7)), Some(Duration::from_nanos(7))));
        for wrong in ["", "S", "3", "3s", "+3S", "-3S", "999999999S", "3 S", "1.5S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_with_a_common_prefix_are_distinguished() {
        assert!(is_public("/grpc.health.v1.Health/Check"));
        for path in
            ["/grpc.health.v1.Health", "/grpc.health.v1.HealthX/Check", "//grpc.health.v1.Health/Check", ""]
        {
            assert!(!is_public(path), "{path}");
        }
        assert_eq!(domain("dcp.control.v1.Control"), "dcp.control.v1");
        assert_eq!(escaped("GET /a\u{1b}[31mé"), "GET /a?[31m?");
    }
}
