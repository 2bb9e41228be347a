//! Errors that every interface has, and the types that describe errors in the document.

use std::collections::BTreeMap;

use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use tonic::Code;
use utoipa::{IntoResponses, ToSchema};

use crate::ServiceError;

/// The domain of errors of paths that no interface has.
const DOMAIN: &str = "dcp";

/// Returns the error of a call without a caller, whom the log and the service have to name.
pub(super) fn missing_caller(domain: &'static str) -> ServiceError {
    ServiceError::new(Code::Internal, domain, "INTERNAL", "the caller is unknown")
}

pub(super) fn too_large(domain: &'static str, most: usize) -> ServiceError {
    let message = format!("the body is larger than {} MiB; put long SQL into a file", most >> 20);
    let error = ServiceError::new(Code::InvalidArgument, domain, "TOO_LARGE", message);
    error.with_http_code(StatusCode::PAYLOAD_TOO_LARGE)
}

pub(super) fn not_json(domain: &'static str) -> ServiceError {
    let message = "the content type of the body is not JSON; send `content-type: application/json`";
    let error = ServiceError::new(Code::InvalidArgument, domain, "NOT_JSON", message);
    error.with_http_code(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

pub(super) fn no_such_path(method: &Method, uri: &Uri) -> ServiceError {
    let message = format!("this server has no `{method} {}`; see /openapi.json", uri.path());
    ServiceError::new(Code::NotFound, DOMAIN, "NO_SUCH_PATH", message)
}

pub(super) fn not_allowed(method: &Method, uri: &Uri) -> ServiceError {
    let message = format!("`{}` has no method `{method}`; see /openapi.json", uri.path());
    let error = ServiceError::new(Code::Unimplemented, DOMAIN, "NO_SUCH_METHOD", message);
    error.with_http_code(StatusCode::METHOD_NOT_ALLOWED)
}

/// The error of a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the document describes the object of `ServiceError` by it")
)]
pub struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document describes the object of `ServiceError` by it")]
struct ErrorDetails {
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
#[derive(Debug, IntoResponses)]
pub enum CommonErrors {
    /// The request is invalid: `INVALID` names the `field`
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorBody),
    /// The token is missing or unknown: `UNAUTHENTICATED`
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorBody),
    /// The caller is not permitted to do this: `DENIED`
    #[response(status = 403)]
    Denied(#[to_schema] ErrorBody),
    /// A limit is reached, and `EXHAUSTED` names it. A retry later is safe, after the time in `retry-after` if it is given.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_match_their_schema() {
        let held = ServiceError::new(Code::FailedPrecondition, "test.v1", "HELD", "it is held");
        let ErrorBody { error } = serde_json::from_value(held.with("key", "s3://c").to_json()).unwrap();
        assert_eq!((error.code, error.status.as_str()), (409, "FAILED_PRECONDITION"));
        assert_eq!((error.reason.as_deref(), error.domain.as_deref()), (Some("HELD"), Some("test.v1")));
        assert_eq!(error.metadata, Some(BTreeMap::from([("key".to_owned(), "s3://c".to_owned())])));
        for error in [too_large("test.v1", 4 << 20), not_json("test.v1"), missing_caller("test.v1")] {
            serde_json::from_value::<ErrorBody>(error.to_json()).unwrap();
        }
    }
}
