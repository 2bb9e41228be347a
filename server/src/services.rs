//! What is served.

use std::convert::Infallible;

use axum::Router;
use axum::response::IntoResponse;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_service::Service;

/// The name of the service that tells whether the others are there.
pub(crate) const HEALTH: &str = "grpc.health.v1.Health";

/// gRPC services, and a REST router beside them. Health and reflection come by themselves.
#[derive(Debug, Clone)]
pub struct Services {
    pub(crate) grpc: Routes,
    pub(crate) rest: Option<Router>,
    pub(crate) names: Vec<&'static str>,
    pub(crate) descriptors: &'static [u8],
}

impl Services {
    /// None yet. `descriptors` are those of the protocols, for the reflection service; there may be more of them than
    /// are served.
    pub fn new(descriptors: &'static [u8]) -> Self {
        Self { grpc: Routes::default(), rest: None, names: Vec::new(), descriptors }
    }

    /// Adds a gRPC service; each may be added once.
    #[must_use]
    pub fn with<S>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        let Self { grpc, rest, mut names, descriptors } = self;
        if names.contains(&S::NAME) {
            return Self { grpc, rest, names, descriptors };
        }
        names.push(S::NAME);
        Self { grpc: grpc.add_service(service), rest, names, descriptors }
    }

    /// Sets what answers calls that are not gRPC. Without it there is no HTTP/1 either.
    #[must_use]
    pub fn rest(self, router: Router) -> Self {
        Self { rest: Some(router), ..self }
    }
}
