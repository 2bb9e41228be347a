//! Errors for Spark Connect clients, in the form of Spark's servers, so that clients act on them.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(crate) const SPARK: &str = "org.apache.spark";
const SQL_EXCEPTION: &str = "org.apache.spark.SparkSQLException";
const SQL_STATE: &str = "HY000";

/// The reason why a session can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handle {
    /// The id is no UUID.
    Format,
    /// No driver has the session.
    NotFound,
    /// The session has ended.
    Closed,
    /// The driver has ended, and the session with it. `PySpark` makes a new session.
    Changed,
}

impl Handle {
    fn class(self) -> &'static str {
        match self {
            Self::Format => "INVALID_HANDLE.FORMAT",
            Self::NotFound => "INVALID_HANDLE.SESSION_NOT_FOUND",
            Self::Closed => "INVALID_HANDLE.SESSION_CLOSED",
            Self::Changed => "INVALID_HANDLE.SESSION_CHANGED",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Format => {
                "Handle must be an UUID string of the format '00112233-4455-6677-8899-aabbccddeeff'"
            }
            Self::NotFound => "Session not found.",
            Self::Closed => "Session was closed.",
            Self::Changed => {
                "The existing Spark server driver instance has restarted. Please reconnect: the driver of this session has ended."
            }
        }
    }
}

/// Returns the error of a session that can't be used.
pub(crate) fn invalid_handle(handle: &str, reason: Handle) -> Status {
    // The id may be any text of a client.
    let shown: String = handle.chars().filter(|c| !c.is_control()).take(64).collect();
    let class = reason.class();
    let metadata = HashMap::from([
        (
            "classes".to_owned(),
            format!("[\"{SQL_EXCEPTION}\",\"java.lang.Exception\",\"java.lang.Throwable\"]"),
        ),
        ("errorClass".to_owned(), class.to_owned()),
        ("sqlState".to_owned(), SQL_STATE.to_owned()),
        ("messageParameters".to_owned(), serde_json::json!({ "handle": shown }).to_string()),
    ]);
    let details = ErrorDetails::with_error_info(SQL_EXCEPTION, SPARK, metadata);
    let message =
        format!("[{class}] The handle {shown} is invalid. {} SQLSTATE: {SQL_STATE}", reason.description());
    Status::with_error_details(Code::Internal, message, details)
}

/// Returns whether an error says that the session has ended, or its driver.
pub fn is_lost(status: &Status) -> bool {
    ["SESSION_CHANGED", "SESSION_CLOSED", "SESSION_NOT_FOUND"]
        .iter()
        .any(|class| status.message().starts_with(&format!("[INVALID_HANDLE.{class}]")))
}

/// Returns the error of a call that may succeed after a time.
pub(crate) fn retry_after(code: Code, delay: Duration, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(delay)))
}

/// Returns the error of a call that can be repeated at once, as its driver or the database did not respond.
pub(crate) fn unavailable(message: impl Into<String>) -> Status {
    retry_after(Code::Unavailable, Duration::from_secs(1), message)
}
