//! The target of a call.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tonic::{Code, Status};

use crate::error::ServiceError;

/// The interface and the service that a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) interface: Interface,
    /// The name of the gRPC service, or `http`.
    pub(super) service: &'static str,
    /// Whether the service forwards its calls, which may take any time.
    pub(super) is_proxied: bool,
}

/// The interface that answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    Grpc,
    Rest,
}

/// The services that calls can be for.
pub(super) struct Targets {
    /// The names of all gRPC services.
    pub(super) names: Vec<&'static str>,
    /// The names of those that forward their calls.
    pub(super) proxied: Vec<&'static str>,
}

impl Targets {
    /// Returns the target of a request.
    pub(super) fn of(&self, request: &Request) -> Target {
        if !is_grpc(request.headers()) {
            return Target { interface: Interface::Rest, service: "http", is_proxied: false };
        }
        let path = request.uri().path();
        let service = self.names.iter().copied().find(|name| is_call_of(path, name)).unwrap_or("unknown");
        Target { interface: Interface::Grpc, service, is_proxied: self.proxied.contains(&service) }
    }
}

impl Target {
    /// Returns the error of a call that is rejected.
    pub(super) fn error(self, code: Code, reason: &'static str, message: impl Into<String>) -> ServiceError {
        ServiceError::new(code, domain(self.service), reason, message)
    }

    /// Returns an error in the form of the interface. Clients of a proxied service know the details of its own errors only, and
    /// some lose the message of an error with others.
    pub(super) fn rejection(self, error: ServiceError) -> Response {
        match self.interface {
            Interface::Grpc if self.is_proxied => Status::new(error.code, error.message).into_http(),
            Interface::Grpc => Status::from(error).into_http(),
            Interface::Rest => error.into_response(),
        }
    }
}

/// Returns true if a path is that of a call of a gRPC service.
pub(super) fn is_call_of(path: &str, service: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(service))
        .is_some_and(|rest| rest.starts_with('/'))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the protocol of a service, which defines the reasons of its errors.
fn domain(service: &'static str) -> &'static str {
    service.rsplit_once('.').map_or("dcp", |(package, _)| package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_the_package_of_a_service() {
        assert_eq!(domain("dcp.control.v1.Control"), "dcp.control.v1");
        assert_eq!(domain("http"), "dcp");
    }
}
