//! Health and reflection, which need neither a token nor a permit for calls.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
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

/// Suffixes of the paths of streams that need no token.
const PUBLIC_STREAM_SUFFIXES: [&str; 2] = ["/Watch", "/ServerReflectionInfo"];

/// Routes that need no token. Streams have few permits; other calls end by themselves.
#[derive(Clone)]
pub(super) struct PublicRoutes {
    routes: axum::Router,
    streams: Arc<Semaphore>,
    timeout: Duration,
}

impl PublicRoutes {
    pub(super) fn new(routes: Routes, limits: &Limits) -> Self {
        let (streams, timeout) = (semaphore(limits.public_streams), limits.call_timeout);
        Self { routes: routes.prepare().into_axum_router(), streams, timeout }
    }

    async fn answer(self, request: Request, usage: &Usage) -> Response {
        let is_stream = PUBLIC_STREAM_SUFFIXES.iter().any(|end| request.uri().path().ends_with(end));
        let permit = match is_stream.then(|| self.stream_permit(usage)) {
            Some(None) => {
                let busy = "too many streams of health and reflection are open; retry later";
                return Status::resource_exhausted(busy).into_http();
            }
            permit => permit.flatten(),
        };
        match tokio::time::timeout(self.timeout, self.routes.oneshot(request)).await {
            Ok(Ok(response)) => guard::hold(permit, response),
            Err(_) => Status::deadline_exceeded("the call took too long").into_http(),
        }
    }

    /// Takes a permit for a stream, of its connection and of the server.
    fn stream_permit(&self, usage: &Usage) -> Option<(PublicStream, OwnedSemaphorePermit)> {
        Some((usage.public_stream()?, Arc::clone(&self.streams).try_acquire_owned().ok()?))
    }
}

/// Answers health and reflection.
pub(super) async fn serve(
    State(public): State<PublicRoutes>,
    Extension(target): Extension<Target>,
    Extension(usage): Extension<Usage>,
    request: Request,
    next: Next,
) -> Response {
    match target.interface {
        Interface::Grpc if is_public(request.uri().path()) => public.answer(request, &usage).await,
        Interface::Grpc | Interface::Rest => next.run(request).await,
    }
}

/// Returns true if a path belongs to a service that needs no token.
fn is_public(path: &str) -> bool {
    [HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection"].iter().any(|name| is_call_of(path, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_a_common_prefix_are_distinguished() {
        assert!(is_public("/grpc.health.v1.Health/Check"));
        for path in
            ["/grpc.health.v1.Health", "/grpc.health.v1.HealthX/Check", "//grpc.health.v1.Health/Check", ""]
        {
            assert!(!is_public(path), "{path}");
        }
    }
}
