//! The results of the steps of a round.

use std::time::Duration;

use dcp_runner::api::Error;
use tokio::time::timeout;

/// Timeout of calls to the Runner.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The reason why a step failed.
pub(super) enum Failure {
    /// Another loop holds the lease.
    Lost,
    /// The pool is tried again in the next round.
    Pool(String),
}

pub(super) type StepResult<T = ()> = Result<T, Failure>;

pub(super) async fn with_timeout<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::Unavailable(format!("the Runner did not answer within {} s", TIMEOUT.as_secs()));
    timeout(TIMEOUT, call).await.unwrap_or_else(|_| Err(late()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Fenced { .. } => Self::Lost,
            error => Self::Pool(error.to_string()),
        }
    }
}

impl From<dcp_database::Error> for Failure {
    fn from(error: dcp_database::Error) -> Self {
        Self::Pool(error.to_string())
    }
}
