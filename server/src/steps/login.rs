//! The page that signs a browser in.

use axum::extract::Request;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};

use super::pages::{TEXT, response};
use super::target::{Interface, Target};
use crate::access::{Access, is_to_loopback};
use crate::login::Login;

/// The login, and the server that its cookies are for.
pub(super) struct LoginPage {
    login: Login,
    port: u16,
    is_tls: bool,
}

impl LoginPage {
    /// Returns the page if browsers can sign in.
    pub(super) fn new(access: Option<&Access>, port: u16, is_tls: bool) -> Option<Self> {
        let login = access?.login()?.clone();
        Some(Self { login, port, is_tls })
    }

    /// Begins a session if the request has the code of the link.
    pub(super) fn answer(&self, request: &Request) -> Response {
        let code = request.uri().query().and_then(|query| query.strip_prefix("code=")).unwrap_or_default();
        let cookie = is_to_loopback(request)
            .then(|| self.login.begin_session(code.as_bytes(), self.port, self.is_tls))
            .flatten();
        let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else {
            let why = "this link was used or has expired; restart the server, which prints a new one\n";
            return response(StatusCode::FORBIDDEN, TEXT, why);
        };
        // The redirect keeps the code out of the browser's history.
        let mut response = response(StatusCode::SEE_OTHER, TEXT, "signed in\n");
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
        response.headers_mut().insert(SET_COOKIE, cookie);
        response
    }
}

/// Returns true for `GET /login?code=…`.
pub(super) fn is_login(target: Target, request: &Request) -> bool {
    target.interface == Interface::Rest && request.method() == Method::GET && request.uri().path() == "/login"
}
