//! Limits the number of concurrent calls.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use super::target::Target;
use crate::Limits;
use crate::error::ServiceError;
use crate::services::is_long_lived;
use crate::usage::{AdmittedCall, Usage};

/// Permits for calls. Long-lived calls, which have certain suffixes of paths, have permits of their own.
pub(super) struct Permits {
    calls: Arc<Semaphore>,
    streaming_calls: Arc<Semaphore>,
    streaming_suffixes: Vec<&'static str>,
}

/// The permit of a call, which is a use of its connection.
pub(super) struct Permit(#[expect(dead_code, reason = "it is held")] (OwnedSemaphorePermit, AdmittedCall));

impl Permits {
    pub(super) fn new(limits: &Limits, streaming_suffixes: Vec<&'static str>) -> Self {
        let (calls, streaming_calls) = (semaphore(limits.calls), semaphore(limits.streaming_calls));
        Self { calls, streaming_calls, streaming_suffixes }
    }

    /// Takes a permit, or rejects the call.
    pub(super) fn take(&self, target: Target, path: &str, usage: &Usage) -> Result<Permit, ServiceError> {
        let is_long_lived = target.is_proxied || is_long_lived(&self.streaming_suffixes, path);
        let permits = if is_long_lived { &self.streaming_calls } else { &self.calls };
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| {
            let busy = "too many concurrent calls; retry, or raise --max-calls";
            target.error(Code::Unavailable, "UNAVAILABLE", busy)
        })?;
        Ok(Permit((permit, usage.begin_call())))
    }
}

/// Creates the permits of a limit. The maximum of a semaphore is larger than any number of calls.
pub(super) fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)))
}
