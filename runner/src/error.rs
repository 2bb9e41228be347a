//! Errors of a Runner.

use crate::execution::Id;
use crate::results;

/// The reason why a Runner rejects or fails a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What was asked for can't be right, whatever else there is.
    #[error("{message}")]
    Invalid { field: String, message: String },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The token was used for another request.
    #[error("the token belongs to {id}, which asked for something else: {}; use another token", differences.join("; "))]
    TokenReused { id: Id, differences: Vec<String> },
    /// Another live execution has the key.
    #[error("{by} holds `{key}`, and only one may: wait until it has ended, or cancel it")]
    Held { key: String, by: Id },
    /// Somebody holds the lease by a younger epoch.
    #[error("epoch {epoch} of the lease `{lease}` is over, {newest} was seen: stop acting on it")]
    Fenced { lease: String, epoch: u64, newest: u64 },
    /// As much as may be is there already. To try again later is safe.
    #[error("{0}")]
    Exhausted(String),
    /// It can't be done in the state that the execution is in.
    #[error("{0}")]
    NotNow(String),
    /// The one who asks may not.
    #[error("{0}")]
    Denied(String),
    /// It can't be done just now. To try again is safe.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored is not what was written.
    #[error("{0}")]
    Corrupt(String),
}

impl From<dcp_database::Error> for Error {
    fn from(error: dcp_database::Error) -> Self {
        match error {
            dcp_database::Error::Invalid(message) => Self::Invalid { field: "database".to_owned(), message },
            dcp_database::Error::NotFound(said) => Self::NotFound(said),
            dcp_database::Error::Denied(said) => Self::Denied(said),
            dcp_database::Error::Unavailable(said) => Self::Unavailable(said),
            dcp_database::Error::Corrupt(said) => Self::Corrupt(said),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<results::Error> for Error {
    fn from(error: results::Error) -> Self {
        let said = error.to_string();
        match error {
            results::Error::NotThere { .. } => Self::NotFound(said),
            results::Error::Damaged { .. } => Self::Corrupt(said),
            results::Error::Unsupported { .. }
            | results::Error::Mixed { .. }
            | results::Error::TooLarge { .. }
            | results::Error::TooMany(_) => Self::NotNow(said),
            results::Error::Place(_) => Self::Unavailable(said),
        }
    }
}
