//! The layers that each call passes, from the connection to the service that answers it.
//!
//! [`stack`] lists them in this order; a layer sees the call only if all layers above it passed the call on:
//!
//! | layer | task |
//! | --- | --- |
//! | [`security_headers::require_tls`] | over TLS, tells browsers to use only TLS for this host |
//! | [`target`] | determines the interface and the service of the call, for all layers below |
//! | [`pages`] | answers `/`, `/healthz` and `/readyz` without a token and without an entry in the log |
//! | [`public`] | answers health, reflection and other public services without a token and without an entry in the log |
//! | [`log`] | logs the call once its response is sent, or its caller has disconnected |
//! | [`login`] | signs a browser in at `/login` |
//! | [`authentication`] | identifies the caller, or rejects the call |
//! | [`permits`] | takes a permit until the response is sent, or rejects the call |
//! | [`log::note_caller`] | gives the log the name of the caller of an admitted call |
//! | [`timeout`] | ends the call if its response does not begin in time |
//! | [`security_headers::add`] | adds headers for browsers to responses of the REST router |
//!
//! Each layer below `target` that rejects a call answers in the form of the call's interface.

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

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use tonic::service::Routes;
use tower::util::{BoxCloneSyncService, MapResponseLayer};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::{Options, Services};

use log::CallLog;
use login::LoginPage;
use pages::Pages;
use permits::Permits;
use public::PublicRoutes;
use target::{Interface, Target};

pub(crate) use authentication::Authentication;
use authentication::Identifier;

/// All services behind their layers. A request needs the extensions [`Authentication`] and [`Usage`](crate::usage::Usage)
/// of its connection.
pub(crate) type Stack = BoxCloneSyncService<Request, Response, Infallible>;

/// Puts services behind their layers. `public` are the routes of services that need no token, and `port` is
/// the TCP port.
pub(crate) fn stack(services: Services, public: Routes, options: &Options, port: u16) -> Stack {
    let Services { grpc, public_names, rest, names, streaming_suffixes, proxied_names, ready, .. } = services;
    let Options { access, tls, limits, clock, log, workers: _ } = options;
    let (names, proxied): (Arc<[_]>, Arc<[_]>) = (names.into(), proxied_names.into());
    let pages = Pages { ready, serves_rest: rest.is_some() };
    let public = PublicRoutes::new(public, public_names, limits);
    let log = CallLog { log: log.clone(), clock: *clock };
    let is_tls = tls.is_some();
    let login = LoginPage::new(access.as_ref(), port, is_tls);
    let identifier = Identifier { access: access.clone(), clock: *clock };
    let permits = Permits::new(limits, streaming_suffixes);
    let grpc = grpc.prepare().into_axum_router();
    // A router without routes answers 404.
    let rest = rest.unwrap_or_default().layer(MapResponseLayer::new(security_headers::add));

    let stack = ServiceBuilder::new()
        .option_layer(is_tls.then(|| MapResponseLayer::new(security_headers::require_tls)))
        .map_request(move |request| target::add(request, &names, &proxied))
        .layer(from_fn_with_state(pages, pages::serve))
        .layer(from_fn_with_state(public, public::serve))
        .layer(from_fn_with_state(log, log::follow))
        .layer(from_fn_with_state(login, login::serve))
        .layer(from_fn_with_state(identifier, authentication::identify))
        .layer(from_fn_with_state(permits, permits::take))
        .map_request(log::note_caller)
        .layer(from_fn_with_state(limits.call_timeout, timeout::limit))
        .service(service_fn(move |request: Request| router(&request, &grpc, &rest).oneshot(request)));
    BoxCloneSyncService::new(stack)
}

/// Returns the router of a request's interface.
fn router(request: &Request, grpc: &Router, rest: &Router) -> Router {
    match request.extensions().get().map(|target: &Target| target.interface) {
        Some(Interface::Grpc) => grpc.clone(),
        Some(Interface::Rest) | None => rest.clone(),
    }
}
