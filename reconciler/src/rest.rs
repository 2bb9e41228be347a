//! The control plane over REST: what is applied, continuous jobs, and assets.
//!
//! It only converts: requests become calls of the registry, of [`ContinuousJobs`] and of [`Assets`].
//! [`dcp_server::rest`] has the parts that all interfaces share. Commits are made over gRPC only: each is a transaction
//! of an apply.

mod applied;
mod assets;
mod continuous;
mod error;
mod job;
mod request;
mod response;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use dcp_server::ServiceError;
use dcp_server::rest::{Api, Call, Interface};
use http::request::Parts;
use jiff::Timestamp;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::assets::Assets;
use crate::guarded::Protected;
use crate::reconcile::ContinuousJobs;
use crate::registry::Registry;
use crate::wire::error::DOMAIN;

/// The parts of a control plane that an interface is of.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    pub registry: Arc<dyn Registry>,
    pub jobs: Arc<dyn ContinuousJobs>,
    pub assets: Arc<dyn Assets>,
    /// The clock that sets the time of requests and completions.
    pub clock: fn() -> Timestamp,
}

/// A control plane that is used as its callers only.
#[derive(Debug, Clone)]
struct Served(ControlPlane);

impl Interface for Served {
    const DOMAIN: &'static str = DOMAIN;
}

/// The control plane as the caller of a request may use it.
#[derive(Debug)]
struct Used(ControlPlane);

impl FromRequestParts<Served> for Used {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, ServiceError> {
        let caller = Call::from_request_parts(parts, served).await?.caller;
        let ControlPlane { registry, jobs, assets, clock } = served.0.clone();
        Ok(Self(ControlPlane {
            registry: Arc::new(Protected::new(registry).used_by(&caller)),
            jobs: Arc::new(Protected::new(jobs).used_by(&caller)),
            assets: Arc::new(Protected::new(assets).used_by(&caller)),
            clock,
        }))
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "applied", description = "Applied workloads, and the history of applies"),
    (name = "continuous", description = "Continuous jobs, and the reconciler that runs them"),
    (name = "assets", description = "Completions of assets")
))]
struct Tags;

/// Returns the interface of a control plane.
pub fn api(plane: ControlPlane) -> Api {
    Api::new(routes(), document(), Served(plane))
}

/// Returns the part of the document.
pub fn document() -> OpenApi {
    routes().into_openapi()
}

/// Returns the routes and their part of the document, from one list.
fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::with_openapi(Tags::openapi())
        .routes(routes!(applied::applied))
        .routes(routes!(applied::revisions))
        .routes(routes!(applied::history))
        .routes(routes!(applied::body))
        .routes(routes!(continuous::reconciler))
        .routes(routes!(continuous::jobs))
        .routes(routes!(continuous::pause))
        .routes(routes!(continuous::resume))
        .routes(routes!(continuous::restart))
        .routes(routes!(continuous::events))
        .routes(routes!(assets::complete, assets::completed))
        .routes(routes!(assets::completions))
}
