//! The steps that each call passes, from the connection to the service that answers it.
//!
//! [`Stack::answer`] takes them in this order; a step sees the call only if no step above it answered or rejected it:
//!
//! | step | task |
//! | --- | --- |
//! | [`target`] | determines the interface and the service of the call, for all other steps |
//! | [`pages`] | answers `/`, `/healthz` and `/readyz` without a token and without an entry in the log |
//! | [`public`] | answers health, reflection and other public services without a token and without an entry in the log |
//! | [`log`] | logs the call once its response is sent, or its caller has disconnected |
//! | [`login`] | signs a browser in at `/login` |
//! | [`authentication`] | identifies the caller, or rejects the call |
//! | [`permits`] | takes a permit until the response is sent, or rejects the call |
//! | [`timeout`] | ends the call if its response does not begin in time |
//! | [`security_headers::add`] | adds headers for browsers to responses of the REST router |
//! | [`security_headers::require_tls`] | over TLS, tells browsers to use only TLS for this host, in each response |
//!
//! A call that is rejected gets an error in the form of its interface.

mod authentication;
mod guard;
mod log;
mod login;
mod pages;
mod permits;
mod public;
mod security_headers;
mod target;
mod timeout;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use tower::ServiceExt as _;

use crate::error::ServiceError;
use crate::services::Proxied;
use crate::usage::Usage;
use crate::{Options, Services};

use log::{CallLog, Entry};
use login::LoginPage;
use pages::{Page, Pages};
use permits::Permits;
use public::PublicRoutes;
use target::{Interface, Target, Targets};

pub(crate) use authentication::Authentication;
use authentication::Identifier;

/// All services behind the steps. Clones share everything.
#[derive(Clone)]
pub(crate) struct Stack(Arc<Steps>);

struct Steps {
    is_tls: bool,
    targets: Targets,
    pages: Pages,
    public: PublicRoutes,
    log: CallLog,
    login: Option<LoginPage>,
    identifier: Identifier,
    permits: Permits,
    /// Maximum time until a response begins.
    timeout: Duration,
    proxied: Vec<Proxied>,
    grpc: Router,
    rest: Router,
}

/// The connection of a call.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) authentication: Authentication,
    pub(crate) usage: Usage,
}

impl Stack {
    /// Puts services behind the steps. `port` is the TCP port.
    pub(crate) fn new(
        services: Services,
        public: tonic::service::Routes,
        options: &Options,
        port: u16,
    ) -> Self {
        let Services { grpc, public_names, rest, names, streaming_suffixes, proxied, ready, .. } = services;
        let Options { access, tls, limits, clock, log, workers: _ } = options;
        let is_tls = tls.is_some();
        Self(Arc::new(Steps {
            is_tls,
            targets: Targets { names, proxied: proxied.iter().map(Proxied::name).collect() },
            pages: Pages { ready, serves_rest: rest.is_some() },
            public: PublicRoutes::new(public, public_names, limits),
            log: CallLog { log: log.clone(), clock: *clock },
            login: LoginPage::new(access.as_ref(), port, is_tls),
            identifier: Identifier { access: access.clone().map(Arc::new), clock: *clock },
            permits: Permits::new(limits, streaming_suffixes),
            timeout: limits.call_timeout,
            proxied,
            grpc: grpc.prepare().into_axum_router(),
            // A router without routes answers 404.
            rest: rest.unwrap_or_default(),
        }))
    }

    /// Answers a call.
    pub(crate) async fn answer(self, origin: Origin, request: Request) -> Response {
        let Self(steps) = self;
        let target = steps.targets.of(&request);
        let response = if let Some(page) = Page::of(target, &request) {
            steps.pages.render(page).await
        } else if steps.public.has(target, request.uri().path()) {
            steps.public.answer(request, &origin.usage).await
        } else {
            let mut entry = Entry::new(&steps.log, target, &request);
            let is_head = request.method() == Method::HEAD;
            let response = steps.admit(&origin, target, &mut entry, request).await;
            entry.follow(response.unwrap_or_else(|error| target.rejection(error)), is_head)
        };
        if steps.is_tls { security_headers::require_tls(response) } else { response }
    }
}

impl Steps {
    /// Answers a call whose caller may make it now, or rejects it.
    async fn admit(
        &self,
        origin: &Origin,
        target: Target,
        entry: &mut Entry,
        request: Request,
    ) -> Result<Response, ServiceError> {
        if let Some(login) = self.login.as_ref().filter(|_| login::is_login(target, &request)) {
            return Ok(login.answer(&request));
        }
        let (parts, body) = request.into_parts();
        let mut head = Request::from_parts(parts, ());
        if target.is_proxied {
            authentication::rename_token(head.headers_mut());
        }
        let caller = self.identifier.identify(&origin.authentication, target, &head).await?;
        entry.hold(self.permits.take(target, head.uri().path(), &origin.usage)?);
        entry.notes.by(&caller.name);
        head.extensions_mut().insert(caller);
        head.extensions_mut().insert(entry.notes.clone());
        let request = head.map(|()| body);
        match timeout::of(target, request.headers(), self.timeout) {
            None => Ok(self.serve(target, request).await),
            Some(time) => {
                let response = tokio::time::timeout(time, self.serve(target, request)).await;
                response.map_err(|_| timeout::error(target, time))
            }
        }
    }

    /// Returns the response of the service that a call is for.
    async fn serve(&self, target: Target, request: Request) -> Response {
        let Ok(response) = match target.interface {
            Interface::Rest => self.rest.clone().oneshot(request).await.map(security_headers::add),
            Interface::Grpc => match self.proxied.iter().find(|proxied| proxied.name() == target.service) {
                Some(proxied) => proxied.call(request).await,
                None => self.grpc.clone().oneshot(request).await,
            },
        };
        response
    }
}
