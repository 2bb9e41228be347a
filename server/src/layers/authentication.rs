//! Identifies callers.

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Code;

use super::target::Target;
use crate::access::Access;
use crate::caller::Caller;
use crate::verifier::Rejection;

/// The way in which the callers of a connection are authenticated.
#[derive(Debug, Clone)]
pub(crate) enum Authentication {
    /// Callers over TCP, identified by the tokens of their calls.
    Token,
    /// Callers over the Unix socket, identified by the system as processes of a user.
    PeerCredentials(Caller),
}

/// Adds the [`Caller`] to a request, or rejects it. Without `access`, the server accepts no tokens.
pub(super) async fn identify(
    State(access): State<Option<Access>>,
    Extension(authentication): Extension<Authentication>,
    Extension(target): Extension<Target>,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let caller = match (authentication, access) {
        (Authentication::PeerCredentials(caller), _) => Ok(caller),
        (Authentication::Token, Some(access)) => match access.given(&request) {
            Ok(given) => access.caller(given).await,
            Err(rejection) => Err(rejection),
        },
        (Authentication::Token, None) => Err(Rejection::Invalid("this server has no tokens".to_owned())),
    };
    let caller = caller.map_err(|why| match why {
        Rejection::Invalid(why) => target.reject(Code::Unauthenticated, "UNAUTHENTICATED", why),
        Rejection::Unavailable(why) => target.reject(Code::Unavailable, "UNAVAILABLE", why),
    })?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}
