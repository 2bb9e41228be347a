//! Causes of errors, of a service or of a disk. A service's text is analyzed but never shown, as it may quote a
//! request with its signature.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// The cause of a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("it does not exist")]
    NotFound,
    #[error("the bucket does not exist")]
    NoBucket,
    #[error("it is a file, and not a folder")]
    NotAFolder,
    #[error("it is no regular file")]
    NotAFile,
    #[error("permission denied{}", in_brackets(.0))]
    Denied(String),
    #[error("there are no credentials")]
    NoCredentials,
    #[error("no space is left")]
    Full,
    #[error("the file system is read-only")]
    ReadOnly,
    #[error("the service can't be reached{}", in_brackets(.0))]
    Unreachable(String),
    #[error("the service does not answer as it should{}", in_brackets(.0))]
    Unavailable(String),
    #[error("the bucket is in another region")]
    WrongRegion,
    #[error("{0}")]
    Other(String),
}

impl Cause {
    /// Returns the remedy, if there is one.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotFound => "make the folder, or mount it, or name another one",
            Self::NoBucket => "make the bucket, or correct its name; look at the endpoint too",
            Self::NotAFolder | Self::NotAFile => "move it away, or name another folder",
            Self::Denied(_) => "allow the user of dcp to read, write and delete there",
            Self::NoCredentials => {
                "give them by the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            Self::Full => "free some space, then try again",
            Self::ReadOnly => "mount it so that it can be written to, or name another folder",
            Self::Unreachable(_) => "look at the endpoint, the network and the proxy, then try again",
            Self::Unavailable(_) => "try again in a while",
            Self::WrongRegion => "set AWS_REGION to the region of the bucket",
            Self::Other(_) => return None,
        })
    }
}

fn in_brackets(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

const NO_BUCKET_CODES: &[&str] =
    &["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];

/// URLs of the metadata services of virtual machines, where clients request credentials if none are configured.
const METADATA_SERVICE_URLS: &[&str] =
    &[" http://169.254.", " http://metadata.google.internal", "/latest/api/token ", "/latest/meta-data/iam/"];

/// Codes of services for missing permissions and unknown users.
const DENIED_CODES: &[&str] = &[
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
];

/// Returns true if the bucket is missing, and not an object in it.
pub fn is_missing_bucket(error: &Error) -> bool {
    let text = error.to_string();
    NO_BUCKET_CODES.iter().any(|code| text.contains(code))
}

/// Returns the cause of a store's error.
pub fn cause(error: &Error) -> Cause {
    let text = error.to_string();
    if is_missing_bucket(error) {
        return Cause::NoBucket;
    }
    if METADATA_SERVICE_URLS.iter().any(|word| text.contains(word)) {
        return Cause::NoCredentials;
    }
    let error_code = error_code(&text);
    let status = |status: &str| text.contains(&format!("status code: {status} "));
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Cause::Denied(error_code),
        // A listing without permission has a generic error.
        _ if status("401") || status("403") || DENIED_CODES.contains(&error_code.as_str()) => {
            Cause::Denied(error_code)
        }
        Error::NotFound { .. } => Cause::NotFound,
        _ if text.contains("incorrectly configured region") => Cause::WrongRegion,
        _ => match network_failure(error) {
            Some(kind) => Cause::Unreachable(kind.to_owned()),
            None => Cause::Unavailable(error_code),
        },
    }
}

/// Returns the kind of a network failure, if the error is one.
fn network_failure(error: &Error) -> Option<&'static str> {
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

/// Returns the service's code of an error, or the status of its response.
fn error_code(text: &str) -> String {
    let within = |from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0);
    let code = within("<Code>", "</Code>").or_else(|| within("status code: ", ":"));
    code.filter(|code| code.len() < 60 && code.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '))
        .map(str::to_owned)
        .unwrap_or_default()
}

/// Returns the cause of an error of the disk.
pub fn cause_on_disk(error: &io::Error) -> Cause {
    match error.kind() {
        ErrorKind::NotFound => Cause::NotFound,
        ErrorKind::PermissionDenied => Cause::Denied(String::new()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::Full,
        ErrorKind::ReadOnlyFilesystem => Cause::ReadOnly,
        ErrorKind::NotADirectory => Cause::NotAFolder,
        ErrorKind::IsADirectory => Cause::NotAFile,
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            Cause::Other(text.get(..end).unwrap_or_default().to_lowercase())
        }
    }
}
