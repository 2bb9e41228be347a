//! Forwards a call to the driver of its session.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dcp_gateway::secrets::SecretValue;
use dcp_server::Caller;
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TE};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use jiff::SignedDuration;
use tonic::body::Body;
use tonic::{Code, Status};

use super::method::Method;
use super::outgoing::Outgoing;
use super::sessions::{Named, Session};
use super::upstream::Received;
use super::{Inner, ROLE, check_role, incoming, resource};
use crate::discovery;
use crate::failure::{Handle, invalid_handle, unavailable};
use crate::route::{self, PREFIX};
use crate::session::{SessionKey, StoredDriver};
use crate::wire::frame::{self, Frames, MAX_MESSAGE};
use crate::wire::{config, request};

/// Time after which a driver that its source does not report any more gets no new connection: another program may listen at
/// its address.
const MAX_UNSEEN: SignedDuration = SignedDuration::from_secs(15);
/// Maximum time for recording the end of a session, or a cloned one.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// A call to forward.
pub(super) struct Forwarded {
    pub(super) parts: Parts,
    pub(super) first: Bytes,
    pub(super) frames: Frames<Body>,
    pub(super) method: Method,
    /// A session that is released may be used again.
    pub(super) may_reconnect: bool,
}

/// The response of a driver to a unary call.
struct Answered<'a> {
    method: Method,
    may_reconnect: bool,
    /// The token of the driver.
    token: Option<&'a str>,
    response: Response<Received>,
}

impl Inner {
    pub(super) async fn forward(
        &self,
        caller: &Caller,
        session: &Arc<Session>,
        asked: &route::Request,
        call: Forwarded,
    ) -> Result<Response<Body>, Status> {
        let in_use = self.sessions.begin_call(session);
        let stored = self.driver(session).await?;
        check_role(caller, &stored.driver.pool)?;
        let Forwarded { parts, first, frames, method, may_reconnect } = call;
        let outgoing = Outgoing::new(first, frames, &caller.name, &session.key.session);
        let failure = outgoing.failure();
        let token = (self.tokens)(&session.driver);
        let token = token.as_ref().map(SecretValue::expose);
        let request = upstream_request(parts, &stored.driver.address, token, method, outgoing)?;
        let response = self.send(&stored, request).await;
        // A request that the client broke is not the driver's failure.
        let response = response.map_err(|error| failure.get().unwrap_or(error))?;
        if !method.reads_response() {
            let caller = caller.clone();
            let lost = async move { caller.lost(ROLE, resource(&stored.driver.pool)).await }.boxed();
            return Ok(response.map(|body| Body::new(incoming::Response::new(body, lost, in_use))));
        }
        let answered = Answered { method, may_reconnect, token, response };
        let read = self.read_response(session, asked, answered).await;
        drop(in_use);
        read
    }

    /// Returns the driver of a session, unless it is gone.
    async fn driver(&self, session: &Session) -> Result<Arc<StoredDriver>, Status> {
        if let Some(stored) = self.directory.snapshot().driver(&session.driver) {
            return Ok(Arc::clone(stored));
        }
        let stored = self.store.driver(&session.driver).await;
        match stored.map_err(|error| unavailable(error.to_string()))? {
            Some(stored) if !stored.is_gone() => Ok(Arc::new(stored)),
            _ => Err(invalid_handle(&session.key.session, Handle::Changed)),
        }
    }

    pub(super) async fn send(
        &self,
        stored: &StoredDriver,
        request: Request<Outgoing>,
    ) -> Result<Response<Received>, Status> {
        let driver = &stored.driver;
        let unseen = (self.clock)().duration_since(stored.seen);
        let is_fixed = driver.pool.scope.is_empty() && discovery::source(&driver.id).is_none();
        let may_connect = is_fixed || unseen <= MAX_UNSEEN;
        let connection = self.upstreams.get(&driver.id, &driver.address, may_connect).await;
        let failed = |why: String| unavailable(format!("the driver `{}` can't be reached: {why}", driver.id));
        let connection = connection.map_err(failed)?;
        let response = connection.send(request).await.map_err(|error| failed(error.to_string()))?;
        match foreign(&response) {
            Some(why) => Err(unavailable(format!("the driver `{}` can't be used: {why}", driver.id))),
            None => Ok(response),
        }
    }

    /// Reads the response of a unary call, acts on it, and returns what the client gets.
    async fn read_response(
        &self,
        session: &Session,
        asked: &route::Request,
        answered: Answered<'_>,
    ) -> Result<Response<Body>, Status> {
        let Answered { method, may_reconnect, token, response } = answered;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_MESSAGE + frame::PREFIX).collect().await;
        let body = body.map_err(|error| unavailable(format!("the driver's response broke: {error}")))?;
        let trailers = body.trailers().cloned();
        let mut bytes = body.to_bytes();
        let status = trailers.as_ref().and_then(|it| it.get("grpc-status"));
        let is_ok = status.is_some_and(|status| status.as_bytes() == b"0");
        match method {
            Method::Config => {
                let message = frame::message(&bytes);
                let changed = config::redacted(message, token);
                let changed = changed.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
                bytes = changed.map_or(bytes, |message| frame::frame_of(&message).freeze());
            }
            Method::CloneSession if is_ok => self.bind_clone(session, asked, &bytes).await?,
            Method::ReleaseSession if is_ok && !may_reconnect => self.end(session).await,
            _ => {}
        }
        let mut response = Response::from_parts(parts, ());
        response.headers_mut().remove(CONTENT_LENGTH);
        let body = match trailers {
            Some(trailers) => Body::new(Full::new(bytes).with_trailers(ready(Some(Ok(trailers))))),
            // The headers have the status, and clients require that they end the stream.
            None if bytes.is_empty() => Body::empty(),
            None => Body::new(Full::new(bytes)),
        };
        Ok(response.map(|()| body))
    }

    /// Records that a session has ended at its driver.
    async fn end(&self, session: &Session) {
        session.set_ended();
        // If this fails, the session counts as unused, and ends with its idle timeout.
        let _ = tokio::time::timeout(RECORD_TIMEOUT, self.store.end(&session.key, (self.clock)())).await;
    }

    /// Binds the clone of a session to the same driver.
    async fn bind_clone(
        &self,
        session: &Session,
        asked: &route::Request,
        response: &[u8],
    ) -> Result<(), Status> {
        let id = request::new_session_id(frame::message(response));
        let Some(id) = id.map_err(|error| Status::new(Code::Internal, error.to_string()))? else {
            return Ok(());
        };
        let SessionKey { domain, user, session: _ } = &session.key;
        let key = SessionKey { domain: domain.clone(), user: user.clone(), session: id.to_owned() };
        let bound = self.store.bind_clone(&key, &session.driver, (self.clock)());
        let bound = tokio::time::timeout(RECORD_TIMEOUT, bound).await;
        let bound = bound.map_err(|_| unavailable("the database does not respond"))?;
        bound.map_err(|error| unavailable(error.to_string()))?;
        let named = Named { domain: asked.domain.clone(), user: user.clone(), session: id.to_owned() };
        self.sessions.insert(named, key, session.driver.clone());
        Ok(())
    }
}

/// Returns the reason if a response is not of the driver that the proxy has called. Another program can get the address of a
/// driver that has ended; its response must not end the session, or tell the client that its token is wrong.
fn foreign<B>(response: &Response<B>) -> Option<&'static str> {
    let header = |name: HeaderName| response.headers().get(name).map(HeaderValue::as_bytes);
    let is_grpc = |kind: &[u8]| kind.starts_with(b"application/grpc");
    if response.status() != StatusCode::OK || !header(CONTENT_TYPE).is_some_and(is_grpc) {
        return Some("no Spark Connect server responds at its address");
    }
    // The client's token was accepted, so this is about the proxy's.
    let is_rejected = header(HeaderName::from_static("grpc-status")) == Some(b"16");
    is_rejected.then_some("the server at its address does not accept the proxy's token")
}

/// Returns the request for a driver: that of the client, with the driver's token and without the headers for the proxy.
pub(super) fn upstream_request(
    parts: Parts,
    address: &str,
    token: Option<&str>,
    method: Method,
    body: Outgoing,
) -> Result<Request<Outgoing>, Status> {
    let mut uri = parts.uri.into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = address.parse().ok();
    let uri =
        Uri::from_parts(uri).map_err(|_| unavailable(format!("`{address}` is no address of a driver")))?;
    let mut headers = parts.headers;
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| !is_forwarded(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if method.reads_response() {
        headers.remove("grpc-accept-encoding");
    }
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| Status::internal("the driver's token can't be sent"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (http::Method::POST, uri, headers);
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

/// Returns whether a driver gets a header of the client.
fn is_forwarded(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is_own = matches!(
        name,
        "authorization"
            | "connection"
            | "content-length"
            | "cookie"
            | "forwarded"
            | "host"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    );
    !is_own && !name.starts_with(PREFIX) && !name.starts_with("x-forwarded-")
}

/// Returns the response to the release of a session that does not exist, as Spark's server does.
pub(super) fn released(session: &str) -> Result<Response<Body>, Status> {
    let message = request::released(session);
    let mut trailers = HeaderMap::new();
    Status::ok("").add_header(&mut trailers)?;
    let body = Full::new(frame::frame_of(&message).freeze());
    let body = body.with_trailers(ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_of_another_server_at_the_address_is_not_passed_on() {
        let response = |status: u16, kind: &str, code: &str| {
            let response =
                Response::builder().status(status).header(CONTENT_TYPE, kind).header("grpc-status", code);
            foreign(&response.body(()).unwrap())
        };
        let grpc = "application/grpc";
        assert_eq!(response(200, grpc, "0"), None);
        assert_eq!(response(200, "application/grpc+proto", "13"), None);
        assert!(response(200, grpc, "16").unwrap().contains("token"));
        for (status, kind) in [(401, grpc), (200, "text/html"), (302, "text/html")] {
            assert!(
                response(status, kind, "0").unwrap().contains("no Spark Connect server"),
                "{status} {kind}"
            );
        }
    }
}
