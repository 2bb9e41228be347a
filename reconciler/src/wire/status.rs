//! Converts between errors and gRPC statuses. Facts for programs are in an `ErrorInfo`.

use std::collections::{BTreeMap, HashMap};

use dcp_server::status::{error_status, error_status_with_metadata};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{ACTIONS, Result};
use crate::registry::Error;
use crate::state::Action;
use crate::state::{Applied, Base, Head};

pub(crate) const DOMAIN: &str = "dcp.control.v1";

pub(crate) fn of(error: &Error) -> Status {
    let message = error.to_string();
    match error {
        Error::Moved(head) => {
            error_status_with_metadata(Code::Aborted, DOMAIN, "MOVED", message, metadata(head))
        }
        Error::Invalid(_) => error_status(Code::InvalidArgument, DOMAIN, "INVALID", message),
        Error::NotFound(_) => error_status(Code::NotFound, DOMAIN, "NOT_FOUND", message),
        Error::Denied(_) => error_status(Code::PermissionDenied, DOMAIN, "DENIED", message),
        Error::Unavailable(_) => error_status(Code::Unavailable, DOMAIN, "UNAVAILABLE", message),
        Error::Corrupt(_) => error_status(Code::DataLoss, DOMAIN, "CORRUPT", message),
    }
}

pub(crate) fn too_large(message: String) -> Status {
    error_status(Code::ResourceExhausted, DOMAIN, "TOO_LARGE", message)
}

pub(crate) fn unauthenticated(message: &str) -> Status {
    error_status(Code::Unauthenticated, DOMAIN, "UNAUTHENTICATED", message)
}

/// Returns the error of a control plane, or none if the status is not from one.
pub(crate) fn read(status: &Status) -> Option<Error> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    let message = status.message().to_owned();
    Some(match info.reason.as_str() {
        "MOVED" => match read_metadata(&info.metadata) {
            Ok(head) => Error::Moved(Box::new(head)),
            Err(what) => Error::Corrupt(format!("{message}; {what}")),
        },
        "INVALID" | "TOO_LARGE" => Error::Invalid(message),
        "NOT_FOUND" => Error::NotFound(message),
        "DENIED" | "UNAUTHENTICATED" => Error::Denied(message),
        "UNAVAILABLE" | "TOO_LATE" => Error::Unavailable(message),
        _ => Error::Corrupt(message),
    })
}

fn metadata(head: &Head) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
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

fn read_metadata(metadata: &HashMap<String, String>) -> Result<Head> {
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
            let back = read(&of(&error)).expect("it is from a control plane");
            assert_eq!(format!("{back:?}"), format!("{error:?}"));
        }
        assert!(read(&Status::not_found("x")).is_none());
    }
}
