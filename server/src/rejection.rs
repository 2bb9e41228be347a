//! The rejection of a credential.

/// The reason why a token does not identify a caller. Messages do not quote the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The token is wrong, and stays so.
    Invalid(String),
    /// The token can't be verified now, as when a provider can't be reached.
    Unavailable(String),
}
