//! Errors of calls, in addition to those of all calls.

use dcp_server::ServiceError;
use dcp_server::rest::ErrorBody;
use utoipa::IntoResponses;

use crate::registry::Error;
use crate::state::Scope;

/// Errors of calls about something of a scope.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document describes errors by it")]
pub(super) enum ScopeErrors {
    /// The scope, or the requested part of it, does not exist: `NOT_FOUND`
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
}

/// Errors of calls with a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document describes errors by it")]
pub(super) enum BodyErrors {
    /// The body is larger than 4 MiB: `TOO_LARGE`
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// The content type is not JSON: `NOT_JSON`
    #[response(status = 415)]
    NotJson(#[to_schema] ErrorBody),
}

pub(super) fn empty_scope(scope: &Scope) -> ServiceError {
    not_found(format!(
        "nothing was ever applied to `{scope}`; check the scope: `project` or `project/target`"
    ))
}

pub(super) fn not_found(message: String) -> ServiceError {
    Error::NotFound(message).into()
}
