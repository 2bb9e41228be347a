//! Errors of calls: the same for all routes, and the same as over gRPC.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use dcp_server::ServiceError;
use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use tonic::Code;
use utoipa::{IntoResponses, ToSchema};

use crate::api::Error;
use crate::wire;

/// An error response.
#[derive(Debug)]
pub(super) struct ErrorResponse(ServiceError);

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl ErrorResponse {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Invalid { field: field.into(), message: message.into() }.into()
    }

    /// Returns the error of a call without a caller, whom the log and a cancel have to name.
    pub(super) fn missing_caller() -> Self {
        Self::with_code(Code::Internal, None, "INTERNAL", "it is not known who calls".to_owned())
    }

    pub(super) fn too_large(most: usize) -> Self {
        let message =
            format!("the body has to be of at most {} MiB: give what is long by a file", most >> 20);
        Self::with_code(Code::InvalidArgument, Some(StatusCode::PAYLOAD_TOO_LARGE), "TOO_LARGE", message)
    }

    /// The error contains the position: `expected `:` at line 1 column 5`.
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::invalid("body", format!("the body is not JSON: {error}"))
    }

    pub(super) fn not_json() -> Self {
        let message = "the body has to be JSON, and said to be: send `content-type: application/json`";
        let http_code = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        Self::with_code(Code::InvalidArgument, http_code, "NOT_JSON", message.to_owned())
    }

    pub(super) fn no_such_path(method: &Method, uri: &Uri) -> Self {
        let message = format!("there is no `{method} {}` here: see /openapi.json", uri.path());
        Self::with_code(Code::NotFound, None, "NO_SUCH_PATH", message)
    }

    pub(super) fn not_allowed(method: &Method, uri: &Uri) -> Self {
        let message = format!("`{method}` can't be done with {}: see /openapi.json", uri.path());
        let http_code = Some(StatusCode::METHOD_NOT_ALLOWED);
        Self::with_code(Code::Unimplemented, http_code, "NO_SUCH_METHOD", message)
    }

    fn with_code(code: Code, http_code: Option<StatusCode>, reason: &'static str, message: String) -> Self {
        Self(ServiceError { http_code, ..ServiceError::new(code, wire::error::DOMAIN, reason, message) })
    }
}

/// Returns the last value of a stream that fails after it has begun.
pub(super) fn final_error(error: Error) -> Value {
    ServiceError::from(error).to_json()
}

/// The error of a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "it says in the document what dcp-server writes"))]
pub(super) struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it says in the document what dcp-server writes")]
pub(super) struct ErrorDetails {
    /// The HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    code: u16,
    /// The name of the gRPC code, such as `NOT_FOUND`.
    status: String,
    /// Message for people: the problem, the expectation and the remedy.
    message: String,
    /// Reason for programs.
    #[schema(example = "NOT_FOUND")]
    reason: Option<String>,
    /// The protocol that defines the reason.
    domain: Option<String>,
    /// Details, such as the `field` that is wrong, or the `execution` that holds a key.
    metadata: Option<BTreeMap<String, String>>,
}

/// Errors of all calls.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it says in the document which refusals there are")]
pub(super) enum CommonErrors {
    /// The request is invalid: `INVALID` names the `field`
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorBody),
    /// The token is missing or unknown: `UNAUTHENTICATED`
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorBody),
    /// The caller is not permitted to do this: `DENIED`
    #[response(status = 403)]
    Denied(#[to_schema] ErrorBody),
    /// A limit is reached, and `EXHAUSTED` names it. A retry later is safe.
    #[response(status = 429)]
    Exhausted(#[to_schema] ErrorBody),
    /// The stored data is damaged: `CORRUPT`
    #[response(status = 500)]
    Corrupt(#[to_schema] ErrorBody),
    /// A temporary failure: `UNAVAILABLE`. A retry is safe.
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
    /// The call exceeded its timeout: `TOO_LATE`. A retry is safe.
    #[response(status = 504)]
    TooLate(#[to_schema] ErrorBody),
}

/// Further errors of calls about one job.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it says in the document which refusals there are")]
pub(super) enum JobErrors {
    /// The job, or the requested part of it, does not exist: `NOT_FOUND`
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::Id;

    #[test]
    fn errors_match_their_schema() {
        let held = Error::Held { key: "s3://c".to_owned(), by: Id::parse("a1").unwrap() };
        let ErrorBody { error } = serde_json::from_value(final_error(held)).unwrap();
        assert_eq!((error.code, error.status.as_str()), (409, "FAILED_PRECONDITION"));
        assert_eq!((error.reason.as_deref(), error.domain.as_deref()), (Some("HELD"), Some("dcp.runner.v1")));
        let metadata = BTreeMap::from([("key", "s3://c"), ("execution", "a1")]);
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(error.metadata, Some(metadata));
    }
}
