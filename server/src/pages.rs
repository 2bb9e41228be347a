//! Pages that need no token: a home page, a login, and probes of liveness and readiness.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tonic::body::Body;

use crate::access::is_to_loopback;
use crate::login::Login;

const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Adds headers that keep browsers from guessing the type of a response and from loading anything else.
pub(crate) fn add_security_headers(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// A page that is served without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Home,
    Alive,
    Ready,
}

impl Page {
    /// Returns the page of a path.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        match path {
            _ if !matches!(*method, Method::GET | Method::HEAD) => None,
            "/" => Some(Self::Home),
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            _ => None,
        }
    }

    /// Renders the page. `problem` says why the server is not ready.
    pub(crate) fn render(self, problem: Option<&str>, serves_rest: bool) -> Response<Body> {
        match (self, problem) {
            (Self::Home, _) => page_response(StatusCode::OK, HTML, home(problem, serves_rest)),
            (Self::Alive, _) => page_response(StatusCode::OK, TEXT, "alive\n"),
            (Self::Ready, None) => page_response(StatusCode::OK, TEXT, "ready\n"),
            (Self::Ready, Some(why)) => {
                page_response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n"))
            }
        }
    }
}

/// Answers `GET /login?code=…`, and no other request.
pub(crate) fn login<B>(
    login: &Login,
    request: &Request<B>,
    port: u16,
    is_tls: bool,
) -> Option<Response<Body>> {
    if request.method() != Method::GET || request.uri().path() != "/login" {
        return None;
    }
    let code = request.uri().query().and_then(|query| query.strip_prefix("code=")).unwrap_or_default();
    let cookie =
        is_to_loopback(request).then(|| login.begin_session(code.as_bytes(), port, is_tls)).flatten();
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else {
        let why = "this link was used or has expired; restart the server, which prints a new one\n";
        return Some(page_response(StatusCode::FORBIDDEN, TEXT, why));
    };
    // The redirect keeps the code out of the browser's history.
    let mut response = page_response(StatusCode::SEE_OTHER, TEXT, "signed in\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response.headers_mut().insert(SET_COOKIE, cookie);
    Some(response)
}

fn page_response(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::new(axum::body::Body::from(text.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_security_headers(headers);
    response
}

fn home(problem: Option<&str>, serves_rest: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let state = problem.map_or("ready".to_owned(), |why| format!("not ready: {why}"));
    let interfaces = match serves_rest {
        true => "gRPC and REST. The API is described in <a href=\"/openapi.json\">/openapi.json</a>",
        false => "gRPC",
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>dcp</title>\n<h1>dcp {version}</h1>\n\
         <p>dcp is a data control plane for Spark: it plans, applies and runs workloads that manifests describe.</p>\n\
         <p>This address serves {interfaces}; calls need a token.</p>\n<p>State: {state}.</p>\n</html>\n"
    )
}
