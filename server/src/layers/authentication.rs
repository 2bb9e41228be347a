//! Identifies callers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use tonic::Code;

use super::target::Target;
use crate::access::Access;
use crate::audit::{self, Audit};
use crate::caller::Caller;
use crate::certificate::Holder;
use crate::rejection::Rejection;

/// The way in which the callers of a connection are authenticated.
#[derive(Debug, Clone)]
pub(crate) enum Authentication {
    /// Callers over TCP, identified by the tokens of their calls, or by the client certificate of the connection.
    Remote { peer: Option<IpAddr>, certificate: Option<Arc<Result<Holder, String>>> },
    /// Callers over the Unix socket, identified by the system as processes of a user.
    PeerCredentials(Caller),
}

/// The credentials that are accepted over TCP, and the clock for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Identifier {
    pub(super) access: Option<Access>,
    pub(super) clock: fn() -> Timestamp,
}

/// Adds the [`Caller`] to a request, or rejects it. Without `access`, the server accepts no tokens.
pub(super) async fn identify(
    State(Identifier { access, clock }): State<Identifier>,
    Extension(authentication): Extension<Authentication>,
    Extension(target): Extension<Target>,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let caller = match (authentication, &access) {
        (Authentication::PeerCredentials(caller), _) => Ok(caller),
        (Authentication::Remote { peer, certificate }, Some(access)) => {
            let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
            let audit = access.audit_log().cloned().map(|log| {
                let trace = audit::trace_id(traceparent);
                Audit { log, clock, peer, trace }
            });
            let given = access.given(&request, certificate.as_deref());
            let caller = match given {
                Ok(given) => access.caller(given, clock).await,
                Err(rejection) => Err(rejection),
            };
            caller.map(|caller| caller.with_audit(audit))
        }
        (Authentication::Remote { .. }, None) => {
            Err(Rejection::Invalid("this server has no tokens".to_owned()))
        }
    };
    let caller = caller.map_err(|why| match why {
        Rejection::Invalid(why) => target.reject(Code::Unauthenticated, "UNAUTHENTICATED", why),
        Rejection::Unavailable(why) => target.reject(Code::Unavailable, "UNAVAILABLE", why),
    })?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}
