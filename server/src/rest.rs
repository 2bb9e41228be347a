//! The base of REST interfaces: requests, responses, streams and the `OpenAPI` document.
//!
//! A crate that has an interface defines its routes, and types of requests and responses. Unknown fields and parameters
//! are rejected by name, because they may be misspelt.

mod document;
mod error;
mod request;
mod stream;
mod value;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{Method, Uri};
use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::ServiceError;

pub use document::document;
pub use error::{CommonErrors, ErrorBody};
pub use request::{Body, Call, Query};
pub use stream::{
    FIRST_PIECE_TIMEOUT, KEEP_ALIVE_INTERVAL, StreamFormat, check_first_piece, encode_values, lines, prefers,
    respond,
};
pub use value::{MAX_EXACT_INTEGER, Within, non_null};

/// Maximum size of a body: a job with its SQL.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The state of an interface's routes.
pub trait Interface: Clone + Send + Sync + 'static {
    /// The protocol that defines the reasons of errors, such as `dcp.runner.v1`.
    const DOMAIN: &'static str;
}

/// A REST interface: routes, and their part of the document.
#[derive(Debug, Clone)]
pub struct Api {
    router: Router,
    document: OpenApi,
}

impl Api {
    /// Creates an interface. `document` describes the routes.
    pub fn new<S: Interface>(routes: OpenApiRouter<S>, document: OpenApi, state: S) -> Self {
        Self { router: Router::from(routes).with_state(state), document }
    }

    /// Adds the routes of another interface.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let Self { router, document } = other;
        Self { router: self.router.merge(router), document: self.document.merge_from(document) }
    }

    /// Returns all routes, with the document at `/openapi.json`.
    pub fn into_router(self) -> Router {
        let document = document([self.document]);
        self.router
            .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], document)))
            .fallback(unknown_path)
            .method_not_allowed_fallback(not_allowed)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
    }
}

/// Returns a JSON response.
pub fn json(value: &impl Serialize) -> Response {
    // JSON can't represent maps with keys other than text, and responses have none.
    let text = serde_json::to_string(value).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

async fn unknown_path(method: Method, uri: Uri) -> ServiceError {
    error::no_such_path(&method, &uri)
}

async fn not_allowed(method: Method, uri: Uri) -> ServiceError {
    error::not_allowed(&method, &uri)
}
