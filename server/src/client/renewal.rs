//! Tokens of clients that live longer than a token.

use std::fmt;
use std::sync::Arc;

use super::CallError;

type Source = dyn Fn() -> Result<String, String> + Send + Sync;

/// Returns the token for the next call. It may read a file or wait for a provider.
#[derive(Clone)]
pub struct Renewal(Arc<Source>);

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

impl Renewal {
    /// Creates a renewal from a function that may block. Its errors are messages for the caller, without a secret.
    pub fn new(token: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(token))
    }

    pub(super) async fn token(&self) -> Result<String, CallError> {
        let source = Arc::clone(&self.0);
        let token = tokio::task::spawn_blocking(move || source()).await;
        token
            .map_err(|error| CallError::Unavailable(format!("no token can be had: {error}")))?
            .map_err(CallError::Denied)
    }
}
