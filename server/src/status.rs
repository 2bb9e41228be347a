//! Errors as a gRPC status, and as the HTTP response that corresponds to it. The machine-readable part is the
//! status's `google.rpc.ErrorInfo`.

use std::collections::HashMap;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Creates a status with a machine-readable reason. `domain` is the protocol that defines the reason.
pub fn error_status(code: Code, domain: &str, reason: &str, message: impl Into<String>) -> Status {
    error_status_with_metadata(code, domain, reason, message, [])
}

/// Creates a status with a machine-readable reason and metadata.
pub fn error_status_with_metadata(
    code: Code,
    domain: &str,
    reason: &str,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (String, String)>,
) -> Status {
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    let details = ErrorDetails::with_error_info(reason, domain, metadata);
    Status::with_error_details(code, message, details)
}

/// Converts a status to an HTTP response: the HTTP code that corresponds to its code, and a JSON object with its
/// content.
///
/// ```json
/// {"error": {"code": 404, "status": "NOT_FOUND", "message": "…", "reason": "…", "domain": "…", "metadata": {…}}}
/// ```
pub fn to_http(status: &Status) -> Response<Body> {
    to_http_with_code(http_code(status.code()), status)
}

/// Converts a status with another HTTP code, where that is more specific.
pub fn to_http_with_code(http_code: StatusCode, status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{}\n", json_object(http_code, status))));
    *response.status_mut() = http_code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if http_code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Returns the JSON object alone, for an error after the response has begun.
pub fn to_json(status: &Status) -> Value {
    json_object(http_code(status.code()), status)
}

fn json_object(http_code: StatusCode, status: &Status) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), json!(http_code.as_u16()));
    error.insert("status".to_owned(), json!(name(status.code())));
    error.insert("message".to_owned(), json!(status.message()));
    if let Some(info) = status.get_details_error_info() {
        error.insert("reason".to_owned(), json!(info.reason));
        error.insert("domain".to_owned(), json!(info.domain));
        if !info.metadata.is_empty() {
            error.insert("metadata".to_owned(), json!(info.metadata));
        }
    }
    Value::Object(Map::from_iter([("error".to_owned(), Value::Object(error))]))
}

fn http_code(code: Code) -> StatusCode {
    row(code).1
}

fn name(code: Code) -> &'static str {
    row(code).2
}

/// The name of each code in the protocol, and its HTTP code, as in `google/rpc/code.proto`. The exception is
/// `FAILED_PRECONDITION`: it is a conflict, as the request itself is valid.
const CODES: [(Code, StatusCode, &str); 16] = [
    (Code::Ok, StatusCode::OK, "OK"),
    (Code::Cancelled, StatusCode::BAD_REQUEST, "CANCELLED"),
    (Code::InvalidArgument, StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
    (Code::NotFound, StatusCode::NOT_FOUND, "NOT_FOUND"),
    (Code::AlreadyExists, StatusCode::CONFLICT, "ALREADY_EXISTS"),
    (Code::PermissionDenied, StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, StatusCode::CONFLICT, "FAILED_PRECONDITION"),
    (Code::Aborted, StatusCode::CONFLICT, "ABORTED"),
    (Code::OutOfRange, StatusCode::BAD_REQUEST, "OUT_OF_RANGE"),
    (Code::Unimplemented, StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
    (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
    (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    (Code::DataLoss, StatusCode::INTERNAL_SERVER_ERROR, "DATA_LOSS"),
    (Code::Unauthenticated, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
];

fn row(code: Code) -> (Code, StatusCode, &'static str) {
    let unknown = (Code::Unknown, StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN");
    CODES.into_iter().find(|(known, ..)| *known == code).unwrap_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            let rows = CODES.iter().filter(|(known, ..)| *known == code).count();
            assert_eq!(rows, usize::from(code != Code::Unknown), "{code:?}");
            // gRPC's names are those of the enum, in upper snake case.
            let plain: String =
                name(code).split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
            assert_eq!(plain, format!("{code:?}"));
        }
    }
}
