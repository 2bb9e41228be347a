//! Converts between errors of backends and the common error of services.

use dcp_server::ServiceError;
use tonic::{Code, Status};

use crate::error::Error;

pub(crate) const DOMAIN: &str = "dcp.gateway.v1";

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        match error {
            Error::Field { field, reason } => {
                Self::new(Code::InvalidArgument, DOMAIN, "FIELD", reason).with("field", field)
            }
            Error::Invalid(message) => Self::new(Code::InvalidArgument, DOMAIN, "INVALID", message),
            Error::Conflict(message) => Self::new(Code::AlreadyExists, DOMAIN, "CONFLICT", message),
            // `UNAVAILABLE` is a reason of the service itself.
            Error::Unavailable(message) => Self::new(Code::Unavailable, DOMAIN, "NOT_NOW", message),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        ServiceError::from(error).into()
    }
}

/// Reads the error that a Gateway sent. An unknown reason concludes nothing, so a retry is safe.
pub(crate) fn read(error: ServiceError) -> Error {
    let ServiceError { reason, message, metadata, .. } = error;
    match (reason.as_ref(), metadata.get("field")) {
        ("FIELD", Some(field)) => Error::Field { field: field.clone(), reason: message },
        ("INVALID", _) => Error::Invalid(message),
        ("CONFLICT", _) => Error::Conflict(message),
        _ => Error::Unavailable(message),
    }
}
