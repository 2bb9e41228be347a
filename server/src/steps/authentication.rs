//! Identifies callers.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Request};
use jiff::Timestamp;
use tonic::Code;

use super::target::Target;
use crate::access::Access;
use crate::audit::{self, Audit};
use crate::caller::Caller;
use crate::certificate::Holder;
use crate::error::ServiceError;
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
    pub(super) access: Option<Arc<Access>>,
    pub(super) clock: fn() -> Timestamp,
}

/// The header in which Spark's client for the JVM, of 4.0.1, 4.1.1 and 4.1.2, sends a token over TLS (SPARK-57336).
const MISNAMED: HeaderName = HeaderName::from_static("authentication");

/// Moves a token to the header `authorization`, unless there is one already.
pub(super) fn rename_token(headers: &mut HeaderMap) {
    if let Some(token) = headers.remove(MISNAMED) {
        headers.entry(AUTHORIZATION).or_insert(token);
    }
}

impl Identifier {
    /// Returns the caller of a request. Without `access`, the server accepts no tokens.
    pub(super) async fn identify(
        &self,
        authentication: &Authentication,
        target: Target,
        request: &Request<()>,
    ) -> Result<Caller, ServiceError> {
        let caller = match (authentication, &self.access) {
            (Authentication::PeerCredentials(caller), _) => Ok(caller.clone()),
            (Authentication::Remote { peer, certificate }, Some(access)) => {
                let caller = match access.given(request, certificate.as_deref()) {
                    Ok(given) => access.caller(given, self.clock).await,
                    Err(rejection) => Err(rejection),
                };
                caller.map(|caller| caller.with_audit(self.audit(access, *peer, request)))
            }
            (Authentication::Remote { .. }, None) => {
                Err(Rejection::Invalid("this server has no tokens".to_owned()))
            }
        };
        caller.map_err(|why| match why {
            Rejection::Invalid(why) => target.error(Code::Unauthenticated, "UNAUTHENTICATED", why),
            Rejection::Unavailable(why) => target.error(Code::Unavailable, "UNAVAILABLE", why),
        })
    }

    /// Returns the audit log for decisions about the caller of a request.
    fn audit(&self, access: &Access, peer: Option<IpAddr>, request: &Request<()>) -> Option<Audit> {
        let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let log = access.audit_log()?.clone();
        Some(Audit { log, clock: self.clock, peer, trace: audit::trace_id(traceparent) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_in_the_misnamed_header_is_used_unless_there_is_another() {
        let renamed = |given: &[(&'static str, &'static str)]| {
            let given = given.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let mut headers: HeaderMap = given.collect();
            rename_token(&mut headers);
            assert!(!headers.contains_key(MISNAMED));
            headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(renamed(&[]), None);
        assert_eq!(renamed(&[("authentication", "Bearer a")]).as_deref(), Some("Bearer a"));
        let both = [("authentication", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(renamed(&both).as_deref(), Some("Bearer b"));
    }
}
