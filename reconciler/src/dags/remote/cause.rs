//! What a store's error means. Its text is looked at, and never shown: it may hold a request with its signature.

use std::error::Error as _;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::dags::Cause;

const NO_BUCKET: &[&str] = &["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];

/// Where a program asks the machine that it runs on for credentials, when it is given none.
const INSTANCE: &[&str] =
    &[" http://169.254.", " http://metadata.google.internal", "/latest/api/token ", "/latest/meta-data/iam/"];

/// What services call a request by somebody who may not, or whom they do not know.
const DENIED: &[&str] = &[
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
];

pub(super) fn is_no_bucket(error: &Error) -> bool {
    let text = error.to_string();
    NO_BUCKET.iter().any(|code| text.contains(code))
}

pub(super) fn cause(error: &Error) -> Cause {
    let text = error.to_string();
    if is_no_bucket(error) {
        return Cause::NoBucket;
    }
    if INSTANCE.iter().any(|word| text.contains(word)) {
        return Cause::NoCredentials;
    }
    let said = said(&text);
    let status = |status: &str| text.contains(&format!("status code: {status} "));
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Cause::Denied(said),
        // A listing that is refused comes as any other error.
        _ if status("401") || status("403") || DENIED.contains(&said.as_str()) => Cause::Denied(said),
        Error::NotFound { .. } => Cause::Missing,
        _ if text.contains("incorrectly configured region") => Cause::WrongRegion,
        _ => match transport(error) {
            Some(kind) => Cause::Unreachable(kind.to_owned()),
            None => Cause::Unavailable(said),
        },
    }
}

/// How the network failed, where it did.
fn transport(error: &Error) -> Option<&'static str> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(match http.kind() {
                HttpErrorKind::Connect => "no connection",
                HttpErrorKind::Timeout => "no answer in time",
                HttpErrorKind::Request | HttpErrorKind::Interrupted => "the connection broke off",
                _ => return None,
            });
        }
        next = error.source();
    }
    None
}

/// A service's own name of what is wrong, or else the status of its answer.
fn said(text: &str) -> String {
    let within = |from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0);
    let code = within("<Code>", "</Code>").or_else(|| within("status code: ", ":"));
    code.filter(|code| code.len() < 60 && code.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '))
        .map(str::to_owned)
        .unwrap_or_default()
}
