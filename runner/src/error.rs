//! Errors of a Runner.

use std::time::Duration;

use crate::execution::Id;
use crate::results;

/// The reason why a Runner rejects or fails a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is invalid, whatever the state of the Runner.
    #[error("{message}")]
    Invalid { field: String, message: String },
    /// The requested object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The token was used for another request.
    #[error("the token belongs to {id}, which asked for something else: {}; use another token", differences.join("; "))]
    TokenReused { id: Id, differences: Vec<String> },
    /// Another live execution has the key.
    #[error("{by} holds `{key}`, and only one may: wait until it has ended, or cancel it")]
    Held { key: String, by: Id },
    /// A newer epoch of the lease was seen.
    #[error("epoch {epoch} of the lease `{lease}` is over, {newest} was seen: stop acting on it")]
    Fenced { lease: String, epoch: u64, newest: u64 },
    /// A limit is reached. A retry later is safe.
    #[error("{message}")]
    Exhausted { message: String, retry_after: Option<Duration> },
    /// The execution is in a state that does not allow the call.
    #[error("{0}")]
    NotNow(String),
    /// The caller is not permitted to do this.
    #[error("{0}")]
    Denied(String),
    /// A temporary failure. A retry is safe.
    #[error("{0}")]
    Unavailable(String),
    /// The stored data is damaged.
    #[error("{0}")]
    Corrupt(String),
}

impl Error {
    pub(crate) fn unknown(id: &Id) -> Self {
        Self::NotFound(format!("there is no execution {id}: it never was, or was forgotten after its time"))
    }
}

impl From<dcp_database::Error> for Error {
    fn from(error: dcp_database::Error) -> Self {
        match error {
            dcp_database::Error::Invalid(message) => Self::Invalid { field: "database".to_owned(), message },
            dcp_database::Error::NotFound(message) => Self::NotFound(message),
            dcp_database::Error::Denied(message) => Self::Denied(message),
            dcp_database::Error::Unavailable(message) => Self::Unavailable(message),
            dcp_database::Error::Corrupt(message) => Self::Corrupt(message),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<results::Error> for Error {
    fn from(error: results::Error) -> Self {
        let message = error.to_string();
        match error {
            results::Error::NotFound { .. } => Self::NotFound(message),
            results::Error::Damaged { .. } => Self::Corrupt(message),
            results::Error::Unsupported { .. }
            | results::Error::Mixed { .. }
            | results::Error::TooLarge { .. }
            | results::Error::TooManyFiles(_) => Self::NotNow(message),
            results::Error::Storage(_) => Self::Unavailable(message),
        }
    }
}
