//! The set of services of a server.

use std::convert::Infallible;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use crate::ready::ReadinessCheck;

/// gRPC services, and a REST router beside them. Health and reflection are added automatically.
#[derive(Debug, Clone)]
pub struct Services {
    pub(crate) grpc: Routes,
    /// The services that need no token, except health and reflection.
    pub(crate) public: Routes,
    pub(crate) public_names: Vec<&'static str>,
    pub(crate) rest: Option<Router>,
    pub(crate) names: Vec<&'static str>,
    /// Suffixes of the paths of long-lived calls.
    pub(crate) streaming_suffixes: Vec<&'static str>,
    /// The services that forward calls.
    pub(crate) proxied: Vec<Proxied>,
    pub(crate) descriptors: &'static [u8],
    pub(crate) ready: Option<ReadinessCheck>,
}

impl Services {
    /// Creates an empty set. `descriptors` are those of the protocols, for the reflection service; they may
    /// describe more services than are served.
    pub fn new(descriptors: &'static [u8]) -> Self {
        Self {
            grpc: Routes::default(),
            public: Routes::default(),
            public_names: Vec::new(),
            rest: None,
            names: Vec::new(),
            streaming_suffixes: Vec::new(),
            proxied: Vec::new(),
            descriptors,
            ready: None,
        }
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

    /// Adds a gRPC service that needs no token. Its calls are not logged and have no permit, so they must be cheap, and end
    /// by themselves.
    #[must_use]
    pub fn with_public<S>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        if self.public_names.contains(&S::NAME) {
            return self;
        }
        let mut services = self;
        services.public_names.push(S::NAME);
        services.public = services.public.add_service(service);
        services
    }

    /// Adds a gRPC service that forwards calls. They take as long as the server behind it needs, so they have the limit of
    /// long-lived calls, and no limit of time.
    #[must_use]
    pub fn with_proxy<S>(self, service: S) -> Self
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
        services.proxied.push(Proxied::new(service));
        services
    }

    /// Returns the names of all services except health and reflection.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().chain(&self.public_names).copied()
    }

    /// Gives calls with these path suffixes a limit of their own. It is for streaming calls, which are long-lived
    /// and cost little.
    #[must_use]
    pub fn streaming(self, suffixes: &[&'static str]) -> Self {
        let mut services = self;
        services.streaming_suffixes.extend(suffixes);
        services
    }

    /// Returns true if calls of a path have the limit of long-lived calls.
    pub fn is_long_lived(&self, path: &str) -> bool {
        is_long_lived(&self.streaming_suffixes, path)
    }

    /// Sets a check of a dependency, such as `database`. The server is ready while it succeeds.
    #[must_use]
    pub fn ready<F>(self, dependency: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { ready: Some(ReadinessCheck::new(dependency, check)), ..self }
    }

    /// Sets the router for calls that are not gRPC.
    #[must_use]
    pub fn rest(self, router: Router) -> Self {
        Self { rest: Some(router), ..self }
    }
}

/// A service that forwards calls.
#[derive(Debug, Clone)]
pub(crate) struct Proxied {
    name: &'static str,
    service: BoxCloneSyncService<axum::extract::Request, Response, Infallible>,
}

impl Proxied {
    fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        let service = service.map_request(|request: axum::extract::Request| request.map(Body::new));
        Self {
            name: S::NAME,
            service: BoxCloneSyncService::new(service.map_response(S::Response::into_response)),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) async fn call(&self, request: axum::extract::Request) -> Result<Response, Infallible> {
        self.service.clone().oneshot(request).await
    }
}

pub(crate) fn is_long_lived(suffixes: &[&str], path: &str) -> bool {
    suffixes.iter().any(|end| path.ends_with(end))
}
