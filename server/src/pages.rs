//! Pages that need no token: for a person who opens the address, and for programs that ask whether the server is alive
//! and ready.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tonic::body::Body;

use crate::access::is_to_loopback;
use crate::front::Front;

const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Has a browser take an answer for nothing else than what it is.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The page of a path, if it has one.
pub(crate) async fn page(front: &Front, method: &Method, path: &str) -> Option<Response<Body>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let response = match path {
        "/" => answer(StatusCode::OK, HTML, first(front).await),
        "/healthz" => answer(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => match front.problem().await {
            None => answer(StatusCode::OK, TEXT, "ready\n"),
            Some(why) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        _ => return None,
    };
    Some(response)
}

/// Answers `GET /login?code=…`; nothing where there is no login.
pub(crate) fn login<B>(front: &Front, request: &Request<B>) -> Option<Response<Body>> {
    let login = front.access.as_ref()?.login()?;
    if request.method() != Method::GET || request.uri().path() != "/login" {
        return None;
    }
    let code = request.uri().query().and_then(|query| query.strip_prefix("code=")).unwrap_or_default();
    let cookie =
        is_to_loopback(request).then(|| login.begin(code.as_bytes(), front.port, front.is_tls)).flatten();
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else {
        let why = "this link was used or has expired; restart the server, which prints a new one\n";
        return Some(answer(StatusCode::FORBIDDEN, TEXT, why));
    };
    // The browser goes on to another address, so that the code does not stay in its history.
    let mut response = answer(StatusCode::SEE_OTHER, TEXT, "signed in\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response.headers_mut().insert(SET_COOKIE, cookie);
    Some(response)
}

fn answer(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::new(axum::body::Body::from(text.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    secure(headers);
    response
}

async fn first(front: &Front) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let state = front.problem().await.map_or("ready".to_owned(), |why| format!("not ready: {why}"));
    let interfaces = match &front.rest {
        Some(_) => "gRPC and REST. The API is described in <a href=\"/openapi.json\">/openapi.json</a>",
        None => "gRPC",
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>dcp</title>\n<h1>dcp {version}</h1>\n\
         <p>dcp is a data control plane for Spark: it plans, applies and runs workloads that manifests describe.</p>\n\
         <p>This address serves {interfaces}; calls need a token.</p>\n<p>State: {state}.</p>\n</html>\n"
    )
}
