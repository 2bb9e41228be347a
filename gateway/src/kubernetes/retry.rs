//! Repeats requests that an API server rejects because it is busy.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tokio::time::{Sleep, sleep};
use tower::BoxError;
use tower::retry::Policy;

/// Maximum number of repetitions of a request.
const MAX_REPETITIONS: u32 = 2;
/// Pause if the server asks for none.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause. If the server asks for a longer one, the call fails, and the Runner repeats it.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Repeats a request after the codes 429 and 503, with the pause that the server asks for. It is bounded, because a
/// caller waits for the response; the Runner repeats calls that fail.
#[derive(Clone)]
pub(super) struct WhileBusy {
    left: u32,
    /// Copies requests. It repeats nothing.
    copies: RetryPolicy,
}

impl Default for WhileBusy {
    fn default() -> Self {
        Self { left: MAX_REPETITIONS, copies: RetryPolicy::default() }
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for WhileBusy {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        let is_busy =
            matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let pause = requested_pause(response.headers()).unwrap_or(PAUSE);
        if !is_busy || self.left == 0 || pause > MAX_PAUSE {
            return None;
        }
        self.left -= 1;
        Some(sleep(pause))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Policy::<_, Response<B>, BoxError>::clone_request(&mut self.copies, request)
    }
}

/// Returns the pause that a server asks for, if it is a number of seconds, as that of Kubernetes is.
fn requested_pause(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, Client};
    use tokio::time::Instant;
    use tower::ServiceBuilder;
    use tower::retry::RetryLayer;

    use super::*;

    /// Reads a pod from a server that has a code and a header for each request, and returns the time, the number of
    /// requests and the code.
    async fn read(code: u16, retry_after: Option<&'static str>) -> (Duration, u32, u16) {
        let requests = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&requests);
        let server = tower::service_fn(move |_: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::builder().status(code);
            if let Some(pause) = retry_after {
                response = response.header(RETRY_AFTER, pause);
            }
            async move { Ok::<_, BoxError>(response.body(Body::empty()).expect("it is valid")) }
        });
        let service = ServiceBuilder::new().layer(RetryLayer::new(WhileBusy::default())).service(server);
        let pods: Api<Pod> = Api::namespaced(Client::new(service, "sales"), "sales");
        let begun = Instant::now();
        let error = pods.get("one").await.expect_err("the server is busy");
        let kube::Error::Api(status) = error else { panic!("{error:?}") };
        (begun.elapsed(), requests.load(Ordering::SeqCst), status.code)
    }

    #[tokio::test(start_paused = true)]
    async fn busy_server_gets_the_pause_that_it_asks_for_within_bounds() {
        for (code, retry_after, pause, requests) in [
            (429, None, 2, 3),
            (429, Some("3"), 6, 3),
            (503, Some("10"), 20, 3),
            (503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), 2, 3),
            (429, Some("11"), 0, 1),
            (429, Some("18446744073709551615"), 0, 1),
            (500, Some("1"), 0, 1),
            (409, Some("1"), 0, 1),
        ] {
            let (time, count, found) = read(code, retry_after).await;
            assert_eq!((time.as_secs(), count, found), (pause, requests, code), "{code} {retry_after:?}");
        }
    }
}
