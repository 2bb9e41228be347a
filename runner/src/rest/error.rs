//! Errors of calls about one job, in addition to those of all calls.

use dcp_server::rest::ErrorBody;
use utoipa::IntoResponses;

#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document describes errors by it")]
pub(super) enum JobErrors {
    /// The job, or the requested part of it, does not exist: `NOT_FOUND`
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
}
