//! Converts between errors of a control plane and the common error of services.

use std::collections::BTreeMap;

use dcp_server::ServiceError;
use tonic::{Code, Status};

use super::{ACTIONS, Result};
use crate::registry::Error;
use crate::state::Action;
use crate::state::{Applied, Base, Head};

pub(crate) const DOMAIN: &str = "dcp.control.v1";

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |code, reason| Self::new(code, DOMAIN, reason, message);
        match error {
            Error::Moved(head) => Self { metadata: metadata(&head), ..new(Code::Aborted, "MOVED") },
            Error::Invalid(_) => new(Code::InvalidArgument, "INVALID"),
            Error::NotFound(_) => new(Code::NotFound, "NOT_FOUND"),
            Error::Denied(_) => new(Code::PermissionDenied, "DENIED"),
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

pub(crate) fn too_large(message: String) -> Status {
    ServiceError::new(Code::ResourceExhausted, DOMAIN, "TOO_LARGE", message).into()
}

/// Reads the error that a control plane sent.
impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        let ServiceError { reason, message, metadata, .. } = error;
        match reason.as_ref() {
            "MOVED" => match read_metadata(&metadata) {
                Ok(head) => Self::Moved(Box::new(head)),
                Err(what) => Self::Corrupt(format!("{message}; {what}")),
            },
            "INVALID" | "TOO_LARGE" => Self::Invalid(message),
            "NOT_FOUND" => Self::NotFound(message),
            "DENIED" | "UNAUTHENTICATED" => Self::Denied(message),
            "UNAVAILABLE" | "TOO_LATE" => Self::Unavailable(message),
            _ => Self::Corrupt(message),
        }
    }
}

fn metadata(head: &Head) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    let mut put = |key: &str, value: &str| drop(metadata.insert(key.to_owned(), value.to_owned()));
    put("serial", &head.base.serial.to_string());
    if let Some(lineage) = &head.base.lineage {
        put("lineage", lineage);
    }
    if let Some(Applied { serial: _, id, by, at, commit, counts }) = &head.applied {
        put("id", id);
        put("by", by);
        put("at", &at.to_string());
        if let Some(commit) = commit {
            put("commit", commit);
        }
        for (action, number) in counts {
            put(&count_key(*action), &number.to_string());
        }
    }
    metadata
}

fn read_metadata(metadata: &BTreeMap<String, String>) -> Result<Head> {
    let number = |text: &String| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
    let get = |key: &str| metadata.get(key).ok_or_else(|| format!("the answer does not tell its `{key}`"));
    let serial = number(get("serial")?)?;
    let base = Base { lineage: metadata.get("lineage").cloned(), serial };
    let Some(id) = metadata.get("id").cloned() else { return Ok(Head { base, applied: None }) };
    let mut counts = BTreeMap::new();
    for (action, _) in ACTIONS {
        if let Some(count) = metadata.get(&count_key(action)) {
            counts.insert(action, number(count)?);
        }
    }
    let at = get("at")?.parse().map_err(|_| "the answer's `at` is no time".to_owned())?;
    let commit = metadata.get("commit").cloned();
    let applied = Applied { serial, id, by: get("by")?.clone(), at, commit, counts };
    Ok(Head { base, applied: Some(applied) })
}

fn count_key(action: Action) -> String {
    format!("count.{}", super::action(action).as_str_name().trim_start_matches("ACTION_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_a_round_trip() {
        let applied = Applied {
            serial: 7,
            id: "seven".to_owned(),
            by: "ada lovelace ✓".to_owned(),
            at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            commit: Some("abc".to_owned()),
            counts: BTreeMap::from([(Action::Create, 2), (Action::Delete, 1)]),
        };
        let base = Base { lineage: Some("first".to_owned()), serial: 7 };
        for error in [
            Error::Moved(Box::new(Head { base, applied: Some(applied) })),
            Error::Moved(Box::default()),
            Error::Invalid("a".to_owned()),
            Error::NotFound("b".to_owned()),
            Error::Denied("c".to_owned()),
            Error::Unavailable("d".to_owned()),
            Error::Corrupt("e".to_owned()),
        ] {
            let said = format!("{error:?}");
            let status = Status::from(error);
            let back = ServiceError::read(&status, DOMAIN).map(Error::from).expect("a control plane sent it");
            assert_eq!(format!("{back:?}"), said);
        }
    }
}
