//! Access control: the credentials that are accepted over TCP, and the callers that they identify.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{Method, Request};
use jiff::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::audit::AuditLog;
use crate::caller::{Caller, Recheck, hash};
use crate::certificate::{Holder, UserField};
use crate::login::Login;
use crate::policy::Policy;
use crate::rejection::Rejection;
use crate::tokens::Tokens;
use crate::verifier::{Verified, Verifier};

/// Maximum number of verified tokens that are cached, and of rejected ones.
const MAX_CACHED: usize = 10_000;
/// Lifetime of a cached rejection.
const REJECTION_LIFETIME: Duration = Duration::from_secs(10);
/// Longer tokens are rejected. A token of a provider has some kilobytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;

type TokenHash = [u8; 32];

/// A cached value, and the end of its lifetime, if it has one.
#[derive(Clone)]
struct Cached<T> {
    value: T,
    end: Option<Instant>,
}

impl<T: Clone> Cached<T> {
    fn new(value: T, now: Instant, lifetime: Duration) -> Self {
        Self { value, end: now.checked_add(lifetime) }
    }

    fn get(cache: &Cache<TokenHash, Self>, key: &TokenHash, now: Instant) -> Option<T> {
        let found = cache.get(key).filter(|cached| cached.end.is_none_or(|end| now < end));
        found.map(|cached| cached.value)
    }
}

/// The credentials that are accepted over TCP. Clones share the caches.
#[derive(Clone)]
pub struct Access {
    verifiers: Vec<Arc<dyn Verifier>>,
    /// The part of client certificates that names their users, if they are accepted.
    certificates: Option<UserField>,
    /// Signs in browsers, which can't send a token.
    login: Option<Login>,
    /// The policy for callers who are not unrestricted. Without it, they may do nothing.
    policy: Option<watch::Receiver<Arc<Policy>>>,
    /// The log of decisions about callers who are not unrestricted.
    audit: Option<Arc<dyn AuditLog>>,
    /// Callers by the hashes of their tokens. The two caches are apart, so that wrong tokens do not remove
    /// right ones.
    verified: Arc<Cache<TokenHash, Cached<Caller>>>,
    rejected: Arc<Cache<TokenHash, Cached<String>>>,
}

/// The credential of a request.
#[derive(Clone)]
pub(crate) enum Given {
    Token(Arc<str>),
    Certificate(Holder),
    /// The session of a browser, with its caller.
    Session(Caller),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("verifiers", &self.verifiers)
            .field("login", &self.login)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl From<Tokens> for Access {
    fn from(tokens: Tokens) -> Self {
        Self::new(vec![Arc::new(tokens)])
    }
}

impl Access {
    /// Creates an access for the holders of tokens. Each token is verified by the first verifier that knows its kind.
    pub fn new(verifiers: Vec<Arc<dyn Verifier>>) -> Self {
        let (verified, rejected) = (Arc::new(Cache::new(MAX_CACHED)), Arc::new(Cache::new(MAX_CACHED)));
        Self { verifiers, certificates: None, login: None, policy: None, audit: None, verified, rejected }
    }

    /// Accepts client certificates that TLS has verified. A call with a token is one of the token's holder.
    #[must_use]
    pub fn with_certificates(self, field: UserField) -> Self {
        Self { certificates: Some(field), ..self }
    }

    pub(crate) fn certificates(&self) -> Option<UserField> {
        self.certificates
    }

    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// Sets the policy. A change of it is in force for the next call.
    #[must_use]
    pub fn with_policy(self, policy: watch::Receiver<Arc<Policy>>) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// Returns the policy, which changes with its file.
    pub fn policy(&self) -> Option<&watch::Receiver<Arc<Policy>>> {
        self.policy.as_ref()
    }

    /// Sets the log of decisions.
    #[must_use]
    pub fn with_audit_log(self, log: Arc<dyn AuditLog>) -> Self {
        Self { audit: Some(log), ..self }
    }

    pub(crate) fn audit_log(&self) -> Option<&Arc<dyn AuditLog>> {
        self.audit.as_ref()
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Returns the credential of a request, over a connection with the certificate of this holder.
    pub(crate) fn given<B>(
        &self,
        request: &Request<B>,
        certificate: Option<&Result<Holder, String>>,
    ) -> Result<Given, Rejection> {
        match (request.headers().get(AUTHORIZATION), certificate) {
            (Some(header), _) => {
                let token = header.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
                let token = token.ok_or_else(|| invalid("`authorization` has to be `Bearer <token>`"))?;
                Ok(Given::Token(token.into()))
            }
            (None, Some(holder)) => {
                let holder = holder.as_ref().map_err(|why| invalid(why))?;
                // Browsers add certificates to requests of other sites' pages too.
                if !is_same_site(request) {
                    return Err(invalid("a certificate is for pages of this server only"));
                }
                Ok(Given::Certificate(holder.clone()))
            }
            (None, None) => Ok(Given::Session(self.session(request.headers(), is_same_origin(request))?)),
        }
    }

    /// Returns the caller that a credential identifies. A long call can identify it again.
    pub(crate) async fn caller(
        self: &Arc<Self>,
        given: Given,
        clock: fn() -> Timestamp,
    ) -> Result<Caller, Rejection> {
        let caller = self.identify(&given, clock).await?;
        let (access, first) = (Arc::clone(self), caller.clone());
        let again = move || {
            let (access, given, first) = (Arc::clone(&access), given.clone(), first.clone());
            let check = async move {
                match first.has_expired(clock()) {
                    true => Ok(access.with_rights(first)),
                    false => access.identify(&given, clock).await,
                }
            };
            check.boxed()
        };
        Ok(caller.with_recheck(Recheck(Arc::new(again))))
    }

    /// Returns a caller with the rights of the current policy.
    fn with_rights(&self, caller: Caller) -> Caller {
        match &self.policy {
            Some(policy) => caller.with_policy(&policy.borrow()),
            None => caller,
        }
    }

    async fn identify(&self, given: &Given, clock: fn() -> Timestamp) -> Result<Caller, Rejection> {
        let caller = match given {
            Given::Token(token) => self.holder(token).await?,
            Given::Certificate(holder) => holder.at(clock()).map_err(Rejection::Invalid)?,
            Given::Session(caller) => caller.clone(),
        };
        Ok(self.with_rights(caller))
    }

    fn session(&self, headers: &HeaderMap, is_same_origin: bool) -> Result<Caller, Rejection> {
        let session = self.login.as_ref().and_then(|login| login.caller(headers));
        let caller =
            session.ok_or_else(|| invalid("a token is needed: send `authorization: Bearer <token>`"))?;
        if !is_same_origin {
            return Err(invalid("a session is for pages of this server, at a loopback address, only"));
        }
        Ok(caller)
    }

    /// Returns the holder of a token, from the cache if possible.
    async fn holder(&self, token: &str) -> Result<Caller, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("the token is too long"));
        }
        let (key, now) = (hash(token.as_bytes()), Instant::now());
        if let Some(caller) = Cached::get(&self.verified, &key, now) {
            return Ok(caller);
        }
        if let Some(why) = Cached::get(&self.rejected, &key, now) {
            return Err(Rejection::Invalid(why));
        }
        let verified = self.verify(token).await;
        match &verified {
            Ok(Verified { caller, lifetime }) => {
                self.verified.insert(key, Cached::new(caller.clone(), now, *lifetime));
            }
            Err(Rejection::Invalid(why)) => {
                self.rejected.insert(key, Cached::new(why.clone(), now, REJECTION_LIFETIME));
            }
            Err(Rejection::Unavailable(_)) => {}
        }
        verified.map(|it| it.caller)
    }

    async fn verify(&self, token: &str) -> Result<Verified, Rejection> {
        for verifier in &self.verifiers {
            if let Some(verified) = verifier.verify(token).await? {
                return Ok(verified);
            }
        }
        Err(invalid("the token is unknown"))
    }
}

fn invalid(why: &str) -> Rejection {
    Rejection::Invalid(why.to_owned())
}

/// Returns true if a browser sends a request for a page of this server. A page of another server names its own
/// origin, or used a host name that resolves to this machine (DNS rebinding). A request that may change something
/// has to name its origin.
fn is_same_origin<B>(request: &Request<B>) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    is_to_loopback(request) && is_same_site(request) && (is_read || request.headers().contains_key(ORIGIN))
}

/// Returns false if a browser sends a request for a page of another server.
fn is_same_site<B>(request: &Request<B>) -> bool {
    let text = |name: &HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("-"));
    let is_of_this_server = |origin: &str| {
        let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        authority.is_some() && authority == host(request)
    };
    let site = text(&SEC_FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    site && text(&ORIGIN).is_none_or(is_of_this_server)
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the host that a request names.
fn host<B>(request: &Request<B>) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    request.headers().get(HOST)?.to_str().ok()?.parse().ok()
}

/// Returns true if a request names a loopback host.
pub(crate) fn is_to_loopback<B>(request: &Request<B>) -> bool {
    host(request).is_some_and(|host| is_loopback(host.host()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::caller::Credential;
    use crate::policy::{Area, Names, Resource, Role, Rule};
    use crate::tokens::Token;

    /// Returns true if a request is identified as one of `ada`.
    fn is_ada(access: &Arc<Access>, request: &Request<()>) -> bool {
        let caller = access.given(request, None).and_then(|given| {
            access.caller(given, crate::clock).now_or_never().expect("nothing is waited for")
        });
        caller.is_ok_and(|caller| &*caller.name == "ada")
    }

    #[test]
    fn sessions_are_for_pages_of_this_server_only() {
        let (login, code) = Login::new("ada");
        let cookie = login.begin_session(code.as_bytes(), 7420, false).unwrap();
        let cookie = cookie.split_once(';').unwrap().0.to_owned();
        let token = Token { name: "ci".to_owned(), token: "0123456789abcdef".to_owned() };
        let access = Arc::new(Access::from(Tokens::new(&[token]).unwrap()).with_login(login));
        let call = |method: &str, uri: &str, headers: &[(HeaderName, &str)]| {
            let mut request = Request::builder().method(method).uri(uri).header("cookie", &cookie);
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            is_ada(&access, &request.body(()).unwrap())
        };
        for host in
            ["localhost:7420", "LOCALHOST", "127.0.0.1:1", "127.8.9.1", "[::1]:7", "[::ffff:127.0.0.1]"]
        {
            let origin = format!("http://{host}");
            assert!(call("GET", "/a", &[(HOST, host)]), "{host}");
            assert!(call("GET", &format!("{origin}/a"), &[]), "{host}");
            assert!(call("GET", "/a", &[(HOST, host), (ORIGIN, &origin)]), "{host}");
            assert!(call("POST", "/a", &[(HOST, host), (ORIGIN, &origin)]), "{host}");
            assert!(!call("POST", "/a", &[(HOST, host)]), "{host}");
            assert!(call("GET", "/a", &[(HOST, host), (SEC_FETCH_SITE, "none")]), "{host}");
            for site in ["same-site", "cross-site", "?"] {
                assert!(!call("GET", "/a", &[(HOST, host), (SEC_FETCH_SITE, site)]), "{host} {site}");
            }
            for origin in
                ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
            {
                for method in ["GET", "POST"] {
                    assert!(!call(method, "/a", &[(HOST, host), (ORIGIN, origin)]), "{host} {origin}");
                }
            }
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.nip.io", "a b"]
        {
            assert!(!call("GET", "/a", &[(HOST, host)]), "{host}");
        }
        assert!(!call("GET", "/a", &[]) && !call("GET", "http://evil.example/a", &[(HOST, "localhost")]));
        // If a token is sent, the origin does not matter.
        assert!(!call("GET", "/a", &[(HOST, "localhost"), (AUTHORIZATION, "Bearer wrong")]));
    }

    /// A verifier whose token expires at second 1000, and can be revoked before.
    #[derive(Debug)]
    struct Expiring(watch::Receiver<bool>);

    #[tonic::async_trait]
    impl Verifier for Expiring {
        async fn verify(&self, _: &str) -> Result<Option<Verified>, Rejection> {
            let expires = Timestamp::from_second(1_000).ok();
            match *self.0.borrow() || clock() > expires.unwrap() {
                true => Err(invalid("the token was revoked, or has expired")),
                false => {
                    let caller = Caller::new("ada", Vec::new(), Credential::Session).until(expires);
                    Ok(Some(Verified { caller, lifetime: Duration::ZERO }))
                }
            }
        }
    }

    static SECONDS: AtomicI64 = AtomicI64::new(0);

    fn clock() -> Timestamp {
        Timestamp::from_second(SECONDS.load(Ordering::Relaxed)).unwrap()
    }

    /// Returns what ends a stream of a viewer whose token expires, if anything does.
    async fn end_of_stream(
        change: impl FnOnce(&watch::Sender<bool>, &watch::Sender<Arc<Policy>>),
    ) -> Option<String> {
        SECONDS.store(0, Ordering::Relaxed);
        let everything = Area { scopes: Names::All, domains: Names::All };
        let rule = Rule {
            role: Role::Viewer,
            users: ["ada".to_owned()].into(),
            groups: [].into(),
            area: everything,
        };
        let (revoked, is_revoked) = watch::channel(false);
        let policy = Policy { rules: vec![rule], ..Policy::default() };
        let (policy, current) = watch::channel(Arc::new(policy));
        let access = Arc::new(Access::new(vec![Arc::new(Expiring(is_revoked))]).with_policy(current));
        let caller = access.caller(Given::Token("token".into()), clock).await.unwrap();
        change(&revoked, &policy);
        let lost = caller.lost(Role::Viewer, Resource::EVERYTHING);
        tokio::time::timeout(Duration::from_hours(1), lost).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_outlives_its_token_and_not_its_role() {
        assert_eq!(end_of_stream(|_, _| ()).await, None);
        let expire = || SECONDS.store(2_000, Ordering::Relaxed);
        assert_eq!(end_of_stream(|_, _| expire()).await, None, "a client can't renew the token of a stream");
        let why = end_of_stream(|revoked, _| {
            revoked.send_replace(true);
        })
        .await;
        assert!(why.is_some_and(|why| why.contains("revoked")));
        let without_role = |_: &watch::Sender<bool>, policy: &watch::Sender<Arc<Policy>>| {
            expire();
            policy.send_replace(Arc::default());
        };
        assert!(end_of_stream(without_role).await.is_some_and(|why| why.contains("needs the role `viewer`")));
    }
}
