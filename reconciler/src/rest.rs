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

use dcp_server::rest::{Api, Interface};
use jiff::Timestamp;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::assets::Assets;
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

impl Interface for ControlPlane {
    const DOMAIN: &'static str = DOMAIN;
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
    Api::new(routes(), document(), plane)
}

/// Returns the part of the document.
pub fn document() -> OpenApi {
    routes().into_openapi()
}

/// Returns the routes and their part of the document, from one list.
fn routes() -> OpenApiRouter<ControlPlane> {
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
