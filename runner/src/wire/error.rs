//! Converts between errors of a Runner and the common error of services.

use dcp_server::ServiceError;
use tonic::{Code, Status};

use crate::api::Error;
use crate::execution::Id;

pub(crate) const DOMAIN: &str = "dcp.runner.v1";

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |code, reason| Self::new(code, DOMAIN, reason, message.clone());
        match error {
            Error::Invalid { field, message } => Self::invalid(DOMAIN, field, message),
            Error::NotFound(_) => new(Code::NotFound, "NOT_FOUND"),
            Error::TokenReused { id, differences } => {
                let reused = new(Code::AlreadyExists, "TOKEN_REUSED").with("execution", id.to_string());
                let numbered = differences.into_iter().enumerate();
                numbered.fold(reused, |error, (number, it)| error.with(format!("difference.{number}"), it))
            }
            Error::Held { key, by } => {
                new(Code::FailedPrecondition, "HELD").with("key", key).with("execution", by.to_string())
            }
            Error::Fenced { lease, epoch, newest } => new(Code::FailedPrecondition, "FENCED")
                .with("lease", lease)
                .with("epoch", epoch.to_string())
                .with("newest", newest.to_string()),
            Error::NotNow(_) => new(Code::FailedPrecondition, "NOT_NOW"),
            Error::Denied(_) => new(Code::PermissionDenied, "DENIED"),
            Error::Exhausted { retry_after, .. } => {
                new(Code::ResourceExhausted, "EXHAUSTED").with_retry_after(retry_after)
            }
            Error::Unavailable(_) => new(Code::Unavailable, "UNAVAILABLE"),
            Error::Corrupt(_) => new(Code::DataLoss, "CORRUPT"),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        ServiceError::from(error).into()
    }
}

/// Reads the error that a Runner sent.
impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        let ServiceError { reason, message, metadata, retry_after, .. } = error;
        let get = |key: &str| metadata.get(key).cloned();
        let id = || get("execution").as_deref().and_then(Id::parse);
        let number = |key: &str| get(key).and_then(|text| text.parse().ok());
        let known = match reason.as_ref() {
            "INVALID" | "TOO_LARGE" => {
                Some(Self::Invalid { field: get("field").unwrap_or_default(), message: message.clone() })
            }
            "NOT_FOUND" => Some(Self::NotFound(message.clone())),
            "TOKEN_REUSED" => id().map(|id| {
                let differences = (0..).map_while(|number| get(&format!("difference.{number}"))).collect();
                Self::TokenReused { id, differences }
            }),
            "HELD" => get("key").zip(id()).map(|(key, by)| Self::Held { key, by }),
            "FENCED" => get("lease").and_then(|lease| {
                Some(Self::Fenced { lease, epoch: number("epoch")?, newest: number("newest")? })
            }),
            "NOT_NOW" => Some(Self::NotNow(message.clone())),
            "DENIED" | "UNAUTHENTICATED" => Some(Self::Denied(message.clone())),
            "EXHAUSTED" => Some(Self::Exhausted { message: message.clone(), retry_after }),
            "UNAVAILABLE" | "TOO_LATE" => Some(Self::Unavailable(message.clone())),
            _ => None,
        };
        known.unwrap_or(Self::Corrupt(message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            Error::Exhausted { message: text(), retry_after: None },
            Error::Exhausted { message: text(), retry_after: Some(Duration::from_millis(1500)) },
            Error::Unavailable(text()),
            Error::Corrupt(text()),
        ] {
            let status = Status::from(error.clone());
            assert_eq!(ServiceError::read(&status, DOMAIN).map(Error::from), Some(error));
        }
    }
}
