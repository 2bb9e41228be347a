//! Pages that need no token: a home page, and probes of liveness and readiness.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, StatusCode};

use super::security_headers;
use super::target::{Interface, Target};
use crate::ready::ReadinessCheck;

const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// The state that the pages show.
pub(super) struct Pages {
    pub(super) ready: Option<ReadinessCheck>,
    pub(super) serves_rest: bool,
}

/// A page that is served without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Alive,
    Ready,
}

impl Page {
    /// Returns the page that a request is for.
    pub(super) fn of(target: Target, request: &Request) -> Option<Self> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            _ if target.interface != Interface::Rest || !is_read => None,
            "/" => Some(Self::Home),
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            _ => None,
        }
    }
}

impl Pages {
    pub(super) async fn render(&self, page: Page) -> Response {
        match page {
            Page::Home => response(StatusCode::OK, HTML, self.home(self.problem().await)),
            Page::Alive => response(StatusCode::OK, TEXT, "alive\n"),
            Page::Ready => match self.problem().await {
                None => response(StatusCode::OK, TEXT, "ready\n"),
                Some(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
            },
        }
    }

    /// Returns why the server is not ready, if it is not.
    async fn problem(&self) -> Option<String> {
        match &self.ready {
            Some(ready) => ready.problem().await,
            None => None,
        }
    }

    fn home(&self, problem: Option<String>) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let state = problem.map_or("ready".to_owned(), |why| format!("not ready: {why}"));
        let interfaces = match self.serves_rest {
            true => "gRPC and REST. The API is described in <a href=\"/openapi.json\">/openapi.json</a>",
            false => "gRPC",
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>dcp</title>\n<h1>dcp {version}</h1>\n\
             <p>dcp is a data control plane for Spark: it plans, applies and runs workloads that manifests describe.</p>\n\
             <p>This address serves {interfaces}; calls need a token.</p>\n<p>State: {state}.</p>\n</html>\n"
        )
    }
}

/// Returns the response of a page.
pub(super) fn response(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Response {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    security_headers::add((status, headers, text.into()).into_response())
}
