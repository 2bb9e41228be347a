//! The error of a service. gRPC statuses and REST responses are made from it, and clients read it from a status.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// An error for callers. Over gRPC it is a status with a `google.rpc.ErrorInfo`, over REST the object of
/// [`ServiceError::to_json`]. The time to wait is a `google.rpc.RetryInfo`, or the header `retry-after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    pub code: Code,
    /// The HTTP status code, if it is more specific than the one of `code`.
    pub http_code: Option<StatusCode>,
    /// The protocol that defines the reason, such as `dcp.runner.v1`.
    pub domain: Cow<'static, str>,
    /// The reason for programs, such as `NOT_FOUND`.
    pub reason: Cow<'static, str>,
    /// The message for people.
    pub message: String,
    /// Details for programs, such as the `field` that is wrong.
    pub metadata: BTreeMap<String, String>,
    /// The time after which a retry may succeed, if it is known.
    pub retry_after: Option<Duration>,
}

impl ServiceError {
    pub fn new(code: Code, domain: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        let (domain, reason) = (Cow::Borrowed(domain), Cow::Borrowed(reason));
        let (message, metadata) = (message.into(), BTreeMap::new());
        Self { code, http_code: None, domain, reason, message, metadata, retry_after: None }
    }

    /// Creates the error of a request whose `field` is wrong.
    pub fn invalid(domain: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, domain, "INVALID", message).with("field", field)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let mut error = self;
        error.metadata.insert(key.into(), value.into());
        error
    }

    /// Sets the time after which a retry may succeed.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Replaces the HTTP status code.
    #[must_use]
    pub fn with_http_code(self, http_code: StatusCode) -> Self {
        Self { http_code: Some(http_code), ..self }
    }

    /// Reads an error of a service; none if the status is not from a service that speaks `domain`.
    pub fn read(status: &Status, domain: &str) -> Option<Self> {
        let info = status.get_details_error_info().filter(|info| info.domain == domain)?;
        Some(Self {
            code: status.code(),
            http_code: None,
            domain: info.domain.into(),
            reason: info.reason.into(),
            message: status.message().to_owned(),
            metadata: info.metadata.into_iter().collect(),
            retry_after: retry_delay(status),
        })
    }

    /// Returns the object of REST:
    ///
    /// ```json
    /// {"error": {"code": 404, "status": "NOT_FOUND", "message": "…", "reason": "…", "domain": "…", "metadata": {…}}}
    /// ```
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(self.http_code().as_u16()));
        error.insert("status".to_owned(), json!(name(self.code)));
        error.insert("message".to_owned(), json!(self.message));
        error.insert("reason".to_owned(), json!(self.reason));
        error.insert("domain".to_owned(), json!(self.domain));
        if !self.metadata.is_empty() {
            error.insert("metadata".to_owned(), json!(self.metadata));
        }
        json!({ "error": error })
    }

    fn http_code(&self) -> StatusCode {
        self.http_code.unwrap_or_else(|| row(self.code).1)
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let ServiceError { code, http_code: _, domain, reason, message, metadata, retry_after } = error;
        let metadata: HashMap<_, _> = metadata.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(reason, domain, metadata);
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Status::with_error_details(code, message, details)
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("{}\n", self.to_json())));
        *response.status_mut() = self.http_code();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.http_code() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
        }
        response
    }
}

/// Returns whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Returns the time after which a service expects a retry, if its status has one.
pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
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

    #[test]
    fn error_is_the_same_over_grpc_and_rest() {
        let error = ServiceError::invalid("test.v1", "day", "`day` is no date ✓").with("given", "x");
        let status = Status::from(error.clone());
        assert_eq!(ServiceError::read(&status, "test.v1"), Some(error.clone()));
        let object = json!({"error": {
            "code": 400, "status": "INVALID_ARGUMENT", "reason": "INVALID", "domain": "test.v1",
            "message": "`day` is no date ✓", "metadata": {"field": "day", "given": "x"},
        }});
        assert_eq!(error.to_json(), object);
        let too_large = error.with_http_code(StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(too_large.to_json()["error"]["code"], 413);
        assert_eq!(too_large.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn time_of_a_retry_is_sent_over_grpc_and_rest() {
        let error = ServiceError::new(Code::ResourceExhausted, "test.v1", "EXHAUSTED", "too many");
        assert_eq!(error.clone().into_response().headers().get(RETRY_AFTER), None);
        for (millis, header) in [(1, "1"), (1000, "1"), (1001, "2")] {
            let error = error.clone().with_retry_after(Some(Duration::from_millis(millis)));
            assert_eq!(ServiceError::read(&error.clone().into(), "test.v1"), Some(error.clone()));
            assert_eq!(error.into_response().headers()[RETRY_AFTER], header);
        }
    }

    #[test]
    fn status_of_another_service_is_not_read() {
        let error = ServiceError::new(Code::NotFound, "test.v1", "NOT_FOUND", "no such day");
        assert_eq!(ServiceError::read(&error.into(), "other.v1"), None);
        assert_eq!(ServiceError::read(&Status::not_found("no such day"), "test.v1"), None);
    }
}
