//! What is served.

use std::convert::Infallible;

use axum::Router;
use axum::response::IntoResponse;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_service::Service;

use crate::ready::Ready;

/// The name of the service that tells whether the others are there.
pub(crate) const HEALTH: &str = "grpc.health.v1.Health";

/// gRPC services, and a REST router beside them. Health and reflection come by themselves.
#[derive(Debug, Clone)]
pub struct Services {
    pub(crate) grpc: Routes,
    pub(crate) rest: Option<Router>,
    pub(crate) names: Vec<&'static str>,
    /// How the paths of calls end that last as long as what they tell of.
    pub(crate) lasting: Vec<&'static str>,
    pub(crate) descriptors: &'static [u8],
    pub(crate) ready: Option<Ready>,
}

impl Services {
    /// None yet. `descriptors` are those of the protocols, for the reflection service; there may be more of them than
    /// are served.
    pub fn new(descriptors: &'static [u8]) -> Self {
        let (names, lasting) = (Vec::new(), Vec::new());
        Self { grpc: Routes::default(), rest: None, names, lasting, descriptors, ready: None }
    }

    /// Adds a gRPC service; each may be added once.
    #[must_use]
    pub fn with<S>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        if self.names.contains(&S::NAME) {
            return self;
        }
        let mut services = self;
        services.names.push(S::NAME);
        services.grpc = services.grpc.add_service(service);
        services
    }

    /// Has calls whose paths end so have a room of their own: those that follow something for as long as it lasts, and
    /// cost next to nothing meanwhile.
    #[must_use]
    pub fn lasting(self, ends: &[&'static str]) -> Self {
        let mut services = self;
        services.lasting.extend(ends);
        services
    }

    /// Sets a check of what the services need, such as `database`. The server is ready while it succeeds.
    #[must_use]
    pub fn ready<F>(self, what: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { ready: Some(Ready::new(what, check)), ..self }
    }

    /// Sets the router for calls that are not gRPC.
    #[must_use]
    pub fn rest(self, router: Router) -> Self {
        Self { rest: Some(router), ..self }
    }
}
