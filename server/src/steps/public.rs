//! Health, reflection and other public services, which need neither a token nor a permit for calls.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::guard;
use super::permits::semaphore;
use super::target::{Interface, Target, is_call_of};
use crate::Limits;
use crate::health::HEALTH_SERVICE;
use crate::usage::{PublicStream, Usage};

/// The public services that every server has.
const ALWAYS_PUBLIC: [&str; 2] = [HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection"];

/// Suffixes of the paths of streams that need no token.
const PUBLIC_STREAM_SUFFIXES: [&str; 2] = ["/Watch", "/ServerReflectionInfo"];

/// Routes that need no token. Streams have few permits; other calls end by themselves.
pub(super) struct PublicRoutes {
    routes: axum::Router,
    names: Vec<&'static str>,
    streams: Arc<Semaphore>,
    timeout: Duration,
}

impl PublicRoutes {
    /// `names` are those of the services besides health and reflection.
    pub(super) fn new(routes: Routes, names: Vec<&'static str>, limits: &Limits) -> Self {
        let (streams, timeout) = (semaphore(limits.public_streams), limits.call_timeout);
        let names = names.into_iter().chain(ALWAYS_PUBLIC).collect();
        Self { routes: routes.prepare().into_axum_router(), names, streams, timeout }
    }

    /// Returns true if a call is for a service that needs no token.
    pub(super) fn has(&self, target: Target, path: &str) -> bool {
        target.interface == Interface::Grpc && self.names.iter().any(|name| is_call_of(path, name))
    }

    /// Answers a call of a public service.
    pub(super) async fn answer(&self, request: Request, usage: &Usage) -> Response {
        let is_stream = PUBLIC_STREAM_SUFFIXES.iter().any(|end| request.uri().path().ends_with(end));
        let permit = match is_stream.then(|| self.stream_permit(usage)) {
            Some(None) => {
                let busy = "too many streams of health and reflection are open; retry later";
                return Status::resource_exhausted(busy).into_http();
            }
            permit => permit.flatten(),
        };
        match tokio::time::timeout(self.timeout, self.routes.clone().oneshot(request)).await {
            Ok(Ok(response)) => guard::hold(permit, response),
            Err(_) => Status::deadline_exceeded("the call took too long").into_http(),
        }
    }

    /// Takes a permit for a stream, of its connection and of the server.
    fn stream_permit(&self, usage: &Usage) -> Option<(PublicStream, OwnedSemaphorePermit)> {
        Some((usage.public_stream()?, Arc::clone(&self.streams).try_acquire_owned().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_a_common_prefix_are_distinguished() {
        let public = PublicRoutes::new(Routes::default(), vec!["dcp.a.v1.Logins"], &Limits::default());
        let target = |interface| Target { interface, service: "unknown", is_proxied: false };
        let has = |path| public.has(target(Interface::Grpc), path);
        assert!(has("/grpc.health.v1.Health/Check") && has("/dcp.a.v1.Logins/List"));
        assert!(!public.has(target(Interface::Rest), "/grpc.health.v1.Health/Check"));
        for path in [
            "/grpc.health.v1.Health",
            "/grpc.health.v1.HealthX/Check",
            "//grpc.health.v1.Health/Check",
            "/dcp.a.v1.Identity/WhoAmI",
            "",
        ] {
            assert!(!has(path), "{path}");
        }
    }
}
