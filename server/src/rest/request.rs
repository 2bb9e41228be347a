//! Parts of requests, read strictly: unknown fields are errors.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{Interface, MAX_BODY_BYTES, error};
use crate::{CallNotes, Caller, ServiceError};

/// The caller, and the call's entry in the log.
#[derive(Debug)]
pub struct Call {
    pub caller: Caller,
    notes: CallNotes,
}

impl Call {
    /// Notes the subject of the call for the log.
    pub fn note(&self, subject: &str) {
        self.notes.subject(subject);
    }
}

impl<S: Interface> FromRequestParts<S> for Call {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| error::missing_caller(S::DOMAIN))?;
        Ok(Self { caller, notes: parts.extensions.get::<CallNotes>().cloned().unwrap_or_default() })
    }
}

/// A query without unknown parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Interface, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let text = parts.uri.query().unwrap_or_default();
        let query = serde_html_form::Deserializer::from_bytes(text.as_bytes());
        let read = serde_path_to_error::deserialize(query);
        read.map(Self).map_err(|error| invalid_value(S::DOMAIN, "query", &error))
    }
}

/// A body whose content type is JSON.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    domain: &'static str,
}

impl<S: Interface> FromRequest<S> for Body {
    type Rejection = ServiceError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ServiceError> {
        let domain = S::DOMAIN;
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(error::not_json(domain));
        }
        let bytes = Bytes::from_request(request, state).await;
        bytes.map(|bytes| Self { bytes, domain }).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => error::too_large(domain, MAX_BODY_BYTES),
            _ => invalid_body(domain, "the body is incomplete; send all of it".to_owned()),
        })
    }
}

impl Body {
    /// Returns the number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "it is the cost of parsing")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Parses the JSON strictly: unknown fields are rejected.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let domain = self.domain;
        let mut json = serde_json::Deserializer::from_slice(&self.bytes);
        let read =
            serde_path_to_error::deserialize(&mut json).map_err(|error| match error.inner().classify() {
                Category::Data => invalid_value(domain, "body", &error),
                // The error has the position: `expected `:` at line 1 column 5`.
                Category::Io | Category::Syntax | Category::Eof => {
                    invalid_body(domain, format!("the body is not JSON: {}", error.inner()))
                }
            })?;
        json.end()
            .map_err(|error| invalid_body(domain, format!("`body` has more than one JSON value: {error}")))?;
        Ok(read)
    }
}

fn invalid_body(domain: &'static str, message: String) -> ServiceError {
    ServiceError::invalid(domain, "body", message)
}

/// Returns the error with the field that is wrong.
fn invalid_value<E: std::error::Error>(
    domain: &'static str,
    whole: &str,
    error: &serde_path_to_error::Error<E>,
) -> ServiceError {
    let path = error.path().to_string();
    let field = if path == "." { whole } else { &path };
    let message = format!("`{field}` is invalid: {}", error.inner());
    ServiceError::invalid(domain, field, message)
}
