//! The identification of callers by their tokens.

use std::fmt;
use std::time::Duration;

use tonic::async_trait;

use crate::caller::Caller;
use crate::rejection::Rejection;

/// Knows the tokens of one kind.
#[async_trait]
pub trait Verifier: fmt::Debug + Send + Sync {
    /// Returns the holder of a token; none if the token is of another kind.
    async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection>;
}

/// The holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub caller: Caller,
    /// Time for which the token need not be verified again.
    pub lifetime: Duration,
}
