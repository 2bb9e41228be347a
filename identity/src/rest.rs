//! The identity of a caller over REST.

use axum::response::Response;
use dcp_server::rest::{Api, Call, CommonErrors, Interface, Query, json};
use serde::Deserialize;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::whoami::WhoAmI;

/// The interface has no state: a request has its caller.
#[derive(Debug, Clone)]
struct Served;

impl Interface for Served {
    const DOMAIN: &'static str = "dcp.identity.v1";
}

#[derive(utoipa::OpenApi)]
#[openapi(tags((name = "identity", description = "The caller of a token")))]
struct Tags;

/// Returns the interface.
pub fn api() -> Api {
    Api::new(routes(), document(), Served)
}

/// Returns the part of the document.
pub fn document() -> OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::with_openapi(Tags::openapi()).routes(routes!(who_am_i))
}

/// A query without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

/// Returns the caller and its roles
///
/// It needs a valid token, and no role.
#[utoipa::path(
    get,
    path = "/api/v1/whoami",
    responses((status = 200, description = "The caller", body = WhoAmI), CommonErrors),
    tag = "identity"
)]
async fn who_am_i(call: Call, _: Query<NoParameters>) -> Response {
    json(&WhoAmI::from(&call.caller))
}
