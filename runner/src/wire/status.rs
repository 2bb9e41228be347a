//! Converts between errors and gRPC statuses. An `ErrorInfo` holds the details for programs.

use std::collections::HashMap;

use dcp_server::status::error_status_with_metadata;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::api::Error;
use crate::execution::Id;

pub(crate) const DOMAIN: &str = "dcp.runner.v1";

pub(crate) fn of(error: &Error) -> Status {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: String| drop(metadata.insert(key.to_owned(), value));
    let (code, reason) = match error {
        Error::Invalid { field, .. } => {
            put("field", field.clone());
            (Code::InvalidArgument, "INVALID")
        }
        Error::NotFound(_) => (Code::NotFound, "NOT_FOUND"),
        Error::TokenReused { id, differences } => {
            put("execution", id.to_string());
            for (number, difference) in differences.iter().enumerate() {
                put(&format!("difference.{number}"), difference.clone());
            }
            (Code::AlreadyExists, "TOKEN_REUSED")
        }
        Error::Held { key, by } => {
            put("key", key.clone());
            put("execution", by.to_string());
            (Code::FailedPrecondition, "HELD")
        }
        Error::Fenced { lease, epoch, newest } => {
            put("lease", lease.clone());
            put("epoch", epoch.to_string());
            put("newest", newest.to_string());
            (Code::FailedPrecondition, "FENCED")
        }
        Error::NotNow(_) => (Code::FailedPrecondition, "NOT_NOW"),
        Error::Denied(_) => (Code::PermissionDenied, "DENIED"),
        Error::Exhausted(_) => (Code::ResourceExhausted, "EXHAUSTED"),
        Error::Unavailable(_) => (Code::Unavailable, "UNAVAILABLE"),
        Error::Corrupt(_) => (Code::DataLoss, "CORRUPT"),
    };
    error_status_with_metadata(code, DOMAIN, reason, error.to_string(), metadata)
}

/// Returns the error of a Runner; none if the status comes from something else.
pub(crate) fn read(status: &Status) -> Option<Error> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    let message = status.message().to_owned();
    let get = |key: &str| info.metadata.get(key).cloned();
    let id = || get("execution").as_deref().and_then(Id::parse);
    let number = |key: &str| get(key).and_then(|text| text.parse().ok());
    let known = match info.reason.as_str() {
        "INVALID" | "TOO_LARGE" => {
            Some(Error::Invalid { field: get("field").unwrap_or_default(), message: message.clone() })
        }
        "NOT_FOUND" => Some(Error::NotFound(message.clone())),
        "TOKEN_REUSED" => id().map(|id| {
            let differences = (0..).map_while(|number| get(&format!("difference.{number}"))).collect();
            Error::TokenReused { id, differences }
        }),
        "HELD" => get("key").zip(id()).map(|(key, by)| Error::Held { key, by }),
        "FENCED" => get("lease").and_then(|lease| {
            Some(Error::Fenced { lease, epoch: number("epoch")?, newest: number("newest")? })
        }),
        "NOT_NOW" => Some(Error::NotNow(message.clone())),
        "DENIED" | "UNAUTHENTICATED" => Some(Error::Denied(message.clone())),
        "EXHAUSTED" => Some(Error::Exhausted(message.clone())),
        "UNAVAILABLE" => Some(Error::Unavailable(message.clone())),
        _ => None,
    };
    Some(known.unwrap_or(Error::Corrupt(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_a_round_trip() {
        let id = Id::parse("a1").unwrap();
        let text = || "said ✓".to_owned();
        for error in [
            Error::Invalid { field: "token".to_owned(), message: text() },
            Error::NotFound(text()),
            Error::TokenReused { id: id.clone(), differences: vec![text(), "b".to_owned()] },
            Error::Held { key: text(), by: id },
            Error::Fenced { lease: text(), epoch: 3, newest: u64::MAX },
            Error::NotNow(text()),
            Error::Denied(text()),
            Error::Exhausted(text()),
            Error::Unavailable(text()),
            Error::Corrupt(text()),
        ] {
            assert_eq!(read(&of(&error)), Some(error));
        }
        assert_eq!(read(&Status::not_found("x")), None);
    }
}
