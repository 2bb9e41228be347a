//! Checks that requests of several services have in common.

use dcp_server::CallNotes;
use tonic::{Request, Status};

use crate::registry::Error;
use crate::state::Scope;
use crate::wire::error;

/// Reads the scope of a request and adds it to the line of the call in the log.
pub(super) fn read_scope<T>(request: &Request<T>, name: &str) -> std::result::Result<Scope, Status> {
    let scope = scope(name)?;
    if let Some(notes) = request.extensions().get::<CallNotes>() {
        notes.subject(scope.as_str());
    }
    Ok(scope)
}

pub(super) fn scope(name: &str) -> std::result::Result<Scope, Status> {
    name.parse::<Scope>().map_err(|error| invalid(error.to_string()))
}

pub(super) fn invalid(message: impl Into<String>) -> Status {
    Error::Invalid(message.into()).into()
}

pub(super) fn at_most(limit: usize, count: usize, what: &str) -> std::result::Result<(), Status> {
    if count <= limit {
        return Ok(());
    }
    Err(error::too_large(format!("{count} {what} are in one request, and {limit} may be: ask in several")))
}
