//! Limits the number of concurrent calls.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;
use tonic::Code;

use super::guard;
use super::target::Target;
use crate::Limits;
use crate::services::is_long_lived;
use crate::usage::Usage;

/// Permits for calls. Long-lived calls, which have certain suffixes of paths, have permits of their own.
#[derive(Clone)]
pub(super) struct Permits {
    calls: Arc<Semaphore>,
    streaming_calls: Arc<Semaphore>,
    streaming_suffixes: Arc<[&'static str]>,
}

impl Permits {
    pub(super) fn new(limits: &Limits, streaming_suffixes: Vec<&'static str>) -> Self {
        let (calls, streaming_calls) = (semaphore(limits.calls), semaphore(limits.streaming_calls));
        Self { calls, streaming_calls, streaming_suffixes: streaming_suffixes.into() }
    }
}

/// Creates the permits of a limit. The maximum of a semaphore is larger than any number of calls.
pub(super) fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)))
}

/// Takes a permit until the response is sent, or rejects the call. An admitted call is a use of its connection.
pub(super) async fn take(
    State(permits): State<Permits>,
    Extension(target): Extension<Target>,
    Extension(usage): Extension<Usage>,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    let Permits { calls, streaming_calls, streaming_suffixes } = permits;
    let is_long_lived = target.is_proxied || is_long_lived(&streaming_suffixes, request.uri().path());
    let permits = if is_long_lived { streaming_calls } else { calls };
    let permit = permits.try_acquire_owned().map_err(|_| {
        let busy = "too many concurrent calls; retry, or raise --max-calls";
        target.reject(Code::Unavailable, "UNAVAILABLE", busy)
    })?;
    let guard = (permit, usage.begin_call());
    Ok(guard::hold(guard, next.run(request).await))
}
