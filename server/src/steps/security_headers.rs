//! Headers for browsers.

use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};

const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds headers that keep browsers from guessing the type of a response, from loading anything else, from giving it to
/// pages of other servers, and from storing it.
pub(super) fn add(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut add = |name, value| headers.insert(name, HeaderValue::from_static(value));
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(CONTENT_SECURITY_POLICY, POLICY);
    add(REFERRER_POLICY, "no-referrer");
    add(RESOURCE_POLICY, "same-origin");
    add(CACHE_CONTROL, "no-store");
    response
}

/// Adds the header after which browsers use only TLS for this host.
pub(super) fn require_tls(mut response: Response) -> Response {
    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    response
}
