//! Errors of backends.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field of the manifest has a value that this backend would ignore or can't use. A retry does not help.
    #[error("`{field}`: {reason}")]
    Field { field: String, reason: String },
    /// The application can't run on this backend. A retry does not help.
    #[error("{0}")]
    Invalid(String),
    /// There is another application by this name.
    #[error("{0}")]
    Conflict(String),
    /// The backend can't be reached, or is temporarily unable. A retry is safe.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { field: field.into(), reason: reason.into() }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
